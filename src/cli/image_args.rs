//! Arguments of the verbs that copy, list and inspect, whatever holds the image.
#![expect(clippy::doc_markdown, reason = "what is a help text shows no markdown")]

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::backend_args::BackendArgs;
use super::env_vars::Env;
use super::place::Surroundings;
use super::registry_args::RegistryArgs;
use super::verbs::CommonArgs;
use crate::commands::{Context, RepositoryPlace, blob, copy, inspect, ls, manifest, tags};
use crate::transfer::PlatformFilter;
use crate::ui::{CommandError, ExitStatus};

/// What `copy` takes.
#[derive(Debug, Args)]
pub(super) struct CopyArgs {
    /// Where from: docker://HOST/NAME[:TAG][@DIGEST], s3://BUCKET/NAME[:TAG] (also gs://, az://, fs://), docker-daemon:NAME[:TAG],
    /// docker-archive:FILE[:REF], oci-archive:FILE[:TAG] or oci:DIR[:TAG]
    #[arg(value_name = "SRC")]
    source: String,
    /// Where to, written in the same way
    #[arg(value_name = "DST")]
    target: String,
    /// Copies all tags of a repository to another one
    #[arg(long, conflicts_with = "digestfile")]
    all_tags: bool,
    /// Leaves out signatures, SBOMs and whatever else is attached to the image
    #[arg(long)]
    no_referrers: bool,
    /// Says what would be sent, and changes nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// What `tags` takes.
#[derive(Debug, Args)]
pub(super) struct TagsArgs {
    /// The repository: HOST/NAME or docker://HOST/NAME in a registry, s3://BUCKET/NAME in a bucket (also gs://, az://, fs://)
    #[arg(value_name = "PLACE")]
    place: String,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// What `ls` takes.
#[derive(Debug, Args)]
pub(super) struct LsArgs {
    /// HOST or s3://BUCKET lists repositories, HOST/NAME or s3://BUCKET/NAME tags with digests and sizes
    #[arg(value_name = "PLACE")]
    place: String,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// What `inspect` takes.
#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// The image: HOST/NAME:TAG, s3://BUCKET/NAME[:TAG] (also gs://, az://, fs://), docker-daemon:NAME[:TAG],
    /// docker-archive:FILE[:REF], oci-archive:FILE[:TAG] or oci:DIR[:TAG]
    #[arg(value_name = "PLACE")]
    place: String,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// What `config` takes.
#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    /// The image, as `inspect` takes it
    #[arg(value_name = "PLACE")]
    place: String,
    /// The platform of an index, os/arch[/variant] [default: this machine's]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<PlatformFilter>,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// What `manifest` takes.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct ManifestArgs {
    #[command(subcommand)]
    command: Option<ManifestCommand>,
    #[command(flatten)]
    get: ManifestGetArgs,
}

#[derive(Debug, Subcommand)]
enum ManifestCommand {
    /// Prints a manifest, byte for byte, and its digest to stderr
    Get(ManifestGetArgs),
    /// Stores a manifest whose blobs are there already
    Put(ManifestPutArgs),
    /// Deletes a manifest, and with it all tags that name it
    Delete(ManifestDeleteArgs),
}

#[derive(Debug, Args)]
struct ManifestGetArgs {
    /// The image, as `inspect` takes it
    #[arg(value_name = "PLACE")]
    place: Option<String>,
    /// Shows the index, and behind it the manifest for one platform
    #[arg(long)]
    resolve: bool,
    /// The platform of an index, os/arch[/variant] [default with --resolve: this machine's]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<PlatformFilter>,
    #[command(flatten)]
    registry: RegistryArgs,
}

#[derive(Debug, Args)]
struct ManifestPutArgs {
    /// Where to: HOST/NAME:TAG, s3://BUCKET/NAME[:TAG], or with @DIGEST to have it checked
    #[arg(value_name = "PLACE")]
    place: String,
    /// The document; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What the document is, if it does not say so itself
    #[arg(long, value_name = "TYPE")]
    media_type: Option<String>,
    #[command(flatten)]
    registry: RegistryArgs,
}

#[derive(Debug, Args)]
struct ManifestDeleteArgs {
    /// Which: HOST/NAME:TAG, HOST/NAME@DIGEST or the same in a bucket
    #[arg(value_name = "PLACE")]
    place: String,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// What `blob` takes.
#[derive(Debug, Args)]
pub(super) struct BlobArgs {
    #[command(subcommand)]
    command: BlobCommand,
}

#[derive(Debug, Subcommand)]
enum BlobCommand {
    /// Writes a blob to a file or to stdout, verified
    Get(BlobGetArgs),
    /// Stores a file as a blob
    Put(BlobPutArgs),
}

#[derive(Debug, Args)]
struct BlobGetArgs {
    /// The blob: HOST/NAME@DIGEST, or s3://BUCKET/NAME@DIGEST
    #[arg(value_name = "PLACE")]
    place: String,
    /// Where to write it [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    registry: RegistryArgs,
}

#[derive(Debug, Args)]
struct BlobPutArgs {
    /// The repository: HOST/NAME or s3://BUCKET/NAME, with @DIGEST to have it checked
    #[arg(value_name = "PLACE")]
    place: String,
    /// The file; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// What all of them are given besides.
pub(super) struct Given<'a> {
    pub(super) backend: BackendArgs,
    pub(super) env: &'a Env,
    pub(super) context: &'a Context,
}

impl<'a> Given<'a> {
    pub(super) fn with(self, registry: RegistryArgs) -> Surroundings<'a> {
        Surroundings::new(self.backend, registry, self.env, self.context)
    }
}

impl CopyArgs {
    pub(super) async fn run(self, given: Given<'_>) -> Result<ExitStatus, CommandError> {
        let (env, context) = (given.env, given.context);
        let (platforms, digestfile) = self.common.resolve(env)?;
        let all_tags = env.switch(self.all_tags, "OCI_STORE_ALL_TAGS")?;
        let options = copy::Options {
            platforms,
            referrers: !env.switch(self.no_referrers, "OCI_STORE_NO_REFERRERS")?,
            dry_run: env.switch(self.dry_run, "OCI_STORE_DRY_RUN")?,
        };
        let with = given.with(self.registry);
        let (source, target) = with.both(&self.source, &self.target, all_tags)?;
        copy::run(copy::Request { source, target, options, all_tags, digestfile }, context).await
    }
}

impl TagsArgs {
    pub(super) async fn run(self, given: Given<'_>) -> Result<(), CommandError> {
        let context = given.context;
        tags::run(whole(given.with(self.registry).repository(&self.place)?)?, context).await
    }
}

impl LsArgs {
    pub(super) async fn run(self, given: Given<'_>) -> Result<(), CommandError> {
        let context = given.context;
        let request = match given.with(self.registry).holder(&self.place)? {
            ls::Request::Repository(place) => ls::Request::Repository(whole(place)?),
            all => all,
        };
        ls::run(request, context).await
    }
}

impl InspectArgs {
    pub(super) async fn run(self, given: Given<'_>) -> Result<(), CommandError> {
        let context = given.context;
        inspect::run(given.with(self.registry).image(&self.place)?, context).await
    }
}

impl ConfigArgs {
    pub(super) async fn run(self, given: Given<'_>) -> Result<(), CommandError> {
        let context = given.context;
        manifest::config(given.with(self.registry).image(&self.place)?, self.platform, context).await
    }
}

impl ManifestArgs {
    pub(super) async fn run(self, given: Given<'_>) -> Result<(), CommandError> {
        let context = given.context;
        match self.command.unwrap_or(ManifestCommand::Get(self.get)) {
            ManifestCommand::Get(get) => {
                let place = get.place.ok_or_else(|| {
                    CommandError::usage("manifest is told no image")
                        .hint("write manifest HOST/NAME:TAG, or manifest get, put or delete")
                })?;
                let place = given.with(get.registry).image(&place)?;
                let request = manifest::GetRequest { place, resolve: get.resolve, platform: get.platform };
                manifest::get(request, context).await
            }
            ManifestCommand::Put(put) => {
                let place = given.with(put.registry).named_repository(&put.place)?;
                let request = manifest::PutRequest { place, file: put.file, media_type: put.media_type };
                manifest::put(request, context).await
            }
            ManifestCommand::Delete(delete) => {
                manifest::delete(given.with(delete.registry).named_repository(&delete.place)?, context).await
            }
        }
    }
}

impl BlobArgs {
    pub(super) async fn run(self, given: Given<'_>) -> Result<(), CommandError> {
        let context = given.context;
        match self.command {
            BlobCommand::Get(get) => {
                blob::get(given.with(get.registry).repository(&get.place)?, get.output, context).await
            }
            BlobCommand::Put(put) => {
                blob::put(given.with(put.registry).repository(&put.place)?, put.file, context).await
            }
        }
    }
}

/// Refuses a tag and a digest where a whole repository is meant.
fn whole(place: RepositoryPlace) -> Result<RepositoryPlace, CommandError> {
    if place.tag().is_none() && place.digest().is_none() {
        return Ok(place);
    }
    let repository = place.with_reference(None);
    Err(CommandError::usage(format!("{place} names one image, and a whole repository is listed"))
        .hint(format!("write {repository}")))
}
