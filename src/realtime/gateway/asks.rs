//! Answers what a connection cannot know by itself. Each answer is worked on while the connection goes on writing.

use std::sync::Arc;

use bytes::Bytes;
use secrecy::SecretString;
use serde_json::value::RawValue;

use super::super::connection::{Answer, Ask};
use super::super::hub::outbox::Outbox;
use super::super::protocol::{Disconnect, Failure};
use super::super::rules::{Credential, Grant, Rules};
use super::tracking::Tracked;
use super::{Gateway, presence};
use crate::domain::access::Principal;
use crate::domain::push::{Author, Channel, Told};

/// Who a connection is.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) principal: Principal,
    pub(super) credential: Credential,
    pub(super) tracked: Tracked,
}

/// What the connection's task learns beside the answer.
#[derive(Debug)]
pub(super) enum Learnt {
    Nothing,
    Identity(Box<Identity>),
    Grant(Channel, Grant),
}

/// An answer, and what it says of the connection.
pub(super) type Outcome = (Answer, Learnt);

/// The connection that asks.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    pub(super) gateway: Gateway,
    pub(super) client: Arc<str>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) cookie: Option<Credential>,
    pub(super) identity: Option<Arc<Identity>>,
}

impl Asker {
    /// Answers.
    pub(super) async fn answer(self, ask: Ask) -> Outcome {
        let Some(identity) = self.identity.clone() else {
            return match ask {
                Ask::Identify(token) => self.identify(token).await,
                _ => (Answer::Refused(Disconnect::BadRequest), Learnt::Nothing),
            };
        };
        let principal = &identity.principal;
        let answer = match ask {
            Ask::Identify(token) => return self.identify(token).await,
            Ask::Subscribe {
                channel,
                after,
                wants_presence,
            } => {
                return self
                    .subscribe(principal, channel, after, wants_presence)
                    .await;
            }
            Ask::Unsubscribe(channel) => {
                self.gateway.0.hub.leave(channel, &self.client);
                self.leave_presence(channel).await;
                Ok(Answer::Done)
            }
            Ask::Publish { channel, data } => self.publish(principal, channel, &data).await,
            Ask::History { channel, after } => {
                let key = channel.key();
                let recalled = self.gateway.0.handles.state.recall(&key, after);
                recalled.await.map(Answer::Recalled).map_err(failed)
            }
            Ask::Presence(channel) => {
                let present = presence::list(&self.gateway.0.handles, channel).await;
                present.map(Answer::Present).map_err(failed)
            }
        };
        (answer.unwrap_or_else(Answer::Failed), Learnt::Nothing)
    }

    async fn identify(&self, token: Option<SecretString>) -> Outcome {
        let credential = token.map(Credential::Token).or_else(|| self.cookie.clone());
        let Some(credential) = credential else {
            return (Answer::Refused(Disconnect::InvalidToken), Learnt::Nothing);
        };
        let shared = &self.gateway.0;
        let principal = match shared.handles.rules.identify(&credential).await {
            Ok(Some(principal)) => principal,
            Ok(None) => return (Answer::Refused(Disconnect::InvalidToken), Learnt::Nothing),
            Err(error) => {
                tracing::warn!(%error, "a client is not known: {error}");
                return (Answer::Refused(Disconnect::ServerError), Learnt::Nothing);
            }
        };
        let tracked = match &self.identity {
            Some(present) => present.tracked.clone(),
            None => match self.enter(&principal).await {
                Some(tracked) => tracked,
                None => {
                    return (
                        Answer::Refused(Disconnect::ConnectionLimit),
                        Learnt::Nothing,
                    );
                }
            },
        };
        let identity = Identity {
            principal,
            credential,
            tracked,
        };
        (
            Answer::Identified(principal.user),
            Learnt::Identity(Box::new(identity)),
        )
    }

