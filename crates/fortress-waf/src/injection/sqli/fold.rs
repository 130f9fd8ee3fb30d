//! Folds tokens until five are left that say what a value is: `1 + 2 + 3` is a number, `a.b.c` a
//! name, a signed number a number.
//!
//! The rules and their order are libinjection's, oddities included, because its table of shapes was
//! made with them. Each rule that starts over has taken a token away or turned its kind to one that
//! never turns back, and no more than six tokens are held: the work is linear in the text.

use memchr::memchr2;

use super::{
    lexer::Lexer,
    token::{Kind, Token},
    words,
};

/// Tokens of a shape.
const MOST: usize = 5;

/// What is left of a text.
#[derive(Debug)]
pub(super) struct Folded<'a> {
    tokens: [Token<'a>; 8],
    length: usize,
    /// How many tokens were read, comments and all.
    pub(super) read: usize,
}

impl<'a> Folded<'a> {
    /// The tokens.
    pub(super) fn tokens(&self) -> &[Token<'a>] {
        self.tokens.get(..self.length).unwrap_or_default()
    }
}

/// Folds what the lexer reads. `None` if it is certain that the value is no attack, for this
/// dialect and the other, without reading on.
pub(super) fn fold<'a>(lexer: &mut Lexer<'a>) -> Option<Folded<'a>> {
    let mut fold = Fold {
        lexer,
        tokens: [Token::NONE; 8],
        filled: 0,
        left: 0,
        more: true,
        comment: None,
        read: 0,
    };
    if !fold.first() {
        return Some(fold.finish());
    }
    match fold.run() {
        End::Folded => Some(fold.finish()),
        End::Innocent => None,
        End::Evil => Some(fold.evil()),
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    Folded,
    /// No attack's shape begins so.
    Innocent,
    /// Nothing innocent looks so.
    Evil,
}

/// What a rule has left to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Next {
    /// Start over with the tokens as they are now.
    Again,
    /// Look at further rules.
    Further,
    /// The value is an attack whatever else there is.
    Evil,
}

struct Fold<'a, 'l> {
    lexer: &'l mut Lexer<'a>,
    tokens: [Token<'a>; 8],
    /// How many of `tokens` there are.
    filled: usize,
    /// How many of them have been looked at.
    left: usize,
    /// Whether the lexer may have more.
    more: bool,
    /// The comment that was read last, if nothing else came after it.
    comment: Option<Token<'a>>,
    read: usize,
}

impl<'a> Fold<'a, '_> {
    /// Reads the first token that counts: comments, parentheses, types and signs do not here.
    /// Whether there is one.
    fn first(&mut self) -> bool {
        const SKIPPED: Kind = Kind::COMMENT.or(Kind::OPEN).or(Kind::TYPE);
        while let Some(token) = self.lexer.next() {
            self.read += 1;
            if !token.kind.is(SKIPPED) && !token.is_unary() {
                self.set(0, token);
                self.filled = 1;
                return true;
            }
        }
        false
    }

    fn run(&mut self) -> End {
        loop {
            self.shorten();
            if !self.more || self.left >= MOST {
                self.left = self.filled;
                return End::Folded;
            }
            self.fill(2);
            if self.filled < self.left + 2 {
                self.left = self.filled;
                continue;
            }
            if self.left == 0 && self.filled == 2 && self.is_innocent() {
                return End::Innocent;
            }
            match self.pair() {
                Next::Again => continue,
                Next::Evil => return End::Evil,
                Next::Further => {}
            }
            self.fill(3);
            if self.filled < self.left + 3 {
                self.left = self.filled;
                continue;
            }
            if !self.triple() {
                self.left += 1;
            }
        }
    }

