//! `fortress init`: from an OpenAPI description to a fortress.yaml that `check` accepts, once what
//! only people know is filled in, and to a picture of what the description leaves open.

mod compose;

use std::{
    collections::HashSet,
    io::{BufRead, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use fortress_model::{Severity, Sources, diagnostic};
use fortress_spec::{
    ApiDescription, Disk, KeyLocation, Operation, Posture, Requirement, Security, SecurityScheme,
};
use serde_json::json;

use compose::{comment, compose};

use crate::{
    check::Checked,
    command::{End, Usage},
    environment,
    screen::{BAD, CARE, GOOD, HEAD, QUIET, Screen, count, grouped, safe},
};

pub(crate) const EXAMPLES: &str = "Examples:
  fortress init openapi.yaml --upstream http://127.0.0.1:3000
  fortress init openapi.yaml --upstream http://127.0.0.1:3000 \\
      --issuer https://idp.example.com --audience orders-api \\
      --jwks https://idp.example.com/jwks.json --public login,'GET /health'
  fortress init openapi.yaml --upstream http://127.0.0.1:3000 \\
      --public-undeclared -o deploy/fortress.yaml";

/// Entries of a list that are shown.
const SHOWN: usize = 30;

#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// The OpenAPI description: 3.1, 3.0 or 2.0, YAML or JSON
    spec: PathBuf,
    /// Where requests go, such as http://127.0.0.1:3000
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Where Fortress listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = address)]
    listen: std::net::SocketAddr,
    /// Who issues the tokens, exactly as in their `iss`
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// What stands in the tokens' `aud` for this API
    #[arg(long, value_name = "NAME")]
    audience: Option<String>,
    /// The issuer's public keys: a file, or an https URL (http on loopback)
    #[arg(long, value_name = "FILE|URL")]
    jwks: Option<String>,
    /// Operations that anyone may call: operationId, `METHOD /template` or tag:NAME
    #[arg(long, value_name = "OPERATION,…", value_delimiter = ',')]
    public: Vec<String>,
    /// Every operation without `security` may be called by anyone
    #[arg(long)]
    public_undeclared: bool,
    /// Leave to the upstream what this version cannot verify (HTTP Basic, API keys)
    #[arg(long)]
    public_unverified: bool,
    /// API keys of the description that carry a JWT: names of security schemes
    #[arg(long, value_name = "SCHEME,…", value_delimiter = ',')]
    jwt_scheme: Vec<String>,
    /// The file to write
    #[arg(short, long, value_name = "FILE", default_value = "fortress.yaml")]
    output: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
}

fn address(text: &str) -> Result<std::net::SocketAddr, &'static str> {
    text.parse()
        .map_err(|_| "write an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080")
}

/// Writes the file and says what it found.
pub(crate) fn run(flags: &Flags, screen: &Screen) -> Result<End> {
    if flags.output.exists() && !flags.force {
        return Err(Usage(format!(
            "`{}` exists; --force replaces it",
            flags.output.display()
        ))
        .into());
    }
    let Some(description) = describe(flags, screen)? else {
        return Ok(End::Findings);
    };
    let mut answers = Answers::of(flags);
    let public = unknown_public(&description, &answers.public);
    if !public.is_empty() {
        return Err(Usage(format!(
            "the description has no operation or tag `{}`",
            public.join("`, `")
        ))
        .into());
    }
    if screen.can_ask() {
        answers.ask(&description)?;
    }
    let posture = description.posture();
    let open = Open::find(&description, &posture, &answers);
    let text = compose(flags, &description, &answers, &open)?;
    write(&flags.output, &text)?;
    let needed = needed(&compose::name(&description), &answers, &open);
    let checked = Checked::read(&flags.output);
    if screen.is_json() {
        screen.line(
            machine(
                flags,
                &description,
                &posture,
                &open,
                &needed,
                checked.errors(),
            )
            .to_string(),
        );
    } else {
        let identity = [&answers.issuer, &answers.audience, &answers.jwks];
        let idle = open.protected == 0 && identity.iter().any(|given| given.is_some());
        show_posture(screen, &description, &posture, &open);
        show_next(screen, flags, idle, &needed, &checked);
    }
    Ok(if checked.errors() == 0 {
        End::Fine
    } else {
        End::Findings
    })
}

