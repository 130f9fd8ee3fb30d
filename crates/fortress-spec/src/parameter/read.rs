//! Checks the parameters of one request.

use std::borrow::Cow;

use fortress_model::{
    Reason,
    config::{Cookies, RequestUndeclared},
};

use super::{
    Form, Location, Parameter, Parameters, Shape, Style,
    cookie::{self, Cookie},
    decode::{Plus, decode},
    query::{DeepBounds, DeepError, DeepSchemas, Pair, PairError, deep, pairs},
    read_style,
    style::TWICE,
    value::{Raw, is_list_only, judge},
};
use crate::{
    check::{ParameterOutcome, Policy, Reasons, RequestParts, Violation, is_full, report},
    description::KeyLocation,
    json::{self, ErrorKind, Limits},
    schema::{Schemas, Types, push_key},
};

const REASONS: Reasons = Reasons {
    invalid: Reason::ParameterInvalid,
    undeclared: Reason::ParameterUndeclared,
    // Nobody but the client sets a parameter.
    read_only: None,
    too_complex: Reason::ParameterInvalid,
};

/// Checks all parameters of a request.
pub(crate) fn check(
    parameters: &Parameters,
    schemas: &Schemas,
    request: &RequestParts<'_>,
    policy: &Policy,
    found: &mut Vec<Violation>,
) -> ParameterOutcome {
    let mut reading = Reading {
        parameters,
        schemas,
        policy,
        found,
        proven: Vec::new(),
    };
    reading.path(request);
    reading.query(request.query.unwrap_or(""));
    reading.headers(request);
    let cookie = reading.cookies(request);
    ParameterOutcome {
        cookie,
        proven: reading.proven,
    }
}

struct Reading<'r> {
    parameters: &'r Parameters,
    schemas: &'r Schemas,
    policy: &'r Policy,
    found: &'r mut Vec<Violation>,
    proven: Vec<u16>,
}

impl<'r> Reading<'r> {
    fn path(&mut self, request: &RequestParts<'_>) {
        for parameter in self.parameters.at(Location::Path) {
            let value = request
                .path_values
                .iter()
                .find(|(name, _)| **name == *parameter.name);
            match value {
                Some((_, text)) if parameter.style != Style::Matrix && text.contains(';') => {
                    self.malformed(parameter, "a `;` outside a matrix parameter");
                }
                Some((_, text)) => self.text(parameter, text, Plus::Plus),
                None => self.missing(parameter),
            }
        }
    }

    fn query(&mut self, query: &str) {
        let mut pairs = match pairs(query, self.policy.parts) {
            Ok(pairs) => pairs,
            Err(PairError::TooMany) => {
                return self.refuse(Reason::ParameterMalformed, "query", "too many parameters");
            }
            Err(PairError::Malformed(what)) => {
                return self.refuse(Reason::ParameterMalformed, "query", what);
            }
        };
        let parameters = self.parameters;
        let (exploded, others): (Vec<_>, Vec<_>) = parameters
            .at(Location::Query)
            .partition(|parameter| parameter.is_exploded_object());
        for parameter in others {
            if is_full(self.found) {
                return;
            }
            if parameter.style == Style::DeepObject && !parameter.is_json {
                self.deep(parameter, &mut pairs);
            } else {
                self.query_parameter(parameter, &mut pairs);
            }
        }
        for pair in &mut pairs {
            pair.used |= self.parameters.is_key(KeyLocation::Query, &pair.name);
        }
        self.keys_once(&pairs);
        // Those that take what is left come last.
        for parameter in exploded.iter().filter(|parameter| !parameter.takes_rest) {
            self.exploded(parameter, &mut pairs);
        }
        for parameter in exploded.iter().filter(|parameter| parameter.takes_rest) {
            self.exploded(parameter, &mut pairs);
        }
        for pair in pairs.iter().filter(|pair| !pair.used) {
            if self.policy.undeclared == RequestUndeclared::Refuse {
                self.refuse_named(
                    Reason::ParameterUndeclared,
                    "query",
                    &pair.name,
                    "the parameter is not declared",
                );
            } else if let Err(what) = decode(pair.value, Plus::Space) {
                self.refuse_named(Reason::ParameterMalformed, "query", &pair.name, what);
            }
        }
    }

