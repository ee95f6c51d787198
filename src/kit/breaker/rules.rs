//! The transitions of a breaker: told the time and the draw of chance, so that they can be replayed.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// When a breaker opens, for how long, and what closes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Outcomes that are kept, the latest ones.
    pub window_calls: usize,
    /// Below so many kept outcomes their share says nothing.
    pub min_calls: usize,
    /// It opens at this share of failures among the kept outcomes, in percent.
    pub failure_percent: u8,
    /// It opens at so many failures in a row.
    pub consecutive_failures: u32,
    /// It stays open at least this long.
    pub open: Duration,
    /// Up to this share of `open` is added by chance, in percent, so that many copies do not probe at once.
    pub jitter_percent: u8,
    /// Calls that a half-open breaker lets through, and that must all succeed.
    pub probes: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            window_calls: 20,
            min_calls: 10,
            failure_percent: 50,
            consecutive_failures: 5,
            open: Duration::from_secs(60),
            jitter_percent: 20,
            probes: 3,
        }
    }
}

/// What a breaker does with calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// All pass.
    Closed,
    /// A few pass.
    HalfOpen,
    /// None passes.
    Open,
}

impl State {
    /// The name in texts and labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }

    /// The value of its metric.
    pub const fn figure(self) -> f64 {
        match self {
            Self::Closed => 0.0,
            Self::HalfOpen => 1.0,
            Self::Open => 2.0,
        }
    }
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Success,
    /// No failure, but no proof that the work can be done.
    Answer,
    /// With the time for which the called one wants to be left alone.
    Failure(Duration),
}

/// The state and what is kept in it.
#[derive(Debug)]
pub(super) struct Core {
    rules: Rules,
    phase: Phase,
    /// Rises at every change: an outcome from an earlier state is known by it.
    number: u64,
}

#[derive(Debug)]
enum Phase {
    Closed {
        /// The latest outcomes, whether they were failures.
        failures: VecDeque<bool>,
        in_a_row: u32,
    },
    Open {
        until: Instant,
    },
    HalfOpen {
        under_way: u32,
        succeeded: u32,
    },
}

impl Core {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            phase: Phase::closed(),
            number: 0,
            rules,
        }
    }

    pub(super) const fn state(&self) -> State {
        match self.phase {
            Phase::Closed { .. } => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    pub(super) const fn open_until(&self) -> Option<Instant> {
        match self.phase {
            Phase::Open { until } => Some(until),
            _ => None,
        }
    }

    /// Whether a call is refused now: until when, or (inner none) until the probes have ended.
    pub(super) fn refusal(&self, now: Instant) -> Option<Option<Instant>> {
        match &self.phase {
            Phase::Closed { .. } => None,
            Phase::Open { until } => (now < *until).then_some(Some(*until)),
            Phase::HalfOpen {
                under_way,
                succeeded,
            } => (under_way + succeeded >= self.rules.probes).then_some(None),
        }
    }

    /// Lets a call through, under the number that its end must name; or says until when it is refused.
    pub(super) fn admit(&mut self, now: Instant) -> Result<u64, Option<Instant>> {
        if let Some(until) = self.refusal(now) {
            return Err(until);
        }
        if matches!(self.phase, Phase::Open { .. }) {
            self.enter(Phase::HalfOpen {
                under_way: 0,
                succeeded: 0,
            });
        }
        if let Phase::HalfOpen { under_way, .. } = &mut self.phase {
            *under_way += 1;
        }
        Ok(self.number)
    }

    /// Counts a call's outcome. `draw` is a number of chance, from 0 to 1.
    pub(super) fn settle(&mut self, began: u64, outcome: Outcome, now: Instant, draw: f64) {
        if began != self.number {
            return;
        }
        let next = match (&mut self.phase, outcome) {
            (Phase::Closed { failures, in_a_row }, Outcome::Success | Outcome::Failure(_)) => {
                let failed = outcome != Outcome::Success;
                *in_a_row = if failed { *in_a_row + 1 } else { 0 };
                failures.push_back(failed);
                if failures.len() > self.rules.window_calls {
                    failures.pop_front();
                }
                let opens = failed && self.rules.open_at(failures, *in_a_row);
                opens.then(|| self.rules.opened(outcome, now, draw))
            }
            (Phase::HalfOpen { .. }, Outcome::Failure(_)) => {
                Some(self.rules.opened(outcome, now, draw))
            }
            (
                Phase::HalfOpen {
                    under_way,
                    succeeded,
                },
                _,
            ) => {
                *under_way -= 1;
                *succeeded += 1;
                (*succeeded >= self.rules.probes).then(Phase::closed)
            }
            (Phase::Closed { .. } | Phase::Open { .. }, _) => None,
        };
        if let Some(next) = next {
            self.enter(next);
        }
    }

    /// A call that ended without an outcome.
    pub(super) fn give_back(&mut self, began: u64) {
        if let Phase::HalfOpen { under_way, .. } = &mut self.phase
            && began == self.number
        {
            *under_way -= 1;
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.number += 1;
    }
}

impl Phase {
    const fn closed() -> Self {
        Self::Closed {
            failures: VecDeque::new(),
            in_a_row: 0,
        }
    }
}

impl Rules {
    fn open_at(&self, failures: &VecDeque<bool>, in_a_row: u32) -> bool {
        let failed = failures.iter().filter(|failed| **failed).count();
        let share_counts = failures.len() >= self.min_calls;
        let high_share = failed * 100 >= usize::from(self.failure_percent) * failures.len();
        in_a_row >= self.consecutive_failures || share_counts && high_share
    }

    fn opened(&self, outcome: Outcome, now: Instant, draw: f64) -> Phase {
        let asked = match outcome {
            Outcome::Failure(asked) => asked,
            Outcome::Success | Outcome::Answer => Duration::ZERO,
        };
        let jitter = self
            .open
            .mul_f64(draw * f64::from(self.jitter_percent) / 100.0);
        Phase::Open {
            until: now + (self.open + jitter).max(asked),
        }
    }
}
