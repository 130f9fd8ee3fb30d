//! Instances that share a limit through a store which is a table in memory. The script itself is tested
//! on real servers, in `tests/redis`.

use proptest::prelude::*;

use super::*;

const MS: u64 = 1_000_000;
const KEY: Key = Key::from_halves(1, 0x9e37_79b9_7f4a_7c15);
const PATIENCE: u64 = 2_000 * MS;

fn slots() -> Slots<u32> {
    Slots::new(100, PATIENCE)
}

/// What the script does, for one key and a clock that stands still.
#[derive(Default)]
struct Store {
    instances: HashMap<usize, u64>,
}

impl Store {
    fn call(&mut self, instance: usize, call: &SlotCall) -> SlotReply {
        let others = self.instances.iter().filter(|(name, _)| **name != instance);
        let others: u64 = others.map(|(_, count)| count).sum();
        let free = call.limit.saturating_sub(others + call.held);
        let granted = call.want.min(free);
        self.instances.insert(instance, call.held + granted);
        SlotReply {
            granted,
            left: free - granted,
        }
    }
}

fn next(slots: &Slots<u32>, now: u64) -> Next {
    slots.next(KEY, now, |_| false)
}

#[track_caller]
fn call(slots: &Slots<u32>, now: u64) -> SlotCall {
    match next(slots, now) {
        Next::Call(call) => call,
        other @ (Next::Pause(_) | Next::Nothing) => panic!("{other:?}"),
    }
}

/// One more request, with an answer that grants it.
#[track_caller]
fn enter(slots: &Slots<u32>, limit: u64, now: u64) {
    assert!(slots.ask(KEY, limit, 0, now).unwrap());
    assert_eq!(slots.due(), [KEY]);
    let asked = call(slots, now);
    let reply = SlotReply {
        granted: asked.want,
        left: limit - asked.held - asked.want,
    };
    let done = slots.answered(&asked, reply, now);
    assert!(matches!(done[..], [(0, Room::Pass(_))]), "{done:?}");
    assert_eq!(next(slots, now), Next::Nothing);
}

#[test]
fn those_who_come_meanwhile_are_asked_for_together() {
    let slots = slots();
    assert_eq!(slots.enter(KEY, 9, MS), None);
    assert_eq!(slots.ask(KEY, 9, 1, MS), Ok(true));
    let first = call(&slots, MS);
    assert_eq!((first.held, first.want), (0, 1));
    assert_eq!(slots.ask(KEY, 9, 2, MS), Ok(false));
    assert_eq!(slots.ask(KEY, 9, 3, MS), Ok(false));
    let reply = SlotReply {
        granted: 1,
        left: 8,
    };
    let done = slots.answered(&first, reply, MS);
    assert_eq!(done, [(1, Room::Pass(decided(true, 8)))]);
    let second = call(&slots, MS);
    assert_eq!((second.held, second.want), (1, 2));
    assert!(second.number > first.number);
    let reply = SlotReply {
        granted: 2,
        left: 6,
    };
    assert_eq!(slots.answered(&second, reply, MS).len(), 2);
    assert_eq!(next(&slots, MS), Next::Nothing);
    // Who went away is not asked for.
    slots.ask(KEY, 9, 4, MS).unwrap();
    assert_eq!(slots.next(KEY, MS, |who| *who == 4), Next::Nothing);
}

#[test]
fn what_ends_is_given_back_at_once_or_used_before_that() {
    let slots = slots();
    enter(&slots, 9, MS);
    enter(&slots, 9, MS);
    assert_eq!(slots.enter(KEY, 9, MS), None);
    assert!(slots.leave(KEY));
    // Before that was told, the next one needs no call.
    assert!(slots.enter(KEY, 9, MS).unwrap().allowed);
    assert_eq!(next(&slots, MS), Next::Nothing);
    assert!(slots.leave(KEY));
    assert!(!slots.leave(KEY));
    let last = call(&slots, MS);
    assert_eq!((last.held, last.want), (0, 0));
    slots.answered(
        &last,
        SlotReply {
            granted: 0,
            left: 9,
        },
        MS,
    );
    assert!(!slots.is_empty());
    assert_eq!(next(&slots, MS), Next::Nothing);
    assert!(slots.is_empty());
}

#[test]
fn what_was_said_too_long_ago_is_no_room() {
    let slots = slots();
    enter(&slots, 9, MS);
    assert!(slots.leave(KEY));
    assert_eq!(slots.enter(KEY, 9, MS + SLOT_TIME), None);
    assert!(slots.enter(KEY, 9, MS + SLOT_TIME - 1).is_some());
}

