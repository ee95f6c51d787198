//! How connections begin and end.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;

use futures::SinkExt;

use super::raw::{Raw, open};
use super::{address, publish};
use crate::support::app::{TestApp, start_with, start_without_worker};

#[tokio::test]
async fn only_a_handshake_of_our_own_page_or_of_no_page_is_upgraded() {
    let test = start_with(&[("realtime.connections_max", "1")]).await;
    let plain = test.anonymous(Method::GET, "/connection/websocket");
    let plain = plain.send().await.unwrap();
    assert_eq!(plain.status(), 426);
    assert_eq!(plain.headers()["upgrade"], "websocket");

    let foreign = [("origin", "https://elsewhere.example.org")];
    let refusal = open(&address(&test), &foreign).await.err().unwrap();
    assert_eq!(refusal.status(), 403);

    let ours = [("origin", test.url.as_str())];
    let (_raw, answer) = open(&address(&test), &ours).await.ok().unwrap();
    let instance = answer.headers()["x-instance-id"].to_str().unwrap();
    assert_eq!(instance, test.app.instance.unique());

    let refusal = open(&address(&test), &ours).await.err().unwrap();
    assert_eq!(refusal.status(), 503);
    assert!(refusal.headers().contains_key("retry-after"));
}

#[tokio::test]
async fn the_welcome_names_the_instance_and_the_lists_hold_the_connection() {
    let test = start_with(&[]).await;
    let mut raw = Raw::silent(&address(&test)).await;
    let reply = raw
        .command(json!({ "connect": { "token": test.admin_token } }))
        .await;
    let welcome = &reply["connect"];
    assert_eq!(welcome["node"], test.app.instance.unique());
    assert_eq!(welcome["pong"], true);
    let (client, user) = (
        welcome["client"].as_str().unwrap(),
        welcome["data"]["user"].as_str().unwrap(),
    );
    let state = &test.app.state;
    let listed = state
        .members(&format!("ws:user:{user}:conns"))
        .await
        .unwrap();
    assert_eq!(listed[0].0, client);
    let entry = state
        .get(&format!("ws:conn:{client}"))
        .await
        .unwrap()
        .unwrap();
    let entry: Value = serde_json::from_slice(&entry).unwrap();
    assert_eq!(entry["instance"], test.app.instance.unique());
    drop(raw);
    crate::support::eventually("the lists are empty", super::SOON, async || {
        let listed = state
            .members(&format!("ws:user:{user}:conns"))
            .await
            .unwrap();
        let entry = state.get(&format!("ws:conn:{client}")).await.unwrap();
        listed.is_empty() && entry.is_none()
    })
    .await;
}

