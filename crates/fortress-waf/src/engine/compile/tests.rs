//! Operators with their arguments, ready to be asked.

use regex::bytes::Regex;
use regex_syntax::hir::{Hir, HirKind, Look};

use super::{
    super::program::{Op, RxPlan, TemplatePlan, Unread},
    Compiler,
    backtracking::backtracking,
};
use crate::{
    ByteSet,
    operator::{ByteRanges, IpNetworks, Phrases},
    pattern::{Pattern, Read, bytes_of},
    seclang::{Link, Operator, Place, Test},
};

/// What `verifyCC` and its like look for when a rule names no pattern.
const ANYTHING: &[u8] = b".*";

impl Compiler {
    /// The operator of a link.
    pub(super) fn op(&mut self, link: &Link) -> Op {
        match self.try_op(&link.test, &link.place) {
            Ok(op) => op,
            Err(message) => {
                let operator = link.test.operator.word();
                self.wrong(&link.place, format!("`@{operator}`: {message}"));
                Op::Never
            }
        }
    }

    fn try_op(&mut self, test: &Test, place: &Place) -> Result<Op, String> {
        Ok(match test.operator {
            Operator::UnconditionalMatch => Op::Always,
            Operator::NoMatch => Op::Never,
            Operator::Rx | Operator::RxGlobal => self.rx(test, place),
            Operator::Pm | Operator::PmFromFile => phrases(test)?,
            Operator::Contains | Operator::StrMatch => Op::Contains(self.text(test)),
            Operator::ContainsWord => Op::ContainsWord(self.text(test)),
            Operator::BeginsWith => Op::BeginsWith(self.text(test)),
            Operator::EndsWith => Op::EndsWith(self.text(test)),
            Operator::StrEq => Op::StrEq(self.text(test)),
            Operator::Within => Op::Within(self.text(test)),
            Operator::Eq => Op::Eq(self.text(test)),
            Operator::Ge => Op::Ge(self.text(test)),
            Operator::Gt => Op::Gt(self.text(test)),
            Operator::Le => Op::Le(self.text(test)),
            Operator::Lt => Op::Lt(self.text(test)),
            Operator::IpMatch => {
                let text = String::from_utf8_lossy(literal(test)?).into_owned();
                Op::IpMatch(IpNetworks::parse(&text).map_err(|error| error.to_string())?)
            }
            Operator::IpMatchFromFile => {
                let networks = IpNetworks::from_lines(&test.lines);
                Op::IpMatch(networks.map_err(|error| error.to_string())?)
            }
            Operator::ValidateByteRange => {
                let text = String::from_utf8_lossy(literal(test)?).into_owned();
                Op::ByteRange(Box::new(
                    ByteRanges::parse(&text).map_err(|error| error.to_string())?,
                ))
            }
            Operator::ValidateUrlEncoding => Op::UrlEncoding,
            Operator::ValidateUtf8Encoding => Op::Utf8,
            Operator::DetectSqli => Op::Sqli,
            Operator::DetectXss => Op::Xss,
            Operator::VerifyCc => Op::Card(identity(test)?),
            Operator::VerifySsn => Op::Ssn(identity(test)?),
            Operator::VerifyCpf => Op::Cpf(identity(test)?),
            Operator::VerifySvnr => Op::Svnr(identity(test)?),
        })
    }

    fn text(&mut self, test: &Test) -> TemplatePlan {
        self.template(&test.argument)
    }

    fn rx(&mut self, test: &Test, place: &Place) -> Op {
        let Some(text) = test.argument.literal() else {
            return Op::RxMacro(self.template(&test.argument));
        };
        Op::Pending(Box::new(Unread {
            text: text.into(),
            negated: test.negated,
            place: place.clone(),
        }))
    }

    /// Reads a pattern whose turn has come; gives its tree, if it can be decided in linear time.
    pub(super) fn finish(&mut self, op: &mut Op) -> Option<Hir> {
        if !matches!(op, Op::Pending(_)) {
            return None;
        }
        let Op::Pending(unread) = std::mem::replace(op, Op::Never) else {
            return None;
        };
        match read(&unread) {
            Ok((read, hir)) => {
                *op = read;
                hir
            }
            Err(error) => {
                self.wrong(&unread.place, format!("`@rx`: {error}"));
                None
            }
        }
    }
}

