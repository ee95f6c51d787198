//! Dead letters: jobs that failed for good. They are listed, shown with their runs, and removed; `again` brings them
//! back. Administrators and the machine's own operator reach all of them, everybody else those of their projects.

mod selection;

use std::collections::{BTreeSet, HashSet};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::db::{Tx, run_tx};
use crate::domain::access::{self, Principal};
use crate::domain::{Error, segmentations, users};
use crate::files::{Kind, kind_of};
use crate::kit::id::{JobId, ProjectId, UserId};
use crate::kit::metrics;

use super::store::dead::{self, Search};
use super::{Job, JobError, Jobs, Status, authorised, store};

pub use selection::{Filter, Selection};

/// Runs that are shown of one job, the last first.
const ATTEMPTS_MAX: u32 = 100;

/// Whose dead jobs are meant.
#[derive(Debug, Clone, Copy)]
pub enum Scope {
    /// Those of all projects: for administrators and the command line.
    Everything,
    /// Those of a member's projects, as far as the member's roles go.
    Of(Principal),
}

impl From<&Principal> for Scope {
    fn from(principal: &Principal) -> Self {
        match principal.role {
            users::Role::Admin => Self::Everything,
            users::Role::User | users::Role::Premium => Self::Of(*principal),
        }
    }
}

impl Scope {
    const fn member(&self) -> Option<UserId> {
        match self {
            Self::Everything => None,
            Self::Of(principal) => Some(principal.user),
        }
    }
}

/// A dead job with its runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeadLetter {
    /// The job; its error is why it is dead.
    #[serde(flatten)]
    pub job: Job,
    /// Its runs, the last first, at most 100.
    pub attempts: Vec<Attempt>,
}

/// One run of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// Its number, the fencing token.
    pub attempt: i64,
    /// The process that ran it.
    pub worker: String,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended, if anybody knows.
    pub ended_at: Option<DateTime<Utc>>,
    /// `completed`, `failed`, `crashed`, `cancelled` or `handed_back`.
    pub outcome: Option<String>,
    /// Why it failed.
    pub error: Option<JobError>,
}

/// What a purge did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Purged {
    /// Jobs that are gone.
    pub removed: u64,
    /// Whether the limit left some that the filter finds.
    pub more: bool,
}

/// Jobs that were chosen inside a transaction.
pub(super) struct Chosen {
    pub(super) ids: Vec<JobId>,
    pub(super) more: bool,
}

impl Jobs {
    /// Dead jobs, the newest first, at most `limit`, older than `before`.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the project of a stranger's filter, [`Error::Invalid`] for a filter that cannot be.
    pub async fn dead_letters(
        &self,
        scope: &Scope,
        filter: &Filter,
        before: Option<JobId>,
        limit: u32,
    ) -> Result<Vec<Job>, Error> {
        filter.check("")?;
        let mut tx = self.db.reader().await?;
        reach_project(&mut tx, scope, filter, access::Role::Viewer).await?;
        let search = self.search(scope, filter, limit);
        Ok(dead::dead(&mut tx, &search, before).await?)
    }

    /// A dead job with its runs.
    ///
    /// # Errors
    /// [`Error::NotFound`] for strangers and for a job that is not dead.
    pub async fn dead_letter(&self, scope: &Scope, id: JobId) -> Result<DeadLetter, Error> {
        let mut tx = self.db.reader().await?;
        let job = reached(&mut tx, scope, id, access::Role::Viewer).await?;
        if job.status != Status::Dead {
            return Err(Error::not_found("dead letter", id));
        }
        let attempts = dead::attempts_of(&mut tx, id, ATTEMPTS_MAX).await?;
        Ok(DeadLetter { job, attempts })
    }

    /// Removes dead jobs with their runs, and objects of results where there are any. The images stay.
    ///
    /// # Errors
    /// [`Error::NotFound`] for strangers, [`Error::Forbidden`] for viewers, [`Error::Conflict`] naming a job that is
    /// not dead, [`Error::Invalid`] for a selection that cannot be.
    pub async fn purge(&self, scope: &Scope, which: &Selection) -> Result<Purged, Error> {
        which.check(self.rules.batch_max)?;
        let (removed, keys, more) = run_tx!(self.db, "job.purge", |tx| -> Result<
            (Vec<JobId>, Vec<String>, bool),
            Error,
        > {
            let chosen = self.chosen(tx, scope, which).await?;
            let keys = segmentations::keys_of(tx, &chosen.ids).await?;
            let removed = dead::remove_dead(tx, &chosen.ids).await?;
            complete(which, &chosen.ids, &removed)?;
            Ok((removed, keys, chosen.more))
        })?;
        self.drop_objects(&removed, &keys).await;
        metrics::jobs_removed("purged", removed.len() as u64);
        Ok(Purged {
            removed: removed.len() as u64,
            more,
        })
    }

