//! What rules mean, rule by rule: each case runs with the screen and without, and must end alike.

mod sizes;

use std::{cell::RefCell, net::SocketAddr, sync::Arc, time::SystemTime};

use bytes::Bytes;

use super::{Desk, Engine, Finding, Memory, Opening, RefusalKind, Screening, Transaction, Verdict};
use crate::seclang::{NoFiles, Ruleset};

/// A request, and its answer if there is one.
#[derive(Clone, Copy, Debug)]
struct Case<'a> {
    line: (&'a str, &'a str),
    fields: &'a [(&'a str, &'a str)],
    body: &'a [u8],
    answer: Option<Answer<'a>>,
    proven: &'a [&'a str],
    budget: u64,
}

/// A status, fields and a body.
type Answer<'a> = (u16, &'a [(&'a str, &'a str)], &'a [u8]);

const PLAIN: Case<'static> = Case {
    line: ("GET", "/"),
    fields: &[("Host", "example.com")],
    body: b"",
    answer: None,
    proven: &[],
    budget: u64::MAX,
};

fn get(target: &str) -> Case<'_> {
    Case {
        line: ("GET", target),
        ..PLAIN
    }
}

fn post<'a>(fields: &'a [(&'a str, &'a str)], body: &'a str) -> Case<'a> {
    Case {
        line: ("POST", "/"),
        fields,
        body: body.as_bytes(),
        ..PLAIN
    }
}

const FORM: &[(&str, &str)] = &[("Content-Type", "application/x-www-form-urlencoded")];
const JSON: &[(&str, &str)] = &[("Content-Type", "application/json")];

/// Before the rules of a case.
const ON: &str = "SecRuleEngine On\nSecRequestBodyAccess On\nSecResponseBodyAccess On\n\
    SecRule REQUEST_HEADERS:Content-Type \"@beginsWith application/json\" \
    \"id:1,phase:1,pass,nolog,ctl:requestBodyProcessor=JSON\"\n";

#[track_caller]
fn engine(rules: &str, screening: Screening) -> Arc<Engine> {
    let ruleset = Ruleset::parse("x.conf", format!("{ON}{rules}"), &mut NoFiles);
    let ruleset = ruleset.unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
    let engine = Engine::compile(&ruleset, screening);
    Arc::new(engine.unwrap_or_else(|mistakes| panic!("{mistakes:#?}")))
}

fn opening(budget: u64) -> Opening<'static> {
    Opening {
        client: SocketAddr::from(([192, 0, 2, 7], 4_711)),
        server: SocketAddr::from(([192, 0, 2, 1], 80)),
        now: SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(951_827_696),
        id: "the-id",
        budget,
    }
}

fn through(
    engine: &Arc<Engine>,
    memory: Box<Memory>,
    case: &Case<'_>,
) -> (Verdict, Vec<Finding>, Transaction) {
    thread_local! {
        /// Of a thread, for all its transactions of all engines.
        static DESK: RefCell<Desk> = RefCell::default();
    }
    DESK.with_borrow_mut(|desk| through_at(desk, engine, memory, case))
}

fn through_at(
    desk: &mut Desk,
    engine: &Arc<Engine>,
    memory: Box<Memory>,
    case: &Case<'_>,
) -> (Verdict, Vec<Finding>, Transaction) {
    let mut transaction = Transaction::new(Arc::clone(engine), memory, &opening(case.budget));
    let (method, target) = case.line;
    transaction.request_line(method.as_bytes(), target.as_bytes(), b"HTTP/1.1");
    for (name, value) in case.fields {
        transaction.request_field(name.as_bytes(), value.as_bytes());
    }
    for name in case.proven {
        transaction.prove_query(name.as_bytes());
    }
    let mut verdict = transaction.request_head(desk);
    if verdict == Verdict::Pass {
        verdict = transaction.request_body(desk, Bytes::copy_from_slice(case.body));
    }
    if let (Verdict::Pass, Some((status, fields, body))) = (&verdict, case.answer) {
        transaction.response_line(status, b"HTTP/1.1");
        for (name, value) in fields {
            transaction.response_field(name.as_bytes(), value.as_bytes());
        }
        verdict = transaction.response_head(desk);
        if verdict == Verdict::Pass {
            verdict = transaction.response_body(desk, Bytes::copy_from_slice(body));
        }
    }
    transaction.end(desk);
    (verdict, transaction.findings().to_vec(), transaction)
}

