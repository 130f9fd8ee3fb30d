//! What may not be written, and what is said about it.

use super::mistakes;

/// The only mistake of a text, after its line, which is 1.
#[track_caller]
fn line(text: &str, expected: &str) {
    assert_eq!(mistakes(text.as_bytes()), [format!("1: {expected}")]);
}

#[test]
fn directives() {
    line(
        "SecRul ARGS a id:1",
        "unknown directive `SecRul`; did you mean `SecRule`?",
    );
    line("ARGS", "unknown directive `ARGS`");
    line(
        "<IfModule mod_x.c>",
        "`<IfModule` is a section of Apache's configuration; write its directives without it",
    );
    line(
        "SecRule ARGS",
        "`SecRule`: `SecRule` has variables, an operator and actions, the last two in quotes; there are 1 arguments",
    );
    line(
        "SecRule ARGS @rx a id:1",
        "`SecRule`: `SecRule` has variables, an operator and actions, the last two in quotes; there are 4 arguments",
    );
    line("SecAction", "`SecAction`: 1 argument is expected, not 0");
    line("SecMarker", "`SecMarker`: 1 argument is expected, not 0");
    line("SecMarker ''", "`SecMarker`: a name is missing");
    line(
        "SecRuleEngine Of",
        "`SecRuleEngine`: unknown mode `Of`; did you mean `Off`?",
    );
    line(
        "SecRequestBodyAccess yes",
        "`SecRequestBodyAccess`: unknown value `yes`",
    );
    line(
        "SecRequestBodyLimit 1K",
        "`SecRequestBodyLimit`: `1K` is no number from 0 to 9223372036854775807",
    );
    line(
        "SecRequestBodyLimit -1",
        "`SecRequestBodyLimit`: `-1` is no number from 0 to 9223372036854775807",
    );
    line(
        "SecRequestBodyLimitAction Deny",
        "`SecRequestBodyLimitAction`: unknown value `Deny`",
    );
    line(
        "SecArgumentsLimit 0",
        "`SecArgumentsLimit`: `0` is no number from 1 to 1000000",
    );
    line(
        "SecArgumentSeparator ab",
        "`SecArgumentSeparator`: `ab` is no separator, which is one character such as `&`",
    );
    line(
        "SecCookieFormat 2",
        "`SecCookieFormat`: `2` is no number from 0 to 1",
    );
    line(
        "SecResponseBodyMimeType",
        "`SecResponseBodyMimeType`: a media type is missing",
    );
    line(
        "SecUnicodeMapFile",
        "`SecUnicodeMapFile`: a file and the number of a code page are expected",
    );
    line(
        "SecUnicodeMapFile a b",
        "`SecUnicodeMapFile`: `b` is no number from 0 to 65535",
    );
}

#[test]
fn directives_that_cannot_be_had() {
    line(
        "SecRemoteRules key https://a",
        "`SecRemoteRules`: it is not supported: rules come from files that you have seen",
    );
    line(
        "SecRuleScript a.lua deny",
        "`SecRuleScript`: it is not supported: no script is run",
    );
    line(
        "SecRuleInheritance On",
        "`SecRuleInheritance`: it is not supported: there are no contexts to inherit from; say in the configuration which operation has which rules",
    );
    line(
        "SecGuardianLog |a",
        "`SecGuardianLog`: it is not supported: no program is run",
    );
    line(
        "SecHashEngine On",
        "`SecHashEngine`: only `Off` is supported: links are not signed",
    );
    line(
        "SecXmlExternalEntity On",
        "`SecXmlExternalEntity`: only `Off` is supported: external entities are never read",
    );
}

