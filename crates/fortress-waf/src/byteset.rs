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

    /// The bytes of a value, for values that come with requests: [`Self::of`] is for constants.
    #[must_use]
    pub fn from_text(text: &[u8]) -> Self {
        // Two halves of the text at once, since each step waits for the one before.
        let (left, right) = text.split_at(text.len() / 2);
        let (mut one, mut other) = (Self::EMPTY, Self::EMPTY);
        for (left, right) in left.iter().zip(right) {
            one.insert(*left);
            other.insert(*right);
        }
        if let (true, Some(last)) = (left.len() < right.len(), right.last()) {
            other.insert(*last);
        }
        one.union(other)
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
        let Self([a, b, c, d]) = self;
        let word = match byte >> 6 {
            0 => a,
            1 => b,
            2 => c,
            _ => d,
        };
        word >> (byte & 63) & 1 == 1
    }

    /// One more byte.
    pub const fn insert(&mut self, byte: u8) {
        *self = self.with(byte);
    }

    /// How many bytes are in it.
    #[must_use]
    pub const fn len(self) -> u32 {
        let Self([a, b, c, d]) = self;
        a.count_ones() + b.count_ones() + c.count_ones() + d.count_ones()
    }

    /// The bytes, ascending.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        let Self(words) = self;
        (0..).zip(words).flat_map(|(number, mut word)| {
            std::iter::from_fn(move || {
                let bit = u8::try_from(word.trailing_zeros())
                    .ok()
                    .filter(|bit| *bit < 64)?;
                word &= word - 1;
                Some(number << 6 | bit)
            })
        })
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

#[cfg(test)]
mod tests {
    use super::ByteSet;

    #[test]
    fn sets() {
        let set = ByteSet::of(b"aZ\0\xff").union(ByteSet::range(b'0', b'3'));
        assert_eq!(set.iter().collect::<Vec<_>>(), b"\x000123Za\xff");
        assert_eq!(set.len(), 8);
        assert!(set.contains(b'2') && !set.contains(b'4') && !set.contains(b'z'));
        assert!(set.fold_case().contains(b'A') && set.fold_case().contains(b'z'));
        assert_eq!(set.fold_case().len(), 10);
        assert_eq!(set.minus(ByteSet::ALL), ByteSet::EMPTY);
        assert_eq!(ByteSet::range(0, 255), ByteSet::ALL);
        assert_eq!(ByteSet::range(2, 1), ByteSet::EMPTY);
    }

    #[test]
    fn sets_of_texts() {
        for length in 0..10 {
            let text = b"a\xffZ\0bcdefg".get(..length).unwrap();
            assert_eq!(ByteSet::from_text(text), ByteSet::of(text));
        }
    }
}
