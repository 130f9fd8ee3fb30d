//! The rules of each operation, read and compiled: which files, in which order, with the settings and
//! exclusions of the configuration written into SecLang. Operations with equal settings share one
//! engine, and a reload keeps those of which nothing changed.
//!
//! Deliberately not here: what SecLang means, and running it (`fortress-waf`).

use std::{
    collections::HashMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use aws_lc_rs::digest::{self, SHA256};
use fortress_model::{
    Diagnostic, Sources, Span,
    config::{Exclusion, Parameter, RuleSelector, Spanned, WafRules, WafSettings},
};
use fortress_waf::{
    builtin,
    engine::{Engine, Screening},
    seclang::{
        Action, DirectiveKind, Files, Mistake, Piece, Ruleset, RulesetBuilder, Selector, Variable,
    },
};

/// Bytes of one file of rules or of words for them.
const MAX_FILE: u64 = 16 << 20;
/// Files that a pattern may stand for.
const MAX_LISTED: usize = 10_000;
/// What is written here, in messages.
const SETTINGS: &str = "waf";

/// All rule sets of a configuration.
#[derive(Debug)]
pub(crate) struct RuleSets {
    /// Where the Core Rule Set is if nothing else is said.
    directory: PathBuf,
    made: HashMap<Key, Option<Arc<Engine>>>,
    disk: Disk,
    /// Engines of the configuration that was in force before.
    before: Engines,
    engines: Engines,
}

/// Engines by what they were made from.
pub(crate) type Engines = HashMap<Fingerprint, Arc<Engine>>;

/// The SHA-256 of all texts that a rule set was read from, in order.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Fingerprint([u8; 32]);

/// What makes two rule sets the same.
#[derive(Debug, Eq, Hash, PartialEq)]
struct Key {
    from: From,
    paranoia: Option<u8>,
    threshold: Option<u32>,
    response_threshold: Option<u32>,
    exclude: Vec<Exclusion>,
    files: Vec<PathBuf>,
}

/// Where the rules come from.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum From {
    Crs(PathBuf),
    Builtin,
    Nowhere,
}

impl RuleSets {
    /// For a configuration in this directory.
    pub(super) fn new(directory: &Path, before: &Engines) -> Self {
        Self {
            before: before.clone(),
            ..Self::at(directory.join("crs"))
        }
    }

    /// For a Core Rule Set in this directory.
    pub(crate) fn at(directory: PathBuf) -> Self {
        Self {
            directory,
            made: HashMap::new(),
            disk: Disk::default(),
            before: Engines::new(),
            engines: Engines::new(),
        }
    }

