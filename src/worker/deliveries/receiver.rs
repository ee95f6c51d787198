//! Who may be asked, and how. The addresses of receivers come from people: none may lead to what only this network
//! reaches (server-side request forgery; OWASP ASVS 5.0, 13.2.4). A name is looked up once, and the connection goes to an
//! address that was judged; redirects are not followed, and little of an answer is read.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use http::{HeaderMap, StatusCode, header};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Url, redirect};

use crate::domain::webhooks::{Outcome, Sending};
use crate::kit::networks::Networks;
use crate::settings;

/// Addresses that are not of the public internet (IANA's special-purpose registries), IPv6's ways to carry IPv4 among them.
const SPECIAL: &str = "0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12, 192.0.0.0/24, \
    192.0.2.0/24, 192.88.99.0/24, 192.168.0.0/16, 198.18.0.0/15, 198.51.100.0/24, 203.0.113.0/24, 224.0.0.0/4, 240.0.0.0/4, \
    ::/96, 64:ff9b::/96, 64:ff9b:1::/48, 100::/64, 2001::/23, 2001:db8::/32, 2002::/16, 3fff::/20, 5f00::/16, fc00::/7, \
    fe80::/10, fec0::/10, ff00::/8";

static SPECIAL_NETWORKS: LazyLock<Networks> = LazyLock::new(|| SPECIAL.parse().unwrap_or_default());

/// The client, and what it may reach.
#[derive(Debug, Clone)]
pub(super) struct Receivers {
    client: Client,
    rules: Arc<Rules>,
}

#[derive(Debug)]
struct Rules {
    allowed: Networks,
    allow_http: bool,
}

impl Receivers {
    pub(super) fn new(settings: &settings::Webhooks) -> anyhow::Result<Self> {
        let rules = Arc::new(Rules {
            allowed: settings.allowed_networks.parse()?,
            allow_http: settings.allow_http,
        });
        let client = Client::builder()
            .dns_resolver(Arc::new(Judging(Arc::clone(&rules))))
            .redirect(redirect::Policy::none())
            .timeout(Duration::from_millis(settings.timeout_ms))
            // A proxy of the environment would be asked instead of an address that was judged.
            .no_proxy()
            .user_agent(concat!("spheroctl/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, rules })
    }

    /// Sends one delivery; `at` is the instant that is signed.
    pub(super) async fn send(&self, sending: &Sending, at: DateTime<Utc>) -> Outcome {
        let url = match self.rules.judged(&sending.url) {
            Ok(url) => url,
            Err(error) => return failed(None, error, None),
        };
        let id = sending.id.to_string();
        let request = self
            .client
            .post(url)
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", at.timestamp())
            .header(
                "webhook-signature",
                sending.secret.sign(&id, at, &sending.body),
            )
            .body(sending.body.clone());
        match request.send().await {
            Ok(answer) => judge(answer.status(), answer.headers()),
            Err(error) => failed(None, reason(&error), None),
        }
    }
}

impl Rules {
    /// The address in an URL is judged here, one behind a name where it is looked up.
    fn judged(&self, url: &str) -> Result<Url, String> {
        let url = Url::parse(url).map_err(|error| format!("{url:?} is no address: {error}"))?;
        let host = url.host_str().unwrap_or_default();
        let literal: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        if let Some(address) = literal
            && !self.may_be_reached(address)
        {
            return Err(format!("{address} is not of the public internet"));
        }
        let inside = literal.is_some_and(|address| self.allowed.contains(address));
        match url.scheme() {
            "https" => Ok(url),
            "http" if self.allow_http || inside => Ok(url),
            other => Err(format!("https is expected, not {other}")),
        }
    }

    fn may_be_reached(&self, address: IpAddr) -> bool {
        self.allowed.contains(address) || !SPECIAL_NETWORKS.contains(address)
    }
}

/// Looks names up and gives only addresses that may be reached.
struct Judging(Arc<Rules>);

impl Resolve for Judging {
    fn resolve(&self, name: Name) -> Resolving {
        let rules = Arc::clone(&self.0);
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let good: Vec<SocketAddr> = found
                .filter(|address| rules.may_be_reached(address.ip()))
                .collect();
            if good.is_empty() {
                let why = format!("{} has no address of the public internet", name.as_str());
                return Err(why.into());
            }
            Ok(Box::new(good.into_iter()) as Addrs)
        })
    }
}

