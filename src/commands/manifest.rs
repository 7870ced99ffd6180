//! `manifest` and `config`: the documents of an image, byte for byte.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;
use storage_layout::{Algorithm, Digest, MAX_MANIFEST_SIZE, Manifest};

use super::{Context, Place, RepositoryPlace, input};
use crate::backend::Intent;
use crate::transfer::{Error, Image, MAX_CONFIG, PlatformFilter, Source, read_small};
use crate::ui::{CommandError, ExitStatus, Format};

/// Which manifest to show, and how.
#[derive(Debug)]
pub struct GetRequest {
    /// Where the image is.
    pub place: Place,
    /// Whether the image for one platform is shown after its index.
    pub resolve: bool,
    /// The platform that is wanted.
    pub platform: Option<PlatformFilter>,
}

/// Which manifest to store, and where.
#[derive(Debug)]
pub struct PutRequest {
    /// The repository, with the tag to set or the digest that the manifest must have.
    pub place: RepositoryPlace,
    /// The document; `-` is standard input.
    pub file: PathBuf,
    /// What the document is, where it does not say so itself.
    pub media_type: Option<String>,
}

/// A document with its digest.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    digest: Digest,
    media_type: String,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resolved: Option<Box<Self>>,
}

impl Shown {
    fn new(reference: Option<String>, manifest: &Manifest) -> Result<Self, CommandError> {
        Ok(Self {
            reference,
            digest: manifest.digest().clone(),
            media_type: manifest.media_type().to_owned(),
            size: manifest.size(),
            manifest: Some(document(manifest.bytes())?),
            config: None,
            resolved: None,
        })
    }
}

fn document(bytes: &[u8]) -> Result<Value, CommandError> {
    serde_json::from_slice(bytes).map_err(|error| CommandError::because("the document is no JSON", error))
}

/// Shows a manifest: its bytes on stdout, its digest on stderr.
///
/// # Errors
/// If there is no such image, or none for the platform.
pub async fn get(request: GetRequest, context: &Context) -> Result<(), CommandError> {
    let GetRequest { place, resolve, platform } = request;
    let attempted = format!("cannot read the manifest of {place}");
    let work = context.unless_stopped(format!("reading {place}"), async {
        let source = context.source(&place).await?;
        let because = |error| missing(&attempted, &place, error);
        let root = source.root().await.map_err(because)?;
        let resolved = match platform_of(&root, resolve, platform) {
            Some(platform) => Some(choose(source.as_ref(), &root, platform).await.map_err(because)?),
            None => None,
        };
        Ok((root, resolved))
    });
    let (root, resolved) = work.await?;
    // A platform alone asks for its image; with --resolve both are shown.
    let (first, second) = match resolved {
        Some(image) if resolve => (root, Some(image)),
        Some(image) => (image, None),
        None => (root, None),
    };
    if context.printer.format() == Format::Json {
        let mut shown = Shown::new(Some(place.to_string()), &first)?;
        shown.resolved = second.map(|image| Shown::new(None, &image).map(Box::new)).transpose()?;
        return context.printer.document(&shown);
    }
    let kind = |manifest: &Manifest| if manifest.is_index() { "index" } else { "manifest" };
    context.printer.note(&format!("{} {}", kind(&first), first.digest()));
    context.printer.raw(first.bytes());
    if let Some(image) = second {
        // The first document need not end its line.
        context.printer.raw(b"\n");
        context.printer.note(&format!("{} {}", kind(&image), image.digest()));
        context.printer.raw(image.bytes());
        context.printer.raw(b"\n");
    }
    Ok(())
}

fn platform_of(root: &Manifest, resolve: bool, platform: Option<PlatformFilter>) -> Option<PlatformFilter> {
    if resolve && root.is_index() { Some(platform.unwrap_or_else(PlatformFilter::host)) } else { platform }
}

async fn choose(source: &dyn Source, root: &Manifest, platform: PlatformFilter) -> Result<Manifest, Error> {
    Ok(Image::below(source, root.clone(), &[platform]).await?.root().clone())
}

/// Adds what to do where an image is not there.
pub(super) fn missing(attempted: &str, place: &Place, error: Error) -> CommandError {
    let absent = error.is_not_found();
    let error = CommandError::because(attempted, error);
    match place {
        Place::Repository(place) if absent => {
            error.hint(format!("see what is there: oci-store tags {}", place.with_reference(None)))
        }
        _ => error,
    }
}

