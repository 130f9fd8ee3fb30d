//! One walk over an instance: JSON Schema's verdict, and beside it notes of what was evaluated where,
//! from which `strict` tells what nobody declared.
//!
//! The notes form a trail that is cut back where a branch fails, so at each place they are the union
//! over all the schemas that hold there. Deliberately not here: branches (`branch`), and what a fault
//! means for a request or a response (`check`).

use super::{
    ArrayRules, Base, NumberRules, ObjectRules, Schema, SchemaId, Schemas, StringFormat,
    StringRules, Types,
};
use crate::json::{Decimal, Document, Kind, Member, Range, Value, small};

/// Which way the message goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Side {
    /// To the API: `readOnly` is not the client's to set.
    Request,
    /// To the client: `writeOnly` is not for it to see.
    Response,
}

/// How an instance is judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) side: Side,
    /// Whether each branch of a `oneOf` is taken as closed when several match.
    pub(crate) closed_branches: bool,
    /// Whether members that a schema forbids are noted as to be dropped, instead of being faults.
    pub(crate) lenient: bool,
}

/// What the walk found.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) faults: Vec<Fault>,
    pub(crate) trail: Vec<Mark>,
    /// Whether the trail lacks what failed branches evaluated, so that nothing can be said about
    /// what is undeclared. INVARIANT: only beside faults, so that nothing passes unseen.
    pub(crate) incomplete: bool,
    /// Where scalars stand that matched a schema into which no attack fits.
    proven: Vec<(u32, u32)>,
    /// Whether the outermost value is one.
    pub(crate) root_proven: bool,
}

impl Verdict {
    /// The scalars into which no attack fits, each once, ascending.
    pub(crate) fn into_proven(self) -> Vec<(u32, u32)> {
        let mut proven = self.proven;
        proven.sort_unstable();
        proven.dedup();
        proven
    }
}

/// One thing in which an instance breaks its schema.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    /// From the root, such as `.items[3].name`.
    pub(crate) location: String,
    pub(crate) detail: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FaultKind {
    Invalid,
    /// A property that `additionalProperties: false` or `unevaluatedProperties: false` forbids.
    Undeclared,
    /// The schema and the instance together take more steps than we are ready to make.
    TooComplex,
}

/// A note of the walk. Members and items go by their index over the whole document.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mark {
    /// Some schema evaluated this member.
    Member(u32),
    /// Some schema demands a member of this name: it is declared, though nobody says what it is.
    Demanded(u32),
    Item(u32),
    /// Some schema declares properties of the object with these members.
    Declares(Range),
    ReadOnly(u32),
    WriteOnly(u32),
    /// A forbidden member, noted instead of being a fault.
    Forbidden(u32),
}

/// Faults that are reported at most.
pub(crate) const MAX_FAULTS: usize = 16;
/// Nested schemas, on the way down and on the spot together. It keeps the stack small.
const MAX_NESTING: usize = 400;
/// Steps that any instance may take, beside those for its own size.
const FREE_STEPS: usize = 200_000;
/// Steps for each value of the instance.
const STEPS_PER_VALUE: usize = 64;

#[derive(Clone, Copy)]
pub(super) enum Step<'d> {
    Key(&'d str),
    Index(usize),
}

pub(super) struct Walk<'s, 'd> {
    pub(super) schemas: &'s Schemas,
    pub(super) document: &'d Document<'d>,
    pub(super) rules: Rules,
    pub(super) trail: Vec<Mark>,
    pub(super) faults: Vec<Fault>,
    pub(super) incomplete: bool,
    /// Above zero inside a branch that may fail: no messages, and the first fault ends it.
    pub(super) quiet: usize,
    path: Vec<Step<'d>>,
    steps: usize,
    nesting: usize,
    /// Schema resources entered, outermost first; for `$dynamicRef`.
    scopes: Vec<Base>,
    /// The member whose value is being judged, if it is one.
    member: Option<u32>,
    /// The first schema applied to this place, and where its marks begin.
    pub(super) here: Here,
    /// Schemas of this place in which a discriminator has already chosen.
    pub(super) chosen: Vec<SchemaId>,
    proven: Vec<(u32, u32)>,
    root_proven: bool,
}

