//! A place beside the files that are to come, from which they are moved when all of them are there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use super::dir::Dir;
use crate::archive::file_error;
use crate::transfer::Error;

/// A folder of ours in the output folder. Dropped, it is gone with all that is in it.
#[derive(Debug)]
pub(super) struct Staging {
    path: PathBuf,
    output: Dir,
    /// Whether there was no output folder before.
    is_output_ours: bool,
    name: String,
    /// What was downloaded.
    pub(super) blobs: Dir,
    /// What will be in the output folder.
    pub(super) tree: Dir,
}

impl Staging {
    /// Makes one in the folder `output`, which is made if need be.
    pub(super) fn create(output: &Path) -> Result<Self, Error> {
        let making = |error| file_error("making the folder", output, error);
        let is_output_ours = !output.exists();
        fs::create_dir_all(output).map_err(making)?;
        let path = output.to_owned();
        let output = Dir::open(&path).map_err(|error| file_error("opening the folder", &path, error))?;
        let name = format!(".oci-store-{}.partial", uuid::Uuid::new_v4().simple());
        let open = || -> io::Result<(Dir, Dir)> {
            output.make_folder(&name, 0o700)?;
            let ours = output.folder(&name)?;
            ours.make_folder("blobs", 0o700)?;
            // What is in the output folder itself is nobody's business but its owner's: this folder's mode is never seen.
            ours.make_folder("tree", 0o700)?;
            Ok((ours.folder("blobs")?, ours.folder("tree")?))
        };
        let (blobs, tree) = open().map_err(|error| file_error("making a folder in", &path, error))?;
        Ok(Self { path, output, is_output_ours, name, blobs, tree })
    }

    /// Moves the tree to the output folder. Folders that are there take in what is new; files there are replaced, unless they
    /// are to be kept: then, and where a folder is in the way of a file, nothing is moved.
    pub(super) fn commit(mut self, keep_old_files: bool) -> Result<(), Error> {
        let moving = Moving { keep_old_files, is_rehearsal: true };
        moving.merge(&self.tree, &self.output, &self.path)?;
        self.is_output_ours = false;
        Moving { is_rehearsal: false, ..moving }.merge(&self.tree, &self.output, &self.path)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Err(error) = self.output.remove(&self.name) {
            tracing::warn!(%error, "{}/{} could not be removed", self.path.display(), self.name);
        }
        if self.is_output_ours
            && let Err(error) = fs::remove_dir(&self.path)
        {
            tracing::debug!(%error, "{} could not be removed", self.path.display());
        }
    }
}

struct Moving {
    keep_old_files: bool,
    /// Whether it is only looked at whether all can be moved.
    is_rehearsal: bool,
}

impl Moving {
    fn merge(&self, from: &Dir, to: &Dir, path: &Path) -> Result<(), Error> {
        let failed = |attempted, path: &Path| {
            let path = path.to_owned();
            move |error| file_error(attempted, &path, error)
        };
        for name in from.names().map_err(failed("reading the folder", path))? {
            let path = path.join(&name);
            let ours = from.kind(&name).map_err(failed("looking at", &path))?;
            let theirs = to.kind(&name).map_err(failed("looking at", &path))?;
            match (ours, theirs) {
                (Some(FileType::Directory), Some(FileType::Directory)) => {
                    let opening = || Ok((from.folder(&name)?, to.folder(&name)?));
                    let (from, to) = opening().map_err(failed("opening the folder", &path))?;
                    self.merge(&from, &to, &path)?;
                }
                // A link is in the way as well: what is behind it is not the output folder's.
                (Some(FileType::Directory), Some(_)) | (Some(_), Some(FileType::Directory)) => {
                    return Err(file_error("replacing", &path, io::ErrorKind::AlreadyExists.into()));
                }
                (_, Some(_)) if self.keep_old_files => {
                    return Err(file_error("keeping the old file", &path, io::ErrorKind::AlreadyExists.into()));
                }
                _ if self.is_rehearsal => {}
                _ => {
                    from.rename(&name, to, &name, !self.keep_old_files).map_err(failed("writing", &path))?;
                }
            }
        }
        Ok(())
    }
}
