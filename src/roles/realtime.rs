//! `spheroctl realtime`: the WebSocket gateway; stateless, no sticky sessions.

use std::process::ExitCode;
use std::sync::Arc;

use crate::app::App;
use crate::domain::users::Bearers;
use crate::realtime::rules::Rules;
use crate::realtime::{Gateway, Handles, Limits};
use crate::roles::args::RealtimeArgs;
use crate::roles::serve;
use crate::roles::start::{self, Role};
use crate::settings::Settings;

/// Runs the command.
///
/// # Errors
/// When a backend does not answer, the schema is not up to date, or a port is taken.
pub async fn run(_args: RealtimeArgs, settings: Settings) -> anyhow::Result<ExitCode> {
    let started = start::open(settings, Role::Realtime).await?;
    let (host, port) = (
        &started.app.settings.realtime.host,
        started.app.settings.realtime.port,
    );
    start::serve_public(&started, gateway(&started.app).routes(), host, port).await?;
    let ops = start::serve_ops(&started).await?;
    start::announce(&started, ops);
    start::end(&started).await
}

/// Starts the gateway of this process.
pub fn gateway(app: &App) -> Gateway {
    let handles = Handles {
        state: app.state.clone(),
        rules: Rules {
            db: app.db.clone(),
            bearers: Bearers::new(app.db.clone(), app.clock.clone()),
            sessions: serve::sessions(app),
            jobs: app.jobs.clone(),
        },
        push: app.push.clone(),
        clock: app.clock.clone(),
        instance: app.instance.clone(),
        lifecycle: app.lifecycle.clone(),
        sockets: Arc::clone(&app.sockets),
    };
    Gateway::start(handles, Limits::from_settings(&app.settings))
}
