//! Where buckets are: from what the user configured to an open [`ObjectStore`].
//!
//! One file per kind of store. A new one brings its `…Config`, a variant of [`BackendConfig`] and of
//! [`Scheme`]; the routing of requests, the errors and the root folder are shared. Nothing here knows
//! command-line arguments or the bucket's layout beyond its topmost folder.

mod answer;
mod azure;
mod cloud;
mod credentials;
mod error;
mod failure;
mod fs;
mod gcs;
mod http;
mod leftovers;
mod location;
mod no_symlinks;
mod preflight;
mod routed;
mod s3;
mod server_copy;
#[cfg(test)]
mod test_server;

use std::path::PathBuf;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use storage_layout::ServerCopy;

pub use crate::secret::Secret;
pub use azure::{AzureConfig, CredentialType};
pub use error::{Error, Kind};
pub use failure::{LOOKED_AT, classify, describe, passes};
pub use fs::FsConfig;
pub use gcs::GcsConfig;
pub use leftovers::Leftovers;
pub use location::{BucketRef, InvalidLocation, Scheme, check_bucket, is_url, parse_url};
pub use s3::S3Config;
use server_copy::{Copier, Copies, Opened};

/// A kind of store and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackendConfig {
    /// Amazon S3, and what speaks its language.
    S3(S3Config),
    /// Google Cloud Storage.
    Gcs(GcsConfig),
    /// Azure Blob Storage.
    Azure(AzureConfig),
    /// Folders of this machine.
    Fs(FsConfig),
}

/// What all kinds of stores have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How often a failed request is tried again.
    pub retries: u32,
    /// A PEM file with certificates to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// The HTTP proxy for requests to the store. Its address may hold a password.
    pub proxy: Option<Secret>,
    /// The folder inside the bucket that everything is kept in; the bucket itself if absent.
    pub root_dir: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { retries: 10, ca_file: None, proxy: None, root_dir: None }
    }
}

/// What a bucket is opened for: no more rights are asked for than that needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Intent {
    /// Objects are only read. The bucket must exist.
    Read,
    /// Objects are written too. A folder that stands for a bucket is made if it is absent.
    Write,
}

impl BackendConfig {
    /// Returns the scheme of the backend's URLs, such as `s3`.
    pub fn scheme(&self) -> &'static str {
        match self {
            Self::S3(_) => Scheme::S3.as_str(),
            Self::Gcs(_) => Scheme::Gcs.as_str(),
            Self::Azure(_) => Scheme::Azure.as_str(),
            Self::Fs(_) => Scheme::Fs.as_str(),
        }
    }

    /// Returns what all backends have.
    pub fn options(&self) -> &Options {
        match self {
            Self::S3(config) => &config.options,
            Self::Gcs(config) => &config.options,
            Self::Azure(config) => &config.options,
            Self::Fs(config) => &config.options,
        }
    }

    /// Opens a bucket, and makes sure that it is there and answers: one request if all is well, an error after about 15
    /// seconds at most if not.
    ///
    /// # Errors
    /// [`Error`] names the bucket and the place that was asked, and says what to do. Whether objects may be written is not
    /// tried out.
    pub async fn connect(&self, bucket: &str, intent: Intent) -> Result<Arc<dyn ObjectStore>, Error> {
        Ok(self.open(bucket, intent).await?.0)
    }

    /// Opens a bucket as [`BackendConfig::connect`] does, and what has its service copy objects of `source_bucket` to it: nothing
    /// if that is of another service, is reached with other credentials, or is a folder.
    ///
    /// # Errors
    /// As [`BackendConfig::connect`].
    pub async fn connect_near(
        &self,
        bucket: &str,
        intent: Intent,
        source: &Self,
        source_bucket: &str,
    ) -> Result<(Arc<dyn ObjectStore>, Option<Arc<dyn ServerCopy>>), Error> {
        let source_root = root_dir(source.options().root_dir.as_deref())?;
        let (objects, copier) = self.open(bucket, intent).await?;
        let Some(copier) = copier.filter(|_| self.is_as(source)) else { return Ok((objects, None)) };
        let root = root_dir(self.options().root_dir.as_deref())?;
        Ok((objects, Some(Arc::new(Copies::new(copier, root, source_bucket, source_root)))))
    }

    async fn open(
        &self,
        bucket: &str,
        intent: Intent,
    ) -> Result<(Arc<dyn ObjectStore>, Option<Arc<dyn Copier>>), Error> {
        let root = root_dir(self.options().root_dir.as_deref())?;
        let Opened { store, copier } = match self {
            Self::S3(config) => cloud::connect(config, bucket, &root, intent).await?,
            Self::Gcs(config) => cloud::connect(config, bucket, &root, intent).await?,
            Self::Azure(config) => cloud::connect(config, bucket, &root, intent).await?,
            Self::Fs(config) => Opened { store: config.connect(bucket, intent)?, copier: None },
        };
        Ok((if root.is_root() { store } else { Arc::new(PrefixStore::new(store, root)) }, copier))
    }

    /// Tells whether buckets are reached in the same way with both, wherever in the buckets the root folder is.
    fn is_as(&self, other: &Self) -> bool {
        let mut same = other.clone();
        match &mut same {
            Self::S3(S3Config { options, .. })
            | Self::Gcs(GcsConfig { options, .. })
            | Self::Azure(AzureConfig { options, .. })
            | Self::Fs(FsConfig { options, .. }) => options.root_dir.clone_from(&self.options().root_dir),
        }
        same == *self
    }

    /// Says which credentials there are and where they come from, without what is secret about them; nothing of a store that
    /// needs none. Login services and programs are asked, the store is not.
    ///
    /// # Errors
    /// There are none, or they cannot be used; the hints say where they were looked for.
    pub async fn credentials_found(&self) -> Result<Option<String>, Error> {
        Ok(match self {
            Self::S3(config) => Some(cloud::credentials_found(config).await?),
            Self::Gcs(config) => Some(cloud::credentials_found(config).await?),
            Self::Azure(config) => Some(cloud::credentials_found(config).await?),
            Self::Fs(_) => None,
        })
    }

    /// Tells what becomes of uploads to a bucket that are never finished; nothing of a folder, where they are not kept.
    ///
    /// # Errors
    /// The settings are wrong or there are no credentials. That the store does not tell is [`Leftovers::Unknown`].
    pub async fn leftovers(&self, bucket: &str) -> Result<Option<Leftovers>, Error> {
        let root = root_dir(self.options().root_dir.as_deref())?;
        Ok(match self {
            Self::S3(config) => Some(cloud::leftovers(config, bucket, &root).await?),
            Self::Gcs(config) => Some(cloud::leftovers(config, bucket, &root).await?),
            Self::Azure(config) => Some(cloud::leftovers(config, bucket, &root).await?),
            Self::Fs(_) => None,
        })
    }
}

/// Checks `--root-dir`. One slash before and after it is taken as the habit it is; Docker's registry does so as well.
fn root_dir(text: Option<&str>) -> Result<Path, Error> {
    let text = text.unwrap_or_default();
    // `Path::parse` strips one slash at each end, and so takes `//` for nothing.
    let parsed = (!text.contains("//")).then(|| Path::parse(text));
    match parsed {
        Some(Ok(path)) => Ok(path),
        _ => Err(Error::usage(format!("root directory \"{}\" cannot be used", text.escape_debug()))
            .with_hint("write it as folder/subfolder: without `.`, `..`, doubled slashes and control characters")),
    }
}

#[cfg(test)]
mod tests;
