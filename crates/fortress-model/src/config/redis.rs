//! `store.redis`: where instances share their counts. One server, a master that Sentinels know, or a
//! Cluster.
//!
//! Deliberately not here: connecting (`fortress-gateway`).

use std::{path::PathBuf, time::Duration};

use super::{
    SecretSource, Spanned,
    keys::{Block, Key, Kind, MILLIS, SECONDS},
    reader::{Entry, Fields, PathUse, REFERENCES, Reader},
    scalar,
};
use crate::secret::Secret;

/// `store.redis`.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// Where it is.
    pub servers: RedisServers,
    /// The user (ACL); `None` is Redis' own default user.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret<String>>,
    /// The number of the database; 0 in a Cluster.
    pub database: u32,
    /// Whether and how it is encrypted.
    pub tls: RedisTls,
    /// How long a request waits for an answer.
    pub timeout: Duration,
    /// How many instances there are; `None` counts them.
    pub instances: Option<u32>,
    /// What the keys of limits are hashed under.
    pub pepper: Option<SecretSource>,
}

/// Which servers.
#[derive(Clone, Debug)]
pub enum RedisServers {
    /// One.
    One(RedisAddress),
    /// The master that these Sentinels know.
    Sentinels {
        /// The Sentinels; at least one.
        at: Vec<RedisAddress>,
        /// What they call the master.
        master: String,
        /// The user that Sentinels demand.
        user: Option<String>,
        /// Its password.
        password: Option<Secret<String>>,
    },
    /// A Cluster, by some of its nodes; at least one.
    Cluster(Vec<RedisAddress>),
}

/// A host and port.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct RedisAddress {
    /// A name or an address (IPv6 without brackets).
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Whether and how a connection is encrypted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RedisTls {
    /// In plain text.
    Plain,
    /// TLS, trusting the machine's certificates.
    Machine,
    /// TLS, trusting the certificates of this PEM file alone.
    File(PathBuf),
}

/// How long a request waits for Redis, unless `timeout` says otherwise.
const TIMEOUT: Duration = Duration::from_millis(5);

/// The port that Redis has, and the one that Sentinels have.
const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// The most Sentinels, or nodes to begin with.
const MOST_SERVERS: usize = 32;

pub(super) static REDIS: Block = Block {
    name: "store.redis",
    doc: "Where instances share the counts of `limits`: one of `url`, `sentinels` and `cluster`.",
    groups: &[&[
        Key::new(
            "url",
            Kind::RedisUrl,
            "One server: `redis://host:6379`, or `rediss://` for TLS; with user, password or database as a reference to `redis://user:password@host:6379/0`.",
        ),
        Key::new(
            "sentinels",
            Kind::List(&Kind::RedisUrl),
            "The Sentinels that know the master: `redis://host:26379`, or `rediss://` for TLS to them and to the master.",
        ),
        Key::new(
            "master",
            Kind::Text,
            "With `sentinels`: what they call the master.",
        ),
        Key::new(
            "cluster",
            Kind::List(&Kind::RedisUrl),
            "Some nodes of a Cluster, from which the others are found.",
        ),
        Key::new(
            "user",
            Kind::Text,
            "The user (ACL), where no `url` says it (default: Redis' `default`).",
        ),
        Key::new(
            "password",
            Kind::Secret,
            "The user's password, as a reference, where no `url` says it.",
        ),
        Key::new(
            "database",
            Kind::Count(0, 65_535),
            "The number of the database, where no `url` says it (default: 0).",
        ),
        Key::new(
            "ca",
            Kind::File,
            "With `rediss://`: trust the certificates of this PEM file alone (default: those of the machine).",
        ),
        Key::new(
            "timeout",
            Kind::Duration(MILLIS, 10 * SECONDS),
            "How long a request waits for an answer before `on_fault` holds; for quotas and `concurrent` five times as long, at most 50ms (default: 5ms).",
        ),
        Key::new(
            "instances",
            Kind::Count(1, 10_000),
            "How many instances there are, for the part that each has while Redis is away (default: as many as Redis knew last).",
        ),
    ]],
    later: &[],
};

