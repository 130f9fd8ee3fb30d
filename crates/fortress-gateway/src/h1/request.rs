//! Request heads (RFC 9112, sections 3 and 6).

use super::{
    Authority, HeadBounds, Refused, ScanState, Version,
    fields::{Delimited, Fields, is_token},
    scan::FirstLine,
};
use crate::path::validate_target;
use bytes::BytesMut;
use fortress_model::Reason;
use http::{
    HeaderMap, Method,
    header::{EXPECT, HOST},
};

/// The longest method that is registered has 17 bytes (`UPDATEREDIRECTREF`).
const METHOD_LENGTH: usize = 32;

/// The head of a request, with everything in it read once.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// Any token of at most 32 bytes; whether it is declared is for routing to say.
    pub method: Method,
    /// What is asked for.
    pub target: Target,
    /// Whom it is asked of: `Host`, to which an absolute target's authority is equal.
    pub host: Authority,
    /// The version that the client speaks.
    pub version: Version,
    /// All fields as they came, in their order, hop-by-hop ones included.
    pub headers: HeaderMap,
    /// How the body ends.
    pub framing: Framing,
    /// Whether the client lets the connection live on.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expect_continue: bool,
    /// Bytes of the head on the wire.
    pub bytes: usize,
}

/// The target's forms (RFC 9112, section 3.2); an absolute form is reduced to its path and query.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Target {
    /// `path [ "?" query ]`: begins with `/`; every character is one that [`validate_target`] allows
    /// there, every percent-encoding is whole. Not normalised.
    Origin(Box<str>),
    /// `*`, of `OPTIONS` alone.
    Asterisk,
    /// A host and port, of `CONNECT` alone; it equals [`RequestHead::host`].
    Authority,
}

impl Target {
    /// As it was sent, for the journal.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Origin(text) => text,
            Self::Asterisk => "*",
            Self::Authority => "",
        }
    }
}

/// How a request's body ends. A request never ends with its connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    /// There is no body.
    None,
    /// The body has this many bytes.
    Length(u64),
    /// The body is chunked.
    Chunked,
}

/// Splits a whole request head off the front of `buffer`; `None` asks for more bytes. What remains
/// in `buffer` is the body. `scan` remembers what was read, so that no byte is looked for twice.
///
/// One empty line before the request line is skipped (RFC 9112, section 2.2).
///
/// # Errors
/// A head that is not strictly one request, or exceeds `bounds`. The connection must then close.
pub fn parse_request(
    buffer: &mut BytesMut,
    bounds: &HeadBounds,
    scan: &mut ScanState,
) -> Result<Option<RequestHead>, Refused> {
    let Some(head) = scan.next_head(buffer, bounds, &RequestLineOf(bounds))? else {
        return Ok(None);
    };
    let line = RequestLine::split(head.first_line(), bounds)?;
    let method =
        Method::from_bytes(line.method).map_err(|_| malformed("the method is no token"))?;
    let (target, authority) = line.target(&method)?;
    let fields = Fields::read(&head)?;
    let host = host(&fields.headers)?;
    if let Some((authority, default_port)) = authority
        && !host.is_same(&authority, default_port)
    {
        return Err(Refused::new(
            Reason::HostMismatch,
            "the target's authority is not the one of `Host`",
        ));
    }
    let framing = match fields.delimited(line.version)? {
        Delimited::Unsaid => Framing::None,
        Delimited::Length(length) => Framing::Length(length),
        Delimited::Chunked => Framing::Chunked,
    };
    let expects = expects_continue(&fields.headers)?;
    Ok(Some(RequestHead {
        method,
        target,
        host,
        version: line.version,
        keep_alive: fields.keeps_alive(line.version),
        framing,
        // RFC 9110, section 10.1.1: not of HTTP/1.0, and pointless without a body.
        expect_continue: expects
            && line.version == Version::Http11
            && !matches!(framing, Framing::None | Framing::Length(0)),
        bytes: head.bytes.len(),
        headers: fields.headers,
    }))
}

/// `method SP target SP version`, split but for the target's form.
struct RequestLine<'a> {
    method: &'a [u8],
    target: &'a [u8],
    version: Version,
}

impl<'a> RequestLine<'a> {
    fn split(line: &'a [u8], bounds: &HeadBounds) -> Result<Self, Refused> {
        check_method(line)?;
        let (method, rest) = split_space(line).ok_or_else(no_version)?;
        if method.is_empty() {
            return Err(malformed("the request line begins with a space"));
        }
        let Some((target, version)) = split_space(rest) else {
            check_target_length(rest, bounds)?;
            return Err(no_version());
        };
        check_target_length(target, bounds)?;
        Ok(Self {
            method,
            target,
            version: read_version(version)?,
        })
    }

