//! The phases in their order. Each is a function from the context to a judgement.

mod all_down;
mod discover;
mod drain;
mod eject;
mod hang;
mod headers;
mod rate_limit;
mod spread;
mod upload;
mod websocket;

use super::context::Context;
use super::judgement::Judgement;
use super::plan::Plan;

/// A phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Discover,
    Spread,
    Headers,
    WebSocket,
    RateLimit,
    Upload,
    Eject,
    Hang,
    Drain,
    AllDown,
}

impl Phase {
    pub(super) const ALL: [Self; 10] = [
        Self::Discover,
        Self::Spread,
        Self::Headers,
        Self::WebSocket,
        Self::RateLimit,
        Self::Upload,
        Self::Eject,
        Self::Hang,
        Self::Drain,
        Self::AllDown,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Discover => "discover",
            Self::Spread => "spread",
            Self::Headers => "headers",
            Self::WebSocket => "websocket",
            Self::RateLimit => "rate-limit",
            Self::Upload => "upload",
            Self::Eject => "eject",
            Self::Hang => "hang",
            Self::Drain => "drain",
            Self::AllDown => "all-down",
        }
    }

    pub(super) const fn is_disruptive(self) -> bool {
        matches!(self, Self::Eject | Self::Hang | Self::Drain | Self::AllDown)
    }

    pub(super) fn expected(self, plan: &Plan) -> String {
        match self {
            Self::Discover => {
                let count = plan.expect_instances.map(|n| format!("{n} instances, "));
                format!(
                    "{}one version, clocks within 2 s, certificate over 14 d",
                    count.unwrap_or_default()
                )
            }
            Self::Spread => format!(
                "every instance, shares within {:.0} %",
                100.0 * plan.tolerance
            ),
            Self::Headers => {
                "X-Forwarded-* overwritten, ambiguous requests refused, long headers refused".into()
            }
            Self::WebSocket => format!(
                "101, publish and receive, idle {} s, foreign origin 403, sockets spread",
                plan.ws_idle.as_secs()
            ),
            Self::RateLimit => match plan.rate_limit {
                Some(limit) => format!(
                    "{} at once, then {} a minute, the rest 429 at once",
                    limit.burst + 1,
                    limit.per_minute
                ),
                None => "the limit named by --rate-limit".into(),
            },
            Self::Upload => "first byte within 20 % of the upload, 413 before the body".into(),
            Self::Eject => {
                "no GET fails, a POST only in flight, gone within 5 s, back within 15 s".into()
            }
            Self::Hang => format!(
                "no answer later than {} s",
                (plan.proxy_timeout.as_secs()) + 1
            ),
            Self::Drain => format!(
                "no request of {} fails, {} s in flight end well",
                plan.drain_requests,
                plan.in_flight.as_secs()
            ),
            Self::AllDown => "503 with Retry-After, back within 10 s".into(),
        }
    }
}

pub(super) async fn run(phase: Phase, context: &Context<'_>) -> Judgement {
    match phase {
        Phase::Discover => discover::run(context).await,
        Phase::Spread => spread::run(context).await,
        Phase::Headers => headers::run(context).await,
        Phase::WebSocket => websocket::run(context).await,
        Phase::RateLimit => rate_limit::run(context).await,
        Phase::Upload => upload::run(context).await,
        Phase::Eject => eject::run(context).await,
        Phase::Hang => hang::run(context).await,
        Phase::Drain => drain::run(context).await,
        Phase::AllDown => all_down::run(context).await,
    }
}
