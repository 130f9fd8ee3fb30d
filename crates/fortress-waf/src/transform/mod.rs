//! Transformations: what is done to a value before an operator looks at it.
//!
//! They do what ModSecurity 3 does, compared with its library on random and hostile inputs. Where
//! that library loses bytes (what follows a NUL in `cssDecode`, half a character in
//! `utf8toUnicode`, the last byte in `sqlHexDecode`), the bytes stay here: what a transformation
//! swallows, no rule sees. Not here: which rule wants which, and sharing of the results.

mod bestfit;
mod binary;
mod comments;
mod escapes;
mod html;
mod paths;
mod plain;
mod urls;

use crate::{ByteSet, seclang::Transformation};

/// What must occur in a value so that a transformation can change it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Triggers {
    /// One of these bytes: a value with none of them stays as it is.
    Bytes(ByteSet),
    /// Nothing in particular.
    Always,
}

/// Bytes that a transformation may make that were not there, letters of another case aside.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Made {
    /// These and no others.
    Bytes(ByteSet),
    /// Any.
    Any,
}

impl Transformation {
    /// Appends the transformed value to `out` and says `true`; if it is no other than `input`,
    /// `out` stays as it was, and the answer is `false`.
    #[must_use]
    pub fn apply(self, input: &[u8], out: &mut Vec<u8>) -> bool {
        match self {
            Self::Base64Decode => binary::base64_decode(input, out),
            Self::Base64DecodeExt => binary::base64_decode_forgiving(input, out),
            Self::Base64Encode => binary::base64_encode(input, out),
            Self::CmdLine => plain::command_line(input, out),
            Self::CompressWhitespace => plain::compress_whitespace(input, out),
            Self::CssDecode => escapes::css(input, out),
            Self::EscapeSeqDecode => escapes::ansi_c(input, out),
            Self::HexDecode => binary::hex_decode(input, out),
            Self::HexEncode => binary::hex_encode(input, out),
            Self::HtmlEntityDecode => html::entities(input, out),
            Self::JsDecode => escapes::javascript(input, out),
            Self::Length => binary::length(input, out),
            Self::Lowercase => plain::lowercase(input, out),
            Self::Md5 => binary::md5(input, out),
            Self::NormalizePath => paths::normalize(input, |byte| byte == b'/', out),
            Self::NormalizePathWin => {
                paths::normalize(input, |byte| matches!(byte, b'/' | b'\\'), out)
            }
            Self::ParityEven7Bit => binary::parity_even(input, out),
            Self::ParityOdd7Bit => binary::parity_odd(input, out),
            Self::ParityZero7Bit => binary::parity_zero(input, out),
            Self::RemoveComments => comments::remove(input, out),
            Self::RemoveCommentsChar => comments::remove_characters(input, out),
            Self::RemoveNulls => plain::remove_nulls(input, out),
            Self::RemoveWhitespace => plain::remove_whitespace(input, out),
            Self::ReplaceComments => comments::replace(input, out),
            Self::ReplaceNulls => plain::replace_nulls(input, out),
            Self::Sha1 => binary::sha1(input, out),
            Self::SqlHexDecode => binary::sql_hex_decode(input, out),
            Self::Trim => plain::trim(input, out),
            Self::TrimLeft => plain::trim_left(input, out),
            Self::TrimRight => plain::trim_right(input, out),
            Self::Uppercase => plain::uppercase(input, out),
            Self::UrlDecode => urls::decode(input, out),
            Self::UrlDecodeUni => urls::decode_unicode(input, out),
            Self::UrlEncode => urls::encode(input, out),
            Self::Utf8ToUnicode => urls::from_utf8(input, out),
        }
    }
    /// What must occur in a value so that [`Self::apply`] can change it.
    #[must_use]
    pub const fn triggers(self) -> Triggers {
        Triggers::Bytes(match self {
            Self::CmdLine => ByteSet::of(b" \t\r\n,;\\\"'^").union(UPPER),
            Self::CompressWhitespace | Self::Trim | Self::TrimLeft | Self::TrimRight => WHITE,
            Self::CssDecode | Self::EscapeSeqDecode | Self::JsDecode => ByteSet::of(b"\\"),
            Self::HtmlEntityDecode => ByteSet::of(b"&"),
            Self::Lowercase => UPPER,
            Self::NormalizePath => ByteSet::of(b"/."),
            Self::NormalizePathWin => ByteSet::of(b"/.\\"),
            Self::ParityEven7Bit => binary::PARITY_EVEN,
            Self::ParityOdd7Bit => binary::PARITY_ODD,
            Self::ParityZero7Bit | Self::Utf8ToUnicode => ByteSet::range(0x80, 0xFF),
            // `/*` and `<!--` need the star and the dash; the slash is in every path.
            Self::RemoveComments | Self::RemoveCommentsChar => ByteSet::of(b"*-#"),
            Self::RemoveNulls | Self::ReplaceNulls => ByteSet::of(b"\0"),
            Self::RemoveWhitespace => WHITE.with(0xA0),
            Self::ReplaceComments => ByteSet::of(b"*"),
            Self::SqlHexDecode => ByteSet::of(b"xX"),
            Self::Uppercase => ByteSet::range(b'a', b'z'),
            Self::UrlDecode | Self::UrlDecodeUni => ByteSet::of(b"%+"),
            Self::UrlEncode => ByteSet::ALL.minus(urls::KEPT),
            Self::Base64Decode
            | Self::Base64DecodeExt
            | Self::Base64Encode
            | Self::HexDecode
            | Self::HexEncode
            | Self::Length
            | Self::Md5
            | Self::Sha1 => return Triggers::Always,
        })
    }

