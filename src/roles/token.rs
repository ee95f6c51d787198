//! `spheroctl token`: API tokens, from the machine's own command line.

use std::process::ExitCode;

use anyhow::Context;
use chrono::TimeDelta;
use secrecy::ExposeSecret;
use serde::Serialize;

use crate::db::Db;
use crate::domain::users::{self, Token, User};
use crate::kit::clock::SystemClock;
use crate::roles::args::{TokenAction, TokenArgs};
use crate::roles::output;
use crate::roles::user::by_email;
use crate::settings::Settings;

/// Most accounts whose tokens are listed or searched.
const USERS_MAX: u32 = 10_000;

/// Runs the command.
///
/// # Errors
/// When the account or token is unknown, or the database does not answer.
pub async fn run(args: TokenArgs, settings: Settings) -> anyhow::Result<ExitCode> {
    let db = Db::open(&settings.database).await?;
    match &args.action {
        TokenAction::Create {
            email,
            name,
            expires_days,
        } => {
            let user = by_email(&db, email).await?;
            let lifetime = expires_days.map(|days| TimeDelta::days(i64::from(days)));
            let made = users::create_token(&db, &SystemClock, user.id, name, lifetime).await?;
            print_new(args.json, &made)?;
        }
        TokenAction::List { email } => {
            for user in owners(&db, email.as_deref()).await? {
                for token in users::list_tokens(&db, user.id).await? {
                    print(args.json, &user, &token)?;
                }
            }
        }
        TokenAction::Revoke { id } => {
            let mut revoked = false;
            for user in owners(&db, None).await? {
                revoked = revoked || users::revoke_token(&db, user.id, *id).await?;
            }
            revoked
                .then_some(())
                .with_context(|| format!("there is no token {id}"))?;
            output::line(&format!("token {id} is revoked"))?;
        }
    }
    db.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn owners(db: &Db, email: Option<&str>) -> anyhow::Result<Vec<User>> {
    match email {
        Some(email) => Ok(vec![by_email(db, email).await?]),
        None => Ok(users::list(db, USERS_MAX).await?),
    }
}

#[derive(Serialize)]
struct Shown<'t> {
    #[serde(flatten)]
    token: &'t Token,
    secret: &'t str,
}

fn print_new(json: bool, made: &users::NewToken) -> std::io::Result<()> {
    let secret = made.secret.expose_secret();
    if json {
        output::json(&Shown {
            token: &made.token,
            secret,
        })
    } else {
        output::line(secret)
    }
}

fn print(json: bool, user: &User, token: &Token) -> std::io::Result<()> {
    if json {
        return output::json(token);
    }
    let until = token
        .expires_at
        .map_or_else(|| "for ever".to_owned(), |at| format!("until {at}"));
    output::line(&format!(
        "{} {} {:?} {until}",
        token.id, user.email, token.name
    ))
}
