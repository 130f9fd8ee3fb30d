//! What each keyword of a Schema Object compiles to, in both dialects.
//!
//! Keywords of 2020-12 are honoured in 3.0 documents too: whoever writes `const` there means it.
//! Deliberately not here: annotations that change nothing (`title`, `deprecated`, `xml`, …).

use std::collections::HashSet;

use fortress_model::{
    diagnostic::Diagnostic,
    document::{Member, Node, Value},
};

use super::{
    Applied, ArrayRules, Constant, Contains, Discriminator, DynamicReference, NumberRules,
    ObjectRules, Place, PropertyRule, Schema, SchemaCompiler, SchemaId, StringRules, Types, Values,
    compile::BESIDE_REFERENCES,
};
use crate::{
    description::Dialect,
    format::{self, Format},
    json::Decimal,
};

/// The rules of a schema while its keywords are read.
#[derive(Default)]
struct Draft {
    number: NumberRules,
    string: StringRules,
    array: ArrayRules,
    object: ObjectRules,
    applied: Applied,
    required: HashSet<Box<str>>,
    min_contains: Option<u64>,
    max_contains: Option<u64>,
    /// Draft 4's `exclusiveMinimum: true`.
    excludes_minimum: bool,
    excludes_maximum: bool,
    /// Which of the rules say anything.
    touched: Touched,
}

#[derive(Default)]
struct Touched {
    number: bool,
    string: bool,
    array: bool,
    object: bool,
    applied: bool,
}

impl<'a> SchemaCompiler<'a> {
    pub(super) fn keywords(&mut self, place: Place<'a>, schema: &mut Schema) {
        let mut draft = Draft::default();
        let refers = self.dialect == Dialect::V30 && place.node.get("$ref").is_some();
        let ignored = |key: &str| refers && key != "$ref" && !BESIDE_REFERENCES.contains(&key);
        for member in place.node.members() {
            if ignored(&member.key) {
                continue;
            }
            // Whatever none of them knows is an annotation.
            let _known = self.general(member, schema)
                || self.numbers(member, &mut draft)
                || self.strings(member, &mut draft)
                || self.arrays(place, member, &mut draft)
                || self.objects(place, member, &mut draft)
                || self.applicators(place, member, &mut draft);
        }
        if !refers {
            self.discriminator(place, &mut draft);
        }
        finish(draft, schema);
    }

    /// Keeps the examples of a Parameter or Media Type Object, before those of its schema.
    pub(crate) fn offer_examples(&mut self, id: SchemaId, object: Place<'a>) {
        let mut offered: Vec<Box<str>> = Vec::new();
        if let Some(example) = object.node.get("example") {
            offered.extend(sample_text(example));
        }
        if let Some(examples) = object.get("examples") {
            for member in examples.node.members().iter().take(MAX_SAMPLES) {
                let example = self.follow(examples.at(&member.value));
                let value = example.and_then(|example| example.node.get("value"));
                offered.extend(value.and_then(sample_text));
            }
        }
        offered.truncate(MAX_SAMPLES);
        if let (false, Some(schema)) = (offered.is_empty(), self.compiled_mut(id))
            && schema.samples.len() <= MAX_SAMPLES
        {
            schema.samples.splice(0..0, offered);
        }
    }

    fn general(&mut self, member: &Member, schema: &mut Schema) -> bool {
        let node = &member.value;
        match &*member.key {
            "type" => schema.types = self.types_of(node),
            "nullable" if self.dialect == Dialect::V30 => {
                schema.nullable = self.boolean(member);
            }
            "nullable" => self.mention("nullable", || {
                Diagnostic::warning(
                    member.key_span,
                    "`nullable` means nothing in OpenAPI 3.1, so null is refused",
                )
                .help("add `\"null\"` to `type`")
            }),
            "readOnly" => schema.read_only = self.boolean(member),
            "writeOnly" => schema.write_only = self.boolean(member),
            "enum" if self.is_array(member) => schema.values.push(Values::of(node.items().iter())),
            "const" => schema.values.push(Values::of(std::iter::once(node))),
            "example" | "default" => sample(node, schema),
            "examples" => node.items().iter().for_each(|node| sample(node, schema)),
            _ => return false,
        }
        true
    }

