//! Reading what users type for places.

use std::cell::OnceCell;

use super::backend_args::BackendArgs;
use super::env_vars::Env;
use super::registry_args::RegistryArgs;
use crate::archive::ArchivePlace;
use crate::backend::{BackendConfig, BucketRef, Scheme, check_bucket, is_url, parse_url};
use crate::commands::{Context, ImagePlace, RepositoryPlace};
use crate::remote::RemoteOptions;
use crate::ui::{CommandError, ExitStatus};

/// What says that a registry is meant.
const REGISTRY: &str = "docker://";
/// What to write where a bucket may be meant and is not named.
const WRITE_A_BUCKET: &str = "an image in a bucket is s3://BUCKET/NAME:TAG, gs://…, az://… or fs://…";

fn usage(message: impl std::fmt::Display) -> CommandError {
    CommandError::new(ExitStatus::Usage, message.to_string())
}

/// Reads `BUCKET/NAME[:TAG][@DIGEST]` where the backend is known, and `SCHEME://…` always.
pub(super) fn bucket_ref(text: &str, named: Option<Scheme>) -> Result<(Scheme, BucketRef), CommandError> {
    match named {
        Some(scheme) if !text.contains("://") => Ok((scheme, text.parse().map_err(usage)?)),
        _ => {
            let (scheme, place) = parse_url(text).map_err(usage)?;
            agree(text, scheme, named)?;
            Ok((scheme, place))
        }
    }
}

/// Reads `BUCKET` where the backend is known, and `SCHEME://BUCKET` always.
pub(super) fn bucket(text: &str, named: Option<Scheme>) -> Result<(Scheme, String), CommandError> {
    const WRITE: &str = "write s3://BUCKET, gs://BUCKET, az://CONTAINER or fs://FOLDER";
    let (scheme, bucket) = match (text.split_once("://"), named) {
        (Some((scheme, bucket)), _) => match Scheme::named(scheme) {
            Some(scheme) => (scheme, bucket),
            None => return Err(usage(format!("{text:?} has an unknown scheme: {WRITE}"))),
        },
        (None, Some(scheme)) => (scheme, text),
        (None, None) => return Err(usage(format!("{text:?} has no scheme: {WRITE}"))),
    };
    agree(text, scheme, named)?;
    let bucket = bucket.strip_suffix('/').unwrap_or(bucket);
    check_bucket(bucket).map_err(usage)?;
    Ok((scheme, bucket.to_owned()))
}

fn agree(text: &str, scheme: Scheme, named: Option<Scheme>) -> Result<(), CommandError> {
    match named {
        Some(named) if named != scheme => {
            Err(usage(format!("{text:?} is of {scheme}, and the command is for {named}")))
        }
        _ => Ok(()),
    }
}

/// What a place in a bucket or a registry needs besides its text: flags and environment.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    backend: BackendArgs,
    registry: RegistryArgs,
    env: &'a Env,
    context: &'a Context,
    /// Made once: a password on standard input can be read once.
    options: OnceCell<RemoteOptions>,
}

impl<'a> Surroundings<'a> {
    pub(super) fn new(backend: BackendArgs, registry: RegistryArgs, env: &'a Env, context: &'a Context) -> Self {
        Self { backend, registry, env, context, options: OnceCell::new() }
    }

    /// Reads a repository with its tag or digest, where only a bucket or a registry makes sense: `docker://HOST/NAME…` or
    /// `HOST/NAME…`, `s3://BUCKET/NAME…` and the other schemes, and `BUCKET/NAME…` where the backend is known.
    pub(super) fn repository(&self, text: &str) -> Result<RepositoryPlace, CommandError> {
        let named = self.backend.scheme();
        if text.starts_with(REGISTRY) || (named.is_none() && !text.contains("://")) {
            let reference = text.parse().map_err(|error| usage(error).hint(WRITE_A_BUCKET))?;
            return Ok(RepositoryPlace::Registry { reference, options: self.options()? });
        }
        let (scheme, place) = bucket_ref(text, named)?;
        Ok(RepositoryPlace::Bucket { backend: self.backend(scheme)?, place })
    }

    fn backend(&self, scheme: Scheme) -> Result<BackendConfig, CommandError> {
        self.backend.clone().config(scheme, self.env, self.context)
    }

    fn options(&self) -> Result<RemoteOptions, CommandError> {
        if let Some(options) = self.options.get() {
            return Ok(options.clone());
        }
        let options = self.registry.clone().options(self.env, self.context)?;
        Ok(self.options.get_or_init(|| options).clone())
    }
}

/// Reads the value of `--image`.
pub(super) fn image(text: &str) -> Result<ImagePlace, CommandError> {
    if ArchivePlace::is_meant_by(text) {
        return text.parse().map(ImagePlace::Archive).map_err(usage);
    }
    if is_url(text) || text.contains("://") {
        return Err(usage(format!("--image {text:?} is no local place"))
            .hint("it is an image of the Docker daemon, docker-archive:FILE, oci-archive:FILE or oci:DIR"));
    }
    let name = text.strip_prefix("docker-daemon:").unwrap_or(text);
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    if name.is_empty() || !name.chars().all(allowed) || name.contains("..") || name.starts_with('/') {
        return Err(usage(format!("--image {text:?} is no image of a Docker daemon"))
            .hint("write its name, such as app:v1; a file is docker-archive:FILE, oci-archive:FILE or oci:DIR"));
    }
    Ok(ImagePlace::Docker(name.to_owned()))
}
