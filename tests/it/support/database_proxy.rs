//! A way to PostgreSQL that a test can close, stop in the middle, or cut after a commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::Url;
use spheroctl::kit::lifecycle::Lifecycle;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::eventually;

/// How PostgreSQL is told to commit.
const COMMIT: &[u8] = b"COMMIT";
/// Longest wait for something to happen here.
const PATIENCE: Duration = Duration::from_secs(60);

/// The way; closed with this value.
pub struct DatabaseProxy {
    url: Url,
    shared: Arc<Shared>,
    lifecycle: Lifecycle,
}

struct Shared {
    server: String,
    closed: watch::Sender<bool>,
    /// The bytes of a transaction whose commit is carried out and not answered.
    unanswered: Mutex<Option<Vec<u8>>>,
    cut: AtomicUsize,
    /// The bytes that are not passed on before `stop` is over.
    stopped_at: Mutex<Option<Vec<u8>>>,
    stop: watch::Sender<Stop>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    NotYet,
    Standing,
    Over,
}

impl DatabaseProxy {
    /// A way to the server of this address, as `postgres://…`.
    pub async fn start(url: &str) -> Self {
        let mut url = Url::parse(url).expect("the address of a database");
        let (host, port) = (url.host_str().expect("a host"), url.port().unwrap_or(5432));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let shared = Arc::new(Shared {
            server: format!("{host}:{port}"),
            closed: watch::Sender::new(false),
            unanswered: Mutex::default(),
            cut: AtomicUsize::new(0),
            stopped_at: Mutex::default(),
            stop: watch::Sender::new(Stop::NotYet),
        });
        let ours = listener.local_addr().expect("a bound port");
        url.set_host(Some("127.0.0.1")).expect("a host");
        url.set_port(Some(ours.port())).expect("a port");
        // What is encrypted cannot be looked into.
        url.query_pairs_mut().append_pair("sslmode", "disable");
        let lifecycle = Lifecycle::new();
        lifecycle.spawn(
            "proxy",
            accept(listener, Arc::clone(&shared), lifecycle.clone()),
        );
        Self {
            url,
            shared,
            lifecycle,
        }
    }

    /// The address of the database by this way.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Ends all connections and lets nobody through until [`DatabaseProxy::open`].
    pub fn close(&self) {
        self.shared.closed.send_replace(true);
    }

    /// Lets everybody through again.
    pub fn open(&self) {
        self.shared.closed.send_replace(false);
    }

    /// The next transaction with these bytes commits, and whoever asked for it never hears of that.
    pub fn cut_after_the_commit_of(&self, bytes: &[u8]) {
        *self.shared.unanswered.lock() = Some(bytes.to_vec());
    }

    /// How many commits were not answered.
    pub fn cut(&self) -> usize {
        self.shared.cut.load(Ordering::SeqCst)
    }

    /// The next message with these bytes waits on its way until [`DatabaseProxy::go_on`].
    pub fn stop_before(&self, bytes: &[u8]) {
        *self.shared.stopped_at.lock() = Some(bytes.to_vec());
    }

    /// Waits until a message stands still.
    pub async fn stands(&self) {
        eventually("a message is on its way", PATIENCE, async || {
            *self.shared.stop.borrow() == Stop::Standing
        })
        .await;
    }

    /// Passes on what stood still.
    pub fn go_on(&self) {
        self.shared.stop.send_replace(Stop::Over);
    }
}

impl Drop for DatabaseProxy {
    fn drop(&mut self) {
        self.lifecycle.stop();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, lifecycle: Lifecycle) {
    loop {
        let (client, _) = listener.accept().await.expect("a connection");
        let shared = Arc::clone(&shared);
        lifecycle.spawn("proxy.connection", async move {
            let mut closed = shared.closed.subscribe();
            tokio::select! {
                biased;
                _ = closed.wait_for(|closed| *closed) => {}
                () = pass(client, &shared) => {}
            }
        });
    }
}

/// Passes bytes both ways until one side leaves or a commit shall not be answered.
async fn pass(mut client: TcpStream, shared: &Shared) {
    let mut server = TcpStream::connect(&shared.server)
        .await
        .expect("PostgreSQL answers");
    let (mut asked, mut answered) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut transaction = Vec::new();
    let mut cut = false;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(length @ 1..) = read else { return };
                transaction.extend_from_slice(&asked[..length]);
                shared.stop_at(&transaction).await;
                if contains(&transaction, COMMIT) {
                    cut = shared.is_to_be_cut(&transaction);
                    transaction.clear();
                }
                if server.write_all(&asked[..length]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Ok(length @ 1..) = read else { return };
                if cut {
                    shared.cut.fetch_add(1, Ordering::SeqCst);
                    return;
                }
                if client.write_all(&answered[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

impl Shared {
    fn is_to_be_cut(&self, transaction: &[u8]) -> bool {
        let mut wanted = self.unanswered.lock();
        wanted
            .take_if(|bytes| contains(transaction, bytes))
            .is_some()
    }

    async fn stop_at(&self, transaction: &[u8]) {
        let wanted = self
            .stopped_at
            .lock()
            .take_if(|bytes| contains(transaction, bytes));
        if wanted.is_some() {
            self.stop.send_replace(Stop::Standing);
            let mut stop = self.stop.subscribe();
            // Fails only when the proxy is gone.
            let _ = stop.wait_for(|stop| *stop == Stop::Over).await;
        }
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
