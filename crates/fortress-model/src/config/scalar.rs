//! Scalars of the configuration into values: durations, sizes, addresses, URLs.
//!
//! Plain functions on text; each refusal says what to write instead. Deliberately not here: where a
//! scalar stands, references, and ranges that depend on the key.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Network, Origin};

/// What to write instead.
pub(super) type Help = String;

/// Why a number is none: it is none, or it is too large to count.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Bad {
    /// Not of this form.
    Form(Help),
    /// Of the form, but beyond 64 bits.
    Large,
}

const DURATIONS: &[(&str, u64)] = &[
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("min", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

const SIZES: &[(&str, u64)] = &[
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("B", 1),
];

/// Nanoseconds of `250ms`, `10s`, `5min`, `24h` or `90d`.
pub(super) fn duration(text: &str) -> Result<u64, Bad> {
    let (digits, unit) = digits(text);
    if digits.is_empty() {
        return Err(Bad::Form(
            "write a number and `ms`, `s`, `min`, `h` or `d`".into(),
        ));
    }
    let help = match unit {
        "" => format!("add the unit: `{digits}s`"),
        "m" | "mins" | "minute" | "minutes" => format!("write `{digits}min`"),
        "sec" | "secs" | "second" | "seconds" | "S" => format!("write `{digits}s`"),
        "hr" | "hrs" | "hour" | "hours" | "H" => format!("write `{digits}h`"),
        "day" | "days" | "D" => format!("write `{digits}d`"),
        _ => "the units are `ms`, `s`, `min`, `h` and `d`, and the number is whole".into(),
    };
    scaled(digits, unit, DURATIONS, help)
}

/// Bytes of `64KiB`, `1MiB`, `1GiB`, `100B` or `100`.
pub(super) fn size(text: &str) -> Result<u64, Bad> {
    let (digits, unit) = digits(text);
    if digits.is_empty() {
        return Err(Bad::Form(
            "write a number of bytes, or one with `KiB`, `MiB` or `GiB`".into(),
        ));
    }
    let help = match unit.to_ascii_lowercase().as_str() {
        "" => return scaled(digits, "B", SIZES, String::new()),
        "k" | "kb" | "kib" => format!("write `{digits}KiB` (1024 bytes each)"),
        "m" | "mb" | "mib" => format!("write `{digits}MiB` (1024 KiB each)"),
        "g" | "gb" | "gib" => format!("write `{digits}GiB` (1024 MiB each)"),
        _ => "the units are `B`, `KiB`, `MiB` and `GiB`, and the number is whole".into(),
    };
    scaled(digits, unit, SIZES, help)
}

/// Bytes a second of `1KiB/s`.
pub(super) fn rate(text: &str) -> Result<u64, Bad> {
    match text.strip_suffix("/s") {
        Some(per_second) => size(per_second),
        None if size(text).is_ok() => Err(Bad::Form(format!("write `{text}/s`"))),
        None => Err(Bad::Form("write a size and `/s`, such as `1KiB/s`".into())),
    }
}

/// A whole number.
pub(super) fn count(text: &str) -> Result<u64, Bad> {
    match digits(text) {
        (digits, "") if !digits.is_empty() => digits.parse().map_err(|_| Bad::Large),
        _ => Err(Bad::Form(
            "write a whole number, without sign, point or unit".into(),
        )),
    }
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at_checked(end).unwrap_or((text, ""))
}

fn scaled(digits: &str, unit: &str, units: &[(&str, u64)], help: Help) -> Result<u64, Bad> {
    let factor = units.iter().find(|(name, _)| *name == unit);
    let Some((_, factor)) = factor else {
        return Err(Bad::Form(help));
    };
    let number: u64 = digits.parse().map_err(|_| Bad::Large)?;
    number.checked_mul(*factor).ok_or(Bad::Large)
}

/// `value` nanoseconds as one would write them.
pub(super) fn show_duration(value: u64) -> String {
    show(value, DURATIONS, "ms")
}

/// `value` bytes as one would write them.
pub(super) fn show_size(value: u64) -> String {
    show(value, SIZES, "B")
}

/// `value` bytes a second as one would write them.
pub(super) fn show_rate(value: u64) -> String {
    format!("{}/s", show_size(value))
}

/// In the largest unit that leaves no rest.
fn show(value: u64, units: &[(&str, u64)], zero: &str) -> String {
    let whole = units
        .iter()
        .filter(|(_, factor)| value >= *factor && value.is_multiple_of(*factor));
    match whole.max_by_key(|(_, factor)| *factor) {
        Some((unit, factor)) => format!("{}{unit}", value / factor),
        None => format!("{value}{zero}"),
    }
}

/// `127.0.0.1:8080` or `[::1]:8080`.
pub(super) fn address(text: &str) -> Result<SocketAddr, Help> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if text.parse::<u16>().is_ok() {
        return Err(format!("write address and port, such as `0.0.0.0:{text}`"));
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        let address = SocketAddr::new(ip, 8443);
        return Err(format!("add the port, such as `{address}`"));
    }
    if let Some((host, port)) = text.rsplit_once(':') {
        let is_port = port.parse::<u16>().is_ok();
        match host {
            "" | "*" if is_port => return Err(format!("write `0.0.0.0:{port}`")),
            "localhost" if is_port => return Err(format!("write `127.0.0.1:{port}`")),
            _ if !is_port => return Err("the port is a number from 0 to 65535".into()),
            _ if host.parse::<Ipv6Addr>().is_ok() => {
                return Err(format!("put the address in brackets: `[{host}]:{port}`"));
            }
            _ => {}
        }
    }
    Err("write an IP address and a port, such as `0.0.0.0:8443` or `[::]:8443`".into())
}

/// `10.0.0.0/8`, `2001:db8::/32`, or one address.
pub(super) fn network(text: &str) -> Result<Network, Help> {
    let general = || String::from("write an address or a block such as `10.0.0.0/8`");
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| general())?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let Some(prefix) = prefix else {
        let prefix = longest;
        return Ok(Network { address, prefix });
    };
    let is_plain = digits(prefix) == (prefix, "");
    match prefix.parse::<u8>() {
        Ok(prefix) if prefix <= longest && is_plain => Ok(Network { address, prefix }),
        _ => Err(format!("the number after `/` goes from 0 to {longest}")),
    }
}

