//! How many workers the load needs: enough for what arrives, and for what waits to be gone within a stated time. Follows
//! a rising load at once and a falling one after a while, so that no worker is stopped for a pause between two plates.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::settings;

/// What the queue has to do.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Jobs that are due and wait.
    pub waiting: u64,
    /// Jobs that run.
    pub running: u64,
    /// Jobs that were submitted lately, per second.
    pub arrivals_per_s: f64,
    /// How long the last completed jobs ran on average, in seconds; none where none completed.
    pub service_s: Option<f64>,
}

/// Who is there to do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleet {
    /// Live workers.
    pub workers: u64,
    /// Jobs that all of them run at once.
    pub permits: u64,
}

/// The figures of the settings that advice follows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// The part of the permits that arriving jobs may keep busy, 0 to 1.
    pub utilisation_max: f64,
    /// What waits is to be gone within this.
    pub drain: TimeDelta,
    /// The highest advice of this time before counts.
    pub hold: TimeDelta,
    /// Never less.
    pub workers_min: u64,
    /// Never more.
    pub workers_max: u64,
    /// Jobs that a worker runs at once where none is there to tell.
    pub permits: u64,
}

impl Rules {
    /// What the settings say.
    pub fn new(scaling: &settings::Scaling, worker: &settings::Worker) -> Self {
        let seconds = |s: u64| TimeDelta::seconds(i64::try_from(s).unwrap_or(i64::MAX / 1_000));
        Self {
            utilisation_max: f64::from(scaling.utilisation_max_percent) / 100.0,
            drain: seconds(scaling.drain_s),
            hold: seconds(scaling.hold_s),
            workers_min: scaling.workers_min,
            workers_max: scaling.workers_max,
            permits: worker.concurrency as u64,
        }
    }
}

/// How many workers there should be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Advice {
    /// When this was computed.
    pub at: DateTime<Utc>,
    /// How many workers there should be.
    pub workers_wanted: u64,
    /// How many the load of this instant alone would need.
    pub workers_needed_now: u64,
    /// The load.
    pub load: Load,
    /// Who is there.
    pub fleet: Fleet,
    /// What was needed within the time that counts: instants and workers, the highest first, each later one lower.
    peaks: Vec<(DateTime<Utc>, u64)>,
}

impl Advice {
    /// Advice at `now`, in the light of what was advised `before`.
    pub fn new(
        before: Option<&Self>,
        load: Load,
        fleet: Fleet,
        rules: &Rules,
        now: DateTime<Utc>,
    ) -> Self {
        let needed = needed(load, fleet, rules);
        let earlier = before.map(|before| before.peaks.as_slice());
        let peaks = earlier.unwrap_or_default().iter().copied();
        let counts =
            |(at, workers): &(DateTime<Utc>, u64)| *at > now - rules.hold && *workers > needed;
        let mut peaks: Vec<_> = peaks.filter(counts).collect();
        peaks.push((now, needed));
        Self {
            at: now,
            workers_wanted: peaks.iter().map(|peak| peak.1).max().unwrap_or(needed),
            workers_needed_now: needed,
            load,
            fleet,
            peaks,
        }
    }
}

/// By Little's law `arrivals × service` jobs run at once in the mean; with spare permits for bursts. What waits needs
/// `waiting × service` seconds of permits, spread over the time in which it is to be gone.
fn needed(load: Load, fleet: Fleet, rules: &Rules) -> u64 {
    let idle = load.waiting + load.running == 0;
    let Some(service_s) = load.service_s else {
        // Nobody knows how long they take: as many as there are, and one to find out.
        let busy = if idle { 0 } else { fleet.workers.max(1) };
        return within(busy, rules);
    };
    let arriving = load.arrivals_per_s * service_s / rules.utilisation_max;
    let waiting = load.waiting as f64 * service_s / rules.drain.as_seconds_f64().max(1.0);
    let permits = match fleet.workers {
        0 => rules.permits as f64,
        workers => fleet.permits as f64 / workers as f64,
    };
    let workers = ((arriving + waiting) / permits.max(1.0)).ceil() as u64;
    within(workers.max(u64::from(!idle)), rules)
}

