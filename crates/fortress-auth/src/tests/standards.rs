//! The examples of the RFCs: 7515 (appendix A), 7520 (section 4) and 8037 (appendix A.4).
//!
//! Their payloads are not access tokens of ours (some are prose), so that each is refused for
//! what it says. Since a signature is checked before the payload is read, that very refusal
//! proves that it verified; with one bit changed the refusal is another.

use serde_json::Value;

use super::*;

const EXAMPLES: &str = include_str!("data/rfc.json");

fn judge(example: &Value, token: &str) -> String {
    let key = example.get("key").expect("a key");
    let set = set(&format!("{{\"keys\":[{key}]}}"));
    // The examples of RFC 7515 are from a time before they expired in 2011.
    let expected = Expectations {
        issuer: "joe".into(),
        ..expectations()
    };
    Verifier::new(expected)
        .verify(token, &set, at(1_300_819_000))
        .expect_err("no token for us")
        .to_string()
}

#[test]
fn examples_of_the_standards() {
    let examples: Vec<Value> = serde_json::from_str(EXAMPLES).expect("JSON");
    assert_eq!(examples.len(), 7);
    for example in &examples {
        let member = |name: &str| example.get(name).and_then(Value::as_str).expect("a string");
        let (name, token) = (member("name"), member("token"));
        let expected = match name {
            "RFC 7515, appendix A.2" | "RFC 7515, appendix A.3" => "the token has no `aud`",
            _ => "the token's payload is malformed: not an object",
        };
        assert_eq!(judge(example, token), expected, "{name}");

        let wrong = "the token's signature does not verify";
        let (signed, signature) = token.rsplit_once('.').expect("three parts");
        let (header, payload) = signed.split_once('.').expect("three parts");
        let swapped = |text: &str| {
            let mut bytes = text.to_owned().into_bytes();
            bytes.swap(2, 3);
            bytes[0] = if bytes[0] == b'B' { b'C' } else { b'B' };
            String::from_utf8(bytes).expect("ASCII")
        };
        let changed = format!("{header}.{payload}.{}", swapped(signature));
        assert_eq!(judge(example, &changed), wrong, "{name}");
        let changed = format!("{header}.{}.{signature}", swapped(payload));
        assert_eq!(judge(example, &changed), wrong, "{name}");
    }
}
