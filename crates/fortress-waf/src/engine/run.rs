//! Running the rules of a phase.
//!
//! Rules that are tests of the screen run only where they have hits, and only on these; all others
//! are asked about every value that they look at. What a match does to the transaction is in `act`,
//! the values of variables are in `look`.

use regex::bytes::Regex;
use smallvec::SmallVec;

use super::{
    desk::Turn,
    known::Known,
    memo::Memo,
    program::{
        ControlPlan, Disruption, LinkPlan, Node, Op, Program, ROOT, RulePlan, RxPlan, Skip, Step,
        TemplatePlan, Val,
    },
    screen::{LARGE, Screener, Tools, hits_of},
    values::{Bucket, Item, State},
    verdict::{Finding, Refusal, Verdict},
};
use crate::{
    bits::Bits,
    injection, operator,
    seclang::{AllowScope, EngineMode, Phase},
    store::Text,
};

/// A transaction's running part, reused from one to the next.
#[derive(Debug, Default)]
pub(super) struct Running {
    /// Lent by the desk while rules run, as are the lenses of both screeners.
    pub(super) memo: Memo,
    pub(super) known: Known,
    /// The turn that it had at the last desk.
    pub(super) turn: Turn,
    pub(super) request: Screener,
    pub(super) response: Screener,
    /// Bytes looked at so far.
    pub(super) work: u64,
    pub(super) budget: u64,
    /// A pattern gave up on a value.
    pub(super) undecided: bool,
    /// `MATCHED_VAR`.
    pub(super) matched: Option<Item>,
    /// `MATCHED_VARS`.
    pub(super) matched_vars: Vec<Item>,
    /// What the rule at hand has matched, for its finding.
    pub(super) traces: SmallVec<[Trace; MOST_TRACES]>,
    /// What the rule at hand has added to scores.
    pub(super) added: i64,
    pub(super) findings: Vec<Finding>,
    /// Rules that `ctl` has removed.
    pub(super) removed: Bits,
    pub(super) any_removed: bool,
    /// The steps of each phase that have their turn.
    due: [Bits; 5],
    /// Controls that remove targets.
    pub(super) removed_targets: Vec<u32>,
    pub(super) allowed: Option<(AllowScope, Phase)>,
    /// Room to put names and texts together.
    pub(super) naming: Vec<u8>,
    pub(super) expanding: Vec<u8>,
    pub(super) items: Vec<Item>,
    /// Bytes of texts when the phase began.
    settled: usize,
    spans: [Option<(usize, usize)>; 10],
}

/// Values that a finding tells of.
pub(super) const MOST_TRACES: usize = 8;

/// A value that matched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trace {
    pub(super) item: Item,
    pub(super) link: u8,
    pub(super) node: Node,
}

/// A transaction at work.
pub(super) struct Runner<'a> {
    pub(super) program: &'a Program,
    pub(super) state: &'a mut State,
    pub(super) run: &'a mut Running,
    /// The rule at hand.
    pub(super) rule: Option<&'a RulePlan>,
}

/// What asking for one more thing costs besides its bytes.
const ASKING: u64 = 32;
/// Memory that the texts made for rules of a phase that did not match may take.
const LEFTOVER: usize = 256 << 10;
/// Memory of the texts of a transaction besides its bodies: beyond it the inspection ends, as one
/// whose budget is spent.
const MOST_ARENA: usize = 64 << 20;

impl<'a> Runner<'a> {
    /// Whether rules run at all.
    pub(super) fn is_on(&self) -> bool {
        self.state.engine != EngineMode::Off
    }

    /// Looks at values, so that rules know where to look.
    pub(super) fn screen(&mut self, buckets: &[Bucket]) {
        let is_response = buckets
            .iter()
            .all(|bucket| Bucket::RESPONSE.contains(bucket));
        let (screener, plan) = if is_response {
            (&mut self.run.response, &self.program.response)
        } else {
            (&mut self.run.request, &self.program.request)
        };
        let mut tools = Tools {
            state: self.state,
            memo: &mut self.run.memo,
            known: &mut self.run.known,
            chains: &self.program.chains,
            work: &mut self.run.work,
            budget: self.run.budget,
        };
        screener.screen(plan, buckets, &mut tools);
        screener.sort();
    }

