//! The header of the PROXY protocol that a connection begins with: taken off the socket to its last
//! byte and no further, since what follows is the client's TLS or HTTP.

use std::io;

use fortress_model::Reason;
use tokio::{io::AsyncReadExt, net::TcpStream};

use super::{
    Context,
    admission::{self, Refusal},
};
use crate::{
    proxy_protocol::{Header, LONGEST, parse},
    request::Standing,
};

/// Why a connection goes no further.
pub(super) enum Ended {
    Refused(Refusal),
    /// It was closed before its first byte, as load balancers do to see whether anybody listens.
    Gone,
}

impl From<Refusal> for Ended {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Learns whose connection it is, and whether they may have it.
///
/// # Errors
/// Nobody knows, or they may not.
pub(super) async fn learn(context: &mut Context, tcp: &mut TcpStream) -> Result<(), Ended> {
    let malformed = |detail: &'static str| Refusal {
        reason: Reason::ProxyMalformed,
        detail: detail.into(),
    };
    let header = match tokio::time::timeout(context.bounds.head_time, read(tcp)).await {
        Ok(Ok(Some(header))) => header,
        Ok(Ok(None)) => return Err(Ended::Gone),
        Ok(Err(Failed::Malformed(detail))) => return Err(malformed(detail).into()),
        Ok(Err(Failed::Broken)) => return Err(malformed("broke off in the header").into()),
        Err(_) => return Err(malformed("no whole header within `bounds.head_time`").into()),
    };
    let arrival = &mut context.arrival;
    match header {
        Header::Proxied {
            source,
            destination,
        } => {
            arrival.peer = source;
            arrival.own = destination;
        }
        Header::Local => {}
        Header::Unknown => arrival.standing = Standing::Nameless,
    }
    let gateway = context.worker.gateway();
    if let Some(place) = &mut context.place {
        let whose = (&*context.plan, &context.arrival);
        admission::let_in(&context.worker, &gateway, whose, place)?;
    }
    Ok(())
}

enum Failed {
    Malformed(&'static str),
    Broken,
}

impl From<io::Error> for Failed {
    fn from(_: io::Error) -> Self {
        Self::Broken
    }
}

/// Bytes that are looked at at a time: most headers fit (section 2 of the specification promises
/// that they come in one piece).
const PIECE: usize = 536;

/// `None` if nothing came at all.
async fn read(tcp: &mut TcpStream) -> Result<Option<Header>, Failed> {
    let mut held = Vec::new();
    // INVARIANT: whatever is longer is refused by the parser.
    while held.len() <= LONGEST {
        let mut piece = [0; PIECE];
        let seen = tcp.peek(&mut piece).await?;
        if seen == 0 {
            return match held.is_empty() {
                true => Ok(None),
                false => Err(Failed::Broken),
            };
        }
        let before = held.len();
        held.extend_from_slice(piece.get(..seen).unwrap_or_default());
        let parsed = parse(&held).map_err(|malformed| Failed::Malformed(malformed.0))?;
        // Without an end, all that is there belongs to the header.
        let mine = parsed.map_or(seen, |(_, length)| length.saturating_sub(before));
        tcp.read_exact(piece.get_mut(..mine).unwrap_or_default())
            .await?;
        if let Some((header, _)) = parsed {
            return Ok(Some(header));
        }
    }
    Err(Failed::Malformed("no end"))
}
