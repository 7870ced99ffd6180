//! Building the tree of files that an artifact says, strictly.
//!
//! Tar readers skip what they do not like in silence, keep links that lead out, and leave half of what failed. Here whatever is
//! not a plain file, a plain folder, or a link that stays inside, refuses the whole artifact. Symbolic links are made last, so
//! that nothing is ever written through one.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};

use storage_layout::{Algorithm, Digest, Digester};
use tar::EntryType;
use tokio_util::sync::CancellationToken;

use super::dir::Dir;
use super::path::{InnerPath, check_link};
use super::tar_entries::TarEntries;
use crate::archive::{Compression, Refusal, file_error, quoted};
use crate::transfer::Error;

const PIECE: usize = 256 * 1024;
/// What an archive may become without question, in bytes, and how many times its own size beyond that.
const MAX_UNQUESTIONED: u64 = 1024 * 1024 * 1024;
const MAX_RATIO: u64 = 200;
/// The memory that a zstd file may ask for, as a power of two of bytes.
const MAX_ZSTD_WINDOW: u32 = 26;
/// The names of all files together, in bytes: they are held in memory.
const MAX_NAMES: usize = 64 * 1024 * 1024;
/// The mode of a folder that nothing is said of, before the process's mask.
const DEFAULT_FOLDER: u32 = 0o777;
/// The mode of such a file.
const DEFAULT_FILE: u32 = 0o666;
/// The permissions in a mode.
const PERMISSIONS: u32 = 0o777;
/// The bits that make a program run as its owner or group.
const SET_ID: u32 = 0o6000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Folder,
    File,
    Link,
}

/// A tree that grows.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    root: &'a Dir,
    stop: &'a CancellationToken,
    /// By path in lower case, for where case means nothing a file would take another one's place.
    seen: HashMap<String, (String, Kind)>,
    /// How long all names are together.
    names: usize,
    /// The links that are to be made: the path of each, and where it leads.
    links: Vec<(String, String)>,
    /// The folder last written to, and those that it is in, open.
    open: Vec<(String, Dir)>,
}

impl<'a> Tree<'a> {
    pub(super) fn new(root: &'a Dir, stop: &'a CancellationToken) -> Self {
        Self { root, stop, seen: HashMap::new(), names: 0, links: Vec::new(), open: Vec::new() }
    }

    /// Adds a file whose bytes are those of `blob` in `blobs`. The blob is moved, or copied if it is needed again.
    pub(super) fn add_file(
        &mut self,
        path: &InnerPath,
        blobs: &Dir,
        blob: &str,
        is_last_use: bool,
    ) -> Result<(), Error> {
        let Some((folder, name)) = path.split() else {
            return Err(refused(&path.to_string(), "is the title of a file and has no name"));
        };
        self.note(path, Kind::File)?;
        let folder = self.make_folders(&folder, DEFAULT_FOLDER)?;
        let written = if is_last_use {
            blobs.rename(blob, folder, name, false)
        } else {
            let copy = || io::copy(&mut blobs.file(blob)?, &mut folder.make_file(name, DEFAULT_FILE)?);
            copy().map(drop)
        };
        written.map_err(|error| file_error("writing", path.to_string().as_ref(), error))
    }

