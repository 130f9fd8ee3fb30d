//! Sets of networks with up to millions of members, asked for every connection and request.
//!
//! Only whether an address lies in any of them is asked, so a set is its disjoint ranges, ascending:
//! a search for the last range that begins at or before the address. Of IPv4 an index over the first
//! 16 bits leaves a search among some dozens, in one or two cache lines. Deliberately not here:
//! where lists come from.

use std::net::IpAddr;

use fortress_model::config::Network;

/// Ranges below which an index costs more than it saves.
const INDEXED: usize = 512;
/// Of IPv6 each so-many-th range is in a sample, in which is looked first: few cache lines instead of
/// one for each halving.
const SAMPLED: usize = 64;

/// A set of networks.
#[derive(Clone, Debug, Default)]
pub struct Networks {
    v4: Ranges<u32>,
    /// For each value of the first 16 bits the place of the first range that begins there or later;
    /// empty for small sets.
    index: Box<[u32]>,
    v6: Ranges<u128>,
    /// Where each of so many ranges begins; empty for small sets.
    sample: Box<[u128]>,
}

#[derive(Clone, Debug)]
struct Ranges<T> {
    first: Box<[T]>,
    last: Box<[T]>,
}

impl<T> Default for Ranges<T> {
    fn default() -> Self {
        Self {
            first: Box::default(),
            last: Box::default(),
        }
    }
}

impl Networks {
    /// A set of these. IPv4 that is mapped into IPv6 is taken as IPv4.
    pub fn new(networks: impl IntoIterator<Item = Network>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            let (address, prefix) = canonical(network);
            match address {
                IpAddr::V4(address) => {
                    let hosts = u32::MAX.checked_shr(prefix.min(32)).unwrap_or(0);
                    let bits = address.to_bits();
                    v4.push((bits & !hosts, bits | hosts));
                }
                IpAddr::V6(address) => {
                    let hosts = u128::MAX.checked_shr(prefix.min(128)).unwrap_or(0);
                    let bits = address.to_bits();
                    v6.push((bits & !hosts, bits | hosts));
                }
            }
        }
        let v4 = Ranges::of(v4, |last| last.checked_add(1));
        let index = match v4.first.len() {
            0..INDEXED => Box::default(),
            _ => index(&v4.first),
        };
        let v6 = Ranges::of(v6, |last| last.checked_add(1));
        let sample = match v6.first.len() {
            0..INDEXED => Box::default(),
            _ => v6.first.iter().step_by(SAMPLED).copied().collect(),
        };
        Self {
            v4,
            index,
            v6,
            sample,
        }
    }

    /// Whether an address lies in one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let bits = address.to_bits();
                let top = usize::try_from(bits >> 16).unwrap_or_default();
                match (self.index.get(top), self.index.get(top + 1)) {
                    (Some(from), Some(to)) => self.v4.holds(bits, *from, *to),
                    (None, _) | (_, None) => self.v4.holds(bits, 0, u32::MAX),
                }
            }
            IpAddr::V6(address) => {
                let bits = address.to_bits();
                if self.sample.is_empty() {
                    return self.v6.holds(bits, 0, u32::MAX);
                }
                let behind = self.sample.partition_point(|first| *first <= bits);
                let place = |block: usize| u32::try_from(block * SAMPLED).unwrap_or(u32::MAX);
                let block = behind.checked_sub(1);
                block.is_some_and(|block| self.v6.holds(bits, place(block), place(behind)))
            }
        }
    }

    /// Disjoint ranges of addresses that they are.
    pub fn len(&self) -> usize {
        self.v4.first.len() + self.v6.first.len()
    }

    /// Whether nobody lies in them.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.v4.first) * 2
            + size_of_val(&*self.v6.first) * 2
            + size_of_val(&*self.index)
            + size_of_val(&*self.sample)
    }
}

/// The network as of its own kind: `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
fn canonical(network: Network) -> (IpAddr, u32) {
    let prefix = u32::from(network.prefix);
    match (network.address, network.address.to_canonical()) {
        (IpAddr::V6(_), IpAddr::V4(address)) if prefix >= 96 => (IpAddr::V4(address), prefix - 96),
        (address, _) => (address, prefix),
    }
}

