//! Where a run works: a folder beside the results, with the embedded backends in it, and an account in them.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::app::App;
use crate::db::run_tx;
use crate::domain::Error;
use crate::domain::access::Principal;
use crate::domain::projects::{self, Project};
use crate::domain::users::{self, NewUser, Role};
use crate::kit::id::ProjectId;
use crate::settings::Settings;

/// The folder; removed when this is dropped.
#[derive(Debug)]
pub(super) struct Workplace {
    dir: PathBuf,
}

impl Workplace {
    /// Makes the folder inside `out`.
    pub(super) fn make(out: &Path) -> std::io::Result<Self> {
        let dir = out.join(format!(".work-{}", Uuid::new_v4().simple()));
        std::fs::create_dir(&dir)?;
        Ok(Self { dir })
    }

    /// The settings with every backend in this folder.
    pub(super) fn settings(&self, mut settings: Settings) -> Settings {
        settings.database.url = format!("sqlite:{}", self.dir.join("work.sqlite").display()).into();
        settings.files.dir = self.dir.join("files");
        settings.redis.enabled = false;
        settings.kafka.bootstrap_servers = String::new();
        settings
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            eprintln!(
                "spheroctl: the work folder {} stays: {error}",
                self.dir.display()
            );
        }
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
