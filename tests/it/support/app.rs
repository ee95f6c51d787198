//! A server of the embedded backends inside the test's own process: its own folder, free ports, gone with its value.

use spheroctl::app::App;
use spheroctl::domain::jobs::Claimed;
use spheroctl::domain::users::{self, NewUser, Role};
use spheroctl::kit::clock::SystemClock;
use spheroctl::kit::id::UserId;
use spheroctl::kit::lifecycle::Lifecycle;
use spheroctl::queue::Lane;
use spheroctl::roles::standalone::Running;
use spheroctl::roles::{serve, start};
use spheroctl::settings::{self, Settings, Sources};

use reqwest::{Client, Method, RequestBuilder};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

/// A server that runs.
pub struct TestApp {
    /// `http://host:port`.
    pub url: String,
    /// Takes no proxies from the environment and follows nothing.
    pub client: Client,
    /// The administrator's API token.
    pub admin_token: String,
    /// Where the administrator signs in once; none without the other roles.
    pub sign_in_link: Option<String>,
    /// The handles behind the server.
    pub app: App,
    _folder: tempfile::TempDir,
}

/// An account with a token.
pub struct Person {
    /// The account.
    pub id: UserId,
    /// Its API token.
    pub token: String,
}

/// The whole product.
pub async fn start() -> TestApp {
    start_with(&[]).await
}

/// The whole product with other settings than the default.
pub async fn start_with(more: &[(&str, &str)]) -> TestApp {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let running = Running::start(settings(&folder, more), Lifecycle::new())
        .await
        .expect("standalone starts");
    let (address, link) = (running.address, running.sign_in_link.clone());
    let app = running.started.app.clone();
    TestApp::new(folder, app, address, Some(link), running.admin.id).await
}

/// The HTTP interface alone: nobody takes jobs.
pub async fn start_without_worker() -> TestApp {
    start_without_worker_with(&[]).await
}

/// The HTTP interface alone with other settings than the default.
pub async fn start_without_worker_with(more: &[(&str, &str)]) -> TestApp {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = settings(&folder, more);
    let app = App::open(settings, SystemClock::shared(), Lifecycle::new()).await;
    let app = app.expect("the backends open");
    app.migrate(false).await.expect("the schema is made");
    let started = start::with_health(app.clone(), settings::Role::Serve);
    let routes = serve::routes(&started).expect("the routes");
    let address = start::serve_public(&started, routes, "127.0.0.1", 0)
        .await
        .expect("a free port");
    let admin = account(&app, "admin@localhost", Role::Admin, None).await;
    TestApp::new(folder, app, address, None, admin).await
}

impl TestApp {
    async fn new(
        folder: tempfile::TempDir,
        app: App,
        address: std::net::SocketAddr,
        sign_in_link: Option<String>,
        admin: UserId,
    ) -> Self {
        let client = Client::builder().no_proxy().build().expect("a client");
        let admin_token = token(&app, admin).await;
        Self {
            url: format!("http://{address}"),
            client,
            admin_token,
            sign_in_link,
            app,
            _folder: folder,
        }
    }

    /// A new account with a token.
    pub async fn person(&self, email: &str) -> Person {
        self.person_with(email, Role::User, None).await
    }

    /// A new account with a role and perhaps a password.
    pub async fn person_with(
        &self,
        email: &str,
        role: Role,
        password_hash: Option<String>,
    ) -> Person {
        let id = account(&self.app, email, role, password_hash).await;
        Person {
            id,
            token: token(&self.app, id).await,
        }
    }

    /// Takes at most so many jobs as a worker does, and tells the queue which have ended.
    pub async fn claim(&self, limit: usize) -> Vec<Claimed> {
        let leased = self.app.jobs.lease(limit, &Lane::ALL).await;
        let taken = self.app.jobs.start(&leased.expect("an answer")).await;
        taken.expect("an answer").claimed
    }

    /// A request without credentials.
    pub fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// A request of the bearer of `token`.
    pub fn request(&self, token: &str, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path).bearer_auth(token)
    }

    /// The JSON of a GET that must succeed.
    pub async fn get(&self, token: &str, path: &str) -> Value {
        let answer = self
            .request(token, Method::GET, path)
            .send()
            .await
            .expect("an answer");
        let (status, text) = (answer.status(), answer.text().await.expect("a body"));
        assert!(status.is_success(), "GET {path}: {status} {text}");
        serde_json::from_str(&text).expect("JSON")
    }

    /// A new project of the bearer of `token`.
    pub async fn project(&self, token: &str, name: &str) -> String {
        let request = self
            .request(token, Method::POST, "/api/v1/projects")
            .json(&json!({ "name": name }));
        let project: Value = request
            .send()
            .await
            .expect("an answer")
            .json()
            .await
            .expect("JSON");
        text(&project["id"])
    }

    /// An upload that must succeed; the image's id.
    pub async fn upload(&self, token: &str, project: &str, name: &str, bytes: Vec<u8>) -> String {
        let path = format!("/api/v1/projects/{project}/images?name={name}");
        let key = super::unique_prefix();
        let request = self
            .request(token, Method::POST, &path)
            .header("idempotency-key", key)
            .body(bytes);
        let answer = request.send().await.expect("an answer");
        let (status, text_of_it) = (answer.status(), answer.text().await.expect("a body"));
        assert_eq!(status, 201, "{text_of_it}");
        text(&serde_json::from_str::<Value>(&text_of_it).expect("JSON")["id"])
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.app.lifecycle.stop();
    }
}

/// A JSON string's text.
pub fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("a string is expected, not {value}"))
        .to_owned()
}

fn settings(folder: &tempfile::TempDir, more: &[(&str, &str)]) -> Settings {
    let inside = |name: &str| folder.path().join(name).display().to_string();
    let ours = [
        ("database.url", format!("sqlite:{}", inside("test.sqlite"))),
        ("files.dir", inside("files")),
        ("http.port", "0".into()),
        ("ops.port", "0".into()),
        ("realtime.port", "0".into()),
        ("shutdown.lame_duck_ms", "0".into()),
        // One principal is the load of a whole laboratory here.
        ("rate_limit.write_per_minute", "60000000".into()),
        ("rate_limit.read_per_minute", "60000000".into()),
        ("rate_limit.sign_in_per_minute", "60000000".into()),
    ];
    let more = more.iter().map(|(key, value)| (*key, (*value).to_owned()));
    let flags = ours
        .into_iter()
        .chain(more)
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    let sources = Sources {
        flags,
        ..Sources::default()
    };
    settings::load(&sources).expect("the settings fit").settings
}

async fn account(app: &App, email: &str, role: Role, password_hash: Option<String>) -> UserId {
    let new = NewUser {
        email: email.into(),
        name: email.into(),
        role,
        password_hash,
    };
    users::create(&app.db, &*app.clock, new)
        .await
        .expect("a new account")
        .id
}

async fn token(app: &App, user: UserId) -> String {
    let made = users::create_token(&app.db, &*app.clock, user, "test", None).await;
    made.expect("a new token").secret.expose_secret().to_owned()
}
