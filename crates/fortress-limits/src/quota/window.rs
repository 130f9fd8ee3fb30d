//! Windows of the calendar: seconds, minutes, hours, days and months as the clocks of a place show
//! them.
//!
//! Windows follow each other without gap or overlap, whatever the place does to its clocks: a day
//! of 23 or 25 hours is one day, an hour that comes twice is two hours, and where clocks move by
//! half an hour the hours around it are cut there.
//! Deliberately not here: counting.

use std::sync::atomic::{AtomicU64, Ordering};

use fortress_model::clock::Timestamp;
pub use fortress_model::config::QuotaUnit as Unit;
use jiff::tz::TimeZone;

const NANOS: u64 = 1_000_000_000;

/// Bits of a packed span for its length; a month is less than 2^22 seconds.
const LENGTH_BITS: u32 = 24;

/// One window: whole seconds since 1970, the end not included.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Span {
    /// Its first second.
    pub start: u64,
    /// The first second after it; always later than `start`.
    pub end: u64,
}

impl Span {
    /// Nanoseconds from `now` to its end; zero if it is over.
    pub(crate) fn left(self, now: Timestamp) -> u64 {
        self.end.saturating_mul(NANOS).saturating_sub(now.0)
    }

    /// Its length in nanoseconds.
    pub(crate) fn length(self) -> u64 {
        self.end.saturating_sub(self.start).saturating_mul(NANOS)
    }

    fn holds(self, second: u64) -> bool {
        (self.start..self.end).contains(&second)
    }

    pub(crate) fn pack(self) -> u64 {
        (self.start << LENGTH_BITS)
            | (self.end.saturating_sub(self.start) & ((1 << LENGTH_BITS) - 1))
    }

    pub(crate) fn unpack(packed: u64) -> Self {
        let start = packed >> LENGTH_BITS;
        Self {
            start,
            end: start + (packed & ((1 << LENGTH_BITS) - 1)),
        }
    }
}

/// The windows of a unit in a time zone.
#[derive(Debug)]
pub struct Windows {
    unit: Unit,
    zone: TimeZone,
    /// The window of the last question, packed into one word so that it can't be read half: asking
    /// a calendar takes far longer than counting.
    last: AtomicU64,
}

impl Windows {
    /// The windows of `unit` as `zone` has them.
    pub fn new(unit: Unit, zone: TimeZone) -> Self {
        Self {
            unit,
            zone,
            last: AtomicU64::new(0),
        }
    }

    /// The unit.
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// The window that `now` is in.
    pub fn at(&self, now: Timestamp) -> Span {
        let second = now.seconds();
        let last = Span::unpack(self.last.load(Ordering::Relaxed));
        if last.holds(second) {
            return last;
        }
        let span = self.ask(second);
        self.last.store(span.pack(), Ordering::Relaxed);
        span
    }

    /// The window before one, for those that weigh it.
    pub fn before(&self, span: Span) -> Span {
        self.ask(span.start.saturating_sub(1))
    }

    /// The window after one.
    pub fn after(&self, span: Span) -> Span {
        self.ask(span.end)
    }

    fn ask(&self, second: u64) -> Span {
        let found = match self.unit {
            Unit::Second => None,
            Unit::Minute => self.within_day(second, 60),
            Unit::Hour => self.within_day(second, 3_600),
            Unit::Day | Unit::Month => self.days(second),
        };
        found
            .filter(|span| span.holds(second))
            .unwrap_or_else(|| self.plain(second))
    }

    /// Windows of equal length since 1970: seconds, and what no calendar reaches.
    fn plain(&self, second: u64) -> Span {
        let length = self.unit.seconds();
        let start = second - second % length;
        Span {
            start,
            end: start.saturating_add(length),
        }
    }

