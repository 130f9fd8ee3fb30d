//! What the reader of YAML and JSON files gives, and what it refuses.

use proptest::prelude::*;

use super::{Format, Node, Sources, Value, read, read_partly};
use crate::diagnostic::Diagnostic;

/// One line of JSON for a tree, with strings and numbers as they are held.
fn show(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".into(),
        Value::Bool(value) => value.to_string(),
        Value::Number(text) => text.to_string(),
        Value::String(text) => format!("{text:?}"),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(show).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(members) => {
            let members: Vec<_> = members
                .iter()
                .map(|member| format!("{:?}:{}", member.key, show(&member.value)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
    }
}

fn parse(text: &str, format: Format) -> Result<Node, Vec<Diagnostic>> {
    let mut sources = Sources::default();
    let id = sources.add("file", text);
    read(id, &sources, format)
}

#[track_caller]
fn yaml(text: &str, expect: &str) {
    match parse(text, Format::Yaml) {
        Ok(node) => assert_eq!(show(&node), expect, "{text:?}"),
        Err(diagnostics) => panic!("{text:?}: {diagnostics:?}"),
    }
}

#[track_caller]
fn json(text: &str, expect: &str) {
    match parse(text, Format::Json) {
        Ok(node) => assert_eq!(show(&node), expect, "{text:?}"),
        Err(diagnostics) => panic!("{text:?}: {diagnostics:?}"),
    }
}

/// `place` is `line:column` of the first diagnostic; `message` is part of it.
#[track_caller]
fn refused(text: &str, format: Format, place: &str, message: &str) {
    let mut sources = Sources::default();
    let id = sources.add("file", text);
    let diagnostics = read(id, &sources, format).expect_err(text);
    let first = &diagnostics[0];
    let position = sources.position(first.span.expect("a place")).unwrap();
    let found = format!("{}:{}", position.line, position.column);
    assert_eq!(found, place, "{text:?}: {first:?}");
    assert!(first.message.contains(message), "{text:?}: {first:?}");
}

#[track_caller]
fn yaml_refused(text: &str, place: &str, message: &str) {
    refused(text, Format::Yaml, place, message);
}

#[track_caller]
fn json_refused(text: &str, place: &str, message: &str) {
    refused(text, Format::Json, place, message);
}

#[test]
fn yaml_scalars_follow_the_core_schema() {
    yaml("on", r#""on""#);
    yaml(
        "[no, yes, off, y, n, On, NO]",
        r#"["no","yes","off","y","n","On","NO"]"#,
    );
    yaml(
        "[true, True, TRUE, false, tRUE]",
        r#"[true,true,true,false,"tRUE"]"#,
    );
    yaml(
        "[null, Null, NULL, ~, nULL]",
        r#"[null,null,null,null,"nULL"]"#,
    );
    yaml(
        "[1.10, 0, -0, 12, 1e3, 1E-5, -1.5e+3]",
        "[1.10,0,-0,12,1e3,1E-5,-1.5e+3]",
    );
    yaml(
        "[+5, .5, -.5, 5., 007, +0.10, -01.e2]",
        "[5,0.5,-0.5,5.0,7,0.10,-1.0e2]",
    );
    yaml(
        "[0x1F, 0o17, 0xFFFFFFFFFFFFFFFFFF]",
        "[31,15,4722366482869645213695]",
    );
    yaml(
        "[0xZZ, 0o9, 0x, +, ., 1_000, 1e, 0b1]",
        r#"["0xZZ","0o9","0x","+",".","1_000","1e","0b1"]"#,
    );
    yaml(
        "[\"1.2\", '5', \"true\", 'null']",
        r#"["1.2","5","true","null"]"#,
    );
    yaml(
        "[2024-01-01, 10s, 1.2.3, 10.0.0.1, 12:30:45]",
        r#"["2024-01-01","10s","1.2.3","10.0.0.1","12:30:45"]"#,
    );
    yaml("a:", r#"{"a":null}"#);
    yaml("", "null");
    yaml("# nothing\n", "null");
    yaml(
        "[!!str 5, !!int '5', !!float 5, !!bool \"true\", !!null '', ! 5]",
        r#"["5",5,5,true,null,"5"]"#,
    );
    yaml(
        "a: |\n  x\n  y\nb: >-\n  x\n  y\n",
        r#"{"a":"x\ny\n","b":"x y"}"#,
    );
    yaml("\u{feff}a: 1", r#"{"a":1}"#);
    yaml("a: 1\r\nb: ü\r\n", r#"{"a":1,"b":"ü"}"#);
    yaml("--- \na: 1\n...\n", r#"{"a":1}"#);
}

#[test]
fn yaml_scalars_that_are_refused() {
    yaml_refused("a: .inf", "1:4", "not a number that JSON has");
    yaml_refused("a: -.INF", "1:4", "not a number that JSON has");
    yaml_refused("a: .nan", "1:4", "not a number that JSON has");
    yaml_refused(&format!("a: 0x1{}", "0".repeat(40)), "1:4", "too large");
    yaml_refused("a: !secret x", "1:4", "tag `!secret` is not supported");
    yaml_refused("a: !!binary x", "1:4", "tag `!!binary` is not supported");
    yaml_refused("a: !!int x", "1:4", "`x` is not `!!int`");
    yaml_refused("a: !!set {x}", "1:4", "tag `!!set` is not supported");
    yaml_refused("a: \"\0\"", "1:5", "control character U+0000");
    yaml_refused("a: b\u{7}", "1:5", "control character U+0007");
}

#[test]
fn yaml_keys_are_text() {
    yaml(
        "200: a\ntrue: b\non: c\n1.10: d\nnull: e",
        r#"{"200":"a","true":"b","on":"c","1.10":"d","null":"e"}"#,
    );
    yaml("? a\n: b", r#"{"a":"b"}"#);
    yaml("{a, b: 1}", r#"{"a":null,"b":1}"#);
    yaml("[a: 1]", r#"[{"a":1}]"#);
    yaml_refused("{a: 1}: b", "1:1", "a list or object cannot be a key");
    yaml_refused("x: {{name}}", "1:5", "a list or object cannot be a key");
    yaml_refused("? [a]\n: b", "1:3", "a list or object cannot be a key");
    yaml_refused(": b", "1:1", "a key is missing");
}

#[test]
fn yaml_duplicate_keys_are_refused_with_both_places() {
    yaml_refused("a: 1\nb: 2\na: 3", "3:1", "duplicate key `a`");
    yaml_refused("200: 1\n\"200\": 2", "2:1", "duplicate key `200`");
    yaml_refused("x: {a: 1, a: 2}", "1:11", "duplicate key `a`");
    let many: String = (0..40).map(|n| format!("k{n}: 1\n")).collect();
    yaml_refused(&format!("{many}k3: 1\n"), "41:1", "duplicate key `k3`");
    let diagnostics = parse("ü: 1\n ", Format::Yaml).map(|_| ()).err();
    assert_eq!(diagnostics, None);
    let found = parse("b: 1\nx: {a: 1, a: 2}\nb: 2", Format::Yaml).unwrap_err();
    assert_eq!(found.len(), 2);
    assert!(
        found[0].help.as_deref().unwrap().contains("2:5"),
        "{found:?}"
    );
    assert!(
        found[1].help.as_deref().unwrap().contains("1:1"),
        "{found:?}"
    );
}

#[test]
fn yaml_anchors_and_merge_keys() {
    yaml("a: &x 1\nb: *x", r#"{"a":1,"b":1}"#);
    yaml("a: &x {k: [1]}\nb: *x", r#"{"a":{"k":[1]},"b":{"k":[1]}}"#);
    yaml(
        "a: &x {k: 1, l: 2}\nb: {<<: *x, k: 3}",
        r#"{"a":{"k":1,"l":2},"b":{"k":3,"l":2}}"#,
    );
    yaml("b: {k: 3, <<: {k: 1, l: 2}}", r#"{"b":{"k":3,"l":2}}"#);
    yaml("b: {<<: [{k: 1}, {k: 2, l: 2}]}", r#"{"b":{"k":1,"l":2}}"#);
    yaml("b: {\"<<\": 1}", r#"{"b":{"<<":1}}"#);
    yaml("&k a: 1\nb: *k", r#"{"a":1,"b":"a"}"#);
    yaml("a: &x k\n*x : 1", r#"{"a":"k","k":1}"#);
    yaml_refused("a: *x", "1:4", "unknown anchor");
    yaml_refused("a: &x [*x]", "1:8", "without end");
    yaml_refused("a: {<<: 5}", "1:9", "`<<` merges objects");
    yaml_refused("a: {<<: [5]}", "1:10", "`<<` merges objects");
    yaml_refused("a: &x [1]\n*x : 1", "2:1", "names no string");
    let mut laughs = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for n in 1..10 {
        let alias = format!("*a{}, ", n - 1).repeat(10);
        laughs.push_str(&format!("a{n}: &a{n} [{alias}]\n"));
    }
    let found = parse(&laughs, Format::Yaml).unwrap_err();
    assert!(
        found[0].message.contains("unfold to more than"),
        "{found:?}"
    );
    let mut deep = String::from("a0: &a0 [1]\n");
    for n in 1..250 {
        deep.push_str(&format!("a{n}: &a{n} [*a{}]\n", n - 1));
    }
    let found = parse(&deep, Format::Yaml).unwrap_err();
    assert!(found[0].message.contains("nested deeper"), "{found:?}");
}

#[test]
fn yaml_syntax_errors_have_their_place() {
    yaml_refused("a: b: c", "1:5", "not valid YAML");
    yaml_refused("a:\n\t- b", "2:1", "not valid YAML");
    yaml_refused("a: [1, 2", "1:9", "not valid YAML");
    yaml_refused("a: @b", "1:4", "not valid YAML");
    yaml_refused("a: 1\n b: 2", "2:3", "not valid YAML");
    yaml_refused("a: \"x", "1:4", "not valid YAML");
    yaml_refused("ü: \"é\" x", "1:8", "not valid YAML");
    yaml_refused("a: 1\n---\nb: 2", "2:1", "a second document");
    yaml_refused("a: 1\n---\n", "2:1", "a second document");
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    for format in [Format::Json, Format::Yaml] {
        assert!(parse(&nested(200), format).is_ok(), "{format:?}");
        let found = parse(&nested(201), format).unwrap_err();
        assert!(
            found[0].message.contains("nested deeper than 200"),
            "{found:?}"
        );
        assert!(parse(&"[".repeat(1_000_000), format).is_err(), "{format:?}");
    }
    let block: String = (0..250).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
    let found = parse(&block, Format::Yaml).unwrap_err();
    assert!(
        found[0].message.contains("nested deeper than 200"),
        "{found:?}"
    );
}

#[test]
fn json_values() {
    json(
        r#"{"a":[1,-2.50,1e9,true,false,null,"x"]}"#,
        r#"{"a":[1,-2.50,1e9,true,false,null,"x"]}"#,
    );
    json(" [ ] ", "[]");
    json("{ }", "{}");
    json(
        r#""\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é""#,
        r#""\"\\/\u{8}\u{c}\n\r\té😀é""#,
    );
    json("\u{feff}1", "1");
    json("[1.10, 0.0, -0, 1E+2]", "[1.10,0.0,-0,1E+2]");
}

#[test]
fn json_that_is_refused() {
    json_refused("", "1:1", "found the end of the file");
    json_refused("{", "1:2", "a key in double quotes");
    json_refused("[1,]", "1:4", "expected a value, found `]`");
    json_refused(r#"{"a":1,}"#, "1:8", "a key in double quotes");
    json_refused("{'a':1}", "1:2", "a key in double quotes");
    json_refused("{\"ü\":1} x", "1:9", "expected the end of the file");
    json_refused("[01]", "1:3", "the end of the number");
    json_refused("[1.]", "1:4", "a digit");
    json_refused("[.5]", "1:2", "a value");
    json_refused("[+5]", "1:2", "a value");
    json_refused("[-]", "1:3", "a digit");
    json_refused("[1e]", "1:4", "a digit");
    json_refused("[0x1]", "1:3", "the end of the number");
    json_refused("[nul]", "1:2", "a value");
    json_refused("[truex]", "1:6", "nothing after `true`");
    json_refused("[NaN]", "1:2", "a value");
    json_refused("// x\n1", "1:1", "a value");
    json_refused("\"x", "1:1", "no end");
    json_refused("\"a\nb\"", "1:3", "line break");
    json_refused(r#""\x""#, "1:2", "unknown escape");
    json_refused(r#""\ud800""#, "1:2", "unknown escape");
    json_refused(r#""\ud800\u0041""#, "1:2", "unknown escape");
    json_refused(r#""\udc00""#, "1:2", "unknown escape");
    json_refused(r#""\u12""#, "1:2", "unknown escape");
    json_refused(r#""\u+123""#, "1:2", "unknown escape");
    json_refused(r#"{"a":1,"\u0061":2}"#, "1:8", "duplicate key `a`");
    json_refused(r#"{"a":1 "b":2}"#, "1:8", "`,` or `}`");
    json_refused("[1 2]", "1:4", "`,` or `]`");
    json_refused(r#"{"a" 1}"#, "1:6", "`:`");
    let many: String = (0..40).map(|n| format!("\"k{n}\":1,\n")).collect();
    json_refused(
        &format!("{{{many}\"k30\":1}}"),
        "41:1",
        "duplicate key `k30`",
    );
}

#[test]
fn the_format_is_found() {
    #[track_caller]
    fn auto(name: &str, text: &str, expect: &str) {
        let mut sources = Sources::default();
        let id = sources.add(name, text);
        let found = match read(id, &sources, Format::Auto) {
            Ok(node) => show(&node),
            Err(diagnostics) => diagnostics[0].message.clone(),
        };
        assert!(found.starts_with(expect), "{name} {text:?}: {found}");
    }
    auto("x.yaml", "a: 1", r#"{"a":1}"#);
    auto("x.yaml", "{a: 1}", r#"{"a":1}"#);
    auto("x.yaml", r#"{"a": "\/"}"#, r#"{"a":"/"}"#);
    auto("x", r#"  {"a":1}"#, r#"{"a":1}"#);
    auto("x", "[a, b]", r#"["a","b"]"#);
    auto("x.json", "a: 1", "not valid JSON");
    auto("x.JSON", "{a: 1}", "not valid JSON");
    auto("x.yaml", "{a: 1", "not valid YAML");
    auto("x", r#"{"a": 1,, }"#, "not valid JSON");
}

#[test]
fn mistakes_do_not_hide_the_tree() {
    let mut sources = Sources::default();
    let id = sources.add("file", "a: 1\na: 2\nb: .inf\n");
    let (node, diagnostics) = read_partly(id, &sources, Format::Yaml);
    assert_eq!(show(&node.unwrap()), r#"{"a":1,"b":".inf"}"#);
    assert_eq!(diagnostics.len(), 2);
}

/// Each node's slice of the source, read again, is the same node.
fn check_spans(text: &str, node: &Node, format: Format) {
    let slice = text
        .get(node.span.bytes())
        .expect("a span on character boundaries");
    if !matches!(node.value, Value::Null) || !slice.is_empty() {
        // A block that is not the first thing on its line keeps its indentation.
        let before = text.get(..node.span.bytes().start).unwrap();
        let indent = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count();
        let alone = match format {
            Format::Yaml => format!("{}{slice}\n", " ".repeat(indent)),
            Format::Json | Format::Auto => slice.into(),
        };
        let again = parse(&alone, format).map(|node| show(&node));
        assert_eq!(again, Ok(show(node)), "{slice:?} in {text:?}");
    }
    for item in node.items() {
        check_spans(text, item, format);
    }
    for member in node.members() {
        let key = text.get(member.key_span.bytes()).unwrap();
        if key.starts_with(['"', '\'']) {
            assert_eq!(parse(key, format).unwrap().as_str(), Some(&*member.key));
        } else {
            assert_eq!(key, &*member.key);
        }
        check_spans(text, &member.value, format);
    }
}

#[test]
fn spans_read_back() {
    for text in [
        include_str!("../config/whole.yaml"),
        "a: 1\nb:\n  c: [x, \"ü\", {d: e}]\n  f: 'g'\nh:\n- i\n- j: k\n  l: m\n",
        "ü: é   # comment\n日本:\n  語: 😀 x y  \n  z: \"😀\"\r\nq: 1\r\n",
        "a : [ 1 , \"x\" , 'y' , [] ] # c\n\"b\" : { \"c\" : d } \ne: \"f\" # g\n",
        "a:\n- - x\n  - - y\n    - z\n-\n  - b # - c\nd: # - e\n- f\n? g\n: - h\n",
        "a: plain\n  goes on\nb: \"x\n  y\"\nc: &n [1]\nd: !!str 5\n",
        "\n\n# c\na:\n\n  b: 1\n\n  # c\n\nd:\n  - e\n\n",
    ] {
        check_spans(text, &parse(text, Format::Yaml).unwrap(), Format::Yaml);
    }
    let text = "a: |\n  text\n  more\n\nb: >-  # c\n  folded\n  x\nc: 1\n";
    let node = parse(text, Format::Yaml).unwrap();
    let slice = |key| text.get(node.get(key).unwrap().span.bytes()).unwrap();
    assert_eq!(slice("a").trim_end(), "text\n  more");
    assert_eq!(slice("b").trim_end(), "folded\n  x");
    let text = "a: \"f\" # \"g\nb: 'it''s' # 's\nc: &x !!str \"\\\"\" # \"\nd: [1] # [\ne: p # q\nf: [u # v\n  ]\ng: {x: y} # }\n";
    let node = parse(text, Format::Yaml).unwrap();
    let slices: Vec<_> = node
        .members()
        .iter()
        .map(|member| text.get(member.value.span.bytes()).unwrap())
        .collect();
    assert_eq!(
        slices,
        [
            r#""f""#,
            "'it''s'",
            r#"&x !!str "\"""#,
            "[1]",
            "p",
            "[u # v\n  ]",
            "{x: y}"
        ]
    );
    let text = " {\"a\" : [1, 2.5e3 , \"é\\n\", {}, []], \"ü\":null}\n";
    check_spans(text, &parse(text, Format::Json).unwrap(), Format::Json);
    let mut sources = Sources::default();
    let id = sources.add("file", "\u{feff}é: ü\nb: x");
    let node = read(id, &sources, Format::Yaml).unwrap();
    let position = sources.position(node.get("b").unwrap().span).unwrap();
    assert_eq!((position.line, position.column), (2, 4));
    let position = sources.position(node.get("é").unwrap().span).unwrap();
    assert_eq!((position.line, position.column), (1, 4));
}

fn json_text() -> impl Strategy<Value = String> {
    let quoted = |text: String| format!("\"{text}\"");
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,12})(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,3})?",
        "([a-zA-Z0-9 :#,{}&*!|>%@'éü日😀\\[\\]-]|\\\\n|\\\\\"|\\\\u00[0-7][0-9]){0,12}"
            .prop_map(quoted),
    ];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6)
                .prop_map(|items| format!("[{}]", items.join(", "))),
            proptest::collection::btree_map("[a-zéü ]{0,6}", inner, 0..6).prop_map(|members| {
                let members: Vec<_> = members
                    .iter()
                    .map(|(key, value)| format!("\"{key}\": {value}"))
                    .collect();
                format!("{{{}}}", members.join(",\n "))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn nothing_makes_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let text = String::from_utf8_lossy(&bytes);
        for format in [Format::Auto, Format::Json, Format::Yaml] {
            prop_assert!(parse(&text, format).map_or_else(|found| !found.is_empty(), |_| true));
        }
    }

    #[test]
    fn nothing_like_yaml_makes_a_reader_panic(text in "([ab:\\-\\[\\]{}&*!|>'\"#,?%@~.é \\n\\r\\t]|<<: |\\*a|&a |- |: |  |---|\\.\\.\\.|\n  ){0,40}") {
        if let Ok(node) = parse(&text, Format::Yaml) {
            prop_assert!(text.get(node.span.bytes()).is_some());
        }
    }

    #[test]
    fn json_is_read_alike_as_json_and_as_yaml(text in json_text()) {
        let as_json = parse(&text, Format::Json).unwrap();
        let as_yaml = parse(&text, Format::Yaml).unwrap();
        prop_assert_eq!(show(&as_json), show(&as_yaml));
        check_spans(&text, &as_json, Format::Json);
    }
}
