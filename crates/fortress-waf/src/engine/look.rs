//! The values of variables: those that are computed, and those that macros name.

use std::{io::Write as _, net::SocketAddr};

use super::{
    moment::Moment,
    persist::Opened,
    program::{LinkPlan, PiecePlan, SelectorPlan, TargetPlan, TemplatePlan, Val},
    run::{Digits, Runner, bytes_of, push_number},
    values::{Bucket, Item},
};
use crate::{
    operator,
    seclang::{BodyProcessor, Variable},
    store::Text,
};

/// Bytes of an expanded template.
const LONGEST: usize = 64 << 10;
/// What `MODSEC_BUILD` says: the version of libmodsecurity whose meaning this is.
const BUILD: i64 = 30_000_900;

impl<'a> Runner<'a> {
    /// The value of a template. Several pieces are put together in the transaction's memory.
    pub(super) fn evaluate(&mut self, template: &'a TemplatePlan) -> Val {
        match template {
            TemplatePlan::Fixed(number, value) => {
                // A number that was written as one is one.
                let text = self.program.constants.get(*number);
                if is_number(text) {
                    Val::Int(*value)
                } else {
                    Val::Const(*number)
                }
            }
            TemplatePlan::Slot(slot) => self.slot(*slot),
            TemplatePlan::Pieces(_) => {
                let mut bytes = std::mem::take(&mut self.run.expanding);
                bytes.clear();
                self.expand(template, &mut bytes);
                let text = self.state.store.add(&bytes);
                self.run.expanding = bytes;
                Val::Text(text)
            }
        }
    }

    pub(super) fn evaluate_number(&mut self, template: &'a TemplatePlan) -> i64 {
        match template {
            TemplatePlan::Fixed(_, value) => *value,
            TemplatePlan::Slot(slot) => self.number(self.slot(*slot)),
            TemplatePlan::Pieces(_) => operator::number(&self.expanded_bytes(template)),
        }
    }

    fn slot(&self, slot: u32) -> Val {
        let index = usize::try_from(slot).unwrap_or(usize::MAX);
        self.state.tx.get(index).copied().unwrap_or_default()
    }

    /// What a value is as a number.
    pub(super) fn number(&self, value: Val) -> i64 {
        match value {
            Val::None => 0,
            Val::Int(number) => number,
            Val::Text(text) => operator::number(self.state.store.get(text)),
            Val::Const(number) => operator::number(self.program.constants.get(number)),
        }
    }

    pub(super) fn expanded_bytes(&mut self, template: &'a TemplatePlan) -> Vec<u8> {
        let mut out = Vec::new();
        self.expand(template, &mut out);
        out
    }

    /// Appends a template's text.
    pub(super) fn expand(&mut self, template: &'a TemplatePlan, out: &mut Vec<u8>) {
        let pieces = match template {
            TemplatePlan::Fixed(number, _) => {
                out.extend_from_slice(self.program.constants.get(*number));
                return;
            }
            TemplatePlan::Slot(slot) => {
                self.push_value(self.slot(*slot), out);
                return;
            }
            TemplatePlan::Pieces(pieces) => pieces,
        };
        for piece in pieces {
            match piece {
                PiecePlan::Text(number) => {
                    out.extend_from_slice(self.program.constants.get(*number));
                }
                PiecePlan::Slot(slot) => self.push_value(self.slot(*slot), out),
                PiecePlan::Variable(variable, key) => {
                    self.push_variable(*variable, key.as_deref(), out);
                }
            }
            if out.len() > LONGEST {
                out.truncate(LONGEST);
                break;
            }
        }
    }

    /// `%{VARIABLE.key}`.
    fn push_variable(&mut self, variable: Variable, key: Option<&[u8]>, out: &mut Vec<u8>) {
        match (variable, key) {
            (Variable::Rule, Some(key)) => self.push_rule(key, out),
            (Variable::MatchedVarName, _) => {
                if let Some(item) = self.run.matched {
                    out.extend_from_slice(item.variable.word().as_bytes());
                    self.push_key(&item, out);
                }
            }
            _ => {
                let value = self.first(variable, key);
                self.push_value(value, out);
            }
        }
    }

