//! The requests that the WAF comparison inspects, as raw HTTP, each in many variants: ids, dates,
//! tokens and sessions change from one to the next, and come again only when no engine remembers them.
//! What real clients repeat stays: names of fields and arguments, media types, a few user agents.
//!
//! Deliberately not here: requests that grow (those are `curve`), and requests that only one engine
//! would refuse.

/// How many variants of each scenario an engine is given in turn.
const VARIANTS: u64 = 2048;
/// What a service's client calls itself.
const CLIENT: &str = "orders-client/2.4.1";

/// One kind of request at one paranoia level.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Scenario {
    Service,
    Browser,
    Json,
    JsonPairs,
    Form,
    Sqli,
    BrowserParanoid,
}

impl Scenario {
    pub(super) const ALL: &'static [Self] = &[
        Self::Service,
        Self::Browser,
        Self::Json,
        Self::JsonPairs,
        Self::Form,
        Self::Sqli,
        Self::BrowserParanoid,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Service => "service-get",
            Self::Browser => "browser-get",
            Self::Json => "json-post",
            Self::JsonPairs => "json-post-pairs",
            Self::Form => "form-post",
            Self::Sqli => "sqli-get",
            Self::BrowserParanoid => "browser-get-pl4",
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Service => "service GET, bare",
            Self::Browser => "browser-like GET, JWT, cookies, 4 arguments",
            Self::Json => "POST of 1 KiB JSON, 104 values",
            Self::JsonPairs => "POST of 1 KiB JSON, 52 values, 104 with names",
            Self::Form => "form POST, 8 fields",
            Self::Sqli => "SQL injection by GET, blocked",
            Self::BrowserParanoid => "browser-like GET, paranoia level 4",
        }
    }

    /// The paranoia level it is judged at.
    pub(super) fn paranoia(self) -> u8 {
        match self {
            Self::Service
            | Self::Browser
            | Self::Json
            | Self::JsonPairs
            | Self::Form
            | Self::Sqli => 1,
            Self::BrowserParanoid => 4,
        }
    }

    /// The most microseconds that Fortress means to spend, where that was set beforehand.
    pub(super) fn budget(self) -> Option<f64> {
        match self {
            Self::Service => Some(6.0),
            Self::Browser => Some(20.0),
            Self::Json | Self::JsonPairs => Some(80.0),
            Self::Form => None,
            Self::Sqli => Some(45.0),
            Self::BrowserParanoid => Some(40.0),
        }
    }

    /// Every variant, as it goes over the wire.
    pub(super) fn requests(self) -> Vec<Vec<u8>> {
        (0..VARIANTS)
            .map(|variant| {
                let mut varied = Varied::new(variant);
                match self {
                    Self::Service => service(&mut varied),
                    Self::Browser | Self::BrowserParanoid => browser(&mut varied),
                    Self::Json => {
                        let body = json_body(&mut varied, 51);
                        post("/api/v1/orders", "application/json", body.as_bytes())
                    }
                    Self::JsonPairs => {
                        let body = json_body(&mut varied, 25);
                        post("/api/v1/orders", "application/json", body.as_bytes())
                    }
                    Self::Form => {
                        let body = form_body(&mut varied);
                        let kind = "application/x-www-form-urlencoded";
                        post("/checkout/address", kind, body.as_bytes())
                    }
                    Self::Sqli => sqli(&mut varied),
                }
            })
            .collect()
    }
}

/// Several requests in the form that the harnesses read: each after a line `request LENGTH`.
pub(super) fn file(requests: &[Vec<u8>]) -> Vec<u8> {
    let mut text = Vec::new();
    for request in requests {
        text.extend_from_slice(format!("request {}\n", request.len()).as_bytes());
        text.extend_from_slice(request);
    }
    text
}

