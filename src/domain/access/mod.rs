//! Who may. A principal is whoever asks, already authenticated; a project's members have a role in it, everybody
//! else is a stranger to whom it does not exist.

use crate::db::Tx;
use crate::kit::id::{ProjectId, UserId};

use super::users::Role;
use super::{Error, projects};

/// Whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Principal {
    /// The account.
    pub user: UserId,
    /// The account's role in the system.
    pub role: Role,
}

impl Principal {
    /// The highest job priority that this principal may ask for.
    pub const fn priority_ceiling(&self) -> u8 {
        match self.role {
            Role::User => 5,
            Role::Premium | Role::Admin => 10,
        }
    }

    /// The priority of a job that asks for none.
    pub const fn default_priority(&self) -> u8 {
        match self.role {
            Role::User | Role::Admin => 1,
            Role::Premium => 10,
        }
    }

    /// Refuses everybody but administrators.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub fn require_admin(&self) -> Result<(), Error> {
        match self.role {
            Role::Admin => Ok(()),
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
    least: projects::Role,
) -> Result<(), Error> {
    match projects::role_of(tx, project, principal.user).await? {
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
    least: projects::Role,
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
