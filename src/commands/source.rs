//! Reading an image from wherever it is.

use super::{Context, ImagePlace, Place};
use crate::archive::{self, LayerCompression, SourceOptions};
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
        let because = |error| CommandError::because(attempted.clone(), error);
        let engine = self.docker_unasked().map_err(because)?;
        let asked = async { tokio::try_join!(engine.describe(), engine.image(name)) };
        // Together they make a future of some 20 KiB.
        let (daemon, image) = Box::pin(engine.while_greeting(asked)).await.flatten().map_err(because)?;
        let spool = engine.save_to_spool(&image, &self.settings.spool_dir, &()).await.map_err(because)?;
        let source = spool.source(daemon.is_containerd, None).await;
        source.map_err(|error| CommandError::because(attempted, error))
    }
}
