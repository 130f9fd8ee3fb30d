//! Who walks through ids: how many different objects a principal asked for that it may not see or
//! that do not exist.
//!
//! Somebody who follows links meets a handful of those; whoever tries ids meets little else. Counted
//! over this window and, fading, the one before.

use std::time::Duration;

use super::{
    distinct::Distinct,
    nanos,
    table::{Table, Worth},
};
use crate::Key;

/// Principals that are watched at once.
const PRINCIPALS: usize = 1 << 14;

/// How many objects, in which time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WalkRule {
    /// Different objects.
    pub distinct: u32,
    /// The window.
    pub within: Duration,
}

/// The objects of all principals.
#[derive(Debug)]
pub struct Walks(Table<Walk>);

#[derive(Clone, Copy, Debug, Default)]
struct Walk {
    began: u64,
    ends: u64,
    seen: Distinct<16>,
    before: u32,
}

impl Default for Walks {
    fn default() -> Self {
        Self(Table::new(PRINCIPALS))
    }
}

impl Walks {
    /// How long a principal has to wait that saw too many; `None` if it did not.
    pub fn refused(&self, who: Key, rule: &WalkRule, now: u64) -> Option<Duration> {
        let mut walk = self.0.get(who);
        walk.roll(rule, now);
        (walk.count(now) >= rule.distinct)
            .then(|| Duration::from_nanos(walk.ends.saturating_sub(now).max(1)))
    }

    /// How many different objects a principal asked for that it may not see or that are not there.
    pub fn count(&self, who: Key, rule: &WalkRule, now: u64) -> u32 {
        let mut walk = self.0.get(who);
        walk.roll(rule, now);
        walk.count(now)
    }

    /// A principal was refused an object, or there is no such object; how many it were by now.
    pub fn note(&self, who: Key, object: Key, rule: &WalkRule, now: u64) -> u32 {
        self.0.with(who, now, |walk| {
            walk.roll(rule, now);
            walk.seen.see(object.to_halves().0);
            walk.count(now)
        })
    }

    /// Forgets what is over.
    pub fn tidy(&self, now: u64) {
        self.0.tidy(now);
    }

    /// Bytes of the table.
    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }
}

impl Walk {
    fn roll(&mut self, rule: &WalkRule, now: u64) {
        if now < self.ends {
            return;
        }
        let window = nanos(rule.within).max(1);
        let follows = now.saturating_sub(self.ends) < window && self.ends > 0;
        let before = if follows { self.seen.count() } else { 0 };
        let began = if follows { self.ends } else { now };
        *self = Self {
            began,
            ends: began.saturating_add(window),
            seen: Distinct::default(),
            before,
        };
    }

    fn count(&self, now: u64) -> u32 {
        let window = u128::from(self.ends.saturating_sub(self.began).max(1));
        let left = u128::from(self.ends.saturating_sub(now)).min(window);
        let fading = u128::from(self.before) * left / window;
        self.seen
            .count()
            .saturating_add(u32::try_from(fading).unwrap_or(u32::MAX))
    }
}

impl Worth for Walk {
    fn worth(&self, now: u64) -> u64 {
        let window = self.ends.saturating_sub(self.began);
        let is_over = now >= self.ends.saturating_add(window);
        if is_over {
            0
        } else {
            1 + u64::from(self.seen.count()) + u64::from(self.before)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: WalkRule = WalkRule {
        distinct: 50,
        within: Duration::from_secs(600),
    };
    const SECOND: u64 = 1_000_000_000;

    fn key(number: u64) -> Key {
        let mixed = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Key::from_halves(mixed ^ (mixed >> 29), mixed)
    }

    #[test]
    fn ids_in_a_row_are_a_walk_and_the_same_one_is_not() {
        let walks = Walks::default();
        for _ in 0..10_000 {
            walks.note(key(1), key(7), &RULE, 0);
        }
        assert_eq!(walks.refused(key(1), &RULE, 0), None);
        let stopped = (0..1_000).position(|id| {
            walks.note(key(2), key(id), &RULE, 0);
            walks.refused(key(2), &RULE, 0).is_some()
        });
        assert!((45..56).contains(&stopped.unwrap()), "{stopped:?}");
        assert_eq!(walks.refused(key(1), &RULE, 0), None);
    }

    #[test]
    fn a_walk_over_an_edge_is_still_one() {
        let walks = Walks::default();
        for id in 0..40 {
            walks.note(key(1), key(id), &RULE, 599 * SECOND);
        }
        for id in 40..80 {
            walks.note(key(1), key(id), &RULE, 1_200 * SECOND);
        }
        assert!(walks.refused(key(1), &RULE, 1_200 * SECOND).is_some());
        // Both windows are over.
        assert_eq!(walks.refused(key(1), &RULE, 3_000 * SECOND), None);
    }

    #[test]
    fn memory_is_flat() {
        let walks = Walks::default();
        let bytes = walks.bytes();
        for who in 0..100_000 {
            walks.note(key(who), key(1), &RULE, 0);
        }
        assert_eq!(walks.bytes(), bytes);
        walks.tidy(10_000 * SECOND);
        assert_eq!(walks.refused(key(5), &RULE, 10_000 * SECOND), None);
    }
}
