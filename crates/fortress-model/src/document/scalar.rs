//! What a YAML scalar means under YAML 1.2's core schema (section 10.3.2): `on`, `no` and `yes` are
//! strings; so are dates, durations and versions.
//!
//! Deliberately not here: where scalars stand.

use saphyr_parser::Tag;

use super::{Value, read::shorten};

/// A scalar that has no value here.
#[derive(Debug)]
pub(super) struct Wrong {
    /// What is wrong.
    pub(super) message: String,
    /// What to write instead.
    pub(super) help: &'static str,
}

/// The value of a scalar without quotes and without a tag.
pub(super) fn plain(text: &str) -> Result<Value, Wrong> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        _ => {}
    }
    if !text.starts_with([
        '+', '-', '.', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9',
    ]) {
        return Ok(Value::String(text.into()));
    }
    if is_not_finite(text) {
        return Err(Wrong {
            message: format!("`{text}` is not a number that JSON has"),
            help: "write a finite number, or put the text in quotes",
        });
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(text, digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(text, digits, 8);
    }
    Ok(number(text).map_or_else(|| Value::String(text.into()), Value::Number))
}

/// The value of a scalar with a tag.
pub(super) fn tagged(text: &str, tag: &Tag) -> Result<Value, Wrong> {
    if tag.handle.is_empty() && tag.suffix == "!" || tag.handle == "!" && tag.suffix.is_empty() {
        return Ok(Value::String(text.into()));
    }
    if !tag.is_yaml_core_schema() {
        return Err(unknown_tag(tag));
    }
    let value = plain(text)?;
    let fits = match tag.suffix.as_str() {
        "str" => return Ok(Value::String(text.into())),
        "null" => matches!(value, Value::Null),
        "bool" => matches!(value, Value::Bool(_)),
        "int" => matches!(&value, Value::Number(number) if !number.contains(['.', 'e', 'E'])),
        "float" => matches!(value, Value::Number(_)),
        _ => return Err(unknown_tag(tag)),
    };
    if fits {
        return Ok(value);
    }
    Err(Wrong {
        message: format!("`{}` is not `!!{}`", shorten(text), tag.suffix),
        help: "remove the tag",
    })
}

/// A tag that has no meaning here.
pub(super) fn unknown_tag(tag: &Tag) -> Wrong {
    let shown = if tag.is_yaml_core_schema() {
        format!("!!{}", tag.suffix)
    } else {
        format!("{}{}", tag.handle, tag.suffix)
    };
    Wrong {
        message: format!("tag `{}` is not supported", shorten(&shown)),
        help: "remove the tag; of tags there are `!!str`, `!!int`, `!!float`, `!!bool`, `!!null`, `!!seq` and `!!map`",
    }
}

fn is_not_finite(text: &str) -> bool {
    matches!(text, ".nan" | ".NaN" | ".NAN")
        || matches!(
            text.trim_start_matches(['+', '-']),
            ".inf" | ".Inf" | ".INF"
        ) && text.len() <= 5
}

fn radix(text: &str, digits: &str, radix: u32) -> Result<Value, Wrong> {
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Ok(Value::String(text.into()));
    }
    match u128::from_str_radix(digits, radix) {
        Ok(number) => Ok(Value::Number(number.to_string().into())),
        Err(_) => Err(Wrong {
            message: format!("`{}` is too large a number", shorten(text)),
            help: "write at most 128 bits, or put the text in quotes",
        }),
    }
}

/// A decimal number as JSON writes it, with every digit kept: `+.5` is `0.5`, `007` is `7`, `3.` is
/// `3.0`. `None` if it is no number.
fn number(text: &str) -> Option<Box<str>> {
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let exponent_digits =
        exponent.map(|exponent| exponent.strip_prefix(['+', '-']).unwrap_or(exponent));
    let has_digits = !whole.is_empty() || fraction.is_some_and(|fraction| !fraction.is_empty());
    let is_number = has_digits
        && all_digits(whole)
        && fraction.is_none_or(all_digits)
        && exponent_digits.is_none_or(|digits| !digits.is_empty() && all_digits(digits));
    if !is_number {
        return None;
    }
    let trimmed = whole.trim_start_matches('0');
    let whole_is_json = !whole.is_empty() && (whole == "0" || trimmed.len() == whole.len());
    if whole_is_json && fraction != Some("") && !text.starts_with('+') {
        return Some(text.into());
    }
    let whole = if trimmed.is_empty() { "0" } else { trimmed };
    let mut json = format!("{sign}{whole}");
    if let Some(fraction) = fraction {
        json.push('.');
        json.push_str(if fraction.is_empty() { "0" } else { fraction });
    }
    if let (Some(exponent), Some(letter)) =
        (exponent, unsigned.chars().find(|c| matches!(c, 'e' | 'E')))
    {
        json.push(letter);
        json.push_str(exponent);
    }
    Some(json.into())
}
