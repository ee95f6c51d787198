//! What every long-running role does first and last: open the backends, refuse a schema that is not up to date, serve
//! its listeners, tell the others that it lives, and end in order.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use serde_json::{Value, json};

use crate::app::App;
use crate::db;
use crate::domain::jobs::{Figures, Jobs};
use crate::domain::{self, backbone};
use crate::health::{Check, Health, Identity, Kind, Rules};
use crate::http::{Limits, Listener, Stack, probes, serve, standard};
use crate::kit::clock::SystemClock;
use crate::kit::lifecycle::{Ending, Lifecycle};
use crate::kit::metrics;
use crate::ops::scaling::Scaling;
use crate::ops::{self, Ops};
use crate::settings::{Readiness, Settings};
use crate::state::StateStore;
use crate::state::instances::{Instance, Instances};
use crate::telemetry;

pub use crate::settings::Role;

/// Time that the end of a process may take beyond its parts' own deadlines.
const ENDING_SLACK: Duration = Duration::from_secs(5);

/// A role that has its backends.
#[derive(Debug, Clone)]
pub struct Started {
    /// The backends.
    pub app: App,
    /// What runs.
    pub role: Role,
    /// How it is.
    pub health: Health,
}

/// Opens the backends of a role that works beside others.
///
/// # Errors
/// When a backend does not answer, or `spheroctl migrate` has not been run for this version.
pub async fn open(settings: Settings, role: Role) -> anyhow::Result<Started> {
    let app = App::open(settings, SystemClock::shared(), Lifecycle::new()).await?;
    let pending = app
        .migrate(true)
        .await
        .context("the schema and topics could not be checked")?;
    if let Some(first) = pending.first() {
        let error = db::Error::Migration(format!(
            "{} migration(s) are pending, the first is {first}; run `spheroctl migrate`",
            pending.len()
        ));
        return Err(error.into());
    }
    // Who sees the process ready may stop it in the same instant.
    app.lifecycle.listen_to_signals()?;
    Ok(with_health(app, role))
}

/// An opened app with its checks.
pub fn with_health(app: App, role: Role) -> Started {
    let settings = &app.settings.health;
    let rules = Rules {
        strict: settings.readiness == Readiness::Strict,
        check_timeout: Duration::from_millis(settings.check_timeout_ms),
        check_interval: Duration::from_millis(settings.check_interval_ms),
    };
    let identity = Identity {
        instance: app.instance.clone(),
        exposed: app.settings.http.expose_instance_id,
        version: env!("CARGO_PKG_VERSION"),
        started_at: app.started_at,
        clock: app.clock.clone(),
    };
    let health = Health::start(rules, identity, &app.lifecycle);
    add_checks(&health, &app);
    Started { app, role, health }
}

fn add_checks(health: &Health, app: &App) {
    let db = app.db.clone();
    health.add(Check::new("database", Kind::Shared, move || {
        let db = db.clone();
        async move {
            db.ping().await.map_err(|error| error.to_string())?;
            let pool = db.pool();
            Ok(json!({ "open": pool.size, "idle": pool.idle, "max": pool.max }))
        }
    }));
    let state = app.state.clone();
    health.add(Check::new("redis", Kind::Shared, move || {
        let state = state.clone();
        async move { pinged(state.ping().await) }
    }));
    let log = app.log.clone();
    health.add(Check::new("kafka", Kind::Shared, move || {
        let log = log.clone();
        async move { pinged(log.ping().await) }
    }));
    let groups = app.groups.clone();
    health.add(Check::new("groups", Kind::Shared, move || {
        let groups = groups.clone();
        async move {
            match groups.trouble() {
                Some(trouble) => Err(trouble),
                None => Ok(json!(groups.all())),
            }
        }
    }));
    let (jobs, state) = (app.jobs.clone(), app.state.clone());
    health.add(Check::new("queue", Kind::Shared, move || {
        let (jobs, state) = (jobs.clone(), state.clone());
        async move {
            let queue = queue_details(&jobs, &*state).await;
            queue.map_err(|error| error.to_string())
        }
    }));
    let files = app.files.clone();
    health.add(Check::new("files", Kind::Local, move || {
        let files = files.clone();
        async move { pinged(files.ping().await) }
    }));
    let compute = app.compute.clone();
    health.add(Check::new("compute", Kind::Local, move || {
        let state = compute.state();
        async move { Ok(json!(state)) }
    }));
}

