//! What must hold for any bytes at each of Fortress's parsers. The fuzz targets and the replay of
//! the seeds call the same functions.
//!
//! Deliberately not here: what a certain input means. That is for the parsers' own tests.

mod credentials;

use std::{
    fs,
    io::{Error, ErrorKind, Result},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime},
};

use bytes::{Bytes, BytesMut};
pub(crate) use credentials::{browser_login, certificate, message_signature, shared_secrets};
use fortress_auth::{
    Answer, AnswerExpectations, Dpop, Expectations, Introspector, JwkSet, ProofTarget, Verifier,
    peek_issuer,
};
use fortress_gateway::{
    client_hello::{self, ClientHello, Progress},
    h1::{
        ChunkedDecoder, Framing, HeadBounds, RequestHead, ScanState, parse_request, parse_response,
        write_request_head,
    },
    path::{NormalizedPath, Semicolons},
    proxy_protocol,
};
use fortress_model::{
    Bounds, Sources, Timestamp,
    config::{Cookies, RequestUndeclared, ResponseUndeclared, settings},
    diagnostic::render,
    document::{Format, read},
};
use fortress_spec::{
    ApiDescription, Files, Policy, RequestParts, ResponseOutcome, Violation, load,
};
use fortress_waf::{
    ByteSet, Reading, Triggers, builtin,
    engine::{Desk, Engine, Finding, Memory, Opening, Screening, Transaction, Verdict},
    injection::{sqli, xss},
    read_body,
    seclang::{BodyProcessor, NoFiles, Ruleset, RulesetBuilder, Transformation},
};

/// A head means the same however its bytes arrive, and what is written from it is read as it was.
pub(crate) fn request_head(data: &[u8]) {
    let bounds = HeadBounds::from(&Bounds::default());
    let mut buffer = BytesMut::from(data);
    let whole = parse_request(&mut buffer, &bounds, &mut ScanState::default());
    let told = whole
        .as_ref()
        .map(|head| head.as_ref().map(told))
        .map_err(|refused| refused.reason);

    let mut buffer = BytesMut::new();
    let mut scan = ScanState::default();
    let mut piecewise = Ok(None);
    for byte in data {
        buffer.extend_from_slice(&[*byte]);
        piecewise = parse_request(&mut buffer, &bounds, &mut scan);
        if !matches!(piecewise, Ok(None)) {
            break;
        }
    }
    // Bytewise, a refusal may come earlier and for what stands earlier; it must come all the same.
    match (&told, &piecewise) {
        (Ok(told), Ok(head)) => assert_eq!(*told, head.as_ref().map(self::told)),
        (Err(_), Err(_)) => {}
        (told, piecewise) => panic!("whole: {told:?}, byte by byte: {piecewise:?}"),
    }

    if let Ok(Some(head)) = whole
        && head.target.as_str().starts_with('/')
    {
        rewrite(&head, &bounds);
    }
}

/// What is sent to an upstream is strict, too, and says the same.
fn rewrite(head: &RequestHead, bounds: &HeadBounds) {
    let (path, query) = match head.target.as_str().split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (head.target.as_str(), None),
    };
    let mut out = BytesMut::new();
    write_request_head(
        &mut out,
        &head.method,
        path,
        query,
        &head.headers,
        head.framing,
    );
    let roomy = HeadBounds {
        head: bounds.head * 2,
        headers: bounds.headers + 2,
        uri: bounds.uri,
    };
    let again = parse_request(&mut out, &roomy, &mut ScanState::default());
    match again {
        Ok(Some(again)) => {
            assert_eq!(again.method, head.method);
            assert_eq!(again.target.as_str(), head.target.as_str());
            assert_eq!(again.host.as_str(), head.host.as_str());
            assert_eq!(again.framing, head.framing);
            assert!(out.is_empty());
        }
        again => panic!("what was written is not read: {again:?}"),
    }
}

