//! Images in remote registries, as people write them: `HOST[:PORT]/NAME[:TAG][@DIGEST]`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use storage_layout::{ReferenceParts, RepositoryName, Selector, shortened};

/// The scheme that says that a registry is meant, as skopeo writes it.
const SCHEME: &str = "docker://";
/// What all of Docker Hub's names are kept as.
const DOCKER_HUB: &str = "docker.io";
/// Where Docker Hub answers.
const DOCKER_HUB_ENDPOINT: &str = "registry-1.docker.io";
/// Where Docker keeps the credentials of Docker Hub.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";
/// The longest host name that the DNS has, in bytes.
const MAX_HOST: usize = 253;

/// A text names no image in a registry. The message quotes the text, cut, and says which part of it is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" {problem}")]
pub struct InvalidReference {
    text: String,
    problem: String,
}

impl InvalidReference {
    fn new(text: &str, problem: impl Into<String>) -> Self {
        Self { text: shortened(text), problem: problem.into() }
    }
}

/// A registry: `HOST[:PORT]`.
///
/// The host has a dot or a port or is `localhost`: what is not is the first part of a repository's name everywhere else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RegistryName(Box<str>);

impl RegistryName {
    /// Returns the registry as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the host and port that answer for the registry. Docker Hub's are not those of its name.
    pub(super) fn endpoint(&self) -> &str {
        if self.is_docker_hub() { DOCKER_HUB_ENDPOINT } else { &self.0 }
    }

    /// Returns what Docker keeps this registry's credentials under.
    pub(super) fn docker_key(&self) -> &str {
        if self.is_docker_hub() { DOCKER_HUB_KEY } else { &self.0 }
    }

    /// Tells whether this is a name of Docker Hub.
    pub(super) fn is_docker_hub(&self) -> bool {
        &*self.0 == DOCKER_HUB
    }

    /// Tells whether the registry runs on this machine, by its name.
    pub fn is_loopback(&self) -> bool {
        let host = split_port(&self.0).0;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// Splits a port off, if there is one.
fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        // The colons of an address in brackets are not a port's.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    }
}

impl FromStr for RegistryName {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let invalid = |problem: &str| InvalidReference::new(text, problem);
        let (host, port) = split_port(text);
        if !is_host(host) {
            return Err(invalid("names no registry: write its host, such as ghcr.io or localhost:5000"));
        }
        if port.is_some_and(|port| port.starts_with('+') || !port.parse::<u16>().is_ok_and(|port| port > 0)) {
            return Err(invalid("has no port after the colon: write HOST:PORT"));
        }
        if port.is_none() && host != "localhost" && !host.contains(['.', ':']) {
            return Err(invalid("names no registry: a host has a dot or a port, or is localhost"));
        }
        let text = text.to_ascii_lowercase();
        // All names of Docker Hub are one registry.
        let name = match text.as_str() {
            "index.docker.io" | DOCKER_HUB_ENDPOINT => DOCKER_HUB,
            other => other,
        };
        Ok(Self(name.into()))
    }
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[') {
        return address.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    let is_label = |label: &str| {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty() && label.bytes().all(word) && !label.starts_with('-') && !label.ends_with('-')
    };
    host.len() <= MAX_HOST && host.split('.').all(is_label)
}

impl fmt::Display for RegistryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An image in a remote registry: `HOST[:PORT]/NAME[:TAG][@DIGEST]`, with or without `docker://`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RemoteReference {
    /// The registry.
    pub registry: RegistryName,
    /// The repository in it.
    pub repository: RepositoryName,
    /// The tag and the digest, as far as they were written.
    pub selector: Selector,
}

impl FromStr for RemoteReference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let invalid = |problem: &str| InvalidReference::new(text, problem);
        let parts = ReferenceParts::of(text.strip_prefix(SCHEME).unwrap_or(text));
        let Some(ReferenceParts { place: host, name, tag, digest }) = parts else {
            return Err(invalid("names no registry and repository: write HOST/NAME:TAG, such as ghcr.io/org/app:v1"));
        };
        let registry: RegistryName = host
            .parse()
            .map_err(|_| invalid("begins with no registry: write HOST/NAME:TAG, such as docker.io/library/alpine:3"))?;
        // As Docker does: an official image has no organisation in its name.
        let full =
            if registry.is_docker_hub() && !name.contains('/') { format!("library/{name}") } else { name.to_owned() };
        let repository = full.parse().map_err(|_| {
            invalid(
                "has no repository name after the registry: it is made of lower-case letters and digits, separated by . _ - \
                 and single slashes",
            )
        })?;
        let tag = tag.map(str::parse).transpose().map_err(|_| {
            invalid("has no tag after the colon: a tag is made of letters, digits, _ . and -, at most 128 of them")
        })?;
        let digest = digest
            .map(str::parse)
            .transpose()
            .map_err(|_| invalid("has no digest after the @: write @sha256: and 64 lowercase hexadecimal digits"))?;
        Ok(Self { registry, repository, selector: Selector { tag, digest } })
    }
}

