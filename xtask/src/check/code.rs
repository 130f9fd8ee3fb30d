//! Rules about the Rust sources, one file at a time.

use super::{Fault, Project, rust};

/// The most lines of a source file: more than that is rarely one subject.
const LONGEST: usize = 800;

/// Only the binary and the configuration's loader read the environment: everything else gets what
/// it needs as an argument, so that a test owns it.
pub(super) fn environment(project: &Project) -> Vec<Fault> {
    const READERS: &[&str] = &[
        "crates/fortress/src/",
        "crates/fortress-model/src/config/",
        "xtask/",
        // Like a test, it is told where the rules of other people are.
        "fuzz/entries.rs",
    ];
    let shipped = sources(project)
        .filter(|(path, _)| !is_test(path))
        .filter(|(path, _)| !READERS.iter().any(|reader| path.starts_with(reader)));
    each_line(
        shipped,
        rust::shipped_code,
        &["env::var", "env::var_os", "env::vars", "env::vars_os"],
        "reads the environment; take the value as an argument",
    )
}

/// Output goes through one place, which knows about colour, pipes and `--json`.
pub(super) fn printing(project: &Project) -> Vec<Fault> {
    let standard =
        sources(project).filter(|(path, text)| !is_test(path) && !text.contains("use anstream::"));
    each_line(
        standard,
        |text| rust::code(text).replace("anstream::", "anstream_"),
        &["println!", "print!", "eprintln!", "eprint!", "dbg!"],
        "prints; write to the output that was handed in",
    )
}

/// `unsafe` is forbidden by a lint, which a crate could forget to inherit.
pub(super) fn no_unsafe(project: &Project) -> Vec<Fault> {
    let mut faults = each_line(
        sources(project),
        rust::code,
        &["unsafe"],
        "`unsafe` is forbidden",
    );
    for (path, text) in project.tree.ending("Cargo.toml") {
        let inherits = text.contains("[lints]\nworkspace = true");
        if path.contains('/') && !path.starts_with("fuzz/") && !inherits {
            faults.push(whole(
                path,
                "does not inherit the workspace's lints: add `[lints] workspace = true`",
            ));
        }
    }
    faults
}

/// A lint is suppressed by `#[expect(…, reason = "…")]`, which says why and ends with its cause.
pub(super) fn no_allow(project: &Project) -> Vec<Fault> {
    each_line(
        sources(project),
        rust::code,
        &["#[allow", "#![allow"],
        "suppresses a lint for good; write `#[expect(…, reason = \"…\")]`",
    )
}

/// What is unfinished is finished or deleted, not marked.
pub(super) fn unfinished(project: &Project) -> Vec<Fault> {
    // In two parts, so that this file does not break its own rule.
    const MARKS: &[&str] = &[
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
    ];
    const ENDINGS: &[&str] = &[".rs", ".md", ".toml", ".yaml", ".yml", ".ci/run"];
    let files = ENDINGS
        .iter()
        .flat_map(|ending| project.tree.ending(ending));
    each_line(
        files,
        str::to_owned,
        MARKS,
        "is marked as unfinished; finish it, or delete it",
    )
}

/// A module opens with what it is for and what it deliberately leaves to others.
pub(super) fn module_docs(project: &Project) -> Vec<Fault> {
    sources(project)
        .filter(|(path, _)| path.contains("/src/") || path.starts_with("fuzz/"))
        .filter_map(|(path, text)| {
            let opening = text
                .lines()
                .find(|line| !line.trim().is_empty() && !line.starts_with("#!["))
                .unwrap_or_default();
            let said = opening
                .strip_prefix("//!")
                .map(str::trim)
                .unwrap_or_default();
            let empty = said.is_empty() || said == "placeholder";
            empty.then(|| whole(path, "does not open with `//!` and what it is for"))
        })
        .collect()
}

/// A file is read in one sitting.
pub(super) fn file_length(project: &Project) -> Vec<Fault> {
    sources(project)
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > LONGEST)
        .map(|(path, lines)| {
            whole(
                path,
                &format!("has {lines} lines, more than {LONGEST}: has it two subjects?"),
            )
        })
        .collect()
}

/// A name says what is inside; these say that nobody knew.
pub(super) fn module_names(project: &Project) -> Vec<Fault> {
    const VAGUE: &[&str] = &[
        "util", "utils", "helper", "helpers", "common", "manager", "misc", "stuff",
    ];
    sources(project)
        .filter(|(path, _)| {
            path.trim_end_matches(".rs")
                .split('/')
                .any(|part| VAGUE.contains(&part))
        })
        .map(|(path, _)| whole(path, "is named after nothing; name it after its subject"))
        .collect()
}

/// Whether a refusal is enforced is decided in one place, `Decision::refuse`: a second place in the
/// request path would be a second answer. `compile` merges the modes that the configuration says.
pub(super) fn mode_is_read_once(project: &Project) -> Vec<Fault> {
    const PATH: &str = "crates/fortress-gateway/src/";
    const MERGES: &str = "crates/fortress-gateway/src/compile/";
    let others = sources(project)
        .filter(|(path, _)| path.starts_with(PATH) && !path.starts_with(MERGES) && !is_test(path));
    each_line(
        others,
        rust::shipped_code,
        &["Mode::Monitor"],
        "reads a mode; only `refuse` does",
    )
}

