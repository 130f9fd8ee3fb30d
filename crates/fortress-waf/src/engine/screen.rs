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

mod large;

use self::large::Large;
use super::{
    memo::Memo,
    program::{Chains, Node},
    values::{Bucket, State},
};
use crate::{
    ByteSet,
    bits::Bits,
    injection,
    prefilter::{Alphabet, Prefilter, Scratch},
    store::Text,
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
    pub(super) nodes: Vec<NodePlan>,
    /// A value without a byte of these groups, and shorter than this, is the same after every chain
    /// that matters to it.
    pub(super) triggers: Alphabet,
    pub(super) shortest: usize,
}

/// The tests that look at the results of one chain.
#[derive(Clone, Debug)]
pub(super) struct NodePlan {
    pub(super) node: Node,
    pub(super) tests: Bits,
    /// A value without a byte of these groups is the same after the chain, but for letter case.
    pub(super) triggers: Alphabet,
    /// The chain changes every value.
    pub(super) always: Option<Always>,
    /// A shorter result matches no test.
    pub(super) least: usize,
}

/// A value that can match a test: the test, the bucket, the index in it, and whether a chain changes
/// the value, from the highest bits to the lowest, so that sorting is comparing numbers.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Hit(u64);

impl Hit {
    fn new(test: usize, bucket: Bucket, index: usize, is_changed: bool) -> Self {
        let wide = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        // Rules are far fewer than 65,536, and values than 2^39, or they were cut before.
        let test = wide(test) & 0xFFFF;
        let index = wide(index) & ((1 << 39) - 1);
        Self(test << 48 | wide(bucket.index()) << 40 | index << 1 | u64::from(is_changed))
    }

