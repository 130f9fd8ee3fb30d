//! Tokens that no longer count, though their issuer's signature or answer says otherwise.
//!
//! An immutable set, built from records and swapped as a whole; a look-up neither waits nor
//! allocates. Keeping the records, and telling other instances, is not done here.
//!
//! INVARIANT: checked on each request, after any cache of verified tokens, so that a revocation
//! holds from the next request on.

use std::{collections::HashMap, fmt};

use fortress_model::Timestamp;

use crate::{
    Verified,
    error::{RevokedBy, TokenError},
};

/// Records in one set, at most.
pub const MAX_REVOCATIONS: usize = 1_000_000;

/// What is revoked. Each issuer's names are its own.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum RevocationTarget {
    /// The token with this `jti`.
    Token {
        /// Its `iss`.
        issuer: Box<str>,
        /// Its `jti`.
        id: Box<str>,
    },
    /// Every token that speaks for this subject.
    Subject {
        /// Their `iss`.
        issuer: Box<str>,
        /// Their `sub`.
        subject: Box<str>,
    },
    /// Every token that was issued to this client.
    Client {
        /// Their `iss`.
        issuer: Box<str>,
        /// Their `client_id`, else `azp`.
        client: Box<str>,
    },
    /// Every token of this issuer.
    Issuer {
        /// Their `iss`.
        issuer: Box<str>,
    },
    /// Every token there is.
    Everything,
}

/// One revocation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Revocation {
    /// What is revoked.
    pub target: RevocationTarget,
    /// If given, only what was issued before (`iat`); a token that does not say when it was issued
    /// counts as issued before.
    pub issued_before: Option<Timestamp>,
    /// From here on it no longer holds; never, if not given. It may end when the last of the
    /// tokens that it means has expired.
    pub until: Option<Timestamp>,
}

/// The revocations that hold.
#[derive(Clone, Default)]
pub struct Revocations {
    everything: Terms,
    issuers: HashMap<Box<str>, OfIssuer>,
    records: usize,
}

/// There are more records than [`MAX_REVOCATIONS`]. The set before stays in force.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("there are more than {MAX_REVOCATIONS} revocations; let them end when their tokens expire")]
pub struct TooManyRevocations;

#[derive(Clone, Default)]
struct OfIssuer {
    all: Terms,
    tokens: HashMap<Box<str>, Terms>,
    subjects: HashMap<Box<str>, Terms>,
    clients: HashMap<Box<str>, Terms>,
}

impl Revocations {
    /// Builds the set of those records that still hold.
    ///
    /// # Errors
    /// There are too many.
    pub fn build(
        records: impl IntoIterator<Item = Revocation>,
        now: Timestamp,
    ) -> Result<Self, TooManyRevocations> {
        let mut set = Self::default();
        for record in records {
            if record.until.is_some_and(|until| until <= now) {
                continue;
            }
            set.records += 1;
            if set.records > MAX_REVOCATIONS {
                return Err(TooManyRevocations);
            }
            set.add(record);
        }
        Ok(set)
    }

    fn add(&mut self, record: Revocation) {
        let term = Term {
            issued_before: record.issued_before,
            until: record.until,
        };
        let terms = match record.target {
            RevocationTarget::Everything => &mut self.everything,
            RevocationTarget::Issuer { issuer } => &mut self.issuers.entry(issuer).or_default().all,
            RevocationTarget::Token { issuer, id } => {
                let issuer = self.issuers.entry(issuer).or_default();
                issuer.tokens.entry(id).or_default()
            }
            RevocationTarget::Subject { issuer, subject } => {
                let issuer = self.issuers.entry(issuer).or_default();
                issuer.subjects.entry(subject).or_default()
            }
            RevocationTarget::Client { issuer, client } => {
                let issuer = self.issuers.entry(issuer).or_default();
                issuer.clients.entry(client).or_default()
            }
        };
        terms.add(term);
    }

    /// Whether a verified token of this issuer still counts. The issuer is the one whose keys or
    /// answer vouched for the token, since an answer need not name it.
    ///
    /// # Errors
    /// [`TokenError::Revoked`].
    pub fn check(
        &self,
        verified: &Verified,
        issuer: &str,
        now: Timestamp,
    ) -> Result<(), TokenError> {
        self.check_issued(verified, issuer, issued(verified), now)
    }

    /// As [`Self::check`], for what began at another time than its token was issued: a session,
    /// which gets new tokens as long as it lasts.
    ///
    /// # Errors
    /// [`TokenError::Revoked`].
    pub fn check_issued(
        &self,
        verified: &Verified,
        issuer: &str,
        issued: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), TokenError> {
        if self.is_empty() {
            return Ok(());
        }
        let revoked = |terms: &Terms| terms.hold(issued, now);
        let among = |terms: &HashMap<Box<str>, Terms>, name: Option<&str>| {
            name.and_then(|name| terms.get(name)).is_some_and(revoked)
        };
        let claim = |name| {
            verified
                .claims
                .all()
                .get(name)
                .and_then(|claim| claim.as_str())
        };
        if revoked(&self.everything) {
            return Err(TokenError::Revoked(RevokedBy::Everything));
        }
        let Some(of_issuer) = self.issuers.get(issuer) else {
            return Ok(());
        };
        let by = if revoked(&of_issuer.all) {
            RevokedBy::Issuer
        } else if among(&of_issuer.tokens, claim("jti")) {
            RevokedBy::Token
        } else if among(&of_issuer.subjects, Some(&verified.subject)) {
            RevokedBy::Subject
        } else if among(
            &of_issuer.clients,
            claim("client_id").or_else(|| claim("azp")),
        ) {
            RevokedBy::Client
        } else {
            return Ok(());
        };
        Err(TokenError::Revoked(by))
    }

    /// How many records it was built from.
    pub fn len(&self) -> usize {
        self.records
    }

    /// Nothing is revoked.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }
}

/// `iat`, as nanoseconds since the epoch; the verifier has seen to it that it is a date.
fn issued(verified: &Verified) -> Option<Timestamp> {
    let seconds = verified.claims.all().get("iat")?.as_f64()?;
    let issued = std::time::Duration::try_from_secs_f64(seconds).ok()?;
    u64::try_from(issued.as_nanos()).ok().map(Timestamp)
}

/// The terms under which one name is revoked. Those that another includes are left out, so that
/// there are hardly ever two.
#[derive(Clone, Default)]
struct Terms(Vec<Term>);

#[derive(Clone, Copy)]
struct Term {
    issued_before: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Terms {
    fn add(&mut self, term: Term) {
        if self.0.iter().any(|other| other.includes(&term)) {
            return;
        }
        self.0.retain(|other| !term.includes(other));
        self.0.push(term);
    }

    fn hold(&self, issued: Option<Timestamp>, now: Timestamp) -> bool {
        self.0.iter().any(|term| {
            let in_force = term.until.is_none_or(|until| now < until);
            let meant = match (term.issued_before, issued) {
                (None, _) | (Some(_), None) => true,
                (Some(before), Some(issued)) => issued < before,
            };
            in_force && meant
        })
    }
}

impl Term {
    /// Whatever the other revokes, this one revokes at least as long.
    fn includes(&self, other: &Self) -> bool {
        let wider = match (self.issued_before, other.issued_before) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(ours), Some(theirs)) => ours >= theirs,
        };
        let longer = match (self.until, other.until) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(ours), Some(theirs)) => ours >= theirs,
        };
        wider && longer
    }
}

// Who is revoked is not for logs.
impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Revocations({} records)", self.records)
    }
}
