//! The recorder that keeps the process's metrics for Prometheus to fetch.

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use parking_lot::Mutex;

/// Bucket bounds of every histogram in seconds: those that OpenTelemetry's semantic conventions give for
/// `http.server.request.duration`, so that dashboards made for them fit.
const SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// Jobs and calls of an ML service take up to minutes: without these bounds their p95 would read 10 s.
const JOB_SECONDS: &[f64] = &[
    0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
];

static INSTALLED: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

/// The process's recorder: installed by the first call, shared by later ones (several apps of one test process). Whoever
/// serves it calls `run_upkeep` from time to time, which bounds what histograms keep between two fetches.
///
/// # Errors
/// When something else has installed a recorder before.
pub fn recorder() -> Result<PrometheusHandle, BuildError> {
    let mut installed = INSTALLED.lock();
    if let Some(handle) = &*installed {
        return Ok(handle.clone());
    }
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS)?
        .set_buckets_for_metric(Matcher::Prefix("spheroctl_job_".into()), JOB_SECONDS)?
        .set_buckets_for_metric(Matcher::Prefix("spheroctl_ml_call_".into()), JOB_SECONDS)?
        .install_recorder()?;
    *installed = Some(handle.clone());
    Ok(handle)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::kit::metrics;

    #[test]
    fn apps_of_one_process_share_a_recorder_with_the_buckets() {
        let first = recorder().unwrap();
        metrics::http_request("/whoami", "GET", "2xx", Duration::from_millis(60));
        metrics::job_finished("completed", Duration::from_secs(90));
        let text = recorder().unwrap().render();
        let below_75_ms = "spheroctl_http_request_duration_seconds_bucket{route=\"/whoami\",method=\"GET\",status_class=\"2xx\",le=\"0.075\"} 1";
        assert!(text.contains(below_75_ms), "{text}");
        let below_two_minutes =
            "spheroctl_job_duration_seconds_bucket{outcome=\"completed\",le=\"120\"} 1";
        assert!(first.render().contains(below_two_minutes), "{text}");
    }
}
