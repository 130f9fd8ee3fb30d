//! Mail addresses, host names and URIs.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Which characters a format takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Alphabet {
    Ascii,
    /// The internationalised form: everything beyond ASCII but control characters too.
    Unicode,
}

impl Alphabet {
    fn beyond_ascii(self, character: char) -> bool {
        self == Self::Unicode
            && !character.is_ascii()
            && !character.is_control()
            && !is_private(character)
    }
}

/// Private use and non-characters, which IRIs take in queries only; we take them nowhere.
fn is_private(character: char) -> bool {
    matches!(character, '\u{e000}'..='\u{f8ff}' | '\u{fdd0}'..='\u{fdef}' | '\u{fff0}'..='\u{ffff}' | '\u{f0000}'..)
}

/// `local@domain` (RFC 5321, section 4.1.2; RFC 6531 beyond ASCII).
pub(super) fn email(text: &str, alphabet: Alphabet) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let quoted = local.len() >= 2 && local.starts_with('"') && local.ends_with('"');
    let local_right = if quoted {
        quoted_string(local, alphabet)
    } else {
        local.split('.').all(|atom| {
            !atom.is_empty()
                && atom.chars().all(|next| {
                    next.is_ascii_alphanumeric()
                        || "!#$%&'*+-/=?^_`{|}~".contains(next)
                        || alphabet.beyond_ascii(next)
                })
        })
    };
    local_right && local.len() <= 64 && mail_domain(domain, alphabet)
}

fn quoted_string(text: &str, alphabet: Alphabet) -> bool {
    let inner = text.get(1..text.len() - 1).unwrap_or("");
    let mut characters = inner.chars();
    while let Some(next) = characters.next() {
        let right = match next {
            '\\' => characters
                .next()
                .is_some_and(|next| matches!(next, ' '..='~')),
            '"' => false,
            ' '..='~' => true,
            _ => alphabet.beyond_ascii(next),
        };
        if !right {
            return false;
        }
    }
    true
}

fn mail_domain(domain: &str, alphabet: Alphabet) -> bool {
    if let Some(literal) = domain
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        return match literal.strip_prefix("IPv6:") {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => literal.parse::<Ipv4Addr>().is_ok(),
        };
    }
    match alphabet {
        Alphabet::Ascii => hostname(domain),
        Alphabet::Unicode => idn_hostname(domain),
    }
}

/// Labels of letters, digits and inner hyphens (RFC 1123, section 2.1); A-labels must be of RFC 5890.
pub(super) fn hostname(text: &str) -> bool {
    text.len() <= 253
        && !text.is_empty()
        && text.split('.').all(|label| {
            label_shape(label)
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && hyphens(label)
        })
}

fn label_shape(label: &str) -> bool {
    !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-')
}

/// Two hyphens in the third and fourth place are an A-label's, whose punycode must be valid.
fn hyphens(label: &str) -> bool {
    let lower = label.to_ascii_lowercase();
    if lower.get(2..4) != Some("--") {
        return true;
    }
    lower.strip_prefix("xn--").is_some_and(|encoded| {
        let decoded: Option<String> = idna::punycode::decode_to_string(encoded);
        decoded.is_some_and(|unicode| {
            !unicode.is_ascii()
                && unicode_label(&unicode)
                && idna::punycode::encode_str(&unicode).as_deref() == Some(encoded)
        })
    })
}

/// U-labels and A-labels (RFC 5890), with the contextual rules of RFC 5892, appendix A.
pub(super) fn idn_hostname(text: &str) -> bool {
    let labels: Vec<&str> = text
        .split(['.', '\u{3002}', '\u{ff0e}', '\u{ff61}'])
        .collect();
    let length: usize = labels.iter().map(|label| label.len() + 1).sum();
    length <= 1024
        && labels.iter().all(|label| {
            if label.is_ascii() {
                hostname(label)
            } else {
                unicode_label(label)
            }
        })
        && idna::domain_to_ascii(text).is_ok_and(|ascii| {
            ascii.len() <= 253 && ascii.split('.').all(|label| label.len() <= 63)
        })
}

fn unicode_label(label: &str) -> bool {
    if label.starts_with('-')
        || label.ends_with('-')
        || label.chars().skip(2).take(2).eq("--".chars())
    {
        return false;
    }
    let mapped = idna::domain_to_ascii(label).map(|ascii| idna::domain_to_unicode(&ascii));
    // IDNA 2008 maps nothing: what changes by mapping was not allowed.
    let stable = matches!(mapped, Ok((unicode, Ok(()))) if unicode == label);
    stable && contextual(label)
}

