//! The file store on a real directory: streams in and out, and what is left when they fail.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use sha2::{Digest, Sha256};
use spheroctl::files::{ByteRange, Error, FileStore, Look, Stored, file_key, result_key};
use spheroctl::kit::clock::{Clock, SystemClock};
use spheroctl::kit::id::{FileId, JobId, ProjectId};

use crate::support::eventually;

const MIB: u64 = 1 << 20;
const CAP: u64 = 256 * MIB;
const PATIENCE: Duration = Duration::from_secs(30);
/// Name of the file that holds the store's id.
const MARKER: &str = "store-id";

type Piece = std::io::Result<Bytes>;

struct Bench {
    dir: tempfile::TempDir,
    store: FileStore,
    key: String,
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = FileStore::open(dir.path()).await.unwrap();
        let key = file_key(ProjectId::new(&SystemClock), FileId::new(&SystemClock));
        Self { dir, store, key }
    }

    async fn put(&self, bytes: &[u8], cap_bytes: u64) -> Result<Stored, Error> {
        let pieces: Vec<Piece> = bytes
            .chunks(1_000)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        self.put_stream(futures::stream::iter(pieces), cap_bytes)
            .await
    }

    async fn put_stream(
        &self,
        body: impl Stream<Item = Piece> + Send,
        cap_bytes: u64,
    ) -> Result<Stored, Error> {
        let body = std::pin::pin!(body);
        self.store
            .put_stream(&self.key, body, cap_bytes, PATIENCE)
            .await
    }

    /// Where the object lies.
    fn path(&self) -> PathBuf {
        self.dir.path().join(&self.key)
    }

    /// All files below the store, the marker apart.
    fn left(&self) -> Vec<PathBuf> {
        files_below(self.dir.path())
            .into_iter()
            .filter(|path| !path.ends_with(MARKER))
            .collect()
    }
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files_below(&path)),
            false => found.push(path),
        }
    }
    found
}

/// 40 pieces of 64 KiB.
fn beginning() -> impl Stream<Item = Piece> + Send {
    futures::stream::iter((0..40).map(|_| Ok(Bytes::from(vec![1; 65_536]))))
}

/// Set in the process that runs one test by itself.
const ALONE: &str = "SPHEROCTL_TEST_ALONE";

/// Runs the test `name` in a process of its own: what the others allocate meanwhile must not count.
fn run_alone(name: &str) {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

/// Resident memory of this process in bytes (`/proc/self/statm`, in pages of 4 KiB).
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4_096
}

/// `mib` MiB in pieces of 16 KiB, each made when it is asked for; the largest growth of memory is kept in `growth`.
fn large(mib: u64, growth: &mut u64) -> impl Stream<Item = Piece> + Send {
    let before = resident_bytes();
    futures::stream::iter(0..mib * 64).map(move |number| {
        *growth = (*growth).max(resident_bytes().saturating_sub(before));
        Ok(Bytes::from(vec![(number % 251) as u8; 16_384]))
    })
}

#[tokio::test]
async fn a_large_stream_is_stored_and_read_with_flat_memory() {
    if std::env::var_os(ALONE).is_none() {
        return run_alone("files::a_large_stream_is_stored_and_read_with_flat_memory");
    }
    let (bench, mut growth) = (Bench::new().await, 0);
    let stored = bench.put_stream(large(64, &mut growth), CAP).await.unwrap();
    assert_eq!(stored.bytes, 64 * MIB);
    // Two parts of 4 MiB: the one that is written and the one that fills.
    assert!(growth < 16 * MIB, "memory grew by {} MiB", growth / MIB);

    let before = resident_bytes();
    let reading = bench.store.get(&bench.key, None).await.unwrap();
    assert_eq!(reading.size_bytes, 64 * MIB);
    let (mut hash, mut largest, mut growth) = (Sha256::new(), 0, 0);
    let mut stream = reading.stream;
    while let Some(piece) = stream.try_next().await.unwrap() {
        largest = largest.max(piece.len());
        growth = growth.max(resident_bytes().saturating_sub(before));
        hash.update(&piece);
    }
    assert_eq!(<[u8; 32]>::from(hash.finalize()), stored.sha256);
    assert!(largest <= 256 * 1_024, "a piece of {largest} bytes");
    assert!(growth < 8 * MIB, "memory grew by {} MiB", growth / MIB);
}

