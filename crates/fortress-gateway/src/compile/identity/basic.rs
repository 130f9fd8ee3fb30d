//! Users and the hashes of their passwords.

use std::{path::Path, sync::Arc};

use fortress_auth::basic::{BasicUsers, MAX_USERS, PasswordHash};
use fortress_model::{
    Diagnostic, Secret,
    config::{Basic, Config, Identity, Serve},
};

use crate::{hashers::Hashers, keys::KeyRing};

/// Credentials that were verified lately, per entry of `identity`.
const REMEMBERED: usize = 10_000;
/// Bytes of a file of users.
const MAX_FILE: u64 = 4 << 20;

/// Users and their passwords.
#[derive(Debug)]
pub(crate) struct BasicPlan {
    pub(crate) users: Arc<BasicUsers>,
    pub(crate) hashers: Hashers,
}

pub(super) fn compile(
    config: &Config,
    identity: &Identity,
    basic: &Basic,
    ring: &KeyRing,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<BasicPlan> {
    let encrypted = config.listen.iter().any(|listener| match &listener.serve {
        Serve::Apis { tls, .. } => tls.is_some(),
        Serve::RedirectHttps | Serve::Operations => false,
    });
    let mut sound = true;
    if !encrypted && config.trusted_proxies.is_empty() {
        sound = false;
        let message = format!(
            "`{}` judges passwords, which are believed over TLS alone, and no listener has TLS",
            identity.name.value
        );
        let help = "add `tls` to a listener, or list the proxy that ends TLS in `trusted_proxies`";
        diagnostics.push(Diagnostic::error(identity.name.span, message).help(help));
    }
    let users = match read(&basic.users.value) {
        Ok(users) => users,
        Err(faults) => {
            let path = basic.users.value.display();
            diagnostics.extend(faults.into_iter().map(|fault| {
                Diagnostic::error(basic.users.span, format!("`{path}`{fault}")).help(
                    "write one `name:hash` a line; `fortress keys hash-password` makes a hash",
                )
            }));
            return None;
        }
    };
    let mut key = Secret::new([0; 32]);
    let made = aws_lc_rs::rand::fill(key.expose_mut())
        .map_err(|_| "the system has no randomness".to_owned())
        .and_then(|()| BasicUsers::new(users, key.expose(), REMEMBERED, basic.cache));
    match made {
        Ok(users) => sound.then(|| BasicPlan {
            users: Arc::new(users),
            hashers: ring.hashers(),
        }),
        Err(message) => {
            let message = format!("`{}`: {message}", basic.users.value.display());
            diagnostics.push(Diagnostic::error(basic.users.span, message));
            None
        }
    }
}

/// The users of a file. What is wrong is said with the line's number, and without the line: it holds
/// what passwords could be guessed by.
fn read(path: &Path) -> Result<Vec<(String, PasswordHash)>, Vec<String>> {
    let whole = |fault: String| vec![format!(" {fault}")];
    let length = std::fs::metadata(path)
        .map_err(|error| whole(format!("cannot be read: {error}")))?
        .len();
    if length > MAX_FILE {
        return Err(whole(format!("is longer than {MAX_FILE} bytes")));
    }
    let text =
        std::fs::read_to_string(path).map_err(|error| whole(format!("cannot be read: {error}")))?;
    parse(&text)
}

fn parse(text: &str) -> Result<Vec<(String, PasswordHash)>, Vec<String>> {
    let mut users = Vec::new();
    let mut faults = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let parsed = match line.split_once(':') {
            Some((name, hash)) => PasswordHash::parse(hash).map(|hash| (name.to_owned(), hash)),
            None => Err("it has no `:` between name and hash".to_owned()),
        };
        match parsed {
            Ok(user) => users.push(user),
            Err(why) => faults.push(format!(", line {}: {why}", index + 1)),
        }
        if users.len() > MAX_USERS {
            faults.push(format!(" has more than {MAX_USERS} users"));
            break;
        }
    }
    if faults.is_empty() {
        Ok(users)
    } else {
        Err(faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$Zm9ydHlieXRlc29mYWhhc2htYWRldXA";

    #[test]
    fn users_are_read_line_by_line() {
        let users = parse(&format!("# staff\n\nalice:{GOOD}\nbob:{GOOD}\n")).unwrap();
        let names: Vec<_> = users.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["alice", "bob"]);
    }

    #[test]
    fn a_fault_is_told_by_its_line_and_never_shows_it() {
        let weak = GOOD.replace("m=19456,t=2", "m=4096,t=1");
        let text = format!("alice:{GOOD}\nnobody\nbob:secret\ncarol:{weak}\n");
        let faults = parse(&text).unwrap_err();
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(faults[0].contains("line 2"), "{faults:?}");
        assert!(faults[1].contains("line 3"), "{faults:?}");
        assert!(faults[2].contains("line 4") && faults[2].contains("too weak"));
        assert!(!faults.concat().contains("secret"), "{faults:?}");
        assert!(!faults.concat().contains("c29tZXNhbHR"), "{faults:?}");
    }
}
