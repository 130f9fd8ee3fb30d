//! What directives do to rules, in their order: defaults, removals, changed targets and actions.

use std::borrow::Cow;

use regex::bytes::{Regex, RegexBuilder};

use super::{super::program::Settings, Compiler};
use crate::seclang::{
    Action, DirectiveKind, Link, Phase, Piece, Ruleset, Selection, Setting, Target, Template,
};

/// Rules as they are when all directives have had their effect.
#[derive(Debug, Default)]
pub(super) struct Drafts<'a> {
    pub(super) rules: Vec<Draft<'a>>,
    /// Markers with the index of their directive.
    pub(super) markers: Vec<(usize, &'a str)>,
    pub(super) settings: Settings,
}

/// A rule.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    /// The index of its directive.
    pub(super) at: usize,
    pub(super) id: u64,
    pub(super) phase: Phase,
    /// Those of the directive, unless others have changed them.
    pub(super) links: Cow<'a, [Link]>,
    /// The defaults that held where it stands.
    pub(super) defaults: &'a [Action],
    pub(super) skip_after: Option<String>,
}

impl Draft<'_> {
    /// The texts of its tags, as far as they have no macros.
    fn tags(&self) -> impl Iterator<Item = &[u8]> {
        let first = self.links.first();
        let actions = first.into_iter().flat_map(|link| &link.actions);
        actions.filter_map(|action| {
            if let Action::Tag(tag) = action {
                tag.literal()
            } else {
                None
            }
        })
    }

    fn message(&self) -> Option<&Template> {
        let mut actions = self.links.first()?.actions.iter();
        actions.find_map(|action| {
            if let Action::Message(message) = action {
                Some(message)
            } else {
                None
            }
        })
    }

    /// Whether a selection means the rule. `Tag` is a regular expression if `by_regex`, else a part
    /// of the tag.
    pub(super) fn is_meant(&self, meant: &Meant) -> bool {
        match meant {
            Meant::Ids(ranges) => ranges
                .iter()
                .any(|(low, high)| (*low..=*high).contains(&self.id)),
            Meant::TagRegex(regex) => self.tags().any(|tag| regex.is_match(tag)),
            Meant::TagPart(part) => self
                .tags()
                .any(|tag| memchr::memmem::find(tag, part.as_bytes()).is_some()),
            Meant::Message(regex) => {
                let message = self.message().map(plain);
                message.is_some_and(|message| regex.is_match(&message))
            }
        }
    }
}

/// The text of a template, its macros as they were written or nearly so.
fn plain(template: &Template) -> Vec<u8> {
    let mut text = Vec::new();
    for piece in &template.0 {
        if let Piece::Text(piece) = piece {
            text.extend_from_slice(piece);
        }
    }
    text
}

/// A selection, ready to compare.
#[derive(Debug)]
pub(super) enum Meant {
    Ids(Vec<(u64, u64)>),
    TagRegex(Regex),
    TagPart(String),
    Message(Regex),
}

/// How a selection by tag compares.
#[derive(Clone, Copy, Debug)]
pub(super) enum ByTag {
    Regex,
    Part,
}

impl Meant {
    pub(super) fn new(selection: &Selection, by_tag: ByTag) -> Result<Self, String> {
        let regex = |text: &str| {
            RegexBuilder::new(text)
                .unicode(false)
                .build()
                .map_err(|_| format!("`{text}` is no regular expression"))
        };
        Ok(match (selection, by_tag) {
            (Selection::Ids(ranges), _) => Self::Ids(ranges.clone()),
            (Selection::Tag(text), ByTag::Regex) => Self::TagRegex(regex(text)?),
            (Selection::Tag(text), ByTag::Part) => Self::TagPart(text.clone()),
            (Selection::Message(text), _) => Self::Message(regex(text)?),
        })
    }
}

/// Follows the directives.
pub(super) fn drafts<'a>(ruleset: &'a Ruleset, compiler: &mut Compiler) -> Drafts<'a> {
    let mut drafts = Drafts::default();
    let mut defaults: [&[Action]; 5] = Default::default();
    for (at, directive) in ruleset.directives().iter().enumerate() {
        match &directive.kind {
            DirectiveKind::Rule(rule) => {
                let draft = draft(at, &rule.links, &defaults);
                drafts.rules.push(draft);
            }
            DirectiveKind::Marker(name) => drafts.markers.push((at, name)),
            DirectiveKind::DefaultAction { phase, actions } => {
                if let Some(held) = defaults.get_mut(super::index_of(*phase)) {
                    *held = actions;
                }
            }
            DirectiveKind::Component(name) => {
                drafts.settings.components.push(name.as_str().into());
            }
            DirectiveKind::Engine(mode) => drafts.settings.engine = *mode,
            DirectiveKind::Remove(_)
            | DirectiveKind::UpdateTargets { .. }
            | DirectiveKind::UpdateActions { .. } => {
                if let Err(message) = change(&mut drafts.rules, &directive.kind) {
                    compiler.wrong(&directive.place, message);
                }
            }
            DirectiveKind::Set(setting) => drafts.settings.set(setting),
        }
    }
    drafts
}

