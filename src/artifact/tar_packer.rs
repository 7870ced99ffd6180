//! Packing files and folders into a tar.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::path::{InnerPath, check_link};
use super::tar_header::{Kind, headers};
use crate::archive::{BLOCK, file_error, padding, quoted};
use crate::transfer::Error;

const PIECE: usize = 256 * 1024;
/// What is kept of a file's mode: who may read, write and run it.
const PERMISSIONS: u32 = 0o777;

/// Writes a tar of files and folders. The same files make the same bytes, whoever packs them and whenever.
pub(super) struct TarPacker<'a, W> {
    output: W,
    stop: &'a CancellationToken,
    buffer: Vec<u8>,
}

impl<'a, W: Write> TarPacker<'a, W> {
    pub(super) fn new(output: W, stop: &'a CancellationToken) -> Self {
        Self { output, stop, buffer: vec![0; PIECE] }
    }

    /// Adds a file or, with all that is in it, a folder. A link is followed here, and nowhere below.
    pub(super) fn add(&mut self, path: &Path, name: &InnerPath) -> Result<(), Error> {
        let metadata = fs::metadata(path).map_err(|error| file_error("looking at", path, error))?;
        self.add_known(path, name, name, &metadata)
    }

    /// Ends the tar.
    pub(super) fn finish(mut self) -> Result<W, Error> {
        self.write(&[0; 2 * BLOCK])?;
        Ok(self.output)
    }

    fn add_known(
        &mut self,
        path: &Path,
        root: &InnerPath,
        name: &InnerPath,
        metadata: &fs::Metadata,
    ) -> Result<(), Error> {
        if self.stop.is_cancelled() {
            return Err(file_error("reading", path, given_up()));
        }
        let mode = metadata.mode() & PERMISSIONS;
        let kind = metadata.file_type();
        if kind.is_dir() {
            self.write(&headers(&name.to_string(), Kind::Folder, mode))?;
            self.add_all_in(path, root, name)
        } else if kind.is_file() {
            self.add_file(path, name, mode, metadata.len())
        } else if kind.is_symlink() {
            let target = fs::read_link(path).map_err(|error| file_error("reading the link", path, error))?;
            let depth = name.parts().len() - root.parts().len() - 1;
            let target = check_link(target.as_os_str().as_encoded_bytes(), depth).map_err(|why| refused(path, why))?;
            self.write(&headers(&name.to_string(), Kind::Link(target), mode))
        } else {
            Err(refused(path, "is neither file nor folder nor link"))
        }
    }

    fn add_all_in(&mut self, folder: &Path, root: &InnerPath, name: &InnerPath) -> Result<(), Error> {
        let reading = |error| file_error("reading the folder", folder, error);
        let mut inside = Vec::new();
        for entry in fs::read_dir(folder).map_err(reading)? {
            inside.push(entry.map_err(reading)?.file_name());
        }
        inside.sort_unstable();
        // Where upper and lower case are one, the second file would take the first one's place.
        let mut seen = std::collections::HashSet::new();
        for own in inside {
            let path = folder.join(&own);
            let own = InnerPath::parse(own.as_encoded_bytes()).map_err(|why| refused(&path, why))?;
            let name = InnerPath::parse(name.join(&own).to_string().as_bytes()).map_err(|why| refused(&path, why))?;
            if !seen.insert(name.to_string().to_lowercase()) {
                return Err(refused(&path, "differs from another name in its folder in case only"));
            }
            let metadata = fs::symlink_metadata(&path).map_err(|error| file_error("looking at", &path, error))?;
            self.add_known(&path, root, &name, &metadata)?;
        }
        Ok(())
    }

    fn add_file(&mut self, path: &Path, name: &InnerPath, mode: u32, size: u64) -> Result<(), Error> {
        let reading = |error| file_error("reading", path, error);
        let mut file = File::open(path).map_err(reading)?;
        self.write(&headers(&name.to_string(), Kind::File(size), mode))?;
        let mut left = size;
        loop {
            if self.stop.is_cancelled() {
                return Err(reading(given_up()));
            }
            let count = match file.read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result.map_err(reading)?,
            };
            if count as u64 > left || count == 0 && left > 0 {
                return Err(refused(path, "changed while it was read; pack it when it is at rest"));
            }
            if count == 0 {
                break;
            }
            left -= count as u64;
            let piece = std::mem::take(&mut self.buffer);
            let written = self.write(&piece[..count]);
            self.buffer = piece;
            written?;
        }
        let padding = usize::try_from(padding(size)).expect("less than a block");
        self.write(&[0; BLOCK][..padding])
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.output.write_all(bytes).map_err(|error| file_error("writing", Path::new("a spool file"), error))
    }
}

fn given_up() -> io::Error {
    io::Error::other("the work was given up")
}

fn refused(path: &Path, why: &str) -> Error {
    Error::Invalid(format!("{} {why}", quoted(&path.display().to_string())))
}
