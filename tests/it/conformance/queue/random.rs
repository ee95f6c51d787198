//! Random walks: the queue in the process agrees with a naive model under a moving clock, and the queue on Redis with
//! the one in the process, step by step.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;

use super::model::Model;
use super::*;

/// Few jobs and owners, so that steps meet.
const JOBS: usize = 6;
const OWNERS: [&str; 2] = ["w", "x"];

/// One call of the contract; jobs and owners by their numbers, times in minutes (zero is the present instant).
#[derive(Debug, Clone)]
pub(super) enum Step {
    Offer(Vec<(usize, u8, u64)>),
    Claim(usize, usize, u64),
    Renew(usize, Vec<usize>),
    Adopt(usize, usize),
    Release(usize, Vec<(usize, Option<u64>)>),
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
    let owner = 0..OWNERS.len();
    let delay = prop_oneof![Just(0_u64), Just(30)];
    let end = prop_oneof![Just(None), delay.clone().prop_map(Some)];
    prop_oneof![
        4 => vec((job.clone(), 0_u8..12, delay), 1..5).prop_map(Step::Offer),
        4 => (owner.clone(), 0_usize..4, prop_oneof![Just(0_u64), Just(20)])
            .prop_map(|(owner, limit, lease)| Step::Claim(owner, limit, lease)),
        2 => (owner.clone(), vec(job.clone(), 1..4)).prop_map(|(owner, jobs)| Step::Renew(owner, jobs)),
        1 => (owner.clone(), job.clone()).prop_map(|(owner, job)| Step::Adopt(owner, job)),
        3 => (owner, vec((job.clone(), end), 1..4)).prop_map(|(owner, jobs)| Step::Release(owner, jobs)),
        2 => vec(job.clone(), 1..4).prop_map(Step::Requeue),
        1 => job.clone().prop_map(Step::Cancel),
        1 => vec(job, 1..3).prop_map(Step::Remove),
        2 => times.prop_map(Step::Pass),
    ]
}

/// What a step answers and what the queue says of itself afterwards, as text to compare.
async fn take(queue: &SharedQueue, ids: &[JobId], step: &Step) -> String {
    let name = |jobs: &[usize]| jobs.iter().map(|job| ids[*job]).collect::<Vec<_>>();
    let number = |jobs: Vec<JobId>| {
        let number = |job| ids.iter().position(|id| id == job);
        jobs.iter()
            .map(|job| number(job).expect("one of ours"))
            .collect::<Vec<_>>()
    };
    let lease = minutes(20);
    match step {
        Step::Offer(offers) => {
            let offers: Vec<Offer> = offers
                .iter()
                .map(|(job, priority, delay)| Offer {
                    job: ids[*job],
                    priority: *priority,
                    delay: minutes(*delay),
                })
                .collect();
            format!("{:?}", queue.offer(&offers).await.unwrap())
        }
        Step::Claim(owner, limit, lease) => {
            format!(
                "{:?}",
                number(
                    queue
                        .claim(OWNERS[*owner], *limit, minutes(*lease))
                        .await
                        .unwrap()
                )
            )
        }
        Step::Renew(owner, jobs) => format!(
            "{:?}",
            queue
                .renew(OWNERS[*owner], &name(jobs), lease)
                .await
                .unwrap()
        ),
        Step::Adopt(owner, job) => format!(
            "{:?}",
            queue.adopt(OWNERS[*owner], ids[*job], lease).await.unwrap()
        ),
        Step::Release(owner, jobs) => {
            let end = |end: &Option<u64>| {
                end.map_or(Release::Done, |delay| Release::Again(minutes(delay)))
            };
            let jobs: Vec<_> = jobs
                .iter()
                .map(|(job, again)| (ids[*job], end(again)))
                .collect();
            format!("{:?}", queue.release(OWNERS[*owner], &jobs).await.unwrap())
        }
        Step::Requeue(jobs) => format!("{:?}", queue.requeue(&name(jobs)).await.unwrap()),
        Step::Cancel(job) => format!("{:?}", queue.cancel(ids[*job]).await.unwrap()),
        Step::Remove(jobs) => format!("{:?}", queue.remove(&name(jobs)).await.unwrap()),
        Step::Pass(_) => String::new(),
    }
}

/// Depth, what is known and which leases have run out.
async fn look(queue: &SharedQueue, ids: &[JobId]) -> String {
    let depth = queue.depth().await.unwrap();
    let known = queue.known(ids).await.unwrap();
    let expired = queue.expired(JOBS).await.unwrap();
    let expired: Vec<bool> = ids.iter().map(|id| expired.contains(id)).collect();
    format!("{depth:?} {known:?} {expired:?}")
}

fn ids() -> Vec<JobId> {
    (0..JOBS).map(|_| new_job()).collect()
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
            let ids = ids();
            let mut model = Model::new(JOBS);
            for step in &steps {
                if let Step::Pass(time) = step {
                    backend.pass(minutes(*time));
                }
                let answer = take(&backend.queue, &ids, step).await;
                assert_eq!(answer, model.take(step), "{step:?}");
                assert_eq!(
                    look(&backend.queue, &ids).await,
                    model.look(),
                    "after {step:?}"
                );
            }
        });
    });
}

/// Time stands still here but for leases of no length, which run out on both.
#[test]
fn the_queue_on_redis_agrees_with_the_queue_in_the_process() {
    let runtime = Runtime::new().expect("a runtime");
    let redis = runtime.block_on(Backend::redis());
    walk(64, 0..1, |steps| {
        runtime.block_on(async {
            let memory = Backend::memory().await;
            let ids = ids();
            for step in &steps {
                let answer = take(&memory.queue, &ids, step).await;
                assert_eq!(take(&redis.queue, &ids, step).await, answer, "{step:?}");
                let seen = look(&memory.queue, &ids).await;
                eventually(&format!("after {step:?}: {seen}"), PATIENCE, async || {
                    look(&redis.other, &ids).await == seen
                })
                .await;
            }
            redis.queue.remove(&ids).await.unwrap();
        });
    });
}
