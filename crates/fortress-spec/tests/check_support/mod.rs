//! One operation out of a few lines of description, and one-line questions to it.
#![expect(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    clippy::panic,
    reason = "each test binary uses a part of it, and helpers of tests may fail"
)]

use std::{collections::HashMap, io, path::Path};

use fortress_model::{
    Sources,
    config::{Cookies, RequestUndeclared, ResponseUndeclared},
};
use fortress_spec::{
    ApiDescription, Files, Operation, Policy, RequestParts, ResponseOutcome, Violation, load,
};

struct Memory(HashMap<String, String>);

impl Files for Memory {
    fn read(&self, path: &Path) -> io::Result<String> {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or("");
        self.0
            .get(name)
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

pub const POLICY: Policy = Policy {
    undeclared: RequestUndeclared::Refuse,
    cookies: Cookies::Allow,
    depth: 32,
    properties: 1_000,
    items: 10_000,
    parts: 1_000,
};

pub struct Api {
    pub description: ApiDescription,
    pub policy: Policy,
}

impl Api {
    /// Loads a whole description.
    #[track_caller]
    pub fn load(text: &str) -> Self {
        let mut sources = Sources::default();
        let files = Memory(HashMap::from([("api.json".to_owned(), text.to_owned())]));
        let loaded = load(Path::new("api.json"), &files, &mut sources);
        let Some(description) = loaded.description else {
            panic!("{text}: {:#?}", loaded.diagnostics)
        };
        Self {
            description,
            policy: POLICY,
        }
    }

    /// One operation, `POST /x`, with what stands in an Operation Object beside `responses`, and
    /// component schemas.
    #[track_caller]
    pub fn operation(version: &str, members: &str, schemas: &str) -> Self {
        Self::load(&format!(
            r#"{{"openapi":"{version}","info":{{"title":"t","version":"1"}},"paths":{{"/x":{{"post":{{{members},"responses":{{"default":{{"description":"d"}}}}}}}}}},"components":{{"schemas":{{{schemas}}}}}}}"#
        ))
    }

    /// A JSON body of this schema.
    #[track_caller]
    pub fn body(version: &str, schema: &str, schemas: &str) -> Self {
        let members = format!(
            r#""requestBody":{{"required":true,"content":{{"application/json":{{"schema":{schema}}}}}}}"#
        );
        Self::operation(version, &members, schemas)
    }

    /// A 200 response as JSON of this schema.
    #[track_caller]
    pub fn response(version: &str, schema: &str, schemas: &str) -> Self {
        Self::load(&format!(
            r#"{{"openapi":"{version}","info":{{"title":"t","version":"1"}},"paths":{{"/x":{{"post":{{"responses":{{"200":{{"description":"d","content":{{"application/json":{{"schema":{schema}}}}}}}}}}}}}}},"components":{{"schemas":{{{schemas}}}}}}}"#
        ))
    }

    /// One query parameter `p`, with what else stands in its Parameter Object.
    #[track_caller]
    pub fn query(members: &str) -> Self {
        Self::parameters(&format!(r#"{{"name":"p","in":"query",{members}}}"#))
    }

    #[track_caller]
    pub fn parameters(list: &str) -> Self {
        Self::operation("3.0.3", &format!(r#""parameters":[{list}]"#), "")
    }

    pub fn first(&self) -> &Operation {
        self.description.operations.first().expect("an operation")
    }

    pub fn send(&self, content_type: Option<&str>, body: impl AsRef<[u8]>) -> Vec<Violation> {
        let mut found = Vec::new();
        let content_type = content_type.map(str::as_bytes);
        self.first().check_body(
            &self.description.schemas,
            content_type,
            body.as_ref(),
            &self.policy,
            &mut found,
        );
        assert!(found.len() <= 16);
        found
    }

    /// The code of the first violation of a JSON body, or nothing.
    pub fn json(&self, body: &str) -> &'static str {
        code(&self.send(Some("application/json"), body))
    }

    #[track_caller]
    pub fn accepts(&self, bodies: &[&str]) -> &Self {
        for body in bodies {
            let found = self.send(Some("application/json"), body);
            assert!(found.is_empty(), "{body}: {found:?}");
        }
        self
    }

    #[track_caller]
    pub fn refuses(&self, expect: &str, bodies: &[&str]) -> &Self {
        for body in bodies {
            let found = self.send(Some("application/json"), body);
            assert_eq!(code(&found), expect, "{body}: {found:?}");
        }
        self
    }

    pub fn request(&self, parts: &RequestParts<'_>) -> (Vec<Violation>, Option<String>) {
        let mut found = Vec::new();
        let outcome = self.first().check_parameters(
            &self.description.schemas,
            parts,
            &self.policy,
            &mut found,
        );
        assert!(found.len() <= 16);
        (found, outcome.cookie)
    }

    /// The code of the first violation of a query.
    pub fn ask(&self, query: &str) -> &'static str {
        code(&self.asked(query))
    }

    pub fn asked(&self, query: &str) -> Vec<Violation> {
        let headers = http::HeaderMap::new();
        self.request(&RequestParts {
            path_values: &[],
            query: Some(query),
            headers: &headers,
        })
        .0
    }

    #[track_caller]
    pub fn takes(&self, queries: &[&str]) -> &Self {
        for query in queries {
            let found = self.asked(query);
            assert!(found.is_empty(), "{query}: {found:?}");
        }
        self
    }

    #[track_caller]
    pub fn rejects(&self, expect: &str, queries: &[&str]) -> &Self {
        for query in queries {
            let found = self.asked(query);
            assert_eq!(code(&found), expect, "{query}: {found:?}");
        }
        self
    }

    pub fn answer(
        &self,
        status: u16,
        content_type: Option<&str>,
        body: impl AsRef<[u8]>,
        undeclared: ResponseUndeclared,
    ) -> (ResponseOutcome, Vec<Violation>) {
        let mut found = Vec::new();
        let outcome = self.first().check_response(
            &self.description.schemas,
            status,
            content_type.map(str::as_bytes),
            body.as_ref(),
            undeclared,
            &mut found,
        );
        (outcome, found)
    }

    /// What a JSON response becomes under `drop`; the code of its violation if it may not pass.
    pub fn trim(&self, body: &str) -> String {
        let (outcome, found) = self.answer(
            200,
            Some("application/json"),
            body,
            ResponseUndeclared::Drop,
        );
        if !found.is_empty() {
            return code(&found).to_owned();
        }
        match outcome {
            ResponseOutcome::Unchanged => body.to_owned(),
            ResponseOutcome::Trimmed { body, dropped } => {
                assert!(!dropped.is_empty());
                String::from_utf8(body).expect("UTF-8")
            }
            ResponseOutcome::NotChecked(why) => why.to_owned(),
        }
    }
}

pub fn code(found: &[Violation]) -> &'static str {
    found
        .first()
        .map_or("", |violation| violation.reason.code())
}