/// A host name in lower case, an IP address, or `*.` and a name.
pub(super) fn host(text: &str, wildcard: Wildcard) -> Result<String, Help> {
    if text.contains("://") {
        let rest = text.split("://").nth(1).unwrap_or_default();
        let rest = rest.split(['/', '?', '#']).next().unwrap_or_default();
        return Err(format!("write the host alone: `{rest}`"));
    }
    if text == "*" {
        return Err("leave `hosts` out for any host".into());
    }
    let (stars, name) = match text.strip_prefix("*.") {
        Some(name) => ("*.", name),
        None => ("", text),
    };
    if !stars.is_empty() && wildcard == Wildcard::Refused {
        return Err("write one name, without `*`".into());
    }
    if let Some(address) = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        return match address.parse::<Ipv6Addr>() {
            Ok(address) if stars.is_empty() => Ok(format!("[{address}]")),
            Ok(_) | Err(_) => Err("write an IPv6 address in brackets, such as `[::1]`".into()),
        };
    }
    if name.parse::<Ipv6Addr>().is_ok() {
        return Err(format!("put the address in brackets: `[{name}]`"));
    }
    if name.contains(':') {
        return Err("write the host without a port: every port of it is meant".into());
    }
    if !name.is_ascii() {
        return Err("write the name in ASCII: `xn--…`".into());
    }
    if name.contains('*') {
        return Err("`*` stands for the first part alone: `*.example.com`".into());
    }
    if name.len() > 253 || !name.split('.').all(is_label) {
        return Err("write a host name such as `api.example.com`".into());
    }
    let is_numeric = name
        .rsplit('.')
        .next()
        .is_some_and(|last| digits(last).1.is_empty());
    if is_numeric && (name.parse::<Ipv4Addr>().is_err() || !stars.is_empty()) {
        return Err("write a host name, or an IPv4 address with four parts".into());
    }
    Ok(format!("{stars}{}", name.to_ascii_lowercase()))
}

/// Whether `*.example.com` is a host.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wildcard {
    Allowed,
    Refused,
}

