//! From a configuration and its descriptions to an immutable [`Gateway`].
//!
//! All mistakes are reported at once. What compiled can be put in force without failing: files,
//! certificates and keys have been read by then. Deliberately not here: living things (connections,
//! key caches), which are kept elsewhere by name and survive a reload.

mod access;
mod identity;
mod networks;
mod settings;
mod tls;
mod told;
mod waf;

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use fortress_auth::StepUp;
use fortress_limits::budget::Budget;
use fortress_model::{
    Bounds, Diagnostic, Mode, Severity, Sources,
    config::{Api, Config, Hsts, Network, Priority, Require, ResponseUndeclared, Serve, Spanned},
};
use fortress_spec::parameter::{Location, Style};
use fortress_spec::{ApiDescription, Disk, Operation, Policy};
use http::{HeaderName, HeaderValue};

pub(crate) use access::{Access, Alternative, CredentialPlan, Place};
pub use access::{Exposed, Exposure};
pub(crate) use identity::{
    ApiKeyPlan, BasicPlan, CertificatePlan, CredentialKind, DpopPlan, IdentityPlan,
    IntrospectionPlan, SIGNED_REQUESTS, SignaturePlan, TokenPlan, WebhookPlan,
};
pub(crate) use settings::Effective;
pub(crate) use tls::{machine_roots, roots_of, server as server_tls};
pub(crate) use told::Voices;
pub(crate) use waf::{Engines, RuleSets};

use crate::{
    browser_login::Logins,
    client_certificate::ClientTrust,
    defence::{self, LoginPlan, ObjectsPlan},
    keys::KeyRing,
    limits::{self, LimitsPlan},
    listen::ListenerPlan,
    networks::{List, NetworksPlan},
    request::OVERRIDES,
    route::{Conflict, Router},
    rules::Rules,
    told::Telling,
    upstream::UpstreamPlan,
    well_known::{Documents, Metadata},
};

/// One immutable compilation of the configuration. A request takes it once and keeps it to its end,
/// so that no request ever sees two configurations.
#[derive(Debug)]
pub struct Gateway {
    /// Counts the configurations that were in force.
    pub revision: u64,
    pub(crate) router: Router,
    /// What APIs that are not enforced let pass although no description declares it.
    pub(crate) unlisted: Router,
    pub(crate) listeners: Vec<Arc<ListenerPlan>>,
    pub(crate) bounds: Bounds,
    /// What all bodies may take together.
    pub(crate) memory: Arc<Budget>,
    trusted: Vec<Network>,
    hsts: HashMap<Arc<str>, HeaderValue>,
    certificate_field: Option<HeaderName>,
    files: Vec<PathBuf>,
    /// Those of operations, without what no description declares.
    pub(crate) plans: Vec<Arc<OperationPlan>>,
    engines: Engines,
    /// What speaks to upstreams.
    pub(crate) voices: Voices,
    /// What the gateway says of its APIs.
    pub(crate) documents: Documents,
    /// How browsers log in.
    pub(crate) logins: Logins,
}

impl Gateway {
    pub(crate) fn trusted_proxies(&self) -> &[Network] {
        &self.trusted
    }

    /// Whose certificates a listener trusts, if it asks clients for one.
    pub(crate) fn clients(&self, listener: &str) -> Option<&Arc<ClientTrust>> {
        self.listener(listener)?.clients()
    }

    /// A listener by its name.
    pub(crate) fn listener(&self, name: &str) -> Option<&Arc<ListenerPlan>> {
        self.listeners.iter().find(|plan| &*plan.name == name)
    }

    /// The field in which trusted proxies pass certificates on.
    pub(crate) fn certificate_field(&self) -> Option<&HeaderName> {
        self.certificate_field.as_ref()
    }

    pub(crate) fn hsts(&self, listener: &str) -> Option<&HeaderValue> {
        self.hsts.get(listener)
    }

    /// Every file that this was made from.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }
}

/// An API, compiled.
#[derive(Debug)]
pub(crate) struct ApiPlan {
    pub(crate) name: Arc<str>,
    pub(crate) description: Option<Arc<ApiDescription>>,
    pub(crate) upstream: UpstreamPlan,
    pub(crate) telling: Telling,
    /// Where OAuth clients find what they need to know of it.
    pub(crate) metadata: Option<Metadata>,
}

