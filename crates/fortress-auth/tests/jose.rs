//! The same tokens to npm's `jose`, in node, configured as strictly as it can be. Where the two
//! disagree, the reason stands beside the case; a disagreement without one fails the test, and so
//! does a reason without a disagreement.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests may fail; that there is no node comes from and goes to whoever runs them"
)]

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use fortress_auth::{
    Algorithm, Dpop, Expectations, JwkSet, ProofTarget, Verifier,
    sign::{self, SigningKey},
};
use fortress_model::Timestamp;
use serde_json::{Value, json};

const NOW: u64 = 1_790_000_000;
const TIME: Timestamp = Timestamp(NOW * 1_000_000_000);
const ISSUER: &str = "https://idp.example.com";
const AUDIENCE: &str = "orders-api";
const URI: &str = "https://api.example.com/orders";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Agreed {
    Accepted,
    Refused,
    /// Only `jose` accepts it.
    Laxer,
    /// Only we accept it.
    Narrower,
}
use Agreed::{Accepted, Laxer, Narrower, Refused};

struct Case {
    name: String,
    text: String,
    expected: Agreed,
    why: &'static str,
}

/// The cases of one kind, and the key that signs most of them.
struct Cases {
    key: SigningKey,
    list: Vec<Case>,
}

impl Cases {
    fn new() -> Self {
        Self {
            key: SigningKey::generate(Algorithm::Es256, "k").unwrap(),
            list: Vec::new(),
        }
    }

    fn texts(&self) -> Vec<&str> {
        self.list.iter().map(|case| &*case.text).collect()
    }

    fn add(&mut self, name: impl Into<String>, text: String, expected: Agreed, why: &'static str) {
        self.list.push(Case {
            name: name.into(),
            text,
            expected,
            why,
        });
    }

    fn signed(&self, header: &str, payload: &str) -> String {
        self.key
            .sign_raw(header.as_bytes(), payload.as_bytes())
            .unwrap()
    }

    fn claim(&mut self, name: &str, value: &str, expected: Agreed, why: &'static str) {
        let text = self.signed(&self.key.header("JWT"), &claims(&[(name, value)]));
        self.add(format!("`{name}` is {value}"), text, expected, why);
    }

