//! Image names as Docker reads them.

use std::fmt;

use storage_layout::{RepositoryName, Tag};

/// A name with its registry and its tag: `app` is `docker.io/library/app:latest`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ImageName {
    registry: String,
    repository: RepositoryName,
    tag: Tag,
}

const DOCKER_HUB: &str = "docker.io";

impl ImageName {
    /// Reads a name, short or long, with a tag or without. The message of the error is for people.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.contains('@') {
            return Err(format!("{text:?} holds a digest; an image in an archive is named by NAME[:TAG]"));
        }
        // A colon before the last slash is a port's.
        let last = text.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match text[last..].find(':') {
            Some(at) => (&text[..last + at], &text[last + at + 1..]),
            None => (text, "latest"),
        };
        let (registry, repository) = split_registry(name);
        if !is_registry(&registry) {
            return Err(format!("{registry:?} is no registry (a host name, with a port or without)"));
        }
        Ok(Self {
            registry,
            repository: repository.parse().map_err(|error: storage_layout::Error| error.to_string())?,
            tag: tag.parse().map_err(|error: storage_layout::Error| error.to_string())?,
        })
    }

    /// Returns the tag.
    pub(super) fn tag(&self) -> &Tag {
        &self.tag
    }

    /// Returns the name as `docker images` shows it: without what Docker would add by itself.
    pub(super) fn familiar(&self) -> String {
        let repository = self.repository.as_str();
        if self.registry != DOCKER_HUB {
            return self.to_string();
        }
        let short = repository.strip_prefix("library/").filter(|rest| !rest.contains('/')).unwrap_or(repository);
        format!("{short}:{}", self.tag)
    }
}

/// As Docker tells a registry from the first part of a name: by a dot, a port, or `localhost`.
fn split_registry(name: &str) -> (String, String) {
    let hub = |repository: &str| {
        let library = if repository.contains('/') { "" } else { "library/" };
        (DOCKER_HUB.to_owned(), format!("{library}{repository}"))
    };
    match name.split_once('/') {
        Some((DOCKER_HUB | "index.docker.io", rest)) => hub(rest),
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
            (first.to_owned(), rest.to_owned())
        }
        _ => hub(name),
    }
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        // The colons of an IPv6 address are within brackets.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_label = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(|label| !label.is_empty() && label.bytes().all(is_label)),
    };
    is_host && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.registry, self.repository, self.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_as_docker_does() {
        for (text, full, familiar) in [
            ("app", "docker.io/library/app:latest", "app:latest"),
            ("app:v1", "docker.io/library/app:v1", "app:v1"),
            ("docker.io/library/app:v1", "docker.io/library/app:v1", "app:v1"),
            ("index.docker.io/app:v1", "docker.io/library/app:v1", "app:v1"),
            ("team/app", "docker.io/team/app:latest", "team/app:latest"),
            ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
            ("127.0.0.1:5000/app", "127.0.0.1:5000/app:latest", "127.0.0.1:5000/app:latest"),
            ("[::1]:5000/app:v1", "[::1]:5000/app:v1", "[::1]:5000/app:v1"),
            ("ghcr.io/a/b/c:1.0", "ghcr.io/a/b/c:1.0", "ghcr.io/a/b/c:1.0"),
        ] {
            let name = ImageName::parse(text).unwrap();
            assert_eq!(name.to_string(), full);
            assert_eq!(name.familiar(), familiar);
            assert_eq!(ImageName::parse(full).unwrap(), name);
            assert_eq!(ImageName::parse(familiar).unwrap(), name);
        }
    }

    #[test]
    fn refuses_what_docker_would_refuse() {
        for text in [
            "",
            ":v1",
            "App",
            "app:",
            "app:a/b",
            "a b",
            "app@sha256:00",
            "../app",
            "docker.io/",
            "a..b/app",
            "host:/app",
            "\n.x/app",
        ] {
            assert!(ImageName::parse(text).is_err(), "{text:?} was accepted");
        }
    }
}
