//! Which kinds of bytes a text holds, in one word.
//!
//! All letters are one group and all digits another, so that the texts of everyday traffic share
//! few alphabets; attacks are told apart by their punctuation. The groups partition the bytes,
//! which is all that soundness needs: a text without a group's bit has none of the group's bytes.

use crate::ByteSet;

/// A set of byte groups: those of a text, or those that a condition asks for.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Alphabet(pub(super) u64);

impl Alphabet {
    /// The groups of a text's bytes.
    #[inline]
    pub(crate) fn of(text: &[u8]) -> Self {
        // Four sums that do not wait for each other: half the time of one.
        let (mut a, mut b, mut c, mut d) = (0, 0, 0, 0);
        let (quads, rest) = text.as_chunks::<4>();
        for &[first, second, third, fourth] in quads {
            a |= bit(first);
            b |= bit(second);
            c |= bit(third);
            d |= bit(fourth);
        }
        for &byte in rest {
            a |= bit(byte);
        }
        Self(a | b | c | d)
    }

    /// The groups that have a byte in the set. A text with a byte of the set intersects it; a text
    /// that intersects it need not have one.
    pub(crate) fn mask(set: ByteSet) -> Self {
        let groups = (0..).zip(GROUPS.iter());
        Self(groups.fold(0, |mask, (group, bytes)| {
            mask | u64::from(bytes.intersects(set)) << group
        }))
    }

    /// The groups of which all bytes are in the set: a text without a byte of the set has none of
    /// them.
    pub(crate) fn within(set: ByteSet) -> Self {
        let groups = (0..).zip(GROUPS.iter());
        Self(groups.fold(0, |mask, (group, bytes)| {
            let all = !bytes.is_empty() && bytes.minus(set).is_empty();
            mask | u64::from(all) << group
        }))
    }

    /// All bytes of the groups.
    pub(crate) fn bytes(self) -> ByteSet {
        (0..=u8::MAX)
            .filter(|&byte| bit(byte) & self.0 != 0)
            .fold(ByteSet::EMPTY, ByteSet::with)
    }

    /// A number that tells alphabets apart, for each `seed` in another way.
    #[inline]
    pub(crate) fn slot(self, seed: u64) -> usize {
        let mixed = (self.0 ^ seed.rotate_right(8)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
        usize::try_from(mixed).unwrap_or_default()
    }

    /// The groups that are not in the other.
    pub(crate) fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The groups of either.
    pub(crate) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the two have a group in common.
    #[inline]
    pub(crate) fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

#[inline]
fn bit(byte: u8) -> u64 {
    // The table has an entry for every byte; the index is always inside.
    TABLE.get(usize::from(byte)).copied().unwrap_or_default()
}

static TABLE: [u64; 256] = table();

/// The bytes of each group.
static GROUPS: [ByteSet; 64] = groups();

#[expect(
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a constant: an index beyond the end would not compile"
)]
const fn groups() -> [ByteSet; 64] {
    let table = table();
    let mut groups = [ByteSet::EMPTY; 64];
    let mut byte = 0;
    while byte < 256 {
        let group = table[byte].trailing_zeros() as usize;
        groups[group] = groups[group].with(byte as u8);
        byte += 1;
    }
    groups
}

/// Groups: letters, digits, the 32 punctuation marks, NUL, tab, line feed, carriage return, VT with
/// FF, space, DEL, the other controls, and the upper half in 16 blocks: 58 of 64.
#[expect(
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a constant: an index beyond the end would not compile"
)]
const fn table() -> [u64; 256] {
    let mut table = [0; 256];
    let mut punctuation = 0;
    let mut byte = 0;
    while byte < 256 {
        let group = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' => 0,
            b'0'..=b'9' => 1,
            b'\0' => 2,
            b'\t' => 3,
            b'\n' => 4,
            b'\r' => 5,
            0x0B | 0x0C => 6,
            b' ' => 7,
            0x7F => 8,
            0x01..=0x1F => 9,
            high @ 0x80.. => 10 + (high - 0x80) / 8,
            _ => {
                punctuation += 1;
                25 + punctuation
            }
        };
        table[byte] = 1 << group;
        byte += 1;
    }
    assert!(punctuation == 32);
    table
}

#[cfg(test)]
mod tests {
    use super::Alphabet;
    use crate::ByteSet;

    #[test]
    fn groups_partition_the_bytes() {
        let mut groups = std::collections::BTreeMap::<u64, Vec<u8>>::new();
        for byte in 0..=u8::MAX {
            let Alphabet(mask) = Alphabet::of(&[byte]);
            assert_eq!(mask.count_ones(), 1, "{byte}");
            groups.entry(mask).or_default().push(byte);
        }
        assert_eq!(groups.len(), 58);
        // Letters of both cases are together, or lower-cased texts would have other alphabets.
        for letter in b'a'..=b'z' {
            assert_eq!(
                Alphabet::of(&[letter]),
                Alphabet::of(&[letter.to_ascii_uppercase()])
            );
        }
    }

    #[test]
    fn masks_and_texts_meet() {
        let brackets = Alphabet::mask(ByteSet::of(b"()"));
        assert!(Alphabet::of(b"some(thing").intersects(brackets));
        assert!(!Alphabet::of(b"something[0]").intersects(brackets));
        assert_eq!(Alphabet::mask(ByteSet::EMPTY), Alphabet::of(b""));
        assert_eq!(
            Alphabet::within(ByteSet::of(b"a,\x0b")),
            Alphabet::of(b","),
            "letters, and VT with FF, are more"
        );
        let every = Alphabet::mask(ByteSet::ALL);
        assert_eq!(every.bytes(), ByteSet::ALL);
        assert_eq!(
            Alphabet::of(b"a;")
                .bytes()
                .minus(ByteSet::range(b'A', b'z')),
            ByteSet::of(b";")
        );
        let long: Vec<u8> = (0..=u8::MAX).collect();
        assert_eq!(Alphabet::of(&long), every);
    }
}
