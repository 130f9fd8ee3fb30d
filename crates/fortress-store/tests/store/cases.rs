//! What holds of a store, whichever database it is in.

use std::{sync::Arc, thread, time::Duration};

use fortress_auth::{
    Revocation, RevocationTarget,
    api_key::{Digest, KeyState, Pepper},
};
use fortress_model::{Secret, Timestamp, config::StorePlace};
use fortress_store::{
    Changes, Count, MasterKeys, Postgres, Presence, Store, StoreError, open_backup,
};

use crate::{
    server::Server,
    support::{Home, NOW, key, keys, label, pepper},
};

/// Makes an empty place.
type Make<'m> = &'m dyn Fn() -> Home;

/// A case, and its name.
type Case = (&'static str, fn(Make<'_>));

const CASES: &[Case] = &[
    ("keys come back", keys_come_back),
    ("an id is taken once", an_id_is_taken_once),
    ("changes", changes),
    ("no update is lost", no_update_is_lost),
    ("use is noted", use_is_noted),
    ("revocations", revocations),
    ("counters", counters),
    ("states", states),
    ("a wrong key", a_wrong_key),
    ("a wrong pepper", a_wrong_pepper),
    ("a new key", a_new_key),
    ("backups", backups),
    ("backups with another key", backups_with_another_key),
];

fn run(make: Make<'_>) {
    for (name, case) in CASES {
        drop(std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("case: {name}\n"),
        ));
        case(make);
    }
}

#[test]
fn on_sqlite() {
    run(&Home::embedded);
}

#[test]
fn on_postgres() {
    let Some(mut server) = Server::start() else {
        return;
    };
    run(&|| server.home());
    a_lost_connection(&mut server);
    tls(&server);
}

fn keys_come_back(make: Make<'_>) {
    let home = make();
    let store = home.open();
    let (mut first, _) = key("Example Ltd");
    first.access.scopes = vec![label("a"), label("b")];
    first.access.addresses = vec!["10.0.0.0/8".parse().unwrap()];
    first.expires = Some(Timestamp(NOW.0 + 5));
    let (second, _) = key("zweiter Ömer");
    store.insert_keys(&[first.clone(), second.clone()]).unwrap();
    assert_eq!(store.key(first.id).unwrap(), Some(first.clone()));
    assert_eq!(store.key(key("nobody").0.id).unwrap(), None);
    drop(store);
    // Another process.
    let store = home.try_open(Presence::Demanded).unwrap();
    assert_eq!(store.keys().unwrap(), [first, second]);
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
}

fn an_id_is_taken_once(make: Make<'_>) {
    let store = make().open();
    let (first, _) = key("a");
    let mut again = key("b").0;
    again.id = first.id;
    let (third, _) = key("c");
    store.insert_keys(std::slice::from_ref(&first)).unwrap();
    let error = store.insert_keys(&[third, again]).unwrap_err();
    assert!(
        matches!(error, StoreError::Exists(id) if id == first.id),
        "{error}"
    );
    // All or none.
    assert_eq!(store.keys().unwrap(), [first]);
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
}

#[track_caller]
fn changed(store: &Store, position: &mut fortress_store::Position) -> (Vec<String>, usize) {
    match store.changes_since(*position).unwrap() {
        Changes::None => (Vec::new(), 0),
        Changes::Everything => panic!("everything"),
        Changes::Some {
            keys,
            revocations,
            position: now,
        } => {
            *position = now;
            let owners = keys.iter().map(|key| key.owner.to_string());
            (owners.collect(), revocations.len())
        }
    }
}

fn changes(make: Make<'_>) {
    let home = make();
    let (ours, theirs) = (home.open(), home.open());
    let mut position = ours.load(&mut |_| {}, &mut |_| {}).unwrap();
    assert_eq!(changed(&ours, &mut position), (vec![], 0));
    let (a, b) = (key("a").0, key("b").0);
    theirs.insert_keys(&[a.clone(), b.clone()]).unwrap();
    assert_eq!(
        changed(&ours, &mut position),
        (vec!["a".into(), "b".into()], 0)
    );
    assert_eq!(changed(&ours, &mut position), (vec![], 0));
    theirs
        .update_key(a.id, |key| {
            key.owner = label("c");
            Ok(())
        })
        .unwrap()
        .unwrap();
    theirs.revoke(&revocation("t", None), NOW).unwrap();
    assert_eq!(changed(&ours, &mut position), (vec!["c".into()], 1));
    // When a key was used is no change; a change that fails is none either.
    theirs.note_used(&[(b.id, NOW)]).unwrap();
    let refused = theirs.update_key(b.id, |_| Err("no".into()));
    assert!(matches!(refused, Err(StoreError::Refused(why)) if why == "no"));
    assert_eq!(changed(&ours, &mut position), (vec![], 0));
    // More than is given at once comes in pieces.
    theirs.insert_keys(&keys(10_500)).unwrap();
    let first = changed(&ours, &mut position).0.len();
    let second = changed(&ours, &mut position).0.len();
    assert_eq!((first, second), (10_000, 500));
    assert_eq!(changed(&ours, &mut position), (vec![], 0));
}

