//! What may never happen to a job, whatever happens to those who work on it: two effects, a loss, a broken order. Random
//! walks of three workers on the real rows and the real queue, and every history of three workers on one job.

mod exhaustive;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use spheroctl::app::App;
use spheroctl::domain::Error;
use spheroctl::domain::access::Principal;
use spheroctl::domain::jobs::{
    Claimed, Failure, Finished, Handles, Hold, JobError, Jobs, NewJob, Rules, Status,
};
use spheroctl::domain::users::Role;
use spheroctl::kit::clock::{Clock, ManualClock, SystemClock};
use spheroctl::kit::id::JobId;
use spheroctl::kit::instance::InstanceId;
use spheroctl::queue::memory::Memory;
use spheroctl::queue::{Fairness, Lane};
use spheroctl::segment::{self, Parameters, Raster, Samples, Segmentation};

use crate::support::app::{TestApp, start_without_worker};
use crate::support::pictures;

const WORKERS: usize = 3;
/// Longer than a lease of the queue and than one of the rows.
const PAST_LEASES: Duration = Duration::from_secs(61);
const PAST_LEASE: Duration = Duration::from_secs(11);
/// Rounds in which everything must have ended once nothing goes wrong any more.
const RECOVERY_ROUNDS: usize = 8;
/// Strict priorities, so that the order of a claim is known.
const STRICT: Fairness = Fairness {
    owner_running_max: 0,
    aged_after: PAST_LEASES,
    aged_share: 0,
};

/// Something that happens; workers by their numbers, runs and jobs by their place among those there are.
#[derive(Debug, Clone)]
enum Step {
    Submit(u8),
    Take(usize, usize),
    Renew(usize),
    Finish(usize, usize),
    Fail(usize, usize),
    HandBack(usize, usize),
    /// The worker tells the queue of the jobs that ended there.
    Tell(usize),
    /// The process dies; with it what it ran, and what it has not told.
    Crash(usize),
    Cancel(usize),
    /// Nobody renews for longer than a lease.
    Pause,
    Wait(u64),
    Reap,
    Reconcile,
    /// The queue loses its memory.
    Flush,
}

fn step() -> impl Strategy<Value = Step> {
    let worker = 0..WORKERS;
    let run = 0_usize..4;
    prop_oneof![
        4 => (1_u8..6).prop_map(Step::Submit),
        5 => (worker.clone(), 1_usize..4).prop_map(|(worker, count)| Step::Take(worker, count)),
        3 => worker.clone().prop_map(Step::Renew),
        4 => (worker.clone(), run.clone()).prop_map(|(worker, run)| Step::Finish(worker, run)),
        1 => (worker.clone(), run.clone()).prop_map(|(worker, run)| Step::Fail(worker, run)),
        1 => (worker.clone(), run).prop_map(|(worker, run)| Step::HandBack(worker, run)),
        2 => worker.clone().prop_map(Step::Tell),
        1 => worker.prop_map(Step::Crash),
        1 => (0_usize..20).prop_map(Step::Cancel),
        2 => Just(Step::Pause),
        2 => (0_u64..5).prop_map(Step::Wait),
        3 => Just(Step::Reap),
        1 => Just(Step::Reconcile),
        1 => Just(Step::Flush),
    ]
}

/// One process: its handle, and what it runs.
struct Worker {
    jobs: Jobs,
    runs: Vec<Claimed>,
}

struct World {
    app: App,
    principal: Principal,
    new: NewJob,
    clock: ManualClock,
    queue: Memory,
    workers: Vec<Worker>,
    submitted: Vec<JobId>,
    effects: HashMap<JobId, usize>,
    result: Segmentation,
}

impl World {
    fn new(test: &TestApp, principal: Principal, new: &NewJob) -> Self {
        let clock = ManualClock::at(SystemClock.now());
        let queue = Memory::new(Arc::new(clock.clone()), STRICT);
        let mut world = Self {
            app: test.app.clone(),
            principal,
            new: new.clone(),
            clock,
            queue,
            workers: Vec::new(),
            submitted: Vec::new(),
            effects: HashMap::new(),
            result: nothing_found(),
        };
        world.workers = (0..WORKERS).map(|number| world.worker(number)).collect();
        world
    }

