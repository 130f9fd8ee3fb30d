//! PostgreSQL, for several instances that share one store.
//!
//! The client is the blocking one: the store is asked from one thread, on which a pool and a runtime
//! would have nothing to do. It keeps one connection, and connects anew when that is lost.

use std::{
    collections::HashMap,
    future::Future,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use fortress_model::Secret;
use postgres::{
    Client, Config, IsolationLevel, Socket, Statement,
    config::{Host, SslMode},
    fallible_iterator::FallibleIterator,
    tls::{ChannelBinding, MakeTlsConnect, TlsConnect},
    types::ToSql,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    StoreError,
    driver::{Connection, Driver, EachRow, Row, Transaction, Value},
};

const CONNECT: Duration = Duration::from_secs(5);
/// Longer than a server that is gone may stay unnoticed.
const SILENCE: Duration = Duration::from_secs(15);
/// For each connection: a statement that hangs, a lock that is not given up, and a transaction that
/// was forgotten must not stop the others.
const PATIENCE: &str = "SET statement_timeout = '5min'; SET lock_timeout = '10s';
  SET idle_in_transaction_session_timeout = '5min'";

/// A database of PostgreSQL 15 or newer.
pub struct Postgres {
    config: Config,
    tls: Tls,
    client: Option<Client>,
    statements: HashMap<String, Statement>,
    place: String,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Postgres({})", self.place)
    }
}

impl Postgres {
    /// Connects to `postgres://user:password@host/database`. Certificates are always verified: by the
    /// authorities in `ca`, else by those that the machine trusts. Without TLS only this machine is
    /// spoken to, unless the URL says `sslmode=disable`.
    ///
    /// # Errors
    /// If the URL is none, or the server does not answer.
    pub fn connect(url: &Secret<String>, ca: Option<&Path>) -> Result<Self, StoreError> {
        let mut config: Config = url.expose().parse().map_err(|_| {
            let help = "the address of PostgreSQL is not `postgres://user:password@host/database`";
            StoreError::Unreachable(help.into())
        })?;
        if config.get_ssl_mode() == SslMode::Prefer && !is_local(&config) {
            config.ssl_mode(SslMode::Require);
        }
        config
            .application_name("fortress")
            .connect_timeout(CONNECT)
            .tcp_user_timeout(SILENCE);
        let mut driver = Self {
            place: shown(&config),
            config,
            tls: Tls::new(ca)?,
            client: None,
            statements: HashMap::new(),
        };
        driver.client()?;
        Ok(driver)
    }

    fn client(&mut self) -> Result<&mut Client, StoreError> {
        if self.client.as_ref().is_none_or(Client::is_closed) {
            self.statements.clear();
            self.client = None;
            let mut client = self
                .config
                .connect(self.tls.clone())
                .map_err(|error| self.said(&error))?;
            client
                .batch_execute(PATIENCE)
                .map_err(|error| self.said(&error))?;
            self.client = Some(client);
        }
        let lost = || StoreError::Unreachable("the connection was lost".into());
        self.client.as_mut().ok_or_else(lost)
    }

    fn said(&self, error: &postgres::Error) -> StoreError {
        said(error, &self.place)
    }
}

impl Driver for Postgres {
    fn transaction(
        &mut self,
        kind: Transaction,
        work: &mut dyn FnMut(&mut dyn Connection) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.client()?;
        let place = self.place.clone();
        let said = |error: postgres::Error| said(&error, &place);
        let Some(client) = &mut self.client else {
            return Err(StoreError::Unreachable("the connection was lost".into()));
        };
        let begun = client.build_transaction();
        let begun = match kind {
            Transaction::Read => begun
                .isolation_level(IsolationLevel::RepeatableRead)
                .read_only(true),
            Transaction::Write => begun.isolation_level(IsolationLevel::ReadCommitted),
        };
        let mut within = Within {
            transaction: begun.start().map_err(said)?,
            statements: &mut self.statements,
            place: &place,
        };
        // Dropped without a commit, it is rolled back.
        work(&mut within)?;
        within.transaction.commit().map_err(said)
    }

