//! Rules about what people read: the documents at the root, `docs/` and the prose of `cases/`.

use clap::CommandFactory as _;

use super::{Fault, Project, rust};

/// Lines that fit on two printed pages.
const TWO_PAGES: usize = 120;

/// Documents speak of the product, not of how it came about.
pub(super) fn words(project: &Project) -> Vec<Fault> {
    // In parts, so that this file does not break its own rule.
    const PATHS: &[&str] = &[concat!("/wo", "rk/"), concat!("/tmp/", "bash")];
    const MAKING: &[&str] = &[concat!("help", "er"), concat!("help", "ers")];
    let mut faults = Vec::new();
    for (path, text) in project.tree.ending(".md").chain(project.tree.ending(".rs")) {
        for word in PATHS {
            for (number, _) in lines(text).filter(|(_, line)| line.contains(word)) {
                faults.push(fault(
                    path,
                    number,
                    &format!("names a path of one machine (`{word}…`)"),
                ));
            }
        }
        for (number, line) in lines(text) {
            if line.to_lowercase().contains(concat!("iss", "ue #")) {
                faults.push(fault(
                    path,
                    number,
                    "names an issue by number; say what it was about",
                ));
            }
        }
    }
    for (path, text) in project.tree.ending(".md") {
        for (number, line) in prose(text) {
            let lower = line.to_lowercase();
            for word in MAKING
                .iter()
                .filter(|word| !rust::lines_with(&lower, word).is_empty())
            {
                faults.push(fault(
                    path,
                    number,
                    &format!("`{word}` is no word of the product"),
                ));
            }
            if names_an_issue(&line) {
                faults.push(fault(
                    path,
                    number,
                    "names an issue by number; say what it was about",
                ));
            }
        }
    }
    faults
}

/// A link inside the project leads to a file, and to a heading of it.
pub(super) fn links(project: &Project) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (path, text) in project.tree.ending(".md") {
        for (number, line) in prose(text) {
            for target in targets(&line) {
                let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
                let file = if file.is_empty() {
                    path.to_owned()
                } else {
                    resolve(path, file)
                };
                let missing_heading = || {
                    let headings = project.tree.text(&file).unwrap_or_default();
                    !anchor.is_empty()
                        && !prose(headings).any(|(_, line)| slug(&line) == Some(anchor.to_owned()))
                };
                if !project.tree.exists(&file) {
                    faults.push(fault(
                        path,
                        number,
                        &format!("links to `{target}`, which is not there"),
                    ));
                } else if missing_heading() {
                    faults.push(fault(
                        path,
                        number,
                        &format!("links to `{target}`, a heading that is not there"),
                    ));
                }
            }
        }
    }
    faults
}

/// The documents that a newcomer looks for.
pub(super) fn documents(project: &Project) -> Vec<Fault> {
    const EXPECTED: &[&str] = &[
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "LICENSE",
    ];
    EXPECTED
        .iter()
        .filter(|path| project.tree.text(path).is_none_or(str::is_empty))
        .map(|path| fault(path, 0, "is missing"))
        .collect()
}

/// The architecture is read before the code, so it is short.
pub(super) fn architecture_length(project: &Project) -> Vec<Fault> {
    let length = project
        .tree
        .text("ARCHITECTURE.md")
        .unwrap_or_default()
        .lines()
        .count();
    if length <= TWO_PAGES {
        return Vec::new();
    }
    vec![fault(
        "ARCHITECTURE.md",
        0,
        &format!("has {length} lines, more than two pages ({TWO_PAGES})"),
    )]
}

