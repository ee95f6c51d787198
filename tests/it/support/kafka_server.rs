//! A Kafka broker that one test has for itself, to be killed and started again with the data that it had.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::{eventually, services};

/// Longest wait for the broker to come or to go, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(120);

/// A broker; it is killed with this value.
pub struct KafkaServer {
    folder: TempDir,
    address: String,
    command: Vec<OsString>,
    pid: Pid,
    /// Once it was started again, it is this process's child.
    child: Option<Child>,
}

impl KafkaServer {
    /// A broker with empty data, as `scripts/services` starts it.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the broker");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/services");
        let output = Command::new(script)
            .arg("up")
            .env("SPHEROCTL_SERVICES_DIR", folder.path())
            .env("SPHEROCTL_TEST_POSTGRES_URL", services::postgres_url())
            .env("SPHEROCTL_TEST_REDIS_URL", services::redis_url())
            .env_remove("SPHEROCTL_TEST_KAFKA_BOOTSTRAP")
            .stdin(Stdio::null())
            .output()
            .await
            .expect("scripts/services can be run");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "scripts/services up: {said}");
        let note = |name: &str| {
            let path = folder.path().join("kafka").join(name);
            std::fs::read_to_string(path).expect("what scripts/services notes")
        };
        // The boot, the process, and when that started.
        let pid = note("pid").split(' ').nth(1).map(str::parse);
        let pid: i32 = pid.expect("a pid").expect("a number");
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).expect("the broker runs");
        let words = command.split(|byte| *byte == 0);
        let words = words.filter(|word| !word.is_empty());
        Self {
            address: note("url").trim().to_owned(),
            command: words.map(|it| OsString::from_vec(it.to_vec())).collect(),
            pid: Pid::from_raw(pid).expect("a process id"),
            child: None,
            folder,
        }
    }

    /// Where it is, as `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Kills it without a word.
    pub async fn kill(&mut self) {
        kill_process(self.pid, Signal::KILL).expect("the broker is ours");
        if let Some(mut child) = self.child.take() {
            child.wait().await.expect("the broker ends");
        }
        eventually("the broker is gone", PATIENCE, async || {
            TcpStream::connect(&self.address).await.is_err()
        })
        .await;
    }

    /// Starts it again with the data that it had.
    pub async fn start_again(&mut self) {
        let folder = self.folder.path().join("kafka");
        let log = std::fs::File::options()
            .append(true)
            .open(folder.join("log"))
            .expect("the broker's log");
        let child = Command::new(&self.command[0])
            .args(&self.command[1..])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the broker's log"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("the broker starts");
        let id = child.id().expect("it runs").cast_signed();
        self.pid = Pid::from_raw(id).expect("a process id");
        self.child = Some(child);
        eventually("the broker listens", PATIENCE, async || {
            TcpStream::connect(&self.address).await.is_ok()
        })
        .await;
    }
}

impl Drop for KafkaServer {
    fn drop(&mut self) {
        // Safe to ignore: a test may end while the broker is dead.
        let _ = kill_process(self.pid, Signal::KILL);
    }
}
