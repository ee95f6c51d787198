//! One installation of the product for one test: its backends, its processes, a client of its API, and the auditor
//! that looks into its database.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use secrecy::SecretString;
use serde_json::{Value, json};
use spheroctl::db::Db;
use spheroctl::settings::{self, Sources};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

use super::app::text;
use super::process::{self, Process};
use super::services::{TestDatabase, kafka_bootstrap, postgres_database, redis_url};
use super::{eventually, unique_prefix};

const ADMIN: &str = "admin@localhost";

/// How many jobs have completed.
pub const COMPLETED: &str = "select count(*) from queue_jobs where status = 'completed'";

/// Topics are shared by the tests of one run: a hundred partitions for each test would be work for the broker only.
/// Who reads them picks its own events by their ids.
fn topic_prefix() -> &'static str {
    static PREFIX: OnceLock<String> = OnceLock::new();
    PREFIX.get_or_init(unique_prefix)
}

/// Backends and settings of one installation.
pub struct Product {
    settings: Vec<(String, String)>,
    database: Option<TestDatabase>,
    started: AtomicUsize,
    folder: TempDir,
}

impl Product {
    /// On PostgreSQL, Redis and Kafka, migrated, with `more` settings for all its processes.
    pub async fn scaled(more: &[(&str, &str)]) -> Self {
        let product = Self::unmigrated(postgres_database(migrate).await, more);
        let output = product.run(&["migrate"]).await;
        assert!(output.status.success(), "{output:?}");
        product
    }

    /// On PostgreSQL, Redis and Kafka as they are.
    pub fn unmigrated(database: TestDatabase, more: &[(&str, &str)]) -> Self {
        let backends = [
            ("database.url", database.url()),
            ("redis.enabled", "true".into()),
            ("redis.url", redis_url()),
            ("redis.prefix", unique_prefix()),
            ("kafka.bootstrap_servers", kafka_bootstrap()),
            ("kafka.topic_prefix", topic_prefix().to_owned()),
            ("kafka.group_prefix", unique_prefix()),
        ];
        Self::new(&backends, Some(database), more)
    }

    /// On the embedded backends.
    pub fn embedded(more: &[(&str, &str)]) -> Self {
        Self::new(&[], None, more)
    }

    fn new(
        backends: &[(&str, String)],
        database: Option<TestDatabase>,
        more: &[(&str, &str)],
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let inside = |name: &str| folder.path().join(name).display().to_string();
        let mut settings = Vec::new();
        let mut set = |key: &str, value: String| settings.push((key.to_owned(), value));
        set("database.url", format!("sqlite:{}", inside("test.sqlite")));
        set("files.dir", inside("files"));
        for port in ["http.port", "ops.port", "realtime.port"] {
            set(port, "0".into());
        }
        set("shutdown.lame_duck_ms", "0".into());
        // One principal is the load of a whole laboratory here.
        for class in ["read", "write", "sign_in"] {
            set(&format!("rate_limit.{class}_per_minute"), "60000000".into());
        }
        for (key, value) in backends {
            set(key, value.clone());
        }
        for (key, value) in more {
            set(key, (*value).to_owned());
        }
        Self {
            settings,
            database,
            started: AtomicUsize::new(0),
            folder,
        }
    }

    /// A setting's value.
    pub fn setting(&self, key: &str) -> &str {
        let found = self.settings.iter().rev().find(|(name, _)| name == key);
        &found.expect("a setting of this installation").1
    }

    /// Starts a role and waits until it is ready.
    pub async fn start(&self, role: &str, more: &[(&str, &str)]) -> Process {
        let (settings, log) = self.next(role, more);
        Process::start(process::command(&[role], &settings), &log).await
    }

    /// Starts `standalone` with its files on a disk of this size (as `mount` takes it), which it alone sees.
    pub async fn start_on_a_disk_of(&self, size: &str) -> Process {
        let (settings, log) = self.next("standalone", &[]);
        let dir = self.setting("files.dir");
        std::fs::create_dir_all(dir).expect("a folder");
        let command = process::on_a_disk_of(size, dir, &["standalone"], &settings);
        Process::start(command, &log).await
    }

