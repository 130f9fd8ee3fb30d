//! Connecting to Redis: one server, the master that Sentinels know, or a Cluster.
//!
//! Deliberately not here: when to connect (`keeper`).

use std::{sync::Arc, time::Duration};

use fortress_model::{
    Secret,
    config::{RedisAddress, RedisServers, RedisSettings, RedisTls},
};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind,
    IntoConnectionInfo, ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo, RedisError,
    ServerErrorKind, TlsCertificates, TlsMode, Value,
    aio::{ConnectionLike as _, MultiplexedConnection, SendError},
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};
use tokio::sync::Notify;

/// How long making a connection may take, TLS, Sentinels and the nodes of a Cluster included.
pub(super) const CONNECT: Duration = Duration::from_secs(2);

/// The protocol with which the library tells that a connection was closed; Redis has it since 6.0.
const TELLS: ProtocolVersion = ProtocolVersion::RESP3;

/// Redirections within a Cluster that one call follows.
const REDIRECTIONS: u32 = 2;

/// A connection; its clones are the same one, on which calls go out one behind the other without
/// waiting for each other's answers.
#[derive(Clone)]
pub(super) enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    pub(super) async fn call(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        let value = match self {
            Self::One(connection) => connection.req_packed_command(command).await?,
            Self::Cluster(connection) => connection.req_packed_command(command).await?,
        };
        // An error within an answer is one.
        value.extract_error()
    }
}

/// Makes connections.
pub(super) struct Connector {
    settings: RedisSettings,
    /// How long an answer is waited for, in the end: whoever asked has gone on long before.
    patience: Duration,
    /// It remembers its connections to Sentinels.
    sentinels: Option<SentinelClient>,
}

impl Connector {
    pub(super) fn new(settings: RedisSettings, patience: Duration) -> Self {
        Self {
            settings,
            patience,
            sentinels: None,
        }
    }

    /// `lost` is notified when the other side closes the connection, also if nothing is asked then. Of a
    /// Cluster only calls tell: one node is not all of it.
    ///
    /// # Errors
    /// Says what is wrong, without a secret.
    pub(super) async fn connect(&mut self, lost: &Arc<Notify>) -> Result<Connection, String> {
        match tokio::time::timeout(CONNECT, self.try_connect(lost)).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(why)) => Err(why),
            Err(_) => Err(format!("no connection within {} s", CONNECT.as_secs())),
        }
    }

    async fn try_connect(&mut self, lost: &Arc<Notify>) -> Result<Connection, String> {
        let certificates = certificates(&self.settings.tls)?;
        let lost = Arc::clone(lost);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(self.patience))
            .set_push_sender(move |info: PushInfo| {
                if info.kind == PushKind::Disconnection {
                    lost.notify_one();
                }
                Ok::<(), SendError>(())
            });
        let connected = match self.settings.servers.clone() {
            RedisServers::One(address) => {
                let info = info(&self.settings, &address, TELLS)?;
                let client = match certificates {
                    Some(certificates) => Client::build_with_tls(info, certificates),
                    None => Client::open(info),
                };
                let client = client.map_err(|error| told(&error))?;
                let made = client.get_multiplexed_async_connection_with_config(&config);
                made.await.map(Connection::One)
            }
            RedisServers::Sentinels { .. } => {
                let client = match self.sentinels.take() {
                    Some(client) => client,
                    None => self.ask_sentinels(certificates)?,
                };
                let client = self.sentinels.insert(client);
                let made = client.get_async_connection_with_config(&config);
                made.await.map(Connection::One)
            }
            RedisServers::Cluster(addresses) => {
                let nodes: Result<Vec<_>, String> = addresses
                    .iter()
                    .map(|address| info(&self.settings, address, ProtocolVersion::RESP2))
                    .collect();
                let mut builder = ClusterClient::builder(nodes?)
                    .retries(REDIRECTIONS)
                    .connection_timeout(CONNECT)
                    .response_timeout(self.patience);
                if let Some(certificates) = certificates {
                    builder = builder.certs(certificates);
                }
                let client = builder.build().map_err(|error| told(&error))?;
                let made = client.get_async_connection();
                made.await.map(Connection::Cluster)
            }
        };
        connected.map_err(|error| told(&error))
    }

    fn ask_sentinels(
        &self,
        certificates: Option<TlsCertificates>,
    ) -> Result<SentinelClient, String> {
        let RedisServers::Sentinels {
            at,
            master,
            user,
            password,
        } = &self.settings.servers
        else {
            return Err("there are no Sentinels".into());
        };
        let addresses = at.iter().map(|address| place(address, &self.settings.tls));
        let kind = SentinelServerType::Master;
        let mut builder = SentinelClientBuilder::new(addresses, master, kind)
            .map_err(|error| told(&error))?
            .set_client_to_redis_db(i64::from(self.settings.database))
            .set_client_to_redis_protocol(TELLS);
        if let Some(certificates) = certificates {
            builder = builder
                .set_client_to_redis_tls_mode(TlsMode::Secure)
                .set_client_to_sentinel_tls_mode(TlsMode::Secure)
                .set_client_to_redis_certificates(certificates.clone())
                .set_client_to_sentinel_certificates(certificates);
        }
        if let Some(user) = &self.settings.user {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(password) = &self.settings.password {
            builder = builder.set_client_to_redis_password(password.expose());
        }
        if let Some(user) = user {
            builder = builder.set_client_to_sentinel_username(user);
        }
        if let Some(password) = password {
            builder = builder.set_client_to_sentinel_password(password.expose());
        }
        builder.build().map_err(|error| told(&error))
    }
}

