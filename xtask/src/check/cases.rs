//! Rules about `cases/*.md`: prose with fenced blocks that are run as tests and read as manual.
//!
//! Deliberately not here: running them, which the harness of the binary's tests does.

use super::{Fault, Project};

/// Each reason for a refusal is shown by a case: a reason that nothing provokes is a promise that
/// nobody tests.
pub(super) fn reasons_appear(project: &Project) -> Vec<Fault> {
    let cases: Vec<&str> = project
        .tree
        .ending(".md")
        .filter(|(path, _)| path.starts_with("cases/"))
        .map(|(_, text)| text)
        .collect();
    project
        .reasons
        .iter()
        .filter(|code| !cases.iter().any(|text| mentions(text, code)))
        .map(|code| Fault {
            place: "cases".to_owned(),
            line: 0,
            message: format!("no case shows the reason `{code}`"),
        })
        .collect()
}

/// A fence says what it holds, and is closed: an open one would swallow the next case.
pub(super) fn fences(project: &Project) -> Vec<Fault> {
    project
        .tree
        .ending(".md")
        .filter(|(path, _)| path.starts_with("cases/"))
        .flat_map(|(path, text)| broken_fences(path, text))
        .collect()
}

fn broken_fences(path: &str, text: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut fault = |line: usize, message: &str| {
        faults.push(Fault {
            place: path.to_owned(),
            line,
            message: message.to_owned(),
        });
    };
    // The line and the number of backticks of the fence that is open.
    let mut open: Option<(usize, usize)> = None;
    for (number, line) in text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
    {
        let info = line.trim_start_matches('`');
        let ticks = line.len() - info.len();
        match open {
            _ if ticks < 3 => {}
            None => {
                if info.trim().is_empty() {
                    fault(number, "the fence does not say what it holds");
                }
                open = Some((number, ticks));
            }
            Some((_, width)) if info.trim().is_empty() && ticks >= width => open = None,
            Some((_, width)) if ticks >= width => {
                fault(
                    number,
                    "a fence opens inside another; is the one before closed?",
                );
            }
            Some(_) => {}
        }
    }
    if let Some((number, _)) = open {
        fault(number, "the fence is never closed");
    }
    faults
}

/// Whether `code` stands in `text` by itself: `body.invalid` is not in `body.invalid_more`.
fn mentions(text: &str, code: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(code).any(|(at, _)| {
        let before = text.get(..at).and_then(|text| text.chars().next_back());
        let after = text
            .get(at + code.len()..)
            .and_then(|text| text.chars().next());
        !before.is_some_and(|c| part(c) || c == '.') && !after.is_some_and(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tree::Tree;

    #[track_caller]
    fn check(rule: fn(&Project) -> Vec<Fault>, text: &str, expect: &[usize]) {
        let project = Project {
            tree: Tree::of(&[("cases/a.md", text)]),
            reasons: vec!["body.invalid"],
            ..Project::default()
        };
        let lines: Vec<_> = rule(&project).into_iter().map(|fault| fault.line).collect();
        assert_eq!(lines, expect, "{text}");
    }

    #[test]
    fn reasons_need_a_case() {
        check(reasons_appear, "Refused with `body.invalid`.", &[]);
        check(
            reasons_appear,
            "400 body.invalid_more, not a.body.invalid",
            &[0],
        );
        check(reasons_appear, "", &[0]);
    }

    #[test]
    fn fences_are_closed_and_named() {
        check(
            fences,
            "```yaml\na: b\n```\nThen\n````http\n```\n````\n",
            &[],
        );
        check(fences, "```yaml\na: b\n", &[1]);
        check(fences, "```\na: b\n```\n", &[1]);
        check(fences, "```yaml\na\n```http\n```\n", &[3]);
    }
}
