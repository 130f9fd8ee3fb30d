//! How the sample API answers: routing, tokens, and the weaknesses of both.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, header, request::Parts};
use serde_json::{Map, Value, json};

use super::shop::Shop;

/// Issues a token for a user name and scopes.
pub(crate) type Issue = Box<dyn Fn(&str, &str) -> String + Send + Sync>;

/// The service.
pub(crate) struct Sample {
    shop: Mutex<Shop>,
    issue: Issue,
}

impl fmt::Debug for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sample").finish_non_exhaustive()
    }
}

type Answer = Response<Bytes>;

impl Sample {
    /// A fresh shop; `issue` signs the tokens of its login.
    pub(crate) fn new(issue: Issue) -> Self {
        Self {
            shop: Mutex::new(Shop::new()),
            issue,
        }
    }

    /// One request, one answer.
    pub(crate) fn handle(&self, head: &Parts, body: &[u8]) -> Answer {
        let call = Call::read(head, body);
        let mut shop = self.shop.lock().unwrap_or_else(PoisonError::into_inner);
        let mut answer = self.route(&call, &mut shop);
        // It also tells the whole world what it saw and runs on.
        let headers = answer.headers_mut();
        if let Ok(saw) = http::HeaderValue::from_str(&call.saw(&head.headers)) {
            headers.insert("x-sample-saw", saw);
        }
        headers.insert(
            header::SERVER,
            http::HeaderValue::from_static("SampleAPI/1.0 (debug)"),
        );
        headers.insert(
            "x-powered-by",
            http::HeaderValue::from_static("in-memory/0.9"),
        );
        if head.method == Method::HEAD {
            *answer.body_mut() = Bytes::new();
        }
        answer
    }

    fn route(&self, call: &Call<'_>, shop: &mut Shop) -> Answer {
        let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
        match (call.method.as_str(), segments.as_slice()) {
            ("GET", ["health"]) => ok(&json!({ "status": "ok" })),
            ("POST", ["login"]) => self.login(call, shop),
            ("GET", ["users"]) => ok(&page(shop.users().iter().cloned(), call)),
            ("GET", ["users", "me"]) => match call.user(shop) {
                Some(user) => ok(user),
                None => problem(StatusCode::UNAUTHORIZED, "who are you", "no token"),
            },
            ("PATCH" | "PUT", ["users", "me"]) => update_me(call, shop),
            ("GET", ["users", id]) => match id.parse().ok().and_then(|id| shop.user(id)) {
                Some(user) => ok(user),
                None => missing(id),
            },
            ("GET", ["orders"]) => list_orders(call, shop),
            ("POST", ["orders"]) => {
                let owner = call.subject.as_deref().unwrap_or("anonymous");
                answer(
                    StatusCode::CREATED,
                    &shop.create_order(owner, &call.record()),
                )
            }
            // Any order, whoever asks: broken object level authorization.
            ("GET", ["orders", id]) => match id.parse().ok().and_then(|id| shop.order(id)) {
                Some(order) => ok(order),
                None => missing(id),
            },
            ("DELETE", ["orders", id]) => {
                match id
                    .parse()
                    .ok()
                    .and_then(|id| shop.set_status(id, "cancelled"))
                {
                    Some(_) => empty(StatusCode::NO_CONTENT),
                    None => missing(id),
                }
            }
            ("POST", ["orders", id, "comments"]) => comment(id, call, shop),
            ("POST", ["orders", id, "payment"]) => {
                match id.parse().ok().and_then(|id| shop.set_status(id, "paid")) {
                    Some(order) => ok(&order),
                    None => missing(id),
                }
            }
            _ => undeclared(call, &segments, shop),
        }
    }

    fn login(&self, call: &Call<'_>, shop: &Shop) -> Answer {
        let sent = call.record();
        let text = |key: &str| sent.get(key).and_then(Value::as_str).unwrap_or_default();
        match shop.login(text("username"), text("password")) {
            Some(user) => {
                let name = user
                    .get("username")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                let scopes = if user.get("role").and_then(Value::as_str) == Some("admin") {
                    "orders:write users:admin"
                } else {
                    "orders:write"
                };
                ok(&json!({
                    "token": (self.issue)(name, scopes),
                    "expires_in": 3600,
                    "user": user,
                }))
            }
            None => problem(
                StatusCode::UNAUTHORIZED,
                "wrong user name or password",
                &format!("SELECT * FROM users WHERE name = '{}'", text("username")),
            ),
        }
    }
}

