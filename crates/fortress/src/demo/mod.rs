//! `fortress demo`: a weak sample API, Fortress in front of it, and commands that show what it
//! stops. Needs nothing but the binary, and leaves nothing behind.

mod issuer;
mod sample;
pub(crate) mod state;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
};

use anyhow::{Context, Result};
use fortress_audit::attack::Tokens;
use serde_json::{Map, Value, json};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::{
    command::{self, End},
    environment,
    private::{self, Directory},
    run::{Serving, Stop},
    screen::{CARE, HEAD, QUIET, Screen},
};
use issuer::{AUDIENCE, ISSUER, Issuer};
use sample::{DESCRIPTION, Sample};
use state::State;

pub(crate) const EXAMPLES: &str = "Examples:
  fortress demo
  fortress demo --port 9000 --upstream-port 9001";

/// Where Fortress listens, if nothing else does.
const PORT: u16 = 8080;
/// Where the sample API listens, if nothing else does.
const UPSTREAM_PORT: u16 = 3000;

#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// Fortress's port (0 for any; without it 8080, or a free one if that is taken)
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// The sample API's port (0 for any; without it 3000, or a free one if that is taken)
    #[arg(long, value_name = "PORT")]
    upstream_port: Option<u16>,
}

/// Runs until Ctrl-C.
pub(crate) fn run(flags: &Flags, screen: &Screen) -> Result<End> {
    command::runtime()?.block_on(demo(flags, screen))
}

async fn demo(flags: &Flags, screen: &Screen) -> Result<End> {
    // First of all, so that a signal at any time finds somebody who tidies up.
    let mut stop = Stop::listen()?;
    let mut hangup = signal(SignalKind::hangup())?;
    let issuer = Issuer::new()?;
    let tokens = issuer.tokens()?;
    let directory = Directory::new("demo")?;

    let sample = Port::open(flags.upstream_port, UPSTREAM_PORT)?;
    let sample_address = sample.listener.local_addr()?;
    sample.listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(sample.listener)?;
    let (end, ended) = watch::channel(false);
    let signer = issuer.clone();
    let api = Sample::new(Box::new(move |name, scope| {
        signer.token(name, scope).unwrap_or_default()
    }));
    let serving_sample = tokio::spawn(sample::serve(listener, Arc::new(api), ended));

    let front = Port::open(flags.port, PORT)?;
    let address = front.listener.local_addr()?;
    // The gateway binds for itself; nobody but this machine could take the port in between.
    drop(front.listener);
    let state = State {
        pid: i32::try_from(std::process::id())?,
        fortress: format!("http://{address}"),
        upstream: format!("http://{sample_address}"),
        config: directory.path().join("fortress.yaml"),
        journal: directory.path().join("journal.ndjson"),
        tokens,
    };
    private::write(&directory.path().join("openapi.yaml"), DESCRIPTION)?;
    private::write(&directory.path().join("jwks.json"), &issuer.keys())?;
    private::write(&state.config, &configuration(address, &state.upstream))?;
    let serving = Serving::start(&state.config).context("the demo's gateway did not start")?;
    let published = state.publish()?;

    if screen.is_json() {
        screen.line(machine(&state).to_string());
    } else {
        for (what, wanted) in [
            ("sample API", sample.instead_of),
            ("Fortress", front.instead_of),
        ] {
            if let Some(wanted) = wanted {
                screen.note(format!(
                    "{CARE}port {wanted} is taken: the {what} is on another one{CARE:#}"
                ));
            }
        }
        screen.line(page(&state));
    }
    tokio::select! {
        () = stop.wait() => {}
        _ = hangup.recv() => {}
    }
    serving.drain(&mut stop).await;
    drop(published);
    drop(end);
    drop(serving_sample.await);
    drop(directory);
    Ok(End::Fine)
}

/// A port of loopback.
struct Port {
    listener: TcpListener,
    /// The usual one, if it was taken.
    instead_of: Option<u16>,
}