impl Reader<'_> {
    pub(super) fn redis(
        &mut self,
        entry: &Entry<'_>,
        pepper: Option<SecretSource>,
    ) -> Option<Spanned<RedisSettings>> {
        let settings = match self.long_form(entry) {
            None => {
                let short = self.short_form(entry);
                let url = self.redis_url(&short, PORT)?;
                self.redis_settings(one(url), None, pepper)?
            }
            Some(long) => {
                let fields = self.fields(&long)?;
                let servers = self.redis_servers(entry, &fields)?;
                self.redis_settings(servers, Some(&fields), pepper)?
            }
        };
        Some(Spanned {
            value: settings,
            span: entry.place,
        })
    }

    fn redis_settings(
        &mut self,
        found: Found,
        fields: Option<&Fields<'_>>,
        pepper: Option<SecretSource>,
    ) -> Option<RedisSettings> {
        let Found {
            servers,
            user,
            password,
            database,
            is_tls,
        } = found;
        let mut settings = RedisSettings {
            servers,
            user,
            password,
            database: database.unwrap_or(0),
            tls: if is_tls {
                RedisTls::Machine
            } else {
                RedisTls::Plain
            },
            timeout: TIMEOUT,
            instances: None,
            pepper,
        };
        let Some(fields) = fields else {
            return Some(settings);
        };
        self.redis_user(fields, &mut settings)?;
        if let Some(entry) = fields.get("database") {
            let number = self.number(&entry)?;
            if database.is_some() {
                let message = format!("`{}`: the address says it already", entry.path);
                self.error(entry.place, message, "keep one of the two");
            }
            if number > 0 && matches!(settings.servers, RedisServers::Cluster(_)) {
                let message = format!("`{}`: a Cluster has no databases", entry.path);
                self.error(entry.place, message, "remove it");
            }
            settings.database = u32::try_from(number).unwrap_or(u32::MAX);
        }
        if let Some(entry) = fields.get("ca") {
            let path = self.path(&entry, PathUse::Read)?;
            if settings.tls == RedisTls::Plain {
                let message = format!("`{}` is for `rediss://`", entry.path);
                self.error(entry.place, message, "write `rediss://`, or remove it");
            }
            settings.tls = RedisTls::File(path.value);
        }
        if let Some(entry) = fields.get("timeout") {
            settings.timeout = self.duration(&entry)?;
        }
        if let Some(entry) = fields.get("instances") {
            let count = self.number(&entry)?;
            settings.instances = u32::try_from(count).ok();
        }
        Some(settings)
    }

    fn redis_user(&mut self, fields: &Fields<'_>, settings: &mut RedisSettings) -> Option<()> {
        let said = settings.user.is_some() || settings.password.is_some();
        for name in ["user", "password"] {
            if let Some(twice) = fields.get(name).filter(|_| said) {
                let message = format!("`{}`: the address says it already", twice.path);
                self.error(twice.place, message, "keep one of the two");
            }
        }
        if let Some(entry) = fields.get("user") {
            settings.user = Some(self.text(&entry)?.value);
        }
        if let Some(entry) = fields.get("password") {
            settings.password = Some(self.secret(&entry)?.value);
        }
        if let Some(user) = fields.get("user").filter(|_| settings.password.is_none()) {
            let message = "a user of Redis has a password";
            self.error(user.place, message, "add `password: env:NAME`");
        }
        Some(())
    }

    fn redis_servers(&mut self, entry: &Entry<'_>, fields: &Fields<'_>) -> Option<Found> {
        let ways = (
            fields.get("url"),
            fields.get("sentinels"),
            fields.get("cluster"),
        );
        if let Some(master) = fields.get("master").filter(|_| ways.1.is_none()) {
            let message = format!("`{}` goes with `sentinels`", master.path);
            self.error(master.place, message, "remove it, or add `sentinels`");
        }
        match ways {
            (Some(url), None, None) => Some(one(self.redis_url(&url, PORT)?)),
            (None, Some(sentinels), None) => {
                let urls = self.redis_urls(&sentinels, SENTINEL_PORT)?;
                let Some(master) = fields.get("master") else {
                    let message = format!("`{}` says not which master", entry.path);
                    let help = "add `master: NAME`, as the Sentinels call it";
                    self.error(sentinels.place, message, help);
                    return None;
                };
                let master = self.text(&master)?.value;
                let first = urls.first()?;
                Some(Found {
                    is_tls: first.is_tls,
                    servers: RedisServers::Sentinels {
                        user: first.user.clone(),
                        password: first.password.clone(),
                        at: urls.into_iter().map(|url| url.address).collect(),
                        master,
                    },
                    ..Found::default()
                })
            }
            (None, None, Some(cluster)) => {
                let urls = self.redis_urls(&cluster, PORT)?;
                let first = urls.first()?;
                Some(Found {
                    is_tls: first.is_tls,
                    user: first.user.clone(),
                    password: first.password.clone(),
                    servers: RedisServers::Cluster(
                        urls.into_iter().map(|url| url.address).collect(),
                    ),
                    ..Found::default()
                })
            }
            (url, sentinels, cluster) => {
                let message = format!("`{}` takes one way to find the servers", entry.path);
                let help = "write one of `url`, `sentinels` and `cluster`";
                let second = cluster.or(sentinels).filter(|_| url.is_some());
                self.error(second.map_or(entry.place, |of| of.place), message, help);
                None
            }
        }
    }

    /// Addresses that are alike in all but host and port.
    fn redis_urls(&mut self, entry: &Entry<'_>, port: u16) -> Option<Vec<Url>> {
        let items = self.items(entry);
        if items.len() > MOST_SERVERS {
            let message = format!("`{}` has more than {MOST_SERVERS} addresses", entry.path);
            self.error(entry.place, message, "name fewer: the others are found");
            return None;
        }
        let count = items.len();
        let mut urls: Vec<Url> = Vec::new();
        for item in items {
            let Some(url) = self.redis_url(&item, port) else {
                continue;
            };
            if url.database.is_some_and(|number| number > 0) {
                let message = format!("`{}`: a database cannot stand here", item.path);
                self.error(item.place, message, "write `database` beside, or remove it");
            }
            if let Some(first) = urls.first()
                && (first.is_tls != url.is_tls || !first.same_user(&url))
            {
                let message = format!("`{}` differs from the first of the list", item.path);
                let help = "all of a list have one scheme, one user and one password";
                self.error(item.place, message, help);
            }
            urls.push(url);
        }
        (urls.len() == count && count > 0).then_some(urls)
    }

    /// An address that stands in the file has no password in it.
    fn redis_url(&mut self, entry: &Entry<'_>, port: u16) -> Option<Url> {
        let text = entry.node.as_str().unwrap_or_default();
        let is_reference = REFERENCES.iter().any(|scheme| text.starts_with(scheme));
        if !is_reference && text.contains('@') {
            let message = format!("`{}` holds a password or a user", entry.path);
            let help = "put the address into a variable and write `env:REDIS_URL`, or into a file that Fortress alone can read and write `file:PATH`; and change the password, since it stood in a configuration";
            self.error(entry.place, message, help);
            return None;
        }
        let found = self.parsed(entry, |text| url(text, port))?;
        let url = found.value;
        let is_near = url.address.host == "localhost"
            || (url.address.host.parse::<std::net::IpAddr>())
                .is_ok_and(|address| address.is_loopback());
        if url.password.is_some() && !url.is_tls && !is_near {
            let message = format!(
                "`{}`: the password goes over the network in plain text",
                entry.path
            );
            self.warn(found.span, message, "write `rediss://`, which is TLS");
        }
        Some(url)
    }
}

