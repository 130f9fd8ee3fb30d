//! Parameters in path, query, header and cookie: what is declared, and how text becomes a value.

use fortress_model::diagnostic::Diagnostic;

use crate::{
    description::KeyLocation,
    schema::{Place, SchemaCompiler, SchemaId},
};

/// The parameters of an operation, compiled.
#[derive(Debug, Default)]
pub struct Parameters {
    list: Vec<Parameter>,
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
        let _ = (declared, keys, compiler);
        (Self::default(), Vec::new())
    }

    /// The declared parameters, in the file's order.
    pub fn iter(&self) -> impl Iterator<Item = &Parameter> {
        self.list.iter()
    }
}
