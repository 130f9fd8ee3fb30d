//! Sets of bytes.

/// A set of byte values.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct ByteSet([u64; 4]);

impl ByteSet {
    /// No byte.
    pub const EMPTY: Self = Self([0; 4]);
    /// Every byte.
    pub const ALL: Self = Self([u64::MAX; 4]);

    /// The bytes of a text.
    #[must_use]
    pub const fn of(text: &[u8]) -> Self {
        let mut set = Self::EMPTY;
        let mut rest = text;
        while let [first, more @ ..] = rest {
            set = set.with(*first);
            rest = more;
        }
        set
    }

    /// `low` to `high`, both included.
    #[must_use]
    pub const fn range(low: u8, high: u8) -> Self {
        let mut set = Self::EMPTY;
        let mut byte = low;
        while byte <= high {
            set = set.with(byte);
            if byte == u8::MAX {
                break;
            }
            byte += 1;
        }
        set
    }

    /// The set with one more byte.
    #[must_use]
    pub const fn with(self, byte: u8) -> Self {
        let Self([a, b, c, d]) = self;
        let bit = 1 << (byte & 63);
        match byte >> 6 {
            0 => Self([a | bit, b, c, d]),
            1 => Self([a, b | bit, c, d]),
            2 => Self([a, b, c | bit, d]),
            _ => Self([a, b, c, d | bit]),
        }
    }

    /// Those of either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        let (Self([a, b, c, d]), Self([e, f, g, h])) = (self, other);
        Self([a | e, b | f, c | g, d | h])
    }

    /// Those of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        let (Self([a, b, c, d]), Self([e, f, g, h])) = (self, other);
        Self([a & e, b & f, c & g, d & h])
    }

    /// Those not in `other`.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        let Self([e, f, g, h]) = other;
        self.and(Self([!e, !f, !g, !h]))
    }

    /// Whether none is in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        let Self([a, b, c, d]) = self;
        a | b | c | d == 0
    }

    /// Whether the two have a byte in common.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        !self.and(other).is_empty()
    }

    /// Whether the byte is in it.
    #[must_use]
    pub const fn contains(self, byte: u8) -> bool {
        self.intersects(Self::EMPTY.with(byte))
    }

    /// With each ASCII letter, its other case too.
    #[must_use]
    pub const fn fold_case(self) -> Self {
        let Self([a, letters, c, d]) = self;
        const UPPER: u64 = 0x07FF_FFFE;
        let upper = letters & UPPER;
        let lower = (letters >> 32) & UPPER;
        Self([a, letters | upper << 32 | lower, c, d])
    }
}
