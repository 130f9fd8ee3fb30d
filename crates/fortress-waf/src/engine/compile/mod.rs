//! From directives to a program: `drafts` applies what directives do to rules, `rules` resolves
//! their names, `tests` their operators (`backtracking` those beyond linear time), `fold` decides
//! what is already decided, and `screens` finds out which values can match which rules.
//!
//! Deliberately not here: running anything. All mistakes are told at once.

mod backtracking;
mod drafts;
mod fold;
mod rules;
mod screens;
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};

use super::{
    Screening,
    persist::Kept,
    program::{
        Chains, Constants, ControlPlan, FieldNames, Op, Program, RulePlan, SelectorPlan, Skip,
        Slots, Step, TargetPlan, Turns, Val,
    },
    values::Bucket,
};
use crate::{
    bits::Bits,
    injection,
    seclang::{Mistake, Phase, Place, Ruleset, Variable},
};

/// The number of the next program; they tell programs apart in memory that several have used.
static PROGRAMS: AtomicU64 = AtomicU64::new(1);

/// Compiles rules.
pub(super) fn compile(ruleset: &Ruleset, screening: Screening) -> Result<Program, Vec<Mistake>> {
    let mut compiler = Compiler::default();
    let drafts = drafts::drafts(ruleset, &mut compiler);
    let mut rules: Vec<RulePlan> = Vec::with_capacity(drafts.rules.len());
    for draft in &drafts.rules {
        let plan = compiler.rule(draft, &drafts.rules);
        rules.push(plan);
    }
    if !compiler.mistakes.is_empty() {
        finish(&mut compiler, &mut rules, &Default::default());
        return Err(compiler.mistakes);
    }
    find_keys(&mut rules, &compiler.slots);
    let mut phases = phases(&mut rules, &drafts);
    let folded = fold::fold(&compiler, &mut rules, &mut phases);
    let (request, response) = screens::screens(&mut compiler, &mut rules, &mut phases, screening);
    finish(&mut compiler, &mut rules, &phases);
    if !compiler.mistakes.is_empty() {
        return Err(compiler.mistakes);
    }
    // Tables that libinjection makes when it is first asked.
    let _verdict = injection::sqli::detect(b"1 or 1");
    let names = compiler.slots.names().iter();
    let slot_names = names.map(|name| compiler.constants.add(name)).collect();
    let processor_names = ["", "URLENCODED", "MULTIPART", "JSON", "XML"]
        .map(|name| compiler.constants.add(name.as_bytes()));
    let turns = phases
        .each_ref()
        .map(|steps| turns(&compiler, &rules, steps));
    compiler.constants.close();
    Ok(Program {
        number: match screening {
            Screening::Prefiltered => PROGRAMS.fetch_add(1, Ordering::Relaxed),
            Screening::Exhaustive => 0,
        },
        turns,
        slot_names,
        processor_names,
        initial: folded.initial,
        folded: folded.rules,
        rules,
        phases,
        chains: compiler.chains,
        constants: compiler.constants,
        slots: compiler.slots,
        fields: compiler.fields,
        controls: compiler.controls,
        kept: Kept::new(drafts.settings.collection_timeout),
        settings: drafts.settings,
        request,
        response,
    })
}

/// Sorts the steps of a phase by what their rules look at.
fn turns(compiler: &Compiler, rules: &[RulePlan], steps: &[Step]) -> Turns {
    let none = Bits::new(steps.len());
    let mut turns = Turns {
        always: none.clone(),
        fields: vec![Bits::default(); compiler.fields.len()],
        buckets: vec![Bits::default(); Bucket::COUNT],
    };
    let untested = steps.iter().enumerate();
    for (turn, step) in untested.filter(|(_, step)| step.test.is_none()) {
        let rule = rules.get(usize::try_from(step.rule).unwrap_or(usize::MAX));
        let targets = rule
            .and_then(|rule| rule.links.first())
            .map(|link| &link.targets);
        let is_value = |target: &TargetPlan| {
            !target.counted && !Bucket::of(target.variable, &target.selector).is_empty()
        };
        let Some(targets) =
            targets.filter(|targets| !targets.is_empty() && targets.iter().all(is_value))
        else {
            turns.always.set(turn);
            continue;
        };
        for target in targets {
            let buckets = Bucket::of(target.variable, &target.selector);
            let (places, indices) = if let SelectorPlan::Field(number) = target.selector {
                (&mut turns.fields, vec![usize::from(number)])
            } else {
                let indices = buckets.iter().map(|bucket| bucket.index());
                (&mut turns.buckets, indices.collect())
            };
            for index in indices {
                if let Some(steps) = places.get_mut(index) {
                    if steps.length() == 0 {
                        *steps = none.clone();
                    }
                    steps.set(turn);
                }
            }
        }
    }
    turns
}