#[test]
fn directives_that_change_rules() {
    let bounds = "an id is a number from 1 to 9223372036854775807";
    line(
        "SecRuleRemoveById",
        "`SecRuleRemoveById`: a rule's id is missing",
    );
    line(
        "SecRuleRemoveById a",
        &format!("`SecRuleRemoveById`: `a` is no rule's id; {bounds}"),
    );
    line(
        "SecRuleRemoveById 5-1",
        "`SecRuleRemoveById`: the range `5-1` ends before it begins",
    );
    line(
        "SecRuleRemoveByTag a b",
        "`SecRuleRemoveByTag`: 1 argument is expected, not 2",
    );
    line(
        "SecRuleRemoveByTag ''",
        "`SecRuleRemoveByTag`: a tag is missing",
    );
    line(
        "SecRuleUpdateTargetById 1",
        "`SecRuleUpdateTargetById`: 2 or 3 arguments are expected, not 1",
    );
    line(
        "SecRuleUpdateTargetById 1 ARG",
        "unknown variable `ARG`; did you mean `ARGS`?",
    );
    line(
        "SecRuleUpdateTargetById 1 ARGS ARG",
        "unknown variable `ARG`; did you mean `ARGS`?",
    );
    line(
        "SecRuleUpdateActionById 1-2 deny",
        &format!("`SecRuleUpdateActionById`: `1-2` is no rule's id; {bounds}"),
    );
    line(
        "SecRuleUpdateActionById 1 id:2",
        "a rule's id, phase and chain cannot be changed",
    );
    line("SecRuleUpdateActionById 1 ''", "an action is missing");
    line(
        "SecDefaultAction log,pass",
        "`SecDefaultAction`: `SecDefaultAction` needs a phase",
    );
    line(
        "SecDefaultAction phase:1,log",
        "`SecDefaultAction`: `SecDefaultAction` needs a disruptive action such as `pass` or `deny`",
    );
    line(
        "SecDefaultAction phase:1,pass,id:1",
        "an action that belongs to a single rule cannot be a default",
    );
}

/// The only mistake of a rule's targets.
#[track_caller]
fn targets(text: &str, expected: &str) {
    line(&format!("SecRule \"{text}\" x id:1"), expected);
}

#[test]
fn what_is_looked_at() {
    targets("ARG", "unknown variable `ARG`; did you mean `ARGS`?");
    targets(
        "ARGS|REQUEST_HEADER:a",
        "unknown variable `REQUEST_HEADER`; did you mean `REQUEST_HEADERS`?",
    );
    targets(
        "SCRIPT_UID",
        "`SCRIPT_UID` does not exist here: a gateway runs no script of the file system",
    );
    targets("", "a variable is missing");
    targets("ARGS|", "a variable is missing");
    targets("ARGS||FILES", "a variable is missing");
    targets(
        "!ARGS:a",
        "nothing is looked at: every target is taken away by `!`",
    );
    targets(
        "!&ARGS",
        "`!` takes a target away and `&` counts it; only one of them can stand here",
    );
    targets(
        "REQUEST_METHOD:a",
        "`REQUEST_METHOD` has no members, so it takes no selector",
    );
    targets("ARGS:", "a selector is missing after `:`");
    targets(
        "ARGS://",
        "the selector's regular expression is empty; without a selector all members are meant",
    );
    targets(
        "ARGS:/a b/",
        "the regular expression `/a` does not end in `/`; one with `|`, `,` or white space goes into quotes: `'/…/'`",
    );
    targets("ARGS:'a", "the `'` that opens the selector does not close");
    targets(
        "ARGS:'a'b",
        "`b` follows a target; separate targets by `|`, and put a name with white space in `'…'`",
    );
    targets(
        "XML:/a/b",
        "unknown XPath `/a/b`; only `XML:/*`, all texts, and `XML://@*`, all attributes, are supported",
    );
}

/// The only mistake of a rule's operator.
#[track_caller]
fn test(text: &str, expected: &str) {
    line(&format!("SecRule ARGS \"{text}\" id:1"), expected);
}

#[test]
fn what_is_asked() {
    test(
        "@detectSQL",
        "unknown operator `detectSQL`; did you mean `detectSQLi`?",
    );
    test("@begins a", "unknown operator `begins`");
    test("@", "unknown operator ``");
    test(
        "@inspectFile a",
        "the operator `inspectFile` is not supported: it runs a program for each request",
    );
    test("", "`@rx` needs an argument");
    test("!", "`@rx` needs an argument");
    test("@pm ", "`@pm` needs an argument");
    test("@pmFromFile", "`@pmFromFile` needs an argument");
    test(
        "@pmFromFile words.data no.data",
        "cannot read `no.data`: no such file",
    );
    test(
        "@pmFromFile https://a/b",
        "`@pmFromFile` reads files only, not `https://a/b`",
    );
    test("@pm %{tx.words}", "`@pm` takes no macros");
    test("@eq", "`@eq` needs an argument");
    test(
        "@eq one",
        "`one` is no number from -9223372036854775808 to 9223372036854775807",
    );
    test(
        "@eq 9223372036854775808",
        "`9223372036854775808` is no number from -9223372036854775808 to 9223372036854775807",
    );
    test(
        "@detectXSS a",
        "`@detectXSS` takes no argument, but `a` follows",
    );
    test(
        "@within %{txx.a}",
        "unknown variable `txx`; did you mean `TX`?",
    );
    test("@streq %{tx.a", "`}` is missing after `%{`");
    test(
        "@streq %{REQUEST_METHOD.a}",
        "`REQUEST_METHOD` has no members, so it takes no selector",
    );
}

