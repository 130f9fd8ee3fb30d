//! The commands and their flags, and what their ends mean: 0 fine, 1 findings, 2 usage, 3 could not
//! run.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{
    attack, check, crs, demo, explain, init, keys, login, run, screen::Screen, store, tokens, waf,
};

/// An API security gateway: point it at an OpenAPI file, and the API is locked down.
///
/// Fortress stands in front of HTTP APIs, knows each from its OpenAPI description, and lets through
/// only what the description, the caller's identity and the policy allow.
#[derive(Debug, Parser)]
#[command(
    version,
    arg_required_else_help = true,
    after_help = "Start here:\n  fortress demo\n  fortress init openapi.yaml --upstream http://127.0.0.1:3000\n\nExit codes: 0 fine, 1 findings, 2 usage, 3 could not run."
)]
struct Arguments {
    /// Writes JSON, for machines
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts a small sample API with Fortress in front of it, and shows what it stops
    #[command(after_help = demo::EXAMPLES)]
    Demo(demo::Flags),
    /// Writes a fortress.yaml for an OpenAPI description, and says what the description leaves open
    #[command(after_help = init::EXAMPLES)]
    Init(init::Flags),
    /// Says everything that is wrong with a configuration and its descriptions, at once
    #[command(after_help = check::EXAMPLES)]
    Check(check::Flags),
    /// Serves; reloads on SIGHUP and when a file changes; drains on SIGTERM
    #[command(after_help = run::EXAMPLES)]
    Run(run::Flags),
    /// Attacks a running gateway with requests made from the description
    #[command(after_help = attack::EXAMPLES)]
    Attack(attack::Flags),
    /// Says why a request was refused
    #[command(after_help = explain::EXAMPLES)]
    Explain(explain::Flags),
    /// Gets the OWASP Core Rule Set, the rules that look for attacks
    #[command(after_help = crs::EXAMPLES)]
    Crs(crs::Flags),
    /// Tries the rules that look for attacks: on their regression tests, or on one request
    #[command(after_help = waf::EXAMPLES)]
    Waf(waf::Flags),
    /// Makes, lists, rotates and revokes API keys, and says whose a leaked one is
    #[command(after_help = keys::EXAMPLES)]
    Keys(keys::Flags),
    /// Lists locked accounts, and unlocks them
    #[command(after_help = login::EXAMPLES)]
    Login(login::Flags),
    /// Revokes tokens, and lists what is revoked
    #[command(after_help = tokens::EXAMPLES)]
    Tokens(tokens::Flags),
    /// Makes, checks and saves the store of keys, and replaces the key that seals it
    #[command(after_help = store::EXAMPLES)]
    Store(store::Flags),
    /// Prints the JSON Schema of the configuration, for editors
    #[command(after_help = "Examples:\n  fortress schema > fortress.schema.json")]
    Schema,
}

/// How a command ended, where it could run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// Nothing to say.
    Fine,
    /// Something was found: an error in a file, an attack that got through, no such request.
    Findings,
}

/// The command was not used as it can be: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// Everything.
pub(crate) fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are not errors; a closed pipe is nobody's.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let screen = Screen::new(arguments.json);
    let ended = match arguments.command {
        Command::Demo(flags) => demo::run(&flags, &screen),
        Command::Init(flags) => init::run(&flags, &screen),
        Command::Check(flags) => check::run(&flags, &screen),
        Command::Run(flags) => run::run(&flags, &screen),
        Command::Attack(flags) => attack::run(&flags, &screen),
        Command::Explain(flags) => explain::run(&flags, &screen),
        Command::Crs(flags) => crs::run(&flags, &screen),
        Command::Waf(flags) => waf::run(&flags, &screen),
        Command::Keys(flags) => keys::run(&flags, &screen),
        Command::Login(flags) => login::run(&flags, &screen),
        Command::Tokens(flags) => tokens::run(&flags, &screen),
        Command::Store(flags) => store::run(&flags, &screen),
        Command::Schema => {
            screen.line(fortress_model::config::json_schema());
            Ok(End::Fine)
        }
    };
    match ended {
        Ok(_) if screen.is_lost() => ExitCode::from(3),
        Ok(End::Fine) => ExitCode::SUCCESS,
        Ok(End::Findings) => ExitCode::from(1),
        Err(error) => {
            screen.error(&format!("{error:#}"));
            ExitCode::from(if error.is::<Usage>() { 2 } else { 3 })
        }
    }
}

/// A runtime for the commands that wait for something.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound_and_every_command_has_examples() {
        let command = Arguments::command();
        command.clone().debug_assert();
        for subcommand in command.get_subcommands() {
            let help = subcommand
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(help.contains("fortress "), "{}", subcommand.get_name());
            // What is to be typed must not be broken by a terminal of 80 columns.
            for line in help.lines().filter(|line| line.starts_with("  ")) {
                assert!(line.chars().count() <= 80, "{line}");
            }
        }
    }

    #[test]
    fn flags_are_read_and_nonsense_is_refused() {
        assert!(Arguments::try_parse_from(["fortress", "check", "a.yaml", "--json"]).is_ok());
        assert!(Arguments::try_parse_from(["fortress", "explain", "--last"]).is_ok());
        for wrong in [
            &["fortress", "chek"][..],
            &["fortress", "init"],
            &["fortress", "explain"],
            &["fortress", "explain", "01K9", "--last"],
            &["fortress", "demo", "--port", "x"],
        ] {
            let error = Arguments::try_parse_from(wrong).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{wrong:?}");
        }
    }
}
