//! Real descriptions load without an error.

use std::path::{Path, PathBuf};

use fortress_model::{diagnostic::Severity, document::Sources};
use fortress_spec::{ApiDescription, Disk, load};

/// The material that the project is tested with; `None`, said aloud, where it is not there.
fn shared(name: &str) -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let directory = option("FORTRESS_SHARED").unwrap_or_else(|| "../shared".to_owned());
    let path = workspace.join(directory).join("specs").join(name);
    if path.exists() {
        return Some(path);
    }
    assert!(
        option("FORTRESS_REQUIRE_ALL").as_deref() != Some("1"),
        "{} is missing",
        path.display()
    );
    println!("skipped: {} is missing", path.display());
    None
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests are told by the environment where things are"
)]
fn option(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[track_caller]
fn check(name: &str, operations: usize, base_paths: &[&str]) -> Option<ApiDescription> {
    let path = shared(name)?;
    let mut sources = Sources::default();
    let loaded = load(&path, &Disk, &mut sources);
    let errors: Vec<_> = loaded
        .diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error)
        .map(|diagnostic| {
            let position = diagnostic.span.and_then(|span| sources.position(span));
            (position, &diagnostic.message)
        })
        .take(10)
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
    let seen = loaded
        .description
        .as_ref()
        .map(|description| (description.operations.len(), &*description.base_paths));
    let base_paths: Vec<String> = base_paths.iter().map(|path| (*path).to_owned()).collect();
    assert_eq!(seen, Some((operations, &*base_paths)));
    loaded.description
}

#[test]
fn github() {
    let Some(description) = check("github.json", 1_223, &[""]) else {
        return;
    };
    let contents = description
        .operation("repos/get-content")
        .expect("the operation");
    let spanning = format!("{:?}", contents.template.segments.last());
    assert!(spanning.contains("spans_segments: true"), "{spanning}");
    assert_eq!(description.posture().undecided.len(), 1_223);
}

#[test]
fn twilio() {
    let Some(description) = check("twilio.json", 197, &[""]) else {
        return;
    };
    assert_eq!(description.posture().protected.len(), 197);
}

#[test]
fn asana() {
    let Some(description) = check("asana.yaml", 247, &["/api/1.0"]) else {
        return;
    };
    assert_eq!(description.posture().protected.len(), 247);
}

#[test]
fn vampi() {
    let Some(description) = check("vampi.yml", 14, &[""]) else {
        return;
    };
    let posture = description.posture();
    assert_eq!((posture.protected.len(), posture.undecided.len()), (6, 8));
}

#[test]
fn damn_vulnerable_restaurant() {
    let Some(description) = check("dvr.json", 21, &[""]) else {
        return;
    };
    let posture = description.posture();
    assert_eq!((posture.protected.len(), posture.undecided.len()), (15, 6));
    assert!(!posture.unbounded.is_empty());
}
