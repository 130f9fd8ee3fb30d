//! Who sent a request, and how: what trusted proxies say in `Forwarded` (RFC 7239) and
//! `X-Forwarded-For`, believed as far as each that appended something is itself trusted.
//!
//! A client can begin these fields as it likes, and a proxy goes on where it ended. So everything is
//! read from the right, where the nearest proxy wrote: an open quote or bytes that are no text, further
//! to the left, cannot change what stands there.

use std::net::{IpAddr, Ipv6Addr};

use fortress_model::config::Network;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use smallvec::SmallVec;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Who sent the request: the peer, or what a trusted proxy says.
///
/// An entry that cannot be read ends the search at the last good one. Where both fields are there and
/// disagree, one of them is the client's own invention, and nobody knows which: then it is the peer.
pub(crate) fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let peer = peer.to_canonical();
    if trusted.is_empty() || !is_trusted(peer, trusted) {
        return peer;
    }
    let forwarded = headers.get_all(header::FORWARDED).iter().rev();
    let forwarded = nearest(peer, trusted, forwarded.flat_map(elements), for_node);
    let x_forwarded = headers.get_all(X_FORWARDED_FOR).iter().rev();
    let x_forwarded = x_forwarded.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    let x_forwarded = nearest(peer, trusted, x_forwarded, |entry| {
        address(std::str::from_utf8(entry).ok()?.trim_matches(BLANK))
    });
    match (forwarded, x_forwarded) {
        (None, None) => peer,
        (Some(client), None) | (None, Some(client)) => client,
        (Some(one), Some(other)) if one == other => one,
        (Some(_), Some(_)) => peer,
    }
}

/// Whether an address lies in one of these networks.
pub(crate) fn is_trusted(address: IpAddr, trusted: &[Network]) -> bool {
    trusted.iter().any(|network| network.contains(address))
}

const BLANK: [char; 2] = [' ', '\t'];

/// The last address from the right that a trusted one vouches for. `None` if there is no entry.
fn nearest<'h>(
    peer: IpAddr,
    trusted: &[Network],
    entries: impl Iterator<Item = &'h [u8]>,
    read: impl Fn(&[u8]) -> Option<IpAddr>,
) -> Option<IpAddr> {
    let mut client = None;
    for entry in entries {
        let last = *client.get_or_insert(peer);
        if !is_trusted(last, trusted) {
            break;
        }
        let Some(address) = read(entry) else { break };
        client = Some(address);
    }
    client
}

/// The elements of a `Forwarded`, from the right: what stands between commas that are in no quotes.
fn elements(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value.as_bytes());
    std::iter::from_fn(move || {
        let bytes = rest?;
        let mut quoted = false;
        let mut at = bytes.len();
        while let Some(before) = at.checked_sub(1) {
            match bytes.get(before) {
                Some(b'"') => {
                    let text = bytes.get(..before).unwrap_or_default();
                    let escapes = text.iter().rev().take_while(|byte| **byte == b'\\');
                    quoted ^= escapes.count() % 2 == 0;
                }
                Some(b',') if !quoted => break,
                Some(_) | None => {}
            }
            at = before;
        }
        let element = bytes.get(at..).unwrap_or_default();
        rest = at.checked_sub(1).and_then(|comma| bytes.get(..comma));
        Some(element)
    })
}

/// The address in an element's `for`; `None` for `unknown`, a hidden name (`_gazonk`), and whatever is
/// no element of RFC 7239, section 4.
fn for_node(element: &[u8]) -> Option<IpAddr> {
    let mut rest = std::str::from_utf8(element).ok()?.trim_matches(BLANK);
    let mut found = None;
    loop {
        let (name, after) = rest.split_once('=')?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = after.find(';').unwrap_or(after.len());
                let (value, after) = after.split_at_checked(end)?;
                (value.trim_end_matches(BLANK).to_owned(), after)
            }
        };
        if name.trim_matches(BLANK).eq_ignore_ascii_case("for") {
            // Said twice, it says nothing (section 4: "each parameter MUST NOT occur more than once").
            if found.replace(value).is_some() {
                return None;
            }
        }
        let after = after.trim_matches(BLANK);
        match after.strip_prefix(';') {
            Some(more) => rest = more,
            None if after.is_empty() => break,
            None => return None,
        }
    }
    address(&found?)
}

/// The text of a quoted string, and what follows it.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut rest = quoted.chars();
    loop {
        match rest.next()? {
            '"' => return Some((text, rest.as_str())),
            '\\' => text.push(rest.next()?),
            other => text.push(other),
        }
    }
}

/// An address, with or without a port, IPv6 with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            let host = host.parse::<Ipv6Addr>().ok()?;
            (IpAddr::V6(host).to_canonical(), port)
        }
        None => {
            let (host, _) = text.split_once(':')?;
            (IpAddr::V4(host.parse().ok()?), text.get(host.len()..)?)
        }
    };
    let is_port = |port: &str| {
        let hidden = port.strip_prefix('_');
        let letters = hidden.unwrap_or(port);
        let is_number = port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        !letters.is_empty() && (is_number || (hidden.is_some() && letters.bytes().all(is_name)))
    };
    match port.strip_prefix(':') {
        Some(port) if is_port(port) => Some(host),
        None if port.is_empty() => Some(host),
        Some(_) | None => None,
    }
}

