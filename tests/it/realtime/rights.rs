//! Who may hear and say what, and what happens when that changes.

use bytes::Bytes;
use reqwest::Method;
use serde_json::{Value, json};
use spheroctl::kit::clock::SystemClock;
use spheroctl::kit::id::{JobId, UserId};
use spheroctl::state::sessions::{Metadata, Sessions};
use std::time::Duration;

use super::address;
use super::connections::me;
use super::raw::{Raw, open};
use crate::support::app::{Person, TestApp, start_with};
use crate::support::{pictures, unique_prefix};

const HOUR: Duration = Duration::from_secs(3_600);

/// A project of the administrator's with an image and a job on it; their channels.
async fn channels(test: &TestApp) -> (String, [String; 3]) {
    let token = &test.admin_token;
    let project = test.project(token, "plate").await;
    let image = test
        .upload(token, &project, "a.png", pictures::png(1))
        .await;
    let submit = test
        .request(token, Method::POST, "/api/v1/jobs")
        .header("idempotency-key", unique_prefix())
        .json(&json!({ "image_id": image }));
    let job: Value = submit.send().await.unwrap().json().await.unwrap();
    let job = job["id"].as_str().expect("a job");
    let channels = [
        format!("project:{project}"),
        format!("image:{image}"),
        format!("job:{job}"),
    ];
    (project, channels)
}

async fn invite(test: &TestApp, project: &str, person: &str) -> UserId {
    let path = format!("/api/v1/projects/{project}/members");
    let put = test.request(&test.admin_token, Method::PUT, &path);
    let put = put.json(&json!({ "email": person, "role": "viewer" }));
    let answer = put.send().await.unwrap();
    assert!(answer.status().is_success());
    let member: Value = answer.json().await.unwrap();
    member["user"].as_str().unwrap().parse().unwrap()
}

async fn refused(raw: &mut Raw, channel: &str) -> u64 {
    let reply = raw
        .command(json!({ "subscribe": { "channel": channel } }))
        .await;
    reply["error"]["code"]
        .as_u64()
        .unwrap_or_else(|| panic!("{reply}"))
}

#[tokio::test]
async fn a_strangers_channel_is_refused_as_one_that_does_not_exist() {
    let test = start_with(&[]).await;
    let (project, channels) = channels(&test).await;
    let stranger = test.person("stranger@example.org").await;
    let mut raw = Raw::connect(&address(&test), &stranger.token).await;
    let nothing = JobId::new(&SystemClock);
    for channel in &channels {
        let (namespace, _) = channel.split_once(':').unwrap();
        assert_eq!(refused(&mut raw, channel).await, 103, "{channel}");
        assert_eq!(
            refused(&mut raw, &format!("{namespace}:{nothing}")).await,
            103
        );
    }
    assert_eq!(
        refused(&mut raw, &format!("user:{}", me(&test).await)).await,
        103
    );
    assert_eq!(refused(&mut raw, &format!("channel:{nothing}")).await, 102);
    raw.subscribe("system").await;
    raw.subscribe(&format!("user:{}", stranger.id)).await;

    invite(&test, &project, "stranger@example.org").await;
    for channel in &channels {
        raw.subscribe(channel).await;
    }
}

#[tokio::test]
async fn people_publish_on_their_own_channel_and_nowhere_else() {
    let test = start_with(&[]).await;
    let (_, channels) = channels(&test).await;
    let mut raw = Raw::connect(&address(&test), &test.admin_token).await;
    let mine = format!("user:{}", me(&test).await);
    let data = json!({ "any": ["thing", 1] });
    let mut publish = async |channel: &str| {
        raw.command(json!({ "publish": { "channel": channel, "data": data } }))
            .await
    };
    for channel in channels.iter().map(String::as_str).chain(["system"]) {
        assert_eq!(publish(channel).await["error"]["code"], 103, "{channel}");
    }
    assert!(publish(&mine).await["publish"].is_object());
    raw.subscribe(&mine).await;
    let history = json!({ "history": { "channel": mine, "limit": -1 } });
    let history = raw.command(history).await;
    assert_eq!(history["history"]["publications"][0]["data"], data);
    assert_eq!(history["history"]["offset"], 1);
}

