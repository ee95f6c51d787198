//! `spheroctl worker`: takes segmentation jobs from the queue, relays the outbox, is a member of consumer groups, does the periodic tasks. Publishes no
//! port but the operator listener's.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use crate::app::{App, image_limits};
use crate::domain::scaling;
use crate::roles::args::WorkerArgs;
use crate::roles::start::{self, Role, Started};
use crate::settings::Settings;
use crate::worker::{
    Deliveries, Pages, Rules, Segmenters, Surroundings, Upkeep, Worker, consumers,
};

/// Runs the command.
///
/// # Errors
/// When a backend does not answer, the schema is not up to date, or the operator's port is taken.
pub async fn run(_args: WorkerArgs, settings: Settings) -> anyhow::Result<ExitCode> {
    let started = start::open(settings, Role::Worker).await?;
    let worker = watched_worker(&started)?;
    let ops = start::serve_ops(&started).await?;
    started.app.start_relay();
    start_worker(&started.app, &worker)?;
    consumers::start(&started.app)?;
    start::announce(&started, ops);
    start::end(&started).await
}

/// A worker that does nothing yet, whose remote segmenter, if any, is shown among the services: before anybody can ask.
///
/// # Errors
/// As [`new_worker`].
pub fn watched_worker(started: &Started) -> anyhow::Result<Worker> {
    let worker = new_worker(&started.app)?;
    if let Some(check) = worker.segmenter_check() {
        started.health.add(check);
    }
    Ok(worker)
}

/// A worker that does nothing yet.
///
/// # Errors
/// When no client for the remote segmenter can be made.
pub fn new_worker(app: &App) -> anyhow::Result<Worker> {
    let pages = Pages {
        db: app.db.clone(),
        files: app.files.clone(),
        compute: app.compute.clone(),
        limits: image_limits(&app.settings),
    };
    let surroundings = Surroundings {
        push: app.push.clone(),
        instance: app.instance.clone(),
        lifecycle: app.lifecycle.clone(),
    };
    let segmenters = Segmenters::new(&app.settings, pages, &surroundings)?;
    let rules = Rules::from(&*app.settings);
    let (jobs, push) = (app.jobs.clone(), app.push.clone());
    Ok(Worker::new(
        jobs,
        push,
        segmenters,
        app.lifecycle.clone(),
        rules,
    ))
}

/// Starts taking jobs, and the periodic tasks that some worker must do, until the process drains.
///
/// # Errors
/// When no client for webhooks can be made.
pub fn start_worker(app: &App, worker: &Worker) -> anyhow::Result<()> {
    let upkeep = Upkeep {
        jobs: app.jobs.clone(),
        db: app.db.clone(),
        log: app.log.clone(),
        files: app.files.clone(),
        state: app.state.clone(),
        clock: app.clock.clone(),
        instance: app.instance.clone(),
        scaling: scaling::Rules::new(&app.settings.scaling, &app.settings.worker),
        reap_interval: Duration::from_millis(app.settings.queue.reap_interval_ms),
        reconcile_interval: Duration::from_millis(app.settings.queue.reconcile_interval_ms),
        deliveries_kept: Duration::from_secs(app.settings.webhooks.keep_s),
        unlisted_age: Duration::from_secs(app.settings.files.unlisted_age_s),
    };
    upkeep.start(&app.lifecycle);
    let webhooks = &app.settings.webhooks;
    Deliveries::new(app.db.clone(), app.clock.clone(), webhooks)?.start(&app.lifecycle);
    worker.start();
    let vital = worker.clone();
    app.vitals.add("worker", move || json!(vital.state()));
    Ok(())
}