/// Everything that is to be done for an operation.
#[derive(Debug)]
pub(crate) struct OperationPlan {
    pub(crate) api: Arc<ApiPlan>,
    pub(crate) id: Arc<str>,
    /// Its place in the description.
    index: Option<usize>,
    /// What it is called beside its id.
    names: Vec<Box<str>>,
    pub(crate) mode: Mode,
    pub(crate) bounds: Bounds,
    pub(crate) policy: Policy,
    pub(crate) responses: ResponseUndeclared,
    pub(crate) access: Access,
    pub(crate) require: Require,
    /// Where its requests may show a credential, beside `Authorization`.
    pub(crate) credentials: Vec<Place>,
    /// How, and how lately, the person must have logged in.
    pub(crate) step_up: Option<StepUp>,
    /// A path parameter is written with `;`.
    pub(crate) semicolons: bool,
    pub(crate) declared_overrides: Vec<HeaderName>,
    /// Parts of its answers may be asked for, since they are not held anyway.
    pub(crate) ranges: bool,
    /// The rules of `waf`; `None` where they are off.
    pub(crate) rules: Option<Rules>,
    /// How much callers may do; `None` where no limit holds.
    pub(crate) limits: Option<LimitsPlan>,
    /// The lists that limits speak of.
    pub(crate) limit_networks: Box<[Arc<List>]>,
    /// From where clients may come.
    pub(crate) networks: NetworksPlan,
    /// What is refused last or first when the upstream has too much to do.
    pub(crate) priority: Priority,
    /// It lets people in.
    pub(crate) login: Option<LoginPlan>,
    /// Its objects are not to be walked through.
    pub(crate) objects: Option<ObjectsPlan>,
}

impl OperationPlan {
    /// A plan of which nothing but the name matters.
    #[cfg(test)]
    pub(crate) fn named(id: &str) -> Arc<Self> {
        let api = Arc::new(ApiPlan {
            name: "test".into(),
            description: None,
            upstream: UpstreamPlan::default(),
            telling: Telling::default(),
            metadata: None,
        });
        let effective = Effective::of(&[]);
        Arc::new(operation_plan(
            &api,
            id.into(),
            None,
            effective,
            Access::Public,
        ))
    }

    /// The operation in its description; `None` where the API has none.
    pub(crate) fn operation(&self) -> Option<(&ApiDescription, &Operation)> {
        let description = self.api.description.as_deref()?;
        Some((description, description.operations.get(self.index?)?))
    }

    /// What a key may call it by: its id, `METHOD /template`, and `tag:NAME` for each tag.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&*self.id).chain(self.names.iter().map(|name| &**name))
    }

    /// Scopes that a client may be told to get.
    pub(crate) fn demanded_scopes(&self) -> Vec<&str> {
        let alternatives: &[_] = match &self.access {
            Access::Public => &[],
            Access::AnyOf(alternatives) => alternatives,
        };
        let described = alternatives
            .iter()
            .flat_map(|alternative| &alternative.credentials)
            .flat_map(|credential| &credential.scopes);
        let mut scopes: Vec<&str> = described
            .chain(self.require.scopes())
            .map(String::as_str)
            .collect();
        scopes.sort_unstable();
        scopes.dedup();
        scopes
    }

    pub(crate) fn allows_undeclared_responses(&self) -> bool {
        self.responses == ResponseUndeclared::Allow
    }
}

/// What compiling gives: a gateway exactly if no diagnostic is an error.
#[derive(Debug)]
pub struct Compiled {
    /// To be put in force.
    pub gateway: Option<Gateway>,
    /// Everything that is wrong or open.
    pub diagnostics: Vec<Diagnostic>,
    /// Every operation and who may call it, also where something is wrong.
    pub exposures: Vec<Exposure>,
    /// The descriptions that loaded, by the API's name.
    pub descriptions: Vec<(String, Arc<ApiDescription>)>,
}