    /// Runs the rules of a phase.
    pub(super) fn phase(&mut self, phase: Phase) -> Verdict {
        if self.is_allowed(phase) {
            return Verdict::Pass;
        }
        let index = super::compile::index_of(phase);
        let program = self.program;
        let steps: &'a [Step] = program.phases.get(index).map_or(&[], |steps| steps);
        self.run.settled = self.state.store.used();
        self.find_due(phase, index);
        let mut at = 0;
        while let Some(turn) = self.run.due.get(index).and_then(|due| due.next(at))
            && let Some(step) = steps.get(turn)
        {
            at = turn + 1;
            if self.state.engine == EngineMode::Off {
                return Verdict::Pass;
            }
            if self.is_exhausted() {
                return self.exhausted(phase);
            }
            let number = usize::try_from(step.rule).unwrap_or(usize::MAX);
            if self.run.any_removed && self.run.removed.contains(number) {
                continue;
            }
            let Some(rule) = program.rules.get(number) else {
                continue;
            };
            if !self.matches(rule, number, *step) {
                continue;
            }
            if let Some(verdict) = self.matched(rule) {
                return verdict;
            }
            match rule.skip {
                Skip::Nothing => {}
                Skip::Count(count) => at += usize::try_from(count).unwrap_or(usize::MAX),
                Skip::To(step) => at = usize::try_from(step).unwrap_or(usize::MAX),
            }
            if self.is_allowed(phase) {
                break;
            }
        }
        if self.is_exhausted() {
            return self.exhausted(phase);
        }
        Verdict::Pass
    }

    /// Finds the steps of a phase that have their turn: those that always have it, those whose
    /// fields or buckets hold something, and those whose tests have hits.
    fn find_due(&mut self, phase: Phase, index: usize) {
        let turns = self.program.turns.get(index);
        let (Some(turns), Some(due)) = (turns, self.run.due.get_mut(index)) else {
            return;
        };
        if due.length() == turns.always.length() {
            due.copy_from(&turns.always);
        } else {
            *due = turns.always.clone();
        }
        let fields = self.state.fields.iter().chain(&self.state.answer_fields);
        for field in fields {
            if let Some(steps) = turns.fields.get(usize::from(field.number)) {
                due.or(steps);
            }
        }
        for (bucket, steps) in Bucket::ALL.iter().zip(&turns.buckets) {
            if self.state.count(*bucket) > 0 {
                due.or(steps);
            }
        }
        let (screener, plan) = match phase {
            Phase::RequestHeaders | Phase::RequestBody => {
                (&self.run.request, &self.program.request)
            }
            Phase::ResponseHeaders | Phase::ResponseBody | Phase::Logging => {
                (&self.run.response, &self.program.response)
            }
        };
        for test in screener.ready() {
            if let Some((of, turn)) = plan.turns.get(test)
                && *of == index
            {
                due.set(*turn);
            }
        }
    }

    pub(super) fn is_exhausted(&self) -> bool {
        self.run.undecided
            || self.run.work > self.run.budget
            || self.state.store.used() > MOST_ARENA
    }

    /// Rules that only tell are not worth a refusal.
    fn exhausted(&self, phase: Phase) -> Verdict {
        if phase == Phase::Logging {
            return Verdict::Pass;
        }
        Verdict::Exhausted
    }

    fn is_allowed(&self, phase: Phase) -> bool {
        let Some((scope, since)) = self.run.allowed else {
            return false;
        };
        match scope {
            AllowScope::All => phase != Phase::Logging,
            AllowScope::Phase => phase == since,
            AllowScope::Request => matches!(phase, Phase::RequestHeaders | Phase::RequestBody),
        }
    }

    fn screener_mut(&mut self, phase: Phase) -> &mut Screener {
        match phase {
            Phase::RequestHeaders | Phase::RequestBody => &mut self.run.request,
            Phase::ResponseHeaders | Phase::ResponseBody | Phase::Logging => &mut self.run.response,
        }
    }

