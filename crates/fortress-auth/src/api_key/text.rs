//! The text of a key: made, read strictly, and proven by its checksum.
//!
//! Deliberately not here: whether anybody holds it.

use std::{fmt, str::FromStr};

use fortress_model::Secret;

use super::KeyError;

/// Bytes that the text of a key may have, keys made elsewhere included.
pub const MAX_KEY: usize = 256;

const PREFIX: &str = "frt_";
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 59.5 bits: among a million keys two ids are alike with a chance of 1 to 1.7 million, which the
/// store refuses.
const ID: usize = 10;
/// 178 bits.
const SECRET: usize = 30;
/// 62⁶ > 2³²: a whole CRC-32.
const CHECK: usize = 6;
/// 62¹⁰, one more than the greatest id.
const IDS: u64 = 839_299_365_868_340_224;

/// The source of randomness failed: no key can be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no randomness")]
pub struct NoRandomness;

/// Fills a buffer with randomness fit for secrets.
type Random<'r> = dyn FnMut(&mut [u8]) -> Result<(), NoRandomness> + 'r;

/// What a key is for, such as `live` or `test`: a letter, then letters and digits, all in lower
/// case, at most 16.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Environment(Box<str>);

/// Not an environment's name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an environment is a letter, then letters and digits, all in lower case, at most 16")]
pub struct EnvironmentError;

impl Environment {
    const LONGEST: usize = 16;

    /// Takes a name.
    ///
    /// # Errors
    /// If it is none.
    pub fn new(name: &str) -> Result<Self, EnvironmentError> {
        if Self::is(name) {
            Ok(Self(name.into()))
        } else {
            Err(EnvironmentError)
        }
    }

    fn is(name: &str) -> bool {
        name.len() <= Self::LONGEST
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a key is found by: no secret, ten letters and digits.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyId(u64);

/// Not a key's id.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a key's id has ten letters and digits")]
pub struct KeyIdError;

impl KeyId {
    /// The id as a number below 62¹⁰.
    pub fn number(self) -> u64 {
        self.0
    }

    /// The id with a number; those of 62¹⁰ and above begin anew.
    pub fn from_number(number: u64) -> Self {
        Self(number % IDS)
    }
}

impl FromStr for KeyId {
    type Err = KeyIdError;

    fn from_str(text: &str) -> Result<Self, KeyIdError> {
        if text.len() != ID {
            return Err(KeyIdError);
        }
        text.bytes()
            .try_fold(0_u64, |number, byte| {
                Some(number * 62 + u64::from(digit(byte)?))
            })
            .map(Self)
            .ok_or(KeyIdError)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&written(self.0, ID))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text of a key in our own form, read and proven by its checksum.
pub struct ApiKey<'t> {
    environment: &'t str,
    id: KeyId,
}

impl fmt::Debug for ApiKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({} {})", self.environment, self.id)
    }
}

impl<'t> ApiKey<'t> {
    /// A new key with a new id: the id, and the text that is shown once.
    ///
    /// # Errors
    /// If there is no randomness.
    pub fn generate(
        environment: &Environment,
        random: &mut Random<'_>,
    ) -> Result<(KeyId, Secret<String>), NoRandomness> {
        let digits = digits(random, ID)?;
        let id = KeyId(digits.expose().bytes().fold(0, |number, byte| {
            number * 62 + u64::from(digit(byte).unwrap_or(0))
        }));
        Ok((id, Self::issue(environment, id, random)?))
    }

    /// Another secret for an id.
    ///
    /// # Errors
    /// If there is no randomness.
    pub fn issue(
        environment: &Environment,
        id: KeyId,
        random: &mut Random<'_>,
    ) -> Result<Secret<String>, NoRandomness> {
        let secret = digits(random, SECRET)?;
        // With its whole capacity from the start: a string that grows leaves copies behind.
        let mut text = String::with_capacity(MAX_KEY);
        text.extend([PREFIX, environment.as_str(), "_"]);
        text.push_str(&id.to_string());
        text.push('_');
        text.push_str(secret.expose());
        let check = written(u64::from(crc32(text.as_bytes())), CHECK);
        text.push_str(&check);
        Ok(Secret::new(text))
    }

