//! From when to when a certificate holds (RFC 5280, section 4.1.2.5). Deliberately not here: whether it
//! holds otherwise.

use fortress_model::Timestamp;

use crate::der::{Der, Malformed};

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// The first and the last second of a certificate in DER. `None` if it is none, or says times that
/// cannot be written so, such as those before 1970.
pub fn validity(der: &[u8]) -> Option<(Timestamp, Timestamp)> {
    let read = || {
        let mut certificate = Der::new(Der::new(der).take(SEQUENCE)?);
        let mut signed = Der::new(certificate.take(SEQUENCE)?);
        signed.take_if(VERSION)?;
        signed.take(INTEGER)?;
        signed.take(SEQUENCE)?; // the signature's algorithm
        signed.take(SEQUENCE)?; // the issuer
        let mut validity = Der::new(signed.take(SEQUENCE)?);
        Ok::<_, Malformed>((validity.next()?, validity.next()?))
    };
    let (first, last) = read().ok()?;
    Some((moment(first)?, moment(last)?))
}

fn moment((tag, text): (u8, &[u8])) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => text.split_at_checked(2)?,
        GENERALIZED_TIME => text.split_at_checked(4)?,
        _ => return None,
    };
    let is_plain = rest.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_plain {
        return None;
    }
    let year: u64 = year.parse().ok()?;
    let year = match tag {
        // Two digits are of 1950 to 2049.
        UTC_TIME if year < 50 => 2000 + year,
        UTC_TIME => 1900 + year,
        _ => year,
    };
    let mut rest = rest;
    let mut two = || {
        let (number, after) = rest.split_at_checked(2)?;
        rest = after;
        number.parse::<u64>().ok()
    };
    let (month, day, hour, minute, second) = (two()?, two()?, two()?, two()?, two()?);
    let is_time = hour < 24 && minute < 60 && second < 60;
    if !(is_time && (1..=12).contains(&month) && (1..=31).contains(&day)) {
        return None;
    }
    let seconds = days(year, month, day)? * 86_400 + hour * 3_600 + minute * 60 + second;
    seconds.checked_mul(1_000_000_000).map(Timestamp)
}

/// Days since 1970-01-01. The year begins with March, so that the day of a leap year is its last.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    const TO_1970: u64 = 719_468;
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year.checked_sub(1)?, month + 9)
    };
    let of_years = year * 365 + year / 4 - year / 100 + year / 400;
    let of_months = (153 * month + 2) / 5;
    (of_years + of_months + day - 1).checked_sub(TO_1970)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(tag: u8, text: &str, expect: Option<u64>) {
        let seconds = moment((tag, text.as_bytes())).map(Timestamp::seconds);
        assert_eq!(seconds, expect, "{text}");
    }

    #[test]
    fn times_of_certificates() {
        check(UTC_TIME, "700101000000Z", Some(0));
        check(UTC_TIME, "240229235959Z", Some(1_709_251_199));
        check(UTC_TIME, "240301000000Z", Some(1_709_251_200));
        check(UTC_TIME, "491231235959Z", Some(2_524_607_999));
        check(GENERALIZED_TIME, "20500101000000Z", Some(2_524_608_000));
        check(GENERALIZED_TIME, "20001231000000Z", Some(978_220_800));
        for wrong in [
            "",
            "Z",
            "700101000000",
            "7001010000Z",
            "70010100000aZ",
            "701301000000Z",
            "700101240000Z",
        ] {
            check(UTC_TIME, wrong, None);
        }
        check(UTC_TIME, "691231235959Z", None);
        check(GENERALIZED_TIME, "20500101000000.5Z", None);
        check(0x0c, "700101000000Z", None);
        assert_eq!(validity(b""), None);
        assert_eq!(validity(&[SEQUENCE, 0]), None);
    }
}
