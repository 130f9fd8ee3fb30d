//! The `fortress` program: the command line, and the wiring of what the other crates do.
//!
//! Deliberately not here: any check of a request (`fortress-gateway`), and any reading of
//! descriptions or configurations (`fortress-spec`, `fortress-model`).

mod attack;
mod check;
mod command;
mod crs;
mod demo;
mod environment;
mod explain;
mod exposure;
mod init;
mod keys;
mod login;
mod private;
mod references;
mod run;
mod screen;
mod store;
mod times;
mod tokens;
mod vault;
mod waf;

use std::process::ExitCode;

/// Requests are many short-lived allocations of like sizes on one thread, which the system's
/// allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    command::main()
}
