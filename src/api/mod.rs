//! The HTTP interface under `/api/v1`: one file per noun. A handler reads the request, calls one operation of `domain`,
//! and renders its outcome; no rule of the product stands here.
//!
//! Every route with data begins with [`auth::Authenticated`]. What a failure looks like stands in `problems`, paging,
//! keys and preferences in `conventions`.

mod activity;
mod auth;
mod backbone;
mod conventions;
mod cookies;
mod dead_events;
mod dead_letters;
mod download;
mod idempotency;
mod images;
mod jobs;
mod lb_check;
mod members;
mod previews;
mod problems;
mod projects;
mod rate_limit;
mod results;
mod routes;
mod scaling;
mod sessions;
mod tokens;
mod uploads;
mod waiting;
mod webhooks;
mod whoami;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::Method;

use crate::db::Db;
use crate::domain::images::Uploads;
use crate::domain::jobs::Jobs;
use crate::domain::push::Push;
use crate::domain::users::{Bearers, Passwords};
use crate::events::dead_letters::DeadLetters;
use crate::events::log::SharedLog;
use crate::files::FileStore;
use crate::kit::clock::SharedClock;
use crate::kit::compute::ComputePool;
use crate::kit::id::UserId;
use crate::settings;
use crate::state::SharedState;
use crate::state::sessions::{Sessions, SignInCodes};
use crate::state::vitals::Vitals;

use routes::{Route, delete, get, post, put};

pub use lb_check::LbCheck;
pub use rate_limit::RateLimits;
pub use whoami::Identity;

/// What the routes share. The layers of each request clone it several times, so that it is one pointer.
#[derive(Debug, Clone)]
pub struct Api(Arc<Handles>);

impl Deref for Api {
    type Target = Handles;

    fn deref(&self) -> &Handles {
        &self.0
    }
}

/// The handles that the routes work with.
#[derive(Debug)]
pub struct Handles {
    /// The truth.
    pub db: Db,
    /// Instants.
    pub clock: SharedClock,
    /// Messages about jobs, in-flight markers.
    pub state: SharedState,
    /// Who bears an API token.
    pub bearers: Bearers,
    /// Who is signed in.
    pub sessions: Sessions,
    /// One-time codes of sign-in links.
    pub sign_in_codes: SignInCodes,
    /// Checks passwords.
    pub passwords: Passwords,
    /// Everything that happens to jobs.
    pub jobs: Jobs,
    /// Facts.
    pub log: SharedLog,
    /// Records that no consumer group could handle.
    pub dead_letters: DeadLetters,
    /// Takes uploads.
    pub uploads: Uploads,
    /// The bytes.
    pub files: FileStore,
    /// Pictures are decoded and drawn here, never on the runtime's threads.
    pub compute: Arc<ComputePool>,
    /// Who answers.
    pub identity: Identity,
    /// What this process says of itself.
    pub vitals: Vitals,
    /// The figures that the routes follow.
    pub rules: Rules,
    /// How much one asker may ask; none where everybody may ask without end.
    pub rate_limits: Option<RateLimits>,
    /// What `/lb-check/…` keeps.
    pub lb_check: LbCheck,
}

impl Handles {
    /// This person's credentials or memberships are fewer than before: open connections are to look again.
    async fn access_changed(&self, user: UserId) {
        Push::new(self.state.clone()).access_changed(user).await;
    }
}

/// The figures of the settings that the routes follow.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Whether the session cookie may travel over plain http to hosts other than loopback.
    pub allow_insecure_cookies: bool,
    /// The address that people see; empty where it is the one that they asked.
    pub public_url: Arc<str>,
    /// After this the browser forgets its session in any case.
    pub session_lifetime: Duration,
    /// Whether jobs are answered before their result is there.
    pub queue_enabled: bool,
    /// Longest wait for the end of a job.
    pub wait_max: Duration,
}

impl Rules {
    /// What the settings say.
    pub fn from_settings(
        http: &settings::Http,
        auth: &settings::Auth,
        queue: &settings::Queue,
    ) -> Self {
        Self {
            allow_insecure_cookies: http.allow_insecure_cookies,
            public_url: http.public_url.trim_end_matches('/').into(),
            session_lifetime: Duration::from_secs(auth.session_absolute_s),
            queue_enabled: queue.enabled,
            wait_max: Duration::from_millis(queue.wait_max_ms),
        }
    }
}

/// All routes, ready to be put inside the standard layers of `http`.
pub fn routes(handles: Handles) -> Router {
    routes::router(list(), Api(Arc::new(handles)))
}