    /// Whether all links of a rule match.
    fn matches(&mut self, rule: &'a RulePlan, number: usize, step: Step) -> bool {
        self.rule = Some(rule);
        self.run.matched_vars.clear();
        self.run.traces.clear();
        self.run.added = 0;
        let mark = self.state.store.used();
        let mut links = rule.links.iter().enumerate();
        let first = links.next();
        let begins = first.is_some_and(|(_, link)| match step.test {
            Some(test) => self.on_hits(rule, link, number, test),
            None => self.link(rule, link, 0, number),
        });
        let all = begins && links.all(|(index, link)| self.link(rule, link, index, number));
        let used = self.state.store.used();
        if !begins && used > mark && used - self.run.settled.min(used) > LEFTOVER {
            self.state.store.truncate(mark);
            self.run.memo.forget();
        }
        all
    }

    /// Asks a test's operator where it has hits.
    fn on_hits(
        &mut self,
        rule: &'a RulePlan,
        link: &'a LinkPlan,
        number: usize,
        test: u32,
    ) -> bool {
        // Taken out while the rule runs, which does not look for hits itself.
        let all = self.screener_mut(rule.phase).take();
        let hits = hits_of(&all, test);
        let is_attack = rule.is_attack;
        let mut any = false;
        'targets: for target in &link.targets {
            for bucket in Bucket::of(target.variable, &target.selector) {
                let number_of = u64::try_from(bucket.index()).unwrap_or_default();
                for hit in hits.iter().filter(|hit| hit.bucket() == number_of) {
                    if self.is_exhausted() {
                        break 'targets;
                    }
                    let index = hit.index();
                    let Some((text, key)) = self.state.value(*bucket, index) else {
                        continue;
                    };
                    if !self.state.selects(&target.selector, *bucket, index, key)
                        || self.is_taken(link, number, target.variable, (*bucket, index), key)
                        || is_attack && self.is_proven(*bucket, text, key)
                    {
                        continue;
                    }
                    let item = Item {
                        value: Val::Text(text),
                        variable: target.variable,
                        key: key.map_or(Val::None, Val::Text),
                    };
                    let matches = if link.keeps_case && !hit.is_changed() {
                        // It is the same after the first of the link's chains, and after all others.
                        let node = link.nodes.first().copied().unwrap_or(ROOT);
                        self.ask(link, 0, item, node)
                    } else {
                        self.item(link, 0, item)
                    };
                    if !matches && !self.run.undecided && link.op.is_of_bytes() {
                        let key = self.run.known.key_of(self.state, *bucket, index);
                        let bytes = self.state.store.get(text);
                        self.run.known.refute(key, bytes, hit.test());
                    }
                    any |= matches;
                }
            }
        }
        self.screener_mut(rule.phase).put_back(all);
        any
    }

    pub(super) fn is_proven(&self, bucket: Bucket, text: Text, key: Option<Text>) -> bool {
        let nothing = self.state.proven_names.is_empty() && self.state.proven_spans.is_empty();
        !nothing && self.state.is_proven(bucket, text, key)
    }

    /// Transforms a value and asks about it.
    pub(super) fn item(&mut self, link: &'a LinkPlan, index: usize, item: Item) -> bool {
        let mut any = false;
        let mut last = None;
        for node in &link.nodes {
            let mark = self.state.store.used();
            let value = self.transformed(item.value, *node);
            // Only what a transformation changed is asked about again.
            if last.is_some_and(|last| self.is_same(last, value)) {
                continue;
            }
            last = Some(value);
            let matches = self.ask(link, index, Item { value, ..item }, *node);
            any |= matches;
            // Of a large value one result at a time is in memory.
            if !matches && self.state.store.used() - mark > LARGE {
                self.state.store.truncate(mark);
                self.run.memo.forget();
                last = None;
            }
        }
        any
    }

    /// Asks about a value that is transformed already.
    fn ask(&mut self, link: &'a LinkPlan, index: usize, item: Item, node: Node) -> bool {
        if self.asks(link, item.value) == link.negated {
            return false;
        }
        if link.captures && !link.negated {
            self.capture(item.value);
        }
        self.act(link, index, item, node);
        true
    }

    /// Whether two values are the same text, wherever they stand.
    fn is_same(&self, one: Val, other: Val) -> bool {
        let (mut room, mut other_room) = (Digits::default(), Digits::default());
        let store = &self.state.store;
        one == other
            || bytes_of(self.program, store, one, &mut room)
                == bytes_of(self.program, store, other, &mut other_room)
    }

    /// A value as a text of the transaction.
    fn as_text(&mut self, value: Val) -> Text {
        match value {
            Val::Text(text) => text,
            Val::None => Text::default(),
            Val::Int(number) => self.state.store.write(|arena| push_number(arena, number)),
            Val::Const(number) => self.state.store.add(self.program.constants.get(number)),
        }
    }

    fn transformed(&mut self, value: Val, node: Node) -> Val {
        if node == ROOT {
            return value;
        }
        let text = self.as_text(value);
        let chains = &self.program.chains;
        let store = &mut self.state.store;
        Val::Text(
            self.run
                .memo
                .at(store, chains, (text, None), node, &mut self.run.work),
        )
    }

    /// Whether the operator, not regarding its negation, matches a value. What it captures is left
    /// in `spans`.
    fn asks(&mut self, link: &'a LinkPlan, value: Val) -> bool {
        self.run.work += ASKING;
        if let Some(matches) = self.asks_number(&link.op, value) {
            return matches;
        }
        if link.captures {
            self.run.spans = [None; 10];
        }
        if let Op::Backtracking(regex) = &link.op {
            return self.asks_backtracking(regex, link, value);
        }
        if let Op::RxMacro(template) = &link.op {
            return self.asks_pattern(template, value);
        }
        let argument = if let Op::Contains(template)
        | Op::ContainsWord(template)
        | Op::BeginsWith(template)
        | Op::EndsWith(template)
        | Op::StrEq(template)
        | Op::Within(template) = &link.op
        {
            self.evaluate(template)
        } else {
            Val::None
        };
        let (program, store) = (self.program, &self.state.store);
        let mut buffer = Digits::default();
        let mut other = Digits::default();
        let bytes = bytes_of(program, store, value, &mut buffer);
        let argument = bytes_of(program, store, argument, &mut other);
        self.run.work += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let spans = link.captures.then_some(&mut self.run.spans);
        let undecided = &mut self.run.undecided;
        match &link.op {
            Op::Always => true,
            // A pattern that waits is of a rule that never runs.
            Op::Never | Op::Pending(_) => false,
            Op::Rx(pattern) if pattern.is_everything => note(spans, 0, bytes.len()),
            Op::Rx(pattern) => decided(find_deferred(pattern, bytes, spans), undecided),
            Op::Pm(phrases) => decided(find_phrase(phrases, bytes, spans), undecided),
            Op::Contains(_) => operator::contains(bytes, argument),
            Op::ContainsWord(_) => operator::contains_word(bytes, argument),
            Op::BeginsWith(_) => operator::begins_with(bytes, argument),
            Op::EndsWith(_) => operator::ends_with(bytes, argument),
            Op::StrEq(_) => bytes == argument,
            Op::Within(_) => operator::within(bytes, argument),
            Op::IpMatch(networks) => networks.contains_text(bytes),
            Op::ByteRange(ranges) => ranges.refuses(bytes),
            Op::UrlEncoding => !operator::is_url_encoded(bytes),
            Op::Utf8 => !operator::is_utf8(bytes),
            Op::Sqli => {
                let found = injection::sqli::detect(bytes);
                if let (Some(fingerprint), true) = (&found, link.captures && !link.negated) {
                    self.set_capture(fingerprint.as_str());
                }
                found.is_some()
            }
            Op::Xss => injection::xss::detect(bytes) && note(spans, 0, bytes.len()),
            Op::Card(regex) => verify(regex, bytes, operator::is_card_number),
            Op::Ssn(regex) => verify(regex, bytes, operator::is_ssn),
            Op::Cpf(regex) => verify(regex, bytes, operator::is_cpf),
            Op::Svnr(regex) => verify(regex, bytes, operator::is_svnr),
            // Answered above.
            Op::RxMacro(_)
            | Op::Backtracking(_)
            | Op::Eq(_)
            | Op::Ge(_)
            | Op::Gt(_)
            | Op::Le(_)
            | Op::Lt(_) => false,
        }
    }

    /// What an operator that compares numbers says; nothing from one that looks at text.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "five of the operators compare numbers, and a new one is met in `asks`"
    )]
    fn asks_number(&mut self, op: &'a Op, value: Val) -> Option<bool> {
        let (template, compare): (&TemplatePlan, fn(&i64, &i64) -> bool) = match op {
            Op::Eq(template) => (template, |a, b| a == b),
            Op::Ge(template) => (template, |a, b| a >= b),
            Op::Gt(template) => (template, |a, b| a > b),
            Op::Le(template) => (template, |a, b| a <= b),
            Op::Lt(template) => (template, |a, b| a < b),
            _ => return None,
        };
        let argument = self.evaluate_number(template);
        Some(compare(&self.number(value), &argument))
    }

    /// A pattern whose cost nobody knows beforehand. Where it takes too many steps, the inspection
    /// ends: what was not decided is not known to be harmless.
    fn asks_backtracking(
        &mut self,
        regex: &fancy_regex::Regex,
        link: &LinkPlan,
        value: Val,
    ) -> bool {
        /// What a byte costs beside one of a pattern in linear time.
        const BYTE: u64 = 16;
        let mut buffer = Digits::default();
        let bytes = bytes_of(self.program, &self.state.store, value, &mut buffer);
        let cost = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.run.work = self.run.work.saturating_add(cost.saturating_mul(BYTE));
        let Ok(found) = regex.captures(bytes) else {
            self.run.undecided = true;
            return false;
        };
        let Some(found) = found else {
            return false;
        };
        if link.captures {
            for (span, group) in self.run.spans.iter_mut().zip(found.iter()) {
                *span = group.map(|group| (group.start(), group.end()));
            }
        }
        true
    }

    /// A pattern that only the transaction knows. It is compiled each time, so it costs.
    fn asks_pattern(&mut self, template: &'a TemplatePlan, value: Val) -> bool {
        const COMPILING: u64 = 64 << 10;
        self.run.work += COMPILING;
        let text = self.evaluate(template);
        let mut buffer = Digits::default();
        let text = bytes_of(self.program, &self.state.store, text, &mut buffer).to_vec();
        // What is no regular expression finds nothing, as in ModSecurity.
        let Ok(pattern) = crate::pattern::Pattern::parse(&text) else {
            return false;
        };
        let mut buffer = Digits::default();
        let bytes = bytes_of(self.program, &self.state.store, value, &mut buffer);
        let groups = pattern.regex.captures_len();
        find(&pattern.regex, groups, bytes, Some(&mut self.run.spans))
    }

    /// `TX:0` to `TX:9` after a match.
    fn capture(&mut self, value: Val) {
        let spans = self.run.spans;
        if spans.iter().all(Option::is_none) {
            return;
        }
        let text = self.as_text(value);
        for (slot, span) in self.state.tx.iter_mut().zip(spans) {
            *slot = match span {
                Some((start, end)) => Val::Text(text.part(start, end)),
                None => Val::None,
            };
        }
    }

    /// `TX:0` for what is no part of the value.
    fn set_capture(&mut self, found: &str) {
        self.run.spans = [None; 10];
        let text = self.state.store.add(found.as_bytes());
        for (index, slot) in self.state.tx.iter_mut().take(10).enumerate() {
            *slot = if index == 0 {
                Val::Text(text)
            } else {
                Val::None
            };
        }
    }

    /// A rule has matched as a whole: its controls, its finding, its verdict.
    fn matched(&mut self, rule: &'a RulePlan) -> Option<Verdict> {
        for control in rule.links.iter().flat_map(|link| &link.controls) {
            self.control(*control);
        }
        if let Some(severity) = rule.severity {
            self.state.highest_severity = self.state.highest_severity.min(severity);
        }
        if rule.is_logged {
            let finding = self.finding(rule);
            self.run.findings.push(finding);
        }
        let location = match &rule.disruption {
            Disruption::Pass => return None,
            Disruption::Allow(scope) => {
                if self.state.engine == EngineMode::On {
                    self.run.allowed = Some((*scope, rule.phase));
                }
                return None;
            }
            Disruption::Refuse => None,
            Disruption::Redirect(location) => Some(self.expanded(location)),
        };
        if self.state.engine != EngineMode::On || rule.phase == Phase::Logging {
            return None;
        }
        Some(Verdict::Refuse(Refusal {
            rule: rule.id,
            phase: rule.phase,
            status: rule.status,
            location,
            kind: rule.kind,
            message: self.expanded(&rule.message),
        }))
    }

    fn control(&mut self, number: u32) {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        match self.program.controls.get(index) {
            Some(ControlPlan::Engine(mode)) => self.state.engine = *mode,
            Some(ControlPlan::Remove(rules)) => {
                self.run.removed.or(rules);
                self.run.any_removed = true;
            }
            Some(ControlPlan::RemoveTarget(..)) => self.run.removed_targets.push(number),
            Some(ControlPlan::Processor(processor)) => self.state.processor = Some(*processor),
            Some(ControlPlan::RequestBodyAccess(on)) => self.state.request_body_access = *on,
            Some(ControlPlan::ResponseBodyAccess(on)) => self.state.response_body_access = *on,
            Some(ControlPlan::ForceRequestBody(on)) => self.state.force_body = *on,
            None => {}
        }
    }
}

