//! What may be written, and what it means.

use super::{super::*, link, read, rule};

/// The targets of a rule.
#[track_caller]
fn targets(text: &str, expected: &[(&str, Variable, Selector)]) {
    let found = link(&format!("SecRule \"{text}\" x id:1")).targets;
    let expected: Vec<Target> = expected
        .iter()
        .map(|(marks, variable, selector)| Target {
            excluded: *marks == "!",
            counted: *marks == "&",
            variable: *variable,
            selector: selector.clone(),
        })
        .collect();
    assert_eq!(found, expected);
}

fn key(text: &str) -> Selector {
    Selector::Key(text.to_owned())
}

fn regex(text: &str) -> Selector {
    Selector::Regex(text.to_owned())
}

#[test]
fn what_is_looked_at() {
    use Variable::{Args, ArgsNames, RequestCookies, RequestHeaders, Tx, Xml};
    targets("ARGS", &[("", Args, Selector::All)]);
    targets("args", &[("", Args, Selector::All)]);
    targets(
        "ARGS|ARGS_NAMES",
        &[("", Args, Selector::All), ("", ArgsNames, Selector::All)],
    );
    targets(
        "ARGS,ARGS_NAMES",
        &[("", Args, Selector::All), ("", ArgsNames, Selector::All)],
    );
    targets(
        "ARGS | !ARGS:a",
        &[("", Args, Selector::All), ("!", Args, key("a"))],
    );
    targets("ARGS:User", &[("", Args, key("User"))]);
    targets("ARGS:load[]", &[("", Args, key("load[]"))]);
    targets("ARGS:a:b", &[("", Args, key("a:b"))]);
    targets("ARGS:'a b'", &[("", Args, key("a b"))]);
    targets(r"ARGS:'it\'s'", &[("", Args, key("it's"))]);
    targets("ARGS:'/a'", &[("", Args, key("/a"))]);
    targets(
        "&REQUEST_HEADERS:Host",
        &[("&", RequestHeaders, key("Host"))],
    );
    targets("TX:/^a_/", &[("", Tx, regex("^a_"))]);
    targets("TX:0", &[("", Tx, key("0"))]);
    targets("&TX:'/^a|b,c d$/'", &[("&", Tx, regex("^a|b,c d$"))]);
    targets(
        r"REQUEST_COOKIES|!REQUEST_COOKIES:/\x22?\x24Version/|ARGS",
        &[
            ("", RequestCookies, Selector::All),
            ("!", RequestCookies, regex(r"\x22?\x24Version")),
            ("", Args, Selector::All),
        ],
    );
    targets(
        "XML:/*|XML://@*",
        &[("", Xml, key("/*")), ("", Xml, key("//@*"))],
    );
}

/// The operator of a rule.
#[track_caller]
fn test(text: &str, negated: bool, operator: Operator, argument: &str) -> Test {
    let found = link(&format!("SecRule ARGS \"{text}\" id:1")).test;
    assert_eq!((found.negated, found.operator), (negated, operator));
    assert_eq!(found.argument.literal(), Some(argument.as_bytes()));
    found
}