#[test]
fn a_refusal_is_tried_again_in_case_another_instance_is_about_to_give_back() {
    let slots = slots();
    let full = SlotReply {
        granted: 0,
        left: 0,
    };
    slots.ask(KEY, 1, 7, MS).unwrap();
    assert!(slots.answered(&call(&slots, MS), full, MS).is_empty());
    assert_eq!(next(&slots, MS), Next::Pause(Duration::from_nanos(PAUSE)));
    // What comes in the pause waits for its end.
    assert_eq!(slots.ask(KEY, 1, 8, MS), Ok(false));
    assert!(slots.resume(KEY));
    let again = call(&slots, MS + PAUSE);
    assert_eq!(again.want, 1);
    let done = slots.answered(
        &again,
        SlotReply {
            granted: 1,
            left: 0,
        },
        MS + PAUSE,
    );
    assert_eq!(done, [(7, Room::Pass(decided(true, 0)))]);
    // The other one is refused in the end, and so is who came late.
    for late in [MS + 2 * PAUSE, MS + RACE] {
        let asked = call(&slots, late);
        assert_eq!(asked.held, 1);
        let done = slots.answered(&asked, full, late);
        let expect: &[(u32, Room)] = match late {
            at if at < RACE => &[],
            _ => &[(8, Room::Refuse(decided(false, 0)))],
        };
        assert_eq!(done, expect);
        assert!(!matches!(next(&slots, late), Next::Call(_)));
    }
    // What is given back is told without a pause.
    assert!(slots.leave(KEY));
    assert_eq!(call(&slots, MS + RACE).held, 0);
}

#[test]
fn a_store_that_does_not_answer_is_told_again_later() {
    let slots = slots();
    enter(&slots, 9, MS);
    slots.ask(KEY, 9, 5, MS).unwrap();
    slots.due();
    call(&slots, MS);
    assert_eq!(slots.failed(KEY), [(5, Room::Away)]);
    // Whether it has room for a second one nobody knows.
    assert_eq!(slots.enter(KEY, 9, MS), None);
    slots.renew(MS + SLOT_RENEWAL - 1);
    assert_eq!(slots.due(), []);
    slots.renew(MS + SLOT_RENEWAL);
    assert_eq!(slots.due(), [KEY]);
    let again = call(&slots, MS + SLOT_RENEWAL);
    assert_eq!((again.held, again.want), (1, 0));
    // It may still count two: until that has passed by itself it is told again.
    slots.failed(KEY);
    slots.leave(KEY);
    slots.failed(KEY);
    slots.forget(MS + SLOT_RENEWAL + SLOT_TIME - 1);
    assert!(!slots.is_empty());
    slots.forget(MS + SLOT_RENEWAL + SLOT_TIME);
    assert!(slots.is_empty());
}

#[test]
fn what_is_in_flight_is_told_from_time_to_time_and_after_a_loss_at_once() {
    let slots = slots();
    enter(&slots, 9, MS);
    slots.renew(MS + SLOT_RENEWAL);
    let renewed = call(&slots, MS + SLOT_RENEWAL);
    assert_eq!((renewed.held, renewed.want), (1, 0));
    slots.answered(
        &renewed,
        SlotReply {
            granted: 0,
            left: 8,
        },
        MS + SLOT_RENEWAL,
    );
    next(&slots, MS + SLOT_RENEWAL);
    slots.due();
    slots.lost();
    slots.renew(2 * SLOT_RENEWAL);
    assert_eq!(slots.due(), [KEY]);
}

#[test]
fn alone_an_instance_has_its_part_and_tells_it_later() {
    let slots = slots();
    let alone = || slots.enter_alone(KEY, 8, 2).unwrap().allowed;
    enter(&slots, 8, MS);
    // What was in flight before counts.
    assert_eq!([alone(), alone()], [true, false]);
    assert!(slots.leave(KEY));
    slots.failed(KEY);
    assert_eq!([alone(), alone()], [true, false]);
    slots.renew(MS + SLOT_RENEWAL);
    assert_eq!(call(&slots, MS + SLOT_RENEWAL).held, 2);
}

#[test]
fn a_table_has_a_bound_and_forgets_nobody() {
    let slots = Slots::<u32>::new(1, PATIENCE);
    let key = |number| Key::from_halves(number, 64);
    let entered = (0..100).filter(|number| slots.enter_alone(key(*number), 1, 1).is_ok());
    assert_eq!(entered.count(), 8);
    assert_eq!(slots.ask(key(99), 1, 0, MS), Err(Full));
    assert!(!slots.enter_alone(key(0), 1, 1).unwrap().allowed);
    slots.leave(key(0));
    assert!(slots.enter_alone(key(99), 1, 1).unwrap().allowed);
}

