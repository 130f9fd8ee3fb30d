//! What rules are compiled to: immutable, shared by all threads, with every name resolved.
//!
//! Deliberately not here: how it comes to be (`compile`) and how it runs (`run`).

use std::{collections::HashMap, sync::Arc};

use regex::bytes::Regex;

use super::{persist::Kept, screen::ScreenPlan, verdict::RefusalKind};
use crate::{
    bits::Bits,
    operator::{ByteRanges, IpNetworks, Phrases},
    pattern::Deferred,
    prefilter::Alphabet,
    seclang::{
        AllowScope, BodyProcessor, EngineMode, Operator, Phase, Place, Transformation, Variable,
    },
    transform::Triggers,
};

/// Rules, compiled.
#[derive(Debug)]
pub(super) struct Program {
    /// No other program of the process has it; 0 if nothing is to be known from one transaction to the
    /// next.
    pub(super) number: u64,
    pub(super) rules: Vec<RulePlan>,
    /// The rules of each phase, in order.
    pub(super) phases: [Vec<Step>; 5],
    /// Of each phase, which steps without a test have their turn.
    pub(super) turns: [Turns; 5],
    pub(super) chains: Chains,
    pub(super) constants: Constants,
    pub(super) slots: Slots,
    /// The constants that hold the names of the slots.
    pub(super) slot_names: Vec<u32>,
    /// The constants that `REQBODY_PROCESSOR` can be.
    pub(super) processor_names: [u32; 5],
    /// What `TX` holds before the first rule that is left.
    pub(super) initial: Vec<Val>,
    pub(super) fields: FieldNames,
    pub(super) controls: Vec<ControlPlan>,
    pub(super) settings: Settings,
    /// Which values of the request, and of the response, can match which rules.
    pub(super) request: ScreenPlan,
    pub(super) response: ScreenPlan,
    /// `GLOBAL`, `IP` and the like, which outlive transactions.
    pub(super) kept: Kept,
    /// Rules that were decided while compiling and are gone.
    pub(super) folded: usize,
}

/// A rule's turn in its phase.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// Its index in `rules`.
    pub(super) rule: u32,
    /// The test of the phase's screen that must have hits for it to run, if there is one.
    pub(super) test: Option<u32>,
}

/// The steps of a phase that have no test, by what a message must hold so that their rules have a
/// value to look at: a rule without a value does not match, negated or not.
#[derive(Debug)]
pub(super) struct Turns {
    pub(super) always: Bits,
    /// By the numbers of header fields; without room where there are none.
    pub(super) fields: Vec<Bits>,
    /// By the indices of buckets.
    pub(super) buckets: Vec<Bits>,
}

/// A rule.
#[derive(Debug)]
pub(super) struct RulePlan {
    pub(super) id: u64,
    pub(super) phase: Phase,
    pub(super) links: Box<[LinkPlan]>,
    pub(super) message: TemplatePlan,
    pub(super) data: TemplatePlan,
    pub(super) tags: Box<[TemplatePlan]>,
    pub(super) severity: Option<u8>,
    pub(super) version: String,
    pub(super) revision: String,
    pub(super) is_logged: bool,
    pub(super) disruption: Disruption,
    pub(super) status: u16,
    pub(super) skip: Skip,
    pub(super) kind: RefusalKind,
    /// Whether what it looks for is an attack, by its tags: such rules skip proven values.
    pub(super) is_attack: bool,
    pub(super) place: Place,
}

/// What a rule does to the request when it has matched.
#[derive(Clone, Debug)]
pub(super) enum Disruption {
    Pass,
    Refuse,
    Allow(AllowScope),
    Redirect(TemplatePlan),
}

/// Where the phase goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Skip {
    Nothing,
    /// Past so many rules.
    Count(u32),
    /// At this step of the phase.
    To(u32),
}

