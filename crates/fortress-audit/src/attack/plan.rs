//! Which attacks are made, on which operations, and how many.

use std::{collections::BTreeSet, sync::Arc};

use fortress_model::Bounds;
use fortress_spec::{
    ApiDescription, Operation, Policy, Security, SecurityScheme,
    door::{DoorKind, door},
};

use super::{
    Attack, Basis, By, Judge, Kind, Message, Sources, Tokens, bodies, framing, guesses, headers,
    inputs, paths, payloads, tokens, valid,
};

/// What is attacked, and with what.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The contract.
    pub description: Arc<ApiDescription>,
    /// The configured base path, where it replaces the description's.
    pub base_path: Option<String>,
    /// Operations that the configuration marks as public.
    pub public: BTreeSet<String>,
    /// What the gateway refuses beside the schemas.
    pub policy: Policy,
    /// Its bounds.
    pub bounds: Bounds,
    /// What the attacker holds.
    pub tokens: Tokens,
    /// The most attacks that are sent; beyond it every so-manieth is.
    pub limit: usize,
    /// Where they come from.
    pub sources: Sources,
    /// Any number, another one for each run: accounts are made up from it.
    pub drawn: u32,
}

#[cfg(test)]
impl Subject {
    /// A description's operations, attacked from one address without a token.
    #[track_caller]
    pub(super) fn sample(description: &'static str) -> Self {
        use fortress_model::config::{Cookies, RequestUndeclared};

        struct Fixed(&'static str);
        impl fortress_spec::Files for Fixed {
            fn read(&self, _: &std::path::Path) -> std::io::Result<String> {
                Ok(self.0.to_owned())
            }
        }
        let path = std::path::Path::new("openapi.yaml");
        let mut sources = fortress_model::Sources::default();
        let loaded = fortress_spec::load(path, &Fixed(description), &mut sources);
        let description = loaded
            .description
            .unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
        let bounds = Bounds::default();
        Self {
            description: Arc::new(description),
            base_path: None,
            public: BTreeSet::new(),
            policy: Policy {
                undeclared: RequestUndeclared::Refuse,
                cookies: Cookies::Allow,
                depth: bounds.depth,
                properties: bounds.properties,
                items: bounds.items,
                parts: bounds.parts,
            },
            bounds,
            tokens: Tokens::default(),
            limit: 1000,
            sources: Sources::One,
            drawn: 0,
        }
    }
}

/// What will be sent.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Operations of the description.
    pub operations: usize,
    /// Valid requests first, then attacks, then some of the valid ones again.
    pub all: Arc<[Attack]>,
    /// How many valid ones come first.
    pub valid: usize,
    /// How many come last.
    pub again: usize,
    /// What was not tried, and why.
    pub not_tried: Vec<String>,
}

impl Plan {
    /// How many are attacks.
    pub fn attacks(&self) -> usize {
        self.all.len() - self.valid - self.again
    }
}

/// Series of requests, of tens to a hundred each.
const SERIES: usize = 12;

/// Valid requests that are sent again after the attacks.
const AGAIN: usize = 40;

/// Operations on which large bodies are tried.
const LARGE: usize = 20;

/// Makes the attacks.
pub fn plan(subject: &Subject) -> Plan {
    let mut draft = Draft::default();
    let mut bases = Vec::new();
    for (index, operation) in subject.description.operations.iter().enumerate() {
        draft.operation(subject, index, operation, &mut bases);
    }
    let bomb = bodies::bomb();
    for basis in &bases {
        draft.on(subject, basis, &bomb);
    }
    draft.everywhere(subject, &bases);
    draft.series(subject, &bases);
    draft.finish(subject)
}

/// How an operation authenticates its callers, as far as an attack is concerned.
enum Needs {
    Nothing,
    Bearer(Vec<String>),
    Other(String),
}

