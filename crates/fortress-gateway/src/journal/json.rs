//! Writes JSON by hand into a byte buffer: for a record of known shape that is several times
//! cheaper than a general serialiser, and the thread that writes serves every worker.
//!
//! Deliberately not here: any knowledge of what is written (that is `ocsf`), and reading.

/// Appends JSON to a buffer. Commas are put where they belong; balance is up to the caller.
pub(super) struct Json<'a> {
    out: &'a mut Vec<u8>,
    cut: bool,
}

impl<'a> Json<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, cut: false }
    }

    /// Whether a text was longer than its bound.
    pub(super) fn was_cut(&self) -> bool {
        self.cut
    }

    /// Opens the object that is the whole line.
    pub(super) fn line(&mut self) {
        self.out.push(b'{');
    }

    /// Closes the line.
    pub(super) fn end_line(&mut self) {
        self.out.extend_from_slice(b"}\n");
    }

    pub(super) fn object(&mut self, key: &'static str) {
        self.key(key);
        self.out.push(b'{');
    }

    pub(super) fn end_object(&mut self) {
        self.out.push(b'}');
    }

    pub(super) fn array(&mut self, key: &'static str) {
        self.key(key);
        self.out.push(b'[');
    }

    pub(super) fn end_array(&mut self) {
        self.out.push(b']');
    }

    /// An object as an item of an array.
    pub(super) fn item_object(&mut self) {
        self.separate();
        self.out.push(b'{');
    }

    /// A text as an item of an array.
    pub(super) fn item_text(&mut self, text: &str, bound: usize) {
        self.separate();
        self.quoted(text, bound);
    }

    pub(super) fn number(&mut self, key: &'static str, value: impl Into<u64>) {
        self.key(key);
        let mut digits = itoa::Buffer::new();
        self.out
            .extend_from_slice(digits.format(value.into()).as_bytes());
    }

    pub(super) fn flag(&mut self, key: &'static str, value: bool) {
        self.key(key);
        self.out
            .extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// A text of our own, which is known to need no escape.
    pub(super) fn word(&mut self, key: &'static str, word: &'static str) {
        self.key(key);
        self.out.push(b'"');
        self.out.extend_from_slice(word.as_bytes());
        self.out.push(b'"');
    }

    /// A text of at most `bound` bytes, escaped; the rest is cut off and an ellipsis says so.
    pub(super) fn text(&mut self, key: &'static str, text: &str, bound: usize) {
        self.key(key);
        self.quoted(text, bound);
    }

    /// Something that can print itself and is short by its nature, such as an address.
    pub(super) fn display(&mut self, key: &'static str, value: impl std::fmt::Display) {
        self.text(key, &value.to_string(), 256);
    }

    fn key(&mut self, key: &'static str) {
        self.separate();
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// A value is never followed by another without a comma, and an opening bracket or colon is
    /// never followed by one. Texts end in a quote, so that the last byte tells.
    fn separate(&mut self) {
        if !matches!(self.out.last(), Some(b'{' | b'[' | b':') | None) {
            self.out.push(b',');
        }
    }

    fn quoted(&mut self, text: &str, bound: usize) {
        let kept = prefix(text, bound);
        self.out.push(b'"');
        escape(self.out, kept);
        if kept.len() < text.len() {
            self.cut = true;
            self.out.extend_from_slice("…".as_bytes());
        }
        self.out.push(b'"');
    }
}

/// The longest prefix of at most `bound` bytes that ends between characters.
fn prefix(text: &str, bound: usize) -> &str {
    text.get(..text.floor_char_boundary(bound)).unwrap_or(text)
}

/// Escapes what JSON demands (RFC 8259, section 7), and everything else that could act on the
/// terminal or the viewer that shows the line: C1 controls, line separators, and the marks that
/// reverse the direction of text.
fn escape(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut rest = bytes;
    while let Some(place) = rest.iter().position(|&byte| suspicious(byte)) {
        let (plain, special) = rest.split_at(place);
        out.extend_from_slice(plain);
        let at = bytes.len() - special.len();
        let Some(character) = text.get(at..).and_then(|from| from.chars().next()) else {
            return;
        };
        escape_one(out, character);
        rest = special.get(character.len_utf8()..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

/// The first byte of a character that may need an escape. `C2`, `D8`, `E2` and `EF` lead harmless
/// characters too; [`escape_one`] tells them apart.
fn suspicious(byte: u8) -> bool {
    byte < 0x20 || matches!(byte, b'"' | b'\\' | 0x7F | 0xC2 | 0xD8 | 0xE2 | 0xEF)
}

fn escape_one(out: &mut Vec<u8>, character: char) {
    match character {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        '\0'..='\u{1F}'
        | '\u{7F}'..='\u{9F}'
        | '\u{61C}'
        | '\u{200B}'..='\u{200F}'
        | '\u{2028}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}'
        | '\u{FEFF}' => {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            let code = u32::from(character);
            out.extend_from_slice(b"\\u");
            for shift in [12, 8, 4, 0] {
                let digit = usize::try_from((code >> shift) & 15).unwrap_or_default();
                out.push(HEX.get(digit).copied().unwrap_or(b'0'));
            }
        }
        other => {
            let mut encoded = [0; 4];
            out.extend_from_slice(other.encode_utf8(&mut encoded).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let mut out = Vec::new();
        Json::new(&mut out).item_text(text, 16);
        assert_eq!(String::from_utf8(out).unwrap(), expect);
    }

    #[test]
    fn texts_are_escaped_and_bounded() {
        check("", r#""""#);
        check("plain", r#""plain""#);
        check("a\"b\\c", r#""a\"b\\c""#);
        check("a\nb\r\tc", r#""a\nb\r\tc""#);
        check("\0\u{1b}[2J", r#""\u0000\u001b[2J""#);
        check("\u{7f}\u{85}\u{9b}", r#""\u007f\u0085\u009b""#);
        check("a\u{2028}b", r#""a\u2028b""#);
        check("\u{202e}gnp", r#""\u202egnp""#);
        check("\u{feff}x", r#""\ufeffx""#);
        check("é√ü", r#""é√ü""#);
        check("…\u{2027}", "\"…\u{2027}\"");
        check("0123456789abcdef", r#""0123456789abcdef""#);
        check("0123456789abcdefg", r#""0123456789abcdef…""#);
        check("0123456789abcdeé", r#""0123456789abcde…""#);
    }

    #[test]
    fn commas_stand_between_values_only() {
        let mut out = b"{}\n".to_vec();
        let mut json = Json::new(&mut out);
        json.line();
        json.number("a", 1u32);
        json.array("b");
        json.item_text("[", 9);
        json.item_object();
        json.flag("c", true);
        json.end_object();
        json.end_array();
        json.object("d");
        json.end_object();
        json.word("e", "f");
        json.end_line();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{}\n{\"a\":1,\"b\":[\"[\",{\"c\":true}],\"d\":{},\"e\":\"f\"}\n"
        );
    }
}
