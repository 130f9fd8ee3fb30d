//! Reading a description: OpenAPI 3.0 and 3.1 (3.2 as 3.1), Swagger 2.0 converted, in JSON or YAML,
//! over any number of local files.
//!
//! All mistakes are reported at once, each with its place. An error is what leaves the contract
//! unclear or a check unsound; what is merely odd is a warning. Deliberately not here: the network
//! (a remote reference is an error), and what schemas, parameters and bodies mean, which is compiled
//! by the modules of those names.

mod document;
mod files;
mod keys;
mod operation;
mod parameter;
mod path;
mod pointer;
mod security;
mod server;
mod swagger;
mod template;
mod uri;

use std::{path::Path, sync::Arc};

use fortress_model::{
    diagnostic::{Diagnostic, Severity},
    document::{Node, Sources, Span, Value},
};

pub use self::files::{Disk, Files, MAX_BYTES, MAX_FILES};
use self::{
    document::{Documents, Resolver},
    keys::check_keys,
};
use crate::{
    description::{ApiDescription, Dialect, Operation, Security, SecurityScheme},
    schema::{Place, SchemaCompiler},
};

/// How many diagnostics are given.
const MAX_DIAGNOSTICS: usize = 1_000;

/// What [`load`] gives.
#[derive(Debug)]
pub struct Loaded {
    /// The description; there is one exactly if no diagnostic is an error.
    pub description: Option<ApiDescription>,
    /// Everything that is wrong or odd, in the order in which it was found.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads the description at `root` and all files that it refers to, and compiles it.
///
/// The files are added to `sources`, which the diagnostics' spans refer to. References are resolved
/// relative to the file that they stand in. At most [`MAX_FILES`] files of [`MAX_BYTES`] bytes in all
/// are read. A reference may leave the directory of `root` only by naming `..`, and is warned about.
pub fn load(root: &Path, files: &dyn Files, sources: &mut Sources) -> Loaded {
    let documents = Documents::new();
    let resolver = Resolver::new(&documents, files, sources, root);
    let mut diagnostics = Vec::new();
    let mut description = read(&resolver, root, &mut diagnostics);
    if let Some(description) = &mut description {
        resolver.check_references(description.dialect);
        description.files = resolver.files_read();
    }
    diagnostics.extend(resolver.into_found());
    let mut seen = std::collections::HashSet::new();
    diagnostics.retain(|diagnostic| seen.insert((diagnostic.span, diagnostic.message.clone())));
    let failed = diagnostics
        .iter()
        .any(|diagnostic| diagnostic.severity == Severity::Error);
    bound(&mut diagnostics);
    Loaded {
        description: description.filter(|_| !failed),
        diagnostics,
    }
}

/// Leaves so many diagnostics as a person could want, errors before warnings.
fn bound(diagnostics: &mut Vec<Diagnostic>) {
    let more = diagnostics.len().saturating_sub(MAX_DIAGNOSTICS);
    if more > 0 {
        diagnostics.sort_by_key(|diagnostic| diagnostic.severity);
        diagnostics.truncate(MAX_DIAGNOSTICS);
        diagnostics.push(Diagnostic::warning(
            None,
            format!("and {more} more errors and warnings"),
        ));
    }
}

/// From the opened file to the description. `None` where nothing useful could be read at all.
fn read(
    resolver: &Resolver<'_>,
    root: &Path,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<ApiDescription> {
    let place = match resolver.open_root(root) {
        Ok(place) => place,
        Err(found) => {
            diagnostics.extend(found);
            return None;
        }
    };
    let version = match version(place.node, diagnostics) {
        Ok(version) => version,
        Err(found) => {
            diagnostics.push(found);
            return None;
        }
    };
    let place = match version {
        Version::Swagger => match swagger::convert(resolver, place, diagnostics) {
            Some(converted) => place.at(resolver.keep(converted)?),
            None => return None,
        },
        Version::OpenApi(Dialect::V31) => {
            resolver.index_anchors();
            place
        }
        Version::OpenApi(Dialect::V30) => place,
    };
    let dialect = match version {
        Version::Swagger => Dialect::V30,
        Version::OpenApi(dialect) => dialect,
    };
    let mut reader = Reader {
        resolver,
        dialect,
        compiler: SchemaCompiler::new(resolver, dialect),
        schemes: Vec::new(),
        diagnostics: Vec::new(),
    };
    let description = reader.description(place);
    let (schemas, found) = reader.compiler.finish();
    diagnostics.append(&mut reader.diagnostics);
    diagnostics.extend(found);
    description.map(|parts| parts.with(Arc::new(schemas), dialect))
}

/// Which language the document is written in.
#[derive(Clone, Copy)]
enum Version {
    Swagger,
    OpenApi(Dialect),
}

fn version(root: &Node, diagnostics: &mut Vec<Diagnostic>) -> Result<Version, Diagnostic> {
    if !matches!(root.value, Value::Object(_)) {
        return Err(Diagnostic::error(
            root.span,
            format!(
                "an OpenAPI description is an object, this is {}",
                root.kind()
            ),
        ));
    }
    // `openapi: 3.1` and `swagger: 2.0` without quotes are numbers in YAML.
    let text = |key| {
        root.get(key)
            .map(|node| (node, node.as_str().or(node.as_number())))
    };
    if let Some((node, version)) = text("openapi") {
        let version = version.unwrap_or_default();
        let mut parts = version.split('.');
        return match (parts.next(), parts.next()) {
            (Some("3"), Some("0")) => Ok(Version::OpenApi(Dialect::V30)),
            (Some("3"), Some("1")) => Ok(Version::OpenApi(Dialect::V31)),
            (Some("3"), Some("2")) => {
                diagnostics.push(
                    Diagnostic::warning(
                        node.span,
                        format!("OpenAPI `{version}` is read by the rules of 3.1"),
                    )
                    .help("what is new in 3.2 (`query`, `additionalOperations`, `in: querystring`, `$self`) is not served"),
                );
                Ok(Version::OpenApi(Dialect::V31))
            }
            _ => Err(Diagnostic::error(
                node.span,
                format!("OpenAPI version `{version}` is not supported"),
            )
            .help("write a version from 3.0 to 3.2, such as `3.1.0`, or `swagger: \"2.0\"`")),
        };
    }
    if let Some((node, version)) = text("swagger") {
        return match version {
            Some("2.0" | "2") => Ok(Version::Swagger),
            other => Err(Diagnostic::error(
                node.span,
                format!(
                    "Swagger version `{}` is not supported",
                    other.unwrap_or_default()
                ),
            )
            .help("convert it to `swagger: \"2.0\"` or to OpenAPI 3")),
        };
    }
    let error = Diagnostic::error(
        start_of(root),
        "this is not an OpenAPI description: it has neither `openapi` nor `swagger`",
    );
    Err(if root.get("asyncapi").is_some() {
        error.help("AsyncAPI documents describe messages, not HTTP operations")
    } else {
        error.help("the first line of a description says `openapi: 3.1.0`")
    })
}

/// The place of the first key, so that a message about a whole document shows its beginning alone.
fn start_of(node: &Node) -> Span {
    node.members()
        .first()
        .map_or(node.span, |member| member.key_span)
}

/// What is gathered while a description is read.
struct Reader<'a, 'd> {
    resolver: &'a Resolver<'d>,
    dialect: Dialect,
    compiler: SchemaCompiler<'a>,
    schemes: Vec<(String, SecurityScheme)>,
    diagnostics: Vec<Diagnostic>,
}

/// A description whose schemas are not finished.
struct Parts {
    title: String,
    version: String,
    base_paths: Vec<String>,
    operations: Vec<Operation>,
    security_schemes: Vec<(String, SecurityScheme)>,
    extension: Option<Node>,
}

impl Parts {
    fn with(self, schemas: Arc<crate::schema::Schemas>, dialect: Dialect) -> ApiDescription {
        ApiDescription {
            title: self.title,
            version: self.version,
            dialect,
            base_paths: self.base_paths,
            operations: self.operations,
            schemas,
            security_schemes: self.security_schemes,
            extension: self.extension,
            files: Vec::new(),
        }
    }
}

impl<'a> Reader<'a, '_> {
    fn description(&mut self, root: Place<'a>) -> Option<Parts> {
        self.check_keys(root.node, keys::DOCUMENT);
        let (title, version) = self.info(root.node);
        self.dialect_of_schemas(root.node);
        let components = self.object(root, "components");
        if let Some(components) = components {
            self.check_keys(components.node, keys::COMPONENTS);
            self.security_schemes(components);
        }
        let security = match root.node.get("security") {
            Some(node) => self.security(node, "the document"),
            None => Some(Security::Undeclared),
        };
        let servers = root.node.get("servers");
        let base_paths = match servers {
            Some(node) => self.base_paths(node),
            None => vec![String::new()],
        };
        if let Some(webhooks) = root.node.member("webhooks") {
            self.warn(
                webhooks.key_span,
                "`webhooks` are requests that the API sends; they are not served here",
            );
        }
        let operations = self.paths(root, &security.clone().unwrap_or(Security::Undeclared))?;
        security.as_ref()?;
        Some(Parts {
            title,
            version,
            base_paths,
            operations,
            security_schemes: std::mem::take(&mut self.schemes),
            extension: root.node.get("x-fortress").cloned(),
        })
    }

    fn info(&mut self, root: &Node) -> (String, String) {
        let Some(info) = root.get("info") else {
            self.warn(start_of(root), "the description has no `info`");
            return (String::new(), String::new());
        };
        self.check_keys(info, keys::INFO);
        let mut text = |key: &str| {
            let node = info.get(key);
            let found = node.and_then(|node| node.as_str().or(node.as_number()));
            if found.is_none() {
                let span = node.map_or(info.span, |node| node.span);
                self.warn(span, format!("`info.{key}` should be a string"));
            }
            found.unwrap_or_default().to_owned()
        };
        (text("title"), text("version"))
    }

    fn dialect_of_schemas(&mut self, root: &Node) {
        const KNOWN: [&str; 2] = [
            "https://spec.openapis.org/oas/3.1/dialect/base",
            "https://json-schema.org/draft/2020-12/schema",
        ];
        let Some(node) = root.get("jsonSchemaDialect") else {
            return;
        };
        let text = node.as_str().unwrap_or_default();
        let text = text.strip_suffix('#').unwrap_or(text);
        if !KNOWN.contains(&text) && !text.starts_with("https://spec.openapis.org/oas/3.") {
            self.warn(
                node.span,
                format!("the schema dialect `{text}` is unknown; schemas are read as JSON Schema 2020-12"),
            );
        }
    }

    /// The member `key` of `place` if it is an object; anything else but absence is an error.
    fn object(&mut self, place: Place<'a>, key: &str) -> Option<Place<'a>> {
        let found = place.get(key)?;
        if matches!(found.node.value, Value::Object(_)) {
            return Some(found);
        }
        self.error(
            found.node.span,
            format!("`{key}` should be an object, this is {}", found.node.kind()),
        );
        None
    }

    fn check_keys(&mut self, node: &Node, known: &[&str]) {
        check_keys(node, known, &mut self.diagnostics);
    }

    fn error(&mut self, span: Span, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::error(span, message));
    }

    fn warn(&mut self, span: Span, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::warning(span, message));
    }
}
