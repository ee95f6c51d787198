//! An instance stops answering without closing anything.

use std::time::Duration;

use tokio::time::sleep;

use crate::lb_check::context::Context;
use crate::lb_check::faults::{Victim, harm, mend, two_or_more};
use crate::lb_check::judgement::Judgement;
use crate::lb_check::load::Load;
use crate::lb_check::plan::Faults;

/// The load is there before anything happens.
const WARM: Duration = Duration::from_secs(1);
/// What an answer may take beyond the balancer's own limit.
const GRACE: Duration = Duration::from_secs(1);
/// After the limit the instance is out, and requests are quick again: they are watched for so long.
const WATCHED: Duration = Duration::from_secs(2);

pub(super) async fn run(context: &Context<'_>) -> Judgement {
    let Some(faults) = context.plan.faults_with_signals() else {
        return Judgement::skip("needs --compose, or --fault-cmd with {signal}");
    };
    let known = match two_or_more(context).await {
        Ok(known) => known,
        Err(skipped) => return skipped,
    };
    let victim = &known[0];
    let mut judgement = Judgement::new();
    let limit = context.plan.proxy_timeout;
    let (happened, saw) = Load::during(context, async |load: &Load| {
        happening(load, faults, victim, limit).await
    })
    .await;
    judgement.detail("victim", victim.instance.as_str());
    judgement.detail("load", saw.figures());
    if let Err(reason) = happened {
        judgement.fail(reason);
    }
    let words = format!(
        "slowest of {} requests {:.1} s, {} failed",
        saw.requests(),
        saw.slowest.as_secs_f64(),
        saw.failures.len()
    );
    judgement.expect(saw.slowest <= limit + GRACE, words);
    judgement
}

async fn happening(
    load: &Load,
    faults: &Faults,
    victim: &Victim,
    limit: Duration,
) -> Result<(), String> {
    sleep(WARM).await;
    harm(faults, "STOP", victim).await?;
    sleep(limit + WATCHED).await;
    let mended = mend(faults, "STOP", victim).await;
    // It answers again, or at least the others do.
    load.until(WATCHED, |_| false).await;
    mended
}
