//! Nearest wins: an operation over its tags, over its API, over `defaults`; at each level the
//! configuration over the description's `x-fortress`.

use fortress_model::{
    Bounds, Diagnostic, Mode,
    config::{
        self, Api, Config, Cookies, Enumeration, LimitFault, LimitRule, LoginDefence, NetworkRules,
        Priority, RequestUndeclared, Require, ResponseUndeclared, Settings, Spanned, WafSettings,
    },
};
use fortress_spec::{ApiDescription, Operation};

/// What holds for an operation, everything said.
#[derive(Debug)]
pub(crate) struct Effective {
    pub(crate) mode: Mode,
    pub(crate) public: Option<Spanned<bool>>,
    pub(crate) bounds: Bounds,
    pub(crate) requests: RequestUndeclared,
    pub(crate) cookies: Cookies,
    pub(crate) responses: ResponseUndeclared,
    pub(crate) require: Require,
    pub(crate) waf: WafSettings,
    pub(crate) networks: NetworkRules,
    pub(crate) priority: Priority,
    pub(crate) limits: Vec<Spanned<LimitRule>>,
    pub(crate) limits_fault: LimitFault,
    pub(crate) login: Option<Spanned<LoginDefence>>,
    pub(crate) enumeration: Option<Enumeration>,
    /// The place in `layers` of what the limits stand in.
    limits_layer: usize,
    /// Where they were written. Limits of one name count together where this is the same.
    pub(crate) limits_place: String,
}

impl Effective {
    /// Applies layers, the nearest last. Maps merge, lists replace.
    pub(crate) fn of(layers: &[&Settings]) -> Self {
        let mut effective = Self {
            mode: Mode::default(),
            public: None,
            bounds: Bounds::default(),
            requests: RequestUndeclared::default(),
            cookies: Cookies::default(),
            responses: ResponseUndeclared::default(),
            require: Require::default(),
            waf: WafSettings::default(),
            networks: NetworkRules::default(),
            priority: Priority::default(),
            limits: Vec::new(),
            limits_fault: LimitFault::default(),
            login: None,
            enumeration: None,
            limits_layer: 0,
            limits_place: String::new(),
        };
        for (index, layer) in layers.iter().enumerate() {
            effective.apply(layer);
            if layer.limits.is_some() {
                effective.limits_layer = index;
            }
        }
        effective
    }

    /// What holds for all of an API that has no description, or that its description lacks.
    pub(crate) fn of_api(defaults: &Settings, api: &Api) -> Self {
        let mut effective = Self::of(&[defaults, &api.settings]);
        effective.limits_place = match effective.limits_layer {
            0 => "defaults".to_owned(),
            _ => format!("apis.{}", api.name.value),
        };
        effective
    }

    fn apply(&mut self, layer: &Settings) {
        layer.bounds.apply(&mut self.bounds);
        self.waf.apply(&layer.waf);
        self.networks.apply(&layer.networks);
        self.priority = layer.priority.unwrap_or(self.priority);
        self.mode = layer.mode.unwrap_or(self.mode);
        self.requests = layer.requests_undeclared.unwrap_or(self.requests);
        self.cookies = layer.cookies.unwrap_or(self.cookies);
        self.responses = layer.responses_undeclared.unwrap_or(self.responses);
        self.limits_fault = layer.limits_fault.unwrap_or(self.limits_fault);
        if let Some(limits) = &layer.limits {
            self.limits.clone_from(limits);
        }
        if layer.login.is_some() {
            self.login.clone_from(&layer.login);
        }
        self.enumeration = layer.enumeration.or(self.enumeration);
        if layer.public.is_some() {
            self.public.clone_from(&layer.public);
        }
        self.require.overlay(&layer.require);
    }
}

/// The bounds of the gateway as a whole.
pub(super) fn bounds(defaults: &Settings) -> Bounds {
    let mut bounds = Bounds::default();
    defaults.bounds.apply(&mut bounds);
    bounds
}

/// All that is said about an API's operations.
pub(super) struct Layers<'a> {
    defaults: &'a Settings,
    api: &'a Api,
    /// `x-fortress` of the document.
    document: Settings,
    /// For each entry of `operations`, which operations it means.
    selected: Vec<(Vec<usize>, &'a Settings)>,
}

