//! Identifier newtypes: one per noun, so that a job's id cannot be passed where an image's is meant.
//! All are UUIDv7: sorted by creation, the creation instant inside.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::{ContextV7, Timestamp, Uuid};

use super::clock::Clock;

thread_local! {
    /// Keeps ids of one thread and millisecond in the order in which they were made.
    static ORDER: ContextV7 = const { ContextV7::new() };
}

/// A new UUIDv7 that carries `created_at`.
pub fn uuid_v7(created_at: DateTime<Utc>) -> Uuid {
    let seconds = u64::try_from(created_at.timestamp()).unwrap_or(0);
    ORDER.with(|order| {
        Uuid::new_v7(Timestamp::from_unix(
            order,
            seconds,
            created_at.timestamp_subsec_nanos(),
        ))
    })
}

/// The text does not have the form of an identifier.
#[derive(Debug, thiserror::Error)]
#[error("{value:?} is not a {noun} id (a UUID)")]
pub struct NotAnId {
    noun: &'static str,
    value: String,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $noun:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id that carries the clock's instant.
            pub fn new(clock: &dyn Clock) -> Self {
                Self(uuid_v7(clock.now()))
            }

            /// The id with this UUID, which the caller read from where it was stored.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID itself.
            pub const fn as_uuid(&self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                Uuid::parse_str(text).map(Self).map_err(|_| NotAnId { noun: $noun, value: text.to_owned() })
            }
        }
    )*

        /// Calls the given macro with the list of all id types; `db` uses it to teach sqlx about them.
        macro_rules! for_each_id {
            ($with:ident) => { $with!{ $($crate::kit::id::$name),* } };
        }
        pub(crate) use for_each_id;
    };
}

ids! {
    /// A person with an account.
    UserId = "user";
    /// A project: the tenant that owns files, images and jobs.
    ProjectId = "project";
    /// Stored bytes.
    FileId = "file";
    /// A picture inside a file.
    ImageId = "image";
    /// One run of a segmenter over one image page.
    JobId = "job";
    /// The result of one job.
    SegmentationId = "segmentation";
    /// An API token.
    TokenId = "token";
    /// An address to which a project's events are sent.
    WebhookId = "webhook";
    /// An event on its way to a webhook.
    DeliveryId = "delivery";
    /// One fact in the outbox and on the event log.
    EventId = "event";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::clock::SystemClock;

    #[test]
    fn ids_of_one_thread_are_in_order() {
        let ids: Vec<_> = (0..1_000).map(|_| JobId::new(&SystemClock)).collect();
        assert!(ids.is_sorted());
    }

    #[test]
    fn a_bad_id_names_its_text() {
        let error = "seven".parse::<JobId>().unwrap_err();
        assert_eq!(error.to_string(), "\"seven\" is not a job id (a UUID)");
    }
}