/// What a client speaks to whom it calls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// What the client spoke: what a trusted proxy says, else that of the connection.
pub(crate) fn client_scheme(
    tls: bool,
    peer: IpAddr,
    headers: &HeaderMap,
    trusted: &[Network],
) -> Scheme {
    let own = if tls { Scheme::Https } else { Scheme::Http };
    stated_scheme(peer, headers, trusted).unwrap_or(own)
}

/// What the client spoke, by what a trusted proxy says in `X-Forwarded-Proto` or `Forwarded` (RFC 7239,
/// section 5.4). Where several are named, one of them in plain text is enough for `http`: what was
/// read on one stretch was read. `None` where there is no such proxy, or it does not say.
pub(crate) fn stated_scheme(
    peer: IpAddr,
    headers: &HeaderMap,
    trusted: &[Network],
) -> Option<Scheme> {
    if trusted.is_empty() || !is_trusted(peer, trusted) {
        return None;
    }
    let x_forwarded = X_FORWARDED_PROTO;
    let named = list(headers, &x_forwarded);
    let forwarded = list(headers, &header::FORWARDED)
        .flat_map(|element| element.split(';'))
        .filter_map(|pair| pair.split_once('='))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("proto"))
        .map(|(_, value)| value.trim().trim_matches('"'));
    let said: SmallVec<[bool; 4]> = named
        .chain(forwarded)
        .map(|scheme| scheme.eq_ignore_ascii_case("https"))
        .collect();
    if said.is_empty() {
        None
    } else if said.iter().all(|https| *https) {
        Some(Scheme::Https)
    } else {
        Some(Scheme::Http)
    }
}

fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or("?").split(','))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUSTED: &[&str] = &["10.0.0.0/8", "2001:db8:a::/48"];

    /// The client of a request that a trusted proxy passes on with these fields.
    #[track_caller]
    fn client(fields: &[(&'static str, &[u8])], expect: &str) {
        let of = |peer: &str, trusted: &[&str]| {
            let trusted: Vec<Network> = trusted.iter().map(|text| text.parse().unwrap()).collect();
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_bytes(value).unwrap());
            }
            client_address(peer.parse().unwrap(), &headers, &trusted).to_string()
        };
        assert_eq!(of("10.0.0.1", TRUSTED), expect);
        assert_eq!(of("::ffff:10.0.0.1", TRUSTED), expect);
        // Nobody believes a stranger, and by default everybody is one.
        assert_eq!(of("192.0.2.1", TRUSTED), "192.0.2.1");
        assert_eq!(of("10.0.0.1", &[]), "10.0.0.1");
    }

    /// By both fields, where they are written alike.
    #[track_caller]
    fn listed(text: &str, expect: &str) {
        client(&[("x-forwarded-for", text.as_bytes())], expect);
    }

    #[track_caller]
    fn forwarded(text: &str, expect: &str) {
        client(&[("forwarded", text.as_bytes())], expect);
    }

    #[test]
    fn x_forwarded_for_is_read_from_the_right() {
        client(&[], "10.0.0.1");
        listed("203.0.113.9", "203.0.113.9");
        listed("1.1.1.1, 203.0.113.9, 10.2.0.1", "203.0.113.9");
        listed("1.1.1.1,203.0.113.9\t,\t2001:db8:a::7", "203.0.113.9");
        listed("203.0.113.9:1234", "203.0.113.9");
        listed("::ffff:203.0.113.9", "203.0.113.9");
        listed("2001:db8::1", "2001:db8::1");
        listed("[2001:db8::1]", "2001:db8::1");
        listed("[2001:db8::1]:443", "2001:db8::1");
        listed("10.9.9.9", "10.9.9.9");
        // What cannot be read ends the search.
        for unreadable in [
            "garbage",
            "",
            "unknown",
            "203.0.113.9:",
            "203.0.113.9:80x",
            "203.0.113.9:123456",
            "[203.0.113.9]",
            "[2001:db8::1",
            "[2001:db8::1]x",
            "2001:db8::1]:80",
            "\"203.0.113.9\"",
            "203.0.113.009",
            "203.0.113.9/32",
            "203.0.113.9 203.0.113.8",
        ] {
            listed(unreadable, "10.0.0.1");
            listed(&format!("203.0.113.9, {unreadable}"), "10.0.0.1");
            listed(&format!("{unreadable}, 203.0.113.9"), "203.0.113.9");
            listed(&format!("{unreadable}, 10.0.0.2"), "10.0.0.2");
        }
        let bytes: &[u8] = b"\xFF\xFE, 203.0.113.9";
        client(&[("x-forwarded-for", bytes)], "203.0.113.9");
    }

    #[test]
    fn lines_are_read_as_one() {
        let lines: [&[u8]; 3] = [b"1.1.1.1, 203.0.113.9", b"10.2.0.1", b"10.3.0.1, 10.4.0.1"];
        let fields = lines.map(|line| ("x-forwarded-for", line));
        client(&fields, "203.0.113.9");
        let lines: [&[u8]; 2] = [b"for=203.0.113.9", b"for=10.2.0.1"];
        client(&lines.map(|line| ("forwarded", line)), "203.0.113.9");
        // An open quote does not reach into the next line, nor into what a proxy appended.
        let lines: [&[u8]; 2] = [b"for=\"1.1.1.1", b"for=203.0.113.9"];
        client(&lines.map(|line| ("forwarded", line)), "203.0.113.9");
    }

    #[test]
    fn elements_of_rfc_7239() {
        forwarded("for=203.0.113.9", "203.0.113.9");
        forwarded("For=203.0.113.9;Proto=http;by=203.0.113.43", "203.0.113.9");
        forwarded("proto=http; for=\"203.0.113.9\"", "203.0.113.9");
        forwarded("for=\"[2001:db8::1]:4711\"", "2001:db8::1");
        forwarded("for=\"[2001:db8::1]\"", "2001:db8::1");
        forwarded("for=\"203.0.113.9:_port\"", "203.0.113.9");
        forwarded("for=\"203.0.113.\\9\"", "203.0.113.9");
        forwarded("for=1.1.1.1, for=203.0.113.9, for=10.2.0.1", "203.0.113.9");
        forwarded("for=203.0.113.9;host=\"a,b;for=1.1.1.1\"", "203.0.113.9");
        forwarded(
            "for=203.0.113.9;host=\"a\\\",b\", for=10.2.0.1",
            "203.0.113.9",
        );
        for unreadable in [
            "for=_hidden",
            "for=\"_hidden:80\"",
            "for=unknown",
            "for=unknown;proto=http",
            "for=",
            "for",
            "by=203.0.113.9",
            "for=203.0.113.9;for=203.0.113.8",
            "for=203.0.113.9 proto=http",
            "for=\"203.0.113.9\"proto=http",
            "for=\"203.0.113.9",
            "for=203.0.113.9;",
            "203.0.113.9",
        ] {
            forwarded(unreadable, "10.0.0.1");
            forwarded(&format!("for=203.0.113.9, {unreadable}"), "10.0.0.1");
        }
    }

    #[test]
    fn what_a_client_began_cannot_swallow_what_a_proxy_appended() {
        for began in [
            "for=\"1.1.1.1",
            "for=1.1.1.1;x=\"",
            "for=1.1.1.1;x=\"a\\",
            "\"\"\"",
            "\\",
            ",,,",
            "for=unknown",
        ] {
            forwarded(&format!("{began}, for=203.0.113.9"), "203.0.113.9");
            forwarded(&format!("{began}, for=\"[2001:db8::1]\""), "2001:db8::1");
            forwarded(
                &format!("{began}, for=203.0.113.9, for=10.2.0.1;by=\"[2001:db8:a::1]\""),
                "203.0.113.9",
            );
        }
    }

    #[test]
    fn two_fields_that_disagree_are_not_believed() {
        for (forwarded, expect) in [
            ("for=203.0.113.9", "203.0.113.9"),
            ("for=1.1.1.1, for=203.0.113.9", "203.0.113.9"),
            ("for=198.51.100.6", "10.0.0.1"),
            ("for=unknown", "10.0.0.1"),
        ] {
            let fields: [(_, &[u8]); 2] = [
                ("forwarded", forwarded.as_bytes()),
                ("x-forwarded-for", b"203.0.113.9, 10.2.0.1"),
            ];
            client(&fields, expect);
        }
    }

    #[track_caller]
    fn scheme(tls: bool, fields: &[(&'static str, &'static str)], expect: Scheme) {
        let trusted: [Network; 1] = ["10.0.0.0/8".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let of = |peer: &str| client_scheme(tls, peer.parse().unwrap(), &headers, &trusted);
        assert_eq!(of("10.0.0.1"), expect);
        let own = if tls { Scheme::Https } else { Scheme::Http };
        assert_eq!(of("192.0.2.1"), own, "nobody believes a stranger");
    }

    #[test]
    fn what_the_client_spoke_is_told_by_trusted_proxies_alone() {
        scheme(false, &[], Scheme::Http);
        scheme(true, &[], Scheme::Https);
        scheme(false, &[("x-forwarded-proto", "https")], Scheme::Https);
        scheme(true, &[("x-forwarded-proto", "http")], Scheme::Http);
        scheme(false, &[("x-forwarded-proto", "https, http")], Scheme::Http);
        scheme(
            false,
            &[("forwarded", "for=1.1.1.1;proto=https")],
            Scheme::Https,
        );
        let both = [("forwarded", "proto=http"), ("x-forwarded-proto", "https")];
        scheme(false, &both, Scheme::Http);
    }
}
