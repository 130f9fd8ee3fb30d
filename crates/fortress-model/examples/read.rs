//! Reads files and says how long it took: `cargo run --release -p fortress-model --example read -- FILE…`
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a tool for the developer"
)]

use std::time::Instant;

use fortress_model::document::{Format, Sources, read};

fn main() {
    for path in std::env::args().skip(1) {
        let mut sources = Sources::default();
        let id = sources.add(&path, std::fs::read_to_string(&path).unwrap());
        let start = Instant::now();
        let read = read(id, &sources, Format::Auto);
        let taken = start.elapsed();
        println!("{path}: {taken:?}, {:?}", read.map(|node| node.kind()));
    }
}
