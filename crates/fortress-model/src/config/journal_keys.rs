//! The keys of `journal`: where requests are recorded.

use super::keys::{Block, Key, Kind};

pub(super) static SINK: Block = Block {
    name: "journal[]",
    doc: "One place where requests are recorded: `file` or `stdout`.",
    groups: &[&[
        Key::new(
            "file",
            Kind::File,
            "A file that is appended to, and reopened when it was rotated away.",
        ),
        Key::new("stdout", Kind::Bool, "`true`: standard output."),
        Key::new(
            "format",
            Kind::Word(&["ocsf"]),
            "OCSF 1.8.0 HTTP Activity, one JSON object a line (default).",
        ),
    ]],
    later: &["syslog", "otlp", "kafka", "http"],
};
