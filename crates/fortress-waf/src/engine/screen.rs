//! Which values can match which rules, found out once for each value instead of once for each rule.
//!
//! A rule whose first link looks only at values of the request, with an operator that says what it
//! needs, is a *test* of the screen. Each value is looked at once after each chain of
//! transformations that changes it, for all tests at once; what is left are *hits*, and only for
//! hits an operator is asked. Changes of letter case are left out of the chains where they cannot
//! matter, since the prefilter does not regard case.
//!
//! A chain is left out altogether where all that could come of a value, by the groups of its bytes and
//! by what the steps add and take, would match none of its tests. What is the same but for case is
//! looked at once. And where the target, the URI and the path are one text, one look serves all three.
//!
//! INVARIANT: a value that an operator would match is a hit (the prefilter's argument is in
//! `prefilter`; that case may be left out is `Transformation::commutes_with_lowercase`; what steps add
//! and take are `Transformation::made` and `taken`). A test with several chains stays a candidate of
//! the value as it is whatever becomes of one of them: too many hits cost time, never a match.

mod large;

use self::large::Large;
use super::{
    known::Known,
    memo::Memo,
    program::{Chains, Node},
    values::{Bucket, State},
};
use crate::{
    ByteSet,
    bits::Bits,
    injection,
    prefilter::{Alphabet, Prefilter, Scratch},
    store::{Store, Text},
};

/// The tests of the request's phases, or of the response's.
#[derive(Debug)]
pub(super) struct ScreenPlan {
    pub(super) prefilter: Prefilter,
    /// What is looked for in the values of each bucket.
    pub(super) sites: Vec<SitePlan>,
    /// In the header fields that rules name, by their number.
    pub(super) fields: Vec<SitePlan>,
    /// In a value that is of several buckets at once, those with the most buckets first.
    pub(super) shared: Vec<SharedPlan>,
    /// Where each test's rule has its turn: the phase, as an index, and the step.
    pub(super) turns: Vec<(usize, usize)>,
    /// Tests that look for attacks, which proven values do not carry.
    pub(super) attacks: Bits,
    /// Tests that ask libinjection.
    pub(super) sqli: Bits,
    pub(super) xss: Bits,
}

/// Buckets with one value each that are often the same text: one look serves them all.
#[derive(Debug)]
pub(super) struct SharedPlan {
    pub(super) buckets: &'static [Bucket],
    pub(super) site: SitePlan,
}

/// What is looked for in one kind of values.
#[derive(Clone, Debug)]
pub(super) struct SitePlan {
    /// All tests.
    pub(super) tests: Bits,
    /// Those of them that look at a value as it is if no chain changes it.
    pub(super) all: Bits,
    /// The chains of these, and those that change every value.
    pub(super) nodes: Vec<NodePlan>,
    pub(super) always: Vec<NodePlan>,
    /// A value without a byte of these groups is the same after every chain that may leave it so.
    pub(super) triggers: Alphabet,
    /// What the others make of a shorter value matches no test.
    pub(super) shortest: usize,
}

impl SitePlan {
    /// Whether nothing is looked for.
    fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.always.is_empty()
    }
}

/// The tests that look at the results of one chain.
#[derive(Clone, Debug)]
pub(super) struct NodePlan {
    pub(super) node: Node,
    pub(super) tests: Bits,
    /// Those of them that look at the results of no other chain.
    pub(super) only: Bits,
    /// A value without a byte of these groups is the same after the chain, but for letter case.
    pub(super) triggers: Alphabet,
    /// What comes of a value has no groups but its own and these, and of its own none that are taken;
    /// unless one of them is decoded: then it may have any.
    pub(super) makes: Alphabet,
    pub(super) takes: Alphabet,
    pub(super) opens: Alphabet,
    /// The chain changes every value.
    pub(super) always: Option<Always>,
    /// A shorter result matches no test.
    pub(super) least: usize,
}

impl ScreenPlan {
    /// What is looked for in the value of a bucket and of those that follow it, if it is the same
    /// text in all of them. None of them has values that a description proves.
    fn shared_by(&self, bucket: Bucket, state: &State) -> Option<(&SharedPlan, Text)> {
        if Bucket::SHARED.first() != Some(&bucket) {
            return None;
        }
        let (text, _) = state.value(bucket, 0)?;
        let is_same = |other: &Bucket| {
            let other = state.value(*other, 0);
            other.is_some_and(|(other, _)| other == text)
        };
        let mut all = self.shared.iter();
        let shared = all.find(|shared| shared.buckets.iter().all(is_same))?;
        Some((shared, text))
    }
}

/// A value that can match a test: the test, the bucket, the index in it, and whether a chain changes
/// the value, from the highest bits to the lowest, so that sorting is comparing numbers.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Hit(u64);