    /// What [`Self::apply`] may make of bytes that are others.
    #[must_use]
    pub(crate) const fn made(self) -> Made {
        match self {
            Self::CmdLine
            | Self::CompressWhitespace
            | Self::RemoveComments
            | Self::ReplaceComments
            | Self::ReplaceNulls => Made::Bytes(ByteSet::of(b" ")),
            Self::NormalizePath | Self::NormalizePathWin => Made::Bytes(ByteSet::of(b"/")),
            Self::Lowercase
            | Self::RemoveCommentsChar
            | Self::RemoveNulls
            | Self::RemoveWhitespace
            | Self::Trim
            | Self::TrimLeft
            | Self::TrimRight
            | Self::Uppercase => Made::Bytes(ByteSet::EMPTY),
            Self::Base64Decode
            | Self::Base64DecodeExt
            | Self::Base64Encode
            | Self::CssDecode
            | Self::EscapeSeqDecode
            | Self::HexDecode
            | Self::HexEncode
            | Self::HtmlEntityDecode
            | Self::JsDecode
            | Self::Length
            | Self::Md5
            | Self::ParityEven7Bit
            | Self::ParityOdd7Bit
            | Self::ParityZero7Bit
            | Self::Sha1
            | Self::SqlHexDecode
            | Self::UrlDecode
            | Self::UrlDecodeUni
            | Self::UrlEncode
            | Self::Utf8ToUnicode => Made::Any,
        }
    }

    /// Bytes that the result of [`Self::apply`], changed or not, never has.
    #[must_use]
    pub(crate) const fn taken(self) -> ByteSet {
        const NOT_SPACE: ByteSet = WHITE.minus(ByteSet::of(b" "));
        match self {
            Self::CmdLine => ByteSet::of(b"\\\"'^,;\t\r\n"),
            Self::CompressWhitespace => NOT_SPACE,
            Self::RemoveWhitespace => WHITE,
            Self::RemoveNulls | Self::ReplaceNulls => ByteSet::of(b"\0"),
            Self::Base64Decode
            | Self::Base64DecodeExt
            | Self::Base64Encode
            | Self::CssDecode
            | Self::EscapeSeqDecode
            | Self::HexDecode
            | Self::HexEncode
            | Self::HtmlEntityDecode
            | Self::JsDecode
            | Self::Length
            | Self::Lowercase
            | Self::Md5
            | Self::NormalizePath
            | Self::NormalizePathWin
            | Self::ParityEven7Bit
            | Self::ParityOdd7Bit
            | Self::ParityZero7Bit
            | Self::RemoveComments
            | Self::RemoveCommentsChar
            | Self::ReplaceComments
            | Self::Sha1
            | Self::SqlHexDecode
            | Self::Trim
            | Self::TrimLeft
            | Self::TrimRight
            | Self::Uppercase
            | Self::UrlDecode
            | Self::UrlDecodeUni
            | Self::UrlEncode
            | Self::Utf8ToUnicode => ByteSet::EMPTY,
        }
    }

