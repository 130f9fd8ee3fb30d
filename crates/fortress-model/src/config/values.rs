//! Values of some kinds that many blocks take: lists of texts, secrets, URLs, names of header fields.

use std::collections::BTreeSet;

use super::{
    Spanned,
    reader::{Entry, REFERENCES, Reader},
    scalar::{self, BadUrl},
};
use crate::{document::Value, secret::Secret};

impl Reader<'_> {
    /// Texts, each once.
    pub(super) fn texts(&mut self, entry: &Entry<'_>) -> Vec<String> {
        let texts = self.spanned_texts(entry);
        texts.into_iter().map(|text| text.value).collect()
    }

    /// Texts with their places, each once.
    pub(super) fn spanned_texts(&mut self, entry: &Entry<'_>) -> Vec<Spanned<String>> {
        let mut seen = BTreeSet::new();
        let mut texts = Vec::new();
        for item in self.items(entry) {
            if let Some(text) = self.text(&item)
                && self.once(&mut seen, &text.value, text.span, &entry.path)
            {
                texts.push(text);
            }
        }
        texts
    }

    /// A secret: only as a reference, and never shown.
    pub(super) fn secret(&mut self, entry: &Entry<'_>) -> Option<Spanned<Secret<String>>> {
        let is_scalar = !matches!(
            entry.node.value,
            Value::Null | Value::Array(_) | Value::Object(_)
        );
        let is_reference = entry
            .node
            .as_str()
            .is_some_and(|text| REFERENCES.iter().any(|scheme| text.starts_with(scheme)));
        if is_scalar && !is_reference {
            let message = format!("`{}` holds a secret, and takes a reference", entry.path);
            let help = "put the secret into a file that Fortress alone can read and write `file:PATH`, or into a variable and write `env:NAME`; and change it, since it stood in a configuration";
            self.error(entry.place, message, help);
            return None;
        }
        let scalar = self.scalar(entry)?;
        let secret = Secret::new(scalar.text);
        if secret.expose().is_empty() {
            let message = format!("`{}`: `{}` is empty", entry.path, scalar.shown);
            self.error(entry.node.span, message, "put the secret there");
            return None;
        }
        Some(Spanned {
            value: secret,
            span: entry.node.span,
        })
    }

    /// An https URL, or http on loopback, without a fragment.
    pub(super) fn https_url(&mut self, entry: &Entry<'_>) -> Option<Spanned<String>> {
        self.parsed(entry, |text| {
            scalar::https_url(text)
                .map(|()| text.to_owned())
                .map_err(BadUrl::help)
        })
    }

    /// The name of a header field, in lower case.
    pub(super) fn field_name(&mut self, entry: &Entry<'_>) -> Option<Spanned<String>> {
        self.parsed(entry, scalar::field_name)
    }
}
