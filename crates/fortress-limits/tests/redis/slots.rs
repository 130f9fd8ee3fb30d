//! The script of what is in flight.

use std::time::{Duration, Instant};

use fortress_limits::{
    Key,
    distributed::{Next, Room, SLOT_TIME, SLOTS_SCRIPT, SlotCall, SlotReply, Slots},
};
use redis::cmd;

use crate::servers::{Client, Server, servers};

const KEY: Key = Key::from_halves(1, 2);
const NAME: &str = "fortress:c:{00000000000000010000000000000002}";

/// An instance whose requests wait for nothing.
struct Instance {
    name: &'static str,
    slots: Slots<()>,
    client: Client,
    now: u64,
}

impl Instance {
    fn new(name: &'static str, server: &Server) -> Self {
        Self {
            name,
            slots: Slots::new(10, 0),
            client: server.connect(),
            now: 1,
        }
    }

    fn say(&mut self, call: &SlotCall) -> Vec<i64> {
        let mut command = cmd("EVAL");
        command.arg(SLOTS_SCRIPT).arg(1).arg(call.name());
        command.arg(call.arguments(self.name));
        command.query(&mut self.client.0).unwrap()
    }

    /// Tells what there is to tell; gives whether someone passed, and what is left then.
    fn tell(&mut self) -> Option<u64> {
        let mut left = None;
        // Past every pause.
        self.now += 10_000_000;
        while let Next::Call(call) = self.slots.next(KEY, self.now, |()| false) {
            let numbers = self.say(&call);
            let reply = SlotReply::parse(&numbers, &call).unwrap();
            for (_, room) in self.slots.answered(&call, reply, self.now) {
                if let Room::Pass(decision) = room {
                    left = Some(decision.remaining);
                }
            }
        }
        left
    }

    fn enter(&mut self, limit: u64) -> Option<u64> {
        self.slots.ask(KEY, limit, (), self.now).unwrap();
        self.tell()
    }

    fn leave(&mut self) {
        self.slots.leave(KEY);
        self.tell();
    }

    fn renew(&mut self) {
        self.slots.lost();
        self.now += SLOT_TIME;
        self.slots.renew(self.now);
        self.tell();
    }
}

#[test]
fn instances_share_what_is_in_flight() {
    for server in servers() {
        let mut one = Instance::new("a one", &server);
        let mut other = Instance::new("a other", &server);
        assert_eq!(one.enter(3), Some(2));
        assert_eq!(other.enter(3), Some(1));
        assert_eq!(one.enter(3), Some(0));
        assert_eq!((one.enter(3), other.enter(3)), (None, None));
        one.leave();
        assert_eq!(other.enter(3), Some(0));
        // It ends by itself.
        let time = one.client.number(&format!("PTTL {NAME}"));
        assert!((1..=5_000).contains(&time), "{time}");
        // What was lost is told again, more than the limit too, and no more is granted then.
        cmd("FLUSHALL").exec(&mut one.client.0).unwrap();
        let mut third = Instance::new("a third", &server);
        assert_eq!(third.enter(3), Some(2));
        one.renew();
        other.renew();
        assert_eq!(one.client.number(&format!("HLEN {NAME}")), 3);
        assert_eq!(third.enter(3), None);
        for _ in 0..2 {
            other.leave();
        }
        assert_eq!(third.enter(3), Some(0));
        one.leave();
        third.leave();
        third.leave();
        assert_eq!(one.client.number(&format!("EXISTS {NAME}")), 0);
    }
}

#[test]
fn the_dead_are_forgotten_and_late_calls_count_for_nothing() {
    for server in servers() {
        let mut one = Instance::new("a one", &server);
        let mut dead = Instance::new("a dead", &server);
        assert_eq!(dead.enter(2), Some(1));
        dead.slots.ask(KEY, 2, (), dead.now).unwrap();
        let Next::Call(late) = dead.slots.next(KEY, dead.now, |()| false) else {
            panic!("nothing to tell");
        };
        dead.slots.failed(KEY);
        dead.renew();
        assert_eq!(one.enter(2), Some(0));
        // Sent before what was told last, and seen after it.
        assert_eq!(dead.say(&late), [-1, 0]);
        let began = Instant::now();
        while one.enter(2).is_none() {
            assert!(began.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(20));
            // What lives is told from time to time.
            one.renew();
        }
        let took = began.elapsed();
        assert!(took > Duration::from_secs(4), "{took:?}");
    }
}

#[test]
fn a_clock_that_was_set_back_keeps_nothing_of_the_dead() {
    for server in servers() {
        let mut one = Instance::new("a one", &server);
        let client = &mut one.client.0;
        cmd("HSET")
            .arg(NAME)
            .arg("a dead")
            .arg("1 7 9000000000000")
            .exec(client)
            .unwrap();
        assert_eq!(one.enter(2), Some(0));
        let mut query = cmd("HGET");
        let said: String = query
            .arg(NAME)
            .arg("a dead")
            .query(&mut one.client.0)
            .unwrap();
        let until: u64 = said.strip_prefix("1 7 ").unwrap().parse().unwrap();
        let now: Vec<u64> = cmd("TIME").query(&mut one.client.0).unwrap();
        let rest = until.saturating_sub(now[0] * 1_000);
        assert!((1..=6_000).contains(&rest), "{rest}");
    }
}
