//! What a probe says, in the form of `application/health+json` (draft-inadarei-api-health-check, an expired draft: only
//! its member names and its three statuses are used).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

/// How well one thing, or the whole process, is. The order is from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Well.
    Pass,
    /// Something is away, but the process can still answer.
    Warn,
    /// The process should get no requests (readiness) or be replaced (liveness).
    Fail,
}

/// Whose fault it is when a check fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// This process alone: its neighbours can take the requests.
    Local,
    /// A backend of all copies: they would leave the balancer in the same second.
    Shared,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct CheckReport {
    /// How well it is.
    pub status: Status,
    /// Whose fault a failure is.
    pub kind: Kind,
    /// How long the look took, in milliseconds.
    pub took_ms: u64,
    /// How long ago the look ended, in milliseconds.
    pub age_ms: u64,
    /// What was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    /// Why it is not well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

impl CheckReport {
    /// A thing of this process that was looked at just now.
    pub(super) fn local(outcome: Result<Value, String>) -> Self {
        let status = if outcome.is_ok() {
            Status::Pass
        } else {
            Status::Fail
        };
        Self::new(Kind::Local, status, outcome, Duration::ZERO, Duration::ZERO)
    }

    pub(super) fn new(
        kind: Kind,
        status: Status,
        outcome: Result<Value, String>,
        took: Duration,
        age: Duration,
    ) -> Self {
        let (details, output) = match outcome {
            Ok(details) => (Some(details).filter(|details| !details.is_null()), None),
            Err(reason) => (None, Some(reason)),
        };
        Self {
            status,
            kind,
            took_ms: whole_ms(took),
            age_ms: whole_ms(age),
            details,
            output,
        }
    }
}

/// Checks by name. The form allows several looks at one thing; we have one each.
pub type Checks = BTreeMap<&'static str, [CheckReport; 1]>;

/// The answer of a probe.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The worst status of the checks.
    pub status: Status,
    /// The program's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<&'static str>,
    /// The unique name of the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Whether strangers are told that name.
    #[serde(skip)]
    pub exposed: bool,
    /// What was looked at.
    pub checks: Checks,
}

impl Report {
    /// The report for strangers: how well each thing is, but neither why nor which version this is, nor who, where that is hidden.
    pub fn without_details(mut self) -> Self {
        self.version = None;
        if !self.exposed {
            self.instance = None;
        }
        for [check] in self.checks.values_mut() {
            check.details = None;
            check.output = None;
        }
        self
    }
}

/// The worst status; pass where there is nothing.
pub(super) fn worst(checks: &Checks) -> Status {
    let statuses = checks.values().map(|[check]| check.status);
    statuses.max().unwrap_or(Status::Pass)
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report() -> Report {
        let bad = CheckReport::new(
            Kind::Shared,
            Status::Warn,
            Err("no route to 10.0.0.7".into()),
            Duration::from_millis(12),
            Duration::ZERO,
        );
        let good = CheckReport::local(Ok(json!({ "used": 3 })));
        let checks = Checks::from([("database", [bad]), ("pool", [good])]);
        Report {
            status: worst(&checks),
            version: Some("1.2.3"),
            instance: Some("a-12345678".into()),
            exposed: false,
            checks,
        }
    }

    #[test]
    fn the_form_is_that_of_the_draft() {
        let expected = json!({
            "status": "warn", "version": "1.2.3", "instance": "a-12345678",
            "checks": {
                "database": [{"status": "warn", "kind": "shared", "took_ms": 12, "age_ms": 0, "output": "no route to 10.0.0.7"}],
                "pool": [{"status": "pass", "kind": "local", "took_ms": 0, "age_ms": 0, "details": {"used": 3}}],
            },
        });
        assert_eq!(serde_json::to_value(report()).unwrap(), expected);
    }

    #[test]
    fn strangers_learn_no_addresses_and_no_version() {
        let text = serde_json::to_string(&report().without_details()).unwrap();
        assert!(!text.contains("10.0.0.7") && !text.contains("used") && !text.contains("1.2.3"));
        assert!(!text.contains("a-12345678"), "{text}");
        assert!(text.contains(r#""database":[{"status":"warn""#), "{text}");
    }
}
