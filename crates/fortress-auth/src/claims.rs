//! The claims of a verified token, read-only. A claim is found by its name or by a dotted path
//! (`realm_access.roles`). What the registered claims must be is judged by the verifier.

use std::fmt;

use crate::json::{Object, Value};

/// The claims of a verified token.
#[derive(Clone, PartialEq)]
pub struct Claims(Object);

impl Claims {
    pub(crate) fn new(object: Object) -> Self {
        Self(object)
    }

    /// All of them.
    pub fn all(&self) -> &Object {
        &self.0
    }

    /// The claim at a dotted path. A name may itself have dots, as in `https://example.com/roles`;
    /// the longest name that exists is taken first.
    pub fn get(&self, path: &str) -> Option<&Value> {
        find(&self.0, path)
    }

    /// The claim at a path, if it is a string.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.get(path).and_then(Value::as_str)
    }

    /// The strings at a path: of an array all that are strings, of a string itself.
    pub fn texts(&self, path: &str) -> impl Iterator<Item = &str> {
        let value = self.get(path);
        let items = value.and_then(Value::as_array).unwrap_or_default();
        value
            .and_then(Value::as_str)
            .into_iter()
            .chain(items.iter().filter_map(Value::as_str))
    }

    /// The claim at a path, if it is a boolean.
    pub fn flag(&self, path: &str) -> Option<bool> {
        self.get(path).and_then(Value::as_bool)
    }

    /// The claim at a path, if it is a finite number.
    pub fn number(&self, path: &str) -> Option<f64> {
        self.get(path).and_then(Value::as_f64)
    }
}

// What a token says of a person is not for logs.
impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Claims({} of them)", self.0.len())
    }
}

// The path is the operator's; each level of recursion also descends into the value, whose depth
// was bounded when it was read.
fn find<'a>(object: &'a Object, path: &str) -> Option<&'a Value> {
    if let Some(value) = object.get(path) {
        return Some(value);
    }
    path.rmatch_indices('.').find_map(|(dot, _)| {
        let (name, rest) = path.split_at_checked(dot)?;
        let inner = object.get(name)?.as_object()?;
        find(inner, rest.strip_prefix('.')?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::read_object;

    fn claims(text: &str) -> Claims {
        Claims::new(read_object(text.as_bytes(), 16).expect("an object"))
    }

    #[test]
    fn paths() {
        let claims = claims(
            r#"{"a":{"b":{"c":"deep"}},"a.b":{"c":"dotted"},"x":{"y.z":"inner"},
                "https://example.com/roles":["r1",2,"r2"],"one":"1","n":1.5,"t":true,"":{"":"e"}}"#,
        );
        assert_eq!(claims.text("a.b.c"), Some("dotted"));
        assert_eq!(claims.text("x.y.z"), Some("inner"));
        assert_eq!(claims.text("."), Some("e"));
        assert_eq!(claims.text("a.b"), None);
        assert_eq!(claims.text("a.b.c.d"), None);
        assert_eq!(claims.text("one.two"), None);
        assert_eq!(claims.text("absent"), None);
        let texts = |path| claims.texts(path).collect::<Vec<_>>();
        assert_eq!(texts("https://example.com/roles"), ["r1", "r2"]);
        assert_eq!(texts("one"), ["1"]);
        assert!(texts("n").is_empty());
        assert!(texts("absent").is_empty());
        assert_eq!(claims.number("n"), Some(1.5));
        assert_eq!(claims.number("one"), None);
        assert_eq!(claims.flag("t"), Some(true));
        assert_eq!(claims.flag("one"), None);
    }

    #[test]
    fn debug_shows_no_claim() {
        assert_eq!(
            format!("{:?}", claims(r#"{"sub":"alice"}"#)),
            "Claims(1 of them)"
        );
    }
}
