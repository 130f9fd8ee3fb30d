//! Dates, times and durations of RFC 3339.

/// `full-date "T" full-time`.
pub(super) fn date_time(text: &str) -> bool {
    let Some((day, rest)) = text.split_at_checked(10) else {
        return false;
    };
    date(day) && rest.strip_prefix(['T', 't']).is_some_and(time)
}

/// `YYYY-MM-DD`, a day that the calendar has.
pub(super) fn date(text: &str) -> bool {
    let mut reader = Reader(text.as_bytes());
    let (Some(year), true, Some(month), true, Some(day), true) = (
        reader.digits(4),
        reader.byte(b'-'),
        reader.digits(2),
        reader.byte(b'-'),
        reader.digits(2),
        reader.0.is_empty(),
    ) else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 0,
    };
    (1..=days).contains(&day)
}

/// `HH:MM:SS[.fraction]` and an offset. A leap second is one only at the end of a day of UTC.
pub(super) fn time(text: &str) -> bool {
    let mut reader = Reader(text.as_bytes());
    let (Some(hour), true, Some(minute), true, Some(second)) = (
        reader.digits(2),
        reader.byte(b':'),
        reader.digits(2),
        reader.byte(b':'),
        reader.digits(2),
    ) else {
        return false;
    };
    if reader.byte(b'.') && reader.skip_digits() == 0 {
        return false;
    }
    let Some(offset) = offset(&mut reader) else {
        return false;
    };
    let utc = (i64::from(hour) * 60 + i64::from(minute) - offset).rem_euclid(24 * 60);
    hour < 24 && minute < 60 && (second < 60 || (second == 60 && utc == 24 * 60 - 1))
}

/// Minutes ahead of UTC; `None` unless the text ends in an offset.
fn offset(reader: &mut Reader<'_>) -> Option<i64> {
    if reader.byte(b'Z') || reader.byte(b'z') {
        return reader.0.is_empty().then_some(0);
    }
    let ahead = reader.byte(b'+');
    if !ahead && !reader.byte(b'-') {
        return None;
    }
    let hours = reader.digits(2).filter(|hours| *hours < 24)?;
    let colon = reader.byte(b':');
    let minutes = reader.digits(2).filter(|minutes| *minutes < 60)?;
    let total = i64::from(hours) * 60 + i64::from(minutes);
    (colon && reader.0.is_empty()).then_some(if ahead { total } else { -total })
}

/// `P3Y6M4DT12H30M5S` or `P4W` (RFC 3339, appendix A): units in order, none skipped between two.
pub(super) fn duration(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('P') else {
        return false;
    };
    if let Some(weeks) = rest.strip_suffix('W') {
        return !weeks.is_empty() && weeks.bytes().all(|byte| byte.is_ascii_digit());
    }
    let (days, clock) = match rest.split_once('T') {
        Some((days, clock)) => (days, Some(clock)),
        None => (rest, None),
    };
    let days_right = days.is_empty() || units(days, b"YMD");
    let clock_right = clock.is_none_or(|clock| units(clock, b"HMS"));
    days_right && clock_right && !(days.is_empty() && clock.is_none())
}

fn units(text: &str, order: &[u8]) -> bool {
    let mut reader = Reader(text.as_bytes());
    let mut last: Option<usize> = None;
    while !reader.0.is_empty() {
        if reader.skip_digits() == 0 {
            return false;
        }
        let Some((unit, rest)) = reader.0.split_first() else {
            return false;
        };
        let Some(place) = order.iter().position(|known| known == unit) else {
            return false;
        };
        if last.is_some_and(|last| place != last + 1) {
            return false;
        }
        last = Some(place);
        reader.0 = rest;
    }
    last.is_some()
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self, expected: u8) -> bool {
        match self.0.split_first() {
            Some((first, rest)) if *first == expected => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn digits(&mut self, count: usize) -> Option<u32> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        let mut number = 0;
        for byte in digits {
            number = number * 10 + char::from(*byte).to_digit(10)?;
        }
        self.0 = rest;
        Some(number)
    }

    fn skip_digits(&mut self) -> usize {
        let count = self
            .0
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        self.0 = self.0.get(count..).unwrap_or(&[]);
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(of: fn(&str) -> bool, valid: &[&str], invalid: &[&str]) {
        for text in valid {
            assert!(of(text), "{text}");
        }
        for text in invalid {
            assert!(!of(text), "but {text}");
        }
    }

    #[test]
    fn dates() {
        check(
            date,
            &["2026-02-28", "2024-02-29", "2000-02-29", "0000-01-01"],
            &[
                "2026-02-29",
                "1900-02-29",
                "2026-13-01",
                "2026-00-01",
                "2026-01-00",
                "2026-04-31",
                "26-01-01",
                "2026-1-1",
                "2026-01-01 ",
                "２026-01-01",
                "+2026-01-01",
                "",
            ],
        );
    }

    #[test]
    fn times() {
        check(
            time,
            &[
                "00:00:00Z",
                "23:59:59.999z",
                "12:00:00+23:59",
                "23:59:60Z",
                "15:59:60-08:00",
                "00:29:60+00:30",
                "01:29:60+01:30",
            ],
            &[
                "24:00:00Z",
                "00:60:00Z",
                "00:00:61Z",
                "12:00:60Z",
                "23:59:60+01:00",
                "00:00:00",
                "00:00Z",
                "00:00:00.Z",
                "00:00:00+24:00",
                "00:00:00+0000",
                "00:00:00 Z",
                "0:00:00Z",
                "00:00:00+00:60",
            ],
        );
    }

    #[test]
    fn date_times() {
        check(
            date_time,
            &[
                "1985-04-12T23:20:50.52Z",
                "1985-04-12t23:20:50z",
                "1998-12-31T15:59:60.123-08:00",
            ],
            &[
                "1985-04-12 23:20:50Z",
                "1985-04-12T23:20:50",
                "1985-04-12",
                "é985-04-12T23:20:50Z",
                "1985-04-31T00:00:00Z",
            ],
        );
    }

    #[test]
    fn durations() {
        check(
            duration,
            &[
                "P4DT12H30M5S",
                "P1Y2M3D",
                "PT0S",
                "P1W",
                "P1M",
                "PT1M",
                "P1Y2M",
            ],
            &[
                "", "P", "PT", "P1", "PT1D", "P1D2H", "P2D1Y", "P1Y2W", "P1.5D", "4D", "P1DT",
                "P1Y1D", "P٢D", "-P1D",
            ],
        );
    }
}