impl Hit {
    pub(super) fn new(test: usize, bucket: Bucket, index: usize, is_changed: bool) -> Self {
        let wide = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        // Rules are far fewer than 65,536, and values than 2^39, or they were cut before.
        let test = wide(test) & 0xFFFF;
        let index = wide(index) & ((1 << 39) - 1);
        Self(test << 48 | wide(bucket.index()) << 40 | index << 1 | u64::from(is_changed))
    }

    pub(super) fn test(self) -> u16 {
        u16::try_from(self.0 >> 48).unwrap_or(u16::MAX)
    }

    /// The bucket's index.
    pub(super) fn bucket(self) -> u64 {
        self.0 >> 40 & 0xFF
    }

    pub(super) fn index(self) -> usize {
        usize::try_from(self.0 >> 1 & ((1 << 39) - 1)).unwrap_or_default()
    }

    /// Whether a chain changes the value, more than its letter case.
    pub(super) fn is_changed(self) -> bool {
        self.0 & 1 == 1
    }
}

/// A chain that changes every value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Always {
    /// What comes of a shorter value matches no test.
    pub(super) shortest: usize,
    /// It decodes base64, up to the first byte that is none, after steps that leave a value without
    /// a byte of these groups as it is: then only that beginning counts.
    pub(super) decodes: Option<Alphabet>,
}

/// What was found so far in a message.
#[derive(Debug, Default)]
pub(super) struct Screener {
    hits: Vec<Hit>,
    /// The tests that have hits.
    ready: Bits,
    /// Values that were passed over because the description proved them.
    pub(super) proven: usize,
    pub(super) lens: Lens,
}

/// What values are looked at with; the thread's, and the transaction's while it runs.
#[derive(Debug, Default)]
pub(super) struct Lens {
    scratch: Scratch,
    candidates: Bits,
    /// The tests after whose chains the letters of the value at hand are of another case.
    recased: Bits,
    groups: Vec<Group>,
    /// What a step makes of a large value.
    made: Vec<u8>,
    /// There are more values than results that are remembered.
    is_many: bool,
    /// How many of `groups` are in use.
    used: usize,
}

impl Lens {
    /// Makes it ready for so many tests.
    fn fit(&mut self, tests: usize) {
        if self.candidates.length() != tests {
            self.candidates = Bits::new(tests);
            self.recased = Bits::new(tests);
            self.groups.clear();
        }
    }
}

/// Chains after which a value is the same.
#[derive(Debug, Default)]
struct Group {
    text: Text,
    tests: Bits,
}

/// The buckets of a value, and its index there.
type Place<'b> = (&'b [Bucket], usize);

/// What is made of values beyond this is not kept.
pub(super) const LARGE: usize = 64 << 10;
/// Of more values than this it is not kept what the chains make of them.
const MANY: usize = 1_024;
/// Values up to this are read by libinjection if their alphabet allows.
const SHORT: usize = 1_024;
/// What looking at a value costs besides its bytes.
const VALUE: u64 = 32;

