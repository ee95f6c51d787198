//! What is to be checked, and how hard.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;

use super::compose::Service;
use super::target::Target;

/// What is to be checked, and how hard.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The balancer.
    pub url: Target,
    /// An instance behind it, asked directly where the balancer is compared with it.
    pub direct: Option<Target>,
    /// Where WebSockets are; below `url` where left out.
    pub ws_url: Option<Target>,
    /// An API token of any account.
    pub token: Option<SecretString>,
    /// Authorities to trust (PEM), instead of the machine's.
    pub ca_file: Option<PathBuf>,
    /// How many instances there are.
    pub expect_instances: Option<usize>,
    /// How the balancer is meant to choose.
    pub policy: Policy,
    /// Requests of the test of shares.
    pub requests: usize,
    /// Connections at once.
    pub concurrency: usize,
    /// Largest distance of a share from the expected one.
    pub tolerance: f64,
    /// Most requests a second of the phases that disturb nothing.
    pub rate_max: u32,
    /// The balancer's (or the API's) limit for requests that send something.
    pub rate_limit: Option<RateLimit>,
    /// How long the rate of a used-up limit is watched.
    pub refill: Duration,
    /// Size of the upload.
    pub upload_bytes: u64,
    /// Time over which the upload is stretched; nothing for as fast as it goes.
    pub upload_time: Duration,
    /// Sockets whose spread is looked at.
    pub ws_sockets: usize,
    /// A WebSocket's silence that must not end it.
    pub ws_idle: Duration,
    /// Addresses of this machine to ask from, for limits and stickiness by address.
    pub sources: Vec<IpAddr>,
    /// How instances are harmed and mended; none where nothing may be disturbed.
    pub faults: Option<Faults>,
    /// Requests that the drain of all instances must see without a failure.
    pub drain_requests: u64,
    /// Duration of the request that an instance must finish while it drains.
    pub in_flight: Duration,
    /// The balancer's longest wait for an answer.
    pub proxy_timeout: Duration,
    /// Longest time of one phase.
    pub phase_max: Duration,
    /// Only these phases, by name; all where empty.
    pub only: Vec<String>,
}

/// How a balancer chooses an instance.
#[derive(Debug, Clone, PartialEq)]
pub enum Policy {
    /// In turn.
    RoundRobin,
    /// The one with the fewest requests.
    LeastConn,
    /// By lot.
    Random,
    /// By the client: shares say nothing.
    Hash,
    /// By fixed weights; instances are known by the beginning of their names.
    Weighted(Vec<(String, f64)>),
}

/// A text that is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is none of round-robin, least-conn, random, hash, weighted=NAME:WEIGHT,…")]
pub struct NoPolicy(String);

impl FromStr for Policy {
    type Err = NoPolicy;

    fn from_str(text: &str) -> Result<Self, NoPolicy> {
        let no = || NoPolicy(text.to_owned());
        match text {
            "round-robin" => Ok(Self::RoundRobin),
            "least-conn" => Ok(Self::LeastConn),
            "random" => Ok(Self::Random),
            "hash" => Ok(Self::Hash),
            _ => {
                let list = text.strip_prefix("weighted=").ok_or_else(no)?;
                let weight = |part: &str| {
                    let (name, weight) = part.rsplit_once(':')?;
                    let weight = weight
                        .parse()
                        .ok()
                        .filter(|weight: &f64| *weight > 0.0 && weight.is_finite());
                    Some((name.to_owned(), weight?))
                };
                let weights: Option<Vec<_>> = list.split(',').map(weight).collect();
                weights.map(Self::Weighted).ok_or_else(no)
            }
        }
    }
}

/// A limit: so many requests a minute, and a burst beyond the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests a minute.
    pub per_minute: u32,
    /// Requests at once beyond the first.
    pub burst: u32,
}

impl RateLimit {
    /// The time after which one more request is let through.
    pub fn interval(self) -> Duration {
        Duration::from_secs(60) / self.per_minute
    }
}

/// A text that is no limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not of the form 100/m,burst=20")]
pub struct NoRateLimit(String);

impl FromStr for RateLimit {
    type Err = NoRateLimit;

    fn from_str(text: &str) -> Result<Self, NoRateLimit> {
        let read = || {
            let (rate, burst) = text.split_once(",burst=")?;
            let (count, unit) = rate.split_once('/')?;
            let count: u32 = count.parse().ok()?;
            let per_minute = match unit {
                "m" => count,
                "s" => count.checked_mul(60)?,
                _ => return None,
            };
            Some(Self {
                per_minute: Some(per_minute).filter(|count| *count > 0)?,
                burst: burst.parse().ok()?,
            })
        };
        read().ok_or_else(|| NoRateLimit(text.to_owned()))
    }
}

/// How an instance is harmed and mended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Faults {
    /// By commands. `{signal}` (KILL, STOP, TERM), `{pid}`, `{instance}` (name and boot) and `{name}` are replaced in both.
    Commands {
        /// Harms.
        fault: String,
        /// Mends: continues what was stopped, starts what has ended.
        restore: Option<String>,
    },
    /// As containers of this service.
    Compose(Service),
}

impl Plan {
    /// The faults, where they can do more than kill.
    pub fn faults_with_signals(&self) -> Option<&Faults> {
        self.faults.as_ref().filter(|faults| match faults {
            Faults::Commands { fault, .. } => fault.contains("{signal}"),
            Faults::Compose(_) => true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read() {
        let weighted: Policy = "weighted=a:3,b:1".parse().unwrap();
        assert_eq!(
            weighted,
            Policy::Weighted(vec![("a".into(), 3.0), ("b".into(), 1.0)])
        );
        assert_eq!("hash".parse(), Ok(Policy::Hash));
        for bad in [
            "",
            "weighted=",
            "weighted=a",
            "weighted=a:0",
            "weighted=a:NaN",
            "sticky",
        ] {
            assert!(bad.parse::<Policy>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn limits_are_read() {
        let limit: RateLimit = "100/m,burst=20".parse().unwrap();
        assert_eq!((limit.per_minute, limit.burst), (100, 20));
        assert_eq!(limit.interval(), Duration::from_millis(600));
        assert_eq!("5/s,burst=0".parse::<RateLimit>().unwrap().per_minute, 300);
        for bad in [
            "",
            "100",
            "0/m,burst=1",
            "1/h,burst=1",
            "100/m,burst=x",
            "100/m",
        ] {
            assert!(bad.parse::<RateLimit>().is_err(), "{bad:?}");
        }
    }
}
