//! An upload: streamed to the file store with its hash, its header looked at, then listed with its image and its event
//! in one transaction. What is acknowledged is listed; what is not listed is removed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use sha2::{Digest, Sha256};

use crate::db::{Db, Tx, run_tx};
use crate::domain::Error;
use crate::domain::access::{self, Principal};
use crate::domain::files::{self, File};
use crate::domain::idempotency::{Outcome, Request};
use crate::domain::users::checked_name;
use crate::events::outbox::{self, OutboxBell};
use crate::events::types::FileStored;
use crate::events::{Event, Fact};
use crate::files::{FileStore, Stored, file_key, next_piece};
use crate::kit::clock::SharedClock;
use crate::kit::compute::ComputePool;
use crate::kit::hex::hex;
use crate::kit::id::{FileId, ImageId, ProjectId};
use crate::kit::metrics;
use crate::segment::{self, Inspection};
use crate::state::SharedState;

use super::{Image, store};

/// Memory that looking at a header may take; the decoders' own limits are lower.
const INSPECTION_BYTES: u64 = 16 << 20;

/// How much may be uploaded, and how slowly.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Largest file in bytes.
    pub upload_bytes_max: u64,
    /// Most bytes of one project.
    pub project_bytes_max: u64,
    /// Longest silence inside an upload.
    pub idle_timeout: Duration,
    /// What the decoders accept.
    pub image: segment::Limits,
}

/// Takes uploads. Clones share the handles.
#[derive(Debug, Clone)]
pub struct Uploads {
    /// The truth.
    pub db: Db,
    /// Where the bytes go.
    pub files: FileStore,
    /// In-flight markers.
    pub state: SharedState,
    /// Headers are looked at here, never on the runtime's threads.
    pub compute: Arc<ComputePool>,
    /// Instants.
    pub clock: SharedClock,
    /// Wakes the relay.
    pub bell: OutboxBell,
    /// The limits.
    pub limits: Limits,
}

/// An upload that begins.
#[derive(Debug)]
pub struct Upload<'u> {
    /// Who sends it.
    pub principal: Principal,
    /// Where to.
    pub project: ProjectId,
    /// The file's name.
    pub name: &'u str,
    /// The request's key.
    pub key: &'u str,
    /// The size that the request announces.
    pub announced_bytes: Option<u64>,
}

impl Uploads {
    /// Refuses an upload that cannot succeed, before its body is read: a stranger's project, a bad name, an announced
    /// size above the limit, a full project.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`], [`Error::Invalid`], [`Error::TooLarge`], [`Error::QuotaExceeded`].
    pub async fn admit(&self, upload: &Upload<'_>) -> Result<(), Error> {
        checked_name("name", upload.name)?;
        Request::new(upload.principal.user, upload.key, &[])?;
        let mut tx = self.db.reader().await?;
        access::require(
            &mut tx,
            &upload.principal,
            upload.project,
            access::Role::Editor,
        )
        .await?;
        let announced = upload.announced_bytes.unwrap_or(0);
        if announced > self.limits.upload_bytes_max {
            metrics::upload_failed("too_large");
            return Err(self.too_large(upload));
        }
        self.check_quota(&mut tx, upload.project, announced).await
    }

    /// Stores an admitted upload. A repetition is read and compared, not stored again.
    ///
    /// # Errors
    /// What [`Uploads::admit`] answers, [`Error::BadImage`] when the bytes are no supported image,
    /// [`Error::InFlight`] and [`Error::IdempotencyMismatch`] for the key, or the file store's own.
    pub async fn store(
        &self,
        upload: &Upload<'_>,
        body: impl Stream<Item = std::io::Result<Bytes>> + Send + Unpin,
    ) -> Result<Outcome<Image>, Error> {
        let key = Request::new(upload.principal.user, upload.key, &[])?;
        let marker = key.enter(&*self.state).await?;
        let outcome = if key.is_recorded(&self.db).await? {
            self.compare(upload, body).await
        } else {
            self.store_new(upload, body).await
        };
        marker.leave().await;
        match &outcome {
            Ok(_) => self.bell.ring(),
            Err(error) => metrics::upload_failed(failure_label(error)),
        }
        outcome
    }

    async fn store_new(
        &self,
        upload: &Upload<'_>,
        body: impl Stream<Item = std::io::Result<Bytes>> + Send + Unpin,
    ) -> Result<Outcome<Image>, Error> {
        let file = FileId::new(&*self.clock);
        let object_key = file_key(upload.project, file);
        let cap = self.limits.upload_bytes_max;
        let stored = self
            .files
            .put_stream(&object_key, body, cap, self.limits.idle_timeout)
            .await
            .map_err(|error| match error {
                crate::files::Error::TooLarge { .. } => self.too_large(upload),
                error => error.into(),
            })?;
        let listed = self.list(upload, file, &object_key, &stored).await;
        if !may_be_listed(&listed)
            && let Err(error) = self.files.delete(&object_key).await
        {
            tracing::warn!(%error, object_key, "the unlisted object {object_key} stays: {error}");
        }
        listed
    }