fn no_update_is_lost(make: Make<'_>) {
    let home = make();
    let (record, _) = key("a");
    home.open()
        .insert_keys(std::slice::from_ref(&record))
        .unwrap();
    let stores = [home.open(), home.open()];
    thread::scope(|scope| {
        for (number, store) in stores.iter().enumerate() {
            scope.spawn(move || {
                for turn in 0..50 {
                    let role = label(&format!("{number}-{turn}"));
                    let done = store.update_key(record.id, |key| {
                        key.access.roles.push(role.clone());
                        Ok(())
                    });
                    done.unwrap().unwrap();
                }
            });
        }
    });
    let key = home.open().key(record.id).unwrap().unwrap();
    assert_eq!(key.access.roles.len(), 100);
}

fn use_is_noted(make: Make<'_>) {
    let store = make().open();
    let (record, _) = key("a");
    store.insert_keys(std::slice::from_ref(&record)).unwrap();
    let used = || store.key(record.id).unwrap().unwrap().last_used;
    assert_eq!(used(), None);
    store
        .note_used(&[(record.id, Timestamp(NOW.0 + 9)), (key("gone").0.id, NOW)])
        .unwrap();
    assert_eq!(used(), Some(Timestamp(NOW.0 + 9)));
    store.note_used(&[(record.id, NOW)]).unwrap();
    assert_eq!(used(), Some(Timestamp(NOW.0 + 9)));
}

fn revocation(id: &str, until: Option<Timestamp>) -> Revocation {
    let (issuer, id) = ("https://idp".into(), id.into());
    Revocation {
        target: RevocationTarget::Token { issuer, id },
        issued_before: None,
        until,
    }
}

fn revocations(make: Make<'_>) {
    let store = make().open();
    let all = || {
        let mut all = Vec::new();
        store.load(&mut |_| {}, &mut |one| all.push(one)).unwrap();
        all
    };
    let (short, long) = (
        revocation("a", Some(Timestamp(NOW.0 + 5))),
        revocation("b", None),
    );
    store.revoke(&short, NOW).unwrap();
    store.revoke(&long, NOW).unwrap();
    assert_eq!(all(), [short.clone(), long.clone()]);
    // The same said again replaces what was said.
    let longer = revocation("a", Some(Timestamp(NOW.0 + 9)));
    store.revoke(&longer, NOW).unwrap();
    assert_eq!(all(), [long.clone(), longer]);
    assert_eq!(store.remove_expired(Timestamp(NOW.0 + 8)).unwrap(), 0);
    assert_eq!(store.remove_expired(Timestamp(NOW.0 + 9)).unwrap(), 1);
    assert_eq!(all(), [long]);
    let error = store
        .revoke(&revocation(&"a".repeat(2000), None), NOW)
        .unwrap_err();
    assert!(matches!(error, StoreError::TooLarge(_)), "{error}");
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
}

fn counters(make: Make<'_>) {
    let home = make();
    let stores = [home.open(), home.open()];
    let count = |name, more| Count {
        name,
        began: NOW,
        more,
        expires: Timestamp(NOW.0 + 5),
    };
    assert_eq!(
        stores[0].count(&[count("b", 2), count("a", 1)]).unwrap(),
        [2, 1]
    );
    thread::scope(|scope| {
        for store in &stores {
            scope.spawn(move || {
                for _ in 0..50 {
                    store.count(&[count("a", 1), count("b", -1)]).unwrap();
                }
            });
        }
    });
    assert_eq!(stores[0].counted("a", NOW).unwrap(), 101);
    assert_eq!(stores[1].counted("b", NOW).unwrap(), -98);
    assert_eq!(stores[0].counted("a", Timestamp(0)).unwrap(), 0);
    let later = Count {
        began: Timestamp(NOW.0 + 1),
        ..count("a", 7)
    };
    stores[0].count(&[later]).unwrap();
    let listed = |prefix: &str, now: u64| {
        let mut found = Vec::new();
        stores[1]
            .counters(prefix, Timestamp(now), &mut |name, began, value| {
                found.push((name.to_owned(), began.0 - NOW.0, value));
            })
            .unwrap();
        found
    };
    assert_eq!(
        listed("a", NOW.0),
        [("a".into(), 1, 7), ("a".into(), 0, 101)]
    );
    assert_eq!(listed("", NOW.0).len(), 3);
    assert_eq!(listed("c", NOW.0), []);
    assert_eq!(listed("a", NOW.0 + 5), []);
    assert_eq!(stores[0].remove_expired(Timestamp(0)).unwrap(), 0);
    assert_eq!(stores[0].remove_expired(Timestamp(NOW.0 + 5)).unwrap(), 3);
    assert_eq!(stores[0].counted("a", NOW).unwrap(), 0);
    let long = "a".repeat(257);
    assert!(matches!(
        stores[0].count(&[count(&long, 1)]),
        Err(StoreError::TooLarge(_))
    ));
}

