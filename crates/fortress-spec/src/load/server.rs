//! `servers` into base paths. Hosts are the configuration's: where an API is served from is not for
//! its description to say, but the path in front of its operations is.

use fortress_model::document::{Node, Span, Value};

use super::{Reader, keys, uri};

/// How many URLs the variables of one server may expand to.
const MAX_URLS: usize = 1_000;

/// How many characters a URL may have, its variables expanded.
const MAX_URL: usize = 4_096;

impl Reader<'_, '_> {
    /// The base paths of a `servers` list, in the form of
    /// [`ApiDescription::base_paths`](crate::ApiDescription::base_paths).
    pub(super) fn base_paths(&mut self, servers: &Node) -> Vec<String> {
        let mut paths: Vec<String> = Vec::new();
        match &servers.value {
            Value::Array(items) => {
                for server in items {
                    for path in self.server(server) {
                        if !paths.contains(&path) {
                            paths.push(path);
                        }
                    }
                }
            }
            Value::Null => self.warn(servers.span, "`servers` is empty; the base path is `/`"),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => self.error(
                servers.span,
                format!("`servers` should be a list, this is {}", servers.kind()),
            ),
        }
        if paths.is_empty() {
            paths.push(String::new());
        }
        paths
    }

    fn server(&mut self, server: &Node) -> Vec<String> {
        self.check_keys(server, keys::SERVER);
        let Some(url) = server.get("url") else {
            self.error(server.span, "this server has no `url`");
            return Vec::new();
        };
        let Some(template) = url.as_str() else {
            self.error(
                url.span,
                format!("`url` should be a string, this is {}", url.kind()),
            );
            return Vec::new();
        };
        let mut urls = vec![template.to_owned()];
        for variable in server.get("variables").map_or(&[][..], Node::members) {
            self.check_keys(&variable.value, keys::SERVER_VARIABLE);
            let pattern = format!("{{{}}}", variable.key);
            if !template.contains(&pattern) {
                continue;
            }
            let values = self.values(&variable.key, &variable.value);
            if urls.len().saturating_mul(values.len()) > MAX_URLS {
                self.error(
                    server.span,
                    format!("the variables of this server make more than {MAX_URLS} URLs"),
                );
                return Vec::new();
            }
            urls = urls
                .iter()
                .flat_map(|url| values.iter().map(|value| url.replace(&pattern, value)))
                .filter(|url| url.len() <= MAX_URL)
                .collect();
        }
        urls.iter()
            .filter_map(|expanded| self.base_path(expanded, url.span))
            .collect()
    }

    /// The values that a variable may have: its `enum`, and its default.
    fn values(&mut self, name: &str, variable: &Node) -> Vec<String> {
        let text = |node: &Node| node.as_str().or(node.as_number()).map(str::to_owned);
        let default = variable.get("default").and_then(text);
        let mut values: Vec<String> = variable
            .get("enum")
            .map_or(&[][..], Node::items)
            .iter()
            .filter_map(text)
            .collect();
        match default {
            Some(default) if !values.contains(&default) => {
                if !values.is_empty() {
                    self.warn(
                        variable.span,
                        format!("the default of the variable `{name}` is not in its `enum`"),
                    );
                }
                values.push(default);
            }
            Some(_) => {}
            None => self.warn(
                variable.span,
                format!("the server variable `{name}` has no `default`"),
            ),
        }
        values
    }

    /// The path of a URL. `None`, with a diagnostic, if it cannot be told.
    fn base_path(&mut self, url: &str, span: Span) -> Option<String> {
        let rest = match url.split_once("://") {
            Some((_, rest)) => Some(rest),
            None => url.strip_prefix("//"),
        };
        let path = match rest {
            Some(rest) => rest
                .find(['/', '?', '#'])
                .and_then(|at| rest.get(at..))
                .unwrap_or_default(),
            None => url,
        };
        let path = match path.find(['?', '#']) {
            Some(at) => {
                self.warn(
                    span,
                    format!("the query or fragment of the server `{url}` is ignored"),
                );
                path.get(..at).unwrap_or_default()
            }
            None => path,
        };
        if path.contains(['{', '}']) {
            self.error(
                span,
                format!("the path of the server `{url}` has a variable that is not declared"),
            );
            return None;
        }
        let path = uri::remove_dots(&format!("/{}", path.trim_start_matches('/')));
        let mut normal = String::with_capacity(path.len());
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            let Some(segment) = uri::normalise_segment(segment) else {
                self.error(
                    span,
                    format!("the server `{url}` has broken percent-encoding"),
                );
                return None;
            };
            normal.push('/');
            normal.push_str(&segment);
        }
        // Once more, for dots that were percent-encoded.
        let normal = uri::remove_dots(&normal);
        Some(normal.trim_end_matches('/').to_owned())
    }
}
