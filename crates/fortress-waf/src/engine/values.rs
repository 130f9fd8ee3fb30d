//! What a transaction holds: the parts of the request and the response as spans, and `TX`.
//!
//! Deliberately not here: what rules make of it (`run`), and which values can match (`screen`).

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    net::SocketAddr,
};

use bytes::Bytes;

use super::{
    persist::Opened,
    program::{OTHER_FIELD, Program, SelectorPlan, TargetPlan, Val},
};
use crate::{
    body::{self, Argument, Collected, Limits},
    seclang::{BodyProcessor, EngineMode, Variable},
    store::{Store, Text},
};

/// The kinds of values that are searched, each a list of its own.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum Bucket {
    QueryName,
    Query,
    CookieName,
    Cookie,
    FieldName,
    Field,
    Line,
    UriRaw,
    Uri,
    Filename,
    Basename,
    QueryString,
    Method,
    Protocol,
    BodyName,
    Body,
    RequestBody,
    File,
    FileField,
    PartHeader,
    XmlText,
    XmlAttribute,
    AnswerFieldName,
    AnswerField,
    AnswerBody,
}

impl Bucket {
    /// All, in the order of their indices.
    pub(super) const ALL: &'static [Self] = &[
        Self::QueryName,
        Self::Query,
        Self::CookieName,
        Self::Cookie,
        Self::FieldName,
        Self::Field,
        Self::Line,
        Self::UriRaw,
        Self::Uri,
        Self::Filename,
        Self::Basename,
        Self::QueryString,
        Self::Method,
        Self::Protocol,
        Self::BodyName,
        Self::Body,
        Self::RequestBody,
        Self::File,
        Self::FileField,
        Self::PartHeader,
        Self::XmlText,
        Self::XmlAttribute,
        Self::AnswerFieldName,
        Self::AnswerField,
        Self::AnswerBody,
    ];
    /// All of the request.
    pub(super) const REQUEST: &'static [Self] = Self::ALL.split_at(22).0;
    /// Those that are known after the request's head.
    pub(super) const HEAD: &'static [Self] = Self::REQUEST.split_at(14).0;
    /// Those that its body brings.
    pub(super) const BODY: &'static [Self] = Self::REQUEST.split_at(14).1;
    /// All of the response.
    pub(super) const RESPONSE: &'static [Self] = Self::ALL.split_at(22).1;
    /// Those of the response's head.
    pub(super) const ANSWER_HEAD: &'static [Self] = Self::RESPONSE.split_at(2).0;
    /// Those that are one text where a target has no host before it and no query behind it.
    pub(super) const SHARED: &'static [Self] = &[Self::UriRaw, Self::Uri, Self::Filename];
    /// How many there are.
    pub(super) const COUNT: usize = Self::ALL.len();

    /// The one with this index.
    pub(super) fn at(index: usize) -> Option<Self> {
        Self::ALL.get(index).copied()
    }

    pub(super) const fn index(self) -> usize {
        match self {
            Self::QueryName => 0,
            Self::Query => 1,
            Self::CookieName => 2,
            Self::Cookie => 3,
            Self::FieldName => 4,
            Self::Field => 5,
            Self::Line => 6,
            Self::UriRaw => 7,
            Self::Uri => 8,
            Self::Filename => 9,
            Self::Basename => 10,
            Self::QueryString => 11,
            Self::Method => 12,
            Self::Protocol => 13,
            Self::BodyName => 14,
            Self::Body => 15,
            Self::RequestBody => 16,
            Self::File => 17,
            Self::FileField => 18,
            Self::PartHeader => 19,
            Self::XmlText => 20,
            Self::XmlAttribute => 21,
            Self::AnswerFieldName => 22,
            Self::AnswerField => 23,
            Self::AnswerBody => 24,
        }
    }

    /// The buckets of a variable, in the order in which rules see them; none if it is computed.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "of a hundred variables most are computed; this is the list of those that are not"
    )]
    pub(super) fn of(variable: Variable, selector: &SelectorPlan) -> &'static [Self] {
        match variable {
            Variable::Args => &[Self::Query, Self::Body],
            Variable::ArgsGet => &[Self::Query],
            Variable::ArgsPost => &[Self::Body],
            Variable::ArgsNames => &[Self::QueryName, Self::BodyName],
            Variable::ArgsGetNames => &[Self::QueryName],
            Variable::ArgsPostNames => &[Self::BodyName],
            Variable::RequestCookies => &[Self::Cookie],
            Variable::RequestCookiesNames => &[Self::CookieName],
            Variable::RequestHeaders => &[Self::Field],
            Variable::RequestHeadersNames => &[Self::FieldName],
            Variable::RequestLine => &[Self::Line],
            Variable::RequestUriRaw => &[Self::UriRaw],
            Variable::RequestUri => &[Self::Uri],
            Variable::RequestFilename => &[Self::Filename],
            Variable::RequestBasename => &[Self::Basename],
            Variable::QueryString => &[Self::QueryString],
            Variable::RequestMethod => &[Self::Method],
            Variable::RequestProtocol => &[Self::Protocol],
            Variable::RequestBody => &[Self::RequestBody],
            Variable::Files => &[Self::File],
            Variable::FilesNames => &[Self::FileField],
            Variable::MultipartPartHeaders => &[Self::PartHeader],
            Variable::Xml => match selector {
                SelectorPlan::Key(key) if &**key == b"//@*" => &[Self::XmlAttribute],
                SelectorPlan::All
                | SelectorPlan::Key(_)
                | SelectorPlan::Field(_)
                | SelectorPlan::Slot(_)
                | SelectorPlan::Keys(..)
                | SelectorPlan::Regex(_) => &[Self::XmlText],
            },
            Variable::ResponseHeaders => &[Self::AnswerField],
            Variable::ResponseHeadersNames => &[Self::AnswerFieldName],
            Variable::ResponseBody => &[Self::AnswerBody],
            _ => &[],
        }
    }
}

