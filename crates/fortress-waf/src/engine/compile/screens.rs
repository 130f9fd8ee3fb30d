//! Which rules become tests of a screen, and which values each of them looks at.
//!
//! A rule is a test if its first link looks at nothing but values of the message and asks something
//! that says what it needs. All others are asked in their turn, each time.

use regex_syntax::hir::Hir;

use super::{
    super::{
        Screening,
        program::{
            Chains, LinkPlan, Node, Op, RulePlan, SelectorPlan, Step, TargetPlan, TemplatePlan,
        },
        screen::{Always, NodePlan, ScreenPlan, SharedPlan, SitePlan},
        values::Bucket,
    },
    Compiler, index_of,
};
use crate::{
    ByteSet,
    bits::Bits,
    injection,
    prefilter::{self, Alphabet},
    seclang::{Transformation, Variable},
    transform::{Made, Triggers},
};

/// The screens of the request and of the response.
pub(super) fn screens(
    compiler: &mut Compiler,
    rules: &mut [RulePlan],
    phases: &mut [Vec<Step>; 5],
    screening: Screening,
) -> (ScreenPlan, ScreenPlan) {
    let [head, body, answer_head, answer_body, _] = phases;
    let request = screen(compiler, rules, [head, body], Bucket::REQUEST, screening);
    let response = screen(
        compiler,
        rules,
        [answer_head, answer_body],
        Bucket::RESPONSE,
        screening,
    );
    (request, response)
}

/// A rule that is a test.
struct Test<'r> {
    link: &'r LinkPlan,
    is_attack: bool,
    phase: usize,
    /// The chains whose results are looked at, without changes of case.
    nodes: Vec<Node>,
}

fn screen(
    compiler: &mut Compiler,
    rules: &mut [RulePlan],
    phases: [&mut Vec<Step>; 2],
    buckets: &[Bucket],
    screening: Screening,
) -> ScreenPlan {
    let mut builder = prefilter::Builder::default();
    let chosen = choose(&mut builder, compiler, rules, phases, (buckets, screening));
    let mut tests: Vec<Test<'_>> = Vec::new();
    for (index, _) in &chosen {
        let rule = rules.get(*index);
        let Some((rule, link)) = rule.and_then(|rule| Some((rule, rule.links.first()?))) else {
            continue;
        };
        let nodes = link.nodes.iter();
        tests.push(Test {
            link,
            is_attack: rule.is_attack,
            phase: index_of(rule.phase),
            nodes: nodes
                .map(|node| without_case(&mut compiler.chains, *node))
                .collect(),
        });
    }
    let of = |is: fn(&Test<'_>) -> bool| {
        let mut bits = Bits::new(tests.len());
        for (index, _) in tests.iter().enumerate().filter(|(_, test)| is(test)) {
            bits.set(index);
        }
        bits
    };
    let attacks = of(|test| test.is_attack);
    let sqli = of(|test| matches!(test.link.op, Op::Sqli));
    let xss = of(|test| matches!(test.link.op, Op::Xss));
    let mut sites = Vec::new();
    for bucket in (0..Bucket::COUNT).filter_map(Bucket::at) {
        sites.push(site(&compiler.chains, &tests, bucket, None));
    }
    let field = if buckets.contains(&Bucket::Field) {
        Bucket::Field
    } else {
        Bucket::AnswerField
    };
    let numbers = u16::try_from(compiler.fields.len()).unwrap_or(u16::MAX);
    let fields = (0..numbers)
        .map(|number| site(&compiler.chains, &tests, field, Some(number)))
        .collect();
    ScreenPlan {
        prefilter: builder.build(),
        shared: shared(&sites, tests.len()),
        sites,
        fields,
        turns: chosen.into_iter().map(|(_, turn)| turn).collect(),
        attacks,
        sqli,
        xss,
    }
}

