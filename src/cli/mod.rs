//! The command line: one file for each subcommand, and what they share.
//!
//! **Invariant:** data goes to standard output and all else to standard error; every way to end has its exit code; no colour
//! carries meaning alone.
#![expect(clippy::disallowed_methods, reason = "effect room: looks at the environment for how to log")]

mod agent;
mod apply;
mod arguments;
mod check;
mod clock;
mod doctor;
mod edits;
mod elsewhere;
mod example;
mod explain;
mod export;
mod failure;
mod fmt;
mod generate;
mod help;
mod hook;
mod init;
mod machine;
mod mistyped;
mod output;
mod plan;
mod progress;
mod run;
mod saved;
mod schema;
mod serve;
mod signals;
mod source;
mod status;
mod units;
mod watch;

use clap::{FromArgMatches as _, Parser, Subcommand};
use failure::{Exit, Failure};
use std::{env, ffi::OsString, panic, process::ExitCode};
use tracing_subscriber::EnvFilter;

/// Turn a Linux server into a diskless café, as a git repository of TOML says.
#[derive(Debug, Parser)]
#[command(name = "barista", version, max_term_width = 100, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Report everything that is wrong with a site
    Check(check::Arguments),
    /// Show what would change on this host
    Plan(plan::Arguments),
    /// Make this host what the site says
    Apply(apply::Arguments),
    /// Keep this host at the followed branch of a repository
    Agent(agent::Arguments),
    /// Answer booting machines: DHCP, TFTP and HTTP
    Serve(serve::Arguments),
    /// Run agent and serve together, serve in a process of its own that gives root up
    Run(run::Arguments),
    /// Show at which commit the café is, and what is held
    Status(status::Arguments),
    /// List machines, and put others into the site
    Machine(machine::Arguments),
    /// Look whether this host is ready to serve a site
    Doctor(doctor::Arguments),
    /// Explain why a machine did or did not boot
    Explain(explain::Arguments),
    /// Print what to put into another DHCP server
    Export(export::Arguments),
    /// Put a site's files into their usual form
    Fmt(fmt::Arguments),
    /// Print the JSON Schemas of the site's files and of barista's documents
    Schema(schema::Arguments),
    /// Make the git repository that the café is pushed to, or a site to begin with
    Init(init::Arguments),
    /// Run what git runs at a push; `barista init` sets it up
    Hook(hook::Arguments),
    /// Print what a shell completes of this command line
    Completions(generate::CompletionsArguments),
    /// Write the man pages
    #[command(hide = true)]
    Man(generate::ManArguments),
}

/// Runs the program to its end.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    panic::set_hook(Box::new(|info| {
        output::note(format!("barista: a fault of the program itself: {info}\n  hint: please report it with this line"));
    }));
    let ended = panic::catch_unwind(panic::AssertUnwindSafe(|| run_arguments(arguments)));
    ended.unwrap_or(Exit::Internal).into()
}

fn run_arguments(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let words: Vec<OsString> = arguments.into_iter().collect();
    let arguments = match parse(&words) {
        Ok(arguments) => arguments,
        Err(error) => return mistyped::report(error, &words),
    };
    start_log(&arguments.command);
    let ended = match arguments.command {
        Command::Check(arguments) => check::run(&arguments),
        Command::Plan(arguments) => plan::run(&arguments),
        Command::Apply(arguments) => apply::run(&arguments),
        Command::Agent(arguments) => agent::run(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Machine(arguments) => machine::run(&arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Fmt(arguments) => fmt::run(&arguments),
        Command::Schema(arguments) => schema::run(&arguments),
        Command::Init(arguments) => init::run(&arguments),
        Command::Hook(arguments) => hook::run(&arguments),
        Command::Completions(arguments) => generate::completions(&arguments),
        Command::Man(arguments) => generate::man(&arguments),
    };
    ended.unwrap_or_else(Failure::report)
}

fn parse(arguments: &[OsString]) -> Result<Arguments, clap::Error> {
    Arguments::from_arg_matches(&help::command().try_get_matches_from(arguments)?)
}

/// Logs to standard error: as `RUST_LOG` says; else warnings, and what a service does. Under systemd each line says how
/// grave it is in the way of sd-daemon(3), and leaves the time to the journal.
fn start_log(command: &Command) {
    let service = matches!(command, Command::Agent(_) | Command::Serve(_) | Command::Run(_));
    let default = if service { "info" } else { "warn" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let is_journal = env::var_os("JOURNAL_STREAM").is_some();
    let has_colours = !is_journal && anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    let keeps = has_colours.then_some('\u{1b}');
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || output::LogLine { keeps }).with_target(false);
    // The first logger stays; a second one only happens where the program is called as a library.
    let log = log.with_ansi(has_colours);
    drop(if is_journal { log.event_format(output::Journal).try_init() } else { log.try_init() });
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn every_subcommand_is_put_together_rightly() {
        super::Arguments::command().debug_assert();
    }
}
