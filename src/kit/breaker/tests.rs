use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const RULES: Rules = Rules {
    window_calls: 20,
    min_calls: 10,
    failure_percent: 50,
    consecutive_failures: 5,
    open: Duration::from_secs(60),
    jitter_percent: 20,
    probes: 3,
};

/// The changes that an observer was told.
type Seen = Arc<Mutex<Vec<(State, State)>>>;

fn breaker() -> (Breaker, Seen) {
    let seen = Seen::default();
    let told = Arc::clone(&seen);
    let observer = move |change: Change| told.lock().push((change.from, change.to));
    (Breaker::new("ml", RULES, observer), seen)
}

fn opened() -> Breaker {
    let (breaker, _) = breaker();
    for _ in 0..5 {
        breaker.admit().unwrap().failed(None);
    }
    breaker
}

/// An opened breaker, at a time when it lets probes through.
async fn due() -> Breaker {
    let breaker = opened();
    tokio::time::advance(Duration::from_secs(73)).await;
    breaker
}

#[tokio::test(start_paused = true)]
async fn five_failures_in_a_row_open_it_and_every_change_is_told() {
    let (breaker, seen) = breaker();
    for _ in 0..4 {
        breaker.admit().unwrap().failed(None);
    }
    assert_eq!(breaker.state(), State::Closed);
    breaker.admit().unwrap().failed(None);
    let refused = breaker.admit().unwrap_err();
    assert_eq!(breaker.check().unwrap_err(), refused);
    let bounds = Duration::from_secs(60)..=Duration::from_secs(72);
    assert!(bounds.contains(&refused.retry_in), "{refused:?}");
    assert!(refused.to_string().contains("ml is not called"));
    tokio::time::advance(refused.retry_in).await;
    for _ in 0..3 {
        breaker.admit().unwrap().succeeded();
    }
    let (closed, open, half) = (State::Closed, State::Open, State::HalfOpen);
    assert_eq!(*seen.lock(), [(closed, open), (open, half), (half, closed)]);
}