/// Finds the keys of `TX` that selectors with regular expressions mean, now that all are known.
fn find_keys(rules: &mut [RulePlan], slots: &Slots) {
    let links = rules.iter_mut().flat_map(|rule| &mut rule.links);
    let targets = links.flat_map(|link| link.targets.iter_mut().chain(&mut link.excluded));
    for target in targets.filter(|target| target.variable == Variable::Tx) {
        if let SelectorPlan::Regex(regex) = &target.selector {
            let found = (0_u32..).zip(slots.names());
            let found = found.filter(|(_, name)| regex.is_match(name));
            let found = found.map(|(slot, _)| slot).collect();
            target.selector = SelectorPlan::Keys(regex.clone(), found);
        }
    }
}

/// Reads the patterns that the screens have not read. Those of rules that are gone are read for
/// their mistakes alone.
fn finish(compiler: &mut Compiler, rules: &mut [RulePlan], phases: &[Vec<Step>; 5]) {
    let mut stays = vec![false; rules.len()];
    for step in phases.iter().flatten() {
        let index = usize::try_from(step.rule).unwrap_or(usize::MAX);
        if let Some(stays) = stays.get_mut(index) {
            *stays = true;
        }
    }
    for (rule, stays) in rules.iter_mut().zip(stays) {
        for link in &mut rule.links {
            let _tree = compiler.finish(&mut link.op);
            if !stays {
                link.op = Op::Never;
            }
        }
    }
}

/// What is shared by all rules while they are compiled.
#[derive(Debug, Default)]
struct Compiler {
    chains: Chains,
    constants: Constants,
    slots: Slots,
    fields: FieldNames,
    controls: Vec<ControlPlan>,
    mistakes: Vec<Mistake>,
}

impl Compiler {
    fn wrong(&mut self, place: &Place, message: impl Into<String>) {
        self.mistakes.push(Mistake {
            place: place.clone(),
            message: message.into(),
            suggestion: None,
        });
    }
}

/// The index of a phase among five.
pub(super) fn index_of(phase: Phase) -> usize {
    match phase {
        Phase::RequestHeaders => 0,
        Phase::RequestBody => 1,
        Phase::ResponseHeaders => 2,
        Phase::ResponseBody => 3,
        Phase::Logging => 4,
    }
}

/// Sorts rules into phases, and gives each `skipAfter` the step that it leads to.
fn phases(rules: &mut [RulePlan], drafts: &drafts::Drafts<'_>) -> [Vec<Step>; 5] {
    let mut phases: [Vec<Step>; 5] = Default::default();
    // The directive of each step, to find markers among them.
    let mut places: [Vec<usize>; 5] = Default::default();
    for (index, (rule, draft)) in rules.iter().zip(&drafts.rules).enumerate() {
        let phase = index_of(rule.phase);
        if let (Some(steps), Some(places)) = (phases.get_mut(phase), places.get_mut(phase)) {
            steps.push(Step {
                rule: u32::try_from(index).unwrap_or(u32::MAX),
                test: None,
            });
            places.push(draft.at);
        }
    }
    for (rule, draft) in rules.iter_mut().zip(&drafts.rules) {
        let Some(marker) = &draft.skip_after else {
            continue;
        };
        // INVARIANT: the reader has seen to it that the marker stands after the rule.
        let after = drafts
            .markers
            .iter()
            .find(|(at, name)| *at > draft.at && name == marker)
            .map_or(usize::MAX, |(at, _)| *at);
        let steps = places
            .get(index_of(rule.phase))
            .map_or(&[][..], |places| places);
        let step = steps.partition_point(|at| *at < after);
        rule.skip = Skip::To(u32::try_from(step).unwrap_or(u32::MAX));
    }
    phases
}

/// A value that a constant text has: a number where it is written as one.
fn value_of(text: &[u8], number: u32) -> Val {
    let written = std::str::from_utf8(text).ok();
    match written.and_then(|text| text.parse::<i64>().ok()) {
        Some(value) if value.to_string().as_bytes() == text => Val::Int(value),
        _ => Val::Const(number),
    }
}