fn update_me(call: &Call<'_>, shop: &mut Shop) -> Answer {
    let name = call
        .user(shop)
        .and_then(|user| user.get("username"))
        .and_then(Value::as_str)
        .map(str::to_owned);
    match name.and_then(|name| shop.update_user(&name, &call.record())) {
        Some(user) => ok(&user),
        None => problem(StatusCode::UNAUTHORIZED, "who are you", "no token"),
    }
}

fn list_orders(call: &Call<'_>, shop: &Shop) -> Answer {
    let me = call.subject.as_deref().unwrap_or("anonymous").to_owned();
    let status = call.query("status");
    // The search is put together as text, as it is in the service's real sisters with SQL.
    let condition = call.query("q").map(|q| format!("text ~ '{q}'"));
    let orders = shop.orders().filter(|order| {
        let text = |key: &str| order.get(key).and_then(Value::as_str).unwrap_or_default();
        match &condition {
            Some(condition) => holds(condition, text("note"), text("owner") == me),
            None => {
                text("owner") == me
                    && status
                        .as_deref()
                        .is_none_or(|status| text("status") == status)
            }
        }
    });
    ok(&page(orders.cloned(), call))
}

/// Evaluates `text ~ 'WORD'`, joined by ` OR ` with comparisons, up to a comment: so that
/// `' OR 1=1 --` finds everybody's orders.
fn holds(condition: &str, text: &str, mine: bool) -> bool {
    let condition = condition.split("--").next().unwrap_or_default();
    condition.split(" OR ").any(|clause| {
        let clause = clause.trim().trim_end_matches('\'');
        match (clause.strip_prefix("text ~ '"), clause.split_once('=')) {
            (Some(word), _) => mine && text.contains(word),
            (None, Some((left, right))) => left.trim() == right.trim(),
            (None, None) => false,
        }
    })
}

fn comment(id: &str, call: &Call<'_>, shop: &Shop) -> Answer {
    if id.parse().ok().and_then(|id| shop.order(id)).is_none() {
        return missing(id);
    }
    let mut comment = call.record();
    comment.insert(
        String::from("author"),
        Value::from(call.subject.as_deref().unwrap_or("anonymous")),
    );
    comment.entry("text").or_insert_with(|| Value::from(""));
    // Where the comment was written from is nobody's business.
    comment.insert(String::from("clientAddress"), Value::from("192.0.2.10"));
    answer(StatusCode::CREATED, &Value::Object(comment))
}

/// What nobody wrote down: shadow and zombie endpoints, none of which asks for a token.
fn undeclared(call: &Call<'_>, segments: &[&str], shop: &Shop) -> Answer {
    match segments {
        ["admin", "export"] => ok(&json!({ "users": shop.users() })),
        ["debug" | "actuator", ..] => {
            ok(&json!({ "signingKey": "file:keys/demo.pem", "debug": true }))
        }
        ["swagger.json" | "openapi.json" | "swagger-ui" | "api-docs"] => {
            ok(&json!({ "openapi": "3.1.0", "paths": { "/admin/export": {} } }))
        }
        ["v0", "orders", ..] => ok(&page(shop.orders().cloned(), call)),
        [".env"] => answer(StatusCode::OK, &json!("DATABASE_PASSWORD=tea")),
        [] => ok(&json!({ "service": "orders", "see": "/swagger.json" })),
        // Methods that the description does not have, on paths that it has.
        ["users" | "orders", ..] if call.method != "GET" => ok(&json!({ "done": call.method })),
        _ => missing(&segments.join("/")),
    }
}

/// A request as the service understands it.
struct Call<'a> {
    method: String,
    segments: Vec<String>,
    query: Vec<(String, String)>,
    subject: Option<String>,
    body: &'a [u8],
}

