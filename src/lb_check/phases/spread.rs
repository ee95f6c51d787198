//! Whether every instance gets its share: (a) a new connection per request, (b) one kept connection, (c) many kept ones.
//! The last two tell whether requests are balanced, or only connections.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use futures::stream;
use http::header;
use serde_json::json;

use crate::lb_check::client::Answer;
use crate::lb_check::context::{Context, WHOAMI};
use crate::lb_check::judgement::Judgement;
use crate::lb_check::plan::Policy;
use crate::lb_check::statistics::{
    chi_square, largest_deviation, requests_needed, variation, wilson,
};

/// Requests on the one kept connection.
const KEPT_REQUESTS: usize = 50;
/// (c) asks a part of what (a) asks.
const MANY_PART: usize = 4;
/// Below this probability a deviation is not chance.
const P_MIN: f64 = 0.001;
/// Least connections: work is even when its coefficient of variation is below this.
const WORK_VARIATION_MAX: f64 = 0.2;
/// An instance that is never asked among so many times the instances' number is left out on purpose.
const NEVER_ASKED_MIN: usize = 20;

#[derive(Default)]
struct Tally {
    counts: BTreeMap<String, u64>,
    took_s: BTreeMap<String, f64>,
    failures: u64,
    cookies: BTreeSet<String>,
}

impl Tally {
    fn add(&mut self, answer: Option<Answer>) {
        let Some(answer) = answer.filter(|answer| answer.status.is_success()) else {
            self.failures += 1;
            return;
        };
        if let Some(cookie) = answer.text(&header::SET_COOKIE) {
            let name = cookie.split('=').next().unwrap_or_default();
            self.cookies.insert(name.to_owned());
        }
        if let Some(instance) = answer.instance() {
            *self.counts.entry(instance.to_owned()).or_default() += 1;
            *self.took_s.entry(instance.to_owned()).or_default() += answer.took.as_secs_f64();
        }
    }
}

pub(super) async fn run(context: &Context<'_>) -> Judgement {
    let instances = context.instances();
    if instances.is_empty() {
        return Judgement::skip("the instances are not known");
    }
    let mut judgement = Judgement::new();
    let fresh = fresh_connections(context).await;
    let kept = kept_connection(context, KEPT_REQUESTS.min(context.plan.requests)).await;
    let many = many_connections(context).await;
    if fresh.failures > 0 {
        judgement.fail(format!(
            "{} of {} requests failed",
            fresh.failures, context.plan.requests
        ));
    }
    let cookies: Vec<_> = fresh.cookies.iter().cloned().collect();
    if !cookies.is_empty() {
        judgement.fail(format!("the balancer sets cookies: {}", cookies.join(", ")));
    }
    shares(context, &instances, &fresh, &mut judgement);
    layers(&instances, &fresh, &kept, &many, &mut judgement);
    judgement
}

async fn fresh_connections(context: &Context<'_>) -> Tally {
    let asking = stream::iter(0..context.plan.requests).map(|_| async {
        let mut connection = context.client.connect().await.ok()?;
        context
            .ask(&mut connection, context.client.get(WHOAMI))
            .await
            .ok()
    });
    let mut answers = asking.buffer_unordered(context.plan.concurrency.max(1));
    let mut tally = Tally::default();
    while let Some(answer) = answers.next().await {
        tally.add(answer);
    }
    tally
}

async fn kept_connection(context: &Context<'_>, requests: usize) -> Tally {
    let mut tally = Tally::default();
    let Ok(mut connection) = context.client.connect().await else {
        return tally;
    };
    for _ in 0..requests {
        if !connection.is_open() {
            break;
        }
        let answer = context
            .ask(&mut connection, context.client.get(WHOAMI))
            .await;
        tally.add(answer.ok());
    }
    tally
}

/// The tallies of the single connections.
async fn many_connections(context: &Context<'_>) -> Vec<Tally> {
    let connections = context.plan.concurrency.max(1);
    let each = (context.plan.requests / MANY_PART / connections).max(2);
    let asking = stream::iter(0..connections).map(|_| kept_connection(context, each));
    asking.buffer_unordered(connections).collect().await
}