impl Compiled {
    /// What a key may call the operations of the descriptions by: their ids, `METHOD /template`, and
    /// `tag:NAME`.
    pub fn operation_names(&self) -> impl Iterator<Item = Box<str>> {
        let descriptions = self.descriptions.iter();
        let operations = descriptions.flat_map(|(_, description)| &description.operations);
        operations.flat_map(|operation| {
            let mut names = names(operation);
            names.push((*operation.id).into());
            names
        })
    }
}

/// Compiles. Reads files, changes nothing.
pub fn compile(config: &Config, sources: &mut Sources, keys: &KeyRing, revision: u64) -> Compiled {
    compile_after(None, config, sources, keys, revision)
}

/// As [`compile`], while another configuration is in force: of that, what did not change is kept.
pub(crate) fn compile_after(
    before: Option<&Gateway>,
    config: &Config,
    sources: &mut Sources,
    keys: &KeyRing,
    revision: u64,
) -> Compiled {
    let none = Engines::new();
    let engines = before.map_or(&none, |gateway| &gateway.engines);
    let mut compiler = Compiler {
        config,
        sources,
        keys,
        diagnostics: Vec::new(),
        exposures: Vec::new(),
        descriptions: Vec::new(),
        router: Router::default(),
        unlisted: Router::default(),
        files: config.files.clone(),
        plans: Vec::new(),
        rule_sets: waf::RuleSets::new(&config.directory, engines),
        voicing: told::Voicing::new(config, before),
        documents: Documents::default(),
        networks: Vec::new(),
        own_pages: Vec::new(),
    };
    compiler.networks = networks::lists(config, keys, &mut compiler.diagnostics);
    let identities = identity::identities(config, keys, &mut compiler.diagnostics);
    let logins = identity::logins(&identities);
    compiler.own_pages.extend(logins.pages());
    for api in &config.apis {
        compiler.api(api, &identities);
    }
    let (listeners, hsts) = compiler.listeners();
    compiler.files.extend(compiler.rule_sets.files());
    let bounds = settings::bounds(&config.defaults);
    let certificate_field = identity::certificate_field(config, &mut compiler.diagnostics);
    let counts = keys.known_counts();
    let limits = compiler
        .plans
        .iter()
        .filter_map(|plan| plan.limits.as_ref());
    let mut plans = compiler.plans.iter();
    let counts_logins = plans.any(|plan| plan.login.is_some() || plan.objects.is_some());
    let users = (limits, counts_logins);
    limits::advise(config, counts.as_deref(), users, &mut compiler.diagnostics);
    let sound = compiler
        .diagnostics
        .iter()
        .all(|diagnostic| diagnostic.severity != Severity::Error);
    let gateway = sound.then(|| Gateway {
        revision,
        router: std::mem::take(&mut compiler.router),
        unlisted: std::mem::take(&mut compiler.unlisted),
        listeners,
        memory: keys.loads().memory(bounds.body_memory),
        bounds,
        trusted: config.trusted_proxies.clone(),
        hsts,
        certificate_field,
        files: std::mem::take(&mut compiler.files),
        plans: std::mem::take(&mut compiler.plans),
        documents: std::mem::take(&mut compiler.documents),
        logins,
        engines: compiler.rule_sets.into_engines(),
        voices: compiler.voicing.into_voices(),
    });
    Compiled {
        gateway,
        diagnostics: compiler.diagnostics,
        exposures: compiler.exposures,
        descriptions: compiler.descriptions,
    }
}

struct Compiler<'a> {
    config: &'a Config,
    sources: &'a mut Sources,
    keys: &'a KeyRing,
    diagnostics: Vec<Diagnostic>,
    exposures: Vec<Exposure>,
    descriptions: Vec<(String, Arc<ApiDescription>)>,
    router: Router,
    unlisted: Router,
    files: Vec<PathBuf>,
    plans: Vec<Arc<OperationPlan>>,
    rule_sets: waf::RuleSets,
    voicing: told::Voicing<'a>,
    documents: Documents,
    networks: Vec<Arc<List>>,
    /// Paths at which the gateway answers by itself.
    own_pages: Vec<String>,
}