    fn header(&mut self, members: &str, expected: Agreed, why: &'static str) {
        let header = format!(r#"{{"alg":"ES256","kid":"k"{members}}}"#);
        let text = self.signed(&header, &claims(&[]));
        self.add(members, text, expected, why);
    }

    /// Compares with the verdicts of `jose`, all before the first complaint.
    #[track_caller]
    fn compare(&self, ours: impl Fn(&str) -> bool, theirs: &[Value]) {
        assert_eq!(self.list.len(), theirs.len());
        let mut wrong = Vec::new();
        for (case, theirs) in self.list.iter().zip(theirs) {
            let accepted = !theirs.is_object();
            let outcome = match (ours(&case.text), accepted) {
                (true, true) => Accepted,
                (false, false) => Refused,
                (false, true) => Laxer,
                (true, false) => Narrower,
            };
            let explained = case.why.is_empty() == matches!(case.expected, Accepted | Refused);
            if outcome != case.expected || !explained {
                let name = &case.name;
                wrong.push(format!(
                    "{name}: {outcome:?}, not {:?}; jose: {theirs}",
                    case.expected
                ));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// A valid payload with changes: a claim is replaced, added, or, where its value is empty, left out.
fn claims(changes: &[(&str, &str)]) -> String {
    let (issuer, audience) = (sign::quoted(ISSUER), sign::quoted(AUDIENCE));
    let expires = (NOW + 300).to_string();
    object(
        &[("iss", &issuer), ("aud", &audience), ("exp", &expires)],
        changes,
    )
}

fn object(members: &[(&str, &str)], changes: &[(&str, &str)]) -> String {
    let mut members = members.to_vec();
    for change in changes {
        match members.iter_mut().find(|member| member.0 == change.0) {
            Some(member) => *member = *change,
            None => members.push(*change),
        }
    }
    let members: Vec<String> = members
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{}:{value}", sign::quoted(name)))
        .collect();
    format!("{{{}}}", members.join(","))
}

fn judged_claims(cases: &mut Cases) {
    cases.claim("other", "1", Accepted, "");
    cases.claim("exp", "", Refused, "");
    cases.claim("exp", &NOW.to_string(), Refused, "");
    cases.claim("exp", &(NOW + 1).to_string(), Accepted, "");
    cases.claim("exp", "\"4102444800\"", Refused, "");
    cases.claim("exp", "null", Refused, "");
    cases.claim("exp", "-1", Refused, "");
    cases.claim("exp", "4102444800.5", Accepted, "");
    cases.claim(
        "exp",
        "4102444800000",
        Laxer,
        "a date in milliseconds never expires",
    );
    cases.claim("exp", "1e300", Laxer, "no date is that far away");
    cases.claim("iss", "", Refused, "");
    cases.claim("iss", "\"x\"", Refused, "");
    cases.claim("iss", "[\"https://idp.example.com\"]", Refused, "");
    cases.claim("aud", "", Refused, "");
    cases.claim("aud", "\"x\"", Refused, "");
    cases.claim("aud", "[]", Refused, "");
    cases.claim("aud", "[\"x\",\"orders-api\"]", Accepted, "");
    cases.claim(
        "aud",
        "[1,\"orders-api\"]",
        Laxer,
        "RFC 7519, 4.1.3: an array of strings",
    );
    cases.claim("nbf", "1", Accepted, "");
    cases.claim("nbf", &NOW.to_string(), Accepted, "");
    cases.claim("nbf", &(NOW + 1).to_string(), Refused, "");
    cases.claim("nbf", "\"1\"", Refused, "");
    cases.claim("nbf", "null", Refused, "");
    cases.claim("iat", "\"1\"", Refused, "");
    cases.claim(
        "iat",
        "4102444800",
        Laxer,
        "`iat` is judged only with `maxTokenAge`",
    );
    cases.claim(
        "sub",
        "7",
        Laxer,
        "`sub` is compared where one is expected, not typed",
    );
    cases.claim("scope", "7", Laxer, "scopes are not looked at");
    cases.claim(
        "cnf",
        "{\"kid\":\"1\"}",
        Laxer,
        "whom a token is bound to is not looked at",
    );
}

fn judged_headers(cases: &mut Cases) {
    cases.header("", Accepted, "");
    cases.header(r#","typ":"JWT""#, Accepted, "");
    let any = "without the option `typ` any type passes for an access token";
    cases.header(r#","typ":"logout+jwt""#, Laxer, any);
    cases.header(r#","typ":1"#, Laxer, any);
    cases.header(r#","crit":["exp"]"#, Refused, "");
    cases.header(r#","crit":[]"#, Refused, "");
    cases.header(r#","b64":false,"crit":["b64"]"#, Refused, "");
    cases.header(
        r#","b64":false"#,
        Laxer,
        "not critical, so ignored; here refused whatever it says",
    );
    let unused = "read, though not followed; here refused as the attempt that it is";
    cases.header(r#","jku":"https://evil.example.com""#, Laxer, unused);
    cases.header(r#","x5u":"https://evil.example.com""#, Laxer, unused);
    cases.header(r#","x5c":["MIIB"]"#, Laxer, unused);
    cases.header(r#","jwk":{"kty":"oct","k":"AAAA"}"#, Laxer, unused);
    cases.header(
        r#","zip":"DEF""#,
        Laxer,
        "not undone, so the payload is not what it says",
    );
    cases.header(r#","cty":1"#, Laxer, "`cty` is not looked at");
    cases.header(
        r#","kid":"k""#,
        Laxer,
        "the last of two members wins silently",
    );
    for alg in ["none", "HS256", "ES384", "es256", "RS256"] {
        let header = format!(r#"{{"alg":"{alg}","kid":"k"}}"#);
        let text = cases.signed(&header, &claims(&[]));
        cases.add(alg, text, Refused, "");
        let text = sign::unsigned(header.as_bytes(), claims(&[]).as_bytes(), b"");
        cases.add(format!("{alg} without a signature"), text, Refused, "");
    }
    let text = cases.signed(r#"{"alg":"ES256","kid":"other"}"#, &claims(&[]));
    cases.add("another key's id", text, Refused, "");
    let text = cases.signed(r#"{"alg":"ES256"}"#, &claims(&[]));
    let several = "where several keys fit, `jose` leaves trying them to its caller";
    cases.add("no key's id", text, Narrower, several);
}

fn judged_texts(cases: &mut Cases) {
    let header = cases.key.header("JWT");
    let valid = claims(&[]);
    let stem = valid.trim_end_matches('}');
    for (payload, expected, why) in [
        (
            format!("{stem},\"x\":1,\"x\":2}}"),
            Laxer,
            "the last of two members wins silently",
        ),
        (
            format!("{stem},\"aud\":\"orders-api\"}}"),
            Laxer,
            "the last of two members wins silently",
        ),
        (format!("{valid}x"), Refused, ""),
        (format!("{valid} "), Accepted, ""),
        (
            format!("\u{feff}{valid}"),
            Laxer,
            "a byte order mark is skipped",
        ),
        (format!("[{valid}]"), Refused, ""),
        ("\"x\"".to_owned(), Refused, ""),
        (
            format!("{stem},\"x\":{}1{}}}", "[".repeat(100), "]".repeat(100)),
            Laxer,
            "depth",
        ),
        (format!("{stem},\"x\":1e999}}"), Accepted, ""),
        (
            format!("{stem},\"x\":\"\\ud800\"}}"),
            Laxer,
            "a lone surrogate is no character",
        ),
        (
            format!("{stem},\"x\":\"{}\"}}", "x".repeat(20_000)),
            Laxer,
            "the size is not bounded",
        ),
    ] {
        let text = cases.signed(&header, &payload);
        let name: String = payload.chars().take(120).collect();
        cases.add(name, text, expected, why);
    }
    let token = cases.signed(&header, &valid);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let lax = "base64url of a signature may be padded, spaced or end in stray bits";
    cases.add("padded", format!("{token}=="), Laxer, lax);
    cases.add(
        "a line break",
        format!("{signed}.\n{signature}"),
        Laxer,
        lax,
    );
    cases.add("four parts", format!("{token}."), Refused, "");
    cases.add("no signature", format!("{signed}."), Refused, "");
    cases.add("nothing", String::new(), Refused, "");
    cases.add(
        "a stranger's signature",
        format!("{signed}.{}", "A".repeat(86)),
        Refused,
        "",
    );
}

fn proof_claims(changes: &[(&str, &str)]) -> String {
    let (uri, now) = (sign::quoted(URI), NOW.to_string());
    object(
        &[
            ("jti", "\"1\""),
            ("htm", "\"GET\""),
            ("htu", &uri),
            ("iat", &now),
        ],
        changes,
    )
}

fn judged_proofs(cases: &mut Cases) {
    let header = cases.key.proof_header();
    for (name, value, expected, why) in [
        ("other", "1", Accepted, ""),
        ("iat", "", Refused, ""),
        ("iat", "1789999939", Refused, ""),
        ("iat", "1790000009", Refused, ""),
        ("jti", "", Refused, ""),
        ("htm", "", Refused, ""),
        ("htu", "", Refused, ""),
        ("jti", "7", Laxer, "`jti` is demanded, but not typed"),
        (
            "htm",
            "\"POST\"",
            Laxer,
            "method and URI are left to the caller of `jose`",
        ),
        (
            "htu",
            "\"https://evil.example.com/\"",
            Laxer,
            "method and URI are left to the caller of `jose`",
        ),
        (
            "iat",
            "1790000003",
            Narrower,
            "here a clock may be five seconds ahead",
        ),
    ] {
        let text = cases.signed(&header, &proof_claims(&[(name, value)]));
        cases.add(format!("`{name}` is {value}"), text, expected, why);
    }
    let jwk = cases.key.public_jwk();
    for (header, expected, why) in [
        (
            format!(r#"{{"alg":"ES256","typ":"JWT","jwk":{jwk}}}"#),
            Refused,
            "",
        ),
        (
            r#"{"alg":"ES256","typ":"dpop+jwt"}"#.to_owned(),
            Refused,
            "",
        ),
        (
            r#"{"alg":"ES256","typ":"dpop+jwt","jwk":{"kty":"oct","k":"AAAA"}}"#.to_owned(),
            Refused,
            "",
        ),
        (
            format!(r#"{{"alg":"ES256","typ":"dpop+jwt","jwk":{jwk},"jku":"x"}}"#),
            Laxer,
            "read, though not followed",
        ),
    ] {
        let text = cases.signed(&header, &proof_claims(&[]));
        cases.add(header, text, expected, why);
    }
}

/// Algorithms that both have on every node of today; ES256K and ML-DSA are not among those of
/// `jose` there.
const SHARED: &[Algorithm] = &[
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::Es512,
    Algorithm::EdDsa,
    Algorithm::Ed25519,
];

#[test]
fn the_two_agree_or_it_is_known_why_not() {
    let Some(directory) = installed() else {
        return;
    };
    let (mut tokens, mut proofs) = (Cases::new(), Cases::new());
    judged_claims(&mut tokens);
    judged_headers(&mut tokens);
    judged_texts(&mut tokens);
    judged_proofs(&mut proofs);
    let mut keys = Vec::new();
    for &algorithm in SHARED {
        let name = algorithm.name();
        let key = SigningKey::generate(algorithm, name).unwrap();
        tokens.add(name, key.sign(&claims(&[])).unwrap(), Accepted, "");
        let proof = key.sign_raw(key.proof_header().as_bytes(), proof_claims(&[]).as_bytes());
        proofs.add(name, proof.unwrap(), Accepted, "");
        keys.push(key);
    }
    let set = sign::key_set(&keys.iter().chain([&tokens.key]).collect::<Vec<_>>());
    let question = json!({
        "keys": serde_json::from_str::<Value>(&set).unwrap(),
        "issuer": ISSUER, "audience": AUDIENCE, "now": NOW,
        "tokens": tokens.texts(), "proofs": proofs.texts(),
    });
    let verdicts = judge(&directory, &question);
    compare_tokens(&tokens, &set, verdicts["tokens"].as_array().unwrap());
    compare_proofs(&proofs, verdicts["proofs"].as_array().unwrap());
}

fn compare_tokens(tokens: &Cases, set: &str, theirs: &[Value]) {
    let (set, left_out) = JwkSet::parse(set.as_bytes()).unwrap();
    assert!(left_out.is_empty());
    let verifier = Verifier::new(Expectations {
        issuer: ISSUER.into(),
        audience: vec![AUDIENCE.into()],
        ..Expectations::default()
    });
    tokens.compare(|text| verifier.verify(text, &set, TIME).is_ok(), theirs);
}

fn compare_proofs(proofs: &Cases, theirs: &[Value]) {
    let target = ProofTarget {
        method: "GET",
        uri: URI,
        token: None,
        nonces: None,
    };
    let judge = |text: &str| Dpop::default().verify(text, &target, TIME);
    proofs.compare(|text| judge(text).is_ok(), theirs);
    // Where both accept, they name the key alike.
    let mut compared = 0;
    for (case, theirs) in proofs.list.iter().zip(theirs) {
        if let (Ok(proof), Some(theirs)) = (judge(&case.text), theirs.as_str()) {
            let ours = URL_SAFE_NO_PAD.encode(proof.thumbprint);
            assert_eq!(ours, theirs, "{}", case.name);
            compared += 1;
        }
    }
    assert!(compared > SHARED.len());
}

fn judge(directory: &Path, question: &Value) -> Value {
    let mut node = Command::new("node")
        .arg("judge.mjs")
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = node.stdin.take().unwrap();
    stdin.write_all(question.to_string().as_bytes()).unwrap();
    drop(stdin);
    let answer = node.wait_with_output().unwrap();
    assert!(answer.status.success());
    serde_json::from_slice(&answer.stdout).unwrap()
}

/// Where `jose` is installed; `None`, said aloud, where it cannot be.
fn installed() -> Option<PathBuf> {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jose");
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("jose");
    std::fs::create_dir_all(&directory).unwrap();
    for file in ["judge.mjs", "package.json", "package-lock.json"] {
        std::fs::copy(from.join(file), directory.join(file)).unwrap();
    }
    let mut install = Command::new("npm");
    install
        .args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"])
        .current_dir(&directory)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let has_node = Command::new("node").arg("--version").output().is_ok();
    if has_node && install.status().is_ok_and(|status| status.success()) {
        return Some(directory);
    }
    let why = "there is no node, or npm cannot install `jose`";
    assert!(std::env::var("FORTRESS_REQUIRE_ALL").is_err(), "{why}");
    eprintln!("skipped: {why}");
    None
}