/// A ClientHello is the same however its bytes arrive, and its fingerprint has its form.
pub(crate) fn client_hello(data: &[u8]) {
    let whole = ClientHello::read(data);
    let mut needs = 0;
    for end in 0..data.len().min(4 * client_hello::LONGEST) {
        if end < needs {
            continue;
        }
        match (
            ClientHello::read(data.get(..end).unwrap_or_default()),
            &whole,
        ) {
            (Ok(Progress::Needs(more)), _) => {
                assert!(more > end);
                needs = more;
            }
            (part, whole) => {
                assert_eq!(part, *whole, "of {end} bytes");
                break;
            }
        }
    }
    if let Ok(Progress::Whole(hello)) = whole {
        let ja4 = hello.ja4();
        let lengths: Vec<usize> = ja4.as_str().split('_').map(str::len).collect();
        assert_eq!(lengths, [10, 12, 12], "{ja4:?}");
    }
}

/// A header ends where it ends, however its bytes arrive and whatever follows.
pub(crate) fn proxy_protocol(data: &[u8]) {
    let whole = proxy_protocol::parse(data);
    for end in 0..data.len().min(proxy_protocol::LONGEST) {
        let part = data.get(..end).unwrap_or_default();
        match (proxy_protocol::parse(part), &whole) {
            (Ok(None), _) => {}
            (Ok(Some(found)), Ok(Some(whole))) if found == *whole => assert!(found.1 <= end),
            (Err(_), Err(_)) => {}
            (part, whole) => panic!("of {end} bytes {part:?}, of all {whole:?}"),
        }
    }
    match whole {
        Ok(Some((_, length))) => assert!(length <= data.len() && length <= proxy_protocol::LONGEST),
        Ok(None) => assert!(data.len() < proxy_protocol::LONGEST),
        Err(_) => {}
    }
}

/// An entry of the log of logins means one thing, and is written as it was read.
pub(crate) fn login_log(data: &[u8]) {
    if let Some(event) = fortress_limits::defence::log::Event::read(data) {
        assert_eq!(event.write(), data);
    }
}

/// What one head says, to be compared.
fn told(head: &RequestHead) -> (String, Framing, bool, usize) {
    let line = format!(
        "{} {} {} {:?}",
        head.method,
        head.target.as_str(),
        head.host.as_str(),
        head.headers
    );
    (line, head.framing, head.keep_alive, head.bytes)
}

/// As for requests, for each of the methods that change how a response's body ends.
pub(crate) fn response_head(data: &[u8]) {
    let bounds = HeadBounds::from(&Bounds::default());
    for method in [http::Method::GET, http::Method::HEAD, http::Method::CONNECT] {
        let mut buffer = BytesMut::from(data);
        let whole = parse_response(&mut buffer, &bounds, &mut ScanState::default(), &method);
        let mut buffer = BytesMut::new();
        let mut scan = ScanState::default();
        let mut piecewise = Ok(None);
        for byte in data {
            buffer.extend_from_slice(&[*byte]);
            piecewise = parse_response(&mut buffer, &bounds, &mut scan, &method);
            if !matches!(piecewise, Ok(None)) {
                break;
            }
        }
        match (&whole, &piecewise) {
            (Ok(Some(whole)), Ok(Some(piecewise))) => {
                assert_eq!(whole.framing, piecewise.framing);
                assert_eq!(whole.headers, piecewise.headers);
                assert_eq!(whole.status, piecewise.status);
            }
            (Ok(None), Ok(None)) | (Err(_), Err(_)) => {}
            (whole, piecewise) => panic!("whole: {whole:?}, byte by byte: {piecewise:?}"),
        }
    }
}

/// A body has the same octets and the same end however its bytes arrive, and never more than its
/// bound.
pub(crate) fn chunked(data: &[u8]) {
    const MOST: usize = 4096;
    let bounds = HeadBounds::from(&Bounds::default());
    let mut whole = BytesMut::new();
    let mut decoder = ChunkedDecoder::for_request(&bounds);
    let at_once = decoder.decode(data, &mut whole, MOST);

    let mut pieces = BytesMut::new();
    let mut decoder = ChunkedDecoder::for_request(&bounds);
    let mut consumed = 0;
    let mut refused = None;
    for byte in data {
        match decoder.decode(&[*byte], &mut pieces, MOST) {
            Ok(progress) => consumed += progress.consumed,
            Err(error) => refused = Some(error.reason),
        }
        if refused.is_some() || decoder.is_done() {
            break;
        }
    }
    assert!(whole.len() <= MOST && pieces.len() <= MOST);
    match at_once {
        Ok(progress) => {
            assert_eq!(
                (refused, consumed, decoder.is_done()),
                (None, progress.consumed, progress.done)
            );
            assert_eq!(whole, pieces);
        }
        Err(error) => assert_eq!(refused, Some(error.reason)),
    }
}