impl Compiler<'_> {
    fn api(&mut self, api: &Api, identities: &[Arc<IdentityPlan>]) {
        let mut upstream = tls::upstream(&api.upstream, &mut self.diagnostics).unwrap_or_default();
        let concurrency = api.upstream.concurrency.as_ref();
        upstream.load =
            concurrency.map(|bounds| self.keys.loads().upstream(&api.name.value, bounds));
        let telling = self.voicing.telling(api, &mut self.diagnostics);
        let description = match &api.spec {
            None => None,
            Some(path) => match self.describe(path) {
                Some(description) => {
                    self.descriptions
                        .push((api.name.value.clone(), Arc::clone(&description)));
                    Some(description)
                }
                None => return,
            },
        };
        let resource = resource(api, description.as_deref());
        let plan = Arc::new(ApiPlan {
            name: api.name.value.as_str().into(),
            description: description.clone(),
            upstream,
            telling,
            metadata: resource.as_deref().and_then(Metadata::of),
        });
        let before = self.plans.len();
        match description {
            None => self.undescribed(api, &plan, identities),
            Some(description) => self.operations(api, &plan, &description, identities),
        }
        if let (Some(metadata), Some(resource)) = (&plan.metadata, &resource) {
            let plans = self.plans.get(before..).unwrap_or_default();
            self.documents.add(metadata, resource, plans);
        }
    }

    fn describe(&mut self, path: &Spanned<PathBuf>) -> Option<Arc<ApiDescription>> {
        let loaded = fortress_spec::load(&path.value, &Disk, self.sources);
        // What has no place in the description has one here: a file that is not there.
        self.diagnostics
            .extend(loaded.diagnostics.into_iter().map(|mut found| {
                found.span = found.span.or(Some(path.span));
                found
            }));
        let description = loaded.description?;
        self.files.extend(description.files.iter().cloned());
        Some(Arc::new(description))
    }

    /// `spec: none`: any path and method below the base path.
    fn undescribed(&mut self, api: &Api, plan: &Arc<ApiPlan>, identities: &[Arc<IdentityPlan>]) {
        let effective = Effective::of_api(&self.config.defaults, api);
        self.certificates_can_come(api, &effective);
        let rules = self.rules_of(&effective);
        let limits = self.limits_of(&effective, (&api.name.value, "any"));
        let networks = self.networks_of(&effective);
        let access = access::undescribed(api, &effective, identities, &mut self.diagnostics);
        access::lost(api, access.as_ref(), &mut self.diagnostics);
        let exposure = Exposure::undescribed(&api.name.value, &access, effective.mode);
        self.exposures.push(exposure);
        let access = access.unwrap_or(Access::Public);
        let credentials = told::credentials(&access, None, None);
        let mut any = operation_plan(plan, "any".into(), None, effective, access);
        any.credentials = credentials;
        any.rules = rules;
        any.limits = limits;
        (any.networks, any.limit_networks) = networks;
        let plan = Arc::new(any);
        self.plans.push(Arc::clone(&plan));
        let base_path = api
            .base_path
            .as_ref()
            .map_or("", |path| path.value.as_str());
        for host in hosts(api) {
            if let Err(conflict) = self.router.add_any(host, base_path, &plan) {
                self.conflict(api, "the whole API", &conflict);
            }
        }
    }

    fn operations(
        &mut self,
        api: &Api,
        plan: &Arc<ApiPlan>,
        description: &Arc<ApiDescription>,
        identities: &[Arc<IdentityPlan>],
    ) {
        let layers = settings::Layers::of(self.config, api, description, &mut self.diagnostics);
        let schemes = access::schemes(
            self.config,
            api,
            description,
            identities,
            &mut self.diagnostics,
        );
        for (index, operation) in description.operations.iter().enumerate() {
            let effective = layers.effective(operation, index, &mut self.diagnostics);
            self.certificates_can_come(api, &effective);
            let rules = self.rules_of(&effective);
            let limits = self.limits_of(&effective, (&api.name.value, &operation.id));
            let networks = self.networks_of(&effective);
            let login = self.login_of(&effective, &api.name.value, (description, operation));
            let objects = self.objects_of(&effective, operation);
            let access =
                access::described(api, operation, &effective, &schemes, &mut self.diagnostics);
            let exposure = Exposure::new(&api.name.value, &operation.id, &access, effective.mode);
            self.exposures.push(exposure);
            let id = Arc::clone(&operation.id);
            let access = access.unwrap_or(Access::Public);
            let credentials = told::credentials(&access, Some(&schemes), Some(operation));
            let mut operation_plan = operation_plan(plan, id, Some(index), effective, access);
            operation_plan.credentials = credentials;
            operation_plan.rules = rules;
            operation_plan.limits = limits;
            (operation_plan.networks, operation_plan.limit_networks) = networks;
            operation_plan.login = login;
            operation_plan.objects = objects;
            operation_plan.names = names(operation);
            operation_plan.semicolons = has_semicolons(operation);
            operation_plan.ranges = any_streams(operation);
            operation_plan.declared_overrides = declared_overrides(operation);
            let operation_plan = Arc::new(operation_plan);
            self.route(api, description, operation, &operation_plan);
            self.plans.push(operation_plan);
        }
        self.unlisted(api, plan, description, &schemes);
    }

    /// What demands a certificate where none can come would refuse everybody.
    fn certificates_can_come(&mut self, api: &Api, effective: &Effective) {
        if effective.require.certificate != Some(true) || identity::any_could_come(self.config) {
            return;
        }
        let message = format!(
            "operations of API `{}` demand a client certificate, and no listener asks for one",
            api.name.value
        );
        let help = "add `tls.clients: { ca: file:… }` to a listener";
        access::once(
            Diagnostic::error(api.name.span, message).help(help),
            &mut self.diagnostics,
        );
    }

    /// The rules that run for an operation. Where none do, none are read.
    fn rules_of(&mut self, effective: &Effective) -> Option<Rules> {
        let mode = effective.mode.weaker(effective.waf.mode);
        if mode == Mode::Off {
            return None;
        }
        let engine = self
            .rule_sets
            .of(&effective.waf, self.sources, &mut self.diagnostics)?;
        Some(Rules {
            engine,
            mode,
            schema_aware: effective.waf.schema_aware,
            budget: effective.bounds.inspection,
        })
    }

    fn limits_of(
        &mut self,
        effective: &Effective,
        (api, operation): (&str, &str),
    ) -> Option<LimitsPlan> {
        let counts = || self.keys.counts(self.config);
        let place = (self.config, api, operation);
        LimitsPlan::compile(counts, effective, place, &mut self.diagnostics)
    }

    fn login_of(
        &mut self,
        effective: &Effective,
        api: &str,
        (description, operation): (&ApiDescription, &Operation),
    ) -> Option<LoginPlan> {
        if let Some(login) = &effective.login {
            let found = defence::unnamed(login, description, operation);
            self.diagnostics.extend(found);
        }
        let known = (self.keys, self.config);
        LoginPlan::compile(known, effective, api, &mut self.diagnostics)
    }

    /// An operation without a parameter in its path has one object, and nobody walks through it.
    fn objects_of(&mut self, effective: &Effective, operation: &Operation) -> Option<ObjectsPlan> {
        let mut parameters = operation.parameters.iter();
        if !parameters.any(|parameter| parameter.location == Location::Path) {
            return None;
        }
        let known = (self.keys, self.config);
        ObjectsPlan::compile(known, effective, &mut self.diagnostics)
    }

    /// From where clients may come, and the lists that its limits speak of.
    fn networks_of(&mut self, effective: &Effective) -> (NetworksPlan, Box<[Arc<List>]>) {
        let plan = networks::plan(&self.networks, &effective.networks, &mut self.diagnostics);
        let limits = effective.limits.iter();
        let names = limits.flat_map(|limit| limit.value.networks.iter());
        let lists = networks::named(&self.networks, names, &mut self.diagnostics);
        (plan, lists)
    }

    /// Under `monitor` and `off` what no description declares goes to the upstream too: who tries
    /// Fortress out must not lose a request to it.
    fn unlisted(
        &mut self,
        api: &Api,
        plan: &Arc<ApiPlan>,
        description: &ApiDescription,
        schemes: &access::Schemes,
    ) {
        let effective = Effective::of_api(&self.config.defaults, api);
        if effective.mode == Mode::Enforce {
            return;
        }
        let rules = self.rules_of(&effective);
        let limits = self.limits_of(&effective, (&api.name.value, "undeclared"));
        let networks = self.networks_of(&effective);
        let mut undeclared =
            operation_plan(plan, "undeclared".into(), None, effective, Access::Public);
        undeclared.rules = rules;
        undeclared.credentials = told::credentials(&Access::Public, Some(schemes), None);
        undeclared.limits = limits;
        (undeclared.networks, undeclared.limit_networks) = networks;
        let plan = Arc::new(undeclared);
        let base_paths = base_paths(api, &description.base_paths);
        for host in hosts(api) {
            for base_path in base_paths {
                // Where two APIs share a base path, the first one takes what neither declares.
                if self.unlisted.add_any(host, base_path, &plan).is_err() {
                    tracing::debug!(
                        api = plan.api.name.as_ref(),
                        "another API has this base path"
                    );
                }
            }
        }
    }

    fn route(
        &mut self,
        api: &Api,
        description: &ApiDescription,
        operation: &Operation,
        plan: &Arc<OperationPlan>,
    ) {
        let base_paths = base_paths(api, description.base_paths_of(operation));
        for base_path in base_paths {
            let path = format!("{base_path}{}", operation.template);
            if self.own_pages.contains(&path) {
                let message = format!(
                    "operation `{}` of API `{}` is at `{path}`, where the gateway answers by itself",
                    operation.id, api.name.value
                );
                let help = "give the login other pages: `path`, `callback` or `logout` of `identity.NAME.login`";
                self.diagnostics
                    .push(Diagnostic::error(api.name.span, message).help(help));
            }
        }
        for host in hosts(api) {
            for base_path in base_paths {
                let added = self.router.add(
                    host,
                    base_path,
                    &operation.template,
                    &operation.method,
                    plan,
                );
                if let Err(conflict) = added {
                    self.conflict(api, &operation.id, &conflict);
                }
            }
        }
    }

    fn conflict(&mut self, api: &Api, operation: &str, conflict: &Conflict) {
        let message = format!(
            "operation `{operation}` of API `{}` has the same host, path and method as `{}` of API `{}`",
            api.name.value, conflict.earlier.id, conflict.earlier.api.name,
        );
        let help = format!(
            "give one of them a `base_path` or `hosts`: apis.{}.base_path: /…",
            api.name.value
        );
        self.diagnostics
            .push(Diagnostic::error(api.name.span, message).help(help));
    }

    fn listeners(&mut self) -> (Vec<Arc<ListenerPlan>>, HashMap<Arc<str>, HeaderValue>) {
        let mut listeners = Vec::new();
        let mut hsts = HashMap::new();
        for (index, listener) in self.config.listen.iter().enumerate() {
            let address = listener.address.value;
            // Several listeners may ask for a free port of the same address.
            let name: Arc<str> = match address.port() {
                0 => format!("{address}#{index}").into(),
                _ => address.to_string().into(),
            };
            if let Serve::Apis {
                hsts: Some(header), ..
            } = &listener.serve
            {
                hsts.insert(Arc::clone(&name), hsts_value(header));
            }
            let networks =
                networks::plan(&self.networks, &listener.networks, &mut self.diagnostics);
            if let Some(mut plan) =
                ListenerPlan::compile(name, listener, &self.config.listen, &mut self.diagnostics)
            {
                plan.networks = networks;
                listeners.push(Arc::new(plan));
            }
        }
        (listeners, hsts)
    }
}

