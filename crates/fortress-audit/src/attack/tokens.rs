//! Credentials that ought to be refused: missing, garbage, unsigned, forged, confused, expired,
//! foreign, stolen, and without the scope.
//!
//! Forgeries are made here from a genuine token. What only the issuer can make (an expired token,
//! one for another audience) has to be given.

use std::collections::BTreeSet;

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use fortress_auth::{Algorithm, sign};
use serde_json::{Value, json};

use super::{Attack, Basis, Judge, Kind, Request};

/// What the attacker holds.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    /// Genuine tokens; an operation gets the first one with the scopes that it demands.
    pub genuine: Vec<Credential>,
    /// Tokens that the issuer signed, but that must not be accepted here.
    pub wrong: Vec<(Wrong, String)>,
    /// Tokens that are bound to something which only their holder has.
    pub stolen: Vec<Stolen>,
    /// The issuer's public keys, for key confusion: a JWK Set.
    pub keys: Option<String>,
}

/// A genuine token that is bound (RFC 9449, RFC 8705), as whoever overheard a request has it.
#[derive(Clone, Debug)]
pub struct Stolen {
    /// In a few words.
    pub what: String,
    /// The token.
    pub token: String,
    /// The DPoP proof that was overheard with it.
    pub proof: Option<String>,
}

/// A genuine token.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The variable that the reader has it in.
    pub name: String,
    /// The token.
    pub token: String,
}

/// What is wrong with a token that the issuer did sign.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wrong {
    /// It expired.
    Expired,
    /// It is not valid yet.
    NotYet,
    /// It never expires.
    Endless,
    /// It is for another audience.
    Audience,
    /// It names another issuer.
    Issuer,
}

impl Wrong {
    /// All, with the words for them.
    pub const ALL: &'static [(Self, &'static str)] = &[
        (Self::Expired, "expired"),
        (Self::NotYet, "not valid yet"),
        (Self::Endless, "without an expiry"),
        (Self::Audience, "for another audience"),
        (Self::Issuer, "of another issuer"),
    ];

    /// In a few words, which are also its name in files.
    pub fn words(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(wrong, _)| *wrong == self)
            .map_or("", |(_, words)| words)
    }

    fn kind(self) -> Kind {
        match self {
            Self::Expired | Self::NotYet | Self::Endless => Kind::TokenExpired,
            Self::Audience | Self::Issuer => Kind::TokenForeign,
        }
    }
}

impl Credential {
    /// Whether it opens what demands these scopes, as far as it tells.
    fn fits(&self, scopes: &[String]) -> bool {
        let has = self.scopes();
        claims(&self.token).is_none() || scopes.iter().all(|scope| has.contains(scope))
    }

    /// The scopes that the token says it has (`scope` or `scp`). Unverified: the attacker's view.
    pub fn scopes(&self) -> Vec<String> {
        let Some(claims) = claims(&self.token) else {
            return Vec::new();
        };
        let listed = claims.get("scope").or_else(|| claims.get("scp"));
        match listed {
            Some(Value::String(text)) => text.split(' ').map(str::to_owned).collect(),
            Some(Value::Array(items)) => items
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => {
                Vec::new()
            }
        }
    }
}

impl Tokens {
    /// The first genuine token with all of these scopes, or whose scopes cannot be read.
    pub(super) fn for_scopes(&self, scopes: &[String]) -> Option<&Credential> {
        let mut genuine = self.genuine.iter();
        genuine.find(|credential| credential.fits(scopes))
    }

    /// One for these scopes that is not among those.
    pub(super) fn other_for_scopes(
        &self,
        scopes: &[String],
        used: &BTreeSet<String>,
    ) -> Option<&Credential> {
        let others = self.genuine.iter().filter(|one| !used.contains(&one.token));
        others
            .into_iter()
            .find(|credential| credential.fits(scopes))
    }