/// A normal form is normal: taking it again changes nothing, and it holds nothing that an upstream
/// could read as the way up.
pub(crate) fn path(data: &[u8]) {
    let Ok(raw) = std::str::from_utf8(data) else {
        return;
    };
    for semicolons in [Semicolons::Refused, Semicolons::Kept] {
        if let Ok(path) = NormalizedPath::parse(raw, semicolons) {
            let again = NormalizedPath::parse(path.as_str(), semicolons);
            assert_eq!(
                again.as_ref().map(NormalizedPath::as_str),
                Ok(path.as_str())
            );
            assert!(
                path.segments()
                    .all(|segment| segment != "." && segment != "..")
            );
            assert!(
                !path
                    .as_str()
                    .contains(['\\', '\0', '\r', '\n', ' ', '?', '#'])
            );
        }
    }
}

/// Parameters are judged without a panic, in a bounded number of violations, each at a place; and
/// the cookies that pass are cookies that came.
pub(crate) fn parameters(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut parts = text.splitn(4, '|');
    let mut part = || parts.next().unwrap_or_default();
    let (path, query, header, cookie) = (part(), part(), part(), part());
    let mut headers = http::HeaderMap::new();
    if let Some((name, value)) = header.split_once(": ")
        && let (Ok(name), Ok(value)) = (name.parse::<http::HeaderName>(), value.parse())
    {
        headers.append(name, value);
    }
    if let Ok(value) = cookie.parse() {
        headers.append(http::header::COOKIE, value);
    }
    let id = path.trim_start_matches('/');
    let request = RequestParts {
        path_values: &[("id", id)],
        query: Some(query),
        headers: &headers,
    };
    let Some(description) = &*DESCRIPTION else {
        return;
    };
    for cookies in [Cookies::Allow, Cookies::Drop, Cookies::Refuse] {
        let policy = policy(cookies);
        for operation in &description.operations {
            let mut found = Vec::new();
            let outcome =
                operation.check_parameters(&description.schemas, &request, &policy, &mut found);
            are_told(&found, &["path.", "query", "header", "cookie"]);
            if let Some(kept) = outcome.cookie {
                assert!(kept.split("; ").all(|pair| cookie.contains(pair)), "{kept}");
            }
        }
    }
}

/// A body that passes is JSON to another parser, too; and an answer that was trimmed has nothing
/// left to trim.
pub(crate) fn json_body(data: &[u8]) {
    const TYPE: Option<&[u8]> = Some(b"application/json");
    let Some(description) = &*DESCRIPTION else {
        return;
    };
    let schemas = &description.schemas;
    for operation in &description.operations {
        let mut found = Vec::new();
        operation.check_body(schemas, TYPE, data, &policy(Cookies::Allow), &mut found);
        are_told(&found, &["body"]);
        if found.is_empty() && !data.is_empty() {
            let read = serde_json::from_slice::<serde_json::Value>(data);
            assert!(read.is_ok(), "{read:?}");
        }
        let mut found = Vec::new();
        let check = |body: &[u8], found: &mut Vec<Violation>| {
            operation.check_response(schemas, 200, TYPE, body, ResponseUndeclared::Drop, found)
        };
        if let ResponseOutcome::Trimmed { body, .. } = check(data, &mut found)
            && found.is_empty()
        {
            assert_eq!(check(&body, &mut found), ResponseOutcome::Unchanged);
            assert!(found.is_empty(), "{found:?}");
        }
    }
}

/// The description that parameters and bodies are judged by.
static DESCRIPTION: LazyLock<Option<ApiDescription>> = LazyLock::new(|| {
    struct Fixed;
    impl Files for Fixed {
        fn read(&self, _: &Path) -> Result<String> {
            Ok(include_str!("openapi.yaml").to_owned())
        }
    }
    let loaded = load(Path::new("openapi.yaml"), &Fixed, &mut Sources::default());
    assert!(loaded.description.is_some(), "{:?}", loaded.diagnostics);
    loaded.description
});

