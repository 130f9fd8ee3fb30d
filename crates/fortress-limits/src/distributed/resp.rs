//! As much of RESP2, the protocol of Redis, as the script needs: three commands out, and in return
//! five numbers, an error, or the script's name.
//!
//! Deliberately not here: connecting, pipelining and time-outs. Replies come in the order of the
//! commands, so whoever calls keeps a queue.

/// The longest reply that is read. The longest that is right has some 120 bytes.
const LONGEST: usize = 1_024;

/// Numbers of the script's list.
const NUMBERS: usize = 5;

/// What stands at the beginning of a buffer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Parsed {
    /// Not a whole reply yet.
    Incomplete,
    /// The script's list, and the bytes that it took.
    Numbers([i64; NUMBERS], usize),
    /// A text, such as the name of a loaded script, and the bytes that it took.
    Text(String, usize),
    /// The server refused, and why.
    Refused(CommandError, usize),
    /// Not a reply to one of our commands: close the connection.
    Broken,
}

/// Why the server refused a command, by the first word of what it said.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CommandError {
    /// It does not know the script (any more): load it, and ask again.
    #[error("the server does not know the script")]
    NoScript,
    /// It is a replica: find the master.
    #[error("the server is a replica and takes no writes")]
    ReadOnly,
    /// Another node has the key (`MOVED` or `ASK` of Redis Cluster); the node's address.
    #[error("another node of the cluster has the key: `{0}`")]
    Elsewhere(String),
    /// It is loading, busy, out of memory, or its cluster is down: ask later.
    #[error("the server cannot answer now: `{0}`")]
    Unable(String),
    /// Wrong user or password, or the user lacks a right.
    #[error("the server lets this user not do that: `{0}`")]
    Forbidden(String),
    /// Anything else.
    #[error("the server refused: `{0}`")]
    Other(String),
}

/// `SCRIPT LOAD`, to the end of `out`.
pub fn command_load(script: &str, out: &mut Vec<u8>) {
    command(["SCRIPT", "LOAD", script].into_iter(), 3, out);
}

/// `EVALSHA` with one key, to the end of `out`.
pub fn command_evalsha(sha: &str, key: &str, arguments: &[String], out: &mut Vec<u8>) {
    eval("EVALSHA", sha, key, arguments, out);
}

/// `EVAL` with one key, to the end of `out`.
pub fn command_eval(script: &str, key: &str, arguments: &[String], out: &mut Vec<u8>) {
    eval("EVAL", script, key, arguments, out);
}

fn eval(name: &str, script: &str, key: &str, arguments: &[String], out: &mut Vec<u8>) {
    let words = [name, script, "1", key].into_iter();
    let words = words.chain(arguments.iter().map(String::as_str));
    command(words, 4 + arguments.len(), out);
}

fn command<'w>(words: impl Iterator<Item = &'w str>, count: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{count}\r\n").as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// Reads one reply.
pub fn parse_reply(bytes: &[u8]) -> Parsed {
    match read(bytes) {
        Some(Parsed::Incomplete) | None if bytes.len() >= LONGEST => Parsed::Broken,
        Some(found) => found,
        None => Parsed::Incomplete,
    }
}

/// `None` where a line is not whole.
fn read(bytes: &[u8]) -> Option<Parsed> {
    let Some((kind, rest)) = bytes.split_first() else {
        return Some(Parsed::Incomplete);
    };
    let (line, rest) = line(rest)?;
    let used = |rest: &[u8]| bytes.len() - rest.len();
    Some(match kind {
        b'*' if line == b"5" => numbers(rest, bytes.len())?,
        b'-' => Parsed::Refused(refusal(line), used(rest)),
        b'+' => match std::str::from_utf8(line) {
            Ok(text) => Parsed::Text(text.to_owned(), used(rest)),
            Err(_) => Parsed::Broken,
        },
        b'$' => {
            let length = number(line).and_then(|length| usize::try_from(length).ok());
            let Some(length) = length.filter(|length| *length < LONGEST) else {
                return Some(Parsed::Broken);
            };
            let (text, end) = rest.split_at_checked(length)?;
            let end = end.split_at_checked(2)?;
            match std::str::from_utf8(text) {
                Ok(text) if end.0 == b"\r\n" => Parsed::Text(text.to_owned(), used(end.1)),
                Ok(_) | Err(_) => Parsed::Broken,
            }
        }
        _ => Parsed::Broken,
    })
}

fn numbers(mut rest: &[u8], whole: usize) -> Option<Parsed> {
    let mut found = [0; NUMBERS];
    for place in &mut found {
        let Some((kind, inner)) = rest.split_first() else {
            return Some(Parsed::Incomplete);
        };
        if *kind != b':' {
            return Some(Parsed::Broken);
        }
        let (line, after) = line(inner)?;
        let Some(value) = number(line) else {
            return Some(Parsed::Broken);
        };
        *place = value;
        rest = after;
    }
    Some(Parsed::Numbers(found, whole - rest.len()))
}

fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let (line, rest) = bytes.split_at_checked(end)?;
    Some((line, rest.get(2..)?))
}

/// A sign at most, and digits.
fn number(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}

fn refusal(line: &[u8]) -> CommandError {
    let text: String = String::from_utf8_lossy(line)
        .chars()
        .filter(|c| !c.is_control())
        .take(200)
        .collect();
    let word = text.split(' ').next().unwrap_or_default();
    match word {
        "NOSCRIPT" => CommandError::NoScript,
        "READONLY" => CommandError::ReadOnly,
        "MOVED" | "ASK" => {
            let address = text.split(' ').nth(2).unwrap_or_default();
            CommandError::Elsewhere(address.to_owned())
        }
        "LOADING" | "BUSY" | "OOM" | "CLUSTERDOWN" | "TRYAGAIN" | "MASTERDOWN" | "MISCONF"
        | "NOREPLICAS" => CommandError::Unable(text),
        "NOAUTH" | "WRONGPASS" | "NOPERM" => CommandError::Forbidden(text),
        _ => CommandError::Other(text),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(bytes: &str, expect: Parsed) {
        assert_eq!(parse_reply(bytes.as_bytes()), expect, "{bytes:?}");
        if let Parsed::Numbers(_, used) | Parsed::Text(_, used) | Parsed::Refused(_, used) = expect
        {
            assert_eq!(used, bytes.len());
            for end in 0..used {
                assert_eq!(parse_reply(&bytes.as_bytes()[..end]), Parsed::Incomplete);
            }
            // What comes after is another reply.
            let more = format!("{bytes}:7\r\n");
            assert_eq!(parse_reply(more.as_bytes()), expect);
        }
    }

    #[test]
    fn replies() {
        let numbers = "*5\r\n:1\r\n:20\r\n:0\r\n:-1\r\n:1795910400000000\r\n";
        let expect = [1, 20, 0, -1, 1_795_910_400_000_000];
        check(numbers, Parsed::Numbers(expect, numbers.len()));
        check("$3\r\nabc\r\n", Parsed::Text("abc".into(), 9));
        check("+OK\r\n", Parsed::Text("OK".into(), 5));
        for (line, expect) in [
            ("NOSCRIPT No matching script.", CommandError::NoScript),
            (
                "READONLY You can't write against a read only replica.",
                CommandError::ReadOnly,
            ),
            (
                "MOVED 3999 127.0.0.1:6381",
                CommandError::Elsewhere("127.0.0.1:6381".into()),
            ),
            ("LOADING a", CommandError::Unable("LOADING a".into())),
            ("NOPERM a", CommandError::Forbidden("NOPERM a".into())),
            ("ERR a", CommandError::Other("ERR a".into())),
        ] {
            let bytes = format!("-{line}\r\n");
            check(&bytes, Parsed::Refused(expect, bytes.len()));
        }
    }

    #[test]
    fn what_is_no_reply() {
        for bytes in [
            "*4\r\n:1\r\n:1\r\n:1\r\n:1\r\n",
            "*-1\r\n",
            "*5\r\n$1\r\n1\r\n",
            "*5\r\n:1x\r\n",
            "*5\r\n:+1\r\n",
            "*5\r\n:\r\n",
            "*5\r\n:99999999999999999999\r\n",
            ":1\r\n",
            "$-1\r\n",
            "$5000\r\n",
            "$3\r\nabcde",
            "HTTP/1.1 400 Bad Request\r\n",
            "_\r\n",
        ] {
            assert_eq!(parse_reply(bytes.as_bytes()), Parsed::Broken, "{bytes:?}");
        }
        assert_eq!(parse_reply(&vec![b'+'; 5_000]), Parsed::Broken);
    }

    #[test]
    fn commands() {
        let mut out = Vec::new();
        command_evalsha("ab", "k", &["r".into(), "-1".into()], &mut out);
        let expect =
            "*6\r\n$7\r\nEVALSHA\r\n$2\r\nab\r\n$1\r\n1\r\n$1\r\nk\r\n$1\r\nr\r\n$2\r\n-1\r\n";
        assert_eq!(out, expect.as_bytes());
    }

    proptest! {
        #[test]
        fn nothing_makes_the_parser_panic(bytes in proptest::collection::vec(prop_oneof![Just(b'*'), Just(b':'), Just(b'$'), Just(b'5'), Just(b'\r'), Just(b'\n'), any::<u8>()], 0..200)) {
            parse_reply(&bytes);
        }
    }
}
