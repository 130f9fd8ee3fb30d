//! `fortress keys` and `fortress store`, as people and scripts use them.

use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt},
    process::Stdio,
};

use serde_json::Value;

use crate::program::{Ended, Place, until};

const CONFIGURATION: &str = "version: 1
listen: [{ address: 127.0.0.1:0 }]
apis: { orders: { spec: none, public: true, upstream: http://127.0.0.1:1 } }
store: { embedded: fortress.db, key: file:store.key, pepper: file:pepper.key }
";

/// A place with a configuration and a store.
fn ready() -> Place {
    let place = Place::new();
    place.write("fortress.yaml", CONFIGURATION);
    place.run(&["store", "init"]).expect(0);
    place
}

fn json(place: &Place, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    place.run(&arguments).expect(0).json()
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().expect(name).to_owned()
}

/// Runs with something on standard input.
fn typed(place: &Place, arguments: &[&str], input: &str) -> Ended {
    let mut child = place
        .command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let mut pipe = child.stdin.take().expect("piped");
    drop(pipe.write_all(input.as_bytes()));
    drop(pipe);
    Ended::of(&child.wait_with_output().expect("ended"))
}

#[test]
fn a_store_is_made_once_and_its_secrets_are_private() {
    let place = Place::new();
    place.write("fortress.yaml", CONFIGURATION);
    let before = place.run(&["keys", "create", "--owner", "a"]).expect(3);
    assert!(before.err.contains("fortress store init"), "{}", before.err);
    let made = place.run(&["store", "init"]).expect(0);
    assert!(made.out.contains("Keep a copy"), "{}", made.out);
    for file in ["store.key", "pepper.key", "fortress.db"] {
        let mode = fs::metadata(place.work().join(file)).expect(file).mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let key = fs::read(place.work().join("store.key")).expect("a key");
    let again = place.run(&["store", "init"]).expect(0);
    assert!(!again.out.contains("made"), "{}", again.out);
    assert_eq!(
        fs::read(place.work().join("store.key")).expect("a key"),
        key
    );

    // A key that is gone is not made anew beside its store.
    fs::remove_file(place.work().join("store.key")).expect("removed");
    let lost = place.run(&["store", "init"]).expect(3);
    assert!(lost.err.contains("bring the key back"), "{}", lost.err);
    assert!(!place.work().join("store.key").exists());
    let other = place.run(&["keys", "list"]).expect(3);
    assert!(other.err.contains("there is no key"), "{}", other.err);
    assert!(other.err.contains("bring its key back"), "{}", other.err);
}

#[test]
fn a_pepper_that_is_gone_is_not_made_anew_beside_keys() {
    let place = ready();
    let pepper = place.work().join("pepper.key");
    // No key needs it yet.
    fs::remove_file(&pepper).expect("removed");
    place.run(&["store", "init"]).expect(0);
    let made = json(&place, &["keys", "create", "--owner", "a"]);

    let kept = fs::read_to_string(&pepper).expect("a pepper");
    fs::remove_file(&pepper).expect("removed");
    let lost = place.run(&["store", "init"]).expect(3);
    assert!(lost.err.contains("bring the pepper back"), "{}", lost.err);
    assert!(!pepper.exists());
    let list = place.run(&["keys", "list"]).expect(3);
    assert!(list.err.contains("bring it back"), "{}", list.err);
    place.write("pepper.key", &kept);
    let found = typed(&place, &["keys", "check"], &text(&made, "key")).expect(1);
    assert!(found.out.contains("accepted"), "{}", found.out);
}

#[test]
fn what_is_missing_in_the_configuration_is_said() {
    let place = Place::new();
    let none = place.run(&["keys", "list"]).expect(3);
    assert!(none.err.contains("fortress.yaml"), "{}", none.err);
    place.write("fortress.yaml", "version: 1\n");
    let without = place.run(&["keys", "list"]).expect(3);
    assert!(without.err.contains("names no store"), "{}", without.err);
    let wrong = CONFIGURATION.replace("file:store.key", "hunter2");
    place.write("fortress.yaml", &wrong);
    let literal = place.run(&["keys", "list"]).expect(3);
    assert!(literal.err.contains("takes a reference"), "{}", literal.err);
    assert!(!literal.err.contains("hunter2"), "{}", literal.err);
    // What is wrong elsewhere does not hinder.
    let elsewhere = CONFIGURATION.replace("spec: none", "spec: nowhere.yaml, nonsense: 1");
    place.write("fortress.yaml", &elsewhere);
    place.run(&["store", "init"]).expect(0);
    place.run(&["keys", "list"]).expect(0);
}

#[test]
fn a_key_lives_from_its_making_to_its_end() {
    let place = ready();
    let made = place
        .run(&[
            "keys",
            "create",
            "--owner",
            "Example Ltd",
            "--scope",
            "a,b",
            "--expires",
            "90d",
        ])
        .expect(0);
    let key = made
        .out
        .lines()
        .find_map(|line| line.trim().strip_prefix("frt_live_"));
    let key = format!("frt_live_{}", key.expect("the key"));
    let id = key.split('_').nth(2).expect("an id").to_owned();
    assert!(made.out.contains("shown this once"), "{}", made.out);

    let list = place.run(&["keys", "list"]).expect(0);
    assert!(
        list.out.contains("Example Ltd") && list.out.contains("a b"),
        "{}",
        list.out
    );
    let secret = key.rsplit('_').next().expect("a secret");
    let shown = place.run(&["keys", "show", &id]).expect(0);
    assert!(
        shown.out.contains("active") && !shown.out.contains(secret),
        "{}",
        shown.out
    );

    let rotated = json(&place, &["keys", "rotate", &id, "--overlap", "1h"]);
    assert_eq!(rotated["secrets"].as_array().expect("secrets").len(), 2);
    let new = text(&rotated, "key");
    assert_ne!(new, key);
    let third = place.run(&["keys", "rotate", &id]).expect(3);
    assert!(third.err.contains("being rotated already"), "{}", third.err);
    for key in [&key, &new] {
        let found = typed(&place, &["keys", "check", "--json"], key)
            .expect(1)
            .json();
        assert_eq!(found["found"], "accepted");
    }

    let revoked = json(&place, &["keys", "revoke", &id]);
    assert_eq!(revoked["revoked"][0]["state"], "revoked");
    for key in [&key, &new] {
        let found = typed(&place, &["keys", "check", "--json"], key)
            .expect(0)
            .json();
        assert_eq!(found["found"], "revoked");
    }
    let gone = place
        .run(&["keys", "rotate", &id, "--overlap", "0s"])
        .expect(3);
    assert!(gone.err.contains("is revoked"), "{}", gone.err);
    let list = json(&place, &["keys", "list", "--state", "active"]);
    assert_eq!(list["keys"], serde_json::json!([]));
}

#[test]
fn an_operation_that_no_description_has_is_told() {
    let place = ready();
    let create = ["keys", "create", "--owner", "a", "--operation"];
    let made = |operation: &str| {
        let all: Vec<_> = create.iter().copied().chain([operation]).collect();
        place.run(&all).expect(0).err
    };
    // An API without a description may have any.
    assert_eq!(made("nosuch"), "");
    let described = CONFIGURATION.replace("spec: none", "spec: openapi.yaml");
    place.write("fortress.yaml", &described);
    place.write("openapi.yaml", "openapi: 3.0.3\ninfo: { title: a, version: '1' }\npaths:\n  /a: { get: { operationId: getA, tags: [some], responses: { '200': { description: ok } } } }\n");
    let told = made("nosuch");
    assert!(told.contains("`nosuch`"), "{told}");
    for known in ["getA", "GET /a", "tag:some"] {
        assert_eq!(made(known), "", "{known}");
    }
}

#[test]
fn what_is_no_value_is_a_matter_of_usage() {
    let place = ready();
    for wrong in [
        &["keys", "create"][..],
        &["keys", "create", "--owner", ""],
        &["keys", "create", "--owner", "a", "--env", "Live"],
        &["keys", "create", "--owner", "a", "--scope", "a b"],
        &["keys", "create", "--owner", "a", "--address", "10.0.0.0/33"],
        &["keys", "create", "--owner", "a", "--expires", "soon"],
        &["keys", "create", "--owner", "a", "--expires", "2020-01-01"],
        &["keys", "show", "nonsense"],
        &["keys", "revoke"],
        &["keys", "check", "--yes"],
        &["keys", "list", "--state", "new"],
        &["store", "backup"],
    ] {
        place.run(wrong).expect(2);
    }
    let unknown = place.run(&["keys", "show", "0000000000"]).expect(3);
    assert!(unknown.err.contains("keys list"), "{}", unknown.err);
    assert_eq!(
        json(&place, &["keys", "list"])["keys"],
        serde_json::json!([])
    );
}

#[test]
fn a_leaked_key_is_recognised_and_revoked() {
    let place = ready();
    let made = json(
        &place,
        &["keys", "create", "--owner", "Example Ltd", "--env", "test"],
    );
    let (key, id) = (text(&made, "key"), text(&made, "id"));

    let found = typed(&place, &["keys", "check"], &format!("  {key}\n")).expect(1);
    assert!(
        found.out.contains("Example Ltd") && found.out.contains(&id),
        "{}",
        found.out
    );
    assert!(
        !found.out.contains(&key) && found.err.is_empty(),
        "{}",
        found.err
    );
    // As people and files write it.
    for pasted in [
        format!("\"{key}\""),
        format!("key={key}"),
        format!("X-Api-Key: {key}"),
        format!("{key};"),
        format!("curl -H 'X-Api-Key: {key}' 'https://api.test/?a=1'\n"),
        format!("{{\"key\":\"{key}\"}}"),
        format!("https://api.test/?key={key}&b=1"),
    ] {
        let found = typed(&place, &["keys", "check"], &pasted).expect(1);
        assert!(found.out.contains(&id), "{}", found.out);
    }
    let second = json(&place, &["keys", "create", "--owner", "b"]);
    let both = format!("{key}\n{}\n", text(&second, "key"));
    let several = typed(&place, &["keys", "check", "--revoke"], &both).expect(2);
    assert!(several.err.contains("one by one"), "{}", several.err);
    let spoilt = format!("key=\"{}\"", key.replacen("frt_test", "frt_live", 1));
    let spoilt = typed(&place, &["keys", "check"], &spoilt).expect(0);
    assert!(spoilt.out.contains("checksum"), "{}", spoilt.out);
    // As an argument it works too, with a word about it.
    let argument = place.run(&["keys", "check", &key]).expect(1);
    assert!(
        argument.err.contains("list of processes"),
        "{}",
        argument.err
    );

    let mistyped = key.replacen("frt_test", "frt_live", 1);
    let wrong = typed(&place, &["keys", "check"], &mistyped).expect(0);
    assert!(wrong.out.contains("checksum"), "{}", wrong.out);
    let other = json(&ready(), &["keys", "create", "--owner", "b"]);
    let stranger = typed(&place, &["keys", "check"], &text(&other, "key")).expect(0);
    assert!(stranger.out.contains("not known"), "{}", stranger.out);
    typed(&place, &["keys", "check"], "").expect(2);

    let ended = typed(&place, &["keys", "check", "--revoke"], &key).expect(0);
    assert!(ended.out.contains("revoked"), "{}", ended.out);
    let later = typed(&place, &["keys", "check"], &key).expect(0);
    assert!(later.out.contains("not accepted any more"), "{}", later.out);
    // The id with another secret of the right form is no key, and says whose id it is.
    let rotated = ready();
    let first = json(&rotated, &["keys", "create", "--owner", "c"]);
    json(
        &rotated,
        &["keys", "rotate", &text(&first, "id"), "--overlap", "0s"],
    );
    let old = typed(&rotated, &["keys", "check"], &text(&first, "key")).expect(0);
    assert!(old.out.contains("was replaced"), "{}", old.out);
}

#[test]
fn keys_from_elsewhere_are_imported_all_or_none() {
    let place = ready();
    let elsewhere = json(
        &ready(),
        &["keys", "create", "--owner", "x", "--env", "test"],
    );
    let own = text(&elsewhere, "key");
    let hash = "too short";
    let csv = format!(
        "owner,key,sha256,scopes,expires\nOld Ltd,sk_live_0123456789abcdef,,a;b,2099-01-31\n\"Ours, Inc\",{own},,,\nHashed,,{hash},,\n"
    );
    place.write("keys.csv", &csv);
    let wrong = place.run(&["keys", "import", "keys.csv"]).expect(1);
    assert!(
        wrong.out.contains("line 4") && wrong.out.contains("sha256"),
        "{}",
        wrong.out
    );
    assert_eq!(
        json(&place, &["keys", "list"])["keys"],
        serde_json::json!([])
    );

    let legacy = "legacy-key-0123456789";
    let csv = csv.replace(hash, &sha256(legacy));
    place.write("keys.csv", &csv);
    let dry = place
        .run(&["keys", "import", "keys.csv", "--dry-run"])
        .expect(0);
    assert!(dry.out.contains("3 keys"), "{}", dry.out);
    assert_eq!(
        json(&place, &["keys", "list"])["keys"],
        serde_json::json!([])
    );
    assert_eq!(json(&place, &["keys", "import", "keys.csv"])["imported"], 3);
    for (key, owner) in [
        ("sk_live_0123456789abcdef", "Old Ltd"),
        (own.as_str(), "Ours, Inc"),
        (legacy, "Hashed"),
    ] {
        for pasted in [key.to_owned(), format!("api_key: '{key}',")] {
            let found = typed(&place, &["keys", "check"], &pasted).expect(1);
            assert!(found.out.contains(owner), "{}", found.out);
        }
    }
    // A second time they are there already.
    let twice = place.run(&["keys", "import", "keys.csv"]).expect(3);
    assert!(twice.err.contains("already"), "{}", twice.err);

    place.write("more.ndjson", "{\"owner\":\"a\",\"key\":\"too-short\"}\n{\"owner\":\"b\"}\n{\"key\":\"0123456789012345678901\"}\n{\"owner\":\"c\",\"key\":\"0123456789012345678901\",\"colour\":\"red\"}\n");
    let wrong = place
        .run(&["keys", "import", "more.ndjson", "--json"])
        .expect(1)
        .json();
    let lines: Vec<_> = wrong["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .map(|error| error["line"].as_u64())
        .collect();
    assert_eq!(lines, [Some(1), Some(2), Some(3), Some(4)], "{wrong}");
    assert!(!wrong.to_string().contains("too-short"), "{wrong}");
}

fn sha256(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[test]
fn a_backup_comes_back_and_the_key_can_be_changed() {
    let place = ready();
    let made = json(&place, &["keys", "create", "--owner", "a"]);
    let id = text(&made, "id");
    place.run(&["store", "backup", "backup.db"]).expect(0);
    let there = place.run(&["store", "backup", "backup.db"]).expect(3);
    assert!(there.err.contains("already"), "{}", there.err);
    place.run(&["keys", "revoke", &id]).expect(0);

    // Nobody can be asked here.
    let unsure = place.run(&["store", "restore", "backup.db"]).expect(2);
    assert!(unsure.err.contains("--yes"), "{}", unsure.err);
    place
        .run(&["store", "restore", "backup.db", "--yes"])
        .expect(0);
    assert_eq!(json(&place, &["keys", "show", &id])["state"], "active");

    let before = fs::read_to_string(place.work().join("store.key")).expect("a key");
    place.run(&["store", "rotate-key"]).expect(0);
    let after = fs::read_to_string(place.work().join("store.key")).expect("a key");
    assert!(before != after && after.lines().count() == 1);
    assert_eq!(json(&place, &["keys", "show", &id])["state"], "active");
    place.run(&["store", "check"]).expect(0);

    // The backup opens with the old key, which may stand below the new one.
    let wrong = place
        .run(&["store", "restore", "backup.db", "--yes"])
        .expect(3);
    assert!(wrong.err.contains("wrong key"), "{}", wrong.err);
    place.write("store.key", &format!("{after}{before}"));
    place
        .run(&["store", "restore", "backup.db", "--yes"])
        .expect(0);
    assert_eq!(json(&place, &["keys", "show", &id])["state"], "active");
}

#[test]
fn damage_and_open_secrets_are_said() {
    let place = ready();
    json(&place, &["keys", "create", "--owner", "a"]);
    let key = place.work().join("store.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("set");
    let open = place.run(&["keys", "list"]).expect(0);
    assert!(open.err.contains("chmod 600"), "{}", open.err);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("set");
    assert_eq!(place.run(&["store", "check"]).expect(0).err, "");

    let file = place.work().join("fortress.db");
    let whole = fs::read(&file).expect("a store");
    fs::write(&file, &whole[..whole.len() / 2]).expect("cut");
    let cut = place.run(&["store", "check"]).expect(1);
    assert!(cut.out.contains("damaged"), "{}", cut.out);
    place.run(&["keys", "list"]).expect(3);
    fs::write(&file, "").expect("emptied");
    let emptied = place.run(&["keys", "create", "--owner", "b"]).expect(3);
    assert!(emptied.err.contains("not a store"), "{}", emptied.err);
    assert_eq!(fs::metadata(&file).expect("a file").len(), 0);

    fs::write(&file, whole).expect("whole again");
    place.write("pepper.key", &"p".repeat(32));
    let pepper = place.run(&["keys", "list"]).expect(3);
    assert!(pepper.err.contains("another pepper"), "{}", pepper.err);
    place.write("pepper.key", "short");
    let short = place.run(&["keys", "list"]).expect(3);
    assert!(short.err.contains("needs 32"), "{}", short.err);
}

#[test]
fn tokens_are_revoked_listed_and_accepted_again() {
    let place = ready();
    let issuer = "https://idp.example.com";
    let alice = ["tokens", "revoke", "--issuer", issuer, "--subject", "alice"];
    let done = place.run(&alice).expect(0);
    assert!(done.out.contains("for alice"), "{}", done.out);
    let everything = [
        "tokens",
        "revoke",
        "--everything",
        "--issued-before",
        "2026-01-31T12:00:00Z",
        "--for",
        "90d",
    ];
    place.run(&everything).expect(0);
    let listed = json(&place, &["tokens", "list"]);
    assert_eq!(listed.as_array().expect("a list").len(), 2);
    let kinds: Vec<_> = listed
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| text(one, "kind"))
        .collect();
    assert!(kinds.contains(&"subject".to_owned()) && kinds.contains(&"everything".to_owned()));

    let undo: Vec<_> = alice.iter().copied().chain(["--undo"]).collect();
    place.run(&undo).expect(0);
    let listed = json(&place, &["tokens", "list"]);
    assert_eq!(listed.as_array().expect("a list").len(), 1);
    let again = place.run(&undo).expect(2);
    assert!(again.err.contains("no such revocation"), "{}", again.err);

    for wrong in [
        &["tokens", "revoke"][..],
        &["tokens", "revoke", "--subject", "alice"],
        &[
            "tokens",
            "revoke",
            "--issuer",
            issuer,
            "--id",
            "1",
            "--subject",
            "a",
        ],
        &["tokens", "revoke", "--issuer", ""],
        &["tokens", "revoke", "--everything", "--issuer", issuer],
        &["tokens", "revoke", "--everything", "--id", "1"],
        &["tokens", "revoke", "--everything", "--subject", "alice"],
        &["tokens", "revoke", "--everything", "--client", "app"],
        &["tokens", "revoke", "--everything", "--for", "0s"],
        &[
            "tokens",
            "revoke",
            "--everything",
            "--issued-before",
            "soon",
        ],
    ] {
        place.run(wrong).expect(2);
    }
    assert_eq!(json(&place, &["tokens", "list"]), listed);
}

#[test]
fn a_revocation_by_time_is_taken_back_by_the_time_that_the_list_shows() {
    let place = ready();
    let alice = [
        "tokens",
        "revoke",
        "--issuer",
        "https://idp.example.com",
        "--subject",
        "alice",
    ];
    let with = |more: &[&str]| {
        let all: Vec<_> = alice.iter().chain(more).copied().collect();
        place.run(&all)
    };
    let listed = || {
        let list = json(&place, &["tokens", "list"]);
        list.as_array().expect("a list").clone()
    };
    with(&["--issued-before", "now"]).expect(0);
    with(&["--issued-before", "now", "--undo"]).expect(2);
    with(&["--issued-before", "2026-01-31", "--undo"]).expect(2);
    let shown = text(&listed()[0], "issued_before");
    with(&["--issued-before", &shown, "--undo"]).expect(0);
    assert!(listed().is_empty());

    with(&["--issued-before", "now"]).expect(0);
    with(&["--undo"]).expect(0);
    assert!(listed().is_empty());
    with(&["--undo"]).expect(2);
}

#[test]
fn a_password_becomes_a_line_of_users() {
    let place = Place::new();
    let made = typed(&place, &["keys", "hash-password", "alice"], "open sesame\n").expect(0);
    assert!(
        made.out
            .starts_with("alice:$argon2id$v=19$m=19456,t=2,p=1$"),
        "{}",
        made.out
    );
    assert!(!made.out.contains("sesame"), "{}", made.out);
    let again = typed(&place, &["keys", "hash-password", "alice"], "open sesame\n").expect(0);
    assert_ne!(made.out, again.out, "each has a salt of its own");
    typed(&place, &["keys", "hash-password"], "\n").expect(2);
    typed(&place, &["keys", "hash-password", "a:b"], "x\n").expect(2);
}

#[test]
fn what_would_keep_the_store_shut_is_told_by_check_and_by_a_reload() {
    let place = ready();
    json(&place, &["keys", "create", "--owner", "a"]);
    place.run(&["check"]).expect(0);
    let whole = |name: &str| fs::read(place.work().join(name)).expect("a file");
    let other = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    let told = |name: &str, text: Option<&str>, what: &str| {
        let path = place.work().join(name);
        let kept = whole(name);
        match text {
            Some(text) => fs::write(&path, text).expect("written"),
            None => fs::remove_file(&path).expect("removed"),
        }
        let found = place.run(&["check"]).expect(1);
        assert!(found.out.contains(what), "{}", found.out);
        assert!(found.out.contains("fortress.yaml:4:"), "{}", found.out);
        assert_eq!(path.exists(), text.is_some(), "nothing is made");
        fs::write(&path, kept).expect("written");
    };
    told("store.key", Some(other), "wrong key");
    told("store.key", Some("abcd"), "holds no key");
    told("store.key", None, "there is no key");
    told("pepper.key", Some(other), "another pepper");
    told("pepper.key", Some("abc"), "needs 32");
    told("pepper.key", None, "there is no pepper");
    told("fortress.db", Some("junk"), "not a store");
    told("fortress.db", None, "there is no store");

    let program = place.start(&["run", "--workers", "1"]);
    program.line(|line| line.contains("ready"));
    for (name, what) in [("store.key", "wrong key"), ("pepper.key", "another pepper")] {
        let kept = whole(name);
        place.write(name, other);
        let refusals = || program.log().matches("not reloaded").count();
        let before = refusals();
        program.signal("HUP");
        until("a refusal", || refusals() > before);
        assert!(program.log().contains(what), "{}", program.log());
        fs::write(place.work().join(name), kept).expect("written");
    }
    program.signal("HUP");
    program.logged("reloaded in");
}