fn policy(cookies: Cookies) -> Policy {
    let bounds = Bounds::default();
    Policy {
        undeclared: RequestUndeclared::Refuse,
        cookies,
        depth: bounds.depth,
        properties: bounds.properties,
        items: bounds.items,
        parts: bounds.parts,
    }
}

fn are_told(found: &[Violation], places: &[&str]) {
    assert!(found.len() <= 16);
    for violation in found {
        let known = places
            .iter()
            .any(|place| violation.location.starts_with(place));
        assert!(known && !violation.detail.is_empty(), "{violation:?}");
    }
}

/// A description either loads or says why not, and each place that it names is there to be shown.
pub(crate) fn openapi_load(data: &[u8]) {
    struct One<'a>(&'a str);
    impl Files for One<'_> {
        fn read(&self, path: &Path) -> Result<String> {
            if path == Path::new("openapi.yaml") {
                return Ok(self.0.to_owned());
            }
            Err(Error::from(ErrorKind::NotFound))
        }
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut sources = Sources::default();
    let loaded = load(Path::new("openapi.yaml"), &One(text), &mut sources);
    assert!(loaded.description.is_some() || !loaded.diagnostics.is_empty());
    render(&loaded.diagnostics, &sources, false, 80);
}

/// A document is read in each format, and as settings, without a panic; what is wrong with it can
/// be shown.
pub(crate) fn yaml_config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    for format in [Format::Yaml, Format::Json, Format::Auto] {
        let mut sources = Sources::default();
        let id = sources.add("fortress.yaml", text);
        let found = match read(id, &sources, format) {
            Ok(node) => settings(&node).1,
            Err(found) => {
                assert!(!found.is_empty());
                found
            }
        };
        render(&found, &sources, false, 80);
    }
}

/// RFC 7515, appendix A.3: a public key, whose other half is not here.
const KEYS: &[u8] = br#"{"keys":[{"kty":"EC","crv":"P-256",
    "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

/// Nothing passes that was not signed.
pub(crate) fn jws(data: &[u8]) {
    drop(JwkSet::parse(data));
    let (Ok((keys, _)), Ok(token)) = (JwkSet::parse(KEYS), std::str::from_utf8(data)) else {
        return;
    };
    drop(peek_issuer(token));
    let verifier = Verifier::new(Expectations {
        issuer: "joe".to_owned(),
        audience: vec!["orders-api".to_owned()],
        leeway: Duration::from_secs(30),
        ..Expectations::default()
    });
    let now = Timestamp(1_800_000_000_000_000_000);
    let verified = verifier.verify(token, &keys, now);
    assert!(verified.is_err(), "{verified:?}");
}

/// A proof holds for one request, for one token and for a while, if it holds at all.
pub(crate) fn dpop_proof(data: &[u8]) {
    // RFC 9449, section 7.1.
    const TARGET: ProofTarget<'_> = ProofTarget {
        method: "GET",
        uri: "https://resource.example.org/protectedresource",
        token: Some("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"),
        nonces: None,
    };
    const NOW: Timestamp = Timestamp(1_562_262_618_000_000_000);
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let dpop = Dpop::default();
    let judge = |target: ProofTarget<'_>, now| dpop.verify(text, &target, now);
    let Ok(proof) = judge(TARGET, NOW) else {
        return;
    };
    assert_eq!(judge(TARGET, NOW), Ok(proof.clone()));
    let later = Timestamp(proof.issued.0 + 61_000_000_000);
    assert!(judge(TARGET, later).is_err());
    for other in [
        ProofTarget {
            method: "POST",
            ..TARGET
        },
        ProofTarget {
            uri: "https://resource.example.org/protectedresource/",
            ..TARGET
        },
        ProofTarget {
            token: Some("another"),
            ..TARGET
        },
    ] {
        assert!(judge(other, NOW).is_err(), "{other:?}");
    }
}