fn operation_plan(
    api: &Arc<ApiPlan>,
    id: Arc<str>,
    index: Option<usize>,
    effective: Effective,
    access: Access,
) -> OperationPlan {
    let bounds = effective.bounds;
    OperationPlan {
        api: Arc::clone(api),
        id,
        index,
        names: Vec::new(),
        mode: effective.mode,
        policy: Policy {
            undeclared: effective.requests,
            cookies: effective.cookies,
            depth: bounds.depth,
            properties: bounds.properties,
            items: bounds.items,
            parts: bounds.parts,
        },
        bounds,
        // What is not enforced changes nothing: it is found, recorded, and passes.
        responses: match (effective.mode, effective.responses) {
            (Mode::Monitor | Mode::Off, ResponseUndeclared::Drop) => ResponseUndeclared::Refuse,
            (Mode::Enforce | Mode::Monitor | Mode::Off, responses) => responses,
        },
        access,
        rules: None,
        limits: None,
        limit_networks: Box::default(),
        networks: NetworksPlan::default(),
        priority: effective.priority,
        login: None,
        objects: None,
        step_up: step_up(&effective.require),
        require: effective.require,
        credentials: Vec::new(),
        semicolons: false,
        declared_overrides: Vec::new(),
        ranges: index.is_none(),
    }
}

