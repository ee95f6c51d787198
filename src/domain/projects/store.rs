//! Statements on `projects` and `project_members`.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use crate::db::{Error, Tx, batch, execute, on_tx};
use crate::domain::access::Role;
use crate::kit::id::{ProjectId, UserId};

use super::{Member, Project};

const INSERT: &str = "
    insert into projects (id, name, created_by, created_at)
    values ($1, $2, $3, $4)";

const OF_USER: &str = "
    select p.id, p.name, p.created_by, p.created_at, m.role
    from project_members m
    join projects p on p.id = m.project_id
    where m.user_id = $1 and m.project_id < $2
    order by m.project_id desc
    limit $3";

const FOR_USER: &str = "
    select p.id, p.name, p.created_by, p.created_at, m.role
    from projects p
    join project_members m on m.project_id = p.id
    where p.id = $1 and m.user_id = $2";

const MEMBERS: &str = "
    select m.user_id, u.email, u.name, m.role, m.created_at
    from project_members m
    join users u on u.id = m.user_id
    where m.project_id = $1
    order by m.created_at, m.user_id";

const PUT_MEMBER: &str = "
    insert into project_members (project_id, user_id, role, created_at)
    values ($1, $2, $3, $4)
    on conflict (project_id, user_id) do update set role = excluded.role";

const REMOVE_MEMBER: &str = "
    delete from project_members
    where project_id = $1 and user_id = $2";

const OTHER_OWNERS: &str = "
    select count(*)
    from project_members
    where project_id = $1 and user_id <> $2 and role = 'owner'";

const KNOWN_POSTGRES: &str = "
    select id
    from projects
    where id = any (array(select value::uuid from json_array_elements_text($1::json)))";

const KNOWN_SQLITE: &str = "
    select id
    from projects
    where id in (select unhex(value, '-') from json_each($1))";

#[derive(FromRow)]
struct ProjectRow {
    id: ProjectId,
    name: String,
    created_by: UserId,
    created_at: DateTime<Utc>,
    role: String,
}

impl ProjectRow {
    fn into_project(self) -> Result<Project, Error> {
        Ok(Project {
            role: Role::of_row(self.id, &self.role)?,
            id: self.id,
            name: self.name,
            created_by: self.created_by,
            created_at: self.created_at,
        })
    }
}

#[derive(FromRow)]
struct MemberRow {
    user_id: UserId,
    email: String,
    name: String,
    role: String,
    created_at: DateTime<Utc>,
}

pub(super) async fn insert(tx: &mut Tx, project: &Project) -> Result<(), Error> {
    execute!(
        tx,
        INSERT,
        project.id,
        &project.name,
        project.created_by,
        project.created_at
    )?;
    Ok(())
}

pub(super) async fn of_user(
    tx: &mut Tx,
    user: UserId,
    before: Option<ProjectId>,
    limit: u32,
) -> Result<Vec<Project>, Error> {
    let before = before.unwrap_or(ProjectId::from_uuid(Uuid::max()));
    let rows: Vec<ProjectRow> = on_tx!(tx, |conn| sqlx::query_as(OF_USER)
        .bind(user)
        .bind(before)
        .bind(i64::from(limit))
        .fetch_all(conn)
        .await)?;
    rows.into_iter().map(ProjectRow::into_project).collect()
}

pub(super) async fn for_user(
    tx: &mut Tx,
    id: ProjectId,
    user: UserId,
) -> Result<Option<Project>, Error> {
    let row: Option<ProjectRow> = on_tx!(tx, |conn| sqlx::query_as(FOR_USER)
        .bind(id)
        .bind(user)
        .fetch_optional(conn)
        .await)?;
    row.map(ProjectRow::into_project).transpose()
}

pub(super) async fn members(tx: &mut Tx, id: ProjectId) -> Result<Vec<Member>, Error> {
    let rows: Vec<MemberRow> = on_tx!(tx, |conn| sqlx::query_as(MEMBERS)
        .bind(id)
        .fetch_all(conn)
        .await)?;
    rows.into_iter()
        .map(|row| {
            Ok(Member {
                role: Role::of_row(id, &row.role)?,
                user: row.user_id,
                email: row.email,
                name: row.name,
                created_at: row.created_at,
            })
        })
        .collect()
}

pub(super) async fn put_member(
    tx: &mut Tx,
    project: ProjectId,
    user: UserId,
    role: Role,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    execute!(tx, PUT_MEMBER, project, user, role.name(), now)?;
    Ok(())
}

pub(super) async fn remove_member(
    tx: &mut Tx,
    project: ProjectId,
    user: UserId,
) -> Result<bool, Error> {
    let removed = execute!(tx, REMOVE_MEMBER, project, user)?;
    Ok(removed == 1)
}

pub(super) async fn other_owners(
    tx: &mut Tx,
    project: ProjectId,
    user: UserId,
) -> Result<i64, Error> {
    Ok(on_tx!(tx, |conn| sqlx::query_scalar(OTHER_OWNERS)
        .bind(project)
        .bind(user)
        .fetch_one(conn)
        .await)?)
}

pub(super) async fn known(tx: &mut Tx, projects: &[ProjectId]) -> Result<Vec<ProjectId>, Error> {
    let projects = batch::list(projects)?;
    let statement = tx.dialect().pick(KNOWN_POSTGRES, KNOWN_SQLITE);
    Ok(on_tx!(tx, |conn| sqlx::query_scalar(statement)
        .bind(projects)
        .fetch_all(conn)
        .await)?)
}