/// What the screen works with.
pub(super) struct Tools<'a> {
    pub(super) state: &'a mut State,
    pub(super) memo: &'a mut Memo,
    pub(super) known: &'a mut Known,
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
        }
    }

    /// The tests that have hits.
    pub(super) fn ready(&self) -> impl Iterator<Item = usize> {
        self.ready.iter_ones()
    }

    /// All hits, for [`hits_of`]; they are put back.
    pub(super) fn take(&mut self) -> Vec<Hit> {
        std::mem::take(&mut self.hits)
    }

    pub(super) fn put_back(&mut self, hits: Vec<Hit>) {
        self.hits = hits;
    }

    /// Puts hits in the order in which rules ask for them, now that all were found.
    pub(super) fn sort(&mut self) {
        if self.lens.made.capacity() > LARGE {
            self.lens.made = Vec::new();
        }
        self.hits.sort_unstable();
        // Of two hits that differ in the change alone, the one that tells of it stays.
        self.hits.dedup_by(|next, kept| {
            let is_same = next.0 >> 1 == kept.0 >> 1;
            if is_same {
                kept.0 |= next.0 & 1;
            }
            is_same
        });
    }

    /// Looks at all values of these buckets.
    pub(super) fn screen(&mut self, plan: &ScreenPlan, buckets: &[Bucket], tools: &mut Tools<'_>) {
        // Vectors that double would take half as much again while they move; what is set aside here
        // and not used costs no memory.
        let values: usize = buckets
            .iter()
            .map(|bucket| tools.state.count(*bucket))
            .sum();
        self.hits.reserve(values);
        self.lens.fit(plan.prefilter.tests());
        self.lens.is_many = values > MANY;
        let mut seen: &[Bucket] = &[];
        for bucket in buckets {
            if seen.contains(bucket) {
                continue;
            }
            if let Some((shared, text)) = plan.shared_by(*bucket, tools.state) {
                seen = shared.buckets;
                self.value(plan, &shared.site, (seen, 0), text, false, tools);
                continue;
            }
            let Some(site) = plan.sites.get(bucket.index()) else {
                continue;
            };
            let is_field = matches!(bucket, Bucket::Field | Bucket::AnswerField);
            if !is_field && site.is_empty() {
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
                    if site.is_empty() {
                        continue;
                    }
                }
                let proven = !(tools.state.proven_names.is_empty()
                    && tools.state.proven_spans.is_empty())
                    && tools.state.is_proven(*bucket, text, key);
                self.proven += usize::from(proven);
                let place = (std::slice::from_ref(bucket), index);
                if proven {
                    self.value(plan, site, place, text, proven, tools);
                } else {
                    self.known_or_new(plan, site, (bucket, index), text, tools);
                }
            }
        }
    }

    /// Looks at a value, if that was not done before.
    fn known_or_new(
        &mut self,
        plan: &ScreenPlan,
        site: &SitePlan,
        (bucket, index): (&Bucket, usize),
        text: Text,
        tools: &mut Tools<'_>,
    ) {
        let key = tools.known.key_of(tools.state, *bucket, index);
        let bytes = tools.state.store.get(text);
        let slot = Known::slot(key, bytes);
        if let Some(slot) = slot
            && let Some(found) = tools.known.hits(slot, key, bytes)
        {
            *tools.work += VALUE + u64::try_from(text.len()).unwrap_or(u64::MAX);
            for (test, is_changed) in found {
                let test = usize::from(*test);
                self.ready.set(test);
                self.hits.push(Hit::new(test, *bucket, index, *is_changed));
            }
            return;
        }
        let before = self.hits.len();
        let place = (std::slice::from_ref(bucket), index);
        self.value(plan, site, place, text, false, tools);
        if let Some(slot) = slot {
            let hits = self.hits.get(before..).unwrap_or_default();
            let bytes = tools.state.store.get(text);
            tools.known.keep(slot, key, bytes, hits);
        }
    }

    fn value(
        &mut self,
        plan: &ScreenPlan,
        site: &SitePlan,
        place: (&[Bucket], usize),
        text: Text,
        proven: bool,
        tools: &mut Tools<'_>,
    ) {
        let alphabet = Alphabet::of(tools.state.store.get(text));
        *tools.work += VALUE + u64::try_from(text.len()).unwrap_or(u64::MAX);
        let is_dot = tools.state.store.get(text) == b".";
        if text.len() > LARGE {
            let large = Large::new(plan, place, proven);
            return self.large(&large, site, (text, alphabet), tools);
        }
        let mark = tools.state.store.used();
        self.lens.used = 0;
        self.lens.recased.fill(false);
        self.lens.candidates.copy_from(&site.all);
        let of = (text, alphabet);
        if is_dot || alphabet.intersects(site.triggers) {
            for node in &site.nodes {
                if !is_dot && !alphabet.intersects(node.triggers) {
                    continue;
                }
                let reach = alphabet.minus(node.takes).union(node.makes);
                let opens = alphabet.union(node.makes).intersects(node.opens);
                let scratch = &mut self.lens.scratch;
                if !opens && !plan.prefilter.leaves(&node.tests, reach, scratch) {
                    // Whatever comes of it matches none of them, be it another value or the same.
                    self.lens.candidates.and_not(&node.only);
                    continue;
                }
                self.changed(node, of, tools);
            }
        }
        if text.len() >= site.shortest {
            let mut run = None;
            for plan in &site.always {
                if can_match(plan, of, &mut run, &tools.state.store) {
                    self.changed(plan, of, tools);
                }
            }
        }
        self.narrow(plan, place, (text, alphabet), false, proven, tools);
        for index in 0..self.lens.used {
            let Some(group) = self.lens.groups.get(index) else {
                break;
            };
            let changed = group.text;
            self.lens.candidates.copy_from(&group.tests);
            let alphabet = Alphabet::of(tools.state.store.get(changed));
            *tools.work += u64::try_from(changed.len()).unwrap_or(u64::MAX);
            self.narrow(plan, place, (changed, alphabet), true, proven, tools);
        }
        // What nobody would find again is not kept.
        let used = tools.state.store.used();
        if used - mark > LARGE || self.lens.is_many && used > mark {
            tools.state.store.truncate(mark);
            tools.memo.forget();
        }
    }

    /// Transforms a value and sees to it that the result is looked at, if it is another.
    fn changed(
        &mut self,
        plan: &NodePlan,
        (text, alphabet): (Text, Alphabet),
        tools: &mut Tools<'_>,
    ) {
        let store = &mut tools.state.store;
        let of = (text, Some(alphabet));
        let changed = tools
            .memo
            .at(store, tools.chains, of, plan.node, tools.work);
        if changed == text {
            self.lens.candidates.or(&plan.tests);
        } else if is_alike(store, text, changed) {
            self.lens.candidates.or(&plan.tests);
            self.lens.recased.or(&plan.tests);
        } else {
            self.lens.candidates.and_not(&plan.only);
            if changed.len() >= plan.least {
                self.group(changed, &plan.tests, tools.state);
            }
        }
    }

    /// Adds the tests of a chain to those of an equal value.
    fn group(&mut self, text: Text, tests: &Bits, state: &State) {
        let bytes = state.store.get(text);
        let used = self
            .lens
            .groups
            .get_mut(..self.lens.used)
            .unwrap_or_default();
        for group in used {
            if group.text == text || state.store.get(group.text) == bytes {
                group.tests.or(tests);
                return;
            }
        }
        match self.lens.groups.get_mut(self.lens.used) {
            Some(group) => {
                group.text = text;
                group.tests.copy_from(tests);
            }
            None => self.lens.groups.push(Group {
                text,
                tests: tests.clone(),
            }),
        }
        self.lens.used += 1;
    }

    /// Keeps of the candidates those that can match, as hits.
    fn narrow(
        &mut self,
        plan: &ScreenPlan,
        (buckets, index): (&[Bucket], usize),
        (text, alphabet): (Text, Alphabet),
        is_changed: bool,
        proven: bool,
        tools: &mut Tools<'_>,
    ) {
        if proven {
            self.lens.candidates.and_not(&plan.attacks);
        }
        let bytes = tools.state.store.get(text);
        plan.prefilter.narrow(
            bytes,
            alphabet,
            &mut self.lens.candidates,
            &mut self.lens.scratch,
        );
        let mut set = None;
        let mut single = None;
        for test in self.lens.candidates.iter_ones() {
            let is_sqli = plan.sqli.contains(test);
            // Names are what it is asked about most.
            if is_sqli && *single.get_or_insert_with(|| injection::sqli::is_single(bytes)) {
                continue;
            }
            // Reading a short value costs less than finding out that it need not be read.
            if bytes.len() > SHORT && (is_sqli || plan.xss.contains(test)) {
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
            // One of several chains of a rule may change the value though it is a hit as it is.
            let is_changed = is_changed
                || self.lens.recased.contains(test)
                || self
                    .lens
                    .groups
                    .iter()
                    .take(self.lens.used)
                    .any(|group| group.tests.contains(test));
            for bucket in buckets {
                // Of buckets that share a value, not each may be the test's.
                let site = plan.sites.get(bucket.index());
                if buckets.len() == 1 || site.is_some_and(|site| site.tests.contains(test)) {
                    self.hits.push(Hit::new(test, *bucket, index, is_changed));
                }
            }
        }
    }
}

