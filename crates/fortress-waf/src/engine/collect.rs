//! The values that a link looks at, and asking about each of them, where no screen has said which.

use super::{
    program::{ControlPlan, LinkPlan, Op, ROOT, RulePlan, TargetPlan, Val},
    run::Runner,
    values::{Bucket, Item},
};
use crate::{seclang::Variable, store::Text};

impl<'a> Runner<'a> {
    /// Asks a link about every value that it looks at.
    pub(super) fn link(
        &mut self,
        rule: &'a RulePlan,
        link: &'a LinkPlan,
        index: usize,
        number: usize,
    ) -> bool {
        if link.targets.is_empty() {
            let item = Item {
                value: Val::None,
                variable: Variable::Rule,
                key: Val::None,
            };
            let matches = matches!(link.op, Op::Always) != link.negated;
            if matches {
                self.act(link, index, item, ROOT);
            }
            return matches;
        }
        if let [target] = &*link.targets
            && link.excluded.is_empty()
            && self.run.removed_targets.is_empty()
            && let Some(found) = self.only_item(target)
        {
            return found.is_some_and(|item| self.item(link, index, item));
        }
        let skips_proven = rule.is_attack && index == 0;
        let is_listed = |target: &TargetPlan| {
            let is_part = !Bucket::of(target.variable, &target.selector).is_empty();
            is_part || target.counted && link.targets.len() == 1
        };
        let mut any = false;
        if link.targets.iter().all(is_listed) {
            // What parts of the message say does not change meanwhile: they need not be collected,
            // of which there may be a hundred thousand.
            for target in &link.targets {
                any |= self.target(link, index, number, target, skips_proven);
            }
            return any;
        }
        let mut items = std::mem::take(&mut self.run.items);
        items.clear();
        self.collect(link, number, skips_proven, &mut items);
        for item in &items {
            if self.is_exhausted() {
                break;
            }
            any |= self.item(link, index, *item);
        }
        items.shrink_to(KEPT_ITEMS);
        self.run.items = items;
        any
    }

    /// Asks a link about the values of one target, or about their number.
    fn target(
        &mut self,
        link: &'a LinkPlan,
        index: usize,
        number: usize,
        target: &'a TargetPlan,
        skips_proven: bool,
    ) -> bool {
        let buckets = Bucket::of(target.variable, &target.selector);
        if target.counted {
            let count = if buckets.is_empty() {
                let mut items = Vec::new();
                self.computed(target, link, number, &mut items);
                items.len()
            } else {
                self.parts(link, number, target, false).count()
            };
            return self.item(link, index, counted(target, count));
        }
        let mut any = false;
        for bucket in buckets {
            for at in 0..self.state.count(*bucket) {
                if self.is_exhausted() {
                    return any;
                }
                if let Some(item) = self.member(link, number, target, (*bucket, at), skips_proven) {
                    any |= self.item(link, index, item);
                }
            }
        }
        any
    }

    /// A member of a bucket, if a link looks at it.
    fn member(
        &self,
        link: &LinkPlan,
        number: usize,
        target: &TargetPlan,
        (bucket, at): (Bucket, usize),
        skips_proven: bool,
    ) -> Option<Item> {
        let (text, key) = self.state.value(bucket, at)?;
        let is_left_out = !self.state.selects(&target.selector, bucket, at, key)
            || self.is_taken(link, number, target.variable, (bucket, at), key)
            || skips_proven && self.is_proven(bucket, text, key);
        (!is_left_out).then(|| Item {
            value: Val::Text(text),
            variable: target.variable,
            key: key.map_or(Val::None, Val::Text),
        })
    }

    /// All members of a target's buckets that a link looks at.
    fn parts(
        &self,
        link: &LinkPlan,
        number: usize,
        target: &TargetPlan,
        skips_proven: bool,
    ) -> impl Iterator<Item = Item> {
        let buckets = Bucket::of(target.variable, &target.selector);
        let places = buckets
            .iter()
            .flat_map(|bucket| (0..self.state.count(*bucket)).map(|at| (*bucket, at)));
        places.filter_map(move |place| self.member(link, number, target, place, skips_proven))
    }

    /// The values that a link looks at.
    fn collect(
        &mut self,
        link: &'a LinkPlan,
        number: usize,
        skips_proven: bool,
        items: &mut Vec<Item>,
    ) {
        for target in &link.targets {
            let start = items.len();
            if Bucket::of(target.variable, &target.selector).is_empty() {
                self.computed(target, link, number, items);
            } else {
                let skips_proven = skips_proven && !target.counted;
                items.extend(self.parts(link, number, target, skips_proven));
            }
            if target.counted {
                let count = items.len() - start;
                items.truncate(start);
                items.push(counted(target, count));
            }
        }
    }

    /// Whether the rule, or a `ctl` before it, takes a member away.
    pub(super) fn is_taken(
        &self,
        link: &LinkPlan,
        number: usize,
        variable: Variable,
        (bucket, index): (Bucket, usize),
        key: Option<Text>,
    ) -> bool {
        let mut excluded = link.excluded.iter();
        if excluded.any(|target| self.state.takes(target, variable, bucket, index, key)) {
            return true;
        }
        self.run.removed_targets.iter().any(|control| {
            let control = usize::try_from(*control).unwrap_or(usize::MAX);
            match self.program.controls.get(control) {
                Some(ControlPlan::RemoveTarget(rules, target)) => {
                    rules.contains(number) && self.state.takes(target, variable, bucket, index, key)
                }
                _ => false,
            }
        })
    }
}

/// Values that a link's memory is kept for.
const KEPT_ITEMS: usize = 1_024;

/// How many members a target has, as a value.
fn counted(target: &TargetPlan, count: usize) -> Item {
    Item {
        value: Val::Int(i64::try_from(count).unwrap_or(i64::MAX)),
        variable: target.variable,
        key: Val::None,
    }
}