    fn push_rule(&self, key: &[u8], out: &mut Vec<u8>) {
        let Some(rule) = self.rule else {
            return;
        };
        let fixed = |template: &TemplatePlan, out: &mut Vec<u8>| {
            // Macros within stay away: a message that names itself has no end.
            if let TemplatePlan::Fixed(number, _) = template {
                out.extend_from_slice(self.program.constants.get(*number));
            }
        };
        match key {
            b"id" => out.extend_from_slice(rule.id.to_string().as_bytes()),
            b"msg" => fixed(&rule.message, out),
            b"logdata" => fixed(&rule.data, out),
            b"rev" => out.extend_from_slice(rule.revision.as_bytes()),
            b"severity" => {
                let severity = rule.severity.map(|severity| severity.to_string());
                out.extend_from_slice(severity.unwrap_or_default().as_bytes());
            }
            _ => {}
        }
    }

    /// The first value of a variable, or of its member.
    fn first(&mut self, variable: Variable, key: Option<&[u8]>) -> Val {
        let buckets = Bucket::of(variable, &SelectorPlan::All);
        for bucket in buckets {
            for index in 0..self.state.count(*bucket) {
                let Some((text, name)) = self.state.value(*bucket, index) else {
                    continue;
                };
                let is_meant = key.is_none_or(|key| {
                    name.is_some_and(|name| self.state.store.get(name).eq_ignore_ascii_case(key))
                });
                if is_meant {
                    return Val::Text(text);
                }
            }
        }
        if !buckets.is_empty() {
            return Val::None;
        }
        let selector = key.map_or(SelectorPlan::All, |key| SelectorPlan::Key(key.into()));
        let mut items = Vec::new();
        self.members(variable, &selector, &mut items);
        items.first().map_or(Val::None, |item| item.value)
    }

    /// The one value of a target that is a score or a count, which need no list; nothing of others.
    pub(super) fn only_item(&self, target: &TargetPlan) -> Option<Option<Item>> {
        if !target.counted {
            let SelectorPlan::Slot(slot) = &target.selector else {
                return None;
            };
            return (target.variable == Variable::Tx).then(|| self.slot_item(*slot));
        }
        let buckets = Bucket::of(target.variable, &target.selector);
        let mut all = 0;
        for bucket in buckets {
            let count = self.state.count(*bucket);
            all += match &target.selector {
                SelectorPlan::All => count,
                SelectorPlan::Field(number) => {
                    let numbers = (0..count).map(|at| self.state.field_number(*bucket, at));
                    numbers.filter(|of| of == number).count()
                }
                SelectorPlan::Key(_)
                | SelectorPlan::Slot(_)
                | SelectorPlan::Regex(_)
                | SelectorPlan::Keys(..) => return None,
            };
        }
        (!buckets.is_empty()).then(|| {
            Some(Item {
                value: Val::Int(i64::try_from(all).unwrap_or(i64::MAX)),
                variable: target.variable,
                key: Val::None,
            })
        })
    }

    /// The values of a target whose variable is no list of parts of the message.
    pub(super) fn computed(
        &mut self,
        target: &TargetPlan,
        link: &LinkPlan,
        number: usize,
        items: &mut Vec<Item>,
    ) {
        let start = items.len();
        self.members(target.variable, &target.selector, items);
        if link.excluded.is_empty() && self.run.removed_targets.is_empty() {
            return;
        }
        let mut kept = start;
        for index in start..items.len() {
            let Some(item) = items.get(index).copied() else {
                break;
            };
            let taken = self.takes_computed(link, number, &item);
            if !taken {
                if let Some(place) = items.get_mut(kept) {
                    *place = item;
                }
                kept += 1;
            }
        }
        items.truncate(kept);
    }

