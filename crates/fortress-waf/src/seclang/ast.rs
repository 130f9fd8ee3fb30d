//! What a SecLang text says, before anything is resolved: directives in order, each with its place.
//!
//! Nothing here knows how it was written, nor what becomes of it.

use super::{Operator, Transformation, Variable};

/// A place in a file.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// The file, as it was named to the parser or by `Include`.
    pub file: std::sync::Arc<str>,
    /// The line, from 1: of the directive's first line for a directive.
    pub line: u32,
}

/// One directive.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Directive {
    /// Where it begins.
    pub place: Place,
    /// What it says.
    pub kind: DirectiveKind,
}

/// What a directive says. `Include` is not here: the parser has followed it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DirectiveKind {
    /// `SecRule` with its chain, or `SecAction` (one link without targets).
    Rule(Rule),
    /// `SecMarker`.
    Marker(String),
    /// `SecDefaultAction`: the actions and their phase.
    DefaultAction { phase: Phase, actions: Vec<Action> },
    /// `SecComponentSignature`.
    Component(String),
    /// `SecRuleEngine`.
    Engine(EngineMode),
    /// `SecRuleRemoveById`, `…ByTag`, `…ByMsg`.
    Remove(Selection),
    /// `SecRuleUpdateTargetById`, `…ByTag`, `…ByMsg`: the targets are added, or excluded if negated.
    /// With a third argument, `replaced`: those of the rule's targets that equal one of these go
    /// first; a rule that has none of them stays as it is.
    UpdateTargets {
        rules: Selection,
        targets: Vec<Target>,
        replaced: Vec<Target>,
    },
    /// `SecRuleUpdateActionById`: actions that replace or add. The rule is `id`, or its link `id:n`.
    UpdateActions {
        id: u64,
        link: usize,
        actions: Vec<Action>,
    },
    /// A directive that sets one value of [`Setting`].
    Set(Setting),
}

/// Directives with a single value that mean something to this engine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Setting {
    /// `SecRequestBodyAccess`.
    RequestBodyAccess(bool),
    /// `SecResponseBodyAccess`.
    ResponseBodyAccess(bool),
    /// `SecRequestBodyLimit`, bytes.
    RequestBodyLimit(u64),
    /// `SecRequestBodyNoFilesLimit`, bytes.
    RequestBodyNoFilesLimit(u64),
    /// `SecRequestBodyLimitAction`: `true` is `Reject`, `false` is `ProcessPartial`.
    RequestBodyLimitReject(bool),
    /// `SecResponseBodyLimit`, bytes.
    ResponseBodyLimit(u64),
    /// `SecResponseBodyLimitAction`: `true` is `Reject`.
    ResponseBodyLimitReject(bool),
    /// `SecResponseBodyMimeType`: these too; empty (`SecResponseBodyMimeTypesClear`): none so far.
    ResponseBodyTypes(Vec<String>),
    /// `SecUploadFileLimit`: how many files a request may carry.
    UploadFileLimit(u32),
    /// `SecArgumentsLimit`.
    ArgumentsLimit(u32),
    /// `SecRequestBodyJsonDepthLimit`.
    JsonDepthLimit(u32),
    /// `SecCollectionTimeout`, seconds.
    CollectionTimeout(u32),
    /// `SecArgumentSeparator`.
    ArgumentSeparator(u8),
    /// `SecCookieFormat`: 0 or 1.
    CookieFormat(u8),
    /// `SecUnicodeMapFile`: the code page that is named; the map itself is built in.
    UnicodeMap(String),
    /// A documented directive without meaning here (audit log, debug log, temporary files …): its
    /// name as documented. Listed by [`super::Ruleset::without_effect`], never silently dropped.
    WithoutEffect(&'static str),
}

/// `SecRuleEngine`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EngineMode {
    /// Rules run and interrupt.
    On,
    /// No rule runs.
    Off,
    /// Rules run; none interrupts.
    DetectionOnly,
}

/// The five phases.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Phase {
    /// 1, after the request's head.
    RequestHeaders,
    /// 2, after its body.
    RequestBody,
    /// 3, after the response's head.
    ResponseHeaders,
    /// 4, after its body.
    ResponseBody,
    /// 5, at the end.
    Logging,
}

/// A rule: one link, or a chain of several.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rule {
    /// The links, in order; at least one.
    pub links: Vec<Link>,
}

/// One `SecRule` or `SecAction` of a chain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Link {
    /// Where the link's directive begins.
    pub place: Place,
    /// What is looked at; empty for `SecAction`.
    pub targets: Vec<Target>,
    /// What is asked; [`Operator::UnconditionalMatch`] for `SecAction`.
    pub test: Test,
    /// Its own actions, in order; defaults are not merged in yet.
    pub actions: Vec<Action>,
}

