//! What a rule changes for its transaction: `ctl:ruleRemoveTargetById=942100;ARGS:token`.
//!
//! Whether the rules that are meant exist is the compiler's question.

use super::{
    Action, BodyProcessor, Control, EngineMode, Selection,
    actions::named,
    mistake::{Notes, Wrong},
    selections, targets,
};

/// The value of a `ctl`.
pub(super) fn control(text: &str, at: usize, notes: &mut Notes) -> Result<Action, Wrong> {
    let Some((word, value)) = text.split_once('=') else {
        return Err(Wrong::new("`ctl` needs `name=value`"));
    };
    let word = word.trim_ascii();
    let Some((known, parse)) = CONTROLS
        .iter()
        .find(|(known, _)| word.eq_ignore_ascii_case(known))
    else {
        let known = CONTROLS.iter().map(|(known, _)| *known);
        return Err(Wrong::unknown("`ctl`", word, known));
    };
    let control = parse(value.trim_ascii()).map_err(|wrong| Wrong {
        message: format!("`ctl:{known}`: {}", wrong.message),
        ..wrong
    })?;
    if let Control::WithoutEffect(name) = control {
        notes.without_effect.push((at, name));
    }
    Ok(Action::Control(control))
}

type Parse = fn(&str) -> Result<Control, Wrong>;

/// Every `ctl` that is documented.
const CONTROLS: &[(&str, Parse)] = &[
    ("auditEngine", |text| {
        named(
            &[("On", ()), ("Off", ()), ("RelevantOnly", ())],
            "value",
            text,
        )?;
        Ok(Control::WithoutEffect("ctl:auditEngine"))
    }),
    ("auditLogParts", |_| {
        Ok(Control::WithoutEffect("ctl:auditLogParts"))
    }),
    ("debugLogLevel", |text| {
        selections::number(text, 0..=9)?;
        Ok(Control::WithoutEffect("ctl:debugLogLevel"))
    }),
    ("forceRequestBodyVariable", |text| {
        on_or_off(text).map(Control::ForceRequestBodyVariable)
    }),
    ("hashEnforcement", |_| {
        Err(Wrong::new("links are not signed"))
    }),
    ("hashEngine", |_| Err(Wrong::new("links are not signed"))),
    ("parseXmlIntoArgs", |text| {
        if on_or_off(text)? {
            return Err(Wrong::new(
                "XML is looked at by `XML:/*` and `XML://@*`; it makes no arguments",
            ));
        }
        Ok(Control::WithoutEffect("ctl:parseXmlIntoArgs"))
    }),
    ("requestBodyAccess", |text| {
        on_or_off(text).map(Control::RequestBodyAccess)
    }),
    ("requestBodyLimit", |text| {
        selections::number(text, 0..=i64::MAX)?;
        Ok(Control::WithoutEffect("ctl:requestBodyLimit"))
    }),
    ("requestBodyProcessor", |text| {
        processor(text).map(Control::RequestBodyProcessor)
    }),
    ("responseBodyAccess", |text| {
        on_or_off(text).map(Control::ResponseBodyAccess)
    }),
    ("responseBodyLimit", |text| {
        selections::number(text, 0..=i64::MAX)?;
        Ok(Control::WithoutEffect("ctl:responseBodyLimit"))
    }),
    ("ruleEngine", |text| {
        engine_mode(text).map(Control::RuleEngine)
    }),
    ("ruleRemoveById", |text| {
        selections::ids(text).map(Control::RuleRemove)
    }),
    ("ruleRemoveByMsg", |text| {
        selections::message(text).map(Control::RuleRemove)
    }),
    ("ruleRemoveByTag", |text| {
        selections::tag(text).map(Control::RuleRemove)
    }),
    ("ruleRemoveTargetById", |text| {
        remove_target(text, selections::ids)
    }),
    ("ruleRemoveTargetByMsg", |text| {
        remove_target(text, selections::message)
    }),
    ("ruleRemoveTargetByTag", |text| {
        remove_target(text, selections::tag)
    }),
];

/// `On` or `Off`.
pub(super) fn on_or_off(text: &str) -> Result<bool, Wrong> {
    named(&[("On", true), ("Off", false)], "value", text)
}

/// `On`, `Off` or `DetectionOnly`.
pub(super) fn engine_mode(text: &str) -> Result<EngineMode, Wrong> {
    const MODES: &[(&str, EngineMode)] = &[
        ("On", EngineMode::On),
        ("Off", EngineMode::Off),
        ("DetectionOnly", EngineMode::DetectionOnly),
    ];
    named(MODES, "mode", text)
}

fn processor(text: &str) -> Result<BodyProcessor, Wrong> {
    const PROCESSORS: &[(&str, BodyProcessor)] = &[
        ("URLENCODED", BodyProcessor::UrlEncoded),
        ("MULTIPART", BodyProcessor::Multipart),
        ("JSON", BodyProcessor::Json),
        ("XML", BodyProcessor::Xml),
    ];
    named(PROCESSORS, "body processor", text)
}

fn remove_target(
    text: &str,
    select: fn(&str) -> Result<Selection, Wrong>,
) -> Result<Control, Wrong> {
    let (rules, target) = text
        .split_once(';')
        .ok_or_else(|| Wrong::new("`;` and a target are missing"))?;
    Ok(Control::RuleRemoveTarget {
        rules: select(rules.trim_ascii())?,
        target: targets::one(target.trim_ascii())?,
    })
}
