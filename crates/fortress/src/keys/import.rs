//! `fortress keys import`: keys that were made elsewhere, all or none.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use fortress_auth::api_key::{Access, Digest, Environment, KeyId, KeyRecord, Label};
use fortress_model::Timestamp;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Value, json};

use super::{Keys, scope};
use crate::{
    command::End,
    screen::{BAD, GOOD, Screen, count, safe},
    times::moment_of,
};

/// Bytes of a file.
const MAX_FILE: u64 = 1 << 30;
/// Mistakes that are shown.
const MAX_SHOWN: usize = 20;

#[derive(Debug, clap::Args)]
pub(super) struct Flags {
    /// CSV if it ends with `.csv`, else a JSON object a line
    file: PathBuf,
    /// Says what is wrong, and imports nothing
    #[arg(long)]
    dry_run: bool,
}

/// What a record says, by name.
type Fields = BTreeMap<String, Vec<String>>;

pub(super) fn run(keys: &Keys, flags: &Flags, screen: &Screen) -> Result<End> {
    let text = read(&flags.file)?;
    let is_csv = flags
        .file
        .extension()
        .is_some_and(|end| end.eq_ignore_ascii_case("csv"));
    let records = if is_csv { csv(&text) } else { ndjson(&text) };
    let mut good: Vec<KeyRecord> = Vec::new();
    let mut wrong: Vec<(usize, String)> = Vec::new();
    let mut ids: BTreeMap<KeyId, usize> = BTreeMap::new();
    for (line, fields) in records {
        match fields.and_then(|fields| record(keys, fields)) {
            Ok(record) => match ids.insert(record.id, line) {
                Some(first) => wrong.push((line, format!("the key of line {first} again"))),
                None => good.push(record),
            },
            Err(why) => wrong.push((line, why)),
        }
    }
    if wrong.is_empty() && !flags.dry_run {
        keys.store.insert_keys(&good)?;
    }
    report(flags, &good, &wrong, screen);
    Ok(if wrong.is_empty() {
        End::Fine
    } else {
        End::Findings
    })
}

fn report(flags: &Flags, good: &[KeyRecord], wrong: &[(usize, String)], screen: &Screen) {
    let imported = if flags.dry_run || !wrong.is_empty() {
        0
    } else {
        good.len()
    };
    if screen.is_json() {
        let mistakes: Vec<_> = wrong
            .iter()
            .map(|(line, why)| json!({ "line": line, "error": why }))
            .collect();
        screen.line(
            json!({ "imported": imported, "valid": good.len(), "errors": mistakes }).to_string(),
        );
        return;
    }
    for (line, why) in wrong.iter().take(MAX_SHOWN) {
        screen.line(format!("{BAD}line {line}{BAD:#}: {}", safe(why)));
    }
    if wrong.len() > MAX_SHOWN {
        screen.line(format!("and {} more", wrong.len() - MAX_SHOWN));
    }
    screen.line(match (wrong.is_empty(), flags.dry_run) {
        (true, false) => format!("{GOOD}imported{GOOD:#} {}", count(good.len(), "key")),
        (true, true) => format!("{GOOD}fine{GOOD:#}: {}", count(good.len(), "key")),
        (false, _) => format!(
            "nothing was imported: {} of {} cannot be",
            wrong.len(),
            count(good.len() + wrong.len(), "record")
        ),
    });
}

fn read(path: &Path) -> Result<String> {
    let cannot = || format!("cannot read `{}`", path.display());
    let mut text = String::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text))
        .with_context(cannot)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > MAX_FILE {
        bail!("`{}` has more than 1 GiB", path.display());
    }
    Ok(text)
}

/// A record, without ever repeating what may be a key.
fn record(keys: &Keys, mut fields: Fields) -> Result<KeyRecord, String> {
    let owner = one(&mut fields, "owner")?.ok_or("it has no `owner`")?;
    let owner = Label::new(&owner).map_err(|error| format!("`owner`: {error}"))?;
    let environment = one(&mut fields, "env")?;
    let (id, digest, said) = key(keys, &mut fields)?;
    let environment = match (environment, said) {
        (Some(name), Some(said)) if name != said => {
            return Err(format!("`env` is `{name}`, and the key says `{said}`"));
        }
        (Some(name), _) | (None, Some(name)) => name,
        (None, None) => "live".into(),
    };
    let environment = Environment::new(&environment).map_err(|error| format!("`env`: {error}"))?;
    let created = time(&mut fields, "created")?.unwrap_or(keys.now);
    let mut record = KeyRecord::new(id, environment.clone(), owner, digest, created);
    record.access = Access {
        environment,
        roles: labels(&mut fields, "roles", super::label)?,
        scopes: labels(&mut fields, "scopes", scope)?,
        operations: labels(&mut fields, "operations", super::label)?,
        addresses: labels(&mut fields, "addresses", super::network)?,
    };
    record.expires = time(&mut fields, "expires")?;
    record.revoked = time(&mut fields, "revoked")?;
    match fields.keys().next() {
        Some(unknown) => Err(format!("`{unknown}` is not known")),
        None => Ok(record),
    }
}

