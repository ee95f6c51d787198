//! Whether the limit is the promised one: a crowd gets the burst and no more, at once; then the rate; a spoofed address
//! buys nothing; another client is not affected.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use http::{HeaderValue, Method, Request, StatusCode};
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};

use crate::lb_check::client::{Answer, Client, Connection, Outgoing};
use crate::lb_check::context::{Context, ECHO};
use crate::lb_check::judgement::Judgement;
use crate::lb_check::plan::RateLimit;

/// The crowd is so many times what is let through at once.
const CROWD: u32 = 3;
/// Most connections of the crowd.
const CROWD_MAX: usize = 600;
/// One that is let through is let through at once: a limit that makes it wait is no limit but a queue.
const ACCEPTED_MAX: Duration = Duration::from_secs(1);
/// The refill may be off by so much of itself, and by one.
const REFILL_TOLERANCE: f64 = 0.2;
/// While the refill is watched, so many times more is asked than is let through.
const REFILL_PRESSURE: u32 = 2;
/// Longest wait that a refusal may ask for and that is kept here.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// A burst is forgotten after as many intervals as it has requests; where rates are averaged over a window, after two.
const FORGOTTEN_AFTER: u32 = 2;
/// Requests with an address that is not theirs.
const SPOOFS: u32 = 3;

pub(super) async fn run(context: &Context<'_>) -> Judgement {
    let Some(limit) = context.plan.rate_limit else {
        return Judgement::skip("name the limit with --rate-limit");
    };
    if !context.client.has_token() {
        return Judgement::skip("needs a token");
    }
    let mut judgement = Judgement::new();
    let patient = context.client.with_limit(RETRY_MAX);
    forgotten(limit).await;
    let crowd = match crowd(&patient, limit).await {
        Ok(crowd) => crowd,
        Err(reason) => {
            judgement.fail(reason);
            return judgement;
        }
    };
    let refusal = judge_crowd(limit, &crowd, &mut judgement);
    let Some(refusal) = refusal else {
        judgement.fail("nobody was refused");
        return judgement;
    };
    let since = Instant::now();
    spoof(&patient, limit, since, &mut judgement).await;
    second_client(context, &refusal, &mut judgement).await;
    // One that lets wait instead of refusing has no refill to be watched.
    if crowd.took < ACCEPTED_MAX {
        refill(context, limit, &refusal, &mut judgement).await;
    }
    forgotten(limit).await;
    judgement
}

/// Waits until nothing is left of what was used up: before the phase what others asked, after it what it asked itself.
async fn forgotten(limit: RateLimit) {
    sleep(limit.interval() * (limit.burst + 1) * FORGOTTEN_AFTER).await;
}

/// What the crowd was answered.
struct Crowd {
    answers: Vec<Answer>,
    failures: usize,
    took: Duration,
}

fn request(client: &Client) -> Request<Outgoing> {
    client.with_token(Method::POST, ECHO, Bytes::new())
}

/// Connects first, so that the requests come at once.
async fn crowd(client: &Client, limit: RateLimit) -> Result<Crowd, String> {
    let size = usize::try_from(CROWD * (limit.burst + 1))
        .unwrap_or(CROWD_MAX)
        .min(CROWD_MAX);
    let connections = join_all((0..size).map(|_| client.connect())).await;
    let connections: Result<Vec<Connection>, _> = connections.into_iter().collect();
    let mut connections = connections.map_err(|error| error.to_string())?;
    let start = Instant::now();
    let asking = connections
        .iter_mut()
        .map(|connection| connection.send(request(client)));
    let answers = join_all(asking).await;
    let all = answers.len();
    let answers: Vec<Answer> = answers.into_iter().flatten().collect();
    // Those that were let through tell how long the crowd was at the door; refusals of a slow machine come later.
    let took = answers
        .iter()
        .filter(|answer| answer.status.is_success())
        .map(|answer| answer.took)
        .max();
    Ok(Crowd {
        failures: all - answers.len(),
        answers,
        took: took.unwrap_or_default().min(start.elapsed()),
    })
}

/// Says what is to be said, and returns one of the refusals.
fn judge_crowd(limit: RateLimit, crowd: &Crowd, judgement: &mut Judgement) -> Option<Answer> {
    let status = |status: StatusCode| {
        crowd
            .answers
            .iter()
            .filter(move |answer| answer.status == status)
    };
    let accepted = crowd
        .answers
        .iter()
        .filter(|answer| answer.status.is_success())
        .count() as u64;
    let refused = status(StatusCode::TOO_MANY_REQUESTS).count() as u64;
    let others = crowd.answers.len() as u64 - accepted - refused;
    judgement.detail("crowd", json!({
        "requests": crowd.answers.len(), "accepted": accepted, "refused": refused, "failures": crowd.failures,
        "others": others, "slowest_accepted_s": crowd.took.as_secs_f64(),
    }));
    let at_once = u64::from(limit.burst) + 1;
    // While the crowd was at the door, the limit let some more in.
    let meanwhile = passed_in(limit, crowd.took);
    let good = (at_once.saturating_sub(1)..=at_once + 1 + meanwhile).contains(&accepted);
    judgement.expect(
        good,
        format!(
            "{accepted} of {} let through, {refused} refused",
            crowd.answers.len()
        ),
    );
    if others > 0 || crowd.failures > 0 {
        judgement.fail(format!(
            "{} were answered otherwise",
            others + crowd.failures as u64
        ));
    }
    let slow = format!("slowest of them {:.2} s", crowd.took.as_secs_f64());
    judgement.expect(crowd.took < ACCEPTED_MAX, slow);
    let silent = status(StatusCode::TOO_MANY_REQUESTS)
        .filter(|answer| answer.retry_after().is_none())
        .count();
    if silent > 0 {
        judgement.fail(format!("{silent} refusals without Retry-After"));
    }
    status(StatusCode::TOO_MANY_REQUESTS).next().cloned()
}

