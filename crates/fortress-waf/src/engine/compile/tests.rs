//! Operators with their arguments, ready to be asked.

use aho_corasick::AhoCorasickBuilder;
use regex::bytes::Regex;
use regex_syntax::hir::{Hir, HirKind, Look};

use super::{
    super::program::{Op, RxPlan, TemplatePlan},
    Compiler,
    backtracking::backtracking,
};
use crate::{
    ByteSet,
    operator::{ByteRanges, IpNetworks},
    pattern::{Pattern, bytes_of},
    seclang::{Link, Operator, Place, Test},
};

/// What `verifyCC` and its like look for when a rule names no pattern.
const ANYTHING: &[u8] = b".*";

impl Compiler {
    /// The operator of a link.
    pub(super) fn op(&mut self, link: &Link) -> Op {
        match self.try_op(&link.test) {
            Ok(op) => op,
            Err(message) => {
                let operator = link.test.operator.word();
                self.wrong(&link.place, format!("`@{operator}`: {message}"));
                Op::Never
            }
        }
    }

    fn try_op(&mut self, test: &Test) -> Result<Op, String> {
        Ok(match test.operator {
            Operator::UnconditionalMatch => Op::Always,
            Operator::NoMatch => Op::Never,
            Operator::Rx | Operator::RxGlobal => self.rx(test)?,
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

    fn rx(&mut self, test: &Test) -> Result<Op, String> {
        let Some(text) = test.argument.literal() else {
            return Ok(Op::RxMacro(self.template(&test.argument)));
        };
        match Pattern::check(text) {
            Ok(widened) if widened && test.negated => backtracking(text, WIDENED),
            Ok(_) => Ok(Op::Pending(self.constants.add(text))),
            Err(error) => backtracking(text, &error.to_string()),
        }
    }

    /// Compiles a pattern whose rule stays; gives the tree that it was made from.
    pub(super) fn finish(&mut self, op: &mut Op, place: &Place) -> Option<Hir> {
        let Op::Pending(number) = op else {
            return None;
        };
        match Pattern::parse(self.constants.get(*number)) {
            Ok(pattern) => {
                *op = Op::Rx(RxPlan {
                    groups: pattern.regex.captures_len(),
                    is_everything: is_everything(&pattern.hir),
                    least: pattern.hir.properties().minimum_len().unwrap_or(0),
                    regex: pattern.regex,
                });
                Some(pattern.hir)
            }
            Err(error) => {
                *op = Op::Never;
                self.wrong(place, format!("`@rx`: {error}"));
                None
            }
        }
    }
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
    let words = literal(test)?.split(u8::is_ascii_whitespace);
    let words = words.filter(|word| !word.is_empty());
    Ok(words.map(<[u8]>::to_vec).collect())
}

fn phrases(test: &Test) -> Result<Op, String> {
    let phrases = phrases_of(test)?;
    if phrases.is_empty() && test.operator == Operator::Pm {
        return Err("no phrase is named".to_owned());
    }
    let automaton = AhoCorasickBuilder::new()
        .ascii_case_insensitive(true)
        .match_kind(aho_corasick::MatchKind::LeftmostFirst)
        .kind(Some(aho_corasick::AhoCorasickKind::ContiguousNFA))
        .build(&phrases)
        .map_err(|error| error.to_string())?;
    Ok(Op::Pm(automaton, phrases))
}
