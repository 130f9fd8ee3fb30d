//! Logins under attack, against the real program: lists of accounts, one password for all, one account
//! from everywhere, codes, and ids in a row; and people beside them who only want to come in.
#![expect(clippy::print_stdout, reason = "what came of it is worth reading")]

use std::{
    collections::VecDeque,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    program::{Place, Program, until},
    upstream::{Answer, Asked, Upstream},
};

const DESCRIPTION: &str = "
openapi: 3.0.3
info: { title: Doors, version: '1' }
security: []
components:
  requestBodies:
    door:
      content:
        application/json:
          schema:
            type: object
            properties: { username: { type: string }, password: { type: string } }
paths:
  /login: { post: { operationId: login, requestBody: { $ref: '#/components/requestBodies/door' }, responses: { default: { description: any } } } }
  /code: { post: { operationId: code, requestBody: { $ref: '#/components/requestBodies/door' }, responses: { default: { description: any } } } }
  /things/{id}:
    parameters: [{ name: id, in: path, required: true, schema: { type: string } }]
    get: { operationId: getThing, responses: { default: { description: any } } }
";

/// Whoever knows the word comes in; of things there are ten.
fn service(asked: &Asked<'_>) -> Answer {
    match asked.path {
        "/login" | "/code" if asked.body.contains("\"right\"") => (200, ""),
        "/login" | "/code" => (401, ""),
        path if path.len() == "/things/1".len() => (200, ""),
        path if path.starts_with("/things/slow") => {
            thread::sleep(Duration::from_millis(200));
            (if path.contains("own") { 200 } else { 404 }, "")
        }
        _ => (404, ""),
    }
}

/// A gateway before the service.
pub(crate) struct Gate {
    pub(crate) place: Place,
    pub(crate) program: Program,
    pub(crate) upstream: Upstream,
    address: String,
}

impl Gate {
    fn start(operations: &str) -> Self {
        Self::start_with(operations, Place::new(), "")
    }

    pub(crate) fn start_with(operations: &str, place: Place, more: &str) -> Self {
        let upstream = Upstream::start(service);
        place.write("openapi.yaml", DESCRIPTION);
        let config = format!(
            "version: 1
listen: [{{ address: '127.0.0.1:0' }}]
trusted_proxies: [127.0.0.1/32]
apis:
  doors:
    spec: openapi.yaml
    upstream: {}
    operations: {operations}
defaults: {{ waf: {{ mode: 'off' }} }}
detect: {{ stuffing: {{}}, enumeration: {{}} }}
journal: [{{ file: journal.ndjson }}]
{more}",
            upstream.url()
        );
        place.write("fortress.yaml", &config);
        if more.contains("embedded") && !place.work().join("fortress.db").exists() {
            place.run(&["store", "init"]).expect(0);
        }
        place.run(&["check"]).expect(0);
        let program = place.start(&["run", "--json"]);
        let ready = program.line(|line| line.starts_with('{'));
        let ready: serde_json::Value = serde_json::from_str(&ready).expect("JSON");
        let address = ready["listening"][0]["address"].as_str().expect("text");
        let address = address.to_owned();
        Self {
            place,
            program,
            upstream,
            address,
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.address)
    }

    pub(crate) fn journal(&self) -> String {
        fs::read_to_string(self.place.work().join("journal.ndjson")).unwrap_or_default()
    }

    /// Ends, and leaves what it wrote.
    pub(crate) fn end(mut self) -> Place {
        self.program.signal("TERM");
        assert!(self.program.wait().success());
        self.place
    }

    /// Stops, so that the journal is whole.
    pub(crate) fn stop(mut self) -> String {
        self.program.signal("TERM");
        assert!(self.program.wait().success());
        self.journal()
    }
}

/// A connection that stays open.
pub(crate) struct Client {
    address: String,
    stream: BufReader<TcpStream>,
}

/// What came of a request.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) wait: Duration,
}

