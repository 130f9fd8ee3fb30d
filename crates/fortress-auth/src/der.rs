//! The least of DER (X.690) that certificates and public keys need: one value after another, each
//! in its only spelling. Deliberately not here: what a value means, and tags above 30.

/// Why bytes are not DER. Never holds any of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Malformed;

/// Reads values from the front of what is left.
#[derive(Clone, Copy)]
pub(crate) struct Der<'a> {
    rest: &'a [u8],
}

impl<'a> Der<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Tag and contents of the next value.
    pub(crate) fn next(&mut self) -> Result<(u8, &'a [u8]), Malformed> {
        let (&tag, rest) = self.rest.split_first().ok_or(Malformed)?;
        if tag & 0x1f == 0x1f {
            return Err(Malformed);
        }
        let (&first, rest) = rest.split_first().ok_or(Malformed)?;
        let (length, rest) = if first < 0x80 {
            (usize::from(first), rest)
        } else {
            long_length(first & 0x7f, rest)?
        };
        let (contents, rest) = rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok((tag, contents))
    }

    /// Contents of the next value, which must have this tag.
    pub(crate) fn take(&mut self, tag: u8) -> Result<&'a [u8], Malformed> {
        let (found, contents) = self.next()?;
        if found == tag {
            Ok(contents)
        } else {
            Err(Malformed)
        }
    }

    /// Contents of the next value if it has this tag; otherwise it stays.
    pub(crate) fn take_if(&mut self, tag: u8) -> Result<Option<&'a [u8]>, Malformed> {
        if self.rest.first() == Some(&tag) {
            self.take(tag).map(Some)
        } else {
            Ok(None)
        }
    }
}

/// A length in the long form: as few digits as there can be, and none that the short form has.
fn long_length(digits: u8, rest: &[u8]) -> Result<(usize, &[u8]), Malformed> {
    // Four gigabytes are more than anything that is read here.
    if !(1..=4).contains(&digits) {
        return Err(Malformed);
    }
    let (digits, rest) = rest
        .split_at_checked(usize::from(digits))
        .ok_or(Malformed)?;
    let length = digits
        .iter()
        .try_fold(0_usize, |length, &digit| {
            length.checked_mul(256)?.checked_add(usize::from(digit))
        })
        .ok_or(Malformed)?;
    if length < 0x80 || digits.first() == Some(&0) {
        return Err(Malformed);
    }
    Ok((length, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expect: Result<(u8, usize), Malformed>) {
        let found = Der::new(bytes).next();
        assert_eq!(found.map(|(tag, contents)| (tag, contents.len())), expect);
    }

    #[test]
    fn a_length_has_one_spelling() {
        check(&[0x04, 0], Ok((4, 0)));
        check(&[0x04, 1, 9], Ok((4, 1)));
        check(&[&[0x04, 0x81, 0x80][..], &[0; 128]].concat(), Ok((4, 128)));
        check(&[&[0x04, 0x82, 1, 0][..], &[0; 256]].concat(), Ok((4, 256)));
        check(&[], Err(Malformed));
        check(&[0x04], Err(Malformed));
        check(&[0x04, 2, 9], Err(Malformed));
        // Indefinite, padded, long for short, too long to exist, and a tag of several bytes.
        check(&[0x30, 0x80, 0, 0], Err(Malformed));
        check(
            &[&[0x04, 0x82, 0, 0x80][..], &[0; 128]].concat(),
            Err(Malformed),
        );
        check(&[0x04, 0x81, 1, 9], Err(Malformed));
        check(&[0x04, 0x85, 1, 0, 0, 0, 0], Err(Malformed));
        check(&[0x04, 0x84, 0xff, 0xff, 0xff, 0xff], Err(Malformed));
        check(&[0x1f, 0x81, 1, 9], Err(Malformed));
    }
}
