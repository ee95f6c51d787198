//! Who may. A principal is whoever asks, already authenticated; a project's members have a role in it, everybody
//! else is a stranger to whom it does not exist.

mod store;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::db::{self, Tx};
use crate::kit::id::{ProjectId, UserId};

use super::{Error, users};

/// Whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Principal {
    /// The account.
    pub user: UserId,
    /// The account's role in the system.
    pub role: users::Role,
}

/// What a member may do, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks.
    Viewer,
    /// Uploads, segments, corrects.
    Editor,
    /// Decides who else is in.
    Owner,
}

impl Role {
    /// The name in texts and rows.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Editor => "editor",
            Self::Owner => "owner",
        }
    }

    /// The role in a row of a project's member.
    ///
    /// # Errors
    /// [`db::Error::Inconsistent`] for a name that is none.
    pub(super) fn of_row(project: ProjectId, name: &str) -> Result<Self, db::Error> {
        name.parse().map_err(|what| db::Error::Inconsistent {
            table: "project_members",
            id: project.to_string(),
            what,
        })
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "viewer" => Ok(Self::Viewer),
            "editor" => Ok(Self::Editor),
            "owner" => Ok(Self::Owner),
            other => Err(format!(
                "{other:?} is not a project role; use viewer, editor or owner"
            )),
        }
    }
}

impl Principal {
    /// The highest job priority that this principal may ask for.
    pub const fn priority_ceiling(&self) -> u8 {
        match self.role {
            users::Role::User => 5,
            users::Role::Premium | users::Role::Admin => 10,
        }
    }

    /// The priority of a job that asks for none.
    pub const fn default_priority(&self) -> u8 {
        match self.role {
            users::Role::User | users::Role::Admin => 1,
            users::Role::Premium => 10,
        }
    }

    /// Refuses everybody but administrators.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub fn require_admin(&self) -> Result<(), Error> {
        match self.role {
            users::Role::Admin => Ok(()),
            _ => Err(Error::Forbidden("only an administrator may do this".into())),
        }
    }
}

/// Refuses a principal who is no member of the project (it does not exist for them) or whose role is below `least`.
///
/// # Errors
/// [`Error::NotFound`] for strangers, [`Error::Forbidden`] for members with too little.
pub async fn require(
    tx: &mut Tx,
    principal: &Principal,
    project: ProjectId,
    least: Role,
) -> Result<(), Error> {
    judge(
        store::role_of(tx, project, principal.user).await?,
        project,
        least,
    )
}

/// The roles of members, read at once.
#[derive(Debug, Clone, Default)]
pub struct Roles {
    of: HashMap<(ProjectId, UserId), Role>,
}

impl Roles {
    /// The roles of these users in these projects.
    ///
    /// # Errors
    /// Only the database's own.
    pub async fn read(
        tx: &mut Tx,
        members: impl Iterator<Item = (ProjectId, UserId)>,
    ) -> Result<Self, Error> {
        let of = store::roles_of(tx, members).await?;
        Ok(Self { of })
    }

    /// As [`require`], for a member that was read.
    ///
    /// # Errors
    /// As [`require`].
    pub fn require(
        &self,
        principal: &Principal,
        project: ProjectId,
        least: Role,
    ) -> Result<(), Error> {
        let role = self.of.get(&(project, principal.user));
        judge(role.copied(), project, least)
    }
}

fn judge(role: Option<Role>, project: ProjectId, least: Role) -> Result<(), Error> {
    match role {
        None => Err(Error::not_found("project", project)),
        Some(role) if role < least => Err(Error::Forbidden(format!(
            "your role in this project is {}; this takes {}",
            role.name(),
            least.name()
        ))),
        Some(_) => Ok(()),
    }
}

/// Turns an absent or foreign thing into the same answer: `found` holds the thing and its project.
///
/// # Errors
/// [`Error::NotFound`] naming `noun` and `id`, [`Error::Forbidden`] for members with too little.
pub async fn require_through<T>(
    tx: &mut Tx,
    principal: &Principal,
    (noun, id): (&'static str, String),
    found: Option<(T, ProjectId)>,
    least: Role,
) -> Result<T, Error> {
    let absent = || Error::NotFound { noun, id };
    let Some((thing, project)) = found else {
        return Err(absent());
    };
    match require(tx, principal, project, least).await {
        Ok(()) => Ok(thing),
        Err(Error::NotFound { .. }) => Err(absent()),
        Err(error) => Err(error),
    }
}
