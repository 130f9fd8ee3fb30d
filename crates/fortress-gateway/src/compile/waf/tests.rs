//! Which rules run, what the configuration adds to them, and each mistake at its place.

use fortress_model::config;
use fortress_waf::seclang::NoFiles;

use super::*;

/// A configuration in a directory of its own, with files beside it.
struct Place {
    directory: tempfile::TempDir,
}

const MINE: &str = "SecRule ARGS \"@rx a\" \"id:1,phase:2,deny,tag:'mine',tag:'mine/a'\"\n\
                    SecRule ARGS \"@rx b\" \"id:2,phase:2,deny,tag:'mine'\"\n";

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place = Self { directory };
        place.write("mine.conf", MINE);
        place
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A tiny rule set in the shape of the Core Rule Set.
    fn crs(&self) {
        self.write(
            "crs/crs-setup.conf.example",
            "SecAction \"id:900990,phase:1,pass,nolog,setvar:tx.crs_setup_version=4280\"\n",
        );
        self.write(
            "crs/rules/REQUEST-942.conf",
            "SecRule ARGS \"@pmFromFile words.data\" \"id:942100,phase:2,block,tag:'attack-sqli'\"\n",
        );
        self.write("crs/rules/words.data", "select\n");
    }

    /// The rules as text, and what was told.
    fn rules(&self, waf: &str) -> (Option<String>, Vec<String>, Vec<PathBuf>) {
        let text = format!(
            "version: 1\nlisten: [{{ address: 127.0.0.1:0 }}]\n\
             apis: {{ a: {{ spec: none, upstream: http://a }} }}\ndefaults: {{ waf: {{ {waf} }} }}\n"
        );
        self.write("fortress.yaml", &text);
        let path = self.directory.path().join("fortress.yaml");
        let (config, mut sources, diagnostics) = config::load(&path, &|_| None);
        let config = config.unwrap_or_else(|| panic!("{diagnostics:?}"));
        let mut settings = WafSettings::default();
        settings.apply(&config.defaults.waf);
        let mut sets = RuleSets::new(&config.directory, &Engines::new());
        let mut told = Vec::new();
        let first = sets.of(&settings, &mut sources, &mut told);
        let second = sets.of(&settings, &mut sources, &mut told);
        let same = match (&first, &second) {
            (Some(first), Some(second)) => Arc::ptr_eq(first, second),
            (first, second) => first.is_none() && second.is_none(),
        };
        assert!(same, "equal settings share one");
        let shown = told.iter().map(|found| {
            let at = found.span.and_then(|span| sources.position(span));
            let at = at.map_or_else(String::new, |at| {
                let name = Path::new(&at.name)
                    .file_name()
                    .unwrap()
                    .display()
                    .to_string();
                format!("{name}:{}: ", at.line)
            });
            let help = found.help.as_deref().unwrap_or_default();
            format!("{at}{}; {help}", found.message)
        });
        let shown: Vec<String> = shown.collect();
        let from = sets.choose(&settings, &mut Vec::new());
        let ruleset = first.zip(from).and_then(|(_, from)| {
            let mut told = Told {
                sources: &mut sources,
                diagnostics: &mut Vec::new(),
                place: None,
            };
            make(&from, &settings, &mut sets.disk, &mut told)
        });
        let ruleset = ruleset.map(|(ruleset, _)| format!("{:?}", ruleset.directives()));
        (ruleset, shown, sets.files())
    }

    #[track_caller]
    fn has(&self, waf: &str, parts: &[&str], lacks: &[&str]) {
        let (rules, told, _) = self.rules(waf);
        assert!(told.is_empty(), "{told:?}");
        let rules = rules.unwrap();
        for part in parts {
            assert!(rules.contains(part), "{waf} lacks {part}");
        }
        for part in lacks {
            assert!(!rules.contains(part), "{waf} has {part}");
        }
    }

    #[track_caller]
    fn refused(&self, waf: &str, parts: &[&str]) {
        let (rules, told, _) = self.rules(waf);
        assert!(rules.is_none(), "{waf}");
        assert_eq!(told.len(), 1, "{told:?}");
        for part in parts {
            assert!(told[0].contains(part), "{part}: {told:?}");
        }
    }
}

#[test]
fn the_rules_that_are_said_run_between_those_of_the_gateway() {
    let place = Place::new();
    let (builtin, ours, last) = ("Id(4700110)", "Id(4700001)", "Id(4700090)");
    place.has("rules: builtin", &[ours, builtin, last], &["Id(942100)"]);
    place.has("rules: none", &[ours, last], &[builtin]);
    place.has("rules: none, files: [mine.conf]", &["Id(1)"], &[builtin]);
    place.crs();
    place.has("paranoia: 1", &["Id(942100)", "Id(900990)"], &[builtin]);
    place.has("rules: crs", &["Id(942100)", "Id(900990)"], &[builtin]);
    place.write(
        "crs/crs-setup.conf",
        "SecAction \"id:900991,phase:1,pass,nolog\"\n",
    );
    place.has("rules: crs", &["Id(900991)"], &["Id(900990)"]);
    place.write("crs/plugins/a-before.conf", "SecMarker A\n");
    place.write("crs/plugins/a-before.conf.example", "nonsense\n");
    place.has("rules: crs", &["Marker(\"A\")"], &[]);
}

