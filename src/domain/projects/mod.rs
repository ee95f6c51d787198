//! Projects: the tenants. Everything that people upload belongs to one, and only its members reach it.

mod store;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::db::{Db, Tx, run_tx};
use crate::events::types::{MemberAdded, MemberRemoved};
use crate::events::{Event, Fact, outbox};
use crate::kit::clock::Clock;
use crate::kit::id::{ProjectId, UserId};

use super::access::{self, Principal, Role};
use super::users::checked_name;
use super::{Error, users};

/// A project, as one of its members sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Its name.
    pub name: String,
    /// Who made it.
    pub created_by: UserId,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// The asking member's role in it.
    pub role: Role,
}

/// A member of a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Member {
    /// The account.
    pub user: UserId,
    /// Its address.
    pub email: String,
    /// Its name.
    pub name: String,
    /// What the member may do.
    pub role: Role,
    /// Since when.
    pub created_at: DateTime<Utc>,
}

/// Makes a project inside the caller's transaction; who makes it owns it.
///
/// # Errors
/// [`Error::Invalid`] for a bad name.
pub async fn create(
    tx: &mut Tx,
    clock: &dyn Clock,
    principal: &Principal,
    name: &str,
) -> Result<Project, Error> {
    let project = Project {
        id: ProjectId::new(clock),
        name: checked_name("name", name)?,
        created_by: principal.user,
        created_at: clock.now(),
        role: Role::Owner,
    };
    store::insert(tx, &project).await?;
    store::put_member(
        tx,
        project.id,
        principal.user,
        Role::Owner,
        project.created_at,
    )
    .await?;
    stage_membership(tx, clock, project.id, principal.user, Some(Role::Owner)).await?;
    Ok(project)
}

/// The principal's projects, newest first, at most `limit`, older than `before`.
///
/// # Errors
/// Only the database's own.
pub async fn list(
    db: &Db,
    principal: &Principal,
    before: Option<ProjectId>,
    limit: u32,
) -> Result<Vec<Project>, Error> {
    let mut tx = db.reader().await?;
    Ok(store::of_user(&mut tx, principal.user, before, limit).await?)
}

/// One of the principal's projects.
///
/// # Errors
/// [`Error::NotFound`] for strangers.
pub async fn find(db: &Db, principal: &Principal, id: ProjectId) -> Result<Project, Error> {
    let mut tx = db.reader().await?;
    let found = store::for_user(&mut tx, id, principal.user).await?;
    found.ok_or_else(|| Error::not_found("project", id))
}

/// Those of these projects that exist.
///
/// # Errors
/// Only the database's own.
pub async fn known(tx: &mut Tx, projects: &[ProjectId]) -> Result<Vec<ProjectId>, Error> {
    Ok(store::known(tx, projects).await?)
}

/// The members of a project, oldest first.
///
/// # Errors
/// [`Error::NotFound`] for strangers.
pub async fn members(db: &Db, principal: &Principal, id: ProjectId) -> Result<Vec<Member>, Error> {
    let mut tx = db.reader().await?;
    access::require(&mut tx, principal, id, Role::Viewer).await?;
    Ok(store::members(&mut tx, id).await?)
}

/// Makes the account with this address a member, or changes its role. Only owners may; the last owner stays one.
///
/// # Errors
/// [`Error::NotFound`] for strangers and unknown addresses, [`Error::Forbidden`] for others than owners,
/// [`Error::Conflict`] for the last owner.
pub async fn put_member(
    db: &Db,
    clock: &dyn Clock,
    principal: &Principal,
    id: ProjectId,
    email: &str,
    role: Role,
) -> Result<Member, Error> {
    let found = users::find_by_email(db, email).await?;
    let now = clock.now();
    run_tx!(db, "project.put_member", |tx| -> Result<Member, Error> {
        access::require(tx, principal, id, Role::Owner).await?;
        let Some((user, _)) = &found else {
            return Err(Error::not_found("user", email));
        };
        if role != Role::Owner {
            keep_an_owner(tx, id, user.id).await?;
        }
        store::put_member(tx, id, user.id, role, now).await?;
        stage_membership(tx, clock, id, user.id, Some(role)).await?;
        Ok(Member {
            user: user.id,
            email: user.email.clone(),
            name: user.name.clone(),
            role,
            created_at: now,
        })
    })
}

/// Takes a member out. Owners may take out anybody, members themselves; the last owner stays.
///
/// # Errors
/// As [`put_member`].
pub async fn remove_member(
    db: &Db,
    clock: &dyn Clock,
    principal: &Principal,
    id: ProjectId,
    user: UserId,
) -> Result<(), Error> {
    run_tx!(db, "project.remove_member", |tx| -> Result<(), Error> {
        let least = if user == principal.user {
            Role::Viewer
        } else {
            Role::Owner
        };
        access::require(tx, principal, id, least).await?;
        keep_an_owner(tx, id, user).await?;
        if !store::remove_member(tx, id, user).await? {
            return Err(Error::not_found("member", user));
        }
        stage_membership(tx, clock, id, user, None).await
    })
}

async fn keep_an_owner(tx: &mut Tx, id: ProjectId, leaving: UserId) -> Result<(), Error> {
    match store::other_owners(tx, id, leaving).await? {
        0 => Err(Error::Conflict("a project keeps at least one owner".into())),
        _ => Ok(()),
    }
}

async fn stage_membership(
    tx: &mut Tx,
    clock: &dyn Clock,
    project: ProjectId,
    user: UserId,
    role: Option<Role>,
) -> Result<(), Error> {
    let fact = match role {
        Some(role) => Fact::MemberAdded(MemberAdded {
            user_id: user,
            project_id: project,
            role: role.name().to_owned(),
        }),
        None => Fact::MemberRemoved(MemberRemoved {
            user_id: user,
            project_id: project,
        }),
    };
    Ok(outbox::stage(tx, &[Event::new(fact, clock)]).await?)
}
