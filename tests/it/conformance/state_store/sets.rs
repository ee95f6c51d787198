//! Members, their values and their lifetimes.

use super::super::suite;
use super::*;

suite! {
    memory => Backend::memory, redis => Backend::redis;
    [
        presence_ends_and_is_prolonged_by_joining_again,
        members_are_sorted_and_leave_once,
        a_set_and_a_key_of_one_name_are_two_things,
        odd_bytes_in_keys_members_and_values,
    ]
}

async fn presence_ends_and_is_prolonged_by_joining_again(backend: &Backend) {
    assert!(backend.join("a", SHORT).await);
    assert!(backend.join("b", SHORT).await);
    assert!(!backend.join("b", LONG).await);
    assert_eq!(backend.present().await, ["a", "b"]);
    backend.pass(SHORT);
    eventually("a is gone", PATIENCE, async || {
        backend.present().await == ["b"]
    })
    .await;
    assert!(
        backend.join("a", LONG).await,
        "a comes back as a new member"
    );
    assert_eq!(backend.present().await, ["a", "b"]);
}

async fn members_are_sorted_and_leave_once(backend: &Backend) {
    for member in ["b", "a", "C"] {
        backend.join(member, LONG).await;
    }
    assert_eq!(backend.present().await, ["C", "a", "b"]);
    assert!(backend.store.leave("room", "a").await.unwrap());
    assert!(!backend.store.leave("room", "a").await.unwrap());
    assert!(!backend.store.leave("nowhere", "a").await.unwrap());
    assert_eq!(backend.present().await, ["C", "b"]);
    assert_eq!(backend.store.members("nowhere").await.unwrap(), []);
}

async fn a_set_and_a_key_of_one_name_are_two_things(backend: &Backend) {
    backend.put("room", "v", LONG, When::Always).await;
    backend.join("a", LONG).await;
    assert!(backend.store.delete("room").await.unwrap());
    assert_eq!(backend.present().await, ["a"]);
}

async fn odd_bytes_in_keys_members_and_values(backend: &Backend) {
    let odd = [
        "",
        " ",
        "a b",
        "}",
        "{",
        "{}",
        "a}b{c",
        "new\nline\r\n",
        "ünïcödé 🧫",
        "nul\0nul",
        "%7D",
        "*?[x]",
    ];
    let value = Bytes::from_static(b"\0\xff\xfe\r\n{}");
    for name in odd {
        let wrote = backend
            .store
            .put(name, value.clone(), LONG, When::Absent)
            .await
            .unwrap();
        assert!(wrote, "{name:?} is a key of its own");
        assert!(
            backend
                .store
                .join(name, name, value.clone(), LONG)
                .await
                .unwrap()
        );
    }
    for name in odd {
        let members = backend.other.members(name).await.unwrap();
        assert_eq!(members, [(name.to_owned(), value.clone())]);
        let when = When::Equals(value.clone());
        assert!(
            backend
                .other
                .put(name, Bytes::new(), LONG, when)
                .await
                .unwrap()
        );
        assert_eq!(backend.store.take(name).await.unwrap(), Some(Bytes::new()));
    }
}
