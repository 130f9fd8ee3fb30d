//! Which rules become tests of a screen, and which values each of them looks at.
//!
//! A rule is a test if its first link looks at nothing but values of the message and asks something
//! that says what it needs. All others are asked in their turn, each time.

use super::{
    super::{
        Screening,
        program::{
            Chains, LinkPlan, Node, Op, RulePlan, SelectorPlan, Step, TargetPlan, TemplatePlan,
        },
        screen::{ScreenPlan, SitePlan},
        values::Bucket,
    },
    Compiler, index_of,
};
use crate::{
    ByteSet,
    bits::Bits,
    prefilter::{self, Alphabet},
    seclang::{Transformation, Variable},
    transform::Triggers,
};

/// The screens of the request and of the response.
pub(super) fn screens(
    compiler: &mut Compiler,
    rules: &[RulePlan],
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
    rules: &[RulePlan],
    phases: [&mut Vec<Step>; 2],
    buckets: &[Bucket],
    screening: Screening,
) -> ScreenPlan {
    let mut builder = prefilter::Builder::default();
    let mut tests: Vec<Test<'_>> = Vec::new();
    if screening == Screening::Prefiltered {
        for step in phases.into_iter().flatten() {
            let rule = usize::try_from(step.rule).ok().and_then(|index| rules.get(index));
            let Some((rule, link)) = rule.and_then(|rule| Some((rule, rule.links.first()?))) else {
                continue;
            };
            if !is_screened(link, buckets) {
                continue;
            }
            let Some(number) = add(&mut builder, compiler, link) else {
                continue;
            };
            step.test = u32::try_from(number).ok();
            let nodes = link.nodes.iter();
            tests.push(Test {
                link,
                is_attack: rule.is_attack,
                phase: index_of(rule.phase),
                nodes: nodes.map(|node| without_case(&mut compiler.chains, *node)).collect(),
            });
        }
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
        sites,
        fields,
        attacks,
        sqli,
        xss,
    }
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
        Op::Rx(pattern) => Some(builder.regex(&pattern.hir)),
        Op::Pm(_, phrases) => Some(builder.phrases(phrases.iter().map(Vec::as_slice))),
        Op::Contains(argument)
        | Op::ContainsWord(argument)
        | Op::BeginsWith(argument)
        | Op::EndsWith(argument)
        | Op::StrEq(argument) => one(builder, argument),
        Op::ByteRange(ranges) => Some(builder.bytes(ByteSet::ALL.minus(ranges.allowed()))),
        Op::UrlEncoding => Some(builder.bytes(ByteSet::of(b"%"))),
        Op::Utf8 => Some(builder.bytes(ByteSet::range(0x80, 0xFF))),
        Op::Sqli | Op::Xss => Some(builder.always()),
        Op::Card(_) | Op::Ssn(_) | Op::Cpf(_) | Op::Svnr(_) => {
            Some(builder.bytes(ByteSet::range(b'0', b'9')))
        }
        Op::Always
        | Op::Never
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
    let mut site = SitePlan {
        all: Bits::new(tests.len()),
        nodes: Vec::new(),
        triggers: Alphabet::default(),
        always_changes: false,
    };
    for (index, test) in tests.iter().enumerate() {
        let wanted = test.link.targets.iter().any(|target| looks_at(target, bucket, field))
            && !test.link.excluded.iter().any(|target| excludes(target, bucket, field, test.link));
        // Phase 1 is over when the body comes.
        let is_late = test.phase == 0 && Bucket::BODY.contains(&bucket);
        if !wanted || is_late {
            continue;
        }
        site.all.set(index);
        for node in &test.nodes {
            if !site.nodes.iter().any(|(known, _)| known == node) {
                site.nodes.push((*node, Bits::new(tests.len())));
            }
            for (_, tests) in site.nodes.iter_mut().filter(|(known, _)| known == node) {
                tests.set(index);
            }
        }
    }
    let mut triggers = ByteSet::EMPTY;
    for (node, _) in &site.nodes {
        for transformation in chains.chain(*node) {
            match transformation.triggers() {
                Triggers::Bytes(bytes) => triggers = triggers.union(bytes),
                Triggers::Always => site.always_changes = true,
            }
        }
    }
    site.triggers = Alphabet::mask(triggers);
    site
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
        && matches!(target.variable, Variable::RequestHeaders | Variable::ResponseHeaders)
        && link
            .targets
            .iter()
            .filter(|other| looks_at(other, bucket, field))
            .all(|other| other.variable == target.variable)
}
