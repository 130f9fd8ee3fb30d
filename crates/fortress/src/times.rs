//! Times as people write and read them.

use std::time::Duration;

use fortress_model::Timestamp;

/// When something ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// So long after now.
    After(Duration),
    /// Then.
    At(Timestamp),
}

impl End {
    pub(crate) fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::After(time) => {
                let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
                Timestamp(now.0.saturating_add(nanos))
            }
            Self::At(time) => time,
        }
    }
}

/// `90d`, or a date.
pub(crate) fn end(text: &str) -> Result<End, String> {
    if let Ok(time) = duration(text) {
        return Ok(End::After(time));
    }
    moment_of(text)
        .map(End::At)
        .map_err(|_| "write a time such as `90d` or `24h`, or a date such as `2027-01-31`".into())
}

/// `90d`, `24h`, `30min`, `10s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const MOST: u64 = 100 * 365 * 86_400;
    let wrong = || String::from("write a number and `s`, `min`, `h` or `d`, such as `90d`");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
    let seconds = match unit {
        "s" => 1,
        "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = number.checked_mul(seconds).filter(|time| *time <= MOST);
    seconds
        .map(Duration::from_secs)
        .ok_or_else(|| "at most 100 years".into())
}

/// `2027-01-31` (its beginning, in UTC) or `2027-01-31T12:00:00Z`.
pub(crate) fn moment_of(text: &str) -> Result<Timestamp, String> {
    let wrong = || {
        format!(
            "`{}` is not a date such as `2027-01-31` or `2027-01-31T12:00:00Z`",
            crate::screen::safe(text)
        )
    };
    let time = text
        .parse::<jiff::Timestamp>()
        .or_else(|_| format!("{text}T00:00:00Z").parse())
        .map_err(|_| wrong())?;
    u64::try_from(time.as_nanosecond())
        .map(Timestamp)
        .map_err(|_| wrong())
}

/// `2027-01-31T12:00:00Z`.
pub(crate) fn moment(time: Timestamp) -> String {
    let seconds = i64::try_from(time.seconds()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| "far away".into(), |time| time.to_string())
}

/// `2027-01-31`.
pub(crate) fn day(time: Timestamp) -> String {
    let moment = moment(time);
    moment
        .split_once('T')
        .map_or(moment.clone(), |(day, _)| day.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(duration("90d"), Ok(Duration::from_secs(90 * 86_400)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert_eq!(duration("5min"), Ok(Duration::from_secs(300)));
        for wrong in [
            "",
            "d",
            "90",
            "90 d",
            "-1d",
            "1.5h",
            "90D",
            "99999999999999999999d",
            "99999d",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        let day_of = |text| moment_of(text).map(day);
        assert_eq!(day_of("2027-01-31").as_deref(), Ok("2027-01-31"));
        assert_eq!(
            moment_of("2027-01-31T12:00:00Z").map(moment).as_deref(),
            Ok("2027-01-31T12:00:00Z")
        );
        assert_eq!(
            moment_of("2027-01-31T12:00:00+02:00")
                .map(moment)
                .as_deref(),
            Ok("2027-01-31T10:00:00Z")
        );
        for wrong in ["", "2027-02-30", "31.1.2027", "tomorrow", "1969-01-01"] {
            assert!(moment_of(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            end("1h").unwrap().at(Timestamp(5)),
            Timestamp(3_600_000_000_005)
        );
        assert_eq!(
            end("1970-01-02").unwrap().at(Timestamp(5)),
            Timestamp(86_400_000_000_000)
        );
        assert!(end("soon").is_err());
    }
}
