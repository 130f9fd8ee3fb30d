//! Networks of addresses, for `ipMatch`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A set of networks. A look-up costs the logarithm of how many there are, since lists from files
/// may be long.
#[derive(Clone, Debug, Default)]
pub(crate) struct IpNetworks {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

/// First and last addresses, ascending and disjoint.
type Ranges<T> = Vec<(T, T)>;

/// Why a text names no network.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum NetworkError {
    #[error("`{0}` is no IP address; write it as `192.0.2.1`, `192.0.2.0/24` or `2001:db8::/32`")]
    NoAddress(String),
    #[error("`{network}` has no prefix that fits; an address of this kind has {most} bits")]
    NoPrefix { network: String, most: u32 },
    #[error("no network is named; write addresses, divided by commas")]
    Empty,
}

impl IpNetworks {
    /// Reads addresses and networks, divided by commas.
    pub(crate) fn parse(text: &str) -> Result<Self, NetworkError> {
        let mut networks = Self::default();
        // As in ModSecurity, a comma too many does no harm.
        for network in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            networks.add(network)?;
        }
        if networks.v4.is_empty() && networks.v6.is_empty() {
            return Err(NetworkError::Empty);
        }
        networks.merge();
        Ok(networks)
    }

    /// Reads the lines of a file, each as [`Self::parse`] does; an empty file names none.
    pub(crate) fn from_lines(lines: &[Vec<u8>]) -> Result<Self, NetworkError> {
        let mut networks = Self::default();
        for line in lines {
            let line = String::from_utf8_lossy(line);
            for network in line
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
            {
                networks.add(network)?;
            }
        }
        networks.merge();
        Ok(networks)
    }

    /// Whether the address is in one of the networks. An IPv4 address that came in IPv6's clothes
    /// (`::ffff:192.0.2.1`) is the IPv4 address that it is.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => is_in(&self.v4, address.to_bits()),
            IpAddr::V6(address) => is_in(&self.v6, address.to_bits()),
        }
    }

    /// The same for a value; what is no address is in no network.
    pub(crate) fn contains_text(&self, value: &[u8]) -> bool {
        let text = std::str::from_utf8(value).ok();
        let address = text.and_then(|text| text.parse().ok());
        address.is_some_and(|address| self.contains(address))
    }

    fn add(&mut self, network: &str) -> Result<(), NetworkError> {
        let (address, prefix) = match network.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (network, None),
        };
        let no_address = || NetworkError::NoAddress(network.to_owned());
        match address.parse().map_err(|_| no_address())? {
            IpAddr::V4(address) => {
                let prefix = bits(network, prefix, Ipv4Addr::BITS)?;
                // A shift by all the bits is none at all.
                let host = u32::MAX.checked_shr(prefix).unwrap_or(0);
                let first = address.to_bits() & !host;
                self.v4.push((first, first | host));
            }
            IpAddr::V6(address) => {
                let prefix = bits(network, prefix, Ipv6Addr::BITS)?;
                let embedded = Ipv6Addr::BITS - Ipv4Addr::BITS;
                if let (Some(v4), Some(prefix)) =
                    (address.to_ipv4_mapped(), prefix.checked_sub(embedded))
                {
                    return self.add(&format!("{v4}/{prefix}"));
                }
                let host = u128::MAX.checked_shr(prefix).unwrap_or(0);
                let first = address.to_bits() & !host;
                self.v6.push((first, first | host));
            }
        }
        Ok(())
    }

    fn merge(&mut self) {
        merge(&mut self.v4);
        merge(&mut self.v6);
    }
}

/// The length of the prefix that is written, or all the bits.
fn bits(network: &str, prefix: Option<&str>, most: u32) -> Result<u32, NetworkError> {
    let Some(prefix) = prefix else {
        return Ok(most);
    };
    let digits = prefix.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = prefix.parse().ok().filter(|bits| digits && *bits <= most);
    parsed.ok_or_else(|| NetworkError::NoPrefix {
        network: network.to_owned(),
        most,
    })
}

/// Sorts, and joins what overlaps: of disjoint ranges the look-up needs one.
fn merge<T: Copy + Ord>(ranges: &mut Ranges<T>) {
    ranges.sort_unstable();
    ranges.dedup_by(|next, kept| {
        let overlaps = next.0 <= kept.1;
        if overlaps {
            kept.1 = kept.1.max(next.1);
        }
        overlaps
    });
}

fn is_in<T: Copy + Ord>(ranges: &Ranges<T>, address: T) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= address);
    let candidate = after.checked_sub(1).and_then(|at| ranges.get(at));
    candidate.is_some_and(|(_, last)| address <= *last)
}
