//! Statements on `users` and `api_tokens`.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use crate::db::{Error, Tx, batch, execute, on_tx};
use crate::kit::hex::hex;
use crate::kit::id::{TokenId, UserId};

use super::{Token, User};

const INSERT: &str = "
    insert into users (id, email, name, password_hash, role, created_at)
    values ($1, $2, $3, $4, $5, $6)";

const BY_ID: &str = "
    select id, email, name, password_hash, role, created_at, disabled_at
    from users
    where id = $1";

const BY_EMAIL: &str = "
    select id, email, name, password_hash, role, created_at, disabled_at
    from users
    where email = $1";

const LIST: &str = "
    select id, email, name, password_hash, role, created_at, disabled_at
    from users
    order by created_at, id
    limit $1";

const DISABLE: &str = "
    update users
    set disabled_at = $2
    where id = $1 and disabled_at is null";

const SET_PASSWORD_HASH: &str = "
    update users
    set password_hash = $2
    where id = $1";

const INSERT_TOKEN: &str = "
    insert into api_tokens (id, user_id, name, secret_sha256, created_at, expires_at)
    values ($1, $2, $3, $4, $5, $6)";

const TOKENS_OF: &str = "
    select id, user_id, name, created_at, expires_at, last_used_at
    from api_tokens
    where user_id = $1
    order by created_at, id";

const BEARERS_POSTGRES: &str = "
    select u.id, u.email, u.name, u.password_hash, u.role, u.created_at, u.disabled_at, t.last_used_at,
        t.secret_sha256
    from api_tokens t
    join users u on u.id = t.user_id
    where t.secret_sha256 = any (array(select decode(value, 'hex') from json_array_elements_text($1::json)))
        and (t.expires_at is null or t.expires_at > $2)";

const BEARERS_SQLITE: &str = "
    select u.id, u.email, u.name, u.password_hash, u.role, u.created_at, u.disabled_at, t.last_used_at,
        t.secret_sha256
    from api_tokens t
    join users u on u.id = t.user_id
    where t.secret_sha256 in (select unhex(value) from json_each($1))
        and (t.expires_at is null or t.expires_at > $2)";

const TOUCH_TOKEN: &str = "
    update api_tokens
    set last_used_at = $2
    where secret_sha256 = $1 and (last_used_at is null or last_used_at < $3)";

const REVOKE_TOKEN: &str = "
    delete from api_tokens
    where id = $1 and user_id = $2";

#[derive(FromRow)]
struct UserRow {
    id: UserId,
    email: String,
    name: String,
    password_hash: Option<String>,
    role: String,
    created_at: DateTime<Utc>,
    disabled_at: Option<DateTime<Utc>>,
}

impl UserRow {
    fn into_user(self) -> Result<(User, Option<String>), Error> {
        let role = self.role.parse().map_err(|what| Error::Inconsistent {
            table: "users",
            id: self.id.to_string(),
            what,
        })?;
        let user = User {
            id: self.id,
            email: self.email,
            name: self.name,
            role,
            created_at: self.created_at,
            disabled_at: self.disabled_at,
        };
        Ok((user, self.password_hash))
    }
}

#[derive(FromRow)]
struct TokenOwnerRow {
    #[sqlx(flatten)]
    user: UserRow,
    last_used_at: Option<DateTime<Utc>>,
    secret_sha256: Vec<u8>,
}

#[derive(FromRow)]
struct TokenRow {
    id: TokenId,
    user_id: UserId,
    name: String,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
}

impl From<TokenRow> for Token {
    fn from(row: TokenRow) -> Self {
        Self {
            id: row.id,
            user: row.user_id,
            name: row.name,
            created_at: row.created_at,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
        }
    }
}

pub(super) async fn insert(
    tx: &mut Tx,
    user: &User,
    password_hash: Option<&str>,
) -> Result<(), Error> {
    execute!(
        tx,
        INSERT,
        user.id,
        &user.email,
        &user.name,
        password_hash,
        user.role.name(),
        user.created_at
    )?;
    Ok(())
}

