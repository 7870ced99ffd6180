//! Having the daemon write an image as an archive and read one: the way that needs nothing but its API.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bollard::errors::Error as BollardError;
use bollard::query_parameters::ImportImageOptionsBuilder;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use serde::Deserialize;

use super::engine::failed;
use super::{DockerEngine, Error, LocalImage};
use crate::archive::Spool;
use crate::transfer::{ByteStream, Error as TransferError, Label, Reporter};

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

/// Why the daemon could not write an archive to its end. Whoever reads the archive learns only that it ended.
#[derive(Clone, Debug, Default)]
pub struct SaveFailure(Arc<Mutex<Option<Error>>>);

impl SaveFailure {
    /// Returns why the archive could not be read: the daemon's failure if there was one, else what the reader says.
    pub fn or(&self, reading: TransferError) -> Error {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or(Error::Archive(reading))
    }

    fn set(&self, error: Error) -> io::Error {
        let text = error.to_string();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        io::Error::other(text)
    }
}

/// An archive on its way from the daemon.
struct Saving {
    body: BoxStream<'static, Result<Bytes, BollardError>>,
    /// The last piece that came: it may be no part of the archive.
    held: Option<Bytes>,
    attempted: String,
    failure: SaveFailure,
}

impl Saving {
    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        loop {
            match self.body.try_next().await {
                Ok(Some(piece)) if piece.is_empty() => {}
                Ok(Some(piece)) => {
                    if let Some(ready) = self.held.replace(piece) {
                        return Ok(Some((ready, self)));
                    }
                }
                Ok(None) => break,
                Err(error) => return Err(self.failure.set(failed(self.attempted, error))),
            }
        }
        let Some(last) = self.held.take() else { return Ok(None) };
        match serde_json::from_slice::<Trailer>(&last) {
            Ok(trailer) => {
                let message = trailer.error_detail.message;
                Err(self.failure.set(Error::Failed { attempted: self.attempted, message }))
            }
            Err(_) => Ok(Some((last, self))),
        }
    }
}

impl DockerEngine {
    /// Has the daemon write an image as an archive. Dropping the stream makes the daemon stop.
    pub fn save(&self, image: &LocalImage) -> (ByteStream, SaveFailure) {
        let failure = SaveFailure::default();
        let saving = Saving {
            body: self.docker.export_image(&image.saved_as).boxed(),
            held: None,
            attempted: format!("saving {}", image.name),
            failure: failure.clone(),
        };
        (futures::stream::try_unfold(saving, Saving::next).boxed(), failure)
    }

    /// Has the daemon write an image to a file in `dir`.
    ///
    /// # Errors
    /// The daemon's, and [`Error::Archive`] if the file cannot be written.
    pub async fn save_to_spool(&self, image: &LocalImage, dir: &Path, reporter: &dyn Reporter) -> Result<Spool, Error> {
        let mut spool = Spool::create(image.archive_label(), dir).await?;
        let (archive, failure) = self.save(image);
        let progress = reporter.blob_started(Label::Unknown("docker save"), None);
        let archive = archive.inspect_ok(move |piece| progress.advanced(piece.len() as u64));
        spool.fill(archive.boxed()).await.map_err(|error| failure.or(error))?;
        tracing::info!("the daemon has written the archive");
        Ok(spool)
    }

    /// Has the daemon read the image in `spool`, which is called `name` there, and returns it. Dropping the future makes the
    /// daemon stop.
    ///
    /// # Errors
    /// Also those that the daemon reports inside a reply that began well, and if it does not have the image afterwards.
    pub async fn load(&self, spool: Spool, name: &str, reporter: &dyn Reporter) -> Result<LocalImage, Error> {
        let attempted = || format!("loading {name}");
        let refused = |message: String| Error::Failed { attempted: attempted(), message };
        let options = ImportImageOptionsBuilder::new().quiet(true).build();
        let (archive, size) = spool.stream()?;
        let progress = reporter.blob_started(Label::Unknown("docker load"), Some(size));
        // The daemon has unpacked it a while after the last byte.
        let archive = archive.inspect_ok(move |piece| progress.advanced(piece.len() as u64));
        let mut stream = self.docker.import_image_stream(options, archive, None).boxed();
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
