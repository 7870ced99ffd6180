//! Every object key of the layout, as one type.

use object_store::path::Path;

use crate::digest::Digest;
use crate::name::{RepositoryName, Tag};

/// The prefix of every key, below the user's own root directory.
pub const ROOT: &str = "docker/registry/v2";

/// An object of the layout. `Key::parse(&key.path()) == Some(key)`; a key that does not parse is somebody else's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// The bytes of a blob or manifest.
    BlobData(Digest),
    /// Says that a repository has a blob.
    LayerLink(RepositoryName, Digest),
    /// Says that a repository has a manifest.
    RevisionLink(RepositoryName, Digest),
    /// What a tag names now.
    TagCurrent(RepositoryName, Tag),
    /// One of all the manifests that a tag ever named.
    TagIndex(RepositoryName, Tag, Digest),
    /// Says that one manifest of a repository has another as its subject.
    ReferrerLink {
        /// The repository of both.
        repository: RepositoryName,
        /// What is referred to.
        subject: Digest,
        /// What refers.
        referrer: Digest,
    },
}

impl Key {
    /// Returns the object's path below the root directory.
    pub fn path(&self) -> Path {
        let path = match self {
            Self::BlobData(digest) => {
                format!("{ROOT}/blobs/{}/{}/{}/data", digest.algorithm(), &digest.hex()[..2], digest.hex())
            }
            Self::LayerLink(name, digest) => format!("{}/_layers/{}/link", repository(name), pair(digest)),
            Self::RevisionLink(name, digest) => format!("{}/{}/link", revisions(name), pair(digest)),
            Self::TagCurrent(name, tag) => format!("{}/{tag}/current/link", tags(name)),
            Self::TagIndex(name, tag, digest) => format!("{}/{tag}/index/{}/link", tags(name), pair(digest)),
            Self::ReferrerLink { repository, subject, referrer } => {
                format!("{}/{}/link", referrers(repository, subject), pair(referrer))
            }
        };
        // The parts were checked when they were made: nothing is escaped, so that the key is what Docker's registry writes.
        Path::parse(path).expect("checked parts make a valid path")
    }

    /// Returns the key that `path` is, or `None` if the layout has no such key.
    pub fn parse(path: &Path) -> Option<Self> {
        let rest = path.as_ref().strip_prefix(ROOT)?.strip_prefix('/')?;
        let parts: Vec<&str> = rest.split('/').collect();
        let key = match parts.as_slice() {
            ["blobs", algorithm, _, hex, "data"] => Self::BlobData(Digest::from_parts(algorithm, hex).ok()?),
            ["repositories", rest @ ..] => Self::parse_in_repository(rest)?,
            _ => return None,
        };
        // Guards what the patterns above do not look at, such as the two characters before a blob's hex.
        (key.path() == *path).then_some(key)
    }

    fn parse_in_repository(parts: &[&str]) -> Option<Self> {
        // No component of a name begins with an underscore, so the first one that does ends the name.
        let end = parts.iter().position(|part| part.starts_with('_'))?;
        let name: RepositoryName = parts[..end].join("/").parse().ok()?;
        let key = match &parts[end..] {
            ["_layers", algorithm, hex, "link"] => Self::LayerLink(name, Digest::from_parts(algorithm, hex).ok()?),
            ["_manifests", "revisions", algorithm, hex, "link"] => {
                Self::RevisionLink(name, Digest::from_parts(algorithm, hex).ok()?)
            }
            ["_manifests", "tags", tag, "current", "link"] => Self::TagCurrent(name, tag.parse().ok()?),
            ["_manifests", "tags", tag, "index", algorithm, hex, "link"] => {
                Self::TagIndex(name, tag.parse().ok()?, Digest::from_parts(algorithm, hex).ok()?)
            }
            ["_referrers", "subjects", salg, shex, ralg, rhex, "link"] => Self::ReferrerLink {
                repository: name,
                subject: Digest::from_parts(salg, shex).ok()?,
                referrer: Digest::from_parts(ralg, rhex).ok()?,
            },
            _ => return None,
        };
        Some(key)
    }
}

fn pair(digest: &Digest) -> String {
    format!("{}/{}", digest.algorithm(), digest.hex())
}

fn repository(name: &RepositoryName) -> String {
    format!("{ROOT}/repositories/{name}")
}

fn revisions(name: &RepositoryName) -> String {
    format!("{}/_manifests/revisions", repository(name))
}

