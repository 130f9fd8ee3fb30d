//! The loader, from files in memory and from real descriptions.

#![cfg(test)]
#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

mod description;
mod mutated;
mod real;
mod references;
mod support;
mod swagger;
