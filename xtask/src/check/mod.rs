//! `cargo xtask check`: what makes the project readable, and the invariants of the architecture,
//! as far as a program can see them. Each rule is one function over the files or the crate graph.
//!
//! Deliberately not here: what rustc and clippy see already (see the lints in the root
//! `Cargo.toml`).

mod cases;
mod code;
mod docs;
mod graph;
mod rust;
mod tree;

use std::path::Path;

use anyhow::{Context, Result};
use fortress_model::Reason;

use self::{graph::Graph, tree::Tree};
use crate::{Verdict, output::say, process};

/// What the rules look at.
#[derive(Debug, Default)]
pub(crate) struct Project {
    /// The files that are or could be committed.
    pub(crate) tree: Tree,
    /// Which crate depends on which.
    pub(crate) graph: Graph,
    /// The codes of every reason for a refusal.
    pub(crate) reasons: Vec<&'static str>,
}

/// A place that breaks a rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Fault {
    /// The file or crate.
    pub(crate) place: String,
    /// The line, from 1; 0 for the whole of it.
    pub(crate) line: usize,
    /// What is wrong, and what to do.
    pub(crate) message: String,
}

/// One rule.
#[derive(Debug)]
struct Rule {
    name: &'static str,
    find: fn(&Project) -> Vec<Fault>,
}

/// All rules. What each is for stands above its function.
const RULES: &[Rule] = &[
    Rule {
        name: "gateway-stands-alone",
        find: graph::gateway_stands_alone,
    },
    Rule {
        name: "pure-crates",
        find: graph::pure_crates,
    },
    Rule {
        name: "test-crates",
        find: graph::test_crates_are_not_shipped,
    },
    Rule {
        name: "environment",
        find: code::environment,
    },
    Rule {
        name: "printing",
        find: code::printing,
    },
    Rule {
        name: "unsafe",
        find: code::no_unsafe,
    },
    Rule {
        name: "allow",
        find: code::no_allow,
    },
    Rule {
        name: "unfinished",
        find: code::unfinished,
    },
    Rule {
        name: "module-docs",
        find: code::module_docs,
    },
    Rule {
        name: "file-length",
        find: code::file_length,
    },
    Rule {
        name: "module-names",
        find: code::module_names,
    },
    Rule {
        name: "mode",
        find: code::mode_is_read_once,
    },
    Rule {
        name: "reasons-in-cases",
        find: cases::reasons_appear,
    },
    Rule {
        name: "case-fences",
        find: cases::fences,
    },
    Rule {
        name: "words",
        find: docs::words,
    },
    Rule {
        name: "links",
        find: docs::links,
    },
    Rule {
        name: "documents",
        find: docs::documents,
    },
    Rule {
        name: "architecture-length",
        find: docs::architecture_length,
    },
    Rule {
        name: "readme-commands",
        find: docs::readme_commands,
    },
    Rule {
        name: "changelog",
        find: docs::changelog,
    },
];

/// Checks the repository that this program was built from.
pub(crate) fn run() -> Result<Verdict> {
    let root = process::root();
    let project = Project {
        tree: Tree::read(root).context("cannot list the project's files")?,
        graph: Graph::read(root).context("cannot read the crate graph")?,
        reasons: Reason::ALL.iter().map(|reason| reason.code()).collect(),
    };
    Ok(report(root, &project))
}

fn report(root: &Path, project: &Project) -> Verdict {
    let mut total = 0_usize;
    for rule in RULES {
        let faults = (rule.find)(project);
        total += faults.len();
        for Fault {
            place,
            line,
            message,
        } in faults
        {
            let line = if line == 0 {
                String::new()
            } else {
                format!(":{line}")
            };
            say(format_args!("{place}{line}: {message} [{}]", rule.name));
        }
    }
    say(format_args!(
        "{total} faults by {} rules in {} files of {}",
        RULES.len(),
        project.tree.len(),
        root.display()
    ));
    if total == 0 {
        Verdict::Fine
    } else {
        Verdict::Findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_have_names_of_their_own() {
        let mut names: Vec<_> = RULES.iter().map(|rule| rule.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), RULES.len());
    }

    #[test]
    fn a_fault_is_a_finding() {
        let clean = Project {
            tree: Tree::sample(),
            ..Project::default()
        };
        assert_eq!(report(Path::new("."), &clean), Verdict::Fine);
        let mut broken = clean;
        broken.tree.insert("crates/a/src/lib.rs", "pub fn a() {}\n");
        assert_eq!(report(Path::new("."), &broken), Verdict::Findings);
    }
}
