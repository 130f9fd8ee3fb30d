//! `components.securitySchemes` and `security`: who may call. A requirement that names nothing is an
//! error, never an open door.

use fortress_model::{
    diagnostic::Diagnostic,
    document::{Node, Value},
};

use super::{
    Reader,
    keys::{self, closest},
};
use crate::{
    description::{KeyLocation, Requirement, Security, SecurityScheme},
    schema::Place,
};

const TYPES: [&str; 5] = ["apiKey", "http", "oauth2", "openIdConnect", "mutualTLS"];

impl<'a> Reader<'a, '_> {
    /// Reads `components.securitySchemes`.
    pub(super) fn security_schemes(&mut self, components: Place<'a>) {
        let Some(schemes) = self.object(components, "securitySchemes") else {
            return;
        };
        for member in schemes.node.members() {
            let place = match self.resolver.follow(schemes.at(&member.value)) {
                Ok(place) => place,
                Err(found) => {
                    self.diagnostics.push(found);
                    continue;
                }
            };
            self.check_keys(place.node, keys::SECURITY_SCHEME);
            match self.scheme(place.node) {
                Ok(scheme) => self.schemes.push((member.key.to_string(), scheme)),
                Err(mut found) => {
                    found.message = format!("security scheme `{}`: {}", member.key, found.message);
                    self.diagnostics.push(found);
                }
            }
        }
    }

    fn scheme(&mut self, node: &Node) -> Result<SecurityScheme, Diagnostic> {
        let text = |key: &str| {
            node.get(key)
                .and_then(Node::as_str)
                .filter(|text| !text.is_empty())
                .ok_or_else(|| Diagnostic::error(node.span, format!("`{key}` is missing")))
        };
        Ok(match text("type")? {
            "http" => {
                let scheme = text("scheme")?.to_ascii_lowercase();
                match scheme.as_str() {
                    "bearer" => SecurityScheme::Bearer {
                        format: text("bearerFormat").ok().map(str::to_owned),
                    },
                    "basic" => SecurityScheme::Basic,
                    _ => SecurityScheme::HttpOther(scheme),
                }
            }
            "apiKey" => SecurityScheme::ApiKey {
                location: match text("in")? {
                    "query" => KeyLocation::Query,
                    "header" => KeyLocation::Header,
                    "cookie" => KeyLocation::Cookie,
                    other => {
                        let message = format!("an API key cannot be in `{other}`");
                        return Err(Diagnostic::error(node.span, message)
                            .help("write `query`, `header` or `cookie`"));
                    }
                },
                name: text("name")?.to_owned(),
            },
            "oauth2" => SecurityScheme::OAuth2 {
                scopes: self.scopes(node),
            },
            "openIdConnect" => SecurityScheme::OpenIdConnect {
                url: text("openIdConnectUrl")?.to_owned(),
            },
            "mutualTLS" => SecurityScheme::MutualTls,
            other => {
                let error = Diagnostic::error(node.span, format!("unknown type `{other}`"));
                return Err(match closest(other, TYPES) {
                    Some(meant) => error.help(format!("did you mean `{meant}`?")),
                    None => error.help(format!("write one of `{}`", TYPES.join("`, `"))),
                });
            }
        })
    }

    fn scopes(&mut self, scheme: &Node) -> Vec<String> {
        let Some(flows) = scheme.get("flows") else {
            self.warn(
                scheme.span,
                "an `oauth2` scheme without `flows` declares no scope",
            );
            return Vec::new();
        };
        let mut scopes = Vec::new();
        for flow in flows.members() {
            if flow.key.starts_with("x-") {
                continue;
            }
            self.check_keys(&flow.value, keys::FLOW);
            let declared = flow.value.get("scopes").map_or(&[][..], Node::members);
            scopes.extend(declared.iter().map(|scope| scope.key.to_string()));
        }
        scopes.sort_unstable();
        scopes.dedup();
        scopes
    }

    /// Reads a `security` list. `None`, with diagnostics, if it is not clear what it demands.
    pub(super) fn security(&mut self, node: &Node, whose: &str) -> Option<Security> {
        let Value::Array(items) = &node.value else {
            self.diagnostics.push(
                Diagnostic::error(
                    node.span,
                    format!(
                        "`security` of {whose} should be a list, this is {}",
                        node.kind()
                    ),
                )
                .help("write `security: []` to declare it public"),
            );
            return None;
        };
        if items.is_empty() {
            return Some(Security::Public);
        }
        let mut any_of = Vec::with_capacity(items.len());
        let mut clear = true;
        for item in items {
            match self.requirement(item) {
                Some(requirement) => any_of.push(requirement),
                None => clear = false,
            }
        }
        clear.then_some(Security::AnyOf(any_of))
    }

    fn requirement(&mut self, node: &Node) -> Option<Requirement> {
        let Value::Object(members) = &node.value else {
            self.error(
                node.span,
                format!(
                    "a security requirement should be an object, this is {}",
                    node.kind()
                ),
            );
            return None;
        };
        let mut schemes = Vec::with_capacity(members.len());
        let mut clear = true;
        for member in members {
            let Some(declared) = self
                .schemes
                .iter()
                .position(|(name, _)| **name == *member.key)
            else {
                let error = Diagnostic::error(
                    member.key_span,
                    format!("the security scheme `{}` is not declared", member.key),
                );
                let names = self.schemes.iter().map(|(name, _)| name.as_str());
                self.diagnostics.push(match closest(&member.key, names) {
                    Some(meant) => error.help(format!("did you mean `{meant}`?")),
                    None => error.help("declare it under `components.securitySchemes`"),
                });
                clear = false;
                continue;
            };
            match self.required_scopes(&member.value, declared) {
                Some(scopes) => schemes.push((member.key.to_string(), scopes)),
                None => clear = false,
            }
        }
        clear.then_some(Requirement(schemes))
    }

    fn required_scopes(&mut self, node: &Node, scheme: usize) -> Option<Vec<String>> {
        let Value::Array(items) = &node.value else {
            self.diagnostics.push(
                Diagnostic::error(
                    node.span,
                    format!("scopes should be a list, this is {}", node.kind()),
                )
                .help("write `[]` where no scope is demanded"),
            );
            return None;
        };
        let mut scopes = Vec::with_capacity(items.len());
        for item in items {
            let Some(scope) = item.as_str() else {
                self.error(
                    item.span,
                    format!("a scope should be a string, this is {}", item.kind()),
                );
                return None;
            };
            let undeclared = self.schemes.get(scheme).is_some_and(|(_, scheme)| {
                matches!(scheme, SecurityScheme::OAuth2 { scopes }
                    if !scopes.iter().any(|declared| declared == scope))
            });
            if undeclared {
                self.warn(
                    item.span,
                    format!(
                        "the scope `{scope}` is demanded, but no flow of its scheme declares it"
                    ),
                );
            }
            scopes.push(scope.to_owned());
        }
        Some(scopes)
    }
}
