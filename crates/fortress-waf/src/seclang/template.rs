//! Text with `%{…}` macros: which variables they name.
//!
//! Putting values in their place is for the transaction.

use super::{Piece, Template, mistake::Wrong, targets};

impl Template {
    /// A text without macros.
    #[must_use]
    pub fn plain(text: &[u8]) -> Self {
        if text.is_empty() {
            return Self::default();
        }
        Self(vec![Piece::Text(text.to_vec())])
    }

    /// The text, if there is no macro in it.
    #[must_use]
    pub fn literal(&self) -> Option<&[u8]> {
        match self.0.as_slice() {
            [] => Some(b""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// `%{` before anything but a name is text: `%{2}` repeats in a regular expression, and
    /// attacks begin with `%{(`.
    pub(super) fn parse(text: &str) -> Result<Self, Wrong> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("%{") {
            plain.push_str(before);
            if !after.starts_with(|first: char| first.is_ascii_alphabetic() || first == '}') {
                plain.push_str("%{");
                rest = after;
                continue;
            }
            let Some((name, after)) = after.split_once('}') else {
                return Err(Wrong::new("`}` is missing after `%{`"));
            };
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain).into_bytes()));
            }
            pieces.push(named(name)?);
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain.into_bytes()));
        }
        Ok(Self(pieces))
    }

    /// With its literal parts in lower case, as keys are compared.
    pub(super) fn lower_case(mut self) -> Self {
        for piece in &mut self.0 {
            if let Piece::Text(text) = piece {
                text.make_ascii_lowercase();
            }
        }
        self
    }
}

fn named(name: &str) -> Result<Piece, Wrong> {
    let (word, key) = match name.split_once(['.', ':']) {
        Some((word, key)) => (word, Some(key)),
        None => (name, None),
    };
    let variable = targets::variable(word)?;
    if let Some(key) = key {
        targets::has_members(variable)?;
        if key.is_empty() {
            return Err(Wrong::new(format!("a key is missing after `%{{{word}.`")));
        }
    }
    Ok(Piece::Macro {
        variable,
        key: key.map(str::to_ascii_lowercase),
    })
}

#[cfg(test)]
mod tests {
    use super::{super::Variable, *};

    fn text(text: &str) -> Piece {
        Piece::Text(text.into())
    }

    fn named(variable: Variable, key: Option<&str>) -> Piece {
        Piece::Macro {
            variable,
            key: key.map(str::to_owned),
        }
    }

    #[track_caller]
    fn check(written: &str, expected: &[Piece]) {
        assert_eq!(Template::parse(written), Ok(Template(expected.to_vec())));
    }

    #[track_caller]
    fn refused(written: &str, expected: &str) {
        assert_eq!(Template::parse(written).unwrap_err().message, expected);
    }

    #[test]
    fn macros() {
        check("", &[]);
        check("a%b", &[text("a%b")]);
        check("%{tx.Foo}", &[named(Variable::Tx, Some("foo"))]);
        check("%{TX:foo}", &[named(Variable::Tx, Some("foo"))]);
        check(
            "a %{MATCHED_VAR}%{rule.msg}!",
            &[
                text("a "),
                named(Variable::MatchedVar, None),
                named(Variable::Rule, Some("msg")),
                text("!"),
            ],
        );
        check("%{tx.a.b:c}", &[named(Variable::Tx, Some("a.b:c"))]);
        check(r"x%{2}%{3,}%{(#a)}", &[text("x%{2}%{3,}%{(#a)}")]);
        check("%{", &[text("%{")]);
    }

    #[test]
    fn refused_macros() {
        refused("%{TXX.foo}", "unknown variable `TXX`");
        refused("%{}", "unknown variable ``");
        refused("%{tx.foo", "`}` is missing after `%{`");
        refused("%{tx.}", "a key is missing after `%{tx.`");
        refused(
            "%{REMOTE_ADDR.x}",
            "`REMOTE_ADDR` has no members, so it takes no selector",
        );
    }
}
