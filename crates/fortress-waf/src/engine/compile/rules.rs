//! Rules with every name resolved: targets, macros, keys of `TX`, header fields, effects.

use super::{
    super::{
        program::{
            ChangePlan, ControlPlan, Disruption, Effect, LinkPlan, PiecePlan, ROOT, RulePlan,
            SelectorPlan, SetPlace, Skip, TargetPlan, TemplatePlan,
        },
        verdict::RefusalKind,
    },
    Compiler,
    drafts::{ByTag, Draft, Meant},
};
use crate::{
    bits::Bits,
    builtin,
    operator::number,
    pattern::Pattern,
    seclang::{
        Action, Change, Control, Link, Piece, Place, Selector, SetVar, Target, Template,
        Transformation, Variable,
    },
};

/// What `block` and the like come to if nobody says a status.
const DENIED: u16 = 403;

/// What the actions of a rule's first link say of the rule.
#[derive(Debug)]
struct Said {
    message: TemplatePlan,
    data: TemplatePlan,
    tags: Vec<TemplatePlan>,
    severity: Option<u8>,
    version: String,
    revision: String,
    is_logged: bool,
    disruption: Option<Disruption>,
    is_block: bool,
    status: u16,
    skip: Skip,
    kind: RefusalKind,
    is_attack: bool,
}

