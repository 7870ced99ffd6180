//! Which addresses a registry may send us to.
//!
//! A registry names token servers, places for uploads and redirects. One on the internet that names an address inside our
//! network, or of this machine, would have us ask where it cannot ask itself: the services of a cloud's machines hand out
//! credentials to whoever reaches them. So nothing is followed to an address that is nearer to us than the registry itself.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The metadata service of Amazon's machines, which has a private address by IPv6.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
/// The metadata service of Alibaba's machines, which has a shared address.
const METADATA_SHARED: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);

/// How near to us an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// On the internet.
    Public,
    /// In a private network.
    Private,
    /// This machine.
    Loopback,
    /// Where no registry is: link-local addresses with their metadata services, 0.0.0.0, multicast.
    Never,
}

impl Reach {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        let [a, b, ..] = address.octets();
        match address {
            METADATA_SHARED => Self::Never,
            _ if a == 0 || a >= 224 || address.is_link_local() => Self::Never,
            _ if address.is_loopback() => Self::Loopback,
            // 100.64/10 is shared by a provider's customers, 198.18/15 is for measurements inside a network.
            _ if address.is_private() || (a == 100 && b & 0xc0 == 64) || (a == 198 && b & 0xfe == 18) => Self::Private,
            _ => Self::Public,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        match address {
            METADATA_V6 => Self::Never,
            _ if address.is_unspecified() || address.is_multicast() || address.is_unicast_link_local() => Self::Never,
            _ if address.is_loopback() => Self::Loopback,
            _ if address.is_unique_local() => Self::Private,
            _ => match address.segments() {
                // NAT64 leads to the IPv4 address in its last part, and 6to4 to the one in its first.
                [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
                    let bytes = (u32::from(high) << 16) | u32::from(low);
                    Self::of_v4(Ipv4Addr::from(bytes))
                }
                _ => Self::Public,
            },
        }
    }

    /// Returns how near the host of a URL is as far as its text tells, or `None` if the DNS has to be asked.
    pub(super) fn of_text(url: &Url) -> Option<Self> {
        let host = url.host_str().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse() {
            return Some(Self::of(address));
        }
        let name = host.trim_end_matches('.');
        (name == "localhost" || name.ends_with(".localhost")).then_some(Self::Loopback)
    }

    /// Tells whether a registry at this distance may send us to `target`.
    pub(super) fn may_name(self, target: Self) -> bool {
        target != Self::Never && target <= self
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "a public address",
            Self::Private => "an address in a private network",
            Self::Loopback => "an address of this machine",
            Self::Never => "an address where no registry is",
        })
    }
}

/// The address behind a name is nearer to us than the registry that named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is at {0}")]
pub(super) struct TooNear(pub(super) Reach);

/// Resolves names, but not to addresses that a registry at this distance may not name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guard(pub(super) Reach);

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let registry = self.0;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let reach = |address: &SocketAddr| Reach::of(address.ip());
            let nearest = found.iter().map(reach).max();
            let allowed: Vec<SocketAddr> = found.into_iter().filter(|found| registry.may_name(reach(found))).collect();
            match nearest {
                Some(nearest) if allowed.is_empty() => Err(TooNear(nearest).into()),
                _ => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

/// Returns how near a host is that nobody named but the user: by the farthest of its addresses. One that cannot be resolved
/// here, since a proxy does that, counts as public.
pub(super) async fn reach_of_host(host: &str) -> Reach {
    let found = tokio::net::lookup_host((host, 0)).await;
    found.ok().and_then(|found| found.map(|address| Reach::of(address.ip())).min()).unwrap_or(Reach::Public)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_sorted_by_how_near_they_are() {
        use Reach::{Loopback, Never, Private, Public};
        for (reach, addresses) in [
            (
                Public,
                &["1.1.1.1", "172.32.0.1", "100.128.0.1", "192.167.1.1", "2606:4700::1111", "64:ff9b::101:101"][..],
            ),
            (Private, &["10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "198.18.0.1", "fc00::1", "fd12::1"]),
            (Private, &["::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::"]),
            (Loopback, &["127.0.0.1", "127.255.0.1", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"]),
            (Never, &["0.0.0.0", "0.1.2.3", "169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "::", "ff02::1"]),
            (Never, &["224.0.0.1", "255.255.255.255", "240.0.0.1", "fd00:ec2::254", "100.100.100.200"]),
        ] {
            for address in addresses {
                assert_eq!(Reach::of(address.parse().unwrap()), reach, "{address}");
            }
        }
        assert!(Public.may_name(Public) && !Public.may_name(Private) && !Public.may_name(Loopback));
        assert!(Private.may_name(Private) && !Private.may_name(Loopback));
        assert!(Loopback.may_name(Private) && Loopback.may_name(Loopback));
        assert!(!Never.may_name(Never) && !Loopback.may_name(Never));
    }

    #[test]
    fn addresses_in_disguise_are_seen_through() {
        for (text, reach) in [
            ("http://0x7f.1/", Some(Reach::Loopback)),
            ("http://2130706433/", Some(Reach::Loopback)),
            ("http://0251.0376.0251.0376/", Some(Reach::Never)),
            ("http://[::ffff:169.254.169.254]/", Some(Reach::Never)),
            ("http://0/", Some(Reach::Never)),
            ("http://LOCALHOST./", Some(Reach::Loopback)),
            ("http://a.localhost/", Some(Reach::Loopback)),
            ("http://example.com/", None),
        ] {
            assert_eq!(Reach::of_text(&text.parse().unwrap()), reach, "{text}");
        }
    }

    #[tokio::test]
    async fn a_name_is_judged_by_what_it_resolves_to() {
        let name = || "localhost".parse().expect("it is a name");
        let error = Guard(Reach::Public).resolve(name()).await.err().expect("it is refused");
        assert!(error.downcast_ref::<TooNear>().is_some_and(|near| near.0 == Reach::Loopback), "{error}");
        assert!(Guard(Reach::Loopback).resolve(name()).await.is_ok_and(|mut found| found.next().is_some()));
        assert_eq!(reach_of_host("localhost").await, Reach::Loopback);
    }
}