    /// Adds all that is in a tar, compressed or not. The names in it begin with `folder`, and nothing lies outside of it. `digest`
    /// is that of the tar before it was compressed, where that is known.
    pub(super) fn add_archive(
        &mut self,
        folder: &InnerPath,
        archive: File,
        digest: Option<&Digest>,
    ) -> Result<(), Error> {
        let label = if folder.is_empty() { "the archive".to_owned() } else { format!("the archive {folder}") };
        let unreadable = |refusal| unreadable(&label, refusal);
        let tar = Bounded::open(archive, self.stop.clone()).map_err(|error| unreadable(error.into()))?;
        let mut entries = TarEntries::new(tar);
        let _folder_itself = self.make_folders(folder, DEFAULT_FOLDER)?;
        let mut buffer = vec![0; PIECE];
        while let Some(entry) = entries.next().map_err(unreadable)? {
            let shown = String::from_utf8_lossy(&entry.raw.path).into_owned();
            let refused = |why| refused(&shown, why);
            let path = InnerPath::parse(&entry.raw.path).map_err(refused)?;
            if path.below(folder).is_none() {
                return Err(refused("is not in the folder that was packed"));
            }
            let kind = entry.raw.kind;
            let is_plain = matches!(kind, EntryType::Regular | EntryType::Continuous);
            // Very old tars mark a folder by nothing but the slash.
            if kind == EntryType::Directory || is_plain && entry.raw.path.ends_with(b"/") {
                let _made = self.make_folders(&path, entry.raw.mode.unwrap_or(DEFAULT_FOLDER) & PERMISSIONS)?;
                continue;
            }
            let Some((parent, name)) = path.split() else { return Err(refused("is no folder and has no name")) };
            let target = entry.raw.link.as_deref().unwrap_or_default();
            let mode = entry.raw.mode.unwrap_or(DEFAULT_FILE);
            match kind {
                _ if is_plain && mode & SET_ID != 0 => {
                    return Err(refused("would run as its owner, whoever starts it"));
                }
                _ if is_plain && entry.size > entries.input().left => {
                    return Err(refused("is larger than so small an archive should hold"));
                }
                _ if is_plain => {
                    self.note(&path, Kind::File)?;
                    let writing = |error| file_error("writing", shown.as_ref(), error);
                    let mut file = self
                        .make_folders(&parent, DEFAULT_FOLDER)?
                        .make_file(name, mode & PERMISSIONS)
                        .map_err(writing)?;
                    loop {
                        match entries.read(&mut buffer).map_err(unreadable)? {
                            0 => break,
                            count => file.write_all(&buffer[..count]).map_err(writing)?,
                        }
                    }
                }
                EntryType::Symlink => {
                    let depth = parent.parts().len() - folder.parts().len();
                    let target = check_link(target, depth).map_err(refused)?;
                    self.note(&path, Kind::Link)?;
                    self.count(&path, path.to_string().len() + target.len())?;
                    self.links.push((path.to_string(), target.to_owned()));
                }
                EntryType::Link => {
                    let target = InnerPath::parse(target).ok().filter(|target| target.below(folder).is_some());
                    self.add_second_name(&path, &target.ok_or_else(|| refused("is a link out of its folder"))?)?;
                }
                _ => return Err(refused("is neither file nor folder nor link")),
            }
        }
        let tar = entries.finish().map_err(unreadable)?;
        match (digest, tar.digester.finish()) {
            (Some(expected), actual) if *expected != actual => Err(Error::Invalid(format!(
                "{label} has the digest {actual} uncompressed, its manifest says {expected}"
            ))),
            _ => Ok(()),
        }
    }