    /// Whether two names, or a string and a name, begin the value, of which no attack's shape does.
    ///
    /// Nothing later changes the two: no rule joins them, since no phrase begins with them, and
    /// those that replace a name ask for a parenthesis after a name that can be called. Only a token
    /// that is evil by itself could follow: one needs `*`, the other `{`. The other dialect reads
    /// the same two, since no comment was met that it reads differently.
    fn is_innocent(&self) -> bool {
        const BEGINS: Kind = Kind::BAREWORD.or(Kind::STRING);
        let (first, second) = (self.get(0), self.get(1));
        first.kind.is(BEGINS)
            && second.kind == Kind::BAREWORD
            && !(first.leads || second.leads || second.callable || self.lexer.ambiguous)
            && memchr2(b'*', b'{', self.lexer.text()).is_none()
    }

    /// Five tokens that say no more than their first.
    fn shorten(&mut self) {
        if self.filled < MOST {
            return;
        }
        const NAME: Kind = Kind::BAREWORD;
        const NUMBER: Kind = Kind::NUMBER;
        const OPERATOR: Kind = Kind::OPERATOR;
        let shapes: [[Kind; MOST]; 4] = [
            [
                NUMBER,
                OPERATOR.or(Kind::COMMA),
                Kind::OPEN,
                NUMBER,
                Kind::CLOSE,
            ],
            [NAME, OPERATOR, Kind::OPEN, NAME.or(NUMBER), Kind::CLOSE],
            [NUMBER, Kind::CLOSE, Kind::COMMA, Kind::OPEN, NUMBER],
            [NAME, Kind::CLOSE, OPERATOR, Kind::OPEN, NAME],
        ];
        let is_shape = |shape: &[Kind; MOST]| {
            let mut pairs = self.tokens.iter().zip(shape);
            pairs.all(|(token, kind)| token.kind.is(*kind))
        };
        if !shapes.iter().any(is_shape) {
            return;
        }
        self.left = 0;
        if self.filled > MOST {
            self.set(1, self.get(MOST));
            self.filled = 2;
        } else {
            self.filled = 1;
        }
    }

    /// Reads until `count` tokens wait, or six are held.
    fn fill(&mut self, count: usize) {
        while self.more && self.filled <= MOST && self.filled < self.left + count {
            let Some(token) = self.lexer.next() else {
                self.more = false;
                return;
            };
            self.read += 1;
            if token.kind == Kind::COMMENT {
                self.comment = Some(token);
            } else {
                self.comment = None;
                self.set(self.filled, token);
                self.filled += 1;
            }
        }
    }

    /// The rules on two tokens.
    fn pair(&mut self) -> Next {
        let (at, a, b) = (self.left, self.get(self.left), self.get(self.left + 1));
        const OPERATORS: Kind = Kind::OPERATOR.or(Kind::LOGIC);
        if a.kind.is(Kind::STRING.or(Kind::SEMICOLON)) && a.kind == b.kind {
            return self.drop(1, at);
        }
        if a.kind.is(OPERATORS) && (b.is_unary() || b.kind == Kind::TYPE) {
            return self.drop(1, 0);
        }
        if a.kind == Kind::OPEN && b.is_unary() {
            return self.drop(1, at.saturating_sub(1));
        }
        if let Some(phrase) = joined(&a, &b) {
            self.set(
                at,
                Token {
                    kind: phrase.kind,
                    text: phrase.text.as_bytes(),
                    leads: phrase.leads,
                    callable: phrase.callable,
                    ..a
                },
            );
            return self.drop(1, at.saturating_sub(1));
        }
        // `; IF` is a statement of T-SQL, any other `IF` a function.
        if a.kind == Kind::SEMICOLON && b.kind == Kind::FUNCTION && starts_with(&b, b"IF") {
            return self.turn(at + 1, Kind::TSQL);
        }
        if a.kind.is(Kind::BAREWORD.or(Kind::VARIABLE)) && b.kind == Kind::OPEN && is_callable(&a) {
            return self.turn(at, Kind::FUNCTION);
        }
        if a.kind == Kind::KEYWORD && (a.says(b"IN") || a.says(b"NOT IN")) {
            return self.turn(
                at,
                match b.kind {
                    Kind::OPEN => Kind::OPERATOR,
                    _ => Kind::BAREWORD,
                },
            );
        }
        self.odd_pair(at, &a, &b)
    }