/// How deep the queue is, and the figures that some worker counted within the last minute: a probe counts nothing itself.
async fn queue_details(jobs: &Jobs, state: &dyn StateStore) -> Result<Value, domain::Error> {
    let depth = jobs.depth().await?;
    let figures = Figures::kept(state).await?;
    Ok(json!({
        "waiting": depth.waiting,
        "delayed": depth.delayed,
        "active": depth.active,
        "figures": figures,
    }))
}

fn pinged<E: std::fmt::Display>(answer: Result<(), E>) -> Result<Value, String> {
    answer
        .map(|()| Value::Null)
        .map_err(|error| error.to_string())
}

/// Serves the operator listener: probes with details and metrics. After the public one, where a role has that: who finds the
/// process ready here sends it requests there.
///
/// # Errors
/// When the port is taken.
pub async fn serve_ops(started: &Started) -> anyhow::Result<SocketAddr> {
    let app = &started.app;
    let listener = Listener::bind(&app.settings.ops.host, app.settings.ops.port).await?;
    let address = listener.local_addr();
    let router = ops::routes(Ops {
        health: started.health.clone(),
        metrics: telemetry::metrics::recorder()?,
        lifecycle: app.lifecycle.clone(),
    });
    let router = router.merge(ops::scaling::routes(Scaling {
        state: app.state.clone(),
        jobs: app.jobs.clone(),
        instance: app.instance.clone(),
        vitals: app.vitals.clone(),
    }));
    serve_on(started, listener, router, "ops.http");
    Ok(address)
}

/// Serves a role's public listener, with probes that show no details.
///
/// # Errors
/// When the port is taken.
pub async fn serve_public(
    started: &Started,
    routes: Router,
    host: &str,
    port: u16,
) -> anyhow::Result<SocketAddr> {
    let listener = Listener::bind(host, port).await?;
    let address = listener.local_addr();
    let router = routes.merge(probes::routes(
        started.health.clone(),
        probes::Details::Hidden,
    ));
    serve_on(started, listener, router, "public.http");
    Ok(address)
}

fn serve_on(started: &Started, listener: Listener, router: Router, task: &'static str) {
    let app = &started.app;
    let address = listener.local_addr();
    // With port 0 this line is where the address can be learned from.
    tracing::info!(listener = task, %address, "{task} listens on {address}");
    let router = standard(
        router,
        &Stack::from_settings(app.instance.clone(), &app.settings.http),
    );
    let limits = Limits::from_settings(&app.settings.http, &app.settings.shutdown);
    let lifecycle = app.lifecycle.clone();
    app.lifecycle.spawn_essential(task, async move {
        serve(listener, router, limits, lifecycle).await;
        Ok(())
    });
}

/// Keeps this instance in the list of live ones until it drains.
pub fn announce(started: &Started, ops: SocketAddr) {
    let (app, role) = (started.app.clone(), started.role);
    let instances = Instances::new(app.state.clone());
    let compute = app.compute.clone();
    app.vitals.add("compute", move || {
        let state = compute.state();
        metrics::compute_pool(state.threads, state.active, state.queued);
        json!(state)
    });
    let db = app.db.clone();
    app.vitals.add("database", move || {
        let pool = db.pool();
        let busy = pool.size.saturating_sub(pool.idle);
        metrics::db_pool(busy, pool.max);
        json!({ "busy": busy, "max": pool.max })
    });
    let sockets = app.sockets.clone();
    app.vitals
        .add("sockets", move || json!(sockets.load(Ordering::Relaxed)));
    let groups = app.groups.clone();
    app.vitals
        .add(backbone::GROUPS, move || json!(groups.all()));
    let line = move || Instance {
        figures: app.vitals.read(),
        instance: app.instance.unique().to_owned(),
        role: role.name().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: app.started_at,
        address: ops.to_string(),
    };
    let draining = started.app.lifecycle.drain_token();
    started
        .app
        .lifecycle
        .spawn("instances.announce", async move {
            instances.keep_announcing(draining, line).await;
        });
}

/// Waits for a signal and for everything that was started to end.
///
/// # Errors
/// When the process may not install signal handlers.
pub async fn end(started: &Started) -> anyhow::Result<ExitCode> {
    let shutdown = &started.app.settings.shutdown;
    let parts =
        Duration::from_millis(shutdown.lame_duck_ms + shutdown.http_ms.max(shutdown.work_ms));
    let ending = started
        .app
        .lifecycle
        .run_until_ended(parts + ENDING_SLACK)
        .await?;
    if ending != Ending::Forced {
        started.app.close().await;
    }
    tracing::info!("ended: {ending:?}");
    Ok(ending.exit_code())
}
