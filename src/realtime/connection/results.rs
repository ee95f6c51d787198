//! What answers look like as replies.

use super::super::hub::broadcast;
use super::super::protocol::{
    ClientInfo, Failure, HistoryRequest, HistoryResult, PresenceResult, PresenceStatsResult, Reply,
    SubscribeResult,
};
use super::{About, Answer};
use crate::state::feed::{Position, Recalled};

/// What a client is told that is subscribed, and had everything up to `since`.
pub(super) fn subscribed(since: Option<&Position>, recalled: &Recalled) -> SubscribeResult {
    let recovered = since.is_some_and(|since| recalled.continues(since));
    let missed = recalled.entries.iter().filter_map(broadcast::publication);
    SubscribeResult {
        recoverable: true,
        positioned: true,
        epoch: recalled.position.epoch.clone(),
        offset: recalled.position.offset,
        // Never a part of what was missed: it would look like all of it.
        publications: match recovered {
            true => missed.collect(),
            false => Vec::new(),
        },
        recovered,
        was_recovering: since.is_some(),
    }
}

/// The reply to a question that changed nothing of the connection.
pub(super) fn reply(id: u32, about: About, answer: Answer) -> Reply {
    let mut reply = Reply {
        id,
        ..Reply::default()
    };
    match (about, answer) {
        (About::Unsubscribe, Answer::Done) => reply.unsubscribe = Some(Default::default()),
        (About::Publish, Answer::Done) => reply.publish = Some(Default::default()),
        (About::History(request), Answer::Recalled(recalled)) => {
            return history(id, &request, &recalled);
        }
        (About::Presence, Answer::Present(clients)) => {
            let by_client = clients.into_iter().map(|info| (info.client.clone(), info));
            reply.presence = Some(PresenceResult {
                presence: by_client.collect(),
            });
        }
        (About::PresenceStats, Answer::Present(clients)) => {
            reply.presence_stats = Some(counted(&clients));
        }
        (about, answer) => {
            tracing::error!("{about:?} was answered with {answer:?}");
            return Reply::failed(id, Failure::Internal);
        }
    }
    reply
}

fn counted(clients: &[ClientInfo]) -> PresenceStatsResult {
    let mut users: Vec<&str> = clients.iter().map(|info| info.user.as_str()).collect();
    users.sort_unstable();
    users.dedup();
    PresenceStatsResult {
        num_clients: u32::try_from(clients.len()).unwrap_or(u32::MAX),
        num_users: u32::try_from(users.len()).unwrap_or(u32::MAX),
    }
}

fn history(id: u32, request: &HistoryRequest, recalled: &Recalled) -> Reply {
    let since = request.since.as_ref().map(|since| Position {
        offset: since.offset,
        epoch: since.epoch.clone(),
    });
    let elsewhere = since.filter(|since| since.epoch != recalled.position.epoch);
    if elsewhere.is_some() && !request.reverse {
        return Reply::failed(id, Failure::UnrecoverablePosition);
    }
    let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
    let publications = recalled.entries.iter().filter_map(broadcast::publication);
    let mut publications: Vec<_> = publications.collect();
    if request.reverse {
        publications.reverse();
    }
    publications.truncate(limit);
    Reply {
        id,
        history: Some(HistoryResult {
            publications,
            epoch: recalled.position.epoch.clone(),
            offset: recalled.position.offset,
        }),
        ..Reply::default()
    }
}