    /// Whether a text means to be a key of our own form.
    pub fn is_own(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// Reads a key. There is one way to write each key; everything else is refused.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] says which part is wrong, without repeating it.
    pub fn parse(text: &'t str) -> Result<Self, KeyError> {
        let malformed = |what| Err(KeyError::Malformed(what));
        let Some(rest) = text.strip_prefix(PREFIX) else {
            return malformed("it does not begin with `frt_`");
        };
        let mut parts = rest.split('_');
        let (Some(environment), Some(id), Some(end), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return malformed("it has not four parts");
        };
        if !Environment::is(environment) {
            return malformed("its environment is none");
        }
        let Ok(id) = id.parse() else {
            return malformed("its id is none");
        };
        let is_whole = end.len() == SECRET + CHECK && end.bytes().all(|byte| digit(byte).is_some());
        if !is_whole {
            return malformed("its secret has not 36 letters and digits");
        }
        let (Some(checked), Some(check)) = (
            text.get(..text.len() - CHECK),
            text.get(text.len() - CHECK..),
        ) else {
            return malformed("its secret has not 36 letters and digits");
        };
        if written(u64::from(crc32(checked.as_bytes())), CHECK) != check {
            return malformed("its checksum is wrong: part of it is missing or mistyped");
        }
        Ok(Self { environment, id })
    }

    /// What it is for.
    pub fn environment(&self) -> &'t str {
        self.environment
    }

    /// What it is found by.
    pub fn id(&self) -> KeyId {
        self.id
    }
}

/// Letters and digits, each as likely as the others.
fn digits(random: &mut Random<'_>, length: usize) -> Result<Secret<String>, NoRandomness> {
    // Bytes from 248 on would make the first eight digits likelier; 3 % are thrown away.
    const FAIR: u8 = 248;
    let mut digits = Secret::new(String::with_capacity(length));
    let mut bytes = Secret::new([0_u8; 64]);
    while digits.expose().len() < length {
        random(bytes.expose_mut())?;
        let missing = length - digits.expose().len();
        let fair = bytes.expose().iter().filter(|byte| **byte < FAIR);
        let more = fair.filter_map(|byte| ALPHABET.get(usize::from(byte % 62)));
        let more = more.take(missing).map(|byte| char::from(*byte));
        digits.expose_mut().extend(more);
    }
    Ok(digits)
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'Z' => Some(byte - b'A' + 10),
        b'a'..=b'z' => Some(byte - b'a' + 36),
        _ => None,
    }
}

/// A number in base 62 with leading zeros.
fn written(mut number: u64, length: usize) -> String {
    let mut digits = vec![b'0'; length];
    for digit in digits.iter_mut().rev() {
        let index = usize::try_from(number % 62).unwrap_or(0);
        *digit = ALPHABET.get(index).copied().unwrap_or(b'0');
        number /= 62;
    }
    digits.into_iter().map(char::from).collect()
}

