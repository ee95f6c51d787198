//! `spheroctl lb-check`: proves from outside that a load balancer does its work; exit status 0 passed, 1 failed, 3 nothing
//! proven, 69 nobody there.

mod args;

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use secrecy::SecretString;

use super::exit::{Code, WithCode};
use super::output;
use crate::kit::clock::SystemClock;
use crate::kit::lifecycle::Lifecycle;
use crate::lb_check::plan::Faults;
use crate::lb_check::target::Target;
use crate::lb_check::{self, Error, Outcome, Plan};

pub use args::LbCheckArgs;

/// Where the token is found when no file is named.
const TOKEN_VARIABLE: &str = "SPHEROCTL_LB_CHECK_TOKEN";
/// Longest token file in bytes.
const TOKEN_BYTES_MAX: u64 = 1_024;
/// Exit status of a check that proves nothing.
const INCONCLUSIVE: u8 = 3;
/// Exit status of a command line that cannot be meant.
const USAGE: u8 = 2;
/// Size of the upload of `--full`.
const FULL_UPLOAD_BYTES: u64 = 1 << 31;
/// Addresses of this machine that are asked from where the target is this machine: each in a network of its own.
const LOOPBACK_SOURCES: u8 = 8;
/// How long connections may take to close at the end.
const CLOSING_MAX: Duration = Duration::from_secs(1);

/// Runs the command.
///
/// # Errors
/// When nobody answers at the address, or a file that was named cannot be used.
pub async fn run(args: LbCheckArgs) -> anyhow::Result<ExitCode> {
    let plan = plan(&args)?;
    let lifecycle = Lifecycle::new();
    let tell = |finding: &lb_check::Finding| {
        if !args.json {
            // A reader that went away is told of by the last line.
            let _ = output::line(&finding.line());
        }
    };
    let checked = lb_check::run(&plan, SystemClock::shared(), &lifecycle, tell).await;
    lifecycle.finish(CLOSING_MAX).await;
    let report = match checked {
        Ok(report) => report,
        Err(error @ (Error::Unreachable { .. } | Error::Compose(_))) => {
            return Err(error).or_exit(Code::Unavailable);
        }
        Err(error @ Error::Tls(_)) => return Err(error).or_exit(Code::Config),
        Err(error @ Error::UnknownPhase(_)) => {
            tracing::error!("{error}");
            return Ok(USAGE.into());
        }
    };
    if let Some(file) = &args.junit {
        fs::write(file, report.junit()).or_exit(Code::CantCreate)?;
    }
    if args.json {
        output::json(&report)?;
    } else {
        output::line(&report.table())?;
    }
    Ok(match report.outcome {
        Outcome::Pass => ExitCode::SUCCESS,
        Outcome::Fail => ExitCode::FAILURE,
        Outcome::Inconclusive => INCONCLUSIVE.into(),
    })
}

fn plan(args: &LbCheckArgs) -> anyhow::Result<Plan> {
    let upload_bytes = if args.full {
        FULL_UPLOAD_BYTES
    } else {
        args.upload_mib << 20
    };
    // Two gibibytes take their own time.
    let upload_time = if args.full {
        Duration::ZERO
    } else {
        Duration::from_millis(args.upload_ms)
    };
    Ok(Plan {
        direct: args.direct.clone(),
        ws_url: args.ws_url.clone(),
        token: token(args.token_file.as_deref()).or_exit(Code::NoInput)?,
        ca_file: args.ca_file.clone(),
        expect_instances: args.expect_instances,
        policy: args.policy.clone(),
        requests: args.requests,
        concurrency: args.concurrency,
        tolerance: args.tolerance,
        rate_max: args.max_rate,
        rate_limit: args.rate_limit,
        refill: Duration::from_secs(args.refill_s),
        upload_bytes,
        upload_time,
        ws_sockets: args.ws_sockets,
        ws_idle: Duration::from_secs(args.ws_idle_s),
        sources: sources(&args.url, &args.source),
        faults: faults(args),
        drain_requests: args.drain_requests,
        in_flight: Duration::from_millis(args.in_flight_ms),
        proxy_timeout: Duration::from_secs(args.proxy_timeout_s),
        phase_max: Duration::from_secs(args.timeout_s),
        only: args.only.clone(),
        url: args.url.clone(),
    })
}

/// The token of the file, or of the environment; none where there is neither.
fn token(file: Option<&Path>) -> io::Result<Option<SecretString>> {
    let text = match file {
        Some(file) => {
            let named = |reason: String| io::Error::other(format!("{}: {reason}", file.display()));
            let length = fs::metadata(file)
                .map_err(|error| named(error.to_string()))?
                .len();
            if length > TOKEN_BYTES_MAX {
                return Err(named("too long for a token".to_owned()));
            }
            fs::read_to_string(file).map_err(|error| named(error.to_string()))?
        }
        None => std::env::var(TOKEN_VARIABLE).unwrap_or_default(),
    };
    let text = text.trim();
    Ok((!text.is_empty()).then(|| SecretString::from(text)))
}

fn sources(url: &Target, named: &[IpAddr]) -> Vec<IpAddr> {
    if !named.is_empty() || !url.is_loopback() || url.host.contains(':') {
        return named.to_vec();
    }
    let addresses = (0..LOOPBACK_SOURCES).map(|network| Ipv4Addr::new(127, 0, network, 1));
    addresses.map(IpAddr::V4).collect()
}

fn faults(args: &LbCheckArgs) -> Option<Faults> {
    if !args.disruptive {
        return None;
    }
    if let Some(service) = &args.compose {
        return Some(Faults::Compose(service.clone()));
    }
    args.fault_cmd.clone().map(|fault| Faults::Commands {
        fault,
        restore: args.restore_cmd.clone(),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_token_is_read_from_its_file() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"sph_secret\n").unwrap();
        let read = token(Some(file.path())).unwrap().unwrap();
        assert_eq!(read.expose_secret(), "sph_secret");
        file.write_all(&[b'x'; 2_000]).unwrap();
        assert!(token(Some(file.path())).is_err());
        let missing = token(Some(Path::new("/nowhere/token"))).unwrap_err();
        assert!(missing.to_string().contains("/nowhere/token"));
    }

    #[test]
    fn this_machine_is_asked_from_several_networks() {
        let loopback: Target = "http://127.0.0.1:8000".parse().unwrap();
        assert_eq!(sources(&loopback, &[]).len(), 8);
        let named = ["192.0.2.1".parse().unwrap()];
        assert_eq!(sources(&loopback, &named), named);
        assert!(sources(&"https://lab.example".parse().unwrap(), &[]).is_empty());
    }
}