fn contextual(label: &str) -> bool {
    let characters: Vec<char> = label.chars().collect();
    let at = |index: Option<usize>| index.and_then(|index| characters.get(index)).copied();
    let arabic = |next: &char| matches!(next, '\u{660}'..='\u{669}');
    let extended = |next: &char| matches!(next, '\u{6f0}'..='\u{6f9}');
    if characters.iter().any(arabic) && characters.iter().any(extended) {
        return false;
    }
    characters.iter().enumerate().all(|(index, character)| {
        let before = at(index.checked_sub(1));
        let after = at(Some(index + 1));
        match character {
            '\u{b7}' => before == Some('l') && after == Some('l'),
            '\u{375}' => after.is_some_and(|next| matches!(next, '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}')),
            '\u{5f3}' | '\u{5f4}' => before.is_some_and(|next| matches!(next, '\u{590}'..='\u{5ff}')),
            '\u{30fb}' => characters.iter().any(|next| {
                matches!(next, '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fa}' | '\u{3005}' | '\u{3007}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}')
            }),
            '\u{302e}' | '\u{302f}' | '\u{640}' | '\u{7fa}' | '\u{3031}'..='\u{3035}' | '\u{303b}' => false,
            '\u{200d}' | '\u{200c}' => before.is_some_and(is_virama) || (*character == '\u{200c}' && before.is_some() && after.is_some()),
            _ => true,
        }
    })
}

fn is_virama(character: char) -> bool {
    matches!(
        character,
        '\u{94d}'
            | '\u{9cd}'
            | '\u{a4d}'
            | '\u{acd}'
            | '\u{b4d}'
            | '\u{bcd}'
            | '\u{c4d}'
            | '\u{ccd}'
            | '\u{d4d}'
            | '\u{dca}'
            | '\u{e3a}'
            | '\u{f84}'
            | '\u{1039}'
    )
}

/// What a URI is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// It has a scheme.
    Absolute,
    /// It has none.
    Relative,
}

/// Reads a URI or IRI (RFC 3986, RFC 3987); `None` if it is neither absolute nor relative.
pub(super) fn uri(text: &str, alphabet: Alphabet) -> Option<Kind> {
    let (rest, fragment) = text
        .split_once('#')
        .map_or((text, ""), |(rest, fragment)| (rest, fragment));
    let (rest, query) = rest
        .split_once('?')
        .map_or((rest, ""), |(rest, query)| (rest, query));
    if !characters(query, "/?:@", alphabet) || !characters(fragment, "/?:@", alphabet) {
        return None;
    }
    let scheme_end = rest
        .find([':', '/'])
        .filter(|end| rest.get(*end..*end + 1) == Some(":"));
    let (kind, rest) =
        match scheme_end.and_then(|end| Some((rest.get(..end)?, rest.get(end + 1..)?))) {
            Some((scheme, rest)) if is_scheme(scheme) => (Kind::Absolute, rest),
            // A colon in the first segment of a relative reference would make it a scheme.
            Some(_) => return None,
            None => (Kind::Relative, rest),
        };
    let path = match rest.strip_prefix("//") {
        Some(rest) => {
            let end = rest.find('/').unwrap_or(rest.len());
            if !authority(rest.get(..end)?, alphabet) {
                return None;
            }
            rest.get(end..)?
        }
        None => rest,
    };
    characters(path, "/:@", alphabet).then_some(kind)
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

fn authority(text: &str, alphabet: Alphabet) -> bool {
    let (user, host) = text
        .rsplit_once('@')
        .map_or(("", text), |(user, host)| (user, host));
    if !characters(user, ":", alphabet) {
        return false;
    }
    let (host_right, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let Some((literal, port)) = rest.split_once(']') else {
                return false;
            };
            let future = literal
                .strip_prefix(['v', 'V'])
                .and_then(|rest| rest.split_once('.'));
            let right = literal.parse::<Ipv6Addr>().is_ok()
                || future.is_some_and(|(version, address)| {
                    !version.is_empty()
                        && version.bytes().all(|byte| byte.is_ascii_hexdigit())
                        && !address.is_empty()
                        && characters(address, ":", Alphabet::Ascii)
                });
            (right, port)
        }
        None => {
            let end = host.find(':').unwrap_or(host.len());
            let name = host.get(..end).unwrap_or("");
            (
                characters(name, "", alphabet),
                host.get(end..).unwrap_or(""),
            )
        }
    };
    let port_right = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    host_right && port_right
}

/// Unreserved characters, sub-delimiters, percent-encoded bytes, and those named.
fn characters(text: &str, more: &str, alphabet: Alphabet) -> bool {
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        let right = match next {
            '%' => {
                let hex =
                    |digit: Option<char>| digit.is_some_and(|digit| digit.is_ascii_hexdigit());
                hex(rest.next()) && hex(rest.next())
            }
            _ => {
                next.is_ascii_alphanumeric()
                    || "-._~!$&'()*+,;=".contains(next)
                    || more.contains(next)
                    || alphabet.beyond_ascii(next)
            }
        };
        if !right {
            return false;
        }
    }
    true
}

