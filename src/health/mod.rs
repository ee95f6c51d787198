//! Whether this process is alive, and whether it should get requests.
//!
//! * Liveness looks at nothing outside the process: else one outage would restart every copy.
//! * Readiness fails for what is this process's own (draining, a part that has not started, a local fault). A shared
//!   backend that is away is a warning: else all copies would leave the balancer in the same second.
//!
//! Leaves out what is checked (whoever holds a backend adds a [`Check`]) and how it is shown (`http::probes`, `ops`).

mod check;
mod memory;
mod pulse;
mod report;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::join_all;
use parking_lot::RwLock;
use serde_json::Value;

pub use check::Check;
pub use report::{CheckReport, Checks, Kind, Report, Status};

use crate::kit::clock::SharedClock;
use crate::kit::instance::InstanceId;
use crate::kit::lifecycle::Lifecycle;
use check::Kept;
use memory::ControlGroup;
use pulse::Pulse;

/// How checks are run and judged.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Whether a shared backend that is away makes the process unready.
    pub strict: bool,
    /// Longest run of one check.
    pub check_timeout: Duration,
    /// An answer is kept this long.
    pub check_interval: Duration,
}

/// Who is asked.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The process.
    pub instance: InstanceId,
    /// Whether strangers are told its name.
    pub exposed: bool,
    /// The program's version.
    pub version: &'static str,
    /// When the process started.
    pub started_at: DateTime<Utc>,
    /// The present instant.
    pub clock: SharedClock,
}

/// The registry of checks. Clones share it.
#[derive(Debug, Clone)]
pub struct Health {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    rules: Rules,
    identity: Identity,
    lifecycle: Lifecycle,
    pulse: Pulse,
    checks: RwLock<BTreeMap<&'static str, Arc<Kept>>>,
    latches: RwLock<BTreeMap<&'static str, Latch>>,
}

/// Holds readiness back until a part of the process has started. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Latch {
    released: Arc<AtomicBool>,
}

impl Latch {
    /// The part has started; for good.
    pub fn release(&self) {
        self.released.store(true, Ordering::Release);
    }
}

impl Health {
    /// A registry without checks, and the task that watches memory and runtime until the process drains.
    pub fn start(rules: Rules, identity: Identity, lifecycle: &Lifecycle) -> Self {
        let group = ControlGroup::of_this_process();
        let pulse = Pulse::start(lifecycle, move || group.as_ref()?.read());
        let shared = Shared {
            rules,
            identity,
            lifecycle: lifecycle.clone(),
            pulse,
            checks: RwLock::default(),
            latches: RwLock::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Adds a check; it replaces one of the same name.
    pub fn add(&self, check: Check) {
        let name = check.name();
        let kept = Kept::new(check, self.shared.rules);
        self.shared.checks.write().insert(name, kept);
    }

    /// A latch of that name, closed at first; callers of one name share it.
    pub fn latch(&self, name: &'static str) -> Latch {
        self.shared.latches.write().entry(name).or_default().clone()
    }

    /// Who is asked.
    pub fn identity(&self) -> &Identity {
        &self.shared.identity
    }

    /// Whether the process works at all.
    pub async fn liveness(&self) -> Report {
        self.report(self.vital().await)
    }

    /// Whether the process should get requests; `strict` judges shared backends as its own, whatever the rules say.
    pub async fn readiness(&self, strict: bool) -> Report {
        if self.shared.lifecycle.is_draining() {
            // At once: the balancer must learn it, and the backends may be closing.
            let draining = CheckReport::local(Err("the process is shutting down".to_owned()));
            return self.report(Checks::from([("draining", [draining])]));
        }
        let strict = strict || self.shared.rules.strict;
        let kept = self.kept();
        let asked = kept.iter().map(|(name, kept)| async move {
            (*name, [kept.ask(&self.shared.lifecycle, strict).await])
        });
        let (answers, vital) = tokio::join!(join_all(asked), self.vital());
        let mut checks = vital;
        checks.extend(self.latches());
        checks.extend(answers);
        self.report(checks)
    }

    /// The names of the checks, in order.
    pub fn names(&self) -> Vec<&'static str> {
        self.shared.checks.read().keys().copied().collect()
    }

    /// One check, judged strictly; none of that name: None.
    pub async fn check(&self, name: &str) -> Option<CheckReport> {
        let kept = self.shared.checks.read().get(name).cloned()?;
        Some(kept.ask(&self.shared.lifecycle, true).await)
    }

    /// The last answers of the checks, judged strictly and without waiting; one that never answered is left out.
    pub fn last_known(&self) -> Checks {
        let lifecycle = &self.shared.lifecycle;
        let known = self.kept().into_iter().filter_map(|(name, kept)| {
            let report = kept.last(lifecycle)?;
            Some((name, [report]))
        });
        known.collect()
    }

    /// What only this process can have: a runtime that schedules, and memory.
    async fn vital(&self) -> Checks {
        let pulse = &self.shared.pulse;
        let runtime = pulse.runtime(self.shared.rules.check_timeout).await;
        Checks::from([
            ("runtime", [CheckReport::local(runtime)]),
            ("memory", [CheckReport::local(pulse.memory())]),
        ])
    }

    fn latches(&self) -> Checks {
        let latches = self.shared.latches.read();
        let reports = latches.iter().map(|(name, latch)| {
            let released = latch.released.load(Ordering::Acquire);
            let outcome = released.then_some(Value::Null);
            let outcome = outcome.ok_or_else(|| format!("{name} has not started yet"));
            (*name, [CheckReport::local(outcome)])
        });
        reports.collect()
    }

    fn kept(&self) -> Vec<(&'static str, Arc<Kept>)> {
        let checks = self.shared.checks.read();
        checks
            .iter()
            .map(|(name, kept)| (*name, Arc::clone(kept)))
            .collect()
    }

    fn report(&self, checks: Checks) -> Report {
        let identity = self.identity();
        Report {
            status: report::worst(&checks),
            version: Some(identity.version),
            instance: Some(identity.instance.unique().to_owned()),
            exposed: identity.exposed,
            checks,
        }
    }
}

#[cfg(test)]
mod tests;
