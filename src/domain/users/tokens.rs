//! API tokens: 256 random bits that are shown once; the database keeps their SHA-256 alone.

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use serde::Serialize;

use crate::db::{Db, run_tx};
use crate::domain::Error;
use crate::kit::clock::Clock;
use crate::kit::id::{TokenId, UserId};
use crate::kit::secret::{self, digest};

use super::{checked_name, store};

/// Every secret begins with this, so that secret scanners know one when they see it.
pub(super) const PREFIX: &str = "sph_";

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
    let secret = format!("{PREFIX}{}", secret::random());
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
