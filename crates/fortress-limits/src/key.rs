//! What a limit counts by: parts of a request, hashed to 128 bits without allocating.
//!
//! The hash is SipHash-1-3 under a secret, so that nobody outside can make two keys collide or aim
//! at a set of a table. With 128 bits a collision by chance is not worth a thought.
//! Deliberately not here: where the parts come from; a [`Subject`] gives them.

use std::{
    borrow::Cow,
    fmt,
    hash::Hasher,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use fortress_model::config::Factor;
pub use fortress_model::config::{LimitPart as Part, MissingPart as Missing};
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::cost::Number;

/// The hash of a limit and of the parts that it counts by.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Key {
    high: u64,
    low: u64,
}

impl Key {
    /// The key's two halves, as [`Key::to_halves`] gave them.
    pub const fn from_halves(high: u64, low: u64) -> Self {
        Self { high, low }
    }

    /// The key as two numbers, to be stored. It holds nothing of what was hashed.
    pub fn to_halves(self) -> (u64, u64) {
        (self.high, self.low)
    }

    /// Bits that choose the place in a table.
    pub(crate) fn place(self) -> u64 {
        self.low
    }

    /// Bits that are compared there; never zero.
    pub(crate) fn tag(self) -> u64 {
        self.high.max(1)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.high, self.low)
    }
}

/// When a part is known.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Stage {
    /// From the request's head: before any cryptography.
    Head,
    /// Once the caller is known.
    Identity,
    /// Once the body was read.
    Body,
}

/// When a part is known.
pub fn stage(part: &Part) -> Stage {
    match part {
        Part::Client | Part::Operation | Part::Ja4 | Part::Header(_) | Part::Query(_) => {
            Stage::Head
        }
        Part::Principal | Part::ApiKey | Part::Tenant | Part::Claim(_) => Stage::Identity,
        Part::Body(_) => Stage::Body,
    }
}

/// A number that tells parts with equal values apart.
fn kind(part: &Part) -> u8 {
    match part {
        Part::Client => 1,
        Part::Principal => 2,
        Part::ApiKey => 3,
        Part::Tenant => 4,
        Part::Operation => 5,
        Part::Claim(_) => 6,
        Part::Header(_) => 7,
        Part::Query(_) => 8,
        Part::Body(_) => 9,
        Part::Ja4 => 10,
    }
}

/// A request, as far as limits look at it.
pub trait Subject {
    /// The client's address, as `trusted_proxies` make it known.
    fn client(&self) -> IpAddr;

    /// The value of any other part; `None` if the request has none. Of a header field or parameter
    /// that is there several times, all its values.
    fn part(&self, part: &Part) -> Option<Cow<'_, [u8]>>;

    /// A number that a cost is made from.
    fn number(&self, factor: &Factor) -> Number<'_>;

    /// Whether the principal is one of this name, as exemptions write it; `false` while nobody is known.
    fn is_principal(&self, name: &str) -> bool;

    /// Whether the client is in a list of networks, by the list's name.
    fn is_in(&self, list: &str) -> bool;
}

/// Why a request has no key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NoKey {
    /// The limit does not hold for it.
    Skip,
    /// It is refused.
    Refuse,
}

/// How much of a client's address is the client.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Prefixes {
    v4: u8,
    v6: u8,
}

impl Default for Prefixes {
    /// The whole of an IPv4 address; of IPv6 the /64, which one machine has to itself.
    fn default() -> Self {
        Self { v4: 32, v6: 64 }
    }
}

impl Prefixes {
    /// `v4` from 1 to 32, `v6` from 1 to 128; beyond that the nearest.
    pub fn new(v4: u8, v6: u8) -> Self {
        Self {
            v4: v4.clamp(1, 32),
            v6: v6.clamp(1, 128),
        }
    }

    /// The network that an address is counted as. An IPv4 address that came in IPv6's clothes is
    /// the same client.
    pub fn network(self, address: IpAddr) -> IpAddr {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.v4)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.v6)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
            }
        }
    }
}

