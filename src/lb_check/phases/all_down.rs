//! Nobody is there: the balancer says so and when to come back; and it comes back.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::time::{Instant, sleep};

use crate::lb_check::client::Answer;
use crate::lb_check::context::{Context, ECHO, WHOAMI};
use crate::lb_check::faults::{harm, mend, victims};
use crate::lb_check::judgement::Judgement;

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
        return Judgement::skip("needs --compose or --fault-cmd");
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
    let mut requests = vec![client.get(WHOAMI)];
    if client.has_token() {
        requests.push(client.with_token(Method::POST, ECHO, Bytes::new()));
    }
    for request in requests {
        let what = format!("{} {}", request.method(), request.uri());
        match client.once(request).await {
            Ok(answer) => judge(&what, &answer, judgement),
            Err(error) => judgement.fail(format!("{what}: {error}")),
        }
    }
}

fn judge(what: &str, answer: &Answer, judgement: &mut Judgement) {
    let words = format!(
        "{what} {} in {:.1} s",
        answer.status,
        answer.took.as_secs_f64()
    );
    judgement.expect(answer.status == StatusCode::SERVICE_UNAVAILABLE, words);
    match answer.retry_after() {
        Some(wait) => judgement.note(format!("Retry-After {} s", wait.as_secs())),
        None => judgement.fail("no Retry-After"),
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