    /// A process that has just started.
    fn worker(&self, number: usize) -> Worker {
        let handles = Handles {
            db: self.app.db.clone(),
            queue: Arc::new(self.queue.clone()),
            files: self.app.files.clone(),
            push: self.app.push.clone(),
            clock: Arc::new(self.clock.clone()),
            bell: self.app.bell.clone(),
            instance: InstanceId::for_this_boot(Some(&format!("w{number}"))),
        };
        let rules = Rules {
            failures_max: 1_000,
            crashes_max: 1_000,
            ..Rules::from(&self.app.settings.queue)
        };
        Worker {
            jobs: Jobs::new(handles, rules),
            runs: Vec::new(),
        }
    }

    async fn take(&mut self, step: &Step) {
        match *step {
            Step::Submit(priority) => self.submit(priority).await,
            Step::Take(worker, count) => self.claim(worker, count).await,
            Step::Renew(worker) => self.renew(worker).await,
            Step::Finish(worker, run) => self.finish(worker, run).await,
            Step::Fail(worker, run) => self.fail(worker, run).await,
            Step::HandBack(worker, run) => self.hand_back(worker, run).await,
            Step::Tell(worker) => {
                let told = self.workers[worker].jobs.lease(0, &Lane::ALL).await;
                assert!(told.expect("an answer").is_empty());
            }
            Step::Crash(worker) => self.workers[worker] = self.worker(worker),
            Step::Cancel(job) => self.cancel(job).await,
            Step::Pause => self.clock.advance(PAST_LEASE),
            Step::Wait(seconds) => self.clock.advance(Duration::from_secs(seconds)),
            Step::Reap => drop(self.workers[0].jobs.reap().await.expect("an answer")),
            Step::Reconcile => drop(self.workers[0].jobs.reconcile().await.expect("an answer")),
            Step::Flush => self.queue.clear(),
        }
    }

    async fn submit(&mut self, priority: u8) {
        let new = NewJob {
            priority: Some(priority),
            ..self.new.clone()
        };
        let submitted = self.workers[0]
            .jobs
            .submit(&self.principal, None, &[new])
            .await;
        self.submitted
            .push(submitted.expect("accepted").value[0].id);
    }

    async fn claim(&mut self, number: usize, count: usize) {
        let worker = &mut self.workers[number];
        let leased = worker.jobs.lease(count, &Lane::ALL).await;
        let leased = leased.expect("an answer");
        let taken = worker.jobs.start(&leased).await.expect("an answer");
        let priorities: Vec<u8> = taken.claimed.iter().map(|run| run.job.priority).collect();
        assert!(priorities.is_sorted_by(|a, b| a >= b), "{priorities:?}");
        worker.runs.extend(taken.claimed);
        for suspect in taken.suspects {
            let started = worker.jobs.start_alone(suspect).await.expect("an answer");
            worker.runs.extend(started);
        }
    }

    async fn renew(&mut self, number: usize) {
        let worker = &mut self.workers[number];
        let holds = worker.jobs.renew(&worker.runs).await.expect("an answer");
        let runs = std::mem::take(&mut worker.runs).into_iter().zip(holds);
        for (run, hold) in runs {
            match hold {
                Hold::Ours => worker.runs.push(run),
                Hold::Cancelled => drop(worker.jobs.stop(&run).await),
                Hold::Lost => {}
            }
        }
    }

    fn run(&mut self, worker: usize, run: usize) -> Option<Claimed> {
        let runs = &mut self.workers[worker].runs;
        (run < runs.len()).then(|| runs.remove(run))
    }

