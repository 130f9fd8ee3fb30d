//! The entries for what callers show beside tokens: certificates, signatures, shared secrets, sessions.

use fortress_auth::{
    basic::{BasicCredential, PasswordHash},
    certificate::{
        CertificateRules, ClientCertificate, NameRule, client_cert, parse_client_cert,
        parse_client_cert_chain,
    },
    exchange::read_answer,
    login::{Answer, Pending, Session, cookie_suffix, form_decode, read_tokens},
    message_signature::{
        Component, Content, ContentDigest, Key, Keys, Rules, SignatureAlgorithm, SignedRequest,
        verify,
    },
    session::{self, LoginSecrets, Sealer, is_local_target},
    webhook::{Preset, Webhook},
};
use fortress_model::{Secret, Timestamp};

/// A certificate's names are in the certificate, and it is passed on as it is.
pub(crate) fn certificate(data: &[u8]) {
    if let Ok(certificate) = ClientCertificate::parse(data) {
        let rules = [
            "spiffe://example.com/*",
            "dns:*.example.com",
            "email:*@example.com",
            "cn:*",
        ];
        let rules = rules.iter().flat_map(|rule| rule.parse::<NameRule>());
        if let Ok(principal) = CertificateRules::new(rules.collect()).principal(&certificate) {
            let name = principal.id.strip_prefix("CN=").unwrap_or(&principal.id);
            let name = name.as_bytes();
            let stands = |bytes: &[u8]| bytes.eq_ignore_ascii_case(name);
            assert!(data.windows(name.len()).any(stands), "{}", principal.id);
        }
        assert_eq!(parse_client_cert(&client_cert(data)).as_deref(), Ok(data));
    }
    if let Ok(text) = std::str::from_utf8(data) {
        drop(parse_client_cert(text));
        drop(parse_client_cert_chain(text));
    }
}

/// Nothing passes that was not signed: the key below is public, and its other half is not here. The
/// lines are `Signature-Input`, `Signature`, `Content-Digest`, and a query.
pub(crate) fn message_signature(data: &[u8]) {
    // RFC 9421, appendix B.1.4.
    const KEY: [u8; 32] = [
        0x26, 0xb4, 0x0b, 0x8f, 0x93, 0xff, 0xf3, 0xd8, 0x97, 0x11, 0x2f, 0x7e, 0xbc, 0x58, 0x2b,
        0x23, 0x2d, 0xbd, 0x72, 0x51, 0x7d, 0x08, 0x2f, 0xe8, 0x3c, 0xfb, 0x30, 0xdd, 0xce, 0x43,
        0xd1, 0xbb,
    ];
    let mut lines = data.splitn(4, |byte| *byte == b'\n');
    let mut fields = http::HeaderMap::new();
    for name in ["signature-input", "signature", "content-digest"] {
        let line = lines.next().unwrap_or_default();
        if let Ok(value) = http::HeaderValue::from_bytes(line) {
            fields.append(name, value);
        }
    }
    let query = std::str::from_utf8(lines.next().unwrap_or_default()).ok();
    let algorithm = SignatureAlgorithm::Ed25519;
    let key = Key::public("test-key-ed25519", algorithm, &KEY).map(|key| Keys::new(vec![key]));
    let Ok(Ok(keys)) = key else {
        panic!("the key cannot be read");
    };
    let request = SignedRequest {
        method: "POST",
        scheme: "https",
        authority: "fuzz.example.com",
        path: "/",
        query,
        fields: &fields,
        content: Content::Absent,
    };
    let rules = Rules {
        required: Vec::new(),
        ..Rules::default()
    };
    let now = Timestamp(1_618_884_473_000_000_000);
    let verified = verify(&request, &keys, &rules, now);
    assert!(verified.is_err(), "{verified:?}");
    drop(ContentDigest::of(&fields));
    if let Some(Ok(component)) = query.map(str::parse::<Component>) {
        let again = component.to_string().parse::<Component>();
        assert_eq!(again.as_ref(), Ok(&component));
    }
}

/// Credentials under shared secrets: nothing passes that was not made with the secret, which is not
/// in the seeds. The first line is a header field, the rest is the body.
pub(crate) fn shared_secrets(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        drop(BasicCredential::parse(text));
        drop(PasswordHash::parse(text));
    }
    drop(read_answer(data, Timestamp(0)));
    let mut lines = data.splitn(2, |byte| *byte == b'\n');
    let line = lines.next().unwrap_or_default();
    let body = lines.next().unwrap_or_default();
    for preset in Preset::ALL {
        let secret = Secret::new(b"a secret that no seed was signed under".to_vec());
        let scheme = preset.scheme();
        let names = [
            Some(&scheme.header),
            scheme.timestamp.as_ref(),
            scheme.id.as_ref(),
        ];
        let mut fields = http::HeaderMap::new();
        for name in names.into_iter().flatten() {
            if let Ok(value) = http::HeaderValue::from_bytes(line) {
                fields.append(name, value);
            }
        }
        let Ok(webhook) = Webhook::new(scheme, &[secret]) else {
            panic!("{} is no form", preset.name());
        };
        if let Ok(mut checking) = webhook.begin(&fields, Timestamp(1_614_265_330_000_000_000)) {
            checking.update(body);
            assert!(checking.finish().is_err());
        }
    }
}

/// What a browser and an issuer bring back in a login: nothing is opened that was not sealed here, what
/// is read is written as it was, and nobody is sent to another host.
pub(crate) fn browser_login(data: &[u8]) {
    const NAME: &str = "__Host-session";
    drop(read_tokens(data));
    if let Some(session) = Session::decode(data) {
        assert_eq!(session.encode().expose(), data);
        drop(session.verified(Some("realm.scopes")));
    }
    if let Some(pending) = Pending::decode(data) {
        assert_eq!(pending.encode().expose(), data);
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(sealer) = Sealer::new(&Secret::new(vec![7; 32]), None, "a client") else {
        panic!("a key has 32 bytes");
    };
    let joined = session::join(NAME, |name| (name == NAME).then_some(text));
    assert!(
        sealer
            .open(NAME, &joined.unwrap_or_default(), Timestamp(0))
            .is_err()
    );
    if let Ok(answer) = Answer::read(text) {
        let secrets = LoginSecrets::new(&[[1; 32]; 3]);
        assert!(!session::same_state(&secrets.state, &answer.state));
        if let Some(suffix) = cookie_suffix(&answer.state) {
            assert!(answer.state.starts_with(suffix) && !suffix.contains([';', '=', ' ']));
        }
    }
    if let Some(target) = form_decode(text).filter(|target| is_local_target(target)) {
        let second = target.as_bytes().get(1);
        assert!(target.starts_with('/') && !matches!(second, Some(b'/' | b'\\')));
        assert!(target.bytes().all(|byte| byte.is_ascii_graphic()));
    }
}
