//! Values to compare detectors on: pieces of SQL and HTML strung together at random, every short
//! string over a small alphabet, mutants, and what the rule set's own tests send.

use std::path::Path;

use libinjectionrs::sqli::sqli_data::SQL_KEYWORDS;

/// A generator that gives the same numbers each time.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % bound
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// Pieces that make at least one token of each kind, and those that quotes, comments and numbers
/// of the dialects end or begin with.
pub(crate) const SQL: &[&str] = &[
    " ",
    " ",
    " ",
    "\t",
    "\n",
    "\0",
    "\x0b",
    "\x7f",
    "\u{a0}",
    "1",
    "0",
    "12",
    "1.5",
    ".",
    ".5",
    "1e",
    "1e5",
    "1e+",
    "1d",
    "1f",
    "2D;",
    "3fu",
    "0x",
    "0x1f",
    "0xg",
    "0b",
    "0b01",
    "0b12",
    "a",
    "b",
    "foo",
    "_x",
    "é",
    "'",
    "'",
    "\"",
    "\"",
    "`",
    "`",
    "``",
    "''",
    "\\'",
    "\\",
    "\\\\",
    "\\N",
    "b'01'",
    "b'0",
    "x'ff'",
    "X'f",
    "e'x'",
    "E'",
    "n'x'",
    "n'",
    "nq'(x)'",
    "NQ'",
    "q'[a]'",
    "Q'!a!'",
    "q'{",
    "q'<a>'",
    "u&'x'",
    "U&'",
    "u&",
    "--",
    "-- ",
    "--x",
    "-",
    "#",
    "/*",
    "*/",
    "/**/",
    "/*!",
    "/*/*/",
    "/* x */",
    "/*!50000",
    "/",
    "*",
    "+",
    "~",
    "!",
    "!!",
    "!=",
    "<",
    ">",
    "=",
    "<=>",
    "<=",
    "<>",
    ">=",
    "<<",
    "::",
    ":=",
    ":",
    "|",
    "||",
    "&",
    "&&",
    "%",
    "^",
    "|/",
    "~*",
    "@>",
    "<@",
    "(",
    "(",
    ")",
    ")",
    "((",
    "))",
    "{",
    "}",
    "{``",
    "{ ``.``.",
    "[",
    "]",
    "[x]",
    ",",
    ",",
    ";",
    ";",
    ";;",
    "?",
    "@",
    "@@",
    "@x",
    "@@version",
    "@`x`",
    "@'x'",
    "@\"x\"",
    "@user",
    "$",
    "$$",
    "$1",
    "$1.00,",
    "$.",
    "$.a",
    "$a$",
    "$a$x$a$",
    "$ab",
    "$$x$$",
    "select",
    "SELECT",
    "union",
    "union all",
    "from",
    "where",
    "and",
    "or",
    "AND",
    "OR",
    "xor",
    "not",
    "NOT",
    "in",
    "IN",
    "not in",
    "like",
    "LIKE",
    "not like",
    "if",
    "IF",
    "user",
    "user(",
    "USER()",
    "user_id",
    "password",
    "database(",
    "current_user",
    "current_date(",
    "localtime",
    "null",
    "true",
    "int",
    "varchar",
    "collate",
    "latin1_swedish_ci",
    "binary",
    "group by",
    "order by",
    "limit",
    "having",
    "into outfile",
    "INTO",
    "dumpfile",
    "exec",
    "execute",
    "declare",
    "begin",
    "waitfor delay",
    "sleep(5)",
    "sleep",
    "benchmark(",
    "lock in share mode",
    "for update",
    "is",
    "is not",
    "sounds like",
    "at time zone",
    "create or replace",
    "insert into",
    "drop table",
    "procedure analyse",
    "sp_password",
    "select.a",
    "select`a`",
    "a.b.c",
    "`select`",
    "`sleep`",
    "[select]",
    "case when",
    "between",
    "regexp",
    "x1",
    "1=1",
    "1 or 1=1",
    "' or '1'='1",
    "') or ('a'='a",
    "admin'--",
    "1;drop table x",
    "1 union select 1,2",
    "\" or \"\"=\"",
    "its a nice day",
    "it's",
    "hello",
    "world",
    "isn't",
    "the",
    "of",
];