    /// The rules on two tokens of which some let further rules look.
    fn odd_pair(&mut self, at: usize, a: &Token<'a>, b: &Token<'a>) -> Next {
        const AFTER_TYPE: Kind = Kind::BAREWORD
            .or(Kind::NUMBER)
            .or(Kind::TYPE)
            .or(Kind::OPEN)
            .or(Kind::FUNCTION)
            .or(Kind::VARIABLE)
            .or(Kind::STRING);
        if a.kind == Kind::OPERATOR && (a.says(b"LIKE") || a.says(b"NOT LIKE")) {
            if b.kind == Kind::OPEN {
                self.turn(at, Kind::FUNCTION);
            }
            return Next::Further;
        }
        if a.kind == Kind::TYPE && b.kind.is(AFTER_TYPE) {
            self.set(at, *b);
            return self.drop(1, 0);
        }
        // There are too many collations to list; names of other things have no `_` here.
        if a.kind == Kind::COLLATE && b.kind == Kind::BAREWORD {
            let mut name = b.text.iter().take_while(|&&byte| byte != 0);
            if name.any(|&byte| byte == b'_') {
                self.turn(at + 1, Kind::TYPE);
                self.left = 0;
            }
            return Next::Further;
        }
        // T-SQL reads `\1` as `1`, and `\%1` as `0 % 1`.
        if a.kind == Kind::BACKSLASH {
            if b.kind == Kind::OPERATOR && matches!(b.text, b"*" | b"/" | b"-" | b"+" | b"%") {
                self.left = 0;
                return self.turn(at, Kind::NUMBER);
            }
            self.set(at, *b);
            return self.drop(1, 0);
        }
        if a.kind.is(Kind::OPEN.or(Kind::CLOSE)) && a.kind == b.kind {
            return self.drop(1, 0);
        }
        // ODBC's `{name value}` is the value; MySQL's ``{``.``.name}`` is not to be believed.
        if a.kind == Kind::OPEN_BRACE && b.kind == Kind::BAREWORD {
            if b.text.is_empty() {
                return Next::Evil;
            }
            return self.drop(2, 0);
        }
        if b.kind == Kind::CLOSE_BRACE {
            return self.drop(1, 0);
        }
        Next::Further
    }

    /// The rules on three tokens; whether one of them starts over.
    fn triple(&mut self) -> bool {
        const NAME: Kind = Kind::BAREWORD;
        const VALUE: Kind = NAME.or(Kind::NUMBER);
        const DATA: Kind = VALUE.or(Kind::STRING).or(Kind::VARIABLE);
        const CLAUSE: Kind = Kind::EXPRESSION.or(Kind::GROUP);
        let at = self.left;
        let (a, b, c) = (self.get(at), self.get(at + 1), self.get(at + 2));
        let (ka, kb, kc) = (a.kind, b.kind, c.kind);
        let is_cast = kb == Kind::OPERATOR && b.text == b"::" && kc == Kind::TYPE;
        let joins = (kb == Kind::OPERATOR
            && (ka.is(VALUE) && kc.is(VALUE)
                || ka == Kind::VARIABLE && kc.is(VALUE.or(Kind::VARIABLE))))
            || ka == Kind::OPERATOR && kb != Kind::OPEN && kc == Kind::OPERATOR
            || ka == Kind::LOGIC && kc == Kind::LOGIC
            || ka.is(DATA) && is_cast
            || ka.is(DATA) && kb == Kind::COMMA && kc.is(DATA)
            || ka == NAME && kb == Kind::DOT && kc == NAME;
        if joins {
            self.drop(2, 0);
            return true;
        }
        let signed = b.is_unary();
        if signed && ka == Kind::COMMA && kc.is(DATA) {
            // `1, -1` is `1, 1`, and that is `1`: back to the token before the comma.
            self.set(at + 1, c);
            self.drop(3, 0);
            return true;
        }
        let drops_middle = signed && kc == Kind::OPEN && ka.is(CLAUSE.or(Kind::COMMA))
            || signed && ka.is(CLAUSE.or(Kind::KEYWORD)) && kc.is(DATA.or(Kind::FUNCTION))
            || signed && ka == Kind::COMMA && kc == Kind::FUNCTION
            || ka == Kind::EXPRESSION && kb == Kind::DOT && kc == NAME;
        if drops_middle {
            self.set(at + 1, c);
            self.drop(1, 0);
            return true;
        }
        // `USER()` is a function, `user(foo)` is not: it made too many false alarms.
        if ka == Kind::FUNCTION && kb == Kind::OPEN && kc != Kind::CLOSE && a.says(b"USER") {
            self.turn(at, Kind::BAREWORD);
        }
        false
    }

