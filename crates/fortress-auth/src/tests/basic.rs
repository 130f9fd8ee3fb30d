//! Basic credentials: what is read, what is believed, and how weak hashes are refused.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use fortress_model::{Reason, Secret};

use super::{NOW, at};
use crate::basic::{BasicCredential, BasicError, BasicUsers, PasswordHash, hash};

/// Of `password` under the salt `somesaltsomesalt`, by the reference implementation:
/// `argon2 somesaltsomesalt -id -t 2 -k 19456 -p 1 -l 32 -e`.
const REFERENCE: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$K13EBUiG7JV+9ZxztmHFTdb7J0WQsnj2V8bZaqyPptE";

fn credential(text: &str) -> BasicCredential {
    BasicCredential::parse(&STANDARD.encode(text)).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[track_caller]
fn malformed(bytes: &[u8], why: &'static str) {
    let found = BasicCredential::parse(&STANDARD.encode(bytes));
    assert_eq!(found.err(), Some(BasicError::Malformed(why)));
}

fn users(remember: Duration) -> BasicUsers {
    let hash = PasswordHash::parse(REFERENCE).expect("a hash");
    BasicUsers::new(vec![("alice".into(), hash)], &[7; 32], 100, remember).expect("users")
}

#[test]
fn credentials_are_read_strictly() {
    // RFC 7617, section 2 and 2.1.
    assert_eq!(
        BasicCredential::parse("QWxhZGRpbjpvcGVuIHNlc2FtZQ==").map(|c| c.name().to_owned()),
        Ok("Aladdin".into())
    );
    assert_eq!(
        BasicCredential::parse("dGVzdDoxMjPCow==").map(|c| c.name().to_owned()),
        Ok("test".into())
    );
    assert_eq!(credential("a:b:c").name(), "a");
    assert_eq!(credential("a:").name(), "a");
    malformed(b"alice", "it has no colon");
    malformed(b":secret", "it has no name");
    malformed(b"", "it has no colon");
    malformed(b"a:b\n", "it has a control character");
    malformed(b"a\0:b", "it has a control character");
    malformed("a:\u{85}".as_bytes(), "it has a control character");
    malformed(b"a:\xa3", "it is not UTF-8");
    for text in [
        "YTpi=", "YTpi ", "YT pi", "YTp", "YTo", "YTr=", "*", "YTpiYw",
    ] {
        let found = BasicCredential::parse(text).err();
        assert_eq!(
            found,
            Some(BasicError::Malformed("it is not base64")),
            "{text}"
        );
    }
    let long = STANDARD.encode([b'a'; 1000]);
    assert_eq!(
        BasicCredential::parse(&long).err(),
        Some(BasicError::TooLarge)
    );
}

#[test]
fn the_reference_implementations_hash_is_verified() {
    let users = users(Duration::from_secs(60));
    let now = at(NOW);
    assert_eq!(
        users.verify(&credential("alice:password"), now).as_deref(),
        Ok("alice")
    );
    assert_eq!(
        users.verify(&credential("alice:Password"), now),
        Err(BasicError::Wrong)
    );
    assert_eq!(
        users.verify(&credential("alice:"), now),
        Err(BasicError::Wrong)
    );
    assert_eq!(
        users.verify(&credential("Alice:password"), now),
        Err(BasicError::Wrong)
    );
    assert_eq!(BasicError::Wrong.reason(), Reason::CredentialInvalid);
}

#[test]
fn what_was_verified_is_remembered_for_a_while() {
    let users = users(Duration::from_secs(60));
    let right = credential("alice:password");
    assert_eq!(users.remembered(&right, at(NOW)), None);
    assert!(users.verify(&right, at(NOW)).is_ok());
    assert_eq!(
        users.remembered(&right, at(NOW + 59)).as_deref(),
        Some("alice")
    );
    assert_eq!(
        users.remembered(&credential("alice:passwore"), at(NOW)),
        None
    );
    assert_eq!(
        users.remembered(&credential("alic:epassword"), at(NOW)),
        None
    );
    assert_eq!(users.remembered(&right, at(NOW + 60)), None);
    let wrong = credential("alice:wrong");
    assert!(users.verify(&wrong, at(NOW)).is_err());
    assert_eq!(users.remembered(&wrong, at(NOW)), None);
}

#[test]
fn an_unknown_name_costs_what_a_known_one_does() {
    let costly = REFERENCE.replace("m=19456,t=2", "m=65536,t=3");
    let cheap = PasswordHash::parse(REFERENCE).expect("a hash");
    let costly = PasswordHash::parse(&costly).expect("a hash");
    let named = vec![("alice".into(), cheap), ("bob".into(), costly)];
    let users = BasicUsers::new(named, &[7; 32], 100, Duration::ZERO).expect("users");
    assert_eq!(
        users.verify(&credential("mallory:password"), at(NOW)),
        Err(BasicError::Wrong)
    );
    // Both costs occur among unknown names, and one name has always the same.
    let cost = |name: &str| format!("{:?}", users.stand_in(name).expect("a hash"));
    let costs: Vec<String> = (0..64).map(|n| cost(&format!("unknown{n}"))).collect();
    assert!(costs.iter().any(|cost| cost.contains("m=19456,t=2,p=1")));
    assert!(costs.iter().any(|cost| cost.contains("m=65536,t=3,p=1")));
    assert_eq!(cost("mallory"), cost("mallory"));
}

#[test]
fn hashes_are_made_that_are_read() {
    let made = hash(&Secret::new("hunter2".into()), [9; 16]).expect("a hash");
    assert!(
        made.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
        "{made}"
    );
    let hash = PasswordHash::parse(&made).expect("a hash");
    let users = BasicUsers::new(vec![("bob".into(), hash)], &[1; 32], 10, Duration::ZERO).unwrap();
    assert!(users.verify(&credential("bob:hunter2"), at(NOW)).is_ok());
    assert!(users.verify(&credential("bob:hunter3"), at(NOW)).is_err());
}

#[test]
fn weak_and_ruinous_hashes_are_refused() {
    let with =
        |parameters: &str| PasswordHash::parse(&REFERENCE.replace("m=19456,t=2,p=1", parameters));
    for parameters in [
        "m=47104,t=1,p=1",
        "m=12288,t=3,p=1",
        "m=9216,t=4,p=1",
        "m=7168,t=5,p=4",
        "m=65536,t=3,p=4",
    ] {
        assert!(with(parameters).is_ok(), "{parameters}");
    }
    for parameters in [
        "m=19455,t=2,p=1",
        "m=19456,t=1,p=1",
        "m=4096,t=10,p=1",
        "m=7167,t=5,p=1",
    ] {
        assert!(
            with(parameters).unwrap_err().contains("too weak"),
            "{parameters}"
        );
    }
    for parameters in [
        "m=999999999,t=2,p=1",
        "m=19456,t=17,p=1",
        "m=19456,t=2,p=9",
        "m=262145,t=2,p=1",
    ] {
        assert!(
            with(parameters).unwrap_err().contains("too costly"),
            "{parameters}"
        );
    }
    for parameters in [
        "m=19456,t=2",
        "t=2,m=19456,p=1",
        "m=+19456,t=2,p=1",
        "m=019456,t=2,p=1",
        "m=19456,t=2,p=1,x=1",
        "m=19456,t=2,p=0",
    ] {
        assert!(with(parameters).is_err(), "{parameters}");
    }
    for text in [
        "",
        "password",
        "$argon2i$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$aGFzaA",
        "$2b$12$abcdefghijklmnopqrstuv",
        "$argon2id$m=19456,t=2,p=1$c29tZXNhbHQ$aGFzaA",
    ] {
        assert!(
            PasswordHash::parse(text)
                .unwrap_err()
                .contains("hash-password"),
            "{text}"
        );
    }
    let short = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$aGFzaA";
    assert!(PasswordHash::parse(short).unwrap_err().contains("16 to 64"));
    assert!(PasswordHash::parse(&format!("{REFERENCE}$")).is_err());
}

#[test]
fn users_have_names_of_their_own() {
    let hash = || PasswordHash::parse(REFERENCE).expect("a hash");
    let made = |names: &[&str]| {
        let users = names
            .iter()
            .map(|name| ((*name).to_owned(), hash()))
            .collect();
        BasicUsers::new(users, &[0; 32], 1, Duration::ZERO)
    };
    assert_eq!(made(&["a", "b"]).map(|users| users.len()).ok(), Some(2));
    for names in [&[][..], &["a", "b", "a"], &[""], &["a:b"], &["a\n"]] {
        assert!(made(names).is_err(), "{names:?}");
    }
}

#[test]
fn nothing_is_printed() {
    let printed = format!(
        "{:?} {:?} {:?}",
        credential("alice:password"),
        users(Duration::ZERO),
        PasswordHash::parse(REFERENCE)
    );
    assert!(
        !printed.contains("alice") && !printed.contains("password"),
        "{printed}"
    );
}
