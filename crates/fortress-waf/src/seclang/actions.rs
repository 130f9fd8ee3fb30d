//! What a rule does: `id:1,phase:2,msg:'a, b',t:none`.
//!
//! Which of the actions may stand in which place of a chain is for `rules`.

use super::{
    Action, AllowScope, Phase, Template, Transformation, Variable, assignments,
    controls::control,
    cursor::Cursor,
    mistake::{MOST_IN_ARGUMENT, Notes, Wrong, shown},
    selections::{filled, id, number},
};

/// An action at its offset in the list.
pub(super) type ActionAt = (usize, Action);

/// Actions, separated by commas.
pub(super) fn list(text: &str, notes: &mut Notes) -> Vec<ActionAt> {
    let mut actions = Vec::new();
    let mut cursor = Cursor::new(text);
    loop {
        cursor.take_while(|character| character == ',' || character.is_ascii_whitespace());
        if cursor.is_done() || notes.wrong.len() >= MOST_IN_ARGUMENT {
            return actions;
        }
        let at = cursor.at();
        let action = item(&mut cursor).and_then(|(name, value)| action(name, value, at, notes));
        match action {
            Ok(action) => actions.push((at, action)),
            Err(wrong) => {
                notes.wrong.push((at, wrong));
                cursor.take_while(|character| character != ',');
            }
        }
    }
}

/// `name`, `name:value`, `name:'value'`, up to the comma.
fn item<'a>(cursor: &mut Cursor<'a>) -> Result<(&'a str, Option<String>), Wrong> {
    let name = cursor.take_while(|character| {
        character != ':' && character != ',' && !character.is_ascii_whitespace()
    });
    cursor.skip_blanks();
    let mut value = None;
    if cursor.eat(':') {
        cursor.skip_blanks();
        value = Some(if cursor.peek() == Some('\'') {
            cursor.quoted('\'').ok_or_else(|| {
                Wrong::new(format!("the `'` after `{}:` does not close", shown(name)))
            })?
        } else {
            let plain = cursor
                .take_while(|character| character != ',')
                .trim_ascii_end();
            if plain.contains("='") {
                return Err(Wrong::new(format!(
                    "quotes go around all of a value: `{}:'…'`",
                    shown(name)
                )));
            }
            plain.to_owned()
        });
        cursor.skip_blanks();
    }
    if !cursor.is_done() && cursor.peek() != Some(',') {
        return Err(Wrong::new(format!(
            "`{}` follows the action `{}`; separate actions by commas",
            shown(cursor.rest()),
            shown(name)
        )));
    }
    Ok((name, value))
}

fn action(
    name: &str,
    value: Option<String>,
    at: usize,
    notes: &mut Notes,
) -> Result<Action, Wrong> {
    let Some((word, takes)) = ACTIONS
        .iter()
        .find(|(word, _)| name.eq_ignore_ascii_case(word))
    else {
        let known = ACTIONS.iter().map(|(word, _)| *word);
        return Err(Wrong::unknown("action", name, known));
    };
    match takes {
        Takes::Nothing(action) => match value {
            None => Ok(action()),
            Some(value) => Err(Wrong::new(format!(
                "`{word}` takes no value, but has `{}`",
                shown(&value)
            ))),
        },
        Takes::Value(action) => {
            let value = value.unwrap_or_default();
            let value = filled(&value, "a value")
                .map_err(|_| Wrong::new(format!("`{word}` needs a value")))?;
            action(value).map_err(|wrong| Wrong {
                message: format!("`{word}`: {}", wrong.message),
                ..wrong
            })
        }
        Takes::Scope => allow(value.as_deref()),
        Takes::Control => control(value.as_deref().unwrap_or_default(), at, notes),
        Takes::NoEffect => {
            notes.without_effect.push((at, word));
            Ok(Action::WithoutEffect(word))
        }
        Takes::Refused(why) => Err(Wrong::new(format!(
            "the action `{word}` is not supported: {why}"
        ))),
    }
}

