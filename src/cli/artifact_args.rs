//! The verbs of `artifact`.
#![expect(clippy::doc_markdown, reason = "what is a help text shows no markdown")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::env_vars::Env;
use super::image_args::Given;
use super::registry_args::RegistryArgs;
use crate::artifact::{Annotations, InputFile, Plan, Recipe};
use crate::commands::artifact::{attach, discover, pull, push};
use crate::transfer::PlatformFilter;
use crate::ui::CommandError;

/// What `artifact` takes.
#[derive(Debug, Args)]
pub(super) struct ArtifactArgs {
    #[command(subcommand)]
    command: ArtifactCommand,
}

#[derive(Debug, Subcommand)]
enum ArtifactCommand {
    /// Stores files and folders in a bucket or a registry
    Push(ArtifactPushArgs),
    /// Brings the files of an artifact into a folder
    Pull(ArtifactPullArgs),
    /// Stores files that refer to an image or to another artifact, such as a signature or a list of what is in it
    Attach(ArtifactAttachArgs),
    /// Shows what is attached to an image or an artifact, as a tree
    Discover(ArtifactDiscoverArgs),
}

impl ArtifactArgs {
    pub(super) async fn run(self, given: Given<'_>) -> Result<(), CommandError> {
        let context = given.context;
        match self.command {
            ArtifactCommand::Push(args) => push::run(args.request(given)?, context).await,
            ArtifactCommand::Pull(args) => pull::run(args.request(given)?, context).await,
            ArtifactCommand::Attach(args) => attach::run(args.request(given)?, context).await,
            ArtifactCommand::Discover(args) => discover::run(args.request(given)?, context).await,
        }
    }
}

/// What becomes an artifact.
#[derive(Debug, Args)]
struct FileArgs {
    /// Files and folders, each FILE[:media/type]; a name with a colon in it ends in one
    #[arg(value_name = "FILE")]
    files: Vec<InputFile>,
    /// The file that becomes the config, FILE[:media/type]
    #[arg(long, value_name = "FILE", alias = "manifest-config")]
    config: Option<InputFile>,
    /// An annotation of the manifest, key=value; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = annotation)]
    annotation: Vec<(String, String)>,
    /// A JSON file with annotations: an object for each file, for $config and for $manifest
    #[arg(long, value_name = "FILE", conflicts_with = "annotation")]
    annotation_file: Option<PathBuf>,
}

impl FileArgs {
    fn plan(self, artifact_type: Option<String>, env: &Env) -> Result<Plan, CommandError> {
        // What is on the command line wins over all variables.
        let none_given = self.annotation.is_empty();
        let annotation_file = none_given.then(|| env.path_or(self.annotation_file, &["OCI_STORE_ANNOTATION_FILE"]));
        let config = env.parsed(self.config, "OCI_STORE_CONFIG")?;
        let mut annotations = match annotation_file.flatten() {
            Some(file) => {
                let attempted = format!("cannot read the annotations in {}", file.display());
                let bytes = std::fs::read(&file).map_err(|error| CommandError::because(attempted.clone(), error))?;
                Annotations::from_json(&bytes).map_err(|error| CommandError::usage(format!("{attempted}: {error}")))?
            }
            None => Annotations::default(),
        };
        let given = self.annotation.len();
        annotations.manifest.extend(self.annotation.into_iter().collect::<BTreeMap<_, _>>());
        if given > annotations.manifest.len() {
            return Err(CommandError::usage("an annotation is given twice"));
        }
        let recipe = Recipe { files: self.files, config, artifact_type, annotations };
        recipe.check().map_err(CommandError::usage)
    }
}