#[tokio::test(start_paused = true)]
async fn half_of_ten_calls_open_it_without_five_in_a_row() {
    let (breaker, _) = breaker();
    for _ in 0..5 {
        breaker.admit().unwrap().succeeded();
        breaker.admit().unwrap().failed(None);
    }
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn three_probes_pass_and_the_fourth_waits_for_them() {
    let breaker = due().await;
    let probes: Vec<_> = (0..3).map(|_| breaker.admit().unwrap()).collect();
    assert_eq!(breaker.state(), State::HalfOpen);
    assert_eq!(breaker.admit().unwrap_err().retry_in, PROBES_RETRY);
    probes.into_iter().for_each(Permit::succeeded);
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_fails_opens_it_again_and_the_late_ones_count_for_nothing() {
    let breaker = due().await;
    let (first, second) = (breaker.admit().unwrap(), breaker.admit().unwrap());
    first.failed(None);
    second.succeeded();
    assert_eq!(breaker.state(), State::Open);
    assert!(breaker.admit().unwrap_err().retry_in >= Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_probe_gives_its_place_back() {
    let breaker = due().await;
    let mut call = Box::pin(async {
        let _permit = breaker.admit().unwrap();
        std::future::pending::<()>().await;
    });
    assert!(futures::poll!(&mut call).is_pending());
    drop(call);
    let probes: Vec<_> = (0..3).map(|_| breaker.admit().unwrap()).collect();
    assert!(breaker.admit().is_err());
    // A refused image is an answer all the same.
    probes.into_iter().for_each(Permit::answered);
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn who_asks_to_be_left_alone_for_longer_is() {
    let (breaker, _) = breaker();
    for _ in 0..5 {
        breaker
            .admit()
            .unwrap()
            .failed(Some(Duration::from_secs(200)));
    }
    let refused = breaker.admit().unwrap_err();
    assert_eq!(refused.retry_in, Duration::from_secs(200));
}

/// The rules once more, as a history that is looked through again at every step.
#[derive(Default)]
struct Model {
    /// Outcomes since the breaker last closed.
    history: Vec<bool>,
    open_until: Option<u64>,
    probes: Option<(u32, u32)>,
    /// How often the state has changed.
    changes: u64,
}

impl Model {
    fn admits(&mut self, now: u64) -> bool {
        if let Some(until) = self.open_until {
            if now < until {
                return false;
            }
            self.open_until = None;
            self.probes = Some((0, 0));
            self.changes += 1;
        }
        match &mut self.probes {
            Some((under_way, succeeded)) if *under_way + *succeeded >= 3 => false,
            Some((under_way, _)) => {
                *under_way += 1;
                true
            }
            None => true,
        }
    }

    fn ends(&mut self, failed: bool, now: u64) {
        if let Some((under_way, succeeded)) = &mut self.probes {
            *under_way -= 1;
            *succeeded += 1;
            let closes = *succeeded >= 3;
            if failed {
                (self.probes, self.open_until) = (None, Some(now + 60));
                self.changes += 1;
            } else if closes {
                (self.probes, self.history) = (None, Vec::new());
                self.changes += 1;
            }
            return;
        }
        self.history.push(failed);
        let last = |count: usize| &self.history[self.history.len().saturating_sub(count)..];
        let five = last(5).len() == 5 && last(5).iter().all(|failed| *failed);
        let window = last(20);
        let failures = window.iter().filter(|failed| **failed).count();
        if failed && (five || window.len() >= 10 && 2 * failures >= window.len()) {
            self.open_until = Some(now + 60);
            self.changes += 1;
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Call { failed: bool },
    Begin,
    EndOldest { failed: bool },
    DropOldest,
    Wait { seconds: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => any::<bool>().prop_map(|failed| Step::Call { failed }),
        2 => Just(Step::Call { failed: true }),
        2 => Just(Step::Begin),
        2 => any::<bool>().prop_map(|failed| Step::EndOldest { failed }),
        1 => Just(Step::DropOldest),
        2 => (1_u64..70).prop_map(|seconds| Step::Wait { seconds }),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn it_does_what_the_model_does(steps in steps()) {
        let start = Instant::now();
        let mut core = Core::new(Rules { jitter_percent: 0, ..RULES });
        let mut model = Model::default();
        let mut now = 0;
        // With each call that is under way, the model's state in which it began.
        let mut under_way: VecDeque<(u64, u64)> = VecDeque::new();
        for step in steps {
            let at = |seconds| start + Duration::from_secs(seconds);
            match step {
                Step::Wait { seconds } => now += seconds,
                Step::Call { failed } => {
                    let admitted = core.admit(at(now));
                    prop_assert_eq!(admitted.is_ok(), model.admits(now));
                    if let Ok(number) = admitted {
                        core.settle(number, outcome(failed), at(now), 0.5);
                        model.ends(failed, now);
                    }
                }
                Step::Begin => {
                    let admitted = core.admit(at(now));
                    prop_assert_eq!(admitted.is_ok(), model.admits(now));
                    under_way.extend(admitted.ok().map(|number| (number, model.changes)));
                }
                Step::EndOldest { failed } => {
                    if let Some((number, began)) = under_way.pop_front() {
                        core.settle(number, outcome(failed), at(now), 0.5);
                        if began == model.changes {
                            model.ends(failed, now);
                        }
                    }
                }
                Step::DropOldest => {
                    if let Some((number, began)) = under_way.pop_front() {
                        core.give_back(number);
                        if let (Some((under_way, _)), true) = (&mut model.probes, began == model.changes) {
                            *under_way -= 1;
                        }
                    }
                }
            }
            let expected = match (&model.open_until, &model.probes) {
                (Some(_), _) => State::Open,
                (None, Some(_)) => State::HalfOpen,
                (None, None) => State::Closed,
            };
            prop_assert_eq!(core.state(), expected);
        }
    }
}

const fn outcome(failed: bool) -> Outcome {
    if failed {
        Outcome::Failure(Duration::ZERO)
    } else {
        Outcome::Success
    }
}