    /// Every file that was read, or whose appearance would change something.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.disk.read.keys().cloned().collect()
    }

    /// The engines in use, for the next configuration.
    pub(super) fn into_engines(self) -> Engines {
        self.engines
    }

    /// The rules of one operation; `None` if they have mistakes, which were told.
    pub(super) fn of(
        &mut self,
        settings: &WafSettings,
        sources: &mut Sources,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Arc<Engine>> {
        let key = Key {
            from: self.choose(settings, diagnostics)?,
            paranoia: settings.paranoia,
            threshold: settings.threshold,
            response_threshold: settings.response_threshold,
            exclude: values(&settings.exclude),
            files: values(&settings.files),
        };
        if let Some(made) = self.made.get(&key) {
            return made.clone();
        }
        let mut told = Told {
            sources,
            diagnostics,
            place: settings.place,
        };
        let made = make(&key.from, settings, &mut self.disk, &mut told).and_then(
            |(ruleset, fingerprint)| {
                let known = self.engines.get(&fingerprint);
                if let Some(engine) = known.or(self.before.get(&fingerprint)).cloned() {
                    self.engines.insert(fingerprint, Arc::clone(&engine));
                    return Some(engine);
                }
                match Engine::compile(&ruleset, Screening::default()) {
                    Ok(compiled) => {
                        let engine = Arc::new(compiled);
                        self.engines.insert(fingerprint, Arc::clone(&engine));
                        Some(engine)
                    }
                    Err(mistakes) => {
                        told.mistakes(&mistakes, &mut self.disk);
                        None
                    }
                }
            },
        );
        self.made.insert(key, made.clone());
        made
    }

    /// The Core Rule Set, and nothing in its place.
    pub(crate) fn installed(
        &mut self,
        settings: &WafSettings,
        sources: &mut Sources,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Arc<Engine>> {
        if is_installed(&self.directory) {
            return self.of(settings, sources, diagnostics);
        }
        let message = absent(&self.directory);
        diagnostics.push(Diagnostic::error(None, message));
        None
    }

    fn choose(
        &mut self,
        settings: &WafSettings,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<From> {
        let said = settings.rules.as_ref();
        match said.map(|rules| rules.value) {
            Some(WafRules::Builtin) => return Some(From::Builtin),
            Some(WafRules::None) => return Some(From::Nowhere),
            Some(WafRules::Crs) | None => {}
        }
        let named = settings.directory.as_ref();
        let directory = named.map_or(&self.directory, |directory| &directory.value);
        // So that a later installation is noticed.
        for name in SETUP {
            self.disk.note(&directory.join(name));
        }
        if is_installed(directory) {
            return Some(From::Crs(directory.clone()));
        }
        let shown = directory.display();
        let to_install = format!("install it: fortress crs install --to {shown}");
        let place = named
            .map(|directory| directory.span)
            .or(said.map(|rules| rules.span));
        let Some(place) = place else {
            let message = format!(
                "the OWASP Core Rule Set is not installed (there is no `{shown}`): only the small rule set that comes with Fortress runs"
            );
            let help = format!(
                "{to_install}; or, to be content with it, say `defaults: {{ waf: {{ rules: builtin }} }}`"
            );
            once(Diagnostic::warning(None, message).help(help), diagnostics);
            return Some(From::Builtin);
        };
        once(
            Diagnostic::error(place, absent(directory)).help(to_install),
            diagnostics,
        );
        None
    }
}

fn is_installed(directory: &Path) -> bool {
    setup(directory).is_some() && directory.join("rules").is_dir()
}

fn absent(directory: &Path) -> String {
    format!(
        "there is no Core Rule Set in `{}`: it needs `rules` and `crs-setup.conf` or its example",
        directory.display()
    )
}

fn once(diagnostic: Diagnostic, diagnostics: &mut Vec<Diagnostic>) {
    if !diagnostics.contains(&diagnostic) {
        diagnostics.push(diagnostic);
    }
}

fn values<T: Clone>(list: &[Spanned<T>]) -> Vec<T> {
    list.iter().map(|one| one.value.clone()).collect()
}

/// The user's own set-up comes before the example.
const SETUP: [&str; 2] = ["crs-setup.conf", "crs-setup.conf.example"];

fn setup(directory: &Path) -> Option<PathBuf> {
    let mut candidates = SETUP.iter().map(|name| directory.join(name));
    candidates.find(|path| path.is_file())
}

/// Reads everything, and once more with the exclusions: which rules a tag means is known only then.
fn make(
    from: &From,
    settings: &WafSettings,
    disk: &mut Disk,
    told: &mut Told<'_>,
) -> Option<(Ruleset, Fingerprint)> {
    let plain = read(from, settings, "", disk, told)?;
    if settings.exclude.is_empty() {
        return Some(plain);
    }
    let exclusions = exclusions(&plain.0, settings, told)?;
    read(from, settings, &exclusions, disk, told)
}

fn read(
    from: &From,
    settings: &WafSettings,
    exclusions: &str,
    disk: &mut Disk,
    told: &mut Told<'_>,
) -> Option<(Ruleset, Fingerprint)> {
    let mut builder = Builder {
        builder: RulesetBuilder::default(),
        files: Hashed {
            disk,
            digest: digest::Context::new(&SHA256),
        },
    };
    builder.add(SETTINGS, builtin::BEFORE.as_bytes());
    let said = said(settings);
    match from {
        From::Nowhere => {}
        From::Builtin => {
            builder.add(SETTINGS, said.as_bytes());
            builder.add("builtin.conf", builtin::RULES.as_bytes());
        }
        From::Crs(directory) => {
            add(&mut builder, &setup(directory)?, told)?;
            // After the set-up: what the configuration says is nearer.
            builder.add(SETTINGS, said.as_bytes());
            for (folder, ending) in [
                ("plugins", "-config.conf"),
                ("plugins", "-before.conf"),
                ("rules", ".conf"),
                ("plugins", "-after.conf"),
            ] {
                for path in listed(&directory.join(folder), |name| name.ends_with(ending)) {
                    add(&mut builder, &path, told)?;
                }
            }
        }
    }
    for file in &settings.files {
        let place = told.place.replace(file.span);
        add(&mut builder, &file.value, told)?;
        told.place = place;
    }
    builder.add(SETTINGS, exclusions.as_bytes());
    builder.add(SETTINGS, builtin::AFTER.as_bytes());
    let Builder { builder, files } = builder;
    let Hashed { disk, digest } = files;
    match builder.build() {
        Ok(ruleset) => {
            let mut fingerprint = [0; 32];
            fingerprint.copy_from_slice(digest.finish().as_ref().get(..32)?);
            Some((ruleset, Fingerprint(fingerprint)))
        }
        Err(mistakes) => {
            told.mistakes(&mistakes, disk);
            None
        }
    }
}

fn add(builder: &mut Builder<'_>, path: &Path, told: &mut Told<'_>) -> Option<()> {
    match builder.files.disk.get(path) {
        Ok(text) => {
            builder.add(&path.display().to_string(), &text);
            Some(())
        }
        Err(why) => {
            let message = format!("cannot read `{}`: {why}", path.display());
            once(Diagnostic::error(told.place, message), told.diagnostics);
            None
        }
    }
}

/// The settings that the configuration says, in the names that the Core Rule Set reads: of version
/// 4, and of version 3.
fn said(settings: &WafSettings) -> String {
    let mut sets = String::new();
    if let Some(level) = settings.paranoia {
        for name in [
            "blocking_paranoia_level",
            "detection_paranoia_level",
            "paranoia_level",
        ] {
            sets.push_str(&format!(",setvar:tx.{name}={level}"));
        }
    }
    for (name, threshold) in [
        ("inbound_anomaly_score_threshold", settings.threshold),
        (
            "outbound_anomaly_score_threshold",
            settings.response_threshold,
        ),
    ] {
        if let Some(threshold) = threshold {
            sets.push_str(&format!(",setvar:tx.{name}={threshold}"));
        }
    }
    if sets.is_empty() {
        return sets;
    }
    format!("SecAction \"id:4700010,phase:1,t:none,pass,nolog{sets}\"\n")
}

/// The exclusions in SecLang. By id only, so that they mean the rules that there are, and exactly
/// those that have a tag.
fn exclusions(ruleset: &Ruleset, settings: &WafSettings, told: &mut Told<'_>) -> Option<String> {
    let rules = ids_and_tags(ruleset);
    let mut text = String::new();
    let mut sound = true;
    for exclusion in &settings.exclude {
        let selected: Vec<u64> = rules
            .iter()
            .filter(|(id, tags)| match &exclusion.value.rule {
                RuleSelector::Ids(first, last) => (first..=last).contains(&id),
                RuleSelector::Tag(tag) => tags.contains(tag),
            })
            .map(|(id, _)| *id)
            .collect();
        if selected.is_empty() {
            sound = false;
            told.unknown(exclusion, &rules);
        }
        for id in selected {
            text.push_str(&match &exclusion.value.parameter {
                None => format!("SecRuleRemoveById {id}\n"),
                Some(parameter) => {
                    let mut targets = targets(parameter);
                    if matches!(parameter, Parameter::Cookie(_)) {
                        targets.push_str(carrier(ruleset, id));
                    }
                    format!("SecRuleUpdateTargetById {id} \"{targets}\"\n")
                }
            });
        }
    }
    sound.then_some(text)
}

/// The field that carries all cookies, for a rule that looks at it besides each cookie: one that is
/// left out for a cookie must not find it there. It still looks at the other cookies, and in the
/// field's place at the names of all.
fn carrier(ruleset: &Ruleset, id: u64) -> &'static str {
    let mut links = ruleset.directives().iter().filter_map(|directive| {
        if let DirectiveKind::Rule(rule) = &directive.kind {
            rule.links.first()
        } else {
            None
        }
    });
    let is_it = |action: &Action| matches!(action, Action::Id(own) if *own == id);
    let link = links.find(|link| link.actions.iter().any(is_it));
    let looks = |variable| {
        let mut targets = link.into_iter().flat_map(|link| &link.targets);
        targets.any(|target| {
            target.variable == variable && target.selector == Selector::All && !target.excluded
        })
    };
    if !looks(Variable::RequestHeaders) || !looks(Variable::RequestCookies) {
        ""
    } else if looks(Variable::RequestCookiesNames) {
        "|!REQUEST_HEADERS:Cookie"
    } else {
        "|!REQUEST_HEADERS:Cookie|REQUEST_COOKIES_NAMES"
    }
}

fn ids_and_tags(ruleset: &Ruleset) -> Vec<(u64, Vec<String>)> {
    let rules = ruleset.directives().iter().filter_map(|directive| {
        if let DirectiveKind::Rule(rule) = &directive.kind {
            rule.links.first()
        } else {
            None
        }
    });
    rules
        .filter_map(|link| {
            let mut id = None;
            let mut tags = Vec::new();
            for action in &link.actions {
                if let Action::Id(found) = action {
                    id = Some(*found);
                } else if let Action::Tag(tag) = action
                    && let [Piece::Text(text)] = tag.0.as_slice()
                {
                    tags.push(String::from_utf8_lossy(text).into_owned());
                }
            }
            Some((id?, tags))
        })
        .collect()
}

/// What a parameter is called where rules look for it, or for its name.
fn targets(parameter: &Parameter) -> String {
    let all = |names: &[&str], selector: &str| {
        let targets: Vec<String> = names
            .iter()
            .map(|name| format!("!{name}{selector}"))
            .collect();
        targets.join("|")
    };
    match parameter {
        Parameter::Query(name) => all(
            &["ARGS", "ARGS_GET", "ARGS_NAMES", "ARGS_GET_NAMES"],
            &selector(name),
        ),
        Parameter::Header(name) => all(
            &["REQUEST_HEADERS", "REQUEST_HEADERS_NAMES"],
            &selector(name),
        ),
        Parameter::Cookie(name) => all(
            &["REQUEST_COOKIES", "REQUEST_COOKIES_NAMES"],
            &selector(name),
        ),
        Parameter::Path => {
            let whole = all(
                &[
                    "REQUEST_FILENAME",
                    "REQUEST_BASENAME",
                    "REQUEST_URI",
                    "REQUEST_URI_RAW",
                    "REQUEST_LINE",
                ],
                "",
            );
            // The values of its parameters are arguments.
            let values = all(
                &["ARGS", "ARGS_GET", "ARGS_NAMES", "ARGS_GET_NAMES"],
                r":/^path\./",
            );
            format!("{whole}|{values}")
        }
        // A field of a form has its name; a property of JSON has the way to it, and an item of an
        // array its number as a step of its own.
        Parameter::Body(name) => {
            let steps: Vec<String> = name.split('.').map(literal).collect();
            let steps = steps.join(r"(?:\.[0-9]+)*\.");
            let selector = format!(r":/^(?:json\.(?:[0-9]+\.)*)?{steps}(?:\.[0-9]+)*$/");
            let names = [
                "ARGS",
                "ARGS_POST",
                "FILES",
                "ARGS_NAMES",
                "ARGS_POST_NAMES",
                "FILES_NAMES",
            ];
            all(&names, &selector)
        }
    }
}

/// `:name`, or a regular expression for a name that could be read as something else.
fn selector(name: &str) -> String {
    if is_plain(name) {
        format!(":{name}")
    } else {
        format!(":/^{}$/", literal(name))
    }
}

fn is_plain(name: &str) -> bool {
    name.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

/// A regular expression for this very text, of characters that mean nothing to SecLang.
fn literal(text: &str) -> String {
    let mut pattern = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            pattern.push(char::from(byte));
        } else {
            pattern.push_str(&format!(r"\x{byte:02x}"));
        }
    }
    pattern
}

