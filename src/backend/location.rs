//! The places in a bucket, as people write them.

use std::fmt;
use std::str::FromStr;

use storage_layout::{ReferenceParts, RepositoryName, Selector, shortened};

/// The longest bucket name: more than any store has, in bytes.
const MAX_BUCKET: usize = 255;
/// What to write instead of a URL that names no backend.
const WRITE_A_SCHEME: &str = "write s3://bucket/name:tag, gs://…, az://… or fs://…";

/// Which backend a URL names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `s3://`
    S3,
    /// `gs://`
    Gcs,
    /// `az://`
    Azure,
    /// `fs://`
    Fs,
}

impl Scheme {
    /// All of them, in the order in which they are told.
    const ALL: [Self; 4] = [Self::S3, Self::Gcs, Self::Azure, Self::Fs];

    /// Returns the backend whose URLs begin with `text` and `://`.
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| scheme.as_str() == text)
    }

    /// Returns the scheme as it stands before `://`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gcs => "gs",
            Self::Azure => "az",
            Self::Fs => "fs",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An image in a bucket: `BUCKET/NAME[:TAG][@DIGEST]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BucketRef {
    /// The bucket, the container, or the folder that stands for one.
    pub bucket: String,
    /// The repository in it.
    pub repository: RepositoryName,
    /// The tag and the digest, as far as they were written.
    pub selector: Selector,
}

/// A text names no place in a bucket. The message quotes the text, cut, and says which part of it is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" {problem}")]
pub struct InvalidLocation {
    text: String,
    problem: String,
}

impl InvalidLocation {
    fn new(text: &str, problem: impl Into<String>) -> Self {
        Self { text: shortened(text), problem: problem.into() }
    }
}

impl FromStr for BucketRef {
    type Err = InvalidLocation;

    fn from_str(text: &str) -> Result<Self, InvalidLocation> {
        let invalid = |problem: String| InvalidLocation::new(text, problem);
        let Some(ReferenceParts { place: bucket, name, tag, digest }) = ReferenceParts::of(text) else {
            return Err(invalid("names no bucket: write bucket/name:tag".to_owned()));
        };
        if bucket.contains(':') {
            return Err(invalid(format!(
                "has \"{}\" in the place of the bucket, which cannot hold a colon: write bucket/name:tag",
                shortened(bucket)
            )));
        }
        check_bucket(bucket).map_err(|error| invalid(format!("names no bucket that can exist: {}", error.problem)))?;
        let repository = name.parse().map_err(|_| invalid(name_problem(name)))?;
        let tag = tag.map(str::parse).transpose().map_err(|_| invalid(tag_problem(tag.unwrap_or_default())))?;
        let digest = digest.map(str::parse).transpose().map_err(|_| {
            invalid(
                "has no digest after the @: write bucket/name@sha256: and 64 lowercase hexadecimal digits".to_owned(),
            )
        })?;
        Ok(Self { bucket: bucket.to_owned(), repository, selector: Selector { tag, digest } })
    }
}

fn name_problem(name: &str) -> String {
    if name.is_empty() {
        return "names no image in the bucket: write bucket/name:tag".to_owned();
    }
    let lower = name.to_lowercase();
    if lower != name && lower.parse::<RepositoryName>().is_ok() {
        return format!("has upper-case letters in the name: write \"{}\"", shortened(&lower));
    }
    format!(
        "has \"{}\" in the place of the name, which is made of lower-case letters and digits, separated by . _ - and single \
         slashes: write bucket/name:tag",
        shortened(name)
    )
}

fn tag_problem(tag: &str) -> String {
    if tag.is_empty() {
        return "has an empty tag: write bucket/name:tag, or leave out the colon for latest".to_owned();
    }
    format!(
        "has \"{}\" in the place of the tag, which is made of at most 128 letters, digits and _ . - : write bucket/name:tag",
        shortened(tag)
    )
}

impl fmt::Display for BucketRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.bucket, self.repository, self.selector)
    }
}

/// Checks a bucket's name for what no store can have. Each store has its own rules on top, and tells them itself.
///
/// # Errors
/// If the name is empty, too long, `.` or `..`, or holds a slash, a control character or blanks around it.
pub fn check_bucket(bucket: &str) -> Result<(), InvalidLocation> {
    let problem = if bucket.is_empty() {
        "the bucket's name is empty"
    } else if bucket.len() > MAX_BUCKET {
        "the bucket's name is too long"
    } else if bucket == "." || bucket.contains("..") {
        "the bucket's name is a way through folders"
    } else if bucket.contains(['/', '\\']) {
        "a bucket's name has no slash"
    } else if bucket.contains(char::is_control) || bucket.trim() != bucket {
        "the bucket's name has blanks around it or control characters in it"
    } else {
        return Ok(());
    };
    Err(InvalidLocation::new(bucket, problem))
}

/// Tells whether the text starts with the scheme of a backend.
pub fn is_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| Scheme::named(scheme).is_some())
}

/// Reads `SCHEME://BUCKET/NAME[:TAG][@DIGEST]`.
///
/// # Errors
/// If the scheme is not one of a backend or the rest is no [`BucketRef`].
pub fn parse_url(text: &str) -> Result<(Scheme, BucketRef), InvalidLocation> {
    let Some((scheme, place)) = text.split_once("://") else {
        return Err(InvalidLocation::new(text, format!("has no scheme: {WRITE_A_SCHEME}")));
    };
    let Some(scheme) = Scheme::named(scheme) else {
        return Err(InvalidLocation::new(text, format!("has an unknown scheme: {WRITE_A_SCHEME}")));
    };
    // The whole text is quoted, not only what follows the scheme.
    let reference = place.parse().map_err(|error: InvalidLocation| InvalidLocation::new(text, error.problem))?;
    Ok((scheme, reference))
}