/// A header field.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Field {
    pub(super) name: Text,
    pub(super) value: Text,
    /// The number of its name, if a rule names it.
    pub(super) number: u16,
}

/// A value as a rule looks at it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    pub(super) value: Val,
    pub(super) variable: Variable,
    /// The member's name, if it is one of several.
    pub(super) key: Val,
}

/// The parts of a request's first line, and what is made of the target.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Line {
    pub(super) whole: Text,
    pub(super) method: Text,
    pub(super) target: Text,
    pub(super) protocol: Text,
    /// Path and query.
    pub(super) uri: Text,
    pub(super) filename: Text,
    pub(super) basename: Text,
    pub(super) query: Text,
}

/// What is known before the request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Peer {
    pub(super) client: Option<SocketAddr>,
    pub(super) server: Option<SocketAddr>,
    pub(super) id: Text,
    /// Milliseconds since 1970.
    pub(super) now: i64,
}

/// A dynamic key of `TX`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named {
    pub(super) key: Text,
    pub(super) value: Val,
}

/// Everything of one transaction.
#[derive(Debug)]
pub(super) struct State {
    pub(super) store: Store,
    pub(super) peer: Peer,
    pub(super) line: Line,
    pub(super) fields: Vec<Field>,
    pub(super) cookies: Vec<Argument>,
    pub(super) query: Vec<Argument>,
    pub(super) body: Collected,
    pub(super) urlencoded_error: bool,
    pub(super) processor: Option<BodyProcessor>,
    pub(super) request_body_access: bool,
    pub(super) response_body_access: bool,
    pub(super) force_body: bool,
    /// `REQUEST_BODY`.
    pub(super) request_body: Text,
    pub(super) body_length: usize,
    pub(super) inbound_error: bool,
    pub(super) outbound_error: bool,
    pub(super) status: Option<u16>,
    pub(super) answer_protocol: Text,
    pub(super) answer_fields: Vec<Field>,
    pub(super) answer_body: Text,
    pub(super) tx: Vec<Val>,
    pub(super) named: Vec<Named>,
    /// By hash, once there are more than a few.
    named_index: HashMap<u64, usize>,
    /// Keyed by chance: clients choose names.
    hasher: RandomState,
    pub(super) environment: Vec<(Text, Val)>,
    pub(super) opened: Vec<Opened>,
    pub(super) engine: EngineMode,
    pub(super) highest_severity: u8,
    /// What the description proved, by bucket and index.
    pub(super) proven_names: Vec<(Bucket, Text)>,
    pub(super) proven_spans: Vec<(u32, u32)>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            store: Store::default(),
            peer: Peer::default(),
            line: Line::default(),
            fields: Vec::new(),
            cookies: Vec::new(),
            query: Vec::new(),
            body: Collected::default(),
            urlencoded_error: false,
            processor: None,
            request_body_access: false,
            response_body_access: false,
            force_body: false,
            request_body: Text::default(),
            body_length: 0,
            inbound_error: false,
            outbound_error: false,
            status: None,
            answer_protocol: Text::default(),
            answer_fields: Vec::new(),
            answer_body: Text::default(),
            tx: Vec::new(),
            named: Vec::new(),
            named_index: HashMap::new(),
            hasher: RandomState::new(),
            environment: Vec::new(),
            opened: Vec::new(),
            engine: EngineMode::Off,
            highest_severity: NO_SEVERITY,
            proven_names: Vec::new(),
            proven_spans: Vec::new(),
        }
    }
}

