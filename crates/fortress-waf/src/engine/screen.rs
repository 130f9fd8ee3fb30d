//! Which values can match which rules, found out once for each value instead of once for each rule.
//!
//! A rule whose first link looks only at values of the request, with an operator that says what it
//! needs, is a *test* of the screen. Each value is looked at once after each chain of
//! transformations that changes it, for all tests at once; what is left are *hits*, and only for
//! hits an operator is asked. Changes of letter case are left out of the chains where they cannot
//! matter, since the prefilter does not regard case.
//!
//! INVARIANT: a value that an operator would match is a hit (the prefilter's argument is in
//! `prefilter`; that case may be left out is `Transformation::commutes_with_lowercase`).

use super::{
    memo::Memo,
    program::{Chains, Node},
    values::{Bucket, State},
};
use crate::{
    bits::Bits,
    injection,
    prefilter::{Alphabet, Prefilter, Scratch},
    store::Text,
    ByteSet,
};

/// The tests of the request's phases, or of the response's.
#[derive(Debug)]
pub(super) struct ScreenPlan {
    pub(super) prefilter: Prefilter,
    /// What is looked for in the values of each bucket.
    pub(super) sites: Vec<SitePlan>,
    /// In the header fields that rules name, by their number.
    pub(super) fields: Vec<SitePlan>,
    /// Tests that look for attacks, which proven values do not carry.
    pub(super) attacks: Bits,
    /// Tests that ask libinjection.
    pub(super) sqli: Bits,
    pub(super) xss: Bits,
}

/// What is looked for in one kind of values.
#[derive(Clone, Debug)]
pub(super) struct SitePlan {
    /// All tests.
    pub(super) all: Bits,
    /// The same by the chain that a value goes through before.
    pub(super) nodes: Vec<(Node, Bits)>,
    /// A value without a byte of these groups is the same after every chain.
    pub(super) triggers: Alphabet,
    /// Some chain changes every value.
    pub(super) always_changes: bool,
}

/// A value that can match a test.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Hit {
    pub(super) test: u32,
    pub(super) bucket: Bucket,
    pub(super) index: u32,
}

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Screener {
    hits: Vec<Hit>,
    /// The tests that have hits.
    ready: Bits,
    scratch: Scratch,
    candidates: Bits,
    groups: Vec<Group>,
    /// How many of `groups` are in use.
    used: usize,
    /// Values that were passed over because the description proved them.
    pub(super) proven: usize,
}

/// Chains after which a value is the same.
#[derive(Debug, Default)]
struct Group {
    text: Text,
    tests: Bits,
}

/// Values beyond this are not kept transformed.
const LARGE: usize = 64 << 10;
/// What looking at a value costs besides its bytes.
const VALUE: u64 = 32;

/// What the screen works with.
pub(super) struct Tools<'a> {
    pub(super) state: &'a mut State,
    pub(super) memo: &'a mut Memo,
    pub(super) chains: &'a Chains,
    pub(super) work: &'a mut u64,
    pub(super) budget: u64,
}

impl Screener {
    /// Makes it ready for the tests of a plan.
    pub(super) fn reset(&mut self, plan: &ScreenPlan) {
        self.hits.clear();
        if self.hits.capacity() > LARGE {
            self.hits = Vec::new();
        }
        self.proven = 0;
        let tests = plan.prefilter.tests();
        if self.ready.length() == tests {
            self.ready.fill(false);
        } else {
            self.ready = Bits::new(tests);
            self.candidates = Bits::new(tests);
            self.groups.clear();
        }
    }

    /// Whether a test has hits.
    pub(super) fn is_ready(&self, test: u32) -> bool {
        self.ready.contains(usize::try_from(test).unwrap_or(usize::MAX))
    }

    /// The hits of a test, in the order of the values. They must have been sorted.
    pub(super) fn hits(&self, test: u32) -> &[Hit] {
        let start = self.hits.partition_point(|hit| hit.test < test);
        let rest = self.hits.get(start..).unwrap_or_default();
        let count = rest.iter().take_while(|hit| hit.test == test).count();
        rest.get(..count).unwrap_or_default()
    }

    /// Puts hits in the order in which rules ask for them.
    pub(super) fn sort(&mut self) {
        self.hits.sort_unstable();
        self.hits.dedup();
    }

