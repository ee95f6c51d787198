//! Where a run works: a hidden folder among the results, with the records of what is done and, while it runs, the
//! embedded backends and unfinished files; and an account in them.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use crate::app::App;
use crate::db::run_tx;
use crate::domain::Error;
use crate::domain::access::Principal;
use crate::domain::projects::{self, Project};
use crate::domain::users::{self, NewUser, Role};
use crate::kit::id::ProjectId;
use crate::roles::exit::{Code, WithCode};
use crate::roles::sqlite_url::sqlite_url;
use crate::settings::Settings;

/// The hidden folder, inside the folder of results.
const FOLDER: &str = ".spheroctl";

/// The folder, held by one run at a time. Its part for working is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Workplace {
    /// Records of what is done.
    pub(super) records: PathBuf,
    /// Unfinished files, on the same file system as the results.
    pub(super) work: PathBuf,
    /// The lock ends with the process, however that ends.
    _lock: File,
}

impl Workplace {
    /// Makes the folder inside `out` and takes it; what a run that was killed left behind in it is removed.
    ///
    /// # Errors
    /// Exit status 73 where it cannot be made, 75 while another run works there.
    pub(super) fn make(out: &Path) -> anyhow::Result<Self> {
        let folder = out.join(FOLDER);
        let (records, work) = (folder.join("records"), folder.join("work"));
        std::fs::create_dir_all(&records).or_exit(Code::CantCreate)?;
        let lock = File::create(folder.join("lock")).or_exit(Code::CantCreate)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let busy = anyhow!("{}: another run writes its results there", out.display());
                return Err(busy).or_exit(Code::Temporary);
            }
            // Some network file systems know no locks.
            Err(TryLockError::Error(error)) => {
                tracing::warn!(%error, "{} is not locked: {error}", out.display());
            }
        }
        remove(&work).or_exit(Code::CantCreate)?;
        std::fs::create_dir(&work)
            .with_context(|| work.display().to_string())
            .or_exit(Code::CantCreate)?;
        Ok(Self {
            records,
            work,
            _lock: lock,
        })
    }

    /// The settings with every backend in this folder.
    pub(super) fn settings(&self, mut settings: Settings) -> Settings {
        settings.database.url = sqlite_url(&self.work.join("work.sqlite")).into();
        settings.files.dir = self.work.join("files");
        settings.redis.enabled = false;
        settings.kafka.bootstrap_servers = String::new();
        // Uploads are removed as soon as they are done with; the sum over all of them bounds nothing.
        settings.files.project_bytes_max = i64::MAX.cast_unsigned();
        settings
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.work) {
            eprintln!("spheroctl: {} stays: {error}", self.work.display());
        }
    }
}

fn remove(folder: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Who uploads and submits, and where.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) principal: Principal,
    pub(super) project: ProjectId,
}

impl Account {
    /// Makes the account and its project.
    pub(super) async fn make(app: &App) -> Result<Self, Error> {
        let new = NewUser {
            email: "segment@localhost".into(),
            name: "spheroctl segment".into(),
            role: Role::Admin,
            password_hash: None,
        };
        let user = users::create(&app.db, &*app.clock, new).await?;
        let principal = Principal {
            user: user.id,
            role: user.role,
        };
        let project = run_tx!(app.db, "project.create", |tx| -> Result<Project, Error> {
            projects::create(tx, &*app.clock, &principal, "segment").await
        })?;
        Ok(Self {
            principal,
            project: project.id,
        })
    }
}