/// Places that are noted at most, since branches may note one several times.
const MAX_PROVEN: usize = 65_536;

#[derive(Clone, Copy)]
pub(super) struct Here {
    pub(super) schema: SchemaId,
    pub(super) trail: usize,
}

impl Schemas {
    /// Judges a document by a schema.
    pub(crate) fn judge(&self, id: SchemaId, document: &Document<'_>, rules: Rules) -> Verdict {
        let mut walk = Walk {
            schemas: self,
            document,
            rules,
            trail: Vec::new(),
            faults: Vec::new(),
            incomplete: false,
            quiet: 0,
            path: Vec::new(),
            steps: FREE_STEPS + STEPS_PER_VALUE * (document.member_count() + document.item_count()),
            nesting: 0,
            scopes: Vec::new(),
            member: None,
            here: Here {
                schema: id,
                trail: 0,
            },
            chosen: Vec::new(),
            proven: Vec::new(),
            root_proven: false,
        };
        let valid = walk.apply(id, document.root());
        if !valid && walk.faults.is_empty() {
            walk.fail(|| "does not match its schema".to_owned());
        }
        Verdict {
            incomplete: walk.incomplete && !walk.faults.is_empty(),
            faults: walk.faults,
            trail: walk.trail,
            proven: walk.proven,
            root_proven: walk.root_proven,
        }
    }
}

impl<'s, 'd> Walk<'s, 'd> {
    /// Applies a schema to the current place.
    pub(super) fn apply(&mut self, id: SchemaId, value: &Value<'d>) -> bool {
        let Some(schema) = self.schemas.get(id) else {
            return true;
        };
        if let Some(fixed) = schema.fixed {
            return fixed || self.fail(|| "nothing is allowed here".to_owned());
        }
        if self.steps == 0 || self.nesting >= MAX_NESTING {
            return self.give_up();
        }
        self.steps -= 1;
        self.nesting += 1;
        let entered = !self.schemas.anchors.is_empty() && self.scopes.last() != Some(&schema.base);
        if entered {
            self.scopes.push(schema.base);
        }
        let valid = self.keywords(id, schema, value);
        if entered {
            self.scopes.pop();
        }
        self.nesting -= 1;
        valid
    }

    fn keywords(&mut self, id: SchemaId, schema: &'s Schema, value: &Value<'d>) -> bool {
        if schema.nullable && matches!(value.kind, Kind::Null) {
            return true;
        }
        let begin = self.trail.len();
        if let Some(member) = self.member {
            if schema.read_only {
                self.trail.push(Mark::ReadOnly(member));
            }
            if schema.write_only {
                self.trail.push(Mark::WriteOnly(member));
            }
        }
        if !schema.types.allow(value) {
            return self.fail(|| {
                format!(
                    "expected {}, found {}",
                    schema.types.describe(),
                    value.name()
                )
            });
        }
        let mut valid = true;
        for values in &schema.values {
            if !values.contain(self.document, value) {
                valid = self.fail(|| "not one of the declared values".to_owned());
            }
        }
        if self.valid_so_far(valid) {
            valid = self.typed(schema, value) && valid;
        }
        if let Some(applied) = &schema.applied
            && self.valid_so_far(valid)
        {
            valid = self.in_place(id, applied, value) && valid;
        }
        if self.valid_so_far(valid) {
            valid = self.unevaluated(schema, value, begin) && valid;
        }
        if valid && self.rules.side == Side::Request {
            self.prove(schema, value);
        }
        valid
    }