/// Reads the description; without one, says why.
fn describe(flags: &Flags, screen: &Screen) -> Result<Option<ApiDescription>> {
    let spec = &flags.spec;
    std::fs::metadata(spec).with_context(|| format!("cannot read `{}`", spec.display()))?;
    let mut sources = Sources::default();
    let loaded = fortress_spec::load(spec, &Disk, &mut sources);
    let errors: Vec<_> = loaded
        .diagnostics
        .into_iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error)
        .collect();
    if errors.is_empty() && loaded.description.is_some() {
        return Ok(loaded.description);
    }
    if screen.is_json() {
        let errors: Vec<&str> = errors.iter().map(|error| error.message.as_str()).collect();
        screen.line(json!({ "errors": errors }).to_string());
    } else {
        let (colour, width) = (screen.has_colour(), screen.width());
        screen.line(diagnostic::render(&errors, &sources, colour, width).trim_end());
    }
    Ok(None)
}

fn write(path: &Path, text: &str) -> Result<()> {
    let directory = path.parent().unwrap_or(path);
    if !directory.as_os_str().is_empty() {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot make `{}`", directory.display()))?;
    }
    std::fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))
}

/// What only people know.
#[derive(Debug)]
struct Answers {
    upstream: Option<String>,
    issuer: Option<String>,
    audience: Option<String>,
    jwks: Option<String>,
    public: Vec<String>,
    public_undeclared: bool,
    public_unverified: bool,
    jwt_schemes: Vec<String>,
}

impl Answers {
    fn of(flags: &Flags) -> Self {
        Self {
            upstream: flags.upstream.clone(),
            issuer: flags.issuer.clone(),
            audience: flags.audience.clone(),
            jwks: flags.jwks.clone(),
            public: flags.public.clone(),
            public_undeclared: flags.public_undeclared,
            public_unverified: flags.public_unverified,
            jwt_schemes: flags.jwt_scheme.clone(),
        }
    }

    /// Asks for what is missing; an empty line leaves it open.
    fn ask(&mut self, description: &ApiDescription) -> Result<()> {
        ask(
            "Where do requests go (such as http://127.0.0.1:3000)?",
            &mut self.upstream,
        )?;
        let open = Open::find(description, &description.posture(), self);
        if !open.undeclared.is_empty() {
            let question = format!(
                "{} {} no `security` (such as {}). May anyone call them (yes/no)?",
                count(open.undeclared.len(), "operation"),
                if open.undeclared.len() == 1 {
                    "has"
                } else {
                    "have"
                },
                open.undeclared
                    .iter()
                    .take(3)
                    .map(String::as_str)
                    .collect::<Vec<_>>()
                    .join(", ")
            );
            let mut answer = None;
            ask(&question, &mut answer)?;
            self.public_undeclared = answer.is_some_and(|answer| {
                answer.eq_ignore_ascii_case("yes") || answer.eq_ignore_ascii_case("y")
            });
        }
        if open.protected > 0 {
            ask(
                "Who issues the tokens, exactly as in their `iss`?",
                &mut self.issuer,
            )?;
            ask(
                "What stands in their `aud` for this API?",
                &mut self.audience,
            )?;
            ask(
                "Where are the issuer's public keys (a file or an https URL)?",
                &mut self.jwks,
            )?;
        }
        Ok(())
    }
}

fn ask(question: &str, answer: &mut Option<String>) -> Result<()> {
    if answer.is_some() {
        return Ok(());
    }
    let mut screen = anstream::stderr().lock();
    write!(screen, "{HEAD}{question}{HEAD:#} ")?;
    screen.flush()?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let line = line.trim();
    if !line.is_empty() {
        *answer = Some(line.to_owned());
    }
    Ok(())
}

/// Operations by who may call them, after the answers.
#[derive(Debug, Default)]
struct Open {
    /// Behind a token.
    protected: usize,
    /// Public by the description.
    public: Vec<String>,
    /// Public by an answer.
    marked: Vec<String>,
    /// Without `security`, and nobody decided.
    undeclared: Vec<String>,
    /// Behind schemes that this version cannot verify, with the scheme's name.
    unverified: Vec<(String, String)>,
    /// One of those is an API key, which could carry a JWT.
    mappable: bool,
}

impl Open {
    fn find(description: &ApiDescription, posture: &Posture, answers: &Answers) -> Self {
        let mut open = Self::default();
        let public: HashSet<&str> = posture.public.iter().map(|id| &**id).collect();
        for operation in &description.operations {
            let id = operation.id.to_string();
            if answers.public.iter().any(|name| names(name, operation)) {
                open.marked.push(id);
                continue;
            }
            if public.contains(id.as_str()) {
                open.public.push(id);
                continue;
            }
            match access(description, operation, answers) {
                Access::Token => open.protected += 1,
                Access::Public => open.public.push(id),
                Access::Undeclared if answers.public_undeclared => open.marked.push(id),
                Access::Undeclared => open.undeclared.push(id),
                Access::Unverified(_) if answers.public_unverified => open.marked.push(id),
                Access::Unverified(scheme) => {
                    open.mappable |= could_carry_jwt(description.security_scheme(&scheme));
                    open.unverified.push((id, scheme));
                }
            }
        }
        open
    }
}

