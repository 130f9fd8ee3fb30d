//! A text that a simple pattern matches: the first choice at each turn. Whoever asks checks the
//! result, so look-around and back-references may be guessed wrong.

use std::{iter::Peekable, str::Chars};

/// Groups inside each other.
const MAX_DEPTH: usize = 16;
/// Characters of a text.
const MAX_LENGTH: usize = 4_096;

/// A text that `pattern` probably matches.
pub(super) fn of_pattern(pattern: &str) -> Option<String> {
    let mut rest = pattern.chars().peekable();
    alternatives(&mut rest, 0)
}

/// Up to the end or the closing parenthesis, which is taken.
fn alternatives(rest: &mut Peekable<Chars<'_>>, depth: usize) -> Option<String> {
    if depth > MAX_DEPTH {
        return None;
    }
    let mut out = String::new();
    // Alternatives behind the first are read and left out.
    let mut first = true;
    while let Some(next) = rest.next() {
        let piece = match next {
            ')' => return Some(out),
            '|' => {
                first = false;
                continue;
            }
            '^' | '$' => continue,
            '(' => group(rest, depth)?,
            '[' => class(rest)?.to_string(),
            '.' => "a".to_owned(),
            '\\' => escape(rest.next()?)?.to_string(),
            literal => literal.to_string(),
        };
        let piece = piece.repeat(repetitions(rest));
        if first {
            out.push_str(&piece);
        }
        if out.len() > MAX_LENGTH {
            return None;
        }
    }
    Some(out)
}

fn group(rest: &mut Peekable<Chars<'_>>, depth: usize) -> Option<String> {
    let mut looks = false;
    if rest.next_if_eq(&'?').is_some() {
        let kind = rest.next()?;
        if kind == '<' && !matches!(rest.peek(), Some('=' | '!')) {
            rest.by_ref().find(|next| *next == '>')?;
        } else {
            looks = kind != ':';
        }
    }
    let inside = alternatives(rest, depth + 1)?;
    // What is only looked at is not part of the text.
    Some(if looks { String::new() } else { inside })
}

/// The least that the quantifier demands, but one where it demands nothing by `*`.
fn repetitions(rest: &mut Peekable<Chars<'_>>) -> usize {
    let count = match rest.peek() {
        Some('*' | '+') => {
            rest.next();
            1
        }
        Some('?') => {
            rest.next();
            0
        }
        Some('{') => {
            rest.next();
            let inside: String = rest.by_ref().take_while(|next| *next != '}').collect();
            let least = inside
                .split(',')
                .next()
                .and_then(|least| least.parse().ok());
            least.unwrap_or(1).min(MAX_LENGTH)
        }
        Some(_) | None => return 1,
    };
    rest.next_if_eq(&'?');
    count
}

/// The first member of a class that is a plain character.
fn class(rest: &mut Peekable<Chars<'_>>) -> Option<char> {
    let negated = rest.next_if_eq(&'^').is_some();
    let mut members = Vec::new();
    loop {
        match rest.next()? {
            ']' => break,
            '\\' => members.push(escape(rest.next()?)?),
            member => members.push(member),
        }
    }
    if negated {
        return ['a', '0', '-', 'Z', '~']
            .into_iter()
            .find(|next| !members.contains(next));
    }
    members.first().copied()
}

fn escape(next: char) -> Option<char> {
    Some(match next {
        'd' => '0',
        'w' | 'S' | 'D' => 'a',
        's' => ' ',
        'W' => '-',
        't' => '\t',
        'n' => '\n',
        'r' => '\r',
        letter if letter.is_ascii_alphanumeric() => return None,
        literal => literal,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::Pattern;

    #[test]
    fn texts_match_their_patterns() {
        for pattern in [
            "^AC[0-9a-fA-F]{32}$",
            r"^sha256:[a-f0-9]{64}$",
            r"^(?:GET|POST)/\d+\.\w*-?x{2,5}$",
            "^(?<a>b|c)+(?=d)d$",
            r"^[^a]\/[\w.]+$",
        ] {
            let text = of_pattern(pattern).unwrap_or_else(|| panic!("a text for {pattern}"));
            let compiled = Pattern::new(pattern).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(compiled.matches(&text), Some(true), "{pattern} {text}");
        }
        assert_eq!(of_pattern(r"^\1$"), None);
        assert_eq!(of_pattern("["), None);
    }
}