impl Client {
    fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("connected");
        stream.set_nodelay(true).expect("no delay");
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .expect("a time");
        Self {
            address: address.to_owned(),
            stream: BufReader::new(stream),
        }
    }

    pub(crate) fn login(&mut self, path: &str, from: &str, account: &str, password: &str) -> Got {
        let body = format!("{{\"username\":\"{account}\",\"password\":\"{password}\"}}");
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: d\r\nX-Forwarded-For: {from}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.send(&head)
    }

    pub(crate) fn get(&mut self, path: &str, from: &str) -> Got {
        self.send(&format!(
            "GET {path} HTTP/1.1\r\nHost: d\r\nX-Forwarded-For: {from}\r\n\r\n"
        ))
    }

    fn send(&mut self, bytes: &str) -> Got {
        self.stream
            .get_mut()
            .write_all(bytes.as_bytes())
            .expect("sent");
        let (mut line, mut length, mut got) = (
            String::new(),
            0_u64,
            Got {
                status: 0,
                code: String::new(),
                wait: Duration::ZERO,
            },
        );
        let mut closes = false;
        loop {
            line.clear();
            self.stream.read_line(&mut line).expect("an answer");
            let text = line.trim_end().to_ascii_lowercase();
            if got.status == 0 {
                got.status = text
                    .split(' ')
                    .nth(1)
                    .and_then(|status| status.parse().ok())
                    .unwrap_or_else(|| panic!("`{text}`"));
            } else if let Some(value) = text.strip_prefix("content-length: ") {
                length = value.parse().expect("a length");
            } else if let Some(value) = text.strip_prefix("retry-after: ") {
                got.wait = Duration::from_secs(value.parse().expect("seconds"));
            } else if text == "connection: close" {
                closes = true;
            } else if text.is_empty() {
                break;
            }
        }
        let mut body = String::new();
        let read = self.stream.by_ref().take(length).read_to_string(&mut body);
        read.expect("a body");
        let code = body.split("\"code\":\"").nth(1);
        got.code = code
            .and_then(|rest| rest.split('"').next())
            .unwrap_or_default()
            .to_owned();
        if closes {
            *self = Self::connect(&self.address);
        }
        got
    }
}

/// An address of its own, in a network of its own.
pub(crate) fn address(kind: u8, number: usize) -> String {
    format!("{kind}.{}.{}.7", number / 256 % 256, number % 256)
}

/// What came of people.
#[derive(Debug, Default)]
struct People {
    in_at_once: usize,
    in_later: usize,
    locked_out: usize,
    longest: Duration,
}

/// People log in from home, one in twenty mistypes first; whoever is told to wait does so.
fn people(mut clients: Vec<Client>, who: std::ops::Range<usize>) -> People {
    let mut result = People::default();
    let mut queue: VecDeque<(usize, usize, Instant)> =
        who.map(|person| (person, 0, Instant::now())).collect();
    let begins = Instant::now();
    while let Some((person, tries, due)) = queue.pop_front() {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let (name, home) = (format!("person{person}"), address(50, person));
        let count = clients.len();
        let at = |turn: usize| (person + turn) % count;
        if tries == 0 && person.is_multiple_of(20) {
            clients[at(0)].login("/login", &home, &name, "rihgt");
        }
        let got = clients[at(tries + 1)].login("/login", &home, &name, "right");
        match (got.status, tries) {
            (200, 0) => result.in_at_once += 1,
            (200, _) => {
                result.in_later += 1;
                result.longest = result.longest.max(begins.elapsed());
            }
            (_, 4) => result.locked_out += 1,
            _ => queue.push_back((person, tries + 1, Instant::now() + got.wait)),
        }
    }
    result
}

#[test]
fn lists_of_accounts_are_noticed_and_people_come_in() {
    stuffing(vec![Gate::start(LOGIN)]);
}

/// A login without anything else said.
pub(crate) const LOGIN: &str = "{ login: { login: { account: body.username, failure: [401] } } }";

const ACCOUNTS: usize = 10_000;
const ADDRESSES: usize = 200;

