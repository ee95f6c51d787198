//! API tokens: 256 random bits that are shown once; the database keeps their SHA-256 alone.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use rand::RngCore;
use secrecy::SecretString;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::db::{Db, run_tx};
use crate::domain::Error;
use crate::domain::access::Principal;
use crate::kit::clock::Clock;
use crate::kit::id::{TokenId, UserId};

use super::{checked_name, store};

/// Every secret begins with this, so that secret scanners know one when they see it.
const PREFIX: &str = "sph_";
/// `last_used_at` is written at most this often, so that reading with a token stays a read.
const TOUCH_INTERVAL: TimeDelta = TimeDelta::minutes(10);

/// An API token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// Whose it is.
    pub user: UserId,
    /// What it is for, in its owner's words.
    pub name: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it stops working, if ever.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was last used, give or take ten minutes.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// A token that was made just now, with the secret that is never shown again.
#[derive(Debug)]
pub struct NewToken {
    /// The token.
    pub token: Token,
    /// What the bearer sends.
    pub secret: SecretString,
}

/// Makes a token for a user.
///
/// # Errors
/// [`Error::Invalid`] for a bad name, [`Error::NotFound`] when there is no such user.
pub async fn create_token(
    db: &Db,
    clock: &dyn Clock,
    user: UserId,
    name: &str,
    lifetime: Option<TimeDelta>,
) -> Result<NewToken, Error> {
    let now = clock.now();
    let token = Token {
        id: TokenId::new(clock),
        user,
        name: checked_name("name", name)?,
        created_at: now,
        expires_at: lifetime.map(|lifetime| now + lifetime),
        last_used_at: None,
    };
    let secret = new_secret();
    let made = run_tx!(db, "token.create", |tx| -> Result<(), Error> {
        Ok(store::insert_token(tx, &token, &digest(&secret)).await?)
    });
    match made {
        Ok(()) => Ok(NewToken {
            token,
            secret: secret.into(),
        }),
        Err(Error::Db(crate::db::Error::BrokenReference { .. })) => {
            Err(Error::not_found("user", user))
        }
        Err(error) => Err(error),
    }
}

/// A user's tokens, oldest first.
///
/// # Errors
/// Only the database's own.
pub async fn list_tokens(db: &Db, user: UserId) -> Result<Vec<Token>, Error> {
    let mut tx = db.reader().await?;
    Ok(store::tokens_of(&mut tx, user).await?)
}

/// Revokes a user's token; false when the user has none with this id.
///
/// # Errors
/// Only the database's own.
pub async fn revoke_token(db: &Db, user: UserId, id: TokenId) -> Result<bool, Error> {
    run_tx!(db, "token.revoke", |tx| -> Result<bool, Error> {
        Ok(store::revoke_token(tx, id, user).await?)
    })
}

/// Who bears this secret; `None` for one that is unknown, expired, or whose account is disabled.
///
/// # Errors
/// Only the database's own.
pub async fn principal_of_token(
    db: &Db,
    clock: &dyn Clock,
    secret: &str,
) -> Result<Option<Principal>, Error> {
    if !secret.starts_with(PREFIX) {
        return Ok(None);
    }
    let (digest, now) = (digest(secret), clock.now());
    let owner = {
        let mut tx = db.reader().await?;
        store::owner_of_token(&mut tx, &digest, now).await?
    };
    let Some((user, last_used_at)) = owner else {
        return Ok(None);
    };
    if user.disabled_at.is_some() {
        return Ok(None);
    }
    if last_used_at.is_none_or(|at| at < now - TOUCH_INTERVAL) {
        run_tx!(db, "token.touch", |tx| -> Result<(), Error> {
            Ok(store::touch_token(tx, &digest, now, now - TOUCH_INTERVAL).await?)
        })?;
    }
    Ok(Some(Principal {
        user: user.id,
        role: user.role,
    }))
}

fn new_secret() -> String {
    let mut bytes = [0_u8; 32];
    rand::rng().fill_bytes(&mut bytes);
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
}

fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}
