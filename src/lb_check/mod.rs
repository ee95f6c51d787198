//! The proof from outside that a load balancer does its work: ten phases, a file each, over one client that makes and
//! drops connections as the phases say. Knows nothing of the product but the routes that it asks: `/whoami`,
//! `/lb-check/echo`, `/lb-check/upload`, `/api/v1/session` and the gateway's WebSocket.
//!
//! Without [`Plan::faults`] nothing is disturbed: requests are paced ([`Plan::rate_max`]) and `Retry-After` is kept.

mod client;
pub mod compose;
mod context;
mod faults;
mod judgement;
mod load;
mod phases;
pub mod plan;
pub mod report;
pub mod statistics;
pub mod target;
mod tls;

use tokio::time::{Instant, timeout};

use plan::Faults;
pub use plan::Plan;
pub use report::{Finding, Outcome, Report, Verdict};

use crate::kit::clock::SharedClock;
use crate::kit::lifecycle::Lifecycle;
use client::Client;
use context::Context;
use judgement::Judgement;
use phases::Phase;
use report::{SCHEMA, outcome};

/// Why nothing was checked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing answers at the address.
    #[error("{url} cannot be reached: {reason}")]
    Unreachable {
        /// The address.
        url: String,
        /// Why.
        reason: String,
    },
    /// There is no phase of this name.
    #[error("there is no phase {0:?}; there are: {names}", names = phase_names().join(", "))]
    UnknownPhase(String),
    /// The containers that are to be harmed cannot be.
    #[error("{0}")]
    Compose(String),
    /// TLS cannot be spoken from here.
    #[error(transparent)]
    Tls(#[from] tls::Error),
}

/// The names of the phases, in their order.
pub fn phase_names() -> Vec<&'static str> {
    Phase::ALL.iter().map(|phase| phase.name()).collect()
}

/// Runs the phases of `plan`; `tell` is told of each as it ends.
///
/// # Errors
/// Where nothing could be checked at all.
pub async fn run(
    plan: &Plan,
    clock: SharedClock,
    lifecycle: &Lifecycle,
    mut tell: impl FnMut(&Finding),
) -> Result<Report, Error> {
    let phases = chosen(plan)?;
    if let Some(Faults::Compose(service)) = &plan.faults {
        service.copies().await.map_err(Error::Compose)?;
    }
    let client = Client::new(
        plan.url.clone(),
        plan.ca_file.as_deref(),
        plan.token.clone(),
        plan.proxy_timeout + context::GRACE,
        lifecycle.clone(),
    )?;
    reachable(plan).await?;
    let (start, started_at) = (Instant::now(), clock.now());
    let context = Context::new(plan, client, clock, lifecycle.clone());
    let mut found = Vec::new();
    for phase in phases {
        let finding = run_phase(phase, &context).await;
        tell(&finding);
        found.push(finding);
    }
    let (server, instances) = context.into_seen();
    Ok(Report {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        url: plan.url.to_string(),
        server,
        started_at,
        took_s: start.elapsed().as_secs_f64(),
        outcome: outcome(&found),
        phases: found,
        instances,
    })
}

fn chosen(plan: &Plan) -> Result<Vec<Phase>, Error> {
    let names = phase_names();
    if let Some(unknown) = plan
        .only
        .iter()
        .find(|name| !names.contains(&name.as_str()))
    {
        return Err(Error::UnknownPhase(unknown.clone()));
    }
    // The others need to know the instances.
    let wanted = |phase: &Phase| {
        plan.only.is_empty()
            || *phase == Phase::Discover
            || plan.only.iter().any(|name| name == phase.name())
    };
    Ok(Phase::ALL.into_iter().filter(wanted).collect())
}

/// A certificate that is not trusted is a finding; an address at which nobody listens is none.
async fn reachable(plan: &Plan) -> Result<(), Error> {
    let unreachable = |reason: String| Error::Unreachable {
        url: plan.url.to_string(),
        reason,
    };
    let addresses = plan.url.resolve().await;
    let addresses = addresses.map_err(|error| unreachable(error.to_string()))?;
    let connecting = tokio::net::TcpStream::connect(&addresses[..]);
    match timeout(context::GRACE, connecting).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(unreachable(error.to_string())),
        Err(_) => Err(unreachable("nothing answers".to_owned())),
    }
}

async fn run_phase(phase: Phase, context: &Context<'_>) -> Finding {
    let start = Instant::now();
    let most = context.plan.phase_max;
    let judgement = if phase.is_disruptive() && context.plan.faults.is_none() {
        Judgement::skip("disturbs; run with --disruptive")
    } else {
        let ended = timeout(most, phases::run(phase, context)).await;
        ended.unwrap_or_else(|_| {
            let mut late = Judgement::new();
            late.fail(format!("did not end within {} s", most.as_secs()));
            late
        })
    };
    judgement.finish(phase.name(), &phase.expected(context.plan), start.elapsed())
}