#[tokio::test]
async fn what_is_stored_is_hashed_sized_and_read_again() {
    let bench = Bench::new().await;
    let bytes: Vec<u8> = (0..9_999_u32).map(|number| (number % 251) as u8).collect();
    let stored = bench.put(&bytes, CAP).await.unwrap();
    assert_eq!(stored.bytes, 9_999);
    assert_eq!(<[u8; 32]>::from(Sha256::digest(&bytes)), stored.sha256);
    assert_eq!(bench.store.size(&bench.key).await.unwrap(), 9_999);
    assert_eq!(bench.store.get_bytes(&bench.key).await.unwrap(), bytes);
    let mut decoder = bench.store.open_for_decode(&bench.key).await.unwrap();
    let mut again = Vec::new();
    std::io::Read::read_to_end(&mut decoder, &mut again).unwrap();
    assert_eq!(again, bytes);
}

#[tokio::test]
async fn an_empty_body_is_an_empty_object() {
    let bench = Bench::new().await;
    let stored = bench.put(b"", CAP).await.unwrap();
    assert_eq!(stored.bytes, 0);
    assert_eq!(bench.store.get_bytes(&bench.key).await.unwrap(), "");
}

#[tokio::test]
async fn small_results_are_put_at_once_and_a_later_one_replaces_the_earlier() {
    let bench = Bench::new().await;
    let key = result_key(ProjectId::new(&SystemClock), JobId::new(&SystemClock), 2);
    for text in ["first", "second"] {
        bench.store.put_bytes(&key, text.into()).await.unwrap();
        assert_eq!(bench.store.get_bytes(&key).await.unwrap(), text);
    }
    assert_eq!(bench.left(), [bench.dir.path().join(key)]);
}