fn sources(project: &Project) -> impl Iterator<Item = (&str, &str)> {
    project.tree.ending(".rs")
}

/// Whether a file is compiled for tests, benchmarks or examples only.
fn is_test(path: &str) -> bool {
    ["/tests/", "/benches/", "/examples/"]
        .iter()
        .any(|folder| path.contains(folder))
        || path.ends_with("/tests.rs")
}

fn each_line<'a>(
    files: impl Iterator<Item = (&'a str, &'a str)>,
    view: fn(&str) -> String,
    words: &[&str],
    message: &str,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (path, text) in files {
        let view = view(text);
        for word in words {
            for line in rust::lines_with(&view, word) {
                let message = format!("`{word}` {message}");
                faults.push(Fault {
                    place: path.to_owned(),
                    line,
                    message,
                });
            }
        }
    }
    faults
}

fn whole(path: &str, message: &str) -> Fault {
    Fault {
        place: path.to_owned(),
        line: 0,
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tree::Tree;

    const LIBRARY: &str = "crates/a/src/lib.rs";

    /// The lines at which `rule` finds fault with `text` at `path`.
    #[track_caller]
    fn check(rule: fn(&Project) -> Vec<Fault>, path: &str, text: &str, expect: &[usize]) {
        let project = Project {
            tree: Tree::of(&[(path, text)]),
            ..Project::default()
        };
        let lines: Vec<_> = rule(&project).into_iter().map(|fault| fault.line).collect();
        assert_eq!(lines, expect, "{text}");
    }

    #[test]
    fn environment_is_read_by_the_binary_alone() {
        check(
            environment,
            LIBRARY,
            "fn a() { std::env::var(\"A\"); }",
            &[1],
        );
        check(
            environment,
            LIBRARY,
            "use std::env;\nfn a() { env::vars(); }",
            &[2],
        );
        check(environment, LIBRARY, "fn a() { option_env!(\"A\"); }", &[]);
        check(
            environment,
            LIBRARY,
            "#[cfg(test)]\nmod t { fn a() { std::env::var(\"A\"); } }",
            &[],
        );
        check(
            environment,
            "crates/fortress/src/main.rs",
            "fn a() { std::env::var(\"A\"); }",
            &[],
        );
    }

    #[test]
    fn printing_goes_through_the_output() {
        check(printing, LIBRARY, "fn a() {\n    println!(\"a\");\n}", &[2]);
        check(
            printing,
            LIBRARY,
            "fn a() { anstream::println!(\"a\"); writeln!(out); }",
            &[],
        );
    }

    #[test]
    fn unsafe_is_absent() {
        check(no_unsafe, LIBRARY, "fn a() { unsafe { b() } }", &[1]);
        check(
            no_unsafe,
            LIBRARY,
            "#![forbid(unsafe_code)] // no unsafe\n",
            &[],
        );
        check(no_unsafe, "crates/a/Cargo.toml", "[package]\n", &[0]);
        check(
            no_unsafe,
            "crates/a/Cargo.toml",
            "[lints]\nworkspace = true\n",
            &[],
        );
    }

    #[test]
    fn lints_are_expected_not_allowed() {
        check(no_allow, LIBRARY, "#[allow(dead_code)]\nfn a() {}", &[1]);
        check(
            no_allow,
            LIBRARY,
            "#[expect(dead_code, reason = \"b\")]\nfn a() {}",
            &[],
        );
    }

    #[test]
    fn nothing_is_left_for_later() {
        check(unfinished, LIBRARY, concat!("//! a\n// TO", "DO: b"), &[2]);
        check(unfinished, "docs/a.md", concat!("FIX", "ME"), &[1]);
        check(unfinished, "docs/a.md", "All is done.", &[]);
    }

    #[test]
    fn modules_open_with_their_purpose() {
        check(module_docs, LIBRARY, "use a;\n", &[0]);
        check(module_docs, LIBRARY, "//! placeholder\n", &[0]);
        check(module_docs, LIBRARY, "//! What it is.\nuse a;\n", &[]);
        check(
            module_docs,
            "fuzz/targets/a.rs",
            "#![no_main]\n//! What it is.\n",
            &[],
        );
    }

    #[test]
    fn files_are_short() {
        check(file_length, LIBRARY, &"a\n".repeat(LONGEST + 1), &[0]);
        check(file_length, LIBRARY, &"a\n".repeat(LONGEST), &[]);
    }

    #[test]
    fn modules_are_named_after_their_subject() {
        check(module_names, "crates/a/src/utils.rs", "", &[0]);
        check(module_names, "crates/a/src/common/b.rs", "", &[0]);
        check(module_names, "crates/a/src/route.rs", "", &[]);
    }

    #[test]
    fn modes_are_read_by_refuse_alone() {
        const PATH: &str = "crates/fortress-gateway/src/";
        let at = |file: &str, expect: &[usize]| {
            let path = format!("{PATH}{file}");
            check(
                mode_is_read_once,
                &path,
                "if mode == Mode::Monitor {}",
                expect,
            );
        };
        at("guard/mod.rs", &[1]);
        at("compile/mod.rs", &[]);
        at("../tests/a.rs", &[]);
        check(mode_is_read_once, LIBRARY, "Mode::Monitor", &[]);
    }
}
