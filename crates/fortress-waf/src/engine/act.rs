//! What a match does: variables, collections, findings.

use super::{
    program::{ChangePlan, Effect, LinkPlan, Node, RulePlan, SetPlace, Val},
    run::{Digits, MOST_TRACES, Runner, Trace, bytes_of, push_number},
    values::Item,
    verdict::{Finding, Matched},
};
use crate::{operator, seclang::Variable};

/// Bytes of a value that a finding shows.
const SHOWN: usize = 256;
/// Bytes of a message.
const LONGEST_MESSAGE: usize = 4_096;

impl<'a> Runner<'a> {
    /// A link has matched a value.
    pub(super) fn act(&mut self, link: &'a LinkPlan, index: usize, item: Item, node: Node) {
        if !link.targets.is_empty() {
            self.run.matched = Some(item);
            self.run.matched_vars.push(item);
            if self.run.traces.len() < MOST_TRACES {
                self.run.traces.push(Trace {
                    item,
                    link: u8::try_from(index).unwrap_or(u8::MAX),
                    node,
                });
            }
        }
        for effect in &link.effects {
            self.effect(effect);
        }
    }

    fn effect(&mut self, effect: &'a Effect) {
        match effect {
            Effect::Set {
                place,
                change,
                is_score,
            } => self.set(place, change, *is_score),
            Effect::Expire {
                variable,
                key,
                seconds,
            } => {
                let key = self.expanded_bytes(key).to_ascii_lowercase();
                let seconds = self.evaluate_number(seconds);
                let until = self.seconds().saturating_add(seconds);
                if let Some(opened) = self.opened(*variable) {
                    self.program.kept.expire(&opened, &key, until);
                }
            }
            Effect::Open { variable, key } => {
                let name = self.expanded_bytes(key);
                let opened = self.program.kept.open(*variable, &name, self.seconds());
                self.state.opened.retain(|open| open.variable != *variable);
                self.state.opened.push(opened);
            }
            Effect::Environment { name, value } => {
                let value = self.evaluate(value);
                let name = self.state.store.add(name);
                self.state.environment.push((name, value));
            }
        }
    }

    fn set(&mut self, place: &'a SetPlace, change: &'a ChangePlan, is_score: bool) {
        match place {
            SetPlace::Slot(slot) => {
                let index = usize::try_from(*slot).unwrap_or(usize::MAX);
                let held = self.state.tx.get(index).copied().unwrap_or_default();
                let value = self.changed(held, change, is_score);
                if let Some(held) = self.state.tx.get_mut(index) {
                    *held = value;
                }
            }
            SetPlace::Tx(key) => {
                let mut name = std::mem::take(&mut self.run.naming);
                name.clear();
                self.expand(key, &mut name);
                name.make_ascii_lowercase();
                self.set_by_name(&name, change, is_score);
                self.run.naming = name;
            }
            SetPlace::Environment(name) => {
                let name = self.expanded_bytes(name);
                let value = self.changed(Val::None, change, false);
                let name = self.state.store.add(&name);
                self.state.environment.push((name, value));
            }
            SetPlace::Kept(variable, key) => self.set_kept(*variable, key, change),
        }
    }

    /// Sets a key of `TX` whose name only the transaction knows.
    fn set_by_name(&mut self, name: &[u8], change: &'a ChangePlan, is_score: bool) {
        if let Some(slot) = self.program.slots.find(name) {
            let index = usize::try_from(slot).unwrap_or(usize::MAX);
            let held = self.state.tx.get(index).copied().unwrap_or_default();
            let value = self.changed(held, change, is_score);
            if let Some(held) = self.state.tx.get_mut(index) {
                *held = value;
            }
            return;
        }
        let index = self.state.named(name);
        let held = index.and_then(|index| self.state.named.get(index));
        let held = held.map_or(Val::None, |named| named.value);
        let value = self.changed(held, change, is_score);
        self.state.set_named(name, value);
    }