/// The only mistake of a rule's actions.
#[track_caller]
fn actions(text: &str, expected: &str) {
    line(&format!("SecAction \"id:1,{text}\""), expected);
}

#[test]
fn what_a_rule_is() {
    let bounds = "an id is a number from 1 to 9223372036854775807";
    line("SecAction pass", "the rule has no id");
    line("SecRule ARGS a", "the rule has no id");
    line(
        "SecAction id:a",
        &format!("`id`: `a` is no rule's id; {bounds}"),
    );
    line(
        "SecAction id:0",
        &format!("`id`: `0` is no rule's id; {bounds}"),
    );
    line("SecAction id", "`id` needs a value");
    actions("id:2", "the rule has two ids");
    actions("phase:1,phase:2", "the rule has two phases");
    actions("phase:6", "`phase`: unknown phase `6`");
    actions(
        "phase:reqest",
        "`phase`: unknown phase `reqest`; did you mean `request`?",
    );
    actions("severity:8", "`severity`: unknown severity `8`");
    actions(
        "severity:CRITICL",
        "`severity`: unknown severity `CRITICL`; did you mean `CRITICAL`?",
    );
    actions("accuracy:10", "`accuracy`: `10` is no number from 1 to 9");
    actions(
        "t:lowercas",
        "`t`: unknown transformation `lowercas`; did you mean `lowercase`?",
    );
    actions(
        "t:non",
        "`t`: unknown transformation `non`; did you mean `none`?",
    );
    actions("t", "`t` needs a value");
    actions("msg:''", "`msg` needs a value");
    actions(
        "msg:'%{tz.a}'",
        "`msg`: unknown variable `tz`; did you mean `TX`?",
    );
    actions("msg:'a", "the `'` after `msg:` does not close");
    actions(
        "msg:'a' b",
        "`b` follows the action `msg`; separate actions by commas",
    );
    actions("dney", "unknown action `dney`; did you mean `deny`?");
    actions("deny:403", "`deny` takes no value, but has `403`");
    actions(
        "deny status:403",
        "`status:403` follows the action `deny`; separate actions by commas",
    );
    actions("status:99", "`status`: `99` is no number from 100 to 599");
    actions("allow:all", "unknown scope of `allow` `all`");
    actions(
        "exec:/bin/sh",
        "the action `exec` is not supported: no program is run",
    );
    actions(
        "proxy:a",
        "the action `proxy` is not supported: requests go to the upstreams of the configuration only",
    );
    actions("skipAfter:END", "unknown marker `END`");
    actions("skip:0", "`skip`: `0` is no number from 1 to 10000");
    actions(":a", "unknown action ``");
}

#[test]
fn what_is_remembered() {
    actions("setvar:a", "`setvar`: `a` is no `collection.key`");
    actions("setvar:tx.", "`setvar`: a key is missing");
    actions(
        "setvar:tw.a=1",
        "`setvar`: unknown collection `tw`; did you mean `TX`?",
    );
    actions("setvar:args.a=1", "`setvar`: unknown collection `args`");
    actions(
        "setvar:tx.a =1",
        "`setvar`: white space in the key of `tx.a `",
    );
    actions("setvar:tx.a=+", "`setvar`: a number is missing");
    actions(
        "setvar:tx.a=-b",
        "`setvar`: `b` is no number from -9223372036854775808 to 9223372036854775807",
    );
    actions(
        "setvar:tx.a='b'",
        "quotes go around all of a value: `setvar:'…'`",
    );
    actions("expirevar:ip.a", "`expirevar`: `=` and seconds are missing");
    actions(
        "expirevar:ip.a=-1",
        "`expirevar`: `-1` is no number from 0 to 4294967295",
    );
    actions("initcol:tx=a", "`initcol`: unknown collection `tx`");
    actions(
        "initcol:ip",
        "`initcol`: `=` and the collection's key are missing",
    );
    actions("initcol:ip=", "`initcol`: the collection's key is missing");
    actions("setsid", "`setsid` needs a value");
    actions("setenv:=a", "`setenv`: a name is missing");
}