    /// Lists the connection; `None` where its owner has as many as they may. A store that is away lets everybody in.
    async fn enter(&self, principal: &Principal) -> Option<Tracked> {
        let shared = &self.gateway.0;
        let open = shared.tracking.connections(principal.user).await;
        let open = open
            .inspect_err(|error| tracing::debug!(%error, "connections are not counted: {error}"))
            .unwrap_or(0);
        if open >= shared.limits.connections_per_user_max {
            return None;
        }
        let tracked = shared.tracking.begin(principal.user);
        if let Err(error) = shared.tracking.keep(&self.client, &tracked).await {
            tracing::debug!(%error, "a connection is not listed: {error}");
        }
        Some(tracked)
    }

    async fn subscribe(
        &self,
        principal: &Principal,
        channel: Channel,
        after: Option<u64>,
        wants_presence: bool,
    ) -> Outcome {
        let shared = &self.gateway.0;
        let grant = match shared.handles.rules.may_hear(principal, channel).await {
            Ok(Some(grant)) => grant,
            Ok(None) => return (Answer::Failed(Failure::PermissionDenied), Learnt::Nothing),
            Err(error) => return (Answer::Failed(failed(error)), Learnt::Nothing),
        };
        let joined = shared
            .hub
            .join(channel, &self.client, &self.outbox, wants_presence);
        if let Err(error) = joined.await {
            return (Answer::Failed(failed(error)), Learnt::Nothing);
        }
        // After the hub listens: what is published in between comes twice, and is told apart by its number.
        let after = after.unwrap_or(u64::MAX);
        match shared.handles.state.recall(&channel.key(), after).await {
            Ok(recalled) => {
                self.keep_present(std::iter::once(channel)).await;
                (Answer::Recalled(recalled), Learnt::Grant(channel, grant))
            }
            Err(error) => {
                shared.hub.leave(channel, &self.client);
                (Answer::Failed(failed(error)), Learnt::Nothing)
            }
        }
    }

    /// Keeps the client on the lists of those of these channels that have one.
    pub(super) async fn keep_present(&self, channels: impl Iterator<Item = Channel>) {
        let Some(identity) = &self.identity else {
            return;
        };
        let author = self.author(&identity.principal);
        for channel in channels.filter(|channel| channel.shows_presence()) {
            presence::keep(&self.gateway.0.handles, channel, &author).await;
        }
    }

    /// Takes the client from the channel's list, where it has one.
    pub(super) async fn leave_presence(&self, channel: Channel) {
        if let Some(identity) = &self.identity
            && channel.shows_presence()
        {
            let author = self.author(&identity.principal);
            presence::leave(&self.gateway.0.handles, channel, &author).await;
        }
    }

    /// Takes the client from every list that it is on.
    pub(super) async fn leave_lists(&self, channels: Vec<Channel>) {
        let Some(identity) = &self.identity else {
            return;
        };
        for channel in channels {
            self.leave_presence(channel).await;
        }
        let tracking = &self.gateway.0.tracking;
        let ended = tracking.end(&self.client, identity.principal.user).await;
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection stays listed for a while: {error}");
        }
    }

    async fn publish(
        &self,
        principal: &Principal,
        channel: Channel,
        data: &Bytes,
    ) -> Result<Answer, Failure> {
        if !Rules::may_say(principal, channel) {
            return Err(Failure::PermissionDenied);
        }
        let data: Box<RawValue> = serde_json::from_slice(data).map_err(|_| Failure::BadRequest)?;
        let told = Told::Said {
            data,
            by: Some(self.author(principal)),
        };
        let said = self.gateway.0.handles.push.said(channel, &told).await;
        said.map(|_| Answer::Done).map_err(failed)
    }

    /// The client as others see it.
    fn author(&self, principal: &Principal) -> Author {
        Author {
            user: principal.user,
            client: self.client.to_string(),
        }
    }
}

fn failed(error: impl Into<crate::domain::Error>) -> Failure {
    let error = error.into();
    tracing::warn!(%error, "a command of a client failed: {error}");
    Failure::Internal
}
