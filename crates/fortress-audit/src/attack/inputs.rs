//! Parameters and bodies that the description forbids, one thing at a time.
//!
//! Candidates are sent only if the description's own checks refuse them: what it allows (a free-form
//! object, a string without bounds) is no attack, but a matter for `check`.

use fortress_model::Reason;
use fortress_spec::{Operation, parameter::Location};
use serde_json::{Map, Value, json};

use super::{
    Attack, Basis, Kind,
    bodies::is_json,
    plan::Subject,
    valid::{self, Draft, encode},
};

/// Attacks of one place at most.
const PER_PLACE: usize = 5;
/// Places of a body that are tried.
const PLACES: usize = 40;

/// All on one operation.
pub(super) fn attacks(subject: &Subject, operation: &Operation, basis: &Basis) -> Vec<Attack> {
    let Some(draft) = valid::drafts(subject, operation).into_iter().next() else {
        return Vec::new();
    };
    let mut maker = Maker {
        subject,
        operation,
        basis,
        draft,
        found: Vec::new(),
    };
    maker.parameters();
    maker.undeclared_parameters();
    if maker.draft.body.is_some() {
        if is_json(&basis.request) {
            maker.json();
        } else if maker.draft.content_type.as_deref() == Some("application/x-www-form-urlencoded") {
            maker.form();
        }
    }
    maker.found
}

struct Maker<'a> {
    subject: &'a Subject,
    operation: &'a Operation,
    basis: &'a Basis,
    draft: Draft,
    found: Vec<Attack>,
}