#[test]
fn without_the_core_rule_set_the_small_one_runs_and_that_is_told() {
    let place = Place::new();
    let (rules, told, files) = place.rules("paranoia: 1");
    assert!(rules.unwrap().contains("Id(4700110)"));
    assert_eq!(told.len(), 1);
    assert!(
        told[0].contains("the OWASP Core Rule Set is not installed"),
        "{told:?}"
    );
    assert!(told[0].contains("fortress crs install --to "), "{told:?}");
    // An installation is then a change.
    assert!(
        files
            .iter()
            .any(|file| file.ends_with("crs/crs-setup.conf.example"))
    );
    place.refused(
        "rules: crs",
        &["fortress.yaml:4: ", "no Core Rule Set", "crs install"],
    );
    place.refused("directory: elsewhere", &["elsewhere", "crs install --to"]);
    place.write("crs/crs-setup.conf", "");
    place.refused("rules: crs", &["it needs `rules`"]);
}

#[test]
fn what_is_said_is_written_after_the_set_up() {
    let place = Place::new();
    place.crs();
    let (rules, ..) = place.rules("paranoia: 3, threshold: 10, response_threshold: 8");
    let rules = rules.unwrap();
    let (setup, said) = (rules.find("Id(900990)"), rules.find("Id(4700010)"));
    assert!(setup < said && said < rules.find("Id(942100)"));
    for name in [
        "blocking_paranoia_level",
        "inbound_anomaly_score_threshold",
        "outbound_anomaly_score_threshold",
    ] {
        // As the numbers of their bytes.
        let bytes = format!("{:?}", name.as_bytes());
        assert!(rules.contains(&bytes), "{name}");
    }
    place.has("rules: crs", &[], &["Id(4700010)"]);
}

#[test]
fn exclusions_mean_the_rules_that_there_are() {
    let place = Place::new();
    let own = "rules: none, files: [mine.conf], exclude";
    let removed = |id: u64| format!("Remove(Ids([({id}, {id})]))");
    let updated = |id: u64| format!("UpdateTargets {{ rules: Ids([({id}, {id})])");
    place.has(
        &format!("{own}: [{{ rule: 1 }}]"),
        &[&removed(1)],
        &[&removed(2)],
    );
    place.has(
        &format!("{own}: [{{ rule: 1-5, parameter: query.q }}]"),
        &[&updated(1), &updated(2), "ArgsGet", "Key(\"q\")"],
        &[&updated(3), "Remove("],
    );
    place.has(
        &format!("{own}: [{{ rule: mine }}]"),
        &[&removed(1), &removed(2)],
        &[],
    );
    // Exactly the tag, and not those that contain it.
    place.has(
        &format!("{own}: [{{ rule: mine/a }}]"),
        &[&removed(1)],
        &[&removed(2)],
    );
    place.refused(
        &format!("{own}: [{{ rule: 3 }}]"),
        &["fortress.yaml:4: ", "there is no rule `3`"],
    );
    place.refused(
        &format!("{own}: [{{ rule: mime/a }}]"),
        &["no rule has the tag", "did you mean `mine/a`?"],
    );
    place.refused(&format!("{own}: [{{ rule: 7-9 }}]"), &["from `7` to `9`"]);
}

#[test]
fn mistakes_of_own_files_are_told_with_file_and_line() {
    let place = Place::new();
    place.write("wrong.conf", "# mine\n\nSecRulle ARGS \"@rx a\" \"id:1\"\n");
    place.refused(
        "rules: none, files: [wrong.conf]",
        &["wrong.conf:3: ", "SecRulle", "did you mean `SecRule`?"],
    );
    place.refused(
        "rules: none, files: [missing.conf]",
        &["cannot read", "missing.conf"],
    );
    place.write("include.conf", "Include sub/*.conf\n");
    place.write("sub/b.conf", "SecMarker B\n");
    place.write("sub/a.conf", "SecMarker A\n");
    place.write("sub/a.txt", "nonsense\n");
    place.has(
        "rules: none, files: [include.conf]",
        &["Marker(\"A\")", "Marker(\"B\")"],
        &[],
    );
    place.write("sub/b.conf", "SecMarkr B\n");
    place.refused(
        "rules: none, files: [include.conf]",
        &["b.conf:1: ", "SecMarkr"],
    );
}

