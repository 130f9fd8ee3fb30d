//! What SQL is read into: tokens of a kind each, with the text that later rules look at.

/// A kind of token, or a set of kinds: one bit each.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Kind(u32);

/// Each kind's letter in a fingerprint, by its bit.
const LETTERS: &[u8; 26] = b"n1svkUEBTtfo&cA(){},.;:?\\X";

macro_rules! kinds {
    ($($name:ident = $bit:literal),+ $(,)?) => { $( pub(super) const $name: Self = Self(1 << $bit); )+ };
}

impl Kind {
    /// No kind at all.
    pub(super) const NONE: Self = Self(0);
    kinds! {
        BAREWORD = 0, NUMBER = 1, STRING = 2, VARIABLE = 3, KEYWORD = 4, UNION = 5, EXPRESSION = 6,
        GROUP = 7, TSQL = 8, TYPE = 9, FUNCTION = 10, OPERATOR = 11, LOGIC = 12, COMMENT = 13,
        COLLATE = 14, OPEN = 15, CLOSE = 16, OPEN_BRACE = 17, CLOSE_BRACE = 18, COMMA = 19, DOT = 20,
        SEMICOLON = 21, COLON = 22, UNKNOWN = 23, BACKSLASH = 24, EVIL = 25,
    }

    /// Either of the two.
    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it is one of `kinds`.
    pub(super) const fn is(self, kinds: Self) -> bool {
        self.0 & kinds.0 != 0
    }

    /// Whether all of these are among `kinds`.
    pub(super) const fn within(self, kinds: Self) -> bool {
        self.0 & !kinds.0 == 0
    }

    /// The kind's letter.
    pub(super) fn letter(self) -> u8 {
        LETTERS
            .get(usize::from(self.number()))
            .copied()
            .unwrap_or_default()
    }

    /// The kind's number, below 32.
    pub(super) fn number(self) -> u8 {
        u8::try_from(self.0.trailing_zeros()).unwrap_or(u8::MAX)
    }

    /// The kind of a letter as the tables write it.
    pub(super) fn of_letter(letter: u8) -> Option<Self> {
        let bit = LETTERS.iter().position(|&known| known == letter)?;
        Some(Self(1 << bit))
    }
}

/// A token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    /// Its text, of which no more than [`Token::TEXT`] bytes count.
    pub(super) text: &'a [u8],
    /// The quote that opened it, 0 if none did.
    pub(super) open: u8,
    /// The quote that closed it, 0 if none did.
    pub(super) close: u8,
    /// Whether a longer phrase of the table begins with this text.
    pub(super) leads: bool,
    /// Whether this word becomes a function before a parenthesis.
    pub(super) callable: bool,
}

impl<'a> Token<'a> {
    /// What the C library keeps of a token's text; longer words are not looked up.
    pub(super) const TEXT: usize = 31;

    /// In place of a token where there is none.
    pub(super) const NONE: Self = Self {
        kind: Kind::NONE,
        text: b"",
        open: 0,
        close: 0,
        leads: false,
        callable: false,
    };

    /// A token without quotes.
    pub(super) fn new(kind: Kind, text: &'a [u8]) -> Self {
        Self {
            kind,
            text: text.get(..Self::TEXT).unwrap_or(text),
            ..Self::NONE
        }
    }

    /// Whether it is an operator that may stand before a value.
    pub(super) fn is_unary(&self) -> bool {
        self.kind == Kind::OPERATOR
            && (matches!(self.text, b"+" | b"-" | b"!" | b"~" | b"!!") || self.says(b"NOT"))
    }

    /// Whether its text is this, without regard to ASCII case.
    pub(super) fn says(&self, word: &[u8]) -> bool {
        self.text.eq_ignore_ascii_case(word)
    }
}
