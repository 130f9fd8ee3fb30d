//! The values of `format`, all asserted: JSON Schema 2020-12's and those of the OpenAPI Format
//! Registry.
//!
//! Deliberately not here: formats that say nothing about the text (`password`, `binary`), which are
//! known but never fail, and unknown ones, which are reported when the description is loaded.

mod network;
mod time;

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::{json::Decimal, pattern::Pattern};

/// What a format's name means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// It restricts strings.
    String(StringFormat),
    /// It restricts numbers.
    Number(NumberFormat),
    /// It is known, and a hint for people or tools alone.
    NotAsserted,
}

/// The meaning of a format's name; `None` if it is not known.
pub fn named(name: &str) -> Option<Format> {
    if let Some(format) = StringFormat::named(name) {
        return Some(Format::String(format));
    }
    if let Some(format) = NumberFormat::named(name) {
        return Some(Format::Number(format));
    }
    let silent = [
        "password",
        "binary",
        "commonmark",
        "html",
        "markdown",
        "file",
        "string",
    ];
    silent.contains(&name).then_some(Format::NotAsserted)
}

macro_rules! formats {
    ($kind:ident: $( $(#[doc = $doc:literal])+ $variant:ident = $name:literal; )+) => {
        /// A format that is asserted.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum $kind { $( $(#[doc = $doc])+ $variant, )+ }

        impl $kind {
            /// The format's name.
            pub fn name(self) -> &'static str { match self { $( Self::$variant => $name ),+ } }
            fn named(name: &str) -> Option<Self> { match name { $( $name => Some(Self::$variant), )+ _ => None } }
        }
    };
}

formats! { StringFormat:
    /// RFC 3339, section 5.6.
    DateTime = "date-time";
    /// RFC 3339: `full-date`.
    Date = "date";
    /// RFC 3339: `full-time`.
    Time = "time";
    /// RFC 3339, appendix A.
    Duration = "duration";
    /// RFC 4122.
    Uuid = "uuid";
    /// RFC 5321: `Mailbox`.
    Email = "email";
    /// RFC 6531: `Mailbox`.
    IdnEmail = "idn-email";
    /// RFC 3986, absolute.
    Uri = "uri";
    /// RFC 3986, absolute or relative.
    UriReference = "uri-reference";
    /// RFC 3987, absolute.
    Iri = "iri";
    /// RFC 3987, absolute or relative.
    IriReference = "iri-reference";
    /// RFC 6570.
    UriTemplate = "uri-template";
    /// Dotted decimal (RFC 2673, section 3.2), without leading zeros.
    Ipv4 = "ipv4";
    /// RFC 4291, section 2.2, without a zone.
    Ipv6 = "ipv6";
    /// RFC 1123, section 2.1, with A-labels of RFC 5890 checked.
    Hostname = "hostname";
    /// RFC 5890.
    IdnHostname = "idn-hostname";
    /// RFC 6901.
    JsonPointer = "json-pointer";
    /// draft-bhutton-relative-json-pointer.
    RelativeJsonPointer = "relative-json-pointer";
    /// ECMA-262.
    Regex = "regex";
    /// Base64 with padding (RFC 4648, section 4).
    Byte = "byte";
    /// Base64url, with or without padding (RFC 4648, section 5).
    Base64Url = "base64url";
    /// One character.
    Char = "char";
    /// A decimal number in a string.
    Decimal = "decimal";
    /// A decimal number in a string, of at most 34 digits.
    Decimal128 = "decimal128";
}

formats! { NumberFormat:
    /// −128 to 127.
    Int8 = "int8";
    /// −32,768 to 32,767.
    Int16 = "int16";
    /// −2^31 to 2^31 − 1.
    Int32 = "int32";
    /// −2^63 to 2^63 − 1.
    Int64 = "int64";
    /// 0 to 255.
    Uint8 = "uint8";
    /// 0 to 65,535.
    Uint16 = "uint16";
    /// 0 to 2^32 − 1.
    Uint32 = "uint32";
    /// 0 to 2^64 − 1.
    Uint64 = "uint64";
    /// Finite as an IEEE 754 single.
    Float = "float";
    /// Finite as an IEEE 754 double.
    Double = "double";
    /// An integer that a double holds exactly: at most 2^53 − 1 in size.
    DoubleInt = "double-int";
}

impl StringFormat {
    /// Whether a text of this format can be nothing else, so that no attack fits into it: digits, a
    /// few letters and a few separators, in an order that is checked to its last character.
    pub(crate) fn is_harmless(self) -> bool {
        matches!(
            self,
            Self::DateTime | Self::Date | Self::Uuid | Self::Ipv4 | Self::Ipv6
        )
    }
}

impl NumberFormat {
    /// Whether a number, of which `text` is the JSON, fits the format. `1.0` is an integer.
    pub fn matches(self, number: Decimal, text: &str) -> bool {
        let within = |low: &str, high: &str| {
            number.is_integer()
                && Decimal::parse(low).is_some_and(|low| number >= low)
                && Decimal::parse(high).is_some_and(|high| number <= high)
        };
        match self {
            Self::Int8 => within("-128", "127"),
            Self::Int16 => within("-32768", "32767"),
            Self::Int32 => within("-2147483648", "2147483647"),
            Self::Int64 => within("-9223372036854775808", "9223372036854775807"),
            Self::Uint8 => within("0", "255"),
            Self::Uint16 => within("0", "65535"),
            Self::Uint32 => within("0", "4294967295"),
            Self::Uint64 => within("0", "18446744073709551615"),
            Self::Float => text.parse::<f32>().is_ok_and(f32::is_finite),
            Self::Double => text.parse::<f64>().is_ok_and(f64::is_finite),
            Self::DoubleInt => within("-9007199254740991", "9007199254740991"),
        }
    }
}

impl StringFormat {
    /// Whether a text has the format.
    pub fn matches(self, text: &str) -> bool {
        match self {
            Self::DateTime => time::date_time(text),
            Self::Date => time::date(text),
            Self::Time => time::time(text),
            Self::Duration => time::duration(text),
            Self::Uuid => uuid(text),
            Self::Email => network::email(text, network::Alphabet::Ascii),
            Self::IdnEmail => network::email(text, network::Alphabet::Unicode),
            Self::Uri => {
                network::uri(text, network::Alphabet::Ascii) == Some(network::Kind::Absolute)
            }
            Self::UriReference => network::uri(text, network::Alphabet::Ascii).is_some(),
            Self::Iri => {
                network::uri(text, network::Alphabet::Unicode) == Some(network::Kind::Absolute)
            }
            Self::IriReference => network::uri(text, network::Alphabet::Unicode).is_some(),
            Self::UriTemplate => network::uri_template(text),
            Self::Ipv4 => text.parse::<Ipv4Addr>().is_ok(),
            Self::Ipv6 => text.parse::<Ipv6Addr>().is_ok(),
            Self::Hostname => network::hostname(text),
            Self::IdnHostname => network::idn_hostname(text),
            Self::JsonPointer => json_pointer(text),
            Self::RelativeJsonPointer => relative_json_pointer(text),
            Self::Regex => Pattern::new(text).is_ok(),
            Self::Byte => base64(text),
            Self::Base64Url => base64_url(text),
            Self::Char => text.chars().count() == 1,
            Self::Decimal => Decimal::parse(text).is_some(),
            Self::Decimal128 => {
                Decimal::parse(text).is_some()
                    && text.bytes().filter(u8::is_ascii_digit).count() <= 34
            }
        }
    }

    /// Whether the format leaves so little freedom that a length bound would add nothing.
    pub fn is_narrow(self) -> bool {
        match self {
            Self::DateTime
            | Self::Date
            | Self::Time
            | Self::Duration
            | Self::Uuid
            | Self::Email
            | Self::IdnEmail
            | Self::Ipv4
            | Self::Ipv6
            | Self::Hostname
            | Self::IdnHostname
            | Self::Char
            | Self::Decimal128 => true,
            Self::Uri
            | Self::UriReference
            | Self::Iri
            | Self::IriReference
            | Self::UriTemplate
            | Self::JsonPointer
            | Self::RelativeJsonPointer
            | Self::Regex
            | Self::Byte
            | Self::Base64Url
            | Self::Decimal => false,
        }
    }
}

fn uuid(text: &str) -> bool {
    let mut groups = text.split('-');
    [8, 4, 4, 4, 12].iter().all(|length| {
        groups.next().is_some_and(|group| {
            group.len() == *length && group.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    }) && groups.next().is_none()
}

/// `~` stands before `0` and `1` only (RFC 6901, section 3).
fn json_pointer(text: &str) -> bool {
    (text.is_empty() || text.starts_with('/'))
        && text
            .split('~')
            .skip(1)
            .all(|behind| behind.starts_with(['0', '1']))
}

fn relative_json_pointer(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (Some(number), Some(pointer)) = (text.get(..digits), text.get(digits..)) else {
        return false;
    };
    let whole = !number.is_empty() && (number == "0" || !number.starts_with('0'));
    whole && (pointer == "#" || json_pointer(pointer))
}

fn base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let padding = text.len() - body.len();
    text.len().is_multiple_of(4)
        && padding <= 2
        && body
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

fn base64_url(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let padding = text.len() - body.len();
    (padding == 0 || (text.len().is_multiple_of(4) && padding <= 2))
        && body.len() % 4 != 1
        && body
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, valid: &[&str], invalid: &[&str]) {
        let Some(Format::String(format)) = named(name) else {
            panic!("{name} is a format")
        };
        for text in valid {
            assert!(format.matches(text), "{name}: {text}");
        }
        for text in invalid {
            assert!(!format.matches(text), "{name} but {text}");
        }
    }

    #[test]
    fn identifiers_and_encodings() {
        check(
            "uuid",
            &[
                "2eb8aa08-aa98-11ea-b4aa-73b441d16380",
                "2EB8AA08-AA98-11EA-B4AA-73B441D16380",
            ],
            &[
                "",
                "2eb8aa08aa9811eab4aa73b441d16380",
                "2eb8aa08-aa98-11ea-b4aa-73b441d1638",
                "{2eb8aa08-aa98-11ea-b4aa-73b441d16380}",
            ],
        );
        check(
            "byte",
            &["", "YQ==", "YWI=", "YWJj", "+/+/"],
            &["YQ", "YQ=", "Y===", "Y Q=", "-_==", "====", "YWJj\n"],
        );
        check("base64url", &["", "YQ", "YQ==", "-_8"], &["Y", "+/", "YQ="]);
        check(
            "json-pointer",
            &["", "/", "/a~0b/~1", "//"],
            &["a", "/~", "/~2", "#/a"],
        );
        check(
            "relative-json-pointer",
            &["0", "1/a", "0#", "120/b"],
            &["", "/a", "01", "-1/a", "+1/a", "0##"],
        );
        check("regex", &["^a+$", r"\d"], &["(", r"^\Z"]);
        check("char", &["a", "é"], &["", "ab"]);
        check("decimal", &["1.5", "-0.001"], &["1,5", "NaN", "", "0x1"]);
    }

    #[test]
    fn addresses() {
        check(
            "ipv4",
            &["1.2.3.4", "255.255.255.255"],
            &[
                "1.2.3",
                "01.2.3.4",
                "256.1.1.1",
                "1.2.3.4/8",
                "0x7f.1.1.1",
                "1.2.3.4 ",
                "١.2.3.4",
            ],
        );
        check(
            "ipv6",
            &["::", "::1", "2001:db8::ff00:42:8329", "::ffff:1.2.3.4"],
            &[
                "1.2.3.4",
                ":::",
                "12345::",
                "fe80::1%eth0",
                "1:2:3:4:5:6:7:8:9",
                "::1/64",
            ],
        );
    }

    #[test]
    fn numbers() {
        let check = |name: &str, text: &str| {
            let Some(Format::Number(format)) = named(name) else {
                panic!("{name} is a format")
            };
            format.matches(Decimal::parse(text).expect("a number"), text)
        };
        assert!(
            check("int32", "2147483647") && check("int32", "-2147483648") && check("int32", "1.0")
        );
        assert!(
            !check("int32", "2147483648")
                && !check("int32", "-2147483649")
                && !check("int32", "1.5")
        );
        assert!(check("int64", "9223372036854775807") && !check("int64", "9223372036854775808"));
        assert!(check("float", "3.4e38") && !check("float", "3.5e38"));
        assert!(check("double", "1e308") && check("uint8", "255") && !check("uint8", "-1"));
    }

    #[test]
    fn unknown_and_silent_names() {
        assert_eq!(named("password"), Some(Format::NotAsserted));
        assert_eq!(named("no-such-format"), None);
    }
}
