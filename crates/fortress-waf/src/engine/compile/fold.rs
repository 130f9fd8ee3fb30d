//! Rules that are decided before any request comes: which paranoia level holds, which settings have
//! defaults. Their effects become the initial state, and they are gone, with all that they skip.
//!
//! The phases are walked once in the order in which they run, with what is known of each key of
//! `TX`: it has this value, it is not set, or it depends on the request. A rule that looks at nothing
//! but known keys and constants is decided here, provided that no rule before it can remove it
//! (`ctl`), that it is not logged, and that nobody may have jumped over it.

use super::{
    super::program::{
        CAPTURES, ChangePlan, ControlPlan, Disruption, Effect, LinkPlan, Op, PiecePlan, RulePlan,
        SelectorPlan, SetPlace, Skip, Step, TargetPlan, TemplatePlan, Val,
    },
    Compiler, value_of,
};
use crate::{bits::Bits, operator, seclang::Variable};

/// What is left of the program's beginning.
#[derive(Debug)]
pub(super) struct Folded {
    pub(super) initial: Vec<Val>,
    /// How many rules are gone.
    pub(super) rules: usize,
}

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Known {
    /// `Val::None` is a key that is not set.
    Is(Val),
    Unknown,
}

struct Folder<'a> {
    compiler: &'a Compiler,
    tx: Vec<Known>,
    initial: Vec<Val>,
    /// Keys that a rule that stays reads or writes: they cannot get their value before it runs.
    touched: Vec<bool>,
    /// What rules that stay may remove while the program runs: indices of controls.
    removals: Vec<u32>,
    /// Rules whose first link always matches and does nothing else, so that the next can come first.
    first_decided: Vec<u32>,
    /// Whether the transaction may have ended, or the engine be off, before a rule's turn.
    may_be_over: bool,
}

/// What becomes of a rule.
enum Fate {
    /// It is decided, and did all that it does.
    Gone,
    /// It is decided, and all that it does is to skip to this step.
    Skips(u32),
    /// It stays.
    Stays,
}

pub(super) fn fold(
    compiler: &Compiler,
    rules: &mut [RulePlan],
    phases: &mut [Vec<Step>; 5],
) -> Folded {
    let mut folder = Folder {
        compiler,
        tx: vec![Known::Is(Val::None); compiler.slots.len()],
        initial: vec![Val::None; compiler.slots.len()],
        touched: vec![false; compiler.slots.len()],
        removals: Vec::new(),
        first_decided: Vec::new(),
        may_be_over: false,
    };
    // Captures are written by rules that match, whichever they are.
    for slot in 0..CAPTURES {
        folder.touch(slot, Known::Unknown);
    }
    let mut gone = 0;
    for steps in phases.iter_mut() {
        let kept = folder.phase(rules, steps);
        gone += kept.iter().filter(|kept| !**kept).count();
        drop_steps(rules, steps, &kept);
    }
    let (initial, first_decided) = (folder.initial, folder.first_decided);
    for index in first_decided {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        if let Some(rule) = rules.get_mut(index) {
            let mut links = std::mem::take(&mut rule.links).into_vec();
            links.remove(0);
            rule.links = links.into();
        }
    }
    Folded {
        initial,
        rules: gone,
    }
}

/// Removes steps, and moves what skips to the steps behind them.
fn drop_steps(rules: &mut [RulePlan], steps: &mut Vec<Step>, kept: &[bool]) {
    let mut new = Vec::with_capacity(kept.len() + 1);
    let mut count = 0_u32;
    for kept in kept {
        new.push(count);
        count += u32::from(*kept);
    }
    new.push(count);
    for (step, _) in steps.iter().zip(kept).filter(|(_, kept)| **kept) {
        let index = usize::try_from(step.rule).unwrap_or(usize::MAX);
        if let Some(rule) = rules.get_mut(index)
            && let Skip::To(to) = rule.skip
        {
            let to = usize::try_from(to).unwrap_or(usize::MAX);
            rule.skip = Skip::To(new.get(to).copied().unwrap_or(count));
        }
    }
    let mut kept = kept.iter();
    steps.retain(|_| kept.next().copied().unwrap_or(true));
}