/// Adds the rules that become tests to the builder; gives of each its index, and its turn: the phase and
/// the step.
fn choose(
    builder: &mut prefilter::Builder,
    compiler: &mut Compiler,
    rules: &mut [RulePlan],
    phases: [&mut Vec<Step>; 2],
    (buckets, screening): (&[Bucket], Screening),
) -> Vec<(usize, (usize, usize))> {
    let mut chosen = Vec::new();
    let steps = phases
        .into_iter()
        .flat_map(|steps| steps.iter_mut().enumerate());
    for (turn, step) in steps {
        let index = usize::try_from(step.rule).unwrap_or(usize::MAX);
        let Some(rule) = rules.get_mut(index) else {
            continue;
        };
        let Some(link) = rule.links.first_mut() else {
            continue;
        };
        if screening == Screening::Exhaustive || !is_screened(link, buckets) {
            continue;
        }
        // The tree is large: it is read here and gone.
        let tree = compiler.finish(&mut link.op, &rule.place);
        if let Some(number) = add(builder, compiler, link, tree.as_ref()) {
            step.test = u32::try_from(number).ok();
            chosen.push((index, (index_of(rule.phase), turn)));
        }
    }
    chosen
}

/// Whether a link looks at nothing but values of these buckets.
fn is_screened(link: &LinkPlan, buckets: &[Bucket]) -> bool {
    let is_value = |target: &TargetPlan| {
        let of = Bucket::of(target.variable, &target.selector);
        !target.counted && !of.is_empty() && of.iter().all(|bucket| buckets.contains(bucket))
    };
    !link.targets.is_empty() && link.targets.iter().all(is_value)
}

/// Adds what an operator needs; nothing if it does not say.
fn add(
    builder: &mut prefilter::Builder,
    compiler: &Compiler,
    link: &LinkPlan,
    tree: Option<&Hir>,
) -> Option<usize> {
    if link.negated {
        // What does not match is not known by what it needs; a set of bytes can be turned round.
        return None;
    }
    let one = |builder: &mut prefilter::Builder, argument: &TemplatePlan| {
        let TemplatePlan::Fixed(number, _) = argument else {
            return None;
        };
        let text = compiler.constants.get(*number);
        (!text.is_empty()).then(|| builder.phrases([text].into_iter()))
    };
    match &link.op {
        Op::Rx(_) => Some(builder.regex(tree?)),
        Op::Pm(_, phrases) => Some(builder.phrases(phrases.iter().map(Vec::as_slice))),
        Op::Contains(argument)
        | Op::ContainsWord(argument)
        | Op::BeginsWith(argument)
        | Op::EndsWith(argument)
        | Op::StrEq(argument) => one(builder, argument),
        Op::ByteRange(ranges) => Some(builder.bytes(ByteSet::ALL.minus(ranges.allowed()))),
        Op::UrlEncoding => Some(builder.bytes(ByteSet::of(b"%"))),
        Op::Utf8 => Some(builder.bytes(ByteSet::range(0x80, 0xFF))),
        Op::Sqli => Some(builder.judged(injection::sqli::possible)),
        Op::Xss => Some(builder.judged(injection::xss::possible)),
        Op::Card(_) | Op::Ssn(_) | Op::Cpf(_) | Op::Svnr(_) => {
            Some(builder.bytes(ByteSet::range(b'0', b'9')))
        }
        Op::Always
        | Op::Never
        | Op::Pending(_)
        | Op::Backtracking(_)
        | Op::RxMacro(_)
        | Op::Within(_)
        | Op::Eq(_)
        | Op::Ge(_)
        | Op::Gt(_)
        | Op::Le(_)
        | Op::Lt(_)
        | Op::IpMatch(_) => None,
    }
}

/// The chain without changes of case, where what follows does not look at it: a value is looked at
/// without regard to case.
fn without_case(chains: &mut Chains, node: Node) -> Node {
    let chain = chains.chain(node);
    let mut kept: Vec<Transformation> = Vec::new();
    let mut rest = chain.as_slice();
    while let Some((first, after)) = rest.split_first() {
        let is_case = matches!(first, Transformation::Lowercase | Transformation::Uppercase);
        if !is_case || !after.iter().all(|next| next.commutes_with_lowercase()) {
            kept.push(*first);
        }
        rest = after;
    }
    chains.node(&kept)
}

