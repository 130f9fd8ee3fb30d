//! What a rule looks at: `ARGS|!ARGS:token|&TX:'/^a|b$/'|XML:/*`.
//!
//! Whether a selector's regular expression is one is the compiler's question.

use super::{
    Selector, Target, Variable,
    cursor::Cursor,
    mistake::{MOST_IN_ARGUMENT, Notes, Wrong, shown},
};

/// Targets, separated by `|` or `,`.
pub(super) fn list(text: &str, notes: &mut Notes) -> Vec<Target> {
    let mut targets = Vec::new();
    let mut cursor = Cursor::new(text);
    loop {
        cursor.skip_blanks();
        let at = cursor.at();
        match target(&mut cursor) {
            Ok(target) => targets.push(target),
            Err(wrong) => {
                notes.wrong.push((at, wrong));
                cursor.take_while(|character| character != '|' && character != ',');
            }
        }
        cursor.skip_blanks();
        if cursor.is_done() || notes.wrong.len() >= MOST_IN_ARGUMENT {
            return targets;
        }
        if !cursor.eat('|') && !cursor.eat(',') {
            let wrong = Wrong::new(format!(
                "`{}` follows a target; separate targets by `|`, and put a name with white space in `'…'`",
                shown(cursor.rest())
            ));
            notes.wrong.push((cursor.at(), wrong));
            return targets;
        }
    }
}

/// The one target of a `ctl`, to its end.
pub(super) fn one(text: &str) -> Result<Target, Wrong> {
    // The whole rest is a regular expression, whatever is in it.
    if let Some((word, selector)) = text.split_once(':')
        && let Some(regex) = between_slashes(selector)
        && let Ok(variable) = variable(word)
        && variable != Variable::Xml
    {
        has_members(variable)?;
        return Ok(Target {
            excluded: false,
            counted: false,
            variable,
            selector: Selector::Regex(regex.to_owned()),
        });
    }
    let mut cursor = Cursor::new(text);
    let target = target(&mut cursor)?;
    if !cursor.is_done() {
        return Err(Wrong::new(format!(
            "`{}` follows the target; write one `ctl` for each",
            shown(cursor.rest())
        )));
    }
    if target.excluded || target.counted {
        return Err(Wrong::new(
            "a target that is to be removed takes no `!` and no `&`",
        ));
    }
    Ok(target)
}

/// The variable that a word names.
pub(super) fn variable(word: &str) -> Result<Variable, Wrong> {
    if let Some(variable) = Variable::from_word(word) {
        return Ok(variable);
    }
    for (absent, why) in ABSENT {
        if word.eq_ignore_ascii_case(absent) {
            return Err(Wrong::new(format!("`{absent}` does not exist here: {why}")));
        }
    }
    let known = Variable::ALL.iter().map(|variable| variable.word());
    Err(Wrong::unknown("variable", word, known))
}

/// Refuses a selector where there is nothing to select.
pub(super) fn has_members(variable: Variable) -> Result<(), Wrong> {
    if COLLECTIONS.contains(&variable) {
        return Ok(());
    }
    Err(Wrong::new(format!(
        "`{}` has no members, so it takes no selector",
        variable.word()
    )))
}

fn target(cursor: &mut Cursor<'_>) -> Result<Target, Wrong> {
    let (mut excluded, mut counted) = (false, false);
    loop {
        if !excluded && cursor.eat('!') {
            excluded = true;
        } else if !counted && cursor.eat('&') {
            counted = true;
        } else {
            break;
        }
    }
    if excluded && counted {
        return Err(Wrong::new(
            "`!` takes a target away and `&` counts it; only one of them can stand here",
        ));
    }
    let word = cursor.take_while(|character| character != ':' && !separates(character));
    if word.is_empty() {
        return Err(Wrong::new("a variable is missing"));
    }
    let variable = variable(word)?;
    let selector = if cursor.eat(':') {
        has_members(variable)?;
        selector(variable, cursor)?
    } else {
        Selector::All
    };
    Ok(Target {
        excluded,
        counted,
        variable,
        selector,
    })
}

