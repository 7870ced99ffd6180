//! Reading what users type for places.

use std::cell::OnceCell;

use super::backend_args::BackendArgs;
use super::env_vars::Env;
use super::registry_args::RegistryArgs;
use crate::archive::ArchivePlace;
use crate::backend::{BackendConfig, BucketRef, Scheme, check_bucket, is_url, parse_url};
use crate::commands::{Context, ImagePlace, Place, RepositoryPlace, ls};
use crate::remote::{Login, RemoteOptions};
use crate::ui::CommandError;

/// What says that a registry is meant.
const REGISTRY: &str = "docker://";
/// What says that an image of the Docker daemon is meant.
const DAEMON: &str = "docker-daemon:";
/// What to write where a bucket may be meant and is not named.
const WRITE_A_BUCKET: &str = "an image in a bucket is s3://BUCKET/NAME:TAG, gs://…, az://… or fs://…";

/// Reads `BUCKET/NAME[:TAG][@DIGEST]` where the backend is known, and `SCHEME://…` always.
pub(super) fn bucket_ref(text: &str, named: Option<Scheme>) -> Result<(Scheme, BucketRef), CommandError> {
    match named {
        Some(scheme) if !text.contains("://") => Ok((scheme, text.parse().map_err(CommandError::usage)?)),
        _ => {
            let (scheme, place) = parse_url(text).map_err(CommandError::usage)?;
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
            None => return Err(CommandError::usage(format!("{text:?} has an unknown scheme: {WRITE}"))),
        },
        (None, Some(scheme)) => (scheme, text),
        (None, None) => return Err(CommandError::usage(format!("{text:?} has no scheme: {WRITE}"))),
    };
    agree(text, scheme, named)?;
    let bucket = bucket.strip_suffix('/').unwrap_or(bucket);
    check_bucket(bucket).map_err(CommandError::usage)?;
    Ok((scheme, bucket.to_owned()))
}

