//! What a schema lets through, as far as it can be said without an instance: for the coercion of
//! parameters, for the posture report and for whoever makes requests out of a description.
//!
//! All answers are about one place of the instance and look through `$ref`, `allOf`, `anyOf` and
//! `oneOf`. Deliberately not here: anything exact. Where branches disagree the answer is the wider.

use super::{Applied, ObjectRules, Schema, SchemaId, Schemas};
use crate::json::{Decimal, Kind, Value};

/// A set of JSON types.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Types(u8);

impl Types {
    /// None at all: nothing can match.
    pub const NONE: Self = Self(0);
    /// `null`.
    pub const NULL: Self = Self(1);
    /// `true` and `false`.
    pub const BOOLEAN: Self = Self(2);
    /// Numbers without a fraction.
    pub const INTEGER: Self = Self(4);
    /// Numbers, whole ones too.
    pub const NUMBER: Self = Self(8 | 4);
    /// Strings.
    pub const STRING: Self = Self(16);
    /// Arrays.
    pub const ARRAY: Self = Self(32);
    /// Objects.
    pub const OBJECT: Self = Self(64);
    /// Any value.
    pub const ALL: Self = Self(127);

    /// What is in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is in it.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether anything of `other` is in it.
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The type that a description calls `name`.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "null" => Self::NULL,
            "boolean" => Self::BOOLEAN,
            "integer" => Self::INTEGER,
            "number" => Self::NUMBER,
            "string" => Self::STRING,
            "array" => Self::ARRAY,
            "object" => Self::OBJECT,
            _ => return None,
        })
    }

    /// Whether a value is of one of the types. `1.0` is an integer.
    pub(crate) fn allow(self, value: &Value<'_>) -> bool {
        match &value.kind {
            Kind::Null => self.has(Self::NULL),
            Kind::Bool(_) => self.has(Self::BOOLEAN),
            Kind::Number(text) => {
                self.has(Self::NUMBER)
                    || (self.has(Self::INTEGER)
                        && (text
                            .bytes()
                            .all(|byte| byte == b'-' || byte.is_ascii_digit())
                            || Decimal::parse(text).is_none_or(Decimal::is_integer)))
            }
            Kind::String(_) => self.has(Self::STRING),
            Kind::Array(_) => self.has(Self::ARRAY),
            Kind::Object(_) => self.has(Self::OBJECT),
        }
    }

    /// `an integer or null`, for messages.
    pub fn describe(self) -> String {
        let number = if self.has(Self::NUMBER) {
            (Self::NUMBER, "a number")
        } else {
            (Self::INTEGER, "an integer")
        };
        let names: Vec<_> = [
            (Self::STRING, "a string"),
            number,
            (Self::BOOLEAN, "a boolean"),
            (Self::ARRAY, "an array"),
            (Self::OBJECT, "an object"),
            (Self::NULL, "null"),
        ]
        .into_iter()
        .filter_map(|(types, name)| self.has(types).then_some(name))
        .collect();
        if names.is_empty() {
            return "nothing".to_owned();
        }
        names.join(" or ")
    }
}

impl Default for Types {
    fn default() -> Self {
        Self::ALL
    }
}

/// A declared property of an object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Property {
    /// Its name.
    pub name: Box<str>,
    /// Its schema; where several branches declare the name, the first.
    pub schema: SchemaId,
    /// Whether some schema that always applies demands it.
    pub required: bool,
    /// Only the server sets it.
    pub read_only: bool,
    /// Only the client sets it.
    pub write_only: bool,
}

/// Bounds of a number, where they are said.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NumberBounds {
    /// The lowest value (it may be excluded).
    pub minimum: Option<Decimal>,
    /// The highest value (it may be excluded).
    pub maximum: Option<Decimal>,
}

/// Bounds of a string, where they are said.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct StringBounds {
    /// Code points, at least.
    pub min_length: Option<u64>,
    /// Code points, at most; `enum`, `const` and most formats bound it as well, see `closed`.
    pub max_length: Option<u64>,
    /// Whether an `enum`, a `const`, a `pattern` or a `format` says what it may be.
    pub closed: bool,
}

/// How far schemas are followed on the spot.
const REACH: usize = 16;

impl Schemas {
    /// The types that a value may have.
    pub fn types(&self, id: SchemaId) -> Types {
        self.types_within(id, REACH)
    }

    /// The types that text is to be read as: those that the schema allows, or, where it names none,
    /// the one whose keywords it has. Whoever writes `properties` means an object.
    pub(crate) fn meant_types(&self, id: SchemaId) -> Types {
        let types = self.types(id);
        if types != Types::ALL {
            return types;
        }
        let mut meant = Types::NONE;
        self.visit(id, &mut |schema, certain| {
            if !certain {
                return;
            }
            if schema.object.as_ref().is_some_and(|rules| rules.declares()) {
                meant = meant.or(Types::OBJECT);
            }
            let is_list = schema
                .array
                .as_ref()
                .is_some_and(|rules| rules.items.is_some() || !rules.prefix.is_empty());
            if is_list {
                meant = meant.or(Types::ARRAY);
            }
        });
        if meant == Types::NONE { types } else { meant }
    }

