//! What is JSON, what is not, and what it flattens to.

use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::Value;

use super::*;

#[track_caller]
fn check(body: &str, expected: &[&str]) {
    let read = read_body(
        BodyProcessor::Json,
        b"",
        Bytes::copy_from_slice(body.as_bytes()),
    );
    assert_eq!(read.error, None, "{body}");
    assert_eq!(shown(&read.arguments), expected, "{body}");
}

#[track_caller]
fn refuse(body: &[u8], error: &str) {
    let read = read_body(BodyProcessor::Json, b"", Bytes::copy_from_slice(body));
    let expected = format!("JSON: {error}");
    assert_eq!(
        read.error.as_deref(),
        Some(&*expected),
        "{}",
        body.escape_ascii()
    );
    assert!(serde_json::from_slice::<Value>(body).is_err());
}

#[test]
fn flattening() {
    check("{}", &[]);
    check("[]", &[]);
    check(r#"{"a":1}"#, &["json.a=1"]);
    check(r#"{"a":{"b":{"c":"d"}}}"#, &["json.a.b.c=d"]);
    check(
        r#"{"a":[1,2,[3]],"b":4}"#,
        &[
            "json.a.0=1",
            "json.a.1=2",
            "json.a.2.0=3",
            "json.a=",
            "json.b=4",
        ],
    );
    check(r#"[{"a":1},{"a":2}]"#, &["json.0.a=1", "json.1.a=2"]);
    check(r#"{"a":1,"a":2}"#, &["json.a=1", "json.a=2"]);
    check(
        r#"{"a":{},"b":[],"c":[{},[]]}"#,
        &["json.a=", "json.b=", "json.c.0=", "json.c.1=", "json.c="],
    );
    check(r#"{"":""}"#, &["json.="]);
    check(r#"{"a.b":1}"#, &["json.a.b=1"]);
    check(" [ 1 , 2 ]\r\n\t", &["json.0=1", "json.1=2"]);
    check("{ \"a\" : 1 , \"b\" : { } }", &["json.a=1", "json.b="]);
    check(
        &format!("[{}]", ["0"; 11].join(",")),
        &(0..11)
            .map(|i| format!("json.{i}=0"))
            .collect::<Vec<_>>()
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
    );
}

#[test]
fn scalars() {
    check("true", &["json=true"]);
    check("false", &["json=false"]);
    check("null", &["json=null"]);
    check("\"x\"", &["json=x"]);
    for number in [
        "0",
        "-0",
        "10",
        "1.5",
        "-1.5e10",
        "1E+2",
        "1e-2",
        "0.0",
        "123456789012345678901234567890",
    ] {
        check(number, &[&format!("json={number}")]);
    }
}

#[test]
fn strings() {
    check(r#""\"\\\/\b\f\n\r\t""#, &[r#"json=\"\\/\x08\x0c\n\r\t"#]);
    check(r#""\u0041\u00e9\u20AC""#, &[r"json=A\xc3\xa9\xe2\x82\xac"]);
    check(r#""\ud83d\ude00""#, &[r"json=\xf0\x9f\x98\x80"]);
    check(r#""\u0000""#, &[r"json=\x00"]);
    check("\"\u{e9}\u{7f}\"", &[r"json=\xc3\xa9\x7f"]);
    check(r#"{"\u0061\n":"x"}"#, &[r"json.a\n=x"]);
    // Halves of surrogate pairs stay to be seen.
    check(r#""a\ud83dz""#, &[r"json=a\\ud83dz"]);
    check(r#""\ude00\ud83d""#, &[r"json=\\ude00\\ud83d"]);
    check(
        r#""\ud83d\ud83d\ude00""#,
        &[r"json=\\ud83d\xf0\x9f\x98\x80"],
    );
    check(r#""\ud83dA""#, &[r"json=\\ud83dA"]);
}

#[test]
fn what_is_not_json() {
    refuse(b" ", "expected a value, found the end at byte 1");
    refuse(b"test", "expected `true`, `false` or `null` at byte 0");
    refuse(b"{", "expected a key in quotes at byte 1");
    refuse(b"[", "expected a value, found the end at byte 1");
    refuse(b"[1", "expected `,` or `]` at byte 2");
    refuse(b"[1}", "expected `,` or `]` at byte 2");
    refuse(b"{\"a\":1]", "expected `,` or `}` at byte 6");
    refuse(b"{\"a\"}", "expected `:` at byte 4");
    refuse(b"{\"a\":}", "expected a value at byte 5");
    refuse(b"{\"a\":1,}", "expected a key in quotes at byte 7");
    refuse(b"[1,]", "expected a value at byte 3");
    refuse(b"[,1]", "expected a value at byte 1");
    refuse(b"[1 2]", "expected `,` or `]` at byte 3");
    refuse(b"{a:1}", "expected a key in quotes at byte 1");
    refuse(b"{'a':1}", "expected a key in quotes at byte 1");
    refuse(b"1 2", "expected the end at byte 2");
    refuse(b"{}x", "expected the end at byte 2");
    refuse(b"[]]", "expected the end at byte 2");
    refuse(b"True", "expected a value at byte 0");
    refuse(b"tru", "expected `true`, `false` or `null` at byte 0");
    refuse(b"nullx", "expected the end at byte 4");
    refuse(b"/**/1", "expected a value at byte 0");
    refuse(b"\xef\xbb\xbf1", "expected a value at byte 0");
    refuse(b"\x0c1", "expected a value at byte 0");
    refuse(b"NaN", "expected a value at byte 0");
}

#[test]
fn what_is_no_number() {
    refuse(b"01", "expected the end at byte 1");
    refuse(b"-", "expected a digit at byte 1");
    refuse(b"-01", "expected the end at byte 2");
    refuse(b"+1", "expected a value at byte 0");
    refuse(b".5", "expected a value at byte 0");
    refuse(b"1.", "expected a digit at byte 2");
    refuse(b"1.e5", "expected a digit at byte 2");
    refuse(b"1e", "expected a digit at byte 2");
    refuse(b"1e+", "expected a digit at byte 3");
    refuse(b"1e+-1", "expected a digit at byte 3");
    refuse(b"0x10", "expected the end at byte 1");
}

#[test]
fn what_is_no_string() {
    refuse(b"\"", "string without end at byte 0");
    refuse(b"[\"a]", "string without end at byte 1");
    refuse(b"\"\\\"", "string without end at byte 0");
    refuse(b"\"\\x41\"", "invalid escape at byte 1");
    refuse(b"\"\\u12\"", "invalid escape at byte 1");
    refuse(b"\"\\u12g4\"", "invalid escape at byte 1");
    refuse(b"\"\\u+123\"", "invalid escape at byte 1");
    refuse(b"\"\\", "invalid escape at byte 1");
    refuse(b"\"a\nb\"", "control character in a string at byte 2");
    refuse(b"\"a\0\"", "control character in a string at byte 2");
    refuse(b"\"\xff\"", "invalid UTF-8 at byte 1");
}

#[test]
fn what_was_read_before_a_fault_stays() {
    let read = read_body(
        BodyProcessor::Json,
        b"",
        Bytes::from_static(b"{\"a\":\"x\",\"b\":\"\xff\",\"c\":3}"),
    );
    assert_eq!(
        shown(&read.arguments),
        ["json.a=x", r"json.b=\xff", "json.c=3"]
    );
    let read = read_body(
        BodyProcessor::Json,
        b"",
        Bytes::from_static(b"{\"a\":\"x\",}"),
    );
    assert_eq!(shown(&read.arguments), ["json.a=x"]);
}

#[test]
fn limits() {
    let limits = Limits {
        arguments: 2,
        depth: 2,
        parts: 1,
    };
    let said = |body: &str| {
        let (_, out) = collect(BodyProcessor::Json, "", body.as_bytes(), &limits);
        assert_eq!(out.flags.reqbody_processor_error, out.fault.is_some());
        out.fault.map(|fault| fault.to_string())
    };
    assert_eq!(said("[[1],2]"), None);
    assert_eq!(
        said("[[[1]]]").as_deref(),
        Some("JSON: nested deeper than the limit at byte 2")
    );
    assert_eq!(
        said("[1,2,3]").as_deref(),
        Some("JSON: more values than the limit at byte 6")
    );
    assert_eq!(
        said("[1,2,[]]").as_deref(),
        Some("JSON: more values than the limit at byte 7")
    );
}

#[test]
fn names_are_bounded() {
    let body = format!(
        "{{\"{}\":[{}]}}",
        "k".repeat(100_000),
        ["1"; 50_000].join(",")
    );
    let read = read_body(BodyProcessor::Json, b"", Bytes::from(body.clone()));
    assert!(
        read.error
            .unwrap()
            .starts_with("JSON: names longer than the limit")
    );
    assert!(read.written <= body.len() * 4 + (64 << 10));
}

#[test]
fn deep_nesting_does_not_recurse() {
    let body = [b"[".repeat(1_000_000), b"]".repeat(1_000_000)].concat();
    let limits = Limits {
        depth: usize::MAX,
        ..Limits::default()
    };
    let (_, out) = collect(BodyProcessor::Json, "", &body, &limits);
    assert_eq!((out.arguments.len(), out.fault), (1, None));
}

#[test]
fn a_megabyte_of_small_objects_stays_within_twice_its_size() {
    let mut body = String::from("[");
    for number in 0..53_648 {
        let comma = if number == 0 { "" } else { "," };
        write!(body, "{comma}{{\"key\":\"val{number:07}\"}}").unwrap();
    }
    body.push(']');
    let (store, out) = collect(BodyProcessor::Json, "", body.as_bytes(), &Limits::default());
    assert_eq!((out.arguments.len(), out.fault), (53_648, None));
    let memory = store.used() + out.arguments.len() * size_of::<crate::body::Argument>();
    assert!(memory <= 2 * body.len(), "{memory} for {}", body.len());
}

/// The tree walk that the flattening must be equal to.
fn walk(name: &str, value: &Value, top: bool, out: &mut Vec<String>) {
    let own = match value {
        Value::Object(members) if !members.is_empty() => {
            for (key, member) in members {
                let name = format!("{name}.{key}");
                walk(&name, member, false, out);
                // The array is seen by its own name once more.
                if member
                    .as_array()
                    .is_some_and(|elements| !elements.is_empty())
                {
                    out.push(format!("{}=", name.as_bytes().escape_ascii()));
                }
            }
            return;
        }
        Value::Array(elements) if !elements.is_empty() => {
            for (index, element) in elements.iter().enumerate() {
                walk(&format!("{name}.{index}"), element, false, out);
            }
            return;
        }
        Value::Object(_) | Value::Array(_) if top => return,
        Value::Object(_) | Value::Array(_) => String::new(),
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    };
    out.push(format!(
        "{}={}",
        name.as_bytes().escape_ascii(),
        own.as_bytes().escape_ascii()
    ));
}

fn documents() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[\\x00-\\x1f\"\\\\\u{1f600}a]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec(("[a-c.\"\\\\\n\u{e9}]{0,3}", inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn flattening_is_the_tree_walk(document in documents(), pretty: bool) {
        let text = if pretty {
            serde_json::to_string_pretty(&document).unwrap()
        } else {
            document.to_string()
        };
        let read = read_body(BodyProcessor::Json, b"", Bytes::from(text.clone()));
        let mut expected = Vec::new();
        walk("json", &document, true, &mut expected);
        prop_assert_eq!(read.error, None, "{}", text);
        prop_assert_eq!(shown(&read.arguments), expected);
    }

    #[test]
    fn accepts_what_serde_accepts(body in "[\\[\\]{},:\"a\\\\u0123d.e+\\- tfn]{0,12}") {
        let read = read_body(BodyProcessor::Json, b"", Bytes::from(body.clone()));
        let other = serde_json::from_str::<Value>(&body);
        // serde_json refuses halves of surrogate pairs and numbers beyond a double.
        if other.is_ok() {
            prop_assert_eq!(read.error, if body.is_empty() { Some(String::new()) } else { None });
        } else if read.error.is_none() && !body.is_empty() {
            let why = other.unwrap_err().to_string();
            prop_assert!(why.contains("surrogate") || why.contains("hex escape") || why.contains("out of range"), "{}: {}", body, why);
        }
    }

    #[test]
    fn any_bytes_are_survived(body: Vec<u8>) {
        let read = read_body(BodyProcessor::Json, b"", Bytes::from(body.clone()));
        if !body.is_empty() && serde_json::from_slice::<Value>(&body).is_ok() {
            prop_assert_eq!(read.error, None);
        }
    }
}
