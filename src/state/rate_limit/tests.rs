use proptest::prelude::*;

use super::*;
use crate::kit::clock::{Clock, ManualClock, SystemClock};

const SPEC: Rate = Rate::per_minute(100, 20);

/// How many of these requests, `gaps` µs apart, are let through.
fn passed(rate: Rate, gaps: &[i64]) -> Vec<bool> {
    let (mut now, mut whole) = (0, None);
    let step = |gap: &i64| {
        now += gap;
        let (answer, keep) = decide(whole, now, rate);
        whole = keep.or(whole);
        answer.allowed
    };
    gaps.iter().map(step).collect()
}

/// The closed form: a bucket of `burst + 1` requests that fills at the rate. Counted in µs, so that nothing is rounded.
fn bucket(rate: Rate, gaps: &[i64]) -> Vec<bool> {
    let cost = rate.cost_us();
    let full = cost * (i64::from(rate.burst) + 1);
    let mut credit = full;
    let step = |gap: &i64| {
        credit = full.min(credit + gap);
        let passes = credit >= cost;
        credit -= if passes { cost } else { 0 };
        passes
    };
    gaps.iter().map(step).collect()
}

fn rates() -> impl Strategy<Value = Rate> {
    (1..5_000u32, 1..120u64, 0..50u32).prop_map(|(count, seconds, burst)| Rate {
        count,
        period: Duration::from_secs(seconds),
        burst,
    })
}

proptest! {
    #[test]
    fn it_is_a_bucket(rate in rates(), gaps in prop::collection::vec(0..2_000_000i64, 1..200)) {
        prop_assert_eq!(passed(rate, &gaps), bucket(rate, &gaps));
    }

    #[test]
    fn a_crowd_gets_the_burst_and_then_the_rate(rate in rates(), seconds in 0..300i64) {
        let crowd = vec![0; 60];
        let burst = passed(rate, &crowd).iter().filter(|passed| **passed).count() as i64;
        prop_assert_eq!(burst, i64::from(rate.burst + 1).min(60));
        // One request whenever the first may pass again.
        let us = seconds * 1_000_000;
        let (mut now, mut whole, mut count) = (0, None, 0);
        loop {
            let (answer, keep) = decide(whole, now, rate);
            whole = keep.or(whole);
            count += i64::from(answer.allowed);
            now += i64::try_from(answer.retry.as_micros()).unwrap();
            if now > us {
                break;
            }
        }
        prop_assert_eq!(count, i64::from(rate.burst) + 1 + us / rate.cost_us());
    }

    #[test]
    fn what_it_promises_holds(rate in rates(), gaps in prop::collection::vec(0..2_000_000i64, 1..50)) {
        let (mut now, mut whole) = (0, None);
        for gap in gaps {
            now += gap;
            let (answer, keep) = decide(whole, now, rate);
            whole = keep.or(whole);
            let at = |later: Duration| now + i64::try_from(later.as_micros()).unwrap();
            if answer.allowed {
                let crowd = (0..100).scan(whole, |whole, _| {
                    let (answer, keep) = decide(*whole, now, rate);
                    *whole = keep.or(*whole);
                    Some(answer.allowed)
                });
                let more = crowd.filter(|passed| *passed).count();
                prop_assert_eq!(more, answer.remaining as usize);
            } else {
                prop_assert!(!decide(whole, at(answer.retry) - 1, rate).0.allowed);
                prop_assert!(decide(whole, at(answer.retry), rate).0.allowed);
            }
            let fresh = decide(None, now, rate).0.remaining;
            prop_assert_eq!(decide(whole, at(answer.reset), rate).0.remaining, fresh);
        }
    }
}

#[test]
fn the_figures_of_the_reference_hold() {
    let at_once = passed(SPEC, &[0; 60]);
    assert_eq!(at_once.iter().filter(|passed| **passed).count(), 21);
    let mut then = vec![0; 60];
    then.extend([10_000; 600]);
    let in_six_seconds = passed(SPEC, &then)[60..].iter().filter(|p| **p).count();
    assert_eq!(in_six_seconds, 10);
}

#[test]
fn parts_of_a_limit_never_add_up_to_more_and_never_to_nothing() {
    assert_eq!(SPEC.part_of(3), Rate::per_minute(33, 6));
    assert_eq!(SPEC.part_of(0), SPEC);
    assert_eq!(SPEC.part_of(1_000), Rate::per_minute(1, 0));
}

#[tokio::test]
async fn without_the_shared_store_each_instance_lets_its_part_through() {
    let clock: SharedClock = Arc::new(ManualClock::at(SystemClock.now()));
    let shared = Memory::new(clock.clone());
    let limiter = RateLimiter::new(Arc::new(shared.clone()), clock);
    let instances = Instances::new(Arc::new(shared.clone()));
    for (name, role) in [("a", "serve"), ("b", "serve"), ("c", "worker")] {
        instances.announce(&line(name, role)).await.unwrap();
    }
    let drained = CancellationToken::new();
    drained.cancel();
    limiter.keep_counting(&["serve"], drained).await;
    assert_eq!(limiter.allow("k", SPEC).await.remaining, 20);
    shared.close();
    // 50 a minute and a burst of 10, whatever was left of the whole.
    assert_eq!(limiter.allow("k", SPEC).await.remaining, 10);
    assert!(limiter.allow_shared("k", SPEC).await.is_err());
}

fn line(instance: &str, role: &str) -> super::super::instances::Instance {
    super::super::instances::Instance {
        instance: instance.to_owned(),
        role: role.to_owned(),
        version: String::new(),
        started_at: SystemClock.now(),
        address: String::new(),
        figures: serde_json::Value::Null,
    }
}
