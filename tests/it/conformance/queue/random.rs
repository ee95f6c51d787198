//! Random walks: the queue in the process agrees with a naive model under a moving clock, and the queue on Redis with
//! the one in the process, step by step.

use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;

use super::model::{LEASE, Model};
use super::*;

/// Few jobs and workers, so that steps meet.
const JOBS: usize = 8;
const WORKERS: usize = 2;

/// How a worker ends a job: for good, or to be done again after a time.
pub(super) type End = (usize, Option<u64>);

/// One call of the contract; jobs and workers by their numbers, times in minutes (zero is the present instant).
#[derive(Debug, Clone)]
pub(super) enum Step {
    Offer(Vec<(usize, u8, u64)>),
    /// Worker, ends, most jobs, lease.
    Exchange(usize, Vec<End>, usize, u64),
    Renew(usize, Vec<usize>),
    Adopt(usize, usize),
    Requeue(Vec<usize>),
    Cancel(usize),
    Remove(Vec<usize>),
    Pass(u64),
}

pub(super) fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

fn step(times: std::ops::Range<u64>) -> impl Strategy<Value = Step> {
    let job = 0..JOBS;
    let worker = 0..WORKERS;
    let delay = prop_oneof![Just(0_u64), Just(30)];
    let end = prop_oneof![Just(None), delay.clone().prop_map(Some)];
    let ends = vec((job.clone(), end), 0..4);
    let lease = prop_oneof![Just(0_u64), Just(LEASE)];
    prop_oneof![
        4 => vec((job.clone(), 0_u8..12, delay), 1..5).prop_map(Step::Offer),
        7 => (worker.clone(), ends, 0_usize..4, lease)
            .prop_map(|(worker, ends, limit, lease)| Step::Exchange(worker, ends, limit, lease)),
        2 => (worker.clone(), vec(job.clone(), 1..4)).prop_map(|(worker, jobs)| Step::Renew(worker, jobs)),
        1 => (worker, job.clone()).prop_map(|(worker, job)| Step::Adopt(worker, job)),
        2 => vec(job.clone(), 1..4).prop_map(Step::Requeue),
        1 => job.clone().prop_map(Step::Cancel),
        1 => vec(job, 1..3).prop_map(Step::Remove),
        2 => times.prop_map(Step::Pass),
    ]
}

/// A queue under the steps: the jobs by their numbers, and the claims that each worker has made last.
struct Walker {
    queue: SharedQueue,
    jobs: Vec<Offer>,
    fences: HashMap<(usize, usize), i64>,
}

impl Walker {
    fn new(queue: &SharedQueue, jobs: &[Offer]) -> Self {
        Self {
            queue: queue.clone(),
            jobs: jobs.to_vec(),
            fences: HashMap::new(),
        }
    }

    /// The claim that a worker means; one that it never had where it never claimed the job.
    fn held(&self, worker: usize, job: usize) -> Leased {
        let never = -1 - worker as i64;
        Leased {
            job: self.jobs[job].job,
            fence: self.fences.get(&(worker, job)).copied().unwrap_or(never),
        }
    }

    fn number(&self, id: JobId) -> usize {
        let number = self.jobs.iter().position(|offer| offer.job == id);
        number.expect("one of ours")
    }

    fn names(&self, jobs: &[usize]) -> Vec<JobId> {
        jobs.iter().map(|job| self.jobs[*job].job).collect()
    }

    fn again(&self, job: usize, delay: u64) -> Offer {
        Offer {
            delay: minutes(delay),
            ..self.jobs[job]
        }
    }

    fn ends(&self, worker: usize, ends: &[(usize, Option<u64>)]) -> Vec<(Leased, Release)> {
        let end = |(job, again): &(usize, Option<u64>)| {
            let release = again.map_or(Release::Done, |delay| {
                Release::Again(self.again(*job, delay))
            });
            (self.held(worker, *job), release)
        };
        ends.iter().map(end).collect()
    }

