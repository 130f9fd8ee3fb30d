//! Who walks through ids: how many different objects a principal asked for that it may not see or
//! that do not exist.
//!
//! Somebody who follows links meets a handful of those; whoever tries ids meets little else. Counted
//! over this window and, fading, the one before.
//!
//! **What is asked for counts until it is judged.** Of objects that nobody has answered for yet a
//! caller has no more in flight than it has misses left; whatever it asks for beyond that waits for
//! an answer. So five hundred ids at once do not pass before the first is noted, and a page of two
//! hundred pictures is loaded all the same, a few at a time. Whoever was shown objects of its own in
//! this window has as many more in flight, up to [`TRUST`] times the limit: a partner's server is not
//! kept to a browser's pace.

use std::time::Duration;

use super::{
    distinct::Distinct,
    nanos,
    table::{Table, Worth},
};
use crate::Key;

/// Principals that are watched at once.
const PRINCIPALS: usize = 1 << 14;

/// Objects in flight of a caller that was shown many of its own, in limits. Whoever has so many of
/// its own and tries ids gets no more than this before the first is noted.
const TRUST: u32 = 4;

/// How long an object counts that nobody answered for, once or twice over: its client hung up, or the
/// upstream is slow. It is no miss, since who scrolls through pictures hangs up on many; and it is not
/// given back at once, since whoever deletes by trying ids need not wait for the answer.
const UNANSWERED: u64 = 2_000_000_000;

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

/// An object that was asked for and is in flight.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InFlight(u64);

/// Why an object cannot be asked for now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NotNow {
    /// Too many were refused or not there; for so long.
    Walked(Duration),
    /// As many are in flight as may be, after so many misses.
    InFlight(u32),
}

#[derive(Clone, Copy, Debug, Default)]
struct Walk {
    began: u64,
    ends: u64,
    seen: Distinct<16>,
    before: u32,
    /// Objects of its own in this window.
    own: Distinct<4>,
    pending: Pending,
}

/// What is in flight, by when it was asked for: in this stretch of [`UNANSWERED`], and in the last.
#[derive(Clone, Copy, Debug, Default)]
struct Pending {
    stretch: u64,
    now: u32,
    before: u32,
}

impl Default for Walks {
    fn default() -> Self {
        Self(Table::new(PRINCIPALS))
    }
}

impl Walks {
    /// Asks for an object; if it may be, it counts as in flight until [`Walks::judged`].
    ///
    /// # Errors
    /// It may not; nothing is counted then.
    pub fn ask(&self, who: Key, rule: &WalkRule, now: u64) -> Result<InFlight, NotNow> {
        self.0.with(who, now, |walk| {
            walk.roll(rule, now);
            let misses = walk.count(now);
            if misses >= rule.distinct {
                let wait = Duration::from_nanos(walk.ends.saturating_sub(now).max(1));
                return Err(NotNow::Walked(wait));
            }
            let trusted = rule.distinct.saturating_mul(TRUST.saturating_sub(1));
            let room = (rule.distinct - misses).saturating_add(walk.own.count().min(trusted));
            if walk.pending.count(now) >= room {
                return Err(NotNow::InFlight(misses));
            }
            Ok(walk.pending.add(now))
        })
    }

    /// Asks for an object whatever there is in flight and was missed.
    pub fn ask_anyway(&self, who: Key, now: u64) -> InFlight {
        self.0.with(who, now, |walk| walk.pending.add(now))
    }

    /// An object is not in flight any more; `own` if it is the principal's.
    pub fn judged(&self, who: Key, asked: InFlight, own: Option<Key>) {
        self.0.if_there(who, |walk| {
            walk.pending.take_back(asked);
            if let Some(own) = own {
                walk.own.see(own.to_halves().0);
            }
        });
    }