#[test]
fn what_is_asked() {
    use Operator::*;
    test("attack", false, Rx, "attack");
    test("!attack", true, Rx, "attack");
    test("@rx attack", false, Rx, "attack");
    test("!@rx  ^a$ ", true, Rx, "^a$ ");
    test("! @RX a", true, Rx, "a");
    test(r#"@rx a\"b\\d\x5c"#, false, Rx, r#"a"b\\d\x5c"#);
    test(r"@rx %{2,3}[%{]", false, Rx, r"%{2,3}[%{]");
    test("@rx user@host", false, Rx, "user@host");
    test("user@host", false, Rx, "user@host");
    test("@detectSQLi", false, DetectSqli, "");
    test("!@detectxss", true, DetectXss, "");
    test("@unconditionalMatch", false, UnconditionalMatch, "");
    test("@eq 0", false, Eq, "0");
    test("@lt -3 ", false, Lt, "-3");
    test("@pm a b %{(", false, Pm, "a b %{(");
    test("@streq ", false, StrEq, "");
    test("@ipMatch 10.0.0.0/8,::1", false, IpMatch, "10.0.0.0/8,::1");
    test(
        "@validateByteRange 1-255",
        false,
        ValidateByteRange,
        "1-255",
    );
    // Nobody is asked, so nobody is listed.
    test("@rbl xbl.example", false, NoMatch, "");
    test("!@geoLookup", true, NoMatch, "");
}

#[test]
fn data_files() {
    let words: [&[u8]; 3] = [b"one", b"two words", b"\xFFthree"];
    let one = test(
        "@pmFromFile words.data",
        false,
        Operator::PmFromFile,
        "words.data",
    );
    assert_eq!(one.lines, words);
    let two = test(
        "@pmf words.data more.data",
        false,
        Operator::PmFromFile,
        "words.data more.data",
    );
    assert_eq!(two.lines.len(), 4);
    let three = test(
        "@ipMatchF more.data",
        false,
        Operator::IpMatchFromFile,
        "more.data",
    );
    assert_eq!(three.lines, [b"four"]);
}

#[test]
fn macros_of_operators() {
    let found = link(r#"SecRule ARGS "@within %{tx.Allowed}" id:1"#);
    let allowed = Piece::Macro {
        variable: Variable::Tx,
        key: Some("allowed".to_owned()),
    };
    assert_eq!(found.test.argument, Template(vec![allowed]));
    let found = link(r#"SecRule ARGS "@gt %{tx.max}" id:1"#);
    assert_eq!(found.test.argument.literal(), None);
}

/// The actions of a rule after its id.
#[track_caller]
fn actions(text: &str, expected: &[Action]) {
    let found = link(&format!("SecAction \"id:1,{text}\"")).actions;
    assert_eq!(found.split_first().unwrap().1, expected);
}

fn text(text: &str) -> Template {
    Template::plain(text.as_bytes())
}

fn of(variable: Variable, key: &str) -> Piece {
    Piece::Macro {
        variable,
        key: Some(key.to_owned()),
    }
}

#[test]
fn what_a_rule_is() {
    for (written, phase) in [
        ("1", Phase::RequestHeaders),
        ("2", Phase::RequestBody),
        ("3", Phase::ResponseHeaders),
        ("4", Phase::ResponseBody),
        ("5", Phase::Logging),
        ("request", Phase::RequestBody),
        ("RESPONSE", Phase::ResponseBody),
        ("'logging'", Phase::Logging),
    ] {
        actions(&format!("phase:{written}"), &[Action::Phase(phase)]);
    }
}

#[test]
fn what_is_said_about_a_rule() {
    actions("severity:'CRITICAL'", &[Action::Severity(2)]);
    actions(
        "severity:debug,SEVERITY:0",
        &[Action::Severity(7), Action::Severity(0)],
    );
    actions("msg:'a, b'", &[Action::Message(text("a, b"))]);
    actions(r"msg:'it\'s \d'", &[Action::Message(text(r"it's \d"))]);
    actions(
        "msg:plain words ,pass",
        &[Action::Message(text("plain words")), Action::Pass],
    );
    actions(
        " tag : 'a/b' , tag:c,",
        &[Action::Tag(text("a/b")), Action::Tag(text("c"))],
    );
    actions(
        "ver:'X/1',rev:2",
        &[
            Action::Version("X/1".to_owned()),
            Action::Revision("2".to_owned()),
        ],
    );
    actions(
        "accuracy:9,maturity:1",
        &[Action::Accuracy(9), Action::Maturity(1)],
    );
    actions(
        "t:none,t:normalisePath,t:LOWERCASE",
        &[
            Action::TransformNone,
            Action::Transform(Transformation::NormalizePath),
            Action::Transform(Transformation::Lowercase),
        ],
    );
    actions("capture,multimatch", &[Action::Capture, Action::MultiMatch]);
    actions(
        "log,nolog,auditlog,noauditlog",
        &[
            Action::Log,
            Action::NoLog,
            Action::AuditLog,
            Action::NoAuditLog,
        ],
    );
    let host = Piece::Macro {
        variable: Variable::RequestHeaders,
        key: Some("host".to_owned()),
    };
    actions(
        "logdata:'%{REQUEST_HEADERS.Host}'",
        &[Action::LogData(Template(vec![host]))],
    );
    actions(
        "sanitiseArg:password,xmlns:a=b",
        &[
            Action::WithoutEffect("sanitiseArg"),
            Action::WithoutEffect("xmlns"),
        ],
    );
}

#[test]
fn what_happens() {
    actions("deny,status:403", &[Action::Deny, Action::Status(403)]);
    actions("block", &[Action::Block]);
    actions("drop", &[Action::Drop]);
    actions("allow", &[Action::Allow(AllowScope::All)]);
    actions("allow:phase", &[Action::Allow(AllowScope::Phase)]);
    actions("allow:request", &[Action::Allow(AllowScope::Request)]);
    actions(
        "redirect:'https://a/?b,c'",
        &[Action::Redirect(text("https://a/?b,c"))],
    );
    actions("skip:2", &[Action::Skip(2)]);
}

#[test]
fn what_is_remembered() {
    let set = |collection, key, change| {
        Action::SetVar(SetVar {
            collection,
            key,
            change,
        })
    };
    let critical = || Template(vec![of(Variable::Tx, "critical")]);
    actions(
        "setvar:tx.A=b=c",
        &[set(Variable::Tx, text("a"), Change::Set(text("b=c")))],
    );
    actions(
        "setvar:'tx.a=b, c'",
        &[set(Variable::Tx, text("a"), Change::Set(text("b, c")))],
    );
    actions(
        "setvar:tx.a",
        &[set(Variable::Tx, text("a"), Change::Set(text("1")))],
    );
    actions(
        "setvar:tx.a=",
        &[set(Variable::Tx, text("a"), Change::Set(text("")))],
    );
    actions(
        "setvar:!tx.a",
        &[set(Variable::Tx, text("a"), Change::Unset)],
    );
    actions(
        "setvar:ip.a=+1",
        &[set(Variable::Ip, text("a"), Change::Add(text("1")))],
    );
    actions(
        "setvar:tx.a=-%{tx.Critical}",
        &[set(Variable::Tx, text("a"), Change::Subtract(critical()))],
    );
    let counter = Template(vec![
        Piece::Text(b"count_".to_vec()),
        Piece::Macro {
            variable: Variable::MatchedVarName,
            key: None,
        },
    ]);
    actions(
        "setvar:'TX.Count_%{MATCHED_VAR_NAME}=+1'",
        &[set(Variable::Tx, counter, Change::Add(text("1")))],
    );
    let equal = Template(vec![of(Variable::Args, "a=b")]);
    actions(
        "setvar:tx.%{ARGS.a=b}=c",
        &[set(Variable::Tx, equal, Change::Set(text("c")))],
    );
}

#[test]
fn what_is_kept_across_transactions() {
    actions(
        "expirevar:ip.a=60",
        &[Action::ExpireVar {
            variable: Variable::Ip,
            key: text("a"),
            seconds: text("60"),
        }],
    );
    actions(
        "initcol:global=global",
        &[Action::InitCollection {
            collection: Variable::Global,
            key: text("global"),
        }],
    );
    actions(
        "setuid:joe",
        &[Action::OpenCollection {
            collection: Variable::User,
            key: text("joe"),
        }],
    );
    actions(
        "setenv:a=b",
        &[Action::SetEnv {
            name: "a".to_owned(),
            value: text("b"),
        }],
    );
}

/// A `ctl` of a rule.
#[track_caller]
fn control(written: &str, expected: Control) {
    actions(&format!("ctl:{written}"), &[Action::Control(expected)]);
}

fn argument(selector: Selector) -> Target {
    Target {
        excluded: false,
        counted: false,
        variable: Variable::Args,
        selector,
    }
}

#[test]
fn what_is_changed_for_the_transaction() {
    let ids = |ranges: &[(u64, u64)]| Selection::Ids(ranges.to_vec());
    let tag = |tag: &str| Selection::Tag(tag.to_owned());
    control(
        "ruleEngine=DetectionOnly",
        Control::RuleEngine(EngineMode::DetectionOnly),
    );
    control("ruleRemoveById=1-5", Control::RuleRemove(ids(&[(1, 5)])));
    control(
        "ruleRemoveByTag=attack-.*",
        Control::RuleRemove(tag("attack-.*")),
    );
    actions(
        "ctl:'RuleRemoveByMsg=a, b'",
        &[Action::Control(Control::RuleRemove(Selection::Message(
            "a, b".to_owned(),
        )))],
    );
}

#[test]
fn targets_that_are_removed() {
    let remove = |rules, target| Control::RuleRemoveTarget { rules, target };
    let ids = |low, high| Selection::Ids(vec![(low, high)]);
    control(
        "ruleRemoveTargetById=1-5;ARGS:x",
        remove(ids(1, 5), argument(key("x"))),
    );
    control(
        "ruleRemoveTargetById=1;ARGS",
        remove(ids(1, 1), argument(Selector::All)),
    );
    control(
        "ruleRemoveTargetById=1;ARGS:a[]",
        remove(ids(1, 1), argument(key("a[]"))),
    );
    control(
        "ruleRemoveTargetById=1;ARGS:/^a|b c$/",
        remove(ids(1, 1), argument(regex("^a|b c$"))),
    );
    control(
        "ruleRemoveTargetByTag=OWASP_CRS;ARGS:x",
        remove(Selection::Tag("OWASP_CRS".to_owned()), argument(key("x"))),
    );
    actions(
        "ctl:'ruleRemoveTargetByMsg=a, b;ARGS:x'",
        &[Action::Control(remove(
            Selection::Message("a, b".to_owned()),
            argument(key("x")),
        ))],
    );
}

#[test]
fn bodies() {
    control(
        "requestBodyProcessor=json",
        Control::RequestBodyProcessor(BodyProcessor::Json),
    );
    control(
        "requestBodyProcessor=XML",
        Control::RequestBodyProcessor(BodyProcessor::Xml),
    );
    control(
        "forceRequestBodyVariable=On",
        Control::ForceRequestBodyVariable(true),
    );
    control("requestBodyAccess=Off", Control::RequestBodyAccess(false));
    control("responseBodyAccess=on", Control::ResponseBodyAccess(true));
    control("auditEngine=Off", Control::WithoutEffect("ctl:auditEngine"));
    control(
        "auditLogParts=+E",
        Control::WithoutEffect("ctl:auditLogParts"),
    );
}

#[test]
fn chains() {
    let chain = rule(
        "SecRule ARGS a \"id:1,phase:1,deny,chain\"\n\
         SecRule ARGS b \"phase:1,t:none,chain\"\n\
         # between\n\
         SecRule ARGS c\n",
    );
    let lines: Vec<u32> = chain.links.iter().map(|link| link.place.line).collect();
    assert_eq!(lines, [1, 2, 4]);
    let chain = rule("SecAction id:1,chain\nSecAction setvar:tx.a=1");
    assert_eq!(chain.links.len(), 2);
    assert!(chain.links[1].targets.is_empty());
}

#[track_caller]
fn says(text: &str, expected: DirectiveKind) {
    assert_eq!(read(text), [expected]);
}

#[test]
fn other_directives() {
    let ids = |ranges: &[(u64, u64)]| Selection::Ids(ranges.to_vec());
    says("SecMarker END", DirectiveKind::Marker("END".to_owned()));
    says("secmarker \"END\"", DirectiveKind::Marker("END".to_owned()));
    says(
        "SecComponentSignature 'X/1'",
        DirectiveKind::Component("X/1".to_owned()),
    );
    says(
        "SecRuleEngine DetectionOnly",
        DirectiveKind::Engine(EngineMode::DetectionOnly),
    );
    says(
        "SecRuleRemoveById 1 2 3-5",
        DirectiveKind::Remove(ids(&[(1, 1), (2, 2), (3, 5)])),
    );
    says(
        "SecRuleRemoveById \"1 2 3-5\" 7",
        DirectiveKind::Remove(ids(&[(1, 1), (2, 2), (3, 5), (7, 7)])),
    );
    says(
        "SecRuleRemoveByTag attack",
        DirectiveKind::Remove(Selection::Tag("attack".to_owned())),
    );
    says(
        "SecRuleRemoveByMsg \"a b\"",
        DirectiveKind::Remove(Selection::Message("a b".to_owned())),
    );
    says(
        "SecDefaultAction \"phase:2,log,pass\"",
        DirectiveKind::DefaultAction {
            phase: Phase::RequestBody,
            actions: vec![Action::Log, Action::Pass],
        },
    );
    says(
        "SecRuleUpdateActionById 12:1 \"deny,status:500\"",
        DirectiveKind::UpdateActions {
            id: 12,
            link: 1,
            actions: vec![Action::Deny, Action::Status(500)],
        },
    );
}

#[test]
fn updates_of_targets() {
    let without = |name: &str| Target {
        excluded: true,
        ..argument(key(name))
    };
    let update = |rules, targets, replaced| DirectiveKind::UpdateTargets {
        rules,
        targets,
        replaced,
    };
    let ids = |low, high| Selection::Ids(vec![(low, high)]);
    says(
        "SecRuleUpdateTargetById 1-5 \"!ARGS:foo,!ARGS:bar\"",
        update(ids(1, 5), vec![without("foo"), without("bar")], vec![]),
    );
    says(
        "SecRuleUpdateTargetById 1 !ARGS:foo|!ARGS:bar",
        update(ids(1, 1), vec![without("foo"), without("bar")], vec![]),
    );
    says(
        "SecRuleUpdateTargetById 1 \"ARGS:foo\" \"ARGS\"",
        update(
            ids(1, 1),
            vec![argument(key("foo"))],
            vec![argument(Selector::All)],
        ),
    );
    says(
        "SecRuleUpdateTargetByTag a/b !ARGS:foo",
        update(
            Selection::Tag("a/b".to_owned()),
            vec![without("foo")],
            vec![],
        ),
    );
    says(
        "SecRuleUpdateTargetByMsg \"a b\" !ARGS:foo",
        update(
            Selection::Message("a b".to_owned()),
            vec![without("foo")],
            vec![],
        ),
    );
}

#[test]
fn settings() {
    for (written, setting) in [
        ("SecRequestBodyAccess On", Setting::RequestBodyAccess(true)),
        (
            "SecResponseBodyAccess off",
            Setting::ResponseBodyAccess(false),
        ),
        (
            "SecRequestBodyLimit 131072",
            Setting::RequestBodyLimit(131_072),
        ),
        (
            "SecRequestBodyNoFilesLimit 1",
            Setting::RequestBodyNoFilesLimit(1),
        ),
        (
            "SecRequestBodyLimitAction Reject",
            Setting::RequestBodyLimitReject(true),
        ),
        ("SecResponseBodyLimit 2", Setting::ResponseBodyLimit(2)),
        (
            "SecResponseBodyLimitAction ProcessPartial",
            Setting::ResponseBodyLimitReject(false),
        ),
        ("SecArgumentsLimit 1000", Setting::ArgumentsLimit(1_000)),
        (
            "SecRequestBodyJsonDepthLimit 512",
            Setting::JsonDepthLimit(512),
        ),
        ("SecCollectionTimeout 600", Setting::CollectionTimeout(600)),
        ("SecArgumentSeparator &", Setting::ArgumentSeparator(b'&')),
        ("SecCookieFormat 0", Setting::CookieFormat(0)),
        (
            "SecUnicodeMapFile unicode.mapping 20127",
            Setting::UnicodeMap("20127".to_owned()),
        ),
        (
            "SecUnicodeCodePage 20127",
            Setting::UnicodeMap("20127".to_owned()),
        ),
        ("SecUploadFileLimit 10", Setting::UploadFileLimit(10)),
        (
            "SecResponseBodyMimeTypesClear",
            Setting::ResponseBodyTypes(vec![]),
        ),
        (
            "SecResponseBodyMimeType text/plain text/html",
            Setting::ResponseBodyTypes(vec!["text/plain".to_owned(), "text/html".to_owned()]),
        ),
        (
            "SecAuditLogParts ABZ",
            Setting::WithoutEffect("SecAuditLogParts"),
        ),
        ("secdatadir /tmp", Setting::WithoutEffect("SecDataDir")),
        ("SecHashEngine Off", Setting::WithoutEffect("SecHashEngine")),
        (
            "SecXmlExternalEntity off",
            Setting::WithoutEffect("SecXmlExternalEntity"),
        ),
    ] {
        says(written, DirectiveKind::Set(setting));
    }
}

#[test]
fn what_has_no_effect_is_listed() {
    let text = "SecAuditEngine On\n\
                SecRule ARGS @rbl \\\n  \"id:1,sanitiseArg:a,\\\n  ctl:auditEngine=Off\"";
    let ruleset = Ruleset::parse("a.conf", text, &mut NoFiles).unwrap();
    let listed: Vec<(&str, u32)> = ruleset
        .without_effect()
        .iter()
        .map(|found| (found.word, found.place.line))
        .collect();
    assert_eq!(
        listed,
        [
            ("SecAuditEngine", 1),
            ("@rbl", 2),
            ("sanitiseArg", 3),
            ("ctl:auditEngine", 4),
        ]
    );
}
