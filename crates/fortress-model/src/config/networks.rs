//! `networks`: lists of addresses, and what is said of clients that are in them.
//!
//! Deliberately not here: reading and fetching the lists, and whether a name is one of them.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use super::{
    Network, Spanned,
    reader::{Entry, Fields, PathUse, Reader},
    scalar,
};
use crate::secret::Secret;

/// A list of networks: what its sources say, together.
#[derive(Clone, Debug)]
pub struct NetworkList {
    /// Its key in `networks`.
    pub name: Spanned<String>,
    /// Those that stand in the configuration.
    pub addresses: Vec<Network>,
    /// A file with one in each line.
    pub file: Option<Spanned<PathBuf>>,
    /// A document like such a file.
    pub url: Option<Spanned<String>>,
    /// Decisions of CrowdSec.
    pub crowdsec: Option<CrowdSec>,
    /// Trust these certificates alone when asking, instead of the machine's.
    pub ca: Option<Spanned<PathBuf>>,
    /// How often what is fetched is asked for; `None` for its default.
    pub refresh: Option<Duration>,
}

/// CrowdSec's local API.
#[derive(Clone, Debug)]
pub struct CrowdSec {
    /// Its URL, without `/v1`.
    pub url: Spanned<String>,
    /// The bouncer's API key.
    pub key: Secret<String>,
    /// Which decisions put an address on the list.
    pub decisions: Vec<Verdict>,
}

/// What CrowdSec decided about an address.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Verdict {
    /// Not to be let in.
    Ban,
    /// To prove that it is a person.
    Captcha,
    /// To be slowed down.
    Throttle,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ban, Self::Captcha, Self::Throttle];

    /// As CrowdSec and the configuration write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ban => "ban",
            Self::Captcha => "captcha",
            Self::Throttle => "throttle",
        }
    }
}

/// From where clients may come: names of lists. `None` is unsaid; the nearest of each wins.
#[derive(Clone, Debug, Default)]
pub struct NetworkRules {
    /// Only clients in one of these.
    pub allow: Option<Vec<Spanned<String>>>,
    /// None in one of these.
    pub deny: Option<Vec<Spanned<String>>>,
}

impl NetworkRules {
    /// Takes what a nearer place says.
    pub fn apply(&mut self, nearer: &Self) {
        if nearer.allow.is_some() {
            self.allow.clone_from(&nearer.allow);
        }
        if nearer.deny.is_some() {
            self.deny.clone_from(&nearer.deny);
        }
    }
}

impl Reader<'_> {
    pub(super) fn network_rules(&mut self, entry: &Entry<'_>) -> NetworkRules {
        let Some(fields) = self.fields(entry) else {
            return NetworkRules::default();
        };
        let mut names = |name: &str| fields.get(name).map(|entry| self.spanned_texts(&entry));
        NetworkRules {
            allow: names("allow"),
            deny: names("deny"),
        }
    }

    pub(super) fn network_lists(&mut self, entry: &Entry<'_>) -> Vec<NetworkList> {
        let entries = self.entries(entry);
        let mut lists = Vec::new();
        for (name, entry) in entries {
            if self.identifier(&name.value, name.span, "a list of networks")
                && let Some(list) = self.network_list(name, &entry)
            {
                lists.push(list);
            }
        }
        lists
    }

    fn network_list(&mut self, name: Spanned<String>, entry: &Entry<'_>) -> Option<NetworkList> {
        let fields = self.fields(entry)?;
        let sources = ["addresses", "file", "url", "crowdsec"];
        if sources.iter().all(|source| fields.get(source).is_none()) {
            let message = format!("`{}` says not who is on it", entry.path);
            let help = "add `addresses: [192.0.2.0/24]`, `file: blocked.txt`, `url: https://…` or `crowdsec: http://127.0.0.1:8080`";
            self.error(entry.place, message, help);
            return None;
        }
        for (name, owners) in [
            ("key", &["crowdsec"][..]),
            ("decisions", &["crowdsec"]),
            ("ca", &["url", "crowdsec"]),
            ("refresh", &["url", "crowdsec"]),
        ] {
            if let Some(stray) = fields.get(name)
                && owners.iter().all(|owner| fields.get(owner).is_none())
            {
                let message = format!("`{}` goes with `{}`", stray.path, owners.join("` or `"));
                self.error(stray.place, message, "remove it");
            }
        }
        let path = |reader: &mut Self, name: &str| {
            let entry = fields.get(name)?;
            Some(reader.path(&entry, PathUse::Read))
        };
        let (file, ca) = (path(self, "file"), path(self, "ca"));
        let url = fields.get("url").map(|entry| self.https_url(&entry));
        let crowdsec = fields
            .get("crowdsec")
            .map(|entry| self.crowdsec(&entry, &fields));
        let refresh = fields.get("refresh").map(|entry| self.duration(&entry));
        // INVARIANT: what cannot be read must not become a list that lacks it.
        Some(NetworkList {
            name,
            addresses: fields
                .get("addresses")
                .map(|entry| self.list_addresses(&entry))
                .unwrap_or_default(),
            file: said(file)?,
            url: said(url)?,
            crowdsec: said(crowdsec)?,
            ca: said(ca)?,
            refresh: said(refresh)?,
        })
    }

    fn list_addresses(&mut self, entry: &Entry<'_>) -> Vec<Network> {
        let mut seen = BTreeSet::new();
        let mut networks = Vec::new();
        for item in self.items(entry) {
            if let Some(network) = self.parsed(&item, scalar::network)
                && self.once(
                    &mut seen,
                    &network.value.to_string(),
                    network.span,
                    &entry.path,
                )
            {
                networks.push(network.value);
            }
        }
        networks
    }

    fn crowdsec(&mut self, entry: &Entry<'_>, fields: &Fields<'_>) -> Option<CrowdSec> {
        let url = self.https_url(entry);
        let key = match fields.get("key") {
            Some(key) => self.secret(&key),
            None => {
                let message = format!("`{}` needs `key`", entry.path);
                let help = "make one with `cscli bouncers add fortress`, and write `key: env:CROWDSEC_KEY`";
                self.error(entry.place, message, help);
                None
            }
        };
        let mut decisions = Vec::new();
        if let Some(entry) = fields.get("decisions") {
            let mut seen = BTreeSet::new();
            for item in self.items(&entry) {
                let word = self.word(&item)?;
                let verdict = Verdict::ALL
                    .into_iter()
                    .find(|known| known.name() == word)?;
                if self.once(&mut seen, &verdict.name(), item.node.span, &entry.path) {
                    decisions.push(verdict);
                }
            }
        } else {
            decisions.push(Verdict::Ban);
        }
        Some(CrowdSec {
            url: url?,
            key: key?.value,
            decisions,
        })
    }
}

/// What was said and could be read, if anything was said.
fn said<T>(value: Option<Option<T>>) -> Option<Option<T>> {
    match value {
        None => Some(None),
        Some(value) => value.map(Some),
    }
}