/// A command that the README prints can be typed.
pub(super) fn readme_commands(project: &Project) -> Vec<Fault> {
    let chores = crate::Arguments::command();
    let binary: Vec<String> = project
        .tree
        .ending(".rs")
        .filter(|(path, _)| path.starts_with("crates/fortress/src/"))
        .map(|(_, text)| rust::code(text))
        .collect();
    let mut faults = Vec::new();
    for (number, line) in code_blocks(project.tree.text("README.md").unwrap_or_default()) {
        let words: Vec<&str> = line.trim_start_matches("$ ").split_whitespace().collect();
        let unknown = match words.as_slice() {
            ["cargo", "xtask", chore, ..] => {
                chores.find_subcommand(chore).is_none().then_some(*chore)
            }
            ["fortress", command, ..] => unknown_command(&binary, command),
            ["cargo", "run", rest @ ..] => rest
                .iter()
                .skip_while(|word| **word != "--")
                .nth(1)
                .and_then(|command| unknown_command(&binary, command)),
            ["bash", script, ..] => (!project.tree.exists(script)).then_some(*script),
            _ => None,
        };
        if let Some(unknown) = unknown {
            faults.push(fault(
                "README.md",
                number,
                &format!("there is no command `{unknown}`"),
            ));
        }
    }
    faults
}

/// A change that people notice is said where they look for it.
pub(super) fn changelog(project: &Project) -> Vec<Fault> {
    let text = project.tree.text("CHANGELOG.md").unwrap_or_default();
    if text
        .lines()
        .any(|line| line.trim_end() == "## [Unreleased]")
    {
        return Vec::new();
    }
    vec![fault("CHANGELOG.md", 0, "has no `## [Unreleased]`")]
}

/// `command`, if no variant of the binary's command enum has its name. Flags are not looked at.
fn unknown_command<'a>(sources: &[String], command: &'a str) -> Option<&'a str> {
    let variant: String = command
        .split('-')
        .flat_map(|part| {
            let mut chars = part.chars();
            chars
                .next()
                .map(|c| c.to_ascii_uppercase())
                .into_iter()
                .chain(chars)
        })
        .collect();
    let known = command.starts_with('-')
        || sources.iter().any(|code| {
            code.split_once("enum Command").is_some_and(|(_, after)| {
                let body = after.split_once("\n}").map_or(after, |(body, _)| body);
                !rust::lines_with(body, &variant).is_empty()
            })
        });
    (!known).then_some(command)
}

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
}

/// The lines outside fenced blocks, with inline code blanked.
fn prose(text: &str) -> impl Iterator<Item = (usize, String)> {
    fenced(text)
        .filter(|(_, _, inside)| !inside)
        .map(|(number, line, _)| {
            let outside: Vec<&str> = line.split('`').step_by(2).collect();
            (number, outside.join(" "))
        })
}

/// The lines inside fenced blocks.
fn code_blocks(text: &str) -> impl Iterator<Item = (usize, &str)> {
    fenced(text)
        .filter(|(_, _, inside)| *inside)
        .map(|(number, line, _)| (number, line))
}

/// Each line with whether it is inside a fence; the fences themselves are left out.
fn fenced(text: &str) -> impl Iterator<Item = (usize, &str, bool)> {
    let mut inside = false;
    lines(text).filter_map(move |(number, line)| {
        if line.trim_start().starts_with("```") {
            inside = !inside;
            return None;
        }
        Some((number, line, inside))
    })
}

/// Whether `#` and a number stand in the line as a reference.
fn names_an_issue(line: &str) -> bool {
    line.match_indices('#').any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + 1..).and_then(|text| text.chars().next());
        before.is_none_or(|c| c.is_whitespace() || c == '(')
            && after.is_some_and(|c| c.is_ascii_digit())
    })
}

/// The targets of the line's links that stay inside the project.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target)
        .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
}