    async fn list(
        &self,
        upload: &Upload<'_>,
        file: FileId,
        object_key: &str,
        stored: &Stored,
    ) -> Result<Outcome<Image>, Error> {
        let inspection = self.inspect(upload.name, object_key).await?;
        let file = self.file(upload, file, object_key, stored, &inspection)?;
        let image = self.image(&file, &inspection);
        let request = request(upload, &stored.sha256)?;
        let outcome = run_tx!(self.db, "image.upload", |tx| -> Result<
            Outcome<Image>,
            Error,
        > {
            if let Some(earlier) = request.replay::<Image>(tx).await? {
                return Ok(Outcome {
                    value: earlier,
                    replayed: true,
                });
            }
            self.check_quota(tx, upload.project, stored.bytes).await?;
            files::insert(tx, &file).await?;
            store::insert(tx, &image).await?;
            outbox::stage(tx, &[file_stored(&self.clock, &file)]).await?;
            request.record(tx, &image, self.clock.now()).await?;
            Ok(Outcome {
                value: image.clone(),
                replayed: false,
            })
        })?;
        if !outcome.replayed {
            metrics::upload_stored(stored.bytes);
        }
        Ok(outcome)
    }

    /// Reads the body of a repetition only to know that it is the same.
    async fn compare(
        &self,
        upload: &Upload<'_>,
        mut body: impl Stream<Item = std::io::Result<Bytes>> + Send + Unpin,
    ) -> Result<Outcome<Image>, Error> {
        let mut digest = Sha256::new();
        let mut bytes = 0_u64;
        while let Some(chunk) = next_piece(&mut body, self.limits.idle_timeout).await? {
            bytes += chunk.len() as u64;
            if bytes > self.limits.upload_bytes_max {
                return Err(self.too_large(upload));
            }
            digest.update(&chunk);
        }
        let request = request(upload, &digest.finalize().into())?;
        let mut tx = self.db.reader().await?;
        match request.replay::<Image>(&mut tx).await? {
            Some(earlier) => Ok(Outcome {
                value: earlier,
                replayed: true,
            }),
            None => Err(Error::InFlight),
        }
    }

    async fn inspect(&self, name: &str, object_key: &str) -> Result<Inspection, Error> {
        let opened = self.files.open_for_decode(object_key).await?;
        let limits = self.limits.image;
        let inspected = self
            .compute
            .run(INSPECTION_BYTES, move || {
                let mut reader = opened;
                segment::inspect(&mut reader, &limits)
            })
            .await
            .map_err(|error| Error::Internal(error.to_string()))?;
        inspected.map_err(|source| Error::BadImage {
            file: name.to_owned(),
            source,
        })
    }

    fn file(
        &self,
        upload: &Upload<'_>,
        id: FileId,
        object_key: &str,
        stored: &Stored,
        inspection: &Inspection,
    ) -> Result<File, Error> {
        Ok(File {
            id,
            project: upload.project,
            uploaded_by: upload.principal.user,
            name: checked_name("name", upload.name)?,
            size_bytes: stored.bytes,
            sha256: stored.sha256,
            media_type: inspection.format.media_type().to_owned(),
            object_key: object_key.to_owned(),
            created_at: self.clock.now(),
        })
    }

    fn image(&self, file: &File, inspection: &Inspection) -> Image {
        let trusted = inspection.pixel_size.filter(segment::PixelSize::trusted);
        Image {
            id: ImageId::new(&*self.clock),
            project: file.project,
            file: file.id,
            name: file.name.clone(),
            width: u64::from(inspection.width),
            height: u64::from(inspection.height),
            pages: u64::from(inspection.pages),
            bits_per_sample: u64::from(inspection.bits),
            pixel_size_um: trusted.and_then(|size| size.square_um()),
            created_at: self.clock.now(),
        }
    }

    async fn check_quota(&self, tx: &mut Tx, project: ProjectId, more: u64) -> Result<(), Error> {
        let used_bytes = files::bytes_of(tx, project).await?;
        let limit_bytes = self.limits.project_bytes_max;
        if used_bytes.saturating_add(more) > limit_bytes {
            return Err(Error::QuotaExceeded {
                limit_bytes,
                used_bytes,
            });
        }
        Ok(())
    }

    fn too_large(&self, upload: &Upload<'_>) -> Error {
        Error::TooLarge {
            file: upload.name.to_owned(),
            limit_bytes: self.limits.upload_bytes_max,
        }
    }
}

/// Whether the object may belong to a row. A database that fell silent may have committed: a needless object costs
/// space, a missing one is a lost file.
const fn may_be_listed(listed: &Result<Outcome<Image>, Error>) -> bool {
    use crate::db::Error::{Other, Unavailable};
    match listed {
        Ok(outcome) => !outcome.replayed,
        Err(error) => matches!(error, Error::Db(Unavailable(_) | Other(_))),
    }
}

fn request(upload: &Upload<'_>, sha256: &[u8; 32]) -> Result<Request, Error> {
    let project = upload.project.as_uuid();
    let parts: [&[u8]; 4] = [
        b"upload",
        project.as_bytes(),
        upload.name.as_bytes(),
        sha256,
    ];
    Request::new(upload.principal.user, upload.key, &parts)
}

fn file_stored(clock: &SharedClock, file: &File) -> Event {
    let fact = Fact::FileStored(FileStored {
        file_id: file.id,
        project_id: file.project,
        uploaded_by: file.uploaded_by,
        name: file.name.clone(),
        size_bytes: file.size_bytes.cast_signed(),
        sha256: hex(file.sha256),
        media_type: file.media_type.clone(),
    });
    Event::new(fact, &**clock)
}

const fn failure_label(error: &Error) -> &'static str {
    match error {
        Error::TooLarge { .. } | Error::QuotaExceeded { .. } => "too_large",
        Error::BadImage { .. } => "unsupported",
        Error::Files(crate::files::Error::Aborted(_)) => "aborted",
        _ => "storage",
    }
}