/// One link of a rule.
#[derive(Debug)]
pub(super) struct LinkPlan {
    pub(super) targets: Box<[TargetPlan]>,
    pub(super) excluded: Box<[TargetPlan]>,
    /// The last node of its chain of transformations.
    pub(super) node: Node,
    /// `multiMatch`: each node from the root on.
    pub(super) nodes: Box<[Node]>,
    /// Whether no chain changes letter case: then a value that no chain changes otherwise is the
    /// same after it.
    pub(super) keeps_case: bool,
    pub(super) captures: bool,
    pub(super) negated: bool,
    pub(super) operator: Operator,
    pub(super) op: Op,
    pub(super) effects: Box<[Effect]>,
    /// Indices of the program's controls.
    pub(super) controls: Box<[u32]>,
}

/// What a link looks at.
#[derive(Clone, Debug)]
pub(super) struct TargetPlan {
    pub(super) variable: Variable,
    pub(super) selector: SelectorPlan,
    pub(super) counted: bool,
}

/// Which members.
#[derive(Clone, Debug)]
pub(super) enum SelectorPlan {
    All,
    /// In lower case.
    Key(Box<[u8]>),
    /// A header field that has a number.
    Field(u16),
    /// A key of `TX` that has a slot.
    Slot(u32),
    Regex(Regex),
    /// Of `TX`: the slots whose names it finds, for they are known; others are asked.
    Keys(Regex, Box<[u32]>),
}

/// What is asked.
#[derive(Debug)]
pub(super) enum Op {
    Always,
    Never,
    Rx(RxPlan),
    /// A pattern of a rule that may yet be decided while compiling.
    Pending(Box<Unread>),
    /// A pattern that only a backtracking matcher can decide.
    Backtracking(Box<fancy_regex::Regex>),
    /// A pattern that is known only when the rule runs.
    RxMacro(TemplatePlan),
    Pm(Phrases),
    Contains(TemplatePlan),
    ContainsWord(TemplatePlan),
    BeginsWith(TemplatePlan),
    EndsWith(TemplatePlan),
    StrEq(TemplatePlan),
    Within(TemplatePlan),
    Eq(TemplatePlan),
    Ge(TemplatePlan),
    Gt(TemplatePlan),
    Le(TemplatePlan),
    Lt(TemplatePlan),
    IpMatch(IpNetworks),
    ByteRange(Box<ByteRanges>),
    UrlEncoding,
    Utf8,
    Sqli,
    Xss,
    Card(Regex),
    Ssn(Regex),
    Cpf(Regex),
    Svnr(Regex),
}

impl Op {
    /// Whether what it says of a value depends on the value's bytes alone.
    pub(super) fn is_of_bytes(&self) -> bool {
        matches!(
            self,
            Self::Rx(_) | Self::Pm(_) | Self::Sqli | Self::Xss | Self::ByteRange(_)
        )
    }
}

/// A regular expression that has not been read. One tree at a time is in memory: trees are large.
#[derive(Debug)]
pub(super) struct Unread {
    pub(super) text: Box<[u8]>,
    pub(super) negated: bool,
    pub(super) place: Place,
}

/// A regular expression.
#[derive(Debug)]
pub(super) struct RxPlan {
    pub(super) regex: Deferred,
    /// The bytes that a match has at least.
    pub(super) least: usize,
    /// Groups that capture, the whole match among them.
    pub(super) groups: usize,
    /// It is `^.*$`, which finds every value, whole.
    pub(super) is_everything: bool,
}

/// Text with macros, resolved as far as it can be.
#[derive(Clone, Debug)]
pub(super) enum TemplatePlan {
    /// A constant, and what it is as a number.
    Fixed(u32, i64),
    /// One key of `TX`.
    Slot(u32),
    Pieces(Box<[PiecePlan]>),
}

#[derive(Clone, Debug)]
pub(super) enum PiecePlan {
    Text(u32),
    Slot(u32),
    Variable(Variable, Option<Box<[u8]>>),
}

/// What a link does each time it matches.
#[derive(Clone, Debug)]
pub(super) enum Effect {
    Set {
        place: SetPlace,
        change: ChangePlan,
        /// Whether it is an anomaly score of the request's or the response's.
        is_score: bool,
    },
    Expire {
        variable: Variable,
        key: TemplatePlan,
        seconds: TemplatePlan,
    },
    Open {
        variable: Variable,
        key: TemplatePlan,
    },
    Environment {
        name: Box<[u8]>,
        value: TemplatePlan,
    },
}