/// Where mistakes are told.
struct Told<'a> {
    sources: &'a mut Sources,
    diagnostics: &'a mut Vec<Diagnostic>,
    /// Where to point for what has no place of its own.
    place: Option<Span>,
}

impl Told<'_> {
    fn mistakes(&mut self, mistakes: &[Mistake], disk: &mut Disk) {
        for mistake in mistakes {
            self.mistake(mistake, disk);
        }
    }

    fn mistake(&mut self, mistake: &Mistake, disk: &mut Disk) {
        let name: &str = &mistake.place.file;
        let span = match disk.get(Path::new(name)) {
            Ok(text) if name != SETTINGS => Some(self.line(name, &text, mistake.place.line)),
            Ok(_) | Err(_) => self.place,
        };
        let mut diagnostic = Diagnostic::error(span, mistake.message.clone());
        if let Some(near) = &mistake.suggestion {
            diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
        }
        once(diagnostic, self.diagnostics);
    }

    /// A line of a file that becomes a source with its first mistake.
    fn line(&mut self, name: &str, text: &[u8], number: u32) -> Span {
        let known = self
            .diagnostics
            .iter()
            .filter_map(|found| found.span)
            .map(|span| span.source)
            .find(|id| {
                self.sources
                    .get(*id)
                    .is_some_and(|known| known.name == name)
            });
        let text = String::from_utf8_lossy(text);
        let source = known.unwrap_or_else(|| self.sources.add(name, text.as_ref()));
        let before = usize::try_from(number.saturating_sub(1)).unwrap_or_default();
        let start: usize = text.split_inclusive('\n').take(before).map(str::len).sum();
        let line = text.split_inclusive('\n').nth(before).unwrap_or_default();
        let end = start + line.trim_end().len();
        let small = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
        Span {
            source,
            start: small(start),
            end: small(end),
        }
    }

    fn unknown(&mut self, exclusion: &Spanned<Exclusion>, rules: &[(u64, Vec<String>)]) {
        let (message, known): (_, Vec<String>) = match &exclusion.value.rule {
            RuleSelector::Ids(first, last) if first == last => (
                format!("there is no rule `{first}` to leave out"),
                rules.iter().map(|(id, _)| id.to_string()).collect(),
            ),
            RuleSelector::Ids(first, last) => (
                format!("there is no rule from `{first}` to `{last}` to leave out"),
                Vec::new(),
            ),
            RuleSelector::Tag(tag) => (
                format!("no rule has the tag `{tag}`"),
                rules.iter().flat_map(|(_, tags)| tags.clone()).collect(),
            ),
        };
        let text = exclusion.value.rule.to_string();
        let near =
            fortress_model::diagnostic::did_you_mean(&text, known.iter().map(String::as_str));
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => "ids and tags are those of the rules that run here".to_owned(),
        };
        once(
            Diagnostic::error(exclusion.span, message).help(help),
            self.diagnostics,
        );
    }
}