/// CRC-32 as in zip and Ethernet (reflected 0x04C11DB7): finds what was cut or mistyped. It keeps
/// nobody out, so it needs no cryptography.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum: u32, byte| {
        let [low, ..] = sum.to_le_bytes();
        let entry = CRC_TABLE.get(usize::from(low ^ byte));
        (sum >> 8) ^ entry.copied().unwrap_or(0)
    })
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0_u32;
    while index < 256 {
        let mut sum = index;
        let mut bit = 0;
        while bit < 8 {
            sum = (sum >> 1) ^ (0xEDB8_8320 * (sum & 1));
            bit += 1;
        }
        #[expect(
            clippy::as_conversions,
            clippy::indexing_slicing,
            reason = "evaluated by the compiler, which has neither `get` nor `try_from` there"
        )]
        {
            table[index as usize] = sum;
        }
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn random(bytes: &mut [u8]) -> Result<(), NoRandomness> {
        aws_lc_rs::rand::fill(bytes).map_err(|_| NoRandomness)
    }

    fn live() -> Environment {
        Environment::new("live").unwrap()
    }

    /// `text` with a fitting checksum.
    fn checked(text: &str) -> String {
        format!(
            "{text}{}",
            written(u64::from(crc32(text.as_bytes())), CHECK)
        )
    }

    #[track_caller]
    fn refused(text: &str, why: &str) {
        match ApiKey::parse(text) {
            Err(KeyError::Malformed(what)) => assert!(what.contains(why), "{text}: {what}"),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn the_checksum_is_the_known_crc32() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn a_new_key_is_read_back() {
        let (id, text) = ApiKey::generate(&live(), &mut random).unwrap();
        let text = text.expose();
        assert_eq!(text.len(), 56, "{text}");
        let key = ApiKey::parse(text).unwrap();
        assert_eq!((key.environment(), key.id()), ("live", id));
        assert!(!format!("{key:?}").contains(text.rsplit('_').next().unwrap()));
        let second = ApiKey::issue(&live(), id, &mut random).unwrap();
        assert_eq!(ApiKey::parse(second.expose()).unwrap().id(), id);
        assert_ne!(second.expose(), text);
    }

    #[test]
    fn the_secret_has_160_bits_and_its_digits_are_fair() {
        let count = f64::from(u32::try_from(SECRET).unwrap());
        assert!(count * 62_f64.log2() >= 160.0);
        // A generator that counts: every byte as often as the others.
        let mut next = 0_u8;
        let mut counting = |bytes: &mut [u8]| {
            for byte in bytes {
                *byte = next;
                next = next.wrapping_add(1);
            }
            Ok(())
        };
        let text = digits(&mut counting, 248 * 10).unwrap();
        for letter in ALPHABET {
            let count = text.expose().bytes().filter(|byte| byte == letter).count();
            assert_eq!(count, 40, "{}", char::from(*letter));
        }
    }

    #[test]
    fn no_randomness_is_an_error() {
        let mut broken = |_: &mut [u8]| Err(NoRandomness);
        assert!(ApiKey::generate(&live(), &mut broken).is_err());
    }

    #[test]
    fn what_is_not_a_key_is_refused() {
        let secret = "s".repeat(SECRET);
        let good = checked(&format!("frt_live_0123456789_{secret}"));
        assert!(ApiKey::parse(&good).is_ok());
        refused("", "begin");
        refused("Frt_live_0123456789_", "begin");
        refused(&format!(" {good}"), "begin");
        refused("frt_", "four parts");
        refused(&format!("{good}_"), "four parts");
        refused(
            &checked(&format!("frt__0123456789_{secret}")),
            "environment",
        );
        refused(
            &checked(&format!("frt_Live_0123456789_{secret}")),
            "environment",
        );
        refused(
            &checked(&format!("frt_1_0123456789_{secret}")),
            "environment",
        );
        let long = "e".repeat(17);
        refused(
            &checked(&format!("frt_{long}_0123456789_{secret}")),
            "environment",
        );
        refused(&checked(&format!("frt_live_012345678_{secret}")), "id");
        refused(&checked(&format!("frt_live_012345678-_{secret}")), "id");
        refused(&checked(&format!("frt_live_0123456789_{secret}s")), "36");
        refused(
            &checked(&format!("frt_live_0123456789_é{}", "s".repeat(SECRET - 2))),
            "36",
        );
        refused(&format!("{good} "), "36");
        refused(&good.replace("live", "test"), "checksum");
        refused(&good.replacen('s', "t", 1), "checksum");
        refused(
            &format!("{}0", good.strip_suffix(|_| true).unwrap()),
            "checksum",
        );
    }

    #[test]
    fn environments_and_ids() {
        for name in ["live", "a", "t1", "sixteenlettersab"] {
            assert!(Environment::new(name).is_ok(), "{name}");
        }
        for name in ["", "Live", "1a", "a_b", "a-b", "ä", "seventeenletters1"] {
            assert!(Environment::new(name).is_err(), "{name}");
        }
        assert_eq!(KeyId::from_number(IDS - 1).to_string(), "zzzzzzzzzz");
        assert_eq!(KeyId::from_number(IDS).number(), 0);
        assert_eq!("000000000z".parse::<KeyId>().unwrap().number(), 61);
        for id in ["", "000000000", "00000000000", "000000000_", "00000000é"] {
            assert!(id.parse::<KeyId>().is_err(), "{id}");
        }
    }

    proptest! {
        #[test]
        fn one_changed_byte_is_always_found(at in 0_usize..56, byte in 0_u8..128) {
            let (_, text) = ApiKey::generate(&live(), &mut random).unwrap();
            let mut bytes = text.expose().clone().into_bytes();
            prop_assume!(bytes[at] != byte);
            bytes[at] = byte;
            let changed = String::from_utf8(bytes).unwrap();
            prop_assert!(ApiKey::parse(&changed).is_err());
        }

        #[test]
        fn nothing_makes_it_panic(text in "(frt_)?.{0,80}") {
            drop(ApiKey::parse(&text));
        }

        #[test]
        fn ids_are_written_and_read(number in 0..IDS) {
            let id = KeyId::from_number(number);
            prop_assert_eq!(id.to_string().parse::<KeyId>().unwrap(), id);
        }
    }
}
