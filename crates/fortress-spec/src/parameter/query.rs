//! Pairs of a query or a form, and the values that several pairs make together: exploded arrays and
//! objects, `deepObject`.
//!
//! Names are compared decoded, so that `a` and `%61` are one name.

use std::borrow::Cow;

use super::{
    decode::{Plus, decode},
    style::TWICE,
    value::Raw,
};

/// A pair, its name decoded, its value as it came.
#[derive(Debug)]
pub(crate) struct Pair<'a> {
    pub(crate) name: Cow<'a, str>,
    pub(crate) value: &'a str,
    /// Whether a declared parameter or property took it.
    pub(crate) used: bool,
}

/// Why pairs cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PairError {
    /// More than the bound.
    TooMany,
    /// Something does not decode.
    Malformed(&'static str),
}

/// Reads `a=1&b=2`. Nothing between two `&` is nothing; no value is an empty one.
pub(crate) fn pairs(text: &str, max: usize) -> Result<Vec<Pair<'_>>, PairError> {
    let mut pairs = Vec::new();
    for piece in text.split('&').filter(|piece| !piece.is_empty()) {
        if pairs.len() >= max {
            return Err(PairError::TooMany);
        }
        let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
        // Some servers take `;` for `&`: what we see as one value is several parameters to them.
        if name.contains(';') {
            return Err(PairError::Malformed("an unencoded `;`"));
        }
        let name = decode(name, Plus::Space).map_err(PairError::Malformed)?;
        pairs.push(Pair {
            name,
            value,
            used: false,
        });
    }
    Ok(pairs)
}

/// Bounds of what brackets may build.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeepBounds {
    pub(crate) depth: usize,
    pub(crate) properties: usize,
    pub(crate) items: usize,
}

/// Why bracketed names cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum DeepError {
    /// Nested too deep, too many properties or items.
    TooComplex(&'static str),
    /// The same property twice, or once as a value and once as an object.
    Duplicate(&'static str),
    /// Brackets that do not close, or a value that does not decode.
    Malformed(&'static str),
}

/// Reads all pairs whose name is `base[…]…` into one value, and marks them; `None` if there are none.
pub(crate) fn deep<'a>(
    pairs: &mut [Pair<'a>],
    base: &str,
    bounds: DeepBounds,
) -> Result<Option<Raw<'a>>, DeepError> {
    let mut tree = Tree::default();
    let mut properties = 0;
    for pair in pairs.iter_mut() {
        let Some(path) = pair
            .name
            .strip_prefix(base)
            .filter(|path| path.starts_with('['))
        else {
            continue;
        };
        pair.used = true;
        let keys = keys(path)?;
        if keys.len() > bounds.depth {
            return Err(DeepError::TooComplex("nested too deep"));
        }
        properties += keys.len();
        if properties > bounds.properties.saturating_mul(2) {
            return Err(DeepError::TooComplex("too many properties"));
        }
        let value = decode(pair.value, Plus::Space).map_err(DeepError::Malformed)?;
        insert(&mut tree, &keys, value, bounds)?;
    }
    if tree.children.is_empty() {
        return Ok(None);
    }
    raw(tree).map(Some)
}

/// `[a][b]` as `a`, `b`.
fn keys(path: &str) -> Result<Vec<String>, DeepError> {
    let mut keys = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        let inside = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let Some((key, behind)) = inside else {
            return Err(DeepError::Malformed("brackets that do not close"));
        };
        if key.contains('[') {
            return Err(DeepError::Malformed("brackets inside brackets"));
        }
        keys.push(key.to_owned());
        rest = behind;
    }
    Ok(keys)
}

#[derive(Default)]
struct Tree<'a> {
    value: Option<Cow<'a, str>>,
    children: Vec<(String, Tree<'a>)>,
    /// Values of `[]`.
    list: Vec<Cow<'a, str>>,
}

fn insert<'a>(
    tree: &mut Tree<'a>,
    keys: &[String],
    value: Cow<'a, str>,
    bounds: DeepBounds,
) -> Result<(), DeepError> {
    let mut at = tree;
    let mut rest = keys;
    while let Some((key, behind)) = rest.split_first() {
        if key.is_empty() {
            if !behind.is_empty() {
                return Err(DeepError::Malformed("`[]` in the middle of a name"));
            }
            if !at.children.is_empty() || at.value.is_some() {
                return Err(DeepError::Duplicate(TWICE));
            }
            if at.list.len() >= bounds.items {
                return Err(DeepError::TooComplex("too many items in an array"));
            }
            at.list.push(value);
            return Ok(());
        }
        if at.value.is_some() || !at.list.is_empty() {
            return Err(DeepError::Duplicate(TWICE));
        }
        let index = match at.children.iter().position(|(name, _)| name == key) {
            Some(index) => index,
            None => {
                if at.children.len() >= bounds.properties {
                    return Err(DeepError::TooComplex("too many properties"));
                }
                at.children.push((key.clone(), Tree::default()));
                at.children.len() - 1
            }
        };
        let Some((_, child)) = at.children.get_mut(index) else {
            return Err(DeepError::Malformed("brackets that lead nowhere"));
        };
        at = child;
        rest = behind;
    }
    if at.value.is_some() || !at.children.is_empty() || !at.list.is_empty() {
        return Err(DeepError::Duplicate(TWICE));
    }
    at.value = Some(value);
    Ok(())
}

/// Recursion is bounded by the depth that was checked.
fn raw(tree: Tree<'_>) -> Result<Raw<'_>, DeepError> {
    if let Some(value) = tree.value {
        return Ok(Raw::Text(value));
    }
    if !tree.list.is_empty() {
        return Ok(Raw::List(tree.list.into_iter().map(Raw::Text).collect()));
    }
    let mut members = Vec::with_capacity(tree.children.len());
    for (name, child) in tree.children {
        members.push((Cow::Owned(name), raw(child)?));
    }
    Ok(Raw::Map(members))
}
