//! SecLang's texts: parsing them into directives, with every mistake reported at its place.

mod ast;
mod names;

pub use self::{
    ast::{
        Action, AllowScope, BodyProcessor, Change, Control, Directive, DirectiveKind, EngineMode,
        Link, Phase, Piece, Place, Rule, Selection, Selector, SetVar, Setting, Target, Template,
        Test,
    },
    names::{Operator, Transformation, Variable},
};
