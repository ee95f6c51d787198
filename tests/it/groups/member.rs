//! A member of a group that is a process of its own: this test program again, told by the environment what to join. It
//! leaves in order when its input ends.

use std::collections::HashMap;
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use spheroctl::kit::id::EventId;
use spheroctl::settings::GroupProtocol;
use tokio::process::Child;

use super::auditor::{Auditor, Mischief};
use super::world::{DEADLINE, World};
use crate::conformance::event_log::backend::kafka;
use crate::support::process::this_test;

/// Tells the process what to join.
const JOIN: &str = "SPHEROCTL_TEST_GROUP_MEMBER";

/// What a member process is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Join {
    pub name: String,
    url: String,
    bootstrap: String,
    topic_prefix: String,
    group_prefix: String,
    session_timeout_ms: u64,
    heartbeat_interval_ms: u64,
    is_newer_protocol: bool,
    /// The event at which it aborts.
    pub aborts_at: Option<EventId>,
    /// How long it takes for an event.
    pub takes_ms: u64,
}

impl Join {
    /// What `world` is, for a process of this name.
    pub fn of(world: &World, name: &str) -> Self {
        let settings = &world.settings;
        Self {
            name: name.to_owned(),
            url: world.url.clone(),
            bootstrap: settings.bootstrap_servers.clone(),
            topic_prefix: settings.topic_prefix.clone(),
            group_prefix: settings.group_prefix.clone(),
            session_timeout_ms: settings.session_timeout_ms,
            heartbeat_interval_ms: settings.heartbeat_interval_ms,
            is_newer_protocol: settings.group_protocol == GroupProtocol::Consumer,
            aborts_at: None,
            takes_ms: 1,
        }
    }

    /// Starts the process, which is killed with the value.
    pub fn start(&self) -> Child {
        let join = serde_json::to_string(self).expect("what to join");
        this_test("groups::member::member_process")
            .env(JOIN, join)
            .stdout(Stdio::null())
            .spawn()
            .expect("a process")
    }

    async fn world(&self) -> World {
        let mut settings = kafka(&self.bootstrap);
        settings.topic_prefix = self.topic_prefix.clone();
        settings.group_prefix = self.group_prefix.clone();
        settings.session_timeout_ms = self.session_timeout_ms;
        settings.heartbeat_interval_ms = self.heartbeat_interval_ms;
        if self.is_newer_protocol {
            settings.group_protocol = GroupProtocol::Consumer;
        }
        World::open(&self.url, settings).await
    }
}

/// Lets a member leave in order.
pub async fn leave(mut member: Child) {
    drop(member.stdin.take());
    let ended = tokio::time::timeout(DEADLINE, member.wait()).await;
    let status = ended.expect("the member leaves").expect("its end");
    assert!(status.success(), "{status}");
}

/// The other process. Without its variable it has nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the tests of groups, as a process of its own"]
async fn member_process() {
    let Ok(join) = std::env::var(JOIN) else {
        return;
    };
    let join: Join = serde_json::from_str(&join).expect("what to join");
    let world = join.world().await;
    let mischief: HashMap<_, _> = join
        .aborts_at
        .map(|id| (id, Mischief::Aborts))
        .into_iter()
        .collect();
    let auditor = Auditor {
        member: join.name.clone(),
        mischief: mischief.into(),
        takes: Duration::from_millis(join.takes_ms),
        ..Auditor::default()
    };
    let process = world.run(&join.name, auditor.shared());
    let input = tokio::task::spawn_blocking(|| std::io::stdin().lines().for_each(drop));
    input.await.expect("its input");
    process.end().await;
}
