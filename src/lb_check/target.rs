//! What is checked: an address of the form `http://host:port` or `https://host`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use http::Uri;

/// The address of a balancer (or of an instance).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Whether it speaks TLS.
    pub tls: bool,
    /// The name that certificates and `Host` are about, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path, `/` where none was given; only that of WebSockets is used.
    pub path: String,
}

/// A text that is no such address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not of the form http://host:port or https://host:port")]
pub struct NoTarget(String);

impl Target {
    /// `host:port` as it stands in `Host`: without the scheme's own port.
    pub fn authority(&self) -> String {
        let usual = if self.tls { 443 } else { 80 };
        if self.port == usual {
            self.bracketed()
        } else {
            format!("{}:{}", self.bracketed(), self.port)
        }
    }

    /// `https` or `http`.
    pub const fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// The same place with another path.
    #[must_use]
    pub fn at(&self, path: &str) -> Self {
        Self {
            path: path.to_owned(),
            ..self.clone()
        }
    }

    /// The addresses behind the name.
    ///
    /// # Errors
    /// Where the name is unknown.
    pub async fn resolve(&self) -> std::io::Result<Vec<SocketAddr>> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await?;
        Ok(found.collect())
    }

    /// Whether the address is this very machine's.
    pub fn is_loopback(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    fn bracketed(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        }
    }
}

impl FromStr for Target {
    type Err = NoTarget;

    fn from_str(text: &str) -> Result<Self, NoTarget> {
        let no = || NoTarget(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| no())?;
        let tls = match uri.scheme_str() {
            Some("http" | "ws") => false,
            Some("https" | "wss") => true,
            _ => return Err(no()),
        };
        let host = uri.host().ok_or_else(no)?.trim_matches(['[', ']']);
        Ok(Self {
            tls,
            host: host.to_owned(),
            port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            path: uri.path().to_owned(),
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme(), self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, shown, tls, port) in [
            ("http://lab:8000/", "http://lab:8000", false, 8000),
            ("https://lab.example", "https://lab.example", true, 443),
            (
                "ws://[::1]:8081/connection/websocket",
                "http://[::1]:8081",
                false,
                8081,
            ),
        ] {
            let target: Target = text.parse().unwrap();
            assert_eq!(
                (target.to_string().as_str(), target.tls, target.port),
                (shown, tls, port)
            );
        }
        for bad in ["lab:8000", "ftp://lab", "", "/whoami"] {
            assert!(bad.parse::<Target>().is_err(), "{bad:?}");
        }
    }
}
