//! How a cookie's content is written: a version, then numbers of eight bytes, and texts behind their
//! length. What was not written here does not decrypt, so reading need not be generous.

use fortress_model::{Secret, Timestamp};

const VERSION: u8 = 1;

/// Writes fields one after the other.
pub(super) struct Writer(Vec<u8>);

impl Default for Writer {
    fn default() -> Self {
        Self(vec![VERSION])
    }
}

impl Writer {
    pub(super) fn number(&mut self, number: u64) {
        self.0.extend(number.to_be_bytes());
    }

    pub(super) fn time(&mut self, time: Timestamp) {
        self.number(time.0);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.number(u64::try_from(text.len()).unwrap_or(u64::MAX));
        self.0.extend(text.as_bytes());
    }

    pub(super) fn into_secret(self) -> Secret<Vec<u8>> {
        Secret::new(self.0)
    }
}

/// Reads them in the same order.
pub(super) struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    /// `None` for another version.
    pub(super) fn new(bytes: &'b [u8]) -> Option<Self> {
        let (&version, rest) = bytes.split_first()?;
        (version == VERSION).then_some(Self(rest))
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*number))
    }

    pub(super) fn time(&mut self) -> Option<Timestamp> {
        self.number().map(Timestamp)
    }

    pub(super) fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }

    /// Nothing is left.
    pub(super) fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}
