//! Patterns that only a backtracking matcher can decide, as that matcher writes them.
//!
//! Deliberately not here: which patterns need it.

use super::super::program::Op;

/// A pattern with look-arounds or back-references, which rules of the Core Rule Set had up to
/// version 3. What means something else to this matcher than to PCRE is refused for the reason `why`.
pub(super) fn backtracking(text: &[u8], why: &str) -> Result<Op, String> {
    let Some(text) = as_pcre_reads(text) else {
        return Err(why.to_owned());
    };
    let built = fancy_regex::RegexBuilder::new(&text)
        .unicode_mode(false)
        .bytes_mode(fancy_regex::BytesMode::Ascii)
        .dot_matches_new_line(true)
        .backtrack_limit(STEPS)
        .build();
    match built {
        Ok(regex) => Ok(Op::Backtracking(Box::new(regex))),
        Err(_) => Err(why.to_owned()),
    }
}

/// A pattern of PCRE's for the other matcher: to that one, `[`, `&&`, `~~` and `--` in a class are
/// classes and operators of their own. Nothing where it would read something else.
fn as_pcre_reads(text: &[u8]) -> Option<String> {
    let differs = |pair: &[u8]| {
        matches!(
            pair,
            [
                b'\\',
                b'h' | b'H' | b'v' | b'V' | b'R' | b'K' | b'X' | b'G' | b'Q'
            ]
        )
    };
    // What a comment holds is no pattern.
    let comments = |rest: &[u8]| {
        let flags = rest.iter().take_while(|byte| byte.is_ascii_alphabetic());
        rest.starts_with(b"#") || flags.copied().any(|flag| flag == b'x')
    };
    let mut groups = memchr::memmem::find_iter(text, b"(?");
    if !text.is_ascii()
        || text.windows(2).any(differs)
        || groups.any(|at| text.get(at + 2..).is_some_and(comments))
    {
        return None;
    }
    let mut out = Vec::with_capacity(text.len());
    let mut class: Option<usize> = None;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let rest = text.get(at + 1..).unwrap_or_default();
        match (byte, class) {
            (b'\\', _) => {
                out.push(byte);
                out.extend(rest.first());
                at += 1;
            }
            (b'[', None) => {
                out.push(byte);
                if rest.starts_with(b"^") {
                    out.push(b'^');
                    at += 1;
                }
                class = Some(at + 1);
            }
            // As the first of a class it is itself.
            (b']', Some(start)) if at > start => {
                out.push(byte);
                class = None;
            }
            (b'[', Some(_)) if rest.starts_with(b":") => {
                let end = memchr::memmem::find(rest, b":]")? + 2;
                out.push(byte);
                out.extend(rest.get(..end)?);
                at += end;
            }
            (b'-', Some(_)) if rest.starts_with(b"-") => return None,
            (b'[' | b']' | b'&' | b'~', Some(_)) => out.extend([b'\\', byte]),
            _ => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8(out).ok()
}

/// Steps that a backtracking matcher may take for one value; beyond them the inspection ends as one
/// whose budget is spent.
const STEPS: usize = 200_000;

#[cfg(test)]
mod tests {
    use super::as_pcre_reads;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(as_pcre_reads(text.as_bytes()).as_deref(), expected);
    }

    #[test]
    fn classes_stay_what_pcre_reads() {
        check(r"a(?=b)[c-e]", Some(r"a(?=b)[c-e]"));
        check(r"[^(![\x5c\]{}]+&&~~--", Some(r"[^(!\[\x5c\]{}]+&&~~--"));
        check(r"[]a][^]a][a&&b~~c]", Some(r"[\]a][^\]a][a\&\&b\~\~c]"));
        check(r"\[a[b]]", Some(r"\[a[b]]"));
        check(r"[[:alpha:][x]", Some(r"[[:alpha:]\[x]"));
        check(r"[a--b]", None);
        check(r"[[:alpha", None);
    }

    #[test]
    fn what_the_other_matcher_reads_otherwise_is_refused() {
        check(r"(?i)(?<!x)(?P<x>a)", Some(r"(?i)(?<!x)(?P<x>a)"));
        for text in [r"\ha", r"\Q[\E", "(?#[)a", "(?x)a #[", "(?ix:a)", "ä"] {
            check(text, None);
        }
    }
}