#[test]
fn names_arguments_and_replies() {
    let slots = slots();
    slots.ask(KEY, 9, 1, MS).unwrap();
    let asked = call(&slots, MS);
    assert_eq!(
        asked.name(),
        "fortress:c:{00000000000000019e3779b97f4a7c15}"
    );
    assert_eq!(asked.arguments("me"), ["me", "0", "0", "1", "9", "5000"]);
    let parse = |numbers: &[i64]| SlotReply::parse(numbers, &asked);
    assert_eq!(
        parse(&[1, 8]),
        Ok(SlotReply {
            granted: 1,
            left: 8
        })
    );
    assert_eq!(
        parse(&[0, 0]),
        Ok(SlotReply {
            granted: 0,
            left: 0
        })
    );
    for wrong in [[2, 0], [1, 9], [0, 10], [-1, 0], [0, -1], [1, i64::MAX]] {
        assert_eq!(parse(&wrong), Err(ReplyError::Range), "{wrong:?}");
    }
    assert_eq!(parse(&[1]), Err(ReplyError::Shape));
}

/// What may happen to one of three instances.
#[derive(Clone, Copy, Debug)]
enum Step {
    Ask,
    Enter,
    Leave,
    Send,
    Answer,
    Lose,
}

proptest! {
    /// Whatever happens in which order: there are never more in flight than the limit, and the store
    /// never counts fewer than there are. When all is quiet it counts as many as there are.
    #[test]
    fn never_more_than_the_limit(
        limit in 1_u64..5,
        steps in proptest::collection::vec((0_usize..3, prop_oneof![
            Just(Step::Ask), Just(Step::Enter), Just(Step::Leave), Just(Step::Send),
            Just(Step::Answer), Just(Step::Lose),
        ]), 0..200),
    ) {
        let instances = [slots(), slots(), slots()];
        let mut store = Store::default();
        let mut calls: [Option<(SlotCall, Option<SlotReply>)>; 3] = [None; 3];
        let mut in_flight = [0_u64; 3];
        let mut busy = [false; 3];
        let mut now = MS;
        for (at, step) in steps {
            now += MS;
            let slots = &instances[at];
            match step {
                Step::Ask => busy[at] |= slots.ask(KEY, limit, 0, now).unwrap(),
                Step::Enter => in_flight[at] += u64::from(slots.enter(KEY, limit, now).is_some()),
                Step::Leave if in_flight[at] > 0 => {
                    in_flight[at] -= 1;
                    busy[at] |= slots.leave(KEY);
                }
                Step::Leave => {}
                Step::Send if busy[at] && calls[at].is_none() => {
                    slots.resume(KEY);
                    match next(slots, now) {
                        Next::Call(call) => calls[at] = Some((call, None)),
                        Next::Nothing => busy[at] = false,
                        Next::Pause(_) => {}
                    }
                }
                Step::Send => {}
                Step::Answer => match calls[at].take() {
                    Some((call, None)) => calls[at] = Some((call, Some(store.call(at, &call)))),
                    Some((call, Some(reply))) => {
                        let done = slots.answered(&call, reply, now);
                        let passed = done.iter().filter(|(_, room)| matches!(room, Room::Pass(_)));
                        in_flight[at] += u64::try_from(passed.count()).unwrap();
                    }
                    None => {}
                },
                Step::Lose => {
                    if calls[at].take().is_some() {
                        slots.failed(KEY);
                        busy[at] = false;
                    }
                }
            }
            prop_assert!(in_flight.iter().sum::<u64>() <= limit, "{in_flight:?}");
            for (at, count) in in_flight.iter().enumerate() {
                prop_assert!(store.instances.get(&at).copied().unwrap_or(0) >= *count);
            }
        }
        for (at, slots) in instances.iter().enumerate() {
            now += 2 * SLOT_RENEWAL;
            if let Some((call, _)) = calls[at] {
                store.call(at, &call);
                slots.failed(KEY);
            }
            slots.renew(now);
            loop {
                slots.resume(KEY);
                match slots.next(KEY, now, |_| true) {
                    Next::Call(call) => {
                        let reply = store.call(at, &call);
                        slots.answered(&call, reply, now);
                    }
                    Next::Nothing | Next::Pause(_) => break,
                }
            }
            prop_assert_eq!(store.instances.get(&at).copied().unwrap_or(0), in_flight[at]);
        }
    }
}
