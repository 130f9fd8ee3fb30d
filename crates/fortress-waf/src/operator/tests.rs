//! What the operators accept, and what they refuse.

use super::*;
use crate::ByteSet;

#[test]
fn numbers() {
    #[track_caller]
    fn check(value: &str, expected: i64) {
        assert_eq!(number(value.as_bytes()), expected, "{value:?}");
    }
    check("12", 12);
    check(" \t\n\u{b}\r12", 12);
    check("+12", 12);
    check("-12abc", -12);
    check("012", 12);
    check("12.5", 12);
    check("", 0);
    check("abc", 0);
    check("- 12", 0);
    check("+-12", 0);
    check(&"\u{b}".repeat(1 << 20), 0);
    check("0x12", 0);
    check("99999999999999999999", i64::MAX);
    check("-99999999999999999999", i64::MIN);
    check("9223372036854775807", i64::MAX);
    check("-9223372036854775808", i64::MIN);
}

#[test]
fn texts() {
    #[track_caller]
    fn check(operator: fn(&[u8], &[u8]) -> bool, argument: &str, yes: &[&str], no: &[&str]) {
        for value in yes {
            assert!(operator(value.as_bytes(), argument.as_bytes()), "{value:?}");
        }
        for value in no {
            assert!(
                !operator(value.as_bytes(), argument.as_bytes()),
                "{value:?}"
            );
        }
    }
    check(contains, "foo", &["foo", "xfoox"], &["", "fo", "FOO"]);
    check(contains, "", &["", "x"], &[]);
    // Short texts and long ones are searched in other ways.
    for length in [1, 63, 64, 65, 300, 512, 513, 2_000] {
        let before = "/content-type/ ".repeat(length);
        for length in [length, length / 2] {
            let text = format!("{}/x-Accept/", before.get(..length).unwrap());
            for part in ["/x-Accept/", "/x", "Accept", "t/", "/"] {
                assert!(
                    contains(text.as_bytes(), part.as_bytes()),
                    "{length} {part}"
                );
            }
            for part in ["/x-accept/", "xA", "/x-Accept//", "\0"] {
                assert!(
                    !contains(text.as_bytes(), part.as_bytes()),
                    "{length} {part}"
                );
            }
        }
    }
    check(begins_with, "ab", &["ab", "abc"], &["", "xab", "AB"]);
    check(ends_with, "ab", &["ab", "cab"], &["", "abx", "AB"]);
    check(
        within,
        "GET,POST",
        &["GET", "GE", "T,P", ""],
        &["PUT", "get", "GET,POST,"],
    );
    check(
        contains_word,
        "foo",
        &[
            "foo",
            "a foo b",
            "foo-bar",
            "foo_",
            "1foo1",
            "xfoo foo",
            "\u{e9}foo\u{e9}",
        ],
        &["", "xfoo", "foox", "fo o", "FOO"],
    );
    check(contains_word, "a a", &["xa a a"], &["xa a ax"]);
    check(contains_word, "", &["", "x"], &[]);
}

#[test]
fn networks() {
    #[track_caller]
    fn check(networks: &str, yes: &[&str], no: &[&str]) {
        let networks = IpNetworks::parse(networks).unwrap();
        for value in yes {
            assert!(networks.contains_text(value.as_bytes()), "{value:?}");
        }
        for value in no {
            assert!(!networks.contains_text(value.as_bytes()), "{value:?}");
        }
    }
    check(
        "10.0.0.0/8",
        &["10.0.0.0", "10.255.255.255"],
        &["9.255.255.255", "11.0.0.0"],
    );
    check(
        "10.0.0.1",
        &["10.0.0.1", "::ffff:10.0.0.1"],
        &["10.0.0.2", "::a00:1"],
    );
    check(
        "192.168.1.5/24",
        &["192.168.1.0", "192.168.1.77"],
        &["192.168.2.5"],
    );
    check("0.0.0.0/0", &["1.2.3.4"], &["2001:db8::1"]);
    check("::/0", &["2001:db8::1"], &["1.2.3.4"]);
    check("2001:db8::/32", &["2001:db8:ffff::1"], &["2001:db9::"]);
    check(
        "::ffff:10.0.0.0/104",
        &["10.1.2.3", "::ffff:10.1.2.3"],
        &["11.1.2.3"],
    );
    check(
        "10.0.0.0/8, 10.1.0.0/16,192.0.2.1,,2001:db8::1",
        &["10.1.0.1", "10.2.0.1", "192.0.2.1", "2001:db8::1"],
        &["192.0.2.2", "2001:db8::2"],
    );
    check(
        "10.0.0.1",
        &[],
        &[
            "",
            "abc",
            " 10.0.0.1",
            "10.0.0.1 ",
            "10.0.0.1/32",
            "10.0.0.01",
            "\u{ff11}0.0.0.1",
        ],
    );

    let lines = [b"192.0.2.0/24".to_vec(), b"2001:db8::/64,10.0.0.1".to_vec()];
    let networks = IpNetworks::from_lines(&lines).unwrap();
    assert!(networks.contains_text(b"10.0.0.1") && networks.contains_text(b"192.0.2.9"));
    assert!(!networks.contains_text(b"10.0.0.2"));
    assert!(
        !IpNetworks::from_lines(&[])
            .unwrap()
            .contains_text(b"10.0.0.2")
    );
    assert!(IpNetworks::from_lines(&[b"\xff".to_vec()]).is_err());
}

