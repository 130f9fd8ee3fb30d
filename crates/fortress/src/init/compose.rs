//! The fortress.yaml that `init` writes: what is known, and clear places for what is not.
//!
//! Deliberately not here: how the answers came about.

use std::{fmt::Write as _, path::Path};

use anyhow::Result;
use fortress_spec::{
    ApiDescription,
    door::{DoorKind, door},
};

use super::{Answers, Flags, Open};
use crate::screen::safe;

/// The file.
pub(super) fn compose(
    flags: &Flags,
    description: &ApiDescription,
    answers: &Answers,
    open: &Open,
) -> Result<String> {
    let mut text = format!(
        "# Fortress in front of {}.\n# What is not said here is said by the description, or is the default: see `fortress schema`.\nversion: 1\n\nlisten:\n",
        comment(&format!("{} {}", description.title, description.version))
    );
    if flags.listen.ip().is_loopback() {
        writeln!(
            text,
            "  # To serve others, listen on another address, with TLS:\n  #   - {{ address: 0.0.0.0:8443, tls: {{ certificates: [{{ chain: file:tls/cert.pem, key: file:tls/key.pem }}] }} }}"
        )?;
    }
    writeln!(text, "  - address: {}", flags.listen)?;
    writeln!(text, "\napis:\n  {}:", name(description))?;
    writeln!(
        text,
        "    spec: {}",
        scalar(&beside(&flags.output, &flags.spec))
    )?;
    match &answers.upstream {
        Some(upstream) => writeln!(text, "    upstream: {}", scalar(upstream))?,
        None => writeln!(
            text,
            "    upstream:            # fill in: where requests go, such as http://127.0.0.1:3000"
        )?,
    }
    if open.protected > 0 && !answers.jwt_schemes.is_empty() {
        let pairs: Vec<String> = answers
            .jwt_schemes
            .iter()
            .map(|scheme| format!("{}: idp", scalar(scheme)))
            .collect();
        writeln!(text, "    security: {{ {} }}", pairs.join(", "))?;
    }
    let doors = doors(description);
    operations(&mut text, answers, open, &doors)?;
    text.push_str(LIMITS);
    if open.protected > 0 {
        identity(&mut text, flags, answers)?;
    }
    text.push('\n');
    if !doors.is_empty() {
        text.push_str(ONE_ANSWER);
    }
    text.push_str("detect: { stuffing: {}, enumeration: {} }\n");
    text.push_str("\njournal:\n  - { file: journal.ndjson, format: ocsf }\n");
    Ok(text)
}

/// How much anybody may do, until somebody knows better.
const LIMITS: &str = "
defaults:
  # For each caller, or each address where nobody is known. Lists nearer to an operation replace this.
  limits:
    - { per: principal, rate: 100/min, burst: 20 }
    - { per: principal, quota: 100000/day }
";

/// What clients notice of `login`.
const ONE_ANSWER: &str = "# Who fails at a `login` gets one answer, 401, whatever the upstream said; `uniform: false` there passes
# the upstream's own on.
";

/// Operations that let people in, by their ids, with what is said of them.
fn doors(description: &ApiDescription) -> Vec<(String, String)> {
    let operations = description.operations.iter();
    let doors = operations.filter_map(|operation| {
        let door = door(description, operation)?;
        let account = match &door.account {
            Some(path) => format!("body.{path}"),
            None => "principal".to_owned(),
        };
        let kind = match door.kind {
            DoorKind::Login => "",
            DoorKind::Otp => ", kind: otp",
            DoorKind::Reset => ", kind: reset",
            DoorKind::Registration => ", kind: registration",
        };
        // Beside the account stands `password`, if nothing else is said.
        let password = match &door.secret {
            Some(path) if path.rsplit('.').next() != Some("password") => {
                format!(", password: {}", scalar(&format!("body.{path}")))
            }
            Some(_) | None => String::new(),
        };
        let said = format!("login: {{ account: {}{password}{kind} }}", scalar(&account));
        Some((operation.id.to_string(), said))
    });
    doors.collect()
}

fn operations(
    text: &mut String,
    answers: &Answers,
    open: &Open,
    doors: &[(String, String)],
) -> Result<()> {
    let is_open = |id: &String| {
        let undecided = open.undeclared.iter();
        let unverified = open.unverified.iter().map(|(id, _)| id);
        open.marked
            .iter()
            .chain(undecided)
            .chain(unverified)
            .any(|other| other == id)
    };
    let alone: Vec<_> = doors.iter().filter(|(id, _)| !is_open(id)).collect();
    // What is said of an operation stands in one place.
    let public = |id: &String| match doors.iter().find(|(door, _)| door == id) {
        Some((_, said)) => format!("{{ public: true, {said} }}"),
        None => "{ public: true }".to_owned(),
    };
    let any = !open.marked.is_empty()
        || !open.undeclared.is_empty()
        || !open.unverified.is_empty()
        || !alone.is_empty();
    if !any {
        return Ok(());
    }
    // A mapping of comments alone would be null.
    if open.marked.is_empty() && alone.is_empty() {
        writeln!(text, "    # operations:")?;
    } else {
        writeln!(text, "    operations:")?;
    }
    let_in(text, &alone)?;
    if !open.marked.is_empty() {
        writeln!(text, "      # Anyone may call these.")?;
        let tags: Vec<&String> = answers
            .public
            .iter()
            .filter(|name| name.starts_with("tag:"))
            .collect();
        for tag in tags {
            writeln!(text, "      {}: {{ public: true }}", scalar(tag))?;
        }
        for operation in &open.marked {
            writeln!(text, "      {}: {}", scalar(operation), public(operation))?;
        }
    }
    if !open.undeclared.is_empty() {
        writeln!(
            text,
            "      # fill in: these have no `security` in the description. Add it there, or, if anyone may\n      # call an operation, take away its `#`."
        )?;
        for operation in &open.undeclared {
            writeln!(text, "      # {}: {}", scalar(operation), public(operation))?;
        }
    }
    if !open.unverified.is_empty() {
        writeln!(
            text,
            "      # fill in: these are behind a scheme that this version cannot verify. To leave that to the\n      # upstream, take away the `#`; if it is an API key that carries a JWT, say\n      # `security: {{ SCHEME: idp }}` above."
        )?;
        for (operation, scheme) in &open.unverified {
            writeln!(
                text,
                "      # {}: {}   # {}",
                scalar(operation),
                public(operation),
                comment(scheme)
            )?;
        }
    }
    Ok(())
}