    fn finish(mut self) -> Folded<'a> {
        // A sixth token was read only to tell what the fifth is.
        let mut length = self.left.min(MOST);
        if length < MOST
            && let Some(comment) = self.comment
        {
            self.set(length, comment);
            length += 1;
        }
        // An empty name in a backtick that nothing closes hides the rest of PHP's own query.
        if length > 2 {
            let last = self.get(length - 1);
            let is_open_tick = last.open == b'`' && last.close == 0 && last.text.is_empty();
            if last.kind == Kind::BAREWORD && is_open_tick {
                self.turn(length - 1, Kind::COMMENT);
            }
        }
        Folded {
            tokens: self.tokens,
            length,
            read: self.read,
        }
    }

    fn evil(mut self) -> Folded<'a> {
        self.set(0, Token::new(Kind::EVIL, b""));
        Folded {
            tokens: self.tokens,
            length: 1,
            read: self.read,
        }
    }

    /// Takes the last `count` tokens away and goes on at `left`.
    fn drop(&mut self, count: usize, left: usize) -> Next {
        self.filled = self.filled.saturating_sub(count);
        self.left = left;
        Next::Again
    }

    fn turn(&mut self, at: usize, kind: Kind) -> Next {
        if let Some(token) = self.tokens.get_mut(at) {
            token.kind = kind;
        }
        Next::Again
    }

    fn get(&self, at: usize) -> Token<'a> {
        self.tokens.get(at).copied().unwrap_or(Token::NONE)
    }

    fn set(&mut self, at: usize, token: Token<'a>) {
        if let Some(place) = self.tokens.get_mut(at) {
            *place = token;
        }
    }
}

/// The phrase that two words make.
fn joined(a: &Token<'_>, b: &Token<'_>) -> Option<&'static words::Word> {
    const FIRST: Kind = Kind::KEYWORD
        .or(Kind::BAREWORD)
        .or(Kind::OPERATOR)
        .or(Kind::UNION)
        .or(Kind::FUNCTION)
        .or(Kind::EXPRESSION)
        .or(Kind::TSQL)
        .or(Kind::TYPE);
    let length = a.text.len() + 1 + b.text.len();
    if !a.leads || !a.kind.is(FIRST) || !b.kind.is(FIRST.or(Kind::LOGIC)) || length > Token::TEXT {
        return None;
    }
    let mut phrase = [b' '; Token::TEXT];
    phrase.get_mut(..a.text.len())?.copy_from_slice(a.text);
    phrase
        .get_mut(a.text.len() + 1..length)?
        .copy_from_slice(b.text);
    words::find(phrase.get(..length)?).filter(|word| word.listed)
}

fn is_callable(name: &Token<'_>) -> bool {
    words::CALLABLE
        .iter()
        .any(|word| name.says(word.as_bytes()))
}

fn starts_with(token: &Token<'_>, word: &[u8]) -> bool {
    token
        .text
        .get(..word.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(word))
}
