//! Real descriptions in front of services that answer as they say: protected by `init` and `run`
//! alone, with nothing edited.

use std::fs;

use fortress_auth::{
    Algorithm,
    sign::{SigningKey, key_set},
};
use fortress_model::{Clock, SystemClock};
use serde_json::{Value, json};

use crate::{
    program::{Ended, Place, Program, ask, shared, status},
    upstream::{Answer, Asked, Upstream},
};

const ISSUER: &str = "https://idp.example.com";
const AUDIENCE: &str = "the-api";
/// Stands in bodies, queries and tokens: it must not be found anywhere afterwards.
const SECRET: &str = "correct-horse-battery-staple";

/// A service behind Fortress.
struct Protected {
    place: Place,
    program: Program,
    upstream: Upstream,
    url: String,
    key: SigningKey,
}

impl Protected {
    /// `None` where the description is not there.
    fn start(spec: &str, answer: fn(&Asked<'_>) -> Answer) -> Option<Self> {
        let spec = shared(&format!("specs/{spec}"))?;
        let place = Place::new();
        let key = SigningKey::generate(Algorithm::Es256, "key-1").expect("a key");
        place.write("jwks.json", &key_set(&[&key]));
        let upstream = Upstream::start(answer);
        let url = upstream.url();
        let spec = spec.to_str().expect("text");
        let bare = ["init", spec, "--upstream", &url, "--listen", "127.0.0.1:0"];
        let asked = place
            .run(&[&bare[..], &["--json"]].concat())
            .expect(1)
            .json();
        let mut flags: Vec<&str> = vec!["--force"];
        for needed in asked["needed"].as_array().expect("a list") {
            let flag = needed["flag"].as_str().expect("text");
            flags.extend(match flag.split(' ').next().unwrap_or_default() {
                "--issuer" => vec!["--issuer", ISSUER],
                "--audience" => vec!["--audience", AUDIENCE],
                "--jwks" => vec!["--jwks", "jwks.json"],
                "--public" => vec!["--public-undeclared"],
                _ => panic!("asks for {flag}"),
            });
        }
        place.run(&[&bare[..], &flags].concat()).expect(0);
        place.run(&["check"]).expect(0);
        let program = place.start(&["run", "--json"]);
        let ready: Value =
            serde_json::from_str(&program.line(|line| line.starts_with('{'))).expect("JSON");
        let address = ready["listening"][0]["address"].as_str().expect("text");
        let url = format!("http://{address}");
        Some(Self {
            place,
            program,
            upstream,
            url,
            key,
        })
    }

    fn token(&self, wrong: &[(&str, Value)]) -> String {
        let now = SystemClock.now().seconds();
        let mut claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "name1", "iat": now - 60, "exp": now + 600, "note": SECRET,
        });
        for (name, value) in wrong {
            claims[*name] = value.clone();
        }
        self.key.sign(&claims.to_string()).expect("signed")
    }

    /// The status, and the problem's code if it is one.
    fn ask(
        &self,
        line: &str,
        token: Option<&str>,
        content_type: &str,
        body: &str,
    ) -> (u16, String) {
        let mut head = format!("{line} HTTP/1.1");
        if let Some(token) = token {
            head.push_str(&format!("\r\nAuthorization: Bearer {token}"));
        }
        if !body.is_empty() {
            head.push_str(&format!("\r\nContent-Type: {content_type}"));
        }
        let answer = ask(&self.url, &head, body);
        assert!(!answer.contains("crude/0.1"), "{answer}");
        let code = answer
            .split("\"code\":\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next());
        (status(&answer), code.unwrap_or_default().to_owned())
    }

    /// It is answered, by the service.
    #[track_caller]
    fn answers(
        &self,
        line: &str,
        token: Option<&str>,
        content_type: &str,
        body: &str,
        expect: u16,
    ) {
        self.upstream.seen();
        let (status, code) = self.ask(line, token, content_type, body);
        assert_eq!((status, &*code), (expect, ""), "{line} {body}");
        assert_eq!(self.upstream.seen().len(), 1, "{line} {body}");
    }

    /// It is refused, and the service saw nothing of it.
    #[track_caller]
    fn refuses(&self, line: &str, token: Option<&str>, body: &str, expect: (u16, &str)) {
        self.upstream.seen();
        let (status, code) = self.ask(line, token, "application/json", body);
        assert_eq!((status, &*code), expect, "{line} {body}");
        assert_eq!(self.upstream.seen(), Vec::<String>::new(), "{line} {body}");
    }

    /// The whole attack: nothing gets through, what is valid is answered.
    fn withstands_the_attack(&self) {
        // The limits that `init` writes would refuse most of it for its haste alone.
        let config = fs::read_to_string(self.place.work().join("fortress.yaml")).expect("text");
        let (before, after) = config.split_once("  limits:\n").expect("limits");
        let after: String = after
            .lines()
            .skip_while(|line| line.starts_with("    - "))
            .map(|line| format!("{line}\n"))
            .collect();
        let config = format!("{before}  limits: []\n{after}");
        self.place.write("fortress.yaml", &config);
        self.program.signal("HUP");
        self.program.logged("reloaded in");
        let ended = self
            .place
            .command(&["attack", "fortress.yaml", "--json", "--target", &self.url])
            .args(["--token", "env:TOKEN", "--expired-token", "env:EXPIRED"])
            .env("TOKEN", self.token(&[]))
            .env("EXPIRED", self.token(&[("exp", json!(1_700_000_000))]))
            .output()
            .expect("started");
        let ended = Ended::of(&ended);
        let report = ended.json();
        for list in ["through", "unanswered"] {
            assert_eq!(report[list], json!([]), "{:#}", report[list]);
        }
        assert_eq!(report["attacks"], report["stopped"]);
        assert!(report["attacks"].as_u64() > Some(200), "{report}");
        ended.expect(0);
    }

    /// Neither the journal nor the log tells what callers keep to themselves.
    fn tells_no_secrets(mut self) {
        self.program.signal("TERM");
        assert!(self.program.wait().success());
        let journal =
            fs::read_to_string(self.place.work().join("journal.ndjson")).expect("a journal");
        assert!(journal.lines().count() > 200, "a line for each request");
        for text in [journal, self.program.log()] {
            for secret in [SECRET, "Bearer ", "eyJ", "?limit", "secret="] {
                let found = text.lines().find(|line| line.contains(secret));
                assert_eq!(found, None, "`{secret}`");
            }
        }
    }
}

