//! Bodies: which media types are declared, and how their bytes become values.

use fortress_model::diagnostic::Diagnostic;

use crate::schema::{Place, SchemaCompiler, SchemaId};

/// A Request Body Object, compiled.
#[derive(Debug, Default)]
pub struct RequestBody {
    /// Whether a request must have a body.
    pub required: bool,
    media_types: Vec<MediaType>,
}

/// A Media Type Object, compiled.
#[derive(Debug)]
pub struct MediaType {
    /// The media type or range, as declared, in lower case and without parameters.
    pub name: Box<str>,
    /// What the body must match; `None` where no schema is declared.
    pub schema: Option<SchemaId>,
}

/// A Responses Object, compiled.
#[derive(Debug, Default)]
pub struct Responses {}

impl RequestBody {
    /// Compiles the Request Body Object at `place`, which may still be a reference.
    pub fn compile<'a>(
        place: Place<'a>,
        compiler: &mut SchemaCompiler<'a>,
    ) -> (Self, Vec<Diagnostic>) {
        let _ = (place, compiler);
        (Self::default(), Vec::new())
    }

    /// The declared media types, in the file's order.
    pub fn media_types(&self) -> impl Iterator<Item = &MediaType> {
        self.media_types.iter()
    }
}

impl Responses {
    /// Compiles the Responses Object at `place`; each of its responses may be a reference.
    pub fn compile<'a>(
        place: Place<'a>,
        compiler: &mut SchemaCompiler<'a>,
    ) -> (Self, Vec<Diagnostic>) {
        let _ = (place, compiler);
        (Self::default(), Vec::new())
    }
}
