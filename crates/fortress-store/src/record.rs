//! Records as bytes to be sealed, and back. JSON with short names: it can gain members without a
//! step of the schema. Unknown members are an error, since an older Fortress would drop what it does
//! not know when it writes the record again.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use fortress_auth::{
    Revocation, RevocationTarget,
    api_key::{Access, Digest, Environment, KeyId, KeyRecord, KeySecret, Label},
};
use fortress_model::{Secret, Timestamp};
use serde::{Deserialize, Serialize};

use crate::StoreError;

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Key<'r> {
    env: &'r str,
    #[serde(borrow)]
    owner: std::borrow::Cow<'r, str>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    roles: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    scopes: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    operations: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<String>,
    created: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    secrets: Vec<KeySecretText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked: Option<u64>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct KeySecretText {
    digest: String,
    created: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RevocationText {
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
}

pub(crate) fn write_key(record: &KeyRecord) -> Result<Secret<Vec<u8>>, StoreError> {
    let access = &record.access;
    let text = |labels: &[Label]| labels.iter().map(ToString::to_string).collect();
    let secrets = record.secrets.iter().map(|secret| KeySecretText {
        digest: STANDARD_NO_PAD.encode(secret.digest.0),
        created: secret.created.0,
        expires: secret.expires.map(|time| time.0),
    });
    encoded(&Key {
        env: access.environment.as_str(),
        owner: (&*record.owner).into(),
        roles: text(&access.roles),
        scopes: text(&access.scopes),
        operations: text(&access.operations),
        addresses: access.addresses.iter().map(ToString::to_string).collect(),
        created: record.created.0,
        expires: record.expires.map(|time| time.0),
        secrets: secrets.collect(),
        revoked: record.revoked.map(|time| time.0),
    })
}

/// `last_used` stands beside the sealed record, since it is written often.
pub(crate) fn read_key(id: KeyId, plain: &[u8], last_used: Option<i64>) -> Option<KeyRecord> {
    let key: Key<'_> = serde_json::from_slice(plain).ok()?;
    let labels = |texts: Vec<String>| -> Option<Vec<Label>> {
        texts.iter().map(|text| Label::new(text).ok()).collect()
    };
    let secrets = key.secrets.into_iter().map(|secret| {
        let mut digest = Digest([0; 32]);
        let length = STANDARD_NO_PAD
            .decode_slice(&secret.digest, &mut digest.0)
            .ok()?;
        (length == 32).then_some(KeySecret {
            digest,
            created: Timestamp(secret.created),
            expires: secret.expires.map(Timestamp),
        })
    });
    Some(KeyRecord {
        id,
        owner: Label::new(&key.owner).ok()?,
        access: Access {
            environment: Environment::new(key.env).ok()?,
            roles: labels(key.roles)?,
            scopes: labels(key.scopes)?,
            operations: labels(key.operations)?,
            addresses: key
                .addresses
                .iter()
                .map(|text| text.parse().ok())
                .collect::<Option<_>>()?,
        },
        created: Timestamp(key.created),
        expires: key.expires.map(Timestamp),
        secrets: secrets.collect::<Option<_>>()?,
        last_used: last_used
            .and_then(|time| u64::try_from(time).ok())
            .map(Timestamp),
        revoked: key.revoked.map(Timestamp),
    })
}

pub(crate) fn write_revocation(revocation: &Revocation) -> Result<Secret<Vec<u8>>, StoreError> {
    let [kind, issuer, name] = named(&revocation.target);
    encoded(&RevocationText {
        kind: kind.unwrap_or_default().to_owned(),
        issuer: issuer.map(str::to_owned),
        name: name.map(str::to_owned),
        before: revocation.issued_before.map(|time| time.0),
        until: revocation.until.map(|time| time.0),
    })
}

pub(crate) fn read_revocation(plain: &[u8]) -> Option<Revocation> {
    let text: RevocationText = serde_json::from_slice(plain).ok()?;
    let boxed = |text: Option<String>| text.map(String::into_boxed_str);
    let target = match (text.kind.as_str(), boxed(text.issuer), boxed(text.name)) {
        ("token", Some(issuer), Some(id)) => RevocationTarget::Token { issuer, id },
        ("subject", Some(issuer), Some(subject)) => RevocationTarget::Subject { issuer, subject },
        ("client", Some(issuer), Some(client)) => RevocationTarget::Client { issuer, client },
        ("issuer", Some(issuer), None) => RevocationTarget::Issuer { issuer },
        ("everything", None, None) => RevocationTarget::Everything,
        _ => return None,
    };
    Some(Revocation {
        target,
        issued_before: text.before.map(Timestamp),
        until: text.until.map(Timestamp),
    })
}

/// The kind of what is revoked, its issuer and its name.
pub(crate) fn named(target: &RevocationTarget) -> [Option<&str>; 3] {
    match target {
        RevocationTarget::Token { issuer, id } => [Some("token"), Some(issuer), Some(id)],
        RevocationTarget::Subject { issuer, subject } => {
            [Some("subject"), Some(issuer), Some(subject)]
        }
        RevocationTarget::Client { issuer, client } => [Some("client"), Some(issuer), Some(client)],
        RevocationTarget::Issuer { issuer } => [Some("issuer"), Some(issuer), None],
        RevocationTarget::Everything => [Some("everything"), None, None],
    }
}

fn encoded(record: &impl Serialize) -> Result<Secret<Vec<u8>>, StoreError> {
    serde_json::to_vec(record)
        .map(Secret::new)
        .map_err(|error| StoreError::Database(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn label(name: &str) -> Label {
        Label::new(name).unwrap()
    }

    #[test]
    fn keys_come_back_as_they_were() {
        let id = KeyId::from_number(7);
        let mut key = KeyRecord::new(
            id,
            Environment::new("live").unwrap(),
            label("Ex \"ample\\"),
            Digest([1; 32]),
            Timestamp(5),
        );
        let check = |key: &KeyRecord| {
            let plain = write_key(key).unwrap();
            let used = key.last_used.map(|time| i64::try_from(time.0).unwrap());
            assert_eq!(read_key(id, plain.expose(), used).as_ref(), Some(key));
        };
        check(&key);
        key.rotate(Digest([2; 32]), Timestamp(6), Duration::from_secs(1))
            .unwrap();
        key.access.roles = vec![label("admin")];
        key.access.scopes = vec![label("a"), label("b")];
        key.access.operations = vec![label("GET /a")];
        key.access.addresses = vec!["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()];
        (key.expires, key.revoked, key.last_used) =
            (Some(Timestamp(9)), Some(Timestamp(8)), Some(Timestamp(7)));
        check(&key);
    }

    #[test]
    fn what_is_not_understood_is_not_half_read() {
        let good = r#"{"env":"live","owner":"a","created":1,"secrets":[]}"#;
        assert!(read_key(KeyId::from_number(1), good.as_bytes(), None).is_some());
        for (from, to) in [
            ("\"live\"", "\"Live\""),
            ("\"a\"", "\"\""),
            ("[]", "[{\"digest\":\"AA\",\"created\":1}]"),
            ("\"created\"", "\"later\":1,\"created\""),
            ("}", ""),
        ] {
            let wrong = good.replacen(from, to, 1);
            assert!(
                read_key(KeyId::from_number(1), wrong.as_bytes(), None).is_none(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn revocations_come_back_as_they_were() {
        let issuer: Box<str> = "i".into();
        for target in [
            RevocationTarget::Token {
                issuer: issuer.clone(),
                id: "t".into(),
            },
            RevocationTarget::Subject {
                issuer: issuer.clone(),
                subject: "s".into(),
            },
            RevocationTarget::Client {
                issuer: issuer.clone(),
                client: "c".into(),
            },
            RevocationTarget::Issuer { issuer },
            RevocationTarget::Everything,
        ] {
            for time in [None, Some(Timestamp(3))] {
                let revocation = Revocation {
                    target: target.clone(),
                    issued_before: time,
                    until: time,
                };
                let written = write_revocation(&revocation).unwrap();
                assert_eq!(read_revocation(written.expose()), Some(revocation));
            }
        }
        for wrong in [
            r#"{"kind":"token","issuer":"i"}"#,
            r#"{"kind":"tokens","issuer":"i","name":"a"}"#,
            r#"{"kind":"everything","name":"a"}"#,
        ] {
            assert!(read_revocation(wrong.as_bytes()).is_none(), "{wrong}");
        }
    }
}
