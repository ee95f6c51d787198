//! What stands on the store: sessions, sign-in codes, the list of instances.

use super::super::suite;
use super::*;

suite! {
    memory => Backend::memory, redis => Backend::redis;
    [
        sessions_open_and_end,
        a_sign_in_code_has_one_redeemer_of_64,
        instances_are_listed,
    ]
}

async fn sessions_open_and_end(backend: &Backend) {
    let sessions = Sessions::new(
        Arc::clone(&backend.store),
        Arc::clone(&backend.clock),
        LONG,
        LONG,
    );
    let elsewhere = Sessions::new(
        Arc::clone(&backend.other),
        Arc::clone(&backend.clock),
        LONG,
        LONG,
    );
    let user = UserId::new(&*backend.clock);
    let metadata = Metadata {
        user_agent: "a browser".to_owned(),
        ip: "192.0.2.1".to_owned(),
    };
    let token = sessions.create(user, metadata.clone()).await.unwrap();
    let second = sessions.create(user, Metadata::default()).await.unwrap();
    let session = elsewhere
        .lookup(&token)
        .await
        .unwrap()
        .expect("an open session");
    assert_eq!((session.user, &session.metadata), (user, &metadata));
    assert_eq!(elsewhere.list(user).await.unwrap().len(), 2);
    assert!(elsewhere.end(&token).await.unwrap());
    assert_eq!(sessions.lookup(&token).await.unwrap(), None);
    assert_eq!(sessions.end_all(user).await.unwrap(), 1);
    assert_eq!(elsewhere.lookup(&second).await.unwrap(), None);
    assert_eq!(elsewhere.list(user).await.unwrap(), []);
}

async fn a_sign_in_code_has_one_redeemer_of_64(backend: &Backend) {
    let user = UserId::new(&*backend.clock);
    let code = SignInCodes::new(Arc::clone(&backend.store))
        .create(user, LONG)
        .await
        .unwrap();
    let redeemed = async |store: &SharedState| {
        let codes = SignInCodes::new(Arc::clone(store));
        codes.redeem(&code).await.unwrap() == Some(user)
    };
    assert_eq!(backend.winners_of_64(redeemed).await, 1);
}

async fn instances_are_listed(backend: &Backend) {
    let line = Instance {
        instance: "host-0123abcd".to_owned(),
        role: "serve".to_owned(),
        version: "0.1.0".to_owned(),
        started_at: backend.clock.now(),
        address: "127.0.0.1:9100".to_owned(),
        figures: serde_json::json!({ "sockets": 3 }),
    };
    Instances::new(Arc::clone(&backend.store))
        .announce(&line)
        .await
        .unwrap();
    let elsewhere = Instances::new(Arc::clone(&backend.other));
    assert_eq!(elsewhere.list().await.unwrap(), std::slice::from_ref(&line));
    assert!(elsewhere.leave(&line.instance).await.unwrap());
    assert_eq!(elsewhere.list().await.unwrap(), []);
}
