//! Paths without empty segments, `.` and `..`.
//!
//! `..` never climbs above the root; at the beginning of a relative path it stays.

use memchr::memrchr;

/// Normalises a path whose segments are divided by any of what `divides`.
pub(super) fn normalize(input: &[u8], divides: fn(u8) -> bool, out: &mut Vec<u8>) -> bool {
    if is_normal(input, divides) {
        return false;
    }
    let start = out.len();
    out.reserve(input.len());
    let absolute = input.first().is_some_and(|byte| divides(*byte));
    if absolute {
        out.push(b'/');
    }
    // Each segment that is kept stands behind `floor` with a slash after it.
    let floor = out.len();
    for segment in input.split(|byte| divides(*byte)) {
        match segment {
            b"" | b"." => {}
            b".." => climb(out, floor, absolute),
            name => {
                out.extend_from_slice(name);
                out.push(b'/');
            }
        }
    }
    // A slash at the end is there if it was; and the last segment may have been the only one.
    if input.last().is_some_and(|byte| !divides(*byte)) && out.len() > start {
        out.pop();
    }
    if out.get(start..) == Some(input) {
        out.truncate(start);
        return false;
    }
    true
}

/// Takes the last segment away, if there is one that can be.
fn climb(out: &mut Vec<u8>, floor: usize, absolute: bool) {
    match out.get(floor..).unwrap_or_default() {
        [names @ .., b'/'] if !ends_with_parent(names) => {
            let last = memrchr(b'/', names).map_or(0, |slash| slash + 1);
            out.truncate(floor + last);
        }
        _ if absolute => {}
        _ => out.extend_from_slice(b"../"),
    }
}

fn ends_with_parent(names: &[u8]) -> bool {
    matches!(names, b".." | [.., b'/', b'.', b'.'])
}

/// Whether no segment is empty or begins with a dot, and every divider is a slash. Most paths are
/// so, and cost one look.
fn is_normal(input: &[u8], divides: fn(u8) -> bool) -> bool {
    let mut begins = false;
    for byte in input {
        let divider = divides(*byte);
        if divider && (begins || *byte != b'/') || begins && *byte == b'.' {
            return false;
        }
        begins = divider;
    }
    input.first() != Some(&b'.')
}