    /// A principal was refused an object, or there is no such object; true if it is one more. No miss is
    /// counted elsewhere.
    pub fn note(&self, who: Key, object: Key, rule: &WalkRule, now: u64) -> bool {
        self.0.with(who, now, |walk| {
            walk.roll(rule, now);
            walk.seen.see(object.to_halves().0)
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
            own: Distinct::default(),
            pending: self.pending,
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

impl Pending {
    fn count(&mut self, now: u64) -> u32 {
        self.roll(now);
        self.now.saturating_add(self.before)
    }

    fn add(&mut self, now: u64) -> InFlight {
        self.roll(now);
        self.now = self.now.saturating_add(1);
        InFlight(self.stretch)
    }

    /// What was asked for too long ago is not counted any more.
    fn take_back(&mut self, asked: InFlight) {
        if asked.0 == self.stretch {
            self.now = self.now.saturating_sub(1);
        } else if asked.0.saturating_add(1) == self.stretch {
            self.before = self.before.saturating_sub(1);
        }
    }

    fn roll(&mut self, now: u64) {
        let stretch = now / UNANSWERED;
        if stretch <= self.stretch {
            return;
        }
        let follows = self.stretch.saturating_add(1) == stretch;
        *self = Self {
            stretch,
            now: 0,
            before: if follows { self.now } else { 0 },
        };
    }
}

impl Worth for Walk {
    /// Callers are many and misses are few: what is in flight gives way to any miss.
    fn worth(&self, now: u64) -> u64 {
        let window = self.ends.saturating_sub(self.began);
        let misses = if now >= self.ends.saturating_add(window) {
            0
        } else {
            u64::from(self.seen.count()) + u64::from(self.before)
        };
        let in_flight = now / UNANSWERED <= self.pending.stretch.saturating_add(1)
            && (self.pending.now, self.pending.before) != (0, 0);
        misses * 2 + u64::from(in_flight)
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

    /// Whether a principal is told to stay away.
    fn is_refused(walks: &Walks, who: Key, now: u64) -> bool {
        match walks.ask(who, &RULE, now) {
            Ok(asked) => {
                walks.judged(who, asked, None);
                false
            }
            Err(NotNow::Walked(_)) => true,
            Err(NotNow::InFlight(_)) => panic!("nothing is in flight"),
        }
    }

    /// Asks for as many as may be in flight at once.
    fn fill(walks: &Walks, who: Key, now: u64) -> Vec<InFlight> {
        std::iter::from_fn(|| walks.ask(who, &RULE, now).ok()).collect()
    }

    #[test]
    fn ids_in_a_row_are_a_walk_and_the_same_one_is_not() {
        let walks = Walks::default();
        for _ in 0..10_000 {
            walks.note(key(1), key(7), &RULE, 0);
        }
        assert!(!is_refused(&walks, key(1), 0));
        let stopped = (0..1_000).position(|id| {
            walks.note(key(2), key(id), &RULE, 0);
            is_refused(&walks, key(2), 0)
        });
        assert!((45..56).contains(&stopped.unwrap()), "{stopped:?}");
        assert!(!is_refused(&walks, key(1), 0));
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
        assert!(is_refused(&walks, key(1), 1_200 * SECOND));
        // Both windows are over.
        assert!(!is_refused(&walks, key(1), 3_000 * SECOND));
    }

    #[test]
    fn what_is_in_flight_counts_with_what_was_missed() {
        let walks = Walks::default();
        let asked = fill(&walks, key(1), 0);
        assert_eq!(asked.len(), 50);
        assert_eq!(walks.ask(key(1), &RULE, 0), Err(NotNow::InFlight(0)));
        // Nobody else waits for it.
        assert!(walks.ask(key(2), &RULE, 0).is_ok());
        for (id, asked) in (0..).zip(&asked[..20]) {
            walks.note(key(1), key(id), &RULE, 0);
            walks.judged(key(1), *asked, None);
        }
        let Err(NotNow::InFlight(misses)) = walks.ask(key(1), &RULE, 0) else {
            panic!("30 in flight and some 20 misses leave room");
        };
        assert!((18..23).contains(&misses), "{misses}");
        for (id, asked) in (20..).zip(&asked[20..]) {
            walks.note(key(1), key(id), &RULE, 0);
            walks.judged(key(1), *asked, None);
        }
        let more = fill(&walks, key(1), 0).len();
        assert!(more < 6, "{more} more than the estimate is off by");
    }

    #[test]
    fn whose_objects_are_its_own_has_more_in_flight_and_not_without_end() {
        let walks = Walks::default();
        let own = |from: u64| {
            for (id, asked) in (from..).zip(fill(&walks, key(1), 0)) {
                walks.judged(key(1), asked, Some(key(id)));
            }
        };
        own(0);
        let more = fill(&walks, key(1), 0);
        assert!((90..112).contains(&more.len()), "{}", more.len());
        for asked in more {
            walks.judged(key(1), asked, None);
        }
        for round in 1..10 {
            own(round * 1_000);
        }
        assert_eq!(fill(&walks, key(1), 0).len(), 200);
        // One's own object over and over is one.
        for _ in 0..1_000 {
            let asked = walks.ask(key(2), &RULE, 0).unwrap();
            walks.judged(key(2), asked, Some(key(7)));
        }
        assert_eq!(fill(&walks, key(2), 0).len(), 51);
    }

    #[test]
    fn what_nobody_answers_for_does_not_count_for_long() {
        let walks = Walks::default();
        let dropped = fill(&walks, key(1), SECOND);
        assert!(walks.ask(key(1), &RULE, 3 * SECOND).is_err());
        assert_eq!(fill(&walks, key(1), 4 * SECOND).len(), 50);
        // What comes late takes nothing back that is not its own.
        for asked in dropped {
            walks.judged(key(1), asked, None);
        }
        assert!(walks.ask(key(1), &RULE, 4 * SECOND).is_err());
        assert_eq!(
            walks.ask_anyway(key(1), 4 * SECOND),
            InFlight(4 * SECOND / UNANSWERED)
        );
    }

    #[test]
    fn memory_is_flat_and_a_miss_outlives_a_flood() {
        let walks = Walks::default();
        let bytes = walks.bytes();
        for id in 0..80 {
            walks.note(key(5), key(id), &RULE, 0);
        }
        for who in 1_000..101_000 {
            assert!(walks.ask(key(who), &RULE, 0).is_ok());
            walks.note(key(who + 1_000_000), key(1), &RULE, 0);
        }
        assert_eq!(walks.bytes(), bytes);
        assert!(bytes < 5 << 20, "{bytes}");
        assert!(is_refused(&walks, key(5), 0));
        walks.tidy(10_000 * SECOND);
        assert!(!is_refused(&walks, key(5), 10_000 * SECOND));
    }
}