#[track_caller]
fn check(parameter: Parameter, expected: &str) {
    assert_eq!(targets(&parameter), expected);
    let text = format!(
        "SecRule ARGS \"@rx a\" \"id:1,phase:2,deny\"\nSecRuleUpdateTargetById 1 \"{expected}\"\n"
    );
    Ruleset::parse("a.conf", text, &mut Disk::default())
        .unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
}

#[test]
fn the_field_that_carries_a_cookie_goes_with_it() {
    #[track_caller]
    fn check(targets: &str, expect: &str) {
        let rule = format!("SecRule {targets} \"@rx a\" \"id:1,phase:2,pass\"");
        let ruleset = Ruleset::parse("x.conf", rule, &mut NoFiles).unwrap();
        assert_eq!(carrier(&ruleset, 1), expect);
        assert_eq!(carrier(&ruleset, 2), "");
    }
    let all = "|!REQUEST_HEADERS:Cookie";
    check("REQUEST_COOKIES|REQUEST_COOKIES_NAMES|REQUEST_HEADERS", all);
    check(
        "REQUEST_COOKIES|REQUEST_HEADERS",
        "|!REQUEST_HEADERS:Cookie|REQUEST_COOKIES_NAMES",
    );
    check("REQUEST_COOKIES|REQUEST_HEADERS:User-Agent", "");
    check("REQUEST_HEADERS", "");
    check("REQUEST_COOKIES:a|REQUEST_HEADERS", "");
}

#[test]
fn parameters_are_the_targets_of_rules() {
    check(
        Parameter::Query("q".into()),
        "!ARGS:q|!ARGS_GET:q|!ARGS_NAMES:q|!ARGS_GET_NAMES:q",
    );
    check(
        Parameter::Query("a[b]".into()),
        r"!ARGS:/^a\x5bb\x5d$/|!ARGS_GET:/^a\x5bb\x5d$/|!ARGS_NAMES:/^a\x5bb\x5d$/|!ARGS_GET_NAMES:/^a\x5bb\x5d$/",
    );
    check(
        Parameter::Header("X-Note".into()),
        "!REQUEST_HEADERS:X-Note|!REQUEST_HEADERS_NAMES:X-Note",
    );
    check(
        Parameter::Cookie("a".into()),
        "!REQUEST_COOKIES:a|!REQUEST_COOKIES_NAMES:a",
    );
    check(
        Parameter::Path,
        r"!REQUEST_FILENAME|!REQUEST_BASENAME|!REQUEST_URI|!REQUEST_URI_RAW|!REQUEST_LINE|!ARGS:/^path\./|!ARGS_GET:/^path\./|!ARGS_NAMES:/^path\./|!ARGS_GET_NAMES:/^path\./",
    );
    let body = r":/^(?:json\.(?:[0-9]+\.)*)?items(?:\.[0-9]+)*\.note(?:\.[0-9]+)*$/";
    check(
        Parameter::Body("items.note".into()),
        &format!(
            "!ARGS{body}|!ARGS_POST{body}|!FILES{body}|!ARGS_NAMES{body}|!ARGS_POST_NAMES{body}|!FILES_NAMES{body}"
        ),
    );
    // Nothing that a name holds ends the target, the argument or the expression.
    for name in [
        "a/b", "a|b", "a\"b", "a'b", "a\\b", "a,b", "a b", "!a", "ü", "a:b", "*", "$",
    ] {
        let target = targets(&Parameter::Query(name.into()));
        check(Parameter::Query(name.into()), &target);
        // The expression itself ends with a `$`.
        assert!(name == "$" || !target.contains(name), "{target}");
    }
}

#[test]
fn patterns_of_includes() {
    for (pattern, name, expected) in [
        ("*.conf", "a.conf", true),
        ("*.conf", "a.conf.example", false),
        ("a*b*c", "a1b2c", true),
        ("a*b*c", "ac", false),
        ("a*a", "a", false),
        ("a", "a", true),
        ("a", "ab", false),
        ("*", "", true),
    ] {
        assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
    }
}

#[test]
fn a_reload_keeps_the_engines_of_which_nothing_changed() {
    let place = Place::new();
    place.crs();
    let settings = WafSettings::default();
    let of = |before: &Engines| {
        let mut sets = RuleSets::new(place.directory.path(), before);
        let (mut sources, mut told) = (Sources::default(), Vec::new());
        let engine = sets.of(&settings, &mut sources, &mut told).unwrap();
        (engine, sets.into_engines())
    };
    let (first, engines) = of(&Engines::new());
    let (second, engines) = of(&engines);
    assert!(Arc::ptr_eq(&first, &second));
    // A file that only a rule names.
    place.write("crs/rules/words.data", "union\n");
    let (third, engines) = of(&engines);
    assert!(!Arc::ptr_eq(&second, &third));
    let (fourth, _) = of(&engines);
    assert!(Arc::ptr_eq(&third, &fourth));
}
