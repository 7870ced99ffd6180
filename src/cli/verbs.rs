//! The verbs: one type for `oci-store s3 push …` and `oci-store push s3://…`.
#![expect(clippy::doc_markdown, reason = "what is a help text shows no markdown")]

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::artifact_args::ArtifactArgs;
use super::backend_args::{AnyArgs, BackendArgs, NoArgs};
use super::env_vars::Env;
use super::image_args::{BlobArgs, ConfigArgs, CopyArgs, Given, InspectArgs, LsArgs, ManifestArgs, TagsArgs};
use super::place;
use super::registry_args::RegistryArgs;
use crate::archive::{ArchivePlace, CompressionFormat, LayerCompression};
use crate::commands::{Context, ImagePlace, ImageRequest, copy, doctor, pull, push, serve};
use crate::transfer::PlatformFilter;
use crate::ui::CommandError;

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Verb<B: Args> {
    /// Stores an image in a bucket
    Push {
        #[command(flatten)]
        args: PushArgs,
        #[command(flatten)]
        backend: B,
    },
    /// Brings an image back from a bucket
    Pull {
        #[command(flatten)]
        args: PullArgs,
        #[command(flatten)]
        backend: B,
    },
    /// Serves a bucket as a registry on this machine until it is stopped
    Serve {
        #[command(flatten)]
        args: ServeArgs,
        #[command(flatten)]
        backend: B,
    },
    /// Copies an image between any two of registry, bucket, daemon, archive and layout
    Copy {
        #[command(flatten)]
        args: CopyArgs,
        #[command(flatten)]
        backend: B,
    },
    /// Lists the tags of a repository
    Tags {
        #[command(flatten)]
        args: TagsArgs,
        #[command(flatten)]
        backend: B,
    },
    /// Lists the repositories of a registry or bucket, or the tags of a repository with digests and sizes
    Ls {
        #[command(flatten)]
        args: LsArgs,
        #[command(flatten)]
        backend: B,
    },
    /// Shows what an image is made of: platforms, layers, sizes, labels, and what is attached to it
    Inspect {
        #[command(flatten)]
        args: InspectArgs,
        #[command(flatten)]
        backend: B,
    },
    /// Prints, stores or deletes a manifest
    Manifest {
        #[command(flatten)]
        args: ManifestArgs,
        #[command(flatten)]
        backend: B,
    },
    /// Prints the config of an image
    Config {
        #[command(flatten)]
        args: ConfigArgs,
        #[command(flatten)]
        backend: B,
    },
    /// Reads or stores a single blob of a repository
    Blob {
        #[command(flatten)]
        args: BlobArgs,
        #[command(flatten)]
        backend: B,
    },
    /// Stores files and folders, and brings them back
    Artifact {
        #[command(flatten)]
        args: ArtifactArgs,
        #[command(flatten)]
        backend: B,
    },
    /// Says what works between Docker, this machine and a bucket, and what to do about what does not
    Doctor {
        #[command(flatten)]
        args: DoctorArgs,
        #[command(flatten)]
        backend: B,
    },
}

impl Verb<Box<AnyArgs>> {
    /// Takes the backend's flags off.
    pub(super) fn split(self) -> (Verb<NoArgs>, Box<AnyArgs>) {
        let none = NoArgs {};
        match self {
            Self::Push { args, backend } => (Verb::Push { args, backend: none }, backend),
            Self::Pull { args, backend } => (Verb::Pull { args, backend: none }, backend),
            Self::Serve { args, backend } => (Verb::Serve { args, backend: none }, backend),
            Self::Copy { args, backend } => (Verb::Copy { args, backend: none }, backend),
            Self::Tags { args, backend } => (Verb::Tags { args, backend: none }, backend),
            Self::Ls { args, backend } => (Verb::Ls { args, backend: none }, backend),
            Self::Inspect { args, backend } => (Verb::Inspect { args, backend: none }, backend),
            Self::Manifest { args, backend } => (Verb::Manifest { args, backend: none }, backend),
            Self::Config { args, backend } => (Verb::Config { args, backend: none }, backend),
            Self::Blob { args, backend } => (Verb::Blob { args, backend: none }, backend),
            Self::Artifact { args, backend } => (Verb::Artifact { args, backend: none }, backend),
            Self::Doctor { args, backend } => (Verb::Doctor { args, backend: none }, backend),
        }
    }
}