fn states(make: Make<'_>) {
    let store = make().open();
    let end = Timestamp(NOW.0 + 5);
    store.put_state("login", b"one", b"first", end).unwrap();
    store.put_state("login", b"one", b"second", end).unwrap();
    store.put_state("other", b"one", b"third", end).unwrap();
    let read = |kind, id: &[u8], now| {
        let blob = store.state(kind, id, now).unwrap();
        blob.map(|blob| String::from_utf8(blob.expose().clone()).unwrap())
    };
    assert_eq!(read("login", b"one", NOW).as_deref(), Some("second"));
    assert_eq!(read("login", b"two", NOW), None);
    assert_eq!(read("login", b"one", end), None);
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
    assert!(store.take_state("login", b"one", NOW).unwrap().is_some());
    assert!(store.take_state("login", b"one", NOW).unwrap().is_none());
    assert_eq!(store.remove_expired(end).unwrap(), 1);
    let large = vec![0; (64 << 10) + 1];
    assert!(matches!(
        store.put_state("a", b"b", &large, end),
        Err(StoreError::TooLarge(_))
    ));
}

fn a_wrong_key(make: Make<'_>) {
    let home = make();
    let store = home.open();
    let (record, _) = key("Example Ltd");
    store.insert_keys(std::slice::from_ref(&record)).unwrap();
    let other = home.beside("other.key");
    let other = Arc::new(MasterKeys::create(&other).unwrap());
    for presence in [Presence::Demanded, Presence::Made] {
        let error = fortress_store::open(&home.place, other.clone(), presence).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("wrong key") && text.contains("other.key"),
            "{text}"
        );
    }
    assert_eq!(home.open().keys().unwrap(), [record]);
}

fn a_wrong_pepper(make: Make<'_>) {
    let store = make().open();
    let other = Pepper::new(&Secret::new(vec![6; 32])).unwrap();
    // Nobody has a key yet.
    store.use_pepper(&other).unwrap();
    store.use_pepper(&pepper()).unwrap();
    store.insert_keys(&[key("a").0]).unwrap();
    store.use_pepper(&pepper()).unwrap();
    assert!(matches!(
        store.use_pepper(&other),
        Err(StoreError::WrongPepper)
    ));
}

fn a_new_key(make: Make<'_>) {
    let home = make();
    let (ours, theirs) = (home.open(), home.open());
    let old_file = std::fs::read(&home.key).unwrap();
    let (before, after) = (key("before").0, key("after").0);
    ours.insert_keys(std::slice::from_ref(&before)).unwrap();
    let position = theirs.load(&mut |_| {}, &mut |_| {}).unwrap();
    let new = Arc::new(home.seal().add_key().unwrap());
    ours.rotate_key(new.clone()).unwrap();
    new.keep_first().unwrap();
    ours.insert_keys(std::slice::from_ref(&after)).unwrap();
    // Who has it open reads what is sealed with the new key, and writes with it.
    let Changes::Some { keys, .. } = theirs.changes_since(position).unwrap() else {
        panic!()
    };
    assert_eq!(keys, std::slice::from_ref(&after));
    theirs.put_state("a", b"b", b"c", NOW).unwrap();
    theirs
        .update_key(before.id, |key| {
            key.owner = label("changed");
            Ok(())
        })
        .unwrap();
    // Who comes later too, and the old key opens nothing any more.
    let later = home.open();
    assert_eq!(later.keys().unwrap().len(), 2);
    assert_eq!(later.check().unwrap(), Vec::<String>::new());
    std::fs::write(home.beside("old.key"), old_file).unwrap();
    let old = Arc::new(MasterKeys::from_file(&home.beside("old.key")).unwrap());
    let error = fortress_store::open(&home.place, old, Presence::Demanded).unwrap_err();
    assert!(error.to_string().contains("wrong key"), "{error}");
}

