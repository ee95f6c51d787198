//! The realtime gateway from outside: by a raw WebSocket client of another make where the protocol itself is looked at, and by
//! the published client where its promises are.

mod connections;
mod delivery;
mod published;
mod raw;
mod rights;

use std::time::Duration;

use spheroctl::domain::push::Channel;
use spheroctl::kit::clock::SystemClock;
use spheroctl::kit::id::{EventId, UserId};
use tempfile::TempDir;

use crate::support::app::{TestApp, start_with};
use crate::support::services::redis_url;
use crate::support::unique_prefix;

/// How long a test waits for what must come.
const SOON: Duration = Duration::from_secs(60);

/// Two instances of one installation, which share database and Redis and nothing else.
struct Two {
    one: TestApp,
    two: TestApp,
    _folder: TempDir,
}

impl Two {
    async fn start(more: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let inside = |name: &str| folder.path().join(name).display().to_string();
        let url = format!("sqlite:{}", inside("shared.sqlite"));
        let (files, redis, prefix) = (inside("files"), redis_url(), unique_prefix());
        let mut settings = vec![
            ("database.url", url.as_str()),
            ("files.dir", files.as_str()),
            ("redis.enabled", "true"),
            ("redis.url", redis.as_str()),
            ("redis.prefix", prefix.as_str()),
        ];
        settings.extend(more);
        Self {
            one: start_with(&settings).await,
            two: start_with(&settings).await,
            _folder: folder,
        }
    }
}

/// Where clients of an instance connect.
fn address(test: &TestApp) -> String {
    socket_url(&test.url)
}

fn socket_url(url: &str) -> String {
    let authority = url.strip_prefix("http://").expect("an address");
    format!("ws://{authority}/connection/websocket")
}

/// Publishes an event on a person's channel.
async fn publish(test: &TestApp, user: UserId, message: &impl serde::Serialize) {
    let event = EventId::new(&SystemClock);
    let published = test.app.push.event(Channel::User(user), event, message);
    assert!(published.await.expect("an answer"));
}
