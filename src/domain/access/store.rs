//! The statements that every question of access asks: for one member, or for many at once.

use std::collections::HashMap;

use serde::Serialize;
use sqlx::FromRow;

use crate::db::{Error, Tx, batch, on_tx};
use crate::kit::id::{ProjectId, UserId};

use super::Role;

const ROLE_OF: &str = "
    select role
    from project_members
    where project_id = $1 and user_id = $2";

/// One look-up for each: a semi-join would read the whole table.
const ROLES_OF_POSTGRES: &str = "
    select found.project_id, found.user_id, found.role
    from json_to_recordset($1::json) as asked (project_id uuid, user_id uuid)
    cross join lateral (
        select * from project_members as member
        where member.project_id = asked.project_id and member.user_id = asked.user_id limit 1
    ) as found";

const ROLES_OF_SQLITE: &str = "
    select project_id, user_id, role
    from project_members
    where (project_id, user_id) in (
        select unhex(value ->> 'project_id', '-'), unhex(value ->> 'user_id', '-') from json_each($1)
    )";

#[derive(Serialize)]
struct Member {
    project_id: ProjectId,
    user_id: UserId,
}

#[derive(FromRow)]
struct MemberRow {
    project_id: ProjectId,
    user_id: UserId,
    role: String,
}

pub(super) async fn role_of(
    tx: &mut Tx,
    project: ProjectId,
    user: UserId,
) -> Result<Option<Role>, Error> {
    let role: Option<String> = on_tx!(tx, |conn| sqlx::query_scalar(ROLE_OF)
        .bind(project)
        .bind(user)
        .fetch_optional(conn)
        .await)?;
    role.map(|role| Role::of_row(project, &role)).transpose()
}

pub(super) async fn roles_of(
    tx: &mut Tx,
    members: impl Iterator<Item = (ProjectId, UserId)>,
) -> Result<HashMap<(ProjectId, UserId), Role>, Error> {
    let members = members.map(|(project_id, user_id)| Member {
        project_id,
        user_id,
    });
    let members = batch::list(&members.collect::<Vec<_>>())?;
    let statement = tx.dialect().pick(ROLES_OF_POSTGRES, ROLES_OF_SQLITE);
    let rows: Vec<MemberRow> = on_tx!(tx, |conn| sqlx::query_as(statement)
        .bind(members)
        .fetch_all(conn)
        .await)?;
    let roles = rows.into_iter().map(|row| {
        let role = Role::of_row(row.project_id, &row.role)?;
        Ok(((row.project_id, row.user_id), role))
    });
    roles.collect()
}