/// The id, the digest, and the environment that the key itself says.
fn key(keys: &Keys, fields: &mut Fields) -> Result<(KeyId, Digest, Option<String>), String> {
    let (text, hash) = (one(fields, "key")?, one(fields, "sha256")?);
    let id = one(fields, "id")?;
    let id = match id.map(|id| id.parse::<KeyId>()) {
        Some(Err(error)) => return Err(format!("`id`: {error}")),
        Some(Ok(id)) => Some(id),
        None => None,
    };
    match (text, hash, id) {
        (Some(text), None, None) => {
            let (id, digest) = keys.pepper.read(&text).map_err(|error| error.to_string())?;
            let own = fortress_auth::api_key::ApiKey::parse(&text).ok();
            Ok((id, digest, own.map(|key| key.environment().to_owned())))
        }
        (None, Some(hash), id) => {
            let bytes = sha256(&hash).ok_or("`sha256` has not 64 hexadecimal digits")?;
            let digest = keys.pepper.digest_of_hash(&bytes);
            Ok((id.unwrap_or_else(|| digest.foreign_id()), digest, None))
        }
        (Some(_), _, _) => Err("`key` stands with neither `sha256` nor `id`".into()),
        (None, None, _) => Err("it has neither `key` nor `sha256`".into()),
    }
}

fn sha256(text: &str) -> Option<[u8; 32]> {
    let is_hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut bytes = [0; 32];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    is_hex.then_some(bytes)
}

fn one(fields: &mut Fields, name: &str) -> Result<Option<String>, String> {
    let mut values = fields.remove(name).unwrap_or_default();
    match values.len() {
        0 | 1 => Ok(values.pop()),
        _ => Err(format!("`{name}` has more than one value")),
    }
}

fn time(fields: &mut Fields, name: &str) -> Result<Option<Timestamp>, String> {
    let text = one(fields, name)?;
    let time = text.map(|text| moment_of(&text).map_err(|error| format!("`{name}`: {error}")));
    time.transpose()
}

fn labels<T>(
    fields: &mut Fields,
    name: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let values = fields.remove(name).unwrap_or_default();
    let values = values.iter().map(|value| read(value));
    values
        .collect::<Result<_, _>>()
        .map_err(|error| format!("`{name}`: {error}"))
}

type Lines = Vec<(usize, Result<Fields, String>)>;

fn ndjson(text: &str) -> Lines {
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| (number + 1, object(line)))
        .collect()
}

fn object(line: &str) -> Result<Fields, String> {
    let Members(members) = serde_json::from_str(line).map_err(|error| {
        // What the parser says could quote a key.
        if error.is_data() {
            "it is not an object"
        } else {
            "it is not JSON"
        }
    })?;
    let text = |value: Value| match value {
        Value::String(text) => Ok(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err(())
        }
    };
    let mut fields = Fields::new();
    for (name, value) in members {
        let values = match value {
            Value::Null => Ok(Vec::new()),
            Value::Array(items) => items.into_iter().map(text).collect(),
            other @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
                text(other).map(|text| vec![text])
            }
        };
        let values = values.map_err(|()| format!("`{}` is not a text", safe(&name)))?;
        if fields.insert(name.clone(), values).is_some() {
            return Err(format!("`{}` stands twice", safe(&name)));
        }
    }
    fields.retain(|_, values| !values.is_empty());
    Ok(fields)
}

/// The members of an object, each of them: a map would keep the last of those that stand twice.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

/// CSV with a heading (RFC 4180): fields in quotes may hold commas, line breaks, and quotes twice.
fn csv(text: &str) -> Lines {
    let mut rows = rows(text).into_iter();
    let heading = match rows.next() {
        Some((_, Ok(heading))) => heading,
        Some((line, Err(why))) => return vec![(line, Err(why))],
        None => return Vec::new(),
    };
    let twice = |(at, name): (usize, &String)| heading.iter().skip(at + 1).any(|one| one == name);
    if let Some((at, name)) = heading.iter().enumerate().find(|one| twice(*one)) {
        let why = format!(
            "the heading names `{}` twice, in field {}",
            safe(name),
            at + 1
        );
        return vec![(1, Err(why))];
    }
    let record = |row: Vec<String>| {
        if row.len() != heading.len() {
            return Err(format!(
                "it has {} fields, and the heading {}",
                row.len(),
                heading.len()
            ));
        }
        let mut fields = Fields::new();
        for (name, value) in heading.iter().zip(row) {
            let is_list = ["roles", "scopes", "operations", "addresses"].contains(&name.as_str());
            let values: Vec<String> = if is_list {
                let values = value.split(';').map(str::trim);
                values
                    .filter(|value| !value.is_empty())
                    .map(str::to_owned)
                    .collect()
            } else if value.is_empty() {
                Vec::new()
            } else {
                vec![value]
            };
            if !values.is_empty() {
                fields.insert(name.clone(), values);
            }
        }
        Ok(fields)
    };
    rows.map(|(line, row)| (line, row.and_then(record)))
        .collect()
}

