//! Where a copy goes to, opened.

use std::collections::HashSet;
use std::sync::Arc;

use storage_layout::Tag;

use crate::archive::{self, ArchivePlace, Spool, TargetOptions};
use crate::backend::Intent;
use crate::commands::place::Near;
use crate::commands::pull::check_loaded;
use crate::commands::{Context, ImagePlace, Place, RepositoryPlace};
use crate::docker::DockerEngine;
use crate::transfer::{Copied, PlatformFilter, Repository, RepositoryTarget, Source, Target};
use crate::ui::{CommandError, ExitStatus};

/// Where a copy goes to.
pub(super) struct TargetEnd {
    /// `None` where a dry run would have to make something first; nothing is there then.
    target: Option<Box<dyn Target>>,
    holder: Holder,
}

/// What holds the image in the end.
enum Holder {
    Repository(Option<Arc<dyn Repository>>),
    DockerArchive,
    Layout,
    Daemon(Box<Daemon>),
}

/// A daemon that is to load what is written.
struct Daemon {
    engine: DockerEngine,
    platform: PlatformFilter,
    name: String,
    spool: Spool,
}

impl TargetEnd {
    /// Opens a place to copy to; `from` is `source`, opened. A dry run makes nothing.
    pub(super) async fn open(
        place: &Place,
        source: &Place,
        from: &dyn Source,
        dry_run: bool,
        context: &Context,
    ) -> Result<Self, CommandError> {
        match place {
            Place::Repository(place) => {
                let near = match source {
                    Place::Repository(source) => Some(Near { place: source, bucket: from.bucket() }),
                    Place::Local(_) => None,
                };
                let repository = open_repository(place, near, dry_run, context).await?;
                Ok(Self::at_tag(repository, place.tag_or_latest()))
            }
            Place::Local(ImagePlace::Archive(place)) => {
                let holder = match place {
                    ArchivePlace::DockerArchive { .. } => Holder::DockerArchive,
                    ArchivePlace::OciArchive { .. } | ArchivePlace::OciDirectory { .. } => Holder::Layout,
                };
                if dry_run && !matches!(place, ArchivePlace::OciDirectory { .. }) {
                    return Ok(Self { target: None, holder });
                }
                let target = archive::open_target(place, &TargetOptions { name: name_of(source) })
                    .map_err(|error| CommandError::because(format!("cannot write {place}"), error))?;
                Ok(Self { target: Some(target), holder })
            }
            Place::Local(ImagePlace::Docker(name)) => {
                let daemon = Daemon::open(name, context).await?;
                let target = daemon.spool.target(name, &HashSet::new());
                let target = target.map_err(|error| CommandError::because(format!("cannot write {place}"), error))?;
                Ok(Self { target: (!dry_run).then_some(target), holder: Holder::Daemon(Box::new(daemon)) })
            }
        }
    }

    /// Makes a target of a tag in a repository that [`open_repository`] opened.
    pub(super) fn at_tag(repository: Option<Arc<dyn Repository>>, tag: Tag) -> Self {
        let target = repository.clone().map(|repository| RepositoryTarget::new(repository, Some(tag)));
        Self { target: target.map(|target| Box::new(target) as _), holder: Holder::Repository(repository) }
    }

    pub(super) fn target(&self) -> Option<&dyn Target> {
        self.target.as_deref()
    }

    /// Tells whether the place can hold what is attached to an image.
    pub(super) fn takes_referrers(&self) -> bool {
        matches!(self.holder, Holder::Repository(_) | Holder::Layout)
    }

    /// Returns the platform to choose where the place holds one image and the user chooses none.
    pub(super) fn only_platform(&self) -> Option<PlatformFilter> {
        match &self.holder {
            Holder::Repository(_) | Holder::Layout => None,
            Holder::DockerArchive => Some(PlatformFilter::host()),
            Holder::Daemon(daemon) => Some(daemon.platform.clone()),
        }
    }

    /// Cleans up what failed.
    pub(super) async fn settle(&self) {
        if let Holder::Repository(Some(repository)) = &self.holder {
            repository.settle().await;
        }
    }

    /// Has a daemon load what was written.
    pub(super) async fn finish(self, copied: Copied, attempted: &str) -> Result<Copied, CommandError> {
        let Self { target, holder } = self;
        drop(target);
        if let Holder::Daemon(daemon) = holder {
            daemon.load(&copied, attempted).await?;
        }
        Ok(copied)
    }
}

/// Opens a repository to copy to. What is near need not be sent. `None` if a dry run would have to make it.
pub(super) async fn open_repository(
    place: &RepositoryPlace,
    near: Option<Near<'_>>,
    dry_run: bool,
    context: &Context,
) -> Result<Option<Arc<dyn Repository>>, CommandError> {
    if place.digest().is_some() {
        return Err(CommandError::usage(format!("cannot copy to {place}: it names a digest"))
            .hint("copy to a tag; the digest is printed when it is done"));
    }
    let intent = if dry_run { Intent::Read } else { Intent::Write };
    match context.repository_near(place, near, intent).await {
        Ok(repository) => Ok(Some(repository)),
        // A copy makes the folder.
        Err(error) if dry_run && place.is_folder() && error.status() == ExitStatus::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Daemon {
    async fn open(name: &str, context: &Context) -> Result<Self, CommandError> {
        let attempted = format!("cannot write {name} to the Docker daemon");
        let because = |error| CommandError::because(attempted.clone(), error);
        let engine = context.docker_unasked().map_err(because)?;
        let platform = engine.while_greeting(engine.describe()).await.flatten().map_err(because)?.own_platform();
        let label = format!("the archive of {name} for the Docker daemon");
        let spool = Spool::create(label, &context.settings.spool_dir).await;
        Ok(Self {
            engine,
            platform,
            name: name.to_owned(),
            spool: spool.map_err(|error| CommandError::because(attempted, error))?,
        })
    }

    async fn load(self, copied: &Copied, attempted: &str) -> Result<(), CommandError> {
        let loaded = self.engine.load(self.spool, &self.name, &()).await;
        let loaded = loaded.map_err(|error| CommandError::because(attempted, error))?;
        check_loaded(&loaded, &copied.root, attempted)
    }
}

/// Returns what the image is to be called in an archive that does not say so.
fn name_of(source: &Place) -> Option<String> {
    match source {
        Place::Repository(place) => place.image_name(),
        Place::Local(ImagePlace::Docker(name)) => Some(name.clone()),
        Place::Local(ImagePlace::Archive(_)) => None,
    }
}
