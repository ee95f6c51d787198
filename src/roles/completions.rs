//! `spheroctl completions SHELL`: prints the shell's completion script.

use std::io::{self, Write};
use std::process::ExitCode;

use super::args::CompletionsArgs;

/// Prints the script for `command`, the whole command line.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(args: &CompletionsArgs, mut command: clap::Command) -> anyhow::Result<ExitCode> {
    let name = command.get_name().to_owned();
    // Into memory first: clap_complete panics when its writer fails.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
