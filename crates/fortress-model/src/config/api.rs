//! `apis`: descriptions, hosts, upstreams, and what is said of operations.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use super::{
    Api, Concurrency, Endpoint, Settings, Spanned, Timeouts, Upstream, UpstreamIdentity,
    UpstreamTls,
    reader::{Entry, Fields, PathUse, Reader},
    scalar::{self, Wildcard},
    settings::Level,
};
use crate::{
    diagnostic::did_you_mean,
    document::{Value, read::shorten},
};

const METHODS: &[&str] = &[
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE",
];

impl Reader<'_> {
    /// `identities` are the names that `security` may mean.
    pub(super) fn apis(&mut self, entry: &Entry<'_>, identities: &[&str]) -> Vec<Api> {
        let entries = self.entries(entry);
        if entries.is_empty() && matches!(entry.node.value, Value::Object(_)) {
            let help = "add one: `orders: { spec: openapi.yaml, upstream: http://127.0.0.1:3000 }`";
            self.error(entry.place, "`apis` has no API", help);
        }
        let mut apis = Vec::new();
        for (name, inner) in entries {
            self.identifier(&name.value, name.span, "an API");
            apis.extend(self.api(name, &inner, identities));
        }
        apis
    }

    fn api(
        &mut self,
        name: Spanned<String>,
        entry: &Entry<'_>,
        identities: &[&str],
    ) -> Option<Api> {
        let fields = self.fields(entry)?;
        let spec = fields.get("spec").and_then(|entry| self.spec(&entry));
        let hosts = fields
            .get("hosts")
            .map(|entry| self.hosts(&entry))
            .unwrap_or_default();
        let base_path = fields
            .get("base_path")
            .map(|entry| self.parsed(&entry, scalar::base_path));
        let upstream = fields
            .get("upstream")
            .and_then(|entry| self.upstream(&entry));
        let resource = fields
            .get("resource")
            .and_then(|entry| self.resource(&entry));
        let security = fields
            .get("security")
            .map(|entry| self.security(&entry, identities))
            .unwrap_or_default();
        let mut settings = self.settings(&fields, Level::Wide);
        if let Some(entry) = fields.get("public") {
            if matches!(spec, Some(None)) {
                let span = entry.node.span;
                settings.public = self.boolean(&entry).map(|value| Spanned { value, span });
            } else {
                let message = format!("`{}` is for an API without a description", entry.path);
                let help = "mark the operations: `operations: { NAME: { public: true } }`";
                self.error(entry.place, message, help);
            }
        }
        let operations = fields
            .get("operations")
            .map(|entry| self.operations(&entry))
            .unwrap_or_default();
        if matches!(spec, Some(None)) {
            self.needs_description(&fields);
        }
        Some(Api {
            name,
            spec: spec?,
            hosts,
            base_path: base_path.flatten(),
            // In a partial configuration the description is still worth reading.
            upstream: upstream.unwrap_or_else(|| Upstream {
                endpoints: Vec::new(),
                tls: UpstreamTls::default(),
                timeouts: Timeouts::default(),
                http2: false,
                identity: UpstreamIdentity::default(),
                concurrency: None,
            }),
            resource,
            security,
            settings,
            operations,
        })
    }

    /// With `spec: none` there is nothing that these keys could speak of: who writes them believes
    /// that something is checked which is not.
    fn needs_description(&mut self, fields: &Fields<'_>) {
        for (name, help) in [
            (
                "security",
                "remove it: a token of any entry of `identity` is accepted, in `Authorization`",
            ),
            (
                "operations",
                "say it of the whole API, or name a description in `spec`",
            ),
            (
                "requests",
                "remove it: without a description nothing is undeclared",
            ),
            (
                "responses",
                "remove it: without a description nothing is undeclared",
            ),
        ] {
            if let Some(entry) = fields.get(name) {
                let message = format!("`{}` needs a description, and `spec` is `none`", entry.path);
                self.error(entry.place, message, help);
            }
        }
    }

    /// RFC 9728, section 1.2: a URL without a fragment; here without a query either.
    fn resource(&mut self, entry: &Entry<'_>) -> Option<Spanned<String>> {
        let url = self.https_url(entry)?;
        if url.value.contains('?') {
            let message = format!("`{}` has a query", entry.path);
            self.error(url.span, message, "write it without `?`");
            return None;
        }
        Some(url)
    }

    /// The inner `None` is `spec: none`.
    fn spec(&mut self, entry: &Entry<'_>) -> Option<Option<Spanned<PathBuf>>> {
        if entry.node.as_str() == Some("none") {
            return Some(None);
        }
        self.path(entry, PathUse::Read).map(Some)
    }

    fn hosts(&mut self, entry: &Entry<'_>) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let mut hosts = Vec::new();
        for item in self.items(entry) {
            let parse = |text: &str| scalar::host(text, Wildcard::Allowed);
            if let Some(host) = self.parsed(&item, parse)
                && self.once(&mut seen, &host.value, host.span, &entry.path)
            {
                hosts.push(host.value);
            }
        }
        hosts
    }

    fn upstream(&mut self, entry: &Entry<'_>) -> Option<Upstream> {
        if !matches!(entry.node.value, Value::Object(_)) {
            let url = self.parsed(entry, scalar::origin)?;
            return Some(Upstream {
                endpoints: vec![Endpoint { url, weight: 1 }],
                tls: UpstreamTls::default(),
                timeouts: Timeouts::default(),
                http2: false,
                identity: UpstreamIdentity::default(),
                concurrency: None,
            });
        }
        let fields = self.fields(entry)?;
        let endpoints = fields.get("endpoints").map(|entry| self.endpoints(&entry));
        let tls = fields
            .get("tls")
            .map(|entry| (self.upstream_tls(&entry), entry.place));
        let timeouts = fields.get("timeouts").map(|entry| self.timeouts(&entry));
        let http2 = fields.get("http2").map(|entry| self.boolean(&entry));
        let identity = fields
            .get("identity")
            .map(|entry| self.upstream_identity(&entry));
        let concurrency = fields
            .get("concurrency")
            .map(|entry| self.concurrency(&entry));
        let endpoints = endpoints.flatten()?;
        if let Some((_, place)) = &tls
            && !endpoints.iter().any(|endpoint| endpoint.url.value.tls)
        {
            let message = format!("`{}.tls` has no effect: no endpoint is https", entry.path);
            self.error(
                *place,
                message,
                "write `https://` in the endpoints, or remove it",
            );
        }
        Some(Upstream {
            endpoints,
            // INVARIANT: a wrong trust store must not become the machine's.
            tls: match tls {
                Some((tls, _)) => tls?,
                None => UpstreamTls::default(),
            },
            timeouts: timeouts.unwrap_or_default(),
            http2: match http2 {
                Some(http2) => http2?,
                None => false,
            },
            // INVARIANT: a wrong choice must not become the one that forwards credentials.
            identity: match identity {
                Some(identity) => identity?,
                None => UpstreamIdentity::default(),
            },
            concurrency: said(concurrency)?.flatten(),
        })
    }

    /// The inner `None` is `off`.
    fn concurrency(&mut self, entry: &Entry<'_>) -> Option<Option<Concurrency>> {
        let Some(long) = self.long_form(entry) else {
            let short = self.short_form(entry);
            return self.word(&short).map(|_| None);
        };
        let fields = self.fields(&long)?;
        let mut count = |name: &str, usual: u32| match fields.get(name) {
            None => Some(usual),
            // INVARIANT: the ranges of the table fit.
            Some(entry) => u32::try_from(self.number(&entry)?).ok(),
        };
        let (min, max) = (count("min", 4), count("max", 1_000));
        let (start, tolerance) = (count("start", 50), count("tolerance", 150));
        let (min, max, start) = (min?, max?, start?);
        if min > max {
            let message = format!(
                "`{}`: `min` of {min} is more than `max` of {max}",
                entry.path
            );
            self.error(entry.place, message, "lower `min`, or raise `max`");
            return None;
        }
        if fields.get("start").is_some() && !(min..=max).contains(&start) {
            let message = format!(
                "`{}`: `start` of {start} is not between `min` of {min} and `max` of {max}",
                entry.path
            );
            self.error(entry.place, message, "choose one between them");
        }
        Some(Some(Concurrency {
            min,
            max,
            start: start.clamp(min, max),
            tolerance: tolerance?,
        }))
    }

    fn endpoints(&mut self, entry: &Entry<'_>) -> Option<Vec<Endpoint>> {
        let mut seen = BTreeSet::new();
        let items = self.items(entry);
        let endpoints: Vec<_> = items
            .iter()
            .map(|item| {
                let fields = self.fields(item)?;
                let weight = fields.get("weight").map(|weight| self.number(&weight));
                let url = fields
                    .get("url")
                    .and_then(|url| self.parsed(&url, scalar::origin))?;
                let origin = &url.value;
                let shown = format!("{}:{}{}", origin.host, origin.port, origin.prefix);
                self.once(&mut seen, &shown, url.span, &entry.path);
                let weight = match weight {
                    Some(weight) => u32::try_from(weight?).ok()?,
                    None => 1,
                };
                Some(Endpoint { url, weight })
            })
            .collect();
        let endpoints: Option<Vec<_>> = endpoints.into_iter().collect();
        endpoints.filter(|list| !list.is_empty())
    }

    fn upstream_tls(&mut self, entry: &Entry<'_>) -> Option<UpstreamTls> {
        let fields = self.fields(entry)?;
        let ca = fields
            .get("ca")
            .map(|entry| self.path(&entry, PathUse::Read));
        let server_name = fields
            .get("server_name")
            .map(|entry| self.parsed(&entry, |text| scalar::host(text, Wildcard::Refused)));
        let certificate = fields
            .get("certificate")
            .map(|entry| self.certificate(&entry));
        Some(UpstreamTls {
            ca: said(ca)?,
            server_name: said(server_name)?,
            certificate: said(certificate)?,
        })
    }

    fn timeouts(&mut self, entry: &Entry<'_>) -> Timeouts {
        let mut timeouts = Timeouts::default();
        let Some(fields) = self.fields(entry) else {
            return timeouts;
        };
        let mut time = |name: &str| {
            let entry = fields.get(name)?;
            let value = self.duration(&entry)?;
            Some((value, entry))
        };
        let (connect, first_byte, total) = (time("connect"), time("first_byte"), time("total"));
        let set = |field: &mut Duration, time: &Option<(Duration, Entry<'_>)>| {
            if let Some((value, _)) = time {
                *field = *value;
            }
        };
        set(&mut timeouts.connect, &connect);
        set(&mut timeouts.first_byte, &first_byte);
        set(&mut timeouts.total, &total);
        // Only what was written can be a mistake: a short total bounds the other two by itself.
        for (value, entry) in [connect, first_byte].into_iter().flatten() {
            if value > timeouts.total {
                let total = u64::try_from(timeouts.total.as_nanos()).unwrap_or(u64::MAX);
                let total = scalar::show_duration(total);
                let message = format!("`{}` is longer than `total`, which is {total}", entry.path);
                self.error(entry.node.span, message, "raise `total`, or lower this");
            }
        }
        timeouts
    }

    fn security(
        &mut self,
        entry: &Entry<'_>,
        identities: &[&str],
    ) -> Vec<(Spanned<String>, Spanned<String>)> {
        let mut pairs = Vec::new();
        for (scheme, inner) in self.entries(entry) {
            let Some(identity) = self.text(&inner) else {
                continue;
            };
            if !identities.contains(&identity.value.as_str()) {
                let near = did_you_mean(&identity.value, identities.iter().copied());
                let help = match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if identities.is_empty() => "add it under `identity`".to_owned(),
                    None => format!("`identity` has `{}`", identities.join("`, `")),
                };
                let message = format!("`identity` has no `{}`", shorten(&identity.value));
                self.error(identity.span, message, help);
            }
            pairs.push((scheme, identity));
        }
        pairs
    }

    fn operations(&mut self, entry: &Entry<'_>) -> Vec<(Spanned<String>, Settings)> {
        let mut operations = Vec::new();
        for (name, inner) in self.entries(entry) {
            self.selector(&name);
            if let Some(fields) = self.fields(&inner) {
                operations.push((name, self.settings(&fields, Level::Operation)));
            }
        }
        operations
    }

    /// An operationId, `METHOD /template`, or `tag:NAME`; whether the description has it is not
    /// known here.
    fn selector(&mut self, name: &Spanned<String>) {
        let text = name.value.as_str();
        let help = if text.trim().is_empty() || text.chars().any(char::is_control) {
            Some("write an operationId, `METHOD /template`, or `tag:NAME`".to_owned())
        } else if text.starts_with('/') {
            Some(format!("put the method before it: `GET {}`", shorten(text)))
        } else if text == "tag:" {
            Some("write the tag's name: `tag:admin`".to_owned())
        } else if text.starts_with("tag:") {
            None
        } else if let Some((method, template)) = text.split_once(' ')
            && template.starts_with('/')
        {
            let upper = method.to_ascii_uppercase();
            match METHODS.iter().find(|known| **known == upper) {
                Some(known) if *known == method => None,
                Some(known) => Some(format!("write `{known} {}`", shorten(template))),
                None => Some(format!("methods are `{}`", METHODS.join("`, `"))),
            }
        } else {
            None
        };
        if let Some(help) = help {
            let message = format!("`{}` names no operation", shorten(text));
            self.error(name.span, message, help);
        }
    }
}

/// Tells a key that is not there from one that is wrong.
fn said<T>(value: Option<Option<T>>) -> Option<Option<T>> {
    match value {
        None => Some(None),
        Some(None) => None,
        Some(value) => Some(value),
    }
}
