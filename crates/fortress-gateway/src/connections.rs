//! How many connections there are, in all and of each client address, and how fast they come.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use fortress_limits::{
    Key,
    gcra::{Gcra, Rate},
};
use fortress_model::{Bounds, Frequency, Reason};

const SHARDS: usize = 16;
/// Client addresses whose rates are known at once; under a flood of more those that were seen least
/// are forgotten. They take 64 bytes each, whether or not anybody comes.
const RATED: usize = 1 << 16;

/// Counts of open connections. The memory is bounded by the connections themselves: an address
/// without one has no entry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connections(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    all: AtomicUsize,
    clients: [Mutex<HashMap<IpAddr, usize>>; SHARDS],
    hasher: RandomState,
}

/// A connection's place; dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Place {
    counts: Arc<Counts>,
    client: Option<IpAddr>,
}

impl Connections {
    /// Takes a place, of nobody yet.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn place(&self, bounds: &Bounds) -> Result<Place, Reason> {
        let counts = &self.0;
        if counts.all.fetch_add(1, Ordering::Relaxed) >= bounds.connections {
            counts.all.fetch_sub(1, Ordering::Relaxed);
            return Err(Reason::ConnectionsExhausted);
        }
        Ok(Place {
            counts: Arc::clone(counts),
            client: None,
        })
    }

    /// Open connections.
    pub(crate) fn open(&self) -> usize {
        self.0.all.load(Ordering::Relaxed)
    }
}

impl Place {
    /// Gives the place to a client. A trusted proxy speaks for many clients, and is none.
    ///
    /// # Errors
    /// The client has as many as it may.
    pub(crate) fn give(&mut self, client: IpAddr, bounds: &Bounds) -> Result<(), Reason> {
        let key = block(client);
        let counts = Arc::clone(&self.counts);
        let mut clients = counts
            .shard(key)
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let count = clients.entry(key).or_default();
        if *count >= bounds.connections_per_client {
            return Err(Reason::ClientConnectionsExhausted);
        }
        *count += 1;
        self.client = Some(key);
        Ok(())
    }
}

/// How fast clients open connections and begin handshakes.
#[derive(Debug)]
pub(crate) struct Rates {
    table: Gcra,
    hasher: RandomState,
    began: Instant,
}

/// What is counted of a client.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) enum Rated {
    Connection,
    Handshake,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            table: Gcra::new(RATED),
            hasher: RandomState::new(),
            began: Instant::now(),
        }
    }
}

impl Rates {
    /// Counts one more.
    ///
    /// # Errors
    /// It comes too fast.
    pub(crate) fn take(&self, what: Rated, client: IpAddr, bounds: &Bounds) -> Result<(), Reason> {
        let now = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.take_at(what, client, bounds, now)
    }

    fn take_at(
        &self,
        what: Rated,
        client: IpAddr,
        bounds: &Bounds,
        now: u64,
    ) -> Result<(), Reason> {
        let (Frequency { count, seconds }, reason) = match what {
            Rated::Connection => (bounds.connection_rate, Reason::ConnectionRate),
            Rated::Handshake => (bounds.handshake_rate, Reason::HandshakeRate),
        };
        let period = Duration::from_secs(seconds.into());
        // The range of the key leaves nothing that is no rate.
        let Ok(rate) = Rate::new(count.into(), period, count.into()) else {
            return Ok(());
        };
        let half = |half: u8| self.hasher.hash_one((half, what, block(client)));
        let key = Key::from_halves(half(0), half(1));
        match self.table.take(key, &rate, 1, now).allowed {
            true => Ok(()),
            false => Err(reason),
        }
    }
}

impl Counts {
    fn shard(&self, key: IpAddr) -> &Mutex<HashMap<IpAddr, usize>> {
        let hash = usize::try_from(self.hasher.hash_one(key) % 16).unwrap_or_default();
        let [first, ..] = &self.clients;
        self.clients.get(hash).unwrap_or(first)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.counts.all.fetch_sub(1, Ordering::Relaxed);
        let Some(key) = self.client else { return };
        let mut clients = self
            .counts
            .shard(key)
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = clients.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&key);
            }
        }
    }
}

/// An IPv6 client has a whole /64 to itself.
fn block(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(
            address.to_bits() & !u128::from(u64::MAX),
        )),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_given_back() {
        let bounds = Bounds {
            connections: 3,
            connections_per_client: 2,
            ..Bounds::default()
        };
        let connections = Connections::default();
        let admit = |client: &str| {
            let mut place = connections.place(&bounds)?;
            place.give(client.parse().unwrap(), &bounds)?;
            Ok::<_, Reason>(place)
        };
        let first = admit("2001:db8::1").unwrap();
        let _second = admit("2001:db8::2").unwrap();
        assert_eq!(
            admit("2001:db8::3").unwrap_err(),
            Reason::ClientConnectionsExhausted
        );
        let _third = admit("192.0.2.1").unwrap();
        assert_eq!(
            admit("192.0.2.2").unwrap_err(),
            Reason::ConnectionsExhausted
        );
        drop(first);
        assert_eq!(connections.open(), 2);
        admit("2001:db8::3").unwrap();
    }

    #[test]
    fn what_comes_too_fast_is_refused_and_forgiven() {
        let rates = Rates::default();
        let bounds = Bounds {
            connection_rate: Frequency {
                count: 2,
                seconds: 1,
            },
            handshake_rate: Frequency {
                count: 1,
                seconds: 60,
            },
            ..Bounds::default()
        };
        let second = 1_000_000_000;
        let take =
            |what, client: &str, now| rates.take_at(what, client.parse().unwrap(), &bounds, now);
        let slow = Err(Reason::ConnectionRate);
        assert_eq!(take(Rated::Connection, "192.0.2.1", 0), Ok(()));
        assert_eq!(take(Rated::Connection, "::ffff:192.0.2.1", 0), Ok(()));
        assert_eq!(take(Rated::Connection, "192.0.2.1", 0), slow);
        assert_eq!(take(Rated::Connection, "192.0.2.2", 0), Ok(()));
        assert_eq!(take(Rated::Connection, "192.0.2.1", second / 2), Ok(()));
        assert_eq!(take(Rated::Connection, "192.0.2.1", second / 2), slow);
        // One /64 is one client, and handshakes are counted by themselves.
        assert_eq!(take(Rated::Handshake, "2001:db8::1", 0), Ok(()));
        let fast = Err(Reason::HandshakeRate);
        assert_eq!(take(Rated::Handshake, "2001:db8::2", 59 * second), fast);
        assert_eq!(take(Rated::Handshake, "2001:db8:0:1::2", 0), Ok(()));
        assert_eq!(take(Rated::Handshake, "2001:db8::2", 60 * second), Ok(()));
        assert_eq!(take(Rated::Connection, "2001:db8::2", 0), Ok(()));
    }
}
