//! `spheroctl health`: asks a probe and answers by exit status. The health check of a container that has no shell.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{StatusCode, Uri};
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::json;

use super::args::HealthArgs;
use super::exit::{Code, WithCode};
use super::output;
use crate::settings::{Ops, Settings};

/// Exit status 0 when the probe answers 2xx within `health.check_timeout_ms`, else 1 with the reason on standard error.
///
/// # Errors
/// A URL that is none; a probe that does not answer in time, or answers that it is not healthy.
pub async fn run(args: HealthArgs, settings: Settings) -> anyhow::Result<ExitCode> {
    let url = args.url.unwrap_or_else(|| livez(&settings.ops));
    let limit = Duration::from_millis(settings.health.check_timeout_ms);
    // Container engines know 0 and 1 only.
    let status = ask(&url, limit).await.or_exit(Code::Failure)?;
    let healthy = status.is_success();
    if args.json {
        output::json(&json!({ "url": url, "status": status.as_u16(), "healthy": healthy }))?;
    } else {
        output::line(&format!("{url}: {status}"))?;
    }
    Ok(if healthy {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn ask(url: &str, limit: Duration) -> anyhow::Result<StatusCode> {
    let uri: Uri = url.parse().with_context(|| format!("{url:?} is no URL"))?;
    anyhow::ensure!(
        uri.scheme_str() == Some("http"),
        "{url:?}: a probe is asked over plain http, on the same machine"
    );
    let client: Client<HttpConnector, Empty<Bytes>> =
        Client::builder(TokioExecutor::new()).build_http();
    let answer = tokio::time::timeout(limit, client.get(uri))
        .await
        .with_context(|| format!("{url} did not answer in {} ms", limit.as_millis()))?;
    let answer = answer.with_context(|| format!("{url} does not answer"))?;
    Ok(answer.status())
}

/// The probe of the operator listener, as seen from the same machine.
fn livez(ops: &Ops) -> String {
    let host = match ops.host.as_str() {
        "0.0.0.0" => "127.0.0.1".to_owned(),
        "::" => "[::1]".to_owned(),
        v6 if v6.contains(':') => format!("[{v6}]"),
        host => host.to_owned(),
    };
    format!("http://{host}:{}/livez", ops.port)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::kit::lifecycle::Lifecycle;

    const LIMIT: Duration = Duration::from_secs(10);

    async fn probe_that_answers(head: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Lifecycle::new().spawn("probe", async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1_024];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
        });
        format!("http://{address}/livez")
    }

    #[tokio::test]
    async fn the_status_is_the_answer() {
        let url = probe_that_answers("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(ask(&url, LIMIT).await.unwrap(), 204);
        let url = probe_that_answers("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!(ask(&url, LIMIT).await.unwrap(), 503);
    }

    #[tokio::test]
    async fn silence_ends_at_the_limit() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/livez", listener.local_addr().unwrap());
        let error = ask(&url, Duration::from_millis(50)).await.unwrap_err();
        assert!(error.to_string().contains("did not answer in 50 ms"));
    }

    #[tokio::test]
    async fn only_plain_http_is_asked() {
        assert!(ask("https://lab.example/livez", LIMIT).await.is_err());
        assert!(ask("nothing", LIMIT).await.is_err());
    }

    #[test]
    fn a_listener_on_every_address_is_asked_on_loopback() {
        let ops = |host: &str| Ops {
            host: host.into(),
            port: 9100,
        };
        assert_eq!(livez(&ops("0.0.0.0")), "http://127.0.0.1:9100/livez");
        assert_eq!(livez(&ops("::")), "http://[::1]:9100/livez");
    }
}
