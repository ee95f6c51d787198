//! A balancer as a child of the test: its configuration from `scripts/balancer`, perhaps broken on purpose.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::support::eventually;

/// A balancer that runs; ends with this value.
pub struct Balancer {
    pub url: String,
    child: Child,
    _folder: TempDir,
}

/// Which one.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Nginx,
    HaProxy,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::HaProxy => "haproxy",
        }
    }

    fn path(self) -> PathBuf {
        Path::new("/usr/sbin").join(self.name())
    }
}

/// What the script is told beyond the kind and where to listen.
#[derive(Debug, Clone)]
pub struct Behind {
    pub serve: Vec<SocketAddr>,
    pub realtime: Vec<SocketAddr>,
    pub rates: &'static [&'static str],
}

impl Behind {
    /// The script's answer to these arguments and `more`.
    pub async fn script(
        &self,
        kind: Kind,
        listen: SocketAddr,
        dir: &Path,
        more: &[&str],
    ) -> std::process::Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/balancer");
        let mut command = Command::new(script);
        command.arg(kind.name()).arg("--serve");
        command.args(self.serve.iter().map(ToString::to_string));
        command.arg("--realtime");
        command.args(self.realtime.iter().map(ToString::to_string));
        command
            .arg("--listen")
            .arg(listen.to_string())
            .arg("--dir")
            .arg(dir);
        for rate in self.rates {
            command.args(["--rate", rate]);
        }
        command.args(more).output().await.expect("the script runs")
    }
}

impl Balancer {
    /// Starts one whose configuration is changed: each of `changes` replaces its first text by its second, everywhere.
    pub async fn start(kind: Kind, behind: &Behind, changes: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let listen = free_address();
        let printed = behind
            .script(kind, listen, folder.path(), &["--print"])
            .await;
        assert!(printed.status.success(), "{printed:?}");
        let mut text = String::from_utf8(printed.stdout).expect("text");
        for (from, to) in changes {
            assert!(text.contains(from), "the configuration has no {from:?}");
            text = text.replace(from, to);
        }
        let file = folder.path().join("changed");
        std::fs::write(&file, text).expect("a file");
        let mut command = Command::new(kind.path());
        match kind {
            Kind::Nginx => command
                .args(["-e", "stderr", "-p"])
                .arg(folder.path())
                .arg("-c")
                .arg(&file),
            Kind::HaProxy => command.args(["-db", "-f"]).arg(&file),
        };
        let log = std::fs::File::create(folder.path().join("log")).expect("a file");
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn();
        let child = child.expect("nginx and haproxy are installed (scripts/services up)");
        eventually(
            "the balancer listens",
            Duration::from_secs(10),
            async || TcpStream::connect(listen).await.is_ok(),
        )
        .await;
        Self {
            url: format!("http://{listen}"),
            child,
            _folder: folder,
        }
    }
}

impl Drop for Balancer {
    /// Asks it to end instead of killing it: nginx's workers would outlive their master.
    fn drop(&mut self) {
        let pid = self
            .child
            .id()
            .and_then(|pid| Pid::from_raw(pid.cast_signed()));
        if let Some(pid) = pid {
            // Fails only where it has ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

/// An address of this machine that nobody listens on.
pub fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound port")
}

#[tokio::test]
async fn both_balancers_take_their_configurations() {
    let behind = Behind {
        serve: vec![free_address(), free_address()],
        realtime: vec![free_address()],
        rates: &["api=6000,5", "upload=1,1"],
    };
    for kind in [Kind::Nginx, Kind::HaProxy] {
        for more in [
            &["--check"][..],
            &["--check", "--self-signed", "--status", "127.0.0.1:1"],
        ] {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let checked = behind
                .script(kind, free_address(), folder.path(), more)
                .await;
            assert!(checked.status.success(), "{checked:?}");
        }
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let by_name = ["--dns", "127.0.0.11", "--check"];
    let checked = behind
        .script(Kind::HaProxy, free_address(), folder.path(), &by_name)
        .await;
    assert!(checked.status.success(), "{checked:?}");
}