/// `HIGHEST_SEVERITY` while nothing has matched.
pub(super) const NO_SEVERITY: u8 = 255;
/// Memory that an idle transaction keeps.
const KEPT_ARENA: usize = 64 << 10;
const KEPT_ENTRIES: usize = 4_096;
/// Keys of `TX` that are looked through one by one.
const FEW: usize = 32;

impl State {
    /// Makes it ready for another transaction.
    pub(super) fn reset(&mut self, program: &Program) {
        fn empty<T>(list: &mut Vec<T>) {
            list.clear();
            if list.capacity() > KEPT_ENTRIES {
                list.shrink_to(KEPT_ENTRIES);
            }
        }
        self.store.clear(KEPT_ARENA);
        self.line = Line::default();
        empty(&mut self.fields);
        empty(&mut self.cookies);
        empty(&mut self.query);
        self.body.clear();
        self.urlencoded_error = false;
        self.processor = None;
        self.request_body_access = program.settings.request_body;
        self.response_body_access = program.settings.response_body;
        self.force_body = false;
        self.request_body = Text::default();
        self.body_length = 0;
        self.inbound_error = false;
        self.outbound_error = false;
        self.status = None;
        self.answer_protocol = Text::default();
        empty(&mut self.answer_fields);
        self.answer_body = Text::default();
        self.tx.clear();
        self.tx.extend_from_slice(&program.initial);
        empty(&mut self.named);
        self.named_index.clear();
        self.environment.clear();
        self.opened.clear();
        self.engine = program.settings.engine;
        self.highest_severity = NO_SEVERITY;
        self.proven_names.clear();
        self.proven_spans.clear();
    }

    pub(super) fn limits(program: &Program) -> Limits {
        let settings = &program.settings;
        Limits {
            arguments: settings.arguments,
            depth: settings.depth,
            parts: settings.files.max(1_000),
        }
    }

    /// Takes the first line.
    pub(super) fn set_line(
        &mut self,
        program: &Program,
        method: &[u8],
        target: &[u8],
        protocol: &[u8],
    ) {
        let whole = self.store.write(|arena| {
            arena.extend_from_slice(method);
            arena.push(b' ');
            arena.extend_from_slice(target);
            arena.push(b' ');
            arena.extend_from_slice(protocol);
        });
        let after_method = method.len() + 1;
        let after_target = after_method + target.len();
        let target_text = whole.part(after_method, after_target);
        // RFC 9112, section 3.2.2: the absolute form has a scheme and a host before the path.
        let origin = path_start(target);
        let uri = whole.part(after_method + origin, after_target);
        let question = memchr::memchr(b'?', target.get(origin..).unwrap_or_default());
        let path_end = question.map_or(target.len(), |at| origin + at);
        let path = whole.part(after_method + origin, after_method + path_end);
        let query = whole.part(after_method + path_end + 1, after_target);
        let raw_path = target.get(origin..path_end).unwrap_or_default();
        let filename = if memchr::memchr(b'%', raw_path).is_some() {
            self.store.write(|arena| percent_decode(raw_path, arena))
        } else {
            path
        };
        let decoded = self.store.get(filename);
        let slash = memchr::memrchr2(b'/', b'\\', decoded);
        let basename = match slash {
            Some(at) if at + 1 < decoded.len() => filename.part(at + 1, decoded.len()),
            Some(_) => filename.part(decoded.len(), decoded.len()),
            None => filename,
        };
        self.line = Line {
            whole,
            method: whole.part(0, method.len()),
            target: target_text,
            protocol: whole.part(after_target + 1, after_target + 1 + protocol.len()),
            uri,
            filename,
            basename,
            query: if question.is_some() {
                query
            } else {
                Text::default()
            },
        };
        self.read_query(program);
    }