fn selector(variable: Variable, cursor: &mut Cursor<'_>) -> Result<Selector, Wrong> {
    let quoted = cursor.peek() == Some('\'');
    let written = if quoted {
        cursor
            .quoted('\'')
            .ok_or_else(|| Wrong::new("the `'` that opens the selector does not close"))?
    } else {
        cursor
            .take_while(|character| !separates(character))
            .to_owned()
    };
    if written.is_empty() {
        return Err(Wrong::new("a selector is missing after `:`"));
    }
    if variable == Variable::Xml {
        return xpath(written);
    }
    match between_slashes(&written) {
        Some("") => Err(Wrong::new(
            "the selector's regular expression is empty; without a selector all members are meant",
        )),
        Some(regex) => Ok(Selector::Regex(regex.to_owned())),
        None if !quoted && written.starts_with('/') => Err(Wrong::new(format!(
            "the regular expression `{}` does not end in `/`; one with `|`, `,` or white space goes into quotes: `'/…/'`",
            shown(&written)
        ))),
        None => Ok(Selector::Key(written)),
    }
}

/// Of XPath only what can be answered in one pass over a document of bounded depth.
fn xpath(written: String) -> Result<Selector, Wrong> {
    if written == "/*" || written == "//@*" {
        return Ok(Selector::Key(written));
    }
    Err(Wrong::new(format!(
        "unknown XPath `{}`; only `XML:/*`, all texts, and `XML://@*`, all attributes, are supported",
        shown(&written)
    )))
}

fn between_slashes(text: &str) -> Option<&str> {
    text.strip_prefix('/')?.strip_suffix('/')
}

fn separates(character: char) -> bool {
    character == '|' || character == ',' || character.is_ascii_whitespace()
}

/// Variables with named members.
const COLLECTIONS: &[Variable] = &[
    Variable::Args,
    Variable::ArgsGet,
    Variable::ArgsGetNames,
    Variable::ArgsNames,
    Variable::ArgsPost,
    Variable::ArgsPostNames,
    Variable::Env,
    Variable::Files,
    Variable::FilesNames,
    Variable::FilesSizes,
    Variable::FilesTmpContent,
    Variable::FilesTmpNames,
    Variable::Geo,
    Variable::Global,
    Variable::Ip,
    Variable::MatchedVars,
    Variable::MatchedVarsNames,
    Variable::MultipartFilename,
    Variable::MultipartName,
    Variable::MultipartPartHeaders,
    Variable::RequestCookies,
    Variable::RequestCookiesNames,
    Variable::RequestHeaders,
    Variable::RequestHeadersNames,
    Variable::Resource,
    Variable::ResponseArgs,
    Variable::ResponseHeaders,
    Variable::ResponseHeadersNames,
    Variable::Rule,
    Variable::Session,
    Variable::Tx,
    Variable::User,
    Variable::Xml,
];

/// Documented variables that nothing here could fill: a rule on them would never match.
const ABSENT: &[(&str, &str)] = &[
    ("PERF_ALL", PERFORMANCE),
    ("PERF_COMBINED", PERFORMANCE),
    ("PERF_GC", PERFORMANCE),
    ("PERF_LOGGING", PERFORMANCE),
    ("PERF_PHASE1", PERFORMANCE),
    ("PERF_PHASE2", PERFORMANCE),
    ("PERF_PHASE3", PERFORMANCE),
    ("PERF_PHASE4", PERFORMANCE),
    ("PERF_PHASE5", PERFORMANCE),
    ("PERF_RULES", PERFORMANCE),
    ("PERF_SREAD", PERFORMANCE),
    ("PERF_SWRITE", PERFORMANCE),
    ("SCRIPT_BASENAME", SCRIPT),
    ("SCRIPT_FILENAME", SCRIPT),
    ("SCRIPT_GID", SCRIPT),
    ("SCRIPT_GROUPNAME", SCRIPT),
    ("SCRIPT_MODE", SCRIPT),
    ("SCRIPT_UID", SCRIPT),
    ("SCRIPT_USERNAME", SCRIPT),
    ("SDBM_DELETE_ERROR", "collections are not kept in files"),
    ("STREAM_INPUT_BODY", "use `REQUEST_BODY`"),
    ("STREAM_OUTPUT_BODY", "use `RESPONSE_BODY`"),
    ("USERAGENT_IP", "use `REMOTE_ADDR`"),
    ("WEBSERVER_ERROR_LOG", "there is no web server's error log"),
];
const PERFORMANCE: &str = "the time that rules take is not measured";
const SCRIPT: &str = "a gateway runs no script of the file system";
