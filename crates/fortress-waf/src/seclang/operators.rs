//! What a rule asks: `!@rx …`, `@pmFromFile a.data b.data`, a bare regular expression.
//!
//! Arguments are kept as text. Whether an expression or a network is one is the compiler's question.

use super::{
    Operator, Template, Test,
    mistake::{Notes, Wrong, shown},
    selections,
};

/// Reads a data file that an operator names.
pub(super) type ReadData<'a> = dyn FnMut(&str) -> Result<Vec<u8>, String> + 'a;

pub(super) fn test(text: &str, read: &mut ReadData<'_>, notes: &mut Notes) -> Result<Test, Wrong> {
    let text = text.trim_ascii_start();
    let (negated, asked) = match text.strip_prefix('!') {
        Some(rest) => (true, rest.trim_ascii_start()),
        None => (false, text),
    };
    let (operator, written) = match asked.strip_prefix('@') {
        Some(named) => {
            let (word, argument) = named
                .split_once(|character: char| character.is_ascii_whitespace())
                .unwrap_or((named, ""));
            (operator(word, notes)?, argument.trim_ascii_start())
        }
        None => (Some(Operator::Rx), asked),
    };
    let Some(operator) = operator else {
        return Ok(Test {
            negated,
            operator: Operator::NoMatch,
            argument: Template::default(),
            lines: Vec::new(),
        });
    };
    let of_files = matches!(operator, Operator::PmFromFile | Operator::IpMatchFromFile);
    let lines = if of_files {
        data(operator, written, read)?
    } else {
        Vec::new()
    };
    Ok(Test {
        negated,
        operator,
        argument: argument(operator, written)?,
        lines,
    })
}

/// The operator that a word names; `None` for one that is documented and can match nothing here.
fn operator(word: &str, notes: &mut Notes) -> Result<Option<Operator>, Wrong> {
    if let Some(operator) = Operator::from_word(word) {
        return Ok(Some(operator));
    }
    for unanswered in UNANSWERED {
        if unanswered
            .strip_prefix('@')
            .is_some_and(|known| word.eq_ignore_ascii_case(known))
        {
            notes.without_effect.push((0, unanswered));
            return Ok(None);
        }
    }
    for (refused, why) in REFUSED {
        if word.eq_ignore_ascii_case(refused) {
            return Err(Wrong::new(format!(
                "the operator `{refused}` is not supported: {why}"
            )));
        }
    }
    let known = Operator::ALL.iter().map(|operator| operator.word());
    Err(Wrong::unknown("operator", word, known))
}

fn argument(operator: Operator, written: &str) -> Result<Template, Wrong> {
    match expects(operator) {
        Expects::Nothing if written.is_empty() => Ok(Template::default()),
        Expects::Nothing => Err(Wrong::new(format!(
            "`@{}` takes no argument, but `{}` follows",
            operator.word(),
            shown(written)
        ))),
        Expects::Literal | Expects::Text | Expects::Number if written.is_empty() => Err(
            Wrong::new(format!("`@{}` needs an argument", operator.word())),
        ),
        Expects::Literal => literal(operator, written),
        Expects::Text | Expects::TextOrNothing => Template::parse(written),
        Expects::Number => {
            let written = written.trim_ascii_end();
            let template = Template::parse(written)?;
            if template.literal().is_some() {
                selections::number(written, i64::MIN..=i64::MAX)?;
            }
            Ok(template)
        }
    }
}

/// `%{(` may well be a phrase; a macro of a variable that there is would be one in vain.
fn literal(operator: Operator, written: &str) -> Result<Template, Wrong> {
    let plain = Template::plain(written.as_bytes());
    match Template::parse(written) {
        Ok(template) if template != plain => Err(Wrong::new(format!(
            "`@{}` takes no macros",
            operator.word()
        ))),
        _ => Ok(plain),
    }
}

enum Expects {
    Nothing,
    /// Text in which `%{` is text.
    Literal,
    /// Text that may have macros.
    Text,
    TextOrNothing,
    Number,
}

fn expects(operator: Operator) -> Expects {
    match operator {
        Operator::DetectSqli
        | Operator::DetectXss
        | Operator::NoMatch
        | Operator::UnconditionalMatch
        | Operator::ValidateUrlEncoding
        | Operator::ValidateUtf8Encoding => Expects::Nothing,
        Operator::IpMatch
        | Operator::IpMatchFromFile
        | Operator::Pm
        | Operator::PmFromFile
        | Operator::ValidateByteRange
        | Operator::VerifyCc
        | Operator::VerifyCpf
        | Operator::VerifySsn
        | Operator::VerifySvnr => Expects::Literal,
        Operator::BeginsWith
        | Operator::Contains
        | Operator::ContainsWord
        | Operator::EndsWith
        | Operator::Rx
        | Operator::RxGlobal
        | Operator::StrMatch => Expects::Text,
        Operator::StrEq | Operator::Within => Expects::TextOrNothing,
        Operator::Eq | Operator::Ge | Operator::Gt | Operator::Le | Operator::Lt => Expects::Number,
    }
}

/// The lines of the files that are named.
fn data(operator: Operator, names: &str, read: &mut ReadData<'_>) -> Result<Vec<Vec<u8>>, Wrong> {
    let mut lines = Vec::new();
    for name in names.split_ascii_whitespace() {
        if name.contains("://") {
            return Err(Wrong::new(format!(
                "`@{}` reads files only, not `{}`",
                operator.word(),
                shown(name)
            )));
        }
        let bytes = read(name)
            .map_err(|why| Wrong::new(format!("cannot read `{}`: {why}", shown(name))))?;
        lines.extend(
            bytes
                .split(|byte| *byte == b'\n')
                .map(<[u8]>::trim_ascii)
                .filter(|line| !line.is_empty() && !line.starts_with(b"#"))
                .map(<[u8]>::to_vec),
        );
    }
    Ok(lines)
}

/// Documented operators that ask others. Nobody is asked here, so they match as they do elsewhere
/// when nobody answers: never.
const UNANSWERED: &[&str] = &["@geoLookup", "@rbl"];

/// Documented operators without which a rule would protect nobody.
const REFUSED: &[(&str, &str)] = &[
    ("fuzzyHash", "it compares with a database of files"),
    ("gsbLookup", "its service no longer exists"),
    ("inspectFile", "it runs a program for each request"),
    (
        "validateDTD",
        "XML is not validated; describe the body in OpenAPI instead",
    ),
    ("validateHash", "links are not signed"),
    (
        "validateSchema",
        "XML is not validated; describe the body in OpenAPI instead",
    ),
];