/// A label of a host name; underscores are seen in practice.
fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// `/v1`; the root is the empty text.
pub(super) fn base_path(text: &str) -> Result<String, Help> {
    if text == "/" {
        return Ok(String::new());
    }
    if !text.starts_with('/') {
        let path = text.split("://").nth(1).map_or(text, |rest| {
            rest.split_once('/').map_or("", |(_, path)| path)
        });
        return Err(format!("begin with `/`: `/{}`", path.trim_matches('/')));
    }
    if text.ends_with('/') {
        return Err(format!("end without `/`: `{}`", text.trim_end_matches('/')));
    }
    if text
        .split('/')
        .skip(1)
        .any(|segment| matches!(segment, "" | "." | ".."))
    {
        return Err("write it without empty, `.` and `..` segments".into());
    }
    if text.contains(['{', '}']) {
        return Err("a base path has no parameters".into());
    }
    if !text.bytes().all(is_path_byte) {
        return Err("write it in letters, digits and `-._~!$&'()*+,=:@/`, without `%`".into());
    }
    Ok(text.to_owned())
}

/// Bytes of a path that need no encoding (RFC 3986, section 3.3), without `;`, which is refused in
/// requests too.
fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@/".contains(&byte)
}

/// `http://127.0.0.1:3000`, possibly with a path.
pub(super) fn origin(text: &str) -> Result<Origin, Help> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err("begin with `http://` or `https://`".into());
    };
    let tls = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" => true,
        _ => return Err("begin with `http://` or `https://`".into()),
    };
    if rest.contains(['?', '#']) {
        return Err("write it without `?` and `#`".into());
    }
    let (authority, path) = match rest.find('/').and_then(|at| rest.split_at_checked(at)) {
        Some(parts) => parts,
        None => (rest, "/"),
    };
    if authority.contains('@') {
        return Err("write it without a user name or password".into());
    }
    let after_bracket = authority.rsplit(']').next().unwrap_or_default();
    let (name, port) = match after_bracket.rsplit_once(':') {
        Some((_, port)) => {
            let name = authority.len().saturating_sub(port.len() + 1);
            (authority.get(..name).unwrap_or_default(), Some(port))
        }
        None => (authority, None),
    };
    let port = match port {
        None if tls => 443,
        None => 80,
        Some(port) => match port.parse::<u16>() {
            Ok(number) if number > 0 && digits(port).1.is_empty() => number,
            Ok(_) | Err(_) => return Err("the port is a number from 1 to 65535".into()),
        },
    };
    let host = host(name, Wildcard::Refused)?;
    let host = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let path = path.strip_suffix('/').unwrap_or(path);
    let prefix = if path.is_empty() {
        String::new()
    } else {
        base_path(path)?
    };
    Ok(Origin {
        tls,
        host,
        port,
        prefix,
    })
}