type Spans<'s> = Option<&'s mut [Option<(usize, usize)>; 10]>;

fn find(regex: &Regex, groups: usize, bytes: &[u8], spans: Spans<'_>) -> bool {
    let Some(spans) = spans else {
        return regex.is_match(bytes);
    };
    if groups == 1 {
        let found = regex.find(bytes);
        return found.is_some_and(|found| note(Some(spans), found.start(), found.end()));
    }
    // Most values do not match; finding groups costs more than finding out.
    if !regex.is_match(bytes) {
        return false;
    }
    if let Some(captures) = regex.captures(bytes) {
        for (span, group) in spans.iter_mut().zip(captures.iter()) {
            *span = group.map(|group| (group.start(), group.end()));
        }
    }
    true
}

/// Nothing if the pattern cannot be compiled after all.
fn find_deferred(pattern: &RxPlan, bytes: &[u8], spans: Spans<'_>) -> Option<bool> {
    Some(find(pattern.regex.get()?, pattern.groups, bytes, spans))
}

/// Nothing if the phrases are too many after all.
fn find_phrase(phrases: &operator::Phrases, bytes: &[u8], spans: Spans<'_>) -> Option<bool> {
    let found = phrases.find(bytes).ok()?;
    Some(found.is_some_and(|found| note(spans, found.start, found.end)))
}