fn shares(context: &Context<'_>, instances: &[String], fresh: &Tally, judgement: &mut Judgement) {
    let plan = context.plan;
    let counts: Vec<u64> = instances
        .iter()
        .map(|name| fresh.counts.get(name).copied().unwrap_or(0))
        .collect();
    let total: u64 = counts.iter().sum();
    let weights = weights(&plan.policy, instances);
    let (chi, p) = chi_square(&counts, &weights);
    let deviation = largest_deviation(&counts, &weights);
    let (needed, asked) = (
        requests_needed(instances.len(), plan.tolerance),
        plan.requests,
    );
    let per_instance = |(name, count): (&String, &u64)| {
        let (low, high) = wilson(*count, total);
        json!({ "instance": name, "requests": count, "low": low, "high": high })
    };
    let rows: Vec<_> = instances.iter().zip(&counts).map(per_instance).collect();
    let numbers: Vec<f64> = counts.iter().map(|count| *count as f64).collect();
    judgement.detail("shares", rows);
    judgement.detail("chi_square", chi);
    judgement.detail("p", p);
    judgement.detail("variation", variation(&numbers));
    judgement.detail("largest_deviation", deviation);
    judgement.detail("requests_needed", needed);
    if plan.policy == Policy::Hash {
        judgement.note("chosen by the client: shares are not judged");
        return;
    }
    let never = counts.iter().filter(|count| **count == 0).count();
    let words = format!(
        "largest deviation {:.1} %, χ² {chi:.1} (p {p:.3})",
        100.0 * deviation
    );
    if never > 0 && asked >= NEVER_ASKED_MIN * instances.len() {
        judgement.fail(format!(
            "{never} of {} instances were never chosen in {asked} requests",
            instances.len()
        ));
    } else if deviation <= plan.tolerance {
        judgement.note(words);
        if p < P_MIN && plan.policy == Policy::Random {
            judgement.warn("that is not chance");
        }
    } else if plan.policy == Policy::LeastConn && work_is_even(instances, fresh, judgement) {
        judgement.note(format!(
            "{words}; slower instances get fewer requests and the same work"
        ));
    } else if asked < needed {
        judgement.warn(words);
    } else {
        judgement.fail(words);
    }
    if asked < needed {
        judgement.warn(format!("{asked} requests are too few, {needed} are needed"));
        judgement.conclusive = false;
    }
}

/// By Little's law requests × time is the work in hand, which least connections keep even.
fn work_is_even(instances: &[String], fresh: &Tally, judgement: &mut Judgement) -> bool {
    let work: Vec<f64> = instances
        .iter()
        .map(|name| fresh.took_s.get(name).copied().unwrap_or(0.0))
        .collect();
    let variation = variation(&work);
    judgement.detail("work_variation", variation);
    variation <= WORK_VARIATION_MAX
}

/// The expected share of each instance.
fn weights(policy: &Policy, instances: &[String]) -> Vec<f64> {
    let weight = |name: &String| match policy {
        Policy::Weighted(weights) => weights
            .iter()
            .filter(|(beginning, _)| name.starts_with(beginning.as_str()))
            .max_by_key(|(beginning, _)| beginning.len())
            .map_or(1.0, |(_, weight)| *weight),
        _ => 1.0,
    };
    let weights: Vec<f64> = instances.iter().map(weight).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}

fn layers(
    instances: &[String],
    fresh: &Tally,
    kept: &Tally,
    many: &[Tally],
    judgement: &mut Judgement,
) {
    let mixed = many.iter().filter(|tally| tally.counts.len() > 1).count();
    judgement.detail("one_connection", json!(kept.counts));
    judgement.detail("connections_with_several_instances", mixed);
    // Where new connections do not spread either, that has been said.
    if instances.len() < 2 || fresh.counts.len() < 2 {
        return;
    }
    if kept.counts.len() > 1 || mixed > 0 {
        judgement.note("requests are balanced (L7)");
    } else {
        judgement
            .warn("a connection stays with its instance: connections are balanced (L4), or stick");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_found_by_the_longest_beginning() {
        let policy = "weighted=lab:1,lab-1:2".parse().unwrap();
        let names = ["lab-1-abc", "lab-2-abc", "other"].map(str::to_owned);
        assert_eq!(weights(&policy, &names), [0.5, 0.25, 0.25]);
        assert_eq!(weights(&Policy::LeastConn, &names[..2]), [0.5, 0.5]);
    }
}
