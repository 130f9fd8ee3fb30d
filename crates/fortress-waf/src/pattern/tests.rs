//! Patterns mean what PCRE means by them, or are refused.

use super::{Mistake, Pattern, Read};

#[track_caller]
fn check(pattern: &[u8], matched: &[&[u8]], missed: &[&[u8]]) {
    let compiled = Pattern::parse(pattern).unwrap();
    for text in matched {
        assert!(compiled.regex.is_match(text), "{}", text.escape_ascii());
    }
    for text in missed {
        assert!(!compiled.regex.is_match(text), "{}", text.escape_ascii());
    }
}

#[track_caller]
fn refused(pattern: &str, says: &str) {
    let mistake = Pattern::parse(pattern.as_bytes()).unwrap_err();
    assert!(mistake.to_string().contains(says), "{mistake}");
}

#[test]
fn a_brace_that_counts_nothing_is_a_literal() {
    check(br"\${", &[b"a${b"], &[b"$"]);
    check(br"{.+}", &[b"{a}"], &[b"{}"]);
    check(br"{{.*?}}", &[b"{{}}"], &[b"{}"]);
    check(br"^a{2}$", &[b"aa"], &[b"a", b"a{2}"]);
    check(br"^a{2,}$", &[b"aaa"], &[b"a"]);
    check(br"^a{,2}$", &[b"a{,2}"], &[b"a"]);
    check(br"^a{2,3}?$", &[b"aaa"], &[b"a"]);
    check(br"^%{tx.name}$", &[b"%{txaname}"], &[b""]);
}

#[test]
fn classes_are_pcres() {
    check(br"^[[(]$", &[b"[", b"("], &[b")"]);
    check(br"^[a[b]c]$", &[b"ac]", b"[c]"], &[b"c", b"a"]);
    check(br"^[a&&b]$", &[b"a", b"&", b"b"], &[b"c"]);
    check(br"^[+--b]$", &[b"+", b",", b"-", b"b"], &[b"."]);
    check(br"^[]a]$", &[b"]", b"a"], &[b"b"]);
    check(br"^[^]a]$", &[b"b"], &[b"]", b"a"]);
    check(br"^[\w-x]$", &[b"-", b"q"], &[b"+"]);
    check(br"^[a-\d]$", &[b"a", b"-", b"5"], &[b"b"]);
    check(br"^[a-c-e]$", &[b"b", b"-", b"e"], &[b"d"]);
    check(br"^[-a]$", &[b"-", b"a"], &[b"b"]);
    check(br"^[a-]$", &[b"-", b"a"], &[b"b"]);
    check(br"^[[:alpha:][:^space:]]$", &[b"a", b"1"], &[b" "]);
    check(
        br"^[\b\x41\101\v]$",
        &[b"\x08", b"A", b"\x85"],
        &[b"b", b"v"],
    );
    check(br"^[\<\&\i]$", &[b"<", b"&", b"i"], &[b"\\"]);
    check(br"^[\x00-\xff]$", &[b"\0", b"\xFF"], &[b""]);
    check("^[´a]$".as_bytes(), &[b"\xC2", b"\xB4", b"a"], &[b"b"]);
    check(br"(?i)^[a-f]$", &[b"A", b"f"], &[b"g"]);
    check(br"(?i)^[^a]$", &[b"b"], &[b"A", b"a"]);
    refused("[b-a]", "from \\x62 down to \\x61");
    refused("[a--b]", "from \\x61 down to \\x2d");
    refused("[a", "no end");
}

#[test]
fn escapes_are_pcres() {
    check(br"^\<a\>$", &[b"<a>"], &[b"a"]);
    check(br"^\x{bc}$", &[b"\xBC"], &["¼".as_bytes()]);
    check(br"^\xbc\x4\x$", &[b"\xBC\x04\0"], &[]);
    check(br"^\0\01\012$", &[b"\0\x01\n"], &[]);
    check(br"^\v$", &[b"\x0B", b"\n"], &[b"v"]);
    check(br"^\i\-\/\_$", &[b"i-/_"], &[]);
    check(br"^\e\h\N$", &[b"\x1B\tx"], &[b"\x1B\t\n"]);
    check(br"a.b", &[b"a\nb", b"a\xFFb"], &[b"ab"]);
    check("^´+$".as_bytes(), &[b"\xC2\xB4\xB4"], &["´´".as_bytes()]);
    check(br"(?#note)^a(?<n>b)(?'m'c)(?P<o>d)$", &[b"abcd"], &[]);
    refused(r"(a)\1", "back-reference at byte 4");
    refused(r"\Qa", "this escape");
    refused(r"\x{263a}", "this character");
    refused(r"\", "backslash");
}

#[test]
fn what_is_not_linear_is_refused() {
    refused("a(?!b)", "a negative look-around at byte 3");
    refused("(?<!b)a", "a negative look-around");
    refused("(?=b)a", "a look-around");
    refused("(?<=b)a", "a look-around");
    refused("(*COMMIT)a", "a backtracking verb");
    refused("(?x) a", "this kind of group");
    refused("(?R)", "this kind of group");
    refused("(?|a|b)", "this kind of group");
    refused("(a", "unclosed group");
    refused("*", "missing expression");
    assert!(matches!(
        Pattern::parse(br"(?:a{2000}){2000}"),
        Err(Mistake::Syntax(_))
    ));
}

#[track_caller]
fn widened(pattern: &str, expected: bool) {
    let read = Read::new(pattern.as_bytes()).unwrap();
    assert_eq!(read.is_widened, expected);
    let (deferred, hir) = read.defer().unwrap();
    let compiled = deferred.get().unwrap();
    assert_eq!(
        compiled.captures_len(),
        hir.properties().explicit_captures_len() + 1
    );
}

#[test]
fn possessive_quantifiers_are_known_to_be_harmless_or_not() {
    widened(r"a+b", false);
    widened(r"a++b", false);
    widened(r"a*+b", false);
    widened(r"a?+b", false);
    widened(r"a{1,3}+b", false);
    widened(r"(?:\s*+;\s*+(?:charset\s*+=\s*+x))*$", false);
    widened(r"(?:x|[ab]*+c|y)a", false);
    widened(r"\x20++b", false);
    widened(r"a++a", true);
    widened(r"(?i)a++A", true);
    widened(r"a++b?", true);
    widened(r"a++$", true);
    widened(r"(?:a++)b", true);
    widened(r"(?:ab)++c", true);
    widened(r"(?>a|ab)c", true);
    check(br"^a?+b$", &[b"ab", b"b"], &[b"aab"]);
    check(br"^[^?\w\s=.,;)(]++\s*?x$", &[b"!! x"], &[b"a x"]);
}