/// What may follow an action's name.
enum Takes {
    Nothing(fn() -> Action),
    Value(fn(&str) -> Result<Action, Wrong>),
    Scope,
    Control,
    NoEffect,
    Refused(&'static str),
}

/// Every action that is documented.
const ACTIONS: &[(&str, Takes)] = &[
    (
        "accuracy",
        Takes::Value(|text| number(text, 1..=9).map(Action::Accuracy)),
    ),
    ("allow", Takes::Scope),
    ("append", Takes::NoEffect),
    ("auditlog", Takes::Nothing(|| Action::AuditLog)),
    ("block", Takes::Nothing(|| Action::Block)),
    ("capture", Takes::Nothing(|| Action::Capture)),
    ("chain", Takes::Nothing(|| Action::Chain)),
    ("ctl", Takes::Control),
    ("deny", Takes::Nothing(|| Action::Deny)),
    ("deprecatevar", Takes::NoEffect),
    ("drop", Takes::Nothing(|| Action::Drop)),
    ("exec", Takes::Refused("no program is run")),
    ("expirevar", Takes::Value(assignments::expire)),
    ("id", Takes::Value(|text| id(text).map(Action::Id))),
    ("initcol", Takes::Value(assignments::initialize)),
    ("log", Takes::Nothing(|| Action::Log)),
    (
        "logdata",
        Takes::Value(|text| Template::parse(text).map(Action::LogData)),
    ),
    (
        "maturity",
        Takes::Value(|text| number(text, 1..=9).map(Action::Maturity)),
    ),
    (
        "msg",
        Takes::Value(|text| Template::parse(text).map(Action::Message)),
    ),
    ("multiMatch", Takes::Nothing(|| Action::MultiMatch)),
    ("noauditlog", Takes::Nothing(|| Action::NoAuditLog)),
    ("nolog", Takes::Nothing(|| Action::NoLog)),
    ("pass", Takes::Nothing(|| Action::Pass)),
    (
        "pause",
        Takes::Refused("a request that is held holds memory, too; deny it"),
    ),
    ("phase", Takes::Value(|text| phase(text).map(Action::Phase))),
    ("prepend", Takes::NoEffect),
    (
        "proxy",
        Takes::Refused("requests go to the upstreams of the configuration only"),
    ),
    (
        "redirect",
        Takes::Value(|text| Template::parse(text).map(Action::Redirect)),
    ),
    (
        "rev",
        Takes::Value(|text| Ok(Action::Revision(text.to_owned()))),
    ),
    ("sanitiseArg", Takes::NoEffect),
    ("sanitiseMatched", Takes::NoEffect),
    ("sanitiseMatchedBytes", Takes::NoEffect),
    ("sanitiseRequestHeader", Takes::NoEffect),
    ("sanitiseResponseHeader", Takes::NoEffect),
    ("sanitizeArg", Takes::NoEffect),
    ("sanitizeMatched", Takes::NoEffect),
    ("sanitizeMatchedBytes", Takes::NoEffect),
    ("sanitizeRequestHeader", Takes::NoEffect),
    ("sanitizeResponseHeader", Takes::NoEffect),
    ("setenv", Takes::Value(assignments::environment)),
    (
        "setrsc",
        Takes::Value(|text| assignments::open(Variable::Resource, text)),
    ),
    (
        "setsid",
        Takes::Value(|text| assignments::open(Variable::Session, text)),
    ),
    (
        "setuid",
        Takes::Value(|text| assignments::open(Variable::User, text)),
    ),
    (
        "setvar",
        Takes::Value(|text| assignments::set(text).map(Action::SetVar)),
    ),
    (
        "severity",
        Takes::Value(|text| severity(text).map(Action::Severity)),
    ),
    (
        "skip",
        Takes::Value(|text| number(text, 1..=10_000).map(Action::Skip)),
    ),
    (
        "skipAfter",
        Takes::Value(|text| Ok(Action::SkipAfter(text.to_owned()))),
    ),
    (
        "status",
        Takes::Value(|text| number(text, 100..=599).map(Action::Status)),
    ),
    ("t", Takes::Value(transformation)),
    (
        "tag",
        Takes::Value(|text| Template::parse(text).map(Action::Tag)),
    ),
    (
        "ver",
        Takes::Value(|text| Ok(Action::Version(text.to_owned()))),
    ),
    ("xmlns", Takes::NoEffect),
];

fn allow(scope: Option<&str>) -> Result<Action, Wrong> {
    let scope = match scope {
        None => AllowScope::All,
        Some(word) if word.eq_ignore_ascii_case("phase") => AllowScope::Phase,
        Some(word) if word.eq_ignore_ascii_case("request") => AllowScope::Request,
        Some(word) => {
            return Err(Wrong::unknown(
                "scope of `allow`",
                word,
                ["phase", "request"],
            ));
        }
    };
    Ok(Action::Allow(scope))
}

/// A phase by number or name.
pub(super) fn phase(text: &str) -> Result<Phase, Wrong> {
    const PHASES: &[(&str, Phase)] = &[
        ("1", Phase::RequestHeaders),
        ("2", Phase::RequestBody),
        ("3", Phase::ResponseHeaders),
        ("4", Phase::ResponseBody),
        ("5", Phase::Logging),
        ("request", Phase::RequestBody),
        ("response", Phase::ResponseBody),
        ("logging", Phase::Logging),
    ];
    named(PHASES, "phase", text)
}

fn severity(text: &str) -> Result<u8, Wrong> {
    const SEVERITIES: &[(&str, u8)] = &[
        ("0", 0),
        ("1", 1),
        ("2", 2),
        ("3", 3),
        ("4", 4),
        ("5", 5),
        ("6", 6),
        ("7", 7),
        ("EMERGENCY", 0),
        ("ALERT", 1),
        ("CRITICAL", 2),
        ("ERROR", 3),
        ("WARNING", 4),
        ("NOTICE", 5),
        ("INFO", 6),
        ("DEBUG", 7),
    ];
    named(SEVERITIES, "severity", text)
}

/// The meaning of a word in a table.
pub(super) fn named<T: Copy>(
    table: &'static [(&'static str, T)],
    kind: &str,
    text: &str,
) -> Result<T, Wrong> {
    let found = table
        .iter()
        .find(|(word, _)| text.eq_ignore_ascii_case(word));
    match found {
        Some((_, meaning)) => Ok(*meaning),
        None => Err(Wrong::unknown(
            kind,
            text,
            table
                .iter()
                .map(|(word, _)| *word)
                .filter(|word| word.len() > 1),
        )),
    }
}

fn transformation(text: &str) -> Result<Action, Wrong> {
    if text.eq_ignore_ascii_case("none") {
        return Ok(Action::TransformNone);
    }
    match Transformation::from_word(text) {
        Some(transformation) => Ok(Action::Transform(transformation)),
        None => {
            let known = Transformation::ALL.iter().map(|known| known.word());
            Err(Wrong::unknown(
                "transformation",
                text,
                known.chain(["none"]),
            ))
        }
    }
}
