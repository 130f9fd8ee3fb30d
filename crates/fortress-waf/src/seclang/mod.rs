//! SecLang's texts: parsing them into directives, with every mistake reported at its place.
//!
//! `ruleset` reads files, `lexer` their lines, `directives` knows each directive, and `targets`,
//! `operators` and `actions` read the arguments of rules, which `rules` puts together. Nothing here
//! runs a rule, compiles a regular expression or opens a file.

mod actions;
mod assignments;
mod ast;
mod controls;
mod cursor;
mod directives;
mod lexer;
mod mistake;
mod names;
mod operators;
mod rules;
mod ruleset;
mod selections;
mod targets;
mod template;
#[cfg(test)]
mod tests;

pub use self::{
    ast::{
        Action, AllowScope, BodyProcessor, Change, Control, Directive, DirectiveKind, EngineMode,
        Link, Phase, Piece, Place, Rule, Selection, Selector, SetVar, Setting, Target, Template,
        Test,
    },
    mistake::Mistake,
    names::{Operator, Transformation, Variable},
    ruleset::{Files, NoFiles, Ruleset, RulesetBuilder, WithoutEffect},
};