fn needs(subject: &Subject, operation: &Operation) -> Needs {
    let requirements = match &operation.security {
        Security::Undeclared | Security::Public => return Needs::Nothing,
        Security::AnyOf(_) if subject.public.contains(&*operation.id) => return Needs::Nothing,
        Security::AnyOf(requirements) => requirements,
    };
    if requirements
        .iter()
        .any(fortress_spec::Requirement::is_anonymous)
    {
        return Needs::Nothing;
    }
    let mut other = String::new();
    for requirement in requirements {
        let bearer =
            requirement.0.iter().all(
                |(name, _)| match subject.description.security_scheme(name) {
                    Some(
                        SecurityScheme::Bearer { .. }
                        | SecurityScheme::OAuth2 { .. }
                        | SecurityScheme::OpenIdConnect { .. },
                    ) => true,
                    Some(
                        SecurityScheme::Basic
                        | SecurityScheme::HttpOther(_)
                        | SecurityScheme::ApiKey { .. }
                        | SecurityScheme::MutualTls,
                    )
                    | None => {
                        other.clone_from(name);
                        false
                    }
                },
            );
        if bearer {
            let scopes = requirement
                .0
                .iter()
                .flat_map(|(_, scopes)| scopes.clone())
                .collect();
            return Needs::Bearer(scopes);
        }
    }
    Needs::Other(other)
}

#[derive(Default)]
struct Draft {
    valid: Vec<Attack>,
    attacks: Vec<Attack>,
    series: Vec<Attack>,
    /// Tokens of those who walk through ids.
    walkers: BTreeSet<String>,
    without_token: usize,
    without_example: Vec<String>,
    other_schemes: BTreeSet<String>,
    large: usize,
    scopes_tried: bool,
    scopes_demanded: bool,
}

impl Draft {
    /// The valid requests of an operation.
    fn operation(
        &mut self,
        subject: &Subject,
        index: usize,
        operation: &Operation,
        bases: &mut Vec<Basis>,
    ) {
        let (bearer, credential) = match needs(subject, operation) {
            Needs::Nothing => (None, None),
            Needs::Bearer(scopes) => {
                let credential = subject.tokens.for_scopes(&scopes);
                self.scopes_demanded |= !scopes.is_empty();
                (Some(scopes), credential)
            }
            Needs::Other(scheme) => {
                self.other_schemes.insert(scheme);
                (Some(Vec::new()), None)
            }
        };
        let drafts = valid::requests(subject, operation);
        if drafts.is_empty() {
            self.without_example.push(operation.id.to_string());
            return;
        }
        for (number, request) in drafts.into_iter().enumerate() {
            let request = match credential {
                Some(credential) => {
                    request.with("Authorization", format!("Bearer {}", credential.token))
                }
                None => request,
            };
            let basis = Basis {
                operation: Arc::clone(&operation.id),
                index,
                request,
                bearer: bearer.clone(),
            };
            if bearer.is_none() || credential.is_some() {
                self.valid.push(Attack {
                    judge: Judge::Answered,
                    ..basis.refused(Kind::Valid, "as declared", basis.request.clone())
                });
            } else if number == 0 {
                self.without_token += 1;
            }
            if number == 0 {
                bases.push(basis);
            }
        }
    }

    /// The attacks on an operation.
    fn on(&mut self, subject: &Subject, basis: &Basis, bomb: &[u8]) {
        let Some(operation) = subject.description.operations.get(basis.index) else {
            return;
        };
        if let Some(scopes) = &basis.bearer {
            let found = tokens::attacks(basis, scopes, &subject.tokens);
            self.scopes_tried |= found.iter().any(|attack| attack.kind == Kind::ScopeMissing);
            self.attacks.extend(found);
        }
        // Without a token all else is refused for that alone, and proves nothing.
        if !basis.is_authorized() {
            return;
        }
        self.attacks
            .extend(paths::methods(&subject.description, basis));
        self.attacks.extend(headers::overrides(basis));
        self.attacks.extend(tokens::spoofs(basis));
        self.attacks
            .extend(inputs::attacks(subject, operation, basis));
        self.attacks
            .extend(payloads::attacks(subject, operation, basis));
        let sizes = if self.large < LARGE {
            bodies::Sizes::All {
                bound: subject.bounds.body,
                bomb,
            }
        } else {
            bodies::Sizes::Small
        };
        self.large += usize::from(basis.request.body.is_some());
        self.attacks.extend(bodies::attacks(basis, sizes));
        self.attacks.push(Attack {
            judge: Judge::NoLeak {
                description: Arc::clone(&subject.description),
                index: basis.index,
            },
            ..basis.refused(
                Kind::ResponseLeak,
                "undeclared properties of the answer",
                basis.request.clone(),
            )
        });
    }