/// Literals and `{expressions}` (RFC 6570, section 2).
pub(super) fn uri_template(text: &str) -> bool {
    let mut rest = text;
    while let Some(open) = rest.find(['{', '}']) {
        let (Some(literal), Some(from)) = (rest.get(..open), rest.get(open..)) else {
            return false;
        };
        let Some(inside) = from.strip_prefix('{') else {
            return false;
        };
        let Some((expression, behind)) = inside.split_once('}') else {
            return false;
        };
        if !template_literal(literal) || !template_expression(expression) {
            return false;
        }
        rest = behind;
    }
    template_literal(rest)
}

fn template_literal(text: &str) -> bool {
    let encoded = text.split('%').skip(1).all(|behind| {
        let mut digits = behind.chars();
        let mut hex = || digits.next().is_some_and(|digit| digit.is_ascii_hexdigit());
        hex() && hex()
    });
    encoded
        && !text
            .chars()
            .any(|next| next.is_control() || " \"'<>\\^`|".contains(next))
}

fn template_expression(text: &str) -> bool {
    let variables = text
        .strip_prefix(['+', '#', '.', '/', ';', '?', '&', '=', ',', '!', '@', '|'])
        .unwrap_or(text);
    variables.split(',').all(|variable| {
        let name = match variable.strip_suffix('*') {
            Some(name) => name,
            None => match variable.split_once(':') {
                Some((name, length)) => {
                    let right = (1..=4).contains(&length.len())
                        && length.bytes().all(|byte| byte.is_ascii_digit())
                        && !length.starts_with('0');
                    if !right {
                        return false;
                    }
                    name
                }
                None => variable,
            },
        };
        name.split('.').all(|part| {
            let plain = part.replace('%', "");
            !part.is_empty()
                && template_literal(part)
                && plain
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(of: impl Fn(&str) -> bool, valid: &[&str], invalid: &[&str]) {
        for text in valid {
            assert!(of(text), "{text}");
        }
        for text in invalid {
            assert!(!of(text), "but {text}");
        }
    }

    #[test]
    fn mail() {
        check(
            |text| email(text, Alphabet::Ascii),
            &[
                "joe@example.com",
                "te~st+1@a.b",
                "\"joe bloggs\"@example.com",
                "joe@[127.0.0.1]",
                "joe@[IPv6:::1]",
                "a@localhost",
            ],
            &[
                "",
                "joe",
                "@a.com",
                "joe@",
                ".joe@a.com",
                "joe.@a.com",
                "j..o@a.com",
                "joe bloggs@a.com",
                "joe@-a.com",
                "joe@[1.2.3]",
                "jö@a.com",
                "a@b@c.com",
                "joe@a.com\r\nBcc: x",
                "joe@a_b.com",
            ],
        );
        check(
            |text| email(text, Alphabet::Unicode),
            &["실례@실례.테스트", "jö@a.com"],
            &["실례", "a b@c.com"],
        );
    }

    #[test]
    fn hosts() {
        let long = "a".repeat(64);
        check(
            hostname,
            &[
                "www.example.com",
                "a",
                "1a.b-c",
                "xn--4gbwdl.xn--wgbh1c",
                "0.0",
            ],
            &[
                "", "-a", "a-", "a..b", ".a", "a.", "a_b", "é.com", &long, "a b", "xn--X", "ab--cd",
            ],
        );
        check(
            idn_hostname,
            &["실례.테스트", "bücher.example", "l·l"],
            &["", "〮실례", "-a", "a·l", "\u{302e}", "é..a"],
        );
    }

    #[test]
    fn uris() {
        let absolute = |text: &str| uri(text, Alphabet::Ascii) == Some(Kind::Absolute);
        check(
            absolute,
            &[
                "http://example.com/a?b#c",
                "urn:isbn:1",
                "mailto:a@b",
                "http://[::1]:80/",
                "http://u:p@h:1/%20",
                "a:",
                "tel:+1-816-555-1212",
            ],
            &[
                "",
                "/a",
                "//a/b",
                "a b",
                "http://a b",
                "1a:b",
                ":a",
                "http://[::1",
                "http://h:x",
                "http://a/%2",
                "http://a/<>",
                "http://é",
                "\\\\a\\b",
                "http://a/{b}",
                "http://a#b#c",
            ],
        );
        check(
            |text| uri(text, Alphabet::Ascii).is_some(),
            &["", "/a", "//h/p", "a/b", "#f", "?q", "."],
            &["a b", "1:b", "\\a", "#f\\"],
        );
        check(
            |text| uri(text, Alphabet::Unicode).is_some(),
            &["http://ƒøø.ßår/?∂éœ=πîx#πîüx"],
            &["http://a b", "\\é"],
        );
    }

    #[test]
    fn templates() {
        check(
            uri_template,
            &["", "http://a/{b}/{+c,d*}{?e:3}", "{a.b}"],
            &["{", "}", "{}", "a{b", "{a b}", "{a:0}", "{a:12345}", "<{a}"],
        );
    }
}