fn backups(make: Make<'_>) {
    let (home, elsewhere) = (make(), make());
    let (store, reader) = (home.open(), home.open());
    let mut all = keys(300);
    store.insert_keys(&all).unwrap();
    store.revoke(&revocation("a", None), NOW).unwrap();
    store
        .put_state("a", b"b", b"c", Timestamp(u64::MAX >> 1))
        .unwrap();
    let file = home.beside("backup.db");
    let records = store.backup(&file).unwrap();
    assert!(records >= 303, "{records}");
    assert!(matches!(store.backup(&file), Err(StoreError::Present(_))));

    let position = reader.load(&mut |_| {}, &mut |_| {}).unwrap();
    store
        .update_key(all[0].id, |key| {
            key.revoked = Some(NOW);
            Ok(())
        })
        .unwrap();
    store.insert_keys(&keys(5)).unwrap();
    let backup = open_backup(&file, home.seal()).unwrap();
    store.restore(&backup).unwrap();
    // Who has it open notices.
    assert!(matches!(
        reader.changes_since(position).unwrap(),
        Changes::Everything
    ));
    let mut found = store.keys().unwrap();
    found.sort_by_key(|key| key.id);
    all.sort_by_key(|key| key.id);
    assert_eq!(found, all);
    assert_eq!(found[0].state(NOW), KeyState::Active);
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
    store.insert_keys(&keys(1)).unwrap();

    // Into another store of the same key: a new machine.
    let other = fortress_store::open(&elsewhere.place, home.seal(), Presence::Made).unwrap();
    other.restore(&backup).unwrap();
    assert_eq!(other.keys().unwrap().len(), 300);
    assert!(other.state("a", b"b", NOW).unwrap().is_some());
}

fn backups_with_another_key(make: Make<'_>) {
    let (home, other) = (make(), make());
    let store = home.open();
    store.insert_keys(&keys(3)).unwrap();
    let file = home.beside("backup.db");
    store.backup(&file).unwrap();
    let error = open_backup(&file, other.seal()).unwrap_err();
    assert!(error.to_string().contains("wrong key"), "{error}");

    // A record of the backup that was changed stops all of it.
    let changed = rusqlite::Connection::open(&file).unwrap();
    let sql = "UPDATE fortress_api_keys SET sealed = zeroblob(100) WHERE id =
      (SELECT max(id) FROM fortress_api_keys)";
    assert_eq!(changed.execute(sql, []).unwrap(), 1);
    drop(changed);
    let before = store.keys().unwrap();
    let backup = open_backup(&file, home.seal()).unwrap();
    assert!(matches!(
        store.restore(&backup),
        Err(StoreError::Damaged(_))
    ));
    assert_eq!(store.keys().unwrap(), before);
}

fn a_lost_connection(server: &mut Server) {
    let home = server.home();
    let store = home.open();
    let records = keys(3);
    store.insert_keys(&records[..1]).unwrap();
    server.kill();
    let error = store.insert_keys(&records[1..2]).unwrap_err();
    assert!(matches!(error, StoreError::Unreachable(_)), "{error}");
    server.restart();
    store.insert_keys(&records[2..]).unwrap();
    let found = store.keys().unwrap();
    assert_eq!(found, [records[0].clone(), records[2].clone()]);
}

fn tls(server: &Server) {
    let port = server.port();
    let database = server.database();
    let url = |mode: &str| {
        Secret::new(format!(
            "postgres://postgres@127.0.0.1:{port}/{database}?sslmode={mode}"
        ))
    };
    // Verified by the certificate that it has, and by no other.
    Postgres::connect(&url("require"), Some(&server.ca())).unwrap();
    let error = Postgres::connect(&url("require"), None).unwrap_err();
    assert!(matches!(error, StoreError::Unreachable(_)), "{error}");
    let place = StorePlace::Postgres {
        url: url("require"),
        ca: Some(server.ca()),
    };
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let store = Home::with(directory, place).open();
    store.insert_keys(&keys(2)).unwrap();
    assert_eq!(store.keys().unwrap().len(), 2);
    let wrong = tempfile::NamedTempFile::new().unwrap();
    let error = Postgres::connect(&url("require"), Some(wrong.path())).unwrap_err();
    assert!(error.to_string().contains("no certificates"), "{error}");
}

#[test]
fn rotation_gives_a_second_secret_that_is_kept() {
    let store = Home::embedded().open();
    let (record, _) = key("a");
    store.insert_keys(std::slice::from_ref(&record)).unwrap();
    let rotated = store.update_key(record.id, |key| {
        let done = key.rotate(Digest([1; 32]), NOW, Duration::from_secs(60));
        done.map_err(|error| error.to_string())
    });
    assert_eq!(rotated.unwrap().unwrap().secrets.len(), 2);
    assert_eq!(store.key(record.id).unwrap().unwrap().secrets.len(), 2);
}
