//! Draws texts that a pattern may match: strings of its own tree, mutated, in surroundings.

use regex_syntax::hir::{Class, Hir, HirKind, Repetition};

/// A sequence that looks random and is always the same (SplitMix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap();
        usize::try_from(self.next() % end).unwrap()
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }

    pub(super) fn of<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }
}

/// One string of the tree; assertions are as good as nothing, so it need not match. `turn` counts
/// the strings of a pattern: long alternations are gone through branch by branch.
pub(super) fn string(hir: &Hir, turn: usize, random: &mut Random) -> Vec<u8> {
    let mut out = Vec::new();
    // Every third is as short as can be: it has what is necessary and nothing else.
    let more = if turn.is_multiple_of(3) { 0 } else { 3 };
    append(hir, turn / 3, more, random, &mut out);
    out
}

fn append(hir: &Hir, turn: usize, more: usize, random: &mut Random, out: &mut Vec<u8>) {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => out.extend_from_slice(&literal.0),
        HirKind::Class(Class::Bytes(class)) => {
            // Ranges first: else `a` would be one of 200 in `[^\s"a]`.
            let ranges = class.ranges();
            if let Some(range) = ranges.get(random.below(ranges.len())) {
                let size = usize::from(range.end() - range.start()) + 1;
                let over = u8::try_from(random.below(size)).unwrap();
                out.push(range.start() + over);
            }
        }
        HirKind::Class(Class::Unicode(_)) => {}
        HirKind::Repetition(repetition) => {
            for _ in 0..rounds(repetition, more, random) {
                append(&repetition.sub, turn, more, random, out);
            }
        }
        HirKind::Capture(capture) => append(&capture.sub, turn, more, random, out),
        HirKind::Concat(parts) => {
            for part in parts {
                append(part, turn, more, random, out);
            }
        }
        HirKind::Alternation(parts) => {
            let branch = if random.one_in(2) {
                turn
            } else {
                random.below(parts.len())
            };
            append(
                &parts[branch % parts.len()],
                turn / parts.len(),
                more,
                random,
                out,
            );
        }
    }
}

fn rounds(repetition: &Repetition, more: usize, random: &mut Random) -> usize {
    let min = usize::try_from(repetition.min).unwrap();
    let most = repetition
        .max
        .map_or(usize::MAX, |max| usize::try_from(max).unwrap());
    (min + random.below(more + 1)).min(most)
}

/// Small changes, most of the time none or one.
pub(super) fn mutate(text: &mut Vec<u8>, random: &mut Random) {
    const PUT: &[u8] = b"\0\xff '\"\n;a0_-/";
    for _ in 0..random.below(6).saturating_sub(3) {
        let at = random.below(text.len() + 1);
        let put = PUT[random.below(PUT.len())];
        match random.below(6) {
            0 => text.insert(at, put),
            1 if at < text.len() => text[at] = put,
            2 if at < text.len() => drop(text.remove(at)),
            3 if at + 1 < text.len() => text.swap(at, at + 1),
            4 => text
                .iter_mut()
                .step_by(2)
                .for_each(|byte| *byte = other_case(*byte)),
            5 => text.iter_mut().for_each(|byte| *byte = other_case(*byte)),
            _ => {}
        }
    }
}

pub(super) fn other_case(byte: u8) -> u8 {
    if byte.is_ascii_alphabetic() {
        byte ^ 0x20
    } else {
        byte
    }
}

/// The text in benign or in random surroundings, or by itself.
pub(super) fn surround(text: &[u8], random: &mut Random) -> Vec<u8> {
    const BENIGN: &[&[u8]] = &[
        b"",
        b"",
        b" ",
        b"\n",
        b"=",
        b"name=",
        b"a word ",
        b"\"",
        b"; ",
        b"x",
        b"0",
        b"Mozilla/5.0 (X11; Linux x86_64) ",
        b"https://example.com/",
        b"json.12.items.3.name",
    ];
    // Much of the rule set is anchored at both ends.
    if random.one_in(2) {
        return text.to_vec();
    }
    let mut side = || match random.below(4) {
        0 => Vec::new(),
        1 => (0..random.below(8)).map(|_| random.byte()).collect(),
        _ => random.of(BENIGN).to_vec(),
    };
    [&side(), text, &side()].concat()
}

/// A pattern of a few bytes.
pub(super) fn pattern(depth: usize, random: &mut Random) -> String {
    let mut out = String::new();
    for part in 0..=random.below(4) {
        if part > 0 && random.below(4) == 0 {
            out.push('|');
        }
        if depth > 0 && random.below(3) == 0 {
            out.push_str(&format!("(?:{})", pattern(depth - 1, random)));
        } else {
            let atom = random.of(ATOMS);
            out.push_str(&format!("(?:{atom})"));
        }
        out.push_str(random.of(SUFFIXES));
    }
    out
}

const ATOMS: &[&str] = &[
    "a",
    "b",
    "ab",
    "bc",
    "abc",
    ".",
    "[ab]",
    "[^a]",
    r"\b",
    r"\B",
    "^",
    "$",
    ";",
    "()",
    "B",
    r"\s",
    "c;",
    "(?:abcab)",
    r"[a-c;\x00]",
    r"(?m:^)",
    r"(?m:$)",
];
const SUFFIXES: &[&str] = &[
    "", "", "", "", "?", "*", "+", "{2}", "{0}", "{1,3}", "{2,}", "??",
];