    fn types_within(&self, id: SchemaId, reach: usize) -> Types {
        let Some(schema) = self.get(id) else {
            return Types::ALL;
        };
        match schema.fixed {
            Some(true) => return Types::ALL,
            Some(false) => return Types::NONE,
            None => {}
        }
        let mut types = schema.types.and(values_types(schema));
        let (Some(applied), true) = (schema.applied.as_deref(), reach > 0) else {
            return if schema.nullable {
                types.or(Types::NULL)
            } else {
                types
            };
        };
        let either = |branches: &[SchemaId]| {
            branches.iter().fold(Types::NONE, |types, branch| {
                types.or(self.types_within(*branch, reach - 1))
            })
        };
        for id in applied.reference.iter().chain(&applied.all) {
            types = types.and(self.types_within(*id, reach - 1));
        }
        for branches in [&applied.any, &applied.one] {
            if !branches.is_empty() {
                types = types.and(either(branches));
            }
        }
        if schema.nullable {
            types.or(Types::NULL)
        } else {
            types
        }
    }

    /// The declared properties, sorted by name, each once; through all branches.
    pub fn properties(&self, id: SchemaId) -> Vec<Property> {
        let mut properties = Vec::new();
        self.visit(id, &mut |schema, certain| {
            let Some(object) = &schema.object else { return };
            for rule in &object.properties {
                let child = self.get(rule.schema);
                properties.push(Property {
                    name: rule.name.clone(),
                    schema: rule.schema,
                    required: rule.required && certain,
                    read_only: child.is_some_and(|_| self.is_read_only(rule.schema)),
                    write_only: child.is_some_and(|_| self.is_write_only(rule.schema)),
                });
            }
        });
        let mut elsewhere = Vec::new();
        self.visit(id, &mut |schema, certain| {
            if let (Some(object), true) = (&schema.object, certain) {
                elsewhere.extend(object.required_elsewhere.iter().cloned());
            }
        });
        properties.sort_by(|one, other| one.name.cmp(&other.name));
        properties.dedup_by(|later, kept| {
            let same = later.name == kept.name;
            if same {
                kept.required |= later.required;
                kept.read_only |= later.read_only;
                kept.write_only |= later.write_only;
            }
            same
        });
        for property in &mut properties {
            property.required |= elsewhere.contains(&property.name);
        }
        properties
    }

    /// The schemas that apply to a property of this name.
    pub(crate) fn property_schemas(&self, id: SchemaId, name: &str) -> Vec<SchemaId> {
        let mut found = Vec::new();
        self.visit(id, &mut |schema, _| {
            let Some(object) = &schema.object else { return };
            let mut known = false;
            if let Some(rule) = object.property(name) {
                found.push(rule.schema);
                known = true;
            }
            for (pattern, schema) in &object.patterns {
                if pattern.matches(name) == Some(true) {
                    found.push(*schema);
                    known = true;
                }
            }
            if let (false, Some(additional)) = (known, object.additional) {
                found.push(additional);
            }
        });
        found
    }

    /// The schemas that apply to an item of an array.
    pub(crate) fn item_schemas(&self, id: SchemaId, index: usize) -> Vec<SchemaId> {
        let mut found = Vec::new();
        self.visit(id, &mut |schema, _| {
            let Some(array) = &schema.array else { return };
            if let Some(schema) = array.prefix.get(index).copied().or(array.items) {
                found.push(schema);
            }
        });
        found
    }

    /// The schema of an array's items behind any `prefixItems`, if there is one.
    pub fn items(&self, id: SchemaId) -> Option<SchemaId> {
        self.item_schemas(id, usize::MAX).into_iter().next()
    }

    /// Whether an object of this schema may have any property: none is declared, and additional ones
    /// are not forbidden.
    pub fn is_free_form(&self, id: SchemaId) -> bool {
        let (mut declares, mut closed) = (false, false);
        self.visit(id, &mut |schema, certain| {
            if let Some(object) = &schema.object {
                declares |= object.declares() || object.additional.is_some();
                closed |= certain && self.forbids_additional(object);
            }
        });
        self.types(id).has(Types::OBJECT) && !declares && !closed
    }

    /// Whether properties that are not declared by name are explicitly let through.
    pub fn is_open(&self, id: SchemaId) -> bool {
        let mut open = false;
        self.visit(id, &mut |schema, _| {
            if let Some(object) = &schema.object {
                open |= [object.additional, object.unevaluated]
                    .into_iter()
                    .flatten()
                    .any(|additional| self.fixed(additional) != Some(false));
            }
        });
        open
    }

    fn forbids_additional(&self, object: &ObjectRules) -> bool {
        [object.additional, object.unevaluated]
            .into_iter()
            .flatten()
            .any(|additional| self.fixed(additional) == Some(false))
    }