    fn numbers(&mut self, member: &Member, draft: &mut Draft) -> bool {
        let rules = &mut draft.number;
        match &*member.key {
            "minimum" => rules.minimum = self.decimal(member),
            "maximum" => rules.maximum = self.decimal(member),
            // Booleans are what OpenAPI 3.0 took over from draft 4: they sharpen the other bound.
            "exclusiveMinimum" if member.value.as_bool().is_some() => {
                draft.excludes_minimum = member.value.as_bool() == Some(true);
            }
            "exclusiveMaximum" if member.value.as_bool().is_some() => {
                draft.excludes_maximum = member.value.as_bool() == Some(true);
            }
            "exclusiveMinimum" => rules.exclusive_minimum = self.decimal(member),
            "exclusiveMaximum" => rules.exclusive_maximum = self.decimal(member),
            "multipleOf" => rules.multiple_of = self.decimal(member),
            _ => return false,
        }
        draft.touched.number = true;
        true
    }

    fn strings(&mut self, member: &Member, draft: &mut Draft) -> bool {
        let rules = &mut draft.string;
        match &*member.key {
            "minLength" => rules.min_length = self.count(member),
            "maxLength" => rules.max_length = self.count(member),
            "pattern" => {
                if let Some(text) = self.text(member) {
                    rules.pattern = self.pattern(text, member.value.span);
                }
            }
            "format" => {
                if let Some(name) = self.text(member) {
                    self.format(name, member, draft);
                }
                return true;
            }
            _ => return false,
        }
        draft.touched.string = true;
        true
    }

    fn format(&mut self, name: &str, member: &Member, draft: &mut Draft) {
        match format::named(name) {
            Some(Format::Number(format)) => {
                draft.number.format = Some(format);
                draft.touched.number = true;
            }
            Some(Format::String(format)) => {
                draft.string.format = Some(format);
                draft.touched.string = true;
            }
            Some(Format::NotAsserted) => {}
            None => self.mention(&format!("format {name}"), || {
                Diagnostic::warning(
                    member.value.span,
                    format!("the format `{name}` is not known, so it is not checked"),
                )
                .help("say what it means by `pattern`, `maxLength` or `enum`")
            }),
        }
    }

    fn arrays(&mut self, place: Place<'a>, member: &'a Member, draft: &mut Draft) -> bool {
        let node = &member.value;
        match &*member.key {
            "minItems" => draft.array.min_items = self.count(member),
            "maxItems" => draft.array.max_items = self.count(member),
            "uniqueItems" => draft.array.unique = self.boolean(member),
            "prefixItems" => draft.array.prefix = self.list(place, member),
            "items" => draft.array.items = Some(self.child(place, node)),
            "contains" => {
                draft.array.contains = Some(Contains {
                    schema: self.child(place, node),
                    min: 1,
                    max: None,
                });
            }
            "minContains" => draft.min_contains = self.count(member),
            "maxContains" => draft.max_contains = self.count(member),
            "unevaluatedItems" => {
                self.note_items();
                draft.array.unevaluated = Some(self.child(place, node));
            }
            _ => return false,
        }
        draft.touched.array = true;
        true
    }

    fn objects(&mut self, place: Place<'a>, member: &'a Member, draft: &mut Draft) -> bool {
        let node = &member.value;
        match &*member.key {
            "properties" if self.is_object(member) => {
                for property in node.members() {
                    let schema = self.child(place, &property.value);
                    draft.object.properties.push(PropertyRule {
                        name: property.key.clone(),
                        schema,
                        required: false,
                    });
                }
            }
            "required" if member.value.as_bool().is_some() => self.mention("required", || {
                Diagnostic::warning(
                    member.key_span,
                    "`required` is a list of names, so this says nothing",
                )
                .help("put the property's name into `required` of the object")
            }),
            "required" => draft.required.extend(self.names(member)),
            "patternProperties" if self.is_object(member) => {
                for property in node.members() {
                    let schema = self.child(place, &property.value);
                    if let Some(pattern) = self.pattern(&property.key, property.key_span) {
                        draft.object.patterns.push((pattern, schema));
                    }
                }
            }
            "additionalProperties" => draft.object.additional = Some(self.child(place, node)),
            "propertyNames" => draft.object.names = Some(self.child(place, node)),
            "minProperties" => draft.object.min_properties = self.count(member),
            "maxProperties" => draft.object.max_properties = self.count(member),
            "dependentRequired" if self.is_object(member) => {
                for property in node.members() {
                    let names = self.names(property);
                    let rule = (property.key.clone(), names);
                    draft.object.dependent_required.push(rule);
                }
            }
            "dependentSchemas" if self.is_object(member) => {
                for property in node.members() {
                    let rule = (property.key.clone(), self.child(place, &property.value));
                    draft.object.dependent_schemas.push(rule);
                }
            }
            // What older drafts call both; 2020-12 keeps it for compatibility.
            "dependencies" if self.is_object(member) => {
                for property in node.members() {
                    if let Value::Array(_) = property.value.value {
                        let rule = (property.key.clone(), self.names(property));
                        draft.object.dependent_required.push(rule);
                    } else {
                        let rule = (property.key.clone(), self.child(place, &property.value));
                        draft.object.dependent_schemas.push(rule);
                    }
                }
            }
            "unevaluatedProperties" => draft.object.unevaluated = Some(self.child(place, node)),
            _ => return false,
        }
        draft.touched.object = true;
        true
    }