/// An operator with its argument.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Test {
    /// `!@…`: matches where the operator does not.
    pub negated: bool,
    /// Which.
    pub operator: Operator,
    /// The argument as written, macros parsed. `@pmFromFile` and `@ipMatchFromFile` hold the file's
    /// *name* here and its lines in [`Test::lines`].
    pub argument: Template,
    /// Lines of the files that the argument names: trimmed, without empty ones and `#` comments.
    pub lines: Vec<Vec<u8>>,
}

/// One of a rule's variables.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// `!`: what an earlier target brought is taken away.
    pub excluded: bool,
    /// `&`: how many there are, instead of them.
    pub counted: bool,
    /// Which.
    pub variable: Variable,
    /// Which of its members.
    pub selector: Selector,
}

/// Which members of a collection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Selector {
    /// All (also for what is no collection).
    All,
    /// The one with this name; names are compared without regard to ASCII case. Of `XML` there are
    /// two: `/*`, the texts, and `//@*`, the attributes.
    Key(String),
    /// Those whose name the regular expression finds.
    Regex(String),
}

/// Text with `%{…}` macros.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Template(pub Vec<Piece>);

/// A piece of a [`Template`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Piece {
    /// As it stands.
    Text(Vec<u8>),
    /// `%{VARIABLE}` or `%{VARIABLE.key}`; the key is lower case.
    Macro {
        variable: Variable,
        key: Option<String>,
    },
}

/// Which rules a directive or `ctl` means.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Selection {
    /// Identifiers and inclusive ranges of them.
    Ids(Vec<(u64, u64)>),
    /// Rules with a tag that contains (`ctl`, Remove…ByTag: regular expression finds) this.
    Tag(String),
    /// Rules whose message the regular expression finds.
    Message(String),
}

/// An action of a rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    // ---- what the rule is
    Id(u64),
    Phase(Phase),
    Message(Template),
    LogData(Template),
    Tag(Template),
    Version(String),
    Revision(String),
    /// 0 (emergency) to 7 (debug), by number or name.
    Severity(u8),
    Accuracy(u8),
    Maturity(u8),
    // ---- how it evaluates
    Transform(Transformation),
    /// `t:none`: forget the transformations so far.
    TransformNone,
    Capture,
    MultiMatch,
    Chain,
    // ---- what it does whenever it matches
    SetVar(SetVar),
    /// `expirevar:collection.key=seconds`.
    ExpireVar {
        variable: Variable,
        key: Template,
        seconds: Template,
    },
    /// `initcol:collection=key`.
    InitCollection {
        collection: Variable,
        key: Template,
    },
    /// `setsid`, `setuid`, `setrsc`: opens `SESSION`, `USER`, `RESOURCE` with this key.
    OpenCollection {
        collection: Variable,
        key: Template,
    },
    SetEnv {
        name: String,
        value: Template,
    },
    Control(Control),
    // ---- flow and verdict
    SkipAfter(String),
    Skip(u32),
    Pass,
    Block,
    Deny,
    Drop,
    Allow(AllowScope),
    Redirect(Template),
    Status(u16),
    // ---- logging
    Log,
    NoLog,
    AuditLog,
    NoAuditLog,
    /// Documented, without effect here (`sanitiseArg`, `xmlns`, …): its name.
    WithoutEffect(&'static str),
}

/// `setvar:`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SetVar {
    /// `TX`, `IP`, `GLOBAL`, `SESSION`, `USER`, `RESOURCE`, `ENV`.
    pub collection: Variable,
    /// The key, lower case where it is literal.
    pub key: Template,
    /// What happens to it.
    pub change: Change,
}

/// What `setvar` does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Change {
    /// `=value`; without a value, `1`.
    Set(Template),
    /// `=+value`.
    Add(Template),
    /// `=-value`.
    Subtract(Template),
    /// `!collection.key`.
    Unset,
}

/// How far `allow` goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AllowScope {
    /// All phases but logging.
    All,
    /// The rest of this phase.
    Phase,
    /// The rest of the request phases.
    Request,
}

/// `ctl:`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Control {
    RuleEngine(EngineMode),
    RuleRemove(Selection),
    RuleRemoveTarget {
        rules: Selection,
        target: Target,
    },
    RequestBodyProcessor(BodyProcessor),
    RequestBodyAccess(bool),
    ResponseBodyAccess(bool),
    ForceRequestBodyVariable(bool),
    /// `auditEngine`, `auditLogParts`, `debugLogLevel`, …: without effect here, by name.
    WithoutEffect(&'static str),
}

/// The body processors.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum BodyProcessor {
    UrlEncoded,
    Multipart,
    Json,
    Xml,
}
