//! Lanes of the job queue: jobs of one kind of weight, so that a worker with little memory can leave the heavy ones to
//! others.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A lane. A worker says which ones it serves.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// Everything that is not for another lane.
    #[default]
    Default,
    /// Images above `queue.large_pixels_min`.
    Large,
}

impl Lane {
    /// Every lane, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::Default, Self::Large];

    /// The name in settings, rows and texts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Large => "large",
        }
    }

    /// The number under which stores keep it.
    pub const fn number(self) -> u8 {
        match self {
            Self::Default => 0,
            Self::Large => 1,
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Lane {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = |lane: &Self| lane.name() == text;
        let lane = Self::ALL.into_iter().find(named);
        lane.ok_or_else(|| format!("{text:?} is not a lane; there are default and large"))
    }
}