    fn read_query(&mut self, program: &Program) {
        let limits = Self::limits(program);
        let told = body::urlencoded(
            &mut self.store,
            self.line.query,
            program.settings.separator,
            &limits,
            &mut self.query,
        );
        self.urlencoded_error |= told.invalid_encoding;
        if let Some(fault) = told.fault {
            self.body.fail(fault);
        }
    }

    /// Takes a header field of the request.
    pub(super) fn add_field(&mut self, program: &Program, name: &[u8], value: &[u8]) {
        let (name, value, number) = self.field(program, name, value);
        self.fields.push(Field {
            name,
            value,
            number,
        });
    }

    fn field(&mut self, program: &Program, name: &[u8], value: &[u8]) -> (Text, Text, u16) {
        let number = program.fields.find(name);
        let whole = self.store.write(|arena| {
            arena.extend_from_slice(name);
            arena.extend_from_slice(value);
        });
        let all = name.len() + value.len();
        (
            whole.part(0, name.len()),
            whole.part(name.len(), all),
            number,
        )
    }

    pub(super) fn add_answer_field(&mut self, program: &Program, name: &[u8], value: &[u8]) {
        let (name, value, number) = self.field(program, name, value);
        self.answer_fields.push(Field {
            name,
            value,
            number,
        });
    }

    /// What is known when the head is whole: cookies, and how the body will be read.
    pub(super) fn end_head(&mut self, program: &Program) {
        let limits = Self::limits(program);
        for field in &self.fields {
            if self.store.get(field.name).eq_ignore_ascii_case(b"cookie") {
                let fault = body::cookies(&self.store, field.value, &limits, &mut self.cookies);
                if let Some(fault) = fault {
                    self.body.fail(fault);
                }
            }
        }
        let processor = BodyProcessor::for_content_type(self.header(b"content-type"));
        // The other two are chosen by rules, as in ModSecurity.
        self.processor = processor.filter(|processor| {
            matches!(
                processor,
                BodyProcessor::UrlEncoded | BodyProcessor::Multipart
            )
        });
    }

    /// The first field with this name.
    pub(super) fn header(&self, name: &[u8]) -> &[u8] {
        let mut fields = self.fields.iter();
        let field = fields.find(|field| self.store.get(field.name).eq_ignore_ascii_case(name));
        field.map_or(&[], |field| self.store.get(field.value))
    }

    /// The first field of the answer with this name.
    pub(super) fn answer_header(&self, name: &[u8]) -> Option<Text> {
        let mut fields = self.answer_fields.iter();
        let field = fields.find(|field| self.store.get(field.name).eq_ignore_ascii_case(name));
        field.map(|field| field.value)
    }

    /// Reads the body as rules have said.
    pub(super) fn read_body(&mut self, program: &Program, whole: Bytes) {
        self.body_length = whole.len();
        if !self.request_body_access {
            return;
        }
        let limit = usize::try_from(program.settings.request_limit).unwrap_or(usize::MAX);
        let body = if whole.len() > limit {
            self.inbound_error = true;
            whole.slice(..limit)
        } else {
            whole
        };
        let length = body.len();
        self.store.set_body(body);
        let is_form = self.processor == Some(BodyProcessor::UrlEncoded);
        if is_form || self.processor.is_none() && self.force_body {
            self.request_body = Text::of_body(0, length);
        }
        if let Some(processor) = self.processor {
            let limits = Self::limits(program);
            let content_type = match processor {
                // The only one that looks at it.
                BodyProcessor::Multipart => self.header(b"content-type").to_vec(),
                BodyProcessor::UrlEncoded | BodyProcessor::Json | BodyProcessor::Xml => Vec::new(),
            };
            body::process(
                processor,
                &mut self.store,
                &content_type,
                program.settings.separator,
                &limits,
                &mut self.body,
            );
            self.urlencoded_error |= self.body.flags.urlencoded_error;
        }
    }

