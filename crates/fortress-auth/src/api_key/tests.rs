//! The book: who is found, who is not, and that the two cannot be told apart.

use std::{collections::HashMap, time::Duration};

use fortress_model::Secret;
use proptest::prelude::*;

use super::*;
use crate::api_key::{Environment, NoRandomness};

const NOW: Timestamp = Timestamp(1_790_000_000 * 1_000_000_000);

fn random(bytes: &mut [u8]) -> Result<(), NoRandomness> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| NoRandomness)
}

fn pepper() -> Pepper {
    Pepper::new(&Secret::new(vec![9; 32])).unwrap()
}

fn later(seconds: u64) -> Timestamp {
    Timestamp(NOW.0 + seconds * 1_000_000_000)
}

fn made(owner: &str) -> (KeyRecord, String) {
    let environment = Environment::new("live").unwrap();
    let (id, text) = ApiKey::generate(&environment, &mut random).unwrap();
    let digest = pepper().digest(text.expose());
    let owner = Label::new(owner).unwrap();
    let record = KeyRecord::new(id, environment, owner, digest, NOW);
    (record, text.expose().clone())
}

#[track_caller]
fn accepted(book: &KeyBook, text: &str, now: Timestamp, owner: &str) {
    let holder = book.verify(text, &pepper(), now).unwrap();
    assert_eq!(&*holder.owner, owner);
}

#[track_caller]
fn refused(book: &KeyBook, text: &str, now: Timestamp, error: KeyError) {
    assert_eq!(book.verify(text, &pepper(), now).unwrap_err(), error);
}

#[test]
fn a_key_is_found_and_others_are_not() {
    let ((alice, a), (bob, b), (_, c)) = (made("alice"), made("bob"), made("carol"));
    let book = KeyBook::of([alice, bob]);
    accepted(&book, &a, NOW, "alice");
    accepted(&book, &b, NOW, "bob");
    refused(&book, &c, NOW, KeyError::Unknown);
    refused(&KeyBook::default(), &a, NOW, KeyError::Unknown);
    assert_eq!((book.len(), KeyBook::default().is_empty()), (2, true));
}

#[test]
fn a_wrong_secret_and_an_unknown_id_are_one_error() {
    let (record, _) = made("alice");
    let (id, environment) = (record.id, record.access.environment.clone());
    let book = KeyBook::of([record]);
    let wrong = ApiKey::issue(&environment, id, &mut random).unwrap();
    let unknown = made("bob").1;
    let errors = [wrong.expose(), &unknown].map(|text| book.verify(text, &pepper(), NOW));
    let [wrong, unknown] = errors.map(|error| error.unwrap_err());
    assert_eq!(wrong, unknown);
    assert_eq!(wrong.to_string(), unknown.to_string());
    assert_eq!(wrong.reason(), unknown.reason());
}

#[test]
fn another_pepper_opens_nothing() {
    let (record, text) = made("alice");
    let other = Pepper::new(&Secret::new(vec![8; 32])).unwrap();
    let error = KeyBook::of([record]).verify(&text, &other, NOW);
    assert_eq!(error.unwrap_err(), KeyError::Unknown);
}

#[test]
fn malformed_keys_are_not_looked_up() {
    let (record, text) = made("alice");
    let book = KeyBook::of([record]);
    let cut = text.get(..text.len() - 1).unwrap();
    for wrong in [
        "",
        "short",
        cut,
        &format!("{text} "),
        &"a".repeat(257),
        "a key with spaces in it",
        "key-with-ümlauts-in-it",
    ] {
        let error = book.verify(wrong, &pepper(), NOW).unwrap_err();
        assert!(matches!(error, KeyError::Malformed(_)), "{wrong}: {error}");
    }
}

#[test]
fn expired_and_revoked_are_told_to_the_owner_alone() {
    let (mut record, text) = made("alice");
    let environment = record.access.environment.clone();
    let wrong = ApiKey::issue(&environment, record.id, &mut random).unwrap();
    record.expires = Some(later(10));
    let book = KeyBook::of([record.clone()]);
    accepted(&book, &text, later(9), "alice");
    refused(&book, &text, later(10), KeyError::Expired);
    refused(&book, wrong.expose(), later(10), KeyError::Unknown);
    record.revoked = Some(NOW);
    let book = book.with(&[record]);
    refused(&book, &text, NOW, KeyError::Revoked);
    refused(&book, wrong.expose(), NOW, KeyError::Unknown);
    assert_eq!(book.len(), 1);
}