    /// Notes a scalar of which this schema alone leaves no doubt. That is a fact about the value, so
    /// it holds whatever becomes of the branch that the schema stands in.
    fn prove(&mut self, schema: &Schema, value: &Value<'d>) {
        let (harmless, quotes) = match &value.kind {
            Kind::Bool(_) | Kind::Number(_) => (schema.types != Types::ALL, 0),
            Kind::String(text) => {
                let format = schema.string.as_ref().and_then(|rules| rules.format);
                let of_format = format.is_some_and(StringFormat::is_harmless);
                (
                    of_format || (!schema.values.is_empty() && is_plain(text)),
                    1,
                )
            }
            Kind::Null | Kind::Array(_) | Kind::Object(_) => return,
        };
        if !harmless {
            return;
        }
        if std::ptr::eq(value, self.document.root()) {
            self.root_proven = true;
        }
        let place = (value.start + quotes, value.end.saturating_sub(quotes));
        // Behind escapes another reader could see another text; and what did not come as JSON has
        // no place.
        let is_as_written = match &value.kind {
            Kind::String(text) => place.1.checked_sub(place.0) == Some(small(text.len())),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Array(_) | Kind::Object(_) => {
                place.0 < place.1
            }
        };
        if is_as_written && self.proven.last() != Some(&place) && self.proven.len() < MAX_PROVEN {
            self.proven.push(place);
        }
    }

    /// The keywords for the value's own type.
    fn typed(&mut self, schema: &'s Schema, value: &Value<'d>) -> bool {
        match &value.kind {
            Kind::Null | Kind::Bool(_) => true,
            Kind::Number(text) => schema
                .number
                .as_deref()
                .is_none_or(|rules| self.number(rules, text)),
            Kind::String(text) => schema
                .string
                .as_deref()
                .is_none_or(|rules| self.string(rules, text)),
            Kind::Array(range) => schema
                .array
                .as_deref()
                .is_none_or(|rules| self.array(rules, *range)),
            Kind::Object(range) => schema
                .object
                .as_deref()
                .is_none_or(|rules| self.object(rules, value, *range)),
        }
    }

    fn number(&mut self, rules: &NumberRules, text: &str) -> bool {
        let Some(number) = Decimal::parse(text) else {
            return self.fail(|| "a number that does not fit".to_owned());
        };
        if let Some(format) = rules.format
            && !format.matches(number, text)
        {
            return self.fail(|| format!("expected a number of format {}", format.name()));
        }
        let low = rules.minimum.is_some_and(|bound| number < bound)
            || rules.exclusive_minimum.is_some_and(|bound| number <= bound);
        let high = rules.maximum.is_some_and(|bound| number > bound)
            || rules.exclusive_maximum.is_some_and(|bound| number >= bound);
        if low {
            return self.fail(|| "below the lowest value".to_owned());
        }
        if high {
            return self.fail(|| "above the highest value".to_owned());
        }
        if rules
            .multiple_of
            .is_some_and(|step| !number.is_multiple_of(step))
        {
            return self.fail(|| "not a multiple of the declared step".to_owned());
        }
        true
    }

    fn string(&mut self, rules: &StringRules, text: &str) -> bool {
        if rules.min_length.is_some() || rules.max_length.is_some() {
            // Code points are at most the bytes, and at least a quarter of them.
            let length = u64::from(small(text.chars().count()));
            if let Some(min) = rules.min_length
                && length < min
            {
                return self.fail(|| format!("shorter than {min} characters"));
            }
            if let Some(max) = rules.max_length
                && length > max
            {
                return self.fail(|| format!("longer than {max} characters"));
            }
        }
        if let Some(pattern) = &rules.pattern {
            match pattern.matches(text) {
                Some(true) => {}
                Some(false) => return self.fail(|| "does not match the pattern".to_owned()),
                None => return self.give_up(),
            }
        }
        if let Some(format) = rules.format
            && !format.matches(text)
        {
            return self.fail(|| format!("expected the format {}", format.name()));
        }
        true
    }