    /// Makes the links. Nothing can be added after that.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        for (path, target) in std::mem::take(&mut self.links) {
            let refused = |why| refused(&path, why);
            let inner = InnerPath::parse(path.as_bytes()).map_err(refused)?;
            let Some((folder, name)) = inner.split() else { return Err(refused("has no name")) };
            let folder = self.make_folders(&folder, DEFAULT_FOLDER)?;
            folder.make_link(name, &target).map_err(|error| file_error("making the link", path.as_ref(), error))?;
        }
        Ok(())
    }

    /// Gives a file that is there a second name.
    fn add_second_name(&mut self, path: &InnerPath, target: &InnerPath) -> Result<(), Error> {
        let is_file = self
            .seen
            .get(&key(target))
            .is_some_and(|(known, kind)| *known == target.to_string() && *kind == Kind::File);
        let (Some((folder, name)), Some((of_target, other)), true) = (path.split(), target.split(), is_file) else {
            return Err(refused(&path.to_string(), "is a link to what is no file before it"));
        };
        self.note(path, Kind::File)?;
        let root = self.root;
        let folder = self.make_folders(&folder, DEFAULT_FOLDER)?;
        let link = || {
            let mut from: Option<Dir> = None;
            for part in of_target.parts() {
                from = Some(from.as_ref().unwrap_or(root).folder(part)?);
            }
            from.as_ref().unwrap_or(root).also_name(other, folder, name)
        };
        link().map_err(|error| file_error("making the link", path.to_string().as_ref(), error))
    }

    /// Notes that `path` is to be a `kind`. Returns whether it is new: a folder may be named again.
    fn note(&mut self, path: &InnerPath, kind: Kind) -> Result<bool, Error> {
        let (key, path_text) = (key(path), path.to_string());
        match self.seen.get(&key) {
            Some((known, Kind::Folder)) if kind == Kind::Folder && *known == path_text => return Ok(false),
            Some((known, _)) if *known == path_text => {
                return Err(refused(known, "is there twice, or is a folder and something else"));
            }
            Some((known, _)) => {
                return Err(refused(&path_text, &format!("differs from {} in case only", quoted(known))));
            }
            None => {}
        }
        self.count(path, key.len() + path_text.len())?;
        drop(self.seen.insert(key, (path_text, kind)));
        Ok(true)
    }

    /// Counts names that are to be held in memory.
    fn count(&mut self, path: &InnerPath, length: usize) -> Result<(), Error> {
        self.names += length;
        if self.names > MAX_NAMES {
            return Err(refused(&path.to_string(), "is one name too many: together they are too long"));
        }
        Ok(())
    }

    /// Opens a folder, and makes it, with those that it is in, if it is new.
    fn make_folders(&mut self, path: &InnerPath, mode: u32) -> Result<&Dir, Error> {
        let parts = path.parts();
        let common = self.open.iter().zip(parts).take_while(|((open, _), part)| open == *part).count();
        self.open.truncate(common);
        for (depth, part) in parts.iter().enumerate().skip(common) {
            let is_new = self.note(&path.first(depth + 1), Kind::Folder)?;
            let parent = self.open.last().map_or(self.root, |(_, folder)| folder);
            let mode = if depth + 1 == parts.len() { mode } else { DEFAULT_FOLDER };
            let open = || {
                if is_new {
                    // Its owner must be able to fill it, to move it, and to remove it.
                    parent.make_folder(part, mode | 0o700)?;
                }
                parent.folder(part)
            };
            let folder = open().map_err(|error| file_error("making the folder", path.to_string().as_ref(), error))?;
            self.open.push((part.clone(), folder));
        }
        Ok(self.open.last().map_or(self.root, |(_, folder)| folder))
    }
}

/// What two paths have in common that differ in case only.
fn key(path: &InnerPath) -> String {
    path.to_string().to_lowercase()
}

fn refused(path: &str, why: &str) -> Error {
    Error::Invalid(format!("{} {why}", quoted(path)))
}

fn unreadable(label: &str, refusal: Refusal) -> Error {
    match refusal {
        Refusal::Io(error) => match error.kind() {
            io::ErrorKind::UnexpectedEof => Error::Invalid(format!("{label} is cut short")),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                Error::Invalid(format!("{label} is damaged: {error}"))
            }
            _ => file_error("unpacking", label.as_ref(), error),
        },
        other => Error::Invalid(format!("{label} {other}")),
    }
}

/// What an archive holds, decompressed and hashed, and not more than it should.
struct Bounded {
    inner: Box<dyn Read + Send>,
    digester: Digester,
    /// How much more may come.
    left: u64,
    stop: CancellationToken,
}

impl Bounded {
    fn open(archive: File, stop: CancellationToken) -> io::Result<Self> {
        let size = archive.metadata()?.len();
        let mut reader = BufReader::with_capacity(PIECE, archive);
        let compression = Compression::of(reader.fill_buf()?);
        let left = match compression {
            Compression::Gzip | Compression::Zstd => size.saturating_mul(MAX_RATIO).max(MAX_UNQUESTIONED),
            Compression::None | Compression::Other { .. } => size,
        };
        let inner = compression.decoder(reader, MAX_ZSTD_WINDOW)?;
        Ok(Self { inner, digester: Digester::new(Algorithm::Sha256), left, stop })
    }
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_cancelled() {
            return Err(io::Error::other("the work was given up"));
        }
        let count = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "it decompresses to more than so small an archive should hold")
        })?;
        self.digester.update(&buffer[..count]);
        Ok(count)
    }
}