/// Runs a case in both ways, twice each with the same memory.
#[track_caller]
fn run(rules: &str, case: &Case<'_>) -> (Verdict, Vec<Finding>) {
    let mut all = Vec::new();
    for screening in [Screening::Prefiltered, Screening::Exhaustive] {
        let engine = engine(rules, screening);
        let (_, _, first) = through(&engine, Box::default(), case);
        let (verdict, findings, _) = through(&engine, first.into_memory(), case);
        all.push((verdict, findings));
    }
    let last = all.pop().unwrap();
    assert_eq!(all.pop().unwrap(), last, "with the screen and without");
    last
}

/// The rules that are logged.
#[track_caller]
fn check(rules: &str, case: &Case<'_>, expected: &[u64]) {
    let (verdict, findings) = run(rules, case);
    let ids: Vec<u64> = findings.iter().map(|finding| finding.rule).collect();
    assert_eq!(ids, expected, "{rules}");
    assert_eq!(verdict, Verdict::Pass);
}

/// One rule, and whether it matches.
#[track_caller]
fn rule(rule: &str, case: &Case<'_>, matches: bool) {
    let rules = format!("SecRule {rule} \"id:10,phase:2,pass\"");
    check(&rules, case, if matches { &[10] } else { &[] });
}

#[test]
fn targets_name_what_is_looked_at() {
    let case = Case {
        fields: &[
            ("Host", "example.com"),
            ("Cookie", "a=1; b=two"),
            ("X-Note", "three"),
            ("Authorization", "Basic QWxhZGRpbjpvcGVu"),
        ],
        ..get("/a%20b/c.php?x=four&Y=five%2B")
    };
    for (target, value) in [
        ("ARGS:x", "four"),
        ("ARGS:y", "five+"),
        ("ARGS_GET:/^X$/", "four"),
        ("ARGS_NAMES", "Y"),
        ("ARGS_GET_NAMES:x", "x"),
        ("QUERY_STRING", "x=four&Y=five%2B"),
        ("REQUEST_COOKIES:B", "two"),
        ("REQUEST_COOKIES_NAMES", "a"),
        ("REQUEST_HEADERS:x-note", "three"),
        ("REQUEST_HEADERS_NAMES", "X-Note"),
        ("REQUEST_METHOD", "GET"),
        ("REQUEST_LINE", "GET /a%20b/c.php?x=four&Y=five%2B HTTP/1.1"),
        ("REQUEST_URI", "/a%20b/c.php?x=four&Y=five%2B"),
        ("REQUEST_URI_RAW", "/a%20b/c.php?x=four&Y=five%2B"),
        ("REQUEST_FILENAME", "/a b/c.php"),
        ("REQUEST_BASENAME", "c.php"),
        ("REQUEST_PROTOCOL", "HTTP/1.1"),
        ("REMOTE_ADDR", "192.0.2.7"),
        ("REMOTE_PORT", "4711"),
        ("SERVER_ADDR", "192.0.2.1"),
        ("SERVER_NAME", "example.com"),
        ("AUTH_TYPE", "Basic"),
        ("REMOTE_USER", "Aladdin"),
        ("UNIQUE_ID", "the-id"),
        ("TIME", "12:34:56"),
        ("TIME_YEAR", "2000"),
        ("TIME_MON", "2"),
        ("TIME_DAY", "29"),
        ("TIME_WDAY", "2"),
        ("ARGS_COMBINED_SIZE", "11"),
    ] {
        rule(&format!("{target} \"@streq {value}\""), &case, true);
        rule(&format!("{target} \"@streq {value}x\""), &case, false);
    }
}

#[test]
fn absolute_targets_have_a_path() {
    let case = get("http://other.example/p/q?x=1");
    rule("REQUEST_URI \"@streq /p/q?x=1\"", &case, true);
    rule("REQUEST_URI_RAW \"@beginsWith http://\"", &case, true);
    rule("REQUEST_FILENAME \"@streq /p/q\"", &case, true);
}

#[test]
fn members_are_excluded_and_counted() {
    let case = get("/?a=x&b=x&c=y");
    rule("ARGS|!ARGS:a|!ARGS:b \"@streq x\"", &case, false);
    rule("ARGS|!ARGS:a \"@streq x\"", &case, true);
    rule("ARGS|!ARGS:/^[ab]/ \"@streq x\"", &case, false);
    rule("&ARGS \"@eq 3\"", &case, true);
    rule("&ARGS:a \"@eq 1\"", &case, true);
    rule("&ARGS:z \"@eq 0\"", &case, true);
    rule("&TX:nothing \"@eq 0\"", &case, true);
    rule("ARGS:z \"!@streq x\"", &case, false);
    rule("ARGS \"!@within x y\"", &case, false);
}