    fn array(&mut self, rules: &'s ArrayRules, range: Range) -> bool {
        let items = self.document.items(range);
        let count = u64::from(range.len);
        let mut valid = true;
        if let Some(min) = rules.min_items
            && count < min
        {
            valid = self.fail(|| format!("fewer than {min} items"));
        }
        if let Some(max) = rules.max_items
            && count > max
        {
            // Too many items are not looked at one by one.
            return self.fail(|| format!("more than {max} items"));
        }
        for (index, item) in items.iter().enumerate() {
            let Some(schema) = rules.prefix.get(index).copied().or(rules.items) else {
                break;
            };
            if !self.valid_so_far(valid) {
                return false;
            }
            self.note_item(range, index);
            valid = self.item(schema, index, item) && valid;
        }
        if rules.unique && self.valid_so_far(valid) && !super::strict::unique(self.document, items)
        {
            valid = self.fail(|| "an item is there twice".to_owned());
        }
        if let Some(contains) = &rules.contains
            && self.valid_so_far(valid)
        {
            valid = self.contains(contains, range) && valid;
        }
        valid
    }

    fn contains(&mut self, contains: &super::Contains, range: Range) -> bool {
        let mut count = 0_u64;
        for (index, item) in self.document.items(range).iter().enumerate() {
            let begin = self.trail.len();
            self.quiet += 1;
            let matches = self.item(contains.schema, index, item);
            self.quiet -= 1;
            if matches {
                count += 1;
                self.note_item(range, index);
            } else {
                self.trail.truncate(begin);
            }
        }
        if count < contains.min {
            return self.fail(|| format!("fewer than {} items of the demanded kind", contains.min));
        }
        match contains.max {
            Some(max) if count > max => {
                self.fail(|| format!("more than {max} items of the demanded kind"))
            }
            _ => true,
        }
    }

    fn note_item(&mut self, range: Range, index: usize) {
        if self.schemas.notes_items {
            self.trail.push(Mark::Item(range.start + small(index)));
        }
    }

    fn object(&mut self, rules: &'s ObjectRules, value: &Value<'d>, range: Range) -> bool {
        let members = self.document.members(range);
        let count = u64::from(range.len);
        let mut valid = true;
        if let Some(min) = rules.min_properties
            && count < min
        {
            valid = self.fail(|| format!("fewer than {min} properties"));
        }
        if let Some(max) = rules.max_properties
            && count > max
            && !self.rules.lenient
        {
            valid = self.fail(|| format!("more than {max} properties"));
        }
        if rules.declares() && !members.is_empty() {
            self.trail.push(Mark::Declares(range));
        }
        let mut required = 0;
        for (index, member) in (range.start..).zip(members) {
            if !self.valid_so_far(valid) {
                return false;
            }
            valid = self.object_member(rules, index, member, &mut required) && valid;
        }
        if required < rules.required || !rules.required_elsewhere.is_empty() {
            valid = self.required(rules, range) && valid;
        }
        for (name, needed) in &rules.dependent_required {
            let has = |name: &str| members.iter().any(|member| member.key == name);
            if self.valid_so_far(valid) && has(name) {
                for missing in needed.iter().filter(|name| !has(name)) {
                    valid = self.fail(|| format!("`{missing}` is missing, which `{name}` demands"));
                }
            }
        }
        for (name, schema) in &rules.dependent_schemas {
            if self.valid_so_far(valid) && members.iter().any(|member| *member.key == **name) {
                valid = self.apply(*schema, value) && valid;
            }
        }
        valid
    }

