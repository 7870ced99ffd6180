//! Files of an image layout in a folder, none of them reached through a symbolic link.
//!
//! Who can write into the folder could otherwise make us read, or write, any file that we may.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::content::Content;
use super::problem::file_error;
use crate::transfer::Error;

/// Returns the folder or file `name`, whose parts are separated by `/`, if it is there.
pub(super) fn plain_path(label: &str, dir: &Path, name: &str) -> Result<Option<(PathBuf, fs::Metadata)>, Error> {
    let mut path = dir.to_owned();
    let mut parts = name.split('/').peekable();
    while let Some(part) = parts.next() {
        path.push(part);
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(file_error("looking at", &path, error)),
        };
        let is_last = parts.peek().is_none();
        if metadata.is_symlink() || !(metadata.is_dir() || is_last && metadata.is_file()) {
            let path = path.display();
            return Err(Error::Invalid(format!(
                "{label} is no image layout to trust: {path} is no plain file or folder"
            )));
        }
        if is_last {
            return Ok(Some((path, metadata)));
        }
    }
    Ok(None)
}

/// Opens the file `name`, if it is there.
pub(super) fn open(label: &str, dir: &Path, name: &str) -> Result<Option<Content>, Error> {
    let Some((path, metadata)) = plain_path(label, dir, name)? else {
        return Ok(None);
    };
    if !metadata.is_file() {
        return Err(Error::Invalid(format!("{label} is no image layout: {} is a folder", path.display())));
    }
    let opening = |error| file_error("opening", &path, error);
    let file = File::open(&path).map_err(opening)?;
    if !is_same(&file.metadata().map_err(opening)?, &metadata) {
        return Err(Error::Invalid(format!("{label} changes while it is read: {} was replaced", path.display())));
    }
    Content::of_file(file).map(Some).map_err(opening)
}

/// Between the look and the opening a link may have taken the file's place.
#[cfg(unix)]
fn is_same(opened: &fs::Metadata, seen: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (opened.dev(), opened.ino()) == (seen.dev(), seen.ino())
}

#[cfg(not(unix))]
fn is_same(opened: &fs::Metadata, seen: &fs::Metadata) -> bool {
    opened.len() == seen.len()
}

/// Makes what is written to `dir` outlive a loss of power.
#[cfg(unix)]
pub(super) fn sync_folder(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Folders cannot be opened here.
#[cfg(not(unix))]
pub(super) fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Makes a file beside `destination` that is removed unless it gets that name. Its mode is that of a file made by any other
/// program, not the private one of temporary files.
pub(crate) fn temporary_in(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix(".oci-store-").suffix(".partial");
    #[cfg(unix)]
    let builder = builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}
