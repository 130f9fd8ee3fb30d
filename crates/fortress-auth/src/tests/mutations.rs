//! Whatever is done to a valid token, it is refused, and nothing panics.

use proptest::prelude::*;

use super::*;
use crate::peek_issuer;

static TOKENS: LazyLock<[String; 3]> = LazyLock::new(|| {
    [&KEYS.es256, &KEYS.rs256, &KEYS.eddsa].map(|key| key.sign(&claims(&[])).expect("a token"))
});

const BASE64URL: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Refused, unless it is the token itself.
fn check(original: &str, mutated: &str) {
    peek_issuer(mutated).ok();
    let outcome = verify(mutated);
    assert_eq!(outcome.is_ok(), original == mutated, "{mutated}");
}

#[test]
fn every_single_character_counts() {
    for token in TOKENS.iter() {
        for place in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            let old = bytes[place];
            // The neighbour in the alphabet differs in the lowest bits, which is where a lax
            // reader looks away.
            let index = BASE64URL
                .iter()
                .position(|&byte| byte == old)
                .unwrap_or_default();
            bytes[place] = BASE64URL[index ^ 1];
            check(token, std::str::from_utf8(&bytes).expect("ASCII"));
            bytes.remove(place);
            check(token, std::str::from_utf8(&bytes).expect("ASCII"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn replaced(which in 0_usize..3, place: prop::sample::Index, with in any::<char>()) {
        let token = &TOKENS[which];
        let mut chars: Vec<char> = token.chars().collect();
        let place = place.index(chars.len());
        chars[place] = with;
        check(token, &chars.into_iter().collect::<String>());
    }

    #[test]
    fn inserted(which in 0_usize..3, place: prop::sample::Index, with in "[A-Za-z0-9_.=-]{1,4}|.{1,4}") {
        let token = &TOKENS[which];
        let mut mutated = token.clone();
        mutated.insert_str(place.index(token.len() + 1), &with);
        check(token, &mutated);
    }

    #[test]
    fn cut(which in 0_usize..3, from: prop::sample::Index, length in 1_usize..200) {
        let token = &TOKENS[which];
        let from = from.index(token.len());
        let mutated: String = token
            .chars()
            .enumerate()
            .filter(|(at, _)| !(from..from + length).contains(at))
            .map(|(_, character)| character)
            .collect();
        check(token, &mutated);
    }

    #[test]
    fn spliced(one in 0_usize..3, other in 0_usize..3, part in 0_usize..3) {
        let mut parts: Vec<&str> = TOKENS[one].split('.').collect();
        let others: Vec<&str> = TOKENS[other].split('.').collect();
        parts[part] = others[part];
        let mutated = parts.join(".");
        prop_assert_eq!(verify(&mutated).is_ok(), TOKENS.contains(&mutated));
    }

    #[test]
    fn arbitrary_text(text in ".{0,300}") {
        check(&TOKENS[0], &text);
    }

    #[test]
    fn arbitrary_bytes_signed(header in prop::collection::vec(any::<u8>(), 0..60), payload in prop::collection::vec(any::<u8>(), 0..60)) {
        let token = KEYS.eddsa.sign_raw(&header, &payload).expect("a token");
        prop_assert!(verify(&token).is_err());
        let header = KEYS.eddsa.header("JWT");
        let token = KEYS.eddsa.sign_raw(header.as_bytes(), &payload).expect("a token");
        prop_assert!(verify(&token).is_err());
    }

    #[test]
    fn claims_of_any_shape(value in json(), claim in prop::sample::select(vec!["iss", "aud", "exp", "nbf", "iat", "sub", "scope", "scp", "jti"])) {
        let token = KEYS.eddsa.sign(&claims(&[(claim, &value)])).expect("a token");
        if let Ok(verified) = verify(&token) {
            prop_assert!(verified.expires > Some(NOW));
            prop_assert_eq!(verified.claims.text("iss"), Some(ISSUER));
            prop_assert!(verified.claims.texts("aud").any(|audience| audience == AUDIENCE));
        }
    }

    #[test]
    fn json_is_read_as_serde_reads_it(value in json()) {
        let text = format!("{{\"a\":{value}}}");
        let ours = crate::json::read_object(text.as_bytes(), 64).is_ok();
        let theirs = serde_json::from_str::<serde_json::Value>(&text).is_ok();
        prop_assert_eq!(ours, theirs, "{}", text);
    }

    #[test]
    fn broken_json_is_refused_as_by_serde(value in json(), place: prop::sample::Index, with in prop::sample::select(vec!["", "\"", "\\", ",", ":", "{", "}", "[", "]", "0", "-", ".", "e", "\u{1}", "\\u", "\u{e9}", " "])) {
        let text = format!("{{\"a\":{value}}}");
        let place = place.index(text.len());
        let broken: String = text.char_indices().map(|(at, character)| {
            if at == place { with.to_owned() } else { character.to_string() }
        }).collect();
        let ours = crate::json::read_object(broken.as_bytes(), 64);
        let theirs = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&broken);
        match (&ours, &theirs) {
            // The differences: serde takes the last of two equal members, and converts each number.
            (Err(rejected), Ok(_)) => prop_assert_eq!(rejected.what(), "a member stands twice"),
            (Ok(_), Err(error)) => prop_assert!(error.to_string().contains("number out of range")),
            (Ok(_), Ok(_)) | (Err(_), Err(_)) => {}
        }
    }

    #[test]
    fn key_sets_never_panic(place: prop::sample::Index, with in any::<u8>(), length in 0_usize..20) {
        let mut text = sign::key_set(&[&KEYS.es256, &KEYS.rs256, &KEYS.eddsa]).into_bytes();
        let place = place.index(text.len());
        let end = text.len().min(place + length);
        text.splice(place..end, [with]);
        if let Ok((set, left_out)) = JwkSet::parse(&text) {
            prop_assert!(set.len() + left_out.len() <= 3);
        }
    }
}

/// JSON text of any value, numbers small enough for serde.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|truth| truth.to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        (NOW - 10..NOW + 1000).prop_map(|number| number.to_string()),
        (-1e9_f64..1e9).prop_map(|number| format!("{number:e}")),
        ".{0,12}".prop_map(|text| sign::quoted(&text)),
        Just(sign::quoted(AUDIENCE)),
        Just(sign::quoted(ISSUER)),
        Just("\"\\ud83d\\ude00\\u0000\"".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(", "))),
            prop::collection::btree_map("[a-z\\\\\"é]{0,3}", inner, 0..4).prop_map(|members| {
                let members: Vec<String> = members
                    .iter()
                    .map(|(name, value)| format!("{} : {value}", sign::quoted(name)))
                    .collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}