    fn object_member(
        &mut self,
        rules: &'s ObjectRules,
        index: u32,
        member: &'d Member<'d>,
        required: &mut usize,
    ) -> bool {
        let mut valid = true;
        let mut known = false;
        if let Some(rule) = rules.property(&member.key) {
            *required += usize::from(rule.required);
            known = true;
            valid = self.judge_member(rule.schema, index, member);
        }
        for (pattern, schema) in &rules.patterns {
            match pattern.matches(&member.key) {
                Some(true) => {
                    known = true;
                    valid = self.judge_member(*schema, index, member) && valid;
                }
                Some(false) => {}
                None => return self.give_up(),
            }
        }
        if let (false, Some(additional)) = (known, rules.additional) {
            valid = self.additional(additional, index, member) && valid;
        }
        if let Some(names) = rules.names {
            valid = self.name(names, index, member) && valid;
        }
        valid
    }

    /// A member that only `additionalProperties` or `unevaluatedProperties` speaks of.
    fn additional(&mut self, schema: SchemaId, index: u32, member: &'d Member<'d>) -> bool {
        if self.schemas.fixed(schema) != Some(false) {
            return self.judge_member(schema, index, member);
        }
        if self.rules.lenient {
            self.trail.push(Mark::Forbidden(index));
            return true;
        }
        self.path.push(Step::Key(&member.key));
        let valid = self.fault(FaultKind::Undeclared, || {
            "the property is not declared".to_owned()
        });
        self.path.pop();
        valid
    }

    /// `propertyNames`: the name is judged as a string.
    fn name(&mut self, schema: SchemaId, index: u32, member: &'d Member<'d>) -> bool {
        let name = Value::string(&*member.key);
        let (begin, before) = (self.trail.len(), self.member.take());
        self.path.push(Step::Key(&member.key));
        self.quiet += 1;
        let mut valid = self.apply(schema, &name);
        self.quiet -= 1;
        self.trail.truncate(begin);
        if !valid && self.rules.lenient {
            self.trail.push(Mark::Forbidden(index));
            valid = true;
        } else if !valid {
            self.fail(|| "the property's name is not allowed".to_owned());
        }
        self.path.pop();
        self.member = before;
        valid
    }

    fn judge_member(&mut self, schema: SchemaId, index: u32, member: &'d Member<'d>) -> bool {
        self.trail.push(Mark::Member(index));
        // What the client never sees need not be right.
        if self.rules.side == Side::Response
            && self.rules.lenient
            && self.schemas.is_write_only(schema)
        {
            self.trail.push(Mark::WriteOnly(index));
            return true;
        }
        self.down(schema, Step::Key(&member.key), Some(index), &member.value)
    }

    fn item(&mut self, schema: SchemaId, index: usize, item: &'d Value<'d>) -> bool {
        self.down(schema, Step::Index(index), None, item)
    }

    fn down(
        &mut self,
        schema: SchemaId,
        step: Step<'d>,
        member: Option<u32>,
        value: &'d Value<'d>,
    ) -> bool {
        let here = Here {
            schema,
            trail: self.trail.len(),
        };
        let before = (
            std::mem::replace(&mut self.member, member),
            std::mem::replace(&mut self.here, here),
            std::mem::take(&mut self.chosen),
        );
        self.path.push(step);
        let valid = self.apply(schema, value);
        self.path.pop();
        (self.member, self.here, self.chosen) = before;
        valid
    }

    fn required(&mut self, rules: &'s ObjectRules, range: Range) -> bool {
        let members = self.document.members(range);
        let mut valid = true;
        for name in &rules.required_elsewhere {
            let there = (range.start..)
                .zip(members)
                .find(|(_, member)| *member.key == **name);
            match there {
                Some((index, _)) => self.trail.push(Mark::Demanded(index)),
                None => valid = self.missing(rules, name) && valid,
            }
        }
        for rule in rules.properties.iter().filter(|rule| rule.required) {
            if !members.iter().any(|member| *member.key == *rule.name) {
                valid = self.missing(rules, &rule.name) && valid;
            }
        }
        valid
    }