    fn has_tables(&mut self) -> Result<bool, StoreError> {
        let asked = self
            .client()?
            .query_one("SELECT to_regclass('fortress_meta') IS NOT NULL", &[]);
        let row = asked.map_err(|error| self.said(&error))?;
        row.try_get(0).map_err(|error| self.said(&error))
    }

    /// The server looks after its files; a row that cannot be read is found by reading it.
    fn faults(&mut self) -> Result<Vec<String>, StoreError> {
        self.client().map(|_| Vec::new())
    }

    fn place(&self) -> String {
        self.place.clone()
    }
}

struct Within<'d> {
    transaction: postgres::Transaction<'d>,
    statements: &'d mut HashMap<String, Statement>,
    place: &'d str,
}

impl Within<'_> {
    fn statement(&mut self, sql: &str) -> Result<Statement, StoreError> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let prepared = self.transaction.prepare(sql);
        let statement = prepared.map_err(|error| said(&error, self.place))?;
        // INVARIANT: statements are this crate's own texts, so that there are few.
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

impl Connection for Within<'_> {
    fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64, StoreError> {
        let statement = self.statement(sql)?;
        let parameters: Vec<_> = values.iter().map(parameter).collect();
        self.transaction
            .execute(&statement, &parameters)
            .map_err(|error| said(&error, self.place))
    }

    fn query(
        &mut self,
        sql: &str,
        values: &[Value<'_>],
        each: &mut EachRow<'_>,
    ) -> Result<(), StoreError> {
        let said = |error: postgres::Error| said(&error, self.place);
        let statement = self.statement(sql)?;
        let parameters = values.iter().map(parameter);
        let mut rows = self
            .transaction
            .query_raw(&statement, parameters)
            .map_err(said)?;
        while let Some(row) = rows.next().map_err(said)? {
            each(&Cells(&row))?;
        }
        Ok(())
    }

    fn define(&mut self, sql: &str) -> Result<(), StoreError> {
        self.transaction
            .batch_execute(sql)
            .map_err(|error| said(&error, self.place))
    }
}

struct Cells<'r>(&'r postgres::Row);

impl Cells<'_> {
    fn get<'s, T: postgres::types::FromSql<'s>>(&'s self, column: usize) -> Result<T, StoreError> {
        self.0
            .try_get(column)
            .map_err(|_| StoreError::Damaged("a value has another type than its column".into()))
    }
}

impl Row for Cells<'_> {
    fn number(&self, column: usize) -> Result<Option<i64>, StoreError> {
        self.get(column)
    }

    fn text(&self, column: usize) -> Result<String, StoreError> {
        self.get(column)
    }

    fn bytes(&self, column: usize) -> Result<Vec<u8>, StoreError> {
        self.get(column)
    }
}

fn parameter<'v>(value: &'v Value<'_>) -> &'v (dyn ToSql + Sync) {
    match value {
        Value::Null => &None::<i64>,
        Value::Integer(number) => number,
        Value::Text(text) => text,
        Value::Bytes(bytes) => bytes,
    }
}

fn is_local(config: &Config) -> bool {
    let named = config.get_hosts().iter().all(|host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost"
                || name
                    .parse()
                    .is_ok_and(|address: std::net::IpAddr| address.is_loopback())
        }
    });
    named
        && config
            .get_hostaddrs()
            .iter()
            .all(|address| address.is_loopback())
}

fn shown(config: &Config) -> String {
    let host = config.get_hosts().first().map(|host| match host {
        Host::Unix(path) => path.display().to_string(),
        Host::Tcp(name) => name.clone(),
    });
    format!(
        "postgres://{}/{}",
        host.unwrap_or_default(),
        config.get_dbname().unwrap_or_default()
    )
}

