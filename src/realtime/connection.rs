//! What one client may do when: the protocol as a state machine without socket, store or time. Commands go in; replies come
//! out, or a question that somebody else answers ([`Ask`]), of which one is open at a time.

mod results;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use secrecy::SecretString;

use super::protocol::{
    ClientInfo, Command, ConnectResult, Disconnect, Failure, HistoryRequest, PublishRequest,
    RefreshResult, Reply, Request, SubscribeRequest,
};
use crate::domain::push::Channel;
use crate::kit::id::UserId;
use crate::state::feed::{Position, Recalled};

/// Names longer than this are no channel's.
const CHANNEL_BYTES_MAX: usize = 255;

/// What is the same for every connection of an instance.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The instance.
    pub node: Arc<str>,
    /// Time between two pings.
    pub ping_interval: Duration,
    /// Most channels of a connection.
    pub channels_max: usize,
}

/// One client.
#[derive(Debug)]
pub struct Connection {
    terms: Terms,
    client: Arc<str>,
    user: Option<UserId>,
    channels: BTreeMap<String, Channel>,
    /// The command that waits for an answer.
    asking: Option<Asking>,
}

#[derive(Debug)]
struct Asking {
    id: u32,
    about: About,
}

#[derive(Debug)]
enum About {
    Connect,
    Refresh,
    Subscribe {
        name: String,
        channel: Channel,
        since: Option<Position>,
        reject_unrecovered: bool,
    },
    Unsubscribe,
    Publish,
    History(HistoryRequest),
    Presence,
    PresenceStats,
}

/// What a command or an answer leads to.
#[derive(Debug)]
pub enum Step {
    /// Nothing is sent.
    Silent,
    /// This is sent.
    Reply(Reply),
    /// This is sent, and the channel goes on from this position.
    Subscribed(Reply, Channel, Position),
    /// Somebody answers this by [`Connection::answer`] before the next command is looked at.
    Ask(Ask),
    /// The connection ends.
    End(Disconnect),
}

/// What the connection cannot know by itself.
#[derive(Debug)]
pub enum Ask {
    /// Who is this? Without a token: whose session came with the handshake?
    Identify(Option<SecretString>),
    /// May the client hear this? From now on it does, and what was published after the offset is told.
    Subscribe {
        /// Which channel.
        channel: Channel,
        /// What it has already; `None` when nothing is to be recovered.
        after: Option<u64>,
        /// Whether it wants to know who comes and leaves.
        wants_presence: bool,
    },
    /// The client hears this no more.
    Unsubscribe(Channel),
    /// May the client say this there? If so it is said.
    Publish {
        /// Where.
        channel: Channel,
        /// What.
        data: Bytes,
    },
    /// What does the channel keep after this offset?
    History {
        /// Which channel.
        channel: Channel,
        /// The offset.
        after: u64,
    },
    /// Who is subscribed?
    Presence(Channel),
}

/// The answer to an [`Ask`].
#[derive(Debug)]
pub enum Answer {
    /// It is this person.
    Identified(UserId),
    /// It is nobody that is let in.
    Refused(Disconnect),
    /// It may not, or it failed.
    Failed(Failure),
    /// It is done.
    Done,
    /// This is what the channel keeps.
    Recalled(Recalled),
    /// These are subscribed.
    Present(Vec<ClientInfo>),
}

impl Connection {
    /// A connection that has said nothing yet.
    pub const fn new(terms: Terms, client: Arc<str>) -> Self {
        Self {
            terms,
            client,
            user: None,
            channels: BTreeMap::new(),
            asking: None,
        }
    }

    /// The channels that it is subscribed to.
    pub fn channels(&self) -> impl Iterator<Item = Channel> {
        self.channels.values().copied()
    }

    /// Forgets a subscription that the server ended; false where there was none.
    pub fn forget(&mut self, channel: &str) -> bool {
        self.channels.remove(channel).is_some()
    }

    /// Looks at one command.
    pub fn command(&mut self, command: Command) -> Step {
        let id = command.id;
        let Some(request) = command.request() else {
            return Step::End(Disconnect::BadRequest);
        };
        if id == 0 && !matches!(request, Request::Send) {
            return Step::End(Disconnect::BadRequest);
        }
        let asked = match (self.user, request) {
            (None, Request::Connect(connect)) => {
                let token = Some(connect.token).filter(|token| !token.is_empty());
                let ask = Ask::Identify(token.map(SecretString::from));
                Ok((About::Connect, ask))
            }
            (None, _) | (Some(_), Request::Connect(_)) => return Step::End(Disconnect::BadRequest),
            (Some(_), Request::Send) => return Step::End(Disconnect::NotAvailable),
            (Some(_), Request::Ping) => {
                return Step::Reply(Reply {
                    id,
                    ping: Some(Default::default()),
                    ..Reply::default()
                });
            }
            (Some(_), request) => self.ask(request),
        };
        match asked {
            Ok((about, ask)) => {
                self.asking = Some(Asking { id, about });
                Step::Ask(ask)
            }
            Err(Failed::Failure(failure)) => Step::Reply(Reply::failed(id, failure)),
            Err(Failed::Not) => Step::Reply(Reply {
                id,
                unsubscribe: Some(Default::default()),
                ..Reply::default()
            }),
        }
    }

