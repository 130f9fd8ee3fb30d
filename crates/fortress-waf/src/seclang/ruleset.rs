//! Files of rules, in order, as one rule set: includes, chains over lines, what only the whole shows
//! (ids that stand twice, markers that are missing). All mistakes of all files are told at once.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{
    Action, Directive, DirectiveKind, Link, Mistake, Place, Rule, Setting,
    directives::{self, Form, exactly},
    lexer::{Argument, Line, lines},
    mistake::{Notes, Wrong, shown},
    rules::{self, Position},
};

/// Where files come from. Names are relative to the folder of the file that names them.
pub trait Files {
    /// The file `name`, as the file `from` calls it.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn read(&mut self, name: &str, from: &str) -> Result<Vec<u8>, String>;

    /// The names, for `read` and in order, that match a pattern with `*` in the file `from`.
    ///
    /// # Errors
    /// Why they cannot be listed.
    fn list(&mut self, pattern: &str, from: &str) -> Result<Vec<String>, String>;
}

/// No files: whoever names one is told so.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFiles;

impl Files for NoFiles {
    fn read(&mut self, _: &str, _: &str) -> Result<Vec<u8>, String> {
        Err("rules that stand here can name no files".to_owned())
    }

    fn list(&mut self, _: &str, _: &str) -> Result<Vec<String>, String> {
        Err("rules that stand here can name no files".to_owned())
    }
}

/// What files of rules say.
#[derive(Clone, Debug)]
pub struct Ruleset {
    directives: Vec<Directive>,
    without_effect: Vec<WithoutEffect>,
}

/// A documented word that means nothing here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WithoutEffect {
    /// Where it stands.
    pub place: Place,
    /// The word as documented; an operator begins with `@`, a `ctl` with `ctl:`.
    pub word: &'static str,
}

impl Ruleset {
    /// Reads one file and what it includes.
    ///
    /// # Errors
    /// Every mistake that is in them.
    pub fn parse(
        name: &str,
        text: impl AsRef<[u8]>,
        files: &mut impl Files,
    ) -> Result<Self, Vec<Mistake>> {
        let mut builder = RulesetBuilder::default();
        builder.add_file(name, text, files);
        builder.build()
    }

    /// The directives, in order.
    #[must_use]
    pub fn directives(&self) -> &[Directive] {
        &self.directives
    }

    /// The documented directives, actions and operators that mean nothing here.
    #[must_use]
    pub fn without_effect(&self) -> &[WithoutEffect] {
        &self.without_effect
    }
}

/// Puts several files into one rule set.
#[derive(Debug, Default)]
pub struct RulesetBuilder {
    directives: Vec<Directive>,
    reports: Reports,
    ids: HashMap<u64, Place>,
    /// The files that are being read, each included by the one before it.
    stack: Vec<Arc<str>>,
    read: Read,
}

impl RulesetBuilder {
    /// Reads one more file and what it includes.
    pub fn add_file(&mut self, name: &str, text: impl AsRef<[u8]>, files: &mut impl Files) {
        self.file(Arc::from(name), text.as_ref(), files);
    }

    /// The rule set.
    ///
    /// # Errors
    /// Every mistake of every file.
    pub fn build(mut self) -> Result<Ruleset, Vec<Mistake>> {
        self.check_markers();
        if !self.reports.mistakes.is_empty() {
            self.reports.mistakes.truncate(MOST_MISTAKES);
            return Err(self.reports.mistakes);
        }
        Ok(Ruleset {
            directives: self.directives,
            without_effect: self.reports.without_effect,
        })
    }

    fn file(&mut self, name: Arc<str>, text: &[u8], files: &mut dyn Files) {
        self.stack.push(Arc::clone(&name));
        let mut chain = Chain::None;
        for line in lines(text) {
            if self.reports.mistakes.len() >= MOST_MISTAKES {
                break;
            }
            let arguments = line.and_then(|line| Ok((line.arguments()?, line)));
            match arguments {
                Ok((arguments, line)) => {
                    self.directive(&name, &line, &arguments, &mut chain, files);
                }
                Err((line, wrong)) => {
                    self.reports.wrong(&name, line, wrong);
                    chain = Chain::Lost;
                }
            }
        }
        self.end(&mut chain);
        self.stack.pop();
    }

