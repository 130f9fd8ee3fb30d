//! As much of a browser as a login takes: cookies by host and path, and redirects that are followed
//! one at a time.

use std::{collections::BTreeMap, net::SocketAddr};

use crate::support::{Response, send};

/// What a browser says of a request.
#[derive(Clone, Copy)]
pub(crate) enum As {
    /// A person opens a page.
    Page,
    /// A script of a page asks.
    Script,
}

/// A browser with its cookies.
#[derive(Clone, Default)]
pub(crate) struct Browser {
    /// By host with port, path, and name.
    cookies: BTreeMap<(String, String, String), String>,
}

impl Browser {
    /// Opens a page, without following where it leads.
    pub(crate) fn open(&mut self, url: &str) -> Response {
        self.request("GET", url, As::Page, "", "")
    }

    /// Opens a page and follows it to the end, giving `name` where somebody is asked to log in.
    pub(crate) fn log_in(&mut self, url: &str, name: &str) -> Response {
        let mut url = url.to_owned();
        for _ in 0..12 {
            let response = self.open(&url);
            if let Some(location) = response.header("location") {
                url = absolute(&url, location);
            } else if url.contains("/interaction/") {
                let answer = self.post(&url, &format!("name={name}"), "");
                url = absolute(&url, answer.header("location").unwrap());
            } else {
                return response;
            }
        }
        panic!("there is no end to {url}");
    }

    /// Follows redirects, until one leads to this path of any host; gives the address.
    pub(crate) fn until(&mut self, url: &str, name: &str, path: &str) -> String {
        let mut url = url.to_owned();
        for _ in 0..12 {
            if split(&url).1.split('?').next() == Some(path) {
                return url;
            }
            let mut response = self.open(&url);
            if url.contains("/interaction/") {
                response = self.post(&url, &format!("name={name}"), "");
            }
            let location = response.header("location");
            let location = location.unwrap_or_else(|| panic!("{url}: {response:?}"));
            url = absolute(&url, location);
        }
        panic!("there is no way from {url} to {path}");
    }

    pub(crate) fn post(&mut self, url: &str, form: &str, more: &str) -> Response {
        self.request("POST", url, As::Page, more, form)
    }

    pub(crate) fn request(
        &mut self,
        method: &str,
        url: &str,
        by: As,
        more: &str,
        body: &str,
    ) -> Response {
        let bytes = self.bytes(method, url, by, more, body);
        let (address, target) = split(url);
        let response = send(address, &bytes).remove(0);
        self.keep(&address.to_string(), target, &response);
        response
    }

    /// A request as it is sent, for whoever sends many at once.
    pub(crate) fn bytes(&self, method: &str, url: &str, by: As, more: &str, body: &str) -> Vec<u8> {
        let (address, target) = split(url);
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\n");
        head.push_str(match by {
            As::Page => {
                "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nAccept: text/html\r\n"
            }
            As::Script => "Sec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\nAccept: */*\r\n",
        });
        let cookies = self.sent(&address.to_string(), target);
        if !cookies.is_empty() {
            head.push_str(&format!("Cookie: {cookies}\r\n"));
        }
        if !body.is_empty() {
            head.push_str("Content-Type: application/x-www-form-urlencoded\r\n");
        }
        if method == "POST" {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        format!("{head}{more}\r\n{body}").into_bytes()
    }

    fn sent(&self, host: &str, target: &str) -> String {
        let path = target.split('?').next().unwrap();
        let matching = self.cookies.iter().filter(|((at, below, _), _)| {
            at == host && (below == "/" || path == below || path.starts_with(&format!("{below}/")))
        });
        let pairs: Vec<_> = matching
            .map(|((_, _, name), value)| format!("{name}={value}"))
            .collect();
        pairs.join("; ")
    }

    /// Takes the cookies of an answer.
    pub(crate) fn keep(&mut self, host: &str, target: &str, response: &Response) {
        for line in response.head.lines() {
            let Some((field, cookie)) = line.split_once(':') else {
                continue;
            };
            if !field.eq_ignore_ascii_case("set-cookie") {
                continue;
            }
            let mut parts = cookie.trim().split(';').map(str::trim);
            let (name, value) = parts.next().unwrap().split_once('=').unwrap();
            let attributes: Vec<_> = parts.collect();
            let attribute = |wanted: &str| {
                attributes.iter().find_map(|attribute| {
                    let (key, value) = attribute.split_once('=')?;
                    key.eq_ignore_ascii_case(wanted).then_some(value)
                })
            };
            if name.starts_with("__Host-") {
                assert!(attributes.contains(&"Secure"), "{cookie}");
                assert!(attributes.contains(&"HttpOnly"), "{cookie}");
                assert_eq!(attribute("samesite"), Some("Lax"), "{cookie}");
                assert_eq!((attribute("path"), attribute("domain")), (Some("/"), None));
                assert!(name.len() + value.len() <= 4_000, "{}", cookie.len());
            }
            let path = attribute("path").unwrap_or(target).to_owned();
            let key = (host.to_owned(), path, name.to_owned());
            let is_over = attribute("max-age") == Some("0")
                || attribute("expires").is_some_and(|at| at.contains("1970"));
            if is_over {
                self.cookies.remove(&key);
            } else {
                self.cookies.insert(key, value.to_owned());
            }
        }
    }

    /// The names of the cookies that begin so.
    pub(crate) fn names(&self, beginning: &str) -> Vec<String> {
        let names = self.cookies.keys().map(|(_, _, name)| name.clone());
        names.filter(|name| name.starts_with(beginning)).collect()
    }

    /// Changes the cookies of a name.
    pub(crate) fn change(&mut self, name: &str, change: impl Fn(&mut String)) {
        let mut cookies = self.cookies.iter_mut();
        let (_, value) = cookies.find(|((_, _, found), _)| found == name).unwrap();
        change(value);
    }

    /// Forgets those whose names begin so.
    pub(crate) fn forget(&mut self, beginning: &str) {
        self.cookies
            .retain(|(_, _, name), _| !name.starts_with(beginning));
    }
}

/// Address and target of a URL.
pub(crate) fn split(url: &str) -> (SocketAddr, &str) {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, _) = rest.split_once('/').unwrap();
    (host.parse().unwrap(), rest.split_at(host.len()).1)
}

pub(crate) fn absolute(from: &str, location: &str) -> String {
    if location.starts_with("http://") {
        return location.to_owned();
    }
    assert!(location.starts_with('/'), "{location}");
    format!("http://{}{location}", split(from).0)
}