/// A token that its issuer calls active is so for those it names, and until it expires; and what
/// was not signed is no signed answer.
pub(crate) fn introspection(data: &[u8]) {
    let ours = |audience: &str| {
        Introspector::new(AnswerExpectations {
            issuer: "joe".to_owned(),
            audience: vec![audience.to_owned()],
            ..AnswerExpectations::default()
        })
    };
    let now = Timestamp(1_800_000_000_000_000_000);
    let asked = ours("orders-api");
    if let (Ok((keys, _)), Ok(text)) = (JwkSet::parse(KEYS), std::str::from_utf8(data)) {
        let signed = asked.judge_signed(text, "gateway", &[], &keys, now);
        assert!(signed.is_err(), "{signed:?}");
    }
    let Ok(Answer::Active(verified)) = asked.judge(data, now) else {
        return;
    };
    assert!(
        verified
            .claims
            .texts("aud")
            .any(|audience| audience == "orders-api")
    );
    assert_eq!(verified.claims.flag("active"), Some(true));
    if let Some(expires) = verified.expires {
        assert!(expires >= now.seconds());
        let then = Timestamp(expires.saturating_add(1).saturating_mul(1_000_000_000));
        let outcome = asked.judge(data, then);
        assert!(matches!(outcome, Ok(Answer::Refused(_))), "{outcome:?}");
    }
}

/// A text of rules says something, the same each time, or what is wrong with it and on which line.
pub(crate) fn seclang(data: &[u8]) {
    let lines = 1 + data.iter().filter(|byte| **byte == b'\n').count();
    let read = || Ruleset::parse("fuzz.conf", data, &mut NoFiles);
    match (read(), read()) {
        (Ok(ruleset), Ok(again)) => assert_eq!(ruleset.directives(), again.directives()),
        (Err(mistakes), Err(again)) => {
            assert!(!mistakes.is_empty());
            assert_eq!(mistakes, again);
            for mistake in mistakes {
                let line = usize::try_from(mistake.place.line).unwrap_or(usize::MAX);
                assert!(line >= 1 && line <= lines, "{mistake}");
            }
        }
        (once, again) => panic!("{once:?}, and then {again:?}"),
    }
}

/// Whatever looks like a part is read as one, and what is read stands in the body. The first line
/// is the `Content-Type`.
pub(crate) fn waf_multipart(data: &[u8]) {
    let mut lines = data.splitn(2, |byte| *byte == b'\n');
    let content_type = lines.next().unwrap_or_default();
    let body = lines.next().unwrap_or_default();
    let read = read_for_rules(BodyProcessor::Multipart, content_type, body);
    for value in read
        .arguments
        .iter()
        .map(|(_, value)| value)
        .chain(read.files.iter().map(|(_, _, content)| content))
    {
        let stands = |value: &[u8]| body.windows(value.len()).any(|bytes| bytes == value);
        assert!(value.is_empty() || stands(value), "{value:?}");
    }
    assert!(read.error.is_none() || read.strict_error);
    assert!(read.written <= 2 * body.len(), "{}", read.written);
}

/// What another parser takes for JSON is flattened without a fault; what it does not take is
/// flagged, but for what JSON's grammar leaves open.
pub(crate) fn waf_json(data: &[u8]) {
    let read = read_for_rules(BodyProcessor::Json, b"", data);
    let limited = read
        .error
        .as_ref()
        .is_some_and(|error| error.contains("than the limit"));
    match serde_json::from_slice::<serde_json::Value>(data) {
        Ok(_) => assert!(read.error.is_none() || limited, "{:?}", read.error),
        Err(why) => {
            let why = why.to_string();
            let left_open = ["surrogate", "hex escape", "out of range", "recursion limit"];
            let is_open = left_open.iter().any(|open| why.contains(open));
            assert!(read.error.is_some() || is_open || data.is_empty(), "{why}");
        }
    }
    assert!(read.written <= 5 * data.len() + (64 << 10));
}

/// A document's texts and attributes are no more than the document, and at most once written.
pub(crate) fn waf_xml(data: &[u8]) {
    let read = read_for_rules(BodyProcessor::Xml, b"", data);
    let texts = read.xml_texts.iter().chain(&read.xml_attributes);
    assert!(texts.map(Vec::len).sum::<usize>() <= data.len());
    assert!(read.written <= data.len(), "{}", read.written);
}

