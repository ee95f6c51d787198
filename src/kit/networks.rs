//! Address ranges, as settings name them: `10.0.0.0/8, 2001:db8::/32, 127.0.0.1`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// A list of address ranges.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

/// A part of the list that is no range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an address nor a range such as 10.0.0.0/8")]
pub struct NotANetwork(String);

impl Networks {
    /// Whether `address` lies in one of the ranges; an IPv4 address in IPv6 clothes counts as what it is.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl FromStr for Networks {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let parts = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        parts
            .map(|part| network(part).ok_or_else(|| NotANetwork(part.to_owned())))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&names.join(", "))
    }
}

fn network(part: &str) -> Option<IpNet> {
    let address = || part.parse::<IpAddr>().ok().map(IpNet::from);
    part.parse().ok().or_else(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(networks: &str, address: &str) -> bool {
        let networks: Networks = networks.parse().unwrap();
        networks.contains(address.parse().unwrap())
    }

    #[test]
    fn ranges_and_single_addresses_are_read() {
        assert!(contains("10.0.0.0/8, ::1", "10.255.0.1"));
        assert!(contains("10.0.0.0/8, ::1", "::1"));
        assert!(contains("10.0.0.0/8", "::ffff:10.0.0.1"));
        assert!(!contains("10.0.0.0/8,::1", "11.0.0.1"));
        assert!(!contains("", "127.0.0.1"));
    }

    #[test]
    fn what_is_no_range_is_named() {
        for bad in ["10.0.0.0/33", "localhost", "10.0.0.1;10.0.0.2"] {
            let error = bad.parse::<Networks>().unwrap_err().to_string();
            assert!(error.contains(bad), "{error}");
        }
    }
}
