//! Schemas applied to the same place: references, `allOf`, `anyOf`, `oneOf`, `not`, `if`, and the
//! choice by `discriminator`.
//!
//! A `oneOf` of which several branches match is invalid in JSON Schema. Many descriptions tell their
//! branches apart by nothing but the properties that they declare; so where undeclared properties
//! matter, each branch is taken as closed, and if exactly one of those that match declares all that
//! is there, it is the one.

use super::{
    Applied, Discriminator, SchemaId,
    evaluate::{Mark, Walk},
    strict,
};
use crate::json::{Kind, Value};

impl<'d> Walk<'_, 'd> {
    pub(super) fn in_place(&mut self, id: SchemaId, applied: &Applied, value: &Value<'d>) -> bool {
        let mut valid = true;
        let always = applied.reference.iter().chain(&applied.all);
        for schema in always {
            if self.valid_so_far(valid) {
                valid = self.apply(*schema, value) && valid;
            }
        }
        if let Some(reference) = &applied.dynamic
            && self.valid_so_far(valid)
        {
            let target = self.dynamic_target(reference);
            valid = self.apply(target, value) && valid;
        }
        let discriminator = applied.discriminator.as_ref();
        let chosen = discriminator.filter(|_| matches!(value.kind, Kind::Object(_)));
        if let Some(discriminator) = chosen
            && self.valid_so_far(valid)
        {
            valid = self.discriminated(id, discriminator, value) && valid;
        }
        if chosen.is_none_or(|discriminator| !discriminator.beside_branches) {
            if !applied.any.is_empty() && self.valid_so_far(valid) {
                valid = self.any_of(&applied.any, value) && valid;
            }
            if !applied.one.is_empty() && self.valid_so_far(valid) {
                valid = self.one_of(&applied.one, value) && valid;
            }
        }
        if let Some(schema) = applied.not
            && self.valid_so_far(valid)
            && self.tries(schema, value, false)
        {
            valid = self.fail(|| "matches what is forbidden here".to_owned());
        }
        if self.valid_so_far(valid) {
            valid = self.condition(applied, value) && valid;
        }
        valid
    }

    fn condition(&mut self, applied: &Applied, value: &Value<'d>) -> bool {
        let Some(condition) = applied.condition else {
            return true;
        };
        let next = if self.tries(condition, value, true) {
            applied.then
        } else {
            applied.otherwise
        };
        next.is_none_or(|schema| self.apply(schema, value))
    }

    /// Whether a schema matches, silently. Its notes stay if it does and `keep` is set.
    fn tries(&mut self, schema: SchemaId, value: &Value<'d>, keep: bool) -> bool {
        let begin = self.trail.len();
        self.quiet += 1;
        let matches = self.apply(schema, value);
        self.quiet -= 1;
        if !matches || !keep {
            self.trail.truncate(begin);
        }
        matches
    }

    fn any_of(&mut self, branches: &[SchemaId], value: &Value<'d>) -> bool {
        let mut matches = false;
        for branch in branches {
            matches |= self.tries(*branch, value, true);
        }
        matches || self.explain(branches, value)
    }

    fn one_of(&mut self, branches: &[SchemaId], value: &Value<'d>) -> bool {
        let begin = self.trail.len();
        let mut matched: Vec<(SchemaId, Vec<Mark>)> = Vec::new();
        for branch in branches {
            if self.tries(*branch, value, true) {
                let notes = self.trail.split_off(begin);
                matched.push((*branch, notes));
            }
        }
        if matched.len() > 1 {
            matched = self.closed(matched);
        }
        match matched.len() {
            0 => self.explain(branches, value),
            1 => {
                for (_, notes) in matched {
                    self.trail.extend(notes);
                }
                true
            }
            count => {
                // Inside a branch this fails the branch only, whose notes are cut anyway.
                self.incomplete |= self.quiet == 0;
                self.fail(|| format!("matches {count} of the alternatives, not one"))
            }
        }
    }

    /// Of branches that match, those which declare everything there is: if that is exactly one, it
    /// is the answer, else all of them are. A lenient walk takes the first that drops least.
    fn closed(&self, matched: Vec<(SchemaId, Vec<Mark>)>) -> Vec<(SchemaId, Vec<Mark>)> {
        if !self.rules.closed_branches {
            return matched;
        }
        let context = self.trail.get(self.here.trail..).unwrap_or(&[]);
        let undeclared: Vec<usize> = matched
            .iter()
            .map(|(_, notes)| strict::count_undeclared(context, notes))
            .collect();
        let least = if self.rules.lenient {
            undeclared.iter().copied().min().unwrap_or_default()
        } else {
            0
        };
        let whole = undeclared.iter().filter(|count| **count == least).count();
        if whole == 1 || (self.rules.lenient && whole > 1 && least > 0) {
            matched
                .into_iter()
                .zip(undeclared)
                .find_map(|(branch, count)| (count == least).then_some(branch))
                .into_iter()
                .collect()
        } else {
            matched
        }
    }

    /// No branch matches: says what the one that comes closest would have needed.
    fn explain(&mut self, branches: &[SchemaId], value: &Value<'d>) -> bool {
        if self.quiet > 0 {
            return false;
        }
        self.incomplete = true;
        let before = std::mem::take(&mut self.faults);
        let begin = self.trail.len();
        let depth = |fault: &super::Fault| fault.location.matches(['.', '[']).count();
        let mut best: Option<(usize, usize, Vec<super::Fault>)> = None;
        for branch in branches {
            self.apply(*branch, value);
            self.trail.truncate(begin);
            let faults = std::mem::take(&mut self.faults);
            // A fault deep inside means that the branch was meant; at the top, that it was not.
            let shallow = faults.iter().map(depth).min().unwrap_or_default();
            let better = best.as_ref().is_none_or(|(deep, count, _)| {
                shallow > *deep || (shallow == *deep && faults.len() < *count)
            });
            if better {
                best = Some((shallow, faults.len(), faults));
            }
        }
        self.faults = before;
        let room = super::evaluate::MAX_FAULTS.saturating_sub(self.faults.len());
        let best = best.map(|(_, _, faults)| faults).unwrap_or_default();
        if best.is_empty() {
            return self.fail(|| "matches none of the alternatives".to_owned());
        }
        self.faults.extend(best.into_iter().take(room));
        false
    }

    fn discriminated(
        &mut self,
        id: SchemaId,
        discriminator: &Discriminator,
        value: &Value<'d>,
    ) -> bool {
        // The chosen schema includes this one again by `allOf`; it has chosen by then.
        if !discriminator.beside_branches && self.chosen.contains(&id) {
            return true;
        }
        let Kind::Object(range) = value.kind else {
            return true;
        };
        let name = &*discriminator.property;
        let named = self
            .document
            .members(range)
            .iter()
            .find(|member| member.key == name);
        let Some(named) = named else {
            // A base schema says by `required` whether the property must be there.
            return !discriminator.beside_branches
                || self.fail(|| format!("`{name}` is missing, which chooses the alternative"));
        };
        let Kind::String(choice) = &named.value.kind else {
            return self.fail(|| format!("`{name}` is not a string, so it chooses no alternative"));
        };
        let target = discriminator
            .mapping
            .binary_search_by(|(value, _)| (**value).cmp(choice))
            .ok()
            .and_then(|index| discriminator.mapping.get(index));
        let Some((_, target)) = target else {
            return self.fail(|| format!("`{name}` names none of the declared alternatives"));
        };
        if *target == id || self.chosen.contains(target) {
            return true;
        }
        self.chosen.push(id);
        self.chosen.push(*target);
        let valid = self.apply(*target, value);
        self.chosen.pop();
        self.chosen.pop();
        valid
    }
}
