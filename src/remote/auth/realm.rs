//! Whether a token server that a registry names is to be asked, and to be sent a password.

use reqwest::Url;

use crate::remote::Error;
use crate::remote::address::Reach;
use crate::remote::http::{Http, host_and_port};

/// Refuses a token server that a registry has no business to name.
///
/// It is spoken to by TLS, unless the registry itself is spoken to without and the server is on the same host. Credentials go to
/// a host of the registry's own domain, or to one that the user names. That the server's address is no nearer to us than the
/// registry is seen to where it is connected to.
pub(super) async fn check(http: &Http, realm: &Url, with_credentials: bool, attempted: &str) -> Result<(), Error> {
    let registry = http.base().await;
    http.check_address(registry, realm, attempted)?;
    if realm.scheme() == "http" && !is_same_host(registry, realm) {
        return Err(http.untrusted(attempted, realm, "it is a token server without TLS".to_owned()));
    }
    let host = realm.host_str().unwrap_or_default();
    let named = || http.options().token_hosts.iter().any(|named| named == host || *named == host_and_port(realm));
    if with_credentials && !is_same_site(registry, realm) && !named() {
        return Err(Error::Stranger {
            attempted: attempted.to_owned(),
            registry: http.name().to_string(),
            server: host_and_port(realm),
        });
    }
    Ok(())
}

/// Tells whether two URLs name one host. All names and addresses of this machine are one.
fn is_same_host(one: &Url, other: &Url) -> bool {
    let is_here = |url| Reach::of_text(url) == Some(Reach::Loopback);
    one.host_str() == other.host_str() || (is_here(one) && is_here(other))
}

/// Tells whether two hosts belong to the same owner: by the domain that can be registered, which for `registry.example.co.uk` is
/// `example.co.uk`. An address has none.
fn is_same_site(one: &Url, other: &Url) -> bool {
    if is_same_host(one, other) {
        return true;
    }
    let site = |url: &Url| match Reach::of_text(url) {
        Some(_) => None,
        None => psl::domain_str(url.host_str()?).map(str::to_owned),
    };
    site(one).is_some_and(|domain| site(other) == Some(domain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_what_one_owner_can_register() {
        for (registry, realm, same) in [
            ("https://registry-1.docker.io", "https://auth.docker.io/token", true),
            ("https://ghcr.io", "https://ghcr.io/token", true),
            ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth", true),
            ("https://registry.example.co.uk", "https://auth.example.co.uk/", true),
            ("https://registry.example.co.uk", "https://evil.co.uk/", false),
            ("https://me.github.io", "https://you.github.io/", false),
            ("https://ghcr.io", "https://evil.io/token", false),
            ("https://ghcr.io", "https://ghcr.io.evil.com/token", false),
            ("http://127.0.0.1:5000", "http://localhost:5001/token", true),
            ("https://10.0.0.1", "https://10.0.0.1:8443/token", true),
            ("https://10.0.0.1", "https://10.0.0.2/token", false),
            ("https://8.8.8.8", "https://1.8.8.8/token", false),
        ] {
            assert_eq!(is_same_site(&registry.parse().unwrap(), &realm.parse().unwrap()), same, "{registry} {realm}");
        }
    }
}
