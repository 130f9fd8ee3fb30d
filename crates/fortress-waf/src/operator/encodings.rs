//! Which bytes a value may hold, and whether it is encoded as it should be.

use crate::ByteSet;

/// The bytes that `validateByteRange` allows.
#[derive(Clone, Debug)]
pub(crate) struct ByteRanges {
    allowed: ByteSet,
    /// The same, to look up byte by byte.
    table: [bool; 256],
}

/// Why ranges of bytes are none.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum RangeError {
    #[error(
        "`{0}` is no byte and no range of bytes; write numbers from 0 to 255, as in `9,10,32-126`"
    )]
    NoRange(String),
    #[error("`{0}` ends before it begins")]
    Backwards(String),
}

impl ByteRanges {
    /// Reads `1-255,9,10`.
    pub(crate) fn parse(text: &str) -> Result<Self, RangeError> {
        let mut allowed = ByteSet::EMPTY;
        for part in text.split(',').map(str::trim) {
            let byte = |number: &str| {
                let number = number.trim();
                let digits = number.bytes().all(|byte| byte.is_ascii_digit());
                let parsed = number.parse().ok().filter(|_| digits);
                parsed.ok_or_else(|| RangeError::NoRange(part.to_owned()))
            };
            let (low, high): (u8, u8) = match part.split_once('-') {
                Some((low, high)) => (byte(low)?, byte(high)?),
                None => (byte(part)?, byte(part)?),
            };
            if low > high {
                return Err(RangeError::Backwards(part.to_owned()));
            }
            allowed = allowed.union(ByteSet::range(low, high));
        }
        let mut table = [false; 256];
        for (byte, slot) in (0..=u8::MAX).zip(&mut table) {
            *slot = allowed.contains(byte);
        }
        Ok(Self { allowed, table })
    }

    /// The bytes that are allowed: who knows which bytes a value has need not ask for the value.
    pub(crate) fn allowed(&self) -> ByteSet {
        self.allowed
    }

    /// Whether the value has a byte that is not allowed: then the operator matches.
    pub(crate) fn refuses(&self, value: &[u8]) -> bool {
        let allows = |byte: &u8| self.table.get(usize::from(*byte)) == Some(&true);
        !value.iter().all(allows)
    }
}

/// Whether two hexadecimal digits follow each `%`. `validateUrlEncoding` matches where not.
pub(crate) fn is_url_encoded(value: &[u8]) -> bool {
    memchr::memchr_iter(b'%', value).all(|at| {
        let digits = value.get(at + 1..at + 3);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Whether it is UTF-8: nothing overlong, no half of a surrogate pair, nothing beyond U+10FFFF
/// (which ModSecurity lets pass), nothing cut off. `validateUtf8Encoding` matches where not.
pub(crate) fn is_utf8(value: &[u8]) -> bool {
    std::str::from_utf8(value).is_ok()
}
