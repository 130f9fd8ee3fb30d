//! `cargo xtask bench provider`: how long answers take while the identity provider is well, hangs,
//! sends 10 MB of garbage, or closes every connection. Meanwhile strangers show tokens with keys that
//! nobody knows, so that the gateway keeps asking the provider for them; they are not measured.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;

use super::{
    LOAD_CORE, Options, PROXY_CORE,
    load::{self, Sample},
};
use crate::{
    Verdict, gateway,
    material::{AUDIENCE, Issuer},
    output::{complain, say},
    process,
};

/// How the provider answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mood {
    Well,
    Hangs,
    Garbage,
    Closes,
}

impl Mood {
    const ALL: [Self; 4] = [Self::Well, Self::Hangs, Self::Garbage, Self::Closes];

    fn title(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Hangs => "hangs",
            Self::Garbage => "10 MB of garbage",
            Self::Closes => "closes connections",
        }
    }
}

/// What the provider sends instead of its keys, and how long it keeps silent.
const GARBAGE: usize = 10_000_000;
const SILENCE: Duration = Duration::from_secs(30);

/// Measures every mood in turn, round by round, and prints medians.
pub(super) fn run(options: &Options, folder: &Path, upstream: SocketAddr) -> Result<Verdict> {
    let binary = gateway::binary(options.binary.as_deref())?;
    let socket = TcpListener::bind("127.0.0.1:0")?;
    let name = format!("http://{}", socket.local_addr()?);
    let issuer = Issuer::named(folder, &name)?;
    let mood = Arc::new(AtomicUsize::new(0));
    let keys = fs::read(&issuer.jwks)?;
    let shown = Arc::clone(&mood);
    thread::spawn(move || provide(&socket, &keys, &shown));
    let address = process::free_address()?;
    fs::write(folder.join("openapi.yaml"), gateway::DESCRIPTION)?;
    let configuration = format!(
        "version: 1\nlisten: [{{ address: \"{address}\" }}]\napis:\n  orders: {{ spec: openapi.yaml, \
         upstream: \"http://{upstream}\" }}\nidentity:\n  idp: {{ issuer: \"{name}\", \
         audience: {AUDIENCE}, jwks: \"{name}/jwks\" }}\n"
    );
    let _gateway = gateway::start(&binary, folder, &configuration, address, Some(PROXY_CORE))?;
    let target = format!("http://{address}/orders/17?expand=items&limit=20");
    let token = issuer.token.clone();
    thread::spawn(move || strangers(address, &token));
    let words = format!("wrk.headers['Authorization'] = 'Bearer {}'\n", issuer.token);
    let mut samples: [Vec<Sample>; 4] = Default::default();
    for round in 0..=options.rounds {
        for (number, samples) in samples.iter_mut().enumerate() {
            mood.store(number, Ordering::Relaxed);
            let seconds = if round == 0 { 1 } else { options.seconds };
            let sample = load::repeat(&target, &words, seconds, folder)?;
            if round > 0 {
                samples.push(sample);
            }
        }
        complain(format_args!("round {round} of {}", options.rounds));
    }
    say(format_args!(
        "{:20} {:>12} {:>9} {:>9} {:>9}",
        "the provider", "requests/s", "p50 ms", "p99 ms", "refused"
    ));
    for (mood, samples) in Mood::ALL.iter().zip(&samples) {
        tell(*mood, samples);
    }
    say(format_args!(
        "(load on core {LOAD_CORE}, medians of {} rounds)",
        options.rounds
    ));
    Ok(Verdict::Fine)
}

fn tell(mood: Mood, samples: &[Sample]) {
    let median = |value: fn(&Sample) -> f64| {
        let mut values: Vec<f64> = samples.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    say(format_args!(
        "{:20} {:>12.0} {:>9.2} {:>9.2} {:>9.0}",
        mood.title(),
        median(|sample| rate(sample.requests, sample.elapsed.as_secs_f64())),
        median(|sample| sample.median.as_secs_f64() * 1e3),
        median(|sample| sample.p99.as_secs_f64() * 1e3),
        median(|sample| rate(sample.failed, 1.0)),
    ));
}

fn rate(count: u64, of: f64) -> f64 {
    let count = u32::try_from(count).map_or(f64::from(u32::MAX), f64::from);
    count / of.max(1e-9)
}

/// Shows tokens whose keys have other names, a hundred a second, until the program ends.
fn strangers(address: SocketAddr, token: &str) -> Option<()> {
    let (_, rest) = token.split_once('.')?;
    let mut answer = [0; 4096];
    for number in 0_u64.. {
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": format!("stranger-{number}") });
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        let request = format!(
            "GET /orders/17 HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {header}.{rest}\r\n\
             Connection: close\r\n\r\n"
        );
        // Whether they are answered is not what is asked here.
        let _sent = TcpStream::connect(address).and_then(|mut connection| {
            connection.write_all(request.as_bytes())?;
            connection.read(&mut answer)
        });
        thread::sleep(Duration::from_millis(10));
    }
    None
}

/// Serves the keys, as the mood says, until the program ends.
fn provide(socket: &TcpListener, keys: &[u8], mood: &AtomicUsize) {
    for connection in socket.incoming() {
        let Ok(connection) = connection else { continue };
        let mood = Mood::ALL.get(mood.load(Ordering::Relaxed)).copied();
        let keys = keys.to_vec();
        thread::spawn(move || answer(connection, mood.unwrap_or(Mood::Well), &keys));
    }
}

/// A peer that goes away in between is none of our business.
fn answer(mut connection: TcpStream, mood: Mood, keys: &[u8]) -> Option<()> {
    let mut request = [0; 4096];
    if mood == Mood::Closes {
        return None;
    }
    if connection.read(&mut request).ok()? == 0 {
        return None;
    }
    let garbage;
    let body = match mood {
        Mood::Hangs | Mood::Closes => {
            thread::sleep(SILENCE);
            return None;
        }
        Mood::Garbage => {
            garbage = vec![b'['; GARBAGE];
            &garbage
        }
        Mood::Well => keys,
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    connection.write_all(head.as_bytes()).ok()?;
    connection.write_all(body).ok()
}