/// What TLS trusts; `None` for plain text.
fn certificates(tls: &RedisTls) -> Result<Option<TlsCertificates>, String> {
    let root_cert = match tls {
        RedisTls::Plain => return Ok(None),
        RedisTls::Machine => None,
        RedisTls::File(path) => {
            let read = fortress_model::file::read(path);
            Some(read.map_err(|error| format!("cannot read `{}`: {error}", path.display()))?)
        }
    };
    Ok(Some(TlsCertificates {
        client_tls: None,
        root_cert,
    }))
}

fn place(address: &RedisAddress, tls: &RedisTls) -> ConnectionAddr {
    let RedisAddress { host, port } = address.clone();
    match tls {
        RedisTls::Plain => ConnectionAddr::Tcp(host, port),
        RedisTls::Machine | RedisTls::File(_) => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: false,
            tls_params: None,
        },
    }
}

fn info(
    settings: &RedisSettings,
    address: &RedisAddress,
    protocol: ProtocolVersion,
) -> Result<ConnectionInfo, String> {
    let mut user = RedisConnectionInfo::default()
        .set_protocol(protocol)
        .set_db(i64::from(settings.database))
        // A user needs no right to say what connects.
        .set_skip_set_lib_name();
    if let Some(name) = &settings.user {
        user = user.set_username(name);
    }
    if let Some(password) = settings.password.as_ref().map(Secret::expose) {
        user = user.set_password(password);
    }
    let place = place(address, &settings.tls);
    let info = place.into_connection_info().map_err(|error| told(&error))?;
    Ok(info.set_redis_settings(user))
}

/// An error in words for the operator: what the server said, cut to size.
pub(super) fn told(error: &RedisError) -> String {
    const LONGEST: usize = 200;
    let code = error
        .code()
        .map(|code| format!("{code} "))
        .unwrap_or_default();
    let said = error
        .detail()
        .map_or_else(|| error.to_string(), |said| format!("{code}{said}"));
    let said = said.replace(char::is_control, " ");
    said.chars().take(LONGEST).collect()
}

/// Whether another server may be the right one now, or the connection is of no use any more.
pub(super) fn is_elsewhere(error: &RedisError) -> bool {
    let is_replica = error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
        // Of a script that wrote, as older servers say it.
        || error.detail().is_some_and(|said| said.contains("READONLY"));
    is_replica || error.is_unrecoverable_error() || error.is_connection_dropped()
}
