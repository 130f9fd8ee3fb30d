//! What the loader makes of `login`, `enumeration` and `detect`.

use super::*;

fn load_text(text: &str) -> (Option<Config>, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fortress.yaml");
    std::fs::write(&path, text).unwrap();
    let (config, _, diagnostics) = load(&path, &|_| None);
    let messages = diagnostics
        .iter()
        .map(|found| {
            format!(
                "{} | {}",
                found.message,
                found.help.as_deref().unwrap_or("")
            )
        })
        .collect();
    (config, messages)
}

fn with(operation: &str) -> String {
    format!(
        "version: 1
listen: [{{ address: 127.0.0.1:0 }}]
apis:
  a:
    spec: openapi.yaml
    upstream: http://127.0.0.1:1
    operations: {{ login: {{ {operation} }} }}
"
    )
}

#[track_caller]
fn accepted(operation: &str) -> LoginDefence {
    let (config, messages) = load_text(&with(operation));
    let config = config.unwrap_or_else(|| panic!("{messages:?}"));
    let (_, settings) = &config.apis[0].operations[0];
    settings.login.clone().unwrap().value
}

#[track_caller]
fn refused(operation: &str, expect: &str) {
    let (config, messages) = load_text(&with(operation));
    assert!(config.is_none(), "{operation}");
    assert!(
        messages.iter().any(|message| message.contains(expect)),
        "{messages:?}"
    );
}

#[test]
fn the_account_alone_protects() {
    let login = accepted("login: { account: body.username }");
    assert_eq!(login.account, LimitPart::Body("username".into()));
    assert_eq!(
        (login.after, login.first.as_secs(), login.most.as_secs()),
        (3, 1, 900)
    );
    assert!(login.uniform && login.lock.is_none() && login.failure.is_empty());
    let otp = accepted("login: { account: principal, kind: otp }");
    assert_eq!(otp.lock.map(|lock| lock.after), Some(10));
    assert!(!accepted("login: { account: body.mail, kind: reset }").uniform);
}

#[test]
fn failures_in_all_forms() {
    let signs = |text: &str| {
        let login = accepted(&format!("login: {{ account: body.u, failure: {text} }}"));
        let shown: Vec<String> = login.failure.iter().map(ToString::to_string).collect();
        shown.join(", ")
    };
    assert_eq!(signs("401"), "401");
    assert_eq!(signs("[401, 403]"), "401, 403");
    assert_eq!(signs("status 401"), "401");
    assert_eq!(signs("[status 4xx]"), "4xx");
    assert_eq!(signs("response.ok == false"), "response.ok == false");
    assert_eq!(
        signs("[response.error, response.header.X-Failed]"),
        "response.error, response.header.x-failed"
    );
}

#[test]
fn what_is_wrong_and_what_to_write() {
    refused(
        "login: { failure: [401] }",
        "`apis.a.operations.login.login` has no `account`",
    );
    refused("login: { account: client }", "`client` names no account");
    refused(
        "login: { account: body.u, failure: nope }",
        "write a status such as `401`",
    );
    refused(
        "login: { account: body.u, failure: [99] }",
        "a status goes from 200 to 599",
    );
    refused(
        "login: { account: body.u, delay: { first: 1h, most: 1min } }",
        "`first` is longer than `most`",
    );
    refused(
        "login: { account: body.u, breached: {} }",
        "says not where to look",
    );
    refused(
        "login: { account: body.u, breached: { url: \"http://far.test\" } }",
        "`http://` is for loopback",
    );
    refused(
        "login: { account: body.u, stuffing: { fall: 50 } }",
        "such as `50%`",
    );
    refused("login: { acount: body.u }", "did you mean `account`?");
    refused("enumeration: { distinct: 50 }", "such as `50/10min`");
    refused("login: { account: body.u, lock: {} }", "has no `after`");
}

#[test]
fn what_is_looked_for_everywhere() {
    let text = format!(
        "{}detect: {{ stuffing: {{ accounts: 20 }}, enumeration: {{}} }}\n",
        with("public: true")
    );
    let (config, messages) = load_text(&text);
    let detect = config.unwrap_or_else(|| panic!("{messages:?}")).detect;
    assert_eq!(detect.stuffing.map(|stuffing| stuffing.accounts), Some(20));
    assert_eq!(detect.enumeration, Some(Enumeration::default()));
    let (config, messages) = load_text(&text.replace("enumeration", "scanner"));
    assert!(config.is_none());
    assert!(
        messages[0].contains("not available in this version"),
        "{messages:?}"
    );
}
