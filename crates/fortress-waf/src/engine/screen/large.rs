//! Large values: what the chains make of one is looked at and forgotten, one result after the other.
//!
//! A value of a megabyte after each of some twenty chains, side by side, would be twenty megabytes.
//! So the chains are followed as a tree whose branches are only the steps that change the text: a
//! result is made once, the tests that look at it are asked, and it goes before the next one comes.
//! What is kept is a text from which several ways still lead on.
//!
//! INVARIANT: as for small values, each test looks at what comes of each of its chains, and a test
//! with a chain that changes the value is told so.

use smallvec::SmallVec;

use super::{Group, NodePlan, Place, ScreenPlan, Screener, SitePlan, Tools, can_match};
use crate::{
    bits::Bits, prefilter::Alphabet, seclang::Transformation, store::Text, transform::Triggers,
};

/// A chain on its way: the steps that are left.
struct Way<'p> {
    steps: Vec<Transformation>,
    done: usize,
    plan: &'p NodePlan,
}

impl<'p> Way<'p> {
    fn new(plan: &'p NodePlan, tools: &Tools<'_>) -> Self {
        Self {
            steps: tools.chains.chain(plan.node),
            done: 0,
            plan,
        }
    }

    fn next(&self) -> Option<Transformation> {
        self.steps.get(self.done).copied()
    }

    /// Passes the steps that leave a text of this alphabet as it is, and those that are known to;
    /// whether it ends there.
    fn ends_at(&mut self, alphabet: Alphabet, idle: &[Transformation]) -> bool {
        while let Some(step) = self.next() {
            if !idle.contains(&step) && can_change(step, alphabet) {
                return false;
            }
            self.done += 1;
        }
        true
    }
}

/// The value that is looked at.
pub(super) struct Large<'p> {
    plan: &'p ScreenPlan,
    place: Place<'p>,
    proven: bool,
}

impl<'p> Large<'p> {
    pub(super) fn new(plan: &'p ScreenPlan, place: Place<'p>, proven: bool) -> Self {
        Self {
            plan,
            place,
            proven,
        }
    }
}

/// A result, and where it begins in the arena; nothing for the value itself, which stays.
#[derive(Clone, Copy)]
struct Made {
    text: Text,
    alphabet: Alphabet,
    mark: Option<usize>,
}

impl Screener {
    /// Looks at a value of more than `LARGE` bytes.
    pub(super) fn large(
        &mut self,
        large: &Large<'_>,
        site: &SitePlan,
        (text, alphabet): (Text, Alphabet),
        tools: &mut Tools<'_>,
    ) {
        self.lens.recased.fill(false);
        // As for small values: all look at the value itself, but those of ways that lead elsewhere.
        let mut here = site.all.clone();
        let mut ways = Vec::new();
        for node in &site.nodes {
            if !alphabet.intersects(node.triggers) {
                continue;
            }
            let reach = alphabet.minus(node.takes).union(node.makes);
            let opens = alphabet.union(node.makes).intersects(node.opens);
            let prefilter = &large.plan.prefilter;
            if !opens && !prefilter.leaves(&node.tests, reach, &mut self.lens.scratch) {
                here.and_not(&node.only);
                continue;
            }
            ways.push(Way::new(node, tools));
        }
        let mut run = None;
        let store = &tools.state.store;
        for node in &site.always {
            if can_match(node, (text, alphabet), &mut run, store) {
                ways.push(Way::new(node, tools));
            }
        }
        let value = Made {
            text,
            alphabet,
            mark: None,
        };
        let mut left = Bits::new(here.length());
        self.follow(large, value, ways, (&mut here, &mut left), tools);
    }

    /// Follows ways from a text on. `here` are the tests that look at the text itself, `left` those
    /// of ways that have left the value.
    fn follow(
        &mut self,
        large: &Large<'_>,
        from: Made,
        mut ways: Vec<Way<'_>>,
        (here, left): (&mut Bits, &mut Bits),
        tools: &mut Tools<'_>,
    ) {
        // Steps that leave this text as it is, though its bytes did not say so.
        let mut idle = SmallVec::<[Transformation; 8]>::new();
        loop {
            ways.retain_mut(|way| {
                let ends = way.ends_at(from.alphabet, &idle);
                if ends && (from.mark.is_none() || from.text.len() >= way.plan.least) {
                    here.or(&way.plan.tests);
                }
                !ends
            });
            let Some(step) = ways.first().and_then(Way::next) else {
                break;
            };
            if *tools.work > tools.budget {
                return;
            }
            if !self.apply(step, from.text, tools) {
                idle.push(step);
                continue;
            }
            let (mut on, rest): (Vec<_>, Vec<_>) =
                ways.into_iter().partition(|way| way.next() == Some(step));
            ways = rest;
            for way in &mut on {
                way.done += 1;
                if from.mark.is_none() {
                    left.or(&way.plan.tests);
                    here.and_not(&way.plan.only);
                }
            }
            let is_last = ways.is_empty();
            if is_last {
                self.look(large, from, (&*here, &*left), tools);
                if let Some(mark) = from.mark {
                    tools.state.store.truncate(mark);
                }
            }
            let mark = tools.state.store.used();
            let text = tools.state.store.add(&self.lens.made);
            let made = Made {
                text,
                alphabet: Alphabet::of(tools.state.store.get(text)),
                mark: Some(mark),
            };
            let mut ended = Bits::new(here.length());
            self.follow(large, made, on, (&mut ended, &mut *left), tools);
            tools.state.store.truncate(mark);
            if is_last {
                return;
            }
        }
        self.look(large, from, (&*here, &*left), tools);
    }

    /// Leaves in `made` what a step makes of a text; false if it stays as it is.
    fn apply(&mut self, step: Transformation, text: Text, tools: &mut Tools<'_>) -> bool {
        *tools.work += u64::try_from(text.len()).unwrap_or(u64::MAX);
        self.lens.made.clear();
        // A vector that doubles takes half as much again while it moves.
        self.lens.made.reserve_exact(step.most(text.len()));
        step.apply(tools.state.store.get(text), &mut self.lens.made)
    }

    /// Keeps of the tests that look at a text those that can match, as hits.
    fn look(
        &mut self,
        large: &Large<'_>,
        at: Made,
        (here, left): (&Bits, &Bits),
        tools: &mut Tools<'_>,
    ) {
        self.lens.candidates.copy_from(here);
        self.lens.used = 0;
        let is_changed = at.mark.is_some();
        if !is_changed {
            // A test with several chains, of which one changes the value.
            match self.lens.groups.first_mut() {
                Some(group) => group.tests.copy_from(left),
                None => self.lens.groups.push(Group {
                    text: at.text,
                    tests: left.clone(),
                }),
            }
            self.lens.used = 1;
        }
        let Large {
            plan,
            place,
            proven,
        } = large;
        self.narrow(
            plan,
            *place,
            (at.text, at.alphabet),
            is_changed,
            *proven,
            tools,
        );
        self.lens.used = 0;
    }
}

/// Whether a step can change a text of this alphabet.
fn can_change(step: Transformation, alphabet: Alphabet) -> bool {
    match step.triggers() {
        Triggers::Bytes(bytes) => alphabet.intersects(Alphabet::mask(bytes)),
        Triggers::Always => true,
    }
}
