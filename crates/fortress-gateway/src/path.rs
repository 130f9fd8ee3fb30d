//! The request target's path, normalised once, before anything looks at it; and the characters
//! that a target may hold at all. Routing, checks and the upstream see the normalised form only.
//!
//! What one party could read differently from the next is refused instead of normalised: encoded
//! slashes and backslashes, double encodings, empty segments, control characters, invalid UTF-8,
//! and path parameters where no description declares them. The query stays as it came, for checks
//! and rules; what is sent on of it is a URI's in any case.

use crate::h1::Refused;
use fortress_model::Reason;

/// Segments of a path, before dot segments are removed.
const SEGMENTS: usize = 256;

/// An absolute path in its one normal form:
/// - dot segments, also encoded ones, are removed (RFC 3986, section 5.2.4), never past the root;
/// - unreserved characters are decoded, and so are `! $ & ' ( ) * : @`, since upstreams that
///   decode before they route read `%40me` as `@me`, and routing here must not differ;
/// - what stays encoded is in upper case: UTF-8, delimiters (`+ , ; = / ?`) and what no URI holds;
/// - a final slash is kept and counts: `/a/` is not `/a`.
///
/// Normalising it again changes nothing.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct NormalizedPath {
    text: Box<str>,
    has_semicolon: bool,
}

/// What becomes of `;` (also `%3B`), which some upstreams take for the begin of path parameters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Semicolons {
    /// The path is refused.
    Refused,
    /// The path may be one with `matrix` parameters; routing refuses
    /// [`NormalizedPath::has_semicolon`] where the operation declares none.
    Kept,
}

impl NormalizedPath {
    /// Reads the path of a target, without its query.
    ///
    /// # Errors
    /// [`Reason::PathMalformed`] if it cannot be read in one way only, or has over 256 segments.
    pub fn parse(raw: &str, semicolons: Semicolons) -> Result<Self, Refused> {
        if !raw.starts_with('/') {
            return Err(malformed("the path does not begin with a slash"));
        }
        if raw.bytes().filter(|byte| *byte == b'/').count() > SEGMENTS {
            return Err(malformed("the path has more than 256 segments"));
        }
        if is_plain(raw) {
            return Ok(Self {
                text: raw.into(),
                has_semicolon: false,
            });
        }
        let text = normalize(raw)?;
        let has_semicolon = has_semicolon(&text);
        if has_semicolon && semicolons == Semicolons::Refused {
            return Err(malformed("the path holds a semicolon"));
        }
        Ok(Self {
            text: text.into_boxed_str(),
            has_semicolon,
        })
    }

    /// The form that is routed and sent on.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether there is a semicolon, raw or encoded. No segment is a dot segment before one.
    pub fn has_semicolon(&self) -> bool {
        self.has_semicolon
    }

    /// The segments in order, at least one: `/` has an empty one, and so has the end of `/a/`.
    pub fn segments(&self) -> std::str::Split<'_, char> {
        self.text.get(1..).unwrap_or_default().split('/')
    }
}

/// Splits a target at its first `?`. A target may have an empty query, which is not none.
pub fn split_target(target: &str) -> (&str, Option<&str>) {
    let Some(at) = memchr::memchr(b'?', target.as_bytes()) else {
        return (target, None);
    };
    let (path, query) = target.split_at_checked(at).unwrap_or((target, ""));
    (path, query.get(1..))
}

/// Reads a target in origin-form: its characters must be those of RFC 3986, and its
/// percent-encodings whole. The query may hold other visible characters too, also those of UTF-8:
/// browsers send `[ ] \ ^ { } |` and backticks as they are (the WHATWG's URL standard encodes none
/// of them there), other clients whatever they are told, and no parser takes one of them for a
/// delimiter. [`encode_query`] makes a URI's query of it again.
///
/// # Errors
/// [`Reason::HeadMalformed`] for another character; [`Reason::PathMalformed`] and
/// [`Reason::ParameterMalformed`] for a `%` without two hexadecimal digits in path or query.
pub fn validate_target(target: &[u8]) -> Result<&str, Refused> {
    let mut allowed = IN_PATH;
    let mut bytes = target.iter();
    if target.first() != Some(&b'/') {
        return Err(Refused::new(
            Reason::HeadMalformed,
            "the target does not begin with a slash",
        ));
    }
    while let Some(byte) = bytes.next() {
        if class(*byte) & allowed != 0 {
            continue;
        }
        match byte {
            b'?' if allowed == IN_PATH => allowed = IN_QUERY,
            b'%' => {
                let hex = |digit: Option<&u8>| digit.is_some_and(u8::is_ascii_hexdigit);
                if !(hex(bytes.next()) && hex(bytes.next())) {
                    return Err(bad_encoding(allowed));
                }
            }
            // In the path it is a matter of how the path is read, not of whether this is a URI.
            b'\\' if allowed == IN_PATH => return Err(malformed("the path holds a backslash")),
            _ => {
                return Err(Refused::new(
                    Reason::HeadMalformed,
                    "the target holds a character that no URI has",
                ));
            }
        }
    }
    let text = std::str::from_utf8(target)
        .map_err(|_| Refused::new(Reason::HeadMalformed, "the query is not UTF-8"))?;
    // Those beyond ASCII, which are two bytes each.
    if !text.is_ascii() && text.contains(char::is_control) {
        return Err(Refused::new(
            Reason::HeadMalformed,
            "the query holds a control character",
        ));
    }
    Ok(text)
}

