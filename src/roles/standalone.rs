//! `spheroctl standalone`: all roles in one process. Data in one folder, nothing to install; prints the address and a
//! link that signs the administrator in once.

use std::net::SocketAddr;
use std::process::ExitCode;

use serde::Serialize;

use crate::app::App;
use crate::domain::users::{self, NewUser, User};
use crate::kit::clock::SystemClock;
use crate::kit::lifecycle::Lifecycle;
use crate::roles::args::StandaloneArgs;
use crate::roles::start::{self, Role, Started};
use crate::roles::{output, realtime, serve, sign_in_link, worker};
use crate::settings::Settings;
use crate::worker::consumers;

/// The account that the first start makes.
const ADMIN_EMAIL: &str = "admin@localhost";
/// Lame duck without a balancer in front: none.
const LAME_DUCK_MS: u64 = 0;
/// Clients have no other instance to go to: nothing is gained by closing their connections one after the other.
const REALTIME_DRAIN_MS: u64 = 0;

/// Runs the command.
///
/// # Errors
/// When the data folder cannot be used or the port is taken.
pub async fn run(args: StandaloneArgs, mut settings: Settings) -> anyhow::Result<ExitCode> {
    settings.shutdown.lame_duck_ms = LAME_DUCK_MS;
    settings.realtime.drain_ms = REALTIME_DRAIN_MS;
    let lifecycle = Lifecycle::new();
    lifecycle.listen_to_signals()?;
    let running = Running::start(settings, lifecycle).await?;
    running.greet(&args)?;
    start::end(&running.started).await
}

/// A standalone server that runs; a test starts one in its own process.
#[derive(Debug, Clone)]
pub struct Running {
    /// The role with its backends.
    pub started: Started,
    /// The public listener.
    pub address: SocketAddr,
    /// The operator listener.
    pub ops: SocketAddr,
    /// The administrator.
    pub admin: User,
    /// Signs the administrator in once.
    pub sign_in_link: String,
}

impl Running {
    /// Opens and migrates the backends, starts every role, and makes the administrator where there is none.
    ///
    /// # Errors
    /// When a backend cannot be used or a port is taken.
    pub async fn start(settings: Settings, lifecycle: Lifecycle) -> anyhow::Result<Self> {
        let app = App::open(settings, SystemClock::shared(), lifecycle).await?;
        app.migrate(false).await?;
        // Before anybody can ask: who finds the process ready finds the account too.
        let admin = administrator(&app).await?;
        let started = start::with_health(app, Role::Standalone);
        let worker = worker::watched_worker(&started)?;
        let http = &started.app.settings.http;
        let routes = serve::routes(&started)?.merge(realtime::gateway(&started.app).routes());
        let address = start::serve_public(&started, routes, &http.host, http.port).await?;
        let ops = start::serve_ops(&started).await?;
        started.app.start_relay();
        worker::start_worker(&started.app, &worker)?;
        consumers::start(&started.app)?;
        start::announce(&started, ops);
        let (state, listener) = (started.app.state.clone(), address.to_string());
        let sign_in_link =
            sign_in_link::create(state, &started.app.settings, admin.id, &listener).await?;
        Ok(Self {
            started,
            address,
            ops,
            admin,
            sign_in_link,
        })
    }

    fn greet(&self, args: &StandaloneArgs) -> anyhow::Result<()> {
        let address = format!("http://{}", self.address);
        if args.json {
            return Ok(output::json(&Greeting {
                address: &address,
                ops: &format!("http://{}", self.ops),
                sign_in: &self.sign_in_link,
            })?);
        }
        let minutes = self.started.app.settings.auth.sign_in_link_s / 60;
        output::line(&format!(
            "spheroctl runs at {address} (operators: http://{})",
            self.ops
        ))?;
        output::line(&format!(
            "Sign in once, within {minutes} minutes: {}",
            self.sign_in_link
        ))?;
        Ok(output::line("Stop with Ctrl-C.")?)
    }
}

#[derive(Serialize)]
struct Greeting<'g> {
    address: &'g str,
    ops: &'g str,
    sign_in: &'g str,
}

async fn administrator(app: &App) -> anyhow::Result<User> {
    if let Some((admin, _)) = users::find_by_email(&app.db, ADMIN_EMAIL).await? {
        return Ok(admin);
    }
    let new = NewUser {
        email: ADMIN_EMAIL.into(),
        name: "Administrator".into(),
        role: users::Role::Admin,
        password_hash: None,
    };
    Ok(users::create(&app.db, &*app.clock, new).await?)
}
