//! What the walk's notes say about the whole: which properties nobody declared, which the other side
//! alone may set. And two questions about sets that must not become quadratic.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, Hasher, RandomState},
};

use super::{
    constant,
    evaluate::{Mark, push_key},
};
use crate::json::{Decimal, Document, Kind, Range, Value};

/// A set of members or items, by index.
#[derive(Debug)]
pub(super) struct Seen {
    start: u32,
    bits: Vec<u64>,
}

impl Seen {
    fn empty(range: Range) -> Self {
        let words = usize::try_from(range.len / 64 + 1).unwrap_or_default();
        Self {
            start: range.start,
            bits: vec![0; words],
        }
    }

    pub(super) fn members(trail: &[Mark], range: Range) -> Self {
        Self::collect(trail, range, |mark| match mark {
            Mark::Member(index) | Mark::Forbidden(index) => Some(index),
            Mark::Demanded(_)
            | Mark::Item(_)
            | Mark::Declares(_)
            | Mark::ReadOnly(_)
            | Mark::WriteOnly(_) => None,
        })
    }

    pub(super) fn items(trail: &[Mark], range: Range) -> Self {
        Self::collect(trail, range, |mark| match mark {
            Mark::Item(index) => Some(index),
            Mark::Member(_)
            | Mark::Forbidden(_)
            | Mark::Demanded(_)
            | Mark::Declares(_)
            | Mark::ReadOnly(_)
            | Mark::WriteOnly(_) => None,
        })
    }

    fn collect(trail: &[Mark], range: Range, of: fn(Mark) -> Option<u32>) -> Self {
        let mut seen = Self::empty(range);
        for index in trail.iter().copied().filter_map(of) {
            seen.insert(index);
        }
        seen
    }

    fn insert(&mut self, index: u32) {
        let Some(offset) = index.checked_sub(self.start) else {
            return;
        };
        let word = usize::try_from(offset / 64).unwrap_or(usize::MAX);
        if let Some(word) = self.bits.get_mut(word) {
            *word |= 1 << (offset % 64);
        }
    }

    pub(super) fn has(&self, index: u32) -> bool {
        let Some(offset) = index.checked_sub(self.start) else {
            return false;
        };
        let word = usize::try_from(offset / 64).unwrap_or(usize::MAX);
        self.bits
            .get(word)
            .is_some_and(|word| word & (1 << (offset % 64)) != 0)
    }
}

/// The members that no schema evaluated or demands, of objects for which some schema declares
/// properties. Ascending.
pub(crate) fn undeclared(document: &Document<'_>, trail: &[Mark]) -> Vec<u32> {
    let all = Range {
        start: 0,
        len: crate::json::small(document.member_count()),
    };
    let mut known = Seen::empty(all);
    let mut objects: Vec<Range> = Vec::new();
    for mark in trail {
        match mark {
            Mark::Member(index) | Mark::Demanded(index) | Mark::Forbidden(index) => {
                known.insert(*index);
            }
            Mark::Declares(range) => objects.push(*range),
            Mark::Item(_) | Mark::ReadOnly(_) | Mark::WriteOnly(_) => {}
        }
    }
    objects.sort_unstable_by_key(|range| range.start);
    objects.dedup();
    objects
        .into_iter()
        .flat_map(|range| range.start..range.start + range.len)
        .filter(|index| !known.has(*index))
        .collect()
}

/// How many members two stretches of a trail leave undeclared together, forbidden ones included.
pub(super) fn count_undeclared(context: &[Mark], notes: &[Mark]) -> usize {
    let mut known: Vec<u32> = Vec::new();
    let mut objects: Vec<Range> = Vec::new();
    let mut forbidden = 0;
    for mark in context.iter().chain(notes) {
        match mark {
            Mark::Member(index) | Mark::Demanded(index) => known.push(*index),
            Mark::Forbidden(_) => forbidden += 1,
            Mark::Declares(range) => objects.push(*range),
            Mark::Item(_) | Mark::ReadOnly(_) | Mark::WriteOnly(_) => {}
        }
    }
    known.sort_unstable();
    objects.sort_unstable_by_key(|range| range.start);
    objects.dedup();
    let open = objects
        .into_iter()
        .flat_map(|range| range.start..range.start + range.len)
        .filter(|index| known.binary_search(index).is_err())
        .count();
    open + forbidden
}

/// Where a member stands, from the root: `.items[3].name`. Only for messages: it looks through the
/// whole document.
pub(crate) fn location(document: &Document<'_>, index: u32) -> String {
    let mut out = String::new();
    find(document, document.root(), index, &mut out);
    out
}

fn find(document: &Document<'_>, value: &Value<'_>, wanted: u32, out: &mut String) -> bool {
    let length = out.len();
    match &value.kind {
        Kind::Object(range) => {
            for (index, member) in (range.start..).zip(document.members(*range)) {
                push_key(out, &member.key);
                if index == wanted || find(document, &member.value, wanted, out) {
                    return true;
                }
                out.truncate(length);
            }
        }
        Kind::Array(range) => {
            for (index, item) in document.items(*range).iter().enumerate() {
                out.push_str(&format!("[{index}]"));
                if find(document, item, wanted, out) {
                    return true;
                }
                out.truncate(length);
            }
        }
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => {}
    }
    false
}

/// Arrays of at most this many items are compared pair by pair.
const FEW_ITEMS: usize = 8;

/// Whether no two items are equal as JSON. Hashing is keyed afresh, so that no choice of items makes
/// it slow.
pub(super) fn unique(document: &Document<'_>, items: &[Value<'_>]) -> bool {
    if items.len() <= FEW_ITEMS {
        return items.iter().enumerate().all(|(index, item)| {
            items
                .iter()
                .take(index)
                .all(|other| !constant::equal(document, item, other))
        });
    }
    let state = RandomState::new();
    let mut buckets: HashMap<u64, Vec<&Value<'_>>> = HashMap::with_capacity(items.len());
    for item in items {
        let bucket = buckets.entry(hash(document, item, &state)).or_default();
        if bucket
            .iter()
            .any(|other| constant::equal(document, item, other))
        {
            return false;
        }
        bucket.push(item);
    }
    true
}

/// Equal values have equal hashes: numbers by value, objects without order.
fn hash(document: &Document<'_>, value: &Value<'_>, state: &RandomState) -> u64 {
    let mut hasher = state.build_hasher();
    match &value.kind {
        Kind::Null => 0_u8.hash(&mut hasher),
        Kind::Bool(value) => (1_u8, value).hash(&mut hasher),
        Kind::Number(text) => (2_u8, Decimal::parse(text)).hash(&mut hasher),
        Kind::String(text) => (3_u8, &**text).hash(&mut hasher),
        Kind::Array(range) => {
            4_u8.hash(&mut hasher);
            for item in document.items(*range) {
                hash(document, item, state).hash(&mut hasher);
            }
        }
        Kind::Object(range) => {
            let sum = document.members(*range).iter().fold(0_u64, |sum, member| {
                let pair = (&*member.key, hash(document, &member.value, state));
                sum.wrapping_add(state.hash_one(pair))
            });
            (5_u8, sum).hash(&mut hasher);
        }
    }
    hasher.finish()
}