    fn applicators(&mut self, place: Place<'a>, member: &'a Member, draft: &mut Draft) -> bool {
        let node = &member.value;
        match &*member.key {
            "$ref" => draft.applied.reference = Some(self.referred(place, node)),
            "$dynamicRef" => {
                let fixed = self.referred(place, node);
                let anchor = self.dynamic_anchor(place, node);
                draft.applied.dynamic = Some(DynamicReference { fixed, anchor });
            }
            "allOf" => draft.applied.all = self.list(place, member),
            "anyOf" => draft.applied.any = self.list(place, member),
            "oneOf" => draft.applied.one = self.list(place, member),
            "not" => draft.applied.not = Some(self.child(place, node)),
            "if" => draft.applied.condition = Some(self.child(place, node)),
            "then" => draft.applied.then = Some(self.child(place, node)),
            "else" => draft.applied.otherwise = Some(self.child(place, node)),
            _ => return false,
        }
        draft.touched.applied = true;
        true
    }

    /// The anchor of a `$dynamicRef` whose static target carries it as a `$dynamicAnchor`.
    fn dynamic_anchor(&mut self, place: Place<'a>, node: &Node) -> Option<Box<str>> {
        let reference = node.as_str()?;
        let (_, anchor) = reference.split_once('#')?;
        let target = self.resolve_quietly(place.base, reference)?;
        let carries = target.node.get("$dynamicAnchor")?.as_str()? == anchor;
        carries.then(|| {
            self.dynamic_name(anchor);
            anchor.into()
        })
    }

    /// `discriminator`: beside `oneOf` or `anyOf` it chooses one of those, elsewhere one of the
    /// component schemas that include this one by `allOf`.
    fn discriminator(&mut self, place: Place<'a>, draft: &mut Draft) {
        let Some(member) = place.node.member("discriminator") else {
            return;
        };
        let Some(property) = member.value.get("propertyName").and_then(Node::as_str) else {
            self.diagnostics.push(Diagnostic::error(
                member.key_span,
                "a `discriminator` needs a `propertyName`",
            ));
            return;
        };
        let beside = ["oneOf", "anyOf"]
            .iter()
            .find_map(|key| place.node.get(key));
        let mut mapping: Vec<(Box<str>, SchemaId)> = Vec::new();
        for entry in member.value.get("mapping").map_or(&[][..], Node::members) {
            let id = self.mapped(place, &entry.value);
            mapping.push((entry.key.clone(), id));
        }
        let children = self.included_by(place);
        // Without anything to choose from, the property is one like any other.
        let own_name = self
            .component_name(place)
            .filter(|_| !children.is_empty() || !mapping.is_empty());
        let named: Vec<SchemaId> = mapping.iter().map(|(_, id)| *id).collect();
        // A schema without an entry in `mapping` goes by its own name.
        let mut implicit = |name: &str, id: SchemaId| {
            if !named.contains(&id) && !mapping.iter().any(|(known, _)| **known == *name) {
                mapping.push((name.into(), id));
            }
        };
        match beside {
            Some(branches) => {
                for reference in branches
                    .items()
                    .iter()
                    .filter_map(|branch| branch.get("$ref"))
                {
                    let name = reference.as_str().and_then(|text| text.rsplit('/').next());
                    let id = self.referred(place, reference);
                    if let Some(name) = name {
                        implicit(name, id);
                    }
                }
            }
            None => {
                for (name, child) in children {
                    let id = self.reserve_at(child);
                    implicit(&name, id);
                }
                if let Some(name) = own_name {
                    let id = self.reserve_at(place);
                    implicit(&name, id);
                }
            }
        }
        if mapping.is_empty() {
            return;
        }
        mapping.sort_by(|one, other| one.0.cmp(&other.0));
        draft.applied.discriminator = Some(Discriminator {
            property: property.into(),
            mapping,
            beside_branches: beside.is_some(),
        });
        draft.touched.applied = true;
    }

    /// What a value of `mapping` names: a schema by its name, else by a reference.
    fn mapped(&mut self, place: Place<'a>, node: &Node) -> SchemaId {
        let by_name = node
            .as_str()
            .filter(|text| !text.contains(['/', '#']))
            .and_then(|name| {
                let pointer = format!("#/components/schemas/{name}");
                self.resolve_quietly(place.base, &pointer)
            });
        match by_name {
            Some(place) => self.reserve_at(place),
            None => self.referred(place, node),
        }
    }