type Row = (usize, Result<Vec<String>, String>);

fn rows(text: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut characters = text.trim_start_matches('\u{feff}').chars().peekable();
    let mut line = 1;
    while characters.peek().is_some() {
        let first = line;
        let (mut row, mut field, mut quoted, mut wrong) = (Vec::new(), String::new(), false, None);
        let mut is_quoted_field = false;
        loop {
            let Some(next) = characters.next() else {
                if quoted {
                    wrong = Some("a quote is never closed".to_owned());
                }
                break;
            };
            match next {
                '"' if quoted && characters.peek() == Some(&'"') => {
                    characters.next();
                    field.push('"');
                }
                '"' if quoted => quoted = false,
                '"' if field.is_empty() && !is_quoted_field => {
                    (quoted, is_quoted_field) = (true, true)
                }
                '"' => wrong = Some("a quote stands within a field without quotes".to_owned()),
                ',' if !quoted => {
                    row.push(std::mem::take(&mut field));
                    is_quoted_field = false;
                }
                '\n' if !quoted => {
                    line += 1;
                    break;
                }
                '\r' if !quoted && characters.peek() == Some(&'\n') => {}
                other => {
                    line += usize::from(other == '\n');
                    field.push(other);
                }
            }
        }
        row.push(field);
        if row.iter().any(|field| !field.is_empty()) || wrong.is_some() {
            rows.push((first, wrong.map_or(Ok(row), Err)));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn row(text: &str, expect: &[&str]) {
        let rows = rows(text);
        assert_eq!(rows.len(), 1, "{text:?}");
        assert_eq!(
            rows[0].1.as_deref(),
            Ok(&expect
                .iter()
                .map(|field| (*field).to_owned())
                .collect::<Vec<_>>()[..]),
            "{text:?}"
        );
    }

    #[test]
    fn csv_is_read_by_its_rules() {
        row("a,b", &["a", "b"]);
        row("a,b\r\n", &["a", "b"]);
        row("\u{feff}a,\n", &["a", ""]);
        row("\"a,b\",\"c\"\"d\",\"e\nf\"\n", &["a,b", "c\"d", "e\nf"]);
        assert!(rows("\n\n").is_empty());
        let numbered: Vec<_> = rows("a\n\n\"b\nc\"\nd\n")
            .into_iter()
            .map(|(line, _)| line)
            .collect();
        assert_eq!(numbered, [1, 3, 5]);
        assert!(rows("\"a").remove(0).1.is_err());
        assert!(rows("a\"b\n").remove(0).1.is_err());
    }

    #[test]
    fn csv_records_have_the_fields_of_their_heading() {
        let lines = csv("owner,scopes,env\nExample,a; b,\nshort\n");
        assert_eq!(lines.len(), 2);
        let fields = lines[0].1.as_ref().unwrap();
        assert_eq!(fields["owner"], ["Example"]);
        assert_eq!(fields["scopes"], ["a", "b"]);
        assert!(!fields.contains_key("env"));
        assert!(lines[1].1.as_ref().unwrap_err().contains("1 fields"));
    }

    #[test]
    fn json_lines_hold_texts_and_lists_of_texts() {
        let lines = ndjson(
            "{\"owner\":\"a\",\"scopes\":[\"b\",\"c\"],\"env\":null}\n\n[1]\n{\"key\":1}\nhunter2\n",
        );
        assert_eq!(lines[0].1.as_ref().unwrap()["scopes"], ["b", "c"]);
        let numbers: Vec<_> = lines.iter().map(|(line, _)| *line).collect();
        assert_eq!(numbers, [1, 3, 4, 5]);
        let twice = object("{\"owner\":\"a\",\"env\":null,\"env\":\"live\"}");
        assert!(twice.unwrap_err().contains("`env` stands twice"));
        assert!(object("[]").unwrap_err().contains("not an object"));
        for (_, line) in &lines[1..] {
            assert!(!line.as_ref().unwrap_err().contains("hunter2"));
        }
    }
}
