//! A `docker save` archive without a name, on its way between a daemon and a bucket.

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use futures::TryStreamExt;
use storage_layout::Digest;
use tokio::io::{AsyncWriteExt, BufWriter};

use super::SourceOptions;
use super::compress::LayerCompression;
use super::content::Content;
use super::docker_source::DockerSource;
use super::problem::{blocking, file_error};
use super::tar_target::TarTarget;
use crate::transfer::{ByteStream, Error, PlatformFilter, Source, Target};

/// How much is gathered before it is written: each write is a trip to another thread.
const PIECE: usize = 512 * 1024;

/// A file for one archive. It has no name, so that nothing is left of it whatever becomes of the process.
#[derive(Debug)]
pub struct Spool {
    label: String,
    dir: PathBuf,
    file: File,
}

impl Spool {
    /// Makes an empty one in `dir`. `label` is what it is called in messages, such as `the image app:v1 of the daemon`.
    ///
    /// # Errors
    /// [`Error::File`] if there can be no file.
    pub async fn create(label: String, dir: &Path) -> Result<Self, Error> {
        let dir = dir.to_owned();
        blocking(move || {
            let file =
                tempfile::tempfile_in(&dir).map_err(|error| file_error("making a spool file in", &dir, error))?;
            Ok(Self { label, dir, file })
        })
        .await
    }

    /// Writes the archive as it comes.
    ///
    /// # Errors
    /// [`Error::File`] if the disk is full, or whoever writes the archive fails.
    pub async fn fill(&mut self, mut body: ByteStream) -> Result<(), Error> {
        let failed = |error| file_error("writing a spool file in", &self.dir, error);
        let mut writer =
            BufWriter::with_capacity(PIECE, tokio::fs::File::from_std(self.file.try_clone().map_err(failed)?));
        let reading = |error| file_error("reading", self.label.as_ref(), error);
        while let Some(piece) = body.try_next().await.map_err(reading)? {
            writer.write_all(&piece).await.map_err(failed)?;
        }
        writer.flush().await.map_err(failed)
    }

    /// Returns the archive as a target for one image that is called `name`. The blobs that are `there`, where it is to be loaded,
    /// are left out.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the name is none.
    pub fn target(&self, name: &str, there: &HashSet<Digest>) -> Result<Box<dyn Target>, Error> {
        let file = self.file.try_clone().map_err(|error| file_error("opening a spool file in", &self.dir, error))?;
        Ok(Box::new(TarTarget::docker_spool(self.label.clone(), file, &self.dir, name, there)?))
    }

    /// Returns the archive as the source of the one image in it. `of_containerd` is said of an archive of containerd's store: its
    /// manifests are the image's own. Docker's other store makes some up. Of an index of several platforms, of which the store need
    /// not have all, one can be chosen.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is no archive or is damaged.
    pub async fn source(self, of_containerd: bool, platform: Option<PlatformFilter>) -> Result<Box<dyn Source>, Error> {
        let Self { label, dir, file } = self;
        let options = SourceOptions { spool_dir: dir, compression: LayerCompression::default() };
        Ok(Box::new(DockerSource::of_file(label, file, options, of_containerd, platform).await?))
    }

    /// Returns the bytes in pieces, and how many they are.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be looked at.
    pub fn stream(self) -> Result<(ByteStream, u64), Error> {
        let content =
            Content::of_file(self.file).map_err(|error| file_error("reading a spool file in", &self.dir, error))?;
        let size = content.size();
        Ok((content.stream(), size))
    }
}