/// Puts texts into a rule set, and remembers which they were.
struct Builder<'a> {
    builder: RulesetBuilder,
    files: Hashed<'a>,
}

impl Builder<'_> {
    fn add(&mut self, name: &str, text: &[u8]) {
        self.files.note(name, text);
        self.builder.add_file(name, text, &mut self.files);
    }
}

/// Files, with a digest of all that was read of them.
struct Hashed<'a> {
    disk: &'a mut Disk,
    digest: digest::Context,
}

impl Hashed<'_> {
    /// With its length, so that no two lists of texts are the same bytes.
    fn note(&mut self, name: &str, text: &[u8]) {
        for part in [name.as_bytes(), text] {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            self.digest.update(&length.to_le_bytes());
            self.digest.update(part);
        }
    }
}

impl Files for Hashed<'_> {
    fn read(&mut self, name: &str, from: &str) -> Result<Vec<u8>, String> {
        let text = self.disk.read(name, from)?;
        self.note(name, &text);
        Ok(text)
    }

    fn list(&mut self, pattern: &str, from: &str) -> Result<Vec<String>, String> {
        self.disk.list(pattern, from)
    }
}

/// Files of rules, each read once for the whole configuration.
#[derive(Debug, Default)]
struct Disk {
    /// `None` for one that is only watched.
    read: HashMap<PathBuf, Option<Loaded>>,
}

