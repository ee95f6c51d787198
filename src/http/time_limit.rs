//! The time that a request may take. A route that streams lifts the limit; a handler that waits on purpose moves it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

use super::problem::Problem;

/// The instant at which a request is answered 503 if nothing else has answered it. Found in the request's extensions.
#[derive(Debug, Clone)]
pub struct TimeLimit {
    deadline: Arc<Mutex<Option<Instant>>>,
}

impl TimeLimit {
    fn new(limit: Duration) -> Self {
        Self {
            deadline: Arc::new(Mutex::new(Some(Instant::now() + limit))),
        }
    }

    /// Takes the limit away: for bodies that stream, whose silences are limited instead.
    pub fn lift(&self) {
        *self.deadline.lock() = None;
    }

    /// Allows `more` from now on, where that is later.
    pub fn extend(&self, more: Duration) {
        let later = Instant::now() + more;
        let mut deadline = self.deadline.lock();
        *deadline = deadline.map(|present| present.max(later));
    }

    async fn passed(&self) {
        loop {
            let Some(deadline) = *self.deadline.lock() else {
                return std::future::pending().await;
            };
            if deadline <= Instant::now() {
                return;
            }
            sleep_until(deadline).await;
        }
    }
}

/// Middleware that answers 503 after `limit`, unless the route lifted it.
pub(super) async fn enforce(limit: Duration, mut request: Request, next: Next) -> Response {
    let time = TimeLimit::new(limit);
    request.extensions_mut().insert(time.clone());
    tokio::select! {
        response = next.run(request) => response,
        () = time.passed() => {
            Problem::unavailable("time-out", "the request took longer than it may").into_response()
        }
    }
}

/// Route middleware (`axum::middleware::from_fn`) for uploads and downloads: no time limit on the whole.
pub async fn without_time_limit(request: Request, next: Next) -> Response {
    if let Some(time) = request.extensions().get::<TimeLimit>() {
        time.lift();
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_limit_can_be_moved_while_it_runs() {
        let (time, start) = (TimeLimit::new(Duration::from_secs(1)), Instant::now());
        let moved = async {
            tokio::time::sleep(Duration::from_millis(900)).await;
            time.extend(Duration::from_secs(5));
        };
        tokio::join!(moved, time.passed());
        assert_eq!(start.elapsed(), Duration::from_millis(5_900));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lifted_limit_never_passes() {
        let time = TimeLimit::new(Duration::from_secs(1));
        time.lift();
        let day = Duration::from_secs(86_400);
        assert!(tokio::time::timeout(day, time.passed()).await.is_err());
    }
}
