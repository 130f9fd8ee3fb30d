//! The host and port that a request is for, read once and compared by value.
//!
//! Narrower than RFC 3986 allows: no user information, no percent-encoding, no sub-delims. Nobody
//! names a host so, and parsers disagree about each of them.

use super::Refused;
use fortress_model::Reason;
use std::{fmt, net::Ipv6Addr, str::FromStr};

/// `uri-host [":" port]`, in lower case and without the root's final dot (RFC 9110, section 7.2).
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Authority {
    text: Box<str>,
    name_length: usize,
    port: Option<u16>,
}

impl Authority {
    /// Reads the value of `Host`, the authority of a target, or HTTP/2's `:authority`.
    ///
    /// # Errors
    /// [`Reason::HostInvalid`] unless it is a name of letters, digits, `-`, `.` and `_`, or an
    /// IPv4 address, or an IPv6 address in brackets, with a port from 1 to 65535 or none.
    pub fn parse(value: &[u8]) -> Result<Self, Refused> {
        let text = std::str::from_utf8(value).map_err(|_| invalid("the host is not ASCII"))?;
        // RFC 1035, section 2.3.4: 255 bytes; and a port.
        if text.is_empty() || text.len() > 262 {
            return Err(invalid("the host is empty or too long"));
        }
        let (name, port) = split_port(text)?;
        let mut lower = String::with_capacity(text.len());
        lower.push_str(name.strip_suffix('.').unwrap_or(name));
        lower.make_ascii_lowercase();
        check_name(&lower)?;
        let name_length = lower.len();
        let port = port.map(read_port).transpose()?;
        if let Some(port) = port {
            lower.push(':');
            lower.push_str(itoa::Buffer::new().format(port));
        }
        Ok(Self {
            text: lower.into_boxed_str(),
            name_length,
            port,
        })
    }

    /// The whole of it, such as `api.example.com:8443`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host without its port; an IPv6 address keeps its brackets.
    pub fn name(&self) -> &str {
        self.text.get(..self.name_length).unwrap_or_default()
    }

    /// The port, where one was written.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Whether both name the same host and port, where an unwritten port is `default`.
    pub fn is_same(&self, other: &Self, default: u16) -> bool {
        self.name() == other.name() && self.port.unwrap_or(default) == other.port.unwrap_or(default)
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.text, formatter)
    }
}

fn split_port(text: &str) -> Result<(&str, Option<&str>), Refused> {
    if text.starts_with('[') {
        let (address, rest) = text
            .split_once(']')
            .ok_or_else(|| invalid("the host's bracket is not closed"))?;
        let name = text.get(..address.len().saturating_add(1)).unwrap_or(text);
        return match rest.strip_prefix(':') {
            None if rest.is_empty() => Ok((name, None)),
            None => Err(invalid("the host goes on after its bracket")),
            Some(port) => Ok((name, Some(port))),
        };
    }
    match text.split_once(':') {
        None => Ok((text, None)),
        Some((name, port)) => Ok((name, Some(port))),
    }
}

fn check_name(name: &str) -> Result<(), Refused> {
    if let Some(address) = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        return match Ipv6Addr::from_str(address) {
            Ok(_) => Ok(()),
            Err(_) => Err(invalid("the host's address is not IPv6")),
        };
    }
    let well_formed = !name.is_empty()
        && name.len() <= 255
        && name.as_bytes().split(|byte| *byte == b'.').all(|label| {
            !label.is_empty()
                && label
                    .iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        });
    if well_formed {
        Ok(())
    } else {
        Err(invalid("the host is not a name or an address"))
    }
}

fn read_port(text: &str) -> Result<u16, Refused> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = digits && !text.starts_with('0');
    match u16::from_str(text) {
        Ok(port) if canonical => Ok(port),
        Ok(_) | Err(_) => Err(invalid("the host's port is not a number from 1 to 65535")),
    }
}

fn invalid(detail: &'static str) -> Refused {
    Refused::new(Reason::HostInvalid, detail)
}
