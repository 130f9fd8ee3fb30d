//! Parameters in path, query, header and cookie: what is declared, and how text becomes a value.
//!
//! Strict: a name that is not declared, a single value given twice, text that is not exactly of the
//! declared type, and encodings that two decoders could read differently are all refused. Deliberately
//! not here: which values are right, which is `schema`.

mod cookie;
pub(crate) mod decode;
pub(crate) mod query;
mod read;
mod style;
pub(crate) mod value;

use fortress_model::{
    diagnostic::Diagnostic,
    document::{Node, Value},
};

use crate::{
    description::KeyLocation,
    schema::{Place, SchemaCompiler, SchemaId, Types},
};

pub(crate) use read::check;
pub use style::Style;
pub(crate) use style::{Form, Shape, read as read_style};

/// The parameters of an operation, compiled.
#[derive(Debug, Default)]
pub struct Parameters {
    list: Vec<Parameter>,
    /// Names of API keys: declared, though no parameter.
    keys: Vec<(KeyLocation, Box<str>)>,
}

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Location {
    /// A part of the path.
    Path,
    /// The query.
    Query,
    /// A header field.
    Header,
    /// A cookie.
    Cookie,
}

impl Location {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "path" => Self::Path,
            "query" => Self::Query,
            "header" => Self::Header,
            "cookie" => Self::Cookie,
            _ => return None,
        })
    }

    /// As it begins locations: `query`, `header` and so on.
    pub fn name(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
            Self::Cookie => "cookie",
        }
    }
}

/// A declared parameter.
#[derive(Debug)]
pub struct Parameter {
    /// Where it stands.
    pub location: Location,
    /// Its name, as declared.
    pub name: Box<str>,
    /// Whether a request must have it.
    pub required: bool,
    /// What its value must match, once it is read in its style.
    pub schema: SchemaId,
    /// How its value is written.
    pub style: Style,
    /// Whether the parts of its value are written apart.
    pub explode: bool,
    /// Whether its value is JSON (`content`).
    pub is_json: bool,
    allow_reserved: bool,
    allow_empty: bool,
    types: Types,
    /// Names that the properties of an exploded object take from the query.
    properties: Vec<Box<str>>,
    /// Whether an exploded object takes what no other parameter declares.
    takes_rest: bool,
}

impl Parameters {
    /// Compiles the Parameter Objects of an operation: the path's and its own, merged; each may
    /// still be a reference. `keys` are the places and names of the API keys that the operation's
    /// security declares.
    pub fn compile<'a>(
        declared: &[Place<'a>],
        keys: &[(KeyLocation, &str)],
        compiler: &mut SchemaCompiler<'a>,
    ) -> (Self, Vec<Diagnostic>) {
        let mut diagnostics = Vec::new();
        let mut list = Vec::with_capacity(declared.len());
        for place in declared {
            let Some(place) = compiler.follow(*place) else {
                continue;
            };
            match Parameter::compile(place, compiler) {
                Ok(Some(parameter)) => list.push(parameter),
                Ok(None) => {}
                Err(diagnostic) => diagnostics.push(diagnostic),
            }
        }
        let keys = keys
            .iter()
            .map(|(location, name)| (*location, Box::from(*name)))
            .collect();
        (Self { list, keys }, diagnostics)
    }

    /// The declared parameters, in the file's order.
    pub fn iter(&self) -> impl Iterator<Item = &Parameter> {
        self.list.iter()
    }

    /// One of them, by its place.
    pub fn get(&self, place: usize) -> Option<&Parameter> {
        self.list.get(place)
    }

    fn at(&self, location: Location) -> impl Iterator<Item = &Parameter> {
        self.list
            .iter()
            .filter(move |parameter| parameter.location == location)
    }

    fn is_key(&self, location: KeyLocation, name: &str) -> bool {
        self.keys
            .iter()
            .any(|(declared, known)| *declared == location && **known == *name)
    }
}