/// A list of accounts from many addresses at one try each, and people beside it, over all gates in turn.
pub(crate) fn stuffing(gates: Vec<Gate>) {
    const PEOPLE: usize = 500;
    let clients = || gates.iter().map(Gate::client).collect::<Vec<_>>();
    let next = AtomicUsize::new(0);
    let (mut through, mut refused) = (0, 0);
    let mut all = People::default();
    let began = Instant::now();
    thread::scope(|scope| {
        let attackers: Vec<_> = (0..3)
            .map(|_| {
                let (clients, next) = (clients(), &next);
                scope.spawn(move || attacker(clients, next))
            })
            .collect();
        let homes: Vec<_> = (0..2)
            .map(|half| {
                let clients = clients();
                let who = half * PEOPLE / 2..(half + 1) * PEOPLE / 2;
                scope.spawn(move || people(clients, who))
            })
            .collect();
        for attacker in attackers {
            let (one, other) = attacker.join().expect("attacked");
            through += one;
            refused += other;
        }
        for home in homes {
            let one = home.join().expect("logged in");
            all.in_at_once += one.in_at_once;
            all.in_later += one.in_later;
            all.locked_out += one.locked_out;
            all.longest = all.longest.max(one.longest);
        }
    });
    println!(
        "{} gates: of {ACCOUNTS} accounts from {ADDRESSES} addresses {refused} were refused and {through} tried; of {PEOPLE} people {} came in at once, {} after a wait (the last after {:?}), {} not; {:?} in all",
        gates.len(),
        all.in_at_once,
        all.in_later,
        all.longest,
        all.locked_out,
        began.elapsed()
    );
    assert_eq!(through + refused, ACCOUNTS);
    // Ten accounts of each address is the most before the address alone gives it away.
    assert!(through < ADDRESSES * 10, "{through} were tried");
    assert_eq!(all.locked_out, 0);
    assert_eq!(all.in_at_once + all.in_later, PEOPLE);
    let seen = gates.iter().map(|gate| gate.upstream.seen().len());
    assert!(seen.sum::<usize>() >= PEOPLE + through);
    let journal: String = gates.into_iter().map(Gate::stop).collect();
    assert!(journal.contains("login.stuffing"));
    assert!(journal.contains("far fewer logins succeed than usual"));
    assert!(!journal.contains("victim1") && !journal.contains("lost1"));
}

/// Tries what nobody else has tried yet; how many attempts went through, and how many were refused.
fn attacker(mut clients: Vec<Client>, next: &AtomicUsize) -> (usize, usize) {
    let (mut through, mut refused) = (0, 0);
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= ACCOUNTS {
            return (through, refused);
        }
        let from = address(100, number % ADDRESSES);
        let (account, password) = (format!("victim{number}"), format!("lost{number}"));
        // Each address comes to another gate each time.
        let gate = (number + number / ADDRESSES) % clients.len();
        let got = clients[gate].login("/login", &from, &account, &password);
        match got.code.as_str() {
            "login.rejected" => through += 1,
            "login.stuffing" | "login.delayed" => refused += 1,
            other => panic!("{other}: {got:?}"),
        }
    }
}

#[test]
fn one_password_for_all_is_noticed_from_everywhere() {
    let gate = Gate::start(LOGIN);
    let mut client = gate.client();
    assert_eq!(
        client
            .login("/login", "198.51.100.7", "ann", "right")
            .status,
        200
    );
    let mut through = 0;
    for number in 0..300 {
        let from = address(101, number);
        let got = client.login("/login", &from, &format!("victim{number}"), "Summer2026");
        through += usize::from(got.code == "login.rejected");
    }
    println!("one password for 300 accounts from 300 addresses: {through} were tried");
    assert!(through < 20, "{through}");
    // Whoever is at home may have that password.
    let home = client.login("/login", "198.51.100.7", "ann", "Summer2026");
    assert_eq!(home.code, "login.rejected");
}