    async fn finish(&mut self, worker: usize, run: usize) {
        let Some(claimed) = self.run(worker, run) else {
            return;
        };
        let job = claimed.job.id;
        let finished = Finished {
            claimed,
            result: self.result.clone(),
        };
        match self.workers[worker].jobs.finish(&finished).await {
            Ok(()) => *self.effects.entry(job).or_default() += 1,
            Err(Error::Fenced(_)) => {}
            Err(error) => panic!("{error}"),
        }
        assert!(self.effects.get(&job).is_none_or(|effects| *effects == 1));
    }

    async fn fail(&mut self, worker: usize, run: usize) {
        let Some(claimed) = self.run(worker, run) else {
            return;
        };
        let failure = Failure {
            error: JobError {
                class: "storage".into(),
                text: "gone for a moment".into(),
            },
            permanent: false,
        };
        let failed = self.workers[worker].jobs.fail(&claimed, &failure).await;
        assert!(
            matches!(failed, Ok(()) | Err(Error::Fenced(_))),
            "{failed:?}"
        );
    }

    async fn hand_back(&mut self, worker: usize, run: usize) {
        if let Some(claimed) = self.run(worker, run) {
            let back = self.workers[worker].jobs.hand_back(&claimed).await;
            assert!(matches!(back, Ok(()) | Err(Error::Fenced(_))), "{back:?}");
        }
    }

    async fn cancel(&mut self, job: usize) {
        if let Some(id) = self.submitted.get(job) {
            let cancelled = self.workers[0].jobs.cancel(&self.principal, *id).await;
            cancelled.expect("the job is there");
        }
    }

    /// From now on nothing goes wrong: everything must end, and what has an effect must be complete.
    async fn recover(&mut self) {
        for number in 0..WORKERS {
            self.take(&Step::Crash(number)).await;
        }
        for _ in 0..RECOVERY_ROUNDS {
            self.clock.advance(PAST_LEASES);
            self.take(&Step::Reap).await;
            self.take(&Step::Reconcile).await;
            self.take(&Step::Take(0, 100)).await;
            self.take(&Step::Renew(0)).await;
            while !self.workers[0].runs.is_empty() {
                self.take(&Step::Finish(0, 0)).await;
            }
            self.take(&Step::Tell(0)).await;
        }
        for id in &self.submitted {
            let job = self.workers[0].jobs.find(&self.principal, *id).await;
            let job = job.expect("the job is there");
            let effects = self.effects.get(id).copied().unwrap_or_default();
            match job.status {
                Status::Completed => assert_eq!(effects, 1, "{job:?}"),
                Status::Cancelled => assert_eq!(effects, 0, "{job:?}"),
                _ => panic!("lost: {job:?}"),
            }
        }
        let depth = self.workers[0].jobs.depth().await.expect("an answer");
        assert_eq!(depth.waiting + depth.delayed + depth.active, 0, "{depth:?}");
    }
}

fn nothing_found() -> Segmentation {
    let grey = Raster::new(8, 8, Samples::U8(vec![128; 64])).expect("64 pixels");
    let parameters = Parameters::default();
    let found = segment::segment(&grey, &parameters, &mut |_| {
        std::ops::ControlFlow::Continue(())
    });
    found.expect("a result")
}

#[test]
fn random_walks_of_three_workers_lose_nothing_and_do_nothing_twice() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (test, principal, new) = runtime.block_on(async {
        let test = start_without_worker().await;
        let ada = test
            .person_with("ada@example.org", Role::Premium, None)
            .await;
        let project = test.project(&ada.token, "model").await;
        let image = test
            .upload(&ada.token, &project, "a.png", pictures::png(1))
            .await;
        let principal = Principal {
            user: ada.id,
            role: Role::Premium,
        };
        let new = serde_json::from_value(serde_json::json!({ "image_id": image }));
        (test, principal, new.expect("a job"))
    });
    let config = Config {
        cases: 24,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&vec(step(), 10..60), |steps| {
        runtime.block_on(async {
            let mut world = World::new(&test, principal, &new);
            for step in &steps {
                world.take(step).await;
            }
            world.recover().await;
        });
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