fn read(unread: &Unread) -> Result<(Op, Option<Hir>), String> {
    let slow = |why: &str| backtracking(&unread.text, why).map(|op| (op, None));
    let read = match Read::new(&unread.text) {
        Ok(read) if read.is_widened && unread.negated => return slow(WIDENED),
        Ok(read) => read,
        Err(error) => return slow(&error.to_string()),
    };
    let (regex, hir) = read.defer().map_err(|error| error.to_string())?;
    let plan = RxPlan {
        // The whole match is a group too.
        groups: hir.properties().explicit_captures_len() + 1,
        is_everything: is_everything(&hir),
        least: hir.properties().minimum_len().unwrap_or(0),
        regex,
    };
    Ok((Op::Rx(plan), Some(hir)))
}

const WIDENED: &str =
    "an atomic group or a possessive quantifier cannot be negated here; leave the `+` or `>` out";

/// Whether a pattern is `^.*$`.
fn is_everything(hir: &Hir) -> bool {
    let HirKind::Concat(parts) = hir.kind() else {
        return false;
    };
    let [start, middle, end] = parts.as_slice() else {
        return false;
    };
    let HirKind::Repetition(repetition) = middle.kind() else {
        return false;
    };
    let any = matches!(
        repetition.sub.kind(),
        HirKind::Class(class) if bytes_of(class) == ByteSet::ALL
    );
    let has_bounds = matches!(start.kind(), HirKind::Look(Look::Start))
        && matches!(end.kind(), HirKind::Look(Look::End));
    any && has_bounds && repetition.min == 0 && repetition.max.is_none()
}

/// The argument, where macros cannot stand.
fn literal(test: &Test) -> Result<&[u8], String> {
    test.argument
        .literal()
        .ok_or_else(|| "no macro can stand in its argument".to_owned())
}

fn identity(test: &Test) -> Result<Regex, String> {
    let text = literal(test)?;
    let text = if text.is_empty() { ANYTHING } else { text };
    Ok(Pattern::parse(text)
        .map_err(|error| error.to_string())?
        .regex)
}

/// The phrases of `@pm` and `@pmFromFile`.
fn phrases_of(test: &Test) -> Result<Vec<Vec<u8>>, String> {
    if test.operator == Operator::PmFromFile {
        return Ok(test.lines.clone());
    }
    words(literal(test)?)
}

/// Phrases with blanks between them. As in Snort's rules, what stands between two `|` is bytes in
/// hexadecimal: `A|42 43|D` is `ABCD`. Bytes that are blanks are part of their phrase.
fn words(text: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    const PAIRS: &str = "between two `|` stand bytes as pairs of hexadecimal digits, such as `|41 42|`; a `|` itself is `|7c|`";
    let mut words: Vec<Vec<u8>> = Vec::new();
    let mut word = Vec::new();
    let mut is_binary = false;
    for piece in text.split(|byte| *byte == b'|') {
        if is_binary {
            let digits: Vec<u8> = piece.iter().copied().filter(|byte| *byte != b' ').collect();
            let bytes = digits.chunks(2).map(byte_of);
            word.extend(bytes.collect::<Option<Vec<u8>>>().ok_or(PAIRS)?);
        } else {
            for (index, part) in piece.split(u8::is_ascii_whitespace).enumerate() {
                if index > 0 {
                    words.push(std::mem::take(&mut word));
                }
                word.extend_from_slice(part);
            }
        }
        is_binary = !is_binary;
    }
    if !is_binary {
        return Err(format!("a `|` has no other: {PAIRS}"));
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    Ok(words)
}

/// The byte that two hexadecimal digits say.
fn byte_of(digits: &[u8]) -> Option<u8> {
    let [high, low] = digits else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()
}

fn phrases(test: &Test) -> Result<Op, String> {
    let phrases = phrases_of(test)?;
    if phrases.is_empty() && test.operator == Operator::Pm {
        return Err("no phrase is named".to_owned());
    }
    Phrases::new(phrases).map(Op::Pm)
}
