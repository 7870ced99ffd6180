//! Names of repositories and tags, in the grammar of the distribution specification:
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests>.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, shortened};
use crate::error::Error;

/// The longest repository name, in bytes: Docker's own limit.
const MAX_NAME: usize = 255;
/// The longest tag, in bytes.
const MAX_TAG: usize = 128;

macro_rules! checked_text {
    ($type:ident, $invalid:ident) => {
        impl $type {
            /// Returns the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $type {
            type Error = Error;

            fn try_from(text: String) -> Result<Self, Error> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.0.into()
            }
        }

        impl FromStr for $type {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                if Self::is_valid(text) { Ok(Self(text.into())) } else { Err(Error::$invalid(shortened(text))) }
            }
        }
    };
}

/// A repository's name: lowercase path components separated by slashes.
///
/// It holds no `..`, no empty component and nothing outside ASCII, so it is safe as part of a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryName(Box<str>);

checked_text!(RepositoryName, NameInvalid);

impl RepositoryName {
    fn is_valid(text: &str) -> bool {
        text.len() <= MAX_NAME && text.split('/').all(is_name_component)
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_name_component(component: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    alphanumeric(first)
        && alphanumeric(last)
        && bytes.split(alphanumeric).all(|separator| {
            matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|&byte| byte == b'-')
        })
}

/// A tag: a name that a repository gives to one of its manifests.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tag(Box<str>);

checked_text!(Tag, TagInvalid);

impl Tag {
    /// Returns the tag that is meant where none is written.
    pub fn latest() -> Self {
        Self("latest".into())
    }

    /// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`, ASCII only.
    fn is_valid(text: &str) -> bool {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        text.len() <= MAX_TAG
            && text.bytes().next().is_some_and(word)
            && text.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-')
    }
}

/// What a manifest is asked for by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// A name that may move.
    Tag(Tag),
    /// The content itself.
    Digest(Digest),
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        // A tag cannot hold a colon and a digest always does.
        if text.contains(':') { text.parse().map(Self::Digest) } else { text.parse().map(Self::Tag) }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl From<Tag> for Reference {
    fn from(tag: Tag) -> Self {
        Self::Tag(tag)
    }
}

impl From<Digest> for Reference {
    fn from(digest: Digest) -> Self {
        Self::Digest(digest)
    }
}

/// Which manifest of a repository is meant, as people write it behind the name: `[:TAG][@DIGEST]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selector {
    /// The tag, if one was written.
    pub tag: Option<Tag>,
    /// The digest, if one was written.
    pub digest: Option<Digest>,
}

impl Selector {
    /// Returns what to ask the repository for: the digest if there is one, else the tag, else `latest`.
    pub fn reference(&self) -> Reference {
        match &self.digest {
            Some(digest) => Reference::Digest(digest.clone()),
            None => Reference::Tag(self.tag_or_latest()),
        }
    }

    /// Returns the tag, or `latest` if none was written.
    pub fn tag_or_latest(&self) -> Tag {
        self.tag.clone().unwrap_or_else(Tag::latest)
    }

    /// Returns the tag that is meant: a digest alone means none.
    pub fn tag_meant(&self) -> Option<Tag> {
        (self.tag.is_some() || self.digest.is_none()).then(|| self.tag_or_latest())
    }

    /// Returns what selects by the tag that is meant.
    #[must_use]
    pub fn by_tag(&self) -> Self {
        Self { tag: self.tag_meant(), digest: None }
    }
}

impl From<Reference> for Selector {
    fn from(reference: Reference) -> Self {
        match reference {
            Reference::Tag(tag) => Self { tag: Some(tag), digest: None },
            Reference::Digest(digest) => Self { tag: None, digest: Some(digest) },
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tag.as_ref().map_or(Ok(()), |tag| write!(f, ":{tag}"))?;
        self.digest.as_ref().map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

/// `PLACE/NAME[:TAG][@DIGEST]`, taken apart and not checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReferenceParts<'a> {
    /// What stands before the first slash: a bucket or a registry.
    pub place: &'a str,
    /// The repository's name.
    pub name: &'a str,
    /// The tag, if there is a colon.
    pub tag: Option<&'a str>,
    /// The digest, if there is an `@`.
    pub digest: Option<&'a str>,
}

impl<'a> ReferenceParts<'a> {
    /// Takes a text apart. Returns `None` if no slash separates place and name.
    pub fn of(text: &'a str) -> Option<Self> {
        let cut = |text: &'a str, at: char| text.split_once(at).map_or((text, None), |(head, tail)| (head, Some(tail)));
        let (path, digest) = cut(text, '@');
        let (place, image) = path.split_once('/')?;
        let (name, tag) = cut(image, ':');
        Some(Self { place, name, tag, digest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_grammar() {
        let long = "a".repeat(255);
        for good in ["a", "0", "app", "team/app", "a.b", "a_b", "a__b", "a-b", "a---b", "x/y/z/0-1", &long] {
            assert!(good.parse::<RepositoryName>().is_ok(), "{good:?} was refused");
        }
        let too_long = "a".repeat(256);
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "A",
            "a/B",
            ".",
            "..",
            "a/..",
            "../a",
            "a..b",
            "a.-b",
            "a___b",
            "_a",
            "a_",
            "-a",
            "a-",
            "a b",
            "a%2fb",
            "é",
            "a\0",
            "a\n",
            "_uploads",
            "a/_layers",
            "a:b",
            "a@b",
            &too_long,
        ] {
            assert!(bad.parse::<RepositoryName>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn tags_follow_the_grammar() {
        let long = "t".repeat(128);
        for good in ["latest", "v1", "_", "1.0-rc_1", "A.", &long] {
            assert!(good.parse::<Tag>().is_ok(), "{good:?} was refused");
        }
        let too_long = "t".repeat(129);
        for bad in ["", ".a", "-a", "a/b", "a:b", "a b", "vé", "..", "a\n", &too_long] {
            assert!(bad.parse::<Tag>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn what_is_meant_follows_from_what_is_written() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (tag, named, asked, meant) in [
            (None, false, "latest", Some("latest")),
            (Some("v1"), false, "v1", Some("v1")),
            (None, true, digest.as_str(), None),
            (Some("v1"), true, digest.as_str(), Some("v1")),
        ] {
            let tag: Option<Tag> = tag.map(|tag| tag.parse().unwrap());
            let selector = Selector { tag, digest: named.then(|| digest.parse().unwrap()) };
            assert_eq!(selector.reference().to_string(), asked);
            assert_eq!(selector.tag_meant().as_ref().map(Tag::as_str), meant);
            let written = format!("app{selector}");
            let parts = format!("place/{written}");
            let parts = ReferenceParts::of(&parts).unwrap();
            assert_eq!((parts.place, parts.name), ("place", "app"));
            assert_eq!(parts.tag, selector.tag.as_ref().map(Tag::as_str));
            assert_eq!(parts.digest, selector.digest.as_ref().map(Digest::as_str));
        }
        assert_eq!(ReferenceParts::of("app:v1@sha256:a/b"), None);
    }

    #[test]
    fn a_colon_makes_a_digest() {
        assert!(matches!("v1".parse(), Ok(Reference::Tag(_))));
        assert!("sha256:12".parse::<Reference>().is_err());
    }
}
