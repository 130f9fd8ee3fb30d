//! Bodies over a limit, and large values.

use super::{
    super::{Limit, TooLarge},
    *,
};

#[test]
fn bodies_over_the_limit_are_refused() {
    let form = post(FORM, "a=evil&b=2345678901234567890");
    let within = "SecRequestBodyLimit 28\n";
    let rules = "SecRule ARGS:a \"@streq evil\" \"id:10,phase:2,pass\"\n\
        SecRule INBOUND_DATA_ERROR \"@eq 1\" \"id:11,phase:2,pass\"";
    check(&format!("{within}{rules}"), &form, &[10]);
    let over = format!("SecRequestBodyLimit 27\n{rules}");
    let refused = |limit, most, length| {
        Verdict::TooLarge(TooLarge {
            limit,
            most,
            length,
        })
    };
    let (verdict, findings) = run(&over, &form);
    assert_eq!(verdict, refused(Limit::Request, 27, 28));
    assert!(findings.is_empty());
    // Without access there is no body to refuse.
    let blind = format!("SecRequestBodyAccess Off\n{over}");
    check(&blind, &form, &[]);
    let partial = format!("SecRequestBodyLimitAction ProcessPartial\n{over}");
    check(&partial, &form, &[10, 11]);
    let cut = partial.replace("Limit 27", "Limit 5");
    check(&cut, &form, &[11]);
}

#[test]
fn rules_that_only_tell_refuse_no_body() {
    let rules = "SecRuleEngine DetectionOnly\nSecRequestBodyLimit 5\nSecResponseBodyLimit 5\n\
        SecResponseBodyMimeType text/plain\n\
        SecRule INBOUND_DATA_ERROR \"@eq 1\" \"id:11,phase:2,deny\"\n\
        SecRule OUTBOUND_DATA_ERROR \"@eq 1\" \"id:12,phase:4,deny\"";
    let case = Case {
        answer: Some((200, &[("Content-Type", "text/plain")], b"long answer")),
        ..post(FORM, "a=123456")
    };
    check(rules, &case, &[11, 12]);
    let engine = engine(rules, Screening::Prefiltered);
    let (verdict, _, transaction) = through(&engine, Box::default(), &case);
    assert_eq!(verdict, Verdict::Pass);
    let told = transaction
        .too_large()
        .map(|body| (body.limit, body.length));
    assert_eq!(told, Some((Limit::Response, 11)));
}

#[test]
fn files_do_not_count_for_the_limit_without_them() {
    let fields: &[(&str, &str)] = &[("Content-Type", "multipart/form-data; boundary=b")];
    let body = "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"\r\n\r\n0123456789\r\n--b--\r\n";
    let rest = body.len() - 10;
    let limited = |limit: usize| format!("SecRequestBodyNoFilesLimit {limit}\n");
    check(&limited(rest), &post(fields, body), &[]);
    let (verdict, _) = run(&limited(rest - 1), &post(fields, body));
    assert!(
        matches!(verdict, Verdict::TooLarge(body) if body.limit == Limit::WithoutFiles && body.length == u64::try_from(rest).unwrap())
    );
}

#[test]
fn answers_over_the_limit_are_refused() {
    let fields: &[(&str, &str)] = &[("Content-Type", "text/plain")];
    let rules = "SecResponseBodyMimeType text/plain\nSecResponseBodyLimit 5\n\
        SecRule RESPONSE_BODY \"@contains leak\" \"id:10,phase:4,pass\"\n\
        SecRule OUTBOUND_DATA_ERROR \"@eq 1\" \"id:11,phase:4,pass\"";
    let answered = |body| Case {
        answer: Some((200, fields, body)),
        ..PLAIN
    };
    check(rules, &answered(b"leak!"), &[10]);
    let (verdict, findings) = run(rules, &answered(b"leaked"));
    assert!(
        matches!(verdict, Verdict::TooLarge(body) if body.limit == Limit::Response && body.most == 5)
    );
    assert!(findings.is_empty());
    let partial = format!("SecResponseBodyLimitAction ProcessPartial\n{rules}");
    check(&partial, &answered(b"leaked"), &[10, 11]);
    check(&partial, &answered(b"a leak"), &[11]);
}

#[test]
fn large_values_are_looked_at_after_each_chain() {
    let filler = "plain+words+".repeat(8_000);
    let tail = "%2555nion%252f%252a%252a%252fselect%26lt%3bb%26gt%3b";
    let body = format!("a={filler}{tail}&b={filler}");
    let rules: Vec<String> = [
        "@rx union/\\*\\*/select\" \"id:10,t:urlDecodeUni,t:lowercase",
        "@rx unionselect\" \"id:11,t:urlDecodeUni,t:removeCommentsChar,t:lowercase",
        "@rx select<b>\" \"id:12,t:htmlEntityDecode",
        "@rx union/\\*\\*/select<b>\" \"id:13,t:htmlEntityDecode,t:urlDecodeUni,t:lowercase",
        "@rx plainwordsplain\" \"id:14,t:removeWhitespace",
        "@rx union\" \"id:15",
        "@rx union\" \"id:16,t:htmlEntityDecode,t:removeWhitespace",
        "@rx union\" \"id:17,multiMatch,t:removeWhitespace,t:urlDecodeUni,t:lowercase",
        "@rx (?i)plain words\" \"id:18,multiMatch,t:removeWhitespace",
        "@pm nion%2f\" \"id:19,t:compressWhitespace",
        "@rx ^[0-9a-f]{40}$\" \"id:20,t:sha1,t:hexEncode",
        "@gt 96000\" \"id:21,t:length",
        "@rx \\.\\.\" \"id:22,t:normalizePath",
    ]
    .iter()
    .map(|rule| format!("SecRule ARGS \"{rule},phase:2,pass\""))
    .collect();
    let expected = [10, 11, 12, 13, 14, 17, 18, 19, 20, 21];
    check(&rules.join("\n"), &post(FORM, &body), &expected);
}
