//! Every history of three workers and one job: on the real queue, with the row's guards as their statements have them.
//! Histories that lead to the same state are followed once, until there is no new one.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use spheroctl::kit::clock::{Clock, ManualClock, SystemClock};
use spheroctl::kit::id::{JobId, UserId};
use spheroctl::queue::memory::Memory;
use spheroctl::queue::{JobQueue, Lane, Lease, Leased, Offer, Release, Want};

use super::{STRICT, WORKERS};

/// More than there can be, should the state grow by mistake.
const STATES_MAX: usize = 100_000;
const LEASE: Duration = Duration::from_secs(10);
/// Rounds in which everything must have ended once nothing goes wrong any more.
const RECOVERY_ROUNDS: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Take(usize),
    Renew(usize),
    /// Writes the end into the row.
    Finish(usize),
    /// Tells the queue of the end.
    Tell(usize),
    Crash(usize),
    /// Nobody renews for longer than a lease.
    Pause,
    Reap,
    Reconcile,
    Cancel,
    Flush,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Status {
    Queued,
    Running,
    Completed,
    Cancelled,
}

/// The row, and the guards that its statements have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Row {
    status: Status,
    attempt: u32,
    stop: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Worker {
    /// What it runs: its lease and attempt.
    run: Option<(Leased, u32)>,
    /// What it has written but not told.
    ended: Option<Leased>,
}

struct World {
    clock: ManualClock,
    queue: Memory,
    offer: Offer,
    row: Row,
    workers: [Worker; WORKERS],
    effects: u32,
}

impl World {
    fn new(job: JobId, owner: UserId, clock: ManualClock) -> Self {
        let queue = Memory::new(Arc::new(clock.clone()), STRICT);
        let offer = Offer {
            job,
            owner,
            lane: Lane::Default,
            priority: 5,
            since: clock.now(),
            delay: Duration::ZERO,
        };
        let world = Self {
            clock,
            queue,
            offer,
            row: Row {
                status: Status::Queued,
                attempt: 0,
                stop: false,
            },
            workers: [Worker::default(); WORKERS],
            effects: 0,
        };
        now(world.queue.offer(&[offer]));
        world
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Take(worker) => self.claim(worker),
            Step::Renew(worker) => self.renew(worker),
            Step::Finish(worker) => self.finish(worker),
            Step::Tell(worker) => {
                if let Some(leased) = self.workers[worker].ended.take() {
                    now(self.queue.release(&[(leased, Release::Done)]));
                }
            }
            Step::Crash(worker) => self.workers[worker] = Worker::default(),
            Step::Pause => self.clock.advance(LEASE + Duration::from_secs(1)),
            Step::Reap => self.reap(),
            Step::Reconcile => {
                let known = now(self.queue.known(&[self.offer.job]))[0];
                if self.row.status == Status::Queued && !known {
                    now(self.queue.offer(&[self.offer]));
                }
            }
            Step::Cancel => self.cancel(),
            Step::Flush => self.queue.clear(),
        }
        assert!(self.effects <= 1, "two effects");
    }

    fn claim(&mut self, worker: usize) {
        let want = Want {
            limit: 1,
            lanes: &Lane::ALL,
            lease: LEASE,
        };
        let Some(leased) = now(self.queue.claim(want)).pop() else {
            return;
        };
        if self.row.status == Status::Queued {
            self.row.status = Status::Running;
            self.row.attempt += 1;
            self.workers[worker].run = Some((leased, self.row.attempt));
        } else {
            now(self.queue.remove(&[leased.job]));
        }
    }

    fn renew(&mut self, worker: usize) {
        let Some((leased, attempt)) = self.workers[worker].run else {
            return;
        };
        let keeps = match now(self.queue.renew(&[leased], LEASE))[0] {
            Lease::Held => true,
            Lease::Cancelled => {
                self.stop(worker, leased, attempt);
                false
            }
            Lease::Lost => false,
            Lease::Unknown if self.is_ours(attempt) => {
                now(self.queue.adopt(&self.offer, leased.fence, LEASE));
                true
            }
            Lease::Unknown => false,
        };
        if !keeps {
            self.workers[worker].run = None;
        }
    }

    fn is_ours(&self, attempt: u32) -> bool {
        self.row.status == Status::Running && self.row.attempt == attempt
    }

    fn stop(&mut self, worker: usize, leased: Leased, attempt: u32) {
        if self.is_ours(attempt) {
            self.row.status = Status::Cancelled;
            self.workers[worker].ended = Some(leased);
        }
    }

    fn finish(&mut self, worker: usize) {
        let Some((leased, attempt)) = self.workers[worker].run.take() else {
            return;
        };
        if self.is_ours(attempt) {
            self.row.status = Status::Completed;
            self.effects += 1;
            self.workers[worker].ended = Some(leased);
        }
    }

    fn reap(&mut self) {
        let job = self.offer.job;
        if !now(self.queue.expired(10)).contains(&job) {
            return;
        }
        if self.row.status == Status::Running {
            self.row.status = match self.row.stop {
                true => Status::Cancelled,
                false => Status::Queued,
            };
        }
        match self.row.status {
            Status::Queued => drop(now(self.queue.requeue(&[job]))),
            _ => now(self.queue.remove(&[job])),
        }
    }

    fn cancel(&mut self) {
        match self.row.status {
            Status::Queued => {
                self.row.status = Status::Cancelled;
                now(self.queue.remove(&[self.offer.job]));
            }
            Status::Running => {
                self.row.stop = true;
                now(self.queue.cancel(self.offer.job));
            }
            Status::Completed | Status::Cancelled => {}
        }
    }

    /// The row lease of a process that is gone ran out, for a queue that has forgotten the job.
    fn take_forgotten(&mut self) {
        let known = now(self.queue.known(&[self.offer.job]))[0];
        if self.row.status == Status::Running && !known {
            self.row.status = match self.row.stop {
                true => Status::Cancelled,
                false => Status::Queued,
            };
        }
    }

    /// From now on nothing goes wrong: the job must end, with one effect unless it was cancelled.
    fn recover(&mut self) {
        for worker in 0..WORKERS {
            self.take(Step::Crash(worker));
        }
        for _ in 0..RECOVERY_ROUNDS {
            self.take(Step::Pause);
            self.take(Step::Reap);
            self.take_forgotten();
            for step in [
                Step::Reconcile,
                Step::Take(0),
                Step::Renew(0),
                Step::Finish(0),
                Step::Tell(0),
            ] {
                self.take(step);
            }
        }
        match self.row.status {
            Status::Completed => assert_eq!(self.effects, 1, "no effect"),
            Status::Cancelled => assert_eq!(self.effects, 0, "an effect of a cancelled job"),
            status => panic!("lost: {status:?}"),
        }
        assert!(!now(self.queue.known(&[self.offer.job]))[0], "left behind");
    }

    /// What tells two states apart. Asking the queue changes it, so the world is used up.
    fn look(self) -> String {
        let expired = now(self.queue.expired(10)).len();
        let known = now(self.queue.known(&[self.offer.job]))[0];
        let depth = now(self.queue.depth());
        let stands = |leased: Leased| now(self.queue.renew(&[leased], LEASE))[0];
        let mut workers = self.workers.map(|worker| {
            let run = worker
                .run
                .map(|(leased, attempt)| (stands(leased), attempt == self.row.attempt));
            format!("{run:?} {:?}", worker.ended.map(stands))
        });
        // Which worker it is does not matter.
        workers.sort();
        let (status, stop) = (self.row.status, self.row.stop);
        format!(
            "{status:?} {stop} {workers:?} {expired} {known} {depth:?} {}",
            self.effects
        )
    }
}

