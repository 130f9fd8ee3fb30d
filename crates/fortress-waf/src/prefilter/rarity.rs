//! How common bytes are in benign traffic, roughly. Only a choice between sound conditions hangs on
//! it: a wrong figure costs time, never a match.

use super::{
    alphabet::Alphabet,
    pieces::{Edge, Piece},
};
/// How often the string is expected in a text of some tens of bytes.
pub(super) fn literal(piece: &Piece) -> f32 {
    const POSITIONS: f32 = 24.0;
    POSITIONS * string(&piece.bytes) * edge(piece.before) * edge(piece.after)
}

/// How often the string is expected at one position.
pub(super) fn string(bytes: &[u8]) -> f32 {
    bytes.iter().copied().map(byte).product()
}

/// How often bytes of the same kinds are expected at one position: any digit stands for all.
pub(super) fn classes(bytes: &[u8]) -> f32 {
    let one = |&it: &u8| if it.is_ascii_digit() { 0.15 } else { byte(it) };
    bytes.iter().map(one).product()
}

/// How often a text has a byte of the groups.
pub(super) fn groups(mask: Alphabet) -> f32 {
    const SHARES: [(&[u8], f32); 11] = [
        (b"a", 0.97),
        (b"0", 0.6),
        (b" ", 0.25),
        (b".", 0.2),
        (b"-", 0.15),
        (b"_", 0.12),
        (b"/", 0.12),
        (b":", 0.1),
        (b"=", 0.08),
        (b"&?,;", 0.08),
        (b"\n", 0.02),
    ];
    let mut rest = mask;
    let mut absent = 1.0;
    for (bytes, share) in SHARES {
        let these = Alphabet::of(bytes);
        if mask.intersects(these) {
            absent *= 1.0 - share;
            rest = rest.minus(these);
        }
    }
    let others = if rest == Alphabet::default() {
        1.0
    } else {
        0.97
    };
    1.0 - absent * others
}

fn edge(edge: Edge) -> f32 {
    if edge == Edge::ANY {
        return 1.0;
    }
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