fn within(workers: u64, rules: &Rules) -> u64 {
    workers.clamp(rules.workers_min, rules.workers_max.max(rules.workers_min))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        utilisation_max: 0.8,
        drain: TimeDelta::seconds(60),
        hold: TimeDelta::seconds(300),
        workers_min: 1,
        workers_max: 20,
        permits: 4,
    };

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    fn load(waiting: u64, arrivals_per_s: f64, service_s: f64) -> Load {
        Load {
            waiting,
            running: 0,
            arrivals_per_s,
            service_s: Some(service_s),
        }
    }

    const fn fleet(workers: u64) -> Fleet {
        Fleet {
            workers,
            permits: workers * 4,
        }
    }

    #[test]
    fn what_arrives_keeps_eight_of_ten_permits_busy() {
        // 8 jobs a second of 2 s run 16 at once; 20 permits are 5 workers.
        assert_eq!(needed(load(0, 8.0, 2.0), fleet(1), &RULES), 5);
        assert_eq!(needed(load(0, 0.0, 2.0), fleet(9), &RULES), 1);
    }

    #[test]
    fn what_waits_is_gone_in_time() {
        // 240 jobs of 2 s are 480 s of permits, in 60 s: 8 permits.
        assert_eq!(needed(load(240, 0.0, 2.0), fleet(1), &RULES), 2);
        assert_eq!(needed(load(1_000_000, 0.0, 2.0), fleet(1), &RULES), 20);
    }

    #[test]
    fn with_no_worker_the_settings_say_how_many_jobs_one_runs() {
        assert_eq!(needed(load(240, 0.0, 2.0), fleet(0), &RULES), 2);
    }

    #[test]
    fn jobs_of_unknown_length_need_those_who_are_there() {
        let mut unknown = load(10, 1.0, 0.0);
        unknown.service_s = None;
        assert_eq!(needed(unknown, fleet(3), &RULES), 3);
        assert_eq!(needed(unknown, fleet(0), &RULES), 1);
    }

    #[test]
    fn a_falling_load_is_followed_after_a_while() {
        let first = Advice::new(None, load(0, 8.0, 2.0), fleet(5), &RULES, at(0));
        let pause = Advice::new(Some(&first), load(0, 0.0, 2.0), fleet(5), &RULES, at(200));
        assert_eq!((pause.workers_wanted, pause.workers_needed_now), (5, 1));
        let later = Advice::new(Some(&pause), load(0, 0.0, 2.0), fleet(5), &RULES, at(301));
        assert_eq!(later.workers_wanted, 1);
    }

    #[test]
    fn only_peaks_that_may_still_count_are_kept() {
        let mut advice: Option<Advice> = None;
        for second in 0..2_000 {
            let rate = f64::from(i32::try_from(second * 7_919 % 100).unwrap()) / 2.0;
            let load = load(0, rate, 2.0);
            advice = Some(Advice::new(
                advice.as_ref(),
                load,
                fleet(5),
                &RULES,
                at(second),
            ));
        }
        assert!(advice.unwrap().peaks.len() <= 20);
    }

    /// Two days of a laboratory in steps of 15 s: nights without jobs, a plate of 96 every ten minutes in the morning,
    /// steady work in the afternoon. The fleet does as it is told, 30 s later.
    #[test]
    fn a_fleet_that_follows_the_advice_neither_lags_nor_flaps() {
        let (mut laboratory, mut told) = (Laboratory::default(), 1);
        let (mut rose_at, mut worst_s) = (0, 0.0_f64);
        for second in (0..2 * 86_400).step_by(STEP_S as usize) {
            let wanted = laboratory.step(second);
            worst_s = worst_s.max(laboratory.wait_s());
            if wanted > told {
                rose_at = second;
            }
            if wanted < told {
                assert!(
                    second - rose_at >= 300,
                    "more at {rose_at} s, fewer at {second} s"
                );
                let afternoon = (14..=16).contains(&(second / 3_600 % 24));
                assert!(!afternoon, "fewer at {second} s, under a steady load");
            }
            told = wanted;
        }
        assert!(worst_s <= 180.0, "somebody waits {worst_s} s");
    }

    const STEP_S: i64 = 15;
    const SERVICE_S: f64 = 5.0;

    struct Laboratory {
        advice: Option<Advice>,
        workers: u64,
        /// What was advised one and two steps ago: workers take a while to start.
        coming: [u64; 2],
        waiting: f64,
        arrived: [f64; 4],
    }

    impl Default for Laboratory {
        fn default() -> Self {
            Self {
                advice: None,
                workers: 1,
                coming: [1; 2],
                waiting: 0.0,
                arrived: [0.0; 4],
            }
        }
    }

    impl Laboratory {
        fn step(&mut self, second: i64) -> u64 {
            let arrived = arrivals(second, STEP_S);
            self.arrived.rotate_left(1);
            self.arrived[3] = arrived;
            let done = (self.workers * 4) as f64 * STEP_S as f64 / SERVICE_S;
            self.waiting = (self.waiting + arrived - done).max(0.0);
            let load = Load {
                waiting: self.waiting as u64,
                running: 0,
                arrivals_per_s: self.arrived.iter().sum::<f64>() / (4.0 * STEP_S as f64),
                service_s: Some(SERVICE_S),
            };
            let (before, fleet) = (self.advice.as_ref(), fleet(self.workers));
            let advice = Advice::new(before, load, fleet, &RULES, at(second));
            let wanted = advice.workers_wanted;
            self.workers = self.coming[0];
            self.coming = [self.coming[1], wanted];
            self.advice = Some(advice);
            wanted
        }

        /// How long the last in the queue waits.
        fn wait_s(&self) -> f64 {
            self.waiting * SERVICE_S / (self.workers * 4) as f64
        }
    }

    fn arrivals(second: i64, step_s: i64) -> f64 {
        let hour = second / 3_600 % 24;
        match hour {
            8..=11 if second % 600 < step_s => 96.0,
            13..=16 => 2.0 * step_s as f64,
            _ => 0.0,
        }
    }
}
