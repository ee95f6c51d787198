//! A Redis that one test has for itself, to be stopped, killed and started again.

use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use secrecy::SecretString;
use spheroctl::settings;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::eventually;

/// Short, because the tests wait for it to pass.
pub const COMMAND_TIMEOUT: Duration = Duration::from_millis(500);

/// A server of the test's own on a free port; it is killed with this value.
pub struct RedisServer {
    port: u16,
    folder: TempDir,
    extra: &'static [&'static str],
    process: Child,
}

impl RedisServer {
    /// A running server that holds nothing.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// A cluster of one node, which has all slots and refuses commands whose keys lie in several.
    pub async fn start_cluster() -> Self {
        let server = Self::start_with(&[
            "--cluster-enabled",
            "yes",
            "--cluster-announce-ip",
            "127.0.0.1",
        ])
        .await;
        server
            .cli(&["cluster", "addslotsrange", "0", "16383"])
            .await;
        eventually(
            "the cluster is ready",
            Duration::from_secs(10),
            async || {
                server
                    .cli(&["cluster", "info"])
                    .await
                    .contains("cluster_state:ok")
            },
        )
        .await;
        server
    }

    async fn start_with(extra: &'static [&'static str]) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("a bound port").port();
        drop(free);
        let folder = tempfile::tempdir().expect("a folder for the server");
        let process = spawn(port, &folder, extra);
        let server = Self {
            port,
            folder,
            extra,
            process,
        };
        server.accepts().await;
        server
    }

    /// What `redis-cli` prints for this command.
    pub async fn cli(&self, command: &[&str]) -> String {
        let mut cli = Command::new("redis-cli");
        cli.args(["-p", &self.port.to_string()]).args(command);
        let output = cli
            .output()
            .await
            .expect("redis-cli is installed (Debian: apt-get install redis-tools)");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Where it is, as `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The same as settings of a whole product.
    pub fn product_settings(&self) -> [(String, String); 3] {
        [
            ("redis.enabled".into(), "true".into()),
            ("redis.url".into(), format!("redis://{}", self.address())),
            (
                "redis.command_timeout_ms".into(),
                COMMAND_TIMEOUT.as_millis().to_string(),
            ),
        ]
    }

    /// Settings that lead to it.
    pub fn settings(&self) -> settings::Redis {
        redis_settings(&format!("redis://{}", self.address()), "", COMMAND_TIMEOUT)
    }

    /// Stops the process without ending it: connections stay and nothing answers.
    pub fn freeze(&self) {
        let pid = self
            .process
            .id()
            .and_then(|pid| Pid::from_raw(pid.cast_signed()));
        kill_process(pid.expect("the server runs"), Signal::STOP).expect("the server is ours");
    }

    /// Kills the process with all it holds.
    pub async fn kill(&mut self) {
        self.process.kill().await.expect("the server is ours");
    }

    /// Starts it again, empty, at the same place.
    pub async fn start_again(&mut self) {
        self.process = spawn(self.port, &self.folder, self.extra);
        self.accepts().await;
    }

    async fn accepts(&self) {
        let address = self.address();
        eventually(
            "redis-server accepts connections",
            Duration::from_secs(10),
            async || TcpStream::connect(&address).await.is_ok(),
        )
        .await;
    }
}

/// Settings for the Redis at `url`.
pub fn redis_settings(url: &str, prefix: &str, command_timeout: Duration) -> settings::Redis {
    settings::Redis {
        enabled: true,
        url: SecretString::from(url),
        pool_size: 4,
        command_timeout_ms: command_timeout
            .as_millis()
            .try_into()
            .expect("a few seconds"),
        prefix: prefix.to_owned(),
    }
}

fn spawn(port: u16, folder: &TempDir, extra: &[&str]) -> Child {
    Command::new("redis-server")
        .args([
            "--port",
            &port.to_string(),
            "--save",
            "",
            "--appendonly",
            "no",
        ])
        .args(["--bind", "127.0.0.1", "--dir"])
        .arg(folder.path())
        .args(extra)
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("redis-server is installed (Debian: apt-get install redis-server)")
}
