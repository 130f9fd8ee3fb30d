//! Just enough of Rust's lexical grammar to tell code from comments and literals, so that a rule
//! about `unsafe` does not trip over a sentence about it.
//!
//! Deliberately not here: a parser. What needs one is a lint, not a rule of ours.

/// The source with comments and literals blanked; lines keep their numbers.
pub(crate) fn code(source: &str) -> String {
    let mut kept = String::with_capacity(source.len());
    let mut rest = source;
    let mut in_word = false;
    while let Some(first) = rest.chars().next() {
        let hidden = if in_word && first != '"' {
            0
        } else {
            literal_or_comment(rest)
        };
        let length = if hidden == 0 {
            first.len_utf8()
        } else {
            hidden
        };
        let (token, tail) = rest.split_at_checked(length).unwrap_or((rest, ""));
        if hidden == 0 {
            kept.push_str(token);
        } else {
            kept.extend(token.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        }
        in_word = hidden == 0 && is_word(first);
        rest = tail;
    }
    kept
}

/// Code with the items under `#[cfg(test)]` blanked too.
pub(crate) fn shipped_code(source: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut text = code(source);
    while let Some(start) = text.find(MARK) {
        let length = item_length(text.get(start..).unwrap_or_default());
        let blank: String = text
            .get(start..start + length)
            .unwrap_or_default()
            .chars()
            .map(|c| if c == '\n' { '\n' } else { ' ' })
            .collect();
        text.replace_range(start..start + length, &blank);
    }
    text
}

/// The lines, from 1, on which `word` stands by itself in `code`.
pub(crate) fn lines_with(code: &str, word: &str) -> Vec<usize> {
    code.lines()
        .enumerate()
        .filter(|(_, line)| {
            line.match_indices(word).any(|(at, _)| {
                let before = line.get(..at).and_then(|text| text.chars().next_back());
                let after = line
                    .get(at + word.len()..)
                    .and_then(|text| text.chars().next());
                let starts_in_word = word.starts_with(is_word) && before.is_some_and(is_word);
                let ends_in_word = word.ends_with(is_word) && after.is_some_and(is_word);
                !starts_in_word && !ends_in_word
            })
        })
        .map(|(number, _)| number + 1)
        .collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Bytes of the comment or literal at the start of `rest`; 0 if there is none.
fn literal_or_comment(rest: &str) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    let unprefixed = rest.trim_start_matches(['b', 'c']);
    let prefix = rest.len() - unprefixed.len();
    let body = match unprefixed.strip_prefix('r') {
        Some(raw) if raw.trim_start_matches('#').starts_with('"') => raw_string(raw) + 1,
        Some(_) => 0,
        None if unprefixed.starts_with('"') => quoted(unprefixed, '"'),
        None => character(unprefixed),
    };
    if body == 0 || prefix > 1 {
        0
    } else {
        prefix + body
    }
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut previous = ' ';
    for (at, c) in rest.char_indices() {
        match (previous, c) {
            ('/', '*') => {
                depth += 1;
                previous = ' ';
            }
            ('*', '/') => {
                depth = depth.saturating_sub(1);
                previous = ' ';
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => previous = c,
        }
    }
    rest.len()
}

/// `#…#"…"#…#`, beginning after the `r`.
fn raw_string(rest: &str) -> usize {
    let opened = rest.trim_start_matches('#');
    let hashes = rest.len() - opened.len();
    let end = format!("\"{}", "#".repeat(hashes));
    let inside = opened.strip_prefix('"').unwrap_or(opened);
    inside
        .find(&end)
        .map_or(rest.len(), |at| hashes + 1 + at + end.len())
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A character literal; a lifetime has none of its own, and is code.
fn character(rest: &str) -> usize {
    let mut chars = rest.chars();
    match (chars.next(), chars.next(), chars.next()) {
        (Some('\''), Some('\\'), _) => quoted(rest, '\''),
        (Some('\''), Some(c), Some('\'')) => c.len_utf8() + 2,
        _ => 0,
    }
}

/// Bytes of the item at the start of `code`, to its closing brace or semicolon.
fn item_length(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(source: &str, expect: &str) {
        assert_eq!(
            code(source)
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" "),
            expect
        );
    }

    #[test]
    fn comments_and_literals_are_blank() {
        check("a // unsafe\nb", "a b");
        check("a /* x /* unsafe */ y */ b", "a b");
        check(r#"a("un\"safe") b"#, "a( ) b");
        check(r###"a(r#"un"safe"#) b"###, "a( ) b");
        check(r#"a(b"unsafe", br"x\", c"y") b"#, "a( , , ) b");
        check(r"a('\'', 'x', '{') b", "a( , , ) b");
    }

    #[test]
    fn code_stays() {
        check(
            "fn a<'a>(x: &'a str) { for_r\"x\"; }",
            "fn a<'a>(x: &'a str) { for_r ; }",
        );
        check("let r#type = crate::b;", "let r#type = crate::b;");
        check("1 / 2 * 3", "1 / 2 * 3");
    }

    #[test]
    fn lines_keep_their_numbers() {
        assert_eq!(
            lines_with(&code("/*\n\n*/ \"\n\" unsafe {}"), "unsafe"),
            [4]
        );
        assert_eq!(lines_with("unsafe_code\nan unsafe\n", "unsafe"), [2]);
    }

    #[test]
    fn tests_are_not_shipped() {
        let source = "a();\n#[cfg(test)]\nmod tests { fn b() { c(); } }\nd();";
        let shipped = shipped_code(source);
        assert!(shipped.contains("a();") && shipped.contains("d();"));
        assert!(!shipped.contains("c();"));
        assert!(!shipped_code("#[cfg(test)]\nmod tests;\n").contains("mod"));
    }
}
