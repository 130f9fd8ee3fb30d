//! Webhooks as their senders document them, and changed.

use std::time::Duration;

use fortress_model::{Reason, Secret};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::at;
use crate::webhook::{
    Accepted, Content, Encoding, Hash, Layout, Preset, Scheme, Webhook, WebhookError,
};

/// A message of a sender.
#[derive(Clone)]
struct Message {
    preset: Preset,
    secret: &'static str,
    fields: Vec<(&'static str, String)>,
    body: &'static str,
    /// When it was signed.
    time: u64,
}

/// From GitHub's documentation, "Validating webhook deliveries".
fn github() -> Message {
    Message {
        preset: Preset::Github,
        secret: "It's a Secret to Everybody",
        fields: vec![(
            "x-hub-signature-256",
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17".into(),
        )],
        body: "Hello, World!",
        time: 1_700_000_000,
    }
}

/// From Slack's documentation, "Verifying requests from Slack".
fn slack() -> Message {
    Message {
        preset: Preset::Slack,
        secret: "8f742231b10e8888abcd99yyyzzz85a5",
        fields: vec![
            ("x-slack-request-timestamp", "1531420618".into()),
            (
                "x-slack-signature",
                "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503".into(),
            ),
        ],
        body: "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
        time: 1_531_420_618,
    }
}

/// From the tests of the Standard Webhooks' own libraries.
fn standard() -> Message {
    Message {
        preset: Preset::StandardWebhooks,
        secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        fields: vec![
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek".into()),
            ("webhook-timestamp", "1614265330".into()),
            (
                "webhook-signature",
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=".into(),
            ),
        ],
        body: r#"{"test": 2432232314}"#,
        time: 1_614_265_330,
    }
}

/// In Stripe's form; the signature was made with Python's `hmac`.
fn stripe() -> Message {
    let signature = STRIPE;
    Message {
        preset: Preset::Stripe,
        secret: "whsec_test_secret_of_some_length",
        fields: vec![(
            "stripe-signature",
            format!(
                "t=1614265330,v1={},v1={signature},v0={}",
                "00".repeat(32),
                "11".repeat(32)
            ),
        )],
        body: r#"{"id":"evt_1"}"#,
        time: 1_614_265_330,
    }
}

const STRIPE: &str = "316e071d5e2f1a2b2de8c3f0292b8d8f2044ca4b6af9c23de616037bbe4cafda";

fn judge(message: &Message) -> Result<Accepted, WebhookError> {
    judge_at(message, message.time, &[message.secret])
}

fn judge_at(message: &Message, now: u64, secrets: &[&str]) -> Result<Accepted, WebhookError> {
    let secrets: Vec<_> = secrets
        .iter()
        .map(|secret| message.preset.secret(secret).expect("a secret"))
        .collect();
    let webhook = Webhook::new(message.preset.scheme(), &secrets).expect("a webhook");
    run(&webhook, message, now)
}

fn run(webhook: &Webhook, message: &Message, now: u64) -> Result<Accepted, WebhookError> {
    let mut fields = HeaderMap::new();
    for (name, value) in &message.fields {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        fields.append(HeaderName::from_static(name), value);
    }
    let mut checking = webhook.begin(&fields, at(now))?;
    // In two pieces, as a body arrives.
    let (first, rest) = message.body.split_at(message.body.len() / 2);
    checking.update(first.as_bytes());
    checking.update(rest.as_bytes());
    checking.finish()
}

#[track_caller]
fn refused(message: &Message, reason: Reason) {
    match judge(message) {
        Ok(_) => panic!("accepted"),
        Err(error) => assert_eq!(error.reason(), reason, "{error}"),
    }
}

#[test]
fn the_senders_own_examples_are_accepted() {
    for message in [github(), slack(), standard(), stripe()] {
        let accepted =
            judge(&message).unwrap_or_else(|error| panic!("{}: {error}", message.preset.name()));
        assert_eq!(accepted.secret, 0);
        let has_time = message.preset != Preset::Github;
        assert_eq!(accepted.signed, has_time.then_some(message.time));
        assert_eq!(accepted.until, has_time.then(|| at(message.time + 300)));
    }
}

#[test]
fn another_body_secret_or_signature_is_refused() {
    for message in [github(), slack(), standard(), stripe()] {
        refused(
            &Message {
                body: "Hello, World?",
                ..message.clone()
            },
            Reason::CredentialInvalid,
        );
        refused(
            &Message {
                body: "",
                ..message.clone()
            },
            Reason::CredentialInvalid,
        );
        let wrong = judge_at(
            &message,
            message.time,
            &["whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"],
        );
        assert_eq!(wrong, Err(WebhookError::Signature));
        for index in 0..message.fields.len() {
            let mut without = message.clone();
            without.fields.remove(index);
            refused(&without, Reason::CredentialMissing);
            let mut twice = message.clone();
            let field = twice.fields[index].clone();
            twice.fields.push(field);
            refused(&twice, Reason::CredentialMalformed);
            let mut empty = message.clone();
            empty.fields[index].1.clear();
            refused(&empty, Reason::CredentialMalformed);
        }
    }
}

#[test]
fn an_old_or_early_message_is_refused() {
    for message in [slack(), standard(), stripe()] {
        let judged = |now| judge_at(&message, now, &[message.secret]);
        assert!(judged(message.time + 300).is_ok());
        assert!(judged(message.time - 300).is_ok());
        assert_eq!(judged(message.time + 301), Err(WebhookError::TooOld(301)));
        assert_eq!(judged(message.time - 301), Err(WebhookError::InFuture(301)));
    }
}

#[test]
fn a_time_or_an_id_that_was_not_signed_is_refused() {
    let mut message = slack();
    message.fields[0].1 = "1531420619".into();
    refused(&message, Reason::CredentialInvalid);
    for time in [
        "+1531420618",
        " 1531420618",
        "1531420618.0",
        "99999999999999999999",
        "x",
    ] {
        message.fields[0].1 = time.into();
        refused(&message, Reason::CredentialMalformed);
    }
    let mut message = standard();
    message.fields[0].1 = "msg_other".into();
    refused(&message, Reason::CredentialInvalid);
    // `a.1614265330` and then `1614265330…` would be the same text.
    message.fields[0].1 = "msg.1".into();
    refused(&message, Reason::CredentialMalformed);
    let mut message = stripe();
    message.fields[0].1 = message.fields[0].1.replace("t=", "t=1,t=");
    refused(&message, Reason::CredentialMalformed);
}

#[test]
fn signatures_are_read_strictly() {
    let field = |message: fn() -> Message, value: &str| {
        let mut message = message();
        message.fields.last_mut().unwrap().1 = value.into();
        message
    };
    let malformed = Reason::CredentialMalformed;
    refused(
        &field(
            github,
            "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        ),
        malformed,
    );
    refused(&field(github, "sha1=00"), malformed);
    refused(&field(github, "sha256=7"), malformed);
    refused(&field(github, "sha256=zz"), malformed);
    refused(&field(github, "sha256="), Reason::CredentialInvalid);
    refused(&field(github, "sha256=757107ea"), Reason::CredentialInvalid);
    refused(&field(standard, "v1,@@"), malformed);
    refused(&field(standard, "v2,AAAA"), malformed);
    refused(&field(standard, "AAAA"), malformed);
    refused(&field(standard, &["v1,AAAA"; 9].join(" ")), malformed);
    refused(&field(standard, &"v1,AAAA ".repeat(1000)), malformed);
    refused(&field(stripe, "v1=00"), malformed);
    refused(&field(stripe, "t=1614265330"), malformed);
}

#[test]
fn secrets_rotate() {
    let message = github();
    let other = "another secret of some length";
    let judged = |secrets: &[&str]| judge_at(&message, message.time, secrets);
    assert_eq!(
        judged(&[other, message.secret]).map(|accepted| accepted.secret),
        Ok(1)
    );
    assert_eq!(
        judged(&[message.secret, other]).map(|accepted| accepted.secret),
        Ok(0)
    );
    assert!(judged(&[other]).is_err());
    // Two signatures of one message do not make it two messages.
    let twice = standard();
    let mut both = twice.clone();
    both.fields[2].1.push_str(" v1,AAAA");
    assert_eq!(judge(&twice), judge(&both));
}

#[test]
fn forms_that_protect_nothing_are_refused() {
    let secret = |text: &str| Secret::new(text.as_bytes().to_vec());
    let long = [secret("a secret of some length")];
    let github = Preset::Github.scheme();
    assert!(Webhook::new(github.clone(), &long).is_ok());
    assert!(Webhook::new(github.clone(), &[]).is_err());
    assert!(Webhook::new(github.clone(), &[secret("short")]).is_err());
    let five: Vec<_> = (0..5).map(|_| secret("a secret of some length")).collect();
    assert!(Webhook::new(github.clone(), &five).is_err());
    let unsigned_time = Scheme {
        timestamp: Some(HeaderName::from_static("x-time")),
        ..github.clone()
    };
    assert!(Webhook::new(unsigned_time, &long).is_err());
    let absent_time = Scheme {
        content: Content::parse("{timestamp}.{body}").unwrap(),
        ..github.clone()
    };
    assert!(Webhook::new(absent_time, &long).is_err());
    let absent_id = Scheme {
        content: Content::parse("{id}.{body}").unwrap(),
        ..github
    };
    assert!(Webhook::new(absent_id, &long).is_err());
    for template in [
        "",
        "{timestamp}",
        "{body}.",
        "{body}{body}",
        "{other}{body}",
        "}{body}",
        "{{body}",
    ] {
        assert!(Content::parse(template).is_err(), "{template}");
    }
    assert!(Preset::StandardWebhooks.secret("whsec_???").is_err());
}

#[test]
fn a_form_of_ones_own() {
    // `printf %s '2026-a:hi' | openssl dgst -sha512 -hmac '0123456789abcdef' -binary | base64`
    let signature =
        "t/sWRdp1n61+9YoXxAz2wonMLS7wCLotrQWYJw2o07KnYXjpeargKlHJXRUhWD1l4bR4iBwG5Q48SZ4ObTkK8w==";
    let scheme = Scheme {
        header: HeaderName::from_static("x-signature"),
        layout: Layout::Plain("".into()),
        encoding: Encoding::Base64,
        hash: Hash::Sha512,
        content: Content::parse("{id}:{body}").unwrap(),
        timestamp: None,
        id: Some(HeaderName::from_static("x-id")),
        tolerance: Duration::ZERO,
    };
    let webhook = Webhook::new(scheme, &[Secret::new(b"0123456789abcdef".to_vec())]).unwrap();
    let message = Message {
        preset: Preset::Github,
        secret: "",
        fields: vec![("x-signature", signature.into()), ("x-id", "2026-a".into())],
        body: "hi",
        time: 0,
    };
    assert!(run(&webhook, &message, 0).is_ok());
    let changed = Message {
        body: "ho",
        ..message
    };
    assert_eq!(run(&webhook, &changed, 0), Err(WebhookError::Signature));
}

#[test]
fn presets_have_names() {
    for preset in Preset::ALL {
        assert_eq!(Preset::from_name(preset.name()), Some(preset));
    }
    assert_eq!(Preset::from_name("Github"), None);
}