pub(super) async fn by_id(tx: &mut Tx, id: UserId) -> Result<Option<User>, Error> {
    let row: Option<UserRow> = on_tx!(tx, |conn| sqlx::query_as(BY_ID)
        .bind(id)
        .fetch_optional(conn)
        .await)?;
    Ok(row
        .map(UserRow::into_user)
        .transpose()?
        .map(|(user, _)| user))
}

pub(super) async fn by_email(
    tx: &mut Tx,
    email: &str,
) -> Result<Option<(User, Option<String>)>, Error> {
    let row: Option<UserRow> = on_tx!(tx, |conn| sqlx::query_as(BY_EMAIL)
        .bind(email)
        .fetch_optional(conn)
        .await)?;
    row.map(UserRow::into_user).transpose()
}

pub(super) async fn list(tx: &mut Tx, limit: u32) -> Result<Vec<User>, Error> {
    let rows: Vec<UserRow> = on_tx!(tx, |conn| sqlx::query_as(LIST)
        .bind(i64::from(limit))
        .fetch_all(conn)
        .await)?;
    rows.into_iter()
        .map(|row| row.into_user().map(|(user, _)| user))
        .collect()
}

pub(super) async fn disable(tx: &mut Tx, id: UserId, now: DateTime<Utc>) -> Result<bool, Error> {
    Ok(execute!(tx, DISABLE, id, now)? == 1)
}

pub(super) async fn set_password_hash(tx: &mut Tx, id: UserId, hash: &str) -> Result<bool, Error> {
    Ok(execute!(tx, SET_PASSWORD_HASH, id, hash)? == 1)
}

pub(super) async fn insert_token(
    tx: &mut Tx,
    token: &Token,
    secret_sha256: &[u8],
) -> Result<(), Error> {
    execute!(
        tx,
        INSERT_TOKEN,
        token.id,
        token.user,
        &token.name,
        secret_sha256,
        token.created_at,
        token.expires_at
    )?;
    Ok(())
}

pub(super) async fn tokens_of(tx: &mut Tx, user: UserId) -> Result<Vec<Token>, Error> {
    let rows: Vec<TokenRow> = on_tx!(tx, |conn| sqlx::query_as(TOKENS_OF)
        .bind(user)
        .fetch_all(conn)
        .await)?;
    Ok(rows.into_iter().map(Token::from).collect())
}

/// The token's owner and when the token was last used.
/// Whoever bears a token.
#[derive(Debug, Clone)]
pub(super) struct Bearer {
    pub(super) user: User,
    pub(super) last_used_at: Option<DateTime<Utc>>,
}

/// The bearers of the tokens with these digests that have not expired, by digest.
pub(super) async fn bearers(
    tx: &mut Tx,
    digests: &[[u8; 32]],
    now: DateTime<Utc>,
) -> Result<HashMap<[u8; 32], Bearer>, Error> {
    let distinct: HashSet<&[u8; 32]> = digests.iter().collect();
    let digests = batch::list(&distinct.into_iter().map(hex).collect::<Vec<String>>())?;
    let statement = tx.dialect().pick(BEARERS_POSTGRES, BEARERS_SQLITE);
    let rows: Vec<TokenOwnerRow> = on_tx!(tx, |conn| sqlx::query_as(statement)
        .bind(digests)
        .bind(now)
        .fetch_all(conn)
        .await)?;
    let mut bearers = HashMap::new();
    for row in rows {
        let (user, _) = row.user.into_user()?;
        let last_used_at = row.last_used_at;
        // The column holds nothing but digests.
        if let Ok(digest) = row.secret_sha256.try_into() {
            bearers.insert(digest, Bearer { user, last_used_at });
        }
    }
    Ok(bearers)
}

pub(super) async fn touch_token(
    tx: &mut Tx,
    secret_sha256: &[u8],
    now: DateTime<Utc>,
    unless_after: DateTime<Utc>,
) -> Result<(), Error> {
    execute!(tx, TOUCH_TOKEN, secret_sha256, now, unless_after)?;
    Ok(())
}

pub(super) async fn revoke_token(tx: &mut Tx, id: TokenId, user: UserId) -> Result<bool, Error> {
    Ok(execute!(tx, REVOKE_TOKEN, id, user)? == 1)
}
