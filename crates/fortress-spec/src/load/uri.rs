//! References as RFC 3986 has them, as far as descriptions need it: which file or `$id`, and which
//! place in it.
//!
//! Deliberately not here: whether the file exists or may be read.

use std::{
    borrow::Cow,
    path::{Component, Path, PathBuf},
};

/// Splits a reference at its fragment: `a.yaml#/b` is `("a.yaml", Some("/b"))`.
pub(super) fn split(reference: &str) -> (&str, Option<&str>) {
    match reference.split_once('#') {
        Some((before, fragment)) => (before, Some(fragment)),
        None => (reference, None),
    }
}

/// Whether the reference names another machine or another kind of identifier: `https:`, `urn:`,
/// `//host/…`.
pub(super) fn is_absolute(reference: &str) -> bool {
    reference.starts_with("//") || scheme(reference).is_some()
}

/// `https` of `https://example.com`.
fn scheme(reference: &str) -> Option<&str> {
    let (scheme, _) = reference.split_once(':')?;
    let mut bytes = scheme.bytes();
    let valid = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    valid.then_some(scheme)
}

/// Resolves a relative reference against an absolute URI (RFC 3986, section 5.2), fragments apart.
pub(super) fn join(base: &str, reference: &str) -> String {
    if reference.is_empty() {
        return base.to_owned();
    }
    if scheme(reference).is_some() {
        return reference.to_owned();
    }
    let scheme = scheme(base).unwrap_or_default();
    if reference.starts_with("//") {
        return format!("{scheme}:{reference}");
    }
    let after_scheme = base.get(scheme.len() + 1..).unwrap_or_default();
    let authority_end = match after_scheme.strip_prefix("//") {
        Some(rest) => 2 + rest.find('/').unwrap_or(rest.len()),
        None => 0,
    };
    let (authority, path) = after_scheme
        .split_at_checked(authority_end)
        .unwrap_or((after_scheme, ""));
    let path = path.split('?').next().unwrap_or_default();
    let joined = if reference.starts_with('/') {
        reference.to_owned()
    } else {
        let directory = path.rfind('/').and_then(|at| path.get(..=at)).unwrap_or("");
        format!("{directory}{reference}")
    };
    format!("{scheme}:{authority}{}", remove_dots(&joined))
}

/// RFC 3986, section 5.2.4.
pub(super) fn remove_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let rooted = path.starts_with('/');
    let mut segments = path.split('/').skip(usize::from(rooted)).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    let slash = if rooted { "/" } else { "" };
    format!("{slash}{}", kept.join("/"))
}

/// The file that a relative reference in the file `from` names, without `.` and, as far as it can be
/// told without the disk, without `..`.
pub(super) fn file(from: &Path, reference: &str) -> PathBuf {
    let mut path = from.parent().map(Path::to_path_buf).unwrap_or_default();
    path.push(reference);
    normalise(&path)
}

/// Whether `path` lies outside the directory of `root`, both normalised.
pub(super) fn is_outside(root: &Path, path: &Path) -> bool {
    let directory = root.parent().unwrap_or_else(|| Path::new(""));
    let below = if directory.as_os_str().is_empty() {
        Some(path)
    } else {
        path.strip_prefix(directory).ok()
    };
    below.is_none_or(|below| {
        below.is_absolute() || below.components().next() == Some(Component::ParentDir)
    })
}

/// Takes `.` and `..` out of a path.
pub(super) fn normalise(path: &Path) -> PathBuf {
    let mut kept = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => match kept.components().next_back() {
                Some(Component::Normal(_)) => {
                    kept.pop();
                }
                Some(Component::RootDir | Component::Prefix(_)) => {}
                Some(Component::ParentDir | Component::CurDir) | None => kept.push(".."),
            },
            Component::Normal(_) | Component::RootDir | Component::Prefix(_) => {
                kept.push(component);
            }
        }
    }
    kept
}