/// Method and path template of every route, for those who check them all.
pub fn endpoints() -> Vec<(Method, &'static str)> {
    list()
        .iter()
        .map(|route| (route.method.clone(), route.path))
        .collect()
}

/// One line per route, but for the forms of a result, which `results` lists. `streaming` lifts the request time-out and
/// the limit on bodies.
fn list() -> Vec<Route> {
    let mut routes = of_callers();
    routes.extend(of_projects());
    routes.extend(results::FORMS.iter().map(results::Form::route));
    routes.extend(of_operators());
    routes
}

/// Who asks, and who answers.
fn of_callers() -> Vec<Route> {
    vec![
        get("/whoami", whoami::whoami).unlimited(),
        post("/lb-check/echo", lb_check::echo),
        put("/lb-check/upload", lb_check::upload).streaming(),
        post("/api/v1/sessions", sessions::sign_in).signing_in(),
        post("/api/v1/sessions/link", sessions::sign_in_by_link).signing_in(),
        get("/api/v1/sessions", sessions::list),
        delete("/api/v1/sessions", sessions::sign_out_everywhere),
        get("/api/v1/session", sessions::me),
        delete("/api/v1/session", sessions::sign_out),
        get("/api/v1/tokens", tokens::list),
        post("/api/v1/tokens", tokens::create),
        delete("/api/v1/tokens/{token}", tokens::revoke),
    ]
}

/// What belongs to projects.
fn of_projects() -> Vec<Route> {
    vec![
        get("/api/v1/projects", projects::list),
        post("/api/v1/projects", projects::create),
        get("/api/v1/projects/{project}", projects::show),
        get("/api/v1/projects/{project}/members", members::list),
        put("/api/v1/projects/{project}/members", members::put),
        delete("/api/v1/projects/{project}/members/{user}", members::remove),
        get("/api/v1/projects/{project}/images", images::list),
        post("/api/v1/projects/{project}/images", uploads::upload).streaming(),
        get("/api/v1/projects/{project}/activity", activity::list),
        get(
            "/api/v1/projects/{project}/statistics",
            activity::of_project,
        ),
        get("/api/v1/users/me/statistics", activity::own),
        get("/api/v1/projects/{project}/webhooks", webhooks::list),
        post("/api/v1/projects/{project}/webhooks", webhooks::create),
        delete("/api/v1/webhooks/{webhook}", webhooks::remove),
        get(
            "/api/v1/webhooks/{webhook}/deliveries",
            webhooks::deliveries,
        ),
        post(
            "/api/v1/webhooks/{webhook}/deliveries/{delivery}/redeliver",
            webhooks::redeliver,
        ),
        get("/api/v1/images/{image}", images::show),
        get("/api/v1/images/{image}/file", download::original).streaming(),
        get("/api/v1/images/{image}/preview.png", previews::preview),
        get("/api/v1/projects/{project}/jobs", jobs::list),
        post("/api/v1/jobs", jobs::submit),
        post("/api/v1/jobs/batch", jobs::submit_batch),
        get("/api/v1/jobs/{job}", jobs::show),
        post("/api/v1/jobs/{job}/cancel", jobs::cancel),
        post("/api/v1/jobs/{job}/retry", jobs::retry),
        get("/api/v1/jobs/{job}/result", results::json),
        get(results::GEOJSON.path, results::geojson),
        get("/api/v1/jobs/{job}/overlay.png", results::overlay),
    ]
}

/// What shows how everything is, and what went wrong.
fn of_operators() -> Vec<Route> {
    vec![
        get("/api/v1/queue", jobs::depth),
        get("/api/v1/queue/metrics", jobs::figures),
        get("/api/v1/scaling/info", scaling::show),
        get("/api/v1/dead-letters/jobs", dead_letters::list),
        post("/api/v1/dead-letters/jobs/replay", dead_letters::replay),
        post("/api/v1/dead-letters/jobs/purge", dead_letters::purge),
        get("/api/v1/dead-letters/jobs/{job}", dead_letters::show),
        delete("/api/v1/dead-letters/jobs/{job}", dead_letters::remove),
        post(
            "/api/v1/dead-letters/jobs/{job}/replay",
            dead_letters::replay_one,
        ),
        get("/api/v1/kafka/metrics", backbone::show),
        get("/api/v1/dead-letters/events", dead_events::list),
        post("/api/v1/dead-letters/events/replay", dead_events::replay),
        post("/api/v1/dead-letters/events/purge", dead_events::purge),
        get("/api/v1/dead-letters/events/{letter}", dead_events::show),
    ]
}