    fn next(&self, role: &str, more: &[(&str, &str)]) -> (Vec<(String, String)>, PathBuf) {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let name = format!("{role}-{number}");
        let mut settings = self.settings.clone();
        settings.push(("instance.id".into(), name.clone()));
        // Where the log is read.
        settings.push(("log.format".into(), "json".into()));
        for (key, value) in more {
            settings.push(((*key).into(), (*value).into()));
        }
        (settings, self.folder.path().join(format!("{name}.log")))
    }

    /// The keys of all files in the file store, unfinished ones too.
    pub fn objects(&self) -> Vec<String> {
        files_below(Path::new(self.setting("files.dir")))
    }

    /// Runs a command to its end.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = process::command(arguments, &self.settings);
        command.output().await.expect("the executable starts")
    }

    /// The administrator's client of the API that `server` offers, with a project.
    pub async fn lab(&self, server: &Process) -> Lab {
        // Standalone makes the account itself.
        self.run(&["user", "create", ADMIN, "--role", "admin"])
            .await;
        let output = self
            .run(&["token", "create", ADMIN, "--name", "test"])
            .await;
        assert!(output.status.success(), "{output:?}");
        let token = String::from_utf8(output.stdout).expect("a token");
        let lab = Lab {
            url: server.public().await,
            token: token.trim().to_owned(),
            client: Client::builder().no_proxy().build().expect("a client"),
        };
        let project = lab
            .request(Method::POST, "/api/v1/projects")
            .json(&json!({ "name": "plate" }));
        let answer = project.send().await.expect("an answer");
        assert_eq!(answer.status(), 201);
        lab
    }

    /// A connection of the auditor's own.
    pub async fn auditor(&self) -> PgConnection {
        let url = self.setting("database.url");
        PgConnection::connect(url)
            .await
            .expect("PostgreSQL answers")
    }

    /// A number from the database of a scaled installation.
    pub async fn number(&self, statement: &'static str) -> i64 {
        assert!(self.database.is_some(), "only a scaled installation");
        let mut auditor = self.auditor().await;
        sqlx::query_scalar(statement)
            .fetch_one(&mut auditor)
            .await
            .expect("a number")
    }

    /// Waits until `statement` gives `number`.
    pub async fn reaches(&self, statement: &'static str, number: i64, deadline: Duration) {
        let what = format!("{number} for {statement}");
        eventually(&what, deadline, async || {
            self.number(statement).await == number
        })
        .await;
    }

    /// Waits until all `count` jobs have completed, and audits them.
    pub async fn completes(&self, count: i64, deadline: Duration) {
        self.reaches(COMPLETED, count, deadline).await;
        self.audit(count).await;
    }

    /// What must hold of `count` completed jobs, whatever happened to them: each has one result, of its last attempt,
    /// exactly one attempt that completed, and its facts are on the log or on their way.
    async fn audit(&self, count: i64) {
        for (what, statement, expected) in [
            (
                "jobs lost",
                "select count(*) from queue_jobs where status <> 'completed'",
                0,
            ),
            ("results", "select count(*) from segmentations", count),
            (
                "results of a wrong attempt",
                "select count(*) from segmentations s join queue_jobs j on j.id = s.job_id where s.attempt <> j.attempt",
                0,
            ),
            (
                "completed attempts",
                "select count(*) from job_attempts where outcome = 'completed'",
                count,
            ),
            (
                "facts refused by the log",
                "select count(*) from outbox_dead",
                0,
            ),
        ] {
            assert_eq!(self.number(statement).await, expected, "{what}");
        }
    }

    /// Puts a pipe that nobody fills in the place of an image's file: a job that begins on it runs until something
    /// stops it, however fast the machine. Of a scaled installation.
    pub async fn hold(&self, image: &str) -> Held {
        const KEY: &str = "select object_key from files f join images i on i.file_id = f.id where i.id = $1::uuid";
        let mut auditor = self.auditor().await;
        let key: String = sqlx::query_scalar(KEY)
            .bind(image)
            .fetch_one(&mut auditor)
            .await
            .expect("the image has a file");
        let held = Held {
            file: Path::new(self.setting("files.dir")).join(key),
            kept: self.folder.path().join(image),
        };
        std::fs::rename(&held.file, &held.kept).expect("the file is there");
        mknodat(CWD, &held.file, FileType::Fifo, Mode::RUSR, 0).expect("a pipe");
        held
    }

    /// The most attempts that any job took.
    pub async fn attempts_max(&self) -> i64 {
        self.number("select coalesce(max(attempt), 0) from queue_jobs")
            .await
    }
}