/// Twice, since nothing may depend on anything but the body.
fn read_for_rules(processor: BodyProcessor, content_type: &[u8], body: &[u8]) -> Reading {
    let read = || read_body(processor, content_type, Bytes::copy_from_slice(body));
    let once = read();
    assert_eq!(once, read());
    once
}

/// A transformation says whether it changed something, within its bound, and changes nothing where
/// none of its triggers is.
pub(crate) fn transformations(data: &[u8]) {
    let mut out = Vec::new();
    for transformation in Transformation::ALL {
        out.clear();
        out.extend_from_slice(b"before");
        let changed = transformation.apply(data, &mut out);
        let Some(after) = out.strip_prefix(b"before") else {
            panic!("{transformation:?} overwrote what stood there");
        };
        assert!(after.len() <= transformation.most(data.len()));
        if changed {
            assert_ne!(after, data, "{transformation:?}");
        } else {
            assert!(after.is_empty(), "{transformation:?}");
        }
        if let Triggers::Bytes(set) = transformation.triggers() {
            let tame: Vec<u8> = data
                .iter()
                .copied()
                .filter(|byte| !set.contains(*byte))
                .collect();
            assert!(!changed || tame.len() < data.len(), "{transformation:?}");
            assert!(!transformation.apply(&tame, &mut out), "{transformation:?}");
        }
    }
}

/// Each pair of a form is an argument, and what is not encoded is not copied.
pub(crate) fn waf_urlencoded(data: &[u8]) {
    let read = read_for_rules(BodyProcessor::UrlEncoded, b"", data);
    let pairs: Vec<&[u8]> = data
        .split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty())
        .collect();
    assert!(read.arguments.len() == pairs.len() || read.error.is_some());
    for ((name, value), pair) in read.arguments.iter().zip(pairs) {
        assert!(name.len() + value.len() <= pair.len());
    }
    let encoded = data.iter().any(|byte| matches!(byte, b'%' | b'+'));
    assert!(encoded || read.written == 0, "{}", read.written);
    assert!(read.written <= data.len());
}

/// Nothing is found in a text whose bytes were said to make nothing that could be.
pub(crate) fn waf_injection(data: &[u8]) {
    let bytes = ByteSet::from_text(data);
    let found = sqli::detect(data);
    assert_eq!(found, sqli::detect(data));
    if let Some(fingerprint) = found {
        assert!(sqli::possible(&bytes), "{}", fingerprint.as_str());
        assert!((1..=8).contains(&fingerprint.as_str().len()));
    }
    assert!(!xss::detect(data) || xss::possible(&bytes));
}

/// A request means the same to the rules whether or not those that cannot match are spared, and
/// whatever was inspected before in the same memory. The rules are the small set that comes with
/// Fortress and some that use what those do not.
pub(crate) fn waf_engine(data: &[u8]) {
    static ENGINES: LazyLock<[Arc<Engine>; 2]> = LazyLock::new(|| {
        let mut builder = RulesetBuilder::default();
        for (name, text) in [
            ("before.conf", builtin::BEFORE),
            ("builtin.conf", builtin::RULES),
            ("engine.conf", include_str!("engine.conf")),
            ("after.conf", builtin::AFTER),
        ] {
            builder.add_file(name, text, &mut NoFiles);
        }
        both(builder)
    });
    are_alike(&ENGINES, data);
}

/// The same with the OWASP Core Rule Set, where it is there.
pub(crate) fn waf_core_rules(data: &[u8]) {
    static ENGINES: LazyLock<Option<[Arc<Engine>; 2]>> = LazyLock::new(|| {
        let folder = std::env::var_os("FORTRESS_SHARED").map_or_else(
            || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")),
            PathBuf::from,
        );
        let crs = folder.join("crs");
        if !crs.is_dir() {
            let all = std::env::var_os("FORTRESS_REQUIRE_ALL").is_some_and(|all| all == "1");
            assert!(!all, "{} is missing", crs.display());
            return None;
        }
        let mut builder = RulesetBuilder::default();
        builder.add_file("before.conf", builtin::BEFORE, &mut NoFiles);
        let mut files: Vec<PathBuf> = fs::read_dir(crs.join("rules"))
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "conf")
            })
            .collect();
        files.sort();
        files.insert(0, crs.join("crs-setup.conf.example"));
        for path in files {
            let text = fs::read(&path).unwrap_or_default();
            builder.add_file(&path.display().to_string(), text, &mut Words);
        }
        Some(both(builder))
    });
    if let Some(engines) = &*ENGINES {
        are_alike(engines, data);
    }
}