    fn ask(&mut self, request: Request) -> Result<(About, Ask), Failed> {
        match request {
            Request::Subscribe(request) => self.subscribe(request),
            Request::Unsubscribe(request) => match self.channels.remove(&request.channel) {
                Some(channel) => Ok((About::Unsubscribe, Ask::Unsubscribe(channel))),
                None => Err(Failed::Not),
            },
            Request::Publish(request) => publish(request),
            Request::History(request) => {
                let channel = self.subscribed(&request.channel)?;
                let after = request.since.as_ref().map_or(0, |since| since.offset);
                Ok((About::History(request), Ask::History { channel, after }))
            }
            Request::Presence(request) => {
                let channel = self.shows_presence(&request.channel)?;
                Ok((About::Presence, Ask::Presence(channel)))
            }
            Request::PresenceStats(request) => {
                let channel = self.shows_presence(&request.channel)?;
                Ok((About::PresenceStats, Ask::Presence(channel)))
            }
            Request::Refresh(request) if !request.token.is_empty() => Ok((
                About::Refresh,
                Ask::Identify(Some(SecretString::from(request.token))),
            )),
            // A subscription has no token and so nothing to refresh.
            Request::Refresh(_) | Request::SubRefresh => Err(Failure::BadRequest.into()),
            Request::Rpc | Request::Send | Request::Ping | Request::Connect(_) => {
                Err(Failure::NotAvailable.into())
            }
        }
    }

    fn subscribe(&self, request: SubscribeRequest) -> Result<(About, Ask), Failed> {
        if request.kind != 0 {
            return Err(Failure::NotAvailable.into());
        }
        let channel = channel(&request.channel)?;
        if self.channels.contains_key(&request.channel) {
            return Err(Failure::AlreadySubscribed.into());
        }
        if self.channels.len() >= self.terms.channels_max {
            return Err(Failure::LimitExceeded.into());
        }
        let ask = Ask::Subscribe {
            channel,
            after: request.recover.then_some(request.offset),
            wants_presence: request.join_leave && channel.shows_presence(),
        };
        let about = About::Subscribe {
            name: request.channel,
            channel,
            since: request.recover.then_some(Position {
                offset: request.offset,
                epoch: request.epoch,
            }),
            reject_unrecovered: request.flag & SubscribeRequest::REJECT_UNRECOVERED != 0,
        };
        Ok((about, ask))
    }

    /// A channel that is open to the question because the client is subscribed to it.
    fn subscribed(&self, name: &str) -> Result<Channel, Failure> {
        match self.channels.get(name) {
            Some(channel) => Ok(*channel),
            None => channel(name).and(Err(Failure::PermissionDenied)),
        }
    }

    fn shows_presence(&self, name: &str) -> Result<Channel, Failure> {
        let channel = self.subscribed(name)?;
        match channel.shows_presence() {
            true => Ok(channel),
            false => Err(Failure::NotAvailable),
        }
    }

    /// Looks at the answer to the question that was asked last.
    pub fn answer(&mut self, answer: Answer) -> Step {
        let Some(Asking { id, about }) = self.asking.take() else {
            return Step::Silent;
        };
        match (about, answer) {
            (_, Answer::Refused(disconnect)) => Step::End(disconnect),
            (_, Answer::Failed(failure)) => Step::Reply(Reply::failed(id, failure)),
            (About::Connect, Answer::Identified(user)) => {
                self.user = Some(user);
                Step::Reply(self.welcome(id, user))
            }
            (About::Refresh, Answer::Identified(user)) if self.user == Some(user) => {
                Step::Reply(self.refreshed(id))
            }
            (About::Refresh, Answer::Identified(_)) => Step::End(Disconnect::InvalidToken),
            (
                About::Subscribe {
                    name,
                    channel,
                    since,
                    reject_unrecovered,
                },
                Answer::Recalled(recalled),
            ) => {
                let result = results::subscribed(since.as_ref(), &recalled);
                if reject_unrecovered && result.was_recovering && !result.recovered {
                    return Step::Reply(Reply::failed(id, Failure::UnrecoverablePosition));
                }
                self.channels.insert(name, channel);
                let reply = Reply {
                    id,
                    subscribe: Some(result),
                    ..Reply::default()
                };
                Step::Subscribed(reply, channel, recalled.position)
            }
            (about, answer) => Step::Reply(results::reply(id, about, answer)),
        }
    }

    fn welcome(&self, id: u32, user: UserId) -> Reply {
        let ping = self.terms.ping_interval.as_secs();
        Reply {
            id,
            connect: Some(ConnectResult {
                client: self.client.to_string(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                data: Bytes::from(format!("{{\"user\":\"{user}\"}}")),
                ping: u32::try_from(ping).unwrap_or(u32::MAX),
                pong: true,
                node: self.terms.node.to_string(),
            }),
            ..Reply::default()
        }
    }

    fn refreshed(&self, id: u32) -> Reply {
        Reply {
            id,
            refresh: Some(RefreshResult {
                client: self.client.to_string(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            }),
            ..Reply::default()
        }
    }
}

/// Why a command is answered at once.
enum Failed {
    Failure(Failure),
    /// There is nothing to give up.
    Not,
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

fn channel(name: &str) -> Result<Channel, Failure> {
    if name.is_empty() {
        return Err(Failure::BadRequest);
    }
    match name.len() <= CHANNEL_BYTES_MAX {
        true => name.parse().map_err(|_| Failure::UnknownChannel),
        false => Err(Failure::UnknownChannel),
    }
}

fn publish(request: PublishRequest) -> Result<(About, Ask), Failed> {
    let channel = channel(&request.channel)?;
    if request.data.is_empty() {
        return Err(Failure::BadRequest.into());
    }
    let data = request.data;
    Ok((About::Publish, Ask::Publish { channel, data }))
}

#[cfg(test)]
mod tests;
