//! Keys for eyes and machines.

use fortress_auth::api_key::{KeyRecord, Label};
use fortress_model::Timestamp;
use serde_json::{Value, json};

use super::coloured;
use crate::{
    screen::{HEAD, QUIET, count, safe},
    times,
};

/// All that is known of a key but its digests.
pub(super) fn json(key: &KeyRecord, now: Timestamp) -> Value {
    let access = &key.access;
    let labels = |labels: &[Label]| labels.iter().map(ToString::to_string).collect::<Vec<_>>();
    let secrets = key.secrets.iter().map(|secret| {
        json!({
            "created": times::moment(secret.created),
            "expires": secret.expires.map(times::moment),
        })
    });
    json!({
        "id": key.id.to_string(),
        "owner": &*key.owner,
        "env": access.environment.as_str(),
        "state": key.state(now).word(),
        "roles": labels(&access.roles),
        "scopes": labels(&access.scopes),
        "operations": labels(&access.operations),
        "addresses": access.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "created": times::moment(key.created),
        "expires": key.expires.map(times::moment),
        "last_used": key.last_used.map(times::moment),
        "revoked": key.revoked.map(times::moment),
        "secrets": secrets.collect::<Vec<_>>(),
    })
}

/// A line for each key.
pub(super) fn table(keys: &[KeyRecord], now: Timestamp, width: usize) -> String {
    if keys.is_empty() {
        return format!("{QUIET}no keys{QUIET:#}");
    }
    // Id, environment, state and two days take 10 + 10 + 9 + 12 + 12 columns with their gaps.
    let left = width.saturating_sub(58).max(20);
    let owner = keys.iter().map(|key| key.owner.chars().count()).max();
    let scopes = |key: &KeyRecord| key.access.scopes.iter().map(|scope| scope.len() + 1).sum();
    // Scopes get 12 columns at least, if they need them.
    let least = keys.iter().map(scopes).max().unwrap_or(0).clamp(6, 12);
    let most = (left / 2 + 4).min(left.saturating_sub(least));
    let owner = owner.unwrap_or(0).clamp(5, most);
    let mut text = format!(
        "{HEAD}{:10}  {:owner$}  {:8}  {:7}  {:10}  {:10}  SCOPES{HEAD:#}\n",
        "ID", "OWNER", "ENV", "STATE", "EXPIRES", "LAST USED"
    );
    let dash = || String::from("–");
    for key in keys {
        let state = key.state(now);
        let scopes: Vec<_> = key.access.scopes.iter().map(|scope| safe(scope)).collect();
        let line = format!(
            "{}  {:owner$}  {:8}  {}{}  {:10}  {:10}  {}\n",
            key.id,
            cut(&safe(&key.owner), owner),
            cut(key.access.environment.as_str(), 8),
            coloured(state),
            " ".repeat(7 - state.word().len().min(7)),
            key.expires.map_or_else(dash, times::day),
            key.last_used.map_or_else(dash, times::day),
            cut(&scopes.join(" "), left.saturating_sub(owner).max(least)),
        );
        text.push_str(&line);
    }
    text.push_str(&count(keys.len(), "key"));
    text
}

/// Everything about one key.
pub(super) fn details(key: &KeyRecord, now: Timestamp) -> String {
    let access = &key.access;
    let mut text = format!(
        "{HEAD}{}{HEAD:#}  {}  {}\n",
        key.id,
        safe(&key.owner),
        coloured(key.state(now))
    );
    let mut line = |name: &str, value: &str| text.push_str(&format!("  {name:12}{value}\n"));
    let labels = |labels: &[Label], none: &str| {
        let labels: Vec<_> = labels.iter().map(|label| safe(label)).collect();
        if labels.is_empty() {
            none.to_owned()
        } else {
            labels.join(", ")
        }
    };
    line("env", access.environment.as_str());
    line("roles", &labels(&access.roles, "–"));
    line("scopes", &labels(&access.scopes, "–"));
    line("operations", &labels(&access.operations, "all"));
    let addresses: Vec<_> = access.addresses.iter().map(ToString::to_string).collect();
    let addresses = addresses.join(", ");
    line(
        "addresses",
        if addresses.is_empty() {
            "all"
        } else {
            &addresses
        },
    );
    line("created", &times::moment(key.created));
    let or =
        |time: Option<Timestamp>, none: &str| time.map_or_else(|| none.to_owned(), times::moment);
    line("expires", &or(key.expires, "never"));
    line("last used", &or(key.last_used, "never"));
    if key.revoked.is_some() {
        line("revoked", &or(key.revoked, ""));
    }
    for secret in &key.secrets {
        let made = times::moment(secret.created);
        let until = secret
            .expires
            .map(|end| format!(", accepted until {}", times::moment(end)));
        line(
            "secret",
            &format!("made {made}{}", until.unwrap_or_default()),
        );
    }
    text.trim_end().to_owned()
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use fortress_auth::api_key::{Digest, Environment, KeyId};

    use super::*;

    fn key() -> KeyRecord {
        let environment = Environment::new("live").unwrap();
        let owner = Label::new("Example Ltd").unwrap();
        let now = Timestamp(1_790_000_000_000_000_000);
        KeyRecord::new(
            KeyId::from_number(7),
            environment,
            owner,
            Digest([0xAB; 32]),
            now,
        )
    }

    #[test]
    fn nothing_shows_a_digest() {
        let key = key();
        let all = [
            json(&key, key.created).to_string(),
            table(std::slice::from_ref(&key), key.created, 80),
            details(&key, key.created),
        ];
        for text in all {
            assert!(
                text.contains("0000000007") && text.contains("Example Ltd"),
                "{text}"
            );
            assert!(!text.contains("abab") && !text.contains("q6ur"), "{text}");
        }
    }

    #[test]
    fn long_names_keep_the_table_in_its_width() {
        let mut long = key();
        long.owner = Label::new(&"ö".repeat(120)).unwrap();
        long.access.scopes = vec![Label::new(&"s".repeat(200)).unwrap()];
        for width in [80, 100, 140] {
            let plain = anstream::adapter::strip_str(&table(&[long.clone()], long.created, width))
                .to_string();
            for line in plain.lines() {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
        assert!(table(&[], Timestamp(0), 80).contains("no keys"));
    }
}
