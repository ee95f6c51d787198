//! Workers that are killed, frozen or told to stop, and a queue that forgets. What must happen while a job runs happens to
//! jobs on a held image: no machine is so fast that they end before.

use std::time::Duration;

use rustix::process::Signal;
use tokio::process::Command;
use tokio::time::Instant;

use crate::support::process::Process;
use crate::support::product::{COMPLETED, Held, Lab, Product};
use crate::support::{eventually, pictures};

const DEADLINE: Duration = Duration::from_secs(60);
/// Leases of a fifth of the default, for tests that wait for their end.
const SHORT_LEASES: &[(&str, &str)] = &[
    ("queue.lease_ms", "2000"),
    ("queue.renew_interval_ms", "500"),
    ("queue.reap_interval_ms", "200"),
];
const RUNNING: &str = "select count(*) from queue_jobs where status = 'running'";
const AGAIN: &str = "select count(*) from queue_jobs where attempt > 1";

/// A server, and a worker that runs `running` of `count` jobs on a held image.
async fn busy(product: &Product, running: i64, count: usize) -> (Process, Lab, Process, Held) {
    let server = product.start("serve", &[]).await;
    let lab = product.lab(&server).await;
    let image = lab.upload("held.png", pictures::png(7)).await;
    let held = product.hold(&image).await;
    let concurrency = running.to_string();
    let worker = product
        .start("worker", &[("worker.concurrency", &concurrency)])
        .await;
    lab.submit(&image, count).await;
    product.reaches(RUNNING, running, DEADLINE).await;
    (server, lab, worker, held)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_workers_jobs_run_again_by_the_default_leases() {
    let product = Product::scaled(&[]).await;
    let (_server, _lab, mut first, held) = busy(&product, 3, 3).await;
    let second = product.start("worker", &[]).await;
    first.kill().await;
    held.let_go();
    let killed_at = Instant::now();
    eventually("the jobs run again", DEADLINE, async || {
        product.number(AGAIN).await > 0
    })
    .await;
    let took = killed_at.elapsed();
    product.completes(3, DEADLINE).await;
    let (attempts, crashes) = (
        product.attempts_max().await,
        product.number("select max(crashes) from queue_jobs").await,
    );
    // The aim is 12 s: a lease of 10 s and two rounds of the reaper.
    println!(
        "F01 default leases: run again after {took:?}, attempts at most {attempts}, crashes {crashes}, lost 0"
    );
    assert_eq!((attempts, crashes), (2, 1));
    assert!(second.metric("spheroctl_jobs_reaped_total").await >= 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_takes_no_job_of_others_with_it() {
    let product = Product::scaled(SHORT_LEASES).await;
    let (_server, lab, mut first, held) = busy(&product, 2, 2).await;
    let _second = product.start("worker", &[]).await;
    let small = lab.upload("small.png", pictures::png(1)).await;
    lab.submit(&small, 20).await;
    first.kill().await;
    held.let_go();
    let killed_at = Instant::now();
    product.completes(22, DEADLINE).await;
    let again = product.number(AGAIN).await;
    println!(
        "F01 short leases: 22 jobs complete {:?} after the kill, {again} ran twice",
        killed_at.elapsed()
    );
    assert_eq!(product.attempts_max().await, 2);
    assert_eq!(again, 2, "only what the dead worker held");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_workers_late_result_has_no_effect() {
    let product = Product::scaled(SHORT_LEASES).await;
    let (_server, _lab, first, held) = busy(&product, 1, 1).await;
    let _second = product.start("worker", &[]).await;
    first.signal(Signal::STOP);
    held.let_go();
    product.reaches(AGAIN, 1, DEADLINE).await;
    first.signal(Signal::CONT);
    let refused = async || {
        let fenced = first.metric("spheroctl_fenced_writes_total").await;
        fenced + first.metric("spheroctl_lease_lost_total").await
    };
    eventually("the zombie is stopped or refused", DEADLINE, async || {
        refused().await >= 1.0
    })
    .await;
    product.completes(1, DEADLINE).await;
    println!(
        "F03: refused or stopped {}, results 1, attempts 2",
        refused().await
    );
    assert_eq!(product.attempts_max().await, 2);
    assert_eq!(first.probe("/readyz").await, Some(200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_told_to_stop_loses_nothing() {
    // Two thirds of this is what running jobs may take; they are given back then.
    let product = Product::scaled(&[("shutdown.work_ms", "300")]).await;
    let (_server, _lab, mut first, held) = busy(&product, 2, 8).await;
    first.signal(Signal::TERM);
    let told_at = Instant::now();
    let code = first.exit_code(Duration::from_secs(15)).await;
    let took = told_at.elapsed();
    assert_eq!((code, product.number(RUNNING).await), (Some(0), 0));
    let back = product
        .number("select count(*) from job_attempts where outcome = 'handed_back'")
        .await;
    held.let_go();
    let _second = product.start("worker", &[]).await;
    product.completes(8, DEADLINE).await;
    println!("F04 worker: exit 0 after {took:?}, {back} handed back, crashes 0, lost 0");
    assert_eq!(back, 2, "whatever ran");
    assert_eq!(
        product
            .number("select sum(crashes + failures)::bigint from queue_jobs")
            .await,
        0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_a_worker_at_once() {
    let product = Product::scaled(SHORT_LEASES).await;
    let (_server, _lab, mut first, held) = busy(&product, 2, 4).await;
    first.signal(Signal::TERM);
    first.says("draining for at most").await;
    first.signal(Signal::TERM);
    let told_at = Instant::now();
    let code = first.exit_code(Duration::from_secs(10)).await;
    println!(
        "F04 second signal: exit {code:?} after {:?}",
        told_at.elapsed()
    );
    assert_eq!(code, Some(1));
    held.let_go();
    let _second = product.start("worker", &[]).await;
    product.completes(4, DEADLINE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_forgets_is_made_whole_again() {
    let product = Product::scaled(&[
        ("queue.reconcile_interval_ms", "300"),
        ("shutdown.work_ms", "300"),
    ])
    .await;
    // One permit: the held job has it, and all others wait.
    let (_server, lab, mut first, held) = busy(&product, 1, 2).await;
    let small = lab.upload("small.png", pictures::png(1)).await;
    lab.submit(&small, 30).await;
    forget(&product).await;
    let forgotten_at = Instant::now();
    eventually("what waits is offered again", DEADLINE, async || {
        first.metric("spheroctl_jobs_reoffered_total").await >= 31.0
    })
    .await;
    let took = forgotten_at.elapsed();
    assert_eq!(product.number(RUNNING).await, 1, "the held job runs on");
    held.let_go();
    let _second = product.start("worker", &[]).await;
    product.reaches(COMPLETED, 31, DEADLINE).await;
    first.signal(Signal::TERM);
    assert_eq!(first.exit_code(DEADLINE).await, Some(0));
    product.completes(32, DEADLINE).await;
    println!("F05: 31 waiting jobs offered again {took:?} after the flush, 32 complete, lost 0");
    assert_eq!(product.number(AGAIN).await, 1, "what was handed back");
    assert_eq!(
        product
            .number("select sum(crashes + failures)::bigint from queue_jobs")
            .await,
        0
    );
}

/// One job of sixteen kills every process that runs it. Whoever ran beside it the first time is suspected as well, but
/// runs alone from then on, and is not counted again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_kills_its_worker_takes_no_neighbour_with_it() {
    const INNOCENT: i64 = 15;
    let settings = [SHORT_LEASES, &[("worker.concurrency", "16")]].concat();
    let product = Product::scaled(&settings).await;
    let server = product.start("serve", &[]).await;
    let lab = product.lab(&server).await;
    let image = lab.upload("held.png", pictures::png(7)).await;
    let held = product.hold(&image).await;
    let killer = lab.submit(&image, 1).await.remove(0);
    lab.submit(&image, 15).await;
    let mut worker = product.start("worker", &[]).await;
    product.reaches(RUNNING, INNOCENT + 1, DEADLINE).await;
    worker.kill().await;
    for attempt in 2..=3 {
        worker = product.start("worker", &[]).await;
        let runs = format!("{RUNNING} and id = '{killer}' and attempt = {attempt}");
        product.reaches(runs.leak(), 1, DEADLINE).await;
        assert_eq!(product.number(RUNNING).await, 1, "a suspect runs alone");
        worker.kill().await;
    }
    held.let_go();
    let _last = product.start("worker", &[]).await;
    product.reaches(COMPLETED, INNOCENT, DEADLINE).await;
    let dead =
        format!("select count(*) from queue_jobs where status = 'dead' and id = '{killer}'").leak();
    product.reaches(dead, 1, DEADLINE).await;
    let crashes = "select max(crashes) from queue_jobs where status = 'completed'";
    assert_eq!(
        product.number(crashes).await,
        1,
        "each neighbour was counted once"
    );
    println!("crash budget: the killer is dead after 3, {INNOCENT} neighbours complete");
}

/// Deletes all keys of this installation; other tests share the server.
async fn forget(product: &Product) {
    let script = "redis-cli -u \"$0\" --scan --pattern \"$1*\" | xargs -r redis-cli -u \"$0\" del";
    let output = Command::new("sh")
        .args([
            "-c",
            script,
            product.setting("redis.url"),
            product.setting("redis.prefix"),
        ])
        .output()
        .await
        .expect("redis-cli is installed (Debian: apt-get install redis-tools)");
    assert!(output.status.success(), "{output:?}");
    let deleted = String::from_utf8_lossy(&output.stdout);
    assert!(
        deleted
            .trim()
            .trim_start_matches("(integer) ")
            .parse::<u32>()
            .is_ok_and(|keys| keys > 0),
        "{deleted}"
    );
}
