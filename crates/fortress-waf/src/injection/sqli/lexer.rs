//! Reads SQL into tokens, of all dialects at once: what any database would take for a string, a
//! comment or a number is one.
//!
//! Nothing is ever an error; what makes no sense is a token of its own. Each byte is looked at a
//! bounded number of times.

use memchr::{memchr, memmem};

use super::{
    token::{Kind, Token},
    words,
};

/// Which databases' comments hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Dialect {
    /// `--` begins a comment whatever follows; `#` is an operator.
    Ansi,
    /// `--` begins a comment before white space only; `#` begins one.
    MySql,
}

/// What the value is taken to stand in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Context {
    /// SQL itself.
    Bare,
    /// A string that this quote has opened.
    Quoted(u8),
}

/// Reads a text.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    dialect: Dialect,
    context: Context,
    /// Whether a comment was met that the other dialect reads differently.
    pub(super) ambiguous: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8], context: Context, dialect: Dialect) -> Self {
        Self {
            text,
            at: 0,
            dialect,
            context,
            ambiguous: false,
        }
    }

    /// The whole text.
    pub(super) fn text(&self) -> &'a [u8] {
        self.text
    }

    /// The next token.
    pub(super) fn next(&mut self) -> Option<Token<'a>> {
        if self.at == 0
            && let Context::Quoted(quote) = self.context
            && !self.text.is_empty()
        {
            let mut token = self.string(0, quote);
            token.open = 0;
            return Some(token);
        }
        while let [first, after @ ..] = self.rest() {
            match *first {
                0..=b' ' | 0x7f | 0xa0 => self.at += 1,
                first => return Some(self.token(first, after)),
            }
        }
        None
    }

    fn token(&mut self, first: u8, after: &'a [u8]) -> Token<'a> {
        match first {
            b'\'' | b'"' => self.string(1, first),
            b'`' => self.backticks(1),
            b'0'..=b'9' | b'.' => self.number(first, after),
            b'b' | b'B' => self.digits_in_quotes(after, is_binary),
            b'x' | b'X' => self.digits_in_quotes(after, is_hexadecimal),
            b'e' | b'E' => self.escape_string(after),
            b'n' | b'N' => self.national_string(after),
            b'q' | b'Q' => self.oracle_string(0),
            b'u' | b'U' => self.unicode_string(after),
            b'-' => self.dash(after),
            b'/' if after.first() == Some(&b'*') => self.comment(),
            b'+' | b'~' | b'%' | b'^' | b'/' => self.take(Kind::OPERATOR, 1),
            b'!' | b'&' | b'*' | b':' | b'<' | b'=' | b'>' | b'|' => self.operator(first, after),
            b'#' => self.hash(),
            b'(' => self.take(Kind::OPEN, 1),
            b')' => self.take(Kind::CLOSE, 1),
            b'{' => self.take(Kind::OPEN_BRACE, 1),
            b'}' => self.take(Kind::CLOSE_BRACE, 1),
            b',' => self.take(Kind::COMMA, 1),
            b';' => self.take(Kind::SEMICOLON, 1),
            b'?' | b']' => self.take(Kind::UNKNOWN, 1),
            b'\\' if after.first() == Some(&b'N') => self.take(Kind::NUMBER, 2),
            b'\\' => self.take(Kind::BACKSLASH, 1),
            b'@' => self.variable(after),
            b'$' => self.dollar(after),
            b'[' => self.bracketed(after),
            _ => self.word(),
        }
    }

    // ---- strings

    /// A string whose text begins `skip` bytes from here. A backslash or a second quote keeps the
    /// quote from closing it.
    fn string(&mut self, skip: usize, quote: u8) -> Token<'a> {
        let body = self.from(skip);
        let mut at = 0;
        while let Some(found) = memchr(quote, body.get(at..).unwrap_or_default()) {
            let end = at + found;
            let (content, closing) = body.split_at(end);
            let slashes = content
                .iter()
                .rev()
                .take_while(|&&byte| byte == b'\\')
                .count();
            if slashes % 2 == 1 {
                at = end + 1;
            } else if closing.get(1) == Some(&quote) {
                at = end + 2;
            } else {
                return self.quoted(skip, content, 1, quote);
            }
        }
        self.unclosed(skip, quote)
    }

    /// `E'…'`.
    fn escape_string(&mut self, after: &'a [u8]) -> Token<'a> {
        match after {
            [b'\'', _, ..] => self.string(2, b'\''),
            _ => self.word(),
        }
    }

    /// `N'…'`, or `NQ'…'` of Oracle.
    fn national_string(&mut self, after: &'a [u8]) -> Token<'a> {
        match after {
            [b'\'', _, ..] => self.string(2, b'\''),
            _ => self.oracle_string(1),
        }
    }

    /// `U&'…'`.
    fn unicode_string(&mut self, after: &'a [u8]) -> Token<'a> {
        let [b'&', b'\'', ..] = after else {
            return self.word();
        };
        let mut token = self.string(3, b'\'');
        token.open = b'u';
        if token.close == b'\'' {
            token.close = b'u';
        }
        token
    }

    /// `Q'[…]'`, the `Q` being `skip` bytes from here.
    fn oracle_string(&mut self, skip: usize) -> Token<'a> {
        let [b'q' | b'Q', b'\'', delimiter @ 33..=127, ..] = self.from(skip) else {
            return self.word();
        };
        let end = match delimiter {
            b'(' => b')',
            b'[' => b']',
            b'{' => b'}',
            b'<' => b'>',
            same => *same,
        };
        self.until(skip + 3, &[end, b'\''], b'q')
    }

    /// A string that begins `skip` bytes from here and ends at `end`.
    fn until(&mut self, skip: usize, end: &[u8], quote: u8) -> Token<'a> {
        let body = self.from(skip);
        match memmem::find(body, end) {
            Some(found) => {
                let content = body.get(..found).unwrap_or_default();
                self.quoted(skip, content, end.len(), quote)
            }
            None => self.unclosed(skip, quote),
        }
    }

    fn quoted(&mut self, skip: usize, content: &'a [u8], closing: usize, quote: u8) -> Token<'a> {
        self.at += skip + content.len() + closing;
        Token {
            open: quote,
            close: quote,
            ..Token::new(Kind::STRING, content)
        }
    }

    fn unclosed(&mut self, skip: usize, quote: u8) -> Token<'a> {
        let content = self.from(skip);
        self.at = self.text.len();
        Token {
            open: quote,
            ..Token::new(Kind::STRING, content)
        }
    }

    // ---- names

    fn word(&mut self) -> Token<'a> {
        let rest = self.rest();
        let length = rest
            .iter()
            .position(|&byte| ends_word(byte))
            .unwrap_or(rest.len());
        let seen = rest.get(..length.min(Token::TEXT)).unwrap_or_default();
        // `SELECT.a` and SELECT`a` are two words, but `a.select` is one.
        for (at, &byte) in seen.iter().enumerate() {
            if matches!(byte, b'.' | b'`')
                && let Some(word) = words::find(seen.get(..at).unwrap_or_default())
                && word.kind != Kind::BAREWORD
            {
                return self.known(at, word);
            }
        }
        if length <= Token::TEXT
            && let Some(word) = words::find(seen)
        {
            return self.known(length, word);
        }
        self.take(Kind::BAREWORD, length)
    }

    fn known(&mut self, length: usize, word: &words::Word) -> Token<'a> {
        Token {
            leads: word.leads,
            callable: word.callable,
            ..self.take(word.kind, length)
        }
    }

    /// A name in backticks: the quote is `skip - 1` bytes from here.
    fn backticks(&mut self, skip: usize) -> Token<'a> {
        let string = self.string(skip, b'`');
        let word = words::find(string.text);
        Token {
            kind: match word {
                Some(word) if word.kind == Kind::FUNCTION => Kind::FUNCTION,
                _ => Kind::BAREWORD,
            },
            leads: word.is_some_and(|word| word.leads),
            callable: word.is_some_and(|word| word.callable),
            ..string
        }
    }

    /// `[name]`.
    fn bracketed(&mut self, after: &'a [u8]) -> Token<'a> {
        let length = memchr(b']', after).map_or(after.len() + 1, |end| end + 2);
        self.take(Kind::BAREWORD, length)
    }

    /// `@name`, `@@name`, with or without quotes.
    fn variable(&mut self, after: &'a [u8]) -> Token<'a> {
        let (signs, name) = match after {
            [b'@', name @ ..] => (2, name),
            name => (1, name),
        };
        let token = match name {
            [b'`', ..] => self.backticks(signs + 1),
            [quote @ (b'\'' | b'"'), ..] => self.string(signs + 1, *quote),
            _ => {
                let length = name
                    .iter()
                    .position(|&byte| ends_variable(byte))
                    .unwrap_or(name.len());
                self.at += signs;
                self.take(Kind::VARIABLE, length)
            }
        };
        Token {
            kind: Kind::VARIABLE,
            leads: false,
            ..token
        }
    }

    // ---- numbers

    fn number(&mut self, first: u8, after: &'a [u8]) -> Token<'a> {
        if first == b'0'
            && let [sign, digits @ ..] = after
        {
            let length = match sign {
                b'x' | b'X' => Some(run(digits, is_hexadecimal)),
                b'b' | b'B' => Some(run(digits, is_binary)),
                _ => None,
            };
            if let Some(length) = length {
                let kind = match length {
                    0 => Kind::BAREWORD,
                    _ => Kind::NUMBER,
                };
                return self.take(kind, length + 2);
            }
        }
        let rest = self.rest();
        let from = |at: usize| rest.get(at..).unwrap_or_default();
        let mut length = run(rest, is_decimal);
        if let Some(b'.') = from(length).first() {
            length += 1 + run(from(length + 1), is_decimal);
            if length == 1 {
                return self.take(Kind::DOT, 1);
            }
        }
        let mut kind = Kind::NUMBER;
        if let [b'e' | b'E', exponent @ ..] = from(length) {
            let sign = usize::from(matches!(exponent, [b'+' | b'-', ..]));
            let digits = run(exponent.get(sign..).unwrap_or_default(), is_decimal);
            length += 1 + sign + digits;
            if digits == 0 {
                kind = Kind::BAREWORD;
            }
        }
        // Oracle's `1d` and `1f`, which `UNION` may follow at once.
        if let [b'd' | b'D' | b'f' | b'F', next @ ..] = from(length)
            && next
                .first()
                .is_none_or(|&byte| is_white(byte) || matches!(byte, b';' | b'u' | b'U'))
        {
            length += 1;
        }
        self.take(kind, length)
    }

    /// `B'01'` and `X'ff'`.
    fn digits_in_quotes(&mut self, after: &'a [u8], is_digit: fn(u8) -> bool) -> Token<'a> {
        if let [b'\'', digits @ ..] = after {
            let length = run(digits, is_digit);
            if digits.get(length) == Some(&b'\'') {
                return self.take(Kind::NUMBER, length + 3);
            }
        }
        self.word()
    }

    /// Money (`$1.00`), PostgreSQL's `$$…$$` and `$tag$…$tag$`.
    fn dollar(&mut self, after: &'a [u8]) -> Token<'a> {
        match run(after, is_amount) {
            0 => {}
            1 if after.first() == Some(&b'.') => return self.word(),
            length => return self.take(Kind::NUMBER, length + 1),
        }
        if let [b'$', ..] = after {
            return self.until(2, b"$$", b'$');
        }
        let letters = run(after, |byte| byte == 0 || byte.is_ascii_alphabetic());
        if letters == 0 || after.get(letters) != Some(&b'$') {
            return self.take(Kind::BAREWORD, 1);
        }
        let tag = self.rest().get(..letters + 2).unwrap_or_default();
        self.until(letters + 2, tag, b'$')
    }

    // ---- operators and comments

    fn operator(&mut self, first: u8, after: &'a [u8]) -> Token<'a> {
        if first == b'<' && after.starts_with(b"=>") {
            return self.take(Kind::OPERATOR, 3);
        }
        let rest = self.rest();
        if let Some(word) = rest.get(..2).and_then(words::find) {
            return self.take(word.kind, 2);
        }
        let kind = match first {
            b':' if !after.is_empty() => Kind::COLON,
            _ => Kind::OPERATOR,
        };
        self.take(kind, 1)
    }

    fn hash(&mut self) -> Token<'a> {
        self.ambiguous = true;
        match self.dialect {
            Dialect::Ansi => self.take(Kind::OPERATOR, 1),
            Dialect::MySql => self.line_comment(),
        }
    }

    fn dash(&mut self, after: &'a [u8]) -> Token<'a> {
        match after {
            [b'-'] => self.line_comment(),
            [b'-', next, ..] if is_white(*next) => self.line_comment(),
            [b'-', ..] => {
                self.ambiguous = true;
                match self.dialect {
                    Dialect::Ansi => self.line_comment(),
                    Dialect::MySql => self.take(Kind::OPERATOR, 1),
                }
            }
            _ => self.take(Kind::OPERATOR, 1),
        }
    }

    fn line_comment(&mut self) -> Token<'a> {
        let rest = self.rest();
        match memchr(b'\n', rest) {
            Some(end) => {
                let token = self.take(Kind::COMMENT, end);
                self.at += 1;
                token
            }
            None => self.take(Kind::COMMENT, rest.len()),
        }
    }

    /// `/*…*/`. A comment within one, and MySQL's `/*!` that is executed, are never innocent.
    fn comment(&mut self) -> Token<'a> {
        let body = self.from(2);
        let close = memmem::find(body, b"*/");
        // The `*` that closes counts for the inner comment too: `/*/*/` has one.
        let nested = close
            .and_then(|end| body.get(..=end))
            .is_some_and(|inner| memmem::find(inner, b"/*").is_some());
        let kind = match body.first() {
            Some(b'!') => Kind::EVIL,
            _ if nested => Kind::EVIL,
            _ => Kind::COMMENT,
        };
        self.take(kind, close.map_or(self.rest().len(), |end| end + 4))
    }

    // ---- places

    fn take(&mut self, kind: Kind, length: usize) -> Token<'a> {
        let token = Token::new(kind, self.rest().get(..length).unwrap_or_default());
        self.at += length;
        token
    }

    fn rest(&self) -> &'a [u8] {
        self.from(0)
    }

    fn from(&self, skip: usize) -> &'a [u8] {
        self.text.get(self.at + skip..).unwrap_or_default()
    }
}