impl fmt::Display for RemoteReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.registry, self.repository, self.selector)
    }
}

#[cfg(test)]
mod tests {
    use storage_layout::Tag;

    use super::*;

    fn parse(text: &str) -> RemoteReference {
        text.parse().expect(text)
    }

    #[test]
    fn a_reference_has_a_host_and_maybe_a_tag_and_a_digest() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, registry, repository, tag) in [
            ("docker.io/library/alpine:3.10", "docker.io", "library/alpine", Some("3.10")),
            ("docker.io/alpine", "docker.io", "library/alpine", None),
            ("registry-1.docker.io/alpine", "docker.io", "library/alpine", None),
            ("index.docker.io/org/app:v1", "docker.io", "org/app", Some("v1")),
            ("localhost/app", "localhost", "app", None),
            ("localhost:5000/dinosaur/artifact:v1", "localhost:5000", "dinosaur/artifact", Some("v1")),
            ("registry:5000/app", "registry:5000", "app", None),
            ("GHCR.io/org/app", "ghcr.io", "org/app", None),
            ("[::1]:5000/app:v1", "[::1]:5000", "app", Some("v1")),
            ("docker://quay.io/a/b/c:v1", "quay.io", "a/b/c", Some("v1")),
            (
                "123456789012.dkr.ecr.us-east-1.amazonaws.com/ocitest:0.0.1",
                "123456789012.dkr.ecr.us-east-1.amazonaws.com",
                "ocitest",
                Some("0.0.1"),
            ),
        ] {
            let found = parse(text);
            assert_eq!((found.registry.as_str(), found.repository.as_str()), (registry, repository), "{text}");
            assert_eq!(found.selector.tag.as_ref().map(Tag::as_str), tag, "{text}");
            assert_eq!(found.selector.digest, None);
            let with_digest = parse(&format!("{text}@{digest}"));
            assert_eq!(with_digest.selector.reference().to_string(), digest);
            assert_eq!(parse(&with_digest.to_string()), with_digest);
        }
    }

    #[test]
    fn what_names_no_registry_is_refused() {
        for (text, says) in [
            ("", "names no registry"),
            ("alpine", "names no registry"),
            ("library/alpine:3", "begins with no registry"),
            ("/alpine", "begins with no registry"),
            ("ghcr.io", "names no registry"),
            ("ghcr.io/", "repository name"),
            ("ghcr.io/App", "repository name"),
            ("ghcr.io/../app", "repository name"),
            ("ghcr.io//app", "repository name"),
            ("ghcr.io/app:", "no tag"),
            ("ghcr.io/app:v1:v2", "no tag"),
            ("ghcr.io/app@sha256:12", "no digest"),
            ("ghcr.io/app@", "no digest"),
            ("ghcr.io:/app", "begins with no registry"),
            ("ghcr.io:0/app", "begins with no registry"),
            ("ghcr.io:99999/app", "begins with no registry"),
            ("ghcr.io:+80/app", "begins with no registry"),
            ("user:pass@ghcr.io/app", "names no registry"),
            ("ghcr.io#x/app", "begins with no registry"),
            ("-ghcr.io/app", "begins with no registry"),
            ("ghcr..io/app", "begins with no registry"),
            ("[::1/app", "begins with no registry"),
            ("https://ghcr.io/app", "begins with no registry"),
            ("docker://docker://ghcr.io/app", "begins with no registry"),
        ] {
            let error = text.parse::<RemoteReference>().expect_err(text).to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn loopback_is_told_by_name() {
        for (text, loopback) in [
            ("localhost", true),
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("127.9.9.9:80", true),
            ("[::1]:5000", true),
            ("10.0.0.1:5000", false),
            ("localhost.example.com", false),
        ] {
            assert_eq!(text.parse::<RegistryName>().unwrap().is_loopback(), loopback, "{text}");
        }
    }
}
