//! What no single request shows: guessing at one account, trying lists of accounts, and walking
//! through ids. Each is a short series, and it is stopped if whoever goes on is made to wait.
//!
//! Accounts and ids are made up, so that nobody's are touched; the one that is guessed at is the
//! description's own example. Deliberately not here: attempts from many addresses, for which one
//! machine is not enough.

use fortress_spec::{
    Operation,
    door::{Door, DoorKind, door},
    parameter::Location,
};
use serde_json::Value;

use super::{
    Attack, Basis, Body, Judge, Kind, Message, Request,
    plan::Subject,
    valid::{self, Draft},
};

/// Guesses at one account.
const GUESSES: usize = 30;
/// Accounts that are tried.
const ACCOUNTS: usize = 40;
/// Ids that are walked through.
const IDS: usize = 120;

/// The series on an operation.
pub(super) fn attacks(subject: &Subject, operation: &Operation, basis: &Basis) -> Vec<Attack> {
    let mut attacks = Vec::new();
    if let Some(door) = door(&subject.description, operation) {
        attacks.extend(guessing(&door, basis));
    }
    attacks.extend(walking(subject, operation, basis));
    attacks
}

fn guessing(door: &Door, basis: &Basis) -> Vec<Attack> {
    let mut attacks = Vec::new();
    let written = |account: Option<&str>, secret: Option<&str>| {
        let mut body: Value = serde_json::from_slice(&basis.request.body.as_ref()?.bytes()).ok()?;
        for (path, value) in [(&door.account, account), (&door.secret, secret)] {
            if let (Some(path), Some(value)) = (path, value) {
                *place(&mut body, path)? = Value::from(value);
            }
        }
        let body = Body::plain(body.to_string());
        Some(basis.request.clone().body(body))
    };
    let series = |make: &dyn Fn(usize) -> Option<Request>, many: usize| -> Vec<Request> {
        (0..many).map_while(make).collect()
    };
    if door.secret.is_some() && matches!(door.kind, DoorKind::Login | DoorKind::Otp) {
        let guess = |number: usize| {
            let guess = match door.kind {
                DoorKind::Otp => format!("{:06}", number * 7_919 % 1_000_000),
                DoorKind::Login | DoorKind::Reset | DoorKind::Registration => {
                    format!("Guess-{number:04}")
                }
            };
            written(None, Some(&guess))
        };
        let what = format!("{GUESSES} guesses at one account");
        attacks.extend(attack(
            basis,
            Kind::LoginGuessed,
            what,
            series(&guess, GUESSES),
        ));
    }
    if door.account.is_some() && door.kind == DoorKind::Login {
        let lost = |number: usize| {
            let account = made_up(number);
            written(Some(&account), Some(&format!("Lost-{number:04}-{account}")))
                .or_else(|| written(Some(&account), None))
        };
        let what = format!("{ACCOUNTS} accounts, one try each");
        attacks.extend(attack(
            basis,
            Kind::LoginStuffed,
            what,
            series(&lost, ACCOUNTS),
        ));
    }
    attacks
}

/// An account that nobody has, of letters alone: most patterns take it.
fn made_up(number: usize) -> String {
    let mut rest = number;
    let mut name = String::from("nobody");
    for _ in 0..3 {
        let letter = u8::try_from(rest % 26).unwrap_or_default();
        name.push(char::from(b'a' + letter));
        rest /= 26;
    }
    name
}

fn place<'v>(body: &'v mut Value, path: &str) -> Option<&'v mut Value> {
    path.split('.')
        .try_fold(body, |value, key| value.get_mut(key))
}

/// Ids that are not there, on an operation that reads one object.
fn walking(subject: &Subject, operation: &Operation, basis: &Basis) -> Option<Attack> {
    if operation.method != http::Method::GET {
        return None;
    }
    let drafts = valid::drafts(subject, operation);
    let draft: &Draft = drafts.first()?;
    let parameters = operation.parameters.iter();
    let name = parameters
        .filter(|parameter| parameter.location == Location::Path)
        .last()
        .map(|parameter| parameter.name.to_string())?;
    let ways: [fn(usize) -> String; 3] = [
        |number| (500_000 + number * 97).to_string(),
        |number| format!("00000000-0000-4000-8000-{number:012x}"),
        |number| format!("nothing-{number:04}"),
    ];
    let with = |id: String| {
        let mut draft = draft.clone();
        let known = draft.path.iter_mut().find(|(known, _)| *known == name)?;
        known.1 = id;
        draft
            .check_parameters(subject, operation)
            .is_empty()
            .then(|| basis.authorized(draft.request(operation)))
    };
    let way = ways.iter().find(|way| with(way(0)).is_some())?;
    let series: Vec<Request> = (0..IDS).map_while(|number| with(way(number))).collect();
    let what = format!("{IDS} ids in a row");
    attack(basis, Kind::ObjectWalked, what, series)
}

fn attack(basis: &Basis, kind: Kind, what: String, series: Vec<Request>) -> Option<Attack> {
    let first = series.first()?.clone();
    Some(Attack {
        kind,
        operation: Some(basis.operation.clone()),
        what,
        message: Message::Request(first),
        judge: Judge::Slowed { series },
    })
}
