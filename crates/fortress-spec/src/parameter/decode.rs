//! Percent-decoding that refuses what two decoders could read differently (RFC 3986, section 2.1).

use std::borrow::Cow;

/// Whether `+` is a space: in queries and forms it is, in paths, headers and cookies it is not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Plus {
    Space,
    Plus,
}

/// What a text stands for.
///
/// # Errors
/// A `%` without two hexadecimal digits, bytes that are not UTF-8, and NUL, each named.
pub(crate) fn decode(text: &str, plus: Plus) -> Result<Cow<'_, str>, &'static str> {
    let special = |byte: u8| byte == b'%' || byte == 0 || (byte == b'+' && plus == Plus::Space);
    if !text.bytes().any(special) {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let decoded = match byte {
            b'%' => {
                let mut digit = || {
                    let digit = bytes.next().and_then(|byte| char::from(byte).to_digit(16));
                    digit.and_then(|digit| u8::try_from(digit).ok())
                };
                let (Some(high), Some(low)) = (digit(), digit()) else {
                    return Err("bad percent-encoding");
                };
                high << 4 | low
            }
            b'+' if plus == Plus::Space => b' ',
            _ => byte,
        };
        if decoded == 0 {
            return Err("a NUL character");
        }
        out.push(decoded);
    }
    String::from_utf8(out)
        .map(Cow::Owned)
        .map_err(|_| "invalid UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding() {
        assert_eq!(decode("abc", Plus::Space).as_deref(), Ok("abc"));
        assert_eq!(decode("a%20b+c%2B", Plus::Space).as_deref(), Ok("a b c+"));
        assert_eq!(decode("a+b", Plus::Plus).as_deref(), Ok("a+b"));
        assert_eq!(decode("%C3%a9", Plus::Plus).as_deref(), Ok("é"));
    }

    #[test]
    fn refusals() {
        for text in [
            "%",
            "%4",
            "%zz",
            "a%4g",
            "%00",
            "\0",
            "%ff",
            "%c3%28",
            "%ed%a0%80",
            "%u0041",
            "%c0%80",
        ] {
            assert!(decode(text, Plus::Space).is_err(), "{text}");
        }
    }
}
