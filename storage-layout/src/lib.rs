//! Docker Distribution's registry-v2 layout on top of [`object_store`].
//!
//! This crate knows the bucket and nothing else: no HTTP, no Docker, no terminal. A bucket that
//! Docker's own registry wrote is read by it, and what it writes is served by Docker's registry.
//!
//! # The key tree
//!
//! ```text
//! docker/registry/v2/
//!   blobs/<alg>/<hex[0:2]>/<hex>/data                                 bytes of a blob or manifest
//!   repositories/<name>/_layers/<alg>/<hex>/link                      the repository has this blob
//!   repositories/<name>/_manifests/revisions/<alg>/<hex>/link         … and this manifest
//!   repositories/<name>/_manifests/tags/<tag>/index/<alg>/<hex>/link  all that the tag ever named
//!   repositories/<name>/_manifests/tags/<tag>/current/link            what the tag names now
//!   repositories/<name>/_referrers/subjects/<alg>/<hex>/<alg>/<hex>/link
//! ```
//!
//! A `link` holds a digest, without a newline. Media types and sizes are not stored: the first are
//! read from the manifest's JSON, the second from the object.
//!
//! # Write order
//!
//! Blob data, layer link, manifest data, revision link, referrer link, tag index, and last the
//! tag's `current/link`: the one commit point. Whatever step a push stops after, the tag names the
//! old image or the new one, and the same push again completes it. Deletion goes the other way.

#![warn(missing_docs)]

mod blob;
mod blob_writer;
mod catalog;
mod digest;
mod error;
mod key;
mod link;
mod manifest;
mod manifest_store;
pub mod media_type;
mod name;
mod objects;
mod range_reader;
mod read_ahead;
mod referrers;
mod revisions;
mod server_copy;
mod shared_digest;
mod sizes;
mod store;
mod tag;
#[cfg(any(test, feature = "test-util"))]
pub mod test_util;
mod upload;
mod verified;

pub use blob::{BlobReader, BlobStat, ByteStream};
pub use blob_writer::BlobWriter;
pub use digest::{Algorithm, Digest, Digester, shortened};
pub use error::{Error, Result};
pub use key::{Key, ROOT};
pub use manifest::{Descriptor, MAX_MANIFEST_SIZE, Manifest, Platform};
pub use name::{Reference, ReferenceParts, RepositoryName, Selector, Tag};
pub use referrers::referrers_tag;
pub use server_copy::ServerCopy;
pub use store::{Repository, Store, StoreOptions};
pub use tag::Page;
pub use upload::Upload;
