//! What is XML, what is refused, and what rules see of it.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(body: &str, texts: &[&str], attributes: &[&str]) {
    let read = read_body(
        BodyProcessor::Xml,
        b"",
        Bytes::copy_from_slice(body.as_bytes()),
    );
    let shown = |texts: &[Vec<u8>]| -> Vec<String> {
        texts
            .iter()
            .map(|text| text.escape_ascii().to_string())
            .collect()
    };
    assert_eq!(read.error, None, "{body}");
    assert_eq!(shown(&read.xml_texts), texts, "{body}");
    assert_eq!(shown(&read.xml_attributes), attributes, "{body}");
}

#[track_caller]
fn refuse(body: &[u8], error: &str) {
    let read = read_body(BodyProcessor::Xml, b"", Bytes::copy_from_slice(body));
    let expected = format!("XML: {error}");
    assert_eq!(
        read.error.as_deref(),
        Some(&*expected),
        "{}",
        body.escape_ascii()
    );
}

#[test]
fn texts_and_attributes() {
    check("<a/>", &[], &[]);
    check("<a>x</a>", &["x"], &[]);
    check("<a> x y\n</a >", &["x y"], &[]);
    check("<a>x<b>y</b>z</a>", &["x", "y", "z"], &[]);
    check("<a>\n <b/>\n</a>", &[], &[]);
    check("<a b='c' d = \"e'f\"/>", &[], &["c", "e\\'f"]);
    check("<a b=''/>", &[], &[]);
    check("<a b='>'>x</a>", &["x"], &[">"]);
    check("<n:a xmlns:n='u' _x.y-1='v'/>", &[], &["u", "v"]);
    check("<\u{e9}>x</\u{e9}>", &["x"], &[]);
    check("\u{feff}<a>x</a>", &["x"], &[]);
    check("\n<a>x</a>\n<!-- y --><?z y?>", &["x"], &[]);
}

#[test]
fn references() {
    check("<a>&lt;&gt;&amp;&quot;&apos;</a>", &["<>&\\\"\\'"], &[]);
    check(
        "<a>x&#65;&#x42;&#x1F600;y</a>",
        &["xAB\\xf0\\x9f\\x98\\x80y"],
        &[],
    );
    check("<a b='&#65;&amp;'/>", &[], &["A&"]);
    check("<a b='&#65;'>&#66;</a>", &["B"], &["A"]);
    check("<a>&#32;&#9;x</a>", &["x"], &[]);
    check("<a>&amp;lt;</a>", &["&lt;"], &[]);
    refuse(
        b"<a>&nbsp;</a>",
        "an entity that is not predefined at byte 3",
    );
    refuse(b"<a>x & y</a>", "`&` without `;` at byte 5");
    refuse(b"<a>&amp</a>;", "`&` without `;` at byte 3");
    refuse(b"<a>&#0;</a>", "a reference to no character at byte 3");
    refuse(b"<a>&#x8;</a>", "a reference to no character at byte 3");
    refuse(b"<a>&#xD800;</a>", "a reference to no character at byte 3");
    refuse(
        b"<a>&#x110000;</a>",
        "a reference to no character at byte 3",
    );
    refuse(b"<a>&#;</a>", "a reference to no character at byte 3");
    refuse(b"<a>&#+65;</a>", "a reference to no character at byte 3");
    refuse(b"<a>&;</a>", "an entity that is not predefined at byte 3");
    refuse(
        b"<a b='&x;'/>",
        "an entity that is not predefined at byte 6",
    );
}

#[test]
fn what_does_not_end_a_text() {
    check("<a>sel<!-- x -->ect</a>", &["select"], &[]);
    check("<a>sel<?x y?>ect</a>", &["select"], &[]);
    check("<a>sel<![CDATA[ec]]>t</a>", &["select"], &[]);
    check("<a><![CDATA[<b>&amp;]]></a>", &["<b>&amp;"], &[]);
    check("<a><![CDATA[]]></a>", &[], &[]);
    check("<a><![CDATA[]]]]><![CDATA[>]]></a>", &["]]>"], &[]);
    check("<a>x<b>sel<!---->ect</b>y</a>", &["x", "select", "y"], &[]);
    refuse(
        b"<a><![CDATA[x]]</a>",
        "CDATA section without end at byte 12",
    );
    refuse(b"<a>]]></a>", "`]]>` in text at byte 3");
    refuse(b"<a><!-- x</a>", "comment without end at byte 7");
    refuse(b"<a><!-- x -- y --></a>", "`--` in a comment at byte 10");
    refuse(b"<a><!-- x ---></a>", "`--` in a comment at byte 10");
    refuse(b"<a><?x y</a>", "instruction without end at byte 6");
    refuse(
        b"<a><?xml version='1.0'?></a>",
        "XML declaration not at the beginning at byte 5",
    );
    refuse(b"<![CDATA[x]]>", "expected a name at byte 1");
}