/// A query as it is sent on: what RFC 3986 does not allow there is percent-encoded (section 2.1),
/// so that no upstream has to make something of it. What was encoded already stays as it is.
pub fn encode_query(query: Box<str>) -> Box<str> {
    let is_ours = |byte: u8| class(byte) & ENCODED != 0;
    let Some(first) = query.bytes().position(is_ours) else {
        return query;
    };
    let mut out = String::with_capacity(query.len().saturating_add(32));
    out.push_str(query.get(..first).unwrap_or_default());
    for byte in query.bytes().skip(first) {
        if is_ours(byte) {
            out.push('%');
            out.push(upper_digit(byte >> 4));
            out.push(upper_digit(byte & 0xf));
        } else {
            out.push(char::from(byte));
        }
    }
    out.into_boxed_str()
}

fn bad_encoding(part: u8) -> Refused {
    const DETAIL: &str = "a percent sign stands without two hexadecimal digits";
    if part == IN_PATH {
        malformed(DETAIL)
    } else {
        Refused::new(Reason::ParameterMalformed, DETAIL)
    }
}

/// Whether the path is certainly in its normal form already.
fn is_plain(raw: &str) -> bool {
    let mut before = b'a';
    raw.bytes().all(|byte| {
        let doubtful = before == b'/' && matches!(byte, b'/' | b'.');
        before = byte;
        !doubtful && byte != b';' && class(byte) & IN_PATH != 0
    })
}

fn normalize(raw: &str) -> Result<String, Refused> {
    let mut out = String::with_capacity(raw.len());
    let mut segments = raw.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        if segment.is_empty() && !is_last {
            return Err(malformed("the path has an empty segment"));
        }
        let start = out.len();
        out.push('/');
        decode_into(segment, &mut out)?;
        let decoded = out.get(start.saturating_add(1)..).unwrap_or_default();
        match decoded {
            "." => out.truncate(start),
            ".." => {
                out.truncate(start);
                let parent = out
                    .rfind('/')
                    .ok_or_else(|| malformed("the path leaves the root"))?;
                out.truncate(parent);
            }
            _ if is_disguised_dot(decoded) => {
                return Err(malformed("a dot segment has path parameters"));
            }
            _ => continue,
        }
        if is_last {
            out.push('/');
        }
    }
    // Only now, since `%25%34%31` has become `%2541`.
    if is_encoded_twice(&out) {
        return Err(malformed("the path is percent-encoded twice"));
    }
    Ok(out)
}

/// Appends a segment in its normal form.
fn decode_into(segment: &str, out: &mut String) -> Result<(), Refused> {
    let mut opaque = Vec::new();
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            if class(byte) & IN_PATH == 0 {
                return Err(malformed("the path holds a character that no URI has"));
            }
            check_utf8(&mut opaque)?;
            out.push(char::from(byte));
            continue;
        }
        let digits = (
            bytes.next().and_then(hex_value),
            bytes.next().and_then(hex_value),
        );
        let (Some(high), Some(low)) = digits else {
            return Err(bad_encoding(IN_PATH));
        };
        let value = (high << 4) | low;
        match value {
            b'/' => return Err(malformed("the path holds an encoded slash")),
            b'\\' => return Err(malformed("the path holds an encoded backslash")),
            0..=0x1f | 0x7f => return Err(malformed("the path holds a control character")),
            _ => {}
        }
        if value >= 0x80 {
            opaque.push(value);
        } else {
            check_utf8(&mut opaque)?;
        }
        if class(value) & DECODED != 0 {
            out.push(char::from(value));
        } else {
            out.push('%');
            out.push(upper_digit(high));
            out.push(upper_digit(low));
        }
    }
    check_utf8(&mut opaque)
}