    fn test(self) -> u64 {
        self.0 >> 48
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

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Screener {
    hits: Vec<Hit>,
    /// The tests that have hits.
    ready: Bits,
    scratch: Scratch,
    candidates: Bits,
    /// The tests of chains that leave the value at hand as it is.
    unchanged: Bits,
    kinds: Kinds,
    groups: Vec<Group>,
    /// What a step makes of a large value.
    made: Vec<u8>,
    /// There are more values than results that are remembered.
    is_many: bool,
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

/// The bucket of a value, and its index there.
type Place = (Bucket, usize);

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
        if self.made.capacity() > LARGE {
            self.made = Vec::new();
        }
        self.proven = 0;
        let tests = plan.prefilter.tests();
        if self.ready.length() == tests {
            self.ready.fill(false);
        } else {
            self.ready = Bits::new(tests);
            self.candidates = Bits::new(tests);
            self.unchanged = Bits::new(tests);
            self.groups.clear();
        }
    }

    /// Whether a test has hits.
    pub(super) fn is_ready(&self, test: u32) -> bool {
        self.ready
            .contains(usize::try_from(test).unwrap_or(usize::MAX))
    }

    /// All hits, for [`hits_of`]; they are put back.
    pub(super) fn take(&mut self) -> Vec<Hit> {
        std::mem::take(&mut self.hits)
    }

    pub(super) fn put_back(&mut self, hits: Vec<Hit>) {
        self.hits = hits;
    }

    /// Puts hits in the order in which rules ask for them.
    pub(super) fn sort(&mut self) {
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
        self.is_many = values > MANY;
        for bucket in buckets {
            let Some(site) = plan.sites.get(bucket.index()) else {
                continue;
            };
            let is_field = matches!(bucket, Bucket::Field | Bucket::AnswerField);
            if !is_field && site.nodes.is_empty() {
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
                    if site.nodes.is_empty() {
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
        let is_dot = tools.state.store.get(text) == b".";
        if text.len() < site.shortest && !is_dot && !alphabet.intersects(site.triggers) {
            self.candidates.copy_from(&site.all);
            self.used = 0;
            self.narrow(plan, place, (text, alphabet), false, proven, tools);
            return;
        }
        if text.len() > LARGE {
            let large = Large::new(plan, place, proven);
            return self.large(&large, site, (text, alphabet), tools);
        }
        let mark = tools.state.store.used();
        self.used = 0;
        self.unchanged.fill(false);
        let mut run = None;
        for plan in &site.nodes {
            let changes = match plan.always {
                None => is_dot || alphabet.intersects(plan.triggers),
                // What cannot match is left out altogether.
                Some(always) if text.len() < always.shortest => continue,
                Some(Always {
                    shortest,
                    decodes: Some(before),
                }) if !alphabet.intersects(before) => {
                    let store = &tools.state.store;
                    let run = *run.get_or_insert_with(|| base64_run(store.get(text)));
                    if run < shortest {
                        continue;
                    }
                    true
                }
                Some(_) => true,
            };
            if !changes {
                self.unchanged.or(&plan.tests);
                continue;
            }
            let store = &mut tools.state.store;
            let of = (text, Some(alphabet));
            let changed = tools
                .memo
                .at(store, tools.chains, of, plan.node, tools.work);
            if changed == text {
                self.unchanged.or(&plan.tests);
            } else if changed.len() >= plan.least {
                self.group(changed, &plan.tests, tools.state);
            }
        }
        self.candidates.copy_from(&self.unchanged);
        self.narrow(plan, place, (text, alphabet), false, proven, tools);
        for index in 0..self.used {
            let Some(group) = self.groups.get(index) else {
                break;
            };
            let changed = group.text;
            self.candidates.copy_from(&group.tests);
            let alphabet = Alphabet::of(tools.state.store.get(changed));
            *tools.work += u64::try_from(changed.len()).unwrap_or(u64::MAX);
            self.narrow(plan, place, (changed, alphabet), true, proven, tools);
        }
        // What nobody would find again is not kept.
        let used = tools.state.store.used();
        if used - mark > LARGE || self.is_many && used > mark {
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
        (text, alphabet): (Text, Alphabet),
        is_changed: bool,
        proven: bool,
        tools: &mut Tools<'_>,
    ) {
        if proven {
            self.candidates.and_not(&plan.attacks);
        }
        let asks_sqli = self.candidates.meets(&plan.sqli);
        if asks_sqli || self.candidates.meets(&plan.xss) {
            let kind = self.kinds.of(alphabet);
            if !kind.sqli {
                self.candidates.and_not(&plan.sqli);
            }
            if !kind.xss {
                self.candidates.and_not(&plan.xss);
            }
        }
        let bytes = tools.state.store.get(text);
        plan.prefilter
            .narrow(bytes, alphabet, &mut self.candidates, &mut self.scratch);
        let mut set = None;
        for test in self.candidates.iter_ones() {
            let is_sqli = plan.sqli.contains(test);
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
                || self
                    .groups
                    .iter()
                    .take(self.used)
                    .any(|group| group.tests.contains(test));
            self.hits.push(Hit::new(test, bucket, index, is_changed));
        }
    }
}

/// The hits of a test among all, which are sorted, in the order of the values.
pub(super) fn hits_of(hits: &[Hit], test: u32) -> &[Hit] {
    let test = u64::from(test);
    let start = hits.partition_point(|hit| hit.test() < test);
    let rest = hits.get(start..).unwrap_or_default();
    let count = rest.partition_point(|hit| hit.test() == test);
    rest.get(..count).unwrap_or_default()
}

/// How many bytes of base64 a text begins with; line breaks count.
fn base64_run(text: &[u8]) -> usize {
    let is_other =
        |byte: &u8| !(byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'\r' | b'\n'));
    text.iter().position(is_other).unwrap_or(text.len())
}

/// Whether libinjection could find something in values of an alphabet, remembered for the last few
/// alphabets: more bytes only ever make it more likely, so all bytes of the groups are asked about.
#[derive(Debug)]
struct Kinds {
    entries: Box<[(Alphabet, Kind)]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Kind {
    sqli: bool,
    xss: bool,
}

/// Alphabets that are remembered.
const KINDS: usize = 1_024;

impl Default for Kinds {
    fn default() -> Self {
        // The alphabet of the empty text, in which nothing is found.
        Self {
            entries: vec![(Alphabet::default(), Kind::default()); KINDS].into(),
        }
    }
}

impl Kinds {
    fn of(&mut self, alphabet: Alphabet) -> Kind {
        let Some(entry) = self.entries.get_mut(alphabet.slot(0) % KINDS) else {
            return Kind {
                sqli: true,
                xss: true,
            };
        };
        if entry.0 != alphabet {
            let bytes = alphabet.bytes();
            let kind = Kind {
                sqli: injection::sqli::possible(&bytes),
                xss: injection::xss::possible(&bytes),
            };
            *entry = (alphabet, kind);
        }
        entry.1
    }
}
