//! What is known of a key: whose it is, what it may do, until when, and the digests of its secrets.
//!
//! Deliberately not here: the key itself, which is shown once and kept nowhere.

use std::{fmt, net::IpAddr, ops::Deref, time::Duration};

use fortress_model::{Timestamp, config::Network};

use super::{Digest, Environment, KeyId};

/// Secrets of one key that are live at once: the new one, and the one that it replaces.
pub const MAX_SECRETS: usize = 2;

/// A name that people gave: 1 to 256 bytes, no control characters, no space at either end.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Label(Box<str>);

/// Not a name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a name has 1 to 256 bytes, no control characters, and no space at either end")]
pub struct LabelError;

impl Label {
    const LONGEST: usize = 256;

    /// Takes a name.
    ///
    /// # Errors
    /// If it is none.
    pub fn new(name: &str) -> Result<Self, LabelError> {
        let is_name = (1..=Self::LONGEST).contains(&name.len())
            && name.trim() == name
            && !name.chars().any(char::is_control);
        if is_name {
            Ok(Self(name.into()))
        } else {
            Err(LabelError)
        }
    }
}

impl Deref for Label {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Label {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a key may do, and from where. Many keys are alike in this, and share one.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Access {
    /// What it is for.
    pub environment: Environment,
    /// Its roles.
    pub roles: Vec<Label>,
    /// Its scopes.
    pub scopes: Vec<Label>,
    /// The operations that it may call; empty for all.
    pub operations: Vec<Label>,
    /// The networks that it may be used from; empty for all.
    pub addresses: Vec<Network>,
}

impl Access {
    /// It has this scope.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes.iter().any(|held| **held == *scope)
    }

    /// It has this role.
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|held| **held == *role)
    }

    /// It may be used from this address.
    pub fn allows_address(&self, address: IpAddr) -> bool {
        self.addresses.is_empty()
            || self
                .addresses
                .iter()
                .any(|network| network.contains(address))
    }

    /// It may call an operation that has these names: its operationId, `METHOD /template`, and a
    /// `tag:NAME` for each of its tags.
    pub fn allows_operation<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> bool {
        self.operations.is_empty()
            || names
                .into_iter()
                .any(|name| self.operations.iter().any(|allowed| **allowed == *name))
    }
}

/// One secret of a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeySecret {
    /// What is kept of it.
    pub digest: Digest,
    /// When it was made.
    pub created: Timestamp,
    /// From here on it is not accepted; `None` for as long as the key lives.
    pub expires: Option<Timestamp>,
}

/// Everything that is known of a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyRecord {
    /// What it is found by.
    pub id: KeyId,
    /// Whose it is.
    pub owner: Label,
    /// What it may do.
    pub access: Access,
    /// When it was made.
    pub created: Timestamp,
    /// From here on it is not accepted.
    pub expires: Option<Timestamp>,
    /// The newest first; one or two.
    pub secrets: Vec<KeySecret>,
    /// When it was last accepted, to a minute or so.
    pub last_used: Option<Timestamp>,
    /// Since when it is not accepted any more.
    pub revoked: Option<Timestamp>,
}

/// Whether a key is accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyState {
    /// It is.
    Active,
    /// It was, until it expired.
    Expired,
    /// It was, until it was revoked.
    Revoked,
}

impl KeyState {
    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// Why a key cannot get another secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RotateError {
    /// Both its secrets are live.
    #[error("the key is being rotated already: the older secret is still accepted")]
    TwoLive,
    /// It is revoked or expired.
    #[error("the key is {}", .0.word())]
    NotActive(KeyState),
}

