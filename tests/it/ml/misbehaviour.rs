//! Every way in which a service misbehaves ends as an error of a known kind, in time.

use std::sync::Arc;
use std::time::Duration;

use spheroctl::segment::remote::{Failed, Fault, Page, Remote, RemoteError, Request, WholeFile};
use spheroctl::segment::scene::{self, SceneOptions};
use spheroctl::segment::{Parameters, Raster};
use spheroctl::settings::{self, Sources};

use super::Model;
use crate::support::services::{kserve_url, spheroseg_url};

/// A page in memory that is sent as a PNG.
struct InMemory(Arc<Raster>);

impl Page for InMemory {
    type Error = ();

    fn size(&self) -> (u32, u32) {
        (self.0.width(), self.0.height())
    }

    async fn whole_file(&self) -> Result<Option<WholeFile>, ()> {
        Ok(None)
    }

    async fn with_raster<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Raster) -> T + Send + 'static,
    ) -> Result<T, ()> {
        Ok(work(&self.0))
    }
}

fn picture() -> InMemory {
    let options = SceneOptions {
        width: 256,
        height: 256,
        objects: 3,
        ..SceneOptions::default()
    };
    InMemory(Arc::new(scene::draw(1, &options).image))
}

fn request() -> Request {
    Request {
        id: "job-1".into(),
        user: "ada".into(),
        parameters: Parameters::default(),
    }
}

/// A service that the environment names: flags may hold no passwords.
fn remote(settings: &[(&str, &str)], timeout: Duration) -> Remote {
    let variable = |(key, value): &(&str, &str)| {
        let name = key.to_ascii_uppercase().replace('.', "__");
        (format!("SPHEROCTL__{name}"), (*value).to_owned())
    };
    let sources = Sources {
        environment: settings.iter().map(variable).collect(),
        ..Sources::default()
    };
    let ml = settings::load(&sources)
        .expect("the settings fit")
        .settings
        .ml;
    Remote::new(&ml, timeout).expect("a client")
}

async fn refusal(model: &str, timeout: Duration, more: &[(&str, &str)]) -> RemoteError {
    let url = spheroseg_url();
    let mut flags = vec![
        ("ml.segmenter", "spheroseg"),
        ("ml.url", url.as_str()),
        ("ml.model", model),
    ];
    flags.extend(more);
    match remote(&flags, timeout)
        .segment(&picture(), &request())
        .await
    {
        Err(Failed::Remote(error)) => error,
        other => panic!("{model}: an error is expected, not {other:?}"),
    }
}

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn each_misbehaviour_has_its_kind_of_error() {
    for (model, fault, class, words) in [
        ("400", Fault::Image, "bad_image", "Invalid image file"),
        ("413", Fault::Image, "bad_image", "image_too_large"),
        ("422", Fault::Image, "bad_image", "too high"),
        ("429", Fault::Load, "ml_service", "too busy"),
        ("500", Fault::Service, "ml_service", "Inference failed"),
        (
            "503",
            Fault::Service,
            "ml_service",
            "loader not initialized",
        ),
        ("504", Fault::Service, "ml_service", "reduce image size"),
        ("html", Fault::Service, "ml_answer", "<html><body>It works!"),
        ("not-json", Fault::Service, "ml_answer", "cannot be read"),
        ("nan", Fault::Service, "ml_answer", "cannot be read"),
        ("infinite", Fault::Service, "ml_answer", "cannot be read"),
        ("outside", Fault::Service, "ml_answer", "outside the image"),
        ("wrong-size", Fault::Service, "ml_answer", "512 × 256"),
        (
            "million",
            Fault::Service,
            "ml_answer",
            "more than 10000 polygons",
        ),
        ("cut", Fault::Service, "ml_service", "broke off"),
    ] {
        let error = refusal(model, PATIENCE, &[]).await;
        assert_eq!(
            (error.fault(), error.class()),
            (fault, class),
            "{model}: {error}"
        );
        assert!(error.to_string().contains(words), "{model}: {error}");
    }
}

#[tokio::test]
async fn retry_after_is_kept() {
    for (model, seconds) in [("503-retry-after", 7), ("429", 2)] {
        let error = refusal(model, PATIENCE, &[]).await;
        assert_eq!(
            error.retry_after(),
            Some(Duration::from_secs(seconds)),
            "{model}"
        );
    }
}

#[tokio::test]
async fn silence_and_trickles_end_with_the_calls_time() {
    let short = Duration::from_millis(700);
    for model in ["hang", "slow"] {
        let error = refusal(model, short, &[]).await;
        assert_eq!(error, RemoteError::Timeout { after: short }, "{model}");
    }
}

#[tokio::test]
async fn long_answers_are_cut() {
    let cap = [("ml.response_bytes_max", "1000000")];
    let error = refusal("million", PATIENCE, &cap).await;
    assert_eq!(
        error,
        RemoteError::TooLong {
            limit_bytes: 1_000_000
        }
    );
}

#[tokio::test]
async fn addresses_where_nobody_speaks_a_protocol_are_told() {
    let remote = remote(
        &[("ml.segmenter", "auto"), ("ml.url", "http://127.0.0.1:9")],
        PATIENCE,
    );
    let error = remote.ping().await.unwrap_err();
    assert!(matches!(error, RemoteError::Unreachable(_)), "{error:?}");
    assert!(!error.may_be_the_image());
    let nowhere = format!("{}/somewhere", kserve_url());
    let flags = [("ml.segmenter", "auto"), ("ml.url", nowhere.as_str())];
    let error = self::remote(&flags, PATIENCE).ping().await.unwrap_err();
    assert!(matches!(error, RemoteError::Unknown(_)), "{error:?}");
}

#[tokio::test]
async fn a_token_goes_to_the_service_and_nowhere_else() {
    let model = Model::that("otsu").await;
    let url = spheroseg_url();
    let settings = [
        ("ml.segmenter", "spheroseg"),
        ("ml.url", url.as_str()),
        ("ml.model", model.name.as_str()),
        ("ml.token", "c4n4ry"),
    ];
    let remote = remote(&settings, PATIENCE);
    let result = remote.segment(&picture(), &request()).await;
    assert!(!result.expect("a result").objects.is_empty());
    let asked = model.asked().await;
    assert_eq!(asked[0]["headers"]["authorization"], "Bearer c4n4ry");
    assert!(!format!("{remote:?}").contains("c4n4ry"));
}

#[tokio::test]
async fn passwords_in_the_address_are_in_no_error() {
    let flags = [
        ("ml.segmenter", "spheroseg"),
        ("ml.url", "http://lab:c4n4ry@127.0.0.1:9"),
    ];
    let remote = remote(&flags, PATIENCE);
    let Err(Failed::Remote(error)) = remote.segment(&picture(), &request()).await else {
        panic!("nobody is there");
    };
    assert!(!format!("{error:?} {error} {remote:?}").contains("c4n4ry"));
}
