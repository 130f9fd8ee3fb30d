//! What can be said of everything, an API, a tag or an operation, in the configuration and in a
//! description's `x-fortress`.
//!
//! Deliberately not here: which of several sayings is the nearest.

use std::{collections::BTreeSet, hash::DefaultHasher, path::PathBuf};

use super::{
    BoundSetting, BoundsPatch, Cookies, Priority, RequestUndeclared, Require, ResponseUndeclared,
    Settings, Spanned,
    keys::{EXTENSION, Kind, bound},
    limits,
    reader::{Entry, Fields, Reader},
};
use crate::{
    bounds::{Bounds, Frequency},
    decision::Mode,
    diagnostic::Diagnostic,
    document::{Node, Span},
};

/// Reads the `x-fortress` of a description's document, path or operation: the keys of an operation
/// in `fortress.yaml`. There are no references in it: a description comes from elsewhere and must
/// not reach for this machine's environment and files.
///
/// What is wrong is left out of the settings and reported.
pub fn settings(node: &Node) -> (Settings, Vec<Diagnostic>) {
    static KIND: Kind = Kind::Block(&EXTENSION);
    let mut reader = Reader {
        references: None,
        vault: None,
        asked: DefaultHasher::new(),
        directory: PathBuf::new(),
        files: Vec::new(),
        diagnostics: Vec::new(),
    };
    // The node begins behind the key; its first character is as near as can be pointed.
    let place = Span {
        end: node.span.end.min(node.span.start.saturating_add(1)),
        ..node.span
    };
    let entry = Entry {
        node,
        kind: &KIND,
        place,
        path: "x-fortress".to_owned(),
    };
    let settings = reader
        .fields(&entry)
        .map(|fields| reader.settings(&fields, Level::Operation))
        .unwrap_or_default();
    (settings, reader.diagnostics)
}

impl BoundsPatch {
    /// Sets what is said here and leaves the rest.
    pub fn apply(&self, bounds: &mut Bounds) {
        for setting in &self.0 {
            if let Some(set) = bound(setting.name).and_then(|key| key.set) {
                set(bounds, setting.value);
            }
        }
    }
}

/// Of what something is said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Level {
    /// Everything or an API.
    Wide,
    /// An operation or a tag.
    Operation,
}