#[test]
fn two_secrets_are_accepted_while_they_overlap() {
    let (mut record, old) = made("alice");
    let environment = record.access.environment.clone();
    let new = ApiKey::issue(&environment, record.id, &mut random).unwrap();
    record
        .rotate(pepper().digest(new.expose()), NOW, Duration::from_secs(60))
        .unwrap();
    let book = KeyBook::of([record]);
    accepted(&book, &old, later(59), "alice");
    accepted(&book, new.expose(), later(59), "alice");
    refused(&book, &old, later(60), KeyError::Expired);
    accepted(&book, new.expose(), later(60), "alice");
}

#[test]
fn keys_made_elsewhere_are_found_by_their_digest() {
    let text = "sk_live_51H8xYzAbCdEfGhIjKl";
    let (id, digest) = pepper().read(text).unwrap();
    let environment = Environment::new("live").unwrap();
    let record = KeyRecord::new(id, environment, Label::new("old").unwrap(), digest, NOW);
    let book = KeyBook::of([record]);
    accepted(&book, text, NOW, "old");
    refused(&book, "sk_live_51H8xYzAbCdEfGhIjKL", NOW, KeyError::Unknown);
}

#[test]
fn use_is_noted_once_a_minute_and_survives_a_change() {
    let (mut record, text) = made("alice");
    record.last_used = Some(NOW);
    let book = KeyBook::of([record.clone()]);
    let holder = book.verify(&text, &pepper(), NOW).unwrap();
    assert!(!holder.note_use(later(59)));
    assert!(holder.note_use(later(60)));
    assert!(!holder.note_use(later(60)));
    assert!(!holder.note_use(later(1)));
    let book = book.with(&[record]);
    assert_eq!(book.holder(holder.id).unwrap().last_used(), Some(later(60)));
}

#[test]
fn a_change_leaves_the_old_book_as_it_was() {
    let ((alice, a), (bob, b)) = (made("alice"), made("bob"));
    let before = KeyBook::of([alice.clone()]);
    let mut renamed = alice;
    renamed.owner = Label::new("alicia").unwrap();
    let after = before.with(&[renamed, bob]);
    accepted(&before, &a, NOW, "alice");
    refused(&before, &b, NOW, KeyError::Unknown);
    accepted(&after, &a, NOW, "alicia");
    accepted(&after, &b, NOW, "bob");
    assert_eq!((before.len(), after.len()), (1, 2));
}

proptest! {
    /// The book against a plain map, with ids that are random, near to each other, and all in one
    /// shard.
    #[test]
    fn the_book_finds_what_a_map_finds(
        first in prop::collection::vec((0_u8..3, any::<u64>()), 0..300),
        second in prop::collection::vec((0_u8..3, any::<u64>()), 0..300),
    ) {
        let id = |(kind, number): (u8, u64)| match kind {
            0 => KeyId::from_number(number),
            1 => KeyId::from_number(number % 500),
            // The inverse of the factor brings small hashes, and so one shard.
            _ => KeyId::from_number((number >> 54).wrapping_mul(0xF1DE_83E1_9937_733D)),
        };
        let record = |id: KeyId, turn: u8| {
            let owner = Label::new(&format!("{id}-{turn}")).unwrap();
            KeyRecord::new(id, Environment::new("a").unwrap(), owner, Digest([1; 32]), NOW)
        };
        let old: Vec<_> = first.into_iter().map(|draft| record(id(draft), 1)).collect();
        let new: Vec<_> = second.into_iter().map(|draft| record(id(draft), 2)).collect();
        let mut map = HashMap::new();
        for record in old.iter().chain(&new) {
            map.insert(record.id, record.owner.to_string());
        }
        let book = KeyBook::of(old).with(&new);
        prop_assert_eq!(book.len(), map.len());
        for (id, owner) in &map {
            let held = book.holder(*id).map(|holder| holder.owner.to_string());
            prop_assert_eq!(held.as_ref(), Some(owner));
            let neighbour = KeyId::from_number(id.number() + 1);
            prop_assert_eq!(book.holder(neighbour).is_some(), map.contains_key(&neighbour));
        }
    }
}
