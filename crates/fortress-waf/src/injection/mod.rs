//! Finding SQL and script in values, as libinjection does: a value is read as SQL would read it and
//! its shape looked up, or read as HTML would and its tags and attributes looked up.
//!
//! What is found is exactly what the C library finds; the tables are those of the
//! `barbacane-libinjection` crate. Nothing is decoded here: transformations come before.

pub mod sqli;
pub mod xss;