fn judge(status: StatusCode, headers: &HeaderMap) -> Outcome {
    if status.is_success() {
        return Outcome::Delivered {
            answer: status.as_u16(),
        };
    }
    if status == StatusCode::GONE {
        return Outcome::Gone;
    }
    let seconds = headers.get(header::RETRY_AFTER);
    let seconds = seconds.and_then(|value| value.to_str().ok()?.parse().ok());
    let retry_after = seconds.map(Duration::from_secs);
    failed(
        Some(status.as_u16()),
        format!("it answered {status}"),
        retry_after,
    )
}

fn failed(answer: Option<u16>, error: String, retry_after: Option<Duration>) -> Outcome {
    Outcome::Failed {
        answer,
        error,
        retry_after,
    }
}

/// The cause, which reqwest hides behind the address.
fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it did not answer in time".into();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(allowed: &str, allow_http: bool) -> Rules {
        Rules {
            allowed: allowed.parse().unwrap(),
            allow_http,
        }
    }

    #[test]
    fn the_inside_is_not_reached_in_any_spelling() {
        let rules = rules("", true);
        for inside in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://0x7f000001/",
            "http://2130706433/",
            "http://0177.0.0.1/",
            "http://10.0.0.7:8080/",
            "http://169.254.169.254/latest/meta-data/",
            "http://192.168.1.1/",
            "http://100.64.0.1/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:a00:7]/",
            "http://[64:ff9b::7f00:1]/",
            "http://[fe80::1]/",
            "http://[fd00::1]/",
            "http://0.0.0.0/",
        ] {
            let error = rules.judged(inside).unwrap_err();
            assert!(error.contains("public internet"), "{inside}: {error}");
        }
        for outside in [
            "http://93.184.215.14/",
            "http://[2606:2800:21f::1]/",
            "http://example.org/",
        ] {
            assert!(rules.judged(outside).is_ok(), "{outside}");
        }
    }

    #[test]
    fn what_the_operator_allows_is_reached() {
        let rules = rules("127.0.0.1, fd00::/8", false);
        assert!(rules.judged("http://127.0.0.1:9000/").is_ok());
        assert!(rules.judged("https://[fd00::1]/").is_ok());
        assert!(rules.judged("https://127.0.0.2/").is_err());
        let plain = rules.judged("http://example.org/").unwrap_err();
        assert!(plain.contains("https"), "{plain}");
    }

    #[tokio::test]
    async fn a_name_of_the_inside_has_no_address() {
        let judging = Judging(Arc::new(rules("", true)));
        let name = "localhost".parse::<Name>().unwrap();
        let error = judging
            .resolve(name)
            .await
            .err()
            .expect("refused")
            .to_string();
        assert!(error.contains("localhost"), "{error}");
        let allowed = Judging(Arc::new(rules("127.0.0.0/8, ::1", true)));
        let name = "localhost".parse::<Name>().unwrap();
        assert!(allowed.resolve(name).await.unwrap().next().is_some());
    }

    #[test]
    fn answers_are_judged() {
        let none = HeaderMap::new();
        assert_eq!(
            judge(StatusCode::NO_CONTENT, &none),
            Outcome::Delivered { answer: 204 }
        );
        assert_eq!(judge(StatusCode::GONE, &none), Outcome::Gone);
        let mut later = HeaderMap::new();
        later.insert(header::RETRY_AFTER, "7".parse().unwrap());
        assert_eq!(
            judge(StatusCode::TOO_MANY_REQUESTS, &later),
            failed(
                Some(429),
                "it answered 429 Too Many Requests".into(),
                Some(Duration::from_secs(7))
            )
        );
        // Redirects are not followed.
        assert!(matches!(
            judge(StatusCode::FOUND, &none),
            Outcome::Failed {
                answer: Some(302),
                ..
            }
        ));
    }
}
