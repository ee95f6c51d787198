//! `spheroctl user`: accounts, from the machine's own command line.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use secrecy::ExposeSecret;
use serde::Serialize;

use crate::db::Db;
use crate::domain::users::{self, NewUser, Passwords, Role, User};
use crate::kit::clock::SystemClock;
use crate::kit::id::UserId;
use crate::roles::args::{UserAction, UserArgs, UserRole};
use crate::roles::output;
use crate::roles::password::PasswordArgs;
use crate::settings::Settings;
use crate::state::sessions::{Sessions, SignInCodes};
use crate::state::{self, SharedState};

/// Most accounts that are listed.
const LIST_MAX: u32 = 10_000;

/// Runs the command.
///
/// # Errors
/// When the account is unknown or known already, or a backend does not answer.
pub async fn run(args: UserArgs, settings: Settings) -> anyhow::Result<ExitCode> {
    let db = Db::open(&settings.database).await?;
    match args.action {
        UserAction::Create {
            email,
            name,
            role,
            password,
        } => {
            let user = create(&db, email, name, role, &password).await?;
            print(args.json, &user, &format!("{} {}", user.id, user.email))?;
        }
        UserAction::List => list(&db, args.json).await?,
        UserAction::Disable { email } => {
            let user = by_email(&db, &email).await?;
            users::disable(&db, &SystemClock, user.id).await?;
            if settings.redis.enabled {
                sessions(&settings).await?.end_all(user.id).await?;
            }
            output::line(&format!("{} is disabled", user.email))?;
        }
        UserAction::SetPassword { email, password } => {
            let user = by_email(&db, &email).await?;
            let hash = hash(&password.read_or_stdin()?).await?;
            users::set_password_hash(&db, user.id, &hash).await?;
            output::line(&format!("the password of {} is set", user.email))?;
        }
        UserAction::SignInLink { email } => {
            let user = by_email(&db, &email).await?;
            let link = sign_in_link(&settings, user.id).await?;
            print(args.json, &Link { sign_in: &link }, &link)?;
        }
    }
    db.close().await;
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct Link<'l> {
    sign_in: &'l str,
}

/// The account with this address.
///
/// # Errors
/// When there is none.
pub async fn by_email(db: &Db, email: &str) -> anyhow::Result<User> {
    let found = users::find_by_email(db, email).await?;
    let (user, _) = found.with_context(|| format!("there is no account {email}"))?;
    Ok(user)
}

async fn create(
    db: &Db,
    email: String,
    name: Option<String>,
    role: UserRole,
    password: &PasswordArgs,
) -> anyhow::Result<User> {
    let password_hash = match password.read()? {
        Some(password) => Some(hash(&password).await?),
        None => None,
    };
    let name = name.unwrap_or_else(|| email.split('@').next().unwrap_or(&email).to_owned());
    let role = match role {
        UserRole::User => Role::User,
        UserRole::Premium => Role::Premium,
        UserRole::Admin => Role::Admin,
    };
    Ok(users::create(
        db,
        &SystemClock,
        NewUser {
            email,
            name,
            role,
            password_hash,
        },
    )
    .await?)
}

async fn list(db: &Db, json: bool) -> anyhow::Result<()> {
    for user in users::list(db, LIST_MAX).await? {
        let state = if user.disabled_at.is_some() {
            "disabled"
        } else {
            "active"
        };
        let line = format!("{} {} {} {state}", user.id, user.email, user.role.name());
        print(json, &user, &line)?;
    }
    Ok(())
}

async fn hash(password: &secrecy::SecretString) -> anyhow::Result<String> {
    Ok(Passwords::new(1)?.hash(password.expose_secret()).await?)
}

async fn sign_in_link(settings: &Settings, user: UserId) -> anyhow::Result<String> {
    let codes = SignInCodes::new(shared_state(settings).await?);
    let lifetime = Duration::from_secs(settings.auth.sign_in_link_s);
    let code = codes.create(user, lifetime).await?;
    let base = match settings.http.public_url.trim_end_matches('/') {
        "" => format!("http://{}:{}", settings.http.host, settings.http.port),
        url => url.to_owned(),
    };
    Ok(format!("{base}/#sign-in={code}"))
}

async fn sessions(settings: &Settings) -> anyhow::Result<Sessions> {
    let state = shared_state(settings).await?;
    let (idle, absolute) = (
        settings.auth.session_idle_s,
        settings.auth.session_absolute_s,
    );
    let (idle, absolute) = (Duration::from_secs(idle), Duration::from_secs(absolute));
    Ok(Sessions::new(state, SystemClock::shared(), idle, absolute))
}

async fn shared_state(settings: &Settings) -> anyhow::Result<SharedState> {
    if !settings.redis.enabled {
        let text = "a link works in the process that made it alone unless redis is set (redis.enabled, redis.url); \
                    `spheroctl standalone` prints its own at start";
        return Err(crate::db::Error::Settings(text.to_owned()).into());
    }
    Ok(std::sync::Arc::new(
        state::redis::Redis::connect(&settings.redis).await?,
    ))
}

fn print(json: bool, value: &impl Serialize, line: &str) -> std::io::Result<()> {
    if json {
        output::json(value)
    } else {
        output::line(line)
    }
}
