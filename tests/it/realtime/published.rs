//! The published client for Python as a child process: `tests/realtime/client.py` in an environment that
//! `scripts/realtime-client` makes.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use super::SOON;

/// A client; gone with this value.
pub struct Published {
    commands: ChildStdin,
    events: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

/// The interpreter that has the client, which is installed by the first test that asks.
fn python() -> &'static str {
    static PYTHON: OnceLock<String> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/realtime-client");
        let output = Command::new(script).stderr(Stdio::inherit()).output();
        let output = output.expect("scripts/realtime-client runs");
        assert!(output.status.success(), "{output:?}");
        let path = String::from_utf8(output.stdout).expect("a path");
        path.trim().to_owned()
    })
}

impl Published {
    /// A client that is not connected yet; `form` is `json` or `protobuf`.
    pub async fn new(form: &str, token: &str) -> Self {
        let python = tokio::task::spawn_blocking(python)
            .await
            .expect("an interpreter");
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/realtime/client.py");
        let mut child = tokio::process::Command::new(python)
            .arg(program)
            .args([form, token])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the client starts");
        let output = child.stdout.take().expect("its output");
        Self {
            commands: child.stdin.take().expect("its input"),
            events: BufReader::new(output).lines(),
            _child: child,
        }
    }

    /// A client that is connected.
    pub async fn connect(form: &str, token: &str, address: &str) -> Self {
        let mut client = Self::new(form, token).await;
        client.tell(json!({ "connect": address })).await;
        client.event("connected").await;
        client
    }

    /// A command.
    pub async fn tell(&mut self, command: Value) {
        let line = format!("{command}\n");
        self.commands
            .write_all(line.as_bytes())
            .await
            .expect("a client that reads");
    }

    /// Waits for an event of this kind; others before it are passed over.
    pub async fn event(&mut self, kind: &str) -> Value {
        loop {
            let event = self.next().await;
            if event["event"] == kind {
                return event;
            }
        }
    }

    /// The next event.
    async fn next(&mut self) -> Value {
        let line = tokio::time::timeout(SOON, self.events.next_line()).await;
        let line = line.expect("an event in time").expect("output");
        serde_json::from_str(&line.expect("a client that runs")).expect("JSON")
    }

    /// Subscribes; the event that tells of it.
    pub async fn subscribe(&mut self, channel: &str) -> Value {
        self.tell(json!({ "subscribe": channel })).await;
        let event = self.event("subscribed").await;
        assert_eq!(event["channel"], channel);
        event
    }
}