/// Values that most parameters refuse, encoded, with words for them.
fn values() -> Vec<(&'static str, String, Size)> {
    vec![
        ("an SQL fragment", encode("' OR 1=1 --"), Size::Usual),
        ("a number with a letter", "5x".into(), Size::Usual),
        ("a negative number", "-1".into(), Size::Usual),
        (
            "a huge number",
            "99999999999999999999999".into(),
            Size::Large,
        ),
        (
            "a thousand times too much",
            "1000000000".into(),
            Size::Large,
        ),
        ("10,000 letters", "a".repeat(5_000), Size::Large),
        ("nothing", String::new(), Size::Usual),
        ("a path", encode("../../../../etc/passwd"), Size::Usual),
        ("a script", encode("<script>alert(1)</script>"), Size::Usual),
        ("a NUL", "%00".into(), Size::Usual),
        ("invalid UTF-8", "%ff%fe".into(), Size::Usual),
        ("a fraction", "1.5".into(), Size::Usual),
        ("null", "null".into(), Size::Usual),
    ]
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Size {
    Usual,
    Large,
}

impl Maker<'_> {
    fn parameters(&mut self) {
        let lists: [(Location, Vec<(String, String)>); 4] = [
            (Location::Path, self.draft.path.clone()),
            (Location::Query, self.draft.query.clone()),
            (Location::Header, self.draft.headers.clone()),
            (Location::Cookie, self.draft.cookies.clone()),
        ];
        for (location, list) in lists {
            for (name, text) in list {
                self.parameter(location, &name, &text);
            }
        }
    }

    fn parameter(&mut self, location: Location, name: &str, text: &str) {
        let mut made = 0;
        for (what, value, size) in values() {
            // A path parameter without a value, or with dots, is another path.
            let path = location == Location::Path;
            if made == PER_PLACE || (path && (value.is_empty() || value.contains(".."))) {
                continue;
            }
            let value = if location == Location::Query {
                format!("{}={value}", encode(name))
            } else {
                value
            };
            let what = format!("{what} as `{name}`");
            made += usize::from(self.try_parameters(&what, size, |draft| {
                replace(draft, location, name, Some(&value))
            }));
        }
        if location == Location::Path {
            return;
        }
        self.try_parameters(&format!("without `{name}`"), Size::Usual, |draft| {
            replace(draft, location, name, None)
        });
        if location == Location::Query {
            self.try_parameters(&format!("`{name}` twice"), Size::Usual, |draft| {
                draft.query.push((name.to_owned(), text.to_owned()));
            });
            self.try_parameters(&format!("an operator in `{name}`"), Size::Usual, |draft| {
                replace(
                    draft,
                    location,
                    name,
                    Some(&format!("{}%5B%24ne%5D=1", encode(name))),
                );
            });
        }
    }

    fn undeclared_parameters(&mut self) {
        for pair in [
            "fortress_undeclared=1",
            "admin=true",
            "debug=1",
            "__proto__%5Brole%5D=admin",
        ] {
            self.try_parameters(&format!("`{pair}`"), Size::Usual, |draft| {
                draft.query.push((String::new(), pair.to_owned()));
            });
        }
    }

    /// Adds the attack if the description refuses it.
    fn try_parameters(&mut self, what: &str, size: Size, change: impl FnOnce(&mut Draft)) -> bool {
        let mut draft = self.draft.clone();
        change(&mut draft);
        let violations = draft.check_parameters(self.subject, self.operation);
        self.add(
            what,
            size,
            &draft,
            violations.first().map(|violation| violation.reason),
        )
    }

    fn try_body(&mut self, what: &str, size: Size, body: Vec<u8>) -> bool {
        let mut draft = self.draft.clone();
        draft.body = Some(body);
        let violations = draft.check_body(self.subject, self.operation);
        self.add(
            what,
            size,
            &draft,
            violations.first().map(|violation| violation.reason),
        )
    }

    fn add(&mut self, what: &str, size: Size, draft: &Draft, reason: Option<Reason>) -> bool {
        let Some(reason) = reason else {
            return false;
        };
        let request = self.basis.authorized(draft.request(self.operation));
        self.found
            .push(self.basis.refused(kind(reason, size), what, request));
        true
    }

    fn json(&mut self) {
        let body = self.draft.body.clone().unwrap_or_default();
        let Ok(value) = serde_json::from_slice::<Value>(&body) else {
            return;
        };
        let mut places = Vec::new();
        collect(&value, &mut Vec::new(), &mut places);
        for place in &places {
            self.json_place(&value, place);
        }
        for (what, other) in [
            ("an array", json!([])),
            ("null", Value::Null),
            ("a string", json!("x")),
            ("a number", json!(1)),
        ] {
            self.try_body(
                &format!("{what} as the body"),
                Size::Usual,
                other.to_string().into_bytes(),
            );
        }
    }

    fn json_place(&mut self, value: &Value, place: &[Step]) {
        let name = words(place);
        let at = |changed: &dyn Fn(&mut Value)| {
            let mut value = value.clone();
            if let Some(target) = reach(&mut value, place) {
                changed(target);
            }
            value.to_string().into_bytes()
        };
        if !place.is_empty() {
            let mut made = 0;
            for (what, other, size) in others() {
                if made < PER_PLACE {
                    let body = at(&|target| *target = other.clone());
                    made += usize::from(self.try_body(&format!("{what} as `{name}`"), size, body));
                }
            }
        }
        match reach_ref(value, place) {
            Some(Value::Object(members)) => {
                for key in members.keys() {
                    let body = at(&|target| {
                        drop(
                            target
                                .as_object_mut()
                                .and_then(|members| members.remove(key)),
                        )
                    });
                    self.try_body(
                        &format!("without `{}`", join(&name, key)),
                        Size::Usual,
                        body,
                    );
                }
                for (key, extra) in extras(place.is_empty()) {
                    if !members.contains_key(key) {
                        let body = at(&|target| insert(target, key, &extra));
                        self.try_body(&format!("`{}` added", join(&name, key)), Size::Usual, body);
                    }
                }
            }
            Some(Value::Array(items)) => {
                let item = items.first().cloned().unwrap_or_default();
                let body = at(&|target| *target = Value::Array(vec![item.clone(); 1_001]));
                self.try_body(&format!("1,001 items in `{name}`"), Size::Large, body);
                let body = at(&|target| *target = Value::Array(Vec::new()));
                self.try_body(&format!("no items in `{name}`"), Size::Usual, body);
            }
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) | None => {}
        }
    }

    fn form(&mut self) {
        let body = self.draft.body.clone().unwrap_or_default();
        let text = String::from_utf8_lossy(&body).into_owned();
        let pairs: Vec<&str> = text.split('&').filter(|pair| !pair.is_empty()).collect();
        for (index, pair) in pairs.iter().enumerate() {
            let name = pair.split('=').next().unwrap_or_default();
            let with = |replaced: Option<String>| {
                let mut all: Vec<String> = pairs.iter().map(|pair| (*pair).to_owned()).collect();
                match (replaced, all.get_mut(index)) {
                    (Some(other), Some(place)) => *place = other,
                    (_, _) => drop(all.remove(index)),
                }
                all.join("&").into_bytes()
            };
            let mut made = 0;
            for (what, value, size) in values() {
                if made < PER_PLACE {
                    let body = with(Some(format!("{name}={value}")));
                    made += usize::from(self.try_body(&format!("{what} as `{name}`"), size, body));
                }
            }
            self.try_body(&format!("without `{name}`"), Size::Usual, with(None));
            self.try_body(
                &format!("`{name}` twice"),
                Size::Usual,
                format!("{text}&{pair}").into_bytes(),
            );
        }
        for extra in ["fortressUndeclared=1", "role=admin"] {
            self.try_body(
                &format!("`{extra}` added"),
                Size::Usual,
                format!("{text}&{extra}").into_bytes(),
            );
        }
    }
}