/// VAmPI, as its description says it answers; and more than that, as it does in its weak mode.
fn vampi(asked: &Asked<'_>) -> Answer {
    let parts: Vec<&str> = asked.path.split('/').skip(1).collect();
    match (asked.method, parts.as_slice()) {
        ("GET", ["createdb"]) => (200, r#"{"message":"Database populated."}"#),
        ("GET", [""]) => (
            200,
            r#"{"message":"VAmPI","help":"a weak API","vulnerable":1}"#,
        ),
        ("GET", ["users", "v1"]) => (
            200,
            r#"{"users":[{"email":"mail1@mail.com","username":"name1","password":"pass1"}]}"#,
        ),
        ("GET", ["users", "v1", "_debug"]) => (
            200,
            r#"{"users":[{"admin":false,"email":"mail1@mail.com","password":"pass1","username":"name1"}]}"#,
        ),
        // Declared without any content.
        ("POST", ["users", "v1", "register"]) if !asked.body.contains("password") => (400, ""),
        ("POST", ["users", "v1", "register"]) => (
            200,
            r#"{"message":"Successfully registered. Login to receive an auth token.","status":"success"}"#,
        ),
        ("POST", ["users", "v1", "login"])
            if !asked.body.contains("pass1") && !asked.body.contains(SECRET) =>
        {
            (
                400,
                r#"{"message":"Password is not correct for the given username.","status":"fail"}"#,
            )
        }
        ("POST", ["users", "v1", "login"]) => (
            200,
            r#"{"auth_token":"abc","message":"Successfully logged in.","status":"success"}"#,
        ),
        ("GET", ["me"]) => (
            200,
            r#"{"data":{"admin":false,"email":"mail1@mail.com","username":"name1"},"status":"success"}"#,
        ),
        ("GET", ["users", "v1", name])
            if name.starts_with("no") || name.starts_with(|c: char| c.is_ascii_digit()) =>
        {
            (404, r#"{"status":"fail","message":"User not found"}"#)
        }
        ("GET", ["users", "v1", _]) => (200, r#"{"username":"name1","email":"mail1@mail.com"}"#),
        ("DELETE", ["users", "v1", _]) => {
            (200, r#"{"message":"User deleted.","status":"success"}"#)
        }
        ("PUT", ["users", "v1", _, "email" | "password"]) => (204, ""),
        ("GET", ["books", "v1"]) => (
            200,
            r#"{"Books":[{"book_title":"bookTitle77","user":"name1"}]}"#,
        ),
        ("POST", ["books", "v1"]) => (
            200,
            r#"{"message":"Book has been added.","status":"success"}"#,
        ),
        ("GET", ["books", "v1", _]) => (
            200,
            r#"[{"book_title":"bookTitle77","owner":"name1","secret":"for bookTitle77"}]"#,
        ),
        _ => (404, r#"{"message":"no such thing"}"#),
    }
}

#[test]
fn vampi_is_protected_by_init_and_run() {
    let Some(vampi) = Protected::start("vampi.yml", vampi) else {
        return;
    };
    let token = vampi.token(&[]);
    let (token, json) = (Some(&*token), "application/json");
    let login = format!(r#"{{"username":"name1","password":"{SECRET}"}}"#);
    vampi.answers("GET /", None, json, "", 200);
    vampi.answers("GET /users/v1", None, json, "", 200);
    vampi.answers("GET /users/v1/nobody", None, json, "", 404);
    vampi.answers("POST /users/v1/login", None, json, &login, 200);
    vampi.answers(
        "POST /users/v1/register",
        None,
        json,
        r#"{"username":"a"}"#,
        400,
    );
    vampi.answers("GET /me", token, json, "", 200);
    vampi.answers(
        "PUT /users/v1/name1/email",
        token,
        json,
        r#"{"email":"a@b.example"}"#,
        204,
    );
    vampi.answers(
        "POST /books/v1",
        token,
        json,
        r#"{"book_title":"b","secret":"s"}"#,
        200,
    );
    vampi.answers("GET /books/v1/b", token, json, "", 200);
    vampi.answers("DELETE /users/v1/name1", token, json, "", 200);

    // VAmPI's own weaknesses, as far as its description tells what is meant.
    let leaked = ask(&vampi.url, "GET /users/v1 HTTP/1.1", "");
    assert!(
        leaked.contains("mail1@mail.com") && !leaked.contains("pass1"),
        "{leaked}"
    );
    let admin = r#"{"username":"a","password":"b","email":"c@d.example","admin":true}"#;
    vampi.refuses(
        "POST /users/v1/register",
        None,
        admin,
        (400, "body.undeclared"),
    );
    vampi.refuses("GET /me", None, "", (401, "credential.missing"));
    let expired = vampi.token(&[("exp", json!(1_700_000_000))]);
    vampi.refuses("GET /me", Some(&expired), "", (401, "credential.expired"));
    let foreign = vampi.token(&[("aud", json!("another-api"))]);
    vampi.refuses("GET /me", Some(&foreign), "", (401, "credential.invalid"));
    vampi.refuses("GET /users/v2", None, "", (404, "route.unknown"));
    vampi.refuses("DELETE /users/v1", token, "", (405, "method.undeclared"));
    let query = format!("GET /users/v1?secret={SECRET}");
    vampi.refuses(&query, None, "", (400, "parameter.undeclared"));
    let twice = format!(r#"{{"email":"a@b.example","email":"{SECRET}"}}"#);
    vampi.refuses(
        "PUT /users/v1/name1/email",
        token,
        &twice,
        (400, "body.duplicate_key"),
    );

    vampi.withstands_the_attack();
    vampi.tells_no_secrets();
}

const MENU_ITEM: &str = r#"{"id":1,"name":"Tea","price":2.5,"category":"Drinks","description":null,"image_base64":null}"#;
const ORDER: &str = r#"{"delivery_address":"Lane 7","phone_number":"1","id":1,"user_id":1,"items":[{"menu_item_id":1,"quantity":2}],"status":"Pending","final_price":5.0}"#;
const USER: &str = r#"{"username":"name1","phone_number":"1","first_name":null,"last_name":null,"role":"Customer","password":"pass1"}"#;
const PROFILE: &str =
    r#"{"username":"name1","first_name":null,"last_name":null,"phone_number":"1"}"#;

/// A restaurant's service, as its description says.
fn restaurant(asked: &Asked<'_>) -> Answer {
    let parts: Vec<&str> = asked.path.split('/').skip(1).collect();
    match (asked.method, parts.as_slice()) {
        ("GET", ["menu" | "orders" | "discount-coupons"]) => (200, "[]"),
        ("PUT", ["menu"]) => (201, MENU_ITEM),
        ("PUT", ["menu", _]) => (200, MENU_ITEM),
        ("DELETE", ["menu", _]) => (204, ""),
        ("POST", ["orders"]) => (201, ORDER),
        ("GET", ["orders", "status", id]) if id.len() < 4 => {
            (200, r#"{"status":"Pending","order_id":1}"#)
        }
        ("GET", ["orders", id]) if id.len() < 4 => (200, ORDER),
        ("GET" | "PATCH", ["profile"]) => (200, USER),
        ("PUT", ["profile"]) => (200, PROFILE),
        ("POST", ["token"]) => (200, r#"{"access_token":"abc","token_type":"bearer"}"#),
        ("POST", ["register"]) => (201, USER),
        ("GET", ["admin", "stats", "disk"]) => (200, r#"{"output":"1 %"}"#),
        ("PUT", ["users", "update_role"]) => (200, r#"{"username":"name1","role":"Chef"}"#),
        ("GET", ["referral-code"]) => (200, r#"{"code":"abc"}"#),
        ("POST", ["apply-referral"]) => (200, r#"{"message":"thanks","discount":5}"#),
        ("GET", ["healthcheck"]) | ("POST", ["reset-password", ..]) => (200, r#"{"ok":true}"#),
        _ => (404, r#"{"detail":"Not Found"}"#),
    }
}

#[test]
fn a_restaurant_is_protected_by_init_and_run() {
    let Some(restaurant) = Protected::start("dvr.json", restaurant) else {
        return;
    };
    let token = restaurant.token(&[]);
    let (token, json) = (Some(&*token), "application/json");
    let form = format!("grant_type=password&username=name1&password={SECRET}");
    let order = r#"{"delivery_address":"Lane 7","phone_number":"1","items":[{"menu_item_id":1,"quantity":2}]}"#;
    restaurant.answers("GET /menu", None, json, "", 200);
    restaurant.answers(
        "POST /token",
        None,
        "application/x-www-form-urlencoded",
        &form,
        200,
    );
    restaurant.answers("POST /orders", token, json, order, 201);
    restaurant.answers("GET /orders?skip=0&limit=10", token, json, "", 200);
    restaurant.answers("GET /orders/1", token, json, "", 200);
    restaurant.answers("DELETE /menu/1", token, json, "", 204);
    // Declared to take any property.
    restaurant.answers("PATCH /profile", token, json, r#"{"role":"Chef"}"#, 200);

    let profile = ask(
        &restaurant.url,
        &format!(
            "GET /profile HTTP/1.1\r\nAuthorization: Bearer {}",
            token.unwrap_or_default()
        ),
        "",
    );
    assert!(
        profile.contains("name1") && !profile.contains("pass1"),
        "{profile}"
    );
    restaurant.refuses("GET /orders", None, "", (401, "credential.missing"));
    restaurant.refuses(
        "GET /orders?limit=5x",
        token,
        "",
        (400, "parameter.invalid"),
    );
    restaurant.refuses("GET /orders/1'--", token, "", (400, "parameter.invalid"));
    let free = order.replace("\"quantity\":2", "\"quantity\":2,\"price\":0");
    restaurant.refuses("POST /orders", token, &free, (400, "body.undeclared"));
    restaurant.refuses(
        "POST /token",
        None,
        r#"{"username":"a"}"#,
        (415, "content_type.undeclared"),
    );
    restaurant.refuses("GET /docs", None, "", (404, "route.unknown"));

    restaurant.withstands_the_attack();
    restaurant.tells_no_secrets();
}