/// Decodes `%41`; `None` if an escape is broken or the result is not UTF-8.
pub(super) fn decode(text: &str) -> Option<Cow<'_, str>> {
    let broken = text.bytes().enumerate().any(|(at, byte)| {
        byte == b'%'
            && !text
                .as_bytes()
                .get(at + 1..at + 3)
                .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    if broken {
        return None;
    }
    percent_encoding::percent_decode_str(text)
        .decode_utf8()
        .ok()
}

/// Writes one path segment in its normal form: unreserved characters stand for themselves, what
/// RFC 3986 (section 3.3) does not allow in a segment is encoded, in upper case. `None` if an escape
/// is broken.
pub(super) fn normalise_segment(text: &str) -> Option<String> {
    use std::fmt::Write as _;

    decode(text).map(|_| ()).or_else(|| {
        // An escape of bytes that are not UTF-8 is well-formed, and stays as it is.
        let mut rest = text;
        while let Some((_, after)) = rest.split_once('%') {
            let digits = after.as_bytes().get(..2)?;
            if !digits.iter().all(u8::is_ascii_hexdigit) {
                return None;
            }
            rest = after;
        }
        Some(())
    })?;
    let mut normal = String::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let (value, escaped) = if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let value = digit(bytes.next())? * 16 + digit(bytes.next())?;
            (u8::try_from(value).ok()?, true)
        } else {
            (byte, false)
        };
        let unreserved =
            value.is_ascii_alphanumeric() || matches!(value, b'-' | b'.' | b'_' | b'~');
        let delimiter = matches!(
            value,
            b'!' | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b':'
                | b'@'
        );
        if unreserved || (delimiter && !escaped) {
            normal.push(char::from(value));
        } else {
            write!(normal, "%{value:02X}").ok()?;
        }
    }
    Some(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_join(base: &str, reference: &str, expect: &str) {
        assert_eq!(join(base, reference), expect);
    }

    #[test]
    fn references_are_joined_as_rfc_3986_does() {
        check_join("http://a/b/c/d?q", "g", "http://a/b/c/g");
        check_join("http://a/b/c/d?q", "./g", "http://a/b/c/g");
        check_join("http://a/b/c/d?q", "../g", "http://a/b/g");
        check_join("http://a/b/c/d?q", "../../../g", "http://a/g");
        check_join("http://a/b/c/d?q", "/g", "http://a/g");
        check_join("http://a/b/c/d?q", "//g", "http://g");
        check_join("http://a/b/c/d", "", "http://a/b/c/d");
        check_join("http://a", "urn:x", "urn:x");
    }

    #[track_caller]
    fn check_file(from: &str, reference: &str, expect: &str) {
        assert_eq!(file(Path::new(from), reference), Path::new(expect));
    }

    #[test]
    fn files_are_relative_to_the_referring_file() {
        check_file("openapi.yaml", "a.yaml", "a.yaml");
        check_file("openapi.yaml", "./a/../b.yaml", "b.yaml");
        check_file("api/openapi.yaml", "schemas/a.yaml", "api/schemas/a.yaml");
        check_file("api/openapi.yaml", "../a.yaml", "a.yaml");
        check_file("openapi.yaml", "../a.yaml", "../a.yaml");
        check_file("/api/openapi.yaml", "../../a.yaml", "/a.yaml");
    }

    #[track_caller]
    fn check_outside(root: &str, path: &str, expect: bool) {
        assert_eq!(is_outside(Path::new(root), Path::new(path)), expect);
    }

    #[test]
    fn leaving_the_directory_is_noticed() {
        check_outside("openapi.yaml", "a/b.yaml", false);
        check_outside("openapi.yaml", "../b.yaml", true);
        check_outside("api/openapi.yaml", "api/b.yaml", false);
        check_outside("api/openapi.yaml", "b.yaml", true);
        check_outside("/api/openapi.yaml", "/api/b.yaml", false);
        check_outside("/api/openapi.yaml", "/apis/b.yaml", true);
    }

    #[track_caller]
    fn check_segment(text: &str, expect: Option<&str>) {
        assert_eq!(normalise_segment(text).as_deref(), expect);
    }

    #[test]
    fn segments_have_one_normal_form() {
        check_segment("a-b", Some("a-b"));
        check_segment("%61%2db", Some("a-b"));
        check_segment("a b", Some("a%20b"));
        check_segment("a%3ab", Some("a%3Ab"));
        check_segment("a:b", Some("a:b"));
        check_segment("é", Some("%C3%A9"));
        check_segment("%c3%a9", Some("%C3%A9"));
        check_segment("%ff", Some("%FF"));
        check_segment("%2f", Some("%2F"));
        check_segment("%", None);
        check_segment("%4", None);
        check_segment("%zz", None);
        check_segment("%ff%", None);
    }
}