    /// What comes last of the attacks, since whoever is noticed there is not answered any more.
    fn series(&mut self, subject: &Subject, bases: &[Basis]) {
        let mut used = BTreeSet::new();
        let bases: Vec<_> = bases.iter().filter(|basis| basis.is_authorized()).collect();
        for attack in &self.valid {
            if let Message::Request(request) = &attack.message {
                used.extend(request.bearer().map(str::to_owned));
            }
        }
        let (mut walks, mut guesses) = (Vec::new(), Vec::new());
        for basis in bases {
            let Some(operation) = subject.description.operations.get(basis.index) else {
                continue;
            };
            for by in [By::One, By::Many] {
                if by == By::One || subject.sources != Sources::One {
                    guesses.extend(guesses::guessing(subject, operation, basis, by));
                }
            }
            walks.push((operation, self.walker(subject, basis, &used)));
        }
        // One walk shows it: what is counted is who walks, not where. Best by somebody who is not
        // missed afterwards.
        walks.sort_by_key(|(_, (spared, _))| *spared);
        let walk = |by| {
            let mut walks = walks.iter().filter(|(_, (_, basis))| {
                // Who is not known by name is another caller at each address.
                by == By::One || basis.bearer.is_some()
            });
            walks
                .find_map(|(operation, (_, basis))| guesses::walking(subject, operation, basis, by))
        };
        let found = match subject.sources {
            Sources::One => [None, walk(By::One)],
            Sources::Loopback { .. } | Sources::Named { .. } => [walk(By::Many), walk(By::One)],
        };
        for attack in found.into_iter().flatten() {
            if let Message::Request(request) = &attack.message {
                self.walkers.extend(request.bearer().map(str::to_owned));
            }
            self.series.push(attack);
        }
        // After the walks: of many doors some may be left out.
        self.series.extend(guesses);
    }

    /// Who walks on an operation; the number says how much that one is missed afterwards.
    fn walker(&self, subject: &Subject, basis: &Basis, used: &BTreeSet<String>) -> (u8, Basis) {
        let Some(scopes) = &basis.bearer else {
            return (1, basis.clone());
        };
        match subject.tokens.other_for_scopes(scopes, used) {
            Some(other) => (0, basis.by(other)),
            None => (2, basis.clone()),
        }
    }

    /// Valid requests that are sent again after the attacks: who reads, and who logs in. Not those of
    /// a caller who walked through ids meanwhile.
    fn again(&self, subject: &Subject, valid: &[Attack]) -> Vec<Attack> {
        let doors: BTreeSet<&str> = subject
            .description
            .operations
            .iter()
            .filter(|operation| {
                let door = door(&subject.description, operation);
                door.is_some_and(|door| door.kind == DoorKind::Login)
            })
            .map(|operation| &*operation.id)
            .collect();
        let most = AGAIN.min(subject.limit / 8);
        let repeated = valid.iter().filter(|attack| match &attack.message {
            Message::Request(request) => {
                let is_door = attack
                    .operation
                    .as_deref()
                    .is_some_and(|id| doors.contains(id));
                let walked = request
                    .bearer()
                    .is_some_and(|token| self.walkers.contains(token));
                (request.method == "GET" || is_door) && !walked
            }
            Message::Raw(_) => false,
        });
        let repeated = repeated.map(|attack| Attack {
            what: String::from("as declared, after the attacks"),
            ..attack.clone()
        });
        sample(repeated.collect(), most)
    }

    /// What is the parser's or the router's affair, and the same for every operation.
    fn everywhere(&mut self, subject: &Subject, bases: &[Basis]) {
        let without = bases
            .iter()
            .find(|basis| basis.is_authorized() && basis.request.body.is_none());
        let with = bases.iter().find(|basis| {
            basis.is_authorized()
                && basis
                    .request
                    .body
                    .as_ref()
                    .is_some_and(|body| !body.is_empty())
        });
        self.attacks.extend(framing::attacks(without, with));
        let credential = subject
            .tokens
            .genuine
            .first()
            .map(|credential| credential.token.as_str());
        let base = valid::base(subject, subject.description.operations.first());
        self.attacks
            .extend(paths::undeclared(&subject.description, &base, credential));
        if let Some(open) = without.or(with) {
            self.attacks.extend(paths::tricks(open, &base, credential));
            self.attacks.extend(headers::spoofs(open));
            self.attacks.extend(headers::sizes(open));
        }
    }