impl<'a> Layers<'a> {
    pub(super) fn of(
        config: &'a Config,
        api: &'a Api,
        description: &ApiDescription,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Self {
        let document = match &description.extension {
            None => Settings::default(),
            Some(node) => {
                let (settings, found) = config::settings(node);
                diagnostics.extend(found);
                if let Some(public) = &settings.public {
                    let message = "`public` of the whole document opens every operation at once";
                    let help = "mark the operations one by one";
                    diagnostics.push(Diagnostic::error(public.span, message).help(help));
                }
                settings
            }
        };
        // Tags first: an operation's own entry is nearer.
        let (tags, operations): (Vec<_>, Vec<_>) = api
            .operations
            .iter()
            .partition(|(selector, _)| selector.value.starts_with("tag:"));
        let selected = tags
            .into_iter()
            .chain(operations)
            .map(|(selector, settings)| (select(selector, description, diagnostics), settings))
            .collect();
        Self {
            defaults: &config.defaults,
            api,
            document,
            selected,
        }
    }

    pub(super) fn effective(
        &self,
        operation: &Operation,
        index: usize,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Effective {
        let described: Vec<Settings> = operation
            .extension
            .iter()
            .map(|node| {
                let (settings, found) = config::settings(node);
                diagnostics.extend(
                    found
                        .into_iter()
                        .filter(|found| !diagnostics.contains(found))
                        .collect::<Vec<_>>(),
                );
                settings
            })
            .collect();
        let api = self.api.name.value.as_str();
        let chosen = |tag: bool| {
            self.selected
                .iter()
                .zip(self.order())
                .filter(move |((indices, _), is_tag)| *is_tag == tag && indices.contains(&index))
                .map(|((_, settings), _)| *settings)
        };
        let mut layers = vec![self.defaults, &self.document, &self.api.settings];
        layers.extend(chosen(true));
        let own = layers.len();
        layers.extend(&described);
        layers.extend(chosen(false));
        let mut effective = Effective::of(&layers);
        effective.limits_place = match effective.limits_layer {
            0 => "defaults".to_owned(),
            1 | 2 => format!("apis.{api}"),
            tag if tag < own => format!("apis.{api}.{}", self.tag(index, tag - 3)),
            _ => format!("apis.{api}.operations.{}", operation.id),
        };
        effective
    }

    /// The selector of an operation's tag, by its place among those that the configuration names.
    fn tag(&self, index: usize, place: usize) -> &str {
        let tags = self.api.operations.iter().map(|(selector, _)| selector);
        let tags = tags.filter(|selector| selector.value.starts_with("tag:"));
        let with_operations = tags.zip(&self.selected);
        let mut chosen = with_operations.filter(|(_, (indices, _))| indices.contains(&index));
        chosen
            .nth(place)
            .map_or("", |(selector, _)| selector.value.as_str())
    }

    /// Which of `selected` are tags: those that stand first.
    fn order(&self) -> impl Iterator<Item = bool> {
        let tags = self
            .api
            .operations
            .iter()
            .filter(|(selector, _)| selector.value.starts_with("tag:"))
            .count();
        (0..self.selected.len()).map(move |at| at < tags)
    }
}

/// The operations that a key of `operations` means.
fn select(
    selector: &Spanned<String>,
    description: &ApiDescription,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<usize> {
    let matching = |matches: &dyn Fn(&Operation) -> bool| -> Vec<usize> {
        let operations = description.operations.iter().enumerate();
        operations
            .filter(|(_, operation)| matches(operation))
            .map(|(index, _)| index)
            .collect()
    };
    let text = selector.value.as_str();
    let (found, known): (_, Vec<String>) = if let Some(tag) = text.strip_prefix("tag:") {
        let known = description
            .operations
            .iter()
            .flat_map(|operation| &operation.tags);
        let known = known.map(|tag| format!("tag:{tag}")).collect();
        (
            matching(&|operation| operation.tags.iter().any(|known| known == tag)),
            known,
        )
    } else if let Some((method, template)) = text.split_once(' ') {
        let template = template.trim();
        let known = |operation: &Operation| format!("{} {}", operation.method, operation.template);
        let found = matching(&|operation| {
            operation.method.as_str() == method && operation.template.text == template
        });
        (found, description.operations.iter().map(known).collect())
    } else {
        let known = description
            .operations
            .iter()
            .map(|operation| operation.id.to_string())
            .collect();
        (matching(&|operation| *operation.id == *text), known)
    };
    if found.is_empty() {
        let message = format!("the description has no operation `{text}`");
        let mut diagnostic = Diagnostic::error(selector.span, message);
        let suggestion =
            fortress_model::diagnostic::did_you_mean(text, known.iter().map(String::as_str));
        diagnostic = match suggestion {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None => {
                diagnostic.help("name it by operationId, by `METHOD /template`, or as `tag:NAME`")
            }
        };
        diagnostics.push(diagnostic);
    }
    found
}