    fn without_scopes(&self, scopes: &[String]) -> Option<&Credential> {
        self.genuine.iter().find(|credential| {
            let has = credential.scopes();
            claims(&credential.token).is_some() && scopes.iter().any(|scope| !has.contains(scope))
        })
    }
}

/// The attacks on a protected operation.
pub(super) fn attacks(basis: &Basis, scopes: &[String], tokens: &Tokens) -> Vec<Attack> {
    let plain = basis.request.clone().without("authorization");
    let mut found = vec![basis.refused(Kind::TokenMissing, "no credential", plain.clone())];
    let bearer = |token: &str| {
        plain
            .clone()
            .with("Authorization", format!("Bearer {token}"))
    };
    for (what, value) in GARBAGE {
        found.push(basis.refused(
            Kind::TokenGarbage,
            what,
            plain.clone().with("Authorization", value),
        ));
    }
    for (wrong, token) in &tokens.wrong {
        found.push(basis.refused(wrong.kind(), wrong.words(), bearer(token)));
    }
    for stolen in &tokens.stolen {
        found.push(basis.refused(
            Kind::TokenStolen,
            stolen.what.clone(),
            bearer(&stolen.token),
        ));
        found.extend(replays(basis, &plain, stolen));
    }
    if let Some(genuine) = tokens.for_scopes(scopes).or(tokens.genuine.first()) {
        for (kind, what, token) in forgeries(&genuine.token, tokens.keys.as_deref()) {
            found.push(basis.refused(kind, what, bearer(&token)));
        }
        found.extend(misplaced(basis, &plain, &genuine.token));
    }
    if !scopes.is_empty()
        && let Some(lacking) = tokens.without_scopes(scopes)
    {
        found.push(basis.refused(
            Kind::ScopeMissing,
            format!("without the scope {}", scopes.join(" ")),
            bearer(&lacking.token),
        ));
    }
    found
}

/// Values of `Authorization` that are no bearer token.
const GARBAGE: [(&str, &str); 8] = [
    ("an empty token", "Bearer "),
    ("a word", "Bearer letmein"),
    ("three dots", "Bearer ..."),
    ("another scheme", "Basic YWRtaW46YWRtaW4="),
    ("no scheme", "eyJhbGciOiJub25lIn0.e30."),
    ("five parts", "Bearer e30.e30.e30.e30.e30"),
    ("not base64url", "Bearer !!!.???.###"),
    ("null claims", "Bearer eyJhbGciOiJFUzI1NiJ9.bnVsbA.AAAA"),
];

fn misplaced(basis: &Basis, plain: &Request, token: &str) -> Vec<Attack> {
    let bearer = format!("Bearer {token}");
    vec![
        basis.refused(
            Kind::TokenGarbage,
            "two credentials",
            plain
                .clone()
                .with("Authorization", bearer.clone())
                .with("Authorization", "Bearer letmein"),
        ),
        basis.refused(
            Kind::TokenGarbage,
            "two credentials in one field",
            plain
                .clone()
                .with("Authorization", format!("{bearer}, {bearer}")),
        ),
        basis.refused(
            Kind::TokenGarbage,
            "a genuine token in the query",
            plain.clone().query(&format!("access_token={token}")),
        ),
        basis.refused(
            Kind::TokenGarbage,
            "a genuine token in another header",
            plain.clone().with("X-Authorization", bearer),
        ),
    ]
}

/// A token that is bound to a key, with proofs that prove nothing: the one that was overheard, and one
/// by the thief's own key.
fn replays(basis: &Basis, plain: &Request, stolen: &Stolen) -> Vec<Attack> {
    let Some(overheard) = &stolen.proof else {
        return Vec::new();
    };
    let mut proofs = vec![("the proof that was overheard", overheard.clone())];
    proofs.extend(own_proof(overheard).map(|proof| ("a proof by the thief's own key", proof)));
    proofs
        .into_iter()
        .map(|(what, proof)| {
            let request = plain
                .clone()
                .with("Authorization", format!("DPoP {}", stolen.token))
                .with("DPoP", proof);
            basis.refused(
                Kind::TokenStolen,
                format!("{}: {what}", stolen.what),
                request,
            )
        })
        .collect()
}