/// An image on which no job ends; see [`Product::hold`].
pub struct Held {
    file: PathBuf,
    kept: PathBuf,
}

impl Held {
    /// The file is back for jobs that begin from now on; those that run already stay held.
    pub fn let_go(self) {
        std::fs::rename(&self.kept, &self.file).expect("the file was kept");
    }
}

/// A client of the API with the administrator's token and a project.
#[derive(Clone)]
pub struct Lab {
    pub url: String,
    pub token: String,
    pub client: Client,
}

impl Lab {
    /// A request with the token.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.url);
        self.client.request(method, url).bearer_auth(&self.token)
    }

    /// The JSON of a GET that must succeed.
    pub async fn get(&self, path: &str) -> Value {
        let answer = self
            .request(Method::GET, path)
            .send()
            .await
            .expect("an answer");
        let (status, body) = (answer.status(), answer.text().await.expect("a body"));
        assert!(status.is_success(), "GET {path}: {status} {body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// The bytes of a GET that must succeed.
    pub async fn bytes(&self, path: &str) -> Vec<u8> {
        let answer = self
            .request(Method::GET, path)
            .send()
            .await
            .expect("an answer");
        assert!(
            answer.status().is_success(),
            "GET {path}: {}",
            answer.status()
        );
        answer.bytes().await.expect("a body").to_vec()
    }

    /// Where images of the project go.
    pub async fn images_path(&self, name: &str) -> String {
        let projects = self.get("/api/v1/projects").await;
        let project = text(&projects["items"][0]["id"]);
        format!("/api/v1/projects/{project}/images?name={name}")
    }

    /// An upload: its status and what was answered.
    pub async fn try_upload(&self, name: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
        let path = self.images_path(name).await;
        let request = self
            .request(Method::POST, &path)
            .header("idempotency-key", unique_prefix())
            .body(body);
        let answer = request.send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }

    /// An upload that must succeed; the image's id.
    pub async fn upload(&self, name: &str, bytes: Vec<u8>) -> String {
        let (status, image) = self.try_upload(name, bytes).await;
        assert_eq!(status, 201, "{image}");
        text(&image["id"])
    }

    /// Asks for `count` jobs on an image; their ids.
    pub async fn submit(&self, image: &str, count: usize) -> Vec<String> {
        let jobs = vec![json!({ "image_id": image }); count];
        accepted(self.request(Method::POST, "/api/v1/jobs/batch"), &jobs).await
    }
}

/// Asks for these jobs by `request`; their ids.
pub async fn accepted(request: RequestBuilder, jobs: &[Value]) -> Vec<String> {
    let request = request
        .header("idempotency-key", unique_prefix())
        .json(&json!({ "jobs": jobs }));
    let answer = request.send().await.expect("an answer");
    let (status, body) = (answer.status(), answer.text().await.expect("a body"));
    assert_eq!(status, 202, "{body}");
    let body: Value = serde_json::from_str(&body).expect("JSON");
    let items = body["items"].as_array().expect("jobs");
    items.iter().map(|job| text(&job["id"])).collect()
}

/// The files in a folder and below, as paths from there.
pub fn files_below(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    for entry in entries.map(|entry| entry.expect("an entry")) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            let below = files_below(&entry.path());
            found.extend(below.into_iter().map(|path| format!("{name}/{path}")));
        } else {
            found.push(name);
        }
    }
    found.sort();
    found
}

/// What `migrate` does to a database; the template of all tests here.
async fn migrate(url: &str) {
    let defaults = settings::load(&Sources::default()).expect("the defaults fit");
    let mut database = defaults.settings.database;
    database.url = SecretString::from(url);
    let db = Db::open(&database).await.expect("the database opens");
    db.migrate().await.expect("the database migrates");
    db.close().await;
}
