//! The task of one connection: it hands what the client sends to the [`Connection`], writes what waits in the outbox, answers
//! questions, keeps time, and cleans up behind itself however it ends.

use std::collections::{HashMap, VecDeque};
use std::future::{pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Sleep;
use uuid::Uuid;

use super::super::budget::Budget;
use super::super::connection::{Ask, Connection, Step};
use super::super::frame::{self, Message, Opcode};
use super::super::hub::outbox::{Notice, Outbox, Taken};
use super::super::protocol::{Codec, Command, Disconnect, Failure, Reply, Unsubscribed};
use super::super::rules::{Credential, Grant};
use super::Gateway;
use super::asks::{Asker, Identity, Learnt, Outcome};
use super::checks::{self, Found};
use super::pulse::{Due, Pulse};
use super::socket::{Event, Socket};
use crate::domain::push::Channel;
use crate::kit::metrics;

/// Longest wait for a client to take the last frames and to close its end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The close code of a client that leaves without one.
const NORMAL: u16 = 1000;

/// One connection.
pub(super) struct Session<I> {
    asker: Asker,
    connection: Connection,
    codec: Codec,
    socket: Socket<I>,
    pulse: Pulse,
    budget: Budget,
    /// Read, and not looked at yet.
    commands: VecDeque<Command>,
    asking: Option<BoxFuture<'static, Outcome>>,
    looking: Option<BoxFuture<'static, Found>>,
    grants: HashMap<Channel, Grant>,
    /// The subscription that is being answered.
    subscribing: Option<Channel>,
}

/// How a connection ends.
enum End {
    /// The client is gone.
    Gone,
    /// The client said goodbye with this code.
    Goodbye(u16),
    /// Its frames are none.
    Violation(frame::Violation),
    /// We end it.
    Disconnect(Disconnect),
}

impl<I: AsyncRead + AsyncWrite + Unpin + Send + 'static> Session<I> {
    pub(super) fn new(gateway: Gateway, io: I, codec: Codec, cookie: Option<Credential>) -> Self {
        let client: Arc<str> = Uuid::new_v4().to_string().into();
        let limits = &gateway.0.limits;
        let outbox = Outbox::new(codec, limits.waiting_bytes_max);
        Self {
            connection: Connection::new(gateway.0.terms.clone(), Arc::clone(&client)),
            codec,
            socket: Socket::new(io, limits.message_bytes_max),
            pulse: Pulse::new(limits.intervals),
            budget: Budget::new(limits.commands_per_s, limits.commands_burst),
            commands: VecDeque::new(),
            asking: None,
            looking: None,
            grants: HashMap::new(),
            subscribing: None,
            asker: Asker {
                outbox: Arc::new(outbox),
                client,
                gateway,
                cookie,
                identity: None,
            },
        }
    }

    /// Lives until the connection ends.
    pub(super) async fn run(mut self) {
        let end = self.live().await;
        // Whoever is told of nothing more is off the lists before it has read its last frame.
        self.clean_up().await;
        let (last, reason) = match end {
            End::Gone => return metrics::ws_disconnected("gone"),
            End::Goodbye(code) => (frame::encode_close(code, ""), "gone"),
            End::Violation(violation) => {
                let last = frame::encode_close(violation.close_code(), &violation.to_string());
                (last, "protocol")
            }
            End::Disconnect(why) => {
                if why == Disconnect::Slow {
                    self.socket.drop_waiting();
                }
                (frame::encode_close(why.code(), why.reason()), why.reason())
            }
        };
        metrics::ws_disconnected(reason);
        // A client that does not even take this is left alone.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.socket.close(last)).await;
    }

    async fn live(&mut self) -> End {
        let drain = self.asker.gateway.0.handles.lifecycle.drain_token();
        // One future for the whole life: a new one each time would meet all other connections at the token's lock.
        let mut drained = pin!(drain.cancelled());
        let mut draining = false;
        let mut timer = Box::pin(tokio::time::sleep_until(self.pulse.next()));
        loop {
            let next = self.pulse.next();
            if timer.deadline() != next {
                timer.as_mut().reset(next);
            }
            let may_read = self.asking.is_none();
            let end = tokio::select! {
                biased;
                () = &mut drained, if !draining => {
                    draining = true;
                    self.pulse.shut_down_within(self.asker.gateway.0.limits.drain);
                    None
                }
                outcome = of(&mut self.asking) => self.answered(outcome),
                found = of(&mut self.looking) => self.found(found).await,
                () = passed(&mut timer) => self.by_the_clock().await,
                event = poll_fn(|cx| self.socket.poll(cx, &self.asker.outbox, may_read)) => self.event(event),
            };
            if let Some(end) = end {
                return end;
            }
        }
    }

    fn event(&mut self, event: Event) -> Option<End> {
        match event {
            Event::Closed => Some(End::Gone),
            Event::Violation(violation) => Some(End::Violation(violation)),
            Event::Taken(taken) => self.taken(taken),
            Event::Message(message) => {
                self.pulse.heard();
                self.message(message)
            }
        }
    }

    fn taken(&mut self, taken: Taken) -> Option<End> {
        if taken.overflowed {
            return Some(End::Disconnect(Disconnect::Slow));
        }
        for notice in taken.notices {
            match notice {
                Notice::AccessChanged => self.look(),
                Notice::Unsubscribed(name) => {
                    self.connection.forget(&name);
                    if let Ok(channel) = name.parse::<Channel>() {
                        self.grants.remove(&channel);
                    }
                }
            }
        }
        None
    }

    fn message(&mut self, message: Message) -> Option<End> {
        let bytes = match message {
            Message::Text(bytes) | Message::Binary(bytes) => bytes,
            Message::Ping(bytes) => {
                self.asker.outbox.put(frame::encode(Opcode::Pong, &bytes));
                return None;
            }
            Message::Pong => return None,
            Message::Close(code) => return Some(End::Goodbye(code.unwrap_or(NORMAL))),
        };
        let Ok(commands) = self.codec.decode(&bytes) else {
            return Some(End::Disconnect(Disconnect::BadRequest));
        };
        metrics::ws_messages_in(commands.len());
        let commands = commands.into_iter().filter(|command| !command.is_pong());
        self.commands.extend(commands);
        self.work()
    }

    /// Looks at commands until one has to wait for an answer.
    fn work(&mut self) -> Option<End> {
        while self.asking.is_none() {
            let Some(command) = self.commands.pop_front() else {
                // A queue that was long gives its memory back.
                self.commands = VecDeque::new();
                return None;
            };
            if !self.budget.take() {
                self.send(&Reply::failed(command.id, Failure::TooManyRequests));
                continue;
            }
            let step = self.connection.command(command);
            if let Some(end) = self.step(step) {
                return Some(end);
            }
        }
        None
    }

    fn step(&mut self, step: Step) -> Option<End> {
        match step {
            Step::Silent => None,
            Step::End(why) => Some(End::Disconnect(why)),
            Step::Reply(reply) => {
                self.send(&reply);
                None
            }
            Step::Subscribed(reply, channel, position) => {
                // The answer first: nothing of a channel comes before it.
                self.send(&reply);
                self.subscribing = None;
                let hub = &self.asker.gateway.0.hub;
                hub.answered(channel, &self.asker.client, &position);
                None
            }
            Step::Ask(ask) => {
                if let Ask::Subscribe { channel, .. } = &ask {
                    self.subscribing = Some(*channel);
                }
                self.asking = Some(Box::pin(self.asker.clone().answer(ask)));
                None
            }
        }
    }

    fn answered(&mut self, (answer, learnt): Outcome) -> Option<End> {
        self.asking = None;
        self.learn(learnt);
        let step = self.connection.answer(answer);
        let end = self.step(step);
        // An answer that did not subscribe: where the hub was entered it is left.
        if let Some(channel) = self.subscribing.take() {
            self.give_up(channel);
        }
        end.or_else(|| self.work())
    }

    fn learn(&mut self, learnt: Learnt) {
        match learnt {
            Learnt::Nothing => {}
            Learnt::Grant(channel, grant) => {
                self.grants.insert(channel, grant);
            }
            Learnt::Identity(identity) => self.identified(*identity),
        }
    }

    fn identified(&mut self, identity: Identity) {
        let user = identity.principal.user;
        if self.asker.identity.is_none() {
            let hub = &self.asker.gateway.0.hub;
            hub.connect(user, &self.asker.client, &self.asker.outbox);
            self.pulse.known();
        } else if self
            .asker
            .identity
            .as_ref()
            .is_some_and(|known| known.principal.user != user)
        {
            // Another person's token: the connection ends with the answer.
            return;
        }
        self.asker.identity = Some(Arc::new(identity));
    }

    async fn by_the_clock(&mut self) -> Option<End> {
        match self.pulse.due()? {
            Due::Shutdown => Some(End::Disconnect(Disconnect::Shutdown)),
            // Who is being looked up has said who it is: it may come again.
            Due::Stale if self.asking.is_some() => Some(End::Disconnect(Disconnect::ServerError)),
            Due::Stale => Some(End::Disconnect(Disconnect::Stale)),
            Due::NoPong => Some(End::Disconnect(Disconnect::NoPong)),
            Due::Check => {
                self.look();
                None
            }
            Due::Ping => {
                self.send(&Reply::default());
                self.asker.keep_present(self.connection.channels()).await;
                None
            }
        }
    }

    fn look(&mut self) {
        let Some(identity) = self.asker.identity.clone() else {
            return;
        };
        let (gateway, client) = (self.asker.gateway.clone(), Arc::clone(&self.asker.client));
        // A look that is under way may have read what has changed since: it is begun again.
        let look = checks::look(gateway, client, identity, self.grants.clone());
        self.looking = Some(Box::pin(look));
    }

    async fn found(&mut self, found: Found) -> Option<End> {
        self.looking = None;
        match found {
            Found::Unknown => None,
            Found::Revoked => Some(End::Disconnect(Disconnect::InvalidToken)),
            Found::Lost(channels) => {
                for channel in channels {
                    let name = channel.to_string();
                    self.connection.forget(&name);
                    self.give_up(channel);
                    self.send(&Reply::unsubscribed(&name, Unsubscribed::PermissionLost));
                    self.asker.leave_presence(channel).await;
                }
                None
            }
        }
    }

    fn give_up(&mut self, channel: Channel) {
        self.grants.remove(&channel);
        self.asker.gateway.0.hub.leave(channel, &self.asker.client);
    }

    fn send(&self, reply: &Reply) {
        match self.codec.frame(reply) {
            Ok(frame) => self.asker.outbox.put(frame),
            Err(error) => tracing::error!(%error, "a reply cannot be written: {error}"),
        }
    }

    async fn clean_up(&mut self) {
        // What is being answered is carried to its end: it may have put the connection on a list.
        if let Some(asking) = self.asking.take()
            && let Ok((_, learnt)) = tokio::time::timeout(CLOSE_TIMEOUT, asking).await
        {
            self.learn(learnt);
        }
        let unfinished = self.subscribing.take();
        let channels: Vec<Channel> = self.connection.channels().chain(unfinished).collect();
        let hub = &self.asker.gateway.0.hub;
        for channel in &channels {
            hub.leave(*channel, &self.asker.client);
        }
        if let Some(identity) = &self.asker.identity {
            hub.disconnect(identity.principal.user, &self.asker.client);
        }
        // A state store that is away is not waited for: its lists forget by themselves.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.asker.leave_lists(channels)).await;
    }
}

/// The end of what is being worked on; never where nothing is.
async fn of<T>(work: &mut Option<BoxFuture<'static, T>>) -> T {
    match work {
        Some(work) => work.await,
        None => pending().await,
    }
}

async fn passed(timer: &mut Pin<Box<Sleep>>) {
    timer.as_mut().await;
}