/// Judges a run of decoded bytes outside ASCII and forgets it. Overlong forms and surrogates are
/// no UTF-8.
fn check_utf8(run: &mut Vec<u8>) -> Result<(), Refused> {
    let text = std::str::from_utf8(run).map_err(|_| malformed("the path is not UTF-8"))?;
    if text.chars().any(char::is_control) {
        return Err(malformed("the path holds a control character"));
    }
    run.clear();
    Ok(())
}

/// `..;x` is `..` to an upstream that strips path parameters first.
fn is_disguised_dot(segment: &str) -> bool {
    let name = segment.split(';').next().unwrap_or_default();
    let name = name.split("%3B").next().unwrap_or_default();
    name.len() < segment.len() && matches!(name, "." | "..")
}

fn has_semicolon(text: &str) -> bool {
    text.contains(';') || text.contains("%3B")
}

fn is_encoded_twice(text: &str) -> bool {
    text.split("%25").skip(1).any(|after| {
        let mut digits = after.bytes();
        let mut hex = || digits.next().is_some_and(|byte| byte.is_ascii_hexdigit());
        hex() && hex()
    })
}

fn malformed(detail: &'static str) -> Refused {
    Refused::new(Reason::PathMalformed, detail)
}

fn hex_value(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(byte.wrapping_sub(b'a').wrapping_add(10)),
        b'A'..=b'F' => Some(byte.wrapping_sub(b'A').wrapping_add(10)),
        _ => None,
    }
}

fn upper_digit(value: u8) -> char {
    char::from_digit(u32::from(value), 16).map_or('0', |digit| digit.to_ascii_uppercase())
}

/// May stand in a path as it is: `pchar` without percent-encoding, and `/`.
const IN_PATH: u8 = 1;
/// May stand in a query as it is.
const IN_QUERY: u8 = 2;
/// Is decoded where it is encoded.
const DECODED: u8 = 4;
/// May stand in a query as it is, but is no URI's: it is sent on encoded.
const ENCODED: u8 = 8;

fn class(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or_default()
}

static CLASSES: [u8; 256] = classes();

