//! `fortress tokens`: which tokens count no more, although their issuer signed them.
//!
//! Deliberately not here: what a revocation means for a token (`fortress-auth`), and how instances
//! hear of it (`fortress-store`).

use anyhow::Result;
use fortress_auth::{Revocation, RevocationTarget};
use fortress_model::{Clock, SystemClock, Timestamp};
use fortress_store::{Presence, Store};
use serde_json::{Value, json};

use crate::{
    command::{End, Usage},
    screen::{GOOD, QUIET, Screen, count, safe},
    store, times,
};

pub(crate) const EXAMPLES: &str = "Examples:
  fortress tokens revoke --issuer https://idp.test --id 7f3c0f1e
  fortress tokens revoke --issuer https://idp.test --subject alice --for 24h
  fortress tokens revoke --issuer https://idp.test --issued-before 2027-01-31
  fortress tokens revoke --everything --issued-before now
  fortress tokens list
  fortress tokens revoke --issuer https://idp.test --subject alice --undo";

#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    store: store::Named,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Revokes tokens, on every instance within a second
    Revoke(Revoke),
    /// Lists what is revoked
    List,
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("whose").required(true).multiple(true))]
struct Revoke {
    /// Tokens of this issuer: all of them, unless one of the next three is given
    #[arg(long, group = "whose", value_name = "ISS")]
    issuer: Option<String>,
    /// The token with this id (`jti`)
    #[arg(long, requires = "issuer", value_name = "JTI", conflicts_with_all = ["subject", "client"])]
    id: Option<String>,
    /// Those that speak for this subject (`sub`)
    #[arg(
        long,
        requires = "issuer",
        value_name = "SUB",
        conflicts_with = "client"
    )]
    subject: Option<String>,
    /// Those that were issued to this client (`client_id`, else `azp`)
    #[arg(long, requires = "issuer", value_name = "ID")]
    client: Option<String>,
    /// Every token of every issuer
    // An option that demands `--issuer` is not refused by that demand alone where `--everything`
    // excludes it.
    #[arg(long, group = "whose", conflicts_with_all = ["issuer", "id", "subject", "client"])]
    everything: bool,
    /// Only those issued before: `now`, or a time such as 2027-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    issued_before: Option<Moment>,
    /// How long it holds: `24h`, or until a date; at least as long as the tokens live. Without, for
    /// ever
    #[arg(long = "for", value_name = "TIME", value_parser = times::end)]
    lasting: Option<times::End>,
    /// Takes the revocation of these tokens back; with `--issued-before` only if it is of that time
    #[arg(long, conflicts_with = "lasting")]
    undo: bool,
}

/// A time that may be now.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Now,
    At(Timestamp),
}

fn moment(text: &str) -> Result<Moment, String> {
    if text == "now" {
        return Ok(Moment::Now);
    }
    times::moment_of(text).map(Moment::At)
}

/// Does it.
pub(crate) fn run(flags: &Flags, screen: &Screen) -> Result<End> {
    let settings = store::settings(&flags.store.config)?;
    let store = store::opened(&settings, Presence::Demanded, screen)?;
    match &flags.action {
        Action::Revoke(flags) if flags.undo => undo(&store, flags, screen),
        Action::Revoke(flags) => revoke(&store, flags, screen),
        Action::List => list(&store, screen),
    }
}

fn revoke(store: &Store, flags: &Revoke, screen: &Screen) -> Result<End> {
    let now = SystemClock.now();
    let lasting = flags.lasting.map(|end| end.at(now));
    if lasting.is_some_and(|end| end <= now) {
        return Err(Usage("`--for` has passed already".into()).into());
    }
    let revocation = Revocation {
        target: target(flags)?,
        issued_before: flags.issued_before.map(|moment| match moment {
            Moment::Now => now,
            Moment::At(time) => time,
        }),
        until: lasting,
    };
    store.revoke(&revocation, now)?;
    say("revoked", &revocation, screen);
    Ok(End::Fine)
}

