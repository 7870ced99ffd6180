//! Buckets that are folders of this machine.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;

use super::error::{Error, Kind};
use super::failure::{Cause, io_kind};
use super::no_symlinks::NoSymlinks;
use super::{Intent, Options};

/// Where the folders are, and how carefully they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FsConfig {
    /// The folder that holds the buckets; each bucket is a folder in it.
    pub dir: PathBuf,
    /// Whether a write counts as done only when it is on the disk, so that a power failure cannot take it back.
    pub fsync: bool,
    /// What all backends have.
    pub options: Options,
}

impl Default for FsConfig {
    fn default() -> Self {
        Self { dir: PathBuf::from("."), fsync: true, options: Options::default() }
    }
}

impl FsConfig {
    pub(super) fn connect(&self, bucket: &str, intent: Intent) -> Result<Arc<dyn ObjectStore>, Error> {
        let folder = self.folder(bucket)?;
        match fs::metadata(&folder) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Err(Error::usage(format!("\"{}\" is not a folder", folder.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => match intent {
                Intent::Read => {
                    return Err(Error::new(
                        Kind::NotFound,
                        format!("bucket folder \"{}\" not found", folder.display()),
                    )
                    .with_hint("a bucket is a folder below --dir (OCI_STORE_DIR); a push makes it"));
                }
                Intent::Write => self.create(&folder)?,
            },
            Err(error) => return Err(failed("opening bucket folder", &folder, error)),
        }
        let store = NoSymlinks::new(&folder, self.fsync).map_err(|error| {
            let message = format!("opening bucket folder \"{}\"", folder.display());
            Error::new(super::classify(&error), message).with_source(Cause::of(&error))
        })?;
        Ok(Arc::new(store))
    }

    /// Returns the bucket's folder, which is below `dir` whatever the bucket is called.
    fn folder(&self, bucket: &str) -> Result<PathBuf, Error> {
        let below = Path::new(bucket);
        let plain = below.components().all(|component| matches!(component, Component::Normal(_)));
        // `components` drops inner `.` and double slashes without a word.
        let spelled = bucket.split('/').all(|part| !matches!(part, "" | "."));
        if plain && spelled && !bucket.contains('\0') {
            return Ok(self.dir.join(below));
        }
        Err(Error::usage(format!("\"{}\" cannot be a bucket's folder", bucket.escape_debug()))
            .with_hint("name a folder below --dir (OCI_STORE_DIR), without `..` and without a leading slash"))
    }

    /// Makes the bucket's folder, but not `dir` itself: an unplugged disk must not be written next to.
    fn create(&self, folder: &Path) -> Result<(), Error> {
        match fs::metadata(&self.dir) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Err(Error::usage(format!("\"{}\" is not a folder", self.dir.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::new(Kind::NotFound, format!("folder \"{}\" not found", self.dir.display()))
                    .with_hint("create it, or pass --dir (OCI_STORE_DIR)"));
            }
            Err(error) => return Err(failed("opening folder", &self.dir, error)),
        }
        fs::create_dir_all(folder).map_err(|error| failed("creating bucket folder", folder, error))?;
        if self.fsync {
            for parent in folder.ancestors().skip(1).take_while(|parent| parent.starts_with(&self.dir)) {
                sync_folder(parent).map_err(|error| failed("syncing folder", parent, error))?;
            }
        }
        Ok(())
    }
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    // `--dir .` makes the empty path a parent.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    fs::File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

fn failed(attempted: &str, path: &Path, error: io::Error) -> Error {
    Error::new(io_kind(error.kind()), format!("{attempted} \"{}\"", path.display())).with_source(error)
}