impl KeyRecord {
    /// A key that may do everything everywhere and does not expire.
    pub fn new(
        id: KeyId,
        environment: Environment,
        owner: Label,
        digest: Digest,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            owner,
            access: Access {
                environment,
                roles: Vec::new(),
                scopes: Vec::new(),
                operations: Vec::new(),
                addresses: Vec::new(),
            },
            created: now,
            expires: None,
            secrets: vec![KeySecret {
                digest,
                created: now,
                expires: None,
            }],
            last_used: None,
            revoked: None,
        }
    }

    /// Whether it is accepted.
    pub fn state(&self, now: Timestamp) -> KeyState {
        if self.revoked.is_some() {
            KeyState::Revoked
        } else if self.expires.is_some_and(|end| end <= now) {
            KeyState::Expired
        } else {
            KeyState::Active
        }
    }

    /// Gives it another secret. The present one is accepted for `overlap` more; with no overlap it
    /// ends now, as does any other.
    ///
    /// # Errors
    /// If the key is not active, or two secrets are live and there is an overlap.
    pub fn rotate(
        &mut self,
        digest: Digest,
        now: Timestamp,
        overlap: Duration,
    ) -> Result<(), RotateError> {
        match self.state(now) {
            KeyState::Active => {}
            state @ (KeyState::Expired | KeyState::Revoked) => {
                return Err(RotateError::NotActive(state));
            }
        }
        let overlap = u64::try_from(overlap.as_nanos()).unwrap_or(u64::MAX);
        let end = Timestamp(now.0.saturating_add(overlap));
        if overlap == 0 {
            self.secrets.clear();
        }
        self.secrets
            .retain(|secret| secret.expires.is_none_or(|expires| now < expires));
        if self.secrets.len() >= MAX_SECRETS {
            return Err(RotateError::TwoLive);
        }
        for secret in &mut self.secrets {
            secret.expires = Some(secret.expires.map_or(end, |expires| expires.min(end)));
        }
        self.secrets.insert(
            0,
            KeySecret {
                digest,
                created: now,
                expires: None,
            },
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600 * 1_000_000_000;

    fn record() -> KeyRecord {
        KeyRecord::new(
            KeyId::from_number(1),
            Environment::new("live").unwrap(),
            Label::new("Example Ltd").unwrap(),
            Digest([1; 32]),
            Timestamp(HOUR),
        )
    }

    #[test]
    fn labels() {
        let longest = "a".repeat(256);
        for name in ["a", "Example Ltd", "GET /a", "naïve", &longest] {
            assert_eq!(&*Label::new(name).unwrap(), name);
        }
        let long = "a".repeat(257);
        for name in ["", " a", "a ", "a\nb", "a\u{1b}b", &long] {
            assert!(Label::new(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn access_is_all_or_what_is_listed() {
        let mut access = record().access;
        assert!(access.allows_address([10, 0, 0, 1].into()));
        assert!(access.allows_operation(["getOrder"]));
        assert!(!access.has_scope("a") && !access.has_role("a"));
        access.addresses = vec!["10.0.0.0/8".parse().unwrap()];
        access.operations = vec![Label::new("tag:read").unwrap()];
        access.scopes = vec![Label::new("a").unwrap()];
        access.roles = vec![Label::new("b").unwrap()];
        assert!(access.allows_address([10, 9, 9, 9].into()));
        assert!(!access.allows_address([11, 0, 0, 1].into()));
        assert!(access.allows_operation(["getOrder", "tag:read"]));
        assert!(!access.allows_operation(["getOrder", "tag:reads"]));
        assert!(access.has_scope("a") && !access.has_scope("A"));
        assert!(access.has_role("b") && !access.has_role("a"));
    }

    #[test]
    fn a_rotation_overlaps_and_there_are_never_three() {
        let mut record = record();
        let overlap = Duration::from_secs(3_600);
        record
            .rotate(Digest([2; 32]), Timestamp(2 * HOUR), overlap)
            .unwrap();
        let ends: Vec<_> = record.secrets.iter().map(|secret| secret.expires).collect();
        assert_eq!(ends, [None, Some(Timestamp(3 * HOUR))]);
        assert_eq!(record.secrets[0].digest, Digest([2; 32]));

        let third = record.rotate(Digest([3; 32]), Timestamp(3 * HOUR - 1), overlap);
        assert_eq!(third, Err(RotateError::TwoLive));
        assert_eq!(record.secrets.len(), 2);

        record
            .rotate(Digest([3; 32]), Timestamp(3 * HOUR), overlap)
            .unwrap();
        assert_eq!(record.secrets[1].digest, Digest([2; 32]));
        // Without an overlap all others end at once.
        record
            .rotate(Digest([4; 32]), Timestamp(3 * HOUR), Duration::ZERO)
            .unwrap();
        assert_eq!(record.secrets.len(), 1);
        assert_eq!(record.secrets[0].digest, Digest([4; 32]));
    }

    #[test]
    fn what_is_not_active_is_not_rotated() {
        let mut record = record();
        record.expires = Some(Timestamp(5 * HOUR));
        assert_eq!(record.state(Timestamp(5 * HOUR - 1)), KeyState::Active);
        assert_eq!(record.state(Timestamp(5 * HOUR)), KeyState::Expired);
        let expired = record.rotate(Digest([2; 32]), Timestamp(5 * HOUR), Duration::ZERO);
        assert_eq!(expired, Err(RotateError::NotActive(KeyState::Expired)));
        record.revoked = Some(Timestamp(HOUR));
        assert_eq!(record.state(Timestamp(HOUR)), KeyState::Revoked);
        let revoked = record.rotate(Digest([2; 32]), Timestamp(HOUR), Duration::ZERO);
        assert_eq!(revoked, Err(RotateError::NotActive(KeyState::Revoked)));
        assert_eq!(record.secrets.len(), 1);
    }
}
