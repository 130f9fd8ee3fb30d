//! Makes a valid instance out of a schema, for requests that ought to pass.
//!
//! Every candidate is judged by the schema itself before it is given out. Deliberately not here:
//! search. Where patterns, `not` and the like leave no obvious instance, there is none.

use super::{Rules, Schema, SchemaId, Schemas, Side, StringFormat, Types, constant::write_string};
use crate::json::{self, Decimal, Limits, MAX_DEPTH};

/// Objects and arrays inside each other.
const MAX_NESTING: usize = 8;
/// Bytes of an instance.
const MAX_LENGTH: usize = 64 << 10;

/// Which properties an instance gets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fullness {
    /// Only what is required.
    Required,
    /// All that a request may have.
    All,
}

impl Schemas {
    /// A JSON text that a request may send where this schema applies: an example of the description
    /// if it has a valid one, else one made up. `None` if none was found.
    pub fn example(&self, id: SchemaId) -> Option<String> {
        self.candidates(id, Fullness::Required)
            .into_iter()
            .chain(self.candidates(id, Fullness::All))
            .find(|candidate| self.accepts(id, candidate))
    }

    /// Like [`example`](Self::example), with the optional properties too.
    pub fn full_example(&self, id: SchemaId) -> Option<String> {
        self.candidates(id, Fullness::All)
            .into_iter()
            .find(|candidate| self.accepts(id, candidate))
            .or_else(|| self.example(id))
    }

    /// Whether a JSON text may be sent where this schema applies, undeclared properties included.
    pub fn accepts(&self, id: SchemaId, text: &str) -> bool {
        let limits = Limits {
            depth: MAX_DEPTH,
            properties: 1_000,
            items: 10_000,
        };
        let Ok(document) = json::read(text.as_bytes(), &limits) else {
            return false;
        };
        let rules = Rules {
            side: Side::Request,
            closed_branches: true,
            lenient: false,
        };
        let verdict = self.judge(id, &document, rules);
        verdict.faults.is_empty()
            && !verdict
                .trail
                .iter()
                .any(|mark| matches!(mark, super::Mark::ReadOnly(_)))
            && super::undeclared(&document, &verdict.trail).is_empty()
    }

    fn candidates(&self, id: SchemaId, fullness: Fullness) -> Vec<String> {
        let mut candidates = Vec::new();
        self.visit(id, &mut |schema, _| {
            candidates.extend(schema.samples.iter().map(|sample| sample.to_string()));
        });
        candidates.truncate(8);
        for choice in 0..4 {
            let mut making = Making {
                schemas: self,
                fullness,
                choice,
                length: 0,
            };
            candidates.extend(making.value(id, MAX_NESTING));
        }
        candidates
    }
}

struct Making<'s> {
    schemas: &'s Schemas,
    fullness: Fullness,
    /// Which branch of each `oneOf` and `anyOf` is tried.
    choice: usize,
    length: usize,
}

