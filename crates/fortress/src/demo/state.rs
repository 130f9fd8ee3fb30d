//! What the running demo tells `fortress attack` and `fortress explain`: a private file, removed
//! when the demo ends.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use fortress_audit::attack::{Credential, Stolen, Tokens, Wrong};
use serde_json::{Value, json};

use crate::private::{self, Make};

/// The longest state file that is read.
const LONGEST: u64 = 1 << 20;

/// A running demo.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// Its process.
    pub(crate) pid: i32,
    /// Fortress's address, as a URL.
    pub(crate) fortress: String,
    /// The sample API's address, as a URL.
    pub(crate) upstream: String,
    /// The configuration.
    pub(crate) config: PathBuf,
    /// The journal.
    pub(crate) journal: PathBuf,
    /// Tokens, genuine and wrong, and the public keys.
    pub(crate) tokens: Tokens,
}

/// The state file of this process; removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Published(PathBuf, i32);

impl Drop for Published {
    fn drop(&mut self) {
        // A demo that was started later owns the file by now.
        if read(&self.0).is_ok_and(|state| state.is_some_and(|state| state.pid == self.1)) {
            drop(fs::remove_file(&self.0));
            // Fails, as it should, while there is anything else in it.
            drop(self.0.parent().map(fs::remove_dir));
        }
    }
}

impl State {
    /// Tells the other commands.
    pub(crate) fn publish(&self) -> Result<Published> {
        let directory =
            private::shared(Make::IfMissing)?.context("no directory for the demo's state")?;
        let path = directory.join("demo.json");
        private::write(&path, &self.to_json().to_string())?;
        Ok(Published(path, self.pid))
    }

    /// The demo that is running, if one is.
    pub(crate) fn read() -> Result<Option<Self>> {
        let Some(directory) = private::shared(Make::Never)? else {
            return Ok(None);
        };
        let state = read(&directory.join("demo.json"))?;
        // One that was killed left its file behind.
        Ok(state.filter(|state| {
            rustix::process::Pid::from_raw(state.pid)
                .is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
        }))
    }

    fn to_json(&self) -> Value {
        let genuine: Vec<Value> = self
            .tokens
            .genuine
            .iter()
            .map(|credential| json!({ "name": credential.name, "token": credential.token }))
            .collect();
        let wrong: Vec<Value> = self
            .tokens
            .wrong
            .iter()
            .map(|(wrong, token)| json!({ "what": wrong.words(), "token": token }))
            .collect();
        let stolen: Vec<Value> = self
            .tokens
            .stolen
            .iter()
            .map(|one| json!({ "what": one.what, "token": one.token, "proof": one.proof }))
            .collect();
        json!({
            "pid": self.pid, "fortress": self.fortress, "upstream": self.upstream, "config": self.config,
            "journal": self.journal, "tokens": genuine, "wrong": wrong, "stolen": stolen, "keys": self.tokens.keys,
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let list = |key: &str| {
            value
                .get(key)
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default()
        };
        let pair = |item: &Value, key: &str| {
            Some((
                item.get(key)?.as_str()?.to_owned(),
                item.get("token")?.as_str()?.to_owned(),
            ))
        };
        let genuine = list("tokens")
            .iter()
            .filter_map(|item| pair(item, "name"))
            .map(|(name, token)| Credential { name, token })
            .collect();
        let wrong = list("wrong")
            .iter()
            .filter_map(|item| pair(item, "what"))
            .filter_map(|(what, token)| {
                let (wrong, _) = Wrong::ALL.iter().find(|(_, words)| *words == what)?;
                Some((*wrong, token))
            })
            .collect();
        let stolen = list("stolen")
            .iter()
            .filter_map(|item| {
                let (what, token) = pair(item, "what")?;
                let proof = item.get("proof").and_then(Value::as_str);
                let proof = proof.map(str::to_owned);
                Some(Stolen { what, token, proof })
            })
            .collect();
        Some(Self {
            pid: value
                .get("pid")?
                .as_i64()
                .and_then(|pid| i32::try_from(pid).ok())?,
            fortress: text("fortress")?,
            upstream: text("upstream")?,
            config: text("config")?.into(),
            journal: text("journal")?.into(),
            tokens: Tokens {
                genuine,
                wrong,
                stolen,
                keys: text("keys"),
            },
        })
    }
}

fn read(path: &Path) -> Result<Option<State>> {
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context("cannot read the demo's state"),
    };
    if found.len() > LONGEST {
        return Ok(None);
    }
    let text = fs::read_to_string(path).context("cannot read the demo's state")?;
    Ok(serde_json::from_str(&text)
        .ok()
        .as_ref()
        .and_then(State::from_json))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(pid: i32) -> State {
        State {
            pid,
            fortress: "http://127.0.0.1:1".into(),
            upstream: "http://127.0.0.1:2".into(),
            config: "/c".into(),
            journal: "/j".into(),
            tokens: Tokens {
                genuine: vec![Credential {
                    name: "ALICE".into(),
                    token: "a".into(),
                }],
                wrong: vec![(Wrong::Expired, "b".into())],
                stolen: vec![Stolen {
                    what: "w".into(),
                    token: "t".into(),
                    proof: Some("p".into()),
                }],
                keys: Some("{}".into()),
            },
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let read = State::from_json(&state(7).to_json()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{:?}", state(7)));
        assert!(State::from_json(&json!({ "pid": 7 })).is_none());
    }

    #[test]
    fn only_the_own_file_is_removed() {
        let directory = private::Directory::new("test").unwrap();
        std::fs::create_dir(directory.path().join("shared")).unwrap();
        let path = directory.path().join("shared/demo.json");
        private::write(&path, &state(7).to_json().to_string()).unwrap();
        drop(Published(path.clone(), 8));
        assert!(path.exists());
        drop(Published(path.clone(), 7));
        assert!(!path.exists() && !directory.path().join("shared").exists());
    }
}
