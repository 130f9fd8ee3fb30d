//! Every pattern and every list of phrases of the Core Rule Set.

use std::{
    fs,
    path::{Path, PathBuf},
};

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use crate::{
    pattern::Pattern,
    seclang::{self, DirectiveKind, Files, Link, Operator, RulesetBuilder},
};

/// A test with what decides it.
pub(super) enum Subject {
    Regex(Box<Pattern>),
    Phrases(Vec<Vec<u8>>, AhoCorasick),
}

impl Subject {
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        match self {
            Self::Regex(pattern) => pattern.regex.is_match(text),
            Self::Phrases(_, automaton) => automaton.is_match(text),
        }
    }
}

/// Every test of the rules, with the place of its rule.
pub(super) fn subjects() -> Option<Vec<(String, Subject)>> {
    let rules = shared("crs/rules")?;
    let mut files: Vec<PathBuf> = fs::read_dir(&rules)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "conf")
        })
        .collect();
    files.sort();
    let mut builder = RulesetBuilder::default();
    for path in files {
        let text = fs::read(&path).unwrap();
        builder.add_file(path.to_str().unwrap(), text, &mut Disk);
    }
    let ruleset = builder.build().unwrap();
    let mut links: Vec<&Link> = Vec::new();
    for directive in ruleset.directives() {
        if let DirectiveKind::Rule(rule) = &directive.kind {
            links.extend(&rule.links);
        }
    }
    let subjects = links.into_iter().filter_map(|link| {
        let file = Path::new(&*link.place.file).file_name().unwrap();
        let place = format!("{}:{}", file.display(), link.place.line);
        Some((place, subject(link)?))
    });
    Some(subjects.collect())
}

fn subject(link: &Link) -> Option<Subject> {
    let argument: Option<Vec<&[u8]>> = link
        .test
        .argument
        .0
        .iter()
        .map(|piece| match piece {
            seclang::Piece::Text(text) => Some(text.as_slice()),
            seclang::Piece::Macro { .. } => None,
        })
        .collect();
    let argument = argument?.concat();
    let phrases = if link.test.operator == Operator::Rx {
        return Some(Subject::Regex(Box::new(Pattern::parse(&argument).unwrap())));
    } else if link.test.operator == Operator::Pm {
        argument
            .split(|&byte| byte == b' ')
            .filter(|word| !word.is_empty())
            .map(<[u8]>::to_vec)
            .collect()
    } else if link.test.operator == Operator::PmFromFile {
        link.test.lines.clone()
    } else {
        return None;
    };
    let automaton = AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .kind(Some(AhoCorasickKind::NoncontiguousNFA))
        .build(&phrases)
        .unwrap();
    Some(Subject::Phrases(phrases, automaton))
}

/// A folder of what is shared by all tests; `None`, said aloud, where it is not there.
#[expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests are told by the environment where things are, and say what they skip"
)]
pub(super) fn shared(inside: &str) -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let shared = std::env::var("FORTRESS_SHARED").unwrap_or_else(|_| "../shared".to_owned());
    let path = workspace.join(shared).join(inside);
    if path.exists() {
        return Some(path);
    }
    let all = std::env::var("FORTRESS_REQUIRE_ALL");
    assert!(all.as_deref() != Ok("1"), "{} is missing", path.display());
    println!("skipped: {} is missing", path.display());
    None
}

struct Disk;

impl Files for Disk {
    fn read(&mut self, name: &str, from: &str) -> Result<Vec<u8>, String> {
        let folder = Path::new(from).parent().unwrap();
        fs::read(folder.join(name)).map_err(|error| error.to_string())
    }

    fn list(&mut self, pattern: &str, _: &str) -> Result<Vec<String>, String> {
        Err(format!("`{pattern}` is not to be listed"))
    }
}
