//! Nobody is there: the balancer says so and when to come back; and it comes back.

use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, sleep};

use crate::lb_check::context::{Context, WHOAMI};
use crate::lb_check::faults::{harm, mend, victims};
use crate::lb_check::report::Judgement;

/// The balancer has noticed by then.
const NOTICED: Duration = Duration::from_secs(2);
/// It answers again within this after the instances were started.
const BACK_MAX: Duration = Duration::from_secs(10);
/// Longest wait for it.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

pub(super) async fn run(context: &Context<'_>) -> Judgement {
    let Some(faults) = &context.plan.faults else {
        return Judgement::skip("needs --fault-cmd");
    };
    let expected = context.instances().len();
    let known = victims(context, expected).await;
    if known.len() < expected || known.is_empty() {
        return Judgement::skip(format!(
            "{} of {expected} instances tell of themselves",
            known.len()
        ));
    }
    let mut judgement = Judgement::new();
    for victim in &known {
        if let Err(reason) = harm(faults, "KILL", victim).await {
            judgement.fail(reason);
        }
    }
    sleep(NOTICED).await;
    refusal(context, &mut judgement).await;
    for victim in &known {
        if let Err(reason) = mend(faults, "KILL", victim).await {
            judgement.fail(reason);
        }
    }
    match comes_back(context).await {
        Some(took) => judgement.expect(
            took <= BACK_MAX,
            format!("back after {:.1} s", took.as_secs_f64()),
        ),
        None => judgement.fail(format!("not back within {} s", WAIT_MAX.as_secs())),
    }
    judgement
}

async fn refusal(context: &Context<'_>, judgement: &mut Judgement) {
    let client = &context.client;
    match client.once(client.get(WHOAMI)).await {
        Ok(answer) => {
            let wait = answer.retry_after();
            let words = format!("{} in {:.1} s", answer.status, answer.took.as_secs_f64());
            judgement.expect(answer.status == StatusCode::SERVICE_UNAVAILABLE, words);
            judgement.expect(
                wait.is_some(),
                match wait {
                    Some(wait) => format!("Retry-After {} s", wait.as_secs()),
                    None => "no Retry-After".to_owned(),
                },
            );
        }
        Err(error) => judgement.fail(format!("with all instances away: {error}")),
    }
}

async fn comes_back(context: &Context<'_>) -> Option<Duration> {
    let (client, start) = (&context.client, Instant::now());
    while start.elapsed() < WAIT_MAX {
        if client
            .once(client.get(WHOAMI))
            .await
            .is_ok_and(|answer| answer.status.is_success())
        {
            return Some(start.elapsed());
        }
        sleep(LOOK_INTERVAL).await;
    }
    None
}