#[test]
fn operators_ask() {
    let case = get("/?v=Hello%20world&n=042&e=&ip=10.1.2.3&u=%ff&cc=4111111111111111");
    for (test, matches) in [
        ("ARGS:v \"@rx (?i)hello\"", true),
        ("ARGS:v \"@rx ^world\"", false),
        ("ARGS:v \"!@rx ^world\"", true),
        ("ARGS:v \"@pm foo WORLD\"", true),
        ("ARGS:v \"@pm foo bar\"", false),
        ("ARGS:v \"@contains lo wo\"", true),
        ("ARGS:v \"@contains LO\"", false),
        ("ARGS:v \"@containsWord world\"", true),
        ("ARGS:v \"@containsWord orld\"", false),
        ("ARGS:v \"@beginsWith Hell\"", true),
        ("ARGS:v \"@endsWith world\"", true),
        ("ARGS:v \"@endsWith worl\"", false),
        ("ARGS:n \"@eq 42\"", true),
        ("ARGS:n \"@gt 42\"", false),
        ("ARGS:n \"@ge 42\"", true),
        ("ARGS:n \"@lt 43\"", true),
        ("ARGS:n \"@le 41\"", false),
        ("ARGS:n \"@within 041 042\"", true),
        ("ARGS:e \"@rx ^$\"", true),
        ("ARGS:v \"@rx ^$\"", false),
        ("ARGS:ip \"@ipMatch 10.0.0.0/8\"", true),
        ("ARGS:ip \"@ipMatch 10.0.0.0/16\"", false),
        ("ARGS:v \"@validateByteRange 32-126\"", false),
        ("ARGS:u \"@validateByteRange 32-126\"", true),
        ("ARGS:u \"@validateUtf8Encoding\"", true),
        ("ARGS:v \"@validateUtf8Encoding\"", false),
        ("QUERY_STRING \"@validateUrlEncoding\"", false),
        ("ARGS:cc \"@verifyCC \\d{16}\"", true),
        ("ARGS:ip \"@verifyCC \\d+\"", false),
        ("ARGS:v \"@unconditionalMatch\"", true),
        ("ARGS:v \"@noMatch\"", false),
        ("ARGS:v \"@detectSQLi\"", false),
        ("ARGS:v \"@detectXSS\"", false),
        ("ARGS:n \"@rx %{ARGS.n}\"", true),
        ("ARGS:n \"@rx %{ARGS.v}\"", false),
    ] {
        rule(test, &case, matches);
    }
    rule("ARGS \"@detectSQLi\"", &get("/?q=1'%20or%201=1--%20"), true);
    rule(
        "ARGS \"@detectXSS\"",
        &get("/?q=<script>alert(1)</script>"),
        true,
    );
    rule(
        "QUERY_STRING \"@validateUrlEncoding\"",
        &get("/?a=%zz"),
        true,
    );
}

#[test]
fn transformations_come_before() {
    let case = get("/?q=%253CScRipt%253E");
    let transformed = |chain: &str, value: &str, matches: bool| {
        let rules = format!("SecRule ARGS \"@streq {value}\" \"id:10,phase:2,pass,{chain}\"");
        check(&rules, &case, if matches { &[10] } else { &[] });
    };
    transformed("t:none", "%3CScRipt%3E", true);
    transformed("t:urlDecodeUni", "<ScRipt>", true);
    transformed("t:urlDecodeUni,t:lowercase", "<script>", true);
    transformed("t:lowercase", "<script>", false);
    transformed("t:urlDecodeUni,t:none", "<script>", false);
    transformed("t:length", "12", true);
    transformed("t:urlDecodeUni,t:length", "8", true);
    transformed("t:lowercase,t:hexEncode", "253373637269707425336", false);
}

#[test]
fn multi_match_asks_after_each() {
    let rules = "SecRule ARGS \"@rx (?i)<s\" \"id:10,phase:2,pass,multiMatch,t:none,t:urlDecodeUni,t:lowercase,\
        setvar:tx.inbound_anomaly_score_pl1=+5\"\n\
        SecRule TX:inbound_anomaly_score_pl1 \"@eq 10\" \"id:11,phase:2,pass\"";
    check(rules, &get("/?q=%253CScript"), &[10, 11]);
    check(rules, &get("/?q=%3CScript%2B"), &[10]);
    check(rules, &get("/?q=harmless"), &[]);
}

#[test]
fn chains_match_as_a_whole() {
    let rules = "SecRule ARGS:a \"@rx ^(\\w)(\\w)\" \"id:10,phase:2,pass,capture,chain,\
        msg:'%{MATCHED_VAR_NAME}',logdata:'%{TX.0}-%{TX.1}-%{TX.2}-%{TX.3}'\"\n\
        SecRule ARGS:b \"@streq %{TX.2}\" \"chain\"\n\
        SecRule MATCHED_VARS \"@rx z\" \"t:none\"";
    let (_, findings) = run(rules, &get("/?a=xz1&b=z"));
    assert_eq!(findings[0].data, "xz-x-z-");
    check(rules, &get("/?a=xz1&b=x"), &[]);
    check(rules, &get("/?a=1&b=1"), &[]);
    // What the first link matched is remembered in later links.
    check(rules, &get("/?a=zq&b=q"), &[10]);
    check(rules, &get("/?a=yq&b=q"), &[]);
}

