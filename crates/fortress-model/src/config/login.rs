//! `identity.NAME.login`: how an issuer logs people in with a browser.

use std::time::Duration;

use super::{
    Login, LoginEndpoints, Spanned,
    reader::{Entry, Fields, Reader},
    scalar::{self, BadUrl},
};

/// How long a session lasts at most where nothing is said: a working day.
const ABSOLUTE: Duration = Duration::from_secs(12 * 3600);
/// And without a request.
const IDLE: Duration = Duration::from_secs(1800);
/// Below it the gateway answers by itself.
const PATH: &str = "/_session";

struct Pages {
    login: Spanned<String>,
    callback: Spanned<String>,
    logout: Spanned<String>,
    after_logout: String,
}

impl Reader<'_> {
    pub(super) fn login(&mut self, entry: &Entry<'_>) -> Option<Login> {
        let fields = self.fields(entry)?;
        let client_id = fields.get("client_id").and_then(|entry| self.text(&entry));
        let secret = fields.get("client_secret").map(|entry| self.secret(&entry));
        let auth = fields.get("client_auth").map(|entry| self.word(&entry));
        let key = fields.get("key").and_then(|entry| self.secret(&entry));
        let previous = fields.get("previous_key").map(|entry| self.secret(&entry));
        let scopes = fields.get("scopes").map(|entry| self.scopes(&entry));
        let prompt = fields.get("prompt").map(|entry| self.word(&entry));
        let origin = fields.get("origin").map(|entry| self.origin_of(&entry));
        let pages = self.login_pages(&fields, entry);
        let logout_at = fields.get("logout_at").map(|entry| self.word(&entry));
        let lasting = fields.get("session").map(|entry| self.lasting(&entry));
        let endpoints = fields
            .get("endpoints")
            .map(|entry| self.login_endpoints(&entry));
        let pages = pages?;
        let (absolute, idle) = match lasting {
            Some(lasting) => lasting?,
            None => (ABSOLUTE, IDLE),
        };
        let mut scopes = scopes.unwrap_or_default();
        // OpenID Connect Core, section 3.1.2.1: without it there is no ID token.
        if !scopes.iter().any(|scope| scope == "openid") {
            scopes.insert(0, "openid".to_owned());
        }
        Some(Login {
            client_id: client_id?.value,
            client_secret: match secret {
                Some(secret) => Some(secret?.value),
                None => None,
            },
            secret_in_form: match auth {
                Some(auth) => auth? == "post",
                None => false,
            },
            key: key?,
            previous_key: match previous {
                Some(previous) => Some(previous?),
                None => None,
            },
            scopes,
            prompt: match prompt {
                Some(prompt) => Some(prompt?),
                None => None,
            },
            origin: match origin {
                Some(origin) => Some(origin?.value),
                None => None,
            },
            login_path: pages.login,
            callback: pages.callback,
            logout: pages.logout,
            after_logout: pages.after_logout,
            logout_at_issuer: match logout_at {
                Some(at) => at? == "issuer",
                None => true,
            },
            absolute,
            idle,
            endpoints: match endpoints {
                Some(endpoints) => endpoints?,
                None => LoginEndpoints::default(),
            },
        })
    }

    /// Where the gateway answers by itself.
    fn login_pages(&mut self, fields: &Fields<'_>, block: &Entry<'_>) -> Option<Pages> {
        let below = self.path_or(fields, "path", PATH, block);
        let unsaid = below.as_ref().map_or(PATH, |below| &below.value).to_owned();
        let mut page = |name: &str| self.path_or(fields, name, &format!("{unsaid}/{name}"), block);
        let (callback, logout) = (page("callback"), page("logout"));
        let after_logout = self.path_or(fields, "after_logout", "/", block);
        let below = below?;
        Some(Pages {
            login: Spanned {
                value: format!("{}/login", below.value),
                span: below.span,
            },
            callback: callback?,
            logout: logout?,
            after_logout: after_logout
                .map(|path| path.value)
                .map(|path| if path.is_empty() { "/".into() } else { path })?,
        })
    }

    fn path_or(
        &mut self,
        fields: &Fields<'_>,
        name: &str,
        unsaid: &str,
        block: &Entry<'_>,
    ) -> Option<Spanned<String>> {
        match fields.get(name) {
            Some(entry) => self.parsed(&entry, scalar::base_path),
            None => Some(Spanned {
                value: unsaid.to_owned(),
                span: block.place,
            }),
        }
    }

    /// Scheme, host and port, as browsers write them in `Origin`.
    fn origin_of(&mut self, entry: &Entry<'_>) -> Option<Spanned<String>> {
        self.parsed(entry, |text| {
            scalar::https_url(text).map_err(BadUrl::help)?;
            let origin = text.trim_end_matches('/').to_ascii_lowercase();
            if origin.matches('/').count() != 2 || origin.contains('?') {
                return Err("write scheme, host and port alone".to_owned());
            }
            Ok(origin)
        })
    }

    /// The absolute and the idle time.
    fn lasting(&mut self, entry: &Entry<'_>) -> Option<(Duration, Duration)> {
        let Some(long) = self.long_form(entry) else {
            let absolute = self.duration(&self.short_form(entry))?;
            return Some((absolute, IDLE.min(absolute)));
        };
        let fields = self.fields(&long)?;
        let absolute = self.span_of_time(&fields, "absolute", ABSOLUTE);
        let idle = self.span_of_time(&fields, "idle", IDLE);
        Some((absolute?, idle?))
    }

    fn login_endpoints(&mut self, entry: &Entry<'_>) -> Option<LoginEndpoints> {
        let fields = self.fields(entry)?;
        let mut url = |name: &str| match fields.get(name) {
            Some(entry) => self.https_url(&entry).map(|url| Some(url.value)),
            None => Some(None),
        };
        let (authorization, token) = (url("authorization"), url("token"));
        let (end_session, revocation) = (url("end_session"), url("revocation"));
        Some(LoginEndpoints {
            authorization: authorization?,
            token: token?,
            end_session: end_session?,
            revocation: revocation?,
        })
    }
}