fn tags(name: &RepositoryName) -> String {
    format!("{}/_manifests/tags", repository(name))
}

fn referrers(name: &RepositoryName, subject: &Digest) -> String {
    format!("{}/_referrers/subjects/{}", repository(name), pair(subject))
}

/// Prefixes that are listed.
pub(crate) mod prefix {
    use super::{Digest, Path, ROOT, RepositoryName, Tag};

    fn parsed(path: String) -> Path {
        Path::parse(path).expect("checked parts make a valid path")
    }

    /// All repositories.
    pub(crate) fn repositories() -> Path {
        parsed(format!("{ROOT}/repositories"))
    }

    /// All repositories whose names begin with the components of `name`.
    pub(crate) fn repositories_below(name: &str) -> Path {
        parsed(format!("{ROOT}/repositories/{name}"))
    }

    /// All that is kept of one repository, and repositories below it.
    pub(crate) fn repository(name: &RepositoryName) -> Path {
        parsed(super::repository(name))
    }

    /// All manifests of a repository.
    pub(crate) fn revisions(name: &RepositoryName) -> Path {
        parsed(super::revisions(name))
    }

    /// All tags of a repository.
    pub(crate) fn tags(name: &RepositoryName) -> Path {
        parsed(super::tags(name))
    }

    /// All that is kept of one tag.
    pub(crate) fn tag(name: &RepositoryName, tag: &Tag) -> Path {
        parsed(format!("{}/{tag}", super::tags(name)))
    }

    /// All manifests that have `subject` as their subject.
    pub(crate) fn referrers(name: &RepositoryName, subject: &Digest) -> Path {
        parsed(super::referrers(name, subject))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::digest::Algorithm;

    fn digest() -> impl Strategy<Value = Digest> {
        (any::<bool>(), any::<Vec<u8>>())
            .prop_map(|(long, bytes)| if long { Algorithm::Sha512 } else { Algorithm::Sha256 }.digest(&bytes))
    }

    fn key() -> impl Strategy<Value = Key> {
        let name = || {
            "[a-z0-9]{1,5}((\\.|__?|-{1,3})[a-z0-9]{1,3}){0,2}(/[a-z0-9]{1,4}){0,3}".prop_map(|n| n.parse().unwrap())
        };
        let tag = || "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}".prop_map(|t| t.parse().unwrap());
        prop_oneof![
            digest().prop_map(Key::BlobData),
            (name(), digest()).prop_map(|(n, d)| Key::LayerLink(n, d)),
            (name(), digest()).prop_map(|(n, d)| Key::RevisionLink(n, d)),
            (name(), tag()).prop_map(|(n, t)| Key::TagCurrent(n, t)),
            (name(), tag(), digest()).prop_map(|(n, t, d)| Key::TagIndex(n, t, d)),
            (name(), digest(), digest()).prop_map(|(repository, subject, referrer)| Key::ReferrerLink {
                repository,
                subject,
                referrer
            }),
        ]
    }

    proptest! {
        #[test]
        fn every_key_survives(key in key()) {
            prop_assert_eq!(Key::parse(&key.path()), Some(key));
        }
    }

    #[test]
    fn keys_are_those_of_dockers_registry() {
        let digest = Algorithm::Sha256.digest(b"hello");
        let name: RepositoryName = "team/app".parse().unwrap();
        let hex = digest.hex();
        assert_eq!(
            Key::BlobData(digest.clone()).path().as_ref(),
            format!("docker/registry/v2/blobs/sha256/2c/{hex}/data")
        );
        assert_eq!(
            Key::LayerLink(name.clone(), digest.clone()).path().as_ref(),
            format!("docker/registry/v2/repositories/team/app/_layers/sha256/{hex}/link")
        );
        assert_eq!(
            Key::TagCurrent(name, "v1".parse().unwrap()).path().as_ref(),
            "docker/registry/v2/repositories/team/app/_manifests/tags/v1/current/link"
        );
    }

    #[test]
    fn foreign_keys_are_left_alone() {
        let hex = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        for path in [
            "a/b".to_owned(),
            format!("docker/registry/v2/blobs/sha256/aa/{hex}/data"),
            format!("docker/registry/v2/blobs/sha256/2c/{hex}/size"),
            "docker/registry/v2/repositories/app/_uploads/4c7b/data".to_owned(),
            format!("docker/registry/v2/repositories/_layers/sha256/{hex}/link"),
        ] {
            assert_eq!(Key::parse(&Path::parse(&path).unwrap()), None, "{path}");
        }
    }
}
