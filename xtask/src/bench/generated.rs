//! Descriptions of any size, made from a number alone: always the same text for the same number.
//! Resources in groups, five operations each, literal and templated paths side by side.
//!
//! Deliberately not here: variety for its own sake. What the shapes of real descriptions cost is
//! measured with real descriptions.

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};

use crate::gateway;

/// Operations of one resource.
const EACH: usize = 5;
/// Resources whose paths share a first segment.
const GROUP: usize = 20;

/// A description, and a request to an operation in its middle.
#[derive(Debug)]
pub(super) struct Generated {
    /// OpenAPI, as YAML.
    pub(super) text: String,
    /// The path and query of a GET that [`gateway::ANSWER`] answers as described.
    pub(super) target: String,
}

/// A description of so many operations, which must be a multiple of five.
pub(super) fn describe(operations: usize) -> Result<Generated> {
    ensure!(
        operations > 0 && operations.is_multiple_of(EACH),
        "cannot describe {operations} operations; give a multiple of {EACH}"
    );
    let resources = operations / EACH;
    let mut text = String::from(
        "openapi: 3.1.0\ninfo: { title: Generated, version: \"1\" }\nsecurity: []\npaths:\n",
    );
    for number in 0..resources {
        resource(&mut text, number)?;
    }
    let (_, components) = gateway::DESCRIPTION
        .split_once("components:\n")
        .context("the orders API has no components")?;
    write!(text, "components:\n{components}")?;
    Ok(Generated {
        text,
        target: format!("{}/17?expand=items&limit=20", path(resources / 2)),
    })
}

fn path(number: usize) -> String {
    format!("/group{}/resource{number}", number / GROUP)
}

/// Writes one resource. Its `summary` is a literal where `{id}` would match too. Each body has a
/// schema of its own, because a real description's memory is its schemas.
fn resource(text: &mut String, number: usize) -> Result<()> {
    let path = path(number);
    let id = "{ name: id, in: path, required: true, schema: { type: integer, format: int64, minimum: 1 } }";
    let limit = "{ name: limit, in: query, schema: { type: integer, minimum: 1, maximum: 100 } }";
    let answer = "responses: { \"200\": { $ref: \"#/components/responses/Order\" } }";
    let body = |what: &str| {
        format!(
            "      requestBody:\n        required: true\n        content:\n          application/json:\n            \
             schema:\n              type: object\n              required: [{what}{number}, items]\n              \
             properties:\n                {what}{number}: {{ type: string, maxLength: 100 }}\n                \
             paid: {{ type: boolean }}\n                \
             items: {{ type: array, maxItems: 100, items: {{ $ref: \"#/components/schemas/Item\" }} }}\n"
        )
    };
    write!(
        text,
        "  {path}:\n    \
         get:\n      operationId: list{number}\n      parameters:\n        - {limit}\n        \
         - {{ name: sort, in: query, schema: {{ type: string, enum: [oldest, newest] }} }}\n      {answer}\n    \
         post:\n      operationId: create{number}\n{}      {answer}\n  \
         {path}/{{id}}:\n    \
         get:\n      operationId: get{number}\n      parameters:\n        - {id}\n        - {limit}\n        \
         - {{ name: expand, in: query, schema: {{ type: string, enum: [items, none] }} }}\n      {answer}\n  \
         {path}/{{id}}/notes:\n    \
         post:\n      operationId: note{number}\n      parameters: [{id}]\n{}      {answer}\n  \
         {path}/summary:\n    \
         get:\n      operationId: summary{number}\n      parameters: [{limit}]\n      {answer}\n",
        body("customer"),
        body("note"),
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{io, path::Path};

    use fortress_model::document::Sources;
    use fortress_spec::{Files, Security, load};

    use super::*;

    struct Only(String);

    impl Files for Only {
        fn read(&self, _: &Path) -> io::Result<String> {
            Ok(self.0.clone())
        }
    }

    #[track_caller]
    fn check(operations: usize, target: &str) {
        let generated = describe(operations).unwrap();
        assert_eq!(generated.text, describe(operations).unwrap().text);
        assert_eq!(generated.target, target);
        let loaded = load(
            Path::new("openapi.yaml"),
            &Only(generated.text),
            &mut Sources::default(),
        );
        assert!(loaded.diagnostics.is_empty(), "{:#?}", loaded.diagnostics);
        let description = loaded.description.unwrap();
        assert_eq!(description.operations.len(), operations);
        let (path, _) = target.split_once("/17?").unwrap();
        let asked = |operation: &&fortress_spec::Operation| {
            operation.template.text == format!("{path}/{{id}}") && operation.body.is_none()
        };
        assert_eq!(description.operations.iter().filter(asked).count(), 1);
        let public = |security: &Security| matches!(security, Security::Public);
        assert!(
            description
                .operations
                .iter()
                .all(|operation| public(&operation.security))
        );
    }

    #[test]
    fn a_description_has_as_many_operations_as_asked_for() {
        check(5, "/group0/resource0/17?expand=items&limit=20");
        check(10, "/group0/resource1/17?expand=items&limit=20");
        check(1000, "/group5/resource100/17?expand=items&limit=20");
    }

    #[test]
    fn other_numbers_are_refused() {
        for operations in [0, 1, 7, 10_001] {
            let error = describe(operations).unwrap_err().to_string();
            assert!(error.contains("multiple of 5"), "{error}");
        }
    }
}