/// The claims of a proof, signed by another key.
fn own_proof(overheard: &str) -> Option<String> {
    let payload = overheard.split('.').nth(1)?;
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    let key = sign::SigningKey::generate(Algorithm::Es256, "thief").ok()?;
    key.sign_raw(key.proof_header().as_bytes(), &payload).ok()
}

/// Tokens that the issuer never signed.
fn forgeries(token: &str, keys: Option<&str>) -> Vec<(Kind, String, String)> {
    let mut parts = token.split('.');
    let (Some(header), Some(payload), Some(signature)) = (parts.next(), parts.next(), parts.next())
    else {
        // An opaque token: nothing that could be taken apart.
        return Vec::new();
    };
    let mut found = Vec::new();
    for alg in ["none", "None", "nOnE", ""] {
        let forged = format!(
            "{}.{payload}.",
            encode(&json!({ "alg": alg, "typ": "JWT" }))
        );
        found.push((Kind::TokenUnsigned, format!("alg `{alg}`"), forged));
    }
    found.push((
        Kind::TokenUnsigned,
        "its signature cut off".into(),
        format!("{header}.{payload}."),
    ));
    found.push((
        Kind::TokenUnsigned,
        "only two parts".into(),
        format!("{header}.{payload}"),
    ));
    if let Some(mut claims) = claims(token) {
        if let Some(claims) = claims.as_object_mut() {
            claims.insert("sub".into(), "admin".into());
            claims.insert("scope".into(), "admin".into());
        }
        let changed = encode(&claims);
        found.push((
            Kind::TokenForged,
            "its claims changed".into(),
            format!("{header}.{changed}.{signature}"),
        ));
    }
    let zeros = URL_SAFE_NO_PAD.encode([0_u8; 64]);
    found.push((
        Kind::TokenForged,
        "a signature of zeros".into(),
        format!("{header}.{payload}.{zeros}"),
    ));
    found.extend(foreign_keys(header, payload));
    found.extend(confused(header, payload, keys));
    found
}

/// Signed, but by the attacker's own key, which the header may bring along.
fn foreign_keys(header: &str, payload: &str) -> Vec<(Kind, String, String)> {
    let Ok(key) = sign::SigningKey::generate(Algorithm::Es256, "attacker") else {
        return Vec::new();
    };
    let own: Value = serde_json::from_str(&key.public_jwk()).unwrap_or_default();
    let kid = decode(header)
        .and_then(|header| header.get("kid").cloned())
        .unwrap_or_default();
    let headers = [
        (
            "signed by another key",
            json!({ "alg": "ES256", "kid": kid }),
        ),
        (
            "signed by another key without `kid`",
            json!({ "alg": "ES256" }),
        ),
        (
            "brings its own key (`jwk`)",
            json!({ "alg": "ES256", "kid": "attacker", "jwk": own }),
        ),
        (
            "says where its key is (`jku`)",
            json!({ "alg": "ES256", "kid": "attacker", "jku": "http://127.0.0.1:9/keys" }),
        ),
        (
            "`kid` is a path",
            json!({ "alg": "ES256", "kid": "../../../../dev/null" }),
        ),
        (
            "unknown `crit`",
            json!({ "alg": "ES256", "kid": kid, "crit": ["exp"], "exp": 0 }),
        ),
    ];
    let payload = URL_SAFE_NO_PAD.decode(payload).unwrap_or_default();
    headers
        .into_iter()
        .filter_map(|(what, header)| {
            let token = key.sign_raw(header.to_string().as_bytes(), &payload).ok()?;
            Some((Kind::TokenForged, what.to_owned(), token))
        })
        .collect()
}