/// What `push` takes.
#[derive(Debug, Args)]
pub(super) struct PushArgs {
    /// Where to: BUCKET/NAME[:TAG], or with the backend's scheme s3://BUCKET/NAME[:TAG]
    #[arg(value_name = "REF")]
    reference: String,
    /// What to push: an image of the Docker daemon, docker-archive:FILE[:REF], oci-archive:FILE[:TAG] or oci:DIR[:TAG]
    /// [default: NAME:TAG in the Docker daemon]
    #[arg(short, long, value_name = "PLACE")]
    image: Option<String>,
    #[command(flatten)]
    compression: CompressionArgs,
    #[command(flatten)]
    common: CommonArgs,
}

/// How layers are compressed.
#[derive(Debug, Args)]
pub(super) struct CompressionArgs {
    /// How layers are compressed that Docker keeps uncompressed: gzip, or zstd, which Docker before 23.0 cannot pull
    /// [default: gzip]
    #[arg(long, value_name = "FORMAT")]
    compression: Option<CompressionFormat>,
    /// The level: 1 to 12 of gzip, 1 to 19 of zstd [default: 4 of gzip, 3 of zstd]
    #[arg(long, value_name = "N")]
    compression_level: Option<i32>,
}

impl CompressionArgs {
    /// Returns what the user wants, if anything.
    fn resolve(self, env: &Env) -> Result<Option<LayerCompression>, CommandError> {
        let format = env.parsed(self.compression, "OCI_STORE_COMPRESSION")?;
        let level = env.parsed(self.compression_level, "OCI_STORE_COMPRESSION_LEVEL")?;
        if format.is_none() && level.is_none() {
            return Ok(None);
        }
        let compression = LayerCompression::new(format.unwrap_or_default(), level);
        let refused = |error| format!("--compression-level {} cannot be used: {error}", level.unwrap_or_default());
        compression.map(Some).map_err(|error| CommandError::usage(refused(error)))
    }
}

/// What `pull` takes.
#[derive(Debug, Args)]
pub(super) struct PullArgs {
    /// Where from: BUCKET/NAME[:TAG][@DIGEST], or with the backend's scheme s3://BUCKET/NAME[:TAG][@DIGEST]; or from a
    /// registry, HOST/NAME:TAG
    #[arg(value_name = "REF")]
    reference: String,
    /// Where to: a name in the Docker daemon, docker-archive:FILE[:REF], oci-archive:FILE[:TAG] or oci:DIR[:TAG]
    /// [default: NAME:TAG in the Docker daemon]
    #[arg(short, long, value_name = "PLACE")]
    image: Option<String>,
    /// Writes a file for `docker load`, as --image docker-archive:FILE does
    #[arg(long, value_name = "FILE", conflicts_with = "image")]
    path: Option<PathBuf>,
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// What `push` and `pull` both take.
#[derive(Debug, Args)]
pub(super) struct CommonArgs {
    /// One platform of several, os/arch[/variant]; may be repeated
    #[arg(long, value_name = "PLATFORM", value_delimiter = ',')]
    platform: Vec<PlatformFilter>,
    /// Also writes the digest to this file
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
}

/// What `serve` takes.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// The bucket: BUCKET, or with the backend's scheme s3://BUCKET
    #[arg(value_name = "BUCKET")]
    bucket: String,
    /// The loopback address and port to listen on; port 0 picks a free one [default: 127.0.0.1:5000]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Refuses whatever would change the bucket
    #[arg(long)]
    read_only: bool,
    /// Accepts images whose layers are not all there, as a registry may; Docker's own does not
    #[arg(long)]
    allow_sparse: bool,
}

/// What `doctor` takes.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// The bucket, or an image in it: BUCKET[/NAME[:TAG]], or with the backend's scheme s3://BUCKET; without it only the
    /// daemon is examined
    #[arg(value_name = "REF")]
    reference: Option<String>,
}

impl DoctorArgs {
    pub(super) fn request(
        self,
        backend: BackendArgs,
        env: &Env,
        context: &Context,
    ) -> Result<doctor::Request, CommandError> {
        let Some(reference) = self.reference else {
            return Ok(doctor::Request { bucket: None });
        };
        // What follows the bucket is read as carefully as for a push, and then not needed.
        let after_scheme = reference.split_once("://").map_or(reference.as_str(), |(_, rest)| rest);
        let names_image = after_scheme.trim_end_matches('/').contains('/');
        let (scheme, bucket) = if names_image {
            let (scheme, place) = place::bucket_ref(&reference, backend.scheme())?;
            (scheme, place.bucket)
        } else {
            place::bucket(&reference, backend.scheme())?
        };
        Ok(doctor::Request { bucket: Some((backend.config(scheme, env, context)?, bucket)) })
    }
}