    /// Takes a step; what it answers, as text to compare.
    async fn take(&mut self, step: &Step) -> String {
        let lease = minutes(LEASE);
        match step {
            Step::Offer(offers) => {
                let offer = |(job, priority, delay): &(usize, u8, u64)| {
                    self.jobs[*job].priority = *priority;
                    self.again(*job, *delay)
                };
                let offers: Vec<Offer> = offers.iter().map(offer).collect();
                format!("{:?}", self.queue.offer(&offers).await.unwrap())
            }
            Step::Exchange(worker, ends, limit, lease) => {
                let want = Want {
                    limit: *limit,
                    lanes: &Lane::ALL,
                    lease: minutes(*lease),
                };
                let ends = self.ends(*worker, ends);
                let done = self.queue.exchange(&ends, want).await.unwrap();
                let claimed = done.claimed.iter().map(|leased| {
                    let job = self.number(leased.job);
                    self.fences.insert((*worker, job), leased.fence);
                    job
                });
                let claimed: Vec<usize> = claimed.collect();
                format!("{:?} {claimed:?}", done.released)
            }
            Step::Renew(worker, jobs) => {
                let held = jobs.iter().map(|job| self.held(*worker, *job));
                let held: Vec<Leased> = held.collect();
                format!("{:?}", self.queue.renew(&held, lease).await.unwrap())
            }
            Step::Adopt(worker, job) => {
                let (offer, held) = (self.jobs[*job], self.held(*worker, *job));
                let adopted = self.queue.adopt(&offer, held.fence, lease).await.unwrap();
                format!("{adopted:?}")
            }
            Step::Requeue(jobs) => {
                format!("{:?}", self.queue.requeue(&self.names(jobs)).await.unwrap())
            }
            Step::Cancel(job) => {
                let id = self.jobs[*job].job;
                format!("{:?}", self.queue.cancel(id).await.unwrap())
            }
            Step::Remove(jobs) => {
                format!("{:?}", self.queue.remove(&self.names(jobs)).await.unwrap())
            }
            Step::Pass(_) => String::new(),
        }
    }

    /// Depth, what is known and which leases have run out.
    async fn look(&self) -> String {
        let ids = self.names(&(0..JOBS).collect::<Vec<_>>());
        let depth = self.queue.depth().await.unwrap();
        let known = self.queue.known(&ids).await.unwrap();
        let expired = self.queue.expired(JOBS).await.unwrap();
        let expired: Vec<bool> = ids.iter().map(|id| expired.contains(id)).collect();
        format!("{depth:?} {known:?} {expired:?}")
    }

    /// As `look`, and what only the two queues know: positions and loads.
    async fn look_closely(&self) -> String {
        let mut positions = Vec::new();
        for offer in &self.jobs {
            positions.push(self.queue.position(offer.job).await.unwrap());
        }
        let owners: Vec<UserId> = self.jobs.iter().map(|offer| offer.owner).collect();
        let loads = self.queue.loads(&owners).await.unwrap();
        format!("{} {positions:?} {loads:?}", self.look().await)
    }
}

/// Jobs of one owner in one lane.
fn of_one() -> Vec<Offer> {
    let owner = UserId::new(&SystemClock);
    (0..JOBS).map(|_| job(owner, Lane::Default)).collect()
}

/// Jobs of three owners in two lanes.
fn of_many() -> Vec<Offer> {
    let owners: Vec<UserId> = (0..3).map(|_| UserId::new(&SystemClock)).collect();
    let lane = |number: usize| Lane::ALL[usize::from(number.is_multiple_of(4))];
    (0..JOBS)
        .map(|number| job(owners[number % 3], lane(number)))
        .collect()
}

fn job(owner: UserId, lane: Lane) -> Offer {
    Offer {
        job: new_job(),
        owner,
        lane,
        priority: 5,
        since: SystemClock.now(),
        delay: NOW,
    }
}

fn walk(cases: u32, times: std::ops::Range<u64>, run: impl Fn(Vec<Step>)) {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let walks = vec(step(times), 1..60);
    let outcome = TestRunner::new(config).run(&walks, |steps| {
        run(steps);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[test]
fn the_queue_in_the_process_agrees_with_a_naive_model() {
    let runtime = Runtime::new().expect("a runtime");
    walk(256, 0..40, |steps| {
        runtime.block_on(async {
            let backend = Backend::memory().await;
            let mut walker = Walker::new(&backend.queue, &of_one());
            let mut model = Model::new(JOBS);
            for step in &steps {
                if let Step::Pass(time) = step {
                    backend.pass(minutes(*time));
                }
                let answer = walker.take(step).await;
                assert_eq!(answer, model.take(step), "{step:?}");
                assert_eq!(walker.look().await, model.look(), "after {step:?}");
            }
        });
    });
}

/// Time stands still here but for leases of no length, which run out on both. Every job counts as aged.
#[test]
fn the_queue_on_redis_agrees_with_the_queue_in_the_process() {
    const FAIR: Fairness = Fairness {
        owner_running_max: 2,
        aged_after: NOW,
        aged_share: 3,
    };
    let runtime = Runtime::new().expect("a runtime");
    walk(64, 0..1, |steps| {
        runtime.block_on(async {
            let redis = Backend::redis_with(FAIR).await;
            let memory = Backend::memory_with(FAIR);
            let jobs = of_many();
            let mut twin = Walker::new(&memory.queue, &jobs);
            let mut walker = Walker::new(&redis.queue, &jobs);
            for step in &steps {
                let answer = twin.take(step).await;
                assert_eq!(walker.take(step).await, answer, "{step:?}");
                let seen = twin.look_closely().await;
                eventually(&format!("after {step:?}: {seen}"), PATIENCE, async || {
                    walker.look_closely().await == seen
                })
                .await;
            }
        });
    });
}