/// What the addresses say.
#[derive(Debug)]
struct Found {
    servers: RedisServers,
    user: Option<String>,
    password: Option<Secret<String>>,
    database: Option<u32>,
    is_tls: bool,
}

impl Default for Found {
    fn default() -> Self {
        Self {
            servers: RedisServers::Cluster(Vec::new()),
            user: None,
            password: None,
            database: None,
            is_tls: false,
        }
    }
}

fn one(url: Url) -> Found {
    Found {
        servers: RedisServers::One(url.address),
        user: url.user,
        password: url.password,
        database: url.database,
        is_tls: url.is_tls,
    }
}

/// One address.
#[derive(Debug)]
struct Url {
    is_tls: bool,
    user: Option<String>,
    password: Option<Secret<String>>,
    address: RedisAddress,
    database: Option<u32>,
}

impl Url {
    fn same_user(&self, other: &Self) -> bool {
        let password = |url: &Self| url.password.as_ref().map(|of| of.expose().clone());
        self.user == other.user && password(self) == password(other)
    }
}

/// `redis://[user][:password]@host[:port][/database]`. What is wrong is said without the text itself,
/// which may hold a password.
fn url(text: &str, port: u16) -> Result<Url, String> {
    const FORM: &str = "write `redis://host:6379`, or `rediss://` for TLS";
    let (scheme, rest) = text.split_once("://").ok_or(FORM)?;
    let is_tls = match scheme {
        "redis" => false,
        "rediss" => true,
        _ => return Err(FORM.into()),
    };
    let (credentials, rest) = match rest.rsplit_once('@') {
        Some((credentials, rest)) => (Some(credentials), rest),
        None => (None, rest),
    };
    if rest.contains(['?', '#']) {
        return Err("write it without `?` and `#`".into());
    }
    let (place, database) = match rest.split_once('/') {
        Some((place, "")) => (place, None),
        Some((place, number)) => {
            let number: u16 = number
                .parse()
                .map_err(|_| "after the `/` stands the number of a database")?;
            (place, Some(u32::from(number)))
        }
        None => (rest, None),
    };
    let has_port = place
        .rsplit(']')
        .next()
        .is_some_and(|end| end.contains(':'));
    let whole = if has_port {
        format!("http://{place}")
    } else {
        format!("http://{place}:{port}")
    };
    let origin = scalar::origin(&whole).map_err(|_| "the host or the port cannot be read")?;
    let (user, password) = match credentials {
        None => (None, None),
        Some(both) => {
            let (user, password) = both.split_once(':').unwrap_or((both, ""));
            let decode =
                |text: &str| decoded(text).ok_or("a `%` stands before two digits in hexadecimal");
            let (user, password) = (decode(user)?, decode(password)?);
            if password.is_empty() {
                return Err("after the user stand `:` and a password".into());
            }
            (
                Some(user).filter(|user| !user.is_empty()),
                Some(Secret::new(password)),
            )
        }
    };
    Ok(Url {
        is_tls,
        user,
        password,
        address: RedisAddress {
            host: origin.host,
            port: origin.port,
        },
        database,
    })
}

