//! Revocations: whom they mean, since when, and until when.

use super::*;
use crate::{MAX_REVOCATIONS, Revocation, RevocationTarget, Revocations, RevokedBy};

fn by_token(id: &str) -> RevocationTarget {
    RevocationTarget::Token {
        issuer: ISSUER.into(),
        id: id.into(),
    }
}

fn by_subject(subject: &str) -> RevocationTarget {
    RevocationTarget::Subject {
        issuer: ISSUER.into(),
        subject: subject.into(),
    }
}

fn by_client(client: &str) -> RevocationTarget {
    RevocationTarget::Client {
        issuer: ISSUER.into(),
        client: client.into(),
    }
}

fn by_issuer(issuer: &str) -> RevocationTarget {
    RevocationTarget::Issuer {
        issuer: issuer.into(),
    }
}

fn record(target: RevocationTarget, issued_before: Option<u64>, until: Option<u64>) -> Revocation {
    Revocation {
        target,
        issued_before: issued_before.map(at),
        until: until.map(at),
    }
}

fn set_of(records: &[Revocation]) -> Revocations {
    Revocations::build(records.iter().cloned(), at(NOW)).expect("few records")
}

const ISSUED: u64 = NOW - 100;

/// A token of alice for the client `web`, issued 100 s ago.
fn shown() -> Verified {
    accepts(&token(&[
        ("jti", "\"t1\""),
        ("client_id", "\"web\""),
        ("iat", &ISSUED.to_string()),
    ]))
}

fn outcome(records: &[Revocation], verified: &Verified, seconds: u64) -> Option<RevokedBy> {
    match set_of(records).check(verified, ISSUER, at(seconds)) {
        Ok(()) => None,
        Err(TokenError::Revoked(by)) => Some(by),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn each_kind_means_its_own() {
    let verified = shown();
    for (target, expected) in [
        (by_token("t1"), Some(RevokedBy::Token)),
        (by_token("t2"), None),
        (by_subject("alice"), Some(RevokedBy::Subject)),
        (by_subject("Alice"), None),
        (by_client("web"), Some(RevokedBy::Client)),
        (by_client("app"), None),
        (by_issuer(ISSUER), Some(RevokedBy::Issuer)),
        (by_issuer("https://other"), None),
        (RevocationTarget::Everything, Some(RevokedBy::Everything)),
    ] {
        let records = [record(target.clone(), None, None)];
        assert_eq!(outcome(&records, &verified, NOW), expected, "{target:?}");
    }
    assert_eq!(outcome(&[], &verified, NOW), None);
    // The same names at another issuer are other people.
    let records = [
        record(by_subject("alice"), None, None),
        record(by_token("t1"), None, None),
    ];
    assert_eq!(
        set_of(&records).check(&verified, "https://other", at(NOW)),
        Ok(())
    );
}

#[test]
fn a_client_may_be_named_by_azp() {
    let verified = accepts(&token(&[("azp", "\"web\"")]));
    let records = [record(by_client("web"), None, None)];
    assert_eq!(outcome(&records, &verified, NOW), Some(RevokedBy::Client));
    // `client_id` says it better.
    let verified = accepts(&token(&[("azp", "\"web\""), ("client_id", "\"app\"")]));
    assert_eq!(outcome(&records, &verified, NOW), None);
}

#[test]
fn only_what_was_issued_before() {
    let (verified, undated) = (shown(), accepts(&token(&[])));
    for target in [
        by_subject("alice"),
        by_issuer(ISSUER),
        RevocationTarget::Everything,
    ] {
        let at_issue = [record(target.clone(), Some(ISSUED), None)];
        assert_eq!(outcome(&at_issue, &verified, NOW), None, "{target:?}");
        let after = [record(target.clone(), Some(ISSUED + 1), None)];
        assert!(outcome(&after, &verified, NOW).is_some(), "{target:?}");
        assert!(
            outcome(&at_issue, &undated, NOW).is_some(),
            "no `iat`: {target:?}"
        );
    }
}

#[test]
fn revocations_end() {
    let verified = shown();
    let records = [record(by_subject("alice"), None, Some(NOW + 10))];
    assert_eq!(
        outcome(&records, &verified, NOW + 9),
        Some(RevokedBy::Subject)
    );
    assert_eq!(outcome(&records, &verified, NOW + 10), None);
    let over = [record(by_subject("alice"), None, Some(NOW))];
    assert!(set_of(&over).is_empty(), "what has ended takes no room");
}

#[test]
fn two_of_one_name_hold_each_for_its_time() {
    let verified = shown();
    // All for ten seconds, and the older ones for good, in either order.
    let all = record(by_subject("alice"), None, Some(NOW + 10));
    let older = record(by_subject("alice"), Some(ISSUED), None);
    for records in [[all.clone(), older.clone()], [older.clone(), all.clone()]] {
        assert_eq!(
            outcome(&records, &verified, NOW + 9),
            Some(RevokedBy::Subject)
        );
        assert_eq!(outcome(&records, &verified, NOW + 10), None);
        let earlier = accepts(&token(&[("iat", &(ISSUED - 1).to_string())]));
        assert_eq!(
            outcome(&records, &earlier, NOW + 10),
            Some(RevokedBy::Subject)
        );
    }
    // One that includes the other makes it needless.
    let longer = record(by_subject("alice"), None, None);
    for records in [[all.clone(), longer.clone()], [longer, all]] {
        assert_eq!(
            outcome(&records, &verified, NOW + 10),
            Some(RevokedBy::Subject)
        );
    }
}

#[test]
fn a_cached_token_is_revoked_at_once() {
    let cache = crate::Cache::new(10);
    let verifier = Verifier::new(expectations());
    let token = token(&[("jti", "\"t1\"")]);
    let verify = || verifier.verify_cached(&token, &KEYS.set, at(NOW), &cache);
    let before = verify().expect("valid");
    assert_eq!(set_of(&[]).check(&before, ISSUER, at(NOW)), Ok(()));
    let cached = verify().expect("still valid by itself");
    let revoked = set_of(&[record(by_token("t1"), None, None)]);
    let error = revoked.check(&cached, ISSUER, at(NOW)).unwrap_err();
    assert_eq!(error.to_string(), "the token was revoked: by its id");
    assert_eq!(error.reason(), fortress_model::Reason::CredentialInvalid);
}

#[test]
fn the_count_is_bounded() {
    let records = (0..MAX_REVOCATIONS).map(|n| record(by_token(&n.to_string()), None, None));
    let full = Revocations::build(records.clone(), at(NOW)).expect("as many as may be");
    assert_eq!(full.len(), MAX_REVOCATIONS);
    assert_eq!(format!("{full:?}"), "Revocations(1000000 records)");
    let one_more = records.chain([record(RevocationTarget::Everything, None, None)]);
    assert!(Revocations::build(one_more, at(NOW)).is_err());
}
