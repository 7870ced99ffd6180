//! The text that names an archive.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::image_name::ImageName;

/// A file or folder that holds images, and which image of it is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArchivePlace {
    /// `docker-archive:FILE[:REF]`, a tar as `docker save` writes it.
    DockerArchive {
        /// The tar.
        file: PathBuf,
        /// The image's name, such as `app:v1`.
        reference: Option<String>,
    },
    /// `oci-archive:FILE[:TAG]`, an OCI image layout as a tar.
    OciArchive {
        /// The tar.
        file: PathBuf,
        /// What the layout's index calls the image.
        tag: Option<String>,
    },
    /// `oci:DIR[:TAG]`, an OCI image layout.
    OciDirectory {
        /// The folder.
        dir: PathBuf,
        /// What the layout's index calls the image.
        tag: Option<String>,
    },
}

const DOCKER_ARCHIVE: &str = "docker-archive";
const OCI_ARCHIVE: &str = "oci-archive";
const OCI_DIRECTORY: &str = "oci";

/// The longest name of an image that is taken. Docker's own names end at 255, tags at 128.
const MAX_NAME: usize = 400;

impl ArchivePlace {
    /// Tells whether `text` is meant to be an archive: whether it begins as one does.
    pub fn is_meant_by(text: &str) -> bool {
        text.split_once(':').is_some_and(|(kind, _)| matches!(kind, DOCKER_ARCHIVE | OCI_ARCHIVE | OCI_DIRECTORY))
    }
}

/// The path ends at its first colon, as with skopeo: a name may hold colons, a path cannot.
fn split_name(rest: &str) -> (&str, Option<&str>) {
    let bytes = rest.as_bytes();
    let has_drive = cfg!(windows) && bytes.len() > 1 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':';
    let start = if has_drive { 2 } else { 0 };
    match rest[start..].find(':') {
        Some(at) => (&rest[..start + at], Some(&rest[start + at + 1..])),
        None => (rest, None),
    }
}

/// The characters of <https://github.com/opencontainers/image-spec/blob/main/annotations.md>.
fn is_layout_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:@+/".contains(&byte);
    !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(is_allowed)
}

impl FromStr for ArchivePlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "an archive is docker-archive:FILE[:REF], oci-archive:FILE[:TAG] or oci:DIR[:TAG]";
        let (kind, rest) = text.split_once(':').ok_or_else(|| expected.to_owned())?;
        let (path, name) = split_name(rest);
        if path.is_empty() {
            return Err(format!("{text:?} names no file; {expected}"));
        }
        let path = PathBuf::from(path);
        if kind == DOCKER_ARCHIVE {
            if let Some(name) = name {
                ImageName::parse(name)?;
            }
            return Ok(Self::DockerArchive { file: path, reference: name.map(ToOwned::to_owned) });
        }
        if let Some(name) = name.filter(|name| !is_layout_name(name)) {
            return Err(format!(
                "{name:?} is no name of an image in an OCI layout (letters, digits and - . _ : @ + /)"
            ));
        }
        let tag = name.map(ToOwned::to_owned);
        match kind {
            OCI_ARCHIVE => Ok(Self::OciArchive { file: path, tag }),
            OCI_DIRECTORY => Ok(Self::OciDirectory { dir: path, tag }),
            _ => Err(expected.to_owned()),
        }
    }
}

impl fmt::Display for ArchivePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, path, name) = match self {
            Self::DockerArchive { file, reference } => (DOCKER_ARCHIVE, file, reference),
            Self::OciArchive { file, tag } => (OCI_ARCHIVE, file, tag),
            Self::OciDirectory { dir, tag } => (OCI_DIRECTORY, dir, tag),
        };
        write!(f, "{kind}:{}", path.display())?;
        name.as_ref().map_or(Ok(()), |name| write!(f, ":{name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn docker(file: &str, reference: Option<&str>) -> ArchivePlace {
        ArchivePlace::DockerArchive { file: file.into(), reference: reference.map(ToOwned::to_owned) }
    }

    #[test]
    fn the_path_ends_at_the_first_colon() {
        let oci =
            |dir: &str, tag: Option<&str>| ArchivePlace::OciDirectory { dir: dir.into(), tag: tag.map(Into::into) };
        let tar =
            |file: &str, tag: Option<&str>| ArchivePlace::OciArchive { file: file.into(), tag: tag.map(Into::into) };
        for (text, place) in [
            ("docker-archive:a.tar", docker("a.tar", None)),
            ("docker-archive:/tmp/a.tar:app:v1", docker("/tmp/a.tar", Some("app:v1"))),
            ("docker-archive:a.tar:127.0.0.1:5000/app:v1", docker("a.tar", Some("127.0.0.1:5000/app:v1"))),
            ("oci-archive:/tmp/a b.tar", tar("/tmp/a b.tar", None)),
            ("oci-archive:a.tar:v1", tar("a.tar", Some("v1"))),
            ("oci:dir", oci("dir", None)),
            ("oci:../dir/:docker.io/library/app:v1", oci("../dir/", Some("docker.io/library/app:v1"))),
        ] {
            assert_eq!(text.parse::<ArchivePlace>().unwrap(), place);
            assert_eq!(place.to_string(), text);
            assert!(ArchivePlace::is_meant_by(text));
        }
    }

    #[test]
    fn refuses_what_names_no_archive() {
        for text in [
            "",
            "a.tar",
            "oci",
            "oci:",
            "oci::v1",
            "docker-archive:",
            "docker-archive:a.tar:",
            "docker-archive:a.tar:App",
            "docker-archive:a.tar:app:",
            "docker-archive:a.tar:app@sha256:00",
            "oci:dir:",
            "oci:dir:a b",
            "s3:bucket",
            "oci-dir:x",
        ] {
            assert!(text.parse::<ArchivePlace>().is_err(), "{text:?} was accepted");
        }
        assert!(!ArchivePlace::is_meant_by("s3://bucket/app"));
    }
}
