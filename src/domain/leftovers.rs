//! What the file store holds and no row lists: a request that was dropped between its object and its row, a result that
//! was refused while the store was away. It is removed at an age at which no row can follow any more.

use std::collections::HashSet;

use chrono::{DateTime, Utc};

use crate::db::Db;
use crate::files::{FileStore, Kind, kind_of};
use crate::kit::id::{JobId, ProjectId};
use crate::kit::metrics;

use super::{Error, files, projects, segmentations};

/// Files of one round: the lists of ids in its statements are no longer than that.
const FILES_MAX: usize = 5_000;

/// Removes unfinished uploads and unlisted objects that were last written to before `before`, among the next few
/// thousand files behind the key `after`. Says where the next round goes on; `None` at the end of the store. Objects of a
/// project that this database does not know are another database's, and stay.
///
/// # Errors
/// When the database does not answer, or the disk fails.
pub async fn sweep(
    db: &Db,
    store: &FileStore,
    before: DateTime<Utc>,
    after: Option<&str>,
) -> Result<Option<String>, Error> {
    let look = store.look_through(before, after, FILES_MAX).await?;
    metrics::files_swept("unfinished", look.removed);
    for key in unlisted(db, look.old).await? {
        store.delete(&key).await?;
        metrics::files_swept("unlisted", 1);
        tracing::info!(key, "no row lists {key}: removed");
    }
    Ok(look.next)
}

async fn unlisted(db: &Db, keys: Vec<String>) -> Result<Vec<String>, Error> {
    let ours: Vec<(String, ProjectId, Kind)> = keys
        .into_iter()
        .filter_map(|key| kind_of(&key).map(|(project, kind)| (key, project, kind)))
        .collect();
    if ours.is_empty() {
        return Ok(Vec::new());
    }
    let of_projects: HashSet<ProjectId> = ours.iter().map(|(_, project, _)| *project).collect();
    let (mut files, mut jobs) = (Vec::new(), Vec::<JobId>::new());
    for (_, _, kind) in &ours {
        match kind {
            Kind::File(file) => files.push(*file),
            Kind::Result(job) => jobs.push(*job),
        }
    }
    let mut tx = db.reader().await?;
    let known = projects::known(&mut tx, &of_projects.into_iter().collect::<Vec<_>>()).await?;
    let mut listed = files::keys_of(&mut tx, &files).await?;
    listed.extend(segmentations::keys_of(&mut tx, &jobs).await?);
    let listed: HashSet<String> = listed.into_iter().collect();
    Ok(ours
        .into_iter()
        .filter(|(key, project, _)| known.contains(project) && !listed.contains(key))
        .map(|(key, ..)| key)
        .collect())
}
