//! An open folder, and what is directly in it.
//!
//! Every name is one part, looked up in the folder that is open and never through a link. So nothing that happens to paths
//! meanwhile, and nothing that an archive says, leads anywhere else.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

/// An open folder.
#[derive(Debug)]
pub(super) struct Dir(OwnedFd);

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Dir {
    /// Opens a folder of the user's: links are followed, for they are the user's as well.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(rustix::fs::openat(CWD, path, FOLDER, Mode::empty())?))
    }

    /// Opens the folder `name`. A link is none.
    pub(super) fn folder(&self, name: &str) -> io::Result<Self> {
        Ok(Self(rustix::fs::openat(&self.0, name, FOLDER | OFlags::NOFOLLOW, Mode::empty())?))
    }

    /// Makes the folder `name`. The process's mask takes away from `mode` what it takes from all.
    pub(super) fn make_folder(&self, name: &str, mode: u32) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(&self.0, name, Mode::from_raw_mode(mode))?)
    }

    /// Makes the file `name`, which must not be there. The process's mask takes away from `mode` what it takes from all.
    pub(super) fn make_file(&self, name: &str, mode: u32) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.0, name, flags, Mode::from_raw_mode(mode))?.into())
    }

    /// Makes the symbolic link `name`.
    pub(super) fn make_link(&self, name: &str, target: &str) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(target, &self.0, name)?)
    }

    /// Gives the file `name` a second name in `folder`.
    pub(super) fn also_name(&self, name: &str, folder: &Self, other: &str) -> io::Result<()> {
        // Without a flag no link is followed.
        Ok(rustix::fs::linkat(&self.0, name, &folder.0, other, AtFlags::empty())?)
    }

    /// Opens the file `name` to be read. A link is none.
    pub(super) fn file(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.0, name, flags, Mode::empty())?.into())
    }

    /// Returns what `name` is, if it is there.
    pub(super) fn kind(&self, name: &str) -> io::Result<Option<FileType>> {
        match rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Moves `name` to `folder` as `other`. What has that name there is replaced, or if it must not be, the reason.
    pub(super) fn rename(&self, name: &str, folder: &Self, other: &str, may_replace: bool) -> io::Result<()> {
        if !may_replace {
            match rustix::fs::renameat_with(&self.0, name, &folder.0, other, RenameFlags::NOREPLACE) {
                // Not every file system can look and rename at once.
                Err(Errno::INVAL | Errno::NOSYS) if folder.kind(other)?.is_some() => return Err(Errno::EXIST.into()),
                Err(Errno::INVAL | Errno::NOSYS) => {}
                result => return Ok(result?),
            }
        }
        Ok(rustix::fs::renameat(&self.0, name, &folder.0, other)?)
    }

    /// Returns the names of what is in the folder that can be text.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.0)? {
            match entry?.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) => names.push(name.to_owned()),
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Removes `name` and, if it is a folder, all that is in it. What is gone already is no failure.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        let gone = |result: Result<(), Errno>| match result {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(io::Error::from(error)),
        };
        match self.kind(name)? {
            None => Ok(()),
            Some(FileType::Directory) => {
                let folder = self.folder(name)?;
                folder.names()?.iter().try_for_each(|inner| folder.remove(inner))?;
                gone(rustix::fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR))
            }
            Some(_) => gone(rustix::fs::unlinkat(&self.0, name, AtFlags::empty())),
        }
    }
}