#[derive(Clone, Debug)]
pub(super) enum SetPlace {
    Slot(u32),
    Tx(TemplatePlan),
    Environment(TemplatePlan),
    Kept(Variable, TemplatePlan),
}

#[derive(Clone, Debug)]
pub(super) enum ChangePlan {
    Set(TemplatePlan),
    Add(TemplatePlan),
    Subtract(TemplatePlan),
    Unset,
}

/// What a rule does to those after it.
#[derive(Debug)]
pub(super) enum ControlPlan {
    Engine(EngineMode),
    Remove(Bits),
    RemoveTarget(Bits, TargetPlan),
    Processor(BodyProcessor),
    RequestBodyAccess(bool),
    ResponseBodyAccess(bool),
    ForceRequestBody(bool),
}

/// A value: of a request, of the program, or a number that was computed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Val {
    #[default]
    None,
    Text(crate::store::Text),
    Int(i64),
    Const(u32),
}

/// A place in the tree of chains of transformations. The root is [`ROOT`]: the value as it is.
pub(super) type Node = u16;

/// No transformation at all.
pub(super) const ROOT: Node = 0;

/// All chains of transformations, as a tree: equal beginnings are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Chains {
    /// Each node but the root, from 1.
    nodes: Vec<ChainNode>,
}

#[derive(Clone, Copy, Debug)]
struct ChainNode {
    /// The node before it, and what is done here.
    parent: Node,
    step: Transformation,
    /// A text without a byte of these groups stays as it is; none if any may change.
    triggers: Option<Alphabet>,
}

impl Chains {
    /// The node that comes of `parent` by a transformation.
    pub(super) fn child(&mut self, parent: Node, step: Transformation) -> Node {
        let known = self
            .nodes
            .iter()
            .position(|node| node.parent == parent && node.step == step);
        let index = known.unwrap_or_else(|| {
            let triggers = match step.triggers() {
                Triggers::Bytes(bytes) => Some(Alphabet::mask(bytes)),
                Triggers::Always => None,
            };
            self.nodes.push(ChainNode {
                parent,
                step,
                triggers,
            });
            self.nodes.len() - 1
        });
        // Far fewer than 65,535: rules are bounded, and share their chains.
        Node::try_from(index + 1).unwrap_or(ROOT)
    }

    /// Whether the last step to a node can change a text of this alphabet.
    pub(super) fn can_change(&self, node: Node, alphabet: Alphabet) -> bool {
        let index = usize::from(node).checked_sub(1);
        let node = index.and_then(|index| self.nodes.get(index));
        let triggers = node.and_then(|node| node.triggers);
        triggers.is_none_or(|triggers| alphabet.intersects(triggers))
    }

    /// The node of a whole chain.
    pub(super) fn node(&mut self, chain: &[Transformation]) -> Node {
        chain.iter().fold(ROOT, |parent, transformation| {
            self.child(parent, *transformation)
        })
    }

    /// What leads to a node; nothing for the root.
    pub(super) fn get(&self, node: Node) -> Option<(Node, Transformation)> {
        let index = usize::from(node).checked_sub(1)?;
        let node = self.nodes.get(index)?;
        Some((node.parent, node.step))
    }

    /// The whole chain that leads to a node.
    pub(super) fn chain(&self, node: Node) -> Vec<Transformation> {
        let mut chain = Vec::new();
        let mut at = node;
        while let Some((parent, transformation)) = self.get(at) {
            chain.push(transformation);
            at = parent;
        }
        chain.reverse();
        chain
    }
}

/// Texts of the program.
#[derive(Debug, Default)]
pub(super) struct Constants {
    texts: Vec<Box<[u8]>>,
    numbers: HashMap<Box<[u8]>, u32>,
}

impl Constants {
    pub(super) fn add(&mut self, text: &[u8]) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.texts.push(text.into());
        self.numbers.insert(text.into(), number);
        number
    }

    /// No more will be added: what finds them again is not needed any longer.
    pub(super) fn close(&mut self) {
        self.numbers = HashMap::new();
        self.texts.shrink_to_fit();
    }

    pub(super) fn get(&self, number: u32) -> &[u8] {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        self.texts.get(index).map_or(&[], |text| text)
    }
}