impl CommonArgs {
    pub(super) fn resolve(self, env: &Env) -> Result<(Vec<PlatformFilter>, Option<PathBuf>), CommandError> {
        let mut platforms = self.platform;
        if platforms.is_empty()
            && let Some(text) = env.first(&["OCI_STORE_PLATFORM"])
        {
            let parsed: Result<_, String> = text.split(',').map(str::parse).collect();
            platforms =
                parsed.map_err(|error| CommandError::usage(format!("OCI_STORE_PLATFORM is {text:?}: {error}")))?;
        }
        Ok((platforms, env.path_or(self.digestfile, &["OCI_STORE_DIGESTFILE"])))
    }
}

impl PushArgs {
    pub(super) fn request(
        self,
        backend: BackendArgs,
        env: &Env,
        context: &Context,
    ) -> Result<push::Request, CommandError> {
        let (scheme, place) = place::bucket_ref(&self.reference, backend.scheme())?;
        if place.selector.digest.is_some() {
            return Err(CommandError::usage(format!("cannot push to {:?}: it names a digest", self.reference))
                .hint("push to a tag; the digest is printed when it is done"));
        }
        let image = env.or(self.image, &["OCI_STORE_IMAGE"]).as_deref().map(place::image).transpose()?;
        let (platforms, digestfile) = self.common.resolve(env)?;
        let compression = self.compression.resolve(env)?;
        let backend = backend.config(scheme, env, context)?;
        Ok(push::Request { image: ImageRequest { backend, place, image, platforms, digestfile }, compression })
    }
}

impl PullArgs {
    pub(super) async fn run(self, given: Given<'_>) -> Result<(), CommandError> {
        let context = given.context;
        if place::is_of_registry(&self.reference, given.backend.scheme()) {
            return copy::pull(self.of_registry(given)?, context).await;
        }
        Box::pin(pull::run(self.request(given.backend, given.env, context)?, context)).await
    }

    fn of_registry(self, given: Given<'_>) -> Result<copy::PullRequest, CommandError> {
        let image = self.image(given.env)?;
        let (platforms, digestfile) = self.common.resolve(given.env)?;
        let source = given.with(self.registry).named_repository(&self.reference)?;
        Ok(copy::PullRequest { source, image, platforms, digestfile })
    }

    /// Returns where the image is to go, if that is said.
    fn image(&self, env: &Env) -> Result<Option<ImagePlace>, CommandError> {
        if let Some(file) = self.path.clone() {
            return Ok(Some(ImagePlace::Archive(ArchivePlace::DockerArchive { file, reference: None })));
        }
        env.or(self.image.clone(), &["OCI_STORE_IMAGE"]).as_deref().map(place::image).transpose()
    }

    fn request(self, backend: BackendArgs, env: &Env, context: &Context) -> Result<ImageRequest, CommandError> {
        let (scheme, place) = place::bucket_ref(&self.reference, backend.scheme())?;
        let image = self.image(env)?;
        if image.is_none() && place.selector.tag_meant().is_none() {
            return Err(CommandError::usage(format!("{:?} names no tag to give the image", self.reference)).hint(
                format!("say what to call it: --image {}:TAG, or {}:TAG@sha256:…", place.repository, place.repository),
            ));
        }
        let (platforms, digestfile) = self.common.resolve(env)?;
        Ok(ImageRequest { backend: backend.config(scheme, env, context)?, place, image, platforms, digestfile })
    }
}

impl ServeArgs {
    pub(super) fn request(
        self,
        backend: BackendArgs,
        env: &Env,
        context: &Context,
    ) -> Result<serve::Request, CommandError> {
        let (scheme, bucket) = place::bucket(&self.bucket, backend.scheme())?;
        let listen = env.parsed(self.listen, "OCI_STORE_LISTEN")?;
        let listen = listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 5000)));
        if !listen.ip().is_loopback() {
            return Err(CommandError::usage(format!("cannot listen on {listen}: it is no loopback address"))
                .hint("whoever reaches the port may read and write the bucket; put a proxy that authenticates in front of 127.0.0.1"));
        }
        let read_only = env.switch(self.read_only, "OCI_STORE_READ_ONLY")?;
        let allow_sparse = env.switch(self.allow_sparse, "OCI_STORE_ALLOW_SPARSE")?;
        Ok(serve::Request { backend: backend.config(scheme, env, context)?, bucket, listen, read_only, allow_sparse })
    }
}
