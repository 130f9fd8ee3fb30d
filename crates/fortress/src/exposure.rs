//! How open a configuration's APIs are, counted once for all who say it: `check`, the ready line,
//! and the JSON of both. An API without a description is no operation, and is counted by itself.

use fortress_gateway::{Exposed, Exposure};
use serde_json::{Value, json};

use crate::screen::count;

/// How many, by who may call.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Counts {
    pub(crate) protected: usize,
    pub(crate) public: usize,
    pub(crate) undecided: usize,
}

impl Counts {
    /// Of the operations that a description declares.
    pub(crate) fn operations(exposures: &[Exposure]) -> Self {
        Self::of(exposures.iter().filter(|exposure| exposure.described))
    }

    /// Of the APIs that have no description.
    pub(crate) fn undescribed(exposures: &[Exposure]) -> Self {
        Self::of(exposures.iter().filter(|exposure| !exposure.described))
    }

    fn of<'e>(exposures: impl Iterator<Item = &'e Exposure>) -> Self {
        let mut counts = Self::default();
        for exposure in exposures {
            match exposure.access {
                Exposed::Protected => counts.protected += 1,
                Exposed::Public => counts.public += 1,
                Exposed::Undecided => counts.undecided += 1,
            }
        }
        counts
    }

    pub(crate) fn total(self) -> usize {
        self.protected + self.public + self.undecided
    }
}

/// `1 API without a description (public)`; `None` where each has one.
pub(crate) fn undescribed(exposures: &[Exposure]) -> Option<String> {
    let counts = Counts::undescribed(exposures);
    let total = counts.total();
    let of_all = |number: usize| number == total;
    let who = if total == 0 {
        return None;
    } else if of_all(counts.protected) {
        String::from("protected")
    } else if of_all(counts.public) {
        String::from("public")
    } else if of_all(counts.undecided) {
        String::from("undecided")
    } else {
        let each = [
            (counts.protected, "protected"),
            (counts.public, "public"),
            (counts.undecided, "undecided"),
        ];
        let each = each.into_iter().filter(|(number, _)| *number > 0);
        let each: Vec<String> = each
            .map(|(number, word)| format!("{number} {word}"))
            .collect();
        each.join(", ")
    };
    Some(format!(
        "{} without a description ({who})",
        count(total, "API")
    ))
}

/// The names of the APIs without a description, and who may call them.
pub(crate) fn undescribed_json(exposures: &[Exposure]) -> Vec<Value> {
    let undescribed = exposures.iter().filter(|exposure| !exposure.described);
    undescribed
        .map(|exposure| {
            let access = match exposure.access {
                Exposed::Protected => "protected",
                Exposed::Public => "public",
                Exposed::Undecided => "undecided",
            };
            json!({ "api": exposure.api, "access": access })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use fortress_model::Mode;

    use super::*;

    fn exposure(access: Exposed, described: bool) -> Exposure {
        Exposure {
            api: "a".into(),
            operation: "o".into(),
            described,
            access,
            mode: Mode::Enforce,
        }
    }

    #[test]
    fn an_api_without_a_description_is_no_operation() {
        let all = [
            exposure(Exposed::Protected, true),
            exposure(Exposed::Public, true),
            exposure(Exposed::Public, false),
        ];
        assert_eq!(Counts::operations(&all).total(), 2);
        assert_eq!(Counts::undescribed(&all).total(), 1);
        let said = undescribed(&all);
        assert_eq!(
            said.as_deref(),
            Some("1 API without a description (public)")
        );
        let two = [
            exposure(Exposed::Protected, false),
            exposure(Exposed::Public, false),
        ];
        let said = undescribed(&two);
        assert_eq!(
            said.as_deref(),
            Some("2 APIs without a description (1 protected, 1 public)")
        );
        assert_eq!(undescribed(&all[..2]), None);
        assert_eq!(undescribed_json(&two)[0]["access"], "protected");
    }
}