/// The keys of `TX` that rules name.
#[derive(Debug)]
pub(super) struct Slots {
    names: Vec<Box<[u8]>>,
    numbers: HashMap<Box<[u8]>, u32>,
}

/// `TX:0` to `TX:9`.
pub(super) const CAPTURES: u32 = 10;

impl Default for Slots {
    fn default() -> Self {
        let mut slots = Self {
            names: Vec::new(),
            numbers: HashMap::new(),
        };
        for digit in b'0'..=b'9' {
            slots.add(&[digit]);
        }
        slots
    }
}

impl Slots {
    /// The slot of a key in lower case.
    pub(super) fn add(&mut self, key: &[u8]) -> u32 {
        if let Some(slot) = self.numbers.get(key) {
            return *slot;
        }
        let slot = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(key.into());
        self.numbers.insert(key.into(), slot);
        slot
    }

    pub(super) fn find(&self, key: &[u8]) -> Option<u32> {
        self.numbers.get(key).copied()
    }

    pub(super) fn name(&self, slot: u32) -> &[u8] {
        let index = usize::try_from(slot).unwrap_or(usize::MAX);
        self.names.get(index).map_or(&[], |name| name)
    }

    pub(super) fn names(&self) -> &[Box<[u8]>] {
        &self.names
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }
}

/// Header fields that rules name, by length: a name is compared with the few that are as long.
#[derive(Debug, Default)]
pub(super) struct FieldNames {
    by_length: Vec<Vec<(Box<[u8]>, u16)>>,
    count: u16,
}

/// A field that no rule names.
pub(super) const OTHER_FIELD: u16 = u16::MAX;
/// Longer names are none that a rule names.
const LONGEST_NAME: usize = 64;

impl FieldNames {
    /// The number of a name in lower case.
    pub(super) fn add(&mut self, name: &[u8]) -> u16 {
        let known = self.find(name);
        if known != OTHER_FIELD {
            return known;
        }
        if self.by_length.len() <= name.len() {
            self.by_length.resize(name.len() + 1, Vec::new());
        }
        let number = self.count;
        if let Some(names) = self.by_length.get_mut(name.len()) {
            names.push((name.into(), number));
            self.count += 1;
        }
        number
    }

    /// The number of a name in any case.
    pub(super) fn find(&self, name: &[u8]) -> u16 {
        let names = self.by_length.get(name.len());
        let mut names = names.into_iter().flatten();
        let known = names.find(|(known, _)| known.eq_ignore_ascii_case(name));
        known.map_or(OTHER_FIELD, |(_, number)| *number)
    }

    pub(super) fn len(&self) -> usize {
        self.count.into()
    }

    /// Whether a rule could name a field of this length.
    pub(super) const fn can_hold(name: &[u8]) -> bool {
        name.len() <= LONGEST_NAME
    }
}

/// Settings of the whole program.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) engine: EngineMode,
    pub(super) request_body: bool,
    pub(super) response_body: bool,
    pub(super) request_limit: u64,
    /// `SecRequestBodyNoFilesLimit`, where it is said.
    pub(super) no_files_limit: Option<u64>,
    pub(super) request_reject: bool,
    pub(super) response_limit: u64,
    pub(super) response_reject: bool,
    pub(super) response_types: Vec<String>,
    pub(super) arguments: usize,
    pub(super) depth: usize,
    pub(super) files: usize,
    pub(super) separator: u8,
    pub(super) collection_timeout: i64,
    /// `SecComponentSignature`s, for whoever asks what runs.
    pub(super) components: Vec<Arc<str>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            engine: EngineMode::Off,
            request_body: false,
            response_body: false,
            request_limit: 128 << 20,
            no_files_limit: None,
            request_reject: true,
            response_limit: 512 << 10,
            response_reject: true,
            response_types: Vec::new(),
            arguments: 1_000,
            depth: 512,
            files: 100,
            separator: b'&',
            collection_timeout: 3_600,
            components: Vec::new(),
        }
    }
}
