//! Images with their files, for the worker: jobs that start together share the statements.

use std::collections::HashMap;

use crate::db::Db;
use crate::domain::Error;
use crate::domain::files::{self, File};
use crate::kit::batcher::{Batcher, Limits, Stopped};
use crate::kit::id::{FileId, ImageId};

use super::{Image, store, with_file};

/// Images of one pair of statements.
const LIMITS: Limits = Limits {
    weight_max: 256,
    waiting_max: 4_096,
};

/// Finds images. Clones share the statements.
#[derive(Debug, Clone)]
pub struct Lookup {
    asking: Batcher<ImageId, Result<(Image, File), Error>>,
}

impl Lookup {
    /// Asks this database.
    pub fn new(db: Db) -> Self {
        let asking = Batcher::start("images.lookup", LIMITS, move |ids: Vec<ImageId>| {
            let db = db.clone();
            async move { answers(&db, &ids).await }
        });
        Self { asking }
    }

    /// An image with the file that holds it.
    ///
    /// # Errors
    /// As [`with_file`].
    pub async fn with_file(&self, id: ImageId) -> Result<(Image, File), Error> {
        let answer = self.asking.call(id, 1).await;
        answer.map_err(|Stopped| Error::Internal(Stopped.to_string()))?
    }
}

async fn answers(db: &Db, ids: &[ImageId]) -> Vec<Result<(Image, File), Error>> {
    if let [id] = ids {
        return vec![with_file(db, *id).await];
    }
    match read(db, ids).await {
        Ok(found) => {
            let answer = |id: &ImageId| found.get(id).cloned();
            let answers = ids.iter().map(|id| (id, answer(id)));
            answers
                .map(|(id, answer)| answer.ok_or_else(|| Error::not_found("image", id)))
                .collect()
        }
        Err(error) => ids.iter().map(|_| Err(error.clone().into())).collect(),
    }
}

async fn read(
    db: &Db,
    ids: &[ImageId],
) -> Result<HashMap<ImageId, (Image, File)>, crate::db::Error> {
    let mut tx = db.reader().await?;
    let images = store::by_ids(&mut tx, ids).await?;
    let of: Vec<FileId> = images.iter().map(|image| image.file).collect();
    let found = files::rows(&mut tx, &of).await?;
    let by_id: HashMap<FileId, File> = found.into_iter().map(|file| (file.id, file)).collect();
    let with_file = images.into_iter().filter_map(|image| {
        let file = by_id.get(&image.file)?.clone();
        Some((image.id, (image, file)))
    });
    Ok(with_file.collect())
}
