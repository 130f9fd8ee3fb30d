//! A body read outside of any transaction, in owned form: what fuzzing, tests of other crates and
//! whoever explains a finding look at. A transaction itself never makes one.

use bytes::Bytes;

use super::{Argument, Collected, Limits, process};
use crate::{
    seclang::BodyProcessor,
    store::{Store, Text},
};

/// What a processor reads from a body.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Reading {
    /// `ARGS_POST`.
    pub arguments: Vec<(Vec<u8>, Vec<u8>)>,
    /// Form field, file name and content of each file.
    pub files: Vec<(Vec<u8>, Vec<u8>, Vec<u8>)>,
    /// `MULTIPART_PART_HEADERS`.
    pub part_headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// `XML:/*`.
    pub xml_texts: Vec<Vec<u8>>,
    /// `XML://@*`.
    pub xml_attributes: Vec<Vec<u8>>,
    /// `REQBODY_PROCESSOR_ERROR_MSG`, if there is an error.
    pub error: Option<String>,
    /// `MULTIPART_STRICT_ERROR`.
    pub strict_error: bool,
    /// Bytes that had to be written, because they do not stand in the body as they are.
    pub written: usize,
}

/// Reads a body with the limits that hold by default.
#[must_use]
pub fn read_body(processor: BodyProcessor, content_type: &[u8], body: Bytes) -> Reading {
    let mut store = Store::default();
    store.set_body(body);
    let mut collected = Collected::default();
    process(
        processor,
        &mut store,
        content_type,
        b'&',
        &Limits::default(),
        &mut collected,
    );
    let own = |text: &Text| store.get(*text).to_vec();
    let pair = |argument: &Argument| (own(&argument.name), own(&argument.value));
    Reading {
        arguments: collected.arguments.iter().map(pair).collect(),
        files: collected
            .files
            .iter()
            .map(|file| (own(&file.name), own(&file.filename), own(&file.content)))
            .collect(),
        part_headers: collected.part_headers.iter().map(pair).collect(),
        xml_texts: collected.xml_texts.iter().map(own).collect(),
        xml_attributes: collected.xml_attributes.iter().map(own).collect(),
        error: collected.fault.map(|fault| fault.to_string()),
        strict_error: collected.flags.strict_error,
        written: store.used(),
    }
}
