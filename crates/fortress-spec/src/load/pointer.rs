//! JSON Pointers (RFC 6901) into documents, with an index of large objects: `components/schemas` of
//! a large description has thousands of members, and each is looked up by name.

use std::{borrow::Cow, collections::HashMap};

use fortress_model::document::{Node, Value};

use super::uri;
use crate::schema::{Base, NodeKey, Place};

/// Objects above this are indexed when they are first searched.
const LARGE: usize = 16;

/// The members of large objects, by name.
#[derive(Debug, Default)]
pub(super) struct Index<'a> {
    objects: HashMap<NodeKey, HashMap<&'a str, &'a Node>>,
}

impl<'a> Index<'a> {
    /// What `fragment`, a JSON Pointer in a URI fragment, points to below `root`.
    ///
    /// # Errors
    /// The part of the pointer, decoded, that does not exist, with the names that do where it fails.
    pub(super) fn find(
        &mut self,
        root: &'a Node,
        fragment: &str,
    ) -> Result<&'a Node, (String, &'a Node)> {
        let mut node = root;
        for raw in fragment.split('/').skip(1) {
            let Some(token) = unescape(raw) else {
                return Err((raw.to_owned(), node));
            };
            node = self
                .child(node, &token)
                .ok_or_else(|| (token.into_owned(), node))?;
        }
        Ok(node)
    }

    fn child(&mut self, node: &'a Node, token: &str) -> Option<&'a Node> {
        match &node.value {
            Value::Object(members) if members.len() <= LARGE => node.get(token),
            Value::Object(members) => {
                let key = Place {
                    node,
                    base: Base::default(),
                }
                .key();
                self.objects
                    .entry(key)
                    .or_insert_with(|| {
                        members
                            .iter()
                            .map(|member| (&*member.key, &member.value))
                            .collect()
                    })
                    .get(token)
                    .copied()
            }
            Value::Array(items) => {
                // RFC 6901 allows no sign and no leading zero.
                let canonical = token == "0" || !token.starts_with('0');
                let digits = token.bytes().all(|byte| byte.is_ascii_digit());
                let index = (canonical && digits).then(|| token.parse::<usize>().ok())??;
                items.get(index)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        }
    }
}

/// Undoes the percent-encoding of the fragment, then `~1` and `~0`.
fn unescape(raw: &str) -> Option<Cow<'_, str>> {
    let decoded = uri::decode(raw)?;
    Some(if decoded.contains('~') {
        Cow::Owned(decoded.replace("~1", "/").replace("~0", "~"))
    } else {
        decoded
    })
}

/// The token for a key, as a pointer in a URI fragment needs it.
pub(super) fn escape(key: &str) -> String {
    let escaped = key.replace('~', "~0").replace('/', "~1");
    percent_encoding::utf8_percent_encode(&escaped, percent_encoding::NON_ALPHANUMERIC)
        .to_string()
        .replace("%7E", "~")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raw: &str, expect: Option<&str>) {
        assert_eq!(unescape(raw).as_deref(), expect);
    }

    #[test]
    fn tokens_are_unescaped_once() {
        check("a", Some("a"));
        check("a~1b", Some("a/b"));
        check("a~01b", Some("a~1b"));
        check("%7B", Some("{"));
        check("~1orders~1%7Bid%7D", Some("/orders/{id}"));
        check("%zz", None);
        check("%ff", None);
    }

    #[test]
    fn escaping_is_undone() {
        for key in ["a", "/orders/{id}", "a~1b", "ä b%"] {
            assert_eq!(unescape(&escape(key)).as_deref(), Some(key));
        }
    }
}
