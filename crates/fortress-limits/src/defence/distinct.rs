//! How many different things were seen, in a fixed number of bits.
//!
//! Each thing's hash names a bit. A bit that was not set yet stands for as many new things as it
//! took, by chance, to meet an unset one: the size of the map divided by the bits that were unset.
//! So nothing but the bits and one sum is kept, and nothing of what was seen can be read back.
//! The error at the sizes used here is some per cent; a full map counts no further.

/// Parts of one in the sum.
const PARTS: u32 = 256;

/// A map of `64 * WORDS` bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Distinct<const WORDS: usize> {
    bits: [u64; WORDS],
    set: u32,
    /// In parts of one.
    sum: u32,
}

impl<const WORDS: usize> Default for Distinct<WORDS> {
    fn default() -> Self {
        Self {
            bits: [0; WORDS],
            set: 0,
            sum: 0,
        }
    }
}

impl<const WORDS: usize> Distinct<WORDS> {
    /// Sees something by its hash; true if nothing with its bit was seen before.
    pub(super) fn see(&mut self, hash: u64) -> bool {
        let words = u64::try_from(WORDS).unwrap_or(1).max(1);
        let size = words.saturating_mul(64);
        let bit = hash % size;
        let word = usize::try_from(bit / 64)
            .ok()
            .and_then(|at| self.bits.get_mut(at));
        let Some(word) = word else { return false };
        let mask = 1 << (bit % 64);
        if *word & mask != 0 {
            return false;
        }
        *word |= mask;
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let unset = size.saturating_sub(self.set).max(1);
        self.sum = self.sum.saturating_add(size.saturating_mul(PARTS) / unset);
        self.set = self.set.saturating_add(1);
        true
    }

    /// How many were seen, about.
    pub(super) fn count(&self) -> u32 {
        self.sum / PARTS
    }

    pub(super) fn is_empty(&self) -> bool {
        self.set == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u64) -> u64 {
        let mixed = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed ^ (mixed >> 29)
    }

    #[track_caller]
    fn check<const WORDS: usize>(things: u64, per_cent: u64) {
        let mut seen: Distinct<WORDS> = Distinct::default();
        for _ in 0..3 {
            for number in 0..things {
                seen.see(hash(number));
            }
        }
        let error = u64::from(seen.count()).abs_diff(things);
        assert!(
            error * 100 <= things * per_cent,
            "{} instead of {things}",
            seen.count()
        );
    }

    #[test]
    fn counts_are_near() {
        check::<2>(1, 0);
        check::<2>(10, 20);
        check::<2>(100, 25);
        check::<16>(50, 10);
        check::<16>(1_000, 10);
        check::<128>(100, 5);
        check::<128>(10_000, 5);
        assert!(Distinct::<2>::default().is_empty());
    }

    #[test]
    fn a_full_map_counts_no_further() {
        let mut seen: Distinct<2> = Distinct::default();
        for number in 0..100_000 {
            seen.see(hash(number));
        }
        assert!((400..2_000).contains(&seen.count()), "{}", seen.count());
    }
}
