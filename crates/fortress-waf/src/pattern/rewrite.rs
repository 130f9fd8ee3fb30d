//! PCRE's syntax (bytes, no extended mode) rewritten for `regex`, token by token.
//!
//! Every class is read to its set of bytes and written in one canonical form; every literal that
//! could mean anything else is written as `\xhh`. It does not check the structure: parentheses and
//! quantifiers are left to the parser that reads the result.

use std::fmt::Write;

use super::Mistake;
use crate::ByteSet;

/// A rewritten pattern.
#[derive(Debug, Default)]
pub(super) struct Rewritten {
    /// For `regex`.
    pub(super) text: String,
    /// The possessive quantifiers that became ordinary ones.
    pub(super) possessive: Vec<Possessive>,
}

/// A possessive quantifier, or an atomic group.
#[derive(Debug, Default)]
pub(super) struct Possessive {
    /// What it repeats; empty if that is no single token.
    pub(super) atom: String,
    /// What follows it in its group.
    pub(super) rest: String,
}

/// Rewrites a pattern.
pub(super) fn rewrite(pattern: &[u8]) -> Result<Rewritten, Mistake> {
    let mut rewriter = Rewriter {
        pattern,
        at: 0,
        out: Rewritten::default(),
        depth: 0,
        open: Vec::new(),
        last: Last::Nothing,
    };
    while let Some(byte) = rewriter.take() {
        rewriter.token(byte)?;
    }
    rewriter.close_possessives(0);
    Ok(rewriter.out)
}

/// What was written last, for a quantifier that may follow.
#[derive(Clone, Copy, Debug)]
enum Last {
    /// Nothing that could be repeated, or a whole group.
    Nothing,
    /// A literal or class, which starts here in the output.
    Atom(usize),
}

/// A possessive quantifier whose rest is not complete.
#[derive(Debug)]
struct Open {
    index: usize,
    depth: usize,
    rest_starts: usize,
}

struct Rewriter<'a> {
    pattern: &'a [u8],
    at: usize,
    out: Rewritten,
    depth: usize,
    open: Vec<Open>,
    last: Last,
}

/// What one escape or class member stands for.
enum Item {
    Byte(u8),
    Set(ByteSet),
    /// An assertion or the like, to be written as it is.
    Verbatim(&'static str),
}

const DIGITS: ByteSet = ByteSet::range(b'0', b'9');
const WORD: ByteSet = DIGITS
    .union(ByteSet::range(b'a', b'z'))
    .union(ByteSet::range(b'A', b'Z'))
    .with(b'_');
const SPACE: ByteSet = ByteSet::of(b" \t\n\x0B\x0C\r");
const HORIZONTAL: ByteSet = ByteSet::of(b"\t \xA0");
const VERTICAL: ByteSet = ByteSet::of(b"\n\x0B\x0C\r\x85");

impl Rewriter<'_> {
    fn token(&mut self, byte: u8) -> Result<(), Mistake> {
        let start = self.out.text.len();
        let mut last = Last::Atom(start);
        match byte {
            b'\\' => match self.escape(false)? {
                Item::Byte(byte) => self.literal(byte),
                Item::Set(set) => self.set(set),
                Item::Verbatim(text) => {
                    self.out.text.push_str(text);
                    last = Last::Nothing;
                }
            },
            b'[' => {
                let set = self.class()?;
                self.set(set);
            }
            b'(' => {
                self.group()?;
                last = Last::Nothing;
            }
            b')' | b'|' => {
                self.close_possessives(self.depth);
                if byte == b')' {
                    self.depth = self.depth.saturating_sub(1);
                }
                self.out.text.push(char::from(byte));
                last = Last::Nothing;
            }
            b'*' | b'+' | b'?' => {
                self.out.text.push(char::from(byte));
                self.after_quantifier();
                last = Last::Nothing;
            }
            b'{' => match self.counts() {
                Some(counts) => {
                    self.out.text.push_str(&counts);
                    self.after_quantifier();
                    last = Last::Nothing;
                }
                None => self.literal(b'{'),
            },
            b'^' | b'$' => {
                self.out.text.push(char::from(byte));
                last = Last::Nothing;
            }
            b'.' => self.out.text.push('.'),
            literal => self.literal(literal),
        }
        self.last = last;
        Ok(())
    }

