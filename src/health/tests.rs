//! Readiness and liveness as a whole, under paused time.

use std::sync::atomic::AtomicU32;

use serde_json::json;
use tokio::time::Instant;

use super::*;
use crate::kit::clock::{Clock, SystemClock};

fn health(lifecycle: &Lifecycle) -> Health {
    let rules = Rules {
        strict: false,
        check_timeout: Duration::from_secs(2),
        check_interval: Duration::from_secs(1),
    };
    let identity = Identity {
        instance: InstanceId::for_this_boot(Some("a")),
        exposed: true,
        version: "1.2.3",
        started_at: SystemClock.now(),
        clock: SystemClock::shared(),
    };
    Health::start(rules, identity, lifecycle)
}

fn away(name: &'static str) -> Check {
    Check::new(name, Kind::Shared, || async { Err("refused".to_owned()) })
}

#[tokio::test(start_paused = true)]
async fn an_absent_shared_backend_warns_and_when_strict_fails() {
    let health = health(&Lifecycle::new());
    health.add(away("database"));
    let lenient = health.readiness(false).await;
    assert_eq!(lenient.status, Status::Warn);
    assert_eq!(
        lenient.checks["database"][0].output.as_deref(),
        Some("refused")
    );
    assert_eq!(health.readiness(true).await.status, Status::Fail);
    assert_eq!(health.liveness().await.status, Status::Pass);
}

#[tokio::test(start_paused = true)]
async fn a_local_fault_always_fails_readiness() {
    let health = health(&Lifecycle::new());
    health.add(Check::new("disk", Kind::Local, || async {
        Err("full".to_owned())
    }));
    assert_eq!(health.readiness(false).await.status, Status::Fail);
    assert_eq!(health.liveness().await.status, Status::Pass);
}

#[tokio::test(start_paused = true)]
async fn readiness_waits_for_every_latch() {
    let health = health(&Lifecycle::new());
    let (first, second) = (health.latch("migrations"), health.latch("listener"));
    first.release();
    let report = health.readiness(false).await;
    assert_eq!(report.status, Status::Fail);
    assert_eq!(report.checks["migrations"][0].status, Status::Pass);
    second.release();
    assert_eq!(health.readiness(false).await.status, Status::Pass);
    assert!(health.latch("listener").released.load(Ordering::Acquire));
}

#[tokio::test(start_paused = true)]
async fn draining_closes_readiness_but_not_liveness() {
    let lifecycle = Lifecycle::new();
    let health = health(&lifecycle);
    health.add(Check::new("slow", Kind::Shared, std::future::pending));
    lifecycle.drain();
    let start = Instant::now();
    let report = health.readiness(false).await;
    assert_eq!(report.status, Status::Fail);
    assert_eq!(report.checks.keys().collect::<Vec<_>>(), [&"draining"]);
    assert_eq!(start.elapsed(), Duration::ZERO, "nobody is asked");
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(health.liveness().await.status, Status::Pass);
}

#[tokio::test(start_paused = true)]
async fn the_pulse_does_not_hold_up_the_end() {
    let lifecycle = Lifecycle::new();
    let _health = health(&lifecycle);
    assert!(lifecycle.finish(Duration::from_secs(1)).await);
}

#[tokio::test(start_paused = true)]
async fn a_slow_check_is_cut_and_its_answer_kept() {
    let health = health(&Lifecycle::new());
    health.add(Check::new("slow", Kind::Shared, std::future::pending));
    let start = Instant::now();
    let report = health.readiness(false).await;
    let slow = &report.checks["slow"][0];
    assert_eq!(start.elapsed().as_secs(), 2);
    assert_eq!(slow.output.as_deref(), Some("no answer within 2000 ms"));
    assert_eq!((slow.took_ms, report.status), (2_000, Status::Warn));
    let _ = health.readiness(false).await;
    assert_eq!(
        start.elapsed().as_secs(),
        2,
        "the kept answer costs nothing"
    );
    tokio::time::advance(Duration::from_secs(1)).await;
    let old = health.readiness(false).await;
    assert_eq!(
        start.elapsed().as_millis(),
        3_500,
        "an old answer is not waited for longer"
    );
    assert_eq!(old.checks["slow"][0].age_ms, 1_500);
}

#[tokio::test(start_paused = true)]
async fn checks_run_together_and_once_for_many_probes() {
    let health = health(&Lifecycle::new());
    let runs = Arc::new(AtomicU32::new(0));
    for name in ["one", "two", "three"] {
        let runs = Arc::clone(&runs);
        health.add(Check::new(name, Kind::Shared, move || {
            runs.fetch_add(1, Ordering::Relaxed);
            async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(json!({ "free": 3 }))
            }
        }));
    }
    let start = Instant::now();
    let probes = (0..10).map(|_| health.readiness(false));
    let reports = join_all(probes).await;
    assert!(reports.iter().all(|report| report.status == Status::Pass));
    assert_eq!(
        reports[9].checks["two"][0].details,
        Some(json!({ "free": 3 }))
    );
    assert_eq!(
        (start.elapsed().as_secs(), runs.load(Ordering::Relaxed)),
        (1, 3)
    );
    tokio::time::advance(Duration::from_secs(1)).await;
    let _ = health.readiness(false).await;
    assert_eq!(
        runs.load(Ordering::Relaxed),
        6,
        "the kept answers had become old"
    );
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_given_up_does_not_undo_the_run() {
    let health = health(&Lifecycle::new());
    health.add(Check::new("slow", Kind::Shared, || async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        Ok(Value::Null)
    }));
    let impatient = tokio::time::timeout(Duration::from_secs(1), health.readiness(false));
    assert!(impatient.await.is_err());
    assert!(health.last_known().is_empty());
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(health.last_known()["slow"][0].status, Status::Pass);
}

#[tokio::test(start_paused = true)]
async fn a_panicking_check_fails_and_is_run_again() {
    let health = health(&Lifecycle::new());
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    health.add(Check::new("odd", Kind::Shared, move || {
        let run = counted.fetch_add(1, Ordering::Relaxed);
        async move {
            assert!(run > 0, "the first run panics");
            Ok(Value::Null)
        }
    }));
    let start = Instant::now();
    let odd = health.check("odd").await.unwrap();
    assert_eq!(
        odd.output.as_deref(),
        Some("the check ended without an answer")
    );
    assert_eq!(
        (odd.status, start.elapsed()),
        (Status::Fail, Duration::ZERO)
    );
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(health.check("odd").await.unwrap().status, Status::Pass);
    assert!(health.check("nothing").await.is_none());
}
