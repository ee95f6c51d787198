//! Images: the pictures inside stored files, as their headers describe them.

mod lookup;
mod store;
mod upload;

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::db::{Db, Tx};
use crate::kit::id::{FileId, ImageId, ProjectId, UserId};

use super::access::{self, Principal};
use super::files::File;
use super::{Error, files};

pub use lookup::{JobImage, of_jobs};
pub use upload::{Limits, Upload, Uploads};

/// An image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// Its id.
    pub id: ImageId,
    /// Its project.
    pub project: ProjectId,
    /// The file that holds it.
    pub file: FileId,
    /// The name it came with.
    pub name: String,
    /// Width in pixels.
    pub width: u64,
    /// Height in pixels.
    pub height: u64,
    /// Pages of a stack; 1 for a plain picture.
    pub pages: u64,
    /// Bits of one sample.
    pub bits_per_sample: u64,
    /// Edge length of a pixel in µm, where the file says so credibly.
    pub pixel_size_um: Option<f64>,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
}

/// An image of a project of the principal's.
///
/// # Errors
/// [`Error::NotFound`] for strangers, [`Error::Forbidden`] for members below `least`.
pub async fn find(
    db: &Db,
    principal: &Principal,
    id: ImageId,
    least: access::Role,
) -> Result<Image, Error> {
    let mut tx = db.reader().await?;
    authorised(&mut tx, principal, id, least).await
}

/// The same inside the caller's transaction.
///
/// # Errors
/// As [`find`].
pub async fn authorised(
    tx: &mut Tx,
    principal: &Principal,
    id: ImageId,
    least: access::Role,
) -> Result<Image, Error> {
    let found = store::by_id(tx, id).await?;
    let found = found.map(|image| {
        let project = image.project;
        (image, project)
    });
    access::require_through(tx, principal, ("image", id.to_string()), found, least).await
}

/// Images of several principals, read at once; [`Readable::of`] judges each.
#[derive(Debug, Default)]
pub struct Readable {
    images: HashMap<ImageId, Image>,
    roles: access::Roles,
}

impl Readable {
    /// Reads the images that these principals ask for, and their roles in the images' projects.
    ///
    /// # Errors
    /// Only the database's own.
    pub async fn read(
        tx: &mut Tx,
        asked: impl Iterator<Item = (Principal, ImageId)> + Clone,
    ) -> Result<Self, Error> {
        let ids: HashSet<ImageId> = asked.clone().map(|(_, id)| id).collect();
        let found = store::by_ids(tx, &ids.into_iter().collect::<Vec<_>>()).await?;
        let images: HashMap<ImageId, Image> =
            found.into_iter().map(|image| (image.id, image)).collect();
        let members = asked.filter_map(|(principal, id)| {
            let image = images.get(&id)?;
            Some((image.project, principal.user))
        });
        let members: HashSet<(ProjectId, UserId)> = members.collect();
        let roles = access::Roles::read(tx, members.into_iter()).await?;
        Ok(Self { images, roles })
    }

    /// The image, for a principal who asked.
    ///
    /// # Errors
    /// As [`find`].
    pub fn of(
        &self,
        principal: &Principal,
        id: ImageId,
        least: access::Role,
    ) -> Result<&Image, Error> {
        let absent = || Error::not_found("image", id);
        let image = self.images.get(&id).ok_or_else(absent)?;
        match self.roles.require(principal, image.project, least) {
            Ok(()) => Ok(image),
            Err(Error::NotFound { .. }) => Err(absent()),
            Err(error) => Err(error),
        }
    }
}

/// An image with the file that holds it; for callers that have asked who may see it.
///
/// # Errors
/// [`Error::NotFound`] when it was deleted meanwhile.
pub async fn with_file(db: &Db, id: ImageId) -> Result<(Image, File), Error> {
    let mut tx = db.reader().await?;
    let image = store::by_id(&mut tx, id)
        .await?
        .ok_or_else(|| Error::not_found("image", id))?;
    let file = files::find(&mut tx, image.file)
        .await?
        .ok_or_else(|| Error::not_found("file", image.file))?;
    Ok((image, file))
}

/// The images of a project, newest first, at most `limit`, older than `before`.
///
/// # Errors
/// [`Error::NotFound`] for strangers.
pub async fn list(
    db: &Db,
    principal: &Principal,
    project: ProjectId,
    before: Option<ImageId>,
    limit: u32,
) -> Result<Vec<Image>, Error> {
    let mut tx = db.reader().await?;
    access::require(&mut tx, principal, project, access::Role::Viewer).await?;
    Ok(store::of_project(&mut tx, project, before, limit).await?)
}
