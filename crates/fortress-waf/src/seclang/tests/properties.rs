//! Whatever the bytes are: no panic, and either a rule set or mistakes at places that there are.

use proptest::prelude::*;

use super::{super::*, Memory};

/// Words that belong together often enough for a parser to get deep.
const WORDS: &[&str] = &[
    "SecRule ",
    "SecAction ",
    "SecMarker ",
    "SecDefaultAction ",
    "SecRuleUpdateTargetById ",
    "SecRuleRemoveById ",
    "SecRuleUpdateActionById ",
    "Include ",
    "ARGS",
    "XML:/*",
    "TX:/a/",
    "!",
    "&",
    "|",
    ":",
    "'",
    "\"",
    "/",
    ",",
    "\\",
    "\\\n",
    "\n",
    "\r\n",
    "#",
    " ",
    "@rx ",
    "@pm ",
    "@pmFromFile ",
    "@eq ",
    "a",
    "1",
    "-",
    "=",
    "+",
    ";",
    "%{",
    "}",
    "tx.a",
    "id:1",
    "phase:1",
    "chain",
    "deny",
    "msg:",
    "setvar:",
    "ctl:",
    "ruleRemoveTargetById=",
    "skipAfter:",
    "é",
    "\0",
    "main",
    "words.data",
    "t:none",
];

fn holds(text: &[u8]) {
    let files = &mut Memory::of(&[("words.data", b"a\n\xFF"), ("main.conf", b"SecMarker A")]);
    let lines = 1 + text.iter().filter(|byte| **byte == b'\n').count();
    match Ruleset::parse("main.conf", text, files) {
        Ok(ruleset) => {
            let again = Ruleset::parse("main.conf", text, files).unwrap();
            assert_eq!(ruleset.directives(), again.directives());
            for directive in ruleset.directives() {
                if let DirectiveKind::Rule(rule) = &directive.kind {
                    assert!(!rule.links.is_empty());
                }
            }
        }
        Err(mistakes) => {
            assert!(!mistakes.is_empty());
            for mistake in mistakes {
                let line = usize::try_from(mistake.place.line).unwrap();
                assert!((1..=lines).contains(&line), "{mistake}");
                assert!(mistake.to_string().len() < 1_000);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_bytes(text in prop::collection::vec(any::<u8>(), 0..200)) {
        holds(&text);
    }

    #[test]
    fn any_words(words in prop::collection::vec(prop::sample::select(WORDS), 0..60)) {
        holds(words.concat().as_bytes());
    }

    #[test]
    fn any_actions(words in prop::collection::vec(prop::sample::select(WORDS), 0..30)) {
        holds(format!("SecAction \"id:1,{}\"", words.concat()).as_bytes());
    }

    /// A key that is quoted is what is read.
    #[test]
    fn quoted_keys(name in "[^\\\\'\"\\r\\n]{1,20}") {
        prop_assume!(!(name.starts_with('/') && name.ends_with('/') && name.len() > 1));
        let text = format!("SecRule \"ARGS:'{name}'\" a id:1");
        let found = super::link(&text).targets;
        assert_eq!(found[0].selector, Selector::Key(name));
    }
}
