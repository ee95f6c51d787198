//! What the published client is promised: everything in order, wherever it is connected, or an honest word that something is
//! gone.

use serde_json::{Value, json};
use spheroctl::domain::jobs::Status;
use spheroctl::domain::push::{Channel, JobEnd};
use spheroctl::kit::clock::SystemClock;
use spheroctl::kit::id::{EventId, JobId};

use super::connections::me;
use super::published::Published;
use super::{SOON, Two, address, publish, socket_url};
use crate::support::app::start_with;
use crate::support::product::Product;
use crate::support::redis_server::RedisServer;
use crate::support::{eventually, pictures};

/// The data of the next publications.
async fn data(client: &mut Published, count: usize) -> Vec<Value> {
    let mut data = Vec::new();
    while data.len() < count {
        data.push(client.event("publication").await["data"].clone());
    }
    data
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_person_says_on_one_instance_is_heard_on_another_in_both_forms() {
    let installation = Two::start(&[]).await;
    let me = me(&installation.one).await;
    let mine = format!("user:{me}");
    for (speaks, hears) in [("json", "protobuf"), ("protobuf", "json")] {
        let token = &installation.one.admin_token;
        let mut speaker = Published::connect(speaks, token, &address(&installation.one)).await;
        let mut hearer = Published::connect(hears, token, &address(&installation.two)).await;
        hearer.subscribe(&mine).await;
        let said = json!({ "from": speaks });
        speaker.tell(json!({ "publish": [mine, said] })).await;
        speaker.event("published").await;
        let heard = hearer.event("publication").await;
        assert_eq!((&heard["data"], &heard["user"]), (&said, &json!(me)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_comes_back_to_another_instance_misses_nothing() {
    let installation = Two::start(&[]).await;
    let (one, two) = (&installation.one, &installation.two);
    let me = me(one).await;
    let mut client = Published::connect("json", &one.admin_token, &address(one)).await;
    client.subscribe(&format!("user:{me}")).await;
    publish(two, me, &1).await;
    assert_eq!(data(&mut client, 1).await, [1]);
    client.tell(json!({ "disconnect": true })).await;
    client.event("disconnected").await;
    for number in 2..=40 {
        publish(one, me, &number).await;
    }
    client.tell(json!({ "connect": address(two) })).await;
    let subscribed = client.event("subscribed").await;
    assert_eq!(
        (&subscribed["was_recovering"], &subscribed["recovered"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(
        data(&mut client, 39).await,
        (2..=40).map(Value::from).collect::<Vec<_>>()
    );
    publish(one, me, &41).await;
    assert_eq!(data(&mut client, 1).await, [41]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_told_when_what_it_missed_is_gone() {
    let test = start_with(&[]).await;
    let me = me(&test).await;
    let mut client = Published::connect("json", &test.admin_token, &address(&test)).await;
    client.subscribe(&format!("user:{me}")).await;
    publish(&test, me, &0).await;
    data(&mut client, 1).await;
    client.tell(json!({ "disconnect": true })).await;
    client.event("disconnected").await;
    for number in 0..=Channel::User(me).keep().messages_max {
        publish(&test, me, &number).await;
    }
    client.tell(json!({ "connect": address(&test) })).await;
    let subscribed = client.event("subscribed").await;
    assert_eq!(
        (&subscribed["was_recovering"], &subscribed["recovered"]),
        (&json!(true), &json!(false))
    );
    publish(&test, me, &"now").await;
    assert_eq!(data(&mut client, 1).await, ["now"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_whose_instance_stops_goes_on_at_another_without_a_gap() {
    let installation = Two::start(&[("realtime.drain_ms", "100")]).await;
    let (one, two) = (&installation.one, &installation.two);
    let me = me(one).await;
    let mut client = Published::connect("json", &one.admin_token, &address(one)).await;
    client.subscribe(&format!("user:{me}")).await;
    one.app.lifecycle.drain();
    let connecting = client.event("connecting").await;
    assert_eq!(connecting["code"], 3001);
    for number in 0..10 {
        publish(two, me, &number).await;
    }
    // As a balancer would send it.
    client.tell(json!({ "disconnect": true })).await;
    client.event("disconnected").await;
    client.tell(json!({ "connect": address(two) })).await;
    assert_eq!(client.event("subscribed").await["recovered"], true);
    assert_eq!(
        data(&mut client, 10).await,
        (0..10).map(Value::from).collect::<Vec<_>>()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_told_again_is_heard_once() {
    let test = start_with(&[]).await;
    let me = me(&test).await;
    let mut client = Published::connect("json", &test.admin_token, &address(&test)).await;
    client.subscribe(&format!("user:{me}")).await;
    let job = JobId::new(&SystemClock);
    let end = JobEnd {
        event: EventId::new(&SystemClock),
        job,
        owner: me,
        attempt: 1,
        status: Status::Completed,
    };
    for ends in [&[end, end][..], &[end]] {
        test.app.push.jobs_ended(ends).await.unwrap();
    }
    publish(&test, me, &"next").await;
    let heard = data(&mut client, 2).await;
    let ended = json!({ "type": "ended", "job": job, "attempt": 1, "status": "completed" });
    assert_eq!(heard, [ended, json!("next")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_watch_a_project_see_each_other_over_instances() {
    let installation = Two::start(&[]).await;
    let (one, two) = (&installation.one, &installation.two);
    let token = &one.admin_token;
    let project = format!("project:{}", one.project(token, "plate").await);
    let mut first = Published::connect("json", token, &address(one)).await;
    first.subscribe(&project).await;
    let joined = first.event("join").await;
    let mut second = Published::new("json", token).await;
    second.tell(json!({ "connect": address(two) })).await;
    let client = second.event("connected").await["client"].clone();
    second.subscribe(&project).await;
    assert_eq!(first.event("join").await["client"], client);
    first.tell(json!({ "presence": project })).await;
    let present = first.event("presence").await["clients"].clone();
    assert_eq!(present.as_array().unwrap().len(), 2);
    assert!(present.as_array().unwrap().contains(&joined["client"]));
    second.tell(json!({ "disconnect": true })).await;
    assert_eq!(first.event("leave").await["client"], client);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_followed_from_any_gateway_whichever_worker_runs_it() {
    let product = Product::scaled(&[]).await;
    let server = product.start("serve", &[]).await;
    let gateways = [
        product.start("realtime", &[]).await,
        product.start("realtime", &[]).await,
    ];
    let lab = product.lab(&server).await;
    let image = lab.upload("many.tif", pictures::many()).await;
    let job = lab.submit(&image, 1).await.remove(0);
    let channel = format!("job:{job}");
    let mut clients = Vec::new();
    for gateway in &gateways {
        let address = socket_url(&gateway.public().await);
        let mut client = Published::connect("json", &lab.token, &address).await;
        client.subscribe(&channel).await;
        clients.push(client);
    }
    let address = socket_url(&gateways[0].public().await);
    let mut owner = Published::connect("json", &lab.token, &address).await;
    let me = lab.get("/api/v1/session").await["id"].clone();
    owner
        .subscribe(&format!("user:{}", me.as_str().expect("an id")))
        .await;
    // Nobody takes jobs before everybody listens.
    let _worker = product.start("worker", &[]).await;
    for client in &mut clients {
        // A machine that is quick enough tells of no progress before the end.
        let progress = status(client, "completed").await;
        assert!(progress.is_sorted(), "{progress:?}");
    }
    // The durable event, by way of outbox, log and `notifier`.
    let told = ended(&mut owner).await;
    assert_eq!(
        (&told["job"], &told["status"]),
        (&json!(job), &json!("completed"))
    );
    for (gateway, count) in gateways.iter().zip([2.0, 1.0]) {
        eventually("the gauges tell of the clients", SOON, async || {
            gateway.metric("spheroctl_ws_connections").await == count
                && gateway.metric("spheroctl_ws_subscriptions").await == count
        })
        .await;
    }
}

/// Waits until the job has this status; the progress that was told before.
async fn status(client: &mut Published, status: &str) -> Vec<u64> {
    let mut progress = Vec::new();
    loop {
        let data = client.event("publication").await["data"].clone();
        if data["status"] == status {
            return progress;
        }
        progress.extend(data["percent"].as_u64());
    }
}

/// Waits for the end of a job, told as an event.
async fn ended(client: &mut Published) -> Value {
    loop {
        let data = client.event("publication").await["data"].clone();
        if data["type"] == "ended" {
            return data;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_store_that_forgot_everything_is_noticed_and_what_comes_next_is_heard() {
    let mut server = RedisServer::start().await;
    let url = format!("redis://{}", server.address());
    let test = start_with(&[("redis.enabled", "true"), ("redis.url", &url)]).await;
    let me = me(&test).await;
    let mut client = Published::connect("json", &test.admin_token, &address(&test)).await;
    client.subscribe(&format!("user:{me}")).await;
    publish(&test, me, &"before").await;
    data(&mut client, 1).await;
    server.kill().await;
    server.start_again().await;
    assert_eq!(client.event("subscribing").await["code"], 2500);
    assert_eq!(client.event("subscribed").await["recovered"], false);
    publish(&test, me, &"after").await;
    assert_eq!(data(&mut client, 1).await, ["after"]);
}