impl Making<'_> {
    fn value(&mut self, id: SchemaId, nesting: usize) -> Option<String> {
        if nesting == 0 || self.length > MAX_LENGTH {
            return None;
        }
        let chosen = self.chosen(id);
        if let Some(sample) = self.sample(id, &chosen) {
            return Some(sample);
        }
        let types = chosen
            .iter()
            .fold(Types::ALL, |types, id| types.and(self.schemas.types(*id)));
        let made = if types.has(Types::OBJECT) && self.speaks_of_objects(&chosen, types) {
            self.object(&chosen, nesting)
        } else if types.has(Types::STRING) {
            self.string(&chosen)
        } else if types.has(Types::INTEGER) {
            self.number(&chosen)
        } else if types.has(Types::BOOLEAN) {
            Some("true".to_owned())
        } else if types.has(Types::ARRAY) {
            self.array(&chosen, nesting)
        } else if types.has(Types::OBJECT) {
            self.object(&chosen, nesting)
        } else {
            types.has(Types::NULL).then(|| "null".to_owned())
        };
        self.length += made.as_ref().map_or(0, String::len);
        made
    }

    /// An object is meant if no other type is allowed, or if some schema has its keywords.
    fn speaks_of_objects(&self, chosen: &[SchemaId], types: Types) -> bool {
        types == Types::OBJECT || self.each(chosen).any(|schema| schema.object.is_some())
    }

    /// The schemas that apply, with one branch of each alternative.
    fn chosen(&self, id: SchemaId) -> Vec<SchemaId> {
        let mut chosen = Vec::new();
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            if chosen.contains(&id) || chosen.len() > 64 {
                continue;
            }
            chosen.push(id);
            let Some(applied) = self
                .schemas
                .get(id)
                .and_then(|schema| schema.applied.as_ref())
            else {
                continue;
            };
            open.extend(applied.reference);
            open.extend(applied.dynamic.as_ref().map(|dynamic| dynamic.fixed));
            open.extend(&applied.all);
            for branches in [&applied.any, &applied.one] {
                let index = self.choice.min(branches.len().saturating_sub(1));
                open.extend(branches.get(index));
            }
        }
        chosen
    }

    fn each<'m>(&'m self, chosen: &'m [SchemaId]) -> impl Iterator<Item = &'m Schema> {
        chosen.iter().filter_map(|id| self.schemas.get(*id))
    }

    /// A declared value: an example, a default, the first of an `enum`.
    fn sample(&self, id: SchemaId, chosen: &[SchemaId]) -> Option<String> {
        let samples = self.each(chosen).flat_map(|schema| schema.samples.iter());
        let sample = samples
            .map(|sample| sample.to_string())
            .find(|sample| self.schemas.accepts(id, sample));
        sample.or_else(|| {
            let values = self.each(chosen).flat_map(|schema| &schema.values);
            let mut written = values.flat_map(|values| {
                let strings = values.strings.iter().map(|text| quoted(text));
                strings.chain(values.others.iter().filter_map(super::Constant::text))
            });
            written.find(|value| self.schemas.accepts(id, value))
        })
    }

    fn object(&mut self, chosen: &[SchemaId], nesting: usize) -> Option<String> {
        let mut members: Vec<(Box<str>, String)> = Vec::new();
        let mut properties: Vec<_> = chosen
            .iter()
            .filter_map(|id| self.schemas.get(*id)?.object.as_deref())
            .flat_map(|object| {
                let rules = object
                    .properties
                    .iter()
                    .map(|rule| (&rule.name, Some(rule.schema), rule.required));
                let more = object
                    .required_elsewhere
                    .iter()
                    .map(|name| (name, None, true));
                rules.chain(more)
            })
            .map(|(name, schema, required)| (name.clone(), schema, required))
            .collect();
        // A name's schema first, then whether anyone demands it.
        properties.sort_by(|one, other| {
            one.0
                .cmp(&other.0)
                .then(one.1.is_none().cmp(&other.1.is_none()))
        });
        properties.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            kept.2 |= same && later.2;
            same
        });
        for (name, schema, required) in properties {
            let wanted = required || self.fullness == Fullness::All;
            let hidden = schema.is_some_and(|schema| self.schemas.is_read_only(schema));
            if !wanted || hidden {
                continue;
            }
            let value = match schema {
                Some(schema) => self.value(schema, nesting - 1),
                None => Some("\"a\"".to_owned()),
            };
            match value {
                Some(value) => members.push((name, value)),
                None if required => return None,
                None => {}
            }
        }
        self.discriminate(chosen, &mut members);
        let mut out = String::from("{");
        for (index, (name, value)) in members.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            write_string(name, &mut out);
            out.push(':');
            out.push_str(value);
        }
        out.push('}');
        Some(out)
    }

    /// A discriminator's property names the branch that was taken.
    fn discriminate(&self, chosen: &[SchemaId], members: &mut [(Box<str>, String)]) {
        for schema in self.each(chosen) {
            let discriminator = schema
                .applied
                .as_ref()
                .and_then(|applied| applied.discriminator.as_ref());
            let Some(discriminator) = discriminator else {
                continue;
            };
            let entry = discriminator
                .mapping
                .iter()
                .find(|(_, id)| chosen.contains(id));
            for (name, value) in members.iter_mut() {
                if let (true, Some((choice, _))) = (**name == *discriminator.property, entry) {
                    *value = quoted(choice);
                }
            }
        }
    }

    fn array(&mut self, chosen: &[SchemaId], nesting: usize) -> Option<String> {
        let rules: Vec<_> = self
            .each(chosen)
            .filter_map(|schema| schema.array.as_deref())
            .collect();
        let least = rules
            .iter()
            .filter_map(|rules| rules.min_items)
            .max()
            .unwrap_or(0);
        let most = rules
            .iter()
            .filter_map(|rules| rules.max_items)
            .min()
            .unwrap_or(u64::MAX);
        let wanted = if self.fullness == Fullness::All { 1 } else { 0 };
        let count = least.max(wanted).min(most);
        if count > 100 {
            return None;
        }
        let schemas: Vec<Option<SchemaId>> = (0..usize::try_from(count).ok()?)
            .map(|index| {
                rules.iter().find_map(|rules| {
                    rules
                        .prefix
                        .get(index)
                        .copied()
                        .or(rules.contains.as_ref().map(|contains| contains.schema))
                        .or(rules.items)
                })
            })
            .collect();
        let mut items = Vec::with_capacity(schemas.len());
        for (index, schema) in schemas.into_iter().enumerate() {
            items.push(match schema {
                Some(schema) => self.value(schema, nesting - 1)?,
                None => index.to_string(),
            });
        }
        Some(format!("[{}]", items.join(",")))
    }

    fn number(&self, chosen: &[SchemaId]) -> Option<String> {
        let rules: Vec<_> = self
            .each(chosen)
            .filter_map(|schema| schema.number.as_deref())
            .collect();
        let mut candidates: Vec<Decimal> = ["1", "0", "10", "100", "-1", "0.5"]
            .iter()
            .filter_map(|text| Decimal::parse(text))
            .collect();
        for rules in &rules {
            candidates.extend(
                [rules.minimum, rules.maximum, rules.multiple_of]
                    .into_iter()
                    .flatten(),
            );
            let one = Decimal::parse("1");
            candidates.extend(
                rules
                    .exclusive_minimum
                    .zip(one)
                    .and_then(|(bound, one)| bound.plus(one)),
            );
        }
        let fits = |number: &Decimal| {
            rules.iter().all(|rules| {
                rules.minimum.is_none_or(|bound| *number >= bound)
                    && rules.exclusive_minimum.is_none_or(|bound| *number > bound)
                    && rules.maximum.is_none_or(|bound| *number <= bound)
                    && rules.exclusive_maximum.is_none_or(|bound| *number < bound)
                    && rules
                        .multiple_of
                        .is_none_or(|step| number.is_multiple_of(step))
            })
        };
        let integer = chosen
            .iter()
            .all(|id| !self.schemas.types(*id).has(Types::NUMBER));
        candidates
            .into_iter()
            .find(|number| fits(number) && (!integer || number.is_integer()))
            .map(|number| number.to_string())
    }

    fn string(&self, chosen: &[SchemaId]) -> Option<String> {
        let rules: Vec<_> = self
            .each(chosen)
            .filter_map(|schema| schema.string.as_deref())
            .collect();
        let least = rules
            .iter()
            .filter_map(|rules| rules.min_length)
            .max()
            .unwrap_or(1);
        let length = usize::try_from(least)
            .ok()
            .filter(|length| *length <= MAX_LENGTH)?;
        let format = rules.iter().find_map(|rules| rules.format);
        let mut candidates: Vec<String> = Vec::new();
        let patterns = rules.iter().filter_map(|rules| rules.pattern.as_ref());
        candidates.extend(patterns.filter_map(|pattern| super::sample::of_pattern(pattern.text())));
        candidates.extend(format.map(|format| sample_of(format).to_owned()));
        for filler in [
            "a", "A", "0", "1", "ab", "aa", "AA", "Aa1-", "a1", "A1", "abc-1", "1.0", "1.0.0", "/",
            "a@b.co",
        ] {
            let whole: String = filler
                .chars()
                .cycle()
                .take(length.max(filler.chars().count()))
                .collect();
            candidates.push(whole);
            candidates.push(filler.chars().cycle().take(length).collect());
        }
        for size in [2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 36, 40, 64] {
            candidates.extend(
                ["a", "1", "A", "f0"]
                    .map(|filler| filler.repeat(size).chars().take(size).collect()),
            );
        }
        candidates.extend(
            [
                "2026-01-01",
                "12:00",
                "+14155550100",
                "en-US",
                "http://localhost/",
                "AB-1",
                "USD",
                "#aabbcc",
            ]
            .map(str::to_owned),
        );
        candidates.push(String::new());
        let found = candidates.into_iter().find(|text| {
            let length = u64::try_from(text.chars().count()).unwrap_or(u64::MAX);
            rules.iter().all(|rules| {
                rules.min_length.is_none_or(|least| length >= least)
                    && rules.max_length.is_none_or(|most| length <= most)
                    && rules.format.is_none_or(|format| format.matches(text))
                    && rules
                        .pattern
                        .as_ref()
                        .is_none_or(|pattern| pattern.matches(text) == Some(true))
            })
        });
        found.map(|text| quoted(&text))
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    write_string(text, &mut out);
    out
}

fn sample_of(format: StringFormat) -> &'static str {
    match format {
        StringFormat::DateTime => "2026-01-01T12:00:00Z",
        StringFormat::Date => "2026-01-01",
        StringFormat::Time => "12:00:00Z",
        StringFormat::Duration => "P1D",
        StringFormat::Uuid => "123e4567-e89b-42d3-a456-426614174000",
        StringFormat::Email | StringFormat::IdnEmail => "user@example.com",
        StringFormat::Uri
        | StringFormat::UriReference
        | StringFormat::Iri
        | StringFormat::IriReference => "https://example.com/",
        StringFormat::UriTemplate => "https://example.com/{id}",
        StringFormat::Ipv4 => "192.0.2.1",
        StringFormat::Ipv6 => "2001:db8::1",
        StringFormat::Hostname | StringFormat::IdnHostname => "example.com",
        StringFormat::JsonPointer => "/a",
        StringFormat::RelativeJsonPointer => "0",
        StringFormat::Regex => "^a$",
        StringFormat::Byte | StringFormat::Base64Url => "YWJj",
        StringFormat::Char => "a",
        StringFormat::Decimal | StringFormat::Decimal128 => "1.5",
    }
}