    /// Minutes and hours, cut where the place's clocks are moved.
    fn within_day(&self, second: u64, length: i64) -> Option<Span> {
        let second = i64::try_from(second).ok()?;
        let now = jiff::Timestamp::from_second(second).ok()?;
        let offset = i64::from(self.zone.to_offset(now).seconds());
        let mut start = second - (second + offset).rem_euclid(length);
        let mut end = start + length;
        // A transition at `now` itself is part of what came before.
        let after = jiff::Timestamp::from_second(second.checked_add(1)?).ok()?;
        let moved = self.zone.preceding(after).next();
        if let Some(moved) = moved.map(|moved| moved.timestamp().as_second())
            && moved <= second
        {
            start = start.max(moved);
        }
        if let Some(moved) = self.zone.following(now).next() {
            end = end.min(moved.timestamp().as_second());
        }
        Some(Span {
            start: u64::try_from(start).ok()?,
            end: u64::try_from(end).ok()?,
        })
    }

    fn days(&self, second: u64) -> Option<Span> {
        let now = jiff::Timestamp::from_second(i64::try_from(second).ok()?).ok()?;
        let today = now.to_zoned_datetime(self.zone.clone());
        let (first, last) = if self.unit == Unit::Month {
            (today.first_of_month().ok()?, today.last_of_month().ok()?)
        } else {
            (today.clone(), today)
        };
        let start = first.start_of_day().ok()?.timestamp().as_second();
        let next = last.tomorrow().ok()?.start_of_day().ok()?;
        Some(Span {
            start: u64::try_from(start).ok()?,
            end: u64::try_from(next.timestamp().as_second()).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(unit: Unit, zone: &str) -> Windows {
        let zone = jiff::tz::TimeZoneDatabase::bundled().get(zone).unwrap();
        Windows::new(unit, zone)
    }

    fn second(text: &str) -> u64 {
        let time: jiff::Timestamp = text.parse().unwrap();
        u64::try_from(time.as_second()).unwrap()
    }

    #[track_caller]
    fn check(unit: Unit, zone: &str, at: &str, start: &str, end: &str) {
        let at = Timestamp(second(at) * NANOS + 999_999_999);
        let found = windows(unit, zone).at(at);
        let expect = Span {
            start: second(start),
            end: second(end),
        };
        assert_eq!(found, expect, "{unit:?} {zone}");
        assert_eq!(Span::unpack(found.pack()), found);
    }

    #[test]
    fn plain_windows() {
        check(
            Unit::Second,
            "UTC",
            "2026-11-29T12:34:56Z",
            "2026-11-29T12:34:56Z",
            "2026-11-29T12:34:57Z",
        );
        check(
            Unit::Minute,
            "UTC",
            "2026-11-29T12:34:56Z",
            "2026-11-29T12:34:00Z",
            "2026-11-29T12:35:00Z",
        );
        check(
            Unit::Hour,
            "UTC",
            "2026-11-29T12:34:56Z",
            "2026-11-29T12:00:00Z",
            "2026-11-29T13:00:00Z",
        );
        check(
            Unit::Day,
            "UTC",
            "2026-11-29T12:34:56Z",
            "2026-11-29T00:00:00Z",
            "2026-11-30T00:00:00Z",
        );
        check(
            Unit::Month,
            "UTC",
            "2026-02-28T23:59:59Z",
            "2026-02-01T00:00:00Z",
            "2026-03-01T00:00:00Z",
        );
        check(
            Unit::Month,
            "UTC",
            "2028-02-29T23:59:59Z",
            "2028-02-01T00:00:00Z",
            "2028-03-01T00:00:00Z",
        );
        check(
            Unit::Month,
            "UTC",
            "2026-12-31T23:59:59Z",
            "2026-12-01T00:00:00Z",
            "2027-01-01T00:00:00Z",
        );
    }

    #[test]
    fn places_have_their_own_midnight() {
        check(
            Unit::Day,
            "Asia/Kathmandu",
            "2026-11-29T18:14:59Z",
            "2026-11-28T18:15:00Z",
            "2026-11-29T18:15:00Z",
        );
        check(
            Unit::Hour,
            "Asia/Kathmandu",
            "2026-11-29T18:14:59Z",
            "2026-11-29T17:15:00Z",
            "2026-11-29T18:15:00Z",
        );
        check(
            Unit::Month,
            "Asia/Tokyo",
            "2026-11-30T15:00:00Z",
            "2026-11-30T15:00:00Z",
            "2026-12-31T15:00:00Z",
        );
    }

    #[test]
    fn clocks_that_are_moved() {
        // 23 hours in spring, 25 in autumn.
        check(
            Unit::Day,
            "Europe/Berlin",
            "2026-03-29T12:00:00Z",
            "2026-03-28T23:00:00Z",
            "2026-03-29T22:00:00Z",
        );
        check(
            Unit::Day,
            "Europe/Berlin",
            "2026-10-25T12:00:00Z",
            "2026-10-24T22:00:00Z",
            "2026-10-25T23:00:00Z",
        );
        // Two o'clock comes twice.
        check(
            Unit::Hour,
            "Europe/Berlin",
            "2026-10-25T00:30:00Z",
            "2026-10-25T00:00:00Z",
            "2026-10-25T01:00:00Z",
        );
        check(
            Unit::Hour,
            "Europe/Berlin",
            "2026-10-25T01:30:00Z",
            "2026-10-25T01:00:00Z",
            "2026-10-25T02:00:00Z",
        );
        // The day begins at one o'clock.
        check(
            Unit::Day,
            "Africa/Cairo",
            "2026-04-24T12:00:00Z",
            "2026-04-23T22:00:00Z",
            "2026-04-24T21:00:00Z",
        );
        // Half an hour.
        check(
            Unit::Hour,
            "Australia/Lord_Howe",
            "2026-04-04T15:10:00Z",
            "2026-04-04T15:00:00Z",
            "2026-04-04T15:30:00Z",
        );
        // A day that never was.
        check(
            Unit::Day,
            "Pacific/Apia",
            "2011-12-30T09:59:59Z",
            "2011-12-29T10:00:00Z",
            "2011-12-30T10:00:00Z",
        );
        check(
            Unit::Day,
            "Pacific/Apia",
            "2011-12-30T10:00:00Z",
            "2011-12-30T10:00:00Z",
            "2011-12-31T10:00:00Z",
        );
    }

    #[test]
    fn windows_follow_each_other() {
        for zone in [
            "UTC",
            "Europe/Berlin",
            "Australia/Lord_Howe",
            "Pacific/Apia",
            "Africa/Cairo",
            "America/St_Johns",
        ] {
            for (unit, count) in [
                (Unit::Minute, 3_000),
                (Unit::Hour, 20_000),
                (Unit::Day, 2_000),
                (Unit::Month, 200),
            ] {
                let windows = windows(unit, zone);
                let start = if unit == Unit::Minute {
                    "2026-10-24T20:00:00Z"
                } else {
                    "2010-12-30T00:00:00Z"
                };
                let mut span = windows.at(Timestamp(second(start) * NANOS));
                for _ in 0..count {
                    let next = windows.after(span);
                    assert_eq!(next.start, span.end, "{zone} {unit:?} {span:?}");
                    assert!(next.end > next.start);
                    assert_eq!(windows.before(next), span, "{zone} {unit:?}");
                    // From any moment within it is the same window.
                    assert_eq!(windows.ask(next.end - 1), next, "{zone} {unit:?}");
                    span = next;
                }
            }
        }
    }

    #[test]
    fn the_last_answer_is_only_for_its_own_window() {
        let windows = windows(Unit::Day, "Europe/Berlin");
        let first = windows.at(Timestamp(second("2026-11-29T12:00:00Z") * NANOS));
        let second_day = windows.at(Timestamp(second("2026-11-30T12:00:00Z") * NANOS));
        assert_eq!(first.end, second_day.start);
        assert_eq!(
            windows.at(Timestamp(second("2026-11-29T12:00:00Z") * NANOS)),
            first
        );
    }
}