    fn peek(&self) -> Option<u8> {
        self.pattern.get(self.at).copied()
    }

    fn take(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn take_if(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn rest(&self) -> &[u8] {
        self.pattern.get(self.at..).unwrap_or_default()
    }

    fn refuse<T>(&self, what: &'static str, instead: &'static str) -> Result<T, Mistake> {
        Err(Mistake::Unsupported {
            what,
            at: self.at.saturating_sub(1),
            instead,
        })
    }

    fn literal(&mut self, byte: u8) {
        if byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'_' | b'/' | b'=' | b',') {
            self.out.text.push(char::from(byte));
        } else {
            self.hex(byte);
        }
    }

    fn hex(&mut self, byte: u8) {
        // Writing to a string cannot fail.
        let _infallible = write!(self.out.text, "\\x{byte:02X}");
    }

    /// Writes a set as a class of ranges.
    fn set(&mut self, set: ByteSet) {
        // As few ranges as can be: a negated class stays short.
        let negated = set.contains(0xFF);
        let listed = if negated {
            ByteSet::ALL.minus(set)
        } else {
            set
        };
        if negated && listed.is_empty() {
            return self.out.text.push_str("[\\x00-\\xFF]");
        }
        self.out.text.push_str(if negated { "[^" } else { "[" });
        let mut start = None;
        for byte in 0..=u8::MAX {
            if !listed.contains(byte) {
                continue;
            }
            let first = *start.get_or_insert(byte);
            if byte == u8::MAX || !listed.contains(byte + 1) {
                self.hex(first);
                if first < byte {
                    self.out.text.push('-');
                    self.hex(byte);
                }
                start = None;
            }
        }
        self.out.text.push(']');
    }

    /// After `(`.
    fn group(&mut self) -> Result<(), Mistake> {
        const LOOK: &str = "say it with a second rule in a chain";
        self.depth += 1;
        if self.rest().starts_with(b"*") {
            return self.refuse("a backtracking verb", "leave it out");
        }
        if !self.take_if(b'?') {
            self.out.text.push('(');
            return Ok(());
        }
        match (self.take(), self.peek()) {
            (Some(b'='), _) | (Some(b'<'), Some(b'=')) => self.refuse("a look-around", LOOK),
            (Some(b'!'), _) | (Some(b'<'), Some(b'!')) => {
                self.refuse("a negative look-around", LOOK)
            }
            (Some(b'>'), _) => {
                // Never shown to be equivalent: the atom is left empty.
                self.out.text.push_str("(?:");
                self.out.possessive.push(Possessive::default());
                Ok(())
            }
            (Some(b'#'), _) => {
                while !matches!(self.take(), Some(b')') | None) {}
                self.depth -= 1;
                Ok(())
            }
            (Some(b'<'), _) => self.name(b'>'),
            (Some(b'\''), _) => self.name(b'\''),
            (Some(b'P'), Some(b'<')) => {
                self.at += 1;
                self.name(b'>')
            }
            (Some(byte), _) => {
                self.at -= 1;
                self.flags(byte)
            }
            (None, _) => {
                self.out.text.push_str("(?");
                Ok(())
            }
        }
    }

    /// `(?<name>`: names are of no use in a rule, captures are numbered.
    fn name(&mut self, end: u8) -> Result<(), Mistake> {
        while let Some(byte) = self.take() {
            if byte == end {
                self.out.text.push('(');
                return Ok(());
            }
        }
        Err(Mistake::Syntax("a group's name has no end".to_owned()))
    }

    /// `(?i:`, `(?s-i)`, `(?:`.
    fn flags(&mut self, _first: u8) -> Result<(), Mistake> {
        self.out.text.push_str("(?");
        loop {
            match self.take() {
                Some(flag @ (b'i' | b'm' | b's' | b'U' | b'-')) => {
                    self.out.text.push(char::from(flag));
                }
                Some(b':') => {
                    self.out.text.push(':');
                    return Ok(());
                }
                Some(b')') => {
                    self.out.text.push(')');
                    self.depth -= 1;
                    return Ok(());
                }
                _ => {
                    return self.refuse(
                        "this kind of group",
                        "only `(?:`, names and the flags i, m, s and U are known",
                    );
                }
            }
        }
    }

    /// After `{`: what makes it a quantifier; PCRE takes it for a literal otherwise.
    fn counts(&mut self) -> Option<String> {
        let end = self.rest().iter().position(|&byte| byte == b'}')?;
        let inside = self.rest().get(..end)?;
        let number = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
        let mut sides = inside.splitn(2, |&byte| byte == b',');
        let low = number(sides.next()?);
        let high = sides
            .next()
            .is_none_or(|high| high.is_empty() || number(high));
        if !low || !high {
            return None;
        }
        let text = format!("{{{}}}", String::from_utf8_lossy(inside));
        self.at += end + 1;
        Some(text)
    }

    fn after_quantifier(&mut self) {
        if self.take_if(b'?') {
            self.out.text.push('?');
            return;
        }
        if !self.take_if(b'+') {
            return;
        }
        let atom = match self.last {
            Last::Nothing => String::new(),
            Last::Atom(start) => {
                // Without the quantifier, which is the last token.
                let text = self.out.text.get(start..).unwrap_or_default();
                let end = text.rfind('{').unwrap_or(text.len().saturating_sub(1));
                text.get(..end).unwrap_or_default().to_owned()
            }
        };
        self.open.push(Open {
            index: self.out.possessive.len(),
            depth: self.depth,
            rest_starts: self.out.text.len(),
        });
        self.out.possessive.push(Possessive {
            atom,
            rest: String::new(),
        });
    }

    /// The alternative that is open at `depth` ends.
    fn close_possessives(&mut self, depth: usize) {
        let Rewritten { text, possessive } = &mut self.out;
        self.open.retain(|open| {
            if open.depth != depth {
                return true;
            }
            if let Some(quantifier) = possessive.get_mut(open.index) {
                text.get(open.rest_starts..)
                    .unwrap_or_default()
                    .clone_into(&mut quantifier.rest);
            }
            false
        });
    }

    /// After `[`, to the class's end.
    fn class(&mut self) -> Result<ByteSet, Mistake> {
        const NO_END: &str = "a class has no end";
        let negated = self.take_if(b'^');
        let mut set = ByteSet::EMPTY;
        let mut first = true;
        loop {
            let Some(byte) = self.take() else {
                return Err(Mistake::Syntax(NO_END.to_owned()));
            };
            if byte == b']' && !first {
                break;
            }
            first = false;
            let low = match self.member(byte)? {
                Item::Byte(byte) => byte,
                Item::Set(more) => {
                    set = set.union(more);
                    continue;
                }
                Item::Verbatim(_) => return self.refuse("an assertion in a class", "move it out"),
            };
            // A hyphen before the end is one, and so is one that a set follows.
            let ahead = self.at;
            let mut high = low;
            if self.take_if(b'-') && !matches!(self.peek(), Some(b']') | None) {
                let next = self.take().unwrap_or_default();
                if let Item::Byte(byte) = self.member(next)? {
                    high = byte;
                } else {
                    self.at = ahead;
                }
            } else {
                self.at = ahead;
            }
            if high < low {
                return Err(Mistake::Syntax(format!(
                    "a class has a range from \\x{low:02x} down to \\x{high:02x}"
                )));
            }
            set = set.union(ByteSet::range(low, high));
        }
        Ok(if negated {
            ByteSet::ALL.minus(set)
        } else {
            set
        })
    }

    fn member(&mut self, byte: u8) -> Result<Item, Mistake> {
        match byte {
            b'\\' => self.escape(true),
            b'[' => Ok(self.posix().map_or(Item::Byte(b'['), Item::Set)),
            byte => Ok(Item::Byte(byte)),
        }
    }

    /// `[:name:]` after its first bracket.
    fn posix(&mut self) -> Option<ByteSet> {
        let rest = self.rest().strip_prefix(b":")?;
        let end = rest.windows(2).position(|pair| pair == b":]")?;
        let name = rest.get(..end)?;
        let (negated, name) = match name.strip_prefix(b"^") {
            Some(name) => (true, name),
            None => (false, name),
        };
        let test: fn(u8) -> bool = match name {
            b"alnum" => |byte| byte.is_ascii_alphanumeric(),
            b"alpha" => |byte| byte.is_ascii_alphabetic(),
            b"ascii" => |byte| byte.is_ascii(),
            b"blank" => |byte| matches!(byte, b' ' | b'\t'),
            b"cntrl" => |byte| byte.is_ascii_control(),
            b"digit" => |byte| byte.is_ascii_digit(),
            b"graph" => |byte| byte.is_ascii_graphic(),
            b"lower" => |byte| byte.is_ascii_lowercase(),
            b"print" => |byte| byte.is_ascii_graphic() || byte == b' ',
            b"punct" => |byte| byte.is_ascii_punctuation(),
            b"space" => |byte| SPACE.contains(byte),
            b"upper" => |byte| byte.is_ascii_uppercase(),
            b"word" => |byte| WORD.contains(byte),
            b"xdigit" => |byte| byte.is_ascii_hexdigit(),
            _ => return None,
        };
        self.at += 1 + end + 2;
        let set = (0..=u8::MAX)
            .filter(|&byte| test(byte))
            .fold(ByteSet::EMPTY, ByteSet::with);
        Some(if negated {
            ByteSet::ALL.minus(set)
        } else {
            set
        })
    }

    /// After a backslash.
    fn escape(&mut self, in_class: bool) -> Result<Item, Mistake> {
        let Some(byte) = self.take() else {
            return Err(Mistake::Syntax("a backslash ends the pattern".to_owned()));
        };
        let not = |set| Item::Set(ByteSet::ALL.minus(set));
        Ok(match byte {
            b'd' => Item::Set(DIGITS),
            b'D' => not(DIGITS),
            b'w' => Item::Set(WORD),
            b'W' => not(WORD),
            b's' => Item::Set(SPACE),
            b'S' => not(SPACE),
            b'h' => Item::Set(HORIZONTAL),
            b'H' => not(HORIZONTAL),
            b'v' => Item::Set(VERTICAL),
            b'V' => not(VERTICAL),
            b'N' => not(ByteSet::of(b"\n")),
            b'a' => Item::Byte(0x07),
            b'e' => Item::Byte(0x1B),
            b'f' => Item::Byte(0x0C),
            b'n' => Item::Byte(b'\n'),
            b'r' => Item::Byte(b'\r'),
            b't' => Item::Byte(b'\t'),
            b'x' => Item::Byte(self.hexadecimal()?),
            b'b' if in_class => Item::Byte(0x08),
            b'b' => Item::Verbatim(r"\b"),
            b'B' if !in_class => Item::Verbatim(r"\B"),
            b'A' if !in_class => Item::Verbatim(r"\A"),
            b'z' if !in_class => Item::Verbatim(r"\z"),
            b'0' => Item::Byte(self.octal(byte, 2)),
            b'1'..=b'7' if in_class => Item::Byte(self.octal(byte, 2)),
            b'1'..=b'9' | b'g' | b'k' => {
                return self.refuse("a back-reference", "name the alternatives one by one");
            }
            b'B' | b'A' | b'z' | b'C' | b'E' | b'G' | b'K' | b'L' | b'P' | b'Q' | b'R' | b'U'
            | b'X' | b'Z' | b'c' | b'l' | b'p' | b'u' => {
                return self.refuse("this escape", "write the bytes as `\\xhh`");
            }
            literal => Item::Byte(literal),
        })
    }

    /// `hh`, `h`, nothing at all, or `{…}`.
    fn hexadecimal(&mut self) -> Result<u8, Mistake> {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let mut value = 0;
        if self.take_if(b'{') {
            while let Some(more) = self.peek().and_then(digit) {
                self.at += 1;
                value = value * 16 + more;
                if value > 0xFF {
                    break;
                }
            }
            if self.take_if(b'}')
                && let Ok(byte) = u8::try_from(value)
            {
                return Ok(byte);
            }
            return self.refuse("this character", "write its bytes as `\\xhh`");
        }
        for _ in 0..2 {
            if let Some(more) = self.peek().and_then(digit) {
                self.at += 1;
                value = value * 16 + more;
            }
        }
        Ok(u8::try_from(value).unwrap_or_default())
    }

    /// Up to `more` octal digits after the first; the ninth bit is cut as PCRE cuts it for bytes.
    fn octal(&mut self, first: u8, more: usize) -> u8 {
        let mut value = u32::from(first - b'0');
        for _ in 0..more {
            if let Some(next) = self.peek().and_then(|byte| char::from(byte).to_digit(8)) {
                self.at += 1;
                value = value * 8 + next;
            }
        }
        u8::try_from(value & 0xFF).unwrap_or_default()
    }
}