/// The secret under which keys are hashed. Where counts survive a restart, it must too.
#[derive(Clone)]
pub struct Secret([u8; 16]);

impl Secret {
    /// From 16 random bytes.
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// A hasher under the secret.
    pub(crate) fn hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a limit counts by, ready to be asked.
#[derive(Clone, Debug)]
pub struct KeySpec {
    /// The hasher after the secret and the limit's name.
    begun: SipHasher13,
    parts: Box<[Part]>,
    missing: Missing,
    prefixes: Prefixes,
}

impl KeySpec {
    /// `name` tells limits apart: two with the same name and parts count together, on whichever
    /// operations they stand. Without parts, all requests are counted together.
    pub fn new(
        secret: &Secret,
        name: &str,
        parts: impl Into<Box<[Part]>>,
        missing: Missing,
        prefixes: Prefixes,
    ) -> Self {
        let mut begun = SipHasher13::new_with_key(&secret.0);
        write(&mut begun, 0, name.as_bytes());
        Self {
            begun,
            parts: parts.into(),
            missing,
            prefixes,
        }
    }

    /// When all parts are known.
    pub fn stage(&self) -> Stage {
        let stages = self.parts.iter().map(stage);
        stages.max().unwrap_or(Stage::Head)
    }

    /// The request's key.
    pub fn key(&self, subject: &(impl Subject + ?Sized)) -> Result<Key, NoKey> {
        let mut hasher = self.begun;
        for part in &self.parts {
            let value = match part {
                Part::Client => {
                    self.write_client(&mut hasher, kind(part), subject.client());
                    continue;
                }
                Part::Principal
                | Part::ApiKey
                | Part::Tenant
                | Part::Operation
                | Part::Ja4
                | Part::Claim(_)
                | Part::Header(_)
                | Part::Query(_)
                | Part::Body(_) => subject.part(part),
            };
            match (value, self.missing) {
                (Some(value), _) => write(&mut hasher, kind(part), &value),
                (None, Missing::Client) => {
                    self.write_client(&mut hasher, kind(part) | ABSENT, subject.client());
                }
                (None, Missing::Share) => write(&mut hasher, kind(part) | ABSENT, b""),
                (None, Missing::Skip) => return Err(NoKey::Skip),
                (None, Missing::Refuse) => return Err(NoKey::Refuse),
            }
        }
        let hash = hasher.finish128();
        Ok(Key {
            high: hash.h1,
            low: hash.h2,
        })
    }

    fn write_client(&self, hasher: &mut SipHasher13, kind: u8, client: IpAddr) {
        match self.prefixes.network(client) {
            IpAddr::V4(address) => write(hasher, kind, &address.octets()),
            IpAddr::V6(address) => write(hasher, kind, &address.octets()),
        }
    }
}

/// Set in the kind of a part that the request does not have.
const ABSENT: u8 = 0x80;

/// The length goes first, so that no two sequences of values are the same bytes.
pub(crate) fn write(hasher: &mut SipHasher13, kind: u8, value: &[u8]) {
    hasher.write_u8(kind);
    hasher.write_u64(u64::try_from(value.len()).unwrap_or(u64::MAX));
    hasher.write(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Request {
        client: &'static str,
        parts: &'static [(Part, &'static str)],
    }

    impl Subject for Request {
        fn client(&self) -> IpAddr {
            self.client.parse().unwrap()
        }

        fn part(&self, part: &Part) -> Option<Cow<'_, [u8]>> {
            let found = self.parts.iter().find(|(known, _)| known == part)?;
            Some(Cow::Borrowed(found.1.as_bytes()))
        }

