//! What every long-running role does first and last: open the backends, refuse a schema that is not up to date, serve
//! the operator listener, and end in order.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use crate::app::App;
use crate::kit::clock::SystemClock;
use crate::kit::lifecycle::Lifecycle;
use crate::settings::Settings;

/// Time that the end of a process may take beyond its parts' own deadlines.
const ENDING_SLACK: Duration = Duration::from_secs(5);

/// Opens the backends of a role that works beside others.
///
/// # Errors
/// When a backend does not answer, or `spheroctl migrate` has not been run for this version.
pub async fn open(settings: Settings) -> anyhow::Result<App> {
    let app = App::open(settings, SystemClock::shared(), Lifecycle::new()).await?;
    let pending = app.migrate(true).await.context("the schema and topics could not be checked")?;
    if let Some(first) = pending.first() {
        let error = crate::db::Error::Migration(format!(
            "{} migration(s) are pending, the first is {first}; run `spheroctl migrate`",
            pending.len()
        ));
        return Err(error.into());
    }
    Ok(app)
}

/// Waits for a signal and for everything that was started to end.
///
/// # Errors
/// When the process may not install signal handlers.
pub async fn end(app: &App) -> anyhow::Result<ExitCode> {
    let shutdown = &app.settings.shutdown;
    let parts = Duration::from_millis(shutdown.lame_duck_ms + shutdown.http_ms.max(shutdown.work_ms));
    let ending = app.lifecycle.run_until_ended(parts + ENDING_SLACK).await?;
    app.close().await;
    tracing::info!("ended: {ending:?}");
    Ok(ending.exit_code())
}
