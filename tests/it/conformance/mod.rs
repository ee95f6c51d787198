//! What each seam promises, checked on every backend: a check is `async fn(&Backend)`, and each pair of check and
//! backend is a test of its own, such as `conformance::database::sqlite::commit_is_seen`. A missing service fails.

mod database;
pub mod event_log;
mod queue;
mod state_cluster;
mod state_outage;
mod state_store;

/// Makes a module for each backend and in it a test for each check. Backends are opened by an async function without
/// parameters, anew for each test:
///
/// ```ignore
/// suite! {
///     sqlite => Backend::sqlite, postgres => Backend::postgres;
///     [commit_is_seen, roll_back_is_unseen]
/// }
/// ```
macro_rules! suite {
    ($($backend:ident => $open:path),+ $(,)?; $checks:tt) => {
        $( $crate::conformance::suite! { @one $backend => $open; $checks } )+
    };
    (@one $backend:ident => $open:path; [$($check:ident),* $(,)?]) => {
        mod $backend {
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $check() {
                    super::$check(&$open().await).await;
                }
            )*
        }
    };
}
pub(crate) use suite;