impl Port {
    /// The port that was asked for and no other; without one, the usual port or any.
    fn open(asked: Option<u16>, usual: u16) -> Result<Self> {
        let bind = |port| TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        if let Some(port) = asked {
            return Ok(Self {
                listener: bind(port).with_context(|| {
                    format!("cannot listen on 127.0.0.1:{port}; name another port, or 0 for any")
                })?,
                instead_of: None,
            });
        }
        match bind(usual) {
            Ok(listener) => Ok(Self {
                listener,
                instead_of: None,
            }),
            Err(_) => Ok(Self {
                listener: bind(0).context("no port of 127.0.0.1 is free")?,
                instead_of: Some(usual),
            }),
        }
    }
}

/// The demo's configuration: what `fortress init` would write for it, content with the rules that
/// need no installation, and without limits, which would refuse most of an attack for its haste.
fn configuration(address: SocketAddr, upstream: &str) -> String {
    format!(
        "version: 1
listen:
  - address: {address}
apis:
  orders:
    spec: openapi.yaml
    upstream: {upstream}
    operations:
      login: {{ login: {{ account: body.username }} }}
defaults:
  waf: {{ rules: builtin }}
detect: {{ stuffing: {{}}, enumeration: {{}} }}
identity:
  demo:
    issuer: {ISSUER}
    audience: {AUDIENCE}
    jwks: file:jwks.json
journal:
  - {{ file: journal.ndjson, format: ocsf }}
"
    )
}

fn token<'a>(tokens: &'a Tokens, name: &str) -> &'a str {
    tokens
        .genuine
        .iter()
        .find(|credential| credential.name == name)
        .map_or("", |credential| credential.token.as_str())
}

fn machine(state: &State) -> Value {
    let tokens: Map<String, Value> = state
        .tokens
        .genuine
        .iter()
        .map(|credential| {
            (
                credential.name.clone(),
                Value::from(credential.token.clone()),
            )
        })
        .collect();
    json!({
        "fortress": state.fortress, "upstream": state.upstream, "tokens": tokens,
        "config": state.config, "journal": state.journal,
    })
}

