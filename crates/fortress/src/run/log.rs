//! The program's own log, on standard error: warnings and changes.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::environment;

/// Starts it. `FORTRESS_LOG` holds another filter, such as `debug`.
pub(crate) fn start(json: bool) {
    let filter = environment::variable("FORTRESS_LOG")
        .and_then(|filter| EnvFilter::try_new(filter).ok())
        .unwrap_or_else(|| EnvFilter::new("warn,fortress=info,fortress_gateway=info"));
    let colour = std::io::stderr().is_terminal()
        && environment::variable("NO_COLOR").is_none_or(|value| value.is_empty());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour && !json)
        .with_target(false);
    // A second start within one process (tests) keeps the first.
    let started = if json {
        builder.json().try_init()
    } else {
        builder.try_init()
    };
    drop(started);
}
