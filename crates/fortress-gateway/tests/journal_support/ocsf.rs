//! Checks events against OCSF 1.8.0. The facts come from the published schema, by
//! `.ci/ocsf-check --facts`.

use serde_json::{Map, Value};

/// The attributes, requirements, enumerations and constraints of the published schema.
pub(crate) fn schema() -> Value {
    serde_json::from_str(include_str!("../journal_ocsf.json")).unwrap()
}

/// Every way in which an event breaks the schema.
pub(crate) fn faults(schema: &Value, event: &Value) -> Vec<String> {
    let class = &schema["classes"][event["class_uid"].to_string()];
    let profiles: Vec<&str> = event["metadata"]["profiles"]
        .as_array()
        .map(|list| list.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let mut faults = Vec::new();
    check_members(schema, class, event, &profiles, "$", &mut faults);
    faults
}

fn check_members(
    schema: &Value,
    class: &Value,
    item: &Value,
    profiles: &[&str],
    place: &str,
    faults: &mut Vec<String>,
) {
    let Some(members) = item.as_object() else {
        return faults.push(format!("{place}: no object"));
    };
    let in_profile = |fact: &Value| {
        fact["profiles"].as_array().is_none_or(|any| {
            any.iter()
                .any(|one| profiles.contains(&one.as_str().unwrap()))
        })
    };
    let Some(attributes) = class["attributes"].as_object() else {
        return faults.push(format!("{place}: unknown class or object"));
    };
    for (name, fact) in attributes {
        if fact["required"] == true && in_profile(fact) && !members.contains_key(name) {
            faults.push(format!("{place}.{name}: required"));
        }
    }
    for (kind, names) in class["constraints"].as_object().unwrap_or(&Map::new()) {
        let present = names.as_array().unwrap().iter();
        let present = present.filter(|name| members.contains_key(name.as_str().unwrap()));
        if kind == "at_least_one" && present.count() == 0 {
            faults.push(format!("{place}: none of {names}"));
        }
    }
    for (name, value) in members {
        let place = format!("{place}.{name}");
        match attributes.get(name) {
            Some(fact) if in_profile(fact) => {
                check_value(schema, fact, value, profiles, &place, faults);
            }
            Some(_) => faults.push(format!("{place}: its profile is not declared")),
            None => faults.push(format!("{place}: unknown")),
        }
    }
}

fn check_value(
    schema: &Value,
    fact: &Value,
    value: &Value,
    profiles: &[&str],
    place: &str,
    faults: &mut Vec<String>,
) {
    if fact["array"] == true {
        let mut single = fact.clone();
        single["array"] = Value::Null;
        let Some(items) = value.as_array() else {
            return faults.push(format!("{place}: no array"));
        };
        for item in items {
            check_value(schema, &single, item, profiles, place, faults);
        }
        return;
    }
    let right = match fact["type"].as_str().unwrap() {
        "object_t" if fact["object"] == "object" => value.is_object(),
        "object_t" => {
            let class = &schema["objects"][fact["object"].as_str().unwrap()];
            return check_members(schema, class, value, profiles, place, faults);
        }
        "integer_t" => value.as_u64().is_some_and(|number| number < 1 << 31),
        "long_t" => value.as_u64().is_some_and(|number| number < 1 << 63),
        "boolean_t" => value.is_boolean(),
        "string_t" => value.is_string(),
        other => {
            faults.push(format!("{place}: type `{other}` is not checked"));
            true
        }
    };
    if !right {
        faults.push(format!("{place}: {value} is no {}", fact["type"]));
    }
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    if let Some(allowed) = fact["enum"].as_array()
        && !allowed.iter().any(|one| one == &text)
    {
        faults.push(format!("{place}: {value} is not in the enumeration"));
    }
}