    /// An API key given twice is as ambiguous as a parameter.
    fn keys_once(&mut self, pairs: &[Pair<'_>]) {
        let parameters = self.parameters;
        for (location, name) in &parameters.keys {
            let count = pairs.iter().filter(|pair| *pair.name == **name).count();
            if *location == KeyLocation::Query && count > 1 {
                self.refuse_named(
                    Reason::ParameterDuplicate,
                    "query",
                    name,
                    "given more than once",
                );
            }
        }
    }

    fn query_parameter(&mut self, parameter: &Parameter, pairs: &mut [Pair<'_>]) {
        let mut values = smallvec::SmallVec::<[&str; 4]>::new();
        for pair in pairs
            .iter_mut()
            .filter(|pair| *pair.name == *parameter.name)
        {
            pair.used = true;
            values.push(pair.value);
        }
        let many = parameter.explode
            && parameter.types.has(Types::ARRAY)
            && !parameter.is_json
            && parameter.types != Types::ALL;
        match values.as_slice() {
            [] if parameter.required => self.missing(parameter),
            [] => {}
            [""] if parameter.allow_empty => {}
            [value] => self.query_value(parameter, value, many),
            values if many => {
                let reserved = values.iter().any(|value| self.semicolon(parameter, value));
                let list: Result<Vec<_>, _> = values
                    .iter()
                    .map(|value| decode(value, Plus::Space).map(Raw::Text))
                    .collect();
                match list {
                    _ if reserved => {}
                    Ok(list) => self.judge(parameter, &[Raw::List(list)]),
                    Err(what) => self.malformed(parameter, what),
                }
            }
            _ => self.refuse_named(
                Reason::ParameterDuplicate,
                "query",
                &parameter.name,
                "given more than once",
            ),
        }
    }

    fn query_value(&mut self, parameter: &Parameter, value: &str, many: bool) {
        if self.semicolon(parameter, value) {
            return;
        }
        if many && !parameter.types.has(Types::OBJECT) {
            // One pair is a list of one, or the value itself where that is declared too.
            let text = match decode(value, Plus::Space) {
                Ok(text) => text,
                Err(what) => return self.malformed(parameter, what),
            };
            let list = Raw::List(vec![Raw::Text(text.clone())]);
            if parameter.shapes().next() == Some(Shape::Scalar) {
                return self.judge(parameter, &[Raw::Text(text), list]);
            }
            return self.judge(parameter, &[list]);
        }
        self.text(parameter, value, Plus::Space);
    }

    /// Some servers take `;` for `&`, so that a value could hide parameters.
    fn semicolon(&mut self, parameter: &Parameter, value: &str) -> bool {
        let hides = value.contains(';') && !parameter.allow_reserved;
        if hides {
            self.malformed(parameter, "an unencoded `;`");
        }
        hides
    }

    fn deep(&mut self, parameter: &Parameter, pairs: &mut [Pair<'_>]) {
        let bounds = DeepBounds {
            depth: self.policy.depth.min(json::MAX_DEPTH),
            properties: self.policy.properties,
            items: self.policy.items,
        };
        let schemas = DeepSchemas {
            all: self.schemas,
            of: &[parameter.schema],
        };
        match deep(pairs, &parameter.name, schemas, bounds) {
            Ok(Some(raw)) => self.judge(parameter, &[raw]),
            Ok(None) if parameter.required => self.missing(parameter),
            Ok(None) => {}
            Err(DeepError::Duplicate(what)) => {
                self.refuse_named(Reason::ParameterDuplicate, "query", &parameter.name, what);
            }
            Err(DeepError::TooComplex(what) | DeepError::Malformed(what)) => {
                self.malformed(parameter, what);
            }
        }
    }

    /// An object whose properties are pairs of the query.
    fn exploded(&mut self, parameter: &Parameter, pairs: &mut [Pair<'_>]) {
        let mut members: Vec<(Cow<'_, str>, Raw<'_>)> = Vec::new();
        let declares = |name: &str| parameter.properties.iter().any(|known| **known == *name);
        for pair in pairs.iter_mut().filter(|pair| !pair.used) {
            if !(parameter.takes_rest || declares(&pair.name)) {
                continue;
            }
            pair.used = true;
            let text = match decode(pair.value, Plus::Space) {
                Ok(text) => Raw::Text(text),
                Err(what) => return self.malformed(parameter, what),
            };
            let known = members.iter_mut().find(|(name, _)| *name == pair.name);
            match known {
                None => members.push((pair.name.clone(), text)),
                Some((name, value)) => {
                    if !self.is_list(parameter, name) {
                        let name = name.clone();
                        self.refuse_named(
                            Reason::ParameterDuplicate,
                            "query",
                            &name,
                            "given more than once",
                        );
                        return;
                    }
                    match value {
                        Raw::List(list) => list.push(text),
                        Raw::Text(_) | Raw::Map(_) | Raw::Json(_) => {
                            let first = std::mem::replace(value, Raw::List(Vec::new()));
                            *value = Raw::List(vec![first, text]);
                        }
                    }
                }
            }
        }
        for (name, value) in &mut members {
            if let (true, Raw::Text(text)) = (self.is_only_list(parameter, name), &*value) {
                *value = Raw::List(vec![Raw::Text(text.clone())]);
            }
        }
        if members.is_empty() {
            if parameter.required {
                self.missing(parameter);
            }
            return;
        }
        self.judge(parameter, &[Raw::Map(members)]);
    }

    fn is_list(&self, parameter: &Parameter, property: &str) -> bool {
        let schemas = self.schemas.property_schemas(parameter.schema, property);
        super::value::types(self.schemas, &schemas).has(Types::ARRAY) && !schemas.is_empty()
    }

    fn is_only_list(&self, parameter: &Parameter, property: &str) -> bool {
        let schemas = self.schemas.property_schemas(parameter.schema, property);
        is_list_only(super::value::types(self.schemas, &schemas))
    }

    fn headers(&mut self, request: &RequestParts<'_>) {
        for parameter in self.parameters.at(Location::Header) {
            let mut values = Vec::new();
            for value in request.headers.get_all(&*parameter.name) {
                match std::str::from_utf8(value.as_bytes()) {
                    Ok(text) => values.push(text),
                    Err(_) => return self.malformed(parameter, "invalid UTF-8"),
                }
            }
            match values.as_slice() {
                [] if parameter.required => self.missing(parameter),
                [] => {}
                [value] => self.text(parameter, value, Plus::Plus),
                // A list may stand in several fields (RFC 9110, section 5.3).
                values if is_list_only(parameter.types) && !parameter.is_json => {
                    let joined = values.join(",");
                    self.text(parameter, &joined, Plus::Plus);
                }
                _ => self.refuse_named(
                    Reason::ParameterDuplicate,
                    "header",
                    &parameter.name,
                    "given more than once",
                ),
            }
        }
    }

    /// Gives what the upstream gets instead of all fields, where that differs.
    fn cookies(&mut self, request: &RequestParts<'_>) -> Option<String> {
        let mut all: Vec<Cookie<'_>> = Vec::new();
        for field in request.headers.get_all(http::header::COOKIE) {
            match std::str::from_utf8(field.as_bytes()) {
                Ok(text) => all.extend(cookie::cookies(text)),
                Err(_) => {
                    self.refuse(Reason::ParameterMalformed, "cookie", "invalid UTF-8");
                    return None;
                }
            }
        }
        if all.len() > self.policy.parts {
            self.refuse(Reason::ParameterMalformed, "cookie", "too many cookies");
            return None;
        }
        for parameter in self.parameters.at(Location::Cookie) {
            self.cookie(parameter, &all);
        }
        let parameters = self.parameters;
        let declared = |cookie: &Cookie<'_>| {
            parameters.is_key(KeyLocation::Cookie, cookie.name)
                || parameters.at(Location::Cookie).any(|parameter| {
                    *parameter.name == *cookie.name
                        || parameter
                            .properties
                            .iter()
                            .any(|name| **name == *cookie.name)
                })
        };
        match self.policy.cookies {
            Cookies::Allow => None,
            Cookies::Refuse => {
                for cookie in all.iter().filter(|cookie| !declared(cookie)) {
                    self.refuse_named(
                        Reason::CookieUndeclared,
                        "cookie",
                        cookie.name,
                        "the cookie is not declared",
                    );
                }
                None
            }
            Cookies::Drop if all.iter().all(declared) => None,
            Cookies::Drop => {
                let kept: Vec<_> = all
                    .iter()
                    .filter(|cookie| declared(cookie))
                    .map(|cookie| cookie.pair)
                    .collect();
                Some(kept.join("; "))
            }
        }
    }

    fn cookie(&mut self, parameter: &Parameter, all: &[Cookie<'_>]) {
        if parameter.is_exploded_object() {
            return self.cookie_object(parameter, all);
        }
        let values: Vec<&str> = all
            .iter()
            .filter(|cookie| *cookie.name == *parameter.name)
            .map(|cookie| cookie.value)
            .collect();
        let many = parameter.explode && is_list_only(parameter.types) && !parameter.is_json;
        match values.as_slice() {
            [] if parameter.required => self.missing(parameter),
            [] => {}
            [value] => {
                let inner = value
                    .strip_prefix('"')
                    .and_then(|rest| rest.strip_suffix('"'));
                match cookie::value(value) {
                    Ok(_) => self.text(parameter, inner.unwrap_or(value), Plus::Plus),
                    Err(what) => self.malformed(parameter, what),
                }
            }
            values if many => {
                let list: Result<Vec<_>, _> = values
                    .iter()
                    .map(|value| cookie::value(value).map(Raw::Text))
                    .collect();
                match list {
                    Ok(list) => self.judge(parameter, &[Raw::List(list)]),
                    Err(what) => self.malformed(parameter, what),
                }
            }
            _ => self.refuse_named(
                Reason::ParameterDuplicate,
                "cookie",
                &parameter.name,
                "given more than once",
            ),
        }
    }

    /// An object whose properties are cookies of their own. What it does not declare by name belongs
    /// to whoever set it.
    fn cookie_object(&mut self, parameter: &Parameter, all: &[Cookie<'_>]) {
        let mut members: Vec<(Cow<'_, str>, Raw<'_>)> = Vec::new();
        let declares = |name: &str| parameter.properties.iter().any(|known| **known == *name);
        for cookie in all.iter().filter(|cookie| declares(cookie.name)) {
            if members.iter().any(|(name, _)| *name == cookie.name) {
                return self.refuse_named(
                    Reason::ParameterDuplicate,
                    "cookie",
                    cookie.name,
                    "given more than once",
                );
            }
            match cookie::value(cookie.value) {
                Ok(text) => members.push((Cow::Borrowed(cookie.name), Raw::Text(text))),
                Err(what) => return self.malformed(parameter, what),
            }
        }
        if !members.is_empty() {
            self.judge(parameter, &[Raw::Map(members)]);
        } else if parameter.required && !parameter.takes_rest {
            self.missing(parameter);
        }
    }

    /// A parameter whose value is one text.
    fn text(&mut self, parameter: &Parameter, text: &str, plus: Plus) {
        // Header values are not percent-encoded: nobody decodes them.
        let literal = parameter.location == Location::Header;
        if parameter.is_json {
            return self.json(parameter, text, plus);
        }
        let mut readings: Vec<Raw<'_>> = Vec::new();
        let mut fault = None;
        for shape in parameter.shapes() {
            for split_encoded in [false, true] {
                let useful = shape != Shape::Scalar && !literal && text.contains('%');
                if split_encoded && !useful {
                    continue;
                }
                let form = Form {
                    style: parameter.style,
                    explode: parameter.explode,
                    plus,
                    name: &parameter.name,
                    split_encoded,
                    literal,
                };
                match read_style(text, shape, &form) {
                    Ok(raw) => readings.push(raw),
                    Err(what) => fault = fault.or(Some(what)),
                }
            }
        }
        match fault {
            Some(what) if readings.is_empty() => {
                if what == TWICE {
                    let place = parameter.location.name();
                    self.refuse_named(Reason::ParameterDuplicate, place, &parameter.name, what);
                } else {
                    self.malformed(parameter, what);
                }
            }
            Some(_) | None => self.judge(parameter, &readings),
        }
    }

    fn json(&mut self, parameter: &Parameter, text: &str, plus: Plus) {
        let decoded = if parameter.location == Location::Header {
            Ok(Cow::Borrowed(text))
        } else {
            decode(text, plus)
        };
        let decoded = match decoded {
            Ok(decoded) => decoded,
            Err(what) => return self.malformed(parameter, what),
        };
        let limits = Limits {
            depth: self.policy.depth,
            properties: self.policy.properties,
            items: self.policy.items,
        };
        match json::read(decoded.as_bytes(), &limits) {
            Ok(document) => self.judge(parameter, &[Raw::Json(document)]),
            Err(error) => {
                let reason = match error.kind {
                    ErrorKind::DuplicateKey => Reason::ParameterDuplicate,
                    ErrorKind::Malformed | ErrorKind::TooComplex => Reason::ParameterMalformed,
                };
                let place = parameter.location.name();
                self.refuse_named(reason, place, &parameter.name, &error.detail);
            }
        }
    }

    /// Takes the first reading that matches; reports what is wrong with the last, which is the most
    /// structured.
    fn judge(&mut self, parameter: &Parameter, readings: &[Raw<'_>]) {
        let prefix = || {
            let mut prefix = parameter.location.name().to_owned();
            push_key(&mut prefix, &parameter.name);
            prefix
        };
        let before = self.found.len();
        for raw in readings {
            self.found.truncate(before);
            let (document, verdict) =
                judge(self.schemas, parameter.schema, raw, self.policy.undeclared);
            report(
                &document,
                &verdict,
                self.policy.undeclared,
                &prefix,
                &REASONS,
                self.found,
            );
            if self.found.len() == before {
                if verdict.root_proven && matches!(raw, Raw::Text(_)) {
                    self.prove(parameter);
                }
                return;
            }
        }
    }

    fn prove(&mut self, parameter: &Parameter) {
        let mut all = self.parameters.iter();
        let place = all.position(|known| std::ptr::eq(known, parameter));
        self.proven
            .extend(place.and_then(|place| u16::try_from(place).ok()));
    }

    fn missing(&mut self, parameter: &Parameter) {
        self.refuse_named(
            Reason::ParameterMissing,
            parameter.location.name(),
            &parameter.name,
            "the parameter is required",
        );
    }

    fn malformed(&mut self, parameter: &Parameter, what: &str) {
        let place = parameter.location.name();
        self.refuse_named(Reason::ParameterMalformed, place, &parameter.name, what);
    }

    fn refuse_named(&mut self, reason: Reason, place: &str, name: &str, detail: &str) {
        let mut location = place.to_owned();
        push_key(&mut location, name);
        self.refuse(reason, &location, detail);
    }

    fn refuse(&mut self, reason: Reason, location: &str, detail: &str) {
        if !is_full(self.found) {
            self.found.push(Violation {
                reason,
                location: location.to_owned(),
                detail: detail.to_owned(),
            });
        }
    }
}
