//! The last step of an upload: the bytes are synced and the object takes its name. The step runs on a blocking thread
//! and does not stop where the client leaves meanwhile, so what nobody waits for any more is removed again.

use std::path::PathBuf;

use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::MultipartUpload;
use tokio::runtime::Handle;

/// Makes the object at `path` visible. Dropped before its end, it leaves no object there.
pub(super) async fn publish(
    mut upload: Box<dyn MultipartUpload>,
    path: PathBuf,
) -> object_store::Result<()> {
    let running = async move { upload.complete().await.map(drop) }.boxed();
    let mut step = LastStep {
        running: Some(running),
        path,
    };
    step.ended().await
}

struct LastStep {
    /// `None` once it has ended.
    running: Option<BoxFuture<'static, object_store::Result<()>>>,
    path: PathBuf,
}

impl LastStep {
    async fn ended(&mut self) -> object_store::Result<()> {
        let Some(running) = &mut self.running else {
            return Ok(());
        };
        let outcome = running.await;
        self.running = None;
        outcome
    }
}

impl Drop for LastStep {
    fn drop(&mut self) {
        let (Some(running), Ok(runtime)) = (self.running.take(), Handle::try_current()) else {
            return;
        };
        let (path, waiting) = (std::mem::take(&mut self.path), runtime.clone());
        // The step was handed to a blocking thread when it was first polled, hence before this: even a pool of one
        // thread takes them in this order.
        drop(runtime.spawn_blocking(move || {
            if waiting.block_on(running).is_ok()
                && let Err(error) = std::fs::remove_file(&path)
            {
                let path = path.display();
                tracing::warn!(%error, "the object {path}, whose sender left, stays: {error}");
            }
        }));
    }
}