#[test]
fn variables_are_set_and_counted() {
    let rules = "SecAction \"id:10,phase:1,pass,nolog,setvar:tx.a=5,setvar:tx.b=%{tx.a},setvar:'tx.c=x y'\"\n\
        SecRule ARGS \"@rx x\" \"id:11,phase:2,pass,nolog,setvar:tx.a=+%{tx.b},setvar:tx.seen_%{MATCHED_VAR_NAME}=1\"\n\
        SecRule TX:a \"@eq 15\" \"id:12,phase:2,pass,msg:'%{tx.a} %{tx.c} %{tx.seen_args:p}'\"\n\
        SecRule TX:/^seen_/ \"@eq 1\" \"id:13,phase:2,pass,logdata:'%{MATCHED_VAR_NAME}'\"\n\
        SecRule &TX:/^seen_/ \"@eq 2\" \"id:14,phase:2,pass\"\n\
        SecAction \"id:15,phase:2,pass,nolog,setvar:!tx.a,setvar:tx.b=-2\"\n\
        SecRule &TX:a \"@eq 0\" \"id:16,phase:2,pass,chain\"\n\
        SecRule TX:b \"@eq 3\" \"t:none\"";
    let (_, findings) = run(rules, &get("/?p=x1&q=x2&r=y"));
    let ids: Vec<u64> = findings.iter().map(|finding| finding.rule).collect();
    assert_eq!(ids, [12, 13, 14, 16]);
    assert_eq!(findings[0].message, "15 x y 1");
    assert_eq!(findings[1].data, "TX:seen_args:q");
    check(rules, &get("/?r=y"), &[16]);
}

#[test]
fn rules_are_skipped() {
    let rules = |gate: &str| {
        format!(
            "{gate}\nSecRule ARGS \"@rx x\" \"id:11,phase:2,pass\"\nSecRule ARGS \"@rx x\" \"id:12,phase:2,pass\"\n\
             SecMarker THERE\nSecRule ARGS \"@rx x\" \"id:13,phase:2,pass\""
        )
    };
    let case = get("/?a=x");
    let gate = |test: &str, action: &str| {
        rules(&format!(
            "SecRule {test} \"id:10,phase:2,pass,nolog,{action}\""
        ))
    };
    check(&gate("ARGS \"@rx x\"", "skipAfter:THERE"), &case, &[13]);
    check(
        &gate("ARGS \"@rx y\"", "skipAfter:THERE"),
        &case,
        &[11, 12, 13],
    );
    check(&gate("ARGS \"@rx x\"", "skip:1"), &case, &[12, 13]);
    // Known beforehand: what is skipped is not even there.
    check(
        &gate("&TX:level \"@eq 0\"", "skipAfter:THERE"),
        &case,
        &[13],
    );
    check(
        &gate("&TX:level \"@eq 1\"", "skipAfter:THERE"),
        &case,
        &[11, 12, 13],
    );
    let other_phase = rules("SecRule ARGS \"@rx x\" \"id:10,phase:1,pass,nolog,skipAfter:THERE\"");
    check(&other_phase, &case, &[11, 12, 13]);
}

#[test]
fn gates_are_decided_before() {
    let rules = |level: u8| {
        format!(
            "SecAction \"id:10,phase:1,pass,nolog,setvar:tx.level={level}\"\n\
             SecRule &TX:own \"@eq 0\" \"id:11,phase:1,pass,nolog,setvar:tx.own=%{{tx.level}}\"\n\
             SecRule TX:own \"@lt 2\" \"id:12,phase:2,pass,nolog,skipAfter:END\"\n\
             SecRule ARGS \"@rx x\" \"id:13,phase:2,pass\"\nSecMarker END\n\
             SecRule ARGS \"@rx x\" \"id:14,phase:2,pass\""
        )
    };
    check(&rules(1), &get("/?a=x"), &[14]);
    check(&rules(2), &get("/?a=x"), &[13, 14]);
    assert_eq!(engine(&rules(1), Screening::Prefiltered).folded(), 4);
    assert_eq!(engine(&rules(2), Screening::Prefiltered).folded(), 3);
}