/// What is looked for in a bucket, or in the header fields with one name.
fn site(chains: &Chains, tests: &[Test<'_>], bucket: Bucket, field: Option<u16>) -> SitePlan {
    let mut site = nothing(tests.len());
    for (index, test) in tests.iter().enumerate() {
        let wanted = test
            .link
            .targets
            .iter()
            .any(|target| looks_at(target, bucket, field))
            && !test
                .link
                .excluded
                .iter()
                .any(|target| excludes(target, bucket, field, test.link));
        // Phase 1 is over when the body comes.
        let is_late = test.phase == 0 && Bucket::BODY.contains(&bucket);
        if !wanted || is_late {
            continue;
        }
        site.tests.set(index);
        for node in &test.nodes {
            if !site.nodes.iter().any(|known| known.node == *node) {
                site.nodes.push(node_plan(chains, *node, tests.len()));
            }
            for plan in site.nodes.iter_mut().filter(|known| known.node == *node) {
                plan.tests.set(index);
                plan.least = plan.least.min(least(test.link));
            }
        }
    }
    for plan in &mut site.nodes {
        for test in plan.tests.iter_ones() {
            if tests.get(test).is_some_and(|test| test.nodes.len() == 1) {
                plan.only.set(test);
            }
        }
    }
    let mut triggers = ByteSet::EMPTY;
    for plan in &mut site.nodes {
        if plan.always.is_some() {
            // Four characters of base64 give three bytes, and nothing before or after adds any.
            let chain = chains.chain(plan.node);
            let shortest = if chain.iter().all(|step| never_lengthens(*step)) {
                plan.least.saturating_mul(4) / 3
            } else {
                0
            };
            plan.always = Some(Always {
                shortest,
                decodes: before_base64(&chain),
            });
            site.shortest = site.shortest.min(shortest);
        } else {
            site.all.or(&plan.tests);
            triggers = triggers.union(trigger_bytes(chains, plan.node).unwrap_or(ByteSet::ALL));
        }
    }
    site.triggers = Alphabet::mask(triggers);
    let (always, nodes) = site
        .nodes
        .into_iter()
        .partition(|plan| plan.always.is_some());
    SitePlan {
        nodes,
        always,
        ..site
    }
}

/// What is looked for where nothing is.
fn nothing(tests: usize) -> SitePlan {
    SitePlan {
        tests: Bits::new(tests),
        all: Bits::new(tests),
        nodes: Vec::new(),
        always: Vec::new(),
        triggers: Alphabet::default(),
        shortest: usize::MAX,
    }
}

/// What is looked for in a value of the first two of the buckets that are often one text, and of all.
fn shared(sites: &[SitePlan], tests: usize) -> Vec<SharedPlan> {
    let all = Bucket::SHARED;
    let some = [all, all.get(..2).unwrap_or_default()];
    let plans = some.map(|buckets| {
        let own = |bucket: &Bucket| sites.get(bucket.index());
        let site = buckets
            .iter()
            .filter_map(own)
            .fold(nothing(tests), together);
        SharedPlan { buckets, site }
    });
    plans.into()
}

/// What is looked for in a value that is of two sites.
fn together(mut all: SitePlan, other: &SitePlan) -> SitePlan {
    all.tests.or(&other.tests);
    all.all.or(&other.all);
    all.triggers = all.triggers.union(other.triggers);
    all.shortest = all.shortest.min(other.shortest);
    join(&mut all.nodes, &other.nodes);
    join(&mut all.always, &other.always);
    all
}

fn join(all: &mut Vec<NodePlan>, others: &[NodePlan]) {
    for plan in others {
        let mut known = all.iter_mut();
        match known.find(|known| known.node == plan.node) {
            None => all.push(plan.clone()),
            Some(known) => {
                known.tests.or(&plan.tests);
                known.only.or(&plan.only);
                known.least = known.least.min(plan.least);
                if let (Some(always), Some(other)) = (&mut known.always, plan.always) {
                    always.shortest = always.shortest.min(other.shortest);
                }
            }
        }
    }
}

fn node_plan(chains: &Chains, node: Node, tests: usize) -> NodePlan {
    let triggers = trigger_bytes(chains, node);
    let (mut makes, mut takes, mut opens) = (ByteSet::EMPTY, ByteSet::EMPTY, ByteSet::EMPTY);
    for step in chains.chain(node) {
        makes = makes.minus(step.taken());
        takes = takes.union(step.taken());
        match (step.made(), step.triggers()) {
            (Made::Bytes(bytes), _) => makes = makes.union(bytes),
            (Made::Any, Triggers::Bytes(bytes)) => opens = opens.union(bytes),
            (Made::Any, Triggers::Always) => opens = ByteSet::ALL,
        }
    }
    NodePlan {
        node,
        tests: Bits::new(tests),
        only: Bits::new(tests),
        triggers: Alphabet::mask(triggers.unwrap_or(ByteSet::ALL)),
        makes: Alphabet::mask(makes),
        takes: Alphabet::within(takes),
        opens: Alphabet::mask(opens),
        always: triggers.is_none().then_some(Always {
            shortest: 0,
            decodes: None,
        }),
        least: usize::MAX,
    }
}

/// What must be in a value so that a chain changes more than its letter case; nothing if the chain
/// changes every value.
fn trigger_bytes(chains: &Chains, node: Node) -> Option<ByteSet> {
    let mut all = ByteSet::EMPTY;
    for step in chains.chain(node) {
        let bytes = match (step, step.triggers()) {
            (Transformation::Lowercase | Transformation::Uppercase, _) => ByteSet::EMPTY,
            // Among what it does is `lowercase`.
            (Transformation::CmdLine, Triggers::Bytes(bytes)) => bytes.minus(UPPER),
            // Without a slash there is one segment, which goes only if it is a dot: the screen looks
            // at that one value after all chains.
            (
                Transformation::NormalizePath | Transformation::NormalizePathWin,
                Triggers::Bytes(bytes),
            ) => bytes.minus(ByteSet::of(b".")),
            (_, Triggers::Bytes(bytes)) => bytes,
            (_, Triggers::Always) => return None,
        };
        all = all.union(bytes);
    }
    Some(all)
}

const UPPER: ByteSet = ByteSet::range(b'A', b'Z');

/// The groups of bytes that steps before a strict decoding of base64 would change.
fn before_base64(chain: &[Transformation]) -> Option<Alphabet> {
    let at = chain
        .iter()
        .position(|step| *step == Transformation::Base64Decode)?;
    let before = chain.get(..at)?.iter();
    let mut bytes = before.map(|step| match (step, step.triggers()) {
        // A change of case changes what base64 says.
        (_, Triggers::Bytes(bytes)) => Some(bytes),
        (_, Triggers::Always) => None,
    });
    let bytes = bytes.try_fold(ByteSet::EMPTY, |all, bytes| Some(all.union(bytes?)));
    bytes.map(Alphabet::mask)
}

/// Whether a step of a chain with base64 in it gives no more bytes than it takes.
fn never_lengthens(step: Transformation) -> bool {
    match step.triggers() {
        Triggers::Bytes(_) => step.most(1) <= 1 && step.most(1_000) <= 1_000,
        Triggers::Always => matches!(
            step,
            Transformation::Base64Decode
                | Transformation::Base64DecodeExt
                | Transformation::HexDecode
        ),
    }
}

/// The bytes that a value must have at least to match.
fn least(link: &LinkPlan) -> usize {
    if let Op::Rx(pattern) = &link.op {
        pattern.least
    } else if let Op::Pm(_, phrases) = &link.op {
        phrases.iter().map(Vec::len).min().unwrap_or(0)
    } else {
        0
    }
}

fn looks_at(target: &TargetPlan, bucket: Bucket, field: Option<u16>) -> bool {
    if !Bucket::of(target.variable, &target.selector).contains(&bucket) {
        return false;
    }
    let is_field = matches!(bucket, Bucket::Field | Bucket::AnswerField);
    match &target.selector {
        SelectorPlan::Field(number) if is_field => field == Some(*number),
        // A name that is too long to have a number is looked for among the others.
        SelectorPlan::All
        | SelectorPlan::Key(_)
        | SelectorPlan::Regex(_)
        | SelectorPlan::Field(_)
        | SelectorPlan::Keys(..)
        | SelectorPlan::Slot(_) => true,
    }
}

/// Whether a link takes all values of the bucket away, in one kind of the variables that bring it:
/// then no other target may bring them back.
fn excludes(target: &TargetPlan, bucket: Bucket, field: Option<u16>, link: &LinkPlan) -> bool {
    let SelectorPlan::Field(number) = target.selector else {
        return false;
    };
    field == Some(number)
        && matches!(
            target.variable,
            Variable::RequestHeaders | Variable::ResponseHeaders
        )
        && link
            .targets
            .iter()
            .filter(|other| looks_at(other, bucket, field))
            .all(|other| other.variable == target.variable)
}
