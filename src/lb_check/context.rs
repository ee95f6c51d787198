//! What the phases share: the plan, the client, the pace, and what was seen of each instance.

use std::time::Duration;

use http::{Method, Request, StatusCode};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;

use super::client::{Answer, Client, Connection, Error, Outgoing};
use super::plan::Plan;
use super::report::{Row, Seen};
use crate::kit::clock::SharedClock;
use crate::kit::lifecycle::Lifecycle;

/// What an answer may take beyond what the balancer itself waits for.
pub(super) const GRACE: Duration = Duration::from_secs(5);
/// Longest wait that an answer may ask for; one that asks for more is taken as it is.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// Tries of a request that is put off.
const TRIES_MAX: u32 = 4;

/// Where anybody may ask who answers.
pub(super) const WHOAMI: &str = "/whoami";
/// The mirror.
pub(super) const ECHO: &str = "/lb-check/echo";

/// What the phases share.
pub(super) struct Context<'p> {
    pub(super) plan: &'p Plan,
    pub(super) client: Client,
    pub(super) clock: SharedClock,
    pub(super) lifecycle: Lifecycle,
    next_turn: Mutex<Instant>,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    seen: Seen,
    instances: Vec<String>,
    server: Option<String>,
}

impl<'p> Context<'p> {
    pub(super) fn new(
        plan: &'p Plan,
        client: Client,
        clock: SharedClock,
        lifecycle: Lifecycle,
    ) -> Self {
        Self {
            plan,
            client,
            clock,
            lifecycle,
            next_turn: Mutex::new(Instant::now()),
            found: Mutex::default(),
        }
    }

    /// The instances that the first phase found, sorted.
    pub(super) fn instances(&self) -> Vec<String> {
        self.found.lock().instances.clone()
    }

    pub(super) fn set_instances(&self, mut instances: Vec<String>) {
        instances.sort();
        self.found.lock().instances = instances;
    }

    /// What the balancer calls itself, and what was seen of each instance.
    pub(super) fn into_seen(self) -> (Option<String>, Vec<Row>) {
        let found = self.found.into_inner();
        (found.server, found.seen.table())
    }

    /// Waits until another request may be sent.
    pub(super) async fn turn(&self) {
        let gap = Duration::from_secs(1) / self.plan.rate_max.max(1);
        let turn = {
            let mut next = self.next_turn.lock();
            let turn = (*next).max(Instant::now());
            *next = turn + gap;
            turn
        };
        tokio::time::sleep_until(turn).await;
    }

    /// One paced request on a connection; who answered is remembered.
    pub(super) async fn ask(
        &self,
        connection: &mut Connection,
        request: Request<Outgoing>,
    ) -> Result<Answer, Error> {
        self.turn().await;
        let answer = connection.send(request).await?;
        self.remember(&answer);
        Ok(answer)
    }

    /// One paced request on a connection of its own, from `client`. Put off with 429 or 503, it waits as it is told.
    pub(super) async fn once(
        &self,
        client: &Client,
        request: impl Fn() -> Request<Outgoing>,
    ) -> Result<Answer, Error> {
        let mut tries = 1;
        loop {
            let mut connection = client.connect().await?;
            let answer = self.ask(&mut connection, request()).await?;
            let put_off = [
                StatusCode::TOO_MANY_REQUESTS,
                StatusCode::SERVICE_UNAVAILABLE,
            ];
            let wait = answer.retry_after().filter(|wait| *wait <= RETRY_AFTER_MAX);
            match wait {
                Some(wait) if put_off.contains(&answer.status) && tries < TRIES_MAX => {
                    tries += 1;
                    tokio::time::sleep(wait).await;
                }
                _ => return Ok(answer),
            }
        }
    }

    /// What the mirror shows of a request with these headers; the reason where it shows nothing.
    pub(super) async fn echo(&self, headers: &[(&str, &str)]) -> Result<Value, String> {
        let make = || {
            let mut request = self
                .client
                .with_token(Method::POST, ECHO, "lb-check".into());
            for (name, value) in headers {
                let pair = (name.parse::<http::HeaderName>(), value.parse());
                if let (Ok(name), Ok(value)) = pair {
                    request.headers_mut().append(name, value);
                }
            }
            request
        };
        let answer = self.once(&self.client, make).await;
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.status == StatusCode::OK {
            Ok(answer.json())
        } else {
            Err(format!("{ECHO} answered {}", answer.status))
        }
    }

    fn remember(&self, answer: &Answer) {
        let mut found = self.found.lock();
        if found.server.is_none() {
            found.server = answer.text(&http::header::SERVER).map(str::to_owned);
        }
        if let Some(instance) = answer.instance() {
            let good = !answer.status.is_server_error();
            found
                .seen
                .add(instance, answer.took, good, self.clock.now());
        }
    }
}