fn undo(store: &Store, flags: &Revoke, screen: &Screen) -> Result<End> {
    let now = SystemClock.now();
    let target = target(flags)?;
    let time = match flags.issued_before {
        Some(Moment::Now) => {
            let what = "`--undo` takes the time that `fortress tokens list` shows, not `now`";
            return Err(Usage(what.into()).into());
        }
        Some(Moment::At(time)) => Some(times::moment(time)),
        None => None,
    };
    // There is one of each target. The list shows whole seconds, and what it shows is enough.
    let is_meant = |one: &Revocation| {
        let shown = one.issued_before.map(times::moment);
        one.target == target && (time.is_none() || time == shown)
    };
    let Some(found) = known(store)?.into_iter().find(is_meant) else {
        return Err(Usage("there is no such revocation; see `fortress tokens list`".into()).into());
    };
    let ended = Revocation {
        until: Some(now),
        ..found
    };
    store.revoke(&ended, now)?;
    say("accepted again", &ended, screen);
    Ok(End::Fine)
}

fn say(done: &str, revocation: &Revocation, screen: &Screen) {
    if screen.is_json() {
        screen.line(shown(revocation).to_string());
    } else {
        let what = safe(&words(revocation));
        screen.line(format!("{GOOD}{done}{GOOD:#} {what}"));
    }
}

fn target(flags: &Revoke) -> Result<RevocationTarget> {
    let Some(issuer) = flags.issuer.as_deref() else {
        return Ok(RevocationTarget::Everything);
    };
    let named = [&flags.id, &flags.subject, &flags.client];
    let is_empty = |name: &&Option<String>| name.as_deref() == Some("");
    if issuer.is_empty() || named.iter().any(is_empty) {
        return Err(Usage("a name is empty".into()).into());
    }
    let issuer: Box<str> = issuer.into();
    Ok(match (&flags.id, &flags.subject, &flags.client) {
        (Some(id), _, _) => RevocationTarget::Token {
            issuer,
            id: id.as_str().into(),
        },
        (None, Some(subject), _) => RevocationTarget::Subject {
            issuer,
            subject: subject.as_str().into(),
        },
        (None, None, Some(client)) => RevocationTarget::Client {
            issuer,
            client: client.as_str().into(),
        },
        (None, None, None) => RevocationTarget::Issuer { issuer },
    })
}

/// Those that hold.
fn known(store: &Store) -> Result<Vec<Revocation>> {
    let now = SystemClock.now();
    let mut known = Vec::new();
    store.load(&mut |_| {}, &mut |one| {
        if one.until.is_none_or(|until| until > now) {
            known.push(one);
        }
    })?;
    Ok(known)
}

fn list(store: &Store, screen: &Screen) -> Result<End> {
    let known = known(store)?;
    if screen.is_json() {
        let shown: Vec<Value> = known.iter().map(shown).collect();
        screen.line(Value::Array(shown).to_string());
        return Ok(End::Fine);
    }
    for one in &known {
        screen.line(safe(&words(one)));
    }
    screen.line(format!(
        "{QUIET}{}{QUIET:#}",
        count(known.len(), "revocation")
    ));
    Ok(End::Fine)
}

fn words(revocation: &Revocation) -> String {
    let mut words = match &revocation.target {
        RevocationTarget::Token { issuer, id } => format!("the token {id} of {issuer}"),
        RevocationTarget::Subject { issuer, subject } => {
            format!("the tokens of {issuer} for {subject}")
        }
        RevocationTarget::Client { issuer, client } => {
            format!("the tokens of {issuer} to the client {client}")
        }
        RevocationTarget::Issuer { issuer } => format!("the tokens of {issuer}"),
        RevocationTarget::Everything => "every token".to_owned(),
    };
    for (word, time) in [
        (", issued before", revocation.issued_before),
        (", until", revocation.until),
    ] {
        if let Some(time) = time {
            words.push_str(&format!("{word} {}", times::moment(time)));
        }
    }
    words
}

fn shown(revocation: &Revocation) -> Value {
    let (kind, issuer, name) = match &revocation.target {
        RevocationTarget::Token { issuer, id } => ("token", Some(issuer), Some(id)),
        RevocationTarget::Subject { issuer, subject } => ("subject", Some(issuer), Some(subject)),
        RevocationTarget::Client { issuer, client } => ("client", Some(issuer), Some(client)),
        RevocationTarget::Issuer { issuer } => ("issuer", Some(issuer), None),
        RevocationTarget::Everything => ("everything", None, None),
    };
    json!({
        "kind": kind, "issuer": issuer, "name": name,
        "issued_before": revocation.issued_before.map(times::moment),
        "until": revocation.until.map(times::moment),
    })
}