#[test]
fn the_owner_of_an_account_under_attack_comes_in() {
    let gate = Gate::start(
        "{ login: { login: { account: body.username, failure: [401], stuffing: { mode: 'off' }, delay: { most: 90s }, lock: { after: 1000 } } } }",
    );
    let mut client = gate.client();
    assert_eq!(
        client
            .login("/login", "198.51.100.7", "ann", "right")
            .status,
        200
    );
    let mut through = 0;
    for round in 0..3 {
        for number in 0..400 {
            let guess = format!("guess{round}-{number}");
            let got = client.login("/login", &address(102, number), "ann", &guess);
            through += usize::from(got.code == "login.rejected");
        }
        // At home as ever.
        let home = client.login("/login", "198.51.100.7", "bob", "wrong");
        assert_eq!(home.code, "login.rejected");
    }
    // At a new address, once, a thirtieth of the longest delay.
    let mut waited = Duration::ZERO;
    let mut got = client.login("/login", "203.0.113.9", "ann", "right");
    while got.status != 200 {
        assert_eq!(got.code, "login.delayed");
        waited += got.wait;
        assert!(waited <= Duration::from_secs(5), "{waited:?}");
        thread::sleep(got.wait);
        got = client.login("/login", "203.0.113.9", "ann", "right");
    }
    println!(
        "1200 guesses at one account from 400 addresses: {through} were tried; the owner waited {waited:?} at a new address"
    );
    // Each address comes back once, and waits longer after that.
    assert!(through < 420, "{through}");
    assert_eq!(
        client
            .login("/login", "198.51.100.7", "ann", "right")
            .status,
        200
    );
}

#[test]
fn a_code_of_six_digits_gets_ten_tries() {
    let gate = Gate::start(
        "{ code: { login: { account: body.username, kind: otp, failure: [401], delay: { after: 100 } } } }",
    );
    let mut client = gate.client();
    let codes: Vec<String> = (0..40)
        .map(|number| {
            let from = address(103, number);
            client
                .login("/code", &from, "ann", &format!("{number:06}"))
                .code
        })
        .collect();
    let tried = codes
        .iter()
        .filter(|code| *code == "login.rejected")
        .count();
    println!("40 codes from 40 addresses: {tried} were tried");
    assert_eq!(tried, 10);
    assert_eq!(codes.last().map(String::as_str), Some("login.locked"));
}

#[test]
fn ids_in_a_row_are_noticed_and_a_few_that_are_gone_are_not() {
    let gate = Gate::start("{}");
    let mut client = gate.client();
    // Somebody with old links, over and over.
    for round in 0..30 {
        for id in ["10", "11", "12", "1", "2"] {
            let got = client.get(&format!("/things/{id}"), "198.51.100.7");
            assert_ne!(got.status, 429, "{round} {id}");
        }
    }
    let mut found = 0;
    for id in 1_000..1_500 {
        let got = client.get(&format!("/things/{id}"), "203.0.113.9");
        if got.status == 429 {
            assert_eq!(got.code, "object.enumeration");
        } else {
            found += 1;
        }
    }
    println!("500 ids in a row: {found} were asked for");
    assert!((45..60).contains(&found), "{found}");
    assert_eq!(client.get("/things/1", "198.51.100.7").status, 200);
}

/// Asks for so many objects at once, each on a connection of its own.
fn at_once(gate: &Gate, count: usize, path: &str, from: &str) -> Vec<Got> {
    let begin = Barrier::new(count);
    thread::scope(|scope| {
        let asking: Vec<_> = (0..count)
            .map(|id| {
                let (mut client, begin) = (gate.client(), &begin);
                scope.spawn(move || {
                    begin.wait();
                    client.get(&format!("{path}{id}"), from)
                })
            })
            .collect();
        let asked = asking.into_iter().map(|asked| asked.join().expect("asked"));
        asked.collect()
    })
}