#[test]
fn the_declaration() {
    check("<?xml version='1.0'?><a/>", &[], &[]);
    check(
        "<?xml version=\"1.0\" encoding=\"utf-8\" standalone='yes' ?>\n<a/>",
        &[],
        &[],
    );
    check("<?xml version='1.1' encoding='ISO-8859-15'?><a/>", &[], &[]);
    check(
        "<?xml version='1.0' encoding='Windows-1252'?><a/>",
        &[],
        &[],
    );
    check("<?xml-stylesheet href='x'?><a/>", &[], &[]);
    refuse(
        b" <?xml version='1.0'?><a/>",
        "XML declaration not at the beginning at byte 3",
    );
    refuse(
        b"<?xml version='2.0'?><a/>",
        "expected the XML version 1.0 or 1.1 at byte 19",
    );
    refuse(
        b"<?xml encoding='utf-8'?><a/>",
        "expected the XML version 1.0 or 1.1 at byte 5",
    );
    refuse(
        b"<?xml version='1.0' encoding='utf-7'?><a/>",
        "an encoding that is not looked at at byte 36",
    );
    refuse(
        b"<?xml version='1.0' encoding='UTF-16'?><a/>",
        "an encoding that is not looked at at byte 37",
    );
    refuse(
        b"<?xml version='1.0' x='y'?><a/>",
        "expected `?>` at byte 20",
    );
    refuse(
        b"<?xml version='1.0' standalone='x'?><a/>",
        "expected `yes` or `no` at byte 34",
    );
    refuse(
        b"<?xml version='1.0><a/>",
        "attribute without end at byte 20",
    );
    refuse(b"<?xml version=1.0?><a/>", "expected a quote at byte 15");
    refuse(b"<?xml version?><a/>", "expected `=` at byte 13");
    refuse(
        b"\xff\xfe<\0a\0/\0>\0",
        "expected the root element at byte 0",
    );
    refuse(b"<a>\xff</a>", "invalid UTF-8 at byte 3");
    let latin = b"<?xml version='1.0' encoding='iso-8859-1'?><a>\xff</a>";
    assert_eq!(
        read_body(BodyProcessor::Xml, b"", Bytes::from_static(latin)).error,
        None
    );
}

#[test]
fn document_types() {
    check("<!DOCTYPE a><a>x</a>", &["x"], &[]);
    let refused = "a document type that could define entities at byte 0";
    refuse(b"<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", refused);
    refuse(b"<!DOCTYPE a []><a/>", refused);
    refuse(b"<!DOCTYPE a[]><a/>", refused);
    refuse(b"<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>", refused);
    refuse(b"<!DOCTYPE a PUBLIC 'x' 'y'><a/>", refused);
    refuse(b"<!DOCTYPEa><a/>", refused);
    refuse(
        b"<!DOCTYPE a><!DOCTYPE a><a/>",
        "a document type out of its place at byte 12",
    );
    refuse(
        b"<a/><!DOCTYPE a>",
        "a document type out of its place at byte 4",
    );
    refuse(b"<a><!DOCTYPE a></a>", "expected a name at byte 4");
    refuse(b"<!ENTITY x 'y'><a/>", "expected a name at byte 1");
}

#[test]
fn what_is_not_well_formed() {
    refuse(b"x", "expected the root element at byte 0");
    refuse(b" ", "expected the root element at byte 1");
    refuse(b"<", "expected a name at byte 1");
    refuse(b"<a", "expected white space, `>` or `/>` at byte 2");
    refuse(b"<a>", "an element has no end at byte 3");
    refuse(b"<a>x", "an element has no end at byte 4");
    refuse(b"<a></b>", "an end tag without its start tag at byte 5");
    refuse(
        b"<a><b></a></b>",
        "an end tag without its start tag at byte 8",
    );
    refuse(b"<a></a></a>", "content after the root element at byte 7");
    refuse(b"</a>", "expected a name at byte 1");
    refuse(b"<a/><b/>", "content after the root element at byte 4");
    refuse(b"<a/>x", "content after the root element at byte 4");
    refuse(b"< a/>", "expected a name at byte 1");
    refuse(b"<1/>", "expected a name at byte 1");
    refuse(b"<a></a x>", "expected `>` at byte 7");
    refuse(b"<a / >", "expected a name at byte 3");
    refuse(b"<a b/>", "expected `=` at byte 4");
    refuse(b"<a b=c/>", "expected a quote at byte 6");
    refuse(b"<a b='c/>", "attribute without end at byte 6");
    refuse(
        b"<a b='c'd='e'/>",
        "expected white space, `>` or `/>` at byte 8",
    );
    refuse(b"<a b='<'/>", "`<` in an attribute at byte 6");
    refuse(b"<a>\0</a>", "control character at byte 3");
    refuse(b"<a b='\x01'/>", "control character at byte 6");
    refuse(b"<a><?x!?></a>", "expected white space or `?>` at byte 6");
}