#[expect(
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "evaluated when compiling, where a fault stops the build"
)]
const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                IN_PATH | IN_QUERY | DECODED
            }
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b':' | b'@' => {
                IN_PATH | IN_QUERY | DECODED
            }
            b'+' | b',' | b';' | b'=' | b'/' => IN_PATH | IN_QUERY,
            b'?' => IN_QUERY,
            b'"' | b'<' | b'>' | b'[' | b']' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                IN_QUERY | ENCODED
            }
            0x80..=0xff => IN_QUERY | ENCODED,
            _ => 0,
        };
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn becomes(raw: &str, expected: &str) {
        let path = NormalizedPath::parse(raw, Semicolons::Refused).expect(raw);
        assert_eq!(path.as_str(), expected, "{raw}");
        let again = NormalizedPath::parse(expected, Semicolons::Refused).expect(expected);
        assert_eq!(again, path, "{raw}");
    }

    #[track_caller]
    fn refused(raw: &str) {
        for semicolons in [Semicolons::Refused, Semicolons::Kept] {
            match NormalizedPath::parse(raw, semicolons) {
                Ok(path) => panic!("{raw} becomes {path:?}"),
                Err(refused) => assert_eq!(refused.reason, Reason::PathMalformed),
            }
        }
    }

    #[test]
    fn plain_paths_stay_as_they_are() {
        for path in [
            "/",
            "/a",
            "/a/",
            "/a/b.json",
            "/a/b,c=d+e",
            "/a:batch",
            "/@me",
            "/~x/-_.!$&'()*",
            "/.well-known/x",
            "/a/...",
            "/..a",
            "/a..",
            "/.a./",
        ] {
            becomes(path, path);
        }
    }

    #[test]
    fn dot_segments_are_removed_also_encoded_ones() {
        becomes("/a/../admin", "/admin");
        becomes("/a/./b", "/a/b");
        becomes("/a/b/..", "/a/");
        becomes("/a/.", "/a/");
        becomes("/.", "/");
        becomes("/a/..", "/");
        becomes("/a/../", "/");
        becomes("/a/b/../../c", "/c");
        becomes("/a/%2e%2e/b", "/b");
        becomes("/a/.%2E/b", "/b");
        becomes("/a/%2e/b", "/a/b");
        becomes("/./a", "/a");
        becomes("/a/b/c/./../../g", "/a/g");
        for path in [
            "/..",
            "/../a",
            "/%2e%2e/a",
            "/a/../..",
            "/a/../../b",
            "/./..",
            "/a/%2e%2e/%2e%2e/etc/passwd",
            "/../../../etc/passwd",
        ] {
            refused(path);
        }
    }

    #[test]
    fn encodings_have_one_form() {
        becomes("/%61%7e%2d%5F%2e%41%30", "/a~-_.A0");
        becomes("/joe%40x%3ay", "/joe@x:y");
        becomes("/%21%24%26%27%28%29%2a", "/!$&'()*");
        becomes("/a%20b", "/a%20b");
        becomes("/a%2cb%3d%2bc%3f%23", "/a%2Cb%3D%2Bc%3F%23");
        becomes("/%c3%a9", "/%C3%A9");
        becomes("/%f0%9f%92%a9", "/%F0%9F%92%A9");
        becomes("/100%25", "/100%25");
        becomes("/%25zz", "/%25zz");
        becomes(
            "/%22%3c%3E%5b%5d%5e%60%7b%7c%7d",
            "/%22%3C%3E%5B%5D%5E%60%7B%7C%7D",
        );
    }

    const AMBIGUOUS: &[&[&str]] = &[
        &[
            "/a%2fb",
            "/a%2Fb",
            "/%2f",
            "/..%2fadmin",
            "/a\\b",
            "/a%5cb",
            "/a%5C..%5cb",
            "/%252e%252e/a",
            "/%252f",
            "/a%2541",
            "/%25%34%31",
            "/%2525",
            "/%25%32%66",
        ],
        &[
            "//",
            "//a",
            "/a//b",
            "/a///",
            "/a//",
            "/%00",
            "/a%00.json",
            "/a%0a",
            "/a%0d%0aX:1",
            "/%1f",
            "/%7f",
            "/%09",
            "/%c2%80",
            "/%C2%85",
        ],
        &[
            "/%ff",
            "/%c3",
            "/%c3/%a9",
            "/%c3a%a9",
            "/%a9",
            "/%c0%ae%c0%ae/a",
            "/%c0%af",
            "/%e0%80%af",
            "/%ed%a0%80",
            "/%f4%90%80%80",
            "/%f5%80%80%80",
            "/%e2%82",
            "/%c1%9c",
        ],
        &[
            "/%",
            "/%a",
            "/%zz",
            "/a%2",
            "/%u002f",
            "/%+1",
            "/%%41",
            "/é",
            "/a b",
            "/a\"",
            "/<",
            "/a#",
            "/a?b",
            "/[a]",
            "/a|b",
            "/{a}",
            "/a^",
            "/a`",
            "/\u{0}",
            "/\n",
            "",
            "a",
            "*",
            "?",
            ".",
            "..",
            "%2fa",
            "http://x/a",
            "/..;/admin",
            "/a/..;x=y/admin",
            "/a/.;/b",
            "/a/..%3b/admin",
            "/a/%2e%2e%3Bx/b",
            "/a/%2e;/b",
            "/..;",
        ],
    ];

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for path in AMBIGUOUS.iter().flat_map(|group| *group) {
            refused(path);
        }
        refused(&"/a".repeat(257));
        becomes(&"/a".repeat(256), &"/a".repeat(256));
        refused(&"/..".repeat(200));
    }

    #[test]
    fn semicolons_pass_only_where_asked_for() {
        for (raw, text) in [
            ("/a;b=c", "/a;b=c"),
            ("/;color=blue,black", "/;color=blue,black"),
            ("/a%3bb", "/a%3Bb"),
            ("/;", "/;"),
            ("/a;..", "/a;.."),
            ("/...;a", "/...;a"),
        ] {
            let kept = NormalizedPath::parse(raw, Semicolons::Kept).expect(raw);
            assert_eq!((kept.as_str(), kept.has_semicolon()), (text, true));
            let error = NormalizedPath::parse(raw, Semicolons::Refused).expect_err(raw);
            assert_eq!(error.reason, Reason::PathMalformed);
        }
        let without = NormalizedPath::parse("/a/%62", Semicolons::Kept).expect("a path");
        assert!(!without.has_semicolon());
    }

    #[test]
    fn segments_are_those_between_slashes() {
        let segments = |raw: &str| {
            let path = NormalizedPath::parse(raw, Semicolons::Refused).expect(raw);
            path.segments().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(segments("/"), [""]);
        assert_eq!(segments("/a"), ["a"]);
        assert_eq!(segments("/a/"), ["a", ""]);
        assert_eq!(segments("/a/x/../%62%2Cc"), ["a", "b%2Cc"]);
        assert_eq!(split_target("/a?b?c"), ("/a", Some("b?c")));
        assert_eq!(split_target("/a?"), ("/a", Some("")));
        assert_eq!(split_target("/a"), ("/a", None));
    }

    #[track_caller]
    fn sent(query: &str, expected: &str) {
        let target = format!("/a?{query}");
        assert_eq!(validate_target(target.as_bytes()), Ok(&*target));
        let encoded = encode_query(query.into());
        assert_eq!(&*encoded, expected);
        assert_eq!(encode_query(encoded.clone()), encoded);
        let decoded = |text| percent_encoding::percent_decode_str(text).collect::<Vec<_>>();
        assert_eq!(decoded(query), decoded(&encoded));
    }

    #[track_caller]
    fn not_read(target: &[u8], reason: Reason) {
        let refused = validate_target(target).expect_err("a refusal");
        assert_eq!(refused.reason, reason, "{}", target.escape_ascii());
    }

    #[test]
    fn a_query_holds_what_browsers_send_and_goes_on_as_a_uri() {
        sent("", "");
        sent(
            "a=b&c=%5b%22&d=/?:@!$'()*+,;=-._~",
            "a=b&c=%5b%22&d=/?:@!$'()*+,;=-._~",
        );
        sent("f[x]=1|2", "f%5Bx%5D=1%7C2");
        sent("q=\"<a>\"", "q=%22%3Ca%3E%22");
        sent("q=\\^{x}`", "q=%5C%5E%7Bx%7D%60");
        sent("q=caf\u{e9}&\u{1f4a9}", "q=caf%C3%A9&%F0%9F%92%A9");
    }

    #[test]
    fn a_query_holds_no_control_no_space_and_no_fragment() {
        for byte in (0..=b' ').chain([b'#', 0x7f]) {
            not_read(&[b"/a?q=", &[byte][..]].concat(), Reason::HeadMalformed);
        }
        for bytes in [
            &b"\xff"[..],
            b"\xc3",
            b"\xc0\xaf",
            b"\xed\xa0\x80",
            b"\xc2\x85",
        ] {
            not_read(&[b"/a?q=", bytes].concat(), Reason::HeadMalformed);
        }
        for stray in ["%", "%4", "%zz", "%u0041", "%%41"] {
            not_read(
                format!("/a?q={stray}").as_bytes(),
                Reason::ParameterMalformed,
            );
        }
    }

    #[test]
    fn a_path_holds_a_uris_characters_alone() {
        for character in "\"<>[]^`{|}\u{e9}".chars() {
            not_read(format!("/{character}").as_bytes(), Reason::HeadMalformed);
            not_read(format!("/{character}?q").as_bytes(), Reason::HeadMalformed);
        }
        not_read(b"/\\?q", Reason::PathMalformed);
        not_read(b"/%?q", Reason::PathMalformed);
    }

    /// Paths of the pieces that matter.
    fn paths() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("/"),
            Just("/"),
            Just("."),
            Just(".."),
            Just("%2e"),
            Just("%2F"),
            Just("%25"),
            Just("%41"),
            Just("%32"),
            Just("%3b"),
            Just(";"),
            Just("a"),
            Just("b.c"),
            Just("%c3%a9"),
            Just("%c3"),
            Just("%A9"),
            Just("%"),
            Just("5c"),
            Just("%20"),
            Just("@"),
            Just("%40"),
            Just("\\"),
            Just("é"),
            Just("//"),
        ];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn normalising_is_idempotent_and_leaves_one_reading(raw in prop_oneof![paths(), "/[ -~]{0,20}"]) {
            let Ok(path) = NormalizedPath::parse(&raw, Semicolons::Kept) else { return Ok(()) };
            let text = path.as_str();
            let again = NormalizedPath::parse(text, Semicolons::Kept);
            prop_assert_eq!(again.as_ref(), Ok(&path));
            prop_assert!(validate_target(text.as_bytes()).is_ok());
            prop_assert!(text.len() <= raw.len() + 1);
            let last = path.segments().count() - 1;
            for (at, segment) in path.segments().enumerate() {
                let decoded = percent_encoding::percent_decode_str(segment).decode_utf8().expect("UTF-8");
                prop_assert!(!matches!(&*decoded, "." | ".."));
                prop_assert!(at == last || !segment.is_empty());
                prop_assert!(!decoded.chars().any(|c| matches!(c, '/' | '\\') || c.is_control()));
            }
        }
    }
}