/// What an operation is called beside its id.
fn names(operation: &Operation) -> Vec<Box<str>> {
    let tags = operation.tags.iter().map(|tag| format!("tag:{tag}").into());
    let place = format!("{} {}", operation.method, operation.template);
    std::iter::once(place.into()).chain(tags).collect()
}

/// What `require` says of how the person must have logged in. The configuration has no `acr` that
/// could not stand in a challenge.
fn step_up(require: &Require) -> Option<StepUp> {
    /// As for `exp`: clocks that are kept by NTP differ by less.
    const LEEWAY: std::time::Duration = std::time::Duration::from_secs(30);
    let acr = require.acr.clone().unwrap_or_default();
    if acr.is_empty() && require.max_age.is_none() {
        return None;
    }
    StepUp::new(acr, require.max_age, LEEWAY).ok()
}

/// Whether a path parameter is written as `;name=value` (RFC 6570, section 3.2.7).
fn has_semicolons(operation: &Operation) -> bool {
    operation
        .parameters
        .iter()
        .any(|parameter| parameter.location == Location::Path && parameter.style == Style::Matrix)
}

/// Whether a good answer may be one that is not held.
fn any_streams(operation: &Operation) -> bool {
    let good = operation
        .responses
        .statuses()
        .into_iter()
        .filter(|status| (200..300).contains(status));
    good.chain([200]).any(|status| {
        let media_types = operation.responses.media_types(status).unwrap_or_default();
        media_types
            .iter()
            .any(|media_type| operation.response_streams(status, Some(media_type.name.as_bytes())))
    })
}