    /// What was not tried for want of something.
    fn not_tried(&self, subject: &Subject) -> Vec<String> {
        let mut not_tried = Vec::new();
        if self.without_token > 0 {
            not_tried.push(format!(
                "{} beyond authentication: no token that fits was given (--token env:NAME)",
                operations(self.without_token)
            ));
        }
        for scheme in &self.other_schemes {
            not_tried.push(format!(
                "operations behind the security scheme `{scheme}`: only bearer tokens can be tried"
            ));
        }
        if !self.without_example.is_empty() {
            let shown: Vec<&str> = self
                .without_example
                .iter()
                .take(5)
                .map(String::as_str)
                .collect();
            not_tried.push(format!(
                "{} for which no valid request could be made: {}{}",
                operations(self.without_example.len()),
                shown.join(", "),
                if self.without_example.len() > shown.len() {
                    ", …"
                } else {
                    ""
                }
            ));
        }
        if self.scopes_demanded && !self.scopes_tried {
            not_tried.push(String::from(
                "missing scopes: every token that was given has all of them",
            ));
        }
        let has = |kind: Kind| self.attacks.iter().any(|attack| attack.kind == kind);
        if has(Kind::TokenMissing) && !has(Kind::TokenExpired) {
            not_tried.push(String::from(
                "tokens that the issuer signed and that expired (--expired-token env:NAME)",
            ));
        }
        not_tried.push(String::from(
            "API6, API7, API10, and of API1 all but ids in a row: a description does not say whose an object is, how often a flow may run, where a URL may lead, or what other APIs may answer",
        ));
        if subject.sources == Sources::One && !self.series.is_empty() {
            not_tried.push(String::from(
                "passwords, accounts and ids tried from many addresses: only one is at hand. A target on IPv4's loopback can be reached from many, and one that names this machine in `trusted_proxies` believes it others",
            ));
        }
        not_tried
    }

    fn finish(mut self, subject: &Subject) -> Plan {
        let mut not_tried = self.not_tried(subject);
        let (all_valid, all_attacks) = (self.valid.len(), self.attacks.len());
        let mut valid = sample(std::mem::take(&mut self.valid), (subject.limit / 2).max(1));
        valid.sort_by_key(order);
        let again = self.again(subject, &valid);
        let room = subject.limit.saturating_sub(valid.len() + again.len());
        let mut series = self.series;
        series.truncate(SERIES.min(room / 4));
        let attacks = sample(self.attacks, room - series.len());
        let left_out = all_valid + all_attacks - valid.len() - attacks.len();
        if left_out > 0 {
            let total = all_valid + all_attacks;
            not_tried.push(format!(
                "{left_out} of {total} requests, evenly left out (--limit)"
            ));
        }
        let count = valid.len();
        valid.extend(attacks);
        valid.extend(series);
        let repeated = again.len();
        valid.extend(again);
        Plan {
            operations: subject.description.operations.len(),
            all: valid.into(),
            valid: count,
            again: repeated,
            not_tried,
        }
    }
}

fn operations(number: usize) -> String {
    format!("{number} operation{}", if number == 1 { "" } else { "s" })
}

/// What deletes comes last, so that there is something to read before.
fn order(attack: &Attack) -> u8 {
    let method = match &attack.message {
        Message::Request(request) => request.method.as_str(),
        Message::Raw(_) => "",
    };
    match method {
        "GET" | "HEAD" | "OPTIONS" => 0,
        "DELETE" => 2,
        _ => 1,
    }
}

