//! What `style` and `explode` make of the text of one parameter (RFC 6570, as OpenAPI uses it).
//!
//! Text is split before it is decoded, so that an encoded delimiter is part of a value. Deliberately
//! not here: parameters that take several pairs of a query, which is `query`.

use std::borrow::Cow;

use super::{
    decode::{Plus, decode},
    value::Raw,
};

/// How a parameter's value is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Style {
    /// `a,b` (path, header).
    Simple,
    /// `.a.b` (path).
    Label,
    /// `;p=a;p=b` (path).
    Matrix,
    /// `p=a,b` or `p=a&p=b` (query, cookie).
    Form,
    /// `p=a%20b` (query).
    SpaceDelimited,
    /// `p=a|b` (query).
    PipeDelimited,
    /// `p[k]=a` (query).
    DeepObject,
}

impl Style {
    /// The style that a description calls `name`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "simple" => Self::Simple,
            "label" => Self::Label,
            "matrix" => Self::Matrix,
            "form" => Self::Form,
            "spaceDelimited" => Self::SpaceDelimited,
            "pipeDelimited" => Self::PipeDelimited,
            "deepObject" => Self::DeepObject,
            _ => return None,
        })
    }
}

/// What kind of value a text is to be read as.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Shape {
    Scalar,
    Array,
    Object,
}

/// How a text is split and decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form<'n> {
    pub(crate) style: Style,
    pub(crate) explode: bool,
    pub(crate) plus: Plus,
    /// The parameter's name, for `matrix`.
    pub(crate) name: &'n str,
    /// Whether encoded commas split too: many clients encode them all.
    pub(crate) split_encoded: bool,
    /// Whether the text is taken as it is, without percent-decoding: in headers.
    pub(crate) literal: bool,
}

impl Form<'_> {
    fn decode<'a>(&self, text: &'a str) -> Result<Cow<'a, str>, &'static str> {
        if self.literal {
            Ok(Cow::Borrowed(text))
        } else {
            decode(text, self.plus)
        }
    }
}

type Reading<'a> = Result<Raw<'a>, &'static str>;

/// Reads one text.
///
/// # Errors
/// A text that is not of the style, or does not decode; the message says what was expected.
pub(crate) fn read<'a>(text: &'a str, shape: Shape, form: &Form<'_>) -> Reading<'a> {
    match form.style {
        Style::Label => {
            let rest = text.strip_prefix('.').ok_or("expected `.` in front")?;
            let separator = if form.explode || !rest.contains(',') {
                "."
            } else {
                ","
            };
            split(rest, shape, separator, form)
        }
        Style::Matrix => matrix(text, shape, form),
        Style::Simple | Style::Form | Style::DeepObject => split(text, shape, ",", form),
        Style::SpaceDelimited => split(text, shape, " ", form),
        Style::PipeDelimited => split(text, shape, "|", form),
    }
}

fn split<'a>(text: &'a str, shape: Shape, separator: &str, form: &Form<'_>) -> Reading<'a> {
    match shape {
        Shape::Scalar => form.decode(text).map(Raw::Text),
        Shape::Array => pieces(text, separator, form)
            .into_iter()
            .map(|piece| form.decode(trim(piece, form)).map(Raw::Text))
            .collect::<Result<_, _>>()
            .map(Raw::List),
        // A form explodes into pairs of the query, so here the pairs are its own only for others.
        Shape::Object if form.explode && form.style != Style::Form => {
            named(pieces(text, separator, form), form)
        }
        Shape::Object => alternating(pieces(text, separator, form), form),
    }
}

/// In a header, spaces around commas do not count (RFC 9110, section 5.6.1).
fn trim<'a>(piece: &'a str, form: &Form<'_>) -> &'a str {
    if form.style == Style::Simple {
        piece.trim_matches([' ', '\t'])
    } else {
        piece
    }
}

fn pieces<'a>(text: &'a str, separator: &str, form: &Form<'_>) -> Vec<&'a str> {
    if text.is_empty() {
        return Vec::new();
    }
    let encoded: &[&str] = match separator {
        // Neither may stand in a query as it is, so the encoded form is the delimiter.
        " " => &["%20", "+"],
        "|" => &["%7C", "%7c"],
        "," if form.split_encoded => &["%2C", "%2c"],
        _ => &[],
    };
    let mut pieces: Vec<&str> = text.split(separator).collect();
    for delimiter in encoded {
        pieces = pieces
            .into_iter()
            .flat_map(|piece| piece.split(*delimiter))
            .collect();
    }
    pieces
}

/// `R=100,G=200`.
fn named<'a>(pieces: Vec<&'a str>, form: &Form<'_>) -> Reading<'a> {
    let mut members = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let (name, value) = piece.split_once('=').ok_or("expected `name=value`")?;
        let name = form.decode(trim(name, form))?;
        members.push((name, Raw::Text(form.decode(trim(value, form))?)));
    }
    distinct(members)
}

/// `R,100,G,200`.
fn alternating<'a>(pieces: Vec<&'a str>, form: &Form<'_>) -> Reading<'a> {
    let mut members = Vec::with_capacity(pieces.len() / 2);
    let mut rest = pieces.into_iter();
    while let Some(name) = rest.next() {
        let value = rest.next().ok_or("expected a value behind each name")?;
        let name = form.decode(trim(name, form))?;
        members.push((name, Raw::Text(form.decode(trim(value, form))?)));
    }
    distinct(members)
}

/// The message for a name that stands twice, by which callers know it.
pub(crate) const TWICE: &str = "a property is given twice";

pub(crate) fn distinct<'a>(members: Vec<(Cow<'a, str>, Raw<'a>)>) -> Reading<'a> {
    let mut names: Vec<&str> = members.iter().map(|(name, _)| &**name).collect();
    names.sort_unstable();
    if names
        .windows(2)
        .any(|pair| matches!(pair, [one, other] if one == other))
    {
        return Err(TWICE);
    }
    Ok(Raw::Map(members))
}

fn matrix<'a>(text: &'a str, shape: Shape, form: &Form<'_>) -> Reading<'a> {
    let rest = text.strip_prefix(';').ok_or("expected `;` in front")?;
    let value = |piece: &'a str| {
        let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
        let name = form.decode(name)?;
        if *name == *form.name {
            Ok(value)
        } else {
            Err("expected the parameter's name")
        }
    };
    match shape {
        Shape::Array if form.explode => {
            let mut items = Vec::new();
            for piece in rest.split(';') {
                items.push(Raw::Text(form.decode(value(piece)?)?));
            }
            Ok(Raw::List(items))
        }
        Shape::Object if form.explode => named(rest.split(';').collect(), form),
        // What stands behind another `;` is a parameter of its own to whoever reads these.
        Shape::Scalar | Shape::Array | Shape::Object if rest.contains(';') => {
            Err("expected one `;`")
        }
        Shape::Scalar | Shape::Array | Shape::Object => split(value(rest)?, shape, ",", form),
    }
}