    fn list(&mut self, place: Place<'a>, member: &'a Member) -> Vec<SchemaId> {
        if !self.is_array(member) {
            return Vec::new();
        }
        member
            .value
            .items()
            .iter()
            .map(|node| self.child(place, node))
            .collect()
    }

    fn types_of(&mut self, node: &Node) -> Types {
        let mut types = Types::NONE;
        let one = std::slice::from_ref(node);
        let names = if node.as_str().is_some() {
            one
        } else {
            node.items()
        };
        for name in names {
            let Some(known) = name.as_str().and_then(Types::named) else {
                self.diagnostics.push(
                    Diagnostic::error(name.span, "not a type of JSON Schema").help(
                        "write one of `string`, `number`, `integer`, `boolean`, `array`, `object` and `null`",
                    ),
                );
                return Types::ALL;
            };
            types = types.or(known);
        }
        if types == Types::NONE {
            self.wrong(node, "a type or a list of types");
            return Types::ALL;
        }
        types
    }

    fn names(&mut self, member: &Member) -> Vec<Box<str>> {
        if !self.is_array(member) {
            return Vec::new();
        }
        let mut names = Vec::new();
        for item in member.value.items() {
            match item.as_str() {
                Some(name) => names.push(name.into()),
                None => self.wrong(item, "the name of a property"),
            }
        }
        names
    }

    fn boolean(&mut self, member: &Member) -> bool {
        member.value.as_bool().unwrap_or_else(|| {
            self.wrong(&member.value, "`true` or `false`");
            false
        })
    }

    fn text<'n>(&mut self, member: &'n Member) -> Option<&'n str> {
        let text = member.value.as_str();
        if text.is_none() {
            self.wrong(&member.value, "a string");
        }
        text
    }

    fn decimal(&mut self, member: &Member) -> Option<Decimal> {
        let number = member.value.as_number().and_then(Decimal::parse);
        if number.is_none() {
            self.wrong(&member.value, "a number");
        }
        number
    }

    fn count(&mut self, member: &Member) -> Option<u64> {
        let count = member
            .value
            .as_number()
            .and_then(Decimal::parse)
            .and_then(Decimal::to_u64);
        if count.is_none() {
            self.wrong(&member.value, "a count");
        }
        count
    }

    fn is_array(&mut self, member: &Member) -> bool {
        let right = matches!(member.value.value, Value::Array(_));
        if !right {
            self.wrong(&member.value, "a list");
        }
        right
    }

    fn is_object(&mut self, member: &Member) -> bool {
        let right = matches!(member.value.value, Value::Object(_));
        if !right {
            self.wrong(&member.value, "an object");
        }
        right
    }

    fn wrong(&mut self, node: &Node, expected: &str) {
        self.diagnostics.push(Diagnostic::error(
            node.span,
            format!("expected {expected}, found {}", node.kind()),
        ));
    }
}

fn sample(node: &Node, schema: &mut Schema) {
    if schema.samples.len() < MAX_SAMPLES {
        schema.samples.extend(sample_text(node));
    }
}

/// Examples that a schema keeps of its own, and that it is offered from elsewhere.
const MAX_SAMPLES: usize = 4;

fn sample_text(node: &Node) -> Option<Box<str>> {
    let mut text = String::new();
    Constant::write(node, &mut text);
    (text.len() <= 16 << 10).then(|| text.into())
}

fn finish(mut draft: Draft, schema: &mut Schema) {
    if draft.excludes_minimum {
        draft.number.exclusive_minimum = draft.number.minimum.take();
    }
    if draft.excludes_maximum {
        draft.number.exclusive_maximum = draft.number.maximum.take();
    }
    for property in &mut draft.object.properties {
        property.required = draft.required.remove(&property.name);
    }
    let object = &mut draft.object;
    object.required = object
        .properties
        .iter()
        .filter(|rule| rule.required)
        .count();
    object
        .properties
        .sort_by(|one, other| one.name.cmp(&other.name));
    object.required_elsewhere = draft.required.into_iter().collect();
    object.required_elsewhere.sort_unstable();
    if let Some(contains) = &mut draft.array.contains {
        contains.min = draft.min_contains.unwrap_or(1);
        contains.max = draft.max_contains;
    }
    let touched = draft.touched;
    schema.number = touched.number.then(|| Box::new(draft.number));
    schema.string = touched.string.then(|| Box::new(draft.string));
    schema.array = touched.array.then(|| Box::new(draft.array));
    schema.object = touched.object.then(|| Box::new(draft.object));
    schema.applied = touched.applied.then(|| Box::new(draft.applied));
}
