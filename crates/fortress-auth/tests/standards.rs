//! The tests that `docs/standards.md` names are there.

use std::path::Path;

#[test]
fn each_named_test_exists() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = std::fs::read_to_string(here.join("../../docs/standards.md")).unwrap();
    let rows = table
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains(".rs:"));
    let mut named = 0;
    for row in rows {
        let test = row.rsplit('`').nth(1).unwrap();
        let (file, function) = test.split_once(':').unwrap();
        let source = std::fs::read_to_string(here.join("src").join(file))
            .unwrap_or_else(|error| panic!("{test}: {error}"));
        let declared = format!("#[test]\nfn {function}() {{");
        let source = source
            .replace("    #[test]", "#[test]")
            .replace("    fn ", "fn ");
        assert!(source.contains(&declared), "there is no test {test}");
        named += 1;
    }
    let rows = table
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| section"));
    assert_eq!(named, rows.count(), "each row names its test");
}
