//! Tables of values before and after, and what holds for every transformation and any bytes.

use proptest::prelude::*;

use super::{Made, Triggers, bestfit};
use crate::{ByteSet, seclang::Transformation as T};

fn run(transformation: T, input: &[u8]) -> Vec<u8> {
    let mut out = b"before".to_vec();
    let changed = transformation.apply(input, &mut out);
    let after = out
        .strip_prefix(b"before")
        .expect("what stood there")
        .to_vec();
    assert!(changed || after.is_empty());
    if changed { after } else { input.to_vec() }
}

#[track_caller]
fn check(transformation: T, input: impl AsRef<[u8]>, expected: impl AsRef<[u8]>) {
    let (input, expected) = (input.as_ref(), expected.as_ref());
    assert_eq!(
        run(transformation, input).escape_ascii().to_string(),
        expected.escape_ascii().to_string()
    );
}

/// It stays as it is.
#[track_caller]
fn same(transformation: T, input: impl AsRef<[u8]>) {
    check(transformation, input.as_ref(), input.as_ref());
}

#[test]
fn javascript_escapes() {
    let t = T::JsDecode;
    check(t, r"\u0061l\u0065rt", "alert");
    check(t, r"\u00e9\u4e2d", b"\xe9-");
    check(t, r"\uff01\uff5e", "!~");
    check(t, r"\uff00\uff5f", b"\x00_");
    check(t, r"\x41\x4g\x", "Ax4gx");
    check(t, r"\u{41}\u12", "u{41}u12");
    check(t, r"\U0041\X41", "U0041X41");
    check(t, r"\101\377\400\1\12\8", b"A\xff 0\x01\n8");
    check(t, r"\a\b\f\n\r\t\v", b"\x07\x08\x0c\n\r\t\x0b");
    check(t, r#"\q\\\'\""#, r#"q\'""#);
    same(t, r"abc\");
    same(t, "abc");
}

#[test]
fn escapes_of_ansi_c() {
    let t = T::EscapeSeqDecode;
    check(t, r"\a\b\f\n\r\t\v", b"\x07\x08\x0c\n\r\t\x0b");
    check(t, r#"\\\?\'\""#, r#"\?'""#);
    check(t, r"\x41\X42\x4g", "ABx4g");
    check(t, r"\101\0101\400\777\1\8", b"A\x081\x00\xff\x018");
    check(t, r"\q\z", "qz");
    same(t, r"abc\");
}

#[test]
fn escapes_of_css() {
    let t = T::CssDecode;
    check(t, r"j\61vascript\3a x", "javascript:x");
    check(t, r"\41\041\0041\00041\000041", "AAAAA");
    check(t, r"\0000041", b"\x041");
    check(t, r"\ff01\0ff01\00ff01\ff5f\1ff41", b"!!!_A");
    check(t, "\\41 b\\41  b\\41\tb\\41\r\nb", "AbA bAbA\nb");
    check(t, "a\\\nb\\\r\nc", "ab\r\nc");
    check(t, r"\g\z\\", r"gz\");
    check(t, r"abc\", "abc");
    // Another engine ends here.
    check(t, "\\41\0b", "A\0b");
    same(t, "a\0b");
}

#[test]
fn html_entities() {
    let t = T::HtmlEntityDecode;
    check(t, "&lt;&LT;&Lt&gt x&quot;&amp;&nbsp", b"<<<> x\"&\xa0");
    check(t, "&#39;&#x27;&#X27;&#39&#x27x", "'''''x");
    check(t, "&#00000000000000000000060;", "<");
    check(t, "&#256;&#65345;&#99999999999999999999;", b"\0A\xff");
    check(t, "&amp;lt;", "&lt;");
    check(t, "&&lt;", "&<");
    check(t, "&#60g&#x3cg", "<g<g");
    same(t, "&ltx;&colon;&Tab;&apos;&#x;&#;&#&#-5;&");
}

#[test]
fn percent_encoding() {
    check(T::UrlDecode, "%41+%4g%%41%", "A %4g%A%");
    check(T::UrlDecode, "%00", "\0");
    same(T::UrlDecode, "%u0041");
    same(T::UrlDecode, "%zz%4");
    let t = T::UrlDecodeUni;
    check(t, "%u0041%U0041%uff1c%uFF1C+%41", "AA<< A");
    check(t, "%u4e2d%uff5f%uff00", b"-_\0");
    check(t, "%u12%34", "%u124");
    // What fits best: an apostrophe, a letter, a space.
    check(t, "%u2019%u02b9%u00e9%u00a0", "''e ");
    same(t, "%u%u00g0%u004%4g%");
    check(T::UrlEncode, "aZ0* /\u{e9}", "aZ0*+%2f%c3%a9");
    same(T::UrlEncode, "aZ0*");
}

#[test]
fn utf8_to_escapes() {
    let t = T::Utf8ToUnicode;
    check(t, "a\u{e9}b\u{20ac}", "a%u00e9b%u20ac");
    check(t, "\u{1f600}\u{ff1c}", "%u1f600%uff1c");
    check(t, b"\xf4\x8f\xbf\xbf", "%u10ffff");
    // Overlong, and half of a pair.
    check(
        t,
        b"\xc0\xa7\xe0\x80\xa7\xf0\x80\x80\xa7",
        "%u0027%u0027%u0027",
    );
    check(t, b"\xed\xa0\x80", "%ud800");
    // Nothing is lost.
    check(t, b"\xe2\x82\xc3\xa9", b"\xe2\x82%u00e9");
    same(t, b"\xc3\xe2\x82\xff\xf4\x90\x80\x80\xf5\x80\x80\x80 \xc3");
    same(t, "a\0b");
}

#[test]
fn command_lines() {
    let t = T::CmdLine;
    check(t, "C^m\"D /c ;dir", "cmd/c dir");
    check(t, "a,;  b", "a b");
    check(t, "a ' /b (c)", "a/b(c)");
    check(t, "a\\\n/b", "a/b");
    check(t, "  ", " ");
    check(t, "c'a't\te\"t\"c", "cat etc");
    check(t, "a ,", "a ");
    check(t, "';a'", " a");
    check(t, " (", "(");
    check(t, "\"^", "");
    check(t, "x ;\"/", "x/");
    same(t, " ");
    same(t, "");
    same(t, "ls -la x\u{b}y");
}

#[test]
fn white_space() {
    check(T::CompressWhitespace, " a \t\n b\x0bc ", " a b c ");
    same(T::CompressWhitespace, b"a b\xa0\xa0");
    check(
        T::RemoveWhitespace,
        b" a \t\n\x0b\x0c\rb\xa0\xc2\xa0c",
        "abc",
    );
    same(T::RemoveWhitespace, b"a\xc2b\xc2");
    check(T::Trim, " \t a b \x0b\x0c\r\n", "a b");
    check(T::TrimLeft, " a ", "a ");
    check(T::TrimRight, " a ", " a");
    check(T::Trim, "  ", "");
    same(T::Trim, "a b");
    same(T::TrimLeft, "a ");
    same(T::TrimRight, " a");
}

#[test]
fn nulls_and_case() {
    check(T::RemoveNulls, "\0a\0\0b\0", "ab");
    same(T::RemoveNulls, "ab");
    check(T::ReplaceNulls, "\0a\0\0b", " a  b");
    same(T::ReplaceNulls, "ab");
    check(T::Lowercase, b"aBC\xc0", b"abc\xc0");
    same(T::Lowercase, b"abc\xc0");
    check(T::Uppercase, b"aBc\xe0", b"ABC\xe0");
    same(T::Uppercase, b"ABC\xe0");
}

#[test]
fn comments() {
    let t = T::ReplaceComments;
    check(t, "a/*b*/c", "a c");
    check(t, "un/**/ion/*", "un ion ");
    check(t, "/*/x*/y", " y");
    check(t, "/* /* */ */", "  */");
    same(t, "a*/b / * /");
    let t = T::RemoveComments;
    check(t, "a/*b*/c<!--d-->e", "ace");
    check(t, "a/*b-->c", "ac");
    check(t, "a--b", "a");
    check(t, "a#b", "a");
    check(t, "a/*b", "a ");
    check(t, "a<!--->b", "a ");
    same(t, "a-b*/c/d<!-");
    let t = T::RemoveCommentsChar;
    check(t, "a/*b*/c<!--d-->e--f#", "abcdef");
    check(t, "----->>", "->>");
    check(t, "*/*", "*");
    same(t, "a-b/c*d<!-");
}

#[test]
fn paths() {
    let t = T::NormalizePath;
    check(t, "/a/./b/../c//d", "/a/c/d");
    check(t, "/../../etc/passwd", "/etc/passwd");
    check(t, "a/../../b", "../b");
    check(t, "a/b/../..", "");
    check(t, "../../a/../b", "../../b");
    check(t, "./a/.", "a");
    check(t, "/a/b/../../", "/");
    check(t, "/..", "");
    check(t, "//", "/");
    check(t, ".", "");
    check(t, "../.", "..");
    same(t, "../..");
    same(t, "../a/..b/c../...");
    same(t, "/");
    same(t, "");
    same(t, "/a/b.c/");
    same(t, r"\a\..\b");
    let t = T::NormalizePathWin;
    check(t, r"\a\..\b/", "/b/");
    check(t, r"..\..\x", "../../x");
    same(t, "/a/b");
}

#[test]
fn base64() {
    let t = T::Base64Decode;
    check(t, "aGVsbG8=", "hello");
    check(t, "aGVsbG8", "hello");
    check(t, "aGVs\r\nbG8h", "hello!");
    check(t, "aGVsbG8=!!", "hello");
    check(t, "PHNj.cmlw", "<sc");
    check(t, "a", "");
    check(t, "-_", "");
    let t = T::Base64DecodeExt;
    check(
        t,
        "P.HNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==",
        "<script>alert(1)</script>",
    );
    check(t, "aG Vs=bG8", "hello");
    check(t, "..", "");
    let t = T::Base64Encode;
    check(t, "a", "YQ==");
    check(t, "ab", "YWI=");
    check(t, b"\xfb\xff\xfe", "+//+");
    same(t, "");
}

#[test]
fn hexadecimal() {
    check(T::HexDecode, "616263", "abc");
    check(T::HexDecode, "4a4B5", "JK");
    check(T::HexDecode, "61zz62", "aSb");
    check(T::HexEncode, b"a\xff", "61ff");
    same(T::HexEncode, "");
    let t = T::SqlHexDecode;
    check(t, "0x414243 0X44", "ABC D");
    check(t, "a0x41424", "aAB4");
    check(t, "0x0x41", "0xA");
    same(t, "0x4");
    same(t, "0xzz x41 0 x");
}

#[test]
fn hashes_parity_and_length() {
    check(
        T::Md5,
        "",
        b"\xd4\x1d\x8c\xd9\x8f\x00\xb2\x04\xe9\x80\t\x98\xec\xf8B~",
    );
    check(
        T::Sha1,
        "",
        b"\xda9\xa3\xee^kK\r2U\xbf\xef\x95`\x18\x90\xaf\xd8\x07\t",
    );
    check(T::Length, "abc", "3");
    check(T::Length, "", "0");
    check(T::Length, "0123456789ab", "12");
    same(T::Length, "1");
    check(T::ParityEven7Bit, b"\x01\x03\x80\xff", b"\x81\x03\x80\x7f");
    check(T::ParityOdd7Bit, b"\x01\x03\x80\xff", b"\x01\x83\x00\xff");
    check(T::ParityZero7Bit, b"\x81a\xff", b"\x01a\x7f");
    same(T::ParityZero7Bit, "a");
}

/// What a server on Windows makes of such characters, and what ModSecurity's file says of them.
#[test]
fn best_fit() {
    let fits = |code| bestfit::ascii(code).map(char::from);
    assert_eq!(fits(0x00A0), Some(' '));
    assert_eq!(fits(0x00C7), Some('C'));
    assert_eq!(fits(0x00FF), Some('y'));
    assert_eq!(fits(0x0100), Some('A'));
    assert_eq!(fits(0x017E), Some('z'));
    assert_eq!(fits(0x0180), Some('b'));
    assert_eq!(fits(0x01F0), Some('j'));
    assert_eq!(fits(0x2018), Some('\''));
    assert_eq!(fits(0x2039), Some('<'));
    for none in [
        0x0041, 0x009F, 0x00A3, 0x017F, 0x01FF, 0x4E2D, 0xFF01, 0xFFFF,
    ] {
        assert_eq!(fits(none), None, "{none:04x}");
    }
    let count = (0..=u16::MAX)
        .filter(|code| bestfit::ascii(*code).is_some())
        .count();
    assert_eq!(count, FITS);
}

/// Entries of the file below the full width forms.
const FITS: usize = 277;

/// Bytes that mean something to some transformation, and others.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: &[&[u8]] = &[
        b"\\",
        b"%",
        b"%u",
        b"&",
        b"&#",
        b"&#x",
        b"lt",
        b"gt",
        b";",
        b"0x",
        b"0X",
        b"u",
        b"x",
        b"4",
        b"1",
        b"F",
        b"f",
        b"7",
        b"0",
        b"/",
        b"*",
        b"/*",
        b"*/",
        b"<!--",
        b"-->",
        b"--",
        b"#",
        b".",
        b"..",
        b"/../",
        b" ",
        b"\t",
        b"\n",
        b"\r",
        b"\x0b",
        b"\0",
        b"\xa0",
        b"\xc2",
        b"\xc3\xa9",
        b"\xe2\x82\xac",
        b"\xf0\x9f\x98\x80",
        b"\xc0\x80",
        b"\xff",
        b"'",
        b"\"",
        b"^",
        b",",
        b"(",
        b"+",
        b"=",
        b"a",
        b"Z",
        b"N",
        b"n",
        b"AbC",
    ];
    let piece = prop_oneof![
        4 => proptest::sample::select(PIECES).prop_map(<[u8]>::to_vec),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn lower(bytes: &[u8]) -> Vec<u8> {
    bytes.to_ascii_lowercase()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    /// `false` says that nothing changed, `true` that something did; the bound holds; and without a
    /// trigger nothing changes.
    #[test]
    fn every_transformation_keeps_its_word(input in hostile()) {
        for transformation in T::ALL {
            let mut out = b"before".to_vec();
            let changed = transformation.apply(&input, &mut out);
            let after = out.strip_prefix(b"before").expect("what stood there");
            if changed {
                prop_assert!(after != input, "{transformation:?} changed nothing");
                prop_assert!(after.len() <= transformation.most(input.len()));
            } else {
                prop_assert!(after.is_empty(), "{transformation:?} wrote something");
            }
            if let Triggers::Bytes(set) = transformation.triggers() {
                prop_assert!(!changed || input.iter().any(|byte| set.contains(*byte)));
                let tame: Vec<u8> = input.iter().copied().filter(|byte| !set.contains(*byte)).collect();
                prop_assert!(!transformation.apply(&tame, &mut out), "{transformation:?} without a trigger");
            }
            if let Made::Bytes(made) = transformation.made() {
                let known = ByteSet::of(&input).fold_case().union(made);
                let after = run(*transformation, &input);
                let new = after.iter().find(|byte| !known.contains(**byte));
                prop_assert_eq!(new, None, "{:?} makes it", transformation);
            }
            let taken = transformation.taken();
            let left = run(*transformation, &input);
            prop_assert!(!left.iter().any(|byte| taken.contains(*byte)), "{transformation:?} leaves it");
        }
    }

    /// As they claim.
    #[test]
    fn lowering_commutes(input in hostile()) {
        for transformation in T::ALL.iter().filter(|t| t.commutes_with_lowercase()) {
            let before = lower(&run(*transformation, &lower(&input)));
            prop_assert_eq!(before, lower(&run(*transformation, &input)), "{:?}", transformation);
        }
    }
}

/// And for every pair of bytes, which random ones miss.
#[test]
fn every_pair_of_bytes() {
    let mut out = Vec::new();
    for transformation in T::ALL {
        let set = match transformation.triggers() {
            Triggers::Bytes(set) => set,
            Triggers::Always => ByteSet::ALL,
        };
        for pair in (0..=u16::MAX).map(u16::to_be_bytes) {
            out.clear();
            let changed = transformation.apply(&pair, &mut out);
            assert!(if changed { out != pair } else { out.is_empty() });
            assert!(!changed || set.contains(pair[0]) || set.contains(pair[1]));
            if let Made::Bytes(made) = transformation.made() {
                let known = ByteSet::of(&pair).fold_case().union(made);
                assert!(
                    out.iter().all(|byte| known.contains(*byte)),
                    "{transformation:?}"
                );
            }
        }
    }
}

/// Those that do not commute really do not: the list is as long as it can be.
#[test]
fn what_does_not_commute() {
    for transformation in T::ALL.iter().filter(|t| !t.commutes_with_lowercase()) {
        let differs = |input: &[u8]| {
            lower(&run(*transformation, &lower(input))) != lower(&run(*transformation, input))
        };
        assert!(
            [&b"\\N"[..], b"\\U0041", b"QUJD", b"ABC", b"A", b"C"]
                .iter()
                .any(|input| differs(input)),
            "{transformation:?}"
        );
    }
}
