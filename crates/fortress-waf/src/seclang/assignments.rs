//! Values of actions that change collections: `tx.score=+%{tx.critical}`, `ip=%{REMOTE_ADDR}`.
//!
//! Keys are made lower case here; what the values come to is for the transaction.

use super::{
    Action, Change, Piece, SetVar, Template, Variable,
    mistake::{Wrong, shown},
    selections::{filled, number},
};

/// `setvar:`.
pub(super) fn set(text: &str) -> Result<SetVar, Wrong> {
    if let Some(member) = text.strip_prefix('!') {
        let (collection, key) = self::member(member)?;
        return Ok(SetVar {
            collection,
            key,
            change: Change::Unset,
        });
    }
    let (member, value) = assigned(text);
    let (collection, key) = self::member(member)?;
    let change = match value {
        None => Change::Set(Template::plain(b"1")),
        Some(value) => match (value.strip_prefix('+'), value.strip_prefix('-')) {
            (Some(amount), _) => Change::Add(self::amount(amount)?),
            (_, Some(amount)) => Change::Subtract(self::amount(amount)?),
            (None, None) => Change::Set(Template::parse(value)?),
        },
    };
    Ok(SetVar {
        collection,
        key,
        change,
    })
}

/// `expirevar:`.
pub(super) fn expire(text: &str) -> Result<Action, Wrong> {
    let (member, seconds) = assigned(text);
    let (variable, key) = self::member(member)?;
    let seconds = seconds.ok_or_else(|| Wrong::new("`=` and seconds are missing"))?;
    let seconds = amount(seconds)?;
    if let Some(literal) = seconds.literal() {
        number(
            std::str::from_utf8(literal).unwrap_or_default(),
            0..=u32::MAX,
        )?;
    }
    Ok(Action::ExpireVar {
        variable,
        key,
        seconds,
    })
}

/// `initcol:`.
pub(super) fn initialize(text: &str) -> Result<Action, Wrong> {
    let (word, key) = text
        .split_once('=')
        .ok_or_else(|| Wrong::new("`=` and the collection's key are missing"))?;
    Ok(Action::InitCollection {
        collection: one_of(PERSISTENT, word)?,
        key: collection_key(key)?,
    })
}

/// `setsid:`, `setuid:`, `setrsc:`.
pub(super) fn open(collection: Variable, text: &str) -> Result<Action, Wrong> {
    Ok(Action::OpenCollection {
        collection,
        key: collection_key(text)?,
    })
}

/// `setenv:`.
pub(super) fn environment(text: &str) -> Result<Action, Wrong> {
    let (name, value) = assigned(text);
    filled(name, "a name")?;
    Ok(Action::SetEnv {
        name: name.to_owned(),
        value: value.map_or(Ok(Template::default()), Template::parse)?,
    })
}

/// `collection.key`.
fn member(text: &str) -> Result<(Variable, Template), Wrong> {
    let Some((word, key)) = text.split_once(['.', ':']) else {
        return Err(Wrong::new(format!(
            "`{}` is no `collection.key`",
            shown(text)
        )));
    };
    let collection = one_of(WRITABLE, word)?;
    let key = Template::parse(filled(key, "a key")?)?.lower_case();
    let has_blank = key.0.iter().any(|piece| match piece {
        Piece::Text(text) => text.iter().any(u8::is_ascii_whitespace),
        Piece::Macro { .. } => false,
    });
    if has_blank {
        return Err(Wrong::new(format!(
            "white space in the key of `{}`",
            shown(text)
        )));
    }
    Ok((collection, key))
}

/// What stands before and after the first `=` that is not within a macro.
fn assigned(text: &str) -> (&str, Option<&str>) {
    let mut depth = 0_usize;
    for (at, character) in text.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            '=' if depth == 0 => {
                let (before, after) = text.split_at_checked(at).unwrap_or((text, ""));
                return (before, after.strip_prefix('='));
            }
            _ => {}
        }
    }
    (text, None)
}

/// A number, or what a macro will make one.
fn amount(text: &str) -> Result<Template, Wrong> {
    let template = Template::parse(filled(text, "a number")?)?;
    if template.literal().is_some() {
        number(text, i64::MIN..=i64::MAX)?;
    }
    Ok(template)
}

fn collection_key(text: &str) -> Result<Template, Wrong> {
    Template::parse(filled(text, "the collection's key")?)
}

fn one_of(collections: &[Variable], word: &str) -> Result<Variable, Wrong> {
    let found = collections
        .iter()
        .find(|known| known.word().eq_ignore_ascii_case(word));
    found.copied().ok_or_else(|| {
        let known = collections.iter().map(|collection| collection.word());
        Wrong::unknown("collection", word, known)
    })
}

/// Collections that outlive a transaction.
const PERSISTENT: &[Variable] = &[
    Variable::Global,
    Variable::Ip,
    Variable::Resource,
    Variable::Session,
    Variable::User,
];

/// Collections that rules write to.
const WRITABLE: &[Variable] = &[
    Variable::Tx,
    Variable::Env,
    Variable::Global,
    Variable::Ip,
    Variable::Resource,
    Variable::Session,
    Variable::User,
];