/// The files of words beside the rules.
struct Words;

impl fortress_waf::seclang::Files for Words {
    fn read(&mut self, name: &str, from: &str) -> std::result::Result<Vec<u8>, String> {
        let folder = Path::new(from).parent().unwrap_or(Path::new(""));
        fs::read(folder.join(name)).map_err(|error| error.to_string())
    }

    fn list(&mut self, pattern: &str, _: &str) -> std::result::Result<Vec<String>, String> {
        Err(format!("`{pattern}` is not to be listed"))
    }
}

fn both(builder: RulesetBuilder) -> [Arc<Engine>; 2] {
    let ruleset = builder.build();
    let ruleset = ruleset.unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    [Screening::Prefiltered, Screening::Exhaustive].map(|screening| {
        let engine = Engine::compile(&ruleset, screening);
        Arc::new(engine.unwrap_or_else(|mistakes| panic!("{mistakes:?}")))
    })
}

fn are_alike(engines: &[Arc<Engine>; 2], data: &[u8]) {
    let [prefiltered, exhaustive] = engines;
    let (mut memory, mut desk) = (Box::default(), Desk::default());
    let told = inspect(prefiltered, (&mut memory, &mut desk), data);
    let fresh = (&mut Box::default(), &mut Desk::default());
    assert_eq!(told, inspect(exhaustive, fresh, data));
    // What is known by now, and what was refuted.
    for _ in 0..2 {
        assert_eq!(told, inspect(prefiltered, (&mut memory, &mut desk), data));
    }
}

/// A request in lines, `METHOD TARGET PROTOCOL` and its fields, an empty line, and a body; then the
/// body once more as the answer. No line need be right.
fn inspect(
    engine: &Arc<Engine>,
    (memory, desk): (&mut Box<Memory>, &mut Desk),
    data: &[u8],
) -> (Vec<Verdict>, Vec<Finding>) {
    let opening = Opening {
        client: SocketAddr::from((Ipv4Addr::new(203, 0, 113, 7), 40_000)),
        server: SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 80)),
        now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_500_000),
        id: "fuzz",
        budget: u64::MAX,
    };
    let mut transaction = Transaction::new(Arc::clone(engine), std::mem::take(memory), &opening);
    let (first, mut rest) = line_of(data);
    let mut words = first.splitn(3, |byte| *byte == b' ');
    let mut word = || words.next().unwrap_or_default();
    transaction.request_line(word(), word(), word());
    loop {
        let (field, after) = line_of(rest);
        rest = after;
        if field.is_empty() {
            break;
        }
        let mut parts = field.splitn(2, |byte| *byte == b':');
        let name = parts.next().unwrap_or_default();
        transaction.request_field(name, parts.next().unwrap_or_default().trim_ascii());
    }
    let body = Bytes::copy_from_slice(rest);
    let mut verdicts = vec![transaction.request_head(desk)];
    verdicts.push(transaction.request_body(desk, body.clone()));
    transaction.response_line(200, b"HTTP/1.1");
    transaction.response_field(b"Content-Type", b"text/html");
    verdicts.push(transaction.response_head(desk));
    let wanted = transaction.wants_response_body();
    verdicts.push(transaction.response_body(desk, if wanted { body } else { Bytes::new() }));
    transaction.end(desk);
    let mut findings = transaction.findings().to_vec();
    // Transformations that change nothing are left out where rules are spared.
    for matched in findings.iter_mut().flat_map(|finding| &mut finding.matched) {
        matched.transformations.clear();
    }
    *memory = transaction.into_memory();
    (verdicts, findings)
}

/// The first line, without its end, and what follows it.
fn line_of(text: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = text.splitn(2, |byte| *byte == b'\n');
    let line = parts.next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    (line, parts.next().unwrap_or_default())
}