#[test]
fn networks_that_are_none() {
    #[track_caller]
    fn check(networks: &str, expected: &str) {
        assert_eq!(
            IpNetworks::parse(networks).unwrap_err().to_string(),
            expected
        );
    }
    let write = "write it as `192.0.2.1`, `192.0.2.0/24` or `2001:db8::/32`";
    check("10.0.0", &format!("`10.0.0` is no IP address; {write}"));
    check("10.0.0.1,x", &format!("`x` is no IP address; {write}"));
    check(
        "10.0.0.1 10.0.0.2",
        &format!("`10.0.0.1 10.0.0.2` is no IP address; {write}"),
    );
    let v4 = "has no prefix that fits; an address of this kind has 32 bits";
    check("10.0.0.0/33", &format!("`10.0.0.0/33` {v4}"));
    check("10.0.0.0/", &format!("`10.0.0.0/` {v4}"));
    check("10.0.0.0/+8", &format!("`10.0.0.0/+8` {v4}"));
    check("10.0.0.0/255.0.0.0", &format!("`10.0.0.0/255.0.0.0` {v4}"));
    check(
        "::/129",
        "`::/129` has no prefix that fits; an address of this kind has 128 bits",
    );
    check(
        " ,",
        "no network is named; write addresses, divided by commas",
    );
}

#[test]
fn ranges_of_bytes() {
    let ranges = ByteRanges::parse("32-36,38-126, 9").unwrap();
    assert!(!ranges.refuses(b"a\tb~"));
    assert!(!ranges.refuses(b""));
    assert!(ranges.refuses(b"50%"));
    assert!(ranges.refuses(b"a\x7f"));
    assert_eq!(
        ranges.allowed(),
        ByteSet::range(32, 126).minus(ByteSet::of(b"%")).with(9)
    );
    assert!(ByteRanges::parse("1-255").unwrap().refuses(b"a\0"));
    assert!(!ByteRanges::parse("0-255").unwrap().refuses(b"a\0\xff"));

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        let error = ByteRanges::parse(text).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    refused("1-256", "`1-256` is no byte and no range");
    refused("10,x", "`x` is no byte and no range");
    refused("", "`` is no byte and no range");
    refused("1-2-3", "`1-2-3` is no byte and no range");
    refused("+1", "`+1` is no byte and no range");
    refused("10-5", "`10-5` ends before it begins");
}

#[test]
fn encodings() {
    for valid in ["", "%41", "a%41%fF+", "100"] {
        assert!(is_url_encoded(valid.as_bytes()), "{valid:?}");
    }
    for invalid in ["%", "%4", "%zz", "%4g", "a%41%", "%u0041", "%%41"] {
        assert!(!is_url_encoded(invalid.as_bytes()), "{invalid:?}");
    }
    for valid in [
        "",
        "abc",
        "a\0b",
        "\u{e9}",
        "\u{ffff}",
        "\u{1f600}",
        "\u{10ffff}",
    ] {
        assert!(is_utf8(valid.as_bytes()), "{valid:?}");
    }
    let overlong: [&[u8]; 3] = [b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf"];
    let surrogate: [&[u8]; 2] = [b"\xed\xa0\x80", b"\xed\xbf\xbf"];
    let beyond: [&[u8]; 2] = [b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80"];
    let cut: [&[u8]; 4] = [b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98a", b"\x80"];
    for invalid in overlong
        .into_iter()
        .chain(surrogate)
        .chain(beyond)
        .chain(cut)
    {
        assert!(!is_utf8(invalid), "{}", invalid.escape_ascii());
    }
}

#[test]
fn identity_numbers() {
    #[track_caller]
    fn check(is: fn(&[u8]) -> bool, yes: &[&str], no: &[&str]) {
        for found in yes {
            assert!(is(found.as_bytes()), "{found:?}");
        }
        for found in no {
            assert!(!is(found.as_bytes()), "{found:?}");
        }
    }
    check(
        is_card_number,
        &[
            "4111111111111111",
            "4111-1111 1111-1111",
            "5500005555555559",
            "378282246310005",
        ],
        &[
            "4111111111111112",
            "5111111111111111",
            "",
            "abc",
            "41111111111111110000",
        ],
    );
    check(
        is_ssn,
        &["078-05-1120", "457555462", "733-12-3456", "899-12-3456"],
        &[
            "000-12-3456",
            "666-12-3456",
            "900-12-3456",
            "078-00-1120",
            "078-05-0000",
            "123-45-6789",
            "333-33-3333",
            "078-05-112",
            "078-05-11201",
            "",
        ],
    );
    check(
        is_cpf,
        &["529.982.247-25", "52998224725", "12345678909"],
        &[
            "529.982.247-26",
            "529.982.247-35",
            "111.111.111-11",
            "5299822472",
            "529982247250",
            "",
            "1",
        ],
    );
    check(
        is_svnr,
        &["1237010180", "1237 010180"],
        &[
            "1237010181",
            "1234010180",
            "0000000000",
            "0237010180",
            "123701018",
            "",
        ],
    );
}
