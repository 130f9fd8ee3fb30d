//! A real browser, driven over WebDriver (W3C), through login to a page and out again.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{Shop, skipped};

struct Driver {
    child: Child,
    address: SocketAddr,
    session: String,
    _profile: tempfile::TempDir,
}

impl Drop for Driver {
    fn drop(&mut self) {
        // The browser goes with its session; without one the driver takes it along.
        if !self.session.is_empty() {
            drop(self.call("DELETE", "", None));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Driver {
    /// `None`, said aloud, where there is no Chromium.
    fn start() -> Option<Self> {
        if Command::new("chromedriver")
            .arg("--version")
            .output()
            .is_err()
        {
            skipped("there is no Chromium");
            return None;
        }
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let child = Command::new("chromedriver")
            .arg(format!("--port={}", address.port()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let profile = tempfile::tempdir().unwrap();
        let mut driver = Self {
            child,
            address,
            session: String::new(),
            _profile: profile,
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while driver.try_call("GET", "/status", None).is_none() {
            assert!(Instant::now() < deadline, "chromedriver does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        let profile = driver._profile.path().display().to_string();
        let wanted = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": { "args": [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            format!("--user-data-dir={profile}"),
        ] } } } });
        let began = driver.try_call("POST", "/session", Some(wanted)).unwrap();
        let session = began["sessionId"].as_str();
        driver.session = session.unwrap_or_else(|| panic!("{began}")).to_owned();
        Some(driver)
    }

    fn call(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let path = format!("/session/{}{path}", self.session);
        self.try_call(method, &path, body).unwrap()
    }

    fn try_call(&self, method: &str, path: &str, body: Option<Value>) -> Option<Value> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .ok()?;
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .ok()?;
        let mut answer = Vec::new();
        // It may keep the connection: the length tells the end.
        loop {
            let mut piece = [0; 16 << 10];
            let read = stream.read(&mut piece).ok()?;
            answer.extend_from_slice(&piece[..read]);
            let text = String::from_utf8_lossy(&answer).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| {
                    let (name, value) = line.split_once(':')?;
                    name.eq_ignore_ascii_case("content-length")
                        .then(|| value.trim().parse::<usize>().unwrap())
                });
                if length.is_some_and(|length| body.len() >= length) || read == 0 {
                    let answer: Value = serde_json::from_str(body).ok()?;
                    return Some(answer["value"].clone());
                }
            }
            if read == 0 {
                return None;
            }
        }
    }

    fn open(&self, url: &str) {
        let opened = self.call("POST", "/url", Some(json!({ "url": url })));
        assert!(opened.is_null(), "{opened}");
    }

    fn url(&self) -> String {
        self.call("GET", "/url", None).as_str().unwrap().to_owned()
    }

    /// The path of an element.
    fn element(&self, css: &str) -> String {
        let wanted = json!({ "using": "css selector", "value": css });
        let found = self.call("POST", "/element", Some(wanted));
        let id = found["element-6066-11e4-a52e-4f735466cecf"].as_str();
        let id = id.unwrap_or_else(|| panic!("{css} at {}: {found}", self.url()));
        format!("/element/{id}")
    }

    fn text(&self, css: &str) -> String {
        let text = self.call("GET", &format!("{}/text", self.element(css)), None);
        text.as_str().unwrap().to_owned()
    }

    fn click(&self, css: &str) {
        self.call(
            "POST",
            &format!("{}/click", self.element(css)),
            Some(json!({})),
        );
    }

    fn run(&self, script: &str) -> Value {
        self.call(
            "POST",
            "/execute/sync",
            Some(json!({ "script": script, "args": [] })),
        )
    }

    /// Waits until the address begins so.
    fn arrive(&self, beginning: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.url().starts_with(beginning) {
            assert!(
                Instant::now() < deadline,
                "{} is not {beginning}",
                self.url()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn a_real_browser_logs_in_reads_a_page_and_logs_out() {
    let Some(shop) = Shop::start() else { return };
    let Some(driver) = Driver::start() else {
        return;
    };
    let provider = format!("http://{}", shop.provider.address);
    driver.open(&shop.url("/page?x=1"));
    driver.arrive(&format!("{provider}/interaction/"));
    let name = format!("{}/value", driver.element("#name"));
    driver.call("POST", &name, Some(json!({ "text": "alice" })));
    driver.click("#enter");
    driver.arrive(&shop.url("/page?x=1"));
    assert_eq!(driver.text("#who"), "welcome");
    let received = shop.upstream.received();
    let page = received
        .iter()
        .find(|request| request.head.contains("/page?x=1"));
    assert_eq!(page.unwrap().header("x-user"), Some("alice"));
    // The provider's are of the same host, and stay.
    let cookies = page.unwrap().header("cookie").unwrap_or_default();
    assert!(!cookies.contains("__Host-"), "{cookies}");

    // The page's scripts see no cookie, and may ask and change as the person.
    assert_eq!(driver.run("return document.cookie"), json!(""));
    let asked = "const r = new XMLHttpRequest(); r.open(arguments[0] ?? 'GET', '/page', false); r.send(); return r.status";
    assert_eq!(driver.run(asked), json!(200));
    let changed = "const r = new XMLHttpRequest(); r.open('POST', '/page', false); r.setRequestHeader('content-type', 'application/x-www-form-urlencoded'); r.send('a=b'); return r.status";
    assert_eq!(driver.run(changed), json!(200));

    // Out again: by a form of the page, then at the provider, which asks.
    driver.run(
        "const f = document.createElement('form'); f.method = 'post'; f.action = '/_session/logout'; document.body.append(f); f.submit()",
    );
    driver.arrive(&format!("{provider}/session/end"));
    driver.click("#leave");
    driver.arrive(&shop.url("/"));
    driver.open(&shop.url("/page"));
    driver.arrive(&format!("{provider}/interaction/"));
}