impl<'a> Call<'a> {
    fn read(head: &Parts, body: &'a [u8]) -> Self {
        let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        // Whoever asks by header gets another method, another path, another user.
        let method = text("x-http-method-override")
            .or_else(|| text("x-method-override"))
            .or_else(|| text("x-http-method"))
            .unwrap_or(head.method.as_str());
        let path = text("x-original-url")
            .or_else(|| text("x-rewrite-url"))
            .unwrap_or(head.uri.path());
        let subject = text("x-user")
            .or_else(|| text("x_user"))
            .map(str::to_owned)
            .or_else(|| subject(text("authorization")?));
        Self {
            method: if method == "HEAD" {
                "GET".into()
            } else {
                method.to_ascii_uppercase()
            },
            segments: segments(path),
            query: pairs(head.uri.query().unwrap_or_default()),
            subject,
            body,
        }
    }

    fn saw(&self, headers: &HeaderMap) -> String {
        const TOLD: [&str; 10] = [
            "x-http-method-override",
            "x-method-override",
            "x-original-url",
            "x-rewrite-url",
            "x-user",
            "x_user",
            "x-forwarded-for",
            "forwarded",
            "x-real-ip",
            "x-hop",
        ];
        let mut saw = format!("{} /{}", self.method, self.segments.join("/"));
        for name in TOLD {
            for value in headers.get_all(name) {
                saw.push_str(&format!("; {name}={}", value.to_str().unwrap_or("?")));
            }
        }
        saw.chars()
            .filter(|c| c.is_ascii_graphic() || *c == ' ')
            .take(1024)
            .collect()
    }

    fn query(&self, name: &str) -> Option<String> {
        self.query
            .iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
    }

    fn user<'s>(&self, shop: &'s Shop) -> Option<&'s Value> {
        shop.user_named(self.subject.as_deref()?)
    }

    /// The body as an object, whatever its content type says; the last of equal keys counts.
    fn record(&self) -> Map<String, Value> {
        match serde_json::from_slice(self.body) {
            Ok(Value::Object(record)) => record,
            _ => pairs(&String::from_utf8_lossy(self.body))
                .into_iter()
                .map(|(key, value)| (key, Value::from(value)))
                .collect(),
        }
    }
}

/// Decodes twice, takes `\` for `/`, drops `;parameters` and climbs: each of these is what some
/// framework does, and together they open every path rule that stands in front.
fn segments(path: &str) -> Vec<String> {
    let path = decode(&decode(path)).replace('\\', "/");
    let mut segments: Vec<String> = Vec::new();
    for segment in path.split('/') {
        match segment.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => drop(segments.pop()),
            name => segments.push(name.to_owned()),
        }
    }
    segments
}

fn pairs(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (
                decode(&key.replace('+', " ")),
                decode(&value.replace('+', " ")),
            )
        })
        .collect()
}

fn decode(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let value = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match value.filter(|_| *byte == b'%') {
            Some(value) => {
                decoded.push(value);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                decoded.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// The subject of a token: decoded, never verified. `alg: none`, an expired one, one of another
/// issuer are all the same to it.
fn subject(authorization: &str) -> Option<String> {
    let token = authorization.strip_prefix("Bearer ")?;
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    Some(claims.get("sub")?.as_str()?.to_owned())
}

/// As many as the client asks for: no bound.
fn page(all: impl Iterator<Item = Value>, call: &Call<'_>) -> Value {
    let number = |name: &str, default: usize| {
        call.query(name)
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let size = number("page_size", 20);
    let skip = number("page", 1).saturating_sub(1).saturating_mul(size);
    Value::Array(all.skip(skip).take(size).collect())
}

fn ok(value: &Value) -> Answer {
    answer(StatusCode::OK, value)
}

fn missing(what: &str) -> Answer {
    problem(
        StatusCode::NOT_FOUND,
        "no such thing",
        &format!("no row for `{what}`"),
    )
}

/// An error that tells more than it should: `trace` is nothing that the description has.
pub(super) fn problem(status: StatusCode, title: &str, trace: &str) -> Answer {
    let mut answer = answer(
        status,
        &json!({ "title": title, "status": status.as_u16(), "trace": format!("shop.rs:88: {trace}") }),
    );
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/problem+json"),
    );
    answer
}

fn answer(status: StatusCode, value: &Value) -> Answer {
    let mut answer = Response::new(Bytes::from(value.to_string()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    answer
}

fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = status;
    answer
}
