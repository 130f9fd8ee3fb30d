//! Asks a vault (HashiCorp Vault, OpenBao) for the values of `vault:` references.
//!
//! One session a load: a login, the values, and the end of what the login gave. So nothing is held
//! that could run out, and a role's rights are asked for anew at each look. A token that was given
//! is renewed instead. Deliberately HTTP/1.0: an answer is then everything until the end of the
//! connection, and needs no codec.

use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs as _},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use fortress_model::{
    Secret,
    config::{Origin, VaultAuth, VaultReference, VaultSettings},
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use serde_json::{Value, json};

/// From the first connection to the last byte of one answer.
const TIME: Duration = Duration::from_secs(5);
/// Bytes of an answer, its head included.
const ANSWER: u64 = 1 << 20;
/// The most addresses of a host that are tried.
const ADDRESSES: usize = 4;

/// A session with a vault: logged in, and logged out when it is dropped.
pub(crate) struct Session {
    client: Client,
    token: Secret<String>,
    /// The token is this session's own.
    is_own: bool,
}

impl Session {
    /// Logs in, or renews the token that was given.
    ///
    /// # Errors
    /// The vault cannot be reached, is sealed, or refuses.
    pub(crate) fn open(settings: &VaultSettings) -> Result<Self, String> {
        let client = Client::new(settings)?;
        let (mount, login) = match &settings.auth {
            VaultAuth::Token(token) => {
                let session = Self {
                    client,
                    token: token.clone(),
                    is_own: false,
                };
                session.renew()?;
                return Ok(session);
            }
            VaultAuth::AppRole {
                mount,
                role_id,
                secret_id,
            } => (
                mount,
                json!({ "role_id": role_id.expose(), "secret_id": secret_id.expose() }),
            ),
            VaultAuth::Kubernetes { mount, role, token } => {
                let jwt = std::fs::read_to_string(token).map_err(|error| {
                    format!("cannot read the token of the service account: {error}")
                })?;
                (mount, json!({ "role": role, "jwt": jwt.trim() }))
            }
        };
        let answer = client.ask("POST", &format!("auth/{mount}/login"), None, Some(&login))?;
        let token = answer.pointer("/auth/client_token").and_then(Value::as_str);
        let token = token.ok_or("the vault's answer to the login has no token")?;
        Ok(Self {
            client,
            token: Secret::new(token.to_owned()),
            is_own: true,
        })
    }

    /// A value of a key-value engine, version 2.
    ///
    /// # Errors
    /// The vault refuses, or has no such value.
    pub(crate) fn value(&self, reference: &VaultReference<'_>) -> Result<Secret<String>, String> {
        let VaultReference { mount, path, key } = reference;
        let answer = self.client.ask(
            "GET",
            &format!("{mount}/data/{path}"),
            Some(&self.token),
            None,
        )?;
        let data = answer.pointer("/data/data").and_then(Value::as_object);
        let data = data.ok_or("the vault's answer holds no secret; is the engine of version 2?")?;
        match data.get(*key) {
            Some(Value::String(value)) => Ok(Secret::new(value.clone())),
            Some(_) => Err(format!("the vault's value `{key}` is not a string")),
            None => Err(format!("the vault's secret has no `{key}`")),
        }
    }

    /// A token that was given lives on while it is used, if it can be renewed at all.
    fn renew(&self) -> Result<(), String> {
        let found = self
            .client
            .ask("GET", "auth/token/lookup-self", Some(&self.token), None)?;
        let renewable = found.pointer("/data/renewable").and_then(Value::as_bool);
        if renewable == Some(true) {
            self.client.ask(
                "POST",
                "auth/token/renew-self",
                Some(&self.token),
                Some(&json!({})),
            )?;
        }
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.is_own {
            let ended = self.client.ask(
                "POST",
                "auth/token/revoke-self",
                Some(&self.token),
                Some(&json!({})),
            );
            if let Err(why) = ended {
                tracing::debug!("the session with the vault ends by itself later: {why}");
            }
        }
    }
}

struct Client {
    address: Origin,
    namespace: Option<String>,
    tls: Option<Arc<ClientConfig>>,
}

impl Client {
    fn new(settings: &VaultSettings) -> Result<Self, String> {
        let tls = settings
            .address
            .tls
            .then(|| tls(settings.ca.as_deref()))
            .transpose()?;
        Ok(Self {
            address: settings.address.clone(),
            namespace: settings.namespace.clone(),
            tls,
        })
    }

    /// One question. The error never holds a part of the answer but the vault's own words in
    /// `errors`, which name no secrets.
    fn ask(
        &self,
        method: &str,
        path: &str,
        token: Option<&Secret<String>>,
        body: Option<&Value>,
    ) -> Result<Value, String> {
        let body = Secret::new(body.map(Value::to_string).unwrap_or_default());
        let request = self.request(method, path, token, &body)?;
        let answer = self
            .exchange(request.expose().as_bytes())
            .map_err(|error| format!("the vault cannot be reached: {error}"))?;
        let (status, body) =
            split(answer.expose()).ok_or("the vault's answer is not HTTP, or was cut off")?;
        let parsed: Option<Value> = serde_json::from_slice(body).ok();
        match status {
            200 => parsed.ok_or_else(|| "the vault's answer is not JSON".to_owned()),
            204 => Ok(Value::Null),
            404 => Err("the vault has no such secret".to_owned()),
            503 => Err("the vault is sealed".to_owned()),
            status => {
                let said = parsed
                    .as_ref()
                    .and_then(|answer| answer.pointer("/errors/0"));
                let said = said
                    .and_then(Value::as_str)
                    .unwrap_or("it does not say why");
                let said: String = said.chars().filter(|c| !c.is_control()).take(120).collect();
                Err(format!(
                    "the vault refuses (status {status}): {}",
                    said.trim()
                ))
            }
        }
    }

    fn request(
        &self,
        method: &str,
        path: &str,
        token: Option<&Secret<String>>,
        body: &Secret<String>,
    ) -> Result<Secret<String>, String> {
        let Origin {
            host, port, prefix, ..
        } = &self.address;
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.clone()
        };
        let mut request = format!(
            "{method} {prefix}/v1/{path} HTTP/1.0\r\nHost: {host}:{port}\r\nX-Vault-Request: true\r\nAccept: application/json\r\n"
        );
        let fields = [
            ("X-Vault-Token", token.map(|token| token.expose().as_str())),
            ("X-Vault-Namespace", self.namespace.as_deref()),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                if !value.bytes().all(|byte| matches!(byte, b'!'..=b'~')) {
                    return Err(format!(
                        "what goes into `{name}` has a character that cannot"
                    ));
                }
                request.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        if !body.expose().is_empty() {
            let length = body.expose().len();
            request.push_str(&format!(
                "Content-Type: application/json\r\nContent-Length: {length}\r\n"
            ));
        }
        request.push_str("\r\n");
        request.push_str(body.expose());
        Ok(Secret::new(request))
    }

    fn exchange(&self, request: &[u8]) -> io::Result<Secret<Vec<u8>>> {
        let deadline = Instant::now() + TIME;
        let stream = self.connect(deadline)?;
        match &self.tls {
            None => converse(stream, request),
            Some(config) => {
                let name = ServerName::try_from(self.address.host.clone())
                    .map_err(|error| io::Error::other(error.to_string()))?;
                let session = ClientConnection::new(Arc::clone(config), name)
                    .map_err(|error| io::Error::other(error.to_string()))?;
                converse(StreamOwned::new(session, stream), request)
            }
        }
    }

    fn connect(&self, deadline: Instant) -> io::Result<TcpStream> {
        let mut last = io::Error::other("its host has no address");
        let host = self.address.host.as_str();
        for address in (host, self.address.port).to_socket_addrs()?.take(ADDRESSES) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            match TcpStream::connect_timeout(&address, left) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(TIME))?;
                    stream.set_write_timeout(Some(TIME))?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

fn converse(mut stream: impl Read + Write, request: &[u8]) -> io::Result<Secret<Vec<u8>>> {
    stream.write_all(request)?;
    stream.flush()?;
    let deadline = Instant::now() + TIME;
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let read = match stream.read(&mut piece) {
            Ok(0) => return Ok(Secret::new(answer)),
            Ok(read) => read,
            // Some servers end a TLS connection without saying so; `split` sees whether the answer
            // is whole.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok(Secret::new(answer));
            }
            Err(error) => return Err(error),
        };
        answer.extend_from_slice(piece.get(..read).unwrap_or_default());
        let length = u64::try_from(answer.len()).unwrap_or(u64::MAX);
        if length > ANSWER || Instant::now() > deadline {
            return Err(io::Error::other(
                "the answer is too long, or takes too long",
            ));
        }
    }
}

/// Status and body of an answer that says how long it is and is as long as that.
fn split(answer: &[u8]) -> Option<(u16, &[u8])> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, rest) = answer.split_at_checked(end)?;
    let body = rest.get(4..)?;
    let mut lines = std::str::from_utf8(head).ok()?.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?;
    let status = status.parse().ok()?;
    let lengths = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())
    });
    let lengths: Vec<Option<usize>> = lengths.collect();
    let whole = match lengths.as_slice() {
        [] => status == 204 || serde_json::from_slice::<Value>(body).is_ok(),
        [Some(length)] => *length == body.len(),
        _ => false,
    };
    whole.then_some((status, body))
}

fn tls(ca: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            let shown = path.display();
            let certificates = CertificateDer::pem_file_iter(path)
                .map_err(|error| format!("cannot read `{shown}`: {error}"))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| {
                    format!("`{shown}` is not a PEM file of certificates: {error}")
                })?;
                roots.add(certificate).map_err(|error| {
                    format!("a certificate in `{shown}` cannot be used: {error}")
                })?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err("no certificate is trusted; name the vault's: `secrets.vault.ca`".to_owned());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests;
