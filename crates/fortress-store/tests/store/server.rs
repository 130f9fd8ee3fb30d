//! A PostgreSQL with TLS and databases for stores.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use fortress_model::{Secret, config::StorePlace};

use crate::{
    postgres_server::{MISSING, Postgres},
    support::{Home, skipped, until},
};

pub(crate) struct Server {
    postgres: Postgres,
    databases: AtomicU32,
}

impl Server {
    /// `None`, and a word about it, where there is none on this machine.
    pub(crate) fn start() -> Option<Self> {
        let tls = [
            "ssl=on",
            "ssl_cert_file=../server.crt",
            "ssl_key_file=../server.key",
        ];
        let Some(postgres) = Postgres::start(&tls, certificate) else {
            skipped(MISSING);
            return None;
        };
        let server = Self {
            postgres,
            databases: AtomicU32::new(0),
        };
        server.wait();
        Some(server)
    }

    fn wait(&self) {
        until("PostgreSQL answers", || {
            postgres::Client::connect(&self.url("postgres"), postgres::NoTls).is_ok()
        });
    }

    pub(crate) fn url(&self, database: &str) -> String {
        self.postgres.url(database)
    }

    pub(crate) fn port(&self) -> u16 {
        self.postgres.port()
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.postgres.directory().join("server.crt")
    }

    /// A database that is empty.
    pub(crate) fn database(&self) -> String {
        let name = format!("d{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.ask(&format!("CREATE DATABASE {name}"));
        name
    }

    pub(crate) fn ask(&self, sql: &str) {
        let url = self.url("postgres");
        let mut client = postgres::Client::connect(&url, postgres::NoTls).unwrap();
        client.batch_execute(sql).unwrap();
    }

    pub(crate) fn home(&self) -> Home {
        let url = Secret::new(self.url(&self.database()));
        let directory = Arc::new(tempfile::tempdir().unwrap());
        Home::with(directory, StorePlace::Postgres { url, ca: None })
    }

    pub(crate) fn kill(&mut self) {
        self.postgres.kill();
    }

    pub(crate) fn restart(&mut self) {
        self.postgres.restart();
        self.wait();
    }
}

fn certificate(directory: &Path) {
    let made =
        rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".into()]).unwrap();
    for (name, text) in [
        ("server.crt", made.cert.pem()),
        ("server.key", made.signing_key.serialize_pem()),
    ] {
        let path = directory.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}