    /// A required property that is not there. What the other side alone may set is not demanded.
    fn missing(&mut self, rules: &ObjectRules, name: &str) -> bool {
        let excused = |schema: SchemaId| match self.rules.side {
            Side::Request => self.schemas.is_read_only(schema),
            Side::Response => self.schemas.is_write_only(schema),
        };
        let own = rules
            .property(name)
            .is_some_and(|rule| excused(rule.schema));
        if own
            || self
                .schemas
                .property_schemas(self.here.schema, name)
                .into_iter()
                .any(excused)
        {
            return true;
        }
        self.fail(|| format!("`{name}` is missing"))
    }

    /// `unevaluatedProperties` and `unevaluatedItems`, which see what this schema and those that it
    /// applies on the spot evaluated: the trail since `begin`.
    fn unevaluated(&mut self, schema: &'s Schema, value: &Value<'d>, begin: usize) -> bool {
        let mut valid = true;
        match &value.kind {
            Kind::Object(range) => {
                let rest = schema.object.as_deref().and_then(|rules| rules.unevaluated);
                let Some(rest) = rest else { return true };
                let seen =
                    super::strict::Seen::members(self.trail.get(begin..).unwrap_or(&[]), *range);
                for (index, member) in (range.start..).zip(self.document.members(*range)) {
                    if !seen.has(index) {
                        valid = self.additional(rest, index, member) && valid;
                    }
                }
            }
            Kind::Array(range) => {
                let rest = schema.array.as_deref().and_then(|rules| rules.unevaluated);
                let Some(rest) = rest else { return true };
                let seen =
                    super::strict::Seen::items(self.trail.get(begin..).unwrap_or(&[]), *range);
                for (index, item) in self.document.items(*range).iter().enumerate() {
                    if !seen.has(range.start + small(index)) {
                        self.note_item(*range, index);
                        valid = self.item(rest, index, item) && valid;
                    }
                }
            }
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => {}
        }
        valid
    }

    /// The outermost resource with this `$dynamicAnchor`, else the fixed target.
    pub(super) fn dynamic_target(&self, reference: &super::DynamicReference) -> SchemaId {
        let Some(anchor) = reference.anchor.as_deref() else {
            return reference.fixed;
        };
        self.scopes
            .iter()
            .find_map(|scope| {
                self.schemas
                    .anchors
                    .iter()
                    .find(|(name, base, _)| **name == *anchor && base == scope)
                    .map(|(_, _, id)| *id)
            })
            .unwrap_or(reference.fixed)
    }

    /// Whether it is worth going on: always while messages are collected.
    pub(super) fn valid_so_far(&self, valid: bool) -> bool {
        valid || (self.quiet == 0 && self.faults.len() < MAX_FAULTS)
    }

    pub(super) fn fail(&mut self, detail: impl FnOnce() -> String) -> bool {
        self.fault(FaultKind::Invalid, detail)
    }

    pub(super) fn give_up(&mut self) -> bool {
        self.steps = 0;
        self.fault(FaultKind::TooComplex, || {
            "takes too long to check".to_owned()
        })
    }

    fn fault(&mut self, kind: FaultKind, detail: impl FnOnce() -> String) -> bool {
        if self.quiet == 0 && self.faults.len() < MAX_FAULTS {
            self.faults.push(Fault {
                kind,
                location: location(&self.path),
                detail: detail(),
            });
        }
        false
    }
}

/// Whether a text is a word, a number or a version, and no syntax of anything.
fn is_plain(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

fn location(path: &[Step<'_>]) -> String {
    let mut out = String::new();
    for step in path {
        match step {
            Step::Key(key) => push_key(&mut out, key),
            Step::Index(index) => out.push_str(&format!("[{index}]")),
        }
    }
    out
}

/// `.name`, shortened and without control characters: names come from the client.
pub(crate) fn push_key(out: &mut String, key: &str) {
    out.push('.');
    let mut characters = key.chars();
    for character in characters.by_ref().take(64) {
        if character.is_control() {
            out.push('\u{fffd}');
        } else {
            out.push(character);
        }
    }
    if characters.next().is_some() {
        out.push('…');
    }
}
