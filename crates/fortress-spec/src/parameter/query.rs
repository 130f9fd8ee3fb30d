//! Pairs of a query or a form, and the values that several pairs make together: exploded arrays and
//! objects, `deepObject`.
//!
//! Names are compared decoded, so that `a` and `%61` are one name.

use std::borrow::Cow;

use super::{
    decode::{Plus, decode},
    style::TWICE,
    value::{Raw, is_list_only, types},
};
use crate::schema::{SchemaId, Schemas, Types};

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

/// What the brackets are read for: the schemas of the whole value.
#[derive(Clone, Copy)]
pub(crate) struct DeepSchemas<'s> {
    pub(crate) all: &'s Schemas,
    pub(crate) of: &'s [SchemaId],
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
    schemas: DeepSchemas<'_>,
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
    raw(tree, schemas).map(Some)
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
    /// Values that stand right behind the name; several only where an array is declared.
    values: Vec<Cow<'a, str>>,
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
            if !at.children.is_empty() || !at.values.is_empty() {
                return Err(DeepError::Duplicate(TWICE));
            }
            if at.list.len() >= bounds.items {
                return Err(DeepError::TooComplex("too many items in an array"));
            }
            at.list.push(value);
            return Ok(());
        }
        if !at.values.is_empty() || !at.list.is_empty() {
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
    if !at.children.is_empty() || !at.list.is_empty() {
        return Err(DeepError::Duplicate(TWICE));
    }
    if at.values.len() >= bounds.items {
        return Err(DeepError::TooComplex("too many items in an array"));
    }
    at.values.push(value);
    Ok(())
}

/// Recursion is bounded by the depth that was checked.
fn raw<'a>(tree: Tree<'a>, schemas: DeepSchemas<'_>) -> Result<Raw<'a>, DeepError> {
    if !tree.values.is_empty() {
        return values(tree.values, schemas);
    }
    if !tree.list.is_empty() {
        return Ok(Raw::List(tree.list.into_iter().map(Raw::Text).collect()));
    }
    let mut members = Vec::with_capacity(tree.children.len());
    for (index, (name, child)) in tree.children.into_iter().enumerate() {
        let inner: Vec<SchemaId> = schemas
            .of
            .iter()
            .flat_map(|id| {
                let mut inner = schemas.all.property_schemas(*id, &name);
                if name.parse() == Ok(index) {
                    inner.extend(schemas.all.item_schemas(*id, index));
                }
                inner
            })
            .collect();
        let schemas = DeepSchemas {
            of: &inner,
            ..schemas
        };
        members.push((Cow::Owned(name), raw(child, schemas)?));
    }
    Ok(Raw::Map(members))
}

/// `p[k]=a&p[k]=b` is an array where one is declared, else a value given twice.
fn values<'a>(
    mut values: Vec<Cow<'a, str>>,
    schemas: DeepSchemas<'_>,
) -> Result<Raw<'a>, DeepError> {
    let types = if schemas.of.is_empty() {
        Types::NONE
    } else {
        types(schemas.all, schemas.of)
    };
    let is_list = is_list_only(types) || (values.len() > 1 && types.has(Types::ARRAY));
    match values.pop() {
        Some(only) if values.is_empty() && !is_list => Ok(Raw::Text(only)),
        Some(last) if is_list && types != Types::ALL => {
            values.push(last);
            Ok(Raw::List(values.into_iter().map(Raw::Text).collect()))
        }
        _ => Err(DeepError::Duplicate(TWICE)),
    }
}
