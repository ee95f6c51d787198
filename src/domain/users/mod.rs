//! Accounts, their passwords and their API tokens.

mod bearers;
mod passwords;
mod store;
mod tokens;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::db::{Db, run_tx};
use crate::kit::clock::Clock;
use crate::kit::id::UserId;
use crate::state::sessions::Sessions;

use super::Error;
use super::access::Principal;

pub use bearers::Bearers;
pub use passwords::Passwords;
pub use tokens::{NewToken, Token, create_token, list_tokens, revoke_token};

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// Address, in lower case; unique.
    pub email: String,
    /// The person's name.
    pub name: String,
    /// What the account may do in the system.
    pub role: Role,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was disabled, if it was.
    pub disabled_at: Option<DateTime<Utc>>,
}

/// What an account may do in the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Works in projects.
    User,
    /// The same, first in the queue.
    Premium,
    /// Sees to the system.
    Admin,
}

impl Role {
    /// The name in texts and rows.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Premium => "premium",
            Self::Admin => "admin",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "user" => Ok(Self::User),
            "premium" => Ok(Self::Premium),
            "admin" => Ok(Self::Admin),
            other => Err(format!(
                "{other:?} is not a role; use user, premium or admin"
            )),
        }
    }
}

/// An account to make.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// Address; upper case is folded.
    pub email: String,
    /// The person's name.
    pub name: String,
    /// What the account may do.
    pub role: Role,
    /// PHC string of [`Passwords::hash`]; none: sign-in by link or token only.
    pub password_hash: Option<String>,
}

/// Longest address (RFC 5321) and longest name that is stored, in characters.
const TEXT_CHARS_MAX: usize = 254;

/// Makes an account.
///
/// # Errors
/// [`Error::Invalid`] for an address or name that cannot be one, [`Error::Conflict`] when the address is taken.
pub async fn create(db: &Db, clock: &dyn Clock, new: NewUser) -> Result<User, Error> {
    let user = User {
        id: UserId::new(clock),
        email: checked_email(&new.email)?,
        name: checked_name("name", &new.name)?,
        role: new.role,
        created_at: clock.now(),
        disabled_at: None,
    };
    let made = run_tx!(db, "user.create", |tx| -> Result<(), Error> {
        Ok(store::insert(tx, &user, new.password_hash.as_deref()).await?)
    });
    match made {
        Ok(()) => Ok(user),
        Err(Error::Db(crate::db::Error::AlreadyExists { .. })) => Err(Error::Conflict(format!(
            "there is an account for {} already",
            user.email
        ))),
        Err(error) => Err(error),
    }
}

/// The account with this id, disabled or not.
///
/// # Errors
/// Only the database's own.
pub async fn find(db: &Db, id: UserId) -> Result<Option<User>, Error> {
    let mut tx = db.reader().await?;
    Ok(store::by_id(&mut tx, id).await?)
}

/// Who is signed in by the session that `token` opens, which is thereby used; `None` where it has ended, or the account is
/// disabled.
///
/// # Errors
/// When database or state store do not answer.
pub async fn signed_in(
    db: &Db,
    sessions: &Sessions,
    token: &str,
) -> Result<Option<Principal>, Error> {
    let Some(session) = sessions.lookup(token).await? else {
        return Ok(None);
    };
    let user = find(db, session.user).await?;
    let user = user.filter(|user| user.disabled_at.is_none());
    Ok(user.map(|user| Principal {
        user: user.id,
        role: user.role,
    }))
}

/// The account with this address and its password hash.
///
/// # Errors
/// Only the database's own.
pub async fn find_by_email(db: &Db, email: &str) -> Result<Option<(User, Option<String>)>, Error> {
    let mut tx = db.reader().await?;
    Ok(store::by_email(&mut tx, &email.trim().to_lowercase()).await?)
}

/// All accounts, oldest first, at most `limit`.
///
/// # Errors
/// Only the database's own.
pub async fn list(db: &Db, limit: u32) -> Result<Vec<User>, Error> {
    let mut tx = db.reader().await?;
    Ok(store::list(&mut tx, limit).await?)
}

/// Disables an account: it can no longer sign in and its tokens stop working. False when there is none.
///
/// # Errors
/// Only the database's own.
pub async fn disable(db: &Db, clock: &dyn Clock, id: UserId) -> Result<bool, Error> {
    let now = clock.now();
    run_tx!(db, "user.disable", |tx| -> Result<bool, Error> {
        Ok(store::disable(tx, id, now).await?)
    })
}

/// Replaces an account's password hash. False when there is no such account.
///
/// # Errors
/// Only the database's own.
pub async fn set_password_hash(db: &Db, id: UserId, hash: &str) -> Result<bool, Error> {
    run_tx!(db, "user.set_password", |tx| -> Result<bool, Error> {
        Ok(store::set_password_hash(tx, id, hash).await?)
    })
}

fn checked_email(email: &str) -> Result<String, Error> {
    let email = email.trim().to_lowercase();
    let has_both_sides = email
        .split_once('@')
        .is_some_and(|(local, host)| !local.is_empty() && !host.is_empty());
    let plain = !email.chars().any(|c| c.is_whitespace() || c.is_control());
    if has_both_sides && plain && email.chars().count() <= TEXT_CHARS_MAX {
        Ok(email)
    } else {
        Err(Error::invalid(
            "email",
            format!("{email:?} is not an e-mail address"),
        ))
    }
}

/// A name as it is stored: trimmed, not empty, at most 254 characters, without control characters.
///
/// # Errors
/// [`Error::Invalid`] naming `field`.
pub fn checked_name(field: &str, name: &str) -> Result<String, Error> {
    let name = name.trim();
    if name.is_empty()
        || name.chars().count() > TEXT_CHARS_MAX
        || name.chars().any(char::is_control)
    {
        return Err(Error::invalid(
            field,
            format!("1 to {TEXT_CHARS_MAX} characters are expected, without control characters"),
        ));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_folded_and_checked() {
        assert_eq!(
            checked_email(" Ada@Example.ORG ").unwrap(),
            "ada@example.org"
        );
        for bad in ["", "ada", "@example.org", "ada@", "a da@example.org"] {
            assert!(checked_email(bad).is_err(), "{bad:?}");
        }
    }
}