    /// The most bytes that [`Self::apply`] can append for an input of this length.
    #[must_use]
    pub const fn most(self, input: usize) -> usize {
        match self {
            // Three bytes of each byte at worst, be it `%00` or half of `%u0080`.
            Self::UrlEncode | Self::Utf8ToUnicode => input.saturating_mul(3),
            Self::HexEncode => input.saturating_mul(2),
            Self::Base64Encode => input.div_ceil(3).saturating_mul(4),
            // The digits of the largest length.
            Self::Length => 20,
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Base64Decode
            | Self::Base64DecodeExt
            | Self::CmdLine
            | Self::CompressWhitespace
            | Self::CssDecode
            | Self::EscapeSeqDecode
            | Self::HexDecode
            | Self::HtmlEntityDecode
            | Self::JsDecode
            | Self::Lowercase
            | Self::NormalizePath
            | Self::NormalizePathWin
            | Self::ParityEven7Bit
            | Self::ParityOdd7Bit
            | Self::ParityZero7Bit
            | Self::RemoveComments
            | Self::RemoveCommentsChar
            | Self::RemoveNulls
            | Self::RemoveWhitespace
            | Self::ReplaceComments
            | Self::ReplaceNulls
            | Self::SqlHexDecode
            | Self::Trim
            | Self::TrimLeft
            | Self::TrimRight
            | Self::Uppercase
            | Self::UrlDecode
            | Self::UrlDecodeUni => input,
        }
    }

    /// Whether `lower(apply(lower(x)))` is `lower(apply(x))` for every `x`: then what looks at a
    /// value without regard to case may leave `lowercase` out of a chain.
    #[must_use]
    pub(crate) const fn commutes_with_lowercase(self) -> bool {
        match self {
            // Letters are copied one by one and never looked at.
            Self::CompressWhitespace
            | Self::NormalizePath
            | Self::NormalizePathWin
            | Self::RemoveComments
            | Self::RemoveCommentsChar
            | Self::RemoveNulls
            | Self::RemoveWhitespace
            | Self::ReplaceComments
            | Self::ReplaceNulls
            | Self::Trim
            | Self::TrimLeft
            | Self::TrimRight => true,
            // The change of case is all that they do to letters, and what is lowered last decides.
            Self::CmdLine | Self::Lowercase | Self::Uppercase => true,
            // Letters that are looked at (hexadecimal digits, `u`, `x`, names of entities) are so
            // without regard to case, and a decoded byte does not depend on their case.
            Self::CssDecode
            | Self::HexDecode
            | Self::HtmlEntityDecode
            | Self::SqlHexDecode
            | Self::UrlDecode
            | Self::UrlDecodeUni => true,
            // Bytes of letters are kept or lose no bit; the others, which lowering does not touch,
            // give the same whatever stands beside them.
            Self::ParityZero7Bit | Self::UrlEncode | Self::Utf8ToUnicode => true,
            // Lowering keeps the length.
            Self::Length => true,
            // `\N` is `N`, `\n` a line feed; `\U0041` is no escape, `\u0041` is one.
            Self::EscapeSeqDecode | Self::JsDecode => false,
            // The case of letters, or their bits, are what these encode or hash.
            Self::Base64Decode
            | Self::Base64DecodeExt
            | Self::Base64Encode
            | Self::HexEncode
            | Self::Md5
            | Self::ParityEven7Bit
            | Self::ParityOdd7Bit
            | Self::Sha1 => false,
        }
    }
}

/// Copies `input` to `out` with what `step` makes of it wherever `find` finds something: the bytes
/// taken and those that replace them, or nothing if they stay. Nothing is written until something
/// changes, and what lies between is copied at once.
///
/// INVARIANT: a step takes at least one byte, and gives fewer than it takes, or as many and others.
/// So a value of which any part was replaced is another value. (Steps that give more than they take
/// must never give fewer.)
fn rewrite<'a, I: IntoIterator<Item = u8>>(
    input: &'a [u8],
    out: &mut Vec<u8>,
    find: impl Fn(&'a [u8]) -> Option<usize>,
    step: impl Fn(&'a [u8]) -> Option<(usize, I)>,
) -> bool {
    let mut rest = input;
    let mut kept = input;
    let mut changed = false;
    while let Some(at) = find(rest) {
        let here = rest.get(at..).unwrap_or_default();
        let Some((taken, given)) = step(here) else {
            rest = here.get(1..).unwrap_or_default();
            continue;
        };
        if !changed {
            out.reserve(input.len());
            changed = true;
        }
        let between = kept.len().saturating_sub(here.len());
        out.extend_from_slice(kept.get(..between).unwrap_or_default());
        out.extend(given);
        rest = here.get(taken..).unwrap_or_default();
        kept = rest;
    }
    if changed {
        out.extend_from_slice(kept);
    }
    changed
}

/// The value of a hexadecimal digit.
const fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// The byte of two hexadecimal digits.
const fn hex_pair(high: u8, low: u8) -> Option<u8> {
    match (hex(high), hex(low)) {
        (Some(high), Some(low)) => Some(high << 4 | low),
        _ => None,
    }
}

/// What C calls white space.
const fn is_white(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

const WHITE: ByteSet = ByteSet::of(b" \t\n\x0B\x0C\r");
const UPPER: ByteSet = ByteSet::range(b'A', b'Z');

#[cfg(test)]
mod tests;
