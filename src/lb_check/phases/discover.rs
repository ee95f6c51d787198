//! Who is behind the balancer: names, addresses, certificate, versions, clocks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use crate::lb_check::client::{Answer, Client};
use crate::lb_check::context::{Context, WHOAMI};
use crate::lb_check::judgement::Judgement;

/// Largest difference between two instances' clocks.
const SKEW_MAX: Duration = Duration::from_secs(2);
/// A certificate that ends sooner is to be renewed now.
const CERTIFICATE_DAYS_MIN: i64 = 14;
/// Without an expected number: so many answers without a new name end the search.
const QUIET_ANSWERS: usize = 60;

/// What an instance says of itself.
struct Told {
    version: String,
    role: String,
    /// Its clock minus ours, and how wrong that may be.
    offset: Option<(TimeDelta, TimeDelta)>,
}

pub(super) async fn run(context: &Context<'_>) -> Judgement {
    let mut judgement = Judgement::new();
    addresses(context, &mut judgement).await;
    if let Err(reason) = certificate(context, &mut judgement).await {
        judgement.fail(reason);
        judgement.conclusive = false;
        return judgement;
    }
    let (found, asked) = search(context, &mut judgement).await;
    if found.is_empty() {
        judgement.warn(format!("{asked} answers name no instance (X-Instance-Id)"));
        judgement.conclusive = false;
        return judgement;
    }
    count(context, &found, asked, &mut judgement);
    versions(&found, &mut judgement);
    clocks(&found, &mut judgement);
    context.set_instances(found.into_keys().collect());
    judgement
}

async fn addresses(context: &Context<'_>, judgement: &mut Judgement) {
    let addresses = context.client.target().resolve().await.unwrap_or_default();
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    judgement.detail("addresses", texts);
}

async fn certificate(context: &Context<'_>, judgement: &mut Judgement) -> Result<(), String> {
    let (_, secured) = context
        .client
        .wire()
        .await
        .map_err(|error| error.to_string())?;
    let Some(protocol) = secured.protocol else {
        return Ok(());
    };
    judgement.detail(
        "tls",
        json!({ "protocol": protocol, "alpn": secured.alpn, "not_after": secured.not_after }),
    );
    let Some(end) = secured.not_after else {
        judgement.warn("the certificate's end cannot be read");
        return Ok(());
    };
    let days = (end - context.clock.now()).num_days();
    let words = format!("{protocol}, certificate for {days} d");
    if days > CERTIFICATE_DAYS_MIN {
        judgement.note(words);
    } else {
        judgement.fail(words);
    }
    Ok(())
}

/// Asks on new connections, from all our addresses in turn, until all instances are known or nobody new turns up.
async fn search(
    context: &Context<'_>,
    judgement: &mut Judgement,
) -> (BTreeMap<String, Told>, usize) {
    let plan = context.plan;
    let clients: Vec<Client> = if plan.sources.is_empty() {
        vec![context.client.clone()]
    } else {
        let sources = plan.sources.iter();
        sources
            .map(|source| context.client.asking_from(*source))
            .collect()
    };
    let (mut found, mut asked, mut quiet, mut failures) = (BTreeMap::new(), 0, 0, 0);
    for client in clients.iter().cycle().take(plan.requests.max(1)) {
        asked += 1;
        quiet += 1;
        let before = context.clock.now();
        match context.once(client, || client.get(WHOAMI)).await {
            Ok(answer) if answer.status.is_success() => {
                if let Some(name) = answer.instance().map(str::to_owned) {
                    let told = told(&answer, before, context.clock.now());
                    if found.insert(name, told).is_none() {
                        quiet = 0;
                    }
                }
            }
            _ => failures += 1,
        }
        let all = plan
            .expect_instances
            .is_some_and(|expected| found.len() >= expected);
        // With a known number the search goes on: one that was not seen yet may still be there.
        let silent = plan.expect_instances.is_none() && quiet >= QUIET_ANSWERS;
        if all || silent || quiet >= QUIET_ANSWERS * 4 {
            break;
        }
    }
    if failures > 0 {
        judgement.warn(format!("{failures} of {asked} requests were not answered"));
    }
    (found, asked)
}

fn told(answer: &Answer, before: DateTime<Utc>, after: DateTime<Utc>) -> Told {
    let body = answer.json();
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let half = (after - before) / 2;
    let now = text("now").parse::<DateTime<Utc>>().ok();
    Told {
        version: text("version"),
        role: text("role"),
        offset: now.map(|now| (now - (before + half), half)),
    }
}

fn count(
    context: &Context<'_>,
    found: &BTreeMap<String, Told>,
    asked: usize,
    judgement: &mut Judgement,
) {
    let names: Vec<&String> = found.keys().collect();
    judgement.detail("instances", json!(names));
    judgement.detail("asked", asked);
    let words = format!("{} instance(s) in {asked} answers", found.len());
    match context.plan.expect_instances {
        Some(expected) if found.len() != expected => judgement.fail(words),
        _ => judgement.note(words),
    }
}

fn versions(found: &BTreeMap<String, Told>, judgement: &mut Judgement) {
    let versions: BTreeSet<&str> = found.values().map(|told| told.version.as_str()).collect();
    let roles: BTreeSet<&str> = found.values().map(|told| told.role.as_str()).collect();
    judgement.detail("versions", json!(versions));
    judgement.detail("roles", json!(roles));
    if versions.len() > 1 {
        let list: Vec<&str> = versions.into_iter().collect();
        judgement.warn(format!("versions differ: {}", list.join(", ")));
    }
}

fn clocks(found: &BTreeMap<String, Told>, judgement: &mut Judgement) {
    let offsets: Vec<_> = found.values().filter_map(|told| told.offset).collect();
    // As close as the measurements allow: what may be their error is not held against the clocks.
    let latest = offsets.iter().map(|(offset, error)| *offset - *error).max();
    let earliest = offsets.iter().map(|(offset, error)| *offset + *error).min();
    let (Some(latest), Some(earliest)) = (latest, earliest) else {
        return;
    };
    let skew = (latest - earliest).to_std().unwrap_or_default();
    judgement.detail("skew_s", skew.as_secs_f64());
    let words = format!("clocks within {:.1} s", skew.as_secs_f64());
    judgement.expect(skew < SKEW_MAX, words);
}