impl Reader<'_> {
    pub(super) fn settings(&mut self, fields: &Fields<'_>, level: Level) -> Settings {
        let mut settings = Settings {
            mode: fields.get("mode").and_then(|entry| self.mode(&entry)),
            ..Settings::default()
        };
        if let Some(entry) = fields.get("bounds")
            && let Some(bounds) = self.fields(&entry)
        {
            settings.bounds = self.bounds(&bounds);
        }
        if let Some(entry) = fields.get("requests")
            && let Some(requests) = self.fields(&entry)
        {
            self.requests(&requests, &mut settings);
        }
        if let Some(entry) = fields.get("responses")
            && let Some(responses) = self.fields(&entry)
            && let Some(entry) = responses.get("undeclared")
        {
            settings.responses_undeclared = match self.word(&entry) {
                Some("drop") => Some(ResponseUndeclared::Drop),
                Some("refuse") => Some(ResponseUndeclared::Refuse),
                Some("allow") => Some(ResponseUndeclared::Allow),
                Some(_) | None => None,
            };
        }
        if let Some(entry) = fields.get("waf") {
            settings.waf = self.waf(&entry);
        }
        if let Some(entry) = fields.get("on_fault")
            && let Some(fields) = self.fields(&entry)
            && let Some(entry) = fields.get("limits")
        {
            settings.limits_fault = self.word(&entry).and_then(limits::limit_fault);
        }
        settings.networks = fields
            .get("networks")
            .map(|entry| self.network_rules(&entry))
            .unwrap_or_default();
        if let Some(entry) = fields.get("priority") {
            settings.priority = match self.word(&entry) {
                Some("high") => Some(Priority::High),
                Some("normal") => Some(Priority::Normal),
                Some("low") => Some(Priority::Low),
                Some(_) | None => None,
            };
        }
        settings.limits = fields.get("limits").map(|entry| self.limits(&entry));
        settings.enumeration = fields
            .get("enumeration")
            .and_then(|entry| self.enumeration(&entry));
        if level == Level::Operation {
            settings.login = fields
                .get("login")
                .and_then(|entry| self.login_defence(&entry));
            if let Some(entry) = fields.get("public") {
                let span = entry.node.span;
                settings.public = self.boolean(&entry).map(|value| Spanned { value, span });
            }
            if let Some(entry) = fields.get("require")
                && let Some(require) = self.fields(&entry)
            {
                settings.require = self.require(&require);
            }
        }
        settings
    }

    pub(super) fn mode(&mut self, entry: &Entry<'_>) -> Option<Mode> {
        match self.word(entry)? {
            "enforce" => Some(Mode::Enforce),
            "monitor" => Some(Mode::Monitor),
            "off" => Some(Mode::Off),
            _ => None,
        }
    }

    fn bounds(&mut self, fields: &Fields<'_>) -> BoundsPatch {
        let mut patch = Vec::new();
        for member in fields.members() {
            if let Some(key) = bound(&member.key)
                && fields.has(key.name)
                && let Some(entry) = fields.get(key.name)
                && let Some(value) = self.bound(&entry)
            {
                let name = key.name;
                patch.push(BoundSetting { name, value });
            }
        }
        BoundsPatch(patch)
    }

    fn bound(&mut self, entry: &Entry<'_>) -> Option<u64> {
        if matches!(entry.kind, Kind::Frequency) {
            return self.bound_rate(entry).map(Frequency::packed);
        }
        self.number(entry)
    }

    fn requests(&mut self, fields: &Fields<'_>, settings: &mut Settings) {
        if let Some(entry) = fields.get("undeclared") {
            settings.requests_undeclared = match self.word(&entry) {
                Some("refuse") => Some(RequestUndeclared::Refuse),
                Some("allow") => Some(RequestUndeclared::Allow),
                Some(_) | None => None,
            };
        }
        if let Some(entry) = fields.get("cookies") {
            settings.cookies = match self.word(&entry) {
                Some("allow") => Some(Cookies::Allow),
                Some("drop") => Some(Cookies::Drop),
                Some("refuse") => Some(Cookies::Refuse),
                Some(_) | None => None,
            };
        }
    }

    fn require(&mut self, fields: &Fields<'_>) -> Require {
        Require {
            scopes: fields.get("scope").map(|entry| self.scopes(&entry)),
            roles: fields.get("role").map(|entry| self.texts(&entry)),
            certificate: fields
                .get("certificate")
                .and_then(|entry| self.boolean(&entry)),
            // They stand in challenges, in quotes, as scopes do (RFC 9470, section 3).
            acr: fields.get("acr").map(|entry| self.scopes(&entry)),
            max_age: fields
                .get("max_age")
                .and_then(|entry| self.duration(&entry)),
            dpop: fields.get("dpop").and_then(|entry| self.boolean(&entry)),
        }
    }

    /// Scopes (RFC 6749, section 3.3): no spaces, quotes or backslashes.
    pub(super) fn scopes(&mut self, entry: &Entry<'_>) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let mut scopes = Vec::new();
        for item in self.items(entry) {
            let Some(scope) = self.text(&item) else {
                continue;
            };
            let is_token = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
            if !scope.value.bytes().all(is_token) {
                let parts: Vec<_> = scope.value.split_whitespace().collect();
                let message = format!("`{}`: `{}` is not a scope", item.path, scope.value);
                let help = if parts.len() > 1 {
                    format!("write several as a list: `[{}]`", parts.join(", "))
                } else {
                    "a scope is ASCII without spaces, `\"` and `\\` (RFC 6749, section 3.3)".into()
                };
                self.error(scope.span, message, help);
            } else if self.once(&mut seen, &scope.value, scope.span, &entry.path) {
                scopes.push(scope.value);
            }
        }
        scopes
    }
}