    /// How many values a bucket has.
    pub(super) fn count(&self, bucket: Bucket) -> usize {
        match bucket {
            Bucket::QueryName | Bucket::Query => self.query.len(),
            Bucket::CookieName | Bucket::Cookie => self.cookies.len(),
            Bucket::FieldName | Bucket::Field => self.fields.len(),
            Bucket::Line
            | Bucket::UriRaw
            | Bucket::Uri
            | Bucket::Filename
            | Bucket::Basename
            | Bucket::QueryString
            | Bucket::Method
            | Bucket::Protocol => 1,
            Bucket::BodyName | Bucket::Body => self.body.arguments.len(),
            Bucket::RequestBody => usize::from(self.request_body.len() > 0),
            Bucket::File | Bucket::FileField => self.body.files.len(),
            Bucket::PartHeader => self.body.part_headers.len(),
            Bucket::XmlText => self.body.xml_texts.len(),
            Bucket::XmlAttribute => self.body.xml_attributes.len(),
            Bucket::AnswerFieldName | Bucket::AnswerField => self.answer_fields.len(),
            Bucket::AnswerBody => usize::from(self.answer_body.len() > 0),
        }
    }

    /// A value of a bucket, and its name if it has one.
    pub(super) fn value(&self, bucket: Bucket, index: usize) -> Option<(Text, Option<Text>)> {
        let named = |argument: &Argument| (argument.value, Some(argument.name));
        let name = |argument: &Argument| (argument.name, Some(argument.name));
        let field = |field: &Field| (field.value, Some(field.name));
        let field_name = |field: &Field| (field.name, Some(field.name));
        match bucket {
            Bucket::QueryName => self.query.get(index).map(name),
            Bucket::Query => self.query.get(index).map(named),
            Bucket::CookieName => self.cookies.get(index).map(name),
            Bucket::Cookie => self.cookies.get(index).map(named),
            Bucket::FieldName => self.fields.get(index).map(field_name),
            Bucket::Field => self.fields.get(index).map(field),
            Bucket::Line => Some((self.line.whole, None)),
            Bucket::UriRaw => Some((self.line.target, None)),
            Bucket::Uri => Some((self.line.uri, None)),
            Bucket::Filename => Some((self.line.filename, None)),
            Bucket::Basename => Some((self.line.basename, None)),
            Bucket::QueryString => Some((self.line.query, None)),
            Bucket::Method => Some((self.line.method, None)),
            Bucket::Protocol => Some((self.line.protocol, None)),
            Bucket::BodyName => self.body.arguments.get(index).map(name),
            Bucket::Body => self.body.arguments.get(index).map(named),
            Bucket::RequestBody => Some((self.request_body, None)),
            Bucket::File => {
                let file = self.body.files.get(index)?;
                Some((file.filename, Some(file.name)))
            }
            Bucket::FileField => {
                let file = self.body.files.get(index)?;
                Some((file.name, Some(file.name)))
            }
            Bucket::PartHeader => self.body.part_headers.get(index).map(named),
            Bucket::XmlText => Some((*self.body.xml_texts.get(index)?, None)),
            Bucket::XmlAttribute => Some((*self.body.xml_attributes.get(index)?, None)),
            Bucket::AnswerFieldName => self.answer_fields.get(index).map(field_name),
            Bucket::AnswerField => self.answer_fields.get(index).map(field),
            Bucket::AnswerBody => Some((self.answer_body, None)),
        }
    }

    /// The number of a field's name.
    pub(super) fn field_number(&self, bucket: Bucket, index: usize) -> u16 {
        let fields = if bucket == Bucket::AnswerField {
            &self.answer_fields
        } else {
            &self.fields
        };
        fields.get(index).map_or(OTHER_FIELD, |field| field.number)
    }

