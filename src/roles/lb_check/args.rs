//! What `lb-check` is told. The doc comments are the help texts.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::lb_check::compose::Service;
use crate::lb_check::phase_names;
use crate::lb_check::plan::{Policy, RateLimit};
use crate::lb_check::target::Target;

/// Arguments of `lb-check`.
#[derive(Debug, Clone, Args)]
pub struct LbCheckArgs {
    /// The balancer: http://host:port or https://host
    pub url: Target,
    /// How many instances there are
    #[arg(long, value_name = "N")]
    pub expect_instances: Option<usize>,
    /// How it is meant to choose: round-robin, least-conn, random, hash, weighted=NAME:WEIGHT,…
    #[arg(long, default_value = "least-conn")]
    pub policy: Policy,
    /// Requests of the test of shares
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    pub requests: usize,
    /// Connections at once
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub concurrency: usize,
    /// Largest distance of a share from the expected one
    #[arg(long, default_value_t = 0.05, value_parser = share)]
    pub tolerance: f64,
    /// Most requests a second of the phases that disturb nothing
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub max_rate: u32,
    /// File with an API token; else the environment's SPHEROCTL_LB_CHECK_TOKEN
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Authorities to trust (PEM), instead of this machine's
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// An instance itself, whose refusals are compared with the balancer's
    #[arg(long, value_name = "URL")]
    pub direct: Option<Target>,
    /// Where WebSockets are; /connection/websocket of the balancer where it is left out
    #[arg(long, value_name = "URL")]
    pub ws_url: Option<Target>,
    /// Silence that must not end a WebSocket, in seconds; 0 leaves it out
    #[arg(long, value_name = "SECONDS", default_value_t = 70)]
    pub ws_idle_s: u64,
    /// WebSockets whose spread is looked at
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub ws_sockets: usize,
    /// The limit of requests that send something, such as 100/m,burst=20
    #[arg(long, value_name = "LIMIT")]
    pub rate_limit: Option<RateLimit>,
    /// How long the refill of a used-up limit is watched
    #[arg(long, value_name = "SECONDS", default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub refill_s: u64,
    /// An address of this machine to ask from; may be repeated (of this machine itself: 127.0.N.1)
    #[arg(long, value_name = "ADDRESS")]
    pub source: Vec<IpAddr>,
    /// Size of the upload in MiB
    #[arg(long = "upload", value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=2_048))]
    pub upload_mib: u64,
    /// Time over which the upload is stretched, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 2_000)]
    pub upload_ms: u64,
    /// Upload 2 GiB as fast as it goes
    #[arg(long)]
    pub full: bool,
    /// Also harm instances; needs --fault-cmd or --compose
    #[arg(long)]
    pub disruptive: bool,
    /// Harms an instance: {signal} is KILL, STOP or TERM; {pid}, {instance} and {name} say whose
    #[arg(long, value_name = "COMMAND", requires = "disruptive")]
    pub fault_cmd: Option<String>,
    /// Mends it: continues what was stopped, starts what has ended; with the same words
    #[arg(long, value_name = "COMMAND", requires = "fault_cmd")]
    pub restore_cmd: Option<String>,
    /// Harm and mend the containers of this service of Docker Compose
    #[arg(
        long,
        value_name = "PROJECT:SERVICE",
        requires = "disruptive",
        conflicts_with = "fault_cmd"
    )]
    pub compose: Option<Service>,
    /// Requests that the drain of all instances must see without a failure
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub drain_requests: u64,
    /// Duration of the requests that an instance must finish while it drains
    #[arg(long, value_name = "MS", default_value_t = 8_000)]
    pub in_flight_ms: u64,
    /// The balancer's longest wait for an answer
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    pub proxy_timeout_s: u64,
    /// Longest time of one phase
    #[arg(long = "timeout", value_name = "SECONDS", default_value_t = 300)]
    pub timeout_s: u64,
    /// Only this phase (and discover); may be repeated
    #[arg(long, value_name = "PHASE", value_parser = PossibleValuesParser::new(phase_names()))]
    pub only: Vec<String>,
    /// Print the report as JSON (schema spheroctl.lb-check/1)
    #[arg(long)]
    pub json: bool,
    /// Also write the report as JUnit XML
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    if share > 0.0 && share < 1.0 {
        Ok(share)
    } else {
        Err(format!("{text} is not between 0 and 1"))
    }
}
