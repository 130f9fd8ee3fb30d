//! A moment as the `TIME` variables say it, in UTC.
//!
//! Deliberately not here: what time it is, which the caller says.

/// The parts of a moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Moment {
    pub(super) year: i64,
    /// From 1.
    pub(super) month: i64,
    /// From 1.
    pub(super) day: i64,
    /// From 0, Sunday.
    pub(super) weekday: i64,
    pub(super) hour: i64,
    pub(super) minute: i64,
    pub(super) second: i64,
}

const DAY: i64 = 86_400;

impl Moment {
    /// The moment so many seconds after 1970 began.
    pub(super) fn at(seconds: i64) -> Self {
        let (days, of_day) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
        let (year, month, day) = civil(days);
        Self {
            year,
            month,
            day,
            // 1 January 1970 was a Thursday.
            weekday: (days + 4).rem_euclid(7),
            hour: of_day / 3_600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
        }
    }

    /// `23:59:59`.
    pub(super) fn clock(&self) -> String {
        format!("{:02}:{:02}:{:02}", self.hour, self.minute, self.second)
    }
}

/// Year, month and day of a number of days since 1970, in the proleptic Gregorian calendar: eras of
/// 400 years have 146,097 days, and years are counted from March, so that the leap day is the last.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::Moment;

    #[track_caller]
    fn check(seconds: i64, date: (i64, i64, i64), weekday: i64, clock: &str) {
        let moment = Moment::at(seconds);
        assert_eq!((moment.year, moment.month, moment.day), date);
        assert_eq!(moment.weekday, weekday);
        assert_eq!(moment.clock(), clock);
    }

    #[test]
    fn seconds_become_dates() {
        check(0, (1970, 1, 1), 4, "00:00:00");
        check(-1, (1969, 12, 31), 3, "23:59:59");
        check(951_782_400, (2000, 2, 29), 2, "00:00:00");
        check(951_868_800, (2000, 3, 1), 3, "00:00:00");
        check(4_107_542_399, (2100, 2, 28), 0, "23:59:59");
        check(4_107_542_400, (2100, 3, 1), 1, "00:00:00");
        check(1_700_000_000, (2023, 11, 14), 2, "22:13:20");
    }
}
