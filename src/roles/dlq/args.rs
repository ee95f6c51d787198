//! What `dlq` is told. The doc comments are the help texts.

use clap::{Args, Subcommand};

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
