//! Signatures, certificates and sessions for cases: what a text could not hold, since it names the time.

use aws_lc_rs::{digest, hmac, signature::Ed25519KeyPair};
use fortress_auth::{
    certificate::client_cert,
    login::Session,
    session::{Sealer, pieces},
};
use fortress_model::{Clock, Secret, SystemClock, Timestamp};
use rcgen::{CertificateParams, KeyPair, SanType};

use super::support::Tokens;

/// The secret of the cases' webhooks.
const SECRET: &[u8] = b"it is a secret to everybody";

/// `METHOD URI [nonce=…] [age=…] [key=stranger] [body=…]`: the fields of a signature (RFC 9421) by the key
/// `partner`, whose seed is 32 times 7; `body` is the content that the digest is of.
pub(crate) fn sign(wish: &str) -> String {
    let now = SystemClock.now().seconds();
    let mut words = wish.split(' ');
    let (method, uri) = (words.next().unwrap(), words.next().unwrap());
    let (mut seed, mut age, mut nonce, mut body) = ([7; 32], 0, None, None);
    for word in words {
        match word.split_once('=').unwrap() {
            ("key", "stranger") => seed = [8; 32],
            ("age", seconds) => age = seconds.parse().unwrap(),
            ("nonce", value) => nonce = Some(value),
            ("body", text) => body = Some(text),
            other => panic!("unknown wish {other:?}"),
        }
    }
    let mut components = String::from("\"@method\" \"@target-uri\"");
    let mut base = format!("\"@method\": {method}\n\"@target-uri\": {uri}\n");
    let mut fields = String::new();
    if let Some(body) = body {
        let digest = digest::digest(&digest::SHA256, body.as_bytes());
        // RFC 9440's form is a byte sequence, of whatever bytes.
        let value = format!("sha-256={}", client_cert(digest.as_ref()));
        components.push_str(" \"content-digest\"");
        base.push_str(&format!("\"content-digest\": {value}\n"));
        fields.push_str(&format!("Content-Digest: {value}\n"));
    }
    let nonce = nonce.map_or(String::new(), |nonce| format!(";nonce=\"{nonce}\""));
    let parameters = format!(
        "({components});created={};keyid=\"partner\"{nonce}",
        now - age
    );
    base.push_str(&format!("\"@signature-params\": {parameters}"));
    let key = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
    let signature = client_cert(key.sign(base.as_bytes()).as_ref());
    format!("{fields}Signature-Input: s={parameters}\nSignature: s={signature}")
}

/// `alice [roles=…] [acr=…] [auth=…] [key=other] [at=ISSUER] [old] [rested] [over] [ended]
/// [cut]`: the cookie of whoever logged in at `web` as the client `shop`: an hour ago, not seen for ten
/// minutes, with tokens that are over, ended, or cut in half.
pub(crate) fn session(wish: &str) -> String {
    const NAME: &str = "__Host-fortress-web";
    let now = SystemClock.now();
    let earlier = |seconds: u64| Timestamp(now.0 - seconds * 1_000_000_000);
    let later = |seconds: u64| Timestamp(now.0 + seconds * 1_000_000_000);
    let (mut key, mut issuer, mut claims) = ([b'b'; 32], "https://idp.test", String::new());
    let (mut started, mut seen, mut is_cut) = (now, now, false);
    let (mut expires, mut ends) = (later(600), later(600));
    for word in wish.split_whitespace() {
        match word {
            "key=other" => key = [b'o'; 32],
            "old" => started = earlier(3600),
            "rested" => seen = earlier(600),
            "over" => expires = earlier(1),
            "ended" => ends = earlier(1),
            "cut" => is_cut = true,
            _ => match word.strip_prefix("at=") {
                Some(other) => issuer = other,
                None => claims.push_str(&format!("{word} ")),
            },
        }
    }
    let secret = |text: &str| Secret::new(text.to_owned());
    let session = Session {
        id: "of-the-cases".to_owned(),
        started,
        seen,
        got: started,
        expires,
        access_token: secret("access-token"),
        refresh_token: None,
        id_token: secret(&Tokens::shared().make(&claims)),
        scope: "openid email".to_owned(),
    };
    let sealer = Sealer::new(&Secret::new(key.to_vec()), None, &format!("{issuer}\nshop"));
    let mut nonce = [0; 12];
    aws_lc_rs::rand::fill(&mut nonce).unwrap();
    let sealed = sealer.unwrap().seal(NAME, &session.encode(), nonce, ends);
    let pieces = pieces(NAME, &sealed.unwrap());
    let [value] = pieces.as_slice() else {
        panic!("{} cookies", pieces.len());
    };
    let length = if is_cut { value.len() / 2 } else { value.len() };
    format!("{NAME}={}", value.get(..length).unwrap())
}

/// `[age=…] BODY`: what Stripe's form has in its field.
pub(crate) fn stripe(wish: &str) -> String {
    let (age, body) = match wish.strip_prefix("age=") {
        Some(rest) => rest.split_once(' ').unwrap(),
        None => ("0", wish),
    };
    let time = SystemClock.now().seconds() - age.parse::<u64>().unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    let tag = hmac::sign(&key, format!("{time}.{body}").as_bytes());
    let hex: String = tag
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("t={time},v1={hex}")
}

/// A certificate with this URI as its name, as a proxy passes it on.
pub(crate) fn certificate(uri: &str) -> String {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    let key = KeyPair::generate().unwrap();
    client_cert(params.self_signed(&key).unwrap().der())
}
