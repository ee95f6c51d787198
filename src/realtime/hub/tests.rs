use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use super::super::protocol::Codec;
use super::*;
use crate::domain::push::{Push, Told};
use crate::kit::clock::SystemClock;
use crate::kit::id::{EventId, JobId};
use crate::kit::lifecycle::Lifecycle;
use crate::state::fanout::RECEIVER_MESSAGES_MAX;
use crate::state::memory::Memory;

const PATIENCE: Duration = Duration::from_secs(10);

struct Stage {
    state: SharedState,
    push: Push,
    hub: Hub,
    channel: Channel,
    lifecycle: Lifecycle,
}

struct Client {
    name: Arc<str>,
    outbox: Arc<Outbox>,
    notices: Vec<Notice>,
}

impl Stage {
    /// A hub that does not run yet.
    fn new() -> Self {
        let state: SharedState = Arc::new(Memory::new(SystemClock::shared()));
        Self {
            push: Push::new(Arc::clone(&state)),
            hub: Hub::new(Arc::clone(&state)),
            channel: Channel::Job(JobId::new(&SystemClock)),
            lifecycle: Lifecycle::new(),
            state,
        }
    }

    fn run(&self) {
        let drain = self.lifecycle.drain_token();
        self.lifecycle.spawn("hub", self.hub.clone().run(drain));
    }

    async fn join(&self, name: &str) -> Client {
        let client = Client {
            name: name.into(),
            outbox: Arc::new(Outbox::new(Codec::Json, 1 << 20)),
            notices: Vec::new(),
        };
        let joined = self
            .hub
            .join(self.channel, &client.name, &client.outbox, false);
        joined.await.unwrap();
        client
    }

    async fn live(&self, name: &str) -> Client {
        let client = self.join(name).await;
        self.answer(&client).await;
        client
    }

    async fn answer(&self, client: &Client) {
        let recalled = self.state.recall(&self.channel.key(), u64::MAX).await;
        let position = recalled.unwrap().position;
        self.hub.answered(self.channel, &client.name, &position);
    }

    async fn say(&self, number: usize) {
        let event = EventId::new(&SystemClock);
        assert!(self.push.event(self.channel, event, &number).await.unwrap());
    }

    fn heard(&self) -> bool {
        let places = self.hub.places.lock();
        places.rooms.contains_key(&self.channel.to_string())
    }
}

impl Client {
    /// What is waiting once there are so many frames.
    async fn frames(&mut self, count: usize) -> Vec<String> {
        let mut frames = VecDeque::new();
        while frames.len() < count {
            let taken = std::future::poll_fn(|cx| self.outbox.poll_take(cx, &mut frames));
            let taken = tokio::time::timeout(PATIENCE, taken).await;
            let taken = taken.unwrap_or_else(|_| panic!("{} of {count} frames", frames.len()));
            assert!(!taken.overflowed);
            self.notices.extend(taken.notices);
        }
        frames
            .iter()
            .map(|frame| String::from_utf8_lossy(frame).into_owned())
            .collect()
    }

    fn is_told_nothing(&self) -> bool {
        let mut frames = VecDeque::new();
        let cx = Context::from_waker(Waker::noop());
        matches!(self.outbox.poll_take(&cx, &mut frames), Poll::Pending)
    }
}

