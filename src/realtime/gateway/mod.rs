//! Connections: the handshake, one small task for each, what is known of them outside, and their end.

mod asks;
mod checks;
mod handshake;
mod presence;
mod pulse;
mod session;
mod socket;
mod tracking;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::connection::Terms;
use super::hub::Hub;
use super::rules::Rules;
use crate::domain::push::Push;
use crate::kit::clock::SharedClock;
use crate::kit::instance::InstanceId;
use crate::kit::lifecycle::Lifecycle;
use crate::kit::metrics;
use crate::settings;
use crate::state::SharedState;

use pulse::Intervals;
use tracking::Tracking;

/// What a gateway works with.
#[derive(Debug, Clone)]
pub struct Handles {
    /// What may be lost.
    pub state: SharedState,
    /// Who may what.
    pub rules: Rules,
    /// Publishes.
    pub push: Push,
    /// Instants.
    pub clock: SharedClock,
    /// Who this is.
    pub instance: InstanceId,
    /// Tasks and shutdown.
    pub lifecycle: Lifecycle,
    /// Counts the open connections for whoever asks how this process is.
    pub sockets: Arc<AtomicUsize>,
}

/// The figures that a gateway follows.
#[derive(Debug, Clone)]
pub struct Limits {
    connections_max: usize,
    connections_per_user_max: usize,
    channels_max: usize,
    message_bytes_max: usize,
    waiting_bytes_max: usize,
    commands_per_s: u32,
    commands_burst: u32,
    intervals: Intervals,
    drain: Duration,
    allow_insecure_cookies: bool,
    public_url: Arc<str>,
}

impl Limits {
    /// What the settings say.
    pub fn from_settings(settings: &settings::Settings) -> Self {
        let (realtime, http) = (&settings.realtime, &settings.http);
        let ms = Duration::from_millis;
        Self {
            connections_max: realtime.connections_max,
            connections_per_user_max: realtime.connections_per_user_max,
            channels_max: realtime.channels_max,
            message_bytes_max: realtime.message_bytes_max,
            waiting_bytes_max: realtime.waiting_bytes_max,
            commands_per_s: realtime.commands_per_s,
            commands_burst: realtime.commands_burst,
            intervals: Intervals {
                connect: ms(realtime.connect_timeout_ms),
                ping: ms(realtime.ping_interval_ms),
                pong: ms(realtime.pong_timeout_ms),
                check: ms(realtime.reauthorise_interval_ms),
            },
            // Within what the process waits for its tasks.
            drain: ms(realtime.drain_ms.min(settings.shutdown.work_ms)),
            allow_insecure_cookies: http.allow_insecure_cookies,
            public_url: http.public_url.trim_end_matches('/').into(),
        }
    }
}

/// The gateway. Clones share it.
#[derive(Debug, Clone)]
pub struct Gateway(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    handles: Handles,
    limits: Limits,
    terms: Terms,
    hub: Hub,
    tracking: Tracking,
    /// Told when the last connection has ended.
    emptied: Arc<Notify>,
}

impl Gateway {
    /// A gateway whose hub runs until the process drains and its connections have ended.
    pub fn start(handles: Handles, limits: Limits) -> Self {
        let hub = Hub::new(handles.state.clone());
        let lifecycle = handles.lifecycle.clone();
        let shared = Shared {
            terms: Terms {
                node: handles.instance.unique().into(),
                ping_interval: limits.intervals.ping,
                channels_max: limits.channels_max,
            },
            tracking: Tracking::new(&handles),
            hub: hub.clone(),
            emptied: Arc::default(),
            limits,
            handles,
        };
        let gateway = Self(Arc::new(shared));
        let closing = CancellationToken::new();
        let closer = gateway.clone().close_the_hub(closing.clone());
        let running = async move { tokio::join!(hub.run(closing), closer) };
        lifecycle.spawn("realtime.hub", running);
        gateway
    }

    /// Until the last connection has been told to go, it hears what happens.
    async fn close_the_hub(self, closing: CancellationToken) {
        let Shared {
            handles,
            limits,
            emptied,
            ..
        } = &*self.0;
        handles.lifecycle.draining().await;
        let empty = async {
            while handles.sockets.load(Ordering::Relaxed) > 0 {
                emptied.notified().await;
            }
        };
        // Whoever is still there has been told already.
        let _ = tokio::time::timeout(limits.drain, empty).await;
        closing.cancel();
    }

    /// Its routes.
    pub fn routes(&self) -> Router {
        Router::new()
            .route(super::WEBSOCKET_PATH, get(handshake::upgrade))
            .with_state(self.clone())
    }

    /// A place for one more connection; `None` where there are as many as may be.
    fn place(&self) -> Option<Place> {
        let sockets = &self.0.handles.sockets;
        let most = self.0.limits.connections_max;
        let taken = sockets.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
            (open < most).then_some(open + 1)
        });
        let before = taken.ok()?;
        metrics::ws_connections(before + 1);
        Some(Place {
            sockets: Arc::clone(sockets),
            emptied: Arc::clone(&self.0.emptied),
        })
    }
}

/// Counts one connection.
#[derive(Debug)]
struct Place {
    sockets: Arc<AtomicUsize>,
    emptied: Arc<Notify>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let before = self.sockets.fetch_sub(1, Ordering::Relaxed);
        metrics::ws_connections(before - 1);
        if before == 1 {
            self.emptied.notify_one();
        }
    }
}
