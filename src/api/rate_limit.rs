//! How much one asker may ask: a layer around every route but `/whoami`, by class of route. Whoever is known is counted
//! as a user, everybody else by address. The answer says what is left (draft-ietf-httpapi-ratelimit-headers).

use std::net::IpAddr;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::http::{Client, Problem};
use crate::kit::metrics;
use crate::settings;
use crate::state::rate_limit::{Allowance, Rate, RateLimiter};

use super::Api;
use super::auth::Known;

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// The registered problem type of a quota that is used up.
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

/// The limits of the API.
#[derive(Debug, Clone)]
pub struct RateLimits {
    limiter: RateLimiter,
    read: Rate,
    write: Rate,
    sign_in: Rate,
}

impl RateLimits {
    /// What the settings say; none where they are off.
    pub fn from_settings(limiter: RateLimiter, rates: &settings::RateLimit) -> Option<Self> {
        rates.enabled.then(|| Self {
            limiter,
            read: Rate::per_minute(rates.read_per_minute, rates.read_burst),
            write: Rate::per_minute(rates.write_per_minute, rates.write_burst),
            sign_in: Rate::per_minute(rates.sign_in_per_minute, rates.sign_in_burst),
        })
    }

    const fn rate(&self, class: Class) -> Rate {
        match class {
            Class::Read => self.read,
            Class::Write => self.write,
            Class::SignIn => self.sign_in,
        }
    }
}

/// Routes that share a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Changes nothing.
    Read,
    /// Makes, changes or removes something.
    Write,
    /// Tries credentials. Nobody is let through uncounted: the limit is what stands between a guesser and a password.
    SignIn,
}

impl Class {
    const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::SignIn => "sign_in",
        }
    }
}

/// What the layer of one route is given.
#[derive(Debug, Clone)]
pub(super) struct Limit {
    pub(super) api: Api,
    pub(super) limits: RateLimits,
    pub(super) class: Class,
}

/// Counts the request, and refuses it where it is one too many.
pub(super) async fn enforce(
    State(Limit { api, limits, class }): State<Limit>,
    mut request: Request,
    next: Next,
) -> Response {
    let rate = limits.rate(class);
    let counted = if class == Class::SignIn {
        let key = key(class, &by_address(&request));
        limits.limiter.allow_shared(&key, rate).await
    } else {
        let key = key(class, &asker(&api, &mut request).await);
        Ok(limits.limiter.allow(&key, rate).await)
    };
    let allowance = match counted {
        Ok(allowance) => allowance,
        Err(error) => return Problem::from(error).into_response(),
    };
    let mut response = if allowance.allowed {
        next.run(request).await
    } else {
        metrics::rate_limited(class.name());
        refusal(class, &allowance).into_response()
    };
    describe(response.headers_mut(), class, rate, &allowance);
    response
}

/// The user, whom the handler then need not look up again; without valid credentials the address.
async fn asker(api: &Api, request: &mut Request) -> String {
    let known = Known::of(request.method(), request.headers(), api).await;
    let name = match known.user() {
        Some(user) => user.to_string(),
        None => by_address(request),
    };
    request.extensions_mut().insert(known);
    name
}

fn by_address(request: &Request) -> String {
    match request.extensions().get::<Client>() {
        Some(client) => format!("ip:{}", network_of(client.address)),
        None => "ip:unknown".to_owned(),
    }
}

/// A household has 2^64 IPv6 addresses, which it may change at will: they count as one.
fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
    }
}

fn key(class: Class, asker: &str) -> String {
    format!("rate:{}:{asker}", class.name())
}

fn refusal(class: Class, allowance: &Allowance) -> Problem {
    let seconds = whole_seconds(allowance.retry).max(1);
    let detail = format!("the limit of {} requests is used up", class.name());
    Problem::too_many_requests(detail, seconds)
        .registered_type(QUOTA_EXCEEDED)
        .member("violated-policies", vec![class.name()])
}

fn describe(headers: &mut HeaderMap, class: Class, rate: Rate, allowance: &Allowance) {
    let (name, window) = (class.name(), rate.period.as_secs());
    let reset = whole_seconds(allowance.reset);
    let policy = format!("\"{name}\";q={};w={window}", rate.count);
    let state = format!("\"{name}\";r={};t={reset}", allowance.remaining);
    for (header, text) in [(RATELIMIT_POLICY, policy), (RATELIMIT, state)] {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(header, value);
        }
    }
}

fn whole_seconds(time: Duration) -> u64 {
    time.as_millis()
        .div_ceil(1_000)
        .try_into()
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate::per_minute(100, 20);

    fn allowance(allowed: bool, remaining: u32, retry_ms: u64, reset_ms: u64) -> Allowance {
        Allowance {
            allowed,
            remaining,
            retry: Duration::from_millis(retry_ms),
            reset: Duration::from_millis(reset_ms),
        }
    }

    #[test]
    fn an_answer_says_what_is_left() {
        let mut headers = HeaderMap::new();
        describe(
            &mut headers,
            Class::Write,
            RATE,
            &allowance(true, 3, 0, 10_200),
        );
        assert_eq!(headers["ratelimit-policy"], "\"write\";q=100;w=60");
        assert_eq!(headers["ratelimit"], "\"write\";r=3;t=11");
    }

    #[test]
    fn a_refusal_says_when_to_come_back_and_why() {
        let problem = refusal(Class::SignIn, &allowance(false, 0, 1, 12_600));
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(json["type"], QUOTA_EXCEEDED);
        assert_eq!(json["violated-policies"], serde_json::json!(["sign_in"]));
        let response = problem.into_response();
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["retry-after"], "1");
    }

    #[test]
    fn a_household_counts_as_one() {
        let network = |text: &str| network_of(text.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("192.0.2.7"), "192.0.2.7");
    }
}