#[test]
fn what_depends_on_the_request_is_not_decided_before() {
    let rules = "SecRule ARGS:up \"@eq 1\" \"id:10,phase:1,pass,nolog,setvar:tx.level=2\"\n\
        SecRule TX:level \"@ge 2\" \"id:11,phase:2,pass\"\n\
        SecRule REQUEST_HEADERS:Off \"@eq 1\" \"id:12,phase:1,pass,nolog,ctl:ruleRemoveById=13\"\n\
        SecRule &TX:none \"@eq 0\" \"id:13,phase:2,pass,nolog,skipAfter:END\"\n\
        SecRule ARGS \"@rx 1\" \"id:14,phase:2,pass\"\nSecMarker END";
    check(rules, &get("/?up=1"), &[11]);
    check(rules, &get("/?up=0"), &[]);
    let off = Case {
        fields: &[("Off", "1")],
        ..get("/?up=1")
    };
    check(rules, &off, &[11, 14]);
}

#[test]
fn a_variable_is_not_set_before_its_time() {
    let rules = "SecRule &TX:late \"@eq 0\" \"id:10,phase:1,pass,msg:'early'\"\n\
        SecAction \"id:11,phase:1,pass,nolog,setvar:tx.late=1\"\n\
        SecRule TX:late \"@eq 1\" \"id:12,phase:1,pass\"";
    check(rules, &PLAIN, &[10, 12]);
    // A rule that reads all keys sees those that are set, and no others.
    let rules = "SecRule REQUEST_METHOD \"@streq GET\" \"id:10,phase:1,pass,nolog,setvar:tx.n=1\"\n\
        SecRule &TX:/^late/ \"@eq 0\" \"id:11,phase:1,pass\"\n\
        SecAction \"id:12,phase:1,pass,nolog,setvar:tx.late=1\"\n\
        SecRule &TX:/^late/ \"@eq 1\" \"id:13,phase:1,pass\"";
    check(rules, &PLAIN, &[11, 13]);
}

#[test]
fn controls_change_what_follows() {
    let rules = |control: &str| {
        format!(
            "SecRule ARGS:off \"@eq 1\" \"id:10,phase:1,pass,nolog,ctl:{control}\"\n\
             SecRule ARGS \"@rx x\" \"id:11,phase:2,pass,tag:'one/two'\"\n\
             SecRule ARGS \"@rx x\" \"id:12,phase:2,pass,msg:'three'\""
        )
    };
    let (on, off) = (get("/?a=x"), get("/?a=x&off=1"));
    for (control, left) in [
        ("ruleRemoveById=11", &[12][..]),
        ("ruleRemoveById=11-12", &[]),
        ("ruleRemoveByTag=one", &[12]),
        ("ruleRemoveTargetById=11;ARGS:a", &[12]),
        ("ruleRemoveTargetById=11;ARGS:b", &[11, 12]),
        ("ruleRemoveTargetByTag=two;ARGS", &[12]),
        ("ruleEngine=Off", &[]),
    ] {
        check(&rules(control), &on, &[11, 12]);
        check(&rules(control), &off, left);
    }
}

#[test]
fn directives_change_what_came_before() {
    let rules = "SecRule ARGS \"@rx x\" \"id:11,phase:2,pass,tag:'one',msg:'m1'\"\n\
        SecRule ARGS_NAMES \"@rx x\" \"id:12,phase:2,pass,tag:'one two',msg:'m2'\"";
    let case = get("/?a=x&x=y");
    let with = |more: &str, expected: &[u64]| check(&format!("{rules}\n{more}"), &case, expected);
    with("", &[11, 12]);
    with("SecRuleRemoveById 12", &[11]);
    with("SecRuleRemoveByTag two", &[11]);
    with("SecRuleRemoveByMsg m1", &[12]);
    with("SecRuleUpdateTargetById 11 \"!ARGS:a\"", &[12]);
    with("SecRuleUpdateTargetByTag one \"!ARGS:a\"", &[12]);
    with("SecRuleUpdateTargetById 12 \"!ARGS_NAMES:/^X$/\"", &[11]);
    with("SecRuleUpdateActionById 11 \"nolog\"", &[12]);
    with("SecRuleEngine Off", &[]);
}

