//! Instances that read one log know the same, and entries survive being written.

use proptest::prelude::*;

use super::*;
use crate::{
    defence::{Who, tests::RULES},
    key::Secret,
};

const SECOND: u64 = 1_000_000_000;

/// An instance that reads the log.
struct Instance {
    defence: Defence,
    trend: Trend,
}

impl Instance {
    fn new() -> Self {
        Self {
            defence: Defence::new(Secret::new([7; 16])),
            trend: Trend::default(),
        }
    }

    fn keys(&self, account: &str, address: &str, password: &str) -> Keys {
        let who = Who {
            scope: "shop",
            account: Some(account.as_bytes()),
            address: address.parse().unwrap(),
            client: Some("t13d1516h2_8daaf6152771_b186095e22b6"),
            password: Some(password.as_bytes()),
        };
        self.defence.keys(Kind::Login, &who)
    }

    fn reads(&self, log: &[(u64, Vec<u8>)]) -> Vec<String> {
        log.iter()
            .map(|(at, bytes)| match Event::read(bytes).unwrap() {
                Event::Attempt(entry) => {
                    format!("{:?}", self.defence.take(&entry, &self.trend, *at))
                }
                Event::Missed { .. } => String::new(),
            })
            .collect()
    }
}

fn entry(keys: Keys, step: Step) -> Entry {
    Entry {
        course: "shop login".into(),
        rules: RULES,
        keys,
        step,
    }
}

#[test]
fn a_thousand_attempts_at_once_are_decided_as_one_instance_would() {
    let instances: Vec<Instance> = (0..4).map(|_| Instance::new()).collect();
    let keys = instances[0].keys("ann", "192.0.2.1", "guess");
    let ask = Event::Attempt(entry(keys, Step::Ask).into()).write();
    let log: Vec<_> = (0..1_000).map(|_| (SECOND, ask.clone())).collect();
    for instance in &instances {
        let said = instance.reads(&log);
        let passed = said.iter().filter(|said| said.contains("Asked(Ok"));
        assert_eq!(passed.count(), 3);
        // Where all have read it, what is refused need not be written any more.
        let refused = instance
            .defence
            .refuses(&RULES, &instance.trend, &keys, SECOND);
        assert!(refused.is_some());
    }
}

#[test]
fn what_is_refused_without_the_log_is_refused_by_it() {
    let instance = Instance::new();
    let bystander = instance.keys("bob", "192.0.2.1", "right");
    for number in 0..400_u64 {
        let at = number * SECOND / 4;
        let account = format!("victim {}", number % 40);
        let keys = instance.keys(&account, "192.0.2.9", "Winter2026");
        for keys in [keys, bystander] {
            let (defence, trend) = (&instance.defence, &instance.trend);
            if let Some(early) = defence.refuses(&RULES, trend, &keys, at) {
                assert_eq!(defence.ask(&RULES, trend, &keys, at).unwrap_err(), early);
                continue;
            }
            if let Ok(charge) = defence.ask(&RULES, trend, &keys, at) {
                let was = if keys == bystander {
                    Attempt::Succeeded
                } else {
                    Attempt::Failed
                };
                defence.settle(&RULES, trend, &charge, was, at);
            }
        }
    }
    let victim = instance.keys("victim 3", "192.0.2.9", "Winter2026");
    let refused = instance
        .defence
        .refuses(&RULES, &instance.trend, &victim, 100 * SECOND);
    assert!(refused.is_some());
    let refused = instance
        .defence
        .refuses(&RULES, &instance.trend, &bystander, 100 * SECOND);
    assert_eq!(refused, None);
}

#[test]
fn what_is_no_entry_is_left_out() {
    let keys = Instance::new().keys("ann", "192.0.2.1", "guess");
    let whole = Event::Attempt(entry(keys, Step::Ask).into()).write();
    assert!(Event::read(&whole).is_some());
    for length in 0..whole.len() {
        assert_eq!(Event::read(&whole[..length]), None, "{length}");
    }
    let longer = [&*whole, &[0]].concat();
    assert_eq!(Event::read(&longer), None);
    let other_version = [&[9], &whole[1..]].concat();
    assert_eq!(Event::read(&other_version), None);
}