#[tokio::test]
async fn a_session_connects_by_its_cookie_and_ends_with_it() {
    let test = start_with(&[]).await;
    let person = test.person("person@example.org").await;
    let sessions = Sessions::new(test.app.state.clone(), test.app.clock.clone(), HOUR, HOUR);
    let token = sessions
        .create(person.id, Metadata::default())
        .await
        .unwrap();
    let cookie = format!("sid={token}");
    let headers = [("cookie", cookie.as_str()), ("origin", &test.url)];
    let (mut raw, _) = open(&address(&test), &headers).await.ok().unwrap();
    let reply = raw.command(json!({ "connect": {} })).await;
    assert_eq!(reply["connect"]["data"]["user"], person.id.to_string());
    let sign_out = test.anonymous(Method::DELETE, "/api/v1/session");
    let sign_out = sign_out
        .header("cookie", &cookie)
        .header("origin", &test.url);
    assert_eq!(sign_out.send().await.unwrap().status(), 204);
    assert_eq!(raw.closed().await.0, 3500);
}

/// A member of the administrator's project who hears it.
async fn listening(test: &TestApp) -> (String, [String; 3], Person, Raw) {
    let (project, channels) = channels(test).await;
    let member = test.person("member@example.org").await;
    invite(test, &project, "member@example.org").await;
    let mut raw = Raw::connect(&address(test), &member.token).await;
    for channel in &channels {
        raw.subscribe(channel).await;
    }
    raw.subscribe("system").await;
    (project, channels, member, raw)
}

/// The channels of the next pushes that end a subscription for want of rights.
async fn lost(raw: &mut Raw, count: usize) -> Vec<String> {
    let mut lost = Vec::new();
    while lost.len() < count {
        let push = raw.push().await;
        if push["unsubscribe"]["code"] == 2000 {
            lost.push(push["channel"].as_str().unwrap().to_owned());
        }
    }
    lost.sort();
    lost
}

#[tokio::test]
async fn who_is_taken_out_of_a_project_hears_it_no_more_at_once() {
    let test = start_with(&[]).await;
    let (project, channels, member, mut raw) = listening(&test).await;
    let path = format!("/api/v1/projects/{project}/members/{}", member.id);
    let remove = test.request(&test.admin_token, Method::DELETE, &path);
    assert_eq!(remove.send().await.unwrap().status(), 204);
    let mut expected = channels.to_vec();
    expected.sort();
    assert_eq!(lost(&mut raw, 3).await, expected);
    assert_eq!(refused(&mut raw, &channels[0]).await, 103);
}

#[tokio::test]
async fn a_loss_of_rights_that_nobody_told_of_is_found_by_the_regular_look() {
    let test = start_with(&[("realtime.reauthorise_interval_ms", "300")]).await;
    let (project, _, member, mut raw) = listening(&test).await;
    let (db, clock) = (&test.app.db, &*test.app.clock);
    let principal = spheroctl::domain::access::Principal {
        user: member.id,
        role: spheroctl::domain::users::Role::User,
    };
    let project = project.parse().unwrap();
    spheroctl::domain::projects::remove_member(db, clock, &principal, project, member.id)
        .await
        .unwrap();
    assert_eq!(lost(&mut raw, 3).await.len(), 3);
}

#[tokio::test]
async fn a_token_that_is_revoked_closes_its_connections_and_no_others() {
    let test = start_with(&[]).await;
    let create = test.request(&test.admin_token, Method::POST, "/api/v1/tokens");
    let made: Value = create
        .json(&json!({ "name": "other" }))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let secret = made["secret"].as_str().unwrap_or_else(|| panic!("{made}"));
    let url = address(&test);
    let mut revoked = Raw::connect(&url, secret).await;
    let mut kept = Raw::connect(&url, &test.admin_token).await;
    let path = format!("/api/v1/tokens/{}", made["id"].as_str().unwrap());
    let revoke = test.request(&test.admin_token, Method::DELETE, &path);
    assert_eq!(revoke.send().await.unwrap().status(), 204);
    assert_eq!(revoked.closed().await, (3500, "invalid token".to_owned()));
    assert!(kept.command(json!({ "ping": {} })).await["ping"].is_object());
}

#[tokio::test]
async fn a_payload_travels_as_it_was_written() {
    let test = start_with(&[]).await;
    let mut raw = Raw::connect(&address(&test), &test.admin_token).await;
    let mine = format!("user:{}", me(&test).await);
    raw.subscribe(&mine).await;
    raw.send(&format!(
        r#"{{"id":99,"publish":{{"channel":"{mine}","data":{{"b": 1.50, "a":"é\n"}}}}}}"#
    ))
    .await;
    let push = raw.push().await;
    assert_eq!(push["pub"]["info"]["user"], mine["user:".len()..]);
    let state = &test.app.state;
    let key = format!("realtime:channel:{mine}");
    let kept = state.recall(&key, 0).await.unwrap();
    let exact = Bytes::from_static(r#"{"b": 1.50, "a":"é\n"}"#.as_bytes());
    let found = kept.entries[0]
        .payload
        .windows(exact.len())
        .any(|part| part == exact);
    assert!(found, "{:?}", kept.entries[0].payload);
}
