//! Files and folders as artifacts: packed, pushed, pulled, attached, found.
//!
//! An artifact is an OCI image manifest whose layers are files. What is packed here oras unpacks and the other way round; the
//! manifest is the same byte for byte, and so is a folder's tar if its files are of the first second of 1970: oras packs times.
//!
//! - A file is a layer as it is. Its path is the layer's title.
//! - A folder is a tar, compressed by gzip, that depends on nothing but names, permissions and bytes: sorted, without times and
//!   owners.
//! - What comes is unpacked beside the output folder's files, in a folder of ours that is reached by descriptor, and moved to its
//!   place when all of it is there. Nothing but plain files, folders and links that stay inside is taken; anything else refuses the
//!   whole. Names are refused that lead out, that a terminal or another operating system would take for something else, that are
//!   there twice, and that differ in case only. Folders stay writable for their owner.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//!
//! use oci_store::artifact::{self, Recipe};
//! use oci_store::transfer::{CopyOptions, Reporter, Repository, RepositoryTarget, copy_image};
//! use storage_layout::{Store, StoreOptions};
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # std::env::set_current_dir(folder.path())?;
//! let bucket = Store::new(Arc::new(object_store::memory::InMemory::new()), StoreOptions::default());
//! let repository: Arc<dyn Repository> = Arc::new(bucket.repository(&"files/notes".parse()?));
//! let reporter: Arc<dyn Reporter> = Arc::new(());
//!
//! std::fs::write("notes.txt", "remember the milk")?;
//! let recipe = Recipe {
//!     files: vec!["notes.txt:text/plain".parse()?],
//!     artifact_type: Some("application/vnd.acme.notes".to_owned()),
//!     ..Recipe::default()
//! };
//! let packed = recipe.check()?.pack(None, &std::env::temp_dir()).await?;
//! let target = RepositoryTarget::new(Arc::clone(&repository), Some("v1".parse()?));
//! copy_image(&packed, &target, &CopyOptions { platforms: Vec::new(), jobs: 4 }, &reporter).await?;
//!
//! let manifest = repository.get_manifest(&"v1".parse()?).await?;
//! let fetched = artifact::fetch(&repository, &manifest, "output".as_ref(), 4, &reporter).await?;
//! let keep_old_files = true;
//! let files = fetched.unpack(keep_old_files, &CancellationToken::new()).await?;
//! assert_eq!(files[0].path, "notes.txt");
//! assert_eq!(std::fs::read_to_string("output/notes.txt")?, "remember the milk");
//! # Ok(())
//! # }
//! ```

mod dir;
mod discover;
mod document;
mod input;
mod pack;
mod path;
mod pull;
mod staging;
mod tar_entries;
mod tar_header;
mod tar_packer;
#[cfg(test)]
mod tests;
mod unpack;

pub use discover::{Discovered, discover};
pub use input::{Annotations, InputFile, InvalidInput, Plan, Recipe};
pub use pack::Packed;
pub use pull::{Fetched, PulledFile, fetch};

/// The annotation with the time an artifact was made at.
const CREATED: &str = "org.opencontainers.image.created";
/// The annotation of a layer that is a folder: `true`.
const UNPACK: &str = "io.deis.oras.content.unpack";
/// The annotation with the digest of a folder's tar before it was compressed.
const CONTENT_DIGEST: &str = "io.deis.oras.content.digest";
