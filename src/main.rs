//! Parses the command line, loads the settings, and returns the exit code of the command.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use spheroctl::cli::Cli;
use spheroctl::roles::exit;
use spheroctl::settings;

/// How long threads that are busy with a file or a computation are waited for when all else has ended.
const BLOCKING_WAIT: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let cli = Cli::parse();
    run(cli).unwrap_or_else(|error| exit::report(&error))
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    if let Some(outcome) = cli.run_without_settings() {
        return outcome;
    }
    let environment = environment();
    let no_color = environment.get("NO_COLOR").cloned();
    let loaded = settings::load(&cli.sources(environment))?;
    cli.init_logs(&loaded.settings, no_color.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("spheroctl-io")
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(cli.command.run(loaded));
    runtime.shutdown_timeout(BLOCKING_WAIT);
    outcome
}

/// The process's environment. What is not UTF-8 keeps its name and fails where it is used.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .map(|(name, value)| {
            (
                name.to_string_lossy().into(),
                value.to_string_lossy().into(),
            )
        })
        .collect()
}