    fn takes_computed(&self, link: &LinkPlan, number: usize, item: &Item) -> bool {
        let takes = |target: &TargetPlan| {
            target.variable == item.variable && self.is_selected(&target.selector, item)
        };
        link.excluded.iter().any(takes)
            || self.run.removed_targets.iter().any(|control| {
                let control = usize::try_from(*control).unwrap_or(usize::MAX);
                match self.program.controls.get(control) {
                    Some(super::program::ControlPlan::RemoveTarget(rules, target)) => {
                        rules.contains(number) && takes(target)
                    }
                    _ => false,
                }
            })
    }

    fn is_selected(&self, selector: &SelectorPlan, item: &Item) -> bool {
        let mut buffer = Digits::default();
        let key = bytes_of(self.program, &self.state.store, item.key, &mut buffer);
        match selector {
            SelectorPlan::All => true,
            SelectorPlan::Key(wanted) => key.eq_ignore_ascii_case(wanted),
            SelectorPlan::Slot(slot) => key == self.program.slots.name(*slot),
            SelectorPlan::Regex(regex) | SelectorPlan::Keys(regex, _) => regex.is_match(key),
            SelectorPlan::Field(_) => false,
        }
    }

    /// All values of a variable that a selector means.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "of a hundred variables these have members; each other one is a single value"
    )]
    fn members(&mut self, variable: Variable, selector: &SelectorPlan, items: &mut Vec<Item>) {
        let one = |value: Val| Item {
            value,
            variable,
            key: Val::None,
        };
        match variable {
            Variable::Tx => self.tx_members(selector, items),
            Variable::MatchedVar => {
                let matched = self.run.matched;
                items.extend(matched.map(|item| one(item.value)));
            }
            Variable::MatchedVarName => {
                if let Some(item) = self.run.matched {
                    items.push(one(self.name_of(&item)));
                }
            }
            Variable::MatchedVars | Variable::MatchedVarsNames => {
                self.matched_members(variable, selector, items);
            }
            Variable::Env => {
                for (name, value) in &self.state.environment {
                    let item = Item {
                        value: *value,
                        variable,
                        key: Val::Text(*name),
                    };
                    if self.is_selected(selector, &item) {
                        items.push(item);
                    }
                }
            }
            Variable::Global
            | Variable::Ip
            | Variable::Session
            | Variable::User
            | Variable::Resource => self.kept_members(variable, selector, items),
            Variable::FilesSizes | Variable::FilesTmpContent => {
                self.file_members(variable, selector, items);
            }
            Variable::Rule => {
                if let SelectorPlan::Key(key) = selector {
                    let mut bytes = Vec::new();
                    self.push_rule(key, &mut bytes);
                    items.push(one(Val::Text(self.state.store.add(&bytes))));
                }
            }
            _ => {
                let value = self.scalar(variable);
                if value != Val::None {
                    items.push(one(value));
                }
            }
        }
    }

    fn matched_members(
        &mut self,
        variable: Variable,
        selector: &SelectorPlan,
        items: &mut Vec<Item>,
    ) {
        for index in 0..self.run.matched_vars.len() {
            let Some(item) = self.run.matched_vars.get(index).copied() else {
                break;
            };
            let name = self.name_of(&item);
            let value = if variable == Variable::MatchedVars {
                item.value
            } else {
                name
            };
            let item = Item {
                value,
                variable,
                key: name,
            };
            if self.is_selected(selector, &item) {
                items.push(item);
            }
        }
    }

    fn name_of(&mut self, item: &Item) -> Val {
        let mut name = item.variable.word().as_bytes().to_vec();
        self.push_key(item, &mut name);
        Val::Text(self.state.store.add(&name))
    }

    /// What a key of `TX` that has a slot holds, if it holds anything.
    pub(super) fn slot_item(&self, slot: u32) -> Option<Item> {
        let value = self.slot(slot);
        (value != Val::None).then(|| Item {
            value,
            variable: Variable::Tx,
            key: self.program.slot_name(slot),
        })
    }

    fn tx_members(&self, selector: &SelectorPlan, items: &mut Vec<Item>) {
        let item = |value: Val, key: Val| Item {
            value,
            variable: Variable::Tx,
            key,
        };
        if let SelectorPlan::Slot(slot) = selector {
            items.extend(self.slot_item(*slot));
            return;
        }
        if let SelectorPlan::Keys(_, slots) = selector {
            items.extend(slots.iter().filter_map(|slot| self.slot_item(*slot)));
        }
        let is_known = matches!(selector, SelectorPlan::Keys(..));
        for (slot, value) in (0_u32..).zip(&self.state.tx).filter(|_| !is_known) {
            if *value != Val::None && selects(selector, self.program.slots.name(slot)) {
                items.push(item(*value, self.program.slot_name(slot)));
            }
        }
        for named in &self.state.named {
            if named.value != Val::None && selects(selector, self.state.store.get(named.key)) {
                items.push(item(named.value, Val::Text(named.key)));
            }
        }
    }

    fn kept_members(&mut self, variable: Variable, selector: &SelectorPlan, items: &mut Vec<Item>) {
        let Some(opened) = self.opened(variable) else {
            return;
        };
        for (key, value) in self.program.kept.list(&opened, self.seconds()) {
            if selects(selector, &key) {
                let (key, value) = (self.state.store.add(&key), self.state.store.add(&value));
                items.push(Item {
                    value: Val::Text(value),
                    variable,
                    key: Val::Text(key),
                });
            }
        }
    }

    fn file_members(&self, variable: Variable, selector: &SelectorPlan, items: &mut Vec<Item>) {
        for file in &self.state.body.files {
            if selects(selector, self.state.store.get(file.name)) {
                let value = if variable == Variable::FilesSizes {
                    Val::Int(i64::try_from(file.content.len()).unwrap_or(i64::MAX))
                } else {
                    Val::Text(file.content)
                };
                items.push(Item {
                    value,
                    variable,
                    key: Val::Text(file.name),
                });
            }
        }
    }

    /// A collection that was opened.
    pub(super) fn opened(&self, variable: Variable) -> Option<Opened> {
        let mut opened = self.state.opened.iter();
        opened.find(|opened| opened.variable == variable).cloned()
    }

    /// Seconds since 1970.
    pub(super) fn seconds(&self) -> i64 {
        self.state.peer.now.div_euclid(1_000)
    }

    /// A variable that is one value; `None` if it is not there.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what is not said of the request is said of its sender"
    )]
    fn scalar(&mut self, variable: Variable) -> Val {
        let flag = |on: bool| Val::Int(i64::from(on));
        let size = |size: usize| Val::Int(i64::try_from(size).unwrap_or(i64::MAX));
        let flags = self.state.body.flags;
        match variable {
            Variable::ReqbodyProcessor => {
                Val::Const(self.program.processor_name(self.state.processor))
            }
            Variable::ReqbodyError | Variable::ReqbodyProcessorError => {
                flag(flags.reqbody_processor_error)
            }
            Variable::ReqbodyErrorMsg | Variable::ReqbodyProcessorErrorMsg => {
                let message = self.state.body.fault.map(|fault| fault.to_string());
                self.text(message.unwrap_or_default().as_bytes())
            }
            Variable::RequestBodyLength => size(self.state.body_length),
            Variable::UrlencodedError => flag(self.state.urlencoded_error),
            Variable::InboundDataError => flag(self.state.inbound_error),
            Variable::OutboundDataError => flag(self.state.outbound_error),
            Variable::MultipartBoundaryQuoted => flag(flags.boundary_quoted),
            Variable::MultipartBoundaryWhitespace => flag(flags.boundary_whitespace),
            Variable::MultipartCrlfLfLines => flag(flags.crlf_lf_lines),
            Variable::MultipartDataAfter => flag(flags.data_after),
            Variable::MultipartDataBefore => flag(flags.data_before),
            Variable::MultipartFileLimitExceeded => flag(flags.file_limit_exceeded),
            Variable::MultipartHeaderFolding => flag(flags.header_folding),
            Variable::MultipartInvalidHeaderFolding => flag(flags.invalid_header_folding),
            Variable::MultipartInvalidPart => flag(flags.invalid_part),
            Variable::MultipartInvalidQuoting => flag(flags.invalid_quoting),
            Variable::MultipartLfLine => flag(flags.lf_line),
            Variable::MultipartMissingSemicolon => flag(flags.missing_semicolon),
            Variable::MultipartStrictError => flag(flags.strict_error),
            Variable::MultipartUnmatchedBoundary => Val::Int(i64::from(flags.unmatched_boundary)),
            Variable::MultipartFilename => Val::Text(self.state.body.last_filename),
            Variable::MultipartName => Val::Text(self.state.body.last_name),
            Variable::ArgsCombinedSize => {
                let all = self.state.query.iter().chain(&self.state.body.arguments);
                size(
                    all.map(|argument| argument.name.len() + argument.value.len())
                        .sum(),
                )
            }
            Variable::FilesCombinedSize => {
                let files = self.state.body.files.iter();
                size(files.map(|file| file.content.len()).sum())
            }
            Variable::FullRequest => Val::Text(self.full_request()),
            Variable::FullRequestLength => size(self.full_request().len()),
            // Without one it is `NO_SEVERITY`, which rules compare with.
            Variable::HighestSeverity => Val::Int(i64::from(self.state.highest_severity)),
            Variable::ModsecBuild => Val::Int(BUILD),
            _ => self.peer_scalar(variable),
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what is not said of the sender is said of the response"
    )]
    fn peer_scalar(&mut self, variable: Variable) -> Val {
        let peer = self.state.peer;
        match variable {
            Variable::RemoteAddr | Variable::RemoteHost => self.address(peer.client),
            Variable::RemotePort => Val::Int(peer.client.map_or(0, |client| client.port().into())),
            Variable::ServerAddr => self.address(peer.server),
            Variable::ServerPort => Val::Int(peer.server.map_or(0, |server| server.port().into())),
            Variable::ServerName => {
                let host = self.state.header(b"host").to_vec();
                let name = host_name(&host);
                self.text(name)
            }
            Variable::AuthType => {
                let header = self.state.header(b"authorization");
                let scheme = header
                    .split(|byte| *byte == b' ')
                    .next()
                    .unwrap_or_default()
                    .to_vec();
                self.text_or_none(&scheme)
            }
            Variable::RemoteUser => {
                let user = self.basic_user();
                self.text_or_none(&user.unwrap_or_default())
            }
            Variable::UniqueId => Val::Text(peer.id),
            Variable::PathInfo => Val::Text(Text::default()),
            Variable::Duration => Val::Int(0),
            Variable::Time => {
                let text = self.moment().clock();
                self.text(text.as_bytes())
            }
            Variable::TimeDay => Val::Int(self.moment().day),
            Variable::TimeEpoch => Val::Int(self.seconds()),
            Variable::TimeHour => Val::Int(self.moment().hour),
            Variable::TimeMin => Val::Int(self.moment().minute),
            Variable::TimeMon => Val::Int(self.moment().month),
            Variable::TimeSec => Val::Int(self.moment().second),
            Variable::TimeWday => Val::Int(self.moment().weekday),
            Variable::TimeYear => Val::Int(self.moment().year),
            _ => self.answer_scalar(variable),
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the last of three lists: a variable in none of them is not there"
    )]
    fn answer_scalar(&mut self, variable: Variable) -> Val {
        let Some(status) = self.state.status else {
            return Val::None;
        };
        match variable {
            Variable::ResponseStatus => Val::Int(i64::from(status)),
            Variable::ResponseProtocol => Val::Text(self.state.answer_protocol),
            Variable::ResponseContentLength => {
                Val::Int(i64::try_from(self.state.answer_body.len()).unwrap_or(i64::MAX))
            }
            Variable::ResponseContentType => {
                let value = self.state.answer_header(b"content-type");
                Val::Text(value.unwrap_or_default())
            }
            Variable::StatusLine => {
                let mut line = self.state.store.get(self.state.answer_protocol).to_vec();
                line.push(b' ');
                push_number(&mut line, i64::from(status));
                self.text(&line)
            }
            _ => Val::None,
        }
    }

    fn address(&mut self, of: Option<SocketAddr>) -> Val {
        let Some(of) = of else {
            return Val::Text(Text::default());
        };
        Val::Text(self.state.store.write(|arena| {
            // Writing to memory cannot fail.
            let _infallible = write!(arena, "{}", of.ip().to_canonical());
        }))
    }

    fn text(&mut self, bytes: &[u8]) -> Val {
        Val::Text(self.state.store.add(bytes))
    }

    fn text_or_none(&mut self, bytes: &[u8]) -> Val {
        if bytes.is_empty() {
            Val::None
        } else {
            self.text(bytes)
        }
    }

    fn basic_user(&self) -> Option<Vec<u8>> {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let header = self.state.header(b"authorization");
        let (scheme, credentials) = header.split_at_checked(6)?;
        if !scheme.eq_ignore_ascii_case(b"basic ") {
            return None;
        }
        let decoded = STANDARD.decode(credentials.trim_ascii()).ok()?;
        let user = decoded.split(|byte| *byte == b':').next()?;
        Some(user.to_vec())
    }

    /// The request as it could have come.
    fn full_request(&mut self) -> Text {
        let mut whole = self.state.store.get(self.state.line.whole).to_vec();
        whole.push(b'\n');
        for field in &self.state.fields {
            whole.extend_from_slice(self.state.store.get(field.name));
            whole.extend_from_slice(b": ");
            whole.extend_from_slice(self.state.store.get(field.value));
            whole.push(b'\n');
        }
        whole.push(b'\n');
        whole.extend_from_slice(self.state.store.body());
        self.run.work += u64::try_from(whole.len()).unwrap_or(u64::MAX);
        self.state.store.add(&whole)
    }

    fn moment(&self) -> Moment {
        Moment::at(self.seconds())
    }
}