impl Folder<'_> {
    /// Walks a phase; says which steps stay.
    fn phase(&mut self, rules: &[RulePlan], steps: &[Step]) -> Vec<bool> {
        let mut kept = vec![true; steps.len()];
        // Steps up to here may be jumped over by a rule that stays.
        let mut uncertain = 0_usize;
        // `skip:N` counts rules, so nothing may go where it counts.
        let counts = |step: &Step| {
            rule_of(rules, step).is_some_and(|rule| matches!(rule.skip, Skip::Count(_)))
        };
        let has_counts = steps.iter().any(counts);
        let mut at = 0;
        while let Some(step) = steps.get(at) {
            let Some(rule) = rule_of(rules, step) else {
                break;
            };
            let certain = at >= uncertain && !has_counts;
            let fate = if has_counts {
                Fate::Stays
            } else {
                self.fate(rule, step.rule, certain)
            };
            match fate {
                Fate::Gone => mark(&mut kept, at..at + 1),
                Fate::Skips(to) => {
                    let to = usize::try_from(to).unwrap_or(usize::MAX).min(steps.len());
                    // A rule before this one may lead into the middle of what is skipped; then it
                    // cannot go.
                    let entered = steps.iter().take(at).zip(&kept).any(|(step, kept)| {
                        let skip = rule_of(rules, step).map(|rule| rule.skip);
                        matches!(skip, Some(Skip::To(target)) if *kept
                            && usize::try_from(target).is_ok_and(|target| target > at && target < to))
                    });
                    let skipped = steps.get(at..to).unwrap_or_default();
                    if !entered && self.go_together(step.rule, skipped) {
                        mark(&mut kept, at..to);
                        at = to;
                        continue;
                    }
                    self.stays(rule);
                }
                Fate::Stays => {
                    self.note_first(rule, step.rule);
                    self.stays(rule);
                    if let Skip::To(to) = rule.skip {
                        uncertain = uncertain.max(usize::try_from(to).unwrap_or(usize::MAX));
                    }
                }
            }
            at += 1;
        }
        kept
    }

    fn fate(&mut self, rule: &RulePlan, index: u32, certain: bool) -> Fate {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        match self.decide(rule) {
            None => return Fate::Stays,
            Some(false) => return Fate::Gone,
            Some(true) => {}
        }
        let does_more = rule.is_logged
            || !matches!(rule.disruption, Disruption::Pass)
            || rule.links.iter().any(|link| !link.controls.is_empty());
        if does_more {
            return Fate::Stays;
        }
        let is_removable = self.removals().any(|rules| rules.contains(index));
        match rule.skip {
            Skip::To(to) if only_skips(rule) => Fate::Skips(to),
            Skip::Nothing if certain && !is_removable && self.apply(rule) => Fate::Gone,
            Skip::Nothing | Skip::To(_) | Skip::Count(_) => Fate::Stays,
        }
    }

    /// The sets of rules that rules that stay may remove.
    fn removals(&self) -> impl Iterator<Item = &Bits> {
        let controls = self.removals.iter().filter_map(|control| {
            let index = usize::try_from(*control).ok()?;
            self.compiler.controls.get(index)
        });
        controls.filter_map(|control| match control {
            ControlPlan::Remove(rules) | ControlPlan::RemoveTarget(rules, _) => Some(rules),
            ControlPlan::Engine(_)
            | ControlPlan::Processor(_)
            | ControlPlan::RequestBodyAccess(_)
            | ControlPlan::ResponseBodyAccess(_)
            | ControlPlan::ForceRequestBody(_) => None,
        })
    }

    /// A chain that begins with a question whose answer is known begins with the next one.
    fn note_first(&mut self, rule: &RulePlan, index: u32) {
        let [first, rest @ ..] = &*rule.links else {
            return;
        };
        let looks_back = |target: &TargetPlan| {
            matches!(
                target.variable,
                Variable::MatchedVar
                    | Variable::MatchedVarName
                    | Variable::MatchedVars
                    | Variable::MatchedVarsNames
            )
        };
        let is_plain = first.effects.is_empty() && first.controls.is_empty();
        let is_seen = rest.iter().flat_map(|link| &link.targets).any(looks_back);
        if !rest.is_empty() && is_plain && !is_seen && self.link(first) == Some(true) {
            self.first_decided.push(index);
        }
    }

    /// Whether all that removes a rule that skips removes what it skips too: then these rules run
    /// in neither case.
    fn go_together(&self, rule: u32, skipped: &[Step]) -> bool {
        let has =
            |rules: &Bits, rule: u32| rules.contains(usize::try_from(rule).unwrap_or(usize::MAX));
        self.removals()
            .filter(|rules| has(rules, rule))
            .all(|rules| skipped.iter().all(|step| has(rules, step.rule)))
    }

    /// Whether the rule matches, if that is known: all links must be decided up to the first that
    /// does not match.
    fn decide(&self, rule: &RulePlan) -> Option<bool> {
        for link in &rule.links {
            if !self.link(link)? {
                return Some(false);
            }
        }
        Some(true)
    }

    fn link(&self, link: &LinkPlan) -> Option<bool> {
        if link.targets.is_empty() {
            return matches!(link.op, Op::Always).then_some(true);
        }
        let [target] = &*link.targets else {
            return None;
        };
        if !link.excluded.is_empty() || link.captures || link.nodes.len() > 1 {
            return None;
        }
        let value = self.target(target)?;
        if !self.is_unchanged(value, link) {
            return None;
        }
        if target.counted {
            let count = Val::Int(i64::from(value != Val::None));
            return Some(self.op(&link.op, count)? != link.negated);
        }
        if value == Val::None {
            return Some(false);
        }
        Some(self.op(&link.op, value)? != link.negated)
    }

    /// Whether the transformations of a link leave a value as it is.
    fn is_unchanged(&self, value: Val, link: &LinkPlan) -> bool {
        let bytes = self.bytes(value);
        let chain = self.compiler.chains.chain(link.node);
        chain
            .iter()
            .all(|step| !step.apply(&bytes, &mut Vec::new()))
    }

    fn target(&self, target: &TargetPlan) -> Option<Val> {
        if target.variable != Variable::Tx {
            return None;
        }
        let SelectorPlan::Slot(slot) = target.selector else {
            return None;
        };
        self.slot(slot)
    }

    fn slot(&self, slot: u32) -> Option<Val> {
        let index = usize::try_from(slot).ok()?;
        match self.tx.get(index)? {
            Known::Is(value) => Some(*value),
            Known::Unknown => None,
        }
    }

    fn op(&self, op: &Op, value: Val) -> Option<bool> {
        let compare = |argument: &TemplatePlan, by: fn(i64, i64) -> bool| {
            Some(by(
                self.number(value),
                self.number(self.template(argument)?),
            ))
        };
        match op {
            Op::Always => Some(true),
            Op::Never => Some(false),
            Op::Eq(argument) => compare(argument, |a, b| a == b),
            Op::Ge(argument) => compare(argument, |a, b| a >= b),
            Op::Gt(argument) => compare(argument, |a, b| a > b),
            Op::Le(argument) => compare(argument, |a, b| a <= b),
            Op::Lt(argument) => compare(argument, |a, b| a < b),
            Op::StrEq(argument) => {
                let argument = self.bytes(self.template(argument)?);
                Some(self.bytes(value) == argument)
            }
            Op::Rx(_)
            | Op::Pending(_)
            | Op::Backtracking(_)
            | Op::RxMacro(_)
            | Op::Pm(..)
            | Op::Contains(_)
            | Op::ContainsWord(_)
            | Op::BeginsWith(_)
            | Op::EndsWith(_)
            | Op::Within(_)
            | Op::IpMatch(_)
            | Op::ByteRange(_)
            | Op::UrlEncoding
            | Op::Utf8
            | Op::Sqli
            | Op::Xss
            | Op::Card(_)
            | Op::Ssn(_)
            | Op::Cpf(_)
            | Op::Svnr(_) => None,
        }
    }

    /// The value of a template, if it is one constant or one known key. (Two pieces would make a
    /// new constant; no rule set needs that.)
    fn template(&self, template: &TemplatePlan) -> Option<Val> {
        match template {
            TemplatePlan::Fixed(number, _) => {
                Some(value_of(self.compiler.constants.get(*number), *number))
            }
            // An unset key expands to nothing, which as a number is zero.
            TemplatePlan::Slot(slot) => self.slot(*slot).filter(|value| *value != Val::None),
            TemplatePlan::Pieces(pieces) => match &**pieces {
                [PiecePlan::Text(number)] => Some(Val::Const(*number)),
                _ => None,
            },
        }
    }

    fn number(&self, value: Val) -> i64 {
        match value {
            Val::Int(number) => number,
            Val::Const(number) => operator::number(self.compiler.constants.get(number)),
            Val::None | Val::Text(_) => 0,
        }
    }

    fn bytes(&self, value: Val) -> Vec<u8> {
        match value {
            Val::Int(number) => number.to_string().into_bytes(),
            Val::Const(number) => self.compiler.constants.get(number).to_vec(),
            Val::None | Val::Text(_) => Vec::new(),
        }
    }

    /// Makes the effects of a rule that has matched part of the initial state, if all of them are
    /// known, and nobody before it could tell.
    fn apply(&mut self, rule: &RulePlan) -> bool {
        let mut changes = Vec::new();
        for effect in rule.links.iter().flat_map(|link| &link.effects) {
            let Effect::Set {
                place: SetPlace::Slot(slot),
                change,
                ..
            } = effect
            else {
                return false;
            };
            let value = match change {
                ChangePlan::Set(template) => self.template(template),
                ChangePlan::Unset => Some(Val::None),
                ChangePlan::Add(_) | ChangePlan::Subtract(_) => None,
            };
            let touched = usize::try_from(*slot)
                .ok()
                .and_then(|slot| self.touched.get(slot));
            match (value, touched) {
                (Some(value), Some(false)) if !self.may_be_over => changes.push((*slot, value)),
                _ => return false,
            }
        }
        for (slot, value) in changes {
            let index = usize::try_from(slot).unwrap_or(usize::MAX);
            if let (Some(known), Some(initial)) =
                (self.tx.get_mut(index), self.initial.get_mut(index))
            {
                *known = Known::Is(value);
                *initial = value;
            }
        }
        true
    }

    fn touch(&mut self, slot: u32, known: Known) {
        let index = usize::try_from(slot).unwrap_or(usize::MAX);
        if let (Some(held), Some(touched)) = (self.tx.get_mut(index), self.touched.get_mut(index)) {
            *touched = true;
            if known == Known::Unknown {
                *held = known;
            }
        }
    }

    /// A rule reads a key, whose value stays as known as it was.
    fn read(&mut self, slot: u32) {
        let index = usize::try_from(slot).unwrap_or(usize::MAX);
        if let Some(touched) = self.touched.get_mut(index) {
            *touched = true;
        }
    }

    fn read_template(&mut self, template: &TemplatePlan) {
        match template {
            TemplatePlan::Fixed(..) => {}
            TemplatePlan::Slot(slot) => self.read(*slot),
            TemplatePlan::Pieces(pieces) => {
                for piece in pieces {
                    match piece {
                        PiecePlan::Text(_) => {}
                        PiecePlan::Slot(slot) => self.read(*slot),
                        PiecePlan::Variable(Variable::Tx, _) => self.touched.fill(true),
                        PiecePlan::Variable(..) => {}
                    }
                }
            }
        }
    }

    /// A rule stays: what it reads must not change before it, and what it writes is not known.
    fn stays(&mut self, rule: &RulePlan) {
        self.may_be_over |= !matches!(rule.disruption, Disruption::Pass);
        self.read_template(&rule.message);
        self.read_template(&rule.data);
        for tag in &rule.tags {
            self.read_template(tag);
        }
        for link in &rule.links {
            for target in link
                .targets
                .iter()
                .filter(|target| target.variable == Variable::Tx)
            {
                match target.selector {
                    SelectorPlan::Slot(slot) => self.read(slot),
                    SelectorPlan::All
                    | SelectorPlan::Key(_)
                    | SelectorPlan::Field(_)
                    | SelectorPlan::Keys(..)
                    | SelectorPlan::Regex(_) => self.touched.fill(true),
                }
            }
            if let Some(argument) = argument_of(&link.op) {
                self.read_template(argument);
            }
            for effect in &link.effects {
                self.effect_stays(effect);
            }
            for control in &link.controls {
                let index = usize::try_from(*control).unwrap_or(usize::MAX);
                match self.compiler.controls.get(index) {
                    Some(ControlPlan::Engine(_)) => self.may_be_over = true,
                    Some(ControlPlan::Remove(_) | ControlPlan::RemoveTarget(..)) => {
                        self.removals.push(*control);
                    }
                    Some(
                        ControlPlan::Processor(_)
                        | ControlPlan::RequestBodyAccess(_)
                        | ControlPlan::ResponseBodyAccess(_)
                        | ControlPlan::ForceRequestBody(_),
                    )
                    | None => {}
                }
            }
        }
    }

    fn effect_stays(&mut self, effect: &Effect) {
        match effect {
            Effect::Set { place, change, .. } => {
                match change {
                    ChangePlan::Set(value)
                    | ChangePlan::Add(value)
                    | ChangePlan::Subtract(value) => {
                        self.read_template(value);
                    }
                    ChangePlan::Unset => {}
                }
                match place {
                    SetPlace::Slot(slot) => self.touch(*slot, Known::Unknown),
                    SetPlace::Tx(template) => {
                        self.read_template(template);
                        self.forget(template);
                    }
                    SetPlace::Environment(key) | SetPlace::Kept(_, key) => self.read_template(key),
                }
            }
            Effect::Expire { key, seconds, .. } => {
                self.read_template(key);
                self.read_template(seconds);
            }
            Effect::Open { key, .. } => self.read_template(key),
            Effect::Environment { value, .. } => self.read_template(value),
        }
    }

    /// A key whose name is made at run time: every key that can have that name is unknown.
    fn forget(&mut self, template: &TemplatePlan) {
        let begins = match template {
            TemplatePlan::Pieces(pieces) => match pieces.first() {
                Some(PiecePlan::Text(number)) => self.compiler.constants.get(*number),
                _ => &[],
            },
            TemplatePlan::Fixed(..) | TemplatePlan::Slot(_) => &[],
        };
        let names = self.compiler.slots.names().iter();
        let held = self.tx.iter_mut().zip(&mut self.touched);
        for ((held, touched), _) in held.zip(names).filter(|(_, name)| name.starts_with(begins)) {
            (*held, *touched) = (Known::Unknown, true);
        }
    }
}

