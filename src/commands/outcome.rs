//! What a command that moved an image says at its end.

use std::path::Path;
use std::time::Instant;

use serde::Serialize;
use storage_layout::{Digest, Manifest};

use super::Context;
use crate::docker::Transport;
use crate::transfer::{BlobStatus, CopiedBlob};
use crate::ui::{Bytes, CommandError, Format};

/// The result of `push` and `pull`: one line of text, or this document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Outcome {
    reference: String,
    digest: Digest,
    media_type: String,
    size: u64,
    transport: Transport,
    blobs: Vec<BlobOutcome>,
    bytes_sent: u64,
    seconds: f64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BlobOutcome {
    digest: Digest,
    size: u64,
    media_type: String,
    status: BlobStatus,
}

impl Outcome {
    /// Makes the result of a transfer that ended just now. `reference` is the image's place without its digest.
    pub(super) fn new(
        reference: String,
        root: &Manifest,
        transport: Transport,
        blobs: &[CopiedBlob],
        begun: Instant,
    ) -> Self {
        let sent = blobs.iter().filter(|blob| blob.status == BlobStatus::Sent);
        Self {
            reference,
            digest: root.digest().clone(),
            media_type: root.media_type().to_owned(),
            size: root.size(),
            transport,
            bytes_sent: sent.map(|blob| blob.descriptor.size).sum(),
            blobs: blobs.iter().map(BlobOutcome::from).collect(),
            seconds: begun.elapsed().as_secs_f64(),
        }
    }

    /// Writes the result, and a summary for people that begins with `verb`.
    pub(super) fn tell(&self, verb: &str, digestfile: Option<&Path>, context: &Context) -> Result<(), CommandError> {
        let there: u64 = self.blobs.iter().filter(|blob| blob.status == BlobStatus::Exists).map(|blob| blob.size).sum();
        context.printer.end_progress();
        context.printer.note(&format!(
            "{verb}: {} sent, {} already there, {:.1} s",
            Bytes(self.bytes_sent),
            Bytes(there),
            self.seconds
        ));
        if let Some(file) = digestfile {
            std::fs::write(file, format!("{}\n", self.digest)).map_err(|error| {
                CommandError::because(format!("cannot write the digest to {}", file.display()), error)
            })?;
        }
        match context.printer.format() {
            Format::Text => context.printer.result(&format!("{}@{}", self.reference, self.digest)),
            Format::Json => context.printer.result(
                &serde_json::to_string(self)
                    .map_err(|error| CommandError::because("cannot write the result", error))?,
            ),
        }
        Ok(())
    }
}

impl From<&CopiedBlob> for BlobOutcome {
    fn from(blob: &CopiedBlob) -> Self {
        Self {
            digest: blob.descriptor.digest.clone(),
            size: blob.descriptor.size,
            media_type: blob.descriptor.media_type.clone(),
            status: blob.status,
        }
    }
}