/// The world after a history.
fn after(history: &[Step], start: &World) -> World {
    let clock = ManualClock::at(start.clock.now());
    let mut world = World::new(start.offer.job, start.offer.owner, clock);
    for step in history {
        world.take(*step);
    }
    world
}

/// The answer of a queue that never waits.
fn now<T>(answer: impl Future<Output = Result<T, spheroctl::queue::Error>>) -> T {
    let answer = answer
        .now_or_never()
        .expect("the queue in the process does not wait");
    answer.expect("an answer")
}

#[test]
fn every_history_of_three_workers_ends_with_one_effect() {
    let each = |step: fn(usize) -> Step| (0..WORKERS).map(step);
    let mut steps = vec![
        Step::Pause,
        Step::Reap,
        Step::Reconcile,
        Step::Cancel,
        Step::Flush,
    ];
    for step in [
        Step::Take,
        Step::Renew,
        Step::Finish,
        Step::Tell,
        Step::Crash,
    ] {
        steps.extend(each(step));
    }
    let clock = ManualClock::at(SystemClock.now());
    let start = World::new(JobId::new(&SystemClock), UserId::new(&SystemClock), clock);
    let mut seen = HashSet::from([after(&[], &start).look()]);
    let mut histories = VecDeque::from([Vec::new()]);
    let mut longest = 0;
    while let Some(history) = histories.pop_front() {
        for step in &steps {
            let longer = [history.as_slice(), &[*step]].concat();
            if seen.insert(after(&longer, &start).look()) {
                let recovered = std::panic::AssertUnwindSafe(|| after(&longer, &start).recover());
                if let Err(failure) = std::panic::catch_unwind(recovered) {
                    eprintln!("after {longer:?}");
                    std::panic::resume_unwind(failure);
                }
                assert!(seen.len() < STATES_MAX, "states without end");
                longest = longer.len();
                histories.push_back(longer);
            }
        }
    }
    println!("{} states, reached in at most {longest} steps", seen.len());
    assert!(seen.len() > 100, "the steps do nothing");
}