impl Compiler {
    /// A rule. `all` are those that its `ctl`s can mean.
    pub(super) fn rule(&mut self, draft: &Draft<'_>, all: &[Draft<'_>]) -> RulePlan {
        let links: Vec<LinkPlan> = draft
            .links
            .iter()
            .map(|link| self.link(link, draft, all))
            .collect();
        let nothing = TemplatePlan::Fixed(self.constants.add(b""), 0);
        let mut said = Said {
            message: nothing.clone(),
            data: nothing,
            tags: Vec::new(),
            severity: None,
            version: String::new(),
            revision: String::new(),
            is_logged: true,
            disruption: None,
            is_block: false,
            status: DENIED,
            skip: Skip::Nothing,
            kind: RefusalKind::Rule,
            is_attack: false,
        };
        for action in draft.defaults {
            self.say(&mut said, action);
        }
        let by_default = said.disruption.take();
        let own = draft.links.first().map_or(&[][..], |link| &link.actions);
        for action in own {
            self.say(&mut said, action);
        }
        let disruption = match said.disruption {
            Some(own) if !said.is_block => own,
            _ => by_default.unwrap_or(Disruption::Pass),
        };
        if said.kind == RefusalKind::Rule && self.asks_score(&links) {
            said.kind = RefusalKind::Score;
        }
        RulePlan {
            id: draft.id,
            phase: draft.phase,
            links: links.into(),
            message: said.message,
            data: said.data,
            tags: said.tags.into(),
            severity: said.severity,
            version: said.version,
            revision: said.revision,
            is_logged: said.is_logged,
            disruption,
            status: said.status,
            skip: said.skip,
            kind: said.kind,
            is_attack: said.is_attack,
            place: draft
                .links
                .first()
                .map_or_else(Place::default, |link| link.place.clone()),
        }
    }

    /// Whether a rule compares an anomaly score, as those of the Core Rule Set 3 do, which have no
    /// tag for it.
    fn asks_score(&self, links: &[LinkPlan]) -> bool {
        let targets = links.iter().flat_map(|link| &link.targets);
        let mut slots = targets.filter_map(|target| match target.selector {
            SelectorPlan::Slot(slot) => Some(self.slots.name(slot)),
            SelectorPlan::All
            | SelectorPlan::Key(_)
            | SelectorPlan::Field(_)
            | SelectorPlan::Keys(..)
            | SelectorPlan::Regex(_) => None,
        });
        slots.any(|name| memchr::memmem::find(name, b"anomaly_score").is_some())
    }

    fn say(&mut self, said: &mut Said, action: &Action) {
        match action {
            Action::Message(message) => said.message = self.template(message),
            Action::LogData(data) => said.data = self.template(data),
            Action::Tag(tag) => {
                if let Some(text) = tag.literal() {
                    if text == builtin::EVALUATION.as_bytes() {
                        said.kind = RefusalKind::Score;
                    } else if text == builtin::UNREADABLE.as_bytes() {
                        said.kind = RefusalKind::Body;
                    }
                    said.is_attack |= text.starts_with(b"attack-");
                }
                let tag = self.template(tag);
                said.tags.push(tag);
            }
            Action::Version(version) => said.version.clone_from(version),
            Action::Revision(revision) => said.revision.clone_from(revision),
            Action::Severity(severity) => said.severity = Some(*severity),
            Action::Log => said.is_logged = true,
            Action::NoLog => said.is_logged = false,
            Action::Pass => (said.disruption, said.is_block) = (Some(Disruption::Pass), false),
            Action::Deny | Action::Drop => {
                (said.disruption, said.is_block) = (Some(Disruption::Refuse), false);
            }
            Action::Allow(scope) => {
                (said.disruption, said.is_block) = (Some(Disruption::Allow(*scope)), false);
            }
            Action::Redirect(location) => {
                let location = self.template(location);
                (said.disruption, said.is_block) = (Some(Disruption::Redirect(location)), false);
            }
            Action::Block => said.is_block = true,
            Action::Status(status) => said.status = *status,
            Action::Skip(count) => said.skip = Skip::Count(*count),
            // Of the whole rule (`drafts`), of each link (below), or without effect here.
            Action::SkipAfter(_)
            | Action::Id(_)
            | Action::Phase(_)
            | Action::Accuracy(_)
            | Action::Maturity(_)
            | Action::Transform(_)
            | Action::TransformNone
            | Action::Capture
            | Action::MultiMatch
            | Action::Chain
            | Action::SetVar(_)
            | Action::ExpireVar { .. }
            | Action::InitCollection { .. }
            | Action::OpenCollection { .. }
            | Action::SetEnv { .. }
            | Action::Control(_)
            | Action::AuditLog
            | Action::NoAuditLog
            | Action::WithoutEffect(_) => {}
        }
    }

    fn link(&mut self, link: &Link, draft: &Draft<'_>, all: &[Draft<'_>]) -> LinkPlan {
        let op = self.op(link);
        let (mut targets, mut excluded) = (Vec::new(), Vec::new());
        for target in &link.targets {
            let plan = self.target(target, &link.place);
            if target.excluded {
                excluded.push(plan);
            } else {
                targets.push(plan);
            }
        }
        let mut chain: Vec<Transformation> = Vec::new();
        let (mut captures, mut multi) = (false, false);
        let (mut effects, mut controls) = (Vec::new(), Vec::new());
        for action in draft.defaults.iter().chain(&link.actions) {
            if let Action::Transform(transformation) = action {
                chain.push(*transformation);
            } else if let Action::TransformNone = action {
                chain.clear();
            } else if let Action::Control(control) = action {
                controls.extend(self.control(control, all, &link.place));
            }
            captures |= matches!(action, Action::Capture);
            multi |= matches!(action, Action::MultiMatch);
            effects.extend(self.effect(action));
        }
        let node = self.chains.node(&chain);
        let nodes = if multi {
            let prefixes = (0..=chain.len()).map(|length| chain.get(..length).unwrap_or_default());
            let mut nodes: Vec<_> = prefixes.map(|prefix| self.chains.node(prefix)).collect();
            nodes.dedup();
            nodes
        } else if node == ROOT {
            vec![ROOT]
        } else {
            vec![node]
        };
        let changes_case = |step: &Transformation| {
            matches!(
                step,
                Transformation::Lowercase | Transformation::Uppercase | Transformation::CmdLine
            )
        };
        LinkPlan {
            keeps_case: !chain.iter().any(changes_case),
            targets: targets.into(),
            excluded: excluded.into(),
            node,
            nodes: nodes.into(),
            captures,
            negated: link.test.negated,
            operator: link.test.operator,
            op,
            effects: effects.into(),
            controls: controls.into(),
        }
    }

    /// A target with its selector resolved.
    pub(super) fn target(&mut self, target: &Target, place: &Place) -> TargetPlan {
        let selector = match &target.selector {
            Selector::All => SelectorPlan::All,
            Selector::Key(key) => {
                let key = key.to_ascii_lowercase().into_bytes();
                let is_field = matches!(
                    target.variable,
                    Variable::RequestHeaders | Variable::ResponseHeaders
                );
                if target.variable == Variable::Tx {
                    SelectorPlan::Slot(self.slots.add(&key))
                } else if is_field && super::super::program::FieldNames::can_hold(&key) {
                    SelectorPlan::Field(self.fields.add(&key))
                } else {
                    SelectorPlan::Key(key.into())
                }
            }
            Selector::Regex(text) => {
                // As ModSecurity 2 does: names are compared without regard to case.
                match Pattern::parse(format!("(?i){text}").as_bytes()) {
                    Ok(pattern) => SelectorPlan::Regex(pattern.regex),
                    Err(error) => {
                        let word = target.variable.word();
                        self.wrong(place, format!("the selector of `{word}`: {error}"));
                        SelectorPlan::All
                    }
                }
            }
        };
        TargetPlan {
            variable: target.variable,
            selector,
            counted: target.counted,
        }
    }

    /// A template with its macros resolved.
    pub(super) fn template(&mut self, template: &Template) -> TemplatePlan {
        if let Some(text) = template.literal() {
            return TemplatePlan::Fixed(self.constants.add(text), number(text));
        }
        let pieces: Vec<PiecePlan> = template.0.iter().map(|piece| self.piece(piece)).collect();
        match pieces.as_slice() {
            [PiecePlan::Slot(slot)] => TemplatePlan::Slot(*slot),
            _ => TemplatePlan::Pieces(pieces.into()),
        }
    }

    fn piece(&mut self, piece: &Piece) -> PiecePlan {
        match piece {
            Piece::Text(text) => PiecePlan::Text(self.constants.add(text)),
            Piece::Macro {
                variable: Variable::Tx,
                key: Some(key),
            } => PiecePlan::Slot(self.slots.add(key.as_bytes())),
            Piece::Macro { variable, key } => {
                let key = key.as_ref().map(|key| key.as_bytes().into());
                PiecePlan::Variable(*variable, key)
            }
        }
    }

    fn effect(&mut self, action: &Action) -> Option<Effect> {
        if let Action::SetVar(set) = action {
            return Some(self.set(set));
        }
        if let Action::ExpireVar {
            variable,
            key,
            seconds,
        } = action
        {
            return Some(Effect::Expire {
                variable: *variable,
                key: self.template(key),
                seconds: self.template(seconds),
            });
        }
        if let Action::InitCollection { collection, key }
        | Action::OpenCollection { collection, key } = action
        {
            return Some(Effect::Open {
                variable: *collection,
                key: self.template(key),
            });
        }
        if let Action::SetEnv { name, value } = action {
            return Some(Effect::Environment {
                name: name.as_bytes().into(),
                value: self.template(value),
            });
        }
        None
    }

    fn set(&mut self, set: &SetVar) -> Effect {
        let is_score = set.collection == Variable::Tx && set.key.literal().is_some_and(is_score);
        let place = match (set.collection, set.key.literal()) {
            (Variable::Tx, Some(key)) => SetPlace::Slot(self.slots.add(key)),
            (Variable::Tx, None) => SetPlace::Tx(self.template(&set.key)),
            (Variable::Env, _) => SetPlace::Environment(self.template(&set.key)),
            (kept, _) => SetPlace::Kept(kept, self.template(&set.key)),
        };
        let change = match &set.change {
            Change::Set(value) => ChangePlan::Set(self.template(value)),
            Change::Add(value) => ChangePlan::Add(self.template(value)),
            Change::Subtract(value) => ChangePlan::Subtract(self.template(value)),
            Change::Unset => ChangePlan::Unset,
        };
        Effect::Set {
            place,
            change,
            is_score,
        }
    }

    fn control(&mut self, control: &Control, all: &[Draft<'_>], place: &Place) -> Option<u32> {
        let plan = match control {
            Control::RuleEngine(mode) => ControlPlan::Engine(*mode),
            Control::RuleRemove(selection) => {
                ControlPlan::Remove(self.selected(selection, all, place))
            }
            Control::RuleRemoveTarget { rules, target } => {
                let selected = self.selected(rules, all, place);
                ControlPlan::RemoveTarget(selected, self.target(target, place))
            }
            Control::RequestBodyProcessor(processor) => ControlPlan::Processor(*processor),
            Control::RequestBodyAccess(on) => ControlPlan::RequestBodyAccess(*on),
            Control::ResponseBodyAccess(on) => ControlPlan::ResponseBodyAccess(*on),
            Control::ForceRequestBodyVariable(on) => ControlPlan::ForceRequestBody(*on),
            Control::WithoutEffect(_) => return None,
        };
        self.controls.push(plan);
        u32::try_from(self.controls.len() - 1).ok()
    }

    fn selected(
        &mut self,
        selection: &crate::seclang::Selection,
        all: &[Draft<'_>],
        place: &Place,
    ) -> Bits {
        let mut selected = Bits::new(all.len());
        match Meant::new(selection, ByTag::Regex) {
            Ok(meant) => {
                for (index, _) in all
                    .iter()
                    .enumerate()
                    .filter(|(_, rule)| rule.is_meant(&meant))
                {
                    selected.set(index);
                }
            }
            Err(message) => self.wrong(place, format!("`ctl`: {message}")),
        }
        selected
    }
}

/// Whether a key of `TX` is a score that one rule after the other adds to.
fn is_score(key: &[u8]) -> bool {
    let of = |side: &[u8]| {
        key.strip_prefix(side)
            .is_some_and(|rest| rest.starts_with(b"_anomaly_score_pl"))
    };
    // The second is what CRS 3 calls it.
    of(b"inbound") || of(b"outbound") || key.starts_with(b"anomaly_score_pl")
}
