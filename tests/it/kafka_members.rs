//! Members of a Kafka group that die or freeze: each is a process of its own, since librdkafka's threads cannot be
//! killed without one. The process is this test program again, told by the environment what to join.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use spheroctl::events::log::kafka::KafkaLog;
use spheroctl::events::log::{Delivered, Error, Wants};
use spheroctl::settings;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::conformance::event_log::backend::{Backend, kafka, records};
use crate::conformance::event_log::reader::{DEADLINE, Reader, turns};
use crate::support::process::this_test;
use crate::support::{eventually, services};

/// Tells the member process which prefix its topics and group have.
const PREFIX: &str = "SPHEROCTL_TEST_MEMBER_PREFIX";

/// What a member that is killed must not take longer than: its session time-out (2 s), a heartbeat of the others, and
/// as much again for a busy machine.
const TAKEOVER_MAX: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_members_partitions_are_taken_over() {
    let (backend, mut first, mut other) = with_a_process().await;
    other.child.kill().await.expect("a kill");
    let killed_at = tokio::time::Instant::now();
    first.hold(4).await;
    assert!(
        killed_at.elapsed() < TAKEOVER_MAX,
        "{:?}",
        killed_at.elapsed()
    );
    backend.open("b").append(records("t", 20, 40)).await;
    first.read(40).await;
    first.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_members_commit_is_fenced_when_it_thaws() {
    let (backend, mut first, mut other) = with_a_process().await;
    other.signal(Signal::STOP);
    first.hold(4).await;
    other.signal(Signal::CONT);
    other.tell("commit").await;
    assert_eq!(other.says().await, "fenced");
    let lag = backend.open("b").lag("g", &["t"]).await.expect("a lag");
    assert!(lag.is_empty(), "the zombie's position counts: {lag:?}");
    first.close().await;
    other.child.kill().await.expect("a kill");
}

/// Who handles a record takes it apart, which may be when the member has gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_in_hand_is_read_after_its_member_has_left() {
    let backend = Backend::kafka().await;
    backend.topic("t", 1).await;
    let log = backend.open("a");
    log.append(records("t", 2, 2)).await;
    let mut member = log.subscribe("g", &["t"]).await.expect("joining a group");
    while !matches!(member.next().await, Ok(Delivered::Record(_))) {}
    let mut second = None;
    eventually("the second is at hand", DEADLINE, async || {
        member.at_hand(&mut |record| {
            second = Some(record);
            Wants::Nothing
        });
        second.is_some()
    })
    .await;
    let second = second.expect("seen above");
    let reading = async {
        assert_eq!((second.key(), second.offset()), (b"k1".as_slice(), 1));
        assert_eq!(second.read().value, "1");
    };
    let (left, ()) = tokio::join!(member.close(), reading);
    left.expect("leaving a group");
}

/// The other process. Without its variable it has nothing to do.
#[tokio::test]
#[ignore = "started by the tests above, as a process of its own"]
async fn member_process() {
    let Ok(prefix) = std::env::var(PREFIX) else {
        return;
    };
    let log = KafkaLog::new("process", &settings_of(&prefix)).expect("the log opens");
    let mut reader = Reader::join(&log, "g", &["t"]).await;
    reader.hold(2).await;
    println!("\nmember: holds");
    // Nobody asks for deliveries meanwhile: a reader that is busy with a record does not either.
    for order in std::io::stdin().lines() {
        assert_eq!(order.expect("an order"), "commit");
        let partition = reader.held.first().expect("a partition").clone();
        match reader.commit(&partition, 1).await {
            Ok(()) => println!("\nmember: committed"),
            Err(Error::Fenced(_)) => println!("\nmember: fenced"),
            Err(error) => println!("\nmember: {error}"),
        }
    }
}

/// A member here and one in another process, who have two of the four partitions each.
async fn with_a_process() -> (Backend, Reader, Process) {
    let prefix = crate::support::unique_prefix();
    let backend = Backend::kafka_with(settings_of(&prefix));
    backend.topic("t", 4).await;
    let mut first = Reader::join(&*backend.open("here"), "g", &["t"]).await;
    first.hold(4).await;
    let mut other = Process::start(&prefix);
    turns(&mut [&mut first], "the process gets its half", |it| {
        it[0].held.len() == 2
    })
    .await;
    let says = async {
        loop {
            first.poll(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = says => {}
        line = other.says() => assert_eq!(line, "holds"),
    }
    (backend, first, other)
}

fn settings_of(prefix: &str) -> settings::Kafka {
    let mut settings = kafka(&services::kafka_bootstrap());
    settings.topic_prefix = prefix.to_owned();
    settings.group_prefix = prefix.to_owned();
    settings
}

struct Process {
    child: Child,
    orders: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(prefix: &str) -> Self {
        let mut child = this_test("kafka_members::member_process")
            .env(PREFIX, prefix)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let orders = child.stdin.take().expect("its input");
        let output = child.stdout.take().expect("its output");
        Self {
            child,
            orders,
            lines: BufReader::new(output).lines(),
        }
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.id().expect("a living process");
        let id = Pid::from_raw(id.cast_signed()).expect("a process id");
        kill_process(id, signal).expect("a signal");
    }

    async fn tell(&mut self, order: &str) {
        let order = format!("{order}\n");
        self.orders
            .write_all(order.as_bytes())
            .await
            .expect("an order");
    }

    /// The next line that the member itself writes.
    async fn says(&mut self) -> String {
        let next = async {
            loop {
                let line = self
                    .lines
                    .next_line()
                    .await
                    .expect("its output")
                    .expect("a line");
                if let Some(said) = line.strip_prefix("member: ") {
                    return said.to_owned();
                }
            }
        };
        tokio::time::timeout(DEADLINE, next)
            .await
            .expect("the process says something")
    }
}
