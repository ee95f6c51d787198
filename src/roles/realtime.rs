//! `spheroctl realtime`: the WebSocket gateway; stateless, no sticky sessions.

use std::process::ExitCode;

use crate::realtime;
use crate::roles::args::RealtimeArgs;
use crate::roles::start::{self, Role};
use crate::settings::Settings;

/// Runs the command.
///
/// # Errors
/// When a backend does not answer, the schema is not up to date, or a port is taken.
pub async fn run(_args: RealtimeArgs, settings: Settings) -> anyhow::Result<ExitCode> {
    let started = start::open(settings, Role::Realtime).await?;
    let ops = start::serve_ops(&started).await?;
    let (host, port) = (
        &started.app.settings.realtime.host,
        started.app.settings.realtime.port,
    );
    let address = start::serve_public(&started, realtime::routes(), host, port).await?;
    tracing::info!("realtime listens on {address}");
    start::announce(&started, ops);
    start::end(&started).await
}