#[test]
fn limits() {
    let limits = Limits {
        arguments: 2,
        depth: 2,
        parts: 1,
    };
    let said = |body: &str| {
        let (_, out) = collect(BodyProcessor::Xml, "", body.as_bytes(), &limits);
        assert_eq!(out.flags.reqbody_processor_error, out.fault.is_some());
        out.fault.map(|fault| fault.what)
    };
    assert_eq!(said("<a b='c'><b>x</b></a>"), None);
    assert_eq!(
        said("<a><b><c>x</c></b></a>"),
        Some("nested deeper than the limit")
    );
    assert_eq!(
        said("<a b='c' d='e' f='g'/>"),
        Some("more texts and attributes than the limit")
    );
    assert_eq!(
        said("<a b='c' d='e'>x</a>"),
        Some("more texts and attributes than the limit")
    );
}

#[test]
fn what_stands_there_is_not_copied() {
    let read = read_body(
        BodyProcessor::Xml,
        b"",
        Bytes::from_static(b"<a b='c'>x<!--y--></a>"),
    );
    assert_eq!(read.written, 0);
}

#[test]
fn what_was_read_before_a_fault_stays() {
    let read = read_body(
        BodyProcessor::Xml,
        b"",
        Bytes::from_static(b"<a b='c'>x<b>y&z;"),
    );
    assert_eq!(read.xml_texts, [b"x".to_vec(), b"y".to_vec()]);
    assert_eq!(read.xml_attributes, [b"c".to_vec()]);
}

/// What another reader makes of a document: its texts by the same rule, its attributes.
fn read_otherwise(body: &str) -> Option<(Vec<String>, Vec<String>)> {
    use quick_xml::{Reader, XmlVersion, events::Event};
    let mut reader = Reader::from_str(body);
    reader.config_mut().check_comments = true;
    let (mut texts, mut attributes, mut run) = (Vec::new(), Vec::new(), String::new());
    let mut end = |run: &mut String| {
        let text = run.trim_matches([' ', '\t', '\n', '\r', '\x0c']).to_owned();
        if !text.is_empty() {
            texts.push(text);
        }
        run.clear();
    };
    loop {
        match reader.read_event().ok()? {
            Event::Eof => break,
            Event::Start(tag) | Event::Empty(tag) => {
                end(&mut run);
                for attribute in tag.attributes() {
                    let value = attribute
                        .ok()?
                        .normalized_value(XmlVersion::Implicit1_0)
                        .ok()?
                        .into_owned();
                    if !value.is_empty() {
                        attributes.push(value);
                    }
                }
            }
            Event::End(_) => end(&mut run),
            Event::Text(text) => run.push_str(&text.decode().ok()?),
            Event::CData(text) => run.push_str(&text.decode().ok()?),
            Event::GeneralRef(name) => match name.resolve_char_ref().ok()? {
                Some(character) => run.push(character),
                None => run.push_str(quick_xml::escape::resolve_predefined_entity(
                    &name.decode().ok()?,
                )?),
            },
            Event::Comment(_) | Event::PI(_) | Event::Decl(_) | Event::DocType(_) => {}
        }
    }
    Some((texts, attributes))
}

fn elements() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "[a-z &&[^&]]{0,6}",
        Just("&lt;".to_owned()),
        Just("&#x41;".to_owned()),
        Just("<!-- c -->".to_owned()),
        Just("<?p i?>".to_owned()),
        Just("<![CDATA[<&]]>".to_owned()),
        Just("<e f='g&amp;h' i=\"j\"/>".to_owned()),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop::collection::vec(inner, 0..6)
            .prop_map(|inner| format!("<a b='c'>{}</a>", inner.concat()))
    })
}

proptest! {
    #[test]
    fn reads_as_another_reader_does(inner in elements()) {
        let body = format!("<r>{inner}</r>");
        let read = read_body(BodyProcessor::Xml, b"", Bytes::from(body.clone()));
        let (texts, attributes) = read_otherwise(&body).unwrap();
        let own = |texts: Vec<Vec<u8>>| -> Vec<String> {
            texts.into_iter().map(|text| String::from_utf8(text).unwrap()).collect()
        };
        prop_assert_eq!(read.error, None);
        prop_assert_eq!(own(read.xml_texts), texts);
        prop_assert_eq!(own(read.xml_attributes), attributes);
    }

    #[test]
    fn accepts_nothing_that_another_reader_refuses(body in "(<|>|/|a|b|=|'|&|;|#|!|-|\\[|\\]|\\?| |<a>|</a>|<a b='|'/>|<!--|-->|&lt;){1,14}") {
        let read = read_body(BodyProcessor::Xml, b"", Bytes::from(body.clone()));
        if read.error.is_none() {
            // Only repeated attributes are left to that reader.
            prop_assert!(read_otherwise(&body).is_some() || read.xml_attributes.len() > 1 || body.matches('=').count() > 1, "{}", body);
        }
    }

    #[test]
    fn any_bytes_are_survived(body: Vec<u8>) {
        drop(read_body(BodyProcessor::Xml, b"", Bytes::from(body)));
    }
}