/// Operations of which nothing is said but that they let people in.
fn let_in(text: &mut String, doors: &[&(String, String)]) -> Result<()> {
    if !doors.is_empty() {
        writeln!(
            text,
            "      # These let people in: failures are counted and delayed."
        )?;
    }
    for (operation, said) in doors {
        writeln!(text, "      {}: {{ {said} }}", scalar(operation))?;
    }
    Ok(())
}

fn identity(text: &mut String, flags: &Flags, answers: &Answers) -> Result<()> {
    writeln!(text, "\nidentity:\n  idp:")?;
    match &answers.issuer {
        Some(issuer) => writeln!(text, "    issuer: {}", scalar(issuer))?,
        None => writeln!(
            text,
            "    issuer:              # fill in: who issues the tokens, exactly as in their `iss`"
        )?,
    }
    match &answers.audience {
        Some(audience) => writeln!(text, "    audience: {}", scalar(audience))?,
        None => writeln!(
            text,
            "    audience:            # fill in: what stands in their `aud` for this API"
        )?,
    }
    match &answers.jwks {
        Some(jwks) if jwks.contains("://") => writeln!(text, "    jwks: {}", scalar(jwks))?,
        Some(jwks) => {
            let path = beside(
                &flags.output,
                Path::new(jwks.strip_prefix("file:").unwrap_or(jwks)),
            );
            writeln!(text, "    jwks: {}", scalar(&format!("file:{path}")))?;
        }
        None => writeln!(
            text,
            "    jwks:                # fill in: the issuer's public keys, as file:PATH or an https URL"
        )?,
    }
    Ok(())
}

/// A path as the configuration names it: relative to the configuration's own directory, where it is
/// below that, else absolute.
fn beside(output: &Path, file: &Path) -> String {
    let directory = match output.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => return file.display().to_string(),
    };
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (directory, file) = (absolute(directory), absolute(file));
    file.strip_prefix(&directory)
        .unwrap_or(&file)
        .display()
        .to_string()
}

/// The API's key in `apis`, from its title.
pub(super) fn name(description: &ApiDescription) -> String {
    const LONGEST: usize = 32;
    let mut name = String::new();
    for word in description
        .title
        .replace('\'', "")
        .split(|c: char| !c.is_ascii_alphanumeric())
    {
        if !name.is_empty() && name.len() + word.len() > LONGEST {
            break;
        }
        name.extend(word.chars().take(LONGEST).map(|c| c.to_ascii_lowercase()));
        name.push_str(if word.is_empty() { "" } else { "-" });
    }
    let name = name.trim_end_matches('-');
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        name.to_owned()
    } else {
        String::from("api")
    }
}

/// A YAML scalar: plain where nothing could be misread, else in double quotes.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_./:".contains(c))
        && !text.ends_with(':')
        && !text.contains(": ")
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
            .contains(&text.to_ascii_lowercase().as_str());
    if plain {
        text.to_owned()
    } else {
        serde_json::Value::from(text).to_string()
    }
}

/// Text that stays on its line.
pub(super) fn comment(text: &str) -> String {
    safe(text).chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_mean_themselves() {
        for (text, expect) in [
            ("api_views.main.basic", "api_views.main.basic"),
            ("repos/get", "repos/get"),
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("GET /users/{id}", "\"GET /users/{id}\""),
            ("tag:a b", "\"tag:a b\""),
            ("true", "\"true\""),
            ("12", "\"12\""),
            ("a: b", "\"a: b\""),
            ("a#b", "\"a#b\""),
            ("", "\"\""),
        ] {
            assert_eq!(scalar(text), expect);
        }
    }

    #[test]
    fn files_are_named_from_the_configuration() {
        assert_eq!(
            beside(Path::new("fortress.yaml"), Path::new("a/openapi.yaml")),
            "a/openapi.yaml"
        );
        assert_eq!(
            beside(Path::new("/x/fortress.yaml"), Path::new("/x/a/o.yaml")),
            "a/o.yaml"
        );
        assert_eq!(
            beside(Path::new("/x/y/fortress.yaml"), Path::new("/x/o.yaml")),
            "/x/o.yaml"
        );
    }
}