#[test]
fn ids_at_once_do_not_pass_before_the_first_is_noted_and_pictures_do() {
    const LIMIT: usize = 50;
    /// What the estimate of how many different ones there were is off by, at most.
    const OFF: usize = 8;
    let gate = Gate::start("{}");
    let pictures = at_once(&gate, 200, "/things/slow-own", "198.51.100.7");
    let broken = pictures.iter().find(|got| got.status != 200);
    assert!(broken.is_none(), "{broken:?}");
    gate.upstream.seen();
    let ids = at_once(&gate, 500, "/things/slow-none", "203.0.113.9");
    let came = gate.upstream.seen().len();
    let refused = ids.iter().filter(|got| got.status == 429).count();
    println!("500 ids at once: {came} were asked for, {refused} refused");
    assert!(came < LIMIT + OFF, "{came}");
    assert_eq!(refused, 500 - came);
    assert!(
        ids.iter()
            .all(|got| got.status == 404 || got.code == "object.enumeration")
    );
    assert_eq!(gate.client().get("/things/1", "198.51.100.7").status, 200);
}

#[test]
fn what_is_only_watched_refuses_nobody() {
    let gate = Gate::start(
        "{ login: { login: { account: body.username, failure: [401], mode: monitor } } }",
    );
    let mut client = gate.client();
    for number in 0..60 {
        let got = client.login("/login", "203.0.113.9", &format!("victim{number}"), "no");
        assert_eq!((got.status, got.code.as_str()), (401, ""));
    }
    until("the last in the journal", || {
        gate.journal().lines().count() == 60
    });
    let journal = gate.journal();
    let last: serde_json::Value =
        serde_json::from_str(journal.lines().last().expect("a line")).expect("JSON");
    let id = last["metadata"]["uid"].as_str().expect("an id");
    let told = gate.place.run(&["explain", id]).expect(0).out;
    assert!(told.contains("login of account "), "{told}");
    assert!(told.contains("failures before: failed"), "{told}");
    for reason in ["login.stuffing", "login.rejected"] {
        assert!(journal.contains(reason), "{reason}");
    }
}

#[test]
fn a_lock_outlives_the_program_and_is_lifted_by_hand() {
    const STORE: &str =
        "store: { embedded: fortress.db, key: file:store.key, pepper: file:pepper.key }\n";
    const LOCKED: &str = "{ login: { login: { account: body.username, failure: [401], lock: { after: 3, for: 10min } } } }";
    let gate = Gate::start_with(LOCKED, Place::new(), STORE);
    let mut client = gate.client();
    for number in 0..3 {
        let from = address(104, number);
        let got = client.login("/login", &from, "ann", "guess");
        assert_eq!(got.code, "login.rejected");
    }
    let locked = |client: &mut Client| client.login("/login", "198.51.100.7", "ann", "right").code;
    assert_eq!(locked(&mut client), "login.locked");
    assert_eq!(
        client
            .login("/login", "198.51.100.8", "bob", "right")
            .status,
        200
    );
    let gate = Gate::start_with(LOCKED, gate.end(), STORE);
    let mut client = gate.client();
    assert_eq!(locked(&mut client), "login.locked");
    let list = gate
        .place
        .run(&["login", "list", "--json"])
        .expect(0)
        .json();
    assert_eq!(list["locked"].as_array().map(Vec::len), Some(1), "{list}");
    let account = list["locked"][0]["account"].as_str().expect("text");
    assert!(gate.journal().contains(account));
    gate.place.run(&["login", "unlock", "ann"]).expect(2);
    let nowhere = gate
        .place
        .run(&["login", "unlock", "ann", "--api", "shop"])
        .expect(2)
        .err;
    assert!(
        nowhere.contains("the configuration has `doors`"),
        "{nowhere}"
    );
    let nobody = gate
        .place
        .run(&["login", "unlock", "nobody", "--api", "doors"])
        .expect(0)
        .err;
    assert!(nobody.contains("knows of no failure of nobody"), "{nobody}");
    gate.place
        .run(&["login", "unlock", " Ann", "--api", "doors"])
        .expect(0);
    until("unlocked", || locked(&mut client).is_empty());
}
