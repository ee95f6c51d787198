//! What was found: a line per phase, a table per instance, JSON, JUnit.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::statistics::{percentile, wilson};

/// The name and version of the JSON form; a change that breaks readers raises the number.
pub const SCHEMA: &str = "spheroctl.lb-check/1";

/// How a phase ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// Was not run, or there is nothing to check.
    Skip,
    /// As it should be.
    Pass,
    /// Works, and is worth a look.
    Warn,
    /// Is wrong.
    Fail,
}

impl Verdict {
    /// The word of the report's lines.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Skip => "SKIP",
            Self::Pass => "PASS",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        }
    }
}

/// How the whole check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// No phase failed.
    Pass,
    /// At least one did.
    Fail,
    /// None failed, but the samples prove nothing: instances are hidden, or were too rarely asked.
    Inconclusive,
}

/// What one phase found.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// The phase's name.
    pub phase: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// What was found, in a few words.
    pub measured: String,
    /// What should have been found.
    pub expected: String,
    /// Whether the samples were enough to say so.
    pub conclusive: bool,
    /// Duration.
    pub took_s: f64,
    /// The figures behind it.
    pub details: Value,
}

/// What was seen of each instance.
#[derive(Debug, Default)]
pub(super) struct Seen(BTreeMap<String, Asked>);

#[derive(Debug, Default)]
struct Asked {
    requests: u64,
    errors: u64,
    took_ms: Vec<f64>,
    last_seen: Option<DateTime<Utc>>,
}

impl Seen {
    /// An answer of `instance`.
    pub(super) fn add(&mut self, instance: &str, took: Duration, good: bool, now: DateTime<Utc>) {
        let asked = self.0.entry(instance.to_owned()).or_default();
        asked.requests += 1;
        asked.errors += u64::from(!good);
        asked.took_ms.push(took.as_secs_f64() * 1e3);
        asked.last_seen = Some(now);
    }

    pub(super) fn table(self) -> Vec<Row> {
        let total = self.0.values().map(|asked| asked.requests).sum::<u64>();
        let row = |(instance, mut asked): (String, Asked)| Row {
            instance,
            requests: asked.requests,
            share: asked.requests as f64 / total.max(1) as f64,
            interval: wilson(asked.requests, total),
            errors: asked.errors,
            p50_ms: percentile(&mut asked.took_ms, 0.5),
            p95_ms: percentile(&mut asked.took_ms, 0.95),
            p99_ms: percentile(&mut asked.took_ms, 0.99),
            last_seen: asked.last_seen,
        };
        self.0.into_iter().map(row).collect()
    }
}

/// A line of the table.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Name and boot.
    pub instance: String,
    /// Answers of all phases that disturb nothing.
    pub requests: u64,
    /// Their share.
    pub share: f64,
    /// Wilson's interval of 95 % for the share.
    pub interval: (f64, f64),
    /// Answers of 500 and above.
    pub errors: u64,
    /// Half of the answers took no longer.
    pub p50_ms: f64,
    /// 95 of 100 took no longer.
    pub p95_ms: f64,
    /// 99 of 100 took no longer.
    pub p99_ms: f64,
    /// When it answered last.
    pub last_seen: Option<DateTime<Utc>>,
}

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The version of the program.
    pub version: &'static str,
    /// What was checked.
    pub url: String,
    /// What the balancer calls itself, where it does.
    pub server: Option<String>,
    /// When the check began.
    pub started_at: DateTime<Utc>,
    /// Duration.
    pub took_s: f64,
    /// How it ended.
    pub outcome: Outcome,
    /// A finding per phase.
    pub phases: Vec<Finding>,
    /// A row per instance.
    pub instances: Vec<Row>,
}

/// How a check with these findings ended.
pub(super) fn outcome(phases: &[Finding]) -> Outcome {
    if phases
        .iter()
        .any(|finding| finding.verdict == Verdict::Fail)
    {
        Outcome::Fail
    } else if phases.iter().all(|finding| finding.conclusive) {
        Outcome::Pass
    } else {
        Outcome::Inconclusive
    }
}