/// Whether an origin's host is this machine, so that no one stands between.
pub(super) fn is_loopback(origin: &Origin) -> bool {
    origin.host == "localhost"
        || origin
            .host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Why a URL will not do.
#[derive(Debug)]
pub(super) enum BadUrl {
    /// What comes from it could be replaced on its way.
    Exposed,
    /// It is none.
    Form(Help),
}

impl BadUrl {
    pub(super) fn help(self) -> Help {
        match self {
            Self::Exposed => "write `https://`; `http://` is for loopback addresses alone".into(),
            Self::Form(help) => help,
        }
    }
}

/// A URL that is https, or plain on this machine.
pub(super) fn https_url(text: &str) -> Result<(), BadUrl> {
    let form = |help: &str| BadUrl::Form(help.into());
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains('#') {
        return Err(form("write a URL without spaces and without `#`"));
    }
    let (before_query, _) = text.split_once('?').unwrap_or((text, ""));
    let (scheme, rest) = before_query
        .split_once("://")
        .ok_or_else(|| form("write an https URL"))?;
    let authority = rest.split('/').next().unwrap_or_default();
    let origin = origin(&format!("{scheme}://{authority}")).map_err(BadUrl::Form)?;
    if origin.tls || is_loopback(&origin) {
        Ok(())
    } else {
        Err(BadUrl::Exposed)
    }
}

/// The name of a header field (RFC 9110, section 5.1), in lower case.
pub(super) fn field_name(text: &str) -> Result<String, Help> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.is_empty() || text.len() > 64 || !text.bytes().all(is_token) {
        return Err("write letters, digits and `-`, such as `X-User-Id`".into());
    }
    Ok(text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[track_caller]
    fn check_duration(text: &str, expect: u64) {
        assert_eq!(duration(text), Ok(expect), "{text}");
    }

    #[track_caller]
    fn bad<T: std::fmt::Debug>(found: Result<T, Bad>, help: &str) {
        match found {
            Err(Bad::Form(found)) => assert!(found.contains(help), "{found}"),
            Ok(_) | Err(Bad::Large) => panic!("{found:?}"),
        }
    }

    #[test]
    fn durations() {
        check_duration("250ms", S / 4);
        check_duration("10s", 10 * S);
        check_duration("5min", 300 * S);
        check_duration("24h", 86_400 * S);
        check_duration("90d", 90 * 86_400 * S);
        check_duration("0s", 0);
        bad(duration("10"), "`10s`");
        bad(duration("5m"), "`5min`");
        bad(duration("1.5s"), "whole");
        bad(duration("-1s"), "a number and");
        bad(duration("1h30min"), "units");
        bad(duration("10 s"), "units");
        bad(duration(""), "a number and");
        assert_eq!(duration("99999999999999999999s"), Err(Bad::Large));
        assert_eq!(duration("999999999999999d"), Err(Bad::Large));
        assert_eq!(show_duration(90 * 86_400 * S), "90d");
        assert_eq!(show_duration(S / 4), "250ms");
        assert_eq!(show_duration(0), "0ms");
    }

    #[test]
    fn sizes_and_rates() {
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("1MiB"), Ok(1 << 20));
        assert_eq!(size("1GiB"), Ok(1 << 30));
        assert_eq!(size("100"), Ok(100));
        assert_eq!(size("100B"), Ok(100));
        bad(size("64KB"), "`64KiB`");
        bad(size("64k"), "`64KiB`");
        bad(size("1mib"), "`1MiB`");
        bad(size("1TiB"), "units");
        bad(size("1.5MiB"), "whole");
        bad(size("-1"), "a number");
        assert_eq!(size("99999999999GiB"), Err(Bad::Large));
        assert_eq!(rate("1KiB/s"), Ok(1024));
        bad(rate("1KiB"), "`1KiB/s`");
        bad(rate("fast"), "`1KiB/s`");
        assert_eq!(count("12"), Ok(12));
        bad(count("1e3"), "whole");
        bad(count("-1"), "whole");
        assert_eq!(count("99999999999999999999"), Err(Bad::Large));
        assert_eq!(show_size(65_536), "64KiB");
        assert_eq!(show_size(1), "1B");
    }

    #[track_caller]
    fn check_address(text: &str, expect: Result<&str, &str>) {
        match (address(text), expect) {
            (Ok(found), Ok(expect)) => assert_eq!(found.to_string(), expect),
            (Err(found), Err(expect)) => assert!(found.contains(expect), "{found}"),
            (found, _) => panic!("{text}: {found:?}"),
        }
    }

    #[test]
    fn addresses() {
        check_address("0.0.0.0:8443", Ok("0.0.0.0:8443"));
        check_address("[::1]:80", Ok("[::1]:80"));
        check_address("8080", Err("`0.0.0.0:8080`"));
        check_address(":8080", Err("`0.0.0.0:8080`"));
        check_address("localhost:8080", Err("`127.0.0.1:8080`"));
        check_address("127.0.0.1", Err("add the port"));
        check_address("::1:8080x", Err("port"));
        check_address("fe80::1:99999", Err("port"));
        check_address("example.com:80", Err("IP address"));
        check_address("127.0.0.1:99999", Err("0 to 65535"));
        check_address("", Err("IP address"));
    }

    #[test]
    fn networks() {
        let check = |text: &str, prefix: u8| assert_eq!(network(text).unwrap().prefix, prefix);
        check("10.0.0.0/8", 8);
        check("10.1.2.3", 32);
        check("::1", 128);
        check("2001:db8::/32", 32);
        check("0.0.0.0/0", 0);
        for text in [
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "x",
            "10.0.0.0/8/8",
            "",
        ] {
            assert!(network(text).is_err(), "{text}");
        }
    }

    #[track_caller]
    fn check_host(text: &str, expect: Result<&str, &str>) {
        match (host(text, Wildcard::Allowed), expect) {
            (Ok(found), Ok(expect)) => assert_eq!(found, expect),
            (Err(found), Err(expect)) => assert!(found.contains(expect), "{found}"),
            (found, _) => panic!("{text}: {found:?}"),
        }
    }

    #[test]
    fn hosts() {
        check_host("API.example.com", Ok("api.example.com"));
        check_host("*.Example.com", Ok("*.example.com"));
        check_host("localhost", Ok("localhost"));
        check_host("127.0.0.1", Ok("127.0.0.1"));
        check_host("[::1]", Ok("[::1]"));
        check_host("::1", Err("brackets"));
        check_host("https://api.example.com/x", Err("`api.example.com`"));
        check_host("api.example.com:443", Err("without a port"));
        check_host("*", Err("leave `hosts` out"));
        check_host("a.*.com", Err("first part"));
        check_host("*.*.com", Err("first part"));
        check_host("bücher.example", Err("xn--"));
        check_host("a..b", Err("host name"));
        check_host("-a.com", Err("host name"));
        check_host("example.com.", Err("host name"));
        check_host("a b", Err("host name"));
        check_host("1.2.3", Err("four parts"));
        check_host("*.1.2.3.4", Err("four parts"));
        check_host("", Err("host name"));
        assert!(host("*.example.com", Wildcard::Refused).is_err());
    }

    #[test]
    fn base_paths() {
        assert_eq!(base_path("/v1").as_deref(), Ok("/v1"));
        assert_eq!(base_path("/a/b-c").as_deref(), Ok("/a/b-c"));
        assert_eq!(base_path("/").as_deref(), Ok(""));
        for (text, help) in [
            ("v1", "`/v1`"),
            ("https://x.example/v1/", "`/v1`"),
            ("/v1/", "`/v1`"),
            ("/a//b", "empty"),
            ("/a/../b", "empty"),
            ("/a/./b", "empty"),
            ("/{x}", "no parameters"),
            ("/a%2f", "without `%`"),
            ("/a b", "letters"),
            ("/a?b", "letters"),
            ("/ü", "letters"),
            ("", "begin with"),
        ] {
            let found = base_path(text).unwrap_err();
            assert!(found.contains(help), "{text}: {found}");
        }
    }

    #[track_caller]
    fn check_origin(text: &str, tls: bool, host: &str, port: u16, prefix: &str) {
        let expect = Origin {
            tls,
            host: host.into(),
            port,
            prefix: prefix.into(),
        };
        assert_eq!(origin(text), Ok(expect), "{text}");
    }

    #[test]
    fn origins() {
        check_origin("http://127.0.0.1:3000", false, "127.0.0.1", 3000, "");
        check_origin("https://Example.com", true, "example.com", 443, "");
        check_origin("http://example.com/", false, "example.com", 80, "");
        check_origin("HTTPS://example.com/a/b/", true, "example.com", 443, "/a/b");
        check_origin("http://[::1]:8080/x", false, "::1", 8080, "/x");
        check_origin("http://[::1]", false, "::1", 80, "");
        for text in [
            "example.com",
            "ftp://example.com",
            "http://",
            "http:///x",
            "http://a:0",
            "http://a:99999",
            "http://a:+80",
            "http://a:",
            "http://u:p@a",
            "http://a?b",
            "http://a#b",
            "http://a/b?c",
            "http://*.a",
            "http://a/../b",
            "http://[::1",
            "http://a b",
            "http://::1:80",
            "127.0.0.1:3000",
            "",
        ] {
            assert!(origin(text).is_err(), "{text}");
        }
        assert!(is_loopback(&origin("http://localhost:1").unwrap()));
        assert!(is_loopback(&origin("http://127.1.2.3").unwrap()));
        assert!(is_loopback(&origin("http://[::1]").unwrap()));
        assert!(!is_loopback(&origin("http://10.0.0.1").unwrap()));
        assert!(!is_loopback(
            &origin("http://localhost.example.com").unwrap()
        ));
    }
}