fn rule_of<'r>(rules: &'r [RulePlan], step: &Step) -> Option<&'r RulePlan> {
    rules.get(usize::try_from(step.rule).ok()?)
}

fn mark(kept: &mut [bool], range: std::ops::Range<usize>) {
    if let Some(range) = kept.get_mut(range) {
        range.fill(false);
    }
}

/// Whether skipping is all that the rule does.
fn only_skips(rule: &RulePlan) -> bool {
    rule.links.iter().all(|link| link.effects.is_empty())
}

/// The argument of an operator that has one with macros.
fn argument_of(op: &Op) -> Option<&TemplatePlan> {
    match op {
        Op::RxMacro(argument)
        | Op::Contains(argument)
        | Op::ContainsWord(argument)
        | Op::BeginsWith(argument)
        | Op::EndsWith(argument)
        | Op::StrEq(argument)
        | Op::Within(argument)
        | Op::Eq(argument)
        | Op::Ge(argument)
        | Op::Gt(argument)
        | Op::Le(argument)
        | Op::Lt(argument) => Some(argument),
        Op::Always
        | Op::Never
        | Op::Rx(_)
        | Op::Pending(_)
        | Op::Backtracking(_)
        | Op::Pm(..)
        | Op::IpMatch(_)
        | Op::ByteRange(_)
        | Op::UrlEncoding
        | Op::Utf8
        | Op::Sqli
        | Op::Xss
        | Op::Card(_)
        | Op::Ssn(_)
        | Op::Cpf(_)
        | Op::Svnr(_) => None,
    }
}
