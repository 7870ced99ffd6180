//! Images in files: what `docker save` writes, and OCI image layouts as a tar or a folder.
//!
//! Everything is read and written in one pass and in pieces: no layer is ever in memory whole, and none is unpacked. A tar is
//! scanned once for its names (`tar_index`); nothing in it decides where anything is written. What is written gets its name
//! only when it is complete.

mod compress;
mod compression;
mod content;
mod docker_load;
mod docker_save;
mod docker_source;
mod docker_stream;
mod folder;
mod folder_target;
mod image_config;
mod image_name;
mod layer;
mod layout_referrers;
mod layout_source;
mod place;
mod problem;
mod spool;
mod tar_archive;
mod tar_header;
mod tar_index;
mod tar_stream;
mod tar_target;
mod tar_writer;
#[cfg(test)]
mod tests;
mod v1_id;
mod verified;

use std::path::PathBuf;

use crate::transfer::{Error, Source, Target};
use docker_source::DockerSource;
use folder_target::FolderTarget;
use layout_source::LayoutSource;
use tar_target::TarTarget;

pub use compress::{CompressedLayer, CompressionFormat, Compressor, LayerBlob, LayerCompression};
pub(crate) use compression::Compression;
pub(crate) use content::Content;
pub use docker_stream::{DockerStream, StreamedLayer};
pub(crate) use folder::temporary_in;
pub use image_config::ImageConfig;
pub use place::ArchivePlace;
pub(crate) use problem::{blocking, file_error, quoted};
pub use spool::Spool;
pub(crate) use tar_header::{BLOCK, Block, Headers, RawEntry, Refusal, padding};
pub(crate) use verified::{write_all_at, write_blob};

/// How an archive is read.
#[derive(Clone, Debug)]
pub struct SourceOptions {
    /// Where layers are compressed into, and a compressed archive is decompressed into. The files there have no name.
    pub spool_dir: PathBuf,
    /// How layers are compressed that are not.
    pub compression: LayerCompression,
}

/// How an archive is written.
#[derive(Clone, Debug, Default)]
pub struct TargetOptions {
    /// What the image is called where the place itself says no name, such as `app:v1`.
    pub name: Option<String>,
}

/// Opens a place to read an image from.
///
/// # Errors
/// [`Error::NotFound`] if there is no such file or folder, [`Error::Invalid`] if it is no archive of that kind or is damaged.
pub async fn open_source(place: &ArchivePlace, options: SourceOptions) -> Result<Box<dyn Source>, Error> {
    let label = place.to_string();
    Ok(match place {
        ArchivePlace::DockerArchive { file, reference } => {
            Box::new(DockerSource::open(label, file, reference.as_deref(), options).await?)
        }
        ArchivePlace::OciArchive { file, tag } => {
            Box::new(LayoutSource::open_tar(label, file, tag.clone(), &options.spool_dir).await?)
        }
        ArchivePlace::OciDirectory { dir, tag } => Box::new(LayoutSource::open_folder(label, dir, tag.clone()).await?),
    })
}

/// Opens a place to write one image to. A file that exists is replaced when the image is complete; to a folder the image is
/// added.
///
/// # Errors
/// [`Error::Invalid`] if the name is none, or something else than an archive is in the way; [`Error::File`] if the file
/// cannot be made.
pub fn open_target(place: &ArchivePlace, options: &TargetOptions) -> Result<Box<dyn Target>, Error> {
    let label = place.to_string();
    let name = options.name.as_deref();
    Ok(match place {
        ArchivePlace::DockerArchive { file, reference } => {
            Box::new(TarTarget::docker_archive(label, file, reference.as_deref().or(name))?)
        }
        ArchivePlace::OciArchive { file, tag } => Box::new(TarTarget::oci_archive(label, file, tag.as_deref(), name)?),
        ArchivePlace::OciDirectory { dir, tag } => Box::new(FolderTarget::open(label, dir, tag.as_deref(), name)?),
    })
}
