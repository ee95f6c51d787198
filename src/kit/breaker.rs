//! Stops calling what does not work: after enough failures no call is let through for a while, then a few probes are, and
//! they decide.
//!
//! | state | calls | leaves it |
//! |---|---|---|
//! | closed | all pass; the last `window_calls` of them are kept | to open, by the share of failures or by failures in a row |
//! | open | refused, with the time until the next try | to half-open, at the first call after that time |
//! | half-open | `probes` pass, more are refused | to closed when all of them succeed, to open when one fails |
//!
//! A call is a [`Permit`]. Dropped without an outcome (its caller was cancelled) it counts for nothing and gives a probe's
//! place back. A call that ends in another state than it began in counts for nothing either.
//!
//! `rules`: the transitions, without time and chance of their own.

mod rules;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::Rng;
use tokio::time::Instant;

use rules::{Core, Outcome};
pub use rules::{Rules, State};

/// Told of each change, in order, while the breaker is locked: it must neither block nor ask the breaker.
pub type Observer = dyn Fn(Change) + Send + Sync;

/// The time until the next try where probes are under way: their outcome is awaited, however long they take.
const PROBES_RETRY: Duration = Duration::from_secs(1);

/// A breaker. Clones share its state.
#[derive(Clone)]
pub struct Breaker {
    shared: Arc<Shared>,
}

struct Shared {
    name: &'static str,
    core: Mutex<Core>,
    observer: Box<Observer>,
}

/// A change of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The breaker's name.
    pub name: &'static str,
    /// The state before.
    pub from: State,
    /// The state now.
    pub to: State,
    /// The time until the next try; nothing unless open.
    pub retry_in: Option<Duration>,
}

/// A call that was not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{name} is not called: it failed too often; next try in {} s", retry_in.as_secs_f64().ceil())]
pub struct Refused {
    /// The breaker's name.
    pub name: &'static str,
    /// The time until a call may pass.
    pub retry_in: Duration,
}

/// A call that was let through. Its outcome is told by one of the methods; dropping it tells none.
#[derive(Debug)]
#[must_use = "a permit that is dropped tells no outcome"]
pub struct Permit {
    breaker: Breaker,
    /// The state's number in which the call began; none once the outcome has been told.
    began: Option<u64>,
}

impl Breaker {
    /// A closed breaker. `observer` is told of each change.
    pub fn new(
        name: &'static str,
        rules: Rules,
        observer: impl Fn(Change) + Send + Sync + 'static,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                name,
                core: Mutex::new(Core::new(rules)),
                observer: Box::new(observer),
            }),
        }
    }

    /// Lets a call through.
    ///
    /// # Errors
    /// [`Refused`] while the breaker is open, or its probes are under way.
    pub fn admit(&self) -> Result<Permit, Refused> {
        let now = Instant::now();
        let admitted = self.change(|core| core.admit(now));
        match admitted {
            Ok(began) => Ok(Permit {
                breaker: self.clone(),
                began: Some(began),
            }),
            Err(until) => Err(self.refused(until, now)),
        }
    }

    /// What [`Breaker::admit`] would refuse now; takes no place and changes nothing.
    ///
    /// # Errors
    /// As [`Breaker::admit`].
    pub fn check(&self) -> Result<(), Refused> {
        let now = Instant::now();
        let refusal = self.shared.core.lock().refusal(now);
        refusal.map_or(Ok(()), |until| Err(self.refused(until, now)))
    }

    /// The state now; an open breaker stays open until somebody calls.
    pub fn state(&self) -> State {
        self.shared.core.lock().state()
    }

    /// The breaker's name.
    pub fn name(&self) -> &'static str {
        self.shared.name
    }

    fn refused(&self, until: Option<Instant>, now: Instant) -> Refused {
        Refused {
            name: self.shared.name,
            retry_in: until.map_or(PROBES_RETRY, |until| until - now),
        }
    }

    /// Does something to the core and tells the observer when its state changed.
    fn change<T>(&self, act: impl FnOnce(&mut Core) -> T) -> T {
        let mut core = self.shared.core.lock();
        let from = core.state();
        let done = act(&mut core);
        let to = core.state();
        if from != to {
            (self.shared.observer)(Change {
                name: self.shared.name,
                from,
                to,
                retry_in: core.open_until().map(|until| until - Instant::now()),
            });
        }
        done
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker")
            .field("name", &self.shared.name)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

impl Permit {
    /// The call did what it should.
    pub fn succeeded(self) {
        self.settle(Outcome::Success);
    }

    /// The called one answered, and what was wrong is not its fault: no failure, and as a probe a success.
    pub fn answered(self) {
        self.settle(Outcome::Answer);
    }

    /// The called one did not work. Where it said when to come back, an opened breaker stays open at least that long.
    pub fn failed(self, retry_after: Option<Duration>) {
        self.settle(Outcome::Failure(retry_after.unwrap_or_default()));
    }

    fn settle(mut self, outcome: Outcome) {
        if let Some(began) = self.began.take() {
            let draw = rand::rng().random::<f64>();
            let now = Instant::now();
            self.breaker
                .change(|core| core.settle(began, outcome, now, draw));
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(began) = self.began.take() {
            self.breaker.change(|core| core.give_back(began));
        }
    }
}

#[cfg(test)]
mod tests;