/// Shows an image's config: its bytes on stdout, its digest on stderr. Of an index it is that of one platform, this machine's if
/// none is chosen.
///
/// # Errors
/// If there is no such image, or none for the platform.
pub async fn config(place: Place, platform: Option<PlatformFilter>, context: &Context) -> Result<(), CommandError> {
    let attempted = format!("cannot read the config of {place}");
    let work = context.unless_stopped(format!("reading {place}"), async {
        let source = context.source(&place).await?;
        let because = |error| missing(&attempted, &place, error);
        let root = source.root().await.map_err(because)?;
        let image = match platform_of(&root, true, platform) {
            Some(platform) => choose(source.as_ref(), &root, platform).await.map_err(because)?,
            None => root,
        };
        let config = image.config().cloned().ok_or_else(|| {
            CommandError::new(ExitStatus::NotFound, format!("{attempted}: {} is an index of indexes", image.digest()))
        })?;
        let bytes = read_small(source.as_ref(), &config, MAX_CONFIG).await.map_err(because)?;
        Ok((config, bytes))
    });
    let (config, bytes) = work.await?;
    if context.printer.format() == Format::Json {
        return context.printer.document(&Shown {
            reference: Some(place.to_string()),
            digest: config.digest,
            media_type: config.media_type,
            size: config.size,
            manifest: None,
            config: Some(document(&bytes)?),
            resolved: None,
        });
    }
    context.printer.note(&format!("config {}", config.digest));
    context.printer.raw(&bytes);
    Ok(())
}

/// Stores a manifest, whose blobs and manifests are there already.
///
/// # Errors
/// If it is none, names what is not there, or has another digest than the place names.
pub async fn put(request: PutRequest, context: &Context) -> Result<(), CommandError> {
    let PutRequest { place, file, media_type } = request;
    let attempted = format!("cannot store the manifest {} at {place}", shown(&file));
    let algorithm = place.digest().map_or(Algorithm::default(), Digest::algorithm);
    let bytes = input::read_small(&file, MAX_MANIFEST_SIZE).await;
    let bytes = bytes.map_err(|error| CommandError::because(attempted.clone(), error))?;
    let manifest = Manifest::parse(bytes.into(), algorithm, media_type.as_deref())
        .map_err(|error| CommandError::because(attempted.clone(), error))?;
    if let Some(named) = place.digest()
        && named != manifest.digest()
    {
        let message = format!("{attempted}: its digest is {}", manifest.digest());
        return Err(CommandError::new(ExitStatus::Integrity, message));
    }
    let tag = place.selector().tag_meant();
    let work = context.unless_stopped(format!("storing a manifest at {place}"), async {
        let repository = context.repository(&place, Intent::Write).await?;
        let stored = repository.put_manifest(&manifest, tag.as_slice()).await;
        stored.map_err(|error| CommandError::because(attempted.clone(), error))
    });
    work.await?;
    tell(&place.by_tag(), &manifest, context)
}

/// Deletes a manifest, and with it all tags that name it.
///
/// # Errors
/// If there is none, or the registry does not allow it.
pub async fn delete(place: RepositoryPlace, context: &Context) -> Result<(), CommandError> {
    let attempted = format!("cannot delete {place}");
    let work = context.unless_stopped(format!("deleting {place}"), async {
        let because = |error| missing(&attempted, &Place::Repository(place.clone()), error);
        let repository = context.repository(&place, Intent::Write).await?;
        let manifest = repository.get_manifest(&place.reference()).await.map_err(because)?;
        repository.delete_manifest(manifest.digest()).await.map_err(because)?;
        Ok(manifest)
    });
    let manifest = work.await?;
    context.printer.note("deleted the manifest, and all tags that named it");
    tell(&place.with_reference(None), &manifest, context)
}

fn tell(place: &RepositoryPlace, manifest: &Manifest, context: &Context) -> Result<(), CommandError> {
    if context.printer.format() == Format::Json {
        let shown = Shown { manifest: None, ..Shown::new(Some(place.to_string()), manifest)? };
        return context.printer.document(&shown);
    }
    context.printer.result(&format!("{place}@{}", manifest.digest()));
    Ok(())
}

fn shown(file: &Path) -> String {
    if file == Path::new("-") { "on standard input".to_owned() } else { file.display().to_string() }
}