#[tokio::test]
async fn a_body_above_the_cap_leaves_nothing() {
    let bench = Bench::new().await;
    let endless = futures::stream::repeat_with(|| Ok(Bytes::from(vec![0; 65_536])));
    let error = bench.put_stream(endless, 3 * MIB).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit_bytes } if limit_bytes == 3 * MIB));
    assert_eq!(bench.left(), Vec::<PathBuf>::new());
    // At the cap itself it is accepted.
    bench.put(&[7; 10], 10).await.unwrap();
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_nothing() {
    let bench = Bench::new().await;
    let reset = futures::stream::iter([Err(std::io::Error::other("reset by peer"))]);
    let error = bench
        .put_stream(beginning().chain(reset), CAP)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Aborted(why) if why == "reset by peer"),
        "{error}"
    );
    assert_eq!(bench.left(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_client_that_falls_silent_is_told_and_leaves_nothing() {
    let bench = Bench::new().await;
    let silent = beginning().chain(futures::stream::pending());
    let silent = std::pin::pin!(silent);
    let error = bench
        .store
        .put_stream(&bench.key, silent, CAP, Duration::from_millis(20))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Aborted(why) if why == "silent for 0.02 s"),
        "{error}"
    );
    assert_eq!(bench.left(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn nothing_is_visible_while_a_client_sends_and_nothing_remains_when_it_leaves() {
    let bench = Bench::new().await;
    let (reached, mut wait) = tokio::sync::mpsc::channel::<()>(1);
    let silent = beginning().chain(futures::stream::once(async move {
        reached.send(()).await.unwrap();
        std::future::pending().await
    }));
    let mut putting = Box::pin(bench.put_stream(silent, CAP));
    tokio::select! {
        outcome = &mut putting => panic!("{outcome:?}"),
        _ = wait.recv() => {}
    }
    assert_eq!(bench.left().len(), 1, "an upload had begun");
    let visible = bench.store.size(&bench.key).await;
    assert!(matches!(visible, Err(Error::NotFound(_))), "{visible:?}");
    drop(putting);
    // The bytes are removed on a blocking thread, whose end nothing reports.
    eventually("nothing is left", PATIENCE, async || {
        bench.left().is_empty()
    })
    .await;
}

/// Polls `work` so many times, each time when it asks to be; `None` when it has not ended by then.
async fn polled<T>(work: impl Future<Output = T>, mut times: u32) -> Option<T> {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending if times == 1 => Poll::Ready(None),
        Poll::Pending => {
            times -= 1;
            Poll::Pending
        }
    })
    .await
}

/// A client may leave at each of the waits inside a put, the final sync included.
#[test]
fn a_client_may_leave_at_any_step() {
    // One blocking thread: what was handed to it before is done when it answers.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let bench = Bench::new().await;
        for times in 1.. {
            let outcome = polled(bench.put_stream(beginning(), CAP), times).await;
            // What is dropped may hand over a clean-up, and that another.
            for _ in 0..3 {
                tokio::task::spawn_blocking(|| ()).await.unwrap();
            }
            if let Some(outcome) = outcome {
                assert_eq!(outcome.unwrap().bytes, 40 * 65_536);
                assert_eq!(bench.left(), [bench.path()]);
                // How many of the waits are seen depends on how fast the disk's thread is.
                assert!(times > 1, "a put waits for the disk");
                break;
            }
            assert_eq!(bench.left(), Vec::<PathBuf>::new(), "left after {times}");
        }
    });
}

