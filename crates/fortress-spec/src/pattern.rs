//! Regular expressions of descriptions (ECMA-262, with the `u` flag, as JSON Schema has them),
//! translated for engines that take linear time.
//!
//! Look-around and back-references need an engine that backtracks; it gets a limit, and reaching it
//! refuses the value. Deliberately not here: flags, and the leniencies of browsers (Annex B) beyond
//! what descriptions are seen to use.

use std::fmt::Write;

/// A compiled pattern. It may match anywhere in a text.
#[derive(Debug)]
pub struct Pattern {
    text: Box<str>,
    engine: Engine,
}

#[derive(Debug)]
enum Engine {
    Linear(regex::Regex),
    Backtracking(Box<fancy_regex::Regex>),
}

/// Why a pattern cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct PatternError(String);

/// Bytes that a compiled pattern may take.
const MAX_COMPILED: usize = 16 << 20;
/// Bytes of cache that matching may fill.
const MAX_CACHE: usize = 2 << 20;
/// Steps back that a match may take.
const MAX_BACKTRACKS: usize = 100_000;
/// Bytes of a pattern.
const MAX_PATTERN: usize = 16 << 10;

impl Pattern {
    /// Translates and compiles a pattern.
    ///
    /// # Errors
    /// A pattern that is not ECMA-262, or compiles to something too large.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        if text.len() > MAX_PATTERN {
            return Err(PatternError("it is longer than 16 KiB".to_owned()));
        }
        let translated = Translation::of(text)?;
        let engine = if translated.backtracks {
            let compiled = fancy_regex::RegexBuilder::new(&translated.out)
                .backtrack_limit(MAX_BACKTRACKS)
                .delegate_size_limit(MAX_COMPILED)
                .delegate_dfa_size_limit(MAX_CACHE)
                .build()
                .map_err(|error| PatternError(error.to_string()))?;
            Engine::Backtracking(Box::new(compiled))
        } else {
            let compiled = regex::RegexBuilder::new(&translated.out)
                .size_limit(MAX_COMPILED)
                .dfa_size_limit(MAX_CACHE)
                .build()
                .map_err(|error| PatternError(last_line(&error.to_string())))?;
            Engine::Linear(compiled)
        };
        Ok(Self {
            text: text.into(),
            engine,
        })
    }

    /// The pattern as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether some part of the text matches; `None` if finding out takes too long.
    pub fn matches(&self, text: &str) -> Option<bool> {
        match &self.engine {
            Engine::Linear(regex) => Some(regex.is_match(text)),
            Engine::Backtracking(regex) => regex.is_match(text).ok(),
        }
    }
}

