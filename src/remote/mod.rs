//! Images in remote registries, by the OCI distribution API:
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>.
//!
//! A [`RemoteRegistry`] holds the connection and what is known of who asks; a [`RemoteRepository`] of it is a
//! [`Repository`](crate::transfer::Repository) like a bucket's.

mod address;
mod auth;
mod credentials;
mod download;
mod error;
mod http;
mod options;
mod pages;
mod reference;
mod referrers;
mod registry;
mod repository;
mod retry;
mod upload;

pub use credentials::{Kept, forget, keep};
pub use error::{Answer, Cause, Error, Kind, Message};
pub use options::{Credential, CredentialFiles, Login, RemoteOptions, Timeouts};
pub use reference::{InvalidReference, RegistryName, RemoteReference};
pub use registry::RemoteRegistry;
pub use repository::RemoteRepository;

/// Returns the repository that a reference names. The registry is not asked yet.
///
/// # Errors
/// If `options` cannot be used, such as a CA file that is not there.
pub fn connect(reference: &RemoteReference, options: &RemoteOptions) -> Result<RemoteRepository, Error> {
    Ok(RemoteRegistry::connect(&reference.registry, options)?.repository(&reference.repository))
}