/// What `artifact push` takes.
#[derive(Debug, Args)]
struct ArtifactPushArgs {
    /// Where to: docker://HOST/NAME[:TAG], HOST/NAME[:TAG], or a bucket as s3://BUCKET/NAME[:TAG]
    #[arg(value_name = "PLACE")]
    place: String,
    #[command(flatten)]
    files: FileArgs,
    /// The kind of artifact, a media type
    #[arg(long, value_name = "TYPE")]
    artifact_type: Option<String>,
    /// Packs the files into the one layer of an image that Docker can pull
    #[arg(long, conflicts_with_all = ["config", "artifact_type", "annotation", "annotation_file"])]
    as_image: bool,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// What `artifact pull` takes.
#[derive(Debug, Args)]
struct ArtifactPullArgs {
    /// Where from: docker://HOST/NAME[:TAG][@DIGEST], HOST/NAME…, or a bucket as s3://BUCKET/NAME[:TAG][@DIGEST]
    #[arg(value_name = "PLACE")]
    place: String,
    /// The folder that the files go to [default: .]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Replaces no file; if one is there, nothing is written
    #[arg(long)]
    keep_old_files: bool,
    /// The platform to choose from an index, os/arch[/variant] [default: that of this machine]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<PlatformFilter>,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// What `artifact attach` takes.
#[derive(Debug, Args)]
struct ArtifactAttachArgs {
    /// What to: docker://HOST/NAME[:TAG][@DIGEST], HOST/NAME…, or in a bucket as s3://BUCKET/NAME[:TAG][@DIGEST]
    #[arg(value_name = "PLACE")]
    place: String,
    #[command(flatten)]
    files: FileArgs,
    /// The kind of artifact, a media type
    #[arg(long, value_name = "TYPE")]
    artifact_type: Option<String>,
    /// The platform of an index that it is for, os/arch[/variant] [default: the index itself]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<PlatformFilter>,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// What `artifact discover` takes.
#[derive(Debug, Args)]
struct ArtifactDiscoverArgs {
    /// What things may be attached to: docker://HOST/NAME[:TAG][@DIGEST], HOST/NAME…, or s3://BUCKET/NAME[:TAG][@DIGEST]
    #[arg(value_name = "PLACE")]
    place: String,
    /// Shows only what is of this type
    #[arg(long, value_name = "TYPE")]
    artifact_type: Option<String>,
    /// The platform of an index that is meant, os/arch[/variant] [default: the index itself]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<PlatformFilter>,
    #[command(flatten)]
    registry: RegistryArgs,
}

impl ArtifactPushArgs {
    fn request(self, given: Given<'_>) -> Result<push::Request, CommandError> {
        let env = given.env;
        let place = given.with(self.registry).named_repository(&self.place)?;
        if place.digest().is_some() {
            return Err(CommandError::usage(format!("cannot push to {place}: it names a digest"))
                .hint("push to a tag; the digest is printed when it is done"));
        }
        let plan = self.files.plan(artifact_type(self.artifact_type, env), env)?;
        Ok(push::Request { place, plan, as_image: env.switch(self.as_image, "OCI_STORE_AS_IMAGE")? })
    }
}

impl ArtifactPullArgs {
    fn request(self, given: Given<'_>) -> Result<pull::Request, CommandError> {
        let env = given.env;
        let place = given.with(self.registry).named_repository(&self.place)?;
        let output = env.path_or(self.output, &["OCI_STORE_OUTPUT"]).unwrap_or_else(|| PathBuf::from("."));
        let keep_old_files = env.switch(self.keep_old_files, "OCI_STORE_KEEP_OLD_FILES")?;
        let platform = env.parsed(self.platform, "OCI_STORE_PLATFORM")?;
        Ok(pull::Request { place, output, keep_old_files, platform })
    }
}

impl ArtifactAttachArgs {
    fn request(self, given: Given<'_>) -> Result<attach::Request, CommandError> {
        let env = given.env;
        let place = given.with(self.registry).named_repository(&self.place)?;
        let Some(artifact_type) = artifact_type(self.artifact_type, env) else {
            return Err(CommandError::usage("what is attached needs a type")
                .hint("say what it is: --artifact-type application/spdx+json"));
        };
        let plan = self.files.plan(Some(artifact_type), env)?;
        if plan.is_empty() {
            return Err(
                CommandError::usage("there is nothing to attach").hint("name files, or give it an --annotation")
            );
        }
        Ok(attach::Request { place, plan, platform: env.parsed(self.platform, "OCI_STORE_PLATFORM")? })
    }
}

impl ArtifactDiscoverArgs {
    fn request(self, given: Given<'_>) -> Result<discover::Request, CommandError> {
        let env = given.env;
        let place = given.with(self.registry).named_repository(&self.place)?;
        let artifact_type = artifact_type(self.artifact_type, env);
        Ok(discover::Request { place, artifact_type, platform: env.parsed(self.platform, "OCI_STORE_PLATFORM")? })
    }
}

fn artifact_type(given: Option<String>, env: &Env) -> Option<String> {
    env.or(given, &["OCI_STORE_ARTIFACT_TYPE"])
}

fn annotation(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("an annotation is key=value".to_owned()),
    }
}
