//! Loads descriptions and says how long it took and what was found: `load FILE…`.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::{path::Path, time::Instant};

use fortress_model::{diagnostic::Severity, document::Sources};
use fortress_spec::{Disk, load};

fn main() {
    for name in std::env::args().skip(1) {
        let mut sources = Sources::default();
        let start = Instant::now();
        let loaded = load(Path::new(&name), &Disk, &mut sources);
        let took = start.elapsed();
        let errors = loaded
            .diagnostics
            .iter()
            .filter(|diagnostic| diagnostic.severity == Severity::Error)
            .count();
        println!(
            "{name}: {took:?}, {errors} errors, {} warnings",
            loaded.diagnostics.len() - errors
        );
        for diagnostic in loaded.diagnostics.iter().take(40) {
            let position = diagnostic.span.and_then(|span| sources.position(span));
            let position = position.map_or(String::new(), |position| {
                format!("{}:{}:{}", position.name, position.line, position.column)
            });
            let help = diagnostic.help.as_deref().unwrap_or_default();
            println!(
                "  {:?} {position} {} ({help})",
                diagnostic.severity, diagnostic.message
            );
        }
        if let Some(description) = loaded.description {
            let start = Instant::now();
            let posture = description.posture();
            println!(
                "  {} operations, {} protected, {} public, {} undecided, {} unbounded; {} schemas; posture in {:?}",
                posture.operations,
                posture.protected.len(),
                posture.public.len(),
                posture.undecided.len(),
                posture.unbounded.len(),
                description.schemas.len(),
                start.elapsed()
            );
        }
    }
}
