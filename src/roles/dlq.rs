//! `spheroctl dlq`: what failed for good, from the machine's own command line.

pub mod args;
mod events;
mod jobs;

use std::process::ExitCode;

use crate::app::App;
use crate::kit::clock::SystemClock;
use crate::kit::lifecycle::Lifecycle;
use crate::settings::Settings;

use args::{DlqArgs, DlqKind};

/// Runs the command.
///
/// # Errors
/// When a job is unknown or not dead, or a backend does not answer.
pub async fn run(args: DlqArgs, settings: Settings) -> anyhow::Result<ExitCode> {
    let app = App::open(settings, SystemClock::shared(), Lifecycle::new()).await?;
    let done = match args.kind {
        DlqKind::Jobs { action } => jobs::run(&app, action, args.json).await,
        DlqKind::Events { action } => events::run(&app, action, args.json).await,
    };
    app.close().await;
    done
}
