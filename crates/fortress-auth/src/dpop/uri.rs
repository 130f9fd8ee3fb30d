//! One spelling for the URIs that mean the same (RFC 9449, section 4.3, after RFC 3986, sections
//! 6.2.2 and 6.2.3), so that two can be compared byte by byte.

/// Scheme, authority and path in their normal form; query and fragment are left out. `None` for
/// what is not an absolute `http` or `https` URI, or holds user information or a bad escape.
pub(super) fn normalized(uri: &str) -> Option<String> {
    if !uri.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let end = uri.find(['?', '#']).unwrap_or(uri.len());
    let (uri, _) = uri.split_at_checked(end)?;
    let (scheme, rest) = uri.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let default_port = match scheme.as_str() {
        "https" => "443",
        "http" => "80",
        _ => return None,
    };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at_checked(at)?,
        None => (rest, "/"),
    };
    let (host, port) = host_and_port(authority)?;
    let mut normal = format!("{scheme}://{}", host.to_ascii_lowercase());
    if !port.is_empty() && port != default_port {
        normal.push(':');
        normal.push_str(port);
    }
    for segment in segments(&unescaped(path)?) {
        normal.push('/');
        normal.push_str(segment);
    }
    Some(normal)
}

fn host_and_port(authority: &str) -> Option<(&str, &str)> {
    // An IPv6 address has colons of its own, inside brackets.
    let after_host = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    let (_, tail) = authority.split_at_checked(after_host)?;
    let (host, port) = match tail.rfind(':') {
        Some(colon) => {
            let (host, port) = authority.split_at_checked(after_host + colon)?;
            (host, port.strip_prefix(':')?)
        }
        None => (authority, ""),
    };
    let ours = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~[]:%".contains(&byte);
    let given = port;
    let port = given.trim_start_matches('0');
    // Port 0 is none, and must not be taken for a port that is left out.
    let is_zero = port.is_empty() && !given.is_empty();
    let is_port = port.len() <= 5 && !is_zero && port.bytes().all(|byte| byte.is_ascii_digit());
    (!host.is_empty() && host.bytes().all(ours) && is_port).then_some((host, port))
}

/// Escapes of what needs none are undone, all others are written in capitals.
fn unescaped(path: &str) -> Option<String> {
    let mut plain = String::with_capacity(path.len());
    let mut characters = path.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            plain.push(character);
            continue;
        }
        let high = characters.next()?.to_digit(16)?;
        let low = characters.next()?.to_digit(16)?;
        let byte = u8::try_from(high * 16 + low).ok()?;
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            plain.push(char::from(byte));
        } else {
            plain.push_str(&format!("%{byte:02X}"));
        }
    }
    Some(plain)
}

/// The segments of a path that begins with `/`, without `.` and `..` (RFC 3986, section 5.2.4).
fn segments(path: &str) -> Vec<&str> {
    let mut kept = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        match part {
            "." => {}
            ".." => {
                kept.pop();
            }
            _ => {
                kept.push(part);
                continue;
            }
        }
        // `/a/.` is the folder `/a/`.
        if is_last {
            kept.push("");
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is(uri: &str, expected: &str) {
        assert_eq!(normalized(uri).as_deref(), Some(expected));
    }

    #[track_caller]
    fn refused(uri: &str) {
        assert_eq!(normalized(uri), None, "{uri}");
    }

    #[test]
    fn what_means_the_same_is_spelt_the_same() {
        is("https://api.example.com/a", "https://api.example.com/a");
        is("HTTPS://API.Example.COM/a", "https://api.example.com/a");
        is("https://api.example.com:443/a", "https://api.example.com/a");
        is(
            "https://api.example.com:0443/a",
            "https://api.example.com/a",
        );
        is("https://api.example.com:/a", "https://api.example.com/a");
        is(
            "https://api.example.com/a?b=c#d",
            "https://api.example.com/a",
        );
        is("https://api.example.com/a#d?b", "https://api.example.com/a");
        is("https://api.example.com", "https://api.example.com/");
        is("https://api.example.com?x", "https://api.example.com/");
        is("http://h:80/", "http://h/");
        is("http://h:8080/", "http://h:8080/");
        is("http://h:443/", "http://h:443/");
        is("https://[2001:DB8::1]:443/a", "https://[2001:db8::1]/a");
        is("https://[::1]/a", "https://[::1]/a");
        is("https://h/%7euser/%c3%a9%2f", "https://h/~user/%C3%A9%2F");
        is("https://h/a/./b/../c/", "https://h/a/c/");
        is("https://h/a/..", "https://h/");
        is("https://h/../..", "https://h/");
        is("https://h/a/%2e%2E/b", "https://h/b");
        is("https://h/a//b", "https://h/a//b");
    }

    #[test]
    fn what_differs_stays_different() {
        is("https://h/A", "https://h/A");
        is("https://h/a/", "https://h/a/");
        is("https://h/a%2Fb", "https://h/a%2Fb");
        is("http://h/a", "http://h/a");
    }

    #[test]
    fn what_is_no_such_uri() {
        refused("");
        refused("/a");
        refused("h/a");
        refused("ftp://h/a");
        refused("https:///a");
        refused("https://:443/a");
        refused("https://user@h/a");
        refused("https://user:secret@h/a");
        refused("https://h:port/a");
        refused("https://h:0/a");
        refused("https://h:000/a");
        refused("https://h:443443/a");
        refused("https://h\\evil/a");
        refused("https://h/a b");
        refused("https://h/a\n");
        refused("https://h/é");
        refused("https://h/%");
        refused("https://h/%2");
        refused("https://h/%zz");
        refused("https://h/%é0");
    }
}