        fn number(&self, _: &Factor) -> Number<'_> {
            Number::Absent
        }

        fn is_principal(&self, _: &str) -> bool {
            false
        }

        fn is_in(&self, _: &str) -> bool {
            false
        }
    }

    fn spec(name: &str, parts: &[Part], missing: Missing) -> KeySpec {
        let secret = Secret::new([7; 16]);
        KeySpec::new(&secret, name, parts, missing, Prefixes::default())
    }

    fn client(address: &'static str) -> Key {
        let request = Request {
            client: address,
            parts: &[],
        };
        spec("a", &[Part::Client], Missing::Client)
            .key(&request)
            .unwrap()
    }

    #[test]
    fn a_client_is_an_address_or_a_network() {
        assert_eq!(
            client("2001:db8::1"),
            client("2001:db8::ffff:ffff:ffff:ffff")
        );
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
        assert_eq!(client("::ffff:192.0.2.1"), client("192.0.2.1"));
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
        let wide = Prefixes::new(24, 48);
        assert_eq!(
            wide.network("192.0.2.77".parse().unwrap()),
            "192.0.2.0".parse::<IpAddr>().unwrap()
        );
        assert_eq!(
            wide.network("2001:db8:1:2::3".parse().unwrap()),
            "2001:db8:1::".parse::<IpAddr>().unwrap()
        );
        // Out of range is the nearest, not everything.
        assert_eq!(Prefixes::new(0, 0), Prefixes::new(1, 1));
        assert_eq!(Prefixes::new(255, 255), Prefixes::new(32, 128));
    }

    #[test]
    fn names_parts_values_and_secrets_tell_keys_apart() {
        let request = Request {
            client: "192.0.2.1",
            parts: &[(Part::Principal, "ab"), (Part::Tenant, "c")],
        };
        let other = Request {
            client: "192.0.2.1",
            parts: &[(Part::Principal, "a"), (Part::Tenant, "bc")],
        };
        let both = spec("x", &[Part::Principal, Part::Tenant], Missing::Skip);
        assert_ne!(both.key(&request), both.key(&other));
        assert_eq!(both.key(&request), both.clone().key(&request));
        let name = spec("y", &[Part::Principal, Part::Tenant], Missing::Skip);
        assert_ne!(both.key(&request), name.key(&request));
        let one = spec("x", &[Part::Principal], Missing::Skip);
        assert_ne!(both.key(&request), one.key(&request));
        let secret = KeySpec::new(
            &Secret::new([8; 16]),
            "x",
            [Part::Principal],
            Missing::Skip,
            Prefixes::default(),
        );
        assert_ne!(one.key(&request), secret.key(&request));
    }

    #[test]
    fn what_is_missing() {
        let here = Request {
            client: "192.0.2.1",
            parts: &[],
        };
        let there = Request {
            client: "192.0.2.2",
            parts: &[],
        };
        // Named like the address that would stand in: still another key.
        let named = Request {
            client: "192.0.2.1",
            parts: &[(Part::Principal, "\u{0}\u{0}\u{2}\u{1}")],
        };
        let of = |missing, request: &Request| spec("a", &[Part::Principal], missing).key(request);
        assert_ne!(of(Missing::Client, &here), of(Missing::Client, &there));
        assert_ne!(of(Missing::Client, &here), of(Missing::Client, &named));
        assert_eq!(of(Missing::Share, &here), of(Missing::Share, &there));
        assert_ne!(of(Missing::Share, &here), of(Missing::Share, &named));
        assert_eq!(of(Missing::Skip, &here), Err(NoKey::Skip));
        assert_eq!(of(Missing::Refuse, &here), Err(NoKey::Refuse));
        assert!(of(Missing::Refuse, &named).is_ok());
    }

    #[test]
    fn a_key_waits_for_its_last_part() {
        let stage = |parts: &[Part]| spec("a", parts, Missing::Client).stage();
        assert_eq!(stage(&[]), Stage::Head);
        assert_eq!(
            stage(&[Part::Client, Part::Header("a".into())]),
            Stage::Head
        );
        assert_eq!(
            stage(&[Part::Client, Part::Claim("a".into())]),
            Stage::Identity
        );
        assert_eq!(stage(&[Part::Body("a".into()), Part::Tenant]), Stage::Body);
    }

    #[test]
    fn secrets_are_not_shown() {
        assert_eq!(format!("{:?}", Secret::new([7; 16])), "Secret(…)");
    }
}