impl Report {
    /// The table of the instances, for a person.
    pub fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a text never fails.
        let _ = writeln!(
            text,
            "\n{:<28} {:>8} {:>7} {:>15} {:>6} {:>8} {:>8} {:>8}  last seen",
            "instance", "requests", "share", "95 %", "errors", "p50 ms", "p95 ms", "p99 ms"
        );
        for row in &self.instances {
            let (low, high) = row.interval;
            let seen = row.last_seen.map(|at| at.format("%H:%M:%S").to_string());
            let _ = writeln!(
                text,
                "{:<28} {:>8} {:>6.1}% {:>6.1}–{:>5.1} % {:>6} {:>8.1} {:>8.1} {:>8.1}  {}",
                row.instance,
                row.requests,
                100.0 * row.share,
                100.0 * low,
                100.0 * high,
                row.errors,
                row.p50_ms,
                row.p95_ms,
                row.p99_ms,
                seen.unwrap_or_default()
            );
        }
        text
    }

    /// The same for build servers.
    pub fn junit(&self) -> String {
        let failed = |verdict| self.phases.iter().filter(|f| f.verdict == verdict).count();
        let (failures, skipped) = (failed(Verdict::Fail), failed(Verdict::Skip));
        let mut xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"lb-check\" tests=\"{}\" failures=\"{failures}\" skipped=\"{skipped}\" time=\"{:.3}\">\n",
            self.phases.len(),
            self.took_s
        );
        for finding in &self.phases {
            let measured = escaped(&finding.measured);
            let inside = match finding.verdict {
                Verdict::Fail => format!(
                    "<failure message=\"{measured}\">expected: {}</failure>",
                    escaped(&finding.expected)
                ),
                Verdict::Skip => format!("<skipped message=\"{measured}\"/>"),
                _ => format!("<system-out>{measured}</system-out>"),
            };
            let _ = writeln!(
                xml,
                "  <testcase classname=\"lb-check\" name=\"{}\" time=\"{:.3}\">{inside}</testcase>",
                finding.phase, finding.took_s
            );
        }
        xml.push_str("</testsuite>\n");
        xml
    }
}

impl Finding {
    /// The line of the report.
    pub fn line(&self) -> String {
        let (word, phase) = (self.verdict.word(), self.phase);
        format!(
            "{word} {phase:<10} {} [expected: {}]",
            self.measured, self.expected
        )
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // XML 1.0 has no way to write these.
            control if control.is_control() => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(verdict: Verdict, conclusive: bool) -> Finding {
        Finding {
            phase: "spread",
            verdict,
            measured: "a < b & \"c\"".into(),
            expected: "d".into(),
            conclusive,
            took_s: 1.0,
            details: Value::Null,
        }
    }

    #[test]
    fn a_failure_outweighs_everything() {
        let (pass, fail) = (finding(Verdict::Pass, true), finding(Verdict::Fail, true));
        let vague = finding(Verdict::Warn, false);
        assert_eq!(outcome(&[pass.clone(), vague.clone(), fail]), Outcome::Fail);
        assert_eq!(outcome(&[pass.clone(), vague]), Outcome::Inconclusive);
        assert_eq!(
            outcome(&[pass, finding(Verdict::Skip, true)]),
            Outcome::Pass
        );
    }

    #[test]
    fn the_table_holds_shares_and_times() {
        let (mut seen, now) = (Seen::default(), DateTime::UNIX_EPOCH);
        for ms in [1, 2, 3] {
            seen.add("a-1", Duration::from_millis(ms), true, now);
        }
        seen.add("b-1", Duration::from_millis(9), false, now);
        let rows = seen.table();
        assert_eq!(
            (rows[0].requests, rows[0].share, rows[0].p50_ms),
            (3, 0.75, 2.0)
        );
        assert_eq!((rows[1].errors, rows[1].p99_ms), (1, 9.0));
    }

    #[test]
    fn junit_is_xml_whatever_was_found() {
        let report = Report {
            schema: SCHEMA,
            version: "0",
            url: String::new(),
            server: None,
            started_at: DateTime::UNIX_EPOCH,
            took_s: 1.0,
            outcome: Outcome::Fail,
            phases: vec![finding(Verdict::Fail, true), finding(Verdict::Skip, true)],
            instances: vec![],
        };
        let xml = report.junit();
        assert!(
            xml.contains("tests=\"2\" failures=\"1\" skipped=\"1\""),
            "{xml}"
        );
        assert!(
            xml.contains("message=\"a &lt; b &amp; &quot;c&quot;\""),
            "{xml}"
        );
        assert_eq!(
            serde_json::to_value(&report).unwrap()["phases"][0]["verdict"],
            "FAIL"
        );
    }
}
