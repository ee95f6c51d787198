//! `spheroctl segment` as a process: what it makes of files, folders and patterns, and how it goes on where a run that
//! was killed stood.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use spheroctl::segment::scene::{self, SceneOptions};
use tempfile::TempDir;

use crate::support::process::command;
use crate::support::{eventually, pictures};

/// How long a run of these tests may take, on a machine that does other things too.
const DEADLINE: Duration = Duration::from_secs(120);

/// Images of a run that is stopped in its middle.
const MANY: usize = 60;

/// A folder with images and one for results.
struct Bench {
    folder: TempDir,
}

impl Bench {
    /// With as many images as named here, each another picture.
    fn with(names: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let bench = Self { folder };
        for (seed, name) in (1..).zip(names) {
            let picture = if name.ends_with(".tif") {
                pictures::tiff(seed)
            } else {
                pictures::png(seed)
            };
            bench.put(name, &picture);
        }
        bench
    }

    /// With so many that a run can be stopped in its middle.
    fn with_many() -> Self {
        let names: Vec<String> = (1..=MANY)
            .map(|number| format!("in/w{number}.png"))
            .collect();
        Self::with(&names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, content: &[u8]) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, content).expect("a file");
    }

    fn command(&self, arguments: &[&str]) -> tokio::process::Command {
        let line = [&["segment", "--out", "out", "--json"], arguments].concat();
        let mut command = command(&line, &[]);
        command
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs to the end; answers with the status, the summary and what was said.
    async fn run(&self, arguments: &[&str]) -> (i32, Value, String) {
        let ended = tokio::time::timeout(DEADLINE, self.command(arguments).output()).await;
        let Output {
            status,
            stdout,
            stderr,
        } = ended.expect("it ends").expect("it starts");
        let said = String::from_utf8_lossy(&stderr).into_owned();
        let summary = serde_json::from_slice(&stdout).unwrap_or(Value::Null);
        (status.code().expect("no signal"), summary, said)
    }

    /// Column `column` of every row of the table.
    fn column(&self, column: &str) -> Vec<String> {
        let table = csv::Reader::from_path(self.path("out/measurements.csv"));
        let mut table = table.expect("a table");
        let at = table
            .headers()
            .expect("a header")
            .iter()
            .position(|name| name == column);
        let at = at.expect("the column");
        table
            .records()
            .map(|row| row.expect("a row")[at].to_owned())
            .collect()
    }

    /// The images of the table, each once, in its order.
    fn images(&self) -> Vec<String> {
        let mut images = self.column("image");
        images.dedup();
        images
    }

    /// When each file of results was written.
    fn written(&self) -> BTreeMap<PathBuf, SystemTime> {
        let entries = std::fs::read_dir(self.path("out")).expect("results");
        let entries = entries.map(|entry| entry.expect("an entry").path());
        let modified = |path: &Path| path.metadata().and_then(|data| data.modified());
        entries
            .filter(|path| path.is_file() && !path.ends_with("measurements.csv"))
            .map(|path| (path.clone(), modified(&path).expect("a time")))
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_patterns_and_files_are_done_in_natural_order() {
    let bench = Bench::with(&["plates/p10/w1.png", "plates/p9/w10.png", "plates/p9/w2.tif"]);
    bench.put("plates/p9/notes.txt", b"no image");
    bench.put("plates/.thumbnail.png", b"no image");
    let (status, summary, said) = bench.run(&["plates", "--recursive"]).await;
    assert_eq!(status, 0, "{said}");
    let expected = ["p9/w2.tif", "p9/w10.png", "p10/w1.png"];
    assert_eq!(bench.images(), expected);
    assert!(bench.path("out/p10/w1.overlay.png").exists());
    assert_eq!(
        (&summary["images"], &summary["failed"]),
        (&3.into(), &0.into())
    );
    assert_eq!(summary["results"][0]["objects"], 3);

    let (status, _, said) = bench.run(&["plates/**/w1*.png", "plates/p9"]).await;
    assert_eq!(status, 0, "{said}");
    assert_eq!(
        bench.images().len(),
        3,
        "w10.png is named twice and done once"
    );

    let (status, _, said) = bench.run(&["plates/**/*.jpg"]).await;
    assert_eq!(status, 66);
    assert!(said.contains("plates/**/*.jpg: no image there"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_is_named_and_the_others_are_done() {
    let bench = Bench::with(&["a.png", "c.tif"]);
    let whole = pictures::tiff(2);
    bench.put("b.tif", &whole[..whole.len() / 2]);
    let (status, summary, said) = bench.run(&["a.png", "b.tif", "c.tif", "absent.png"]).await;
    assert_eq!(status, 65, "{said}");
    assert!(
        said.contains("b.tif: ") && said.contains("absent.png: "),
        "{said}"
    );
    assert_eq!(bench.images(), ["a.png", "absent.png", "b.tif", "c.tif"]);
    assert_eq!(summary["failed"], 2);
    assert_eq!(summary["results"][2]["state"], "failed");
    assert!(
        summary["results"][2]["reason"]
            .as_str()
            .is_some_and(|why| !why.is_empty())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_killed_goes_on_where_it_stood() {
    let bench = Bench::with_many();
    let mut running = bench.command(&["in"]).spawn().expect("it starts");
    eventually("some images are done", DEADLINE, async || {
        records(&bench.path("out")) >= 3
    })
    .await;
    running.kill().await.expect("the process is ours");
    let done = records(&bench.path("out"));
    assert!(done < MANY, "killed in the middle, not after {done}");
    let before = bench.written();

    let (status, summary, said) = bench.run(&["in"]).await;
    assert_eq!(status, 0, "{said}");
    assert_eq!(summary["done_before"], done);
    assert!(
        said.contains(&format!("{done} of {MANY} images were done before")),
        "{said}"
    );
    let expected: Vec<String> = (1..=MANY).map(|number| format!("w{number}.png")).collect();
    assert_eq!(bench.images(), expected);
    let objects = bench.column("object");
    assert_eq!(
        summary["objects"].as_u64(),
        Some(objects.len() as u64),
        "no row twice"
    );
    let after = bench.written();
    let kept = before
        .iter()
        .filter(|(path, time)| after.get(*path) == Some(time))
        .count();
    assert!(
        kept >= 3 * done,
        "{kept} of the files of {done} images are as they were"
    );
    assert_eq!(after.len(), 3 * MANY, "no half-written file stays");
    assert!(!bench.path("out/.spheroctl/work").exists());
}

/// How many records there are.
fn records(out: &Path) -> usize {
    std::fs::read_dir(out.join(".spheroctl/records")).map_or(0, |entries| entries.count())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_is_done_again_and_nothing_else() {
    let bench = Bench::with(&["in/a.png", "in/b.png", "in/c.png"]);
    bench.run(&["in"]).await;
    let (_, summary, _) = bench.run(&["in"]).await;
    assert_eq!(summary["done_before"], 3);

    bench.put("in/b.png", &pictures::png(40));
    std::fs::remove_file(bench.path("out/c.labels.tif")).expect("a result");
    let (_, summary, _) = bench.run(&["in"]).await;
    let states = |summary: &Value| -> Vec<String> {
        let results = summary["results"].as_array().expect("results").iter();
        results
            .map(|line| line["state"].as_str().expect("a state").to_owned())
            .collect()
    };
    assert_eq!(states(&summary), ["done_before", "done", "done"]);

    let (_, summary, _) = bench.run(&["in", "--pixel-um", "0.5"]).await;
    assert_eq!(states(&summary), ["done"; 3], "other parameters");
    assert!(
        bench
            .column("pixel_size_source")
            .iter()
            .all(|source| source == "user")
    );
    let (_, summary, _) = bench.run(&["in", "--pixel-um", "0.5", "--fresh"]).await;
    assert_eq!(states(&summary), ["done"; 3], "all again");

    let (_, summary, _) = bench
        .run(&["in/a.png", "--pixel-um", "0.5", "--table-only"])
        .await;
    assert_eq!(
        (&summary["done_before"], &summary["others"]),
        (&0.into(), &2.into())
    );
    assert!(
        !bench.path("out/a.overlay.png").exists(),
        "of other choices"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_breaks_keeps_no_old_result() {
    let bench = Bench::with(&["a.png"]);
    bench.run(&["a.png"]).await;
    bench.put("a.png", b"not a picture any more");
    let (status, _, _) = bench.run(&["a.png"]).await;
    assert_eq!((status, bench.written().len()), (65, 0));
    assert_eq!(bench.column("object"), [""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_stack_are_chosen_and_each_has_its_results() {
    let bench = Bench::with(&[]);
    bench.put("stack.tif", &stack(4));
    let (status, summary, said) = bench.run(&["stack.tif", "--pages", "0,2-3"]).await;
    assert_eq!(status, 0, "{said}");
    assert_eq!(
        (&summary["images"], &summary["pages"]),
        (&1.into(), &3.into())
    );
    let mut pages = bench.column("page");
    pages.dedup();
    assert_eq!(pages, ["0", "2", "3"]);
    assert!(bench.path("out/stack.page-3.geojson").exists());

    let (status, summary, said) = bench.run(&["stack.tif", "--page", "9"]).await;
    assert_eq!(status, 65, "{said}");
    assert!(
        said.contains("there is no page 9: the file has 4"),
        "{said}"
    );
    assert_eq!(summary["results"][0]["page"], 9);
}

/// A stack of so many pages.
fn stack(pages: u64) -> Vec<u8> {
    use tiff::encoder::{TiffEncoder, colortype::Gray16};
    let mut file = std::io::Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut file).expect("a TIFF");
    for seed in 0..pages {
        let options = SceneOptions {
            width: 160,
            height: 120,
            objects: 1,
            radius_px: (20.0, 30.0),
            ..SceneOptions::default()
        };
        let scene = scene::draw(seed, &options);
        let words: Vec<u16> = (0..160 * 120)
            .map(|at| scene.image.samples().at(at) as u16)
            .collect();
        encoder
            .write_image::<Gray16>(160, 120, &words)
            .expect("a page");
    }
    file.into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_parameter_is_named_before_anything_is_done() {
    let bench = Bench::with(&["a.png"]);
    let (status, _, said) = bench.run(&["a.png", "-p", "smoothing_px=99"]).await;
    assert_eq!(status, 2);
    assert!(said.contains("smoothing_px is 99"), "{said}");
    assert!(!bench.path("out").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_do_not_work_in_one_folder() {
    let bench = Bench::with_many();
    let mut first = bench.command(&["in"]).spawn().expect("it starts");
    eventually("the first is at work", DEADLINE, async || {
        records(&bench.path("out")) > 0
    })
    .await;
    let (status, _, said) = bench.run(&["in"]).await;
    assert_eq!(status, 75, "{said}");
    assert!(said.contains("another run"), "{said}");
    first.kill().await.expect("the process is ours");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_run_leaves_a_table_of_what_is_done() {
    let bench = Bench::with_many();
    let running = bench.command(&["in"]).spawn().expect("it starts");
    eventually("some images are done", DEADLINE, async || {
        records(&bench.path("out")) >= 3
    })
    .await;
    let id = running.id().expect("it runs").cast_signed();
    let id = rustix::process::Pid::from_raw(id).expect("a process id");
    rustix::process::kill_process(id, rustix::process::Signal::INT).expect("the process is ours");
    let ended = tokio::time::timeout(DEADLINE, running.wait_with_output()).await;
    let ended = ended.expect("it ends").expect("a status");
    assert_eq!(ended.status.code(), Some(130));
    let summary: Value = serde_json::from_slice(&ended.stdout).expect("a summary");
    let not_reached = summary["not_reached"].as_u64().expect("a number");
    assert_eq!(bench.images().len() as u64 + not_reached, MANY as u64);
    let (status, _, _) = bench.run(&["in"]).await;
    assert_eq!((status, bench.images().len()), (0, MANY));
}
