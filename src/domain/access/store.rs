//! The one statement that every question of access asks.

use crate::db::{Error, Tx, on_tx};
use crate::kit::id::{ProjectId, UserId};

use super::Role;

const ROLE_OF: &str = "
    select role
    from project_members
    where project_id = $1 and user_id = $2";

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
