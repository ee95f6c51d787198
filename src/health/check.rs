//! One named look at something that the process needs: run by one task at a time, cut at its time-out, its answer kept.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::Rules;
use super::report::{CheckReport, Kind, Status};
use crate::kit::lifecycle::Lifecycle;

/// How long a probe waits for a new answer while it has an older one. Balancers give a probe about a second; while a
/// shared backend hangs, all copies must go on answering them.
const PROMPT: Duration = Duration::from_millis(500);

type Run = dyn Fn() -> BoxFuture<'static, Result<Value, String>> + Send + Sync;

/// A look at something, answered by details (null for none) or by the reason why it is not well.
pub struct Check {
    name: &'static str,
    kind: Kind,
    run: Box<Run>,
}

impl Check {
    /// A look that `run` takes. A local fault makes the process unready; a shared backend that is away is a warning,
    /// or a fault when judged strictly.
    pub fn new<F>(
        name: &'static str,
        kind: Kind,
        run: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Value, String>> + Send + 'static,
    {
        Self {
            name,
            kind,
            run: Box::new(move || run().boxed()),
        }
    }

    /// The name under which it is reported.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// How one run ended.
#[derive(Debug, Clone)]
struct Answer {
    at: Instant,
    took: Duration,
    outcome: Result<Value, String>,
}

/// A check with its last answer.
#[derive(Debug)]
pub(super) struct Kept {
    check: Check,
    rules: Rules,
    answers: watch::Sender<Option<Answer>>,
    running: AtomicBool,
}

impl Kept {
    pub(super) fn new(check: Check, rules: Rules) -> Arc<Self> {
        Arc::new(Self {
            check,
            rules,
            answers: watch::Sender::new(None),
            running: AtomicBool::new(false),
        })
    }

    /// An answer not older than the interval; an older one where a new one is long in coming.
    pub(super) async fn ask(self: &Arc<Self>, lifecycle: &Lifecycle, strict: bool) -> CheckReport {
        let mut answers = self.answers.subscribe();
        let earlier = answers.borrow_and_update().clone();
        if let Some(answer) = earlier.as_ref().filter(|answer| self.is_fresh(answer)) {
            return self.report(answer, strict);
        }
        self.refresh(lifecycle);
        let patience = if earlier.is_some() {
            PROMPT
        } else {
            self.rules.check_timeout * 2
        };
        // The time-out of the run itself ends the wait; twice that is for a process that is being stopped.
        let _ = timeout(patience, answers.changed()).await;
        let answer = answers.borrow().clone().unwrap_or_else(no_answer);
        self.report(&answer, strict)
    }

    /// The last answer, if any, judged strictly and without waiting; a new one is on its way when it is old.
    pub(super) fn last(self: &Arc<Self>, lifecycle: &Lifecycle) -> Option<CheckReport> {
        let answer = self.answers.borrow().clone();
        if !answer.as_ref().is_some_and(|answer| self.is_fresh(answer)) {
            self.refresh(lifecycle);
        }
        Some(self.report(&answer?, true))
    }

    /// Starts a run unless one is under way. It is a task of its own: a probe that is given up must not undo it.
    fn refresh(self: &Arc<Self>, lifecycle: &Lifecycle) {
        if self.running.swap(true, Ordering::AcqRel) {
            return;
        }
        let flight = Flight::of(Arc::clone(self));
        lifecycle.spawn("health.check", async move {
            let limit = flight.kept.rules.check_timeout;
            let run = (flight.kept.check.run)();
            let late = |_| Err(format!("no answer within {} ms", limit.as_millis()));
            flight.land(timeout(limit, run).await.unwrap_or_else(late));
        });
    }

    fn is_fresh(&self, answer: &Answer) -> bool {
        answer.at.elapsed() < self.rules.check_interval
    }

    fn report(&self, answer: &Answer, strict: bool) -> CheckReport {
        let kind = self.check.kind;
        let status = match (&answer.outcome, kind) {
            (Ok(_), _) => Status::Pass,
            (Err(_), Kind::Shared) if !strict => Status::Warn,
            (Err(_), _) => Status::Fail,
        };
        let outcome = answer.outcome.clone();
        CheckReport::new(kind, status, outcome, answer.took, answer.at.elapsed())
    }
}

/// One run. However it ends, by its answer, a panic or the end of the process, dropping it leaves an answer and lets the
/// next run begin.
struct Flight {
    kept: Arc<Kept>,
    start: Instant,
    outcome: Result<Value, String>,
}

impl Flight {
    fn of(kept: Arc<Kept>) -> Self {
        Self {
            kept,
            start: Instant::now(),
            outcome: Err("the check ended without an answer".to_owned()),
        }
    }

    fn land(mut self, outcome: Result<Value, String>) {
        self.outcome = outcome;
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let outcome = std::mem::replace(&mut self.outcome, Ok(Value::Null));
        self.kept.running.store(false, Ordering::Release);
        self.kept.answers.send_replace(Some(Answer {
            at: Instant::now(),
            took: self.start.elapsed(),
            outcome,
        }));
    }
}

fn no_answer() -> Answer {
    Answer {
        at: Instant::now(),
        took: Duration::ZERO,
        outcome: Err("there is no answer yet".to_owned()),
    }
}
