//! The built executable as a process of its own: started with settings by its environment, watched by its log and its
//! operator listener, and sent signals. Only what was started here is ever signalled.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::process::{Child, Command};

use super::eventually;
use super::product::files_below;

/// How long a process may take to be ready, on a machine that does other things too.
const READY: Duration = Duration::from_secs(30);

/// A process that runs; killed with this value.
pub struct Process {
    child: Child,
    log: PathBuf,
    ops: String,
    client: reqwest::Client,
}

/// This test program again, for its one ignored test `name`; killed with the value.
pub fn this_test(name: &str) -> Command {
    let program = std::env::current_exe().expect("the path of this program");
    let mut command = Command::new(program);
    command
        .args(["--exact", name, "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// The executable with a command line and settings, and nothing else of this process's environment.
pub fn command(arguments: &[&str], settings: &[(String, String)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spheroctl"));
    command.args(arguments).env_clear().kill_on_drop(true);
    for (key, value) in settings {
        let name = key.to_ascii_uppercase().replace('.', "__");
        command.env(format!("SPHEROCTL__{name}"), value);
    }
    command
}

/// The same with a small disk of its own at `dir`: in a mount namespace, which a user who is not root gets in a user
/// namespace (util-linux).
pub fn on_a_disk_of(
    size: &str,
    dir: &str,
    arguments: &[&str],
    settings: &[(String, String)],
) -> Command {
    const MOUNT: &str = "mount -t tmpfs -o size=$0 tmpfs \"$1\" && shift && exec \"$@\"";
    const ENTER: &str = "if unshare --mount true 2>/dev/null; then exec unshare --mount \"$@\"
                         else exec unshare --map-root-user --mount \"$@\"; fi";
    let inner = command(arguments, settings);
    let inner = inner.as_std();
    let mut outer = Command::new("sh");
    outer
        .args(["-c", ENTER, "sh", "sh", "-c", MOUNT, size, dir])
        .arg(inner.get_program())
        .args(inner.get_args())
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .envs(
            inner
                .get_envs()
                .filter_map(|(key, value)| Some((key, value?))),
        )
        .kill_on_drop(true);
    outer
}

impl Process {
    /// Starts a role that writes JSON lines, into `log`, and waits until it is ready.
    pub async fn start(mut command: Command, log: &Path) -> Self {
        let file = File::create(log).expect("a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a log file"))
            .stderr(file)
            .spawn()
            .expect("the executable starts");
        let mut process = Self {
            child,
            log: log.to_owned(),
            ops: String::new(),
            client: reqwest::Client::builder()
                .no_proxy()
                .build()
                .expect("a client"),
        };
        process.ops = process.listener("ops.http").await;
        eventually("the role is ready", READY, async || {
            process.probe("/readyz").await == Some(200)
        })
        .await;
        process
    }

    /// `http://host:port` of the public listener.
    pub async fn public(&self) -> String {
        self.listener("public.http").await
    }

    /// The address that the log tells of a listener.
    async fn listener(&self, name: &str) -> String {
        let find = || {
            self.lines()
                .into_iter()
                .find(|line| line["listener"] == name)
        };
        eventually(&format!("{name} listens"), READY, async || find().is_some()).await;
        let line = find().expect("seen above");
        format!("http://{}", line["address"].as_str().expect("an address"))
    }

    /// The listeners that the log tells of, in the order in which they opened.
    pub fn listeners(&self) -> Vec<String> {
        let lines = self.lines().into_iter();
        lines
            .filter_map(|line| Some(line["listener"].as_str()?.to_owned()))
            .collect()
    }

    /// The log's lines.
    pub fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.log).expect("the log");
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Waits for a line with these words.
    pub async fn says(&self, words: &str) {
        eventually(&format!("the log says {words:?}"), READY, async || {
            self.lines()
                .iter()
                .any(|line| line["msg"].as_str().is_some_and(|msg| msg.contains(words)))
        })
        .await;
    }

    /// The status of a probe of the operator listener; none where it does not answer.
    pub async fn probe(&self, path: &str) -> Option<u16> {
        let answer = self.client.get(format!("{}{path}", self.ops)).send().await;
        Some(answer.ok()?.status().as_u16())
    }

    /// The sum of all series of a metric; 0 where there is none yet.
    pub async fn metric(&self, name: &str) -> f64 {
        let url = format!("{}/metrics", self.ops);
        let answer = self.client.get(url).send().await.expect("metrics");
        let text = answer.text().await.expect("metrics");
        let of_name = |line: &&str| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with([' ', '{']))
        };
        text.lines()
            .filter(of_name)
            .map(|line| {
                let value = line.rsplit(' ').next().expect("a value");
                value.parse::<f64>().expect("a number")
            })
            .sum()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id().expect("the process runs")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.id().cast_signed()).expect("a process id");
        kill_process(pid, signal).expect("the process is ours");
    }

    /// Kills it without a word.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("the process is ours");
    }

    /// Its exit code, which it must have within `deadline`.
    pub async fn exit_code(&mut self, deadline: Duration) -> Option<i32> {
        let ended = tokio::time::timeout(deadline, self.child.wait()).await;
        let status = ended.unwrap_or_else(|_| panic!("still there after {deadline:?}"));
        status.expect("a status").code()
    }

    /// The most memory that it ever had, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.id());
        let status = std::fs::read_to_string(path).expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.expect("VmHWM").trim().trim_end_matches(" kB");
        kib.parse::<u64>().expect("a number") * 1_024
    }

    /// How many file descriptors it has.
    pub fn open_files(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.id());
        std::fs::read_dir(folder).expect("the process runs").count()
    }

    /// What it sees in a folder and below.
    pub fn files_below(&self, folder: &str) -> Vec<String> {
        files_below(Path::new(&format!("/proc/{}/root{folder}", self.id())))
    }

    /// How many of its threads have a name that begins so.
    pub fn threads(&self, name: &str) -> usize {
        let folder = format!("/proc/{}/task", self.id());
        let tasks = std::fs::read_dir(folder).expect("the process runs");
        tasks
            .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
            .filter(|comm| comm.starts_with(name))
            .count()
    }
}

impl Drop for Process {
    /// A failed test shows what its processes said.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            eprintln!("=== {}\n{}", self.log.display(), tail.join("\n"));
        }
    }
}