/// What is to be tried: what it shows, and the line. `$F` and `$U` stand for the addresses.
const TRIALS: [(&str, &str); 16] = [
    (
        "A request as it should be → 200",
        r#"curl -i -H "Authorization: Bearer $ALICE" $F/orders/17"#,
    ),
    (
        "Signing in → 200, without the password hash that the API adds to its answer",
        r#"curl -i -H "Content-Type: application/json" -d '{"username":"alice","password":"wonderland"}' $F/login"#,
    ),
    (
        "Without a token → 401 credential.missing (OWASP API2)",
        "curl -i $F/orders/17",
    ),
    (
        "A token that nobody signed (alg none) → 401 credential.invalid (OWASP API2)",
        r#"curl -i -H "Authorization: Bearer $NOBODY" $F/orders/17"#,
    ),
    (
        "Without the scope users:admin → 403 scope.insufficient (OWASP API5)",
        r#"curl -i -H "Authorization: Bearer $ALICE" $F/users"#,
    ),
    (
        "SQL where a word belongs → 400 parameter.invalid (OWASP API8)",
        r#"curl -i -H "Authorization: Bearer $ALICE" "$F/orders?q=%27%20OR%201%3D1%20--""#,
    ),
    (
        "A path that nobody declared → 404 route.unknown (OWASP API9)",
        "curl -i $F/admin/export",
    ),
    (
        "Another method in a header: it is dropped, the order is read and not cancelled → 200",
        r#"curl -i -H "Authorization: Bearer $ALICE" -H "X-HTTP-Method-Override: DELETE" $F/orders/17"#,
    ),
    (
        "A user as the API answers on its own, with role and password hash → 200",
        "curl -i $U/users/2",
    ),
    (
        "The same through Fortress, with what is declared alone → 200",
        r#"curl -i -H "Authorization: Bearer $BOB" $F/users/2"#,
    ),
    (
        "Two lengths in one message → 400 framing.invalid (OWASP API8)",
        r#"curl -i -H "Transfer-Encoding: chunked" -H "Content-Length: 4" -H "Content-Type: application/json" -d '{"username":"alice","password":"wonderland"}' $F/login"#,
    ),
    (
        "A property that nobody declared → 400 body.undeclared (OWASP API3)",
        r#"curl -i -X PATCH -H "Authorization: Bearer $ALICE" -H "Content-Type: application/json" -d '{"role":"admin"}' $F/users/me"#,
    ),
    (
        "A script as a name → 403 waf.anomaly_score (OWASP API8)",
        r#"curl -i -X PATCH -H "Authorization: Bearer $ALICE" -H "Content-Type: application/json" -d '{"displayName":"<img src=x onerror=alert(1)>"}' $F/users/me"#,
    ),
    (
        "A command in a comment → 403 waf.anomaly_score (OWASP API8)",
        r#"curl -i -H "Authorization: Bearer $ALICE" -H "Content-Type: application/json" -d '{"text":"tea; cat /etc/passwd"}' $F/orders/17/comments"#,
    ),
    (
        "The way to a file in a comment → 403 waf.anomaly_score (OWASP API8)",
        r#"curl -i -H "Authorization: Bearer $ALICE" -H "Content-Type: application/json" -d '{"text":"../../../etc/shadow"}' $F/orders/17/comments"#,
    ),
    (
        "SQL in a comment, where any text is allowed → 403 waf.anomaly_score (OWASP API8)",
        r#"curl -i -H "Authorization: Bearer $ALICE" -H "Content-Type: application/json" -d '{"text":"\u0027 OR 1=1 --"}' $F/orders/17/comments"#,
    ),
];

/// What people see.
fn page(state: &State) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let nobody = fortress_auth::sign::unsigned(
        br#"{"alg":"none","typ":"JWT"}"#,
        format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","sub":"alice","exp":4102444800}}"#)
            .as_bytes(),
        b"",
    );
    let mut page = format!(
        "{HEAD}Fortress {version}{HEAD:#} · demo · Ctrl-C ends it, nothing stays behind

  sample API   {}   12 operations, weak on purpose
  Fortress     {}   in front of it, knows its openapi.yaml and the built-in rules

{QUIET}Two callers, valid for an hour, and one whose token nobody signed:{QUIET:#}
export ALICE={}
export BOB={}
export NOBODY={nobody}
",
        state.upstream,
        state.fortress,
        token(&state.tokens, "ALICE"),
        token(&state.tokens, "BOB"),
    );
    for (shows, line) in TRIALS {
        let line = line
            .replace("$F", &state.fortress)
            .replace("$U", &state.upstream);
        page.push_str(&format!("\n{QUIET}{shows}{QUIET:#}\n{line}\n"));
    }
    let program = environment::program();
    page.push_str(&format!(
        "\n{QUIET}In another terminal: why the last one was refused, and the whole attack{QUIET:#}\n{program} explain --last\n{program} attack"
    ));
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trial_says_what_to_expect() {
        for (shows, line) in TRIALS {
            assert!(line.starts_with("curl -i "), "{line}");
            let status = shows
                .rsplit_once("→ ")
                .map(|(_, expected)| expected.get(..3).unwrap_or_default());
            assert!(
                status.is_some_and(|status| status.parse::<u16>().is_ok()),
                "{shows}"
            );
        }
    }

    #[test]
    fn a_taken_port_is_replaced_unless_it_was_asked_for() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let other = Port::open(None, port).unwrap();
        assert_eq!(other.instead_of, Some(port));
        assert!(Port::open(Some(port), 1).is_err());
    }
}
