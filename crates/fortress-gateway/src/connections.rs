//! How many connections there are, in all and of each client address.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use fortress_model::{Bounds, Reason};

const SHARDS: usize = 16;

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
    /// Takes a place. A trusted proxy speaks for many clients and counts in all only.
    ///
    /// # Errors
    /// The reason to refuse the connection.
    pub(crate) fn admit(
        &self,
        client: IpAddr,
        trusted: bool,
        bounds: &Bounds,
    ) -> Result<Place, Reason> {
        let counts = &self.0;
        if counts.all.fetch_add(1, Ordering::Relaxed) >= bounds.connections {
            counts.all.fetch_sub(1, Ordering::Relaxed);
            return Err(Reason::ConnectionsExhausted);
        }
        let mut place = Place {
            counts: Arc::clone(counts),
            client: None,
        };
        if trusted {
            return Ok(place);
        }
        let key = block(client);
        {
            let mut clients = counts
                .shard(key)
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let count = clients.entry(key).or_default();
            if *count >= bounds.connections_per_client {
                return Err(Reason::ClientConnectionsExhausted);
            }
            *count += 1;
        }
        place.client = Some(key);
        Ok(place)
    }

    /// Open connections.
    pub(crate) fn open(&self) -> usize {
        self.0.all.load(Ordering::Relaxed)
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
        let admit = |client: &str| connections.admit(client.parse().unwrap(), false, &bounds);
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
}
