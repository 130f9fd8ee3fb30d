//! The rule sets that people run parse and compile without a mistake, refuse an attack and let a
//! request pass that is none.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests may fail, and say what they skip"
)]

mod material;

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use bytes::Bytes;
use fortress_waf::{
    builtin,
    engine::{Desk, Engine, Opening, RefusalKind, Screening, Transaction, Verdict},
    seclang::{DirectiveKind, NoFiles, Ruleset, RulesetBuilder},
};
use material::{Disk, folder, listed};

/// The rule set of the files has every rule that their lines begin; with what the gateway says
/// before and after, it works.
#[track_caller]
fn check(setups: &[PathBuf], rules: &Path, suffixes: &[&str], without_effect: &[&str]) {
    let files = listed(rules, suffixes);
    let mut builder = RulesetBuilder::default();
    let mut whole = RulesetBuilder::default();
    whole.add_file("before.conf", builtin::BEFORE, &mut NoFiles);
    let mut begun = 0;
    for path in setups.iter().chain(&files) {
        let text = fs::read_to_string(path).unwrap();
        builder.add_file(path.to_str().unwrap(), &text, &mut Disk);
        whole.add_file(path.to_str().unwrap(), &text, &mut Disk);
        let begins = |line: &&str| {
            let line = line.trim_start();
            line.starts_with("SecRule ") || line.starts_with("SecAction ")
        };
        begun += text.lines().filter(begins).count();
    }
    let ruleset = builder.build().unwrap_or_else(|mistakes| {
        let shown: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        panic!("{} mistakes:\n{}", shown.len(), shown.join("\n"))
    });
    assert!(begun > 600);
    assert_eq!(links(&ruleset), begun);
    let words: BTreeSet<&str> = ruleset
        .without_effect()
        .iter()
        .map(|found| found.word)
        .collect();
    assert_eq!(words, without_effect.iter().copied().collect());
    whole.add_file("after.conf", builtin::AFTER, &mut NoFiles);
    works(&whole.build().unwrap());
}

fn works(ruleset: &Ruleset) {
    let engine = Engine::compile(ruleset, Screening::Prefiltered).unwrap_or_else(|mistakes| {
        let shown: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        panic!("{} mistakes:\n{}", shown.len(), shown.join("\n"))
    });
    let engine = Arc::new(engine);
    let json = |text: &str| {
        (
            "/api/v1/orders",
            format!("{{\"note\":{text:?},\"count\":3}}"),
        )
    };
    let query = |query: &'static str| (query, String::new());
    for (target, body) in [
        query("/api/v1/orders?status=open&customer=anna%40example.com&from=2026-01-02&limit=20"),
        query("/api/v1/orders/4711"),
        json("Please leave it with the neighbours, second door"),
    ] {
        assert_eq!(
            inspect(&engine, target, &body),
            Verdict::Pass,
            "{target} {body}"
        );
    }
    for (target, body) in [
        query("/api/v1/orders?id=1%27%20OR%20%271%27%3D%271"),
        query("/api/v1/orders?id=1%27%20UNION%20SELECT%20name%2Cpassword%20FROM%20users--%20"),
        query("/api/v1/orders?file=../../../../etc/passwd"),
        json("1' OR 1=1 -- "),
        json("<script>alert(1)</script>"),
        json("x; cat /etc/passwd"),
    ] {
        let verdict = inspect(&engine, target, &body);
        let Verdict::Refuse(refusal) = verdict else {
            panic!("{verdict:?}: {target} {body}")
        };
        assert_eq!(
            (refusal.status, refusal.rule, refusal.kind),
            (403, 949_110, RefusalKind::Score),
            "{target} {body}"
        );
    }
}

/// What becomes of a service's request, with a body if there is one.
fn inspect(engine: &Arc<Engine>, target: &str, body: &str) -> Verdict {
    let opening = Opening {
        client: SocketAddr::from(([203, 0, 113, 7], 40_000)),
        server: SocketAddr::from(([192, 0, 2, 1], 80)),
        now: SystemTime::UNIX_EPOCH,
        id: "a",
        budget: u64::MAX,
    };
    let mut transaction = Transaction::new(Arc::clone(engine), Box::default(), &opening);
    let method: &[u8] = if body.is_empty() { b"GET" } else { b"POST" };
    transaction.request_line(method, target.as_bytes(), b"HTTP/1.1");
    let length = body.len().to_string();
    let fields = [
        ("Host", "shop.example.com"),
        ("User-Agent", "orders-client/2.4.1"),
        ("Accept", "application/json"),
        ("Content-Type", "application/json"),
        ("Content-Length", length.as_str()),
    ];
    let count = if body.is_empty() { 3 } else { 5 };
    for (name, value) in fields.iter().take(count) {
        transaction.request_field(name.as_bytes(), value.as_bytes());
    }
    let mut desk = Desk::default();
    match transaction.request_head(&mut desk) {
        Verdict::Pass => {
            transaction.request_body(&mut desk, Bytes::copy_from_slice(body.as_bytes()))
        }
        verdict @ (Verdict::Refuse(_) | Verdict::Exhausted | Verdict::TooLarge(_)) => verdict,
    }
}

fn links(ruleset: &Ruleset) -> usize {
    let links = ruleset.directives().iter().map(|directive| {
        if let DirectiveKind::Rule(rule) = &directive.kind {
            rule.links.len()
        } else {
            0
        }
    });
    links.sum()
}

#[test]
fn crs_4() {
    if let Some(crs) = folder("FORTRESS_SHARED", "../shared", "crs") {
        check(
            &[crs.join("crs-setup.conf.example")],
            &crs.join("rules"),
            &[".conf", ".conf.example"],
            &["ctl:auditEngine"],
        );
    }
}

/// Debian's package `modsecurity-crs`, installed or unpacked to `FORTRESS_CRS3`.
#[test]
fn crs_3() {
    if let Some(rules) = folder("FORTRESS_CRS3", "/", "usr/share/modsecurity-crs/rules") {
        let etc = rules.join("../../../../etc/modsecurity/crs");
        check(
            &[
                etc.join("crs-setup.conf"),
                etc.join("REQUEST-900-EXCLUSION-RULES-BEFORE-CRS.conf"),
            ],
            &rules,
            &[".conf"],
            &["@geoLookup", "@rbl", "ctl:auditEngine", "ctl:auditLogParts"],
        );
    }
}
