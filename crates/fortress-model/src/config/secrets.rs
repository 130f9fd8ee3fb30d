//! `secrets`: where `vault:` references are asked for.
//!
//! Deliberately not here: asking.

use std::path::PathBuf;

use super::{
    Origin,
    keys::{Block, Key, Kind},
    reader::{Entry, Fields, PathUse, Reader},
    scalar,
};
use crate::secret::Secret;

/// A vault: HashiCorp Vault, OpenBao, or what speaks as they do.
#[derive(Clone, Debug)]
pub struct VaultSettings {
    /// Its address: https, or http on loopback.
    pub address: Origin,
    /// Trust the certificates of this PEM file alone, instead of the machine's.
    pub ca: Option<PathBuf>,
    /// The namespace, where the vault has such.
    pub namespace: Option<String>,
    /// How Fortress proves who it is.
    pub auth: VaultAuth,
}

/// How Fortress proves who it is.
#[derive(Clone, Debug)]
pub enum VaultAuth {
    /// By a token that it was given.
    Token(Secret<String>),
    /// By a role's id and secret.
    AppRole {
        /// Where the method is mounted.
        mount: String,
        /// The role's id.
        role_id: Secret<String>,
        /// The role's secret.
        secret_id: Secret<String>,
    },
    /// By the token of the pod's service account.
    Kubernetes {
        /// Where the method is mounted.
        mount: String,
        /// The role's name.
        role: String,
        /// The service account's token, read anew for each login.
        token: PathBuf,
    },
}

/// Where Kubernetes mounts the token of a pod's service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

pub(super) static SECRETS: Block = Block {
    name: "secrets",
    doc: "Where secrets are kept outside of files.",
    groups: &[&[Key::new(
        "vault",
        Kind::Block(&VAULT),
        "The vault that `vault:` references are asked of.",
    )
    .required()]],
    later: &[],
};

static VAULT: Block = Block {
    name: "secrets.vault",
    doc: "HashiCorp Vault, OpenBao, or what speaks as they do.",
    groups: &[&[
        Key::new("address", Kind::Url, "Its https URL (http on loopback).").required(),
        Key::new(
            "ca",
            Kind::File,
            "Trust the certificates of this PEM file alone (default: those of the machine).",
        ),
        Key::new("namespace", Kind::Text, "The namespace, where it has such."),
        Key::new(
            "auth",
            Kind::Block(&AUTH),
            "How Fortress proves who it is: one of `token`, `approle` and `kubernetes`.",
        )
        .required(),
    ]],
    later: &[],
};

static AUTH: Block = Block {
    name: "secrets.vault.auth",
    doc: "How Fortress proves who it is: one of these.",
    groups: &[&[
        Key::new(
            "token",
            Kind::Secret,
            "A token, as a reference by `env:`, `file:` or `exec:`. It is renewed while Fortress runs, if it can be.",
        ),
        Key::new("approle", Kind::Block(&APPROLE), "A role with a secret."),
        Key::new(
            "kubernetes",
            Kind::Block(&KUBERNETES),
            "The token of the pod's service account.",
        ),
    ]],
    later: &[],
};

static APPROLE: Block = Block {
    name: "secrets.vault.auth.approle",
    doc: "A role with a secret.",
    groups: &[&[
        Key::new("role_id", Kind::Secret, "The role's id, as a reference.").required(),
        Key::new(
            "secret_id",
            Kind::Secret,
            "The role's secret, as a reference.",
        )
        .required(),
        Key::new(
            "mount",
            Kind::Text,
            "Where the method is mounted (default: `approle`).",
        ),
    ]],
    later: &[],
};

static KUBERNETES: Block = Block {
    name: "secrets.vault.auth.kubernetes",
    doc: "The token of the pod's service account.",
    groups: &[&[
        Key::new("role", Kind::Text, "The role's name.").required(),
        Key::new(
            "token",
            Kind::File,
            "The token's file (default: where Kubernetes mounts it).",
        ),
        Key::new(
            "mount",
            Kind::Text,
            "Where the method is mounted (default: `kubernetes`).",
        ),
    ]],
    later: &[],
};

impl Reader<'_> {
    /// What `vault:` references are asked of; read before all else, since anything may be one.
    pub(super) fn vault_settings(&mut self, entry: &Entry<'_>) -> Option<VaultSettings> {
        let fields = self.fields(entry)?;
        let vault = self.fields(&fields.get("vault")?)?;
        let address = vault.get("address").and_then(|entry| {
            let address = self.parsed(&entry, scalar::origin)?;
            if address.value.tls || scalar::is_loopback(&address.value) {
                return Some(address.value);
            }
            let message = format!(
                "`{}` is not encrypted, and secrets come from there",
                entry.path
            );
            let help = "write `https://`; `http://` is for loopback addresses alone";
            self.error(entry.node.span, message, help);
            None
        });
        let ca = vault
            .get("ca")
            .map(|entry| self.path(&entry, PathUse::Read));
        let namespace = vault.get("namespace").map(|entry| self.text(&entry));
        let auth = vault.get("auth").and_then(|entry| self.vault_auth(&entry));
        Some(VaultSettings {
            address: address?,
            ca: optional(ca)?.map(|ca| ca.value),
            namespace: optional(namespace)?.map(|namespace| namespace.value),
            auth: auth?,
        })
    }

    fn vault_auth(&mut self, entry: &Entry<'_>) -> Option<VaultAuth> {
        let fields = self.fields(entry)?;
        let ways = (
            fields.get("token"),
            fields.get("approle"),
            fields.get("kubernetes"),
        );
        match ways {
            (Some(token), None, None) => self
                .secret(&token)
                .map(|token| VaultAuth::Token(token.value)),
            (None, Some(approle), None) => {
                let fields = self.fields(&approle)?;
                let role_id = fields.get("role_id").and_then(|entry| self.secret(&entry));
                let secret_id = fields
                    .get("secret_id")
                    .and_then(|entry| self.secret(&entry));
                Some(VaultAuth::AppRole {
                    mount: self.mount(&fields, "approle")?,
                    role_id: role_id?.value,
                    secret_id: secret_id?.value,
                })
            }
            (None, None, Some(kubernetes)) => {
                let fields = self.fields(&kubernetes)?;
                let role = fields.get("role").and_then(|entry| self.text(&entry));
                let token = fields
                    .get("token")
                    .map(|entry| self.path(&entry, PathUse::Read));
                Some(VaultAuth::Kubernetes {
                    mount: self.mount(&fields, "kubernetes")?,
                    role: role?.value,
                    token: optional(token)?
                        .map_or_else(|| PathBuf::from(SERVICE_ACCOUNT), |token| token.value),
                })
            }
            _ => {
                let message = format!("`{}` takes one way", entry.path);
                let help = "write one of `token`, `approle` and `kubernetes`";
                self.error(entry.place, message, help);
                None
            }
        }
    }

    fn mount(&mut self, fields: &Fields<'_>, usual: &str) -> Option<String> {
        let Some(entry) = fields.get("mount") else {
            return Some(usual.to_owned());
        };
        let mount = self.text(&entry)?;
        if super::references::is_plain_path(&mount.value) {
            return Some(mount.value);
        }
        let message = format!("`{}` is not where a method can be mounted", entry.path);
        self.error(
            entry.node.span,
            message,
            "write its path without slashes around it",
        );
        None
    }
}

/// A key that is absent is fine; one that is wrong is not.
fn optional<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    match read {
        None => Some(None),
        Some(value) => value.map(Some),
    }
}
