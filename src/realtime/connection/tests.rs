use super::super::hub::broadcast;
use super::super::protocol::{Codec, Error};
use super::*;
use crate::domain::push::{Author, Told};
use crate::kit::clock::SystemClock;
use crate::kit::id::JobId;
use crate::state::feed::Entry;

struct Fed {
    connection: Connection,
    user: UserId,
}

impl Fed {
    /// A client that has said nothing.
    fn new() -> Self {
        let terms = Terms {
            node: "node-1".into(),
            ping_interval: Duration::from_secs(25),
            channels_max: 2,
        };
        Self {
            connection: Connection::new(terms, "client-1".into()),
            user: UserId::new(&SystemClock),
        }
    }

    /// A client that is known.
    fn known() -> Self {
        let mut fed = Self::new();
        assert!(matches!(
            fed.send(r#"{"id":1,"connect":{"token":"t"}}"#),
            Step::Ask(Ask::Identify(Some(_)))
        ));
        let welcome = fed.answer(Answer::Identified(fed.user));
        assert!(welcome.connect.is_some());
        fed
    }

    fn send(&mut self, line: &str) -> Step {
        let commands = Codec::Json.decode(line.as_bytes()).unwrap();
        let [command] = &commands[..] else {
            panic!("one command");
        };
        self.connection.command(command.clone())
    }

    fn answer(&mut self, answer: Answer) -> Reply {
        match self.connection.answer(answer) {
            Step::Reply(reply) | Step::Subscribed(reply, ..) => reply,
            other => panic!("{other:?}"),
        }
    }

    fn subscribe(&mut self, channel: Channel, more: &str) -> Step {
        self.send(&format!(
            r#"{{"id":2,"subscribe":{{"channel":"{channel}"{more}}}}}"#
        ))
    }

    fn subscribed(&mut self) -> Channel {
        let channel = Channel::Job(JobId::new(&SystemClock));
        assert!(matches!(self.subscribe(channel, ""), Step::Ask(_)));
        let reply = self.answer(Answer::Recalled(recalled(4, &[])));
        assert!(reply.subscribe.is_some());
        channel
    }
}

fn position(offset: u64) -> Position {
    Position {
        offset,
        epoch: "e".to_owned(),
    }
}

fn recalled(top: u64, offsets: &[u64]) -> Recalled {
    let told = Told::by_the_product(&"said").unwrap().to_bytes().unwrap();
    let entries = offsets.iter().map(|offset| Entry {
        offset: *offset,
        payload: told.clone(),
    });
    Recalled {
        position: position(top),
        entries: entries.collect(),
    }
}

fn failure(step: Step) -> u32 {
    match step {
        Step::Reply(Reply {
            error: Some(Error { code, .. }),
            ..
        }) => code,
        other => panic!("{other:?}"),
    }
}

fn end(step: Step) -> Disconnect {
    match step {
        Step::End(why) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_command_says_who_it_is_and_no_other_does() {
    for early in [
        r#"{"id":1,"subscribe":{"channel":"system"}}"#,
        r#"{"id":1,"ping":{}}"#,
        r#"{"id":1}"#,
        r#"{"connect":{}}"#,
    ] {
        assert_eq!(
            end(Fed::new().send(early)),
            Disconnect::BadRequest,
            "{early}"
        );
    }
    let again = r#"{"id":2,"connect":{"token":"t"}}"#;
    assert_eq!(end(Fed::known().send(again)), Disconnect::BadRequest);
}

#[test]
fn a_client_without_a_token_is_asked_for_its_session() {
    let mut fed = Fed::new();
    let step = fed.send(r#"{"id":1,"connect":{}}"#);
    assert!(matches!(step, Step::Ask(Ask::Identify(None))));
    let step = fed
        .connection
        .answer(Answer::Refused(Disconnect::InvalidToken));
    assert_eq!(end(step), Disconnect::InvalidToken);
    assert!(fed.connection.user.is_none());
}

#[test]
fn the_welcome_names_the_connection_its_instance_and_the_person() {
    let mut fed = Fed::new();
    fed.send(r#"{"id":7,"connect":{"token":"t"}}"#);
    let reply = fed.answer(Answer::Identified(fed.user));
    let connect = reply.connect.unwrap();
    assert_eq!(
        (reply.id, &connect.client[..], &connect.node[..]),
        (7, "client-1", "node-1")
    );
    assert_eq!((connect.ping, connect.pong), (25, true));
    assert_eq!(connect.data, format!(r#"{{"user":"{}"}}"#, fed.user));
}

#[test]
fn a_subscription_begins_at_the_channels_position() {
    let mut fed = Fed::known();
    let step = fed.subscribe(Channel::System, "");
    let Step::Ask(Ask::Subscribe { after: None, .. }) = step else {
        panic!("{step:?}");
    };
    let step = fed.connection.answer(Answer::Recalled(recalled(4, &[])));
    let Step::Subscribed(reply, Channel::System, at) = step else {
        panic!("{step:?}");
    };
    let result = reply.subscribe.unwrap();
    assert_eq!(
        (at, result.offset, &result.epoch[..]),
        (position(4), 4, "e")
    );
    assert!(result.recoverable && result.positioned);
    assert!(!result.was_recovering && !result.recovered);
}

#[test]
fn what_was_missed_comes_whole_or_not_at_all() {
    for (since, kept, epoch, recovered) in [
        (2, &[3, 4][..], "e", true),
        (4, &[], "e", true),
        (1, &[3, 4], "e", false),
        (2, &[3, 4], "other", false),
        (9, &[], "e", false),
    ] {
        let mut fed = Fed::known();
        let more = format!(r#","recover":true,"offset":{since},"epoch":"{epoch}""#);
        let step = fed.subscribe(Channel::System, &more);
        assert!(
            matches!(step, Step::Ask(Ask::Subscribe { after: Some(after), .. }) if after == since)
        );
        let reply = fed.answer(Answer::Recalled(recalled(4, kept)));
        let result = reply.subscribe.unwrap();
        assert!(result.was_recovering);
        assert_eq!(result.recovered, recovered, "{since} {epoch}");
        let expected = if recovered { kept } else { &[] };
        let offsets: Vec<u64> = result.publications.iter().map(|one| one.offset).collect();
        assert_eq!(offsets, expected);
    }
}

#[test]
fn a_client_may_want_an_error_where_recovery_fails() {
    let mut fed = Fed::known();
    let more = r#","recover":true,"offset":1,"epoch":"old","flag":3"#;
    fed.subscribe(Channel::System, more);
    let step = fed.connection.answer(Answer::Recalled(recalled(4, &[])));
    assert_eq!(failure(step), 112);
    assert_eq!(fed.connection.channels().count(), 0);
}

#[test]
fn subscriptions_that_cannot_be_are_refused_with_their_number() {
    let mut fed = Fed::known();
    let mut refused = |line: &str| failure(fed.send(line));
    assert_eq!(refused(r#"{"id":2,"subscribe":{"channel":""}}"#), 107);
    assert_eq!(
        refused(r#"{"id":2,"subscribe":{"channel":"channel:1"}}"#),
        102
    );
    assert_eq!(refused(r#"{"id":2,"subscribe":{"channel":"job:1"}}"#), 102);
    assert_eq!(
        refused(r#"{"id":2,"subscribe":{"channel":"system","type":1}}"#),
        108
    );
    fed.subscribe(Channel::System, "");
    assert_eq!(
        failure(
            fed.connection
                .answer(Answer::Failed(Failure::PermissionDenied))
        ),
        103
    );
    let channel = fed.subscribed();
    assert_eq!(failure(fed.subscribe(channel, "")), 105);
    fed.subscribed();
    assert_eq!(failure(fed.subscribe(Channel::System, "")), 106);
}

#[test]
fn a_channel_that_was_given_up_can_be_asked_for_again() {
    let mut fed = Fed::known();
    let channel = fed.subscribed();
    let step = fed.send(&format!(
        r#"{{"id":3,"unsubscribe":{{"channel":"{channel}"}}}}"#
    ));
    assert!(matches!(step, Step::Ask(Ask::Unsubscribe(left)) if left == channel));
    assert!(fed.answer(Answer::Done).unsubscribe.is_some());
    assert!(matches!(fed.subscribe(channel, ""), Step::Ask(_)));
    fed.answer(Answer::Recalled(recalled(4, &[])));
    assert!(fed.connection.forget(&channel.to_string()));
    assert!(matches!(fed.subscribe(channel, ""), Step::Ask(_)));
}

#[test]
fn giving_up_what_one_does_not_have_is_no_failure() {
    let step = Fed::known().send(r#"{"id":3,"unsubscribe":{"channel":"system"}}"#);
    assert!(matches!(step, Step::Reply(reply) if reply.unsubscribe.is_some()));
}

#[test]
fn only_who_is_subscribed_may_ask_for_history_and_presence() {
    let mut fed = Fed::known();
    for about in ["history", "presence", "presence_stats"] {
        let line = format!(r#"{{"id":3,"{about}":{{"channel":"system"}}}}"#);
        assert_eq!(failure(fed.send(&line)), 103, "{about}");
    }
    fed.subscribe(Channel::System, "");
    fed.answer(Answer::Recalled(recalled(4, &[])));
    let presence = r#"{"id":3,"presence":{"channel":"system"}}"#;
    assert_eq!(failure(fed.send(presence)), 108, "system shows nobody");
}

#[test]
fn history_comes_in_either_order_and_as_much_as_is_wanted() {
    let mut fed = Fed::known();
    fed.subscribe(Channel::System, "");
    fed.answer(Answer::Recalled(recalled(4, &[])));
    for (request, expected) in [
        (r#""limit":-1"#, &[2, 3, 4][..]),
        (r#""limit":2"#, &[2, 3]),
        (r#""limit":2,"reverse":true"#, &[4, 3]),
        (r#""limit":0"#, &[]),
    ] {
        let line = format!(r#"{{"id":3,"history":{{"channel":"system",{request}}}}}"#);
        let Step::Ask(Ask::History { after: 0, .. }) = fed.send(&line) else {
            panic!("a question");
        };
        let reply = fed.answer(Answer::Recalled(recalled(4, &[2, 3, 4])));
        let history = reply.history.unwrap();
        let offsets: Vec<u64> = history.publications.iter().map(|one| one.offset).collect();
        assert_eq!((history.offset, &offsets[..]), (4, expected), "{request}");
    }
    let since =
        r#"{"id":3,"history":{"channel":"system","limit":-1,"since":{"offset":1,"epoch":"old"}}}"#;
    assert!(matches!(
        fed.send(since),
        Step::Ask(Ask::History { after: 1, .. })
    ));
    assert_eq!(
        failure(fed.connection.answer(Answer::Recalled(recalled(4, &[])))),
        112
    );
}

#[test]
fn people_are_counted_once_and_connections_each() {
    let mut fed = Fed::known();
    let channel = fed.subscribed();
    let author = |client: &str| {
        broadcast::client_info(Author {
            user: fed.user,
            client: client.to_owned(),
        })
    };
    let present = vec![author("a"), author("b")];
    fed.send(&format!(
        r#"{{"id":3,"presence":{{"channel":"{channel}"}}}}"#
    ));
    let presence = fed
        .answer(Answer::Present(present.clone()))
        .presence
        .unwrap();
    assert_eq!(presence.presence["b"].user, fed.user.to_string());
    fed.send(&format!(
        r#"{{"id":3,"presence_stats":{{"channel":"{channel}"}}}}"#
    ));
    let stats = fed.answer(Answer::Present(present)).presence_stats.unwrap();
    assert_eq!((stats.num_clients, stats.num_users), (2, 1));
}

#[test]
fn a_publication_needs_content() {
    let mut fed = Fed::known();
    let step = fed.send(r#"{"id":3,"publish":{"channel":"system","data":{"a":1}}}"#);
    assert!(matches!(step, Step::Ask(Ask::Publish { data, .. }) if data == r#"{"a":1}"#));
    assert!(fed.answer(Answer::Done).publish.is_some());
    assert_eq!(
        failure(fed.send(r#"{"id":3,"publish":{"channel":"system"}}"#)),
        107
    );
}

#[test]
fn a_newer_token_must_be_of_the_same_person() {
    let mut fed = Fed::known();
    let refresh = r#"{"id":4,"refresh":{"token":"newer"}}"#;
    assert!(matches!(
        fed.send(refresh),
        Step::Ask(Ask::Identify(Some(_)))
    ));
    assert!(fed.answer(Answer::Identified(fed.user)).refresh.is_some());
    fed.send(refresh);
    let other = UserId::new(&SystemClock);
    let step = fed.connection.answer(Answer::Identified(other));
    assert_eq!(end(step), Disconnect::InvalidToken);
}

#[test]
fn what_is_not_offered_says_so() {
    let mut fed = Fed::known();
    assert_eq!(failure(fed.send(r#"{"id":3,"rpc":{"method":"m"}}"#)), 108);
    assert_eq!(
        failure(fed.send(r#"{"id":3,"sub_refresh":{"channel":"system"}}"#)),
        107
    );
    assert_eq!(
        end(fed.send(r#"{"send":{"data":1}}"#)),
        Disconnect::NotAvailable
    );
    assert!(
        matches!(fed.send(r#"{"id":3,"ping":{}}"#), Step::Reply(reply) if reply.ping.is_some())
    );
}
