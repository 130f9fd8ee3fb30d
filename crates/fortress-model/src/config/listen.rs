//! `listen`: where, with which certificates, and what is served there.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use super::{
    Certificate, Hsts, Http2, Listener, ProxyProtocol, Serve, Spanned, Tls, TlsVersion,
    reader::{Entry, Fields, PathUse, Reader},
    scalar,
};

/// What browsers remember if nothing is said.
const HSTS_MAX_AGE: Duration = Duration::from_secs(365 * 86_400);

impl Reader<'_> {
    /// `proxies` are those of `trusted_proxies`, as many as there are.
    pub(super) fn listen(&mut self, entry: &Entry<'_>, proxies: usize) -> Vec<Listener> {
        let items = self.items(entry);
        let mut seen = BTreeSet::new();
        let mut listeners = Vec::new();
        let mut all_are_understood = !items.is_empty();
        for item in &items {
            match self.listener(item, proxies) {
                Some(listener) => {
                    let address = &listener.address;
                    // Port 0 is another free port each time.
                    if address.value.port() != 0 {
                        self.once(&mut seen, &address.value, address.span, &entry.path);
                    }
                    listeners.push(listener);
                }
                None => all_are_understood = false,
            }
        }
        let serves_apis = |listener: &Listener| matches!(listener.serve, Serve::Apis { .. });
        if all_are_understood && !listeners.iter().any(serves_apis) {
            let help = "add one with an address alone, or with `tls`";
            self.error(entry.place, "no listener serves the APIs", help);
        }
        listeners
    }

    fn listener(&mut self, item: &Entry<'_>, proxies: usize) -> Option<Listener> {
        let fields = self.fields(item)?;
        let address = fields
            .get("address")
            .and_then(|address| self.parsed(&address, scalar::address));
        let redirect = fields.get("redirect").and_then(|entry| self.word(&entry));
        let serve = fields.get("serve").and_then(|entry| self.word(&entry));
        let serve = if redirect.is_some() {
            self.alone(
                &fields,
                "redirect: https",
                &["tls", "hsts", "http2", "serve"],
            );
            Some(Serve::RedirectHttps)
        } else if serve == Some("operations") {
            self.alone(
                &fields,
                "serve: operations",
                &["tls", "hsts", "http2", "proxy_protocol"],
            );
            Some(Serve::Operations)
        } else {
            self.serve_apis(&fields)
        };
        self.public_operations(&fields, serve.as_ref(), address.as_ref());
        let proxy_protocol = fields
            .get("proxy_protocol")
            .map(|entry| self.proxy_protocol(&entry, proxies));
        let networks = fields.get("networks");
        let networks = networks.map(|entry| self.network_rules(&entry));
        Some(Listener {
            networks: networks.unwrap_or_default(),
            address: address?,
            serve: serve?,
            // INVARIANT: a listener whose key is wrong must not take a client's word for a header.
            proxy_protocol: match proxy_protocol {
                Some(proxy_protocol) => proxy_protocol?,
                None => ProxyProtocol::Off,
            },
        })
    }

    fn proxy_protocol(&mut self, entry: &Entry<'_>, proxies: usize) -> Option<ProxyProtocol> {
        if !self.boolean(entry)? {
            return Some(ProxyProtocol::Off);
        }
        if proxies == 0 {
            let message = format!(
                "`{}` is believed of nobody, so every connection would be refused",
                entry.path
            );
            let help = "name the load balancer's network: `trusted_proxies: [10.0.0.0/8]`";
            self.error(entry.place, message, help);
        }
        Some(ProxyProtocol::Required)
    }

    /// Refuses keys that a listener of this kind cannot have.
    fn alone(&mut self, fields: &Fields<'_>, kind: &str, others: &[&str]) {
        for entry in others.iter().filter_map(|name| fields.get(name)) {
            let name = entry.path.rsplit('.').next().unwrap_or_default().to_owned();
            let message = format!("`{name}` does not go with `{kind}`");
            self.error(entry.place, message, "remove it, or write two listeners");
        }
    }

    /// Metrics name operations and their traffic: other machines see them by decision only.
    fn public_operations(
        &mut self,
        fields: &Fields<'_>,
        serve: Option<&Serve>,
        address: Option<&Spanned<SocketAddr>>,
    ) {
        let entry = fields.get("public");
        let public = entry.as_ref().and_then(|entry| self.boolean(entry));
        if !matches!(serve, Some(Serve::Operations)) {
            if let Some(entry) = entry {
                let message = format!("`{}` goes with `serve: operations` alone", entry.path);
                self.error(entry.place, message, "remove it");
            }
            return;
        }
        let Some(address) = address else {
            return;
        };
        if !address.value.ip().to_canonical().is_loopback() && public != Some(true) {
            let message = format!(
                "operations would be served on `{}`, which is not loopback",
                address.value
            );
            let help = format!(
                "write `127.0.0.1:{}`, or add `public: true` if whoever reaches it may see the metrics",
                address.value.port()
            );
            self.error(address.span, message, help);
        }
    }

    fn serve_apis(&mut self, fields: &Fields<'_>) -> Option<Serve> {
        let tls_entry = fields.get("tls");
        let tls = tls_entry.as_ref().map(|entry| self.tls(entry));
        let hsts = fields.get("hsts").map(|entry| {
            if tls_entry.is_none() {
                let message = format!("`{}` needs `tls`", entry.path);
                let help = "add `tls`, or remove it: browsers ignore it in plain text (RFC 6797, section 8.1)";
                self.error(entry.place, message, help);
            }
            self.hsts(&entry)
        });
        let http2_entry = fields.get("http2");
        let http2 = http2_entry.as_ref().map(|entry| self.word(entry));
        if let (Some(entry), Some(Some("true")), None) = (&http2_entry, http2, &tls_entry) {
            let message = format!("`{}` has no effect without `tls`", entry.path);
            self.warn(
                entry.node.span,
                message,
                "for HTTP/2 in plain text write `prior_knowledge`",
            );
        }
        let http2 = match http2 {
            None | Some(Some("true")) => Http2::Alpn,
            Some(Some("prior_knowledge")) => Http2::PriorKnowledge,
            Some(Some("false")) => Http2::Off,
            Some(Some(_) | None) => return None,
        };
        Some(Serve::Apis {
            // A listener whose TLS is wrong must not become one in plain text.
            tls: match tls {
                Some(tls) => Some(tls?),
                None => None,
            },
            hsts: hsts.flatten(),
            http2,
        })
    }

    fn tls(&mut self, entry: &Entry<'_>) -> Option<Tls> {
        let fields = self.fields(entry)?;
        let minimum = fields.get("minimum").map(|entry| self.minimum(&entry));
        let clients = fields.get("clients").map(|entry| self.clients(&entry));
        let list = fields.get("certificates")?;
        let items = self.items(&list);
        let certificates: Vec<_> = items.iter().map(|item| self.certificate(item)).collect();
        let certificates: Option<Vec<_>> = certificates.into_iter().collect();
        Some(Tls {
            certificates: certificates.filter(|list| !list.is_empty())?,
            minimum: match minimum {
                Some(minimum) => minimum?,
                None => TlsVersion::default(),
            },
            // INVARIANT: a wrong list of authorities must not become none.
            clients: match clients {
                Some(clients) => Some(clients?),
                None => None,
            },
        })
    }

    fn minimum(&mut self, entry: &Entry<'_>) -> Option<TlsVersion> {
        match self.word(entry)? {
            "1.3" => Some(TlsVersion::V13),
            "1.2" => Some(TlsVersion::V12),
            _ => None,
        }
    }

    pub(super) fn certificate(&mut self, entry: &Entry<'_>) -> Option<Certificate> {
        let fields = self.fields(entry)?;
        let chain = fields
            .get("chain")
            .and_then(|chain| self.path(&chain, PathUse::Read));
        let key = fields
            .get("key")
            .and_then(|key| self.path(&key, PathUse::Secret));
        Some(Certificate {
            chain: chain?,
            key: key?,
        })
    }

    fn hsts(&mut self, entry: &Entry<'_>) -> Option<Hsts> {
        let fields = self.fields(entry)?;
        let max_age = match fields.get("max_age") {
            Some(entry) => self.duration(&entry)?,
            None => HSTS_MAX_AGE,
        };
        let include_subdomains = match fields.get("include_subdomains") {
            Some(entry) => self.boolean(&entry)?,
            None => false,
        };
        Some(Hsts {
            max_age,
            include_subdomains,
        })
    }
}