    /// The target, and the authority that it names, with the port that is meant when none is
    /// written.
    fn target(&self, method: &Method) -> Result<(Target, Option<(Authority, u16)>), Refused> {
        if method == Method::CONNECT {
            // A CONNECT target has no default port (RFC 9110, section 9.3.6).
            let authority = Authority::parse(self.target)?;
            if authority.port().is_none() {
                return Err(malformed("the target of CONNECT has no port"));
            }
            return Ok((Target::Authority, Some((authority, 0))));
        }
        if self.target == b"*" {
            return if method == Method::OPTIONS {
                Ok((Target::Asterisk, None))
            } else {
                Err(malformed(
                    "the target is `*`, but the method is not OPTIONS",
                ))
            };
        }
        if self.target.first() == Some(&b'/') {
            return Ok((Target::Origin(validate_target(self.target)?.into()), None));
        }
        self.absolute(method)
    }

    fn absolute(&self, method: &Method) -> Result<(Target, Option<(Authority, u16)>), Refused> {
        let (rest, default_port) = strip_scheme(self.target)
            .ok_or_else(|| malformed("the target is neither a path nor an http URI"))?;
        let end = memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at_checked(end).unwrap_or((rest, b""));
        let authority = Some((Authority::parse(authority)?, default_port));
        if rest.is_empty() {
            let target = if method == Method::OPTIONS {
                Target::Asterisk
            } else {
                Target::Origin("/".into())
            };
            return Ok((target, authority));
        }
        let target = if rest.first() == Some(&b'?') {
            let with_path = [b"/", rest].concat();
            validate_target(&with_path)?.into()
        } else {
            validate_target(rest)?.into()
        };
        Ok((Target::Origin(target), authority))
    }
}

struct RequestLineOf<'a>(&'a HeadBounds);

impl FirstLine for RequestLineOf<'_> {
    const SKIPS_EMPTY_LINE: bool = true;

    fn check(&self, line: &[u8]) -> Result<(), Refused> {
        RequestLine::split(line, self.0).map(|_| ())
    }

    /// A client that speaks something else, such as TLS, is told at once.
    fn check_partial(&self, line: &[u8]) -> Result<(), Refused> {
        // A lone CR may yet become the empty line that is skipped.
        if line.is_empty() || line == b"\r" {
            return Ok(());
        }
        check_method(line)?;
        // Not searched for spaces, since it may come byte by byte; ` HTTP/1.1` may be there.
        let longest = METHOD_LENGTH.saturating_add(10).saturating_add(self.0.uri);
        if line.len() > longest {
            return Err(uri_too_long(self.0));
        }
        Ok(())
    }
}

fn check_method(line: &[u8]) -> Result<(), Refused> {
    let method = line
        .iter()
        .take(METHOD_LENGTH.saturating_add(1))
        .take_while(|byte| is_token(**byte))
        .count();
    if method > METHOD_LENGTH {
        return Err(malformed("the method is longer than 32 bytes"));
    }
    match line.get(method) {
        None | Some(b' ') => Ok(()),
        Some(_) => Err(malformed("the method is no token")),
    }
}

fn check_target_length(target: &[u8], bounds: &HeadBounds) -> Result<(), Refused> {
    if target.len() > bounds.uri {
        return Err(uri_too_long(bounds));
    }
    Ok(())
}

fn uri_too_long(bounds: &HeadBounds) -> Refused {
    Refused::new(
        Reason::UriTooLong,
        format!("the target is longer than {} bytes", bounds.uri),
    )
}

fn read_version(version: &[u8]) -> Result<Version, Refused> {
    match version {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(Refused::new(
                Reason::VersionUnsupported,
                "the version is neither HTTP/1.0 nor HTTP/1.1",
            ))
        }
        _ => Err(no_version()),
    }
}

fn strip_scheme(target: &[u8]) -> Option<(&[u8], u16)> {
    let strip = |scheme: &[u8]| {
        let (prefix, rest) = target.split_at_checked(scheme.len())?;
        prefix.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    strip(b"http://")
        .map(|rest| (rest, 80))
        .or_else(|| strip(b"https://").map(|rest| (rest, 443)))
}

fn split_space(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(b' ', bytes)?;
    let (before, after) = bytes.split_at_checked(at)?;
    Some((before, after.get(1..).unwrap_or_default()))
}

/// RFC 9112, section 3.2 demands exactly one in HTTP/1.1; HTTP/1.0 knew none, but without it there
/// is no telling which API is meant.
fn host(headers: &HeaderMap) -> Result<Authority, Refused> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => Authority::parse(host.as_bytes()),
        (Some(_), Some(_)) => Err(Refused::new(
            Reason::HostInvalid,
            "`Host` is given more than once",
        )),
        (None, _) => Err(Refused::new(Reason::HostInvalid, "there is no `Host`")),
    }
}

fn expects_continue(headers: &HeaderMap) -> Result<bool, Refused> {
    let mut expectations = headers.get_all(EXPECT).iter();
    match (expectations.next(), expectations.next()) {
        (None, _) => Ok(false),
        (Some(value), None) if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(true),
        (Some(_), _) => Err(Refused::new(
            Reason::ExpectationUnknown,
            "`Expect` is not 100-continue",
        )),
    }
}

fn no_version() -> Refused {
    malformed("the request line is not a method, a target and a version")
}

fn malformed(detail: &'static str) -> Refused {
    Refused::new(Reason::HeadMalformed, detail)
}