fn draft<'a>(at: usize, links: &'a [Link], defaults: &[&'a [Action]; 5]) -> Draft<'a> {
    let (mut id, mut phase, mut skip_after) = (0, Phase::RequestBody, None);
    for action in links.iter().flat_map(|link| &link.actions) {
        if let Action::Id(written) = action {
            id = *written;
        } else if let Action::Phase(written) = action {
            phase = *written;
        } else if let Action::SkipAfter(marker) = action {
            skip_after = Some(marker.clone());
        }
    }
    Draft {
        at,
        id,
        phase,
        links: Cow::Borrowed(links),
        defaults: defaults
            .get(super::index_of(phase))
            .copied()
            .unwrap_or_default(),
        skip_after,
    }
}

/// Directives that change rules change those before them, as in ModSecurity.
fn change(rules: &mut Vec<Draft<'_>>, kind: &DirectiveKind) -> Result<(), String> {
    match kind {
        DirectiveKind::Remove(selection) => {
            let meant = Meant::new(selection, ByTag::Regex)?;
            rules.retain(|rule| !rule.is_meant(&meant));
        }
        DirectiveKind::UpdateTargets {
            rules: selection,
            targets,
            replaced,
        } => {
            let meant = Meant::new(selection, ByTag::Part)?;
            for rule in rules.iter_mut().filter(|rule| rule.is_meant(&meant)) {
                update_targets(rule, targets, replaced);
            }
        }
        DirectiveKind::UpdateActions { id, link, actions } => {
            for rule in rules.iter_mut().filter(|rule| rule.id == *id) {
                let Some(link) = rule.links.to_mut().get_mut(*link) else {
                    return Err(format!("the rule {id} has no link {link}"));
                };
                link.actions.extend(actions.iter().cloned());
            }
        }
        DirectiveKind::Rule(_)
        | DirectiveKind::Marker(_)
        | DirectiveKind::DefaultAction { .. }
        | DirectiveKind::Component(_)
        | DirectiveKind::Engine(_)
        | DirectiveKind::Set(_) => {}
    }
    Ok(())
}

fn update_targets(rule: &mut Draft<'_>, targets: &[Target], replaced: &[Target]) {
    let Some(first) = rule.links.to_mut().first_mut() else {
        return;
    };
    if !replaced.is_empty() {
        let before = first.targets.len();
        first.targets.retain(|target| !replaced.contains(target));
        if first.targets.len() == before {
            return;
        }
    }
    first.targets.extend(targets.iter().cloned());
}

impl Settings {
    fn set(&mut self, setting: &Setting) {
        let wide = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        match setting {
            Setting::RequestBodyAccess(on) => self.request_body = *on,
            Setting::ResponseBodyAccess(on) => self.response_body = *on,
            Setting::RequestBodyLimit(bytes) => self.request_limit = *bytes,
            Setting::RequestBodyNoFilesLimit(bytes) => self.no_files_limit = Some(*bytes),
            Setting::RequestBodyLimitReject(reject) => self.request_reject = *reject,
            Setting::ResponseBodyLimit(bytes) => self.response_limit = *bytes,
            Setting::ResponseBodyLimitReject(reject) => self.response_reject = *reject,
            Setting::ResponseBodyTypes(types) if types.is_empty() => self.response_types.clear(),
            Setting::ResponseBodyTypes(types) => {
                let types = types.iter().map(|kind| kind.to_ascii_lowercase());
                self.response_types.extend(types);
            }
            Setting::UploadFileLimit(count) => self.files = wide(*count),
            Setting::ArgumentsLimit(count) => self.arguments = wide(*count),
            Setting::JsonDepthLimit(depth) => self.depth = wide(*depth),
            Setting::CollectionTimeout(seconds) => self.collection_timeout = i64::from(*seconds),
            Setting::ArgumentSeparator(byte) => self.separator = *byte,
            // Version 1 cookies (`$Version`) are read as version 0: names begin with `$` then, and
            // are looked at like any other.
            Setting::CookieFormat(_) | Setting::UnicodeMap(_) | Setting::WithoutEffect(_) => {}
        }
    }
}