    /// Whether a selector means a member of a bucket.
    pub(super) fn selects(
        &self,
        selector: &SelectorPlan,
        bucket: Bucket,
        index: usize,
        key: Option<Text>,
    ) -> bool {
        match selector {
            SelectorPlan::All => true,
            SelectorPlan::Field(number) => self.field_number(bucket, index) == *number,
            SelectorPlan::Key(wanted) => {
                // `/*` and `//@*`, which the bucket stands for.
                matches!(bucket, Bucket::XmlText | Bucket::XmlAttribute)
                    || key.is_some_and(|key| self.store.get(key).eq_ignore_ascii_case(wanted))
            }
            SelectorPlan::Regex(regex) => {
                key.is_some_and(|key| regex.is_match(self.store.get(key)))
            }
            SelectorPlan::Slot(_) | SelectorPlan::Keys(..) => false,
        }
    }

    /// Whether a target takes this member away.
    pub(super) fn takes(
        &self,
        target: &TargetPlan,
        variable: Variable,
        bucket: Bucket,
        index: usize,
        key: Option<Text>,
    ) -> bool {
        target.variable == variable && self.selects(&target.selector, bucket, index, key)
    }

    /// The place of a key of `TX` that has no slot.
    pub(super) fn named(&self, key: &[u8]) -> Option<usize> {
        let is_it = |named: &Named| self.store.get(named.key) == key;
        if self.named.len() <= FEW {
            return self.named.iter().position(is_it);
        }
        // Two keys with one hash are two entries, of which the second is found only by its key.
        let at = *self.named_index.get(&self.hasher.hash_one(key))?;
        if self.named.get(at).is_some_and(is_it) {
            return Some(at);
        }
        self.named.iter().position(is_it)
    }

    /// Sets a key of `TX` that has no slot.
    pub(super) fn set_named(&mut self, key: &[u8], value: Val) {
        if let Some(index) = self.named(key) {
            if let Some(named) = self.named.get_mut(index) {
                named.value = value;
            }
            return;
        }
        let key = self.store.add(key);
        self.named.push(Named { key, value });
        let new = if self.named.len() == FEW + 1 {
            0
        } else {
            self.named.len() - 1
        };
        if self.named.len() > FEW {
            for (at, named) in self.named.iter().enumerate().skip(new) {
                let hash = self.hasher.hash_one(self.store.get(named.key));
                self.named_index.entry(hash).or_insert(at);
            }
        }
    }

    /// Whether the description proved a value.
    pub(super) fn is_proven(&self, bucket: Bucket, text: Text, key: Option<Text>) -> bool {
        if bucket == Bucket::Body {
            let Some(start) = text.start_in_body() else {
                return false;
            };
            let span = u32::try_from(start)
                .ok()
                .zip(u32::try_from(start + text.len()).ok());
            return span.is_some_and(|span| self.proven_spans.binary_search(&span).is_ok());
        }
        let Some(key) = key else {
            return false;
        };
        let key = self.store.get(key);
        self.proven_names
            .iter()
            .any(|(of, name)| *of == bucket && self.store.get(*name) == key)
    }

    /// Proven names that occur twice are proven no more: which of the two was checked?
    pub(super) fn settle_proven(&mut self) {
        let mut names = std::mem::take(&mut self.proven_names);
        names.retain(|(bucket, name)| {
            let name = self.store.get(*name);
            let is_name = |index: &usize| {
                let key = self.value(*bucket, *index).and_then(|(_, key)| key);
                key.map(|key| self.store.get(key)).is_some_and(|key| {
                    key == name || bucket == &Bucket::Field && key.eq_ignore_ascii_case(name)
                })
            };
            (0..self.count(*bucket)).filter(is_name).nth(1).is_none()
        });
        self.proven_names = names;
    }
}

/// Where the path begins in a request target.
fn path_start(target: &[u8]) -> usize {
    if target.starts_with(b"/") {
        return 0;
    }
    let Some(scheme) = memchr::memmem::find(target, b"://") else {
        return 0;
    };
    let after = scheme + 3;
    let rest = target.get(after..).unwrap_or_default();
    memchr::memchr2(b'/', b'?', rest).map_or(target.len(), |at| after + at)
}

/// Decodes `%hh`; what is none stays as it is.
fn percent_decode(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let digits = (*first == b'%').then(|| after.first_chunk::<2>()).flatten();
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let decoded =
            digits.and_then(|[high, low]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok());
        match decoded {
            Some(byte) => {
                out.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
}
