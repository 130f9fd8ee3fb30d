//! OpenAPI descriptions, normalised once into an immutable [`ApiDescription`], and the validators
//! compiled from them.
//!
//! Deliberately not here: IO beyond the [`Files`] that the caller brings, an async runtime, routing,
//! and what a violation leads to. Checking is plain functions on borrowed data.

pub mod body;
pub mod check;
pub mod description;
pub mod door;
pub mod format;
pub mod json;
pub mod load;
pub mod parameter;
pub mod pattern;
pub mod posture;
pub mod schema;

pub use check::{BodyOutcome, ParameterOutcome, Policy, RequestParts, ResponseOutcome, Violation};
pub use description::{
    ApiDescription, Dialect, KeyLocation, Operation, Part, PathTemplate, Requirement, Security,
    SecurityScheme, Segment,
};
pub use load::{Disk, Files, Loaded, load};
pub use posture::{Posture, Unbounded};