    pub(super) fn fixed(&self, id: SchemaId) -> Option<bool> {
        self.get(id).and_then(|schema| schema.fixed)
    }

    /// `readOnly: true`, on the schema itself or one that always applies with it.
    pub fn is_read_only(&self, id: SchemaId) -> bool {
        let mut found = false;
        self.visit(id, &mut |schema, certain| {
            found |= certain && schema.read_only
        });
        found
    }

    /// `writeOnly: true`, on the schema itself or one that always applies with it.
    pub fn is_write_only(&self, id: SchemaId) -> bool {
        let mut found = false;
        self.visit(id, &mut |schema, certain| {
            found |= certain && schema.write_only
        });
        found
    }

    /// The narrowest bounds of a number that always hold.
    pub fn number_bounds(&self, id: SchemaId) -> NumberBounds {
        let mut bounds = NumberBounds::default();
        self.visit(id, &mut |schema, certain| {
            let (Some(rules), true) = (&schema.number, certain) else {
                return;
            };
            let low = rules.minimum.into_iter().chain(rules.exclusive_minimum);
            let high = rules.maximum.into_iter().chain(rules.exclusive_maximum);
            bounds.minimum = bounds.minimum.into_iter().chain(low).max();
            bounds.maximum = bounds.maximum.into_iter().chain(high).min();
        });
        bounds
    }

    /// The narrowest bounds of a string that always hold.
    pub fn string_bounds(&self, id: SchemaId) -> StringBounds {
        let mut bounds = StringBounds::default();
        self.visit(id, &mut |schema, certain| {
            if !certain {
                return;
            }
            bounds.closed |= !schema.values.is_empty();
            if let Some(rules) = &schema.string {
                bounds.min_length = bounds.min_length.into_iter().chain(rules.min_length).max();
                bounds.max_length = bounds.max_length.into_iter().chain(rules.max_length).min();
                bounds.closed |= rules.pattern.is_some()
                    || rules.format.is_some_and(|format| format.is_narrow());
            }
        });
        bounds
    }

    /// How many items an array may have at most, if that is said.
    pub fn max_items(&self, id: SchemaId) -> Option<u64> {
        let mut bound: Option<u64> = None;
        self.visit(id, &mut |schema, certain| {
            if let (Some(rules), true) = (&schema.array, certain) {
                bound = bound.into_iter().chain(rules.max_items).min();
            }
        });
        bound
    }

    /// Whether the schema is an `enum` or `const`, so that its values are counted.
    pub fn is_enumerated(&self, id: SchemaId) -> bool {
        let mut found = false;
        self.visit(id, &mut |schema, certain| {
            found |= certain && !schema.values.is_empty()
        });
        found
    }

    /// Calls `see` with every schema applied on the spot, and whether it always applies (`$ref`,
    /// `allOf`) rather than as a branch.
    pub(super) fn visit(&self, id: SchemaId, see: &mut dyn FnMut(&Schema, bool)) {
        let mut seen: Vec<SchemaId> = Vec::new();
        let mut open = vec![(id, true)];
        while let Some((id, certain)) = open.pop() {
            if seen.contains(&id) || seen.len() > 256 {
                continue;
            }
            seen.push(id);
            let Some(schema) = self.get(id) else { continue };
            see(schema, certain);
            if let Some(applied) = &schema.applied {
                open.extend(branches(applied).map(|id| (id, false)));
                open.extend(applied.all.iter().rev().map(|id| (*id, certain)));
                open.extend(applied.reference.map(|id| (id, certain)));
                let dynamic = applied.dynamic.as_ref().map(|dynamic| dynamic.fixed);
                open.extend(dynamic.map(|id| (id, false)));
            }
            if let Some(object) = &schema.object {
                open.extend(object.dependent_schemas.iter().map(|(_, id)| (*id, false)));
            }
        }
    }
}

fn branches(applied: &Applied) -> impl Iterator<Item = SchemaId> {
    let chosen = applied
        .discriminator
        .iter()
        .flat_map(|discriminator| discriminator.mapping.iter().map(|(_, id)| *id));
    applied
        .any
        .iter()
        .chain(&applied.one)
        .copied()
        .chain(applied.condition)
        .chain(applied.then)
        .chain(applied.otherwise)
        .chain(chosen)
}

fn values_types(schema: &Schema) -> Types {
    use super::Constant;
    schema.values.iter().fold(Types::ALL, |types, values| {
        let mut these = if values.strings.is_empty() {
            Types::NONE
        } else {
            Types::STRING
        };
        for constant in &values.others {
            these = these.or(match constant {
                Constant::Null => Types::NULL,
                Constant::Bool(_) => Types::BOOLEAN,
                Constant::Number(Some(number)) if number.is_integer() => Types::INTEGER,
                Constant::Number(_) => Types::NUMBER,
                Constant::String(_) => Types::STRING,
                Constant::Array(_) => Types::ARRAY,
                Constant::Object(_) => Types::OBJECT,
            });
        }
        types.and(these)
    })
}