/// How many requests the limit lets through in some time.
fn passed_in(limit: RateLimit, time: Duration) -> u64 {
    let count = time.as_secs_f64() / limit.interval().as_secs_f64();
    count.ceil() as u64
}

/// A used-up limit stays used up, whatever address the request claims to come from.
async fn spoof(client: &Client, limit: RateLimit, since: Instant, judgement: &mut Judgement) {
    let mut passed = 0;
    for number in 0..SPOOFS {
        let mut lie = request(client);
        let address = format!("203.0.113.{}", number + 1);
        if let Ok(value) = HeaderValue::from_str(&address) {
            lie.headers_mut().insert("x-forwarded-for", value.clone());
            lie.headers_mut().insert("x-real-ip", value);
        }
        let answer = client.once(lie).await;
        passed += u64::from(answer.is_ok_and(|answer| answer.status.is_success()));
    }
    // Time passed: the limit itself let some through.
    let honest = passed_in(limit, since.elapsed());
    judgement.detail("spoofed_let_through", passed);
    if passed > honest {
        judgement.fail(format!(
            "{passed} of {SPOOFS} got in with a spoofed address"
        ));
    }
}

/// Another client: from another address of this machine, or, where users are limited, without the token.
async fn second_client(context: &Context<'_>, refusal: &Answer, judgement: &mut Judgement) {
    let Some(source) = context.plan.sources.get(1) else {
        judgement.note("no second address to ask from (--source)");
        return;
    };
    let client = context.client.asking_from(*source);
    let by_user = refusal.headers.contains_key("ratelimit");
    let asked = if by_user {
        client.request(Method::POST, ECHO, Bytes::new())
    } else {
        request(&client)
    };
    match client.once(asked).await {
        Ok(answer) if answer.status == StatusCode::TOO_MANY_REQUESTS => {
            judgement.fail(format!("{source} is refused for what others asked"));
        }
        Ok(_) => judgement.note("a second client is let in"),
        Err(error) => judgement.fail(format!("from {source}: {error}")),
    }
}

/// After the wait that the refusal asked for, the rate is the promised one.
async fn refill(
    context: &Context<'_>,
    limit: RateLimit,
    refusal: &Answer,
    judgement: &mut Judgement,
) {
    let client = &context.client;
    let wait = refusal.retry_after().unwrap_or_default().min(RETRY_MAX);
    sleep(wait).await;
    let watched = context.plan.refill;
    let gap = limit.interval() / REFILL_PRESSURE;
    let expected = watched.as_secs_f64() / limit.interval().as_secs_f64();
    // What was refilled while nobody asked is used up first.
    for _ in 0..limit.burst + 2 {
        let answer = client.once(request(client)).await;
        if answer.is_ok_and(|answer| answer.status == StatusCode::TOO_MANY_REQUESTS) {
            break;
        }
    }
    let (start, mut passed) = (Instant::now(), 0.0);
    let Ok(mut connection) = client.connect().await else {
        return judgement.fail("no connection after the wait");
    };
    let mut next = start;
    while start.elapsed() < watched {
        if !connection.is_open() {
            match client.connect().await {
                Ok(fresh) => connection = fresh,
                Err(error) => return judgement.fail(error.to_string()),
            }
        }
        let answer = connection.send(request(client)).await;
        passed += f64::from(u8::from(
            answer.is_ok_and(|answer| answer.status.is_success()),
        ));
        next += gap;
        sleep_until(next).await;
    }
    judgement.detail(
        "refill",
        json!({ "seconds": watched.as_secs_f64(), "let_through": passed, "expected": expected }),
    );
    let off = (passed - expected).abs();
    let words = format!(
        "{passed} in {} s, {expected:.0} promised",
        watched.as_secs()
    );
    judgement.expect(off <= expected * REFILL_TOLERANCE + 1.0, words);
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;

    const LIMIT: RateLimit = RateLimit {
        per_minute: 100,
        burst: 20,
    };

    fn crowd_of(accepted: usize, refused: usize, slowest: Duration) -> Crowd {
        let answer = |status: u16| Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::from_iter([(
                http::header::RETRY_AFTER,
                HeaderValue::from_static("1"),
            )]),
            body: Bytes::new(),
            took: slowest,
        };
        let answers = (0..accepted)
            .map(|_| answer(200))
            .chain((0..refused).map(|_| answer(429)));
        Crowd {
            answers: answers.collect(),
            failures: 0,
            took: slowest,
        }
    }

    fn verdict(crowd: &Crowd) -> String {
        let mut judgement = Judgement::new();
        judge_crowd(LIMIT, crowd, &mut judgement);
        judgement.finish("rate-limit", "", Duration::ZERO).line()
    }

    #[test]
    fn a_crowd_is_judged() {
        let quick = Duration::from_millis(50);
        assert!(verdict(&crowd_of(21, 42, quick)).starts_with("PASS"));
        assert!(verdict(&crowd_of(20, 43, quick)).starts_with("PASS"));
        assert!(verdict(&crowd_of(63, 0, quick)).starts_with("FAIL"));
        assert!(verdict(&crowd_of(1, 62, quick)).starts_with("FAIL"));
        // The burst was let through in the rhythm of the rate.
        assert!(verdict(&crowd_of(21, 42, Duration::from_secs(12))).starts_with("FAIL"));
    }
}
