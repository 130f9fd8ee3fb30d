//! A bit set of fixed length over 64-bit words, for sets of rules that are met on every value.
//!
//! It allocates when it is made and never again. Bits beyond the length are never set. Words come in
//! blocks of eight, so that what is done to all of them is a few vector instructions.

/// A set of the numbers below a fixed length.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Bits {
    words: Box<[u64]>,
    length: usize,
}

const WORD: usize = 64;
/// Words of a block.
const BLOCK: usize = 8;

/// Does something to each word of one list with the word of the other, of whole blocks.
#[inline]
pub(crate) fn each(words: &mut [u64], others: &[u64], combine: impl Fn(u64, u64) -> u64) {
    let blocks = words.as_chunks_mut::<BLOCK>().0;
    for (block, theirs) in blocks.iter_mut().zip(others.as_chunks::<BLOCK>().0) {
        for (word, their) in block.iter_mut().zip(theirs) {
            *word = combine(*word, *their);
        }
    }
}

impl Bits {
    /// None of the numbers below `length`.
    pub(crate) fn new(length: usize) -> Self {
        Self {
            words: vec![0; length.div_ceil(WORD).next_multiple_of(BLOCK)].into(),
            length,
        }
    }

    /// How many numbers there could be in it.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Puts a number in; one beyond the length is ignored.
    #[inline]
    pub(crate) fn set(&mut self, index: usize) {
        if index < self.length
            && let Some(word) = self.words.get_mut(index / WORD)
        {
            *word |= 1 << (index % WORD);
        }
    }

    /// Whether a number is in.
    #[inline]
    pub(crate) fn contains(&self, index: usize) -> bool {
        self.words
            .get(index / WORD)
            .is_some_and(|word| word >> (index % WORD) & 1 == 1)
    }

    /// Whether any number is in.
    #[cfg(test)]
    pub(crate) fn any(&self) -> bool {
        self.words.iter().any(|&word| word != 0)
    }

    /// How many numbers are in.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.iter_ones().count()
    }

    /// Puts every number in, or takes every one out.
    pub(crate) fn fill(&mut self, present: bool) {
        self.words.fill(0);
        if !present {
            return;
        }
        let (full, rest) = (self.length / WORD, self.length % WORD);
        self.words
            .iter_mut()
            .take(full)
            .for_each(|word| *word = u64::MAX);
        if let Some(last) = self.words.get_mut(full).filter(|_| rest > 0) {
            *last = (1 << rest) - 1;
        }
    }

    /// Becomes `other`, which has the same length.
    #[inline]
    pub(crate) fn copy_from(&mut self, other: &Self) {
        each(&mut self.words, &other.words, |_, theirs| theirs);
    }

    /// Takes those of `other` in.
    #[inline]
    pub(crate) fn or(&mut self, other: &Self) {
        each(&mut self.words, &other.words, |own, theirs| own | theirs);
    }

    /// Takes those of `other` out.
    #[inline]
    pub(crate) fn and_not(&mut self, other: &Self) {
        each(&mut self.words, &other.words, |own, theirs| own & !theirs);
    }

    /// The numbers that are in, ascending.
    #[inline]
    pub(crate) fn iter_ones(&self) -> Ones<'_> {
        Ones {
            words: self.words.iter(),
            word: 0,
            base: 0usize.wrapping_sub(WORD),
        }
    }

    /// The first number that is in, from `from` on.
    #[inline]
    pub(crate) fn next(&self, from: usize) -> Option<usize> {
        let mut at = from / WORD;
        let mut word = self.words.get(at)? & (u64::MAX << (from % WORD));
        while word == 0 {
            at += 1;
            word = *self.words.get(at)?;
        }
        Some(at * WORD + usize::try_from(word.trailing_zeros()).ok()?)
    }

    /// The words, lowest first.
    #[inline]
    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }

    /// The words, for a caller that works on many sets side by side.
    ///
    /// INVARIANT: no bit beyond the length may be set.
    #[inline]
    pub(crate) fn words_mut(&mut self) -> &mut [u64] {
        &mut self.words
    }
}

/// See [`Bits::iter_ones`].
#[derive(Debug)]
pub(crate) struct Ones<'a> {
    words: std::slice::Iter<'a, u64>,
    word: u64,
    base: usize,
}

impl Iterator for Ones<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.word == 0 {
            self.word = *self.words.next()?;
            self.base = self.base.wrapping_add(WORD);
        }
        let bit = usize::try_from(self.word.trailing_zeros()).unwrap_or_default();
        self.word &= self.word - 1;
        Some(self.base + bit)
    }
}

#[cfg(test)]
mod tests {
    use super::Bits;

    fn of(length: usize, numbers: &[usize]) -> Bits {
        let mut bits = Bits::new(length);
        for &number in numbers {
            bits.set(number);
        }
        bits
    }

    #[track_caller]
    fn check(bits: &Bits, expected: &[usize]) {
        assert_eq!(bits.iter_ones().collect::<Vec<_>>(), expected);
        assert_eq!(bits.any(), !expected.is_empty());
        assert_eq!(bits.count(), expected.len());
        for index in 0..bits.length() + 70 {
            assert_eq!(bits.contains(index), expected.contains(&index), "{index}");
            let next = expected.iter().find(|number| **number >= index);
            assert_eq!(bits.next(index), next.copied(), "{index}");
        }
    }

    #[test]
    fn numbers_go_in() {
        check(&Bits::new(0), &[]);
        check(&of(0, &[0]), &[]);
        check(
            &of(200, &[0, 63, 64, 127, 128, 199]),
            &[0, 63, 64, 127, 128, 199],
        );
        check(&of(65, &[64, 65, 66, 1000]), &[64]);
    }

    #[test]
    fn filling_stays_within_the_length() {
        for length in [0, 1, 63, 64, 65, 128, 130] {
            let mut bits = Bits::new(length);
            bits.fill(true);
            check(&bits, &(0..length).collect::<Vec<_>>());
            bits.fill(false);
            check(&bits, &[]);
        }
    }

    #[test]
    fn sets_combine_in_place() {
        let (a, b) = (of(100, &[1, 2, 80]), of(100, &[2, 80, 99]));
        let with = |operate: fn(&mut Bits, &Bits)| {
            let mut bits = a.clone();
            operate(&mut bits, &b);
            bits
        };
        check(&with(Bits::or), &[1, 2, 80, 99]);
        check(&with(Bits::and_not), &[1]);
        check(&with(Bits::copy_from), &[2, 80, 99]);
    }
}
