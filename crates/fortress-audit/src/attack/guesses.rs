//! What no single request shows: guessing at one account, trying lists of accounts, and walking
//! through ids. Each is a short series, and it is stopped if whoever goes on is made to wait. Each is
//! sent from one address, and again from many with one request each: who counts addresses alone stops
//! the first and not the second.
//!
//! Accounts and ids are made up, and other accounts in each run, so that nobody's are touched: an
//! account that is guessed at lets its owner in only after a while. Deliberately not here: where many
//! addresses come from (`sources`).

use fortress_spec::{
    Operation,
    door::{DoorKind, door},
    parameter::Location,
};
use serde_json::Value;

use super::{
    Attack, Basis, Body, By, Judge, Kind, Message, Request,
    plan::Subject,
    valid::{self, Draft},
};

/// Guesses at one account.
const GUESSES: usize = 30;
/// Accounts that are tried from one address.
const ACCOUNTS: usize = 40;
/// Accounts that are tried from an address each: fewer tell nothing from a bad morning.
const ACCOUNTS_OF_MANY: usize = 100;
/// Ids that are walked through.
const IDS: usize = 120;

/// The series of logins on an operation.
pub(super) fn guessing(
    subject: &Subject,
    operation: &Operation,
    basis: &Basis,
    by: By,
) -> Vec<Attack> {
    let Some(door) = door(&subject.description, operation) else {
        return Vec::new();
    };
    let door = &door;
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
    // The first way of naming an account that the description takes, if there is one.
    let ways: [fn(String) -> String; 2] = [|name| name, |name| format!("{name}@example.com")];
    let name = ways.into_iter().find(|way| {
        let written = written(Some(&way(made_up(0, subject.drawn))), None);
        let body = written
            .and_then(|request| request.body)
            .map(|body| body.bytes());
        body.is_some_and(|body| valid::takes_body(subject, operation, &basis.request, &body))
    });
    let account = |number| Some(name?(made_up(number, subject.drawn)));
    let mut attacks = Vec::new();
    let from = match by {
        By::One => "",
        By::Many => ", each from another address",
    };
    let series = |make: &dyn Fn(usize) -> Option<Request>, many: usize| -> Vec<Request> {
        (0..many).map_while(make).collect()
    };
    if door.secret.is_some() && matches!(door.kind, DoorKind::Login | DoorKind::Otp) {
        // Nobody's where that is possible, else the example's.
        let guessed = door.account.as_ref().and_then(|_| {
            account(match by {
                By::One => 0,
                By::Many => 1,
            })
        });
        let guess = |number: usize| {
            let guess = match door.kind {
                DoorKind::Otp => format!("{:06}", number * 7_919 % 1_000_000),
                DoorKind::Login | DoorKind::Reset | DoorKind::Registration => {
                    format!("Guess-{number:04}")
                }
            };
            written(guessed.as_deref(), Some(&guess))
        };
        let what = format!("{GUESSES} guesses at one account{from}");
        let series = (series(&guess, GUESSES), by);
        attacks.extend(attack(basis, Kind::LoginGuessed, what, series));
    }
    if door.account.is_some() && door.kind == DoorKind::Login {
        let (first, accounts) = match by {
            By::One => (10, ACCOUNTS),
            By::Many => (10 + ACCOUNTS, ACCOUNTS_OF_MANY),
        };
        let lost = |number: usize| {
            let account = account(first + number).unwrap_or_else(|| made_up(number, subject.drawn));
            written(Some(&account), Some(&format!("Lost-{number:04}-{account}")))
                .or_else(|| written(Some(&account), None))
        };
        let what = format!("{accounts} accounts, one try each{from}");
        let series = (series(&lost, accounts), by);
        attacks.extend(attack(basis, Kind::LoginStuffed, what, series));
    }
    attacks
}

/// An account that nobody has, of letters alone: most patterns take it.
fn made_up(number: usize, drawn: u32) -> String {
    let mut name = String::from("nobody");
    let mut letters = |mut rest: u64, count: usize| {
        for _ in 0..count {
            let letter = u8::try_from(rest % 26).unwrap_or_default();
            name.push(char::from(b'a' + letter));
            rest /= 26;
        }
    };
    letters(drawn.into(), 5);
    letters(u64::try_from(number).unwrap_or_default(), 3);
    name
}

fn place<'v>(body: &'v mut Value, path: &str) -> Option<&'v mut Value> {
    path.split('.')
        .try_fold(body, |value, key| value.get_mut(key))
}

/// Ids that are not there, on an operation that reads one object.
pub(super) fn walking(
    subject: &Subject,
    operation: &Operation,
    basis: &Basis,
    by: By,
) -> Option<Attack> {
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
    let what = match by {
        By::One => format!("{IDS} ids in a row"),
        By::Many => format!("{IDS} ids in a row by one caller, each from another address"),
    };
    attack(basis, Kind::ObjectWalked, what, (series, by))
}

fn attack(
    basis: &Basis,
    kind: Kind,
    what: String,
    (series, by): (Vec<Request>, By),
) -> Option<Attack> {
    let first = series.first()?.clone();
    Some(Attack {
        kind,
        operation: Some(basis.operation.clone()),
        what,
        message: Message::Request(first),
        judge: Judge::Slowed { series, by },
    })
}
