//! The barista program: hands its arguments to [`barista::cli`] and its answer to the shell.

use std::process::ExitCode;

#[expect(clippy::disallowed_methods, reason = "the one reader of the command line")]
fn main() -> ExitCode {
    barista::cli::main(std::env::args_os())
}
