//! Every instance is told to end, one after the other, under load: nobody notices.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use http::Method;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::lb_check::context::{Context, ECHO};
use crate::lb_check::faults::{Victim, harm, mend, two_or_more};
use crate::lb_check::judgement::Judgement;
use crate::lb_check::load::Load;
use crate::lb_check::plan::Faults;

use super::eject::is_back;

/// The requests that must be finished are with their instances after this.
const UNDER_WAY: Duration = Duration::from_millis(300);
/// Such requests per instance: so many that each instance has some.
const SLOW_PER_INSTANCE: usize = 2;
/// Longest wait for an instance to come back.
const BACK_MAX: Duration = Duration::from_secs(60);
/// Longest wait for the number of requests that prove something.
const ENOUGH_MAX: Duration = Duration::from_secs(120);

/// What became of one instance's drain.
struct Drained {
    slow_failed: Vec<String>,
    back: Option<Duration>,
}

pub(super) async fn run(context: &Context<'_>) -> Judgement {
    let Some(faults) = context.plan.faults_with_signals() else {
        return Judgement::skip("needs --compose, or --fault-cmd with {signal}");
    };
    let known = match two_or_more(context).await {
        Ok(known) => known,
        Err(skipped) => return skipped,
    };
    let mut judgement = Judgement::new();
    let wanted = context.plan.drain_requests;
    let (drained, saw) = Load::during(context, async |load: &Load| {
        let mut drained = Vec::new();
        for victim in &known {
            let outcome = drain(context, load, faults, victim, known.len()).await;
            let failed = outcome.is_err();
            drained.push((victim.instance.clone(), outcome));
            if failed {
                break;
            }
        }
        load.until(ENOUGH_MAX, |saw| saw.requests() >= wanted).await;
        drained
    })
    .await;
    judgement.detail("load", saw.figures());
    judge_each(&drained, &mut judgement);
    let failed = saw.failed_reads + saw.failed_sends;
    let first = saw
        .failures
        .first()
        .map(|failure| format!(", the first {}", failure.reason));
    judgement.expect(
        failed == 0,
        format!(
            "{failed} of {} requests failed{}",
            saw.requests(),
            first.unwrap_or_default()
        ),
    );
    if saw.requests() < wanted {
        judgement.warn(format!("{wanted} requests were wanted"));
        judgement.conclusive = false;
    }
    judgement
}

fn judge_each(drained: &[(String, Result<Drained, String>)], judgement: &mut Judgement) {
    let mut rows = Vec::new();
    for (instance, outcome) in drained {
        match outcome {
            Ok(Drained { slow_failed, back }) => {
                rows.push(json!({ "instance": instance, "slow_failed": slow_failed, "back_s": back.map(|back| back.as_secs_f64()) }));
                if let Some(first) = slow_failed.first() {
                    judgement.fail(format!(
                        "{instance}: {} request(s) in flight were cut off: {first}",
                        slow_failed.len()
                    ));
                }
                if back.is_none() {
                    judgement.fail(format!(
                        "{instance} did not come back within {} s",
                        BACK_MAX.as_secs()
                    ));
                }
            }
            Err(reason) => judgement.fail(format!("{instance}: {reason}")),
        }
    }
    judgement.detail("drained", rows);
    judgement.note(format!("{} instance(s) drained", drained.len()));
}

async fn drain(
    context: &Context<'_>,
    load: &Load,
    faults: &Faults,
    victim: &Victim,
    instances: usize,
) -> Result<Drained, String> {
    let slow = join_all((0..instances * SLOW_PER_INSTANCE).map(|_| slow_request(context)));
    let telling = async {
        sleep(UNDER_WAY).await;
        harm(faults, "TERM", victim).await
    };
    let (slow, told) = tokio::join!(slow, telling);
    told?;
    mend(faults, "TERM", victim).await?;
    let back = load.until(BACK_MAX, |saw| is_back(saw, victim)).await;
    Ok(Drained {
        slow_failed: slow.into_iter().filter_map(Result::err).collect(),
        back,
    })
}

/// A request that takes as long as the plan says.
async fn slow_request(context: &Context<'_>) -> Result<(), String> {
    let time = context.plan.in_flight;
    let client = context.client.with_limit(time + context.plan.proxy_timeout);
    let path = format!("{ECHO}?delay_ms={}", time.as_millis());
    let start = Instant::now();
    let answer = client
        .once(client.with_token(Method::POST, &path, Bytes::new()))
        .await;
    match answer {
        Ok(answer) if answer.status.is_success() => Ok(()),
        Ok(answer) => Err(format!(
            "answered {} after {:.1} s",
            answer.status,
            start.elapsed().as_secs_f64()
        )),
        Err(error) => Err(error.to_string()),
    }
}