/// The kind of an attack that is refused for this reason.
fn kind(reason: Reason, size: Size) -> Kind {
    if reason == Reason::ParameterUndeclared || reason == Reason::CookieUndeclared {
        Kind::ParameterUndeclared
    } else if reason == Reason::BodyUndeclared {
        Kind::PropertyUndeclared
    } else if reason == Reason::BodyReadOnly {
        Kind::PropertyReadOnly
    } else if reason == Reason::ParameterMissing || reason == Reason::BodyMissing {
        Kind::InputMissing
    } else if reason == Reason::ParameterDuplicate || reason == Reason::BodyDuplicateKey {
        Kind::InputDuplicate
    } else if size == Size::Large {
        Kind::InputTooLarge
    } else {
        Kind::InputInvalid
    }
}

/// Values that most schemas refuse.
fn others() -> Vec<(&'static str, Value, Size)> {
    vec![
        ("null", Value::Null, Size::Usual),
        ("an SQL fragment", json!("' OR 1=1 --"), Size::Usual),
        ("an operator", json!({ "$gt": "" }), Size::Usual),
        ("a list", json!([1]), Size::Usual),
        ("a huge number", json!(1e30), Size::Large),
        ("100,000 letters", json!("a".repeat(100_000)), Size::Large),
        ("a negative number", json!(-1), Size::Usual),
        ("a fraction", json!(1.5), Size::Usual),
        ("a boolean", json!(true), Size::Usual),
        ("a script", json!("<script>alert(1)</script>"), Size::Usual),
    ]
}

/// Properties that services have and clients ought not to set.
fn extras(top: bool) -> Vec<(&'static str, Value)> {
    let mut extras = vec![("fortressUndeclared", json!(1))];
    if top {
        extras.extend([
            ("role", json!("admin")),
            ("isAdmin", json!(true)),
            ("id", json!(1)),
            ("owner", json!("admin")),
            ("total", json!(0)),
            ("status", json!("paid")),
            ("balance", json!(1_000_000)),
            ("__proto__", json!({ "role": "admin" })),
        ]);
    }
    extras
}

/// A step into a value.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Key(String),
    Item(usize),
}

/// Every place of a value, down to a bound of places and depth.
pub(super) fn collect(value: &Value, at: &mut Vec<Step>, places: &mut Vec<Vec<Step>>) {
    const DEPTH: usize = 8;
    if places.len() >= PLACES || at.len() > DEPTH {
        return;
    }
    places.push(at.clone());
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                at.push(Step::Key(key.clone()));
                collect(member, at, places);
                at.pop();
            }
        }
        Value::Array(items) => {
            // The items are alike.
            if let Some(first) = items.first() {
                at.push(Step::Item(0));
                collect(first, at, places);
                at.pop();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

pub(super) fn reach<'v>(value: &'v mut Value, place: &[Step]) -> Option<&'v mut Value> {
    place.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::Item(index) => value.get_mut(index),
    })
}

pub(super) fn reach_ref<'v>(value: &'v Value, place: &[Step]) -> Option<&'v Value> {
    place.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.get(key),
        Step::Item(index) => value.get(index),
    })
}

fn insert(target: &mut Value, key: &str, value: &Value) {
    if let Some(members) = target.as_object_mut() {
        let members: &mut Map<String, Value> = members;
        members.insert(key.to_owned(), value.clone());
    }
}

pub(super) fn words(place: &[Step]) -> String {
    place.iter().fold(String::new(), |name, step| match step {
        Step::Key(key) => join(&name, key),
        Step::Item(index) => format!("{name}[{index}]"),
    })
}

fn join(name: &str, key: &str) -> String {
    if name.is_empty() {
        key.to_owned()
    } else {
        format!("{name}.{key}")
    }
}

pub(super) fn replace(draft: &mut Draft, location: Location, name: &str, value: Option<&str>) {
    let list = match location {
        Location::Path => &mut draft.path,
        Location::Query => &mut draft.query,
        Location::Header => &mut draft.headers,
        Location::Cookie => &mut draft.cookies,
    };
    let at = list.iter().position(|(given, _)| given == name);
    match (at, value) {
        (Some(at), Some(value)) => {
            if let Some(place) = list.get_mut(at) {
                value.clone_into(&mut place.1);
            }
        }
        (Some(at), None) => drop(list.remove(at)),
        (None, _) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_reached() {
        let value = json!({ "a": { "b": [{ "c": 1 }, { "c": 2 }] }, "d": "x" });
        let mut places = Vec::new();
        collect(&value, &mut Vec::new(), &mut places);
        let names: Vec<String> = places.iter().map(|place| words(place)).collect();
        assert_eq!(names, ["", "a", "a.b", "a.b[0]", "a.b[0].c", "d"]);
        for place in &places {
            assert!(reach_ref(&value, place).is_some());
        }
    }
}
