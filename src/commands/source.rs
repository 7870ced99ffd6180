//! Reading an image from wherever it is.

use super::{Context, ImagePlace, Place};
use crate::archive::{self, LayerCompression, SourceOptions, Spool};
use crate::backend::Intent;
use crate::transfer::{RepositorySource, Source};
use crate::ui::CommandError;

impl Context {
    /// Opens a place to read an image from. A daemon saves the image first.
    pub(super) async fn source(&self, place: &Place) -> Result<Box<dyn Source>, CommandError> {
        match place {
            Place::Repository(place) => {
                let repository = self.repository(place, Intent::Read).await?;
                Ok(Box::new(RepositorySource::new(repository, place.reference())))
            }
            Place::Local(ImagePlace::Archive(archive)) => {
                let options = SourceOptions {
                    spool_dir: self.settings.spool_dir.clone(),
                    compression: LayerCompression::default(),
                };
                let opened = archive::open_source(archive, options).await;
                opened.map_err(|error| CommandError::because(format!("cannot read {archive}"), error))
            }
            Place::Local(ImagePlace::Docker(name)) => self.saved(name).await,
        }
    }

    async fn saved(&self, name: &str) -> Result<Box<dyn Source>, CommandError> {
        let attempted = format!("cannot read {name}");
        let of_daemon = |error| CommandError::because(attempted.clone(), error);
        let of_archive = |error| CommandError::because(attempted.clone(), error);
        let engine = self.docker().await.map_err(of_daemon)?;
        let daemon = engine.describe().await.map_err(of_daemon)?;
        let image = engine.image(name).await.map_err(of_daemon)?;
        let label = format!("the archive of {name} from the Docker daemon");
        let mut spool = Spool::create(label, &self.settings.spool_dir).await.map_err(of_archive)?;
        let (archive, failure) = engine.save(&image);
        let filled = spool.fill(archive).await;
        filled.map_err(|error| failure.take().map_or_else(|| of_archive(error), of_daemon))?;
        spool.source(daemon.is_containerd, None).await.map_err(of_archive)
    }
}
