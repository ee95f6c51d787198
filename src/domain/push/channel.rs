//! The realtime channels: their names, what each keeps, and where they stand in the state store.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::kit::id::{ImageId, JobId, ProjectId, UserId};
use crate::state::feed::Keep;

/// What the names of all channels begin with in the state store.
const PREFIX: &str = "realtime:channel:";

/// For how long a publication can be recovered: longer than a client waits between two tries (20 s), a process takes to be
/// replaced, and a laptop sleeps in a lift.
const KEPT_FOR: Duration = Duration::from_secs(300);

/// A job says little that lasts: that it ended, and again where it was replayed.
const OF_A_JOB: Keep = Keep {
    messages_max: 16,
    lifetime: KEPT_FOR,
};

/// What concerns a person, a picture or a project comes in bursts: 100 jobs of a batch that end together.
const OF_MANY: Keep = Keep {
    messages_max: 100,
    lifetime: KEPT_FOR,
};

/// A realtime channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// What happens to a job: `job:{id}`.
    Job(JobId),
    /// What happens to a picture: `image:{id}`.
    Image(ImageId),
    /// What happens in a project: `project:{id}`.
    Project(ProjectId),
    /// What concerns one person: `user:{id}`.
    User(UserId),
    /// What concerns everybody: `system`.
    System,
}

/// The text names no channel.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0:?} is not a channel")]
pub struct NotAChannel(String);

impl Channel {
    /// Its name in the state store, without the store's own prefix.
    pub fn key(self) -> String {
        format!("{PREFIX}{self}")
    }

    /// The name that clients know of a channel in the state store.
    pub fn name_of_key(key: &str) -> Option<&str> {
        key.strip_prefix(PREFIX)
    }

    /// How much of it can be recovered.
    pub const fn keep(self) -> Keep {
        match self {
            Self::Job(_) => OF_A_JOB,
            Self::Image(_) | Self::Project(_) | Self::User(_) | Self::System => OF_MANY,
        }
    }

    /// Whether those who are subscribed see each other.
    pub const fn shows_presence(self) -> bool {
        matches!(self, Self::Job(_) | Self::Image(_) | Self::Project(_))
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job(id) => write!(f, "job:{id}"),
            Self::Image(id) => write!(f, "image:{id}"),
            Self::Project(id) => write!(f, "project:{id}"),
            Self::User(id) => write!(f, "user:{id}"),
            Self::System => f.write_str("system"),
        }
    }
}

impl FromStr for Channel {
    type Err = NotAChannel;

    /// Only the one spelling that `Display` gives: two names of one channel would be two channels.
    fn from_str(text: &str) -> Result<Self, NotAChannel> {
        let channel = match text.split_once(':') {
            Some(("job", id)) => id.parse().ok().map(Self::Job),
            Some(("image", id)) => id.parse().ok().map(Self::Image),
            Some(("project", id)) => id.parse().ok().map(Self::Project),
            Some(("user", id)) => id.parse().ok().map(Self::User),
            None if text == "system" => Some(Self::System),
            _ => None,
        };
        channel
            .filter(|channel| channel.to_string() == text)
            .ok_or_else(|| NotAChannel(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::clock::SystemClock;

    #[test]
    fn names_are_read_as_they_are_written_and_no_other_way() {
        for channel in [
            Channel::Job(JobId::new(&SystemClock)),
            Channel::Image(ImageId::new(&SystemClock)),
            Channel::Project(ProjectId::new(&SystemClock)),
            Channel::User(UserId::new(&SystemClock)),
            Channel::System,
        ] {
            let name = channel.to_string();
            assert_eq!(name.parse::<Channel>().unwrap(), channel);
            assert_eq!(Channel::name_of_key(&channel.key()), Some(&name[..]));
            assert!(name.to_uppercase().parse::<Channel>().is_err());
        }
        for text in ["", "job", "job:", "job:1", "channel:1", "system:"] {
            assert!(text.parse::<Channel>().is_err(), "{text}");
        }
    }
}