fn declared_overrides(operation: &Operation) -> Vec<HeaderName> {
    operation
        .parameters
        .iter()
        .filter(|parameter| parameter.location == Location::Header)
        .filter_map(|parameter| HeaderName::from_bytes(parameter.name.as_bytes()).ok())
        .filter(|name| OVERRIDES.contains(&name.as_str()))
        .collect()
}

/// Where an API's paths begin: as configured, else as described.
fn base_paths<'a>(api: &'a Api, described: &'a [String]) -> &'a [String] {
    match &api.base_path {
        Some(path) => std::slice::from_ref(&path.value),
        None => described,
    }
}

/// The URL of an API as clients know it: as configured, else by its first host.
fn resource(api: &Api, description: Option<&ApiDescription>) -> Option<String> {
    if let Some(resource) = &api.resource {
        return Some(resource.value.clone());
    }
    let host = api.hosts.iter().find(|host| !host.starts_with('*'))?;
    let described = description.map_or(&[][..], |description| &description.base_paths);
    let base_path = base_paths(api, described).first();
    let base_path = base_path.map_or("", String::as_str);
    Some(format!("https://{host}{base_path}"))
}

/// The hosts of an API; `None` stands for any.
fn hosts(api: &Api) -> Vec<Option<&str>> {
    if api.hosts.is_empty() {
        vec![None]
    } else {
        api.hosts.iter().map(|host| Some(host.as_str())).collect()
    }
}

fn hsts_value(hsts: &Hsts) -> HeaderValue {
    let subdomains = if hsts.include_subdomains {
        "; includeSubDomains"
    } else {
        ""
    };
    let text = format!("max-age={}{subdomains}", hsts.max_age.as_secs());
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("max-age=31536000"))
}
