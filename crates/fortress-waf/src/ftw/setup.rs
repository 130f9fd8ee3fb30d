//! The Core Rule Set, set up as its own tests want it: CRS runs them at paranoia level 4, with rules
//! that log and do not refuse, and with limits low enough that a test can exceed them.
//!
//! Deliberately not here: reading files; the caller brings their texts.

use crate::{
    builtin,
    seclang::{Files, Mistake, Ruleset, RulesetBuilder},
};

/// The files of a rule set.
#[derive(Debug)]
pub struct RuleFiles {
    /// `crs-setup.conf`, or its example.
    pub setup: RuleFile,
    /// `rules/*.conf`, in order.
    pub rules: Vec<RuleFile>,
}

/// A file: its name, for mistakes and for the files that it names, and its text.
#[derive(Debug)]
pub struct RuleFile {
    /// The name.
    pub name: String,
    /// The text.
    pub text: Vec<u8>,
}

/// How the rules run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Setup {
    /// The paranoia level, 1 to 4.
    pub paranoia: u8,
    /// Whether rules refuse.
    pub mode: Mode,
}

/// Whether rules refuse.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// They log.
    Detect,
    /// They refuse.
    Refuse,
}

/// As in CRS's own runs.
impl Default for Setup {
    fn default() -> Self {
        Self {
            paranoia: 4,
            mode: Mode::Detect,
        }
    }
}

impl Setup {
    /// What stands behind `crs-setup.conf`, in SecLang.
    #[must_use]
    pub fn text(&self) -> String {
        let (paranoia, mode) = (self.paranoia, self.mode.word());
        // The methods and media types are those of CRS again, not those that an API is granted.
        format!(
            "SecRuleEngine {mode}
SecResponseBodyAccess On
SecAction \"id:4700020,phase:1,t:none,pass,nolog,\\
    setvar:tx.blocking_paranoia_level={paranoia},\\
    setvar:tx.detection_paranoia_level={paranoia},\\
    setvar:tx.crs_validate_utf8_encoding=1,\\
    setvar:tx.arg_name_length=100,\\
    setvar:tx.arg_length=400,\\
    setvar:tx.total_arg_length=64000,\\
    setvar:tx.max_num_args=255,\\
    setvar:tx.max_file_size=64100,\\
    setvar:tx.combined_file_sizes=65535,\\
    setvar:!tx.allowed_methods,\\
    setvar:!tx.allowed_request_content_type\"
"
        )
    }
}

impl Mode {
    fn word(self) -> &'static str {
        match self {
            Self::Detect => "DetectionOnly",
            Self::Refuse => "On",
        }
    }
}

impl RuleFiles {
    /// The rule set for a run.
    ///
    /// # Errors
    /// Every mistake of every file.
    pub fn ruleset(&self, setup: &Setup, files: &mut impl Files) -> Result<Ruleset, Vec<Mistake>> {
        let mut builder = RulesetBuilder::default();
        builder.add_file("before", builtin::BEFORE, files);
        builder.add_file(&self.setup.name, &self.setup.text, files);
        builder.add_file("the set-up of tests", setup.text(), files);
        for file in &self.rules {
            builder.add_file(&file.name, &file.text, files);
        }
        builder.add_file("after", builtin::AFTER, files);
        builder.build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seclang::{DirectiveKind, EngineMode, NoFiles};

    #[test]
    fn the_mode_of_the_set_up_is_the_last_word() {
        let file = |text: &str| RuleFile {
            name: "x.conf".into(),
            text: text.into(),
        };
        let files = RuleFiles {
            setup: file("SecRuleEngine Off\n"),
            rules: vec![file("SecAction \"id:1,phase:1,pass\"\n")],
        };
        for (mode, expected) in [
            (Mode::Detect, EngineMode::DetectionOnly),
            (Mode::Refuse, EngineMode::On),
        ] {
            let setup = Setup { paranoia: 2, mode };
            let ruleset = files.ruleset(&setup, &mut NoFiles).unwrap();
            let mut modes = ruleset.directives().iter().filter_map(|directive| {
                if let DirectiveKind::Engine(mode) = &directive.kind {
                    Some(*mode)
                } else {
                    None
                }
            });
            assert_eq!(modes.next_back(), Some(expected));
            assert!(setup.text().contains("blocking_paranoia_level=2,"));
        }
    }
}