#[tokio::test]
async fn nobody_is_let_in_without_a_good_credential() {
    let test = start_with(&[("realtime.connect_timeout_ms", "300")]).await;
    for token in ["", "spc_nonsense", "nonsense"] {
        let mut raw = Raw::silent(&address(&test)).await;
        let connect = json!({ "id": 1, "connect": { "token": token } });
        raw.send(&connect.to_string()).await;
        assert_eq!(raw.closed().await, (3500, "invalid token".to_owned()));
    }
    let mut early = Raw::silent(&address(&test)).await;
    early
        .send(r#"{"id":1,"subscribe":{"channel":"system"}}"#)
        .await;
    assert_eq!(early.closed().await.0, 3501);
    let mut mute = Raw::silent(&address(&test)).await;
    assert_eq!(mute.closed().await, (3502, "stale".to_owned()));
}

#[tokio::test]
async fn a_person_has_only_so_many_connections() {
    let test = start_with(&[("realtime.connections_per_user_max", "2")]).await;
    let url = address(&test);
    let first = Raw::connect(&url, &test.admin_token).await;
    let _second = Raw::connect(&url, &test.admin_token).await;
    let mut third = Raw::silent(&url).await;
    let connect = json!({ "id": 1, "connect": { "token": test.admin_token } });
    third.send(&connect.to_string()).await;
    assert_eq!(third.closed().await, (3013, "connection limit".to_owned()));
    let other = test.person("other@example.org").await;
    Raw::connect(&url, &other.token).await;
    drop(first);
    crate::support::eventually("there is room again", super::SOON, async || {
        let mut again = Raw::silent(&url).await;
        again.send(&connect.to_string()).await;
        let message = futures::StreamExt::next(&mut again.socket).await;
        matches!(message, Some(Ok(Message::Text(_))))
    })
    .await;
}

#[tokio::test]
async fn who_breaks_the_protocol_is_told_by_the_code() {
    let test = start_with(&[("realtime.message_bytes_max", "2048")]).await;
    let url = address(&test);
    let mut large = Raw::connect(&url, &test.admin_token).await;
    large.send(&"x".repeat(2_049)).await;
    assert_eq!(large.closed().await.0, 1009);

    let mut nonsense = Raw::connect(&url, &test.admin_token).await;
    nonsense.send("nonsense").await;
    assert_eq!(nonsense.closed().await.0, 3501);

    let mut unmasked = Raw::connect(&url, &test.admin_token).await;
    unmasked
        .socket
        .get_mut()
        .write_all(b"\x81\x02{}")
        .await
        .unwrap();
    assert_eq!(unmasked.closed().await.0, 1002);

    let mut polite = Raw::connect(&url, &test.admin_token).await;
    polite
        .socket
        .send(Message::Ping("now".into()))
        .await
        .unwrap();
    let pong = futures::StreamExt::next(&mut polite.socket).await;
    assert_eq!(pong.unwrap().unwrap(), Message::Pong("now".into()));
    polite.socket.close(None).await.unwrap();
    let goodbye = futures::StreamExt::next(&mut polite.socket).await;
    assert!(
        matches!(goodbye, Some(Ok(Message::Close(Some(frame)))) if u16::from(frame.code) == 1000)
    );
}

#[tokio::test]
async fn commands_above_the_budget_are_refused_and_may_come_later() {
    let settings = [
        ("realtime.commands_per_s", "1"),
        ("realtime.commands_burst", "2"),
    ];
    let test = start_with(&settings).await;
    let mut raw = Raw::connect(&address(&test), &test.admin_token).await;
    raw.command(json!({ "ping": {} })).await;
    let reply = raw.command(json!({ "ping": {} })).await;
    assert_eq!(reply["error"]["code"], 111);
    assert_eq!(reply["error"]["temporary"], true);
    crate::support::eventually("the budget fills", super::SOON, async || {
        raw.command(json!({ "ping": {} })).await["error"].is_null()
    })
    .await;
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_closed_and_one_that_does_is_not() {
    let settings = [
        ("realtime.ping_interval_ms", "1000"),
        ("realtime.pong_timeout_ms", "500"),
    ];
    let test = start_with(&settings).await;
    let mut deaf = Raw::connect(&address(&test), &test.admin_token).await;
    deaf.answers_pings = false;
    assert_eq!(deaf.closed().await, (3012, "no pong".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_is_closed_and_nobody_waits_for_it() {
    let test = start_with(&[("realtime.waiting_bytes_max", "65536")]).await;
    let (url, me) = (address(&test), me(&test).await);
    let mut slow = Raw::connect(&url, &test.admin_token).await;
    slow.subscribe(&format!("user:{me}")).await;
    let mut quick = Raw::connect(&url, &test.admin_token).await;
    quick.subscribe(&format!("user:{me}")).await;
    let message = "x".repeat(30_000);
    // The sockets' own buffers hold some megabytes of what is not read.
    for _ in 0..400 {
        publish(&test, me, &message).await;
        assert_eq!(quick.push().await["pub"]["data"], message);
    }
    assert_eq!(slow.closed().await, (3008, "slow".to_owned()));
}

#[tokio::test]
async fn a_process_that_stops_closes_its_connections_so_that_clients_go_elsewhere() {
    let test = start_with(&[("realtime.drain_ms", "300")]).await;
    let url = address(&test);
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(Raw::connect(&url, &test.admin_token).await);
    }
    test.app.lifecycle.drain();
    for client in &mut clients {
        assert_eq!(client.closed().await, (3001, "shutdown".to_owned()));
    }
    assert!(test.app.lifecycle.finish(Duration::from_secs(20)).await);
}

#[tokio::test]
async fn serve_alone_has_no_gateway() {
    let test = start_without_worker().await;
    let answer = test.anonymous(Method::GET, "/connection/websocket").send();
    assert_eq!(answer.await.unwrap().status(), 404);
}

/// The administrator.
pub(super) async fn me(test: &TestApp) -> spheroctl::kit::id::UserId {
    let me = test.get(&test.admin_token, "/api/v1/session").await;
    me["id"].as_str().unwrap().parse().unwrap()
}