fn run(bytes: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    bytes
        .iter()
        .position(|&byte| !belongs(byte))
        .unwrap_or(bytes.len())
}

// A NUL belongs to these: C finds it at the end of the list of the digits.

fn is_binary(byte: u8) -> bool {
    matches!(byte, 0 | b'0' | b'1')
}

fn is_hexadecimal(byte: u8) -> bool {
    byte == 0 || byte.is_ascii_hexdigit()
}

fn is_amount(byte: u8) -> bool {
    matches!(byte, 0 | b'0'..=b'9' | b'.' | b',')
}

fn is_decimal(byte: u8) -> bool {
    byte.is_ascii_digit()
}

fn is_white(byte: u8) -> bool {
    matches!(byte, 0 | 9..=13 | b' ' | 0xa0)
}

#[rustfmt::skip]
fn ends_word(byte: u8) -> bool {
    matches!(
        byte,
        0 | 9..=13 | b' ' | 0xa0 | b'[' | b']' | b'{' | b'}' | b'<' | b'>' | b':' | b'\\' | b'?'
            | b'=' | b'@' | b'!' | b'#' | b'~' | b'+' | b'-' | b'*' | b'/' | b'&' | b'|' | b'^'
            | b'%' | b'(' | b')' | b',' | b'\'' | b';' | b'"'
    )
}

#[rustfmt::skip]
fn ends_variable(byte: u8) -> bool {
    matches!(
        byte,
        0 | 9..=13 | b' ' | b'<' | b'>' | b':' | b'\\' | b'?' | b'=' | b'@' | b'!' | b'#' | b'~'
            | b'+' | b'-' | b'*' | b'/' | b'&' | b'|' | b'^' | b'%' | b'(' | b')' | b',' | b'\''
            | b';' | b'`' | b'"'
    )
}