/// The part of a multi-line message that says what is wrong.
fn last_line(message: &str) -> String {
    let line = message.lines().last().unwrap_or(message);
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// `\s` of ECMA-262: white space and line ends.
const SPACE: &str = r"\t\n\x0b\x0c\r \x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}\x{feff}";

struct Translation<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    out: String,
    backtracks: bool,
    /// Whether the piece before is a quantifier: another one needs something of its own to repeat.
    quantified: Quantified,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Quantified {
    No,
    Greedy,
    Lazy,
}

type Translated<T> = Result<T, PatternError>;

impl<'a> Translation<'a> {
    fn of(text: &'a str) -> Translated<Self> {
        let mut translation = Self {
            rest: text.chars().peekable(),
            out: String::with_capacity(text.len() + 8),
            backtracks: false,
            quantified: Quantified::No,
        };
        while let Some(next) = translation.rest.next() {
            let before = std::mem::replace(&mut translation.quantified, Quantified::No);
            translation.term(next, before)?;
        }
        Ok(translation)
    }

    fn term(&mut self, next: char, before: Quantified) -> Translated<()> {
        match next {
            '?' if before == Quantified::Greedy => {
                self.quantified = Quantified::Lazy;
                self.push("?")
            }
            '*' | '+' | '?' if before != Quantified::No => {
                Err(PatternError("nothing to repeat".to_owned()))
            }
            '*' | '+' | '?' => {
                self.quantified = Quantified::Greedy;
                self.out.push(next);
                Ok(())
            }
            '\\' => self.escape(),
            '[' => self.class(),
            '(' => self.group(),
            '.' => self.push(r"[^\n\r\x{2028}\x{2029}]"),
            '$' => self.push(r"\z"),
            '^' => self.push(r"\A"),
            '{' => self.braces(),
            ']' | '}' => self.literal(next),
            _ => {
                self.out.push(next);
                Ok(())
            }
        }
    }

    fn push(&mut self, text: &str) -> Translated<()> {
        self.out.push_str(text);
        Ok(())
    }

    fn literal(&mut self, character: char) -> Translated<()> {
        if character.is_ascii_punctuation() {
            self.out.push('\\');
            self.out.push(character);
        } else {
            self.code(u32::from(character));
        }
        Ok(())
    }

    fn code(&mut self, code: u32) {
        // Writing to a string cannot fail.
        write!(self.out, "\\x{{{code:x}}}").unwrap_or_default();
    }

    /// A quantifier, or braces that stand for themselves.
    fn braces(&mut self) -> Translated<()> {
        let ahead: String = self
            .rest
            .clone()
            .take_while(|next| *next != '}')
            .take(24)
            .collect();
        let closed = self.rest.clone().nth(ahead.chars().count()) == Some('}');
        let mut parts = ahead.split(',');
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let (low, high, more) = (parts.next().unwrap_or(""), parts.next(), parts.next());
        let quantifier =
            closed && !low.is_empty() && digits(low) && high.is_none_or(digits) && more.is_none();
        if !quantifier {
            return self.literal('{');
        }
        self.quantified = Quantified::Greedy;
        self.out.push('{');
        self.out.push_str(&ahead);
        self.out.push('}');
        for _ in 0..=ahead.chars().count() {
            self.rest.next();
        }
        Ok(())
    }

    fn group(&mut self) -> Translated<()> {
        self.out.push('(');
        if self.rest.peek() != Some(&'?') {
            return Ok(());
        }
        self.rest.next();
        self.out.push('?');
        match self.rest.next() {
            Some(':') => self.push(":"),
            Some(look @ ('=' | '!')) => {
                self.backtracks = true;
                self.out.push(look);
                Ok(())
            }
            Some('<') => {
                self.out.push('<');
                if let Some(look @ ('=' | '!')) = self.rest.peek().copied() {
                    self.rest.next();
                    self.backtracks = true;
                    self.out.push(look);
                }
                Ok(())
            }
            // `(?i)` and `(?P<…>)` are of other languages, but mean one thing only.
            Some('P') if self.rest.peek() == Some(&'<') => self.push("P"),
            Some('i') if self.rest.peek() == Some(&')') => self.push("i"),
            _ => Err(PatternError("an unknown kind of group".to_owned())),
        }
    }

    fn escape(&mut self) -> Translated<()> {
        let Some(next) = self.rest.next() else {
            return Err(PatternError("it ends in a backslash".to_owned()));
        };
        match next {
            'd' => self.push("[0-9]"),
            'D' => self.push("[^0-9]"),
            'w' => self.push("[0-9A-Za-z_]"),
            'W' => self.push("[^0-9A-Za-z_]"),
            's' => {
                self.out.push('[');
                self.out.push_str(SPACE);
                self.push("]")
            }
            'S' => {
                self.out.push_str("[^");
                self.out.push_str(SPACE);
                self.push("]")
            }
            'b' => self.push(r"(?-u:\b)"),
            'B' if self.backtracks => self.push(r"\B"),
            'B' => self.push(r"(?:\B)"),
            'k' => {
                self.backtracks = true;
                self.push(r"\k")
            }
            '1'..='9' => {
                self.backtracks = true;
                self.out.push('\\');
                self.out.push(next);
                while let Some(digit) = self.rest.next_if(char::is_ascii_digit) {
                    self.out.push(digit);
                }
                Ok(())
            }
            _ => match self.character(next)? {
                Piece::Code(code) => {
                    self.code(code);
                    Ok(())
                }
                Piece::Property(text) => self.push(&text),
                // No well-formed text has a lone surrogate.
                Piece::Nothing => self.push(r"[^\x{0}-\x{10ffff}]"),
            },
        }
    }

    /// What an escape stands for that is the same inside and outside of a class.
    fn character(&mut self, escape: char) -> Translated<Piece> {
        let code = match escape {
            't' => 9,
            'n' => 10,
            'v' => 11,
            'f' => 12,
            'r' => 13,
            '0' if !self.rest.peek().is_some_and(char::is_ascii_digit) => 0,
            'c' => match self.rest.next() {
                Some(letter) if letter.is_ascii_alphabetic() => u32::from(letter) % 32,
                _ => return Err(PatternError("`\\c` needs a letter".to_owned())),
            },
            'x' => self.hex(2)?,
            'u' => return self.unicode(),
            'p' | 'P' => return self.property(escape),
            _ if escape.is_ascii_alphanumeric() => {
                return Err(PatternError(format!("`\\{escape}` is not of ECMA-262")));
            }
            _ => u32::from(escape),
        };
        Ok(Piece::Code(code))
    }

    fn hex(&mut self, digits: usize) -> Translated<u32> {
        let mut code = 0;
        for _ in 0..digits {
            let digit = self.rest.next().and_then(|next| next.to_digit(16));
            let Some(digit) = digit else {
                return Err(PatternError("a hexadecimal digit is missing".to_owned()));
            };
            code = code << 4 | digit;
        }
        Ok(code)
    }

    fn unicode(&mut self) -> Translated<Piece> {
        if self.rest.next_if_eq(&'{').is_some() {
            let digits: String = self.rest.by_ref().take_while(|next| *next != '}').collect();
            let code = u32::from_str_radix(&digits, 16)
                .ok()
                .filter(|code| *code <= 0x10_ffff);
            let code =
                code.ok_or_else(|| PatternError("`\\u{…}` is not a code point".to_owned()))?;
            return Ok(Piece::of(code));
        }
        let first = self.hex(4)?;
        let mut ahead = self.rest.clone();
        let pair = (0xd800..0xdc00).contains(&first)
            && ahead.next() == Some('\\')
            && ahead.next() == Some('u');
        if pair {
            let digits: String = ahead.by_ref().take(4).collect();
            if let Ok(second @ 0xdc00..=0xdfff) = u32::from_str_radix(&digits, 16) {
                self.rest = ahead;
                return Ok(Piece::Code(
                    0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00),
                ));
            }
        }
        Ok(Piece::of(first))
    }

    /// `\p{Letter}`, `\p{Script=Greek}`: the names are the same.
    fn property(&mut self, escape: char) -> Translated<Piece> {
        if self.rest.next_if_eq(&'{').is_none() {
            return Err(PatternError(format!("`\\{escape}` needs a name in braces")));
        }
        let name: String = self.rest.by_ref().take_while(|next| *next != '}').collect();
        let plain = |next: char| next.is_ascii_alphanumeric() || next == '_' || next == '=';
        if name.is_empty() || !name.chars().all(plain) {
            return Err(PatternError("an unknown Unicode property".to_owned()));
        }
        Ok(Piece::Property(format!("\\{escape}{{{name}}}")))
    }

    fn class(&mut self) -> Translated<()> {
        let negated = self.rest.next_if_eq(&'^').is_some();
        if self.rest.next_if_eq(&']').is_some() {
            return self.push(if negated {
                r"[\x{0}-\x{10ffff}]"
            } else {
                r"[^\x{0}-\x{10ffff}]"
            });
        }
        let (mut members, mut empty) = (String::new(), true);
        std::mem::swap(&mut members, &mut self.out);
        // Whether the piece before is a single character that a range may begin with.
        let mut begins = false;
        loop {
            let Some(next) = self.rest.next() else {
                return Err(PatternError("a `[` is not closed".to_owned()));
            };
            match next {
                ']' => break,
                '-' if begins && self.range_goes_on() => {
                    self.out.push('-');
                    match self.rest.next() {
                        Some('\\') => empty &= !self.class_escape()?,
                        Some(end) => self.literal(end)?,
                        None => {}
                    }
                    begins = false;
                }
                '\\' => {
                    begins = !self
                        .rest
                        .peek()
                        .is_some_and(|next| "dDwWsSpP".contains(*next));
                    let any = self.class_escape()?;
                    begins &= any;
                    empty &= !any;
                }
                _ => {
                    empty = false;
                    begins = true;
                    self.literal(next)?;
                }
            }
        }
        std::mem::swap(&mut members, &mut self.out);
        self.out.push('[');
        if negated {
            self.out.push('^');
        }
        if empty {
            self.out.push_str(if negated {
                r"[^\x{0}-\x{10ffff}]"
            } else {
                r"^\x{0}-\x{10ffff}"
            });
        } else {
            self.out.push_str(&members);
        }
        self.push("]")
    }

    /// Whether a single character comes next, so that the `-` before it makes a range.
    fn range_goes_on(&self) -> bool {
        let mut ahead = self.rest.clone();
        match ahead.next() {
            None | Some(']') => false,
            Some('\\') => !ahead.next().is_some_and(|next| "dDwWsSpP".contains(next)),
            Some(_) => true,
        }
    }

    /// Whether the escape stands for any character at all.
    fn class_escape(&mut self) -> Translated<bool> {
        let Some(next) = self.rest.next() else {
            return Err(PatternError("it ends in a backslash".to_owned()));
        };
        match next {
            'd' => self.out.push_str("[0-9]"),
            'D' => self.out.push_str("[^0-9]"),
            'w' => self.out.push_str("[0-9A-Za-z_]"),
            'W' => self.out.push_str("[^0-9A-Za-z_]"),
            's' | 'S' => {
                self.out.push_str(if next == 's' { "[" } else { "[^" });
                self.out.push_str(SPACE);
                self.out.push(']');
            }
            'b' => self.code(8),
            '-' => self.out.push_str(r"\-"),
            _ => match self.character(next)? {
                Piece::Code(code) => self.code(code),
                Piece::Property(text) => {
                    self.out.push('[');
                    self.out.push_str(&text);
                    self.out.push(']');
                }
                Piece::Nothing => return Ok(false),
            },
        }
        Ok(true)
    }
}