    /// The jobs that `which` means: of ids all, dead and within reach; of a filter the oldest that may be changed.
    pub(super) async fn chosen(
        &self,
        tx: &mut Tx,
        scope: &Scope,
        which: &Selection,
    ) -> Result<Chosen, Error> {
        let Some(filter) = &which.filter else {
            let ids: BTreeSet<JobId> = which.ids.iter().copied().collect();
            let ids: Vec<JobId> = ids.into_iter().collect();
            check_all(tx, scope, &ids).await?;
            return Ok(Chosen { ids, more: false });
        };
        reach_project(tx, scope, filter, access::Role::Editor).await?;
        let limit = which.limit(self.rules.batch_max);
        let search = self.search(scope, filter, limit + 1);
        let found = dead::dead_to_change(tx, &search).await?;
        let ids = found.iter().map(|job| job.id).take(limit as usize);
        Ok(Chosen {
            ids: ids.collect(),
            more: found.len() > limit as usize,
        })
    }

    pub(super) fn check_selection(&self, which: &Selection) -> Result<(), Error> {
        which.check(self.rules.batch_max)
    }

    fn search<'f>(&self, scope: &Scope, filter: &'f Filter, limit: u32) -> Search<'f> {
        Search {
            filter,
            died_before: filter.died_before(self.clock.now()),
            member: scope.member(),
            limit,
        }
    }

    /// Removes the objects of jobs that are gone. What cannot be removed is found by the sweep of unlisted files.
    async fn drop_objects(&self, removed: &[JobId], keys: &[String]) {
        let removed: HashSet<JobId> = removed.iter().copied().collect();
        let of_removed = |key: &&String| match kind_of(key) {
            Some((_, Kind::Result(job))) => removed.contains(&job),
            _ => false,
        };
        for key in keys.iter().filter(of_removed) {
            if let Err(error) = self.files.delete(key).await {
                tracing::warn!(%error, key, "the object {key} of a purged job stays until the sweep: {error}");
            }
        }
    }
}

/// Of ids that were named all must have been changed; of those that a filter found, others may have been faster.
pub(super) fn complete(
    which: &Selection,
    chosen: &[JobId],
    changed: &[JobId],
) -> Result<(), Error> {
    if which.filter.is_some() {
        return Ok(());
    }
    match chosen.iter().find(|id| !changed.contains(id)) {
        Some(id) => Err(not_dead(*id)),
        None => Ok(()),
    }
}

async fn check_all(tx: &mut Tx, scope: &Scope, ids: &[JobId]) -> Result<(), Error> {
    let jobs = store::by_ids(tx, ids).await?;
    let mut reachable: HashSet<ProjectId> = HashSet::new();
    for id in ids {
        let job = jobs.iter().find(|job| job.id == *id);
        if job.is_none_or(|job| !reachable.contains(&job.project)) {
            let job = reached(tx, scope, *id, access::Role::Editor).await?;
            reachable.insert(job.project);
        }
        if job.is_some_and(|job| job.status != Status::Dead) {
            return Err(not_dead(*id));
        }
    }
    Ok(())
}

fn not_dead(id: JobId) -> Error {
    Error::Conflict(format!("job {id} is not dead; nothing was changed"))
}

/// A job within reach.
async fn reached(tx: &mut Tx, scope: &Scope, id: JobId, least: access::Role) -> Result<Job, Error> {
    match scope {
        Scope::Of(principal) => authorised(tx, principal, id, least).await,
        Scope::Everything => store::by_id(tx, id)
            .await?
            .ok_or_else(|| Error::not_found("job", id)),
    }
}

/// Refuses what lies in projects that are out of reach by now.
pub(super) async fn check_reach(tx: &mut Tx, scope: &Scope, jobs: &[Job]) -> Result<(), Error> {
    let Scope::Of(principal) = scope else {
        return Ok(());
    };
    let projects: BTreeSet<ProjectId> = jobs.iter().map(|job| job.project).collect();
    for project in projects {
        access::require(tx, principal, project, access::Role::Viewer).await?;
    }
    Ok(())
}

/// A project that is named must be one of the member's, where it may do this.
async fn reach_project(
    tx: &mut Tx,
    scope: &Scope,
    filter: &Filter,
    least: access::Role,
) -> Result<(), Error> {
    match (scope, filter.project) {
        (Scope::Of(principal), Some(project)) => {
            access::require(tx, principal, project, least).await
        }
        _ => Ok(()),
    }
}