/// Percent-encoding undone (RFC 3986, section 2.1).
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes().iter();
    while let Some(&byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(*rest.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(
        text: &str,
        user: Option<&str>,
        password: Option<&str>,
        place: (&str, u16, Option<u32>),
    ) {
        let url = url(text, 6379).expect(text);
        assert_eq!(url.is_tls, text.starts_with("rediss"), "{text}");
        assert_eq!(url.user.as_deref(), user, "{text}");
        assert_eq!(
            url.password.as_ref().map(|of| of.expose().as_str()),
            password,
            "{text}"
        );
        let found = (url.address.host.as_str(), url.address.port, url.database);
        assert_eq!(found, place, "{text}");
    }

    #[test]
    fn addresses() {
        check("redis://127.0.0.1", None, None, ("127.0.0.1", 6379, None));
        check(
            "redis://cache.example:7000/",
            None,
            None,
            ("cache.example", 7000, None),
        );
        check("rediss://[::1]/3", None, None, ("::1", 6379, Some(3)));
        check(
            "redis://:p%40ss@h:1/0",
            None,
            Some("p@ss"),
            ("h", 1, Some(0)),
        );
        check(
            "rediss://fortress:a:b@[::1]:7",
            Some("fortress"),
            Some("a:b"),
            ("::1", 7, None),
        );
    }

    #[test]
    fn what_is_no_address() {
        for text in [
            "",
            "127.0.0.1:6379",
            "http://h",
            "redis:///0",
            "redis://h/x",
            "redis://h/-1",
            "redis://h/70000",
            "redis://h:0",
            "redis://h:99999",
            "redis://h?x=1",
            "redis://hunter@h",
            "redis://hunter:@h",
            "redis://:%4@h",
            "redis://:%zz@h",
            "REDIS://h",
        ] {
            let why = url(text, 6379).expect_err(text);
            assert!(!why.contains("hunter"), "{why}");
        }
    }
}