/// Pieces of HTML: each way into a tag, an attribute, a value, a comment, and names that matter.
pub(crate) const HTML: &[&str] = &[
    " ",
    " ",
    "\t",
    "\n",
    "\0",
    "\x0b",
    "/",
    "/",
    ">",
    ">",
    ">",
    "<",
    "<",
    "<",
    "</",
    "<!",
    "<!--",
    "-->",
    "--!>",
    "-\0->",
    "<?",
    "<%",
    "%>",
    "<![CDATA[",
    "]]>",
    "<!DOCTYPE",
    "<!doctype html>",
    "=",
    "=",
    "=",
    "'",
    "'",
    "\"",
    "\"",
    "`",
    "`",
    "a",
    "b",
    "x",
    "script",
    "<script>",
    "<SCRIPT",
    "<scr\0ipt>",
    "</script>",
    "alert(1)",
    "<img",
    "<svg",
    "<SVG/",
    "<xsl",
    "<iframe",
    "<b>",
    "<a ",
    "<p>",
    "<style",
    "<\0a",
    "<1",
    "on",
    "onerror",
    "onload",
    "ONCLICK",
    "onx",
    "onerror\t",
    "on=",
    "src",
    "href",
    "HREF",
    "style",
    "STYLE",
    "xmlns",
    "xlink:href",
    "xmlnsx",
    "action",
    "formaction",
    "by",
    "to",
    "from",
    "attributename",
    "values",
    "data",
    "filter",
    "folder",
    "poster",
    "lowsrc",
    "dynsrc",
    "background",
    "handler",
    "javascript:",
    "JAVASCRIPT:",
    "java\nscript:",
    "&#106;avascript:",
    "&#x6A;avascript:",
    "&#x6avascript",
    "vbscript:",
    "data:",
    "view-source:",
    "http://a/",
    "\x01javascript:",
    "[if",
    "[IF gte",
    "xml",
    "XML ",
    "import",
    "IMPORT",
    "entity",
    "ENTITY",
    "é",
    "é",
    "&",
    "&#",
    "&#x",
    ";",
    "-",
    "--",
    "!",
    "?",
    "%",
    ".",
    "1",
    "q=0.8",
    "text/html",
    "hello",
    "world",
];

/// Bytes that stand for every class of bytes that the readers tell apart.
pub(crate) const BYTES: &[u8] = b" '\"`1.a\\-#/*(),;@$&|=!<{}[]:e\0";

/// Pieces strung together.
pub(crate) fn strung(random: &mut Random, pieces: &[&str], most: usize) -> Vec<u8> {
    let mut text = Vec::new();
    for _ in 0..=random.below(most) {
        if random.below(8) == 0 {
            let word = random.pick(SQL_KEYWORDS);
            if word.token_type != b'F' {
                text.extend_from_slice(word.word.as_bytes());
            }
        } else {
            text.extend_from_slice(random.pick(pieces).as_bytes());
        }
        if random.below(3) == 0 {
            text.push(b' ');
        }
    }
    text
}

/// A text with some bytes changed, added, taken away, doubled or cut.
pub(crate) fn mutant(random: &mut Random, of: &[Vec<u8>]) -> Vec<u8> {
    let mut text = random.pick(of).clone();
    for _ in 0..=random.below(4) {
        let at = random.below(text.len() + 1);
        match random.below(8) {
            0 => text.insert(at, *random.pick(BYTES)),
            1 => text.insert(at, u8::try_from(random.below(256)).unwrap()),
            2 if at < text.len() => drop(text.remove(at)),
            3 if at < text.len() => text[at] = *random.pick(BYTES),
            4 if at < text.len() => text[at] ^= 0x20,
            5 => {
                let other = random.pick(of);
                let from = random.below(other.len() + 1);
                let end = (from + random.below(24)).min(other.len());
                text.splice(at..at, other[from..end].iter().copied());
            }
            6 => text.truncate(at.max(1)),
            _ => {
                let pieces = if random.below(3) == 0 { HTML } else { SQL };
                let piece = random.pick(pieces);
                text.splice(at..at, piece.bytes());
            }
        }
    }
    text
}

/// Every string of `length` bytes over `bytes`.
pub(crate) fn exhaustive(bytes: &[u8], length: u32) -> impl Iterator<Item = Vec<u8>> {
    let count = bytes.len().pow(length);
    (0..count).map(move |mut number| {
        (0..length)
            .map(|_| {
                let byte = bytes[number % bytes.len()];
                number /= bytes.len();
                byte
            })
            .collect()
    })
}

/// What the rule set's tests of injections send: each line that holds a target, a header or a
/// body, as it stands and decoded, whole and value by value.
pub(crate) fn of_rule_set(tests: &Path) -> Vec<Vec<u8>> {
    let mut texts = Vec::new();
    let mut folders = vec![tests.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name.starts_with("941") || name.starts_with("942") {
                let file = std::fs::read_to_string(&path).unwrap();
                file.lines().for_each(|line| add_line(line, &mut texts));
            }
        }
    }
    texts.sort();
    texts.dedup();
    texts
}

fn add_line(line: &str, texts: &mut Vec<Vec<u8>>) {
    let line = line.trim().trim_start_matches("- ");
    let value = line.split_once(": ").map_or(line, |(_, value)| value);
    let value = value
        .trim()
        .trim_matches(|quote| quote == '"' || quote == '\'');
    for part in [value].into_iter().chain(value.split(['&', '?', '='])) {
        for (from, _) in part
            .match_indices('=')
            .map(|(at, _)| (at + 1, ()))
            .chain([(0, ())])
        {
            texts.push(part.as_bytes()[from..].to_vec());
            texts.push(decoded(&part.as_bytes()[from..]));
        }
    }
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = after;
        let hex = |byte: &u8| char::from(*byte).to_digit(16);
        match (first, after) {
            (b'%', [high, low, more @ ..]) if hex(high).is_some() && hex(low).is_some() => {
                out.push(u8::try_from(hex(high).unwrap() * 16 + hex(low).unwrap()).unwrap());
                rest = more;
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(*first),
        }
    }
    out
}