#[test]
fn verdicts_end_a_request() {
    let rules = "SecDefaultAction \"phase:2,deny,log,status:418\"\n\
        SecRule ARGS:a \"@rx ^block\" \"id:10,phase:2,block,tag:'anomaly-evaluation',msg:'%{MATCHED_VAR}'\"\n\
        SecRule ARGS:a \"@rx ^deny\" \"id:11,phase:1,deny,status:406,tag:'fortress/body'\"\n\
        SecRule ARGS:a \"@rx ^go\" \"id:12,phase:2,redirect:'https://x.example/%{ARGS.a}'\"\n\
        SecRule ARGS:a \"@rx ^let\" \"id:13,phase:2,allow\"\n\
        SecRule ARGS:a \"@rx .\" \"id:14,phase:2,pass\"\n\
        SecAction \"id:15,phase:5,pass\"";
    let refused = |target: &str| match run(rules, &get(target)) {
        (Verdict::Refuse(refusal), findings) => {
            let ids: Vec<u64> = findings.iter().map(|finding| finding.rule).collect();
            assert_eq!(ids.last(), Some(&15), "phase 5 runs in any case");
            (
                refusal.rule,
                refusal.status,
                refusal.kind,
                refusal.location,
                refusal.message,
            )
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(
        refused("/?a=block%20me"),
        (10, 418, RefusalKind::Score, None, "block me".to_owned())
    );
    assert_eq!(
        refused("/?a=deny"),
        (11, 406, RefusalKind::Body, None, String::new())
    );
    let (rule, _, kind, location, _) = refused("/?a=go");
    assert_eq!((rule, kind), (12, RefusalKind::Rule));
    assert_eq!(location.as_deref(), Some("https://x.example/go"));
    check(rules, &get("/?a=let"), &[13, 15]);
    check(rules, &get("/?a=other"), &[14, 15]);
    let detect = format!("{rules}\nSecRuleEngine DetectionOnly");
    check(&detect, &get("/?a=block"), &[10, 14, 15]);
}

#[test]
fn bodies_are_read_as_they_say() {
    let rules = "SecRule ARGS_POST:a \"@streq x y\" \"id:10,phase:2,pass\"\n\
        SecRule REQUEST_BODY \"@contains a=x\" \"id:11,phase:2,pass\"\n\
        SecRule ARGS:json.a.0 \"@streq x\" \"id:12,phase:2,pass\"\n\
        SecRule REQBODY_ERROR \"@eq 1\" \"id:13,phase:2,pass,msg:'%{REQBODY_ERROR_MSG}'\"\n\
        SecRule REQBODY_PROCESSOR \"@streq JSON\" \"id:14,phase:2,pass\"\n\
        SecRule FILES:f \"@streq n.txt\" \"id:15,phase:2,pass\"\n\
        SecRule FILES_SIZES:f \"@eq 4\" \"id:16,phase:2,pass\"\n\
        SecRule REQUEST_BODY_LENGTH \"@gt 1000\" \"id:17,phase:2,pass\"";
    check(rules, &post(FORM, "a=x+y"), &[10, 11]);
    check(rules, &post(JSON, "{\"a\":[\"x\"]}"), &[12, 14]);
    check(rules, &post(JSON, "{\"a\":"), &[13, 14]);
    check(
        rules,
        &post(&[("Content-Type", "text/plain")], "a=x y"),
        &[],
    );
    let parts = "--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"n.txt\"\r\n\r\n1234\r\n--B--\r\n";
    let multipart = [("Content-Type", "multipart/form-data; boundary=B")];
    check(rules, &post(&multipart, parts), &[15, 16]);
    let forced =
        format!("SecAction \"id:9,phase:1,pass,nolog,ctl:forceRequestBodyVariable=On\"\n{rules}");
    check(&forced, &post(&[], "a=x y"), &[11]);
}

#[test]
fn answers_are_looked_at() {
    let rules = "SecRule RESPONSE_STATUS \"@eq 500\" \"id:10,phase:3,pass\"\n\
        SecRule RESPONSE_HEADERS:X-Power \"@streq php\" \"id:11,phase:3,pass\"\n\
        SecRule RESPONSE_BODY \"@rx SQL\\s+error\" \"id:12,phase:4,deny,status:502,capture,logdata:'%{TX.0}'\"\n\
        SecRule RESPONSE_HEADERS_NAMES \"@streq X-Power\" \"id:13,phase:3,pass\"";
    let answer = |status, fields, body| Case {
        answer: Some((status, fields, body)),
        ..PLAIN
    };
    check(
        rules,
        &answer(200, &[("X-Power", "php")], b"fine"),
        &[11, 13],
    );
    check(rules, &answer(500, &[], b"fine"), &[10]);
    let (verdict, findings) = run(rules, &answer(200, &[], b"a SQL  error"));
    assert!(
        matches!(verdict, Verdict::Refuse(refusal) if refusal.rule == 12 && refusal.status == 502)
    );
    assert_eq!(findings[0].data, "SQL  error");
}

#[test]
fn work_is_bounded() {
    let rules = "SecRule ARGS \"@rx (?i)union.+select\" \"id:10,phase:2,deny\"";
    let long = format!("/?q={}", "union ".repeat(2_000).replace(' ', "+"));
    let case = Case {
        budget: 10_000,
        ..get(&long)
    };
    assert_eq!(run(rules, &case).0, Verdict::Exhausted);
    let case = Case {
        budget: 1_000_000,
        ..case
    };
    assert_eq!(run(rules, &case).0, Verdict::Pass);
}

#[test]
fn phrases_may_hold_bytes() {
    rule(r#"ARGS:q "@pm A|42 43|D""#, &get("/?q=xaBcdx"), true);
    rule(r#"ARGS:q "@pm |66|oo |7c|""#, &get("/?q=a%7Cb"), true);
    rule(r#"ARGS:q "@pm a|20|b""#, &get("/?q=a%20b"), true);
    rule(r#"ARGS:q "@pm a|20|b""#, &get("/?q=ab"), false);
    rule(r#"ARGS:q "@pm |00ff|""#, &get("/?q=%00%FF"), true);
    rule(r#"ARGS:q "@pm |41 42|""#, &get("/?q=|41"), false);
}

#[test]
fn proven_values_are_passed_over_by_rules_that_look_for_attacks() {
    let rules = "SecRule ARGS \"@rx 7\" \"id:10,phase:2,pass,tag:'attack-x'\"\n\
        SecRule ARGS \"@rx 7\" \"id:11,phase:2,pass\"";
    let proven = |target| Case {
        proven: &["n"],
        ..get(target)
    };
    check(rules, &get("/?n=7"), &[10, 11]);
    check(rules, &proven("/?n=7"), &[11]);
    // Which of the two was checked is not known here.
    check(rules, &proven("/?n=7&n=7"), &[10, 11]);
    check(rules, &proven("/?n=1&m=7"), &[10, 11]);
    let engine = engine(rules, Screening::Prefiltered);
    let (_, _, transaction) = through(&engine, Box::default(), &proven("/?n=7&m=7"));
    assert_eq!(transaction.proven(), 1);
    let (mut desk, memory) = (Desk::default(), Box::default());
    let mut transaction = Transaction::new(engine, memory, &opening(u64::MAX));
    transaction.request_line(b"POST", b"/", b"HTTP/1.1");
    transaction.request_field(b"content-type", b"application/json");
    assert_eq!(transaction.request_head(&mut desk), Verdict::Pass);
    transaction.prove_body(5, 8);
    assert_eq!(
        transaction.request_body(&mut desk, Bytes::from_static(b"{\"a\":777,\"b\":\"7\"}")),
        Verdict::Pass
    );
    let places: Vec<&str> = transaction.findings()[0]
        .matched
        .iter()
        .map(|matched| matched.variable.as_str())
        .collect();
    assert_eq!(places, ["ARGS:json.b"]);
}

#[test]
fn collections_outlive_transactions() {
    let rules = "SecAction \"id:10,phase:1,pass,nolog,initcol:ip=%{REMOTE_ADDR}\"\n\
        SecAction \"id:11,phase:1,pass,nolog,setvar:ip.count=+1\"\n\
        SecRule IP:count \"@ge 2\" \"id:12,phase:1,pass,msg:'%{ip.count}'\"";
    let engine = engine(rules, Screening::Prefiltered);
    let (_, findings, first) = through(&engine, Box::default(), &PLAIN);
    assert!(findings.is_empty());
    let (_, findings, _) = through(&engine, first.into_memory(), &PLAIN);
    assert_eq!(findings[0].message, "2");
}

#[test]
fn findings_tell_where_and_after_what() {
    let rules = "SecRule ARGS \"@rx <b\" \"id:10,phase:2,pass,t:none,t:urlDecodeUni,t:lowercase,severity:CRITICAL,\
        tag:'t1',tag:'t2',ver:'v',msg:'found',setvar:tx.inbound_anomaly_score_pl1=+5\"";
    let (_, findings) = run(rules, &get("/?q=%253CB&r=%3Cb"));
    let finding = &findings[0];
    assert_eq!(
        (finding.rule, finding.score, finding.severity),
        (10, 10, Some(2))
    );
    assert_eq!((finding.tags.len(), finding.version.as_str()), (2, "v"));
    let told: Vec<(&str, &[u8], usize)> = finding
        .matched
        .iter()
        .map(|matched| {
            let name = matched.variable.as_str();
            (
                name,
                matched.value.as_slice(),
                matched.transformations.len(),
            )
        })
        .collect();
    assert_eq!(told, [("ARGS:q", &b"<b"[..], 2), ("ARGS:r", b"<b", 2)]);
}

#[test]
fn patterns_beyond_linear_time_are_bounded() {
    let case = get("/?a=one%20one&b=one%20two&c=%3C%3Fphp&d=%3C%3Fxml%20");
    for (test, matches) in [
        (r#"ARGS:a "@rx (\w+) \1""#, true),
        (r#"ARGS:b "@rx (\w+) \1""#, false),
        (r#"ARGS:c "@rx <\?(?!xml\s)""#, true),
        (r#"ARGS:d "@rx <\?(?!xml\s)""#, false),
        (r#"ARGS:a "!@rx ^(?>o+)ne""#, false),
        (r#"ARGS:b "!@rx ^(?>one)$""#, true),
    ] {
        rule(test, &case, matches);
    }
    let rules = r#"SecRule ARGS "@rx ^(a|aa)+\1b" "id:10,phase:2,deny""#;
    let long = format!("/?a={}!", "a".repeat(60));
    let (verdict, _) = run(rules, &get(&long));
    assert_eq!(verdict, Verdict::Exhausted);
}

#[track_caller]
fn mistaken(rules: &str, expected: &str) {
    let ruleset = Ruleset::parse("x.conf", rules, &mut NoFiles).unwrap();
    let mistakes = Engine::compile(&ruleset, Screening::Prefiltered).unwrap_err();
    let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|told| told.contains(expected)), "{told:?}");
}

#[test]
fn mistakes_that_only_compiling_shows() {
    mistaken(
        "SecRule ARGS \"@rx (\" \"id:1,phase:2,pass\"",
        "x.conf:1: `@rx`: the pattern",
    );
    // What is too large is found out when it is loaded, not when it is asked.
    mistaken(
        "SecRule ARGS \"@rx (?:[ab]{1000}){1000}\" \"id:1,phase:2,pass\"",
        "x.conf:1: `@rx`: the pattern",
    );
    // So it is where a rule would never run.
    mistaken(
        "SecAction \"id:2,phase:2,pass,skipAfter:END\"\n\
         SecRule ARGS \"@rx (\" \"id:1,phase:2,pass\"\nSecMarker END",
        "x.conf:2: `@rx`: the pattern",
    );
    mistaken(
        "\nSecRule ARGS \"@rx (?=\\ha)\" \"id:1,phase:2,pass\"",
        "x.conf:2: `@rx`: a look-around",
    );
    mistaken(
        "SecRule ARGS:/(/ \"@rx a\" \"id:1,phase:2,pass\"",
        "the selector of `ARGS`",
    );
    mistaken(
        "SecRule ARGS \"@ipMatch 1.2.3\" \"id:1,phase:2,pass\"",
        "`@ipMatch`: `1.2.3` is no IP",
    );
    for wrong in ["a|4", "|4|", "|4x|", "|41 4|"] {
        let rule = format!("SecRule ARGS \"@pm {wrong}\" \"id:1,phase:2,pass\"");
        mistaken(&rule, "pairs of hexadecimal digits");
    }
    mistaken(
        "SecRule ARGS \"@validateByteRange 300\" \"id:1,phase:2,pass\"",
        "`@validateByteRange`",
    );
    mistaken(
        "SecAction \"id:1,phase:1,pass,ctl:ruleRemoveByTag=(\"",
        "`ctl`: `(` is no regular",
    );
}

#[test]
fn transactions_take_turns_at_a_desk() {
    let rules = "SecRule ARGS \"@rx ^attack$\" \"id:10,phase:1,pass,t:urlDecodeUni,t:lowercase\"\n\
        SecRule ARGS \"@rx ^attack$\" \"id:11,phase:2,pass,t:urlDecodeUni,t:lowercase\"";
    let engine = engine(rules, Screening::Prefiltered);
    let begin = |target: &str| {
        let mut transaction =
            Transaction::new(Arc::clone(&engine), Box::default(), &opening(u64::MAX));
        transaction.request_line(b"GET", target.as_bytes(), b"HTTP/1.1");
        transaction
    };
    // Their texts lie at the same places of their memories.
    let (mut one, mut other) = (begin("/?a=%2541ttack"), begin("/?a=%2542ttack"));
    let (mut desk, mut second) = (Desk::default(), Desk::default());
    assert_eq!(one.request_head(&mut desk), Verdict::Pass);
    assert_eq!(other.request_head(&mut desk), Verdict::Pass);
    assert_eq!(one.request_body(&mut second, Bytes::new()), Verdict::Pass);
    assert_eq!(other.request_body(&mut desk, Bytes::new()), Verdict::Pass);
    let rules = |of: &Transaction| {
        of.findings()
            .iter()
            .map(|found| found.rule)
            .collect::<Vec<_>>()
    };
    assert_eq!(rules(&one), [10, 11]);
    assert!(rules(&other).is_empty());
}
