//! `fortress explain`: from the problem's request id to the reason.

use crate::{
    demo,
    program::{Place, ask, status, until},
};

#[test]
fn the_last_refusal_is_explained_by_name_and_as_the_last() {
    let place = Place::new();
    let demo = demo::start(&place);
    let head = format!(
        "PATCH /users/me HTTP/1.1\r\nAuthorization: Bearer {}\r\nContent-Type: application/json",
        demo.alice
    );
    let answer = ask(&demo.fortress, &head, "{\"role\":\"hunter2\"}");
    assert_eq!(status(&answer), 400, "{answer}");
    let answered = ask(&demo.fortress, "GET /health HTTP/1.1", "");
    assert_eq!(status(&answered), 200);
    // The journal is written beside the request, not before its answer.
    until("a record", || {
        place
            .run(&["explain", "--last"])
            .out
            .contains("body.undeclared")
    });
    let last = place.run(&["explain", "--last"]).expect(0).out;
    for part in [
        "PATCH /users/me",
        "refused 400",
        "OWASP API3",
        "✗ inspect",
        "role",
        "updateMe",
        "alice (demo)",
        "· forward",
        "not reached",
    ] {
        assert!(last.contains(part), "`{part}` is missing:\n{last}");
    }
    assert!(!last.contains("hunter2"), "a value of the request:\n{last}");
    let id = answer
        .split("\"request_id\":\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .unwrap_or_else(|| panic!("no request id in {answer}"));
    let by_id = place
        .run(&["explain", id.get(..20).expect("26 letters"), "--json"])
        .expect(0)
        .json();
    assert_eq!(by_id["metadata"]["uid"], id);
}

#[test]
fn what_is_not_there_is_not_explained() {
    let place = Place::new();
    let _demo = demo::start(&place);
    place.run(&["explain", "ZZZZZZZZ"]).expect(1);
    drop(_demo);
    place.run(&["explain", "--last"]).expect(2);
    place
        .run(&["explain", "--last", "--journal", "nowhere.ndjson"])
        .expect(3);
}