/// A file's bytes, or why it cannot be read.
type Loaded = Result<Arc<[u8]>, String>;

impl Disk {
    /// Watches a file without reading it.
    fn note(&mut self, path: &Path) {
        self.read.entry(path.to_owned()).or_default();
    }

    fn get(&mut self, path: &Path) -> Result<Arc<[u8]>, String> {
        let kept = self.read.entry(path.to_owned()).or_default();
        kept.get_or_insert_with(|| load(path)).clone()
    }
}

fn load(path: &Path) -> Result<Arc<[u8]>, String> {
    let mut bytes = Vec::new();
    fortress_model::file::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .map_err(|error| error.to_string())?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_FILE {
        return Err(format!("it has more than {} MiB", MAX_FILE >> 20));
    }
    Ok(bytes.into())
}

impl Files for Disk {
    fn read(&mut self, name: &str, from: &str) -> Result<Vec<u8>, String> {
        self.get(&beside(from, name)).map(|bytes| bytes.to_vec())
    }

    fn list(&mut self, pattern: &str, from: &str) -> Result<Vec<String>, String> {
        let (folder, last) = pattern.rsplit_once('/').unwrap_or(("", pattern));
        if folder.contains('*') {
            return Err("`*` can only stand in the name of a file".into());
        }
        let found = listed(&beside(from, folder), |name| matches(last, name));
        let names = found.iter().filter_map(|path| path.file_name()?.to_str());
        Ok(names
            .map(|name| match folder {
                "" if pattern.starts_with('/') => format!("/{name}"),
                "" => name.to_owned(),
                folder => format!("{folder}/{name}"),
            })
            .collect())
    }
}

/// A name as the file `from` means it.
fn beside(from: &str, name: &str) -> PathBuf {
    Path::new(from).parent().unwrap_or(Path::new("")).join(name)
}

/// The files of a folder whose name is wanted, in order; none of a folder that is not there.
fn listed(folder: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(&wanted))
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .take(MAX_LISTED)
        .collect();
    paths.sort();
    paths
}

/// Whether a name fits a pattern in which `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let Some(last) = pieces.next_back() else {
        return rest.is_empty();
    };
    for piece in pieces {
        let Some((_, after)) = rest.split_once(piece) else {
            return false;
        };
        rest = after;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests;