/// Every so-manieth: each kind and each operation stays represented, as far as that is possible.
fn sample(attacks: Vec<Attack>, limit: usize) -> Vec<Attack> {
    let total = attacks.len();
    if total <= limit {
        return attacks;
    }
    attacks
        .into_iter()
        .enumerate()
        .filter(|(index, _)| (index + 1) * limit / total > index * limit / total)
        .map(|(_, attack)| attack)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attack::{Request, tokens::Credential};

    fn attacks(number: usize) -> Vec<Attack> {
        let attack = |n: usize| Attack {
            kind: Kind::PathUndeclared,
            operation: None,
            what: n.to_string(),
            message: Message::Request(Request::new("GET", "/")),
            judge: Judge::Refused,
        };
        (0..number).map(attack).collect()
    }

    #[test]
    fn a_sample_is_even_and_no_larger_than_asked() {
        let whats = |attacks: Vec<Attack>| -> Vec<String> {
            attacks.into_iter().map(|attack| attack.what).collect()
        };
        assert_eq!(whats(sample(attacks(3), 3)), ["0", "1", "2"]);
        assert_eq!(whats(sample(attacks(9), 3)), ["2", "5", "8"]);
        assert_eq!(sample(attacks(1_000), 7).len(), 7);
        assert!(sample(attacks(5), 0).is_empty());
    }

    const DOOR: &str = r##"openapi: 3.1.0
info: { title: Door, version: "1" }
components:
  securitySchemes: { token: { type: http, scheme: bearer } }
paths:
  /login:
    post:
      operationId: login
      security: []
      requestBody:
        required: true
        content:
          application/json:
            schema:
              type: object
              required: [email, password]
              properties:
                email: { type: string, format: email, examples: [ann@example.com] }
                password: { type: string, examples: [wonderland] }
      responses: { "204": { description: in } }
  /things/{id}:
    get:
      operationId: getThing
      security: [{ token: [] }]
      parameters: [{ name: id, in: path, required: true, schema: { type: integer, examples: [1] } }]
      responses: { "204": { description: there } }
"##;

    fn door(sources: Sources, drawn: u32) -> Plan {
        let named = |name: &str| Credential {
            name: name.to_owned(),
            token: format!("opaque-{name}"),
        };
        let mut subject = Subject {
            sources,
            drawn,
            ..Subject::sample(DOOR)
        };
        subject.tokens.genuine = vec![named("ann"), named("bob")];
        plan(&subject)
    }

    fn series(plan: &Plan) -> Vec<(Kind, By, &[Request])> {
        let each = plan.all.iter().filter_map(|attack| match &attack.judge {
            Judge::Slowed { series, by } => Some((attack.kind, *by, series.as_slice())),
            Judge::Refused | Judge::NoEffect { .. } | Judge::NoLeak { .. } | Judge::Answered => {
                None
            }
        });
        each.collect()
    }

    #[test]
    fn many_addresses_are_used_where_they_are_and_missed_where_not() {
        let missed = |plan: &Plan| plan.not_tried.join(" ").contains("only one is at hand");
        let one = door(Sources::One, 7);
        assert!(missed(&one));
        assert!(series(&one).iter().all(|(_, by, _)| *by == By::One));
        let many = door(Sources::Loopback { first: 7 }, 7);
        assert!(!missed(&many));
        for kind in [Kind::ObjectWalked, Kind::LoginGuessed, Kind::LoginStuffed] {
            for by in [By::One, By::Many] {
                let found = series(&many);
                assert!(
                    found.iter().any(|one| (one.0, one.1) == (kind, by)),
                    "{kind:?} {by:?}"
                );
            }
        }
    }

    #[test]
    fn nobody_is_missed_after_the_attacks() {
        let many = door(Sources::Loopback { first: 7 }, 7);
        let text = |request: &Request| String::from_utf8(request.encode("a")).unwrap();
        for (kind, _, series) in series(&many) {
            for request in series {
                let text = text(request);
                if kind == Kind::ObjectWalked {
                    assert!(text.contains("opaque-bob"), "{text}");
                } else {
                    assert!(text.contains("nobody") && !text.contains("ann@"), "{text}");
                }
            }
        }
        let last = &many.all[many.all.len() - many.again..];
        let operations: Vec<_> = last
            .iter()
            .filter_map(|one| one.operation.as_deref())
            .collect();
        assert_eq!(operations, ["getThing", "login"]);
        // Other accounts the next time.
        let other = door(Sources::Loopback { first: 8 }, 8);
        let accounts = |plan: &Plan| -> BTreeSet<String> {
            let guesses = series(plan)
                .into_iter()
                .filter(|one| one.0 != Kind::ObjectWalked);
            guesses.flat_map(|one| one.2.iter().map(text)).collect()
        };
        assert!(accounts(&many).is_disjoint(&accounts(&other)));
    }
}