impl Parameter {
    /// `None` for what OpenAPI says to ignore.
    fn compile<'a>(
        place: Place<'a>,
        compiler: &mut SchemaCompiler<'a>,
    ) -> Result<Option<Self>, Diagnostic> {
        let node = place.node;
        let text = |key: &str| node.get(key).and_then(Node::as_str);
        let flag = |key: &str| node.get(key).and_then(Node::as_bool);
        let (Some(name), Some(location)) = (text("name"), text("in").and_then(Location::named))
        else {
            return Err(Diagnostic::error(
                node.span,
                "a parameter needs `name` and `in`",
            ));
        };
        let ignored = ["accept", "content-type", "authorization"];
        if location == Location::Header && ignored.contains(&&*name.to_ascii_lowercase()) {
            return Ok(None);
        }
        let default = match location {
            Location::Path | Location::Header => Style::Simple,
            Location::Query | Location::Cookie => Style::Form,
        };
        let style = match text("style") {
            None => default,
            Some(name) => Style::named(name)
                .filter(|style| style.suits(location))
                .ok_or_else(|| wrong_style(node, name, location))?,
        };
        let explode = flag("explode").unwrap_or(style == Style::Form);
        let (schema, is_json) = schema(place, compiler)?;
        compiler.offer_examples(schema, place);
        let schemas = compiler.schemas();
        let types = schemas.meant_types(schema);
        let exploded = types.has(Types::OBJECT)
            && types != Types::ALL
            && style == Style::Form
            && explode
            && !is_json
            && matches!(location, Location::Query | Location::Cookie);
        let properties = schemas.properties(schema);
        let takes_rest = exploded && (schemas.is_free_form(schema) || schemas.is_open(schema));
        Ok(Some(Self {
            location,
            name: name.into(),
            required: flag("required").unwrap_or(false) || location == Location::Path,
            schema,
            style,
            explode,
            is_json,
            allow_reserved: flag("allowReserved").unwrap_or(false),
            allow_empty: flag("allowEmptyValue").unwrap_or(false),
            types,
            properties: if exploded {
                properties
                    .into_iter()
                    .map(|property| property.name)
                    .collect()
            } else {
                Vec::new()
            },
            takes_rest,
        }))
    }

    /// Whether its properties are pairs of the query.
    fn is_exploded_object(&self) -> bool {
        self.takes_rest || !self.properties.is_empty()
    }

    /// The shapes that its text may have, the likeliest first.
    fn shapes(&self) -> impl Iterator<Item = Shape> {
        let any = self.types == Types::ALL;
        let scalar = any
            || self
                .types
                .meets(Types::NUMBER.or(Types::STRING).or(Types::BOOLEAN));
        let array = !any && self.types.has(Types::ARRAY);
        let object = !any && self.types.has(Types::OBJECT);
        [
            (scalar || !(array || object)).then_some(Shape::Scalar),
            array.then_some(Shape::Array),
            object.then_some(Shape::Object),
        ]
        .into_iter()
        .flatten()
    }
}

impl Style {
    fn suits(self, location: Location) -> bool {
        match self {
            Self::Simple => matches!(location, Location::Path | Location::Header),
            Self::Label | Self::Matrix => location == Location::Path,
            Self::Form => matches!(location, Location::Query | Location::Cookie),
            Self::SpaceDelimited | Self::PipeDelimited | Self::DeepObject => {
                location == Location::Query
            }
        }
    }
}

fn wrong_style(node: &Node, name: &str, location: Location) -> Diagnostic {
    let span = node.get("style").map_or(node.span, |node| node.span);
    let styles = match location {
        Location::Path => "`simple`, `label` or `matrix`",
        Location::Query => "`form`, `spaceDelimited`, `pipeDelimited` or `deepObject`",
        Location::Header => "`simple`",
        Location::Cookie => "`form`",
    };
    Diagnostic::error(
        span,
        format!(
            "a {} parameter cannot have the style `{name}`",
            location.name()
        ),
    )
    .help(format!("write {styles}"))
}

/// The schema of a Parameter or Header Object, and whether the value is JSON.
pub(crate) fn schema<'a>(
    place: Place<'a>,
    compiler: &mut SchemaCompiler<'a>,
) -> Result<(SchemaId, bool), Diagnostic> {
    if let Some(schema) = place.get("schema") {
        return Ok((compiler.schema(schema), false));
    }
    let content = place
        .get("content")
        .map(|content| (content, content.node.members()));
    let Some((content, [media_type])) = content else {
        return Err(Diagnostic::error(
            place.node.span,
            "it needs a `schema`, or a `content` with one media type",
        ));
    };
    let name = media_type.key.to_ascii_lowercase();
    let is_json = name.starts_with("application/json") || name.ends_with("+json");
    let declared = content.at(&media_type.value);
    match declared.get("schema") {
        Some(schema) => Ok((compiler.schema(schema), is_json)),
        None if matches!(declared.node.value, Value::Object(_)) => {
            Ok((compiler.anything(), is_json))
        }
        None => Err(Diagnostic::error(
            declared.node.span,
            "expected a Media Type Object",
        )),
    }
}