impl super::program::Program {
    fn slot_name(&self, slot: u32) -> Val {
        let constant = self
            .slot_names
            .get(usize::try_from(slot).unwrap_or(usize::MAX));
        constant.map_or(Val::None, |constant| Val::Const(*constant))
    }

    fn processor_name(&self, processor: Option<BodyProcessor>) -> u32 {
        let [none, urlencoded, multipart, json, xml] = self.processor_names;
        match processor {
            None => none,
            Some(BodyProcessor::UrlEncoded) => urlencoded,
            Some(BodyProcessor::Multipart) => multipart,
            Some(BodyProcessor::Json) => json,
            Some(BodyProcessor::Xml) => xml,
        }
    }
}

fn selects(selector: &SelectorPlan, key: &[u8]) -> bool {
    match selector {
        SelectorPlan::All => true,
        SelectorPlan::Key(wanted) => key.eq_ignore_ascii_case(wanted),
        SelectorPlan::Regex(regex) | SelectorPlan::Keys(regex, _) => regex.is_match(key),
        SelectorPlan::Field(_) | SelectorPlan::Slot(_) => false,
    }
}

fn is_number(text: &[u8]) -> bool {
    matches!(text, [b'0'] | [b'1'..=b'9', ..])
        && text.len() < 18
        && text.iter().all(u8::is_ascii_digit)
}

/// A host without its port.
fn host_name(host: &[u8]) -> &[u8] {
    if host.starts_with(b"[") {
        let end = memchr::memchr(b']', host).map_or(host.len(), |end| end + 1);
        return host.get(..end).unwrap_or(host);
    }
    host.split(|byte| *byte == b':').next().unwrap_or_default()
}