fn said(frame: &str) -> usize {
    let (_, data) = frame.split_once(r#""data":"#).expect("a publication");
    let end = data.find(|c: char| !c.is_ascii_digit()).unwrap();
    data[..end].parse().unwrap()
}

#[tokio::test]
async fn one_written_frame_is_shared_by_everybody() {
    let stage = Stage::new();
    let (one, two) = (stage.live("one").await, stage.live("two").await);
    stage.run();
    stage.say(7).await;
    let mut frames = [VecDeque::new(), VecDeque::new()];
    for (client, frames) in [&one, &two].into_iter().zip(&mut frames) {
        std::future::poll_fn(|cx| client.outbox.poll_take(cx, frames)).await;
    }
    assert_eq!(frames[0][0].as_ptr(), frames[1][0].as_ptr());
}

#[tokio::test]
async fn nothing_comes_before_the_answer_and_nothing_twice() {
    let stage = Stage::new();
    stage.run();
    let mut witness = stage.live("witness").await;
    let mut client = stage.join("client").await;
    stage.say(1).await;
    witness.frames(1).await;
    assert!(client.is_told_nothing());
    // The memory is read after the hub listens: it holds the first, which waits too.
    let read = stage.state.recall(&stage.channel.key(), 0).await.unwrap();
    assert_eq!(read.position.offset, 1);
    stage.say(2).await;
    witness.frames(1).await;
    stage
        .hub
        .answered(stage.channel, &client.name, &read.position);
    let frames = client.frames(1).await;
    assert_eq!(
        frames.iter().map(|frame| said(frame)).collect::<Vec<_>>(),
        [2]
    );
    assert!(client.is_told_nothing());
}

#[tokio::test]
async fn a_channel_is_given_up_with_its_last_subscriber() {
    let stage = Stage::new();
    let (one, two) = (stage.live("one").await, stage.live("two").await);
    stage.hub.leave(stage.channel, &one.name);
    assert!(stage.heard());
    stage.hub.leave(stage.channel, &two.name);
    stage.hub.leave(stage.channel, &two.name);
    assert!(!stage.heard());
    stage.run();
    stage.say(1).await;
    let mut again = stage.live("again").await;
    stage.say(2).await;
    assert_eq!(said(&again.frames(1).await[0]), 2);
    assert!(two.is_told_nothing());
}

#[tokio::test]
async fn what_was_missed_on_the_way_is_repaired_from_the_channels_memory() {
    let stage = Stage::new();
    let mut client = stage.live("client").await;
    let kept = stage.channel.keep().messages_max;
    // More than waits for a receiver that nobody empties: the first publications are lost on their way.
    for number in 0..3 {
        stage.say(number).await;
    }
    let passing = Told::by_the_product(&"passing").unwrap();
    for _ in 0..RECEIVER_MESSAGES_MAX {
        stage.push.tell(stage.channel, &passing).await.unwrap();
    }
    for number in 3..kept {
        stage.say(number).await;
    }
    stage.run();
    let mut numbers = Vec::new();
    while numbers.len() < kept {
        let frames = client.frames(1).await;
        numbers.extend(
            frames
                .iter()
                .filter(|frame| frame.contains("offset"))
                .map(|frame| said(frame)),
        );
    }
    assert_eq!(numbers, (0..kept).collect::<Vec<_>>());
    assert!(client.notices.is_empty());
}

#[tokio::test]
async fn who_missed_what_no_memory_holds_is_told_to_subscribe_again() {
    let stage = Stage::new();
    let mut client = stage.live("client").await;
    let kept = stage.channel.keep().messages_max;
    let passing = Told::by_the_product(&"passing").unwrap();
    stage.say(0).await;
    for _ in 0..RECEIVER_MESSAGES_MAX {
        stage.push.tell(stage.channel, &passing).await.unwrap();
    }
    for number in 0..kept {
        stage.say(number).await;
    }
    stage.run();
    let frames = client.frames(1).await;
    assert!(
        frames[0].contains(r#""unsubscribe":{"code":2500"#),
        "{frames:?}"
    );
    let expected = Notice::Unsubscribed(stage.channel.to_string());
    assert_eq!(client.notices, [expected]);
    assert!(!stage.heard());
}

#[tokio::test]
async fn a_gap_between_two_messages_is_repaired_at_once() {
    let stage = Stage::new();
    let mut client = stage.live("client").await;
    let key = stage.channel.key();
    // The channel's memory knows of one more than was ever sent to the hub.
    stage.hub.receiver.remove(&key);
    stage.say(1).await;
    stage.hub.receiver.add(&key).await.unwrap();
    stage.run();
    stage.say(2).await;
    let frames = client.frames(2).await;
    assert_eq!(
        frames.iter().map(|frame| said(frame)).collect::<Vec<_>>(),
        [1, 2]
    );
}

#[tokio::test(start_paused = true)]
async fn a_loss_that_nothing_follows_is_noticed_by_the_regular_look() {
    let stage = Stage::new();
    let mut client = stage.live("client").await;
    let key = stage.channel.key();
    stage.hub.receiver.remove(&key);
    stage.say(1).await;
    stage.run();
    tokio::time::sleep(POSITIONS_INTERVAL + Duration::from_secs(1)).await;
    assert_eq!(said(&client.frames(1).await[0]), 1);
}

#[tokio::test]
async fn a_person_whose_rights_changed_is_looked_at_on_every_connection() {
    let stage = Stage::new();
    let user = UserId::new(&SystemClock);
    let mut client = stage.live("client").await;
    stage.hub.connect(user, &client.name, &client.outbox);
    stage.run();
    while client.notices.is_empty() {
        stage.push.access_changed(user).await;
        let mut frames = VecDeque::new();
        let taken = std::future::poll_fn(|cx| client.outbox.poll_take(cx, &mut frames));
        if let Ok(taken) = tokio::time::timeout(Duration::from_millis(50), taken).await {
            client.notices.extend(taken.notices);
        }
    }
    assert_eq!(client.notices[0], Notice::AccessChanged);
    stage.hub.disconnect(user, &client.name);
    assert!(stage.hub.places.lock().people.is_empty());
}
