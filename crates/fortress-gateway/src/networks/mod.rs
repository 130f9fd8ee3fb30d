//! Lists of networks, and from where clients may come.
//!
//! What stands in the configuration and its files is compiled with it; what is fetched is living, and
//! survives a reload ([`Feeds`]). Deliberately not here: the sets themselves
//! (`fortress_limits::networks`).

mod crowdsec;
mod feed;

use std::{net::IpAddr, sync::Arc};

pub(crate) use feed::{Feed, Feeds, Wish};
use fortress_limits::networks::Networks;
use fortress_model::config::Verdict;

/// A list by name: what its sources say, together.
#[derive(Debug)]
pub(crate) struct List {
    pub(crate) name: Arc<str>,
    /// What the configuration and its file say.
    pub(crate) fixed: Networks,
    pub(crate) feeds: Box<[Followed]>,
}

/// What is fetched, and which decisions count.
pub(crate) type Followed = (Arc<Feed>, Box<[Verdict]>);

impl List {
    /// Whether the address is on it.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.fixed.contains(address)
            || self
                .feeds
                .iter()
                .any(|(feed, verdicts)| feed.contains(address, verdicts))
    }
}

/// From where clients may come.
#[derive(Debug, Default)]
pub(crate) struct NetworksPlan {
    /// Only from these, if it is said.
    pub(crate) allow: Option<Box<[Arc<List>]>>,
    pub(crate) deny: Box<[Arc<List>]>,
}

impl NetworksPlan {
    /// Whether a client may come.
    ///
    /// # Errors
    /// Why not, for the operator.
    pub(crate) fn judge(&self, client: IpAddr) -> Result<(), String> {
        if let Some(list) = self.deny.iter().find(|list| list.contains(client)) {
            return Err(format!("{client} is on the list `{}`", list.name));
        }
        match &self.allow {
            Some(allow) if !allow.iter().any(|list| list.contains(client)) => {
                let names: Vec<&str> = allow.iter().map(|list| &*list.name).collect();
                Err(format!("{client} is on none of `{}`", names.join("`, `")))
            }
            Some(_) | None => Ok(()),
        }
    }
}