enum Access {
    Token,
    Public,
    Undeclared,
    Unverified(String),
}

fn access(description: &ApiDescription, operation: &Operation, answers: &Answers) -> Access {
    let requirements = match &operation.security {
        Security::Undeclared => return Access::Undeclared,
        Security::Public => return Access::Public,
        Security::AnyOf(requirements) => requirements,
    };
    if requirements.iter().any(Requirement::is_anonymous) {
        return Access::Public;
    }
    let mut without = String::new();
    for requirement in requirements {
        let other = requirement
            .0
            .iter()
            .find(|(name, _)| !is_token(description.security_scheme(name), name, answers));
        match other {
            None => return Access::Token,
            Some((name, _)) => without.clone_from(name),
        }
    }
    Access::Unverified(without)
}

fn could_carry_jwt(scheme: Option<&SecurityScheme>) -> bool {
    match scheme {
        Some(SecurityScheme::ApiKey { location, .. }) => *location != KeyLocation::Query,
        Some(
            SecurityScheme::Bearer { .. }
            | SecurityScheme::OAuth2 { .. }
            | SecurityScheme::OpenIdConnect { .. }
            | SecurityScheme::Basic
            | SecurityScheme::HttpOther(_)
            | SecurityScheme::MutualTls,
        )
        | None => false,
    }
}

fn is_token(scheme: Option<&SecurityScheme>, name: &str, answers: &Answers) -> bool {
    let carries_jwt = answers.jwt_schemes.iter().any(|scheme| scheme == name);
    match scheme {
        Some(
            SecurityScheme::Bearer { .. }
            | SecurityScheme::OAuth2 { .. }
            | SecurityScheme::OpenIdConnect { .. },
        ) => true,
        Some(SecurityScheme::ApiKey {
            location: KeyLocation::Header,
            name,
        }) => carries_jwt || name.eq_ignore_ascii_case("authorization"),
        Some(SecurityScheme::ApiKey {
            location: KeyLocation::Cookie,
            ..
        }) => carries_jwt,
        Some(
            SecurityScheme::ApiKey {
                location: KeyLocation::Query,
                ..
            }
            | SecurityScheme::Basic
            | SecurityScheme::HttpOther(_)
            | SecurityScheme::MutualTls,
        )
        | None => false,
    }
}

/// Whether a name of `--public` means this operation.
fn names(name: &str, operation: &Operation) -> bool {
    match name.strip_prefix("tag:") {
        Some(tag) => operation.tags.iter().any(|own| own == tag),
        None => {
            *operation.id == *name || format!("{} {}", operation.method, operation.template) == name
        }
    }
}

fn unknown_public(description: &ApiDescription, public: &[String]) -> Vec<String> {
    let known = |name: &String| {
        description
            .operations
            .iter()
            .any(|operation| names(name, operation))
    };
    public.iter().filter(|name| !known(name)).cloned().collect()
}

