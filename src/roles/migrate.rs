//! `spheroctl migrate`: brings schema and topics to what this version needs, or says what is pending.

use std::process::ExitCode;

use serde::Serialize;

use crate::app::App;
use crate::kit::clock::SystemClock;
use crate::kit::lifecycle::Lifecycle;
use crate::roles::args::MigrateArgs;
use crate::roles::output;
use crate::settings::Settings;

#[derive(Serialize)]
struct Report {
    /// True when changes were made, false when they were only looked for.
    applied: bool,
    /// What was, or is, pending.
    pending: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// When a backend does not answer, or holds what this version cannot use.
pub async fn run(args: MigrateArgs, settings: Settings) -> anyhow::Result<ExitCode> {
    let app = App::open(settings, SystemClock::shared(), Lifecycle::new()).await?;
    let report = Report {
        pending: app.migrate(args.check).await?,
        applied: !args.check,
    };
    app.close().await;
    print(&args, &report)?;
    let behind = args.check && !report.pending.is_empty();
    Ok(if behind {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn print(args: &MigrateArgs, report: &Report) -> anyhow::Result<()> {
    if args.json {
        return Ok(output::json(report)?);
    }
    let word = if report.applied { "applied" } else { "pending" };
    for item in &report.pending {
        output::line(&format!("{word}: {item}"))?;
    }
    if report.pending.is_empty() {
        output::line("schema and topics are up to date")?;
    }
    Ok(())
}
