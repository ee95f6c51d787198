//! x
use std::time::Duration; use crate::app::{App, image_limits}; use crate::worker::{Builtin, Rules, Upkeep, Worker};
/// Starts taking jobs, and the periodic tasks that some worker must do, until the process drains.
pub fn start_worker(app: &App) -> Worker {
    let upkeep = Upkeep {
        jobs: app.jobs.clone(),
        db: app.db.clone(),
        state: app.state.clone(),
        clock: app.clock.clone(),
        instance: app.instance.clone(),
        reap_interval: Duration::from_millis(app.settings.queue.reap_interval_ms),
        reconcile_interval: Duration::from_millis(app.settings.queue.reconcile_interval_ms),
    };
    upkeep.start(&app.lifecycle);
    let segmenter = Builtin {
        db: app.db.clone(),
        files: app.files.clone(),
        compute: app.compute.clone(),
        limits: image_limits(&app.settings),
    };
    let rules = Rules::from(&*app.settings);
    let (jobs, push) = (app.jobs.clone(), app.push.clone());
    let worker = Worker::new(jobs, push, segmenter, app.lifecycle.clone(), rules);
    worker.start();
    worker
}