/// The places at which the ranges of each value of the first 16 bits begin.
fn index(first: &[u32]) -> Box<[u32]> {
    let place = |top: u32| {
        let begins = u32::try_from(u64::from(top) << 16);
        let place = begins.map_or(first.len(), |begins| {
            first.partition_point(|first| *first < begins)
        });
        u32::try_from(place).unwrap_or(u32::MAX)
    };
    (0..=1 << 16).map(place).collect()
}

impl<T: Copy + Ord> Ranges<T> {
    /// Sorted, and those that touch joined.
    fn of(mut ranges: Vec<(T, T)>, after: impl Fn(T) -> Option<T>) -> Self {
        ranges.sort_unstable();
        let mut joined: Vec<(T, T)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match joined.last_mut() {
                Some((_, end)) if after(*end).is_none_or(|next| first <= next) => {
                    *end = last.max(*end);
                }
                Some(_) | None => joined.push((first, last)),
            }
        }
        Self {
            first: joined.iter().map(|(first, _)| *first).collect(),
            last: joined.iter().map(|(_, last)| *last).collect(),
        }
    }

    /// Whether a range holds it, of which those from `from` to `to` may begin behind others.
    fn holds(&self, address: T, from: u32, to: u32) -> bool {
        let from = usize::try_from(from).unwrap_or_default();
        let to = usize::try_from(to).map_or(self.first.len(), |to| to.min(self.first.len()));
        let among = self.first.get(from..to).unwrap_or_default();
        let behind = from + among.partition_point(|first| *first <= address);
        let last = behind.checked_sub(1).and_then(|place| self.last.get(place));
        last.is_some_and(|last| address <= *last)
    }
}

/// What a list in a text says: an address or a network in each line, comments after `#` or `;`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Listing {
    /// Those that could be read.
    pub networks: Vec<Network>,
    /// Lines that could not, by number from 1, the first [`Listing::SHOWN`] of them.
    pub wrong: Vec<(usize, String)>,
    /// How many could not.
    pub wrong_lines: usize,
}

impl Listing {
    /// Wrong lines that are kept.
    pub const SHOWN: usize = 5;
    /// Characters of a wrong line that are kept.
    const EXCERPT: usize = 60;

    /// Reads a list.
    pub fn read(text: &[u8]) -> Self {
        let mut listing = Self::default();
        for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let end = line.iter().position(|byte| matches!(byte, b'#' | b';'));
            let line = line.get(..end.unwrap_or(line.len())).unwrap_or_default();
            // A byte order mark is no address.
            let line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            let network = std::str::from_utf8(line)
                .ok()
                .and_then(|line| line.parse().ok());
            match network {
                Some(network) => listing.networks.push(network),
                None => {
                    listing.wrong_lines += 1;
                    if listing.wrong.len() < Self::SHOWN {
                        let shown = String::from_utf8_lossy(line);
                        let shown: String = shown.chars().take(Self::EXCERPT).collect();
                        listing
                            .wrong
                            .push((number + 1, shown.escape_debug().to_string()));
                    }
                }
            }
        }
        listing
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(networks: &[&str]) -> Networks {
        Networks::new(networks.iter().map(|network| network.parse().unwrap()))
    }

    #[track_caller]
    fn check(networks: &[&str], inside: &[&str], outside: &[&str]) {
        let networks = set(networks);
        let holds = |address: &&str| networks.contains(address.parse().unwrap());
        let missing: Vec<_> = inside.iter().filter(|address| !holds(address)).collect();
        let added: Vec<_> = outside.iter().filter(|address| holds(address)).collect();
        assert!(
            missing.is_empty() && added.is_empty(),
            "{missing:?} {added:?}"
        );
    }

    #[test]
    fn addresses_lie_in_networks_or_not() {
        check(
            &["10.0.0.0/8", "192.0.2.7", "192.0.2.8/31"],
            &[
                "10.0.0.0",
                "10.255.255.255",
                "192.0.2.7",
                "192.0.2.9",
                "::ffff:10.1.1.1",
            ],
            &[
                "9.255.255.255",
                "11.0.0.0",
                "192.0.2.6",
                "192.0.2.10",
                "::10.0.0.1",
                "::1",
            ],
        );
        // Bits beyond the prefix say nothing.
        check(&["10.1.2.3/8"], &["10.9.9.9"], &["11.1.2.3"]);
        check(
            &["2001:db8::/32", "::ffff:198.51.100.0/120"],
            &["2001:db8::1", "2001:db8:ffff::", "198.51.100.255"],
            &["2001:db7:ffff::", "2001:db9::", "198.51.101.0"],
        );
        check(&["0.0.0.0/0"], &["0.0.0.0", "255.255.255.255"], &["::1"]);
        check(&["::/0"], &["::1", "2001:db8::"], &["127.0.0.1"]);
        check(&[], &[], &["0.0.0.0", "::"]);
        assert_eq!(set(&["10.0.0.0/9", "10.128.0.0/9", "10.3.0.0/16"]).len(), 1);
    }

