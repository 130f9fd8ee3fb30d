//! Which operations let people in, as far as their names and bodies tell.
//!
//! A guess, for whoever proposes or attacks: what really is a login, only people know. Deliberately
//! not here: what follows from it.

use crate::{
    ApiDescription, Operation,
    json::{self, Document, Kind, Limits, Value},
};

/// What an operation lets people do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DoorKind {
    /// Log in with a password.
    Login,
    /// Show a one-time code.
    Otp,
    /// Ask for a new password.
    Reset,
    /// Make an account.
    Registration,
}

/// An operation that lets people in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Door {
    /// What for.
    pub kind: DoorKind,
    /// The property of the body that names the account, as a dotted path; `None` where it does not
    /// stand in the body.
    pub account: Option<String>,
    /// The property that proves it.
    pub secret: Option<String>,
}

const ACCOUNTS: &[&str] = &[
    "username",
    "user_name",
    "userid",
    "user_id",
    "user",
    "login",
    "email",
    "email_address",
    "emailaddress",
    "mail",
    "account",
    "identifier",
    "phone",
    "phone_number",
    "phonenumber",
    "mobile",
    "name",
];
const PASSWORDS: &[&str] = &["password", "passwd", "passphrase", "pwd", "pass"];
const CODES: &[&str] = &[
    "otp",
    "code",
    "totp",
    "pin",
    "mfa_code",
    "otp_code",
    "one_time_code",
    "verification_code",
    "passcode",
];

/// What is read of a body that was made up.
const LIMITS: Limits = Limits {
    depth: 8,
    properties: 200,
    items: 100,
};

/// A body of the operation with every property, made up from the first schema of its body.
fn whole_body(description: &ApiDescription, operation: &Operation) -> Option<String> {
    let media_types = operation.body.as_ref()?.media_types();
    let schema = media_types
        .filter_map(|media_type| media_type.schema)
        .next()?;
    description.schemas.full_example(schema)
}

/// Whether an operation looks like a door.
pub fn door(description: &ApiDescription, operation: &Operation) -> Option<Door> {
    if !["POST", "PUT"].contains(&operation.method.as_str()) {
        return None;
    }
    let words = format!("{} {}", operation.id, operation.template).to_ascii_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    let example = whole_body(description, operation)?;
    let document = json::read(example.as_bytes(), &LIMITS).ok()?;
    let account = find(&document, ACCOUNTS);
    let password = find(&document, PASSWORDS);
    let code = find(&document, CODES);
    let door = |kind, secret| Door {
        kind,
        account: account.clone(),
        secret,
    };
    if has(&[
        "otp",
        "mfa",
        "2fa",
        "two-factor",
        "twofactor",
        "verify",
        "onetime",
        "one-time",
    ]) && code.is_some()
    {
        return Some(door(DoorKind::Otp, code));
    }
    account.as_ref()?;
    if has(&["forgot", "reset", "recover"]) {
        return Some(door(DoorKind::Reset, password));
    }
    password.as_ref()?;
    if has(&["register", "registration", "signup", "sign-up", "sign_up"]) {
        return Some(door(DoorKind::Registration, password));
    }
    let doors = [
        "login", "logon", "log-in", "signin", "sign-in", "sign_in", "auth", "session", "token",
    ];
    has(&doors).then(|| door(DoorKind::Login, password))
}

/// The properties that a whole body of an operation has at its top and one level below, as dotted
/// paths; `None` where the description does not tell.
pub fn properties(description: &ApiDescription, operation: &Operation) -> Option<Vec<String>> {
    let example = whole_body(description, operation)?;
    let document = json::read(example.as_bytes(), &LIMITS).ok()?;
    let Kind::Object(range) = &document.root().kind else {
        return None;
    };
    let mut paths = Vec::new();
    for member in document.members(*range) {
        paths.push(member.key.to_string());
        if let Kind::Object(range) = &member.value.kind {
            let inner = document.members(*range).iter();
            paths.extend(inner.map(|inner| format!("{}.{}", member.key, inner.key)));
        }
    }
    Some(paths)
}

/// The first of the names that the body has, at its top or one level below.
fn find(document: &Document<'_>, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| {
        below(document, document.root(), name).or_else(|| {
            let Kind::Object(range) = &document.root().kind else {
                return None;
            };
            let mut members = document.members(*range).iter();
            members.find_map(|member| {
                let inner = below(document, &member.value, name)?;
                Some(format!("{}.{inner}", member.key))
            })
        })
    })
}

fn below(document: &Document<'_>, value: &Value<'_>, name: &str) -> Option<String> {
    let Kind::Object(range) = &value.kind else {
        return None;
    };
    let mut members = document.members(*range).iter();
    let found = members.find(|member| {
        matches!(member.value.kind, Kind::String(_)) && member.key.eq_ignore_ascii_case(name)
    })?;
    Some(found.key.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Files, load};
    use fortress_model::Sources;

    struct One(String);

    impl Files for One {
        fn read(&self, _: &std::path::Path) -> std::io::Result<String> {
            Ok(self.0.clone())
        }
    }

    #[track_caller]
    fn check(operation: &str, properties: &[&str], expect: Option<(DoorKind, &str, &str)>) {
        let properties: Vec<String> = properties
            .iter()
            .map(|name| format!("{name}: {{ type: string }}"))
            .collect();
        let text = format!(
            "openapi: 3.0.3
info: {{ title: t, version: '1' }}
paths:
  /{operation}:
    post:
      operationId: {operation}
      requestBody:
        content:
          application/json:
            schema: {{ type: object, properties: {{ {} }} }}
      responses: {{ default: {{ description: any }} }}
",
            properties.join(", ")
        );
        let loaded = load("openapi.yaml".as_ref(), &One(text), &mut Sources::default());
        let description = loaded.description.unwrap();
        let found = door(&description, &description.operations[0]);
        let found = found.as_ref().map(|door| {
            let text = |of: &Option<String>| of.clone().unwrap_or_default();
            (door.kind, text(&door.account), text(&door.secret))
        });
        let expect = expect.map(|(kind, account, secret)| (kind, account.into(), secret.into()));
        assert_eq!(found, expect, "{operation}");
    }

    #[test]
    fn doors() {
        use DoorKind::{Login, Otp, Registration, Reset};
        check(
            "login",
            &["username", "password"],
            Some((Login, "username", "password")),
        );
        check(
            "createToken",
            &["email", "pass"],
            Some((Login, "email", "pass")),
        );
        check(
            "verifyOtp",
            &["username", "code"],
            Some((Otp, "username", "code")),
        );
        check("mfa", &["otp"], Some((Otp, "", "otp")));
        check("forgot-password", &["email"], Some((Reset, "email", "")));
        check(
            "register",
            &["email", "password"],
            Some((Registration, "email", "password")),
        );
        check("createOrder", &["name", "code"], None);
        check("login", &["redirect"], None);
        check("changeName", &["username", "password"], None);
    }
}