    fn set_kept(
        &mut self,
        variable: Variable,
        key: &'a super::program::TemplatePlan,
        change: &'a ChangePlan,
    ) {
        let key = self.expanded_bytes(key).to_ascii_lowercase();
        let Some(opened) = self.opened(variable) else {
            return;
        };
        let now = self.seconds();
        let amount = |held: Option<&[u8]>, by: i64| {
            let sum = operator::number(held.unwrap_or_default()).saturating_add(by);
            Some(sum.to_string().into_bytes())
        };
        match change {
            ChangePlan::Set(value) => {
                let value = self.expanded_bytes(value);
                self.program
                    .kept
                    .change(&opened, &key, now, |_| Some(value));
            }
            ChangePlan::Add(value) => {
                let by = self.evaluate_number(value);
                self.program
                    .kept
                    .change(&opened, &key, now, |held| amount(held, by));
            }
            ChangePlan::Subtract(value) => {
                let by = self.evaluate_number(value).saturating_neg();
                self.program
                    .kept
                    .change(&opened, &key, now, |held| amount(held, by));
            }
            ChangePlan::Unset => self.program.kept.change(&opened, &key, now, |_| None),
        }
    }

    fn changed(&mut self, held: Val, change: &'a ChangePlan, is_score: bool) -> Val {
        match change {
            ChangePlan::Set(value) => self.evaluate(value),
            ChangePlan::Add(value) => {
                let by = self.evaluate_number(value);
                if is_score {
                    self.run.added = self.run.added.saturating_add(by);
                }
                Val::Int(self.number(held).saturating_add(by))
            }
            ChangePlan::Subtract(value) => {
                let by = self.evaluate_number(value);
                Val::Int(self.number(held).saturating_sub(by))
            }
            ChangePlan::Unset => Val::None,
        }
    }

    /// What a rule that has matched says.
    pub(super) fn finding(&mut self, rule: &'a RulePlan) -> Finding {
        let message = self.expanded(&rule.message);
        let data = self.expanded(&rule.data);
        let tags = rule.tags.iter().map(|tag| self.expanded(tag)).collect();
        let traces = std::mem::take(&mut self.run.traces);
        let matched = traces
            .iter()
            .filter_map(|trace| self.told(rule, trace))
            .collect();
        self.run.traces = traces;
        Finding {
            rule: rule.id,
            phase: rule.phase,
            message,
            data,
            severity: rule.severity,
            tags,
            version: rule.version.clone(),
            score: self.run.added,
            matched,
        }
    }

    fn told(&self, rule: &RulePlan, trace: &Trace) -> Option<Matched> {
        let link = rule.links.get(usize::from(trace.link))?;
        let mut buffer = Digits::default();
        let bytes = bytes_of(
            self.program,
            &self.state.store,
            trace.item.value,
            &mut buffer,
        );
        Some(Matched {
            variable: self.full_name(&trace.item),
            value: bytes.get(..SHOWN).unwrap_or(bytes).to_vec(),
            transformations: self.program.chains.chain(trace.node),
            operator: link.operator,
            negated: link.negated,
        })
    }

    /// `ARGS:q`.
    pub(super) fn full_name(&self, item: &Item) -> String {
        let mut name = item.variable.word().as_bytes().to_vec();
        self.push_key(item, &mut name);
        String::from_utf8_lossy(&name).into_owned()
    }

    /// `:q`, of a member of a collection.
    pub(super) fn push_key(&self, item: &Item, out: &mut Vec<u8>) {
        if item.key == Val::None {
            return;
        }
        out.push(b':');
        let mut buffer = Digits::default();
        let key = bytes_of(self.program, &self.state.store, item.key, &mut buffer);
        out.extend_from_slice(key.get(..SHOWN).unwrap_or(key));
    }

    /// A template as text for people.
    pub(super) fn expanded(&mut self, template: &'a super::program::TemplatePlan) -> String {
        let mut bytes = self.expanded_bytes(template);
        bytes.truncate(LONGEST_MESSAGE);
        match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        }
    }

    /// A number as it stands in texts.
    pub(super) fn push_value(&self, value: Val, out: &mut Vec<u8>) {
        match value {
            Val::None => {}
            Val::Int(number) => push_number(out, number),
            Val::Text(text) => out.extend_from_slice(self.state.store.get(text)),
            Val::Const(number) => out.extend_from_slice(self.program.constants.get(number)),
        }
    }
}
