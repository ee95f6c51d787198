//! Three instances of `serve` on one SQLite and one Redis, two gateways, a token, and `lb-check` as a process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use spheroctl::kit::lifecycle::Lifecycle;

use super::balancer::{Behind, free_address};
use super::gateway;
use crate::support::process::{self, Process};
use crate::support::product::Product;
use crate::support::services::redis_url;
use crate::support::unique_prefix;

/// 21 at once, then one each 100 ms: quick to use up and to forget. Uploads are not to be limited here.
const RATES: &[&str] = &["api=600,20", "upload=60000,100", "websocket=60000,100"];

const OPEN: &[&str] = &[
    "api=600000,10000",
    "upload=600000,10000",
    "websocket=600000,10000",
];

/// The instances. They end with this value.
pub struct Fleet {
    pub product: Product,
    pub instances: Vec<Instance>,
    gateways: Vec<SocketAddr>,
    more: Vec<(String, String)>,
    token: String,
    lifecycle: Lifecycle,
}

/// One instance at its own port, where it can be started again.
pub struct Instance {
    pub name: String,
    pub address: SocketAddr,
    pub process: Process,
}

impl Fleet {
    /// Starts all, with `more` settings for each.
    pub async fn start(more: &[(&str, &str)]) -> Self {
        let (url, prefix) = (redis_url(), unique_prefix());
        let product = Product::embedded(&[
            ("redis.enabled", "true"),
            ("redis.url", &url),
            ("redis.prefix", &prefix),
            ("http.trusted_proxies", "127.0.0.0/8"),
        ]);
        for command in [&["migrate"][..], &["user", "create", "a@lab.example"]] {
            let output = product.run(command).await;
            assert!(output.status.success(), "{output:?}");
        }
        let output = product
            .run(&["token", "create", "a@lab.example", "--name", "test"])
            .await;
        let lifecycle = Lifecycle::new();
        let mut fleet = Self {
            gateways: vec![
                gateway::start("gateway-1-00000000", &lifecycle).await,
                gateway::start("gateway-2-00000000", &lifecycle).await,
            ],
            token: String::from_utf8(output.stdout)
                .expect("a token")
                .trim()
                .to_owned(),
            more: more
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            product,
            instances: Vec::new(),
            lifecycle,
        };
        for number in 1..=3 {
            let (name, address) = (format!("lab-{number}"), free_address());
            let process = fleet.run(&name, address).await;
            fleet.instances.push(Instance {
                name,
                address,
                process,
            });
        }
        fleet
    }

    /// A process of this name at this place.
    pub async fn run(&self, name: &str, address: SocketAddr) -> Process {
        let port = address.port().to_string();
        let mut settings = vec![("instance.id", name), ("http.port", port.as_str())];
        settings.extend(
            self.more
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str())),
        );
        self.product.start("serve", &settings).await
    }

    /// What a balancer is told.
    pub fn behind(&self) -> Behind {
        Behind {
            serve: self
                .instances
                .iter()
                .map(|instance| instance.address)
                .collect(),
            realtime: self.gateways.clone(),
            rates: RATES,
        }
    }

    /// The same for loads that no limit shall meet.
    pub fn behind_open_doors(&self) -> Behind {
        Behind {
            rates: OPEN,
            ..self.behind()
        }
    }

    /// Runs `lb-check` against `url`.
    pub async fn check(&self, url: &str, more: &[&str]) -> Checked {
        let mut arguments = vec!["lb-check", url, "--json", "--expect-instances", "3"];
        arguments.extend([
            "--requests",
            "360",
            "--tolerance",
            "0.1",
            "--max-rate",
            "1000",
        ]);
        arguments.extend(["--rate-limit", "600/m,burst=20", "--refill-s", "2"]);
        arguments.extend([
            "--upload",
            "4",
            "--upload-ms",
            "1000",
            "--ws-idle-s",
            "1",
            "--ws-sockets",
            "12",
        ]);
        arguments.extend(more);
        let mut command = process::command(&arguments, &[]);
        command.env("SPHEROCTL_LB_CHECK_TOKEN", &self.token);
        let output = command.output().await.expect("the executable starts");
        let report = serde_json::from_slice(&output.stdout);
        Checked {
            code: output.status.code(),
            report: report.unwrap_or_else(|error| panic!("{error}: {output:?}")),
        }
    }

    /// Where the commands of a disruption leave their wishes.
    pub fn wishes(&self) -> PathBuf {
        let place = Path::new(self.product.setting("files.dir")).with_file_name("wishes");
        std::fs::create_dir_all(&place).expect("a folder");
        place
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.lifecycle.stop();
    }
}

/// What `lb-check` found.
pub struct Checked {
    pub code: Option<i32>,
    pub report: Value,
}

impl Checked {
    fn phases(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        let phases = self.report["phases"].as_array().expect("phases");
        phases.iter().map(|phase| {
            let text = |name: &str| phase[name].as_str().expect("a text");
            (text("phase"), text("verdict"), text("measured"))
        })
    }

    /// The phases of this verdict.
    pub fn with(&self, verdict: &str) -> Vec<&str> {
        self.phases()
            .filter(|(_, found, _)| *found == verdict)
            .map(|(phase, ..)| phase)
            .collect()
    }

    /// For messages.
    pub fn lines(&self) -> String {
        let lines = self
            .phases()
            .map(|(phase, verdict, measured)| format!("{verdict} {phase} {measured}\n"));
        lines.collect()
    }

    /// What a phase measured.
    pub fn measured(&self, phase: &str) -> String {
        let found = self.phases().find(|(name, ..)| *name == phase);
        found
            .map(|(_, _, measured)| measured.to_owned())
            .unwrap_or_default()
    }
}

/// How long anything of a fleet may take.
pub const PATIENCE: Duration = Duration::from_secs(60);