/// A flag that is missing: itself, the key that it writes, what it says.
type Needed = (&'static str, String, String);

fn needed(api: &str, answers: &Answers, open: &Open) -> Vec<Needed> {
    let mut needed: Vec<Needed> = Vec::new();
    if answers.upstream.is_none() {
        needed.push((
            "--upstream URL",
            format!("apis.{api}.upstream"),
            "where requests go".into(),
        ));
    }
    if open.protected > 0 {
        for (given, flag, key, what) in [
            (
                &answers.issuer,
                "--issuer URL",
                "identity.idp.issuer",
                "who issues the tokens, exactly as in their `iss`",
            ),
            (
                &answers.audience,
                "--audience NAME",
                "identity.idp.audience",
                "what stands in their `aud` for this API",
            ),
            (
                &answers.jwks,
                "--jwks FILE|URL",
                "identity.idp.jwks",
                "the issuer's public keys",
            ),
        ] {
            if given.is_none() {
                needed.push((flag, key.into(), what.into()));
            }
        }
    }
    if !open.undeclared.is_empty() {
        needed.push((
            "--public OPERATION,… or --public-undeclared",
            format!("apis.{api}.operations.OPERATION.public: true"),
            format!("{} without `security`: add it to the description, or say that anyone may call them", count(open.undeclared.len(), "operation")),
        ));
    }
    if !open.unverified.is_empty() {
        let operations = count(open.unverified.len(), "operation");
        let behind = format!("{operations} behind a scheme that this version cannot verify");
        needed.push(if open.mappable {
            (
                "--jwt-scheme SCHEME,… or --public-unverified",
                format!("apis.{api}.security.SCHEME: idp"),
                format!("{behind}: say that it carries a JWT, or leave it to the upstream"),
            )
        } else {
            (
                "--public-unverified",
                format!("apis.{api}.operations.OPERATION.public: true"),
                format!("{behind}: leave it to the upstream, which checks it as before"),
            )
        });
    }
    needed
}

fn machine(
    flags: &Flags,
    description: &ApiDescription,
    posture: &Posture,
    open: &Open,
    needed: &[Needed],
    errors: usize,
) -> serde_json::Value {
    let unverified: Vec<_> = open
        .unverified
        .iter()
        .map(|(operation, scheme)| json!({ "operation": operation, "scheme": scheme }))
        .collect();
    let unbounded: Vec<_> = posture
        .unbounded
        .iter()
        .map(|input| json!({ "operation": *input.operation, "location": input.location, "what": input.what }))
        .collect();
    let needed: Vec<_> = needed
        .iter()
        .map(|(flag, key, what)| json!({ "flag": flag, "key": key, "what": what }))
        .collect();
    json!({
        "written": flags.output, "title": description.title, "operations": description.operations.len(),
        "protected": open.protected, "public": open.public, "marked_public": open.marked,
        "undeclared": open.undeclared, "unverified": unverified, "unbounded": unbounded,
        "needed": needed, "errors": errors,
    })
}

fn show_posture(screen: &Screen, description: &ApiDescription, posture: &Posture, open: &Open) {
    screen.line(format!(
        "{HEAD}{}{HEAD:#} · {}",
        comment(&format!("{} {}", description.title, description.version)),
        count(description.operations.len(), "operation")
    ));
    screen.line("");
    let public = open.public.len() + open.marked.len();
    screen.line(format!(
        "  {GOOD}{} protected{GOOD:#}, {CARE}{} public{CARE:#}, {BAD}{} undecided{BAD:#}; {}",
        grouped(open.protected),
        grouped(public),
        grouped(open.undeclared.len() + open.unverified.len()),
        count(posture.unbounded.len(), "unbounded input")
    ));
    let list = |title: &str, lines: &mut dyn ExactSizeIterator<Item = String>| {
        if lines.len() == 0 {
            return;
        }
        screen.line(format!("\n{title}"));
        let total = lines.len();
        for line in lines.take(SHOWN) {
            screen.line(format!("  {}", safe(&line)));
        }
        if total > SHOWN {
            screen.line(format!(
                "  {QUIET}… and {} more (--json lists them){QUIET:#}",
                grouped(total - SHOWN)
            ));
        }
    };
    list(
        "Without `security`: nobody decided who may call",
        &mut open.undeclared.iter().cloned(),
    );
    list(
        "Behind a scheme that this version cannot verify",
        &mut open
            .unverified
            .iter()
            .map(|(operation, scheme)| format!("{operation} ({scheme})")),
    );
    list(
        "Public by the description",
        &mut open.public.iter().cloned(),
    );
    list(
        "Public because you said so",
        &mut open.marked.iter().cloned(),
    );
    list(
        "Unbounded inputs: a client may send as much as `bounds` allow",
        &mut posture
            .unbounded
            .iter()
            .map(|input| format!("{} {}: {}", input.operation, input.location, input.what)),
    );
    screen.line("");
}

fn show_next(screen: &Screen, flags: &Flags, idle: bool, needed: &[Needed], checked: &Checked) {
    let output = flags.output.display();
    screen.line(format!("Wrote {output}."));
    if idle {
        screen.line(format!(
            "{CARE}Not used{CARE:#}: --issuer, --audience and --jwks, since no operation asks for a token."
        ));
    }
    if !needed.is_empty() {
        screen.line(format!(
            "\n{CARE}Still needed{CARE:#}, as a flag (with --force) or as a key of {output}:"
        ));
        for (flag, key, what) in needed {
            screen.line(format!(
                "  {HEAD}{flag}{HEAD:#}\n      {key}\n      {QUIET}{what}{QUIET:#}"
            ));
        }
    } else if checked.errors() > 0 {
        screen.line("");
        checked.print_diagnostics(screen);
    }
    let given = if flags.output == Path::new("fortress.yaml") {
        String::new()
    } else {
        format!(" {output}")
    };
    let next = if checked.errors() == 0 {
        "run"
    } else {
        "check"
    };
    screen.line(format!("\n{} {next}{given}", environment::program()));
}