    #[test]
    fn lists_have_comments_and_mistakes_have_numbers() {
        let text = b"\xEF\xBB\xBF# a list\n\n10.0.0.0/8 ; SBL1\r\n  2001:db8::1\t# one\n10.0.0/8\n;\n10.0.0.0/33\n\xFF\n192.0.2.1";
        let listing = Listing::read(text);
        let networks: Vec<String> = listing.networks.iter().map(Network::to_string).collect();
        assert_eq!(networks, ["10.0.0.0/8", "2001:db8::1/128", "192.0.2.1/32"]);
        let wrong: Vec<_> = listing.wrong.iter().map(|(line, _)| *line).collect();
        assert_eq!((wrong, listing.wrong_lines), (vec![5, 7, 8], 3));
        let page = Listing::read("<p>\n".repeat(100).as_bytes());
        assert_eq!((page.wrong.len(), page.wrong_lines), (Listing::SHOWN, 100));
    }

    /// What looks at one network after the other.
    fn naive(networks: &[Network], address: IpAddr) -> bool {
        networks.iter().any(|network| network.contains(address))
    }

    fn network() -> impl Strategy<Value = Network> {
        let v4 = (any::<u32>(), 0..=32_u8).prop_map(|(bits, prefix)| Network {
            address: IpAddr::V4(bits.into()),
            prefix,
        });
        let v6 = (any::<u128>(), 0..=128_u8).prop_map(|(bits, prefix)| Network {
            address: IpAddr::V6(bits.into()),
            prefix,
        });
        // Most near each other, so that they meet.
        let near = (0..2_000_u32, 20..=32_u8).prop_map(|(bits, prefix)| Network {
            address: IpAddr::V4((0x0A00_0000 + bits * 37).into()),
            prefix,
        });
        let close = (0..2_000_u128, 100..=128_u8).prop_map(|(bits, prefix)| Network {
            address: IpAddr::V6(((0x2001_0db8 << 96) + bits * 41).into()),
            prefix,
        });
        prop_oneof![near, v4, v6, close]
    }

    proptest! {
        #[test]
        fn a_set_is_all_of_its_networks(
            networks in prop::collection::vec(network(), 0..6_000),
            addresses in prop::collection::vec(any::<u32>(), 0..50),
        ) {
            let set = Networks::new(networks.iter().copied());
            let near = networks.iter().flat_map(|network| match network.address {
                IpAddr::V4(address) => {
                    let bits = address.to_bits();
                    [bits, bits.wrapping_add(1), bits.wrapping_sub(1)].map(|bits| IpAddr::V4(bits.into()))
                }
                IpAddr::V6(address) => {
                    let bits = address.to_bits();
                    [bits, bits.wrapping_add(1), bits.wrapping_sub(1)].map(|bits| IpAddr::V6(bits.into()))
                }
            });
            let random = addresses.iter().map(|bits| IpAddr::V4((*bits).into()));
            for address in near.take(300).chain(random) {
                prop_assert_eq!(set.contains(address), naive(&networks, address), "{}", address);
            }
        }
    }

    #[test]
    fn a_million_networks_take_some_bytes_each() {
        let mut state = 1_u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            u32::try_from(state >> 32).unwrap()
        };
        let networks: Vec<Network> = (0..1_000_000)
            .map(|_| Network {
                address: IpAddr::V4(next().into()),
                prefix: 32,
            })
            .collect();
        let set = Networks::new(networks.iter().copied());
        assert!(
            set.len() > 990_000 && set.bytes() < 10 << 20,
            "{}",
            set.bytes()
        );
        let found = networks
            .iter()
            .filter(|network| set.contains(network.address));
        assert_eq!(found.count(), networks.len());
    }
}
