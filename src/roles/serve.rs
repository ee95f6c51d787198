//! `spheroctl serve`: the HTTP API and the web page; stateless.

use std::process::ExitCode;
use std::time::Duration;

use crate::api::{self, Handles, Identity, LbCheck, RateLimits};
use crate::app::App;
use crate::domain::users::{Bearers, Passwords};
use crate::roles::args::ServeArgs;
use crate::roles::start::{self, Role, Started};
use crate::settings::Settings;
use crate::state::rate_limit::RateLimiter;
use crate::state::sessions::{Sessions, SignInCodes};
use crate::web;

/// Runs the command.
///
/// # Errors
/// When a backend does not answer, the schema is not up to date, or a port is taken.
pub async fn run(_args: ServeArgs, settings: Settings) -> anyhow::Result<ExitCode> {
    let started = start::open(settings, Role::Serve).await?;
    let (host, port) = (
        &started.app.settings.http.host,
        started.app.settings.http.port,
    );
    start::serve_public(&started, routes(&started)?, host, port).await?;
    let ops = start::serve_ops(&started).await?;
    start::announce(&started, ops);
    start::end(&started).await
}

/// The routes of the API and the page.
///
/// # Errors
/// Only when password hashing refuses its own parameters.
pub fn routes(started: &Started) -> anyhow::Result<axum::Router> {
    Ok(api::routes(handles(&started.app, started.role)?).merge(web::routes()))
}

/// The sessions of people.
pub(super) fn sessions(app: &App) -> Sessions {
    let auth = &app.settings.auth;
    Sessions::new(
        app.state.clone(),
        app.clock.clone(),
        Duration::from_secs(auth.session_idle_s),
        Duration::from_secs(auth.session_absolute_s),
    )
}

fn handles(app: &App, role: Role) -> anyhow::Result<Handles> {
    let auth = &app.settings.auth;
    if app.settings.http.allow_insecure_cookies {
        tracing::warn!("http.allow_insecure_cookies: session cookies travel in the clear");
    }
    Ok(Handles {
        db: app.db.clone(),
        clock: app.clock.clone(),
        state: app.state.clone(),
        bearers: Bearers::new(app.db.clone(), app.clock.clone()),
        sessions: sessions(app),
        sign_in_codes: SignInCodes::new(app.state.clone()),
        passwords: Passwords::new(auth.password_hashes_at_once)?,
        jobs: app.jobs.clone(),
        log: app.log.clone(),
        dead_letters: app.dead_letters(),
        uploads: app.uploads.clone(),
        files: app.files.clone(),
        compute: app.compute.clone(),
        identity: identity(app, role),
        vitals: app.vitals.clone(),
        rules: api::Rules::from_settings(&app.settings.http, auth, &app.settings.queue),
        rate_limits: RateLimits::from_settings(limiter(app), &app.settings.rate_limit),
        lb_check: LbCheck::new(&app.settings.lb_check),
    })
}

/// The limiter knows among how many the limits are shared out while Redis is away.
fn limiter(app: &App) -> RateLimiter {
    let limiter = RateLimiter::new(app.state.clone(), app.clock.clone());
    let (counting, draining) = (limiter.clone(), app.lifecycle.drain_token());
    app.lifecycle.spawn("rate_limit.sharers", async move {
        let roles = [Role::Serve.name(), Role::Standalone.name()];
        counting.keep_counting(&roles, draining).await;
    });
    limiter
}

fn identity(app: &App, role: Role) -> Identity {
    Identity {
        instance: app.instance.clone(),
        exposed: app.settings.http.expose_instance_id,
        role: role.name(),
        started_at: app.started_at,
        draining: app.lifecycle.drain_token(),
    }
}
