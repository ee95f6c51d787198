//! What `dlq` is told. The doc comments are the help texts.

use clap::{Args, Subcommand};

use crate::events::dead_letters::LetterId;
use crate::kit::id::{JobId, ProjectId};

/// Arguments of `dlq`.
#[derive(Debug, Clone, Args)]
pub struct DlqArgs {
    /// Which dead letters.
    #[command(subcommand)]
    pub kind: DlqKind,
    /// Print the result as JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// Kinds of dead letters.
#[derive(Debug, Clone, Subcommand)]
pub enum DlqKind {
    /// Jobs that failed for good
    Jobs {
        /// What to do.
        #[command(subcommand)]
        action: JobsAction,
    },
    /// Records of the event log that no consumer group could handle
    Events {
        /// What to do.
        #[command(subcommand)]
        action: EventsAction,
    },
}

/// What `dlq events` does.
#[derive(Debug, Clone, Subcommand)]
pub enum EventsAction {
    /// List dead records, the newest first, of the newest 1,000 of each partition
    List {
        /// Which.
        #[command(flatten)]
        filter: EventFilterArgs,
        /// Most records that are listed
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Show a dead record with its headers and value
    Show {
        /// Its id, from `dlq events list`
        id: LetterId,
    },
    /// Send dead records to their topics again: those that are named, or the oldest that the flags find and that were
    /// not sent again yet
    Replay {
        /// Their ids
        #[arg(
            required_unless_present_any = ["topic", "group", "error_class", "all"],
            conflicts_with_all = ["topic", "group", "error_class", "all", "limit"]
        )]
        ids: Vec<LetterId>,
        /// Instead of ids, what they have in common.
        #[command(flatten)]
        filter: EventFilterArgs,
        /// All there are
        #[arg(long)]
        all: bool,
        /// Most records that the flags take at once
        #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Drop dead records by age; a log drops from its start on only
    Purge {
        /// Only those of this topic
        #[arg(long, value_name = "TOPIC")]
        topic: Option<String>,
        /// Those that died at least so many days ago; 0 for all
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=36_500))]
        older_than_days: u32,
        /// Do it; without this flag the command does nothing and fails
        #[arg(long)]
        yes: bool,
    },
}

/// What dead records have in common.
#[derive(Debug, Clone, Default, Args)]
pub struct EventFilterArgs {
    /// Only those of this topic, such as job.events
    #[arg(long, value_name = "TOPIC")]
    pub topic: Option<String>,
    /// Only those of this consumer group, such as projector
    #[arg(long, value_name = "GROUP")]
    pub group: Option<String>,
    /// Only those with this class of error, such as undecodable, failed, refused, crashed
    #[arg(long, value_name = "CLASS")]
    pub error_class: Option<String>,
}

/// What `dlq jobs` does.
#[derive(Debug, Clone, Subcommand)]
pub enum JobsAction {
    /// List dead jobs, the newest first
    List {
        /// Which.
        #[command(flatten)]
        filter: FilterArgs,
        /// Most jobs that are listed
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Show a dead job with its runs
    Show {
        /// Its id, from `dlq jobs list`
        id: JobId,
    },
    /// Run dead jobs again: those that are named, or the oldest that the flags find
    Replay {
        /// Which.
        #[command(flatten)]
        which: WhichArgs,
    },
    /// Remove dead jobs and the records of their runs; images stay
    Purge {
        /// Which.
        #[command(flatten)]
        which: WhichArgs,
        /// Do it; without this flag the command only says how many it would remove, and fails
        #[arg(long)]
        yes: bool,
    },
}

/// What dead jobs have in common.
#[derive(Debug, Clone, Default, Args)]
pub struct FilterArgs {
    /// Only those of this project
    #[arg(long, value_name = "ID")]
    pub project: Option<ProjectId>,
    /// Only those with this class of error, such as bad_image, timeout, crash, storage
    #[arg(long, value_name = "CLASS")]
    pub error_class: Option<String>,
    /// Only those that this account asked for (e-mail address)
    #[arg(long, value_name = "EMAIL")]
    pub owner: Option<String>,
    /// Only those that died at least so many days ago
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=36_500))]
    pub older_than_days: Option<u32>,
}

/// Dead jobs that something is done to.
#[derive(Debug, Clone, Args)]
pub struct WhichArgs {
    /// Their ids; all of them or, where one is not dead, none
    #[arg(
        required_unless_present_any = ["project", "error_class", "owner", "older_than_days", "all"],
        conflicts_with_all = ["project", "error_class", "owner", "older_than_days", "all", "limit"]
    )]
    pub ids: Vec<JobId>,
    /// Instead of ids, what they have in common.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// All there are
    #[arg(long)]
    pub all: bool,
    /// Most jobs that the flags take at once (queue.batch_max where it is left out)
    #[arg(long, value_name = "N")]
    pub limit: Option<u32>,
}
