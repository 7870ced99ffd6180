//! Having the daemon write an image as an archive and read one: the way that needs nothing but its API.

use bollard::query_parameters::ImportImageOptionsBuilder;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use serde::Deserialize;

use super::engine::failed;
use super::{DockerEngine, Error, LocalImage};
use crate::archive::Spool;

/// How an error begins that a daemon tells of without saying that it is one.
const TEXTS_OF_FAILURE: [&str; 2] = ["Error unpacking", "Error processing"];

/// What a daemon writes behind half an archive when it fails.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Trailer {
    error_detail: Detail,
}

#[derive(Deserialize)]
struct Detail {
    message: String,
}

impl DockerEngine {
    /// Has the daemon write an image into `spool`. Dropping the future makes the daemon stop.
    ///
    /// # Errors
    /// Also those that the daemon reports inside a reply that began well.
    pub async fn save(&self, image: &LocalImage, spool: &mut Spool) -> Result<(), Error> {
        let attempted = || format!("saving {}", image.name);
        let mut last = Bytes::new();
        let body = self.docker.export_image(&image.saved_as).inspect_ok(|piece| last = piece.clone());
        spool.fill(body.boxed()).await?.map_err(|error| failed(attempted(), error))?;
        match serde_json::from_slice::<Trailer>(&last) {
            Ok(trailer) => Err(Error::Failed { attempted: attempted(), message: trailer.error_detail.message }),
            Err(_) => Ok(()),
        }
    }

    /// Has the daemon read the image in `spool`, which is called `name` there, and returns it. Dropping the future makes the
    /// daemon stop.
    ///
    /// # Errors
    /// Also those that the daemon reports inside a reply that began well, and if it does not have the image afterwards.
    pub async fn load(&self, spool: Spool, name: &str) -> Result<LocalImage, Error> {
        let attempted = || format!("loading {name}");
        let refused = |message: String| Error::Failed { attempted: attempted(), message };
        let options = ImportImageOptionsBuilder::new().quiet(true).build();
        let mut stream = self.docker.import_image_stream(options, spool.stream()?, None).boxed();
        while let Some(progress) = stream.next().await {
            let progress = progress.map_err(|error| failed(attempted(), error))?;
            if let Some(detail) = progress.error_detail {
                return Err(refused(detail.message.unwrap_or_else(|| "it does not say why".to_owned())));
            }
            let said = progress.stream.unwrap_or_default();
            if TEXTS_OF_FAILURE.iter().any(|text| said.contains(text)) {
                return Err(refused(said.trim().to_owned()));
            }
            tracing::debug!(said = said.trim(), status = progress.status.unwrap_or_default(), "the daemon loads");
        }
        match self.image(name).await {
            Err(Error::ImageUnknown(_)) => Err(refused("it says that all went well, and has no such image".to_owned())),
            found => found,
        }
    }
}