    fn directive(
        &mut self,
        file: &Arc<str>,
        line: &Line,
        words: &[Argument],
        chain: &mut Chain,
        files: &mut dyn Files,
    ) {
        let place = Place {
            file: Arc::clone(file),
            line: line.number(),
        };
        let Some((name, words)) = words.split_first() else {
            return;
        };
        let directive = match directives::directive(&name.text) {
            Ok(directive) => directive,
            Err(wrong) => {
                self.reports.wrong(file, place.line, wrong);
                *chain = Chain::Lost;
                return;
            }
        };
        if !matches!(directive.form, Form::Rule | Form::Action) {
            self.end(chain);
        }
        let mut notes: Vec<Notes> = words.iter().map(|_| Notes::default()).collect();
        let done = match &directive.form {
            Form::Rule => {
                let read = &mut |name: &str| self.read.file(name, file, files);
                rules::rule(&place, words, read, &mut notes)
                    .map(|(link, offsets)| self.link(link, &offsets, chain, notes.get_mut(2)))
            }
            Form::Action => exactly(words).map(|[actions]| {
                if let Some(notes) = notes.first_mut() {
                    let (link, offsets) = rules::action(&place, actions, notes);
                    self.link(link, &offsets, chain, Some(notes));
                }
            }),
            Form::Include => self.include(file, words, OnNone::Refuse, files),
            Form::IncludeOptional => self.include(file, words, OnNone::Pass, files),
            Form::Plain(parse) => parse(words, &mut notes).map(|kind| self.push(&place, kind)),
            Form::Set(parse) => exactly(words)
                .and_then(|[value]| parse(&value.text))
                .map(|setting| self.push(&place, DirectiveKind::Set(setting))),
            Form::NoEffect => {
                self.without_effect(&place, directive.word);
                Ok(())
            }
            Form::NoEffectIf(harmless, why) => match words {
                [value] if value.text.eq_ignore_ascii_case(harmless) => {
                    self.without_effect(&place, directive.word);
                    Ok(())
                }
                _ => Err(Wrong::new(format!("only `{harmless}` is supported: {why}"))),
            },
            Form::Refused(why) => Err(Wrong::new(format!("it is not supported: {why}"))),
        };
        for (word, notes) in words.iter().zip(notes) {
            self.reports.notes(file, word, notes);
        }
        if let Err(mut wrong) = done {
            wrong.message = format!("`{}`: {}", directive.word, wrong.message);
            self.reports.wrong(file, place.line, wrong);
            if matches!(directive.form, Form::Rule | Form::Action) {
                *chain = Chain::Lost;
            }
        }
    }

    fn push(&mut self, place: &Place, kind: DirectiveKind) {
        self.directives.push(Directive {
            place: place.clone(),
            kind,
        });
    }

    fn without_effect(&mut self, place: &Place, word: &'static str) {
        self.push(place, DirectiveKind::Set(Setting::WithoutEffect(word)));
        self.reports.without_effect.push(WithoutEffect {
            place: place.clone(),
            word,
        });
    }

    /// Takes a link into the chain that waits for one, or begins a rule with it.
    fn link(
        &mut self,
        link: Link,
        offsets: &[usize],
        chain: &mut Chain,
        notes: Option<&mut Notes>,
    ) {
        let none = &mut Notes::default();
        let notes = notes.unwrap_or(none);
        let is_chained = rules::is_chained(&link);
        let rule = match std::mem::take(chain) {
            Chain::Open(mut rule) => {
                if let Some(starter) = rule.links.first() {
                    rules::id_of(&link, offsets, Position::Later { starter }, notes);
                }
                rule.links.push(link);
                rule
            }
            // What came before could not be read; this may well be a later link of it.
            Chain::Lost
                if !link
                    .actions
                    .iter()
                    .any(|action| matches!(action, Action::Id(_))) =>
            {
                if is_chained {
                    *chain = Chain::Lost;
                }
                return;
            }
            Chain::None | Chain::Lost => {
                match rules::id_of(&link, offsets, Position::First, notes) {
                    Some(id) => self.claim(id, &link.place),
                    None if notes
                        .wrong
                        .iter()
                        .any(|(_, wrong)| wrong.message.starts_with("`id`")) => {}
                    None => {
                        let wrong = Wrong::new("the rule has no id");
                        self.reports.wrong(&link.place.file, link.place.line, wrong);
                    }
                }
                Rule { links: vec![link] }
            }
        };
        if is_chained {
            *chain = Chain::Open(rule);
        } else if let Some(starter) = rule.links.first() {
            let place = starter.place.clone();
            self.push(&place, DirectiveKind::Rule(rule));
        }
    }

    fn claim(&mut self, id: u64, place: &Place) {
        if let Some(first) = self.ids.get(&id) {
            let wrong = Wrong::new(format!(
                "the id {id} belongs to the rule at {}:{}",
                first.file, first.line
            ));
            self.reports.wrong(&place.file, place.line, wrong);
            return;
        }
        self.ids.insert(id, place.clone());
    }

    /// Something other than a rule comes, or nothing.
    fn end(&mut self, chain: &mut Chain) {
        if let Chain::Open(rule) = std::mem::take(chain)
            && let Some(last) = rule.links.last()
        {
            let wrong = Wrong::new("`chain` needs another rule to follow");
            self.reports.wrong(&last.place.file, last.place.line, wrong);
        }
    }

