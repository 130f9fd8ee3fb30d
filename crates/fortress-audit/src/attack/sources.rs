//! Where attacks come from: on loopback from as many addresses as are wanted, behind a trusted proxy
//! under as many names, else from the one address that this machine has.
//!
//! Gateways remember who attacked them. So each part of a run has addresses of its own, and each run
//! others than the last. Deliberately not here: which attack comes from where.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

use super::{Request, Target, send};

/// How many addresses are at hand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sources {
    /// One, whatever is done.
    One,
    /// Those of loopback, all of which are this machine's.
    Loopback {
        /// Where they begin.
        first: u32,
    },
    /// What a field says that the target believes us, since it takes us for its proxy.
    Named {
        /// Where they begin.
        first: u32,
    },
}

/// An address that something comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// The machine's own.
    Own,
    /// This one, to which the connection is bound.
    Bound(Ipv4Addr),
    /// This one, in a field.
    Named(Ipv4Addr),
}

impl Sources {
    /// Tries which there are. `drawn` is any number, another one for each run; `believes` says whether
    /// the target believes what this address says of its clients.
    pub async fn find(target: &Target, drawn: u32, believes: impl Fn(IpAddr) -> bool) -> Self {
        if target.address.is_ipv4() && target.address.ip().is_loopback() {
            let found = Self::Loopback { first: drawn };
            if target.from(found.source(0)).reaches().await.is_some() {
                return found;
            }
        }
        match target.reaches().await {
            Some(own) if believes(own) => Self::Named { first: drawn },
            Some(_) | None => Self::One,
        }
    }

    /// The address of this number; each is in a network (/24) of its own, as far as they reach.
    pub fn source(self, number: u32) -> Source {
        match self {
            Self::One => Source::Own,
            Self::Loopback { first } => Source::Bound(of_block(LOOPBACK, first, number)),
            Self::Named { first } => Source::Named(of_block(BENCHMARKS, first, number)),
        }
    }
}

/// 127.1.0.0 to 127.255.255.255: what stands in configurations is 127.0.0.1.
const LOOPBACK: (u32, u32) = (0x7f01_0000, 255 << 8);

/// 198.18.0.0/15, which is nobody's (RFC 2544).
const BENCHMARKS: (u32, u32) = (0xc612_0000, 2 << 8);

/// An address of a block of so many networks.
fn of_block((block, networks): (u32, u32), first: u32, number: u32) -> Ipv4Addr {
    let at = (first >> 8).wrapping_add(number);
    let host = (first & 0xff).wrapping_add(at / networks) % 254;
    Ipv4Addr::from(block + ((at % networks) << 8) + host + 1)
}

impl Target {
    /// The same target, attacked from there.
    #[must_use]
    pub fn from(&self, source: Source) -> Self {
        Self {
            source,
            ..self.clone()
        }
    }

    /// A request as it goes there from where it comes.
    pub(super) fn encode(&self, request: &Request) -> Vec<u8> {
        match self.source {
            Source::Named(address) => {
                let named = request.clone().with("X-Forwarded-For", address.to_string());
                named.encode(&self.host)
            }
            Source::Own | Source::Bound(_) => request.encode(&self.host),
        }
    }

    /// A socket of the target's family, bound to the source.
    pub(super) fn socket(&self) -> std::io::Result<TcpSocket> {
        let socket = match self.address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if let Source::Bound(address) = self.source {
            socket.bind(SocketAddr::from((address, 0)))?;
        }
        Ok(socket)
    }

    /// Whether anything answers there, and by which address of this machine.
    async fn reaches(&self) -> Option<IpAddr> {
        let connecting = self.socket().ok()?.connect(self.address);
        let stream = tokio::time::timeout(send::CONNECT, connecting).await;
        Some(stream.ok()?.ok()?.local_addr().ok()?.ip())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::attack::send::{Watch, send};

    #[test]
    fn addresses_are_many_and_others_in_each_run() {
        for make in [
            |first| Sources::Loopback { first },
            |first| Sources::Named { first },
        ] {
            let of = |first: u32| -> BTreeSet<Ipv4Addr> {
                let addresses = (0..2_000).map(|number| match make(first).source(number) {
                    Source::Bound(address) | Source::Named(address) => address,
                    Source::Own => panic!("one of many"),
                });
                addresses.collect()
            };
            let (one, other) = (of(7), of(0xdead_beef));
            assert_eq!((one.len(), other.len()), (2_000, 2_000));
            assert!(one.is_disjoint(&other));
            assert!(!one.contains(&Ipv4Addr::LOCALHOST));
            let near = |address: &Ipv4Addr| {
                [127, 198].contains(&address.octets()[0]) && address.octets()[3] != 0
            };
            assert!(one.iter().chain(&other).chain(&of(u32::MAX)).all(near));
        }
        assert_eq!(Sources::One.source(5), Source::Own);
    }

    /// A target that says who came, by connection or by field.
    async fn mirror() -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, peer)) = listener.accept().await {
                let mut piece = [0; 2048];
                let read = stream.read(&mut piece).await.unwrap();
                let head = String::from_utf8_lossy(&piece[..read]).into_owned();
                let named = head.split("X-Forwarded-For: ").nth(1);
                let named = named.and_then(|rest| rest.split("\r\n").next());
                let who = named.map_or(peer.ip().to_string(), str::to_owned);
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{who}",
                    who.len()
                );
                drop(stream.write_all(answer.as_bytes()).await);
            }
        });
        Target::plain(address)
    }

    async fn seen(target: &Target, source: Source) -> String {
        let target = target.from(source);
        let answer = send(
            &target,
            &target.encode(&Request::new("GET", "/")),
            Watch::First,
        )
        .await;
        String::from_utf8(answer.body).unwrap()
    }

    #[tokio::test]
    async fn what_is_sent_comes_from_its_source() {
        let target = mirror().await;
        let own = Ipv4Addr::LOCALHOST.to_string();
        assert_eq!(seen(&target, Source::Own).await, own);
        let named = Ipv4Addr::new(198, 18, 0, 9);
        assert_eq!(seen(&target, Source::Named(named)).await, named.to_string());
        // Not every system has all of loopback.
        match Sources::find(&target, 7, |_| true).await {
            found @ Sources::Loopback { .. } => {
                let Source::Bound(address) = found.source(3) else {
                    panic!("not bound");
                };
                assert_eq!(seen(&target, found.source(3)).await, address.to_string());
            }
            found @ (Sources::Named { .. } | Sources::One) => {
                assert_eq!(found, Sources::Named { first: 7 });
            }
        }
    }

    #[tokio::test]
    async fn where_nobody_listens_or_believes_there_is_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut target = Target::plain(listener.local_addr().unwrap());
        // IPv6 has one address of loopback.
        if let Ok(six) = TcpListener::bind("[::1]:0").await {
            target.address = six.local_addr().unwrap();
            let one = Sources::find(&target, 7, |_| false).await;
            assert_eq!(one, Sources::One);
            let named = Sources::find(&target, 7, |own| own.is_loopback()).await;
            assert_eq!(named, Sources::Named { first: 7 });
        }
        drop(listener);
    }
}
