//! A load on the balancer while something happens behind it: kept connections that read and send in turn, and what they saw.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use http::{HeaderValue, Method, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::client::{Answer, Client, Connection, Error};
use super::context::{Context, ECHO, WHOAMI};

/// Rest of a connection between two requests: enough load to notice what fails, and time for whoever shares the machine.
const REST: Duration = Duration::from_millis(5);
/// Rest after a connection could not be made.
const NO_CONNECTION_REST: Duration = Duration::from_millis(100);
/// Most failures that are kept with their reasons.
const FAILURES_MAX: usize = 1_000;
/// Between two looks of [`Load::until`].
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// A request without a good answer.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) began: Instant,
    pub(super) ended: Instant,
    pub(super) sends: bool,
    pub(super) reason: String,
}

/// What the load saw.
#[derive(Debug, Default)]
pub(super) struct Saw {
    pub(super) reads: u64,
    pub(super) sends: u64,
    /// Put off with 429.
    pub(super) limited: u64,
    pub(super) failed_reads: u64,
    pub(super) failed_sends: u64,
    pub(super) failures: Vec<Failure>,
    /// Requests that an instance saw more than once.
    pub(super) repeated: u64,
    pub(super) slowest: Duration,
    /// When the first and the last request that an instance answered began.
    pub(super) instances: BTreeMap<String, (Instant, Instant)>,
}

impl Saw {
    pub(super) fn requests(&self) -> u64 {
        self.reads + self.sends
    }

    pub(super) fn figures(&self) -> Value {
        let reasons: Vec<&str> = self
            .failures
            .iter()
            .take(10)
            .map(|failure| failure.reason.as_str())
            .collect();
        json!({
            "reads": self.reads, "sends": self.sends, "limited": self.limited, "failed_reads": self.failed_reads,
            "failed_sends": self.failed_sends, "repeated": self.repeated, "slowest_s": self.slowest.as_secs_f64(),
            "first_reasons": reasons,
        })
    }
}

/// A load that runs.
#[derive(Debug, Default)]
pub(super) struct Load {
    saw: Mutex<Saw>,
    ended: CancellationToken,
}

impl Load {
    /// Runs `happening` under the load of the plan's connections; what it returns, and what the load saw.
    pub(super) async fn during<T>(
        context: &Context<'_>,
        happening: impl AsyncFnOnce(&Self) -> T,
    ) -> (T, Saw) {
        let load = Self::default();
        let connections = context.plan.concurrency.max(1);
        let clients = (0..connections).map(|number| load.client(&context.client, number % 2 == 0));
        let happening = async {
            let outcome = happening(&load).await;
            load.ended.cancel();
            outcome
        };
        let (outcome, _) = tokio::join!(happening, join_all(clients));
        (outcome, load.saw.into_inner())
    }

    /// Waits until `condition` holds of what was seen, at most for `limit`; how long that took.
    pub(super) async fn until(
        &self,
        limit: Duration,
        condition: impl Fn(&Saw) -> bool,
    ) -> Option<Duration> {
        let start = Instant::now();
        while !condition(&self.saw.lock()) {
            if start.elapsed() > limit {
                return None;
            }
            sleep(LOOK_INTERVAL).await;
        }
        Some(start.elapsed())
    }

    /// One connection after the other, reading and sending in turn, until the load ends.
    async fn client(&self, client: &Client, mut sends: bool) {
        let mut connection: Option<Connection> = None;
        while !self.ended.is_cancelled() {
            let usable = connection.take().filter(Connection::is_open);
            let mut usable = match usable {
                Some(usable) => usable,
                None => match client.connect().await {
                    Ok(fresh) => fresh,
                    Err(error) => {
                        self.add(Instant::now(), sends, &Err(error));
                        sleep(NO_CONNECTION_REST).await;
                        continue;
                    }
                },
            };
            let began = Instant::now();
            let answer = usable.send(request(client, sends)).await;
            self.add(began, sends, &answer);
            let rest = match &answer {
                Ok(answer) if answer.status == StatusCode::TOO_MANY_REQUESTS => {
                    answer.retry_after().unwrap_or(REST)
                }
                _ => REST,
            };
            if answer.is_ok() {
                connection = Some(usable);
            }
            sends = !sends && client.has_token();
            tokio::select! {
                () = sleep(rest) => {}
                () = self.ended.cancelled() => {}
            }
        }
    }

    fn add(&self, began: Instant, sends: bool, answer: &Result<Answer, Error>) {
        let mut saw = self.saw.lock();
        let count = if sends {
            &mut saw.sends
        } else {
            &mut saw.reads
        };
        *count += 1;
        saw.slowest = saw.slowest.max(began.elapsed());
        let reason = match answer {
            Ok(answer) if answer.status.is_success() => {
                saw.repeated += u64::from(
                    answer.json()["key_count"]
                        .as_u64()
                        .is_some_and(|count| count > 1),
                );
                if let Some(instance) = answer.instance() {
                    let seen = saw
                        .instances
                        .entry(instance.to_owned())
                        .or_insert((began, began));
                    seen.1 = seen.1.max(began);
                }
                return;
            }
            Ok(answer) if answer.status == StatusCode::TOO_MANY_REQUESTS => {
                saw.limited += 1;
                return;
            }
            Ok(answer) => format!("answered {}", answer.status),
            Err(error) => error.to_string(),
        };
        let count = if sends {
            &mut saw.failed_sends
        } else {
            &mut saw.failed_reads
        };
        *count += 1;
        if saw.failures.len() < FAILURES_MAX {
            saw.failures.push(Failure {
                began,
                ended: Instant::now(),
                sends,
                reason,
            });
        }
    }
}

/// A look at who answers, or a mirrored request with a key of its own.
fn request(client: &Client, sends: bool) -> http::Request<super::client::Outgoing> {
    if !sends {
        return client.get(WHOAMI);
    }
    let mut request = client.with_token(Method::POST, ECHO, "load".into());
    let key = uuid::Uuid::new_v4().simple().to_string();
    if let Ok(value) = HeaderValue::from_str(&key) {
        request.headers_mut().insert("idempotency-key", value);
    }
    request
}