/// Where nobody knows whether something matches, the inspection ends.
fn decided(found: Option<bool>, undecided: &mut bool) -> bool {
    *undecided |= found.is_none();
    found.unwrap_or(false)
}

fn note(spans: Spans<'_>, start: usize, end: usize) -> bool {
    if let Some([first, ..]) = spans {
        *first = Some((start, end));
    }
    true
}

fn verify(regex: &Regex, bytes: &[u8], is_real: fn(&[u8]) -> bool) -> bool {
    regex
        .find_iter(bytes)
        .any(|found| is_real(found.as_bytes()))
}

/// Room for a number's digits.
#[derive(Debug, Default)]
pub(super) struct Digits(SmallVec<[u8; 24]>);

/// The bytes of a value.
pub(super) fn bytes_of<'v>(
    program: &'v Program,
    store: &'v crate::store::Store,
    value: Val,
    buffer: &'v mut Digits,
) -> &'v [u8] {
    match value {
        Val::None => &[],
        Val::Text(text) => store.get(text),
        Val::Const(number) => program.constants.get(number),
        Val::Int(number) => {
            buffer.0.clear();
            push_number(&mut buffer.0, number);
            &buffer.0
        }
    }
}

/// Appends a number in decimal.
pub(super) fn push_number(out: &mut impl Extend<u8>, number: i64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        at -= 1;
        let digit = u8::try_from(rest % 10).unwrap_or_default();
        if let Some(place) = digits.get_mut(at) {
            *place = b'0' + digit;
        }
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        out.extend([b'-']);
    }
    out.extend(digits.get(at..).unwrap_or_default().iter().copied());
}