    fn include(
        &mut self,
        from: &Arc<str>,
        words: &[Argument],
        on_none: OnNone,
        files: &mut dyn Files,
    ) -> Result<(), Wrong> {
        let [pattern] = exactly(words)?;
        let pattern = pattern.text.as_str();
        if self.stack.len() >= DEEPEST {
            return Err(Wrong::new(format!(
                "files include each other more than {DEEPEST} deep"
            )));
        }
        let cannot =
            |name: &str, why: String| Wrong::new(format!("cannot read `{}`: {why}", shown(name)));
        let names = if pattern.contains('*') {
            files
                .list(pattern, from)
                .map_err(|why| cannot(pattern, why))?
        } else {
            vec![pattern.to_owned()]
        };
        if names.is_empty() && matches!(on_none, OnNone::Refuse) {
            return Err(Wrong::new(format!("no file matches `{}`", shown(pattern))));
        }
        for name in names {
            let full = beside(from, &name);
            if self.stack.iter().any(|above| **above == *full) {
                return Err(Wrong::new(format!("`{}` includes itself", shown(&full))));
            }
            let text = match self.read.file(&name, from, files) {
                Ok(text) => text,
                Err(_) if matches!(on_none, OnNone::Pass) && !pattern.contains('*') => continue,
                Err(why) => return Err(cannot(&name, why)),
            };
            self.file(Arc::from(full), &text, files);
        }
        Ok(())
    }

    /// A marker that is missing, or stands before its rule, would skip all that follows.
    fn check_markers(&mut self) {
        let mut last = BTreeMap::new();
        for (index, directive) in self.directives.iter().enumerate() {
            if let DirectiveKind::Marker(name) = &directive.kind {
                last.insert(name.as_str(), index);
            }
        }
        for (index, place, name) in self.directives.iter().enumerate().flat_map(skips) {
            // Looking for what was meant costs, so it is not done for mistakes that nobody is told.
            if self.reports.mistakes.len() >= MOST_MISTAKES {
                return;
            }
            let wrong = match last.get(name) {
                Some(marker) if *marker > index => continue,
                Some(_) => Wrong::new(format!(
                    "`skipAfter`: the marker `{}` stands before this rule",
                    shown(name)
                )),
                None => Wrong::unknown("marker", name, last.keys().copied()),
            };
            self.reports.wrong(&place.file, place.line, wrong);
        }
    }
}

/// The markers that a rule skips to, each with the index and the place.
fn skips((index, directive): (usize, &Directive)) -> impl Iterator<Item = (usize, &Place, &str)> {
    let mut links: &[Link] = &[];
    if let DirectiveKind::Rule(rule) = &directive.kind {
        links = &rule.links;
    }
    links.iter().flat_map(move |link| {
        link.actions.iter().filter_map(move |action| {
            if let Action::SkipAfter(name) = action {
                Some((index, &link.place, name.as_str()))
            } else {
                None
            }
        })
    })
}

/// The chain that the next rule of a file belongs to.
#[derive(Debug, Default)]
enum Chain {
    #[default]
    None,
    Open(Rule),
    /// There may be one, but a mistake hides it.
    Lost,
}

/// What an include without files is.
#[derive(Clone, Copy, Debug)]
enum OnNone {
    Refuse,
    Pass,
}

/// Files that were read on behalf of the texts.
#[derive(Debug, Default)]
struct Read {
    files: usize,
    bytes: usize,
}

impl Read {
    fn file(&mut self, name: &str, from: &str, files: &mut dyn Files) -> Result<Vec<u8>, String> {
        if self.files >= MOST_FILES {
            return Err(format!("there are more than {MOST_FILES} files"));
        }
        let bytes = files.read(name, from)?;
        self.files += 1;
        self.bytes = self.bytes.saturating_add(bytes.len());
        if self.bytes > MOST_BYTES {
            return Err(format!("the files have more than {MOST_BYTES} bytes"));
        }
        Ok(bytes)
    }
}

#[derive(Debug, Default)]
struct Reports {
    mistakes: Vec<Mistake>,
    without_effect: Vec<WithoutEffect>,
}

impl Reports {
    fn wrong(&mut self, file: &Arc<str>, line: u32, wrong: Wrong) {
        let place = Place {
            file: Arc::clone(file),
            line,
        };
        self.mistakes.push(Mistake {
            place,
            message: wrong.message,
            suggestion: wrong.suggestion,
        });
    }

    fn notes(&mut self, file: &Arc<str>, argument: &Argument, notes: Notes) {
        for (at, wrong) in notes.wrong {
            self.wrong(file, argument.line_at(at), wrong);
        }
        for (at, word) in notes.without_effect {
            let place = Place {
                file: Arc::clone(file),
                line: argument.line_at(at),
            };
            self.without_effect.push(WithoutEffect { place, word });
        }
    }
}

/// The name of a file that the file `from` calls `name`.
fn beside(from: &str, name: &str) -> String {
    match from.rsplit_once('/') {
        Some((folder, _)) if !name.starts_with('/') => format!("{folder}/{name}"),
        _ => name.to_owned(),
    }
}

// Bounds: a text of rules is trusted, but not to be without mistakes.
const MOST_MISTAKES: usize = 1_000;
const DEEPEST: usize = 16;
const MOST_FILES: usize = 10_000;
const MOST_BYTES: usize = 64 << 20;