fn agree(text: &str, scheme: Scheme, named: Option<Scheme>) -> Result<(), CommandError> {
    match named {
        Some(named) if named != scheme => {
            Err(CommandError::usage(format!("{text:?} is of {scheme}, and the command is for {named}")))
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
        if is_of_registry(text, named) {
            let reference = text.parse().map_err(|error| CommandError::usage(error).hint(WRITE_A_BUCKET))?;
            return Ok(RepositoryPlace::Registry { reference, options: self.options()? });
        }
        let (scheme, place) = bucket_ref(text, named)?;
        Ok(RepositoryPlace::Bucket { backend: self.backend(scheme)?, place })
    }

    /// Reads a repository in which one image is meant. In a registry its tag or digest must be written; in a bucket `latest` is
    /// meant where there is none.
    pub(super) fn named_repository(&self, text: &str) -> Result<RepositoryPlace, CommandError> {
        let place = self.repository(text)?;
        named(&place)?;
        Ok(place)
    }

    /// Reads an image in any place. A plain name is one of a registry.
    pub(super) fn image(&self, text: &str) -> Result<Place, CommandError> {
        if is_local(text) {
            return image(text).map(Place::Local);
        }
        self.named_repository(text).map(Place::Repository)
    }

    /// Reads where a copy goes from and to. A plain name could be one of the daemon or of a registry, and is refused.
    pub(super) fn both(&self, source: &str, target: &str, all_tags: bool) -> Result<(Place, Place), CommandError> {
        let place = |text: &str| {
            if self.backend.scheme().is_none() && !text.contains("://") && !is_local(text) {
                let message = format!("{text:?} may be an image of the Docker daemon or of a registry");
                return Err(CommandError::usage(message)
                    .hint(format!("write docker-daemon:{text} or {REGISTRY}{text}"))
                    .hint(WRITE_A_BUCKET));
            }
            if all_tags && !is_local(text) { self.repository(text).map(Place::Repository) } else { self.image(text) }
        };
        let (source, target) = (place(source)?, place(target)?);
        self.check_flags(&source, &target)?;
        Ok((source, target))
    }

    /// What is on the command line for one end must not reach the other: a password, or a token for another cloud.
    fn check_flags(&self, source: &Place, target: &Place) -> Result<(), CommandError> {
        use RepositoryPlace::{Bucket, Registry};
        let (Place::Repository(source), Place::Repository(target)) = (source, target) else { return Ok(()) };
        match (source, target) {
            (Registry { reference: from, options }, Registry { reference: to, .. })
                if from.registry != to.registry && matches!(options.login, Login::As(_)) =>
            {
                let (from, to) = (&from.registry, &to.registry);
                Err(CommandError::usage(format!("the user name and password would be sent to both {from} and {to}"))
                    .hint("use `oci-store login` for each of them"))
            }
            (Bucket { backend: from, .. }, Bucket { backend: to, .. })
                if from.scheme() != to.scheme() && self.backend.has_endpoint(self.env) =>
            {
                let (from, to) = (from.scheme(), to.scheme());
                Err(CommandError::usage(format!("--endpoint would be that of both {from}:// and {to}://"))
                    .hint("use AWS_ENDPOINT_URL_S3, STORAGE_EMULATOR_HOST or AZURE_STORAGE_CONNECTION_STRING"))
            }
            _ => Ok(()),
        }
    }

    /// Reads what `ls` lists.
    pub(super) fn holder(&self, text: &str) -> Result<ls::Request, CommandError> {
        let named = self.backend.scheme();
        let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('/') {
            return self.repository(text).map(ls::Request::Repository);
        }
        if is_of_registry(text, named) {
            let name = rest.parse().map_err(|error| {
                CommandError::usage(error).hint("a bucket is s3://BUCKET, gs://…, az://… or fs://…")
            })?;
            return Ok(ls::Request::Registry { name, options: self.options()? });
        }
        let (scheme, bucket) = bucket(text, named)?;
        Ok(ls::Request::Bucket { backend: self.backend(scheme)?, bucket })
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

/// Tells whether a registry is meant, where only a bucket or a registry makes sense.
pub(super) fn is_of_registry(text: &str, named: Option<Scheme>) -> bool {
    text.starts_with(REGISTRY) || (named.is_none() && !text.contains("://"))
}

/// Tells whether a text begins as a place on this machine does.
fn is_local(text: &str) -> bool {
    text.starts_with(DAEMON) || ArchivePlace::is_meant_by(text)
}

/// Demands a tag or a digest of an image in a registry.
fn named(place: &RepositoryPlace) -> Result<(), CommandError> {
    let is_registry = matches!(place, RepositoryPlace::Registry { .. });
    if !is_registry || place.tag().is_some() || place.digest().is_some() {
        return Ok(());
    }
    Err(CommandError::usage(format!("{place} names neither a tag nor a digest"))
        .hint(format!("write {place}:TAG or {place}@sha256:…; `oci-store tags {place}` lists the tags")))
}

/// Reads the value of `--image`.
pub(super) fn image(text: &str) -> Result<ImagePlace, CommandError> {
    if ArchivePlace::is_meant_by(text) {
        return text.parse().map(ImagePlace::Archive).map_err(CommandError::usage);
    }
    if is_url(text) || text.contains("://") {
        return Err(CommandError::usage(format!("--image {text:?} is no local place"))
            .hint("it is an image of the Docker daemon, docker-archive:FILE, oci-archive:FILE or oci:DIR"));
    }
    let name = text.strip_prefix(DAEMON).unwrap_or(text);
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    if name.is_empty() || !name.chars().all(allowed) || name.contains("..") || name.starts_with('/') {
        return Err(CommandError::usage(format!("--image {text:?} is no image of a Docker daemon"))
            .hint("write its name, such as app:v1; a file is docker-archive:FILE, oci-archive:FILE or oci:DIR"));
    }
    Ok(ImagePlace::Docker(name.to_owned()))
}
