//! The feed: what others write arrives, uses are written, and a store that is gone is noticed.

use std::sync::Arc;

use fortress_auth::{
    Revocation, RevocationTarget,
    api_key::{KeyError, Pepper},
};
use fortress_model::{Clock, Secret, SystemClock};
use fortress_store::{Feed, StoreError, open_backup};

use crate::{
    server::Server,
    support::{Home, key, keys, label, pepper, until},
};

fn start(home: &Home) -> Feed {
    Feed::start(home.open(), pepper(), Arc::new(SystemClock)).unwrap()
}

fn now() -> fortress_model::Timestamp {
    SystemClock.now()
}

fn follows(home: &Home) {
    let theirs = home.open();
    let (first, a) = key("first");
    theirs.insert_keys(std::slice::from_ref(&first)).unwrap();
    let feed = start(home);
    assert_eq!(&*feed.verify(&a, now()).unwrap().owner, "first");

    let (second, b) = key("second");
    assert_eq!(feed.verify(&b, now()).unwrap_err(), KeyError::Unknown);
    theirs.insert_keys(std::slice::from_ref(&second)).unwrap();
    until("a new key", || feed.verify(&b, now()).is_ok());

    theirs
        .update_key(first.id, |key| {
            key.revoked = Some(now());
            Ok(())
        })
        .unwrap();
    until("a revoked key", || {
        feed.verify(&a, now())
            .is_err_and(|error| error == KeyError::Revoked)
    });

    let revocation = Revocation {
        target: RevocationTarget::Everything,
        issued_before: Some(now()),
        until: None,
    };
    assert!(feed.revocations().is_empty());
    theirs.revoke(&revocation, now()).unwrap();
    until("a revocation", || feed.revocations().len() == 1);

    // A backup from before takes it all back.
    let file = home.beside("before.db");
    theirs.backup(&file).unwrap();
    theirs
        .update_key(second.id, |key| {
            key.owner = label("other");
            Ok(())
        })
        .unwrap();
    until("a change", || {
        feed.book()
            .holder(second.id)
            .is_some_and(|holder| &*holder.owner == "other")
    });
    theirs
        .restore(&open_backup(&file, home.seal()).unwrap())
        .unwrap();
    until("the backup", || {
        feed.book()
            .holder(second.id)
            .is_some_and(|holder| &*holder.owner == "second")
    });
    assert!(feed.age(now()).as_secs() < 60);

    // What was used is written, at the latest at the end.
    feed.verify(&b, now()).unwrap();
    drop(feed);
    assert!(theirs.key(second.id).unwrap().unwrap().last_used.is_some());
    assert!(theirs.key(first.id).unwrap().unwrap().last_used.is_some());
}

#[test]
fn on_sqlite() {
    follows(&Home::embedded());
}

#[test]
fn on_postgres_also_through_a_crash_of_the_server() {
    let Some(mut server) = Server::start() else {
        return;
    };
    follows(&server.home());
    let home = server.home();
    let (record, text) = key("a");
    home.open().insert_keys(&[record]).unwrap();
    let feed = start(&home);
    server.kill();
    until("an old state", || feed.age(now()).as_secs() >= 2);
    assert!(feed.verify(&text, now()).is_ok());
    server.restart();
    let (record, text) = key("b");
    home.open().insert_keys(&[record]).unwrap();
    until("what came later", || feed.verify(&text, now()).is_ok());
    assert!(feed.age(now()).as_secs() < 60);
}

#[test]
fn another_pepper_stops_the_start() {
    let home = Home::embedded();
    home.open().use_pepper(&pepper()).unwrap();
    home.open().insert_keys(&keys(1)).unwrap();
    let other = Pepper::new(&Secret::new(vec![6; 32])).unwrap();
    let started = Feed::start(home.open(), other, Arc::new(SystemClock));
    assert!(matches!(started, Err(StoreError::WrongPepper)));
}