#[cfg(test)]
mod tests {
    use storage_layout::{Digest, Tag};

    use super::*;

    const DIGEST: &str = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    #[test]
    fn good_locations_are_taken_apart() {
        let cases = [
            ("images/app", "images", "app", None, None),
            ("images/app:v1", "images", "app", Some("v1"), None),
            ("images/team/app:V1.0_x", "images", "team/app", Some("V1.0_x"), None),
            (&format!("images/app@{DIGEST}"), "images", "app", None, Some(DIGEST)),
            (&format!("images/app:v1@{DIGEST}"), "images", "app", Some("v1"), Some(DIGEST)),
            ("my.bucket-1/a", "my.bucket-1", "a", None, None),
            ("Legacy_Bucket/a", "Legacy_Bucket", "a", None, None),
            ("My Images/a", "My Images", "a", None, None),
        ];
        for (text, bucket, name, tag, digest) in cases {
            let reference: BucketRef = text.parse().unwrap();
            assert_eq!(reference.bucket, bucket, "{text}");
            assert_eq!(reference.repository.as_str(), name, "{text}");
            assert_eq!(reference.selector.tag.as_ref().map(Tag::as_str), tag, "{text}");
            assert_eq!(reference.selector.digest.as_ref().map(Digest::as_str), digest, "{text}");
            assert_eq!(reference.to_string(), text);
        }
    }

    #[test]
    fn an_error_says_which_part_is_wrong() {
        let cases = [
            ("", "names no bucket"),
            ("app:v1", "names no bucket: write bucket/name:tag"),
            ("app", "names no bucket"),
            ("/app:v1", "bucket's name is empty"),
            ("bucket/", "names no image"),
            ("bucket/:v1", "names no image"),
            ("bucket/App:v1", "upper-case letters in the name: write \"app\""),
            ("bucket/app:", "empty tag"),
            ("bucket/app:.v1", "in the place of the tag"),
            ("bucket/app:v1:v2", "in the place of the tag"),
            ("bucket//app", "in the place of the name"),
            ("bucket/a//b", "in the place of the name"),
            ("bucket/../app", "in the place of the name"),
            ("bucket/my app", "in the place of the name"),
            ("bucket/app:v 1", "in the place of the tag"),
            (" bucket/app", "blanks around it"),
            ("bucket/app@", "no digest after the @"),
            ("bucket/app@sha256:12", "no digest after the @"),
            ("bucket/app@md5:12", "no digest after the @"),
            ("../app", "way through folders"),
            ("./app", "way through folders"),
            ("a..b/app", "way through folders"),
            ("a\\b/app", "no slash"),
            ("buc\u{7}ket/app", "control characters"),
            ("localhost:5000/app", "cannot hold a colon"),
        ];
        for (text, expected) in cases {
            let message = text.parse::<BucketRef>().unwrap_err().to_string();
            assert!(message.contains(expected), "{text:?}: {message}");
            assert!(!message.contains(char::is_control), "{text:?}: {message}");
        }
    }

    #[test]
    fn junk_is_cut_in_the_message() {
        let long = "x".repeat(10_000);
        for junk in [
            long.clone(),
            format!("{long}/app"),
            format!("b/{long}"),
            format!("b/{}", "X".repeat(200)),
            format!("b/a:{long}"),
            format!("b/a@{long}"),
        ] {
            let message = junk.parse::<BucketRef>().unwrap_err().to_string();
            assert!(message.len() < 500, "{message}");
        }
    }

    #[test]
    fn urls_name_the_backend() {
        let (scheme, reference) = parse_url("s3://images/app:v1").unwrap();
        assert_eq!((scheme, reference.to_string().as_str()), (Scheme::S3, "images/app:v1"));
        for scheme in ["s3", "gs", "az", "fs"] {
            assert_eq!(parse_url(&format!("{scheme}://images/app")).unwrap().0.to_string(), scheme);
        }
        for (text, expected) in [
            ("ftp://images/app", "unknown scheme"),
            ("images/app", "no scheme"),
            ("s3://app:v1", "\"s3://app:v1\" names no bucket"),
            ("fs:///tmp/app", "bucket's name is empty"),
        ] {
            let message = parse_url(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
        assert!(is_url("gs://x") && is_url("s3://x") && !is_url("docker://x") && !is_url("app:v1"));
    }
}