    /// Looks at all values of these buckets.
    pub(super) fn screen(&mut self, plan: &ScreenPlan, buckets: &[Bucket], tools: &mut Tools<'_>) {
        for bucket in buckets {
            let Some(site) = plan.sites.get(bucket.index()) else {
                continue;
            };
            let is_field = matches!(bucket, Bucket::Field | Bucket::AnswerField);
            if !is_field && !site.all.any() {
                continue;
            }
            for index in 0..tools.state.count(*bucket) {
                if *tools.work > tools.budget {
                    return;
                }
                let Some((text, key)) = tools.state.value(*bucket, index) else {
                    continue;
                };
                let mut site = site;
                if is_field {
                    let number = usize::from(tools.state.field_number(*bucket, index));
                    site = plan.fields.get(number).unwrap_or(site);
                    if !site.all.any() {
                        continue;
                    }
                }
                let proven = !(tools.state.proven_names.is_empty()
                    && tools.state.proven_spans.is_empty())
                    && tools.state.is_proven(*bucket, text, key);
                self.proven += usize::from(proven);
                self.value(plan, site, (*bucket, index), text, proven, tools);
            }
        }
    }

    fn value(
        &mut self,
        plan: &ScreenPlan,
        site: &SitePlan,
        place: (Bucket, usize),
        text: Text,
        proven: bool,
        tools: &mut Tools<'_>,
    ) {
        let alphabet = Alphabet::of(tools.state.store.get(text));
        *tools.work += VALUE + u64::try_from(text.len()).unwrap_or(u64::MAX);
        if !site.always_changes && !alphabet.intersects(site.triggers) {
            self.candidates.copy_from(&site.all);
            if proven {
                self.candidates.and_not(&plan.attacks);
            }
            self.narrow(plan, place, text, alphabet, tools);
            return;
        }
        let mark = tools.state.store.used();
        self.used = 0;
        for (node, tests) in &site.nodes {
            let changed =
                tools
                    .memo
                    .at(&mut tools.state.store, tools.chains, text, *node, tools.work);
            self.group(changed, tests, tools.state);
        }
        for index in 0..self.used {
            let Some(group) = self.groups.get(index) else {
                break;
            };
            let changed = group.text;
            self.candidates.copy_from(&group.tests);
            if proven {
                self.candidates.and_not(&plan.attacks);
            }
            let alphabet = Alphabet::of(tools.state.store.get(changed));
            *tools.work += u64::try_from(changed.len()).unwrap_or(u64::MAX);
            self.narrow(plan, place, changed, alphabet, tools);
        }
        if tools.state.store.used() - mark > LARGE {
            tools.state.store.truncate(mark);
            tools.memo.forget();
        }
    }

    /// Adds the tests of a chain to those of an equal value.
    fn group(&mut self, text: Text, tests: &Bits, state: &State) {
        let bytes = state.store.get(text);
        let used = self.groups.get_mut(..self.used).unwrap_or_default();
        for group in used {
            if group.text == text || state.store.get(group.text) == bytes {
                group.tests.or(tests);
                return;
            }
        }
        match self.groups.get_mut(self.used) {
            Some(group) => {
                group.text = text;
                group.tests.copy_from(tests);
            }
            None => self.groups.push(Group {
                text,
                tests: tests.clone(),
            }),
        }
        self.used += 1;
    }

    /// Keeps of the candidates those that can match, as hits.
    fn narrow(
        &mut self,
        plan: &ScreenPlan,
        (bucket, index): (Bucket, usize),
        text: Text,
        alphabet: Alphabet,
        tools: &mut Tools<'_>,
    ) {
        let bytes = tools.state.store.get(text);
        plan.prefilter
            .narrow(bytes, alphabet, &mut self.candidates, &mut self.scratch);
        let mut set = None;
        for test in self.candidates.iter_ones() {
            let is_sqli = plan.sqli.contains(test);
            if is_sqli || plan.xss.contains(test) {
                let set = set.get_or_insert_with(|| ByteSet::from_text(bytes));
                let possible = if is_sqli {
                    injection::sqli::possible(set)
                } else {
                    injection::xss::possible(set)
                };
                if !possible {
                    continue;
                }
            }
            self.ready.set(test);
            self.hits.push(Hit {
                test: u32::try_from(test).unwrap_or(u32::MAX),
                bucket,
                index: u32::try_from(index).unwrap_or(u32::MAX),
            });
        }
    }
}