/// A raw request with a service's headers.
pub(super) fn post(path: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len().to_string();
    let headers = [
        ("User-Agent", CLIENT),
        ("Accept", "application/json"),
        ("Content-Type", kind),
        ("Content-Length", &length),
    ];
    raw("POST", path, &headers, body)
}

/// A raw request.
pub(super) fn raw(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: shop.example.com\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

fn service(varied: &mut Varied) -> Vec<u8> {
    let target = format!("/api/v1/orders/{}", varied.below(1_000_000));
    let headers = [("User-Agent", CLIENT), ("Accept", "application/json")];
    raw("GET", &target, &headers, b"")
}

fn browser(varied: &mut Varied) -> Vec<u8> {
    let target = format!(
        "/api/v1/orders?status={}&customer={}%40example.com&from=2026-{:02}-{:02}&limit={}",
        varied.one_of(&["open", "shipped", "cancelled", "returned"]),
        varied.name().to_lowercase(),
        1 + varied.below(12),
        1 + varied.below(28),
        10 + varied.below(90),
    );
    // 500 bytes, as an RS256 token of an identity provider has them.
    let token = format!(
        "Bearer eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJ{}.{}",
        varied.from(120, BASE64),
        varied.from(342, BASE64)
    );
    let cookie = format!(
        "session={}; theme={}; _ga=GA1.2.{}.{}",
        varied.from(32, HEX),
        varied.one_of(&["dark", "light"]),
        varied.below(1_000_000_000),
        1_700_000_000 + varied.below(60_000_000),
    );
    let agent = format!(
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36",
        120 + varied.below(30)
    );
    let referer = format!(
        "https://shop.example.com/orders/{}",
        varied.below(1_000_000)
    );
    let headers = [
        ("User-Agent", agent.as_str()),
        ("Accept", "application/json, text/plain, */*"),
        ("Accept-Language", "en-GB,en;q=0.9,de;q=0.8"),
        ("Accept-Encoding", "gzip, deflate, br"),
        ("Authorization", &token),
        ("Referer", &referer),
        ("Cookie", &cookie),
        ("Sec-Fetch-Dest", "empty"),
        ("Sec-Fetch-Mode", "cors"),
        ("Sec-Fetch-Site", "same-origin"),
    ];
    raw("GET", &target, &headers, b"")
}

fn sqli(varied: &mut Varied) -> Vec<u8> {
    let (id, other) = (varied.below(1_000_000), varied.below(1000));
    let payload = match varied.below(4) {
        0 => format!("{id}%27%20OR%20{other}%3D{other}--%20"),
        1 => format!("{id}%27%20UNION%20SELECT%20name%2Cpassword%20FROM%20users--%20"),
        2 => format!("{id}%27%3B%20DROP%20TABLE%20orders{other}--%20"),
        _ => format!("{id}%27%20AND%20SLEEP%28{other}%29--%20"),
    };
    let target = format!("/api/v1/orders?id={payload}&limit=25");
    let headers = [("User-Agent", CLIENT), ("Accept", "application/json")];
    raw("GET", &target, &headers, b"")
}

/// Exactly 1,024 bytes that hold two values and two for each line. With 51 lines that is 104 values;
/// with 25 it is 52, which with their names are 104 strings to inspect.
fn json_body(varied: &mut Varied, lines: usize) -> String {
    // Lines share the kibibyte, less what stands around them.
    let length = (1024 - 40) / lines.max(1);
    let mut list = String::new();
    for _ in 0..lines {
        let count = 10 + varied.below(90);
        let rest = length.saturating_sub(r#"{"a":"","n":10},"#.len());
        let article = varied.from(rest, ARTICLE);
        list.push_str(&format!(r#"{{"a":"{article}","n":{count}}},"#));
    }
    list.pop();
    let head = format!(
        r#"{{"id":{},"to":"{}"#,
        varied.below(1_000_000),
        varied.name()
    );
    let tail = format!(r#"","lines":[{list}]}}"#);
    let missing = 1024_usize.saturating_sub(head.len() + tail.len());
    format!("{head}{}{tail}", varied.from(missing, LETTERS))
}

fn form_body(varied: &mut Varied) -> String {
    format!(
        "name={}+{}&street={}+Street+{}&city={}&zip={}&email={}%40example.com&phone=%2B44+20+{}&\
         note=Please+leave+it+with+the+neighbours%2C+second+door&newsletter=on",
        varied.name(),
        varied.name(),
        varied.name(),
        1 + varied.below(200),
        varied.one_of(&["London", "Leeds", "York", "Bath"]),
        10_000 + varied.below(90_000),
        varied.name().to_lowercase(),
        10_000_000 + varied.below(9_000_000),
    )
}

const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz";
/// What an article's number is made of: no vowel, so that no word of a rule comes up by chance.
const ARTICLE: &[u8] = b"bcdfghjkmnpqrstvwxz0123456789";
const HEX: &[u8] = b"0123456789abcdef";
const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Values that differ from variant to variant and are the same in every run.
#[derive(Debug)]
pub(super) struct Varied(u64);

impl Varied {
    pub(super) fn new(variant: u64) -> Self {
        Self(variant.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A number from 0 on (SplitMix64, whose neighbouring seeds give unrelated numbers).
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }

    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        let at = self.below(u64::try_from(words.len()).unwrap_or(1));
        words
            .get(usize::try_from(at).unwrap_or_default())
            .copied()
            .unwrap_or_default()
    }

    fn from(&mut self, length: usize, alphabet: &[u8]) -> String {
        let end = u64::try_from(alphabet.len()).unwrap_or(1);
        (0..length)
            .filter_map(|_| alphabet.get(usize::try_from(self.below(end)).ok()?))
            .map(|byte| char::from(*byte))
            .collect()
    }

    /// An everyday word.
    pub(super) fn word(&mut self) -> &'static str {
        self.one_of(&[
            "paper", "green", "river", "seven", "orders", "please", "window", "kitchen", "bicycle",
            "morning", "quiet", "letter", "garden", "winter", "sample", "number",
        ])
    }

    fn name(&mut self) -> &'static str {
        self.one_of(&[
            "Anna", "Ben", "Carla", "David", "Emma", "Felix", "Greta", "Hugo", "Ines", "Jonas",
            "Klara", "Leo", "Mara", "Noah", "Olga", "Paul",
        ])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    fn values(value: &Value) -> usize {
        match value {
            Value::Array(items) => items.iter().map(values).sum(),
            Value::Object(members) => members.values().map(values).sum(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
        }
    }

    #[test]
    fn json_bodies_are_a_kibibyte_of_so_many_values() {
        for (lines, expected) in [(51, 104), (25, 52)] {
            for variant in 0..VARIANTS {
                let body = json_body(&mut Varied::new(variant), lines);
                assert_eq!(body.len(), 1024, "{body}");
                assert_eq!(values(&serde_json::from_str(&body).unwrap()), expected);
            }
        }
    }

    #[test]
    fn variants_differ_and_stay() {
        for scenario in Scenario::ALL {
            let requests = scenario.requests();
            assert_eq!(requests, scenario.requests());
            let different: BTreeSet<&Vec<u8>> = requests.iter().collect();
            assert!(different.len() > 60, "{scenario:?}: {}", different.len());
        }
    }

    #[test]
    fn requests_are_written_with_their_length() {
        let requests = [b"GET".to_vec(), b"".to_vec()];
        assert_eq!(file(&requests), b"request 3\nGETrequest 0\n");
        let text = String::from_utf8(post("/a", "text/plain", b"hello")).unwrap();
        assert!(text.starts_with("POST /a HTTP/1.1\r\nHost: "), "{text}");
        assert!(text.ends_with("Content-Length: 5\r\n\r\nhello"), "{text}");
    }
}