#[test]
fn no_account_address_or_password_is_in_it() {
    let keys = Instance::new().keys("ann@example.com", "192.0.2.1", "Winter2026");
    let written = Event::Attempt(entry(keys, Step::Ask).into()).write();
    assert!(written.len() < 300, "{}", written.len());
    for secret in [&b"ann"[..], b"Winter2026", &[192, 0, 2, 1]] {
        assert!(!written.windows(secret.len()).any(|part| part == secret));
    }
}

fn durations() -> impl Strategy<Value = Duration> {
    any::<u64>().prop_map(Duration::from_nanos)
}

prop_compose! {
    fn rules()(
        kind in prop::sample::select(vec![Kind::Login, Kind::Otp, Kind::Reset, Kind::Registration]),
        (after, first, most) in (any::<u32>(), durations(), durations()),
        (forget, known) in (durations(), durations()),
        lock in prop::option::of((any::<u32>(), durations())),
        suspicion in prop::option::of((any::<[u32; 3]>(), durations(), durations(), 0_u8..3)),
    ) -> Rules {
        Rules {
            kind,
            delay: Delay { after, first, most },
            forget,
            known,
            lock: lock.map(|(after, hold)| Lock { after, hold }),
            suspicion: suspicion.map(|([accounts, passwords, fall], within, hold, response)| Suspicion {
                accounts,
                passwords,
                fall,
                within,
                hold,
                response: [Response::Block, Response::Slow, Response::Challenge][usize::from(response)],
            }),
        }
    }
}

fn steps() -> impl Strategy<Value = Step> {
    let attempts = vec![Attempt::Failed, Attempt::Succeeded, Attempt::Unjudged];
    let settle = (prop::sample::select(attempts), any::<bool>())
        .prop_map(|(attempt, stranger)| Step::Settle { attempt, stranger });
    prop_oneof![Just(Step::Ask), Just(Step::Note), settle]
}

proptest! {
    #[test]
    fn entries_are_read_as_they_were_written(
        course in "\\PC{0,60}",
        rules in rules(),
        step in steps(),
        halves in any::<[u64; 14]>(),
        (named, client, password) in any::<(bool, bool, bool)>(),
    ) {
        let key = |at: usize| Key::from_halves(halves[2 * at], halves[2 * at + 1]);
        let keys = Keys {
            named: named.then(|| key(0)),
            account: key(0),
            pair: key(1),
            place: key(2),
            address: key(3),
            network: key(4),
            client: client.then(|| key(5)),
            password: password.then(|| key(6)),
        };
        let event = Event::Attempt(Entry { course: course.into(), rules, keys, step }.into());
        let written = event.write();
        prop_assert!(written.len() < 600);
        prop_assert_eq!(Event::read(&written), Some(event));
        let rule = WalkRule { distinct: rules.delay.after, within: rules.forget };
        let missed = Event::Missed { who: key(1), object: key(2), rule };
        prop_assert_eq!(Event::read(&missed.write()), Some(missed));
    }

    #[test]
    fn bytes_are_no_entry_by_accident(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        // It must not panic; what it reads is written as the same.
        if let Some(event) = Event::read(&bytes) {
            prop_assert_eq!(event.write(), bytes);
        }
    }

    /// Whoever reads the same log says the same of each entry.
    #[test]
    fn instances_agree(steps in prop::collection::vec((0_u64..2_000, 0_u8..4, 0_u8..4, 0_u8..4), 1..200)) {
        let (one, other) = (Instance::new(), Instance::new());
        let mut at = SECOND;
        let mut log = Vec::new();
        for (later, account, address, step) in steps {
            at += later * 1_000_000;
            let keys = one.keys(&format!("a{account}"), &format!("192.0.2.{address}"), "p");
            let attempt = [Attempt::Failed, Attempt::Succeeded, Attempt::Unjudged];
            let step = match attempt.get(usize::from(step)) {
                Some(attempt) => Step::Settle { attempt: *attempt, stranger: true },
                None => Step::Ask,
            };
            log.push((at, Event::Attempt(entry(keys, step).into()).write()));
        }
        prop_assert_eq!(one.reads(&log), other.reads(&log));
    }
}
