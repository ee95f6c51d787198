//! An instance is killed under load, and comes back.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::lb_check::context::Context;
use crate::lb_check::faults::{Victim, harm, mend, name_of, two_or_more};
use crate::lb_check::judgement::Judgement;
use crate::lb_check::load::{Load, Saw};
use crate::lb_check::plan::Faults;

/// The load is there before anything happens, and stays a while after all is well.
const WARM: Duration = Duration::from_secs(1);
/// How long the load is watched after the kill.
const WATCHED: Duration = Duration::from_secs(7);
/// Nothing fails any more after this.
const EJECTED_MAX: Duration = Duration::from_secs(5);
/// The instance is asked again within this after its start.
const BACK_MAX: Duration = Duration::from_secs(15);

struct Times {
    killed: Instant,
    back: Option<Duration>,
}

pub(super) async fn run(context: &Context<'_>) -> Judgement {
    let Some(faults) = &context.plan.faults else {
        return Judgement::skip("needs --compose or --fault-cmd");
    };
    let known = match two_or_more(context).await {
        Ok(known) => known,
        Err(skipped) => return skipped,
    };
    let victim = &known[0];
    let mut judgement = Judgement::new();
    let (times, saw) = Load::during(context, async |load: &Load| {
        happening(load, faults, victim).await
    })
    .await;
    judgement.detail("victim", victim.instance.as_str());
    judgement.detail("load", saw.figures());
    match times {
        Ok(times) => judge(&times, &saw, &mut judgement),
        Err(reason) => judgement.fail(reason),
    }
    judgement
}

async fn happening(load: &Load, faults: &Faults, victim: &Victim) -> Result<Times, String> {
    sleep(WARM).await;
    let killed = Instant::now();
    harm(faults, "KILL", victim).await?;
    sleep(WATCHED).await;
    mend(faults, "KILL", victim).await?;
    let back = load.until(2 * BACK_MAX, |saw| is_back(saw, victim)).await;
    sleep(WARM).await;
    Ok(Times { killed, back })
}

/// Whether an instance of the victim's name answered that is not the victim itself.
pub(super) fn is_back(saw: &Saw, victim: &Victim) -> bool {
    let mut names = saw.instances.keys();
    names.any(|instance| *instance != victim.instance && name_of(instance) == victim.name())
}

fn judge(times: &Times, saw: &Saw, judgement: &mut Judgement) {
    let killed = times.killed;
    let words = format!("{} of {} GET failed", saw.failed_reads, saw.reads);
    judgement.expect(saw.failed_reads == 0, words);
    // Whatever was under way at that moment may or may not have had its effect: only its sender can ask again.
    let under_way = |began: Instant, ended: Instant| {
        began <= killed + Duration::from_millis(100) && ended >= killed
    };
    let others = saw
        .failures
        .iter()
        .filter(|failure| failure.sends && !under_way(failure.began, failure.ended))
        .count();
    judgement.expect(
        others == 0,
        format!(
            "{} of {} POST failed, {others} of them not in flight",
            saw.failed_sends, saw.sends
        ),
    );
    if saw.repeated > 0 {
        judgement.fail(format!(
            "{} POST were sent to an instance twice",
            saw.repeated
        ));
    }
    let last = saw.failures.iter().map(|failure| failure.ended).max();
    let ejected = last.map_or(Duration::ZERO, |last| {
        last.saturating_duration_since(killed)
    });
    judgement.expect(
        ejected <= EJECTED_MAX,
        format!("last failure after {:.1} s", ejected.as_secs_f64()),
    );
    judgement.detail("times", json!({ "last_failure_s": ejected.as_secs_f64(), "back_s": times.back.map(|back| back.as_secs_f64()) }));
    match times.back {
        Some(back) => judgement.expect(
            back <= BACK_MAX,
            format!("back after {:.1} s", back.as_secs_f64()),
        ),
        None => judgement.fail(format!("not back within {} s", 2 * BACK_MAX.as_secs())),
    }
}