/// The hits of a test among all, which are sorted, in the order of the values.
pub(super) fn hits_of(hits: &[Hit], test: u32) -> &[Hit] {
    let test = u16::try_from(test).unwrap_or(u16::MAX);
    let start = hits.partition_point(|hit| hit.test() < test);
    let rest = hits.get(start..).unwrap_or_default();
    let count = rest.partition_point(|hit| hit.test() == test);
    rest.get(..count).unwrap_or_default()
}

/// Whether a chain that changes every value could make something of this one that matches. `run` is
/// how much base64 it begins with, once that is known.
fn can_match(
    plan: &NodePlan,
    (text, alphabet): (Text, Alphabet),
    run: &mut Option<usize>,
    store: &Store,
) -> bool {
    match plan.always {
        None => true,
        Some(always) if text.len() < always.shortest => false,
        Some(Always {
            shortest,
            decodes: Some(before),
        }) if !alphabet.intersects(before) => {
            *run.get_or_insert_with(|| base64_run(store.get(text))) >= shortest
        }
        Some(_) => true,
    }
}

/// Whether two texts differ in the case of letters alone, which no prefilter regards.
fn is_alike(store: &Store, one: Text, other: Text) -> bool {
    one.len() == other.len() && store.get(one).eq_ignore_ascii_case(store.get(other))
}

/// How many bytes of base64 a text begins with; line breaks count.
fn base64_run(text: &[u8]) -> usize {
    let is_other =
        |byte: &u8| !(byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'\r' | b'\n'));
    text.iter().position(is_other).unwrap_or(text.len())
}
