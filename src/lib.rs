//! Container images in a bucket, with no registry running.
//!
//! A module may use only modules of the rows below its own; `tests/it/layering.rs` holds the table.
//!
//! ```text
//! main → cli            arguments, environment variables, dispatch
//!        commands       one file per verb: wires the pieces, owns cleanup
//!        ui             printer, progress bars, errors as text and exit code
//!        artifact  cache  docker  registry  server  backend  remote     siblings: they never use each other
//!        archive        OCI image layouts and docker-save tars
//!        transfer       Source, Target, Reporter, copy_image
//!        storage-layout (crate)
//!        secret         a text that is never shown
//! ```
//!
//! # Example
//!
//! Whatever holds images is a [`Source`](transfer::Source), a [`Target`](transfer::Target) or both, and
//! [`copy_image`](transfer::copy_image) is the one routine between them. Here an image goes from a bucket, one in memory, to an
//! archive:
//!
//! ```
//! use std::sync::Arc;
//!
//! use oci_store::archive::{self, ArchivePlace, TargetOptions};
//! use oci_store::transfer::{CopyOptions, Reporter, RepositorySource, RepositoryTarget, copy_image};
//! use storage_layout::{Store, StoreOptions};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # std::fs::write(folder.path().join("hello.txt"), "hello")?;
//! # std::env::set_current_dir(folder.path())?;
//! let options = CopyOptions { platforms: Vec::new(), jobs: 4 };
//! let reporter: Arc<dyn Reporter> = Arc::new(());
//!
//! // Any `ObjectStore` is a bucket; `oci_store::backend` makes those of the providers.
//! let bucket = Store::new(Arc::new(object_store::memory::InMemory::new()), StoreOptions::default());
//! let repository = Arc::new(bucket.repository(&"team/app".parse()?));
//!
//! // There must be an image first: here one that holds a file.
//! let recipe = oci_store::artifact::Recipe { files: vec!["hello.txt".parse()?], ..Default::default() };
//! let image = recipe.check()?.pack_image(&std::env::temp_dir()).await?;
//! let target = RepositoryTarget::new(repository.clone(), Some("v1".parse()?));
//! let pushed = copy_image(&image, &target, &options, &reporter).await?;
//!
//! let source = RepositorySource::new(repository, "v1".parse()?);
//! let place: ArchivePlace = "oci-archive:app.tar".parse()?;
//! let target = archive::open_target(&place, &TargetOptions { name: Some("app:v1".to_owned()) })?;
//! let copied = copy_image(&source, target.as_ref(), &options, &reporter).await?;
//! assert_eq!(copied.root.digest(), pushed.root.digest());
//! # Ok(())
//! # }
//! ```

pub mod archive;
pub mod artifact;
pub mod backend;
pub mod cache;
pub mod cli;
pub mod commands;
pub mod docker;
pub mod registry;
pub mod remote;
pub mod secret;
pub mod server;
pub mod transfer;
pub mod ui;