/// `link` as seen from the file at `path`, relative to the root.
fn resolve(path: &str, link: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                // Above the root nothing resolves: keep what cannot be a path.
                if parts.pop().is_none() {
                    parts.push("..");
                }
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The anchor that a heading gets: lower case, blanks as hyphens, punctuation dropped.
fn slug(line: &str) -> Option<String> {
    let title = line.trim_start_matches('#');
    if title.len() == line.len() {
        return None;
    }
    let kept = title.trim().to_lowercase();
    Some(
        kept.chars()
            .filter_map(|c| match c {
                ' ' => Some('-'),
                c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
                _ => None,
            })
            .collect(),
    )
}

fn fault(path: &str, line: usize, message: &str) -> Fault {
    Fault {
        place: path.to_owned(),
        line,
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tree::Tree;

    #[track_caller]
    fn check(rule: fn(&Project) -> Vec<Fault>, files: &[(&str, &str)], expect: &[usize]) {
        let project = Project {
            tree: Tree::of(files),
            ..Project::default()
        };
        let lines: Vec<_> = rule(&project).into_iter().map(|fault| fault.line).collect();
        assert_eq!(lines, expect, "{files:?}");
    }

    #[test]
    fn documents_speak_of_the_product() {
        check(words, &[("a.md", concat!("Made by a help", "er."))], &[1]);
        check(
            words,
            &[(
                "a.md",
                concat!("A module `help", "er` and\n```\nhelp", "er\n```\n"),
            )],
            &[],
        );
        check(words, &[("a.md", "As in #3.\n\nFull (#12).")], &[1, 3]);
        check(words, &[("a.md", "# 3 rules\nC#3 and a#3 and `#3`")], &[]);
        check(words, &[("a.rs", concat!("// see /wo", "rk/main"))], &[1]);
        check(words, &[("a.rs", concat!("// see iss", "ue #3"))], &[1]);
        check(words, &[("a.rs", "// see RFC 9112")], &[]);
    }

    #[test]
    fn links_lead_somewhere() {
        let good =
            "[a](b.md#two-words) [c](../README.md) [d](https://e.example/#f) [g](#here)\n## Here\n";
        let files = [
            ("docs/a.md", good),
            ("docs/b.md", "## Two words\n"),
            ("README.md", ""),
        ];
        check(links, &files, &[]);
        check(links, &[("docs/a.md", "[a](b.md)\n")], &[1]);
        check(
            links,
            &[("docs/a.md", "[a](../../b.md)\n"), ("b.md", "")],
            &[1],
        );
        check(
            links,
            &[("a.md", "[a](b.md#three)\n"), ("b.md", "## Two\n")],
            &[1],
        );
    }

    #[test]
    fn the_expected_documents_are_there() {
        assert_eq!(
            documents(&Project {
                tree: Tree::sample(),
                ..Project::default()
            }),
            []
        );
        check(documents, &[("README.md", "a")], &[0; 5]);
    }

    #[test]
    fn the_architecture_is_short() {
        check(
            architecture_length,
            &[("ARCHITECTURE.md", &"a\n".repeat(TWO_PAGES))],
            &[],
        );
        check(
            architecture_length,
            &[("ARCHITECTURE.md", &"a\n".repeat(TWO_PAGES + 1))],
            &[0],
        );
    }

    #[test]
    fn readme_commands_exist() {
        let source = "enum Command {\n    Demo,\n    CheckAll(Options),\n}\nstruct Nope;\n";
        let check = |readme: &str, expect: &[usize]| {
            check(
                readme_commands,
                &[
                    ("README.md", readme),
                    ("crates/fortress/src/main.rs", source),
                ],
                expect,
            );
        };
        check(
            "```sh\nfortress demo\nfortress check-all a\ncargo xtask bench\n```\n",
            &[],
        );
        check(
            "```sh\ncargo run --release -- demo\n$ fortress --help\n```\n",
            &[],
        );
        check(
            "```sh\nfortress nope\ncargo xtask nope\ncargo run -- nope\nbash nope\n```\n",
            &[2, 3, 4, 5],
        );
    }

    #[test]
    fn the_changelog_has_room_for_the_next_change() {
        check(
            changelog,
            &[("CHANGELOG.md", "# Changelog\n\n## [Unreleased]\n")],
            &[],
        );
        check(
            changelog,
            &[("CHANGELOG.md", "# Changelog\n\n## [0.1.0]\n")],
            &[0],
        );
    }
}