#[test]
fn what_is_changed_for_the_transaction() {
    actions("ctl", "`ctl` needs `name=value`");
    actions("ctl:ruleEngine", "`ctl` needs `name=value`");
    actions(
        "ctl:ruleEngin=On",
        "unknown `ctl` `ruleEngin`; did you mean `ruleEngine`?",
    );
    actions(
        "ctl:ruleEngine=Maybe",
        "`ctl:ruleEngine`: unknown mode `Maybe`",
    );
    actions(
        "ctl:requestBodyProcessor=JSN",
        "`ctl:requestBodyProcessor`: unknown body processor `JSN`; did you mean `JSON`?",
    );
    actions(
        "ctl:ruleRemoveById=",
        "`ctl:ruleRemoveById`: a rule's id is missing",
    );
    actions(
        "ctl:ruleRemoveTargetById=1",
        "`ctl:ruleRemoveTargetById`: `;` and a target are missing",
    );
    actions(
        "ctl:ruleRemoveTargetById=1;ARG:a",
        "`ctl:ruleRemoveTargetById`: unknown variable `ARG`; did you mean `ARGS`?",
    );
    actions(
        "ctl:ruleRemoveTargetById=1;!ARGS:a",
        "`ctl:ruleRemoveTargetById`: a target that is to be removed takes no `!` and no `&`",
    );
    actions(
        "ctl:ruleRemoveTargetById=1;ARGS:a|ARGS:b",
        "`ctl:ruleRemoveTargetById`: `|ARGS:b` follows the target; write one `ctl` for each",
    );
    actions(
        "ctl:hashEngine=On",
        "`ctl:hashEngine`: links are not signed",
    );
    actions(
        "ctl:parseXmlIntoArgs=On",
        "`ctl:parseXmlIntoArgs`: XML is looked at by `XML:/*` and `XML://@*`; it makes no arguments",
    );
}

#[test]
fn chains() {
    let chain =
        |later: &str| mistakes(format!("SecRule ARGS a id:1,phase:1,chain\n{later}").as_bytes());
    const OPEN: &str = "1: `chain` needs another rule to follow";
    const FIRST: &str = "2: what happens is said by the first rule of a chain: disruptive actions and `skip` cannot stand here";
    assert_eq!(chain(""), [OPEN]);
    assert_eq!(chain("SecMarker A"), [OPEN]);
    assert_eq!(
        chain("SecMarker A\nSecRule ARGS b"),
        [OPEN, "3: the rule has no id"]
    );
    assert_eq!(
        chain("SecRule ARGS b id:2"),
        ["2: only the first rule of a chain has an id"]
    );
    assert_eq!(
        chain("SecRule ARGS b phase:2"),
        ["2: the phase differs from that of the chain's first rule"]
    );
    assert_eq!(chain("SecRule ARGS b deny"), [FIRST]);
    assert_eq!(chain("SecRule ARGS b skip:1"), [FIRST]);
    assert_eq!(
        chain("SecRule ARGS b chain"),
        ["2: `chain` needs another rule to follow"]
    );
    // What a mistake hides is not told as another.
    assert_eq!(
        chain("SecRull ARGS b\nSecRule ARGS c\nSecAction pass"),
        [
            "2: unknown directive `SecRull`; did you mean `SecRule`?",
            "4: the rule has no id"
        ]
    );
}

#[test]
fn each_mistake_has_its_line() {
    let text = "SecRule ARG|ARGS:|FLES \\\n  \"@rxx a\" \\\n  \"id:1,\\\n  phase:7,\\\n  dney,t:nne\"\nSecMarkr A";
    assert_eq!(
        mistakes(text.as_bytes()),
        [
            "1: unknown variable `ARG`; did you mean `ARGS`?",
            "1: a selector is missing after `:`",
            "1: unknown variable `FLES`; did you mean `FILES`?",
            "2: unknown operator `rxx`; did you mean `rx`?",
            "4: `phase`: unknown phase `7`",
            "5: unknown action `dney`; did you mean `deny`?",
            "5: `t`: unknown transformation `nne`; did you mean `none`?",
            "6: unknown directive `SecMarkr`; did you mean `SecMarker`?",
        ]
    );
}

#[test]
fn mistakes_are_bounded() {
    let found = mistakes("a\n".repeat(5_000).as_bytes());
    assert_eq!(found.len(), 1_000);
    let found = mistakes(format!("SecAction id:1,{}", "a,".repeat(5_000)).as_bytes());
    assert_eq!(found.len(), 50);
    let found = mistakes(format!("SecAction id:1,{}", "é".repeat(5_000)).as_bytes());
    assert_eq!(found, [format!("1: unknown action `{}…`", "é".repeat(60))]);
}