enum Piece {
    Code(u32),
    Property(String),
    Nothing,
}

impl Piece {
    fn of(code: u32) -> Self {
        if char::from_u32(code).is_some() {
            Self::Code(code)
        } else {
            Self::Nothing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, matching: &[&str], other: &[&str]) {
        let compiled = Pattern::new(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        for text in matching {
            assert_eq!(compiled.matches(text), Some(true), "{pattern} and {text:?}");
        }
        for text in other {
            assert_eq!(
                compiled.matches(text),
                Some(false),
                "{pattern} but {text:?}"
            );
        }
    }

    #[test]
    fn matching_is_unanchored_and_ends_at_the_end() {
        check("b", &["abc", "b"], &["ac"]);
        check("^a", &["ab"], &["ba", "\na"]);
        check("a$", &["ba"], &["ab", "a\n"]);
        check("^$", &[""], &["\n", "a"]);
        check("^(a|b)+$", &["abab"], &["abc"]);
    }

    #[test]
    fn classes_are_ascii() {
        check(r"^\d+$", &["0123456789"], &["٣", "a", ""]);
        check(r"^\w$", &["a", "_", "0"], &["é", "-"]);
        check(r"^\W$", &["é", "-"], &["a"]);
        check(
            r"^\s$",
            &["\u{a0}", "\u{feff}", "\u{2029}", "\t"],
            &["\u{180e}", "a"],
        );
        check(r"^\S$", &["\u{180e}", "a"], &["\u{feff}"]);
        check(r"\bé", &["aé"], &["é"]);
        check("^.$", &["a", "😀"], &["\n", "\r", "\u{2028}", "ab"]);
    }

    #[test]
    fn escapes() {
        check(r"^\/$", &["/"], &["\\/"]);
        check(r"^\cM\x41\u0042\u{43}\u{1F600}$", &["\rABC😀"], &["MABC"]);
        check(r"^\ud83d\ude00$", &["😀"], &["a"]);
        check(r"^\0$", &["\0"], &["0"]);
        check(r"^\-\_\@\#\ \'$", &["-_@# '"], &["a"]);
        check(r"^\p{Lu}\P{Lu}\p{Script=Greek}$", &["Éaλ"], &["aaλ", "Éaa"]);
        check("^a{2}b{1,}c{1,2}$", &["aabcc"], &["abc"]);
        check("^a{,2}{x}$", &["a{,2}{x}"], &["aa"]);
        check("^]}$", &["]}"], &["]"]);
        check("^a b#c$", &["a b#c"], &["ab"]);
    }

    #[test]
    fn character_classes() {
        check("^[^]$", &["\n", "a"], &[""]);
        check("^[]$", &[], &["", "a"]);
        check(r"^[\w.-]+$", &["a.-_"], &["a b"]);
        check(r"^[a-z[&&]+$", &["[&z"], &["A"]);
        check(r"^[^\s]+$", &["ab"], &["a b"]);
        check(r"^[\b]$", &["\u{8}"], &["b"]);
        check(r"^[\]\\]$", &["]", "\\"], &["a"]);
        check(r"^[\d-x]$", &["-", "x", "5"], &["e"]);
        check(r"^[+--]$", &["+", ",", "-"], &["a"]);
        check(r"^[\S\s]$", &["a", " "], &["ab"]);
        check(r"^[a-c-e]$", &["-", "b", "e"], &["d"]);
        check(r"^[_-a]$", &["_", "`", "a"], &["b", "-"]);
        check(r"^[\ud800a]$", &["a"], &["b"]);
    }

    #[test]
    fn look_around_and_references() {
        check("^(?=.*[0-9])(?=.*[a-z]).{4,}$", &["abc1"], &["abcd", "ab1"]);
        check("^(?!admin)", &["user"], &["admin1"]);
        check(r"^(a|b)\1$", &["aa", "bb"], &["ab"]);
        check(r"^(?<x>.)\k<x>$", &["aa"], &["ab"]);
        check("(?<=a)b(?<!cb)", &["ab"], &["cb"]);
        check("^(?<year>[0-9]{4})$", &["2026"], &["26"]);
    }

    #[test]
    fn backtracking_without_end_is_given_up() {
        let pattern = Pattern::new(r"^(?=(a+)+$)(a+)+\2$").expect("a pattern");
        let text = format!("{}b", "a".repeat(40));
        assert_ne!(pattern.matches(&text), Some(true));
        let linear = Pattern::new("^(a+)+$").expect("a pattern");
        assert_eq!(linear.matches(&text), Some(false));
    }

    #[test]
    fn what_cannot_be_compiled() {
        for pattern in [
            "(",
            ")",
            "[",
            "a**",
            "*",
            r"\",
            r"\Z",
            r"\a",
            r"\u12",
            r"\x1",
            r"\p{Nope}",
            r"\c1",
            "(?<n",
            "(?x)",
            "[b-a]",
            "a{2,1}",
        ] {
            assert!(Pattern::new(pattern).is_err(), "{pattern}");
        }
        assert!(Pattern::new(&"a".repeat(20_000)).is_err());
        assert!(Pattern::new("((a{1000}){1000}){1000}").is_err());
    }
}
