//! How common bytes are in benign traffic, roughly. Only a choice between sound conditions hangs on
//! it: a wrong figure costs time, never a match.

use super::{
    alphabet::Alphabet,
    pieces::{Edge, Piece},
};
use crate::ByteSet;

/// How often the string is expected in a text of some tens of bytes.
pub(super) fn literal(piece: &Piece) -> f32 {
    const POSITIONS: f32 = 24.0;
    POSITIONS * string(&piece.bytes) * edge(piece.before) * edge(piece.after)
}

/// How often the string is expected at one position.
pub(super) fn string(bytes: &[u8]) -> f32 {
    bytes.iter().copied().map(byte).product()
}

/// How often a text has a byte of the groups.
pub(super) fn groups(mask: Alphabet) -> f32 {
    let all = mask.bytes();
    let absent = |share: f32, set: &[u8]| if all.intersects(ByteSet::of(set)) { 1.0 - share } else { 1.0 };
    let others = ByteSet::of(b"az09 .-_/:=&?,;\n");
    1.0 - absent(0.97, b"az")
        * absent(0.6, b"09")
        * absent(0.25, b" ")
        * absent(0.2, b".")
        * absent(0.15, b"-")
        * absent(0.12, b"_")
        * absent(0.12, b"/")
        * absent(0.1, b":")
        * absent(0.08, b"=")
        * absent(0.08, b"&?,;")
        * absent(0.02, b"\n")
        * if all.minus(others).is_empty() { 1.0 } else { 0.97 }
}

fn edge(edge: Edge) -> f32 {
    let share: f32 = (0..=u8::MAX)
        .filter(|&byte| edge.bytes.contains(byte) && !byte.is_ascii_uppercase())
        .map(byte)
        .sum();
    (share + if edge.border { 0.1 } else { 0.0 }).min(1.0)
}

fn byte(byte: u8) -> f32 {
    match byte.to_ascii_lowercase() {
        b'e' => 0.085,
        b'a' | b't' | b'i' | b'o' => 0.06,
        b'n' | b's' | b'r' => 0.05,
        b'l' | b'c' | b'd' => 0.035,
        b'u' | b'm' | b'p' | b'h' => 0.025,
        b'g' | b'b' | b'f' | b'y' | b'w' | b'v' => 0.015,
        b'k' | b'x' | b'j' | b'q' | b'z' => 0.005,
        b'0'..=b'9' => 0.02,
        b' ' | b'.' | b'-' | b'_' | b'/' => 0.02,
        b':' | b'=' | b'&' | b',' | b'"' => 0.008,
        0x21..=0x7E => 0.003,
        _ => 0.0005,
    }
}