#[tokio::test]
async fn ranges_are_read_exactly() {
    let bench = Bench::new().await;
    let bytes: Vec<u8> = (0..1_000_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    bench.put(&bytes, CAP).await.unwrap();
    for (start, end) in [
        (0, 1),
        (0, 1_000_000),
        (131_071, 131_074),
        (999_999, 1_000_000),
    ] {
        let range = ByteRange { start, end };
        let reading = bench.store.get(&bench.key, Some(range)).await.unwrap();
        assert_eq!(reading.size_bytes, 1_000_000);
        let read: Vec<Bytes> = reading.stream.try_collect().await.unwrap();
        assert_eq!(read.concat(), bytes[start as usize..end as usize]);
    }
}

#[tokio::test]
async fn absent_objects_are_told_by_their_key() {
    let Bench { dir, store, key } = Bench::new().await;
    let absent = |error: Error| matches!(error, Error::NotFound(told) if told == key);
    assert!(absent(store.size(&key).await.unwrap_err()));
    assert!(absent(store.get_bytes(&key).await.unwrap_err()));
    assert!(absent(store.get(&key, None).await.unwrap_err()));
    assert!(absent(store.open_for_decode(&key).await.unwrap_err()));
    store.delete(&key).await.unwrap();
    store.put_bytes(&key, "x".into()).await.unwrap();
    store.delete(&key).await.unwrap();
    assert!(absent(store.size(&key).await.unwrap_err()));
    drop(dir);
}

#[tokio::test]
async fn puts_and_deletes_in_one_directory_do_not_disturb_each_other() {
    let bench = Bench::new().await;
    let rounds = (0..8).map(|number| {
        let (store, key) = (&bench.store, format!("projects/p/files/{number}"));
        async move {
            for _ in 0..50 {
                store.put_bytes(&key, "x".into()).await.unwrap();
                store.delete(&key).await.unwrap();
            }
        }
    });
    futures::future::join_all(rounds).await;
    assert_eq!(bench.left(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_second_opening_sees_the_same_store_and_another_directory_another() {
    let bench = Bench::new().await;
    let again = FileStore::open(bench.dir.path()).await.unwrap();
    assert_eq!(again.store_id(), bench.store.store_id());
    assert_ne!(Bench::new().await.store.store_id(), bench.store.store_id());
    bench.store.ping().await.unwrap();
    assert_eq!(bench.left(), Vec::<PathBuf>::new(), "neither leaves a file");
}

#[tokio::test]
async fn of_many_first_openers_one_gives_the_id() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let opened = futures::future::join_all((0..8).map(|_| FileStore::open(&store))).await;
    let mut ids: Vec<_> = opened
        .iter()
        .map(|s| s.as_ref().unwrap().store_id())
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!(files_below(dir.path()), [store.join(MARKER)]);
}

#[tokio::test]
async fn a_ping_notices_another_volume_and_none() {
    let bench = Bench::new().await;
    let other = Bench::new().await;
    let marker = bench.dir.path().join(MARKER);
    std::fs::copy(other.dir.path().join(MARKER), &marker).unwrap();
    let error = bench.store.ping().await.unwrap_err().to_string();
    assert!(error.contains("instead of"), "{error}");
    std::fs::remove_file(&marker).unwrap();
    let error = bench.store.ping().await.unwrap_err();
    assert!(matches!(error, Error::Unusable { .. }), "{error}");
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    // Whoever runs this test may write everywhere; below a file and in /proc nobody can.
    for unusable in [&file.join("store"), Path::new("/proc")] {
        let error = FileStore::open(unusable).await.unwrap_err();
        assert!(matches!(&error, Error::Unusable { dir, .. } if dir == unusable));
        let text = error.to_string();
        assert!(text.contains(&*unusable.to_string_lossy()), "{text}");
    }
    std::fs::write(dir.path().join(MARKER), "no id").unwrap();
    let error = FileStore::open(dir.path()).await.unwrap_err().to_string();
    assert!(error.contains("\"no id\", not an id"), "{error}");
}

#[tokio::test]
async fn what_a_killed_process_left_is_swept_and_nothing_else() {
    let bench = Bench::new().await;
    bench.put(b"whole", CAP).await.unwrap();
    std::fs::write(format!("{}#7", bench.path().display()), "half").unwrap();
    std::fs::write(bench.dir.path().join("store-id#123"), "half").unwrap();
    let look = async |age: Duration| {
        let before = SystemClock.now() + Duration::from_secs(3_600) - age;
        bench.store.look_through(before, None, 100).await.unwrap()
    };
    assert_eq!(look(Duration::from_secs(7_200)).await, Look::default());
    let found = look(Duration::ZERO).await;
    let objects = [bench.key.clone(), MARKER.to_owned()];
    assert_eq!((found.removed, &found.old[..]), (2, &objects[..]));
    assert_eq!(found.next, None);
    assert_eq!(bench.left(), [bench.path()]);
    bench.store.ping().await.unwrap();
}

#[tokio::test]
async fn parts_of_any_size_make_the_whole_store() {
    let bench = Bench::new().await;
    let mut keys: Vec<String> = ["a", "a/b", "a/b/c", "a1", "b/a", "b/a-", "b/a/a", "c/c/c/c"]
        .iter()
        .map(|folder| format!("{folder}/file"))
        .collect();
    for key in &keys {
        bench.store.put_bytes(key, "x".into()).await.unwrap();
    }
    keys.push(MARKER.to_owned());
    keys.sort();
    let before = SystemClock.now() + Duration::from_secs(60);
    for size in 1..=keys.len() + 1 {
        let (mut seen, mut after) = (Vec::new(), None::<String>);
        loop {
            let look = bench
                .store
                .look_through(before, after.as_deref(), size)
                .await
                .unwrap();
            assert!(look.old.len() <= size);
            seen.extend(look.old);
            after = look.next;
            if after.is_none() {
                break;
            }
        }
        seen.sort();
        assert_eq!(seen, keys, "in parts of {size}");
    }
}