/// HMAC with what everybody knows: nothing, or the public key (RFC 8725, section 2.1).
fn confused(header: &str, payload: &str, keys: Option<&str>) -> Vec<(Kind, String, String)> {
    let kid = decode(header)
        .and_then(|header| header.get("kid").cloned())
        .unwrap_or_default();
    let header = encode(&json!({ "alg": "HS256", "typ": "JWT", "kid": kid }));
    let mut secrets = vec![
        ("HMAC with an empty secret", Vec::new()),
        ("HMAC with `secret`", b"secret".to_vec()),
    ];
    let set: Option<Value> = keys.and_then(|keys| serde_json::from_str(keys).ok());
    if let Some(first) = set.as_ref().and_then(|set| set.get("keys")?.get(0)) {
        secrets.push((
            "HMAC with the public key as its secret",
            first.to_string().into_bytes(),
        ));
        for (what, part) in [
            ("HMAC with the key's `x`", "x"),
            ("HMAC with the key's `n`", "n"),
        ] {
            if let Some(text) = first.get(part).and_then(Value::as_str) {
                secrets.push((what, text.as_bytes().to_vec()));
            }
        }
    }
    secrets
        .into_iter()
        .map(|(what, secret)| {
            let signed = format!("{header}.{payload}");
            let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
            let tag = URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()));
            (
                Kind::TokenConfused,
                what.to_owned(),
                format!("{signed}.{tag}"),
            )
        })
        .collect()
}

/// Headers by which naive upstreams let clients say who they are.
pub(super) fn spoofs(basis: &Basis) -> Vec<Attack> {
    const CANARY: &str = "fortress-canary-principal";
    ["X_User", "X-Forwarded-User"]
        .into_iter()
        .map(|name| Attack {
            judge: Judge::NoEffect {
                plain: basis.request.clone(),
                canary: Some(CANARY.into()),
            },
            ..basis.refused(
                Kind::IdentitySpoofed,
                format!("`{name}` names somebody else"),
                basis.request.clone().with(name, CANARY),
            )
        })
        .collect()
}

fn claims(token: &str) -> Option<Value> {
    decode(token.split('.').nth(1)?)
}

fn decode(part: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> String {
        let key = sign::SigningKey::generate(Algorithm::Es256, "demo").unwrap();
        key.sign(r#"{"sub":"alice","scope":"a b"}"#).unwrap()
    }

    #[test]
    fn no_forgery_is_the_token_itself() {
        let token = token();
        let forged = forgeries(&token, Some(r#"{"keys":[{"kty":"EC","x":"abc"}]}"#));
        assert!(forged.len() >= 15, "{}", forged.len());
        for (_, what, forgery) in &forged {
            assert_ne!(forgery, &token, "{what}");
        }
        assert!(forgeries("opaque", None).is_empty());
    }

    #[test]
    fn a_thief_makes_a_proof_of_the_same_claims() {
        let holder = sign::SigningKey::generate(Algorithm::Es256, "a").unwrap();
        let claims = br#"{"jti":"1","htm":"GET"}"#;
        let overheard = holder
            .sign_raw(holder.proof_header().as_bytes(), claims)
            .unwrap();
        let own = own_proof(&overheard).unwrap();
        assert_eq!(own.split('.').nth(1), overheard.split('.').nth(1));
        assert_ne!(own.split('.').next(), overheard.split('.').next());
        assert!(own_proof("opaque").is_none());
    }

    #[test]
    fn the_token_with_the_scopes_is_chosen() {
        let credential = Credential {
            name: "A".into(),
            token: token(),
        };
        assert_eq!(credential.scopes(), ["a", "b"]);
        let tokens = Tokens {
            genuine: vec![credential],
            ..Tokens::default()
        };
        assert!(tokens.without_scopes(&["c".into()]).is_some());
        assert!(tokens.without_scopes(&["b".into()]).is_none());
        assert!(tokens.for_scopes(&["b".into()]).is_some());
        assert!(tokens.for_scopes(&["c".into()]).is_none());
    }
}
