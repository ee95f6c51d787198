//! Dead letters: jobs that failed for good. They are listed, shown with their runs, and removed; `again` brings them
//! back. Administrators and the machine's own operator reach all of them, everybody else those of their projects.

use std::collections::{BTreeSet, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::db::{Tx, run_tx};
use crate::domain::access::{self, Principal};
use crate::domain::{Error, segmentations, users};
use crate::files::{Kind, kind_of};
use crate::kit::id::{JobId, ProjectId, UserId};
use crate::kit::metrics;

use super::store::dead::{self, Search};
use super::{Job, JobError, Jobs, Status, authorised, store};

/// Runs that are shown of one job, the last first.
const ATTEMPTS_MAX: u32 = 100;
/// Longest error class of a filter, in characters; ours are shorter than 20.
const CLASS_CHARS_MAX: usize = 100;
/// Jobs of any age died before this much from now: the clocks of instances differ by less.
const AHEAD: TimeDelta = TimeDelta::days(1);

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

/// What dead jobs have in common; what is not said does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Their project.
    #[serde(default)]
    pub project: Option<ProjectId>,
    /// Class of their last error, such as `bad_image`.
    #[serde(default)]
    pub error_class: Option<String>,
    /// Who asked for them.
    #[serde(default)]
    pub owner: Option<UserId>,
    /// They died at least this many seconds ago.
    #[serde(default)]
    pub older_than_s: Option<u32>,
}

impl Filter {
    fn check(&self, field: &str) -> Result<(), Error> {
        let class = self.error_class.as_deref().unwrap_or_default();
        if class.chars().count() > CLASS_CHARS_MAX || class.chars().any(char::is_control) {
            let why = format!(
                "at most {CLASS_CHARS_MAX} characters are expected, without control characters"
            );
            return Err(Error::invalid(format!("{field}error_class"), why));
        }
        Ok(())
    }

    fn died_before(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self.older_than_s {
            Some(age_s) => now - TimeDelta::seconds(i64::from(age_s)),
            None => now + AHEAD,
        }
    }
}

/// Which dead jobs something is done to: those with these ids, or those that a filter finds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// The jobs. All of them or, where one is not dead, none.
    #[serde(default)]
    pub ids: Vec<JobId>,
    /// What the jobs have in common; the oldest first.
    #[serde(default)]
    pub filter: Option<Filter>,
    /// Most jobs that the filter takes; `queue.batch_max` where it is not said.
    #[serde(default)]
    pub limit: Option<u32>,
}

impl Selection {
    /// One job.
    pub fn one(id: JobId) -> Self {
        Self {
            ids: vec![id],
            ..Self::default()
        }
    }

    fn check(&self, most: usize) -> Result<(), Error> {
        match (&self.filter, self.ids.len()) {
            (None, 0) | (Some(_), 1..) => {
                Err(Error::invalid("/ids", "give either ids or a filter"))
            }
            (None, count) if count > most => {
                let why = format!("1 to {most} jobs are expected, not {count}");
                Err(Error::invalid("/ids", why))
            }
            (None, _) if self.limit.is_some() => {
                Err(Error::invalid("/limit", "a limit goes with a filter"))
            }
            (None, _) => Ok(()),
            (Some(filter), _) => {
                let limit = self.limit(most);
                if limit == 0 || limit as usize > most {
                    let why = format!("1 to {most} is expected, not {limit}");
                    return Err(Error::invalid("/limit", why));
                }
                filter.check("/filter/")
            }
        }
    }

    fn limit(&self, most: usize) -> u32 {
        self.limit
            .unwrap_or_else(|| u32::try_from(most).unwrap_or(u32::MAX))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(selection: &Selection) -> Option<String> {
        match selection.check(10) {
            Err(Error::Invalid { field, .. }) => Some(field),
            Err(other) => panic!("{other}"),
            Ok(()) => None,
        }
    }

    #[test]
    fn a_selection_is_ids_or_a_filter_and_has_a_bound() {
        let id = JobId::from_uuid(uuid::Uuid::from_u128(1));
        let by_filter = |limit| Selection {
            filter: Some(Filter::default()),
            limit,
            ..Selection::default()
        };
        assert_eq!(refused(&Selection::one(id)), None);
        assert_eq!(refused(&by_filter(None)), None);
        assert_eq!(refused(&by_filter(Some(10))), None);
        for limit in [0, 11] {
            assert_eq!(refused(&by_filter(Some(limit))).as_deref(), Some("/limit"));
        }
        let both = Selection {
            ids: vec![id],
            ..by_filter(None)
        };
        let many = Selection {
            ids: vec![id; 11],
            ..Selection::default()
        };
        for wrong in [Selection::default(), both, many] {
            assert_eq!(refused(&wrong).as_deref(), Some("/ids"), "{wrong:?}");
        }
    }

    #[test]
    fn a_class_that_cannot_be_is_refused() {
        let wrong = Filter {
            error_class: Some("a\0b".into()),
            ..Filter::default()
        };
        assert!(wrong.check("").is_err());
    }
}