/// What the server said, as one of our errors (PostgreSQL, appendix A).
fn said(error: &postgres::Error, place: &str) -> StoreError {
    let Some(answer) = error.as_db_error() else {
        let why = std::error::Error::source(error).map(ToString::to_string);
        let why = why.unwrap_or_else(|| error.to_string());
        return StoreError::Unreachable(format!("{place}: {why}"));
    };
    let message = format!("{place}: {}", answer.message());
    match answer.code().code() {
        "53100" => StoreError::Full,
        "40001" | "40P01" | "55P03" | "57014" => StoreError::Busy,
        "XX001" | "XX002" => StoreError::Damaged(message),
        "3D000" => StoreError::Unreachable(message),
        code if ["08", "28", "53", "57"]
            .iter()
            .any(|class| code.starts_with(class)) =>
        {
            StoreError::Unreachable(message)
        }
        _ => StoreError::Database(message),
    }
}

/// TLS by the same library as everywhere in Fortress.
#[derive(Clone)]
struct Tls(Arc<ClientConfig>);

impl Tls {
    fn new(ca: Option<&Path>) -> Result<Self, StoreError> {
        let roots = match ca {
            Some(path) => authorities(path)?,
            None => {
                let mut roots = RootCertStore::empty();
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
                roots
            }
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| StoreError::Unreachable(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }
}

fn authorities(path: &Path) -> Result<RootCertStore, StoreError> {
    let wrong = |why: String| {
        let path: PathBuf = path.to_owned();
        StoreError::Unreachable(format!("`{}` holds no certificates: {why}", path.display()))
    };
    let mut roots = RootCertStore::empty();
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("it is empty".into()));
    }
    Ok(roots)
}

impl MakeTlsConnect<Socket> for Tls {
    type Stream = Encrypted;
    type TlsConnect = Handshake;
    type Error = rustls::pki_types::InvalidDnsNameError;

    fn make_tls_connect(&mut self, host: &str) -> Result<Handshake, Self::Error> {
        Ok(Handshake {
            connector: TlsConnector::from(Arc::clone(&self.0)),
            name: ServerName::try_from(host.to_owned())?,
        })
    }
}

struct Handshake {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl TlsConnect<Socket> for Handshake {
    type Stream = Encrypted;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move {
            let stream = self.connector.connect(self.name, socket).await?;
            Ok(Encrypted(stream))
        })
    }
}

/// A connection in TLS. Channel binding (RFC 5929) is left out: the certificate was verified.
struct Encrypted(TlsStream<Socket>);

impl postgres::tls::TlsStream for Encrypted {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_spoken_to_without_tls() {
        let local = |url: &str| is_local(&url.parse().unwrap());
        for url in [
            "postgres://u@127.0.0.1/d",
            "postgres://u@localhost/d",
            "postgres://u@%2Fvar%2Frun/d",
            "postgres://u@[::1]/d",
        ] {
            assert!(local(url), "{url}");
        }
        for url in [
            "postgres://u@10.0.0.1/d",
            "postgres://u@db.example.com/d",
            "postgres://u@localhost,db/d",
            "host=localhost hostaddr=10.0.0.1",
        ] {
            assert!(!local(url), "{url}");
        }
    }

    #[test]
    fn neither_the_place_nor_an_error_shows_the_password() {
        let config: Config = "postgres://u:hunter2@127.0.0.1/d".parse().unwrap();
        assert_eq!(shown(&config), "postgres://127.0.0.1/d");
        // Nothing listens on port 1.
        let url = Secret::new("postgres://u:hunter2@127.0.0.1:1/d".to_owned());
        let error = Postgres::connect(&url, None).unwrap_err();
        assert!(matches!(error, StoreError::Unreachable(_)), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
        let wrong = Secret::new("hunter2 is no address".to_owned());
        let error = Postgres::connect(&wrong, None).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
