//! The directives, each with what its arguments are and what it means here.
//!
//! Rules and their chains are put together in `rules`, files in `ruleset`.

use super::{
    DirectiveKind, Selection, Setting,
    actions::{self, named},
    controls::{engine_mode, on_or_off},
    lexer::Argument,
    mistake::{Notes, Wrong, shown},
    rules,
    selections::{self, filled, number},
    targets,
};

/// The directive that a word names.
pub(super) fn directive(word: &str) -> Result<&'static Directive, Wrong> {
    DIRECTIVES
        .iter()
        .find(|directive| word.eq_ignore_ascii_case(directive.word))
        .ok_or_else(|| {
            if word.starts_with('<') {
                return Wrong::new(format!(
                    "`{}` is a section of Apache's configuration; write its directives without it",
                    shown(word)
                ));
            }
            let known = DIRECTIVES.iter().map(|directive| directive.word);
            Wrong::unknown("directive", word, known)
        })
}

/// A documented directive.
#[derive(Debug)]
pub(super) struct Directive {
    pub(super) word: &'static str,
    pub(super) form: Form,
}

/// What becomes of a directive.
#[derive(Debug)]
pub(super) enum Form {
    /// `SecRule`.
    Rule,
    /// `SecAction`.
    Action,
    /// `Include`; a pattern without files is a mistake.
    Include,
    /// `IncludeOptional`; or not.
    IncludeOptional,
    /// Its arguments say it all; what is wrong in one of them is noted at its place.
    Plain(fn(&[Argument], &mut [Notes]) -> Result<DirectiveKind, Wrong>),
    /// One value.
    Set(fn(&str) -> Result<Setting, Wrong>),
    /// It means nothing here.
    NoEffect,
    /// It means nothing here as long as it says this.
    NoEffectIf(&'static str, &'static str),
    /// It cannot be had, and without it less would be protected than the text says.
    Refused(&'static str),
}

const fn of(word: &'static str, form: Form) -> Directive {
    Directive { word, form }
}

/// Every directive that ModSecurity 2 and 3 document, and Apache's `Include`.
const DIRECTIVES: &[Directive] = &[
    // ---- rules
    of("SecRule", Form::Rule),
    of("SecAction", Form::Action),
    of("Include", Form::Include),
    of("IncludeOptional", Form::IncludeOptional),
    of("SecMarker", Form::Plain(marker)),
    of("SecDefaultAction", Form::Plain(default_action)),
    of("SecComponentSignature", Form::Plain(component)),
    of("SecRuleEngine", Form::Plain(engine)),
    of("SecRuleRemoveById", Form::Plain(remove_by_id)),
    of(
        "SecRuleRemoveByMsg",
        Form::Plain(|words, _| remove(words, selections::message)),
    ),
    of(
        "SecRuleRemoveByTag",
        Form::Plain(|words, _| remove(words, selections::tag)),
    ),
    of("SecRuleUpdateActionById", Form::Plain(update_actions)),
    of(
        "SecRuleUpdateTargetById",
        Form::Plain(|words, notes| update_targets(words, notes, selections::ids)),
    ),
    of(
        "SecRuleUpdateTargetByMsg",
        Form::Plain(|words, notes| update_targets(words, notes, selections::message)),
    ),
    of(
        "SecRuleUpdateTargetByTag",
        Form::Plain(|words, notes| update_targets(words, notes, selections::tag)),
    ),
    // ---- settings
    of("SecArgumentSeparator", Form::Set(argument_separator)),
    of(
        "SecArgumentsLimit",
        Form::Set(|text| number(text, 1..=1_000_000).map(Setting::ArgumentsLimit)),
    ),
    of(
        "SecCollectionTimeout",
        Form::Set(|text| number(text, 0..=u32::MAX).map(Setting::CollectionTimeout)),
    ),
    of(
        "SecCookieFormat",
        Form::Set(|text| number(text, 0..=1).map(Setting::CookieFormat)),
    ),
    of(
        "SecRequestBodyAccess",
        Form::Set(|text| on_or_off(text).map(Setting::RequestBodyAccess)),
    ),
    of(
        "SecRequestBodyJsonDepthLimit",
        Form::Set(|text| number(text, 1..=1_000_000).map(Setting::JsonDepthLimit)),
    ),
    of(
        "SecRequestBodyLimit",
        Form::Set(|text| bytes(text).map(Setting::RequestBodyLimit)),
    ),
    of(
        "SecRequestBodyLimitAction",
        Form::Set(|text| reject(text).map(Setting::RequestBodyLimitReject)),
    ),
    of(
        "SecRequestBodyNoFilesLimit",
        Form::Set(|text| bytes(text).map(Setting::RequestBodyNoFilesLimit)),
    ),
    of(
        "SecResponseBodyAccess",
        Form::Set(|text| on_or_off(text).map(Setting::ResponseBodyAccess)),
    ),
    of(
        "SecResponseBodyLimit",
        Form::Set(|text| bytes(text).map(Setting::ResponseBodyLimit)),
    ),
    of(
        "SecResponseBodyLimitAction",
        Form::Set(|text| reject(text).map(Setting::ResponseBodyLimitReject)),
    ),
    of("SecResponseBodyMimeType", Form::Plain(response_types)),
    of(
        "SecResponseBodyMimeTypesClear",
        Form::Plain(no_response_types),
    ),
    of(
        "SecUnicodeCodePage",
        Form::Set(|text| {
            number(text, 0..=65_535_u32).map(|page| Setting::UnicodeMap(page.to_string()))
        }),
    ),
    of("SecUnicodeMapFile", Form::Plain(unicode_map)),
    of(
        "SecUploadFileLimit",
        Form::Set(|text| number(text, 0..=1_000_000).map(Setting::UploadFileLimit)),
    ),
    // ---- logs, temporary files, the other servers' inner life
    of("SecAuditEngine", Form::NoEffect),
    of("SecAuditLog", Form::NoEffect),
    of("SecAuditLog2", Form::NoEffect),
    of("SecAuditLogDirMode", Form::NoEffect),
    of("SecAuditLogFileMode", Form::NoEffect),
    of("SecAuditLogFormat", Form::NoEffect),
    of("SecAuditLogParts", Form::NoEffect),
    of("SecAuditLogPrefix", Form::NoEffect),
    of("SecAuditLogRelevantStatus", Form::NoEffect),
    of("SecAuditLogStorageDir", Form::NoEffect),
    of("SecAuditLogType", Form::NoEffect),
    of("SecCacheTransformations", Form::NoEffect),
    of(
        "SecChrootDir",
        Form::Refused("start the program in a container or by a service manager that confines it"),
    ),
    of("SecConnEngine", Form::NoEffect),
    of("SecConnReadStateLimit", Form::NoEffect),
    of("SecConnWriteStateLimit", Form::NoEffect),
    of("SecContentInjection", Form::NoEffect),
    of(
        "SecCookieV0Separator",
        Form::NoEffectIf(";", "cookies are separated by `;`"),
    ),
    of("SecDataDir", Form::NoEffect),
    of("SecDebugLog", Form::NoEffect),
    of("SecDebugLogLevel", Form::NoEffect),
    of("SecDisableBackendCompression", Form::NoEffect),
    of("SecGeoLookupDb", Form::NoEffect),
    of("SecGsbLookupDb", Form::NoEffect),
    of("SecGuardianLog", Form::Refused("no program is run")),
    of(
        "SecHashEngine",
        Form::NoEffectIf("Off", "links are not signed"),
    ),
    of("SecHashKey", Form::NoEffect),
    of("SecHashMethodPm", Form::NoEffect),
    of("SecHashMethodRx", Form::NoEffect),
    of("SecHashParam", Form::NoEffect),
    of("SecHttpBlKey", Form::NoEffect),
    of("SecInterceptOnError", Form::NoEffect),
    of(
        "SecParseXmlIntoArgs",
        Form::NoEffectIf(
            "Off",
            "XML is looked at by `XML:/*` and `XML://@*`; it makes no arguments",
        ),
    ),
    of("SecPcreMatchLimit", Form::NoEffect),
    of("SecPcreMatchLimitRecursion", Form::NoEffect),
    of("SecReadStateLimit", Form::NoEffect),
    of(
        "SecRemoteRules",
        Form::Refused("rules come from files that you have seen"),
    ),
    of(
        "SecRemoteRulesFailAction",
        Form::Refused("rules come from files that you have seen"),
    ),
    of("SecRequestBodyInMemoryLimit", Form::NoEffect),
    of(
        "SecRuleInheritance",
        Form::Refused(
            "there are no contexts to inherit from; say in the configuration which operation has which rules",
        ),
    ),
    of("SecRulePerfTime", Form::NoEffect),
    of("SecRuleScript", Form::Refused("no script is run")),
    of("SecSensorId", Form::NoEffect),
    of("SecServerSignature", Form::NoEffect),
    of("SecStatusEngine", Form::NoEffect),
    of("SecStreamInBodyInspection", Form::NoEffect),
    of("SecStreamOutBodyInspection", Form::NoEffect),
    of("SecTmpDir", Form::NoEffect),
    of("SecTmpSaveUploadedFiles", Form::NoEffect),
    of("SecUploadDir", Form::NoEffect),
    of("SecUploadFileMode", Form::NoEffect),
    of("SecUploadKeepFiles", Form::NoEffect),
    of("SecWebAppId", Form::NoEffect),
    of("SecWriteStateLimit", Form::NoEffect),
    of(
        "SecXmlExternalEntity",
        Form::NoEffectIf("Off", "external entities are never read"),
    ),
];

/// Exactly so many arguments.
pub(super) fn exactly<const N: usize>(words: &[Argument]) -> Result<&[Argument; N], Wrong> {
    words.try_into().map_err(|_| {
        Wrong::new(format!(
            "{N} argument{} expected, not {}",
            if N == 1 { " is" } else { "s are" },
            words.len()
        ))
    })
}

fn marker(words: &[Argument], _: &mut [Notes]) -> Result<DirectiveKind, Wrong> {
    let [name] = exactly(words)?;
    Ok(DirectiveKind::Marker(
        filled(&name.text, "a name")?.to_owned(),
    ))
}

fn component(words: &[Argument], _: &mut [Notes]) -> Result<DirectiveKind, Wrong> {
    let [name] = exactly(words)?;
    Ok(DirectiveKind::Component(name.text.clone()))
}

fn engine(words: &[Argument], _: &mut [Notes]) -> Result<DirectiveKind, Wrong> {
    let [mode] = exactly(words)?;
    Ok(DirectiveKind::Engine(engine_mode(&mode.text)?))
}

fn default_action(words: &[Argument], notes: &mut [Notes]) -> Result<DirectiveKind, Wrong> {
    let [list] = exactly(words)?;
    let Some(notes) = notes.first_mut() else {
        return Err(Wrong::new("an argument is missing"));
    };
    let actions = actions::list(&list.text, notes);
    let (phase, actions) = rules::defaults(actions, notes)?;
    Ok(DirectiveKind::DefaultAction { phase, actions })
}

fn remove_by_id(words: &[Argument], _: &mut [Notes]) -> Result<DirectiveKind, Wrong> {
    let all: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    Ok(DirectiveKind::Remove(selections::ids(&all.join(" "))?))
}

fn remove(
    words: &[Argument],
    select: fn(&str) -> Result<Selection, Wrong>,
) -> Result<DirectiveKind, Wrong> {
    let [text] = exactly(words)?;
    Ok(DirectiveKind::Remove(select(&text.text)?))
}

fn update_targets(
    words: &[Argument],
    notes: &mut [Notes],
    select: fn(&str) -> Result<Selection, Wrong>,
) -> Result<DirectiveKind, Wrong> {
    let (selection, added, replaced) = match words {
        [selection, added] => (selection, added, None),
        [selection, added, replaced] => (selection, added, Some(replaced)),
        _ => {
            return Err(Wrong::new(format!(
                "2 or 3 arguments are expected, not {}",
                words.len()
            )));
        }
    };
    let mut noted = notes.iter_mut().skip(1);
    let mut read = |list: &Argument| match noted.next() {
        Some(notes) => targets::list(&list.text, notes),
        None => Vec::new(),
    };
    Ok(DirectiveKind::UpdateTargets {
        rules: select(&selection.text)?,
        targets: read(added),
        replaced: replaced.map(read).unwrap_or_default(),
    })
}

fn update_actions(words: &[Argument], notes: &mut [Notes]) -> Result<DirectiveKind, Wrong> {
    let [rule, list] = exactly(words)?;
    let (id, link) = match rule.text.split_once(':') {
        Some((id, link)) => (id, number(link, 0..=1_000)?),
        None => (rule.text.as_str(), 0),
    };
    let id = selections::id(id)?;
    let Some(notes) = notes.get_mut(1) else {
        return Err(Wrong::new("an argument is missing"));
    };
    let actions = actions::list(&list.text, notes);
    Ok(DirectiveKind::UpdateActions {
        id,
        link,
        actions: rules::updates(actions, notes),
    })
}

fn response_types(words: &[Argument], _: &mut [Notes]) -> Result<DirectiveKind, Wrong> {
    let types: Vec<String> = words
        .iter()
        .flat_map(|word| word.text.split_ascii_whitespace())
        .map(str::to_owned)
        .collect();
    if types.is_empty() {
        return Err(Wrong::new("a media type is missing"));
    }
    Ok(DirectiveKind::Set(Setting::ResponseBodyTypes(types)))
}

fn no_response_types(words: &[Argument], _: &mut [Notes]) -> Result<DirectiveKind, Wrong> {
    let [] = exactly(words)?;
    Ok(DirectiveKind::Set(Setting::ResponseBodyTypes(Vec::new())))
}

/// `unicode.mapping 20127`: the file is not read, for the map of the page is built in.
fn unicode_map(words: &[Argument], _: &mut [Notes]) -> Result<DirectiveKind, Wrong> {
    let page = match words {
        [_, page] => number(&page.text, 0..=65_535_u32)?.to_string(),
        [_] => "20127".to_owned(),
        _ => {
            return Err(Wrong::new(
                "a file and the number of a code page are expected",
            ));
        }
    };
    Ok(DirectiveKind::Set(Setting::UnicodeMap(page)))
}

fn argument_separator(text: &str) -> Result<Setting, Wrong> {
    match text.as_bytes() {
        [separator] if separator.is_ascii_punctuation() => {
            Ok(Setting::ArgumentSeparator(*separator))
        }
        _ => Err(Wrong::new(format!(
            "`{}` is no separator, which is one character such as `&`",
            shown(text)
        ))),
    }
}

fn bytes(text: &str) -> Result<u64, Wrong> {
    number(text, 0..=i64::MAX.unsigned_abs())
}

fn reject(text: &str) -> Result<bool, Wrong> {
    named(
        &[("Reject", true), ("ProcessPartial", false)],
        "value",
        text,
    )
}
