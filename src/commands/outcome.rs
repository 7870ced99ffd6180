//! What a command that moved an image says at its end.

use std::path::Path;
use std::time::Instant;

use serde::Serialize;
use storage_layout::{Descriptor, Digest, Manifest};

use super::Context;
use crate::artifact::PulledFile;
use crate::docker::Transport;
use crate::transfer::{BlobStatus, CopiedBlob, Label};
use crate::ui::{Bytes, CommandError, Format};

/// An image that was moved, or needed not to be.
#[derive(Debug)]
pub(super) struct Moved {
    /// The manifest.
    pub(super) root: Manifest,
    /// Its configs and layers.
    pub(super) blobs: Vec<CopiedBlob>,
    /// Which way it went between a daemon and the bucket. `None` if it was where it was to go.
    pub(super) transport: Option<Transport>,
}

impl Moved {
    /// Makes the result. The transfer ended just now; `reference` is the image's place without its digest.
    pub(super) fn outcome(&self, reference: String, begun: Instant) -> Outcome {
        Outcome::new(reference, &self.root, self.transport, &self.blobs, begun)
    }
}

/// Tells of blobs that are where they were to go.
pub(super) fn already_there<'a>(blobs: impl Iterator<Item = &'a Descriptor>, context: &Context) -> Vec<CopiedBlob> {
    let exists = |blob: &Descriptor| {
        context.reporter.blob_exists(Label::of(blob), blob.size);
        CopiedBlob { descriptor: blob.clone(), status: BlobStatus::Exists }
    };
    blobs.map(exists).collect()
}

/// The result of `push` and `pull`: one line of text, or this document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Outcome {
    reference: String,
    digest: Digest,
    media_type: String,
    size: u64,
    transport: Option<Transport>,
    blobs: Vec<BlobOutcome>,
    bytes_sent: u64,
    seconds: f64,
    /// What is attached to the image and went with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    referrers: Vec<Digest>,
    /// What was written to a folder.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<PulledFile>,
    /// Whether it is only told what would be done.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
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
        transport: impl Into<Option<Transport>>,
        blobs: &[CopiedBlob],
        begun: Instant,
    ) -> Self {
        let sent = blobs.iter().filter(|blob| blob.status == BlobStatus::Sent);
        Self {
            reference,
            digest: root.digest().clone(),
            media_type: root.media_type().to_owned(),
            size: root.size(),
            transport: transport.into(),
            bytes_sent: sent.map(|blob| blob.descriptor.size).sum(),
            blobs: blobs.iter().map(BlobOutcome::from).collect(),
            seconds: begun.elapsed().as_secs_f64(),
            referrers: Vec::new(),
            files: Vec::new(),
            dry_run: false,
        }
    }

    /// Adds what is attached to the image and went with it.
    pub(super) fn with_referrers(mut self, referrers: &[Descriptor]) -> Self {
        self.referrers = referrers.iter().map(|referrer| referrer.digest.clone()).collect();
        self
    }

    /// Says that nothing was done: it is told what would be.
    pub(super) fn with_dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Adds what was written to a folder.
    pub(super) fn with_files(mut self, files: Vec<PulledFile>) -> Self {
        self.files = files;
        self
    }

    /// Writes the result, and a summary for people that begins with `verb`.
    pub(super) fn tell(&self, verb: &str, digestfile: Option<&Path>, context: &Context) -> Result<(), CommandError> {
        self.summarize(verb, context);
        if let Some(file) = digestfile {
            std::fs::write(file, format!("{}\n", self.digest)).map_err(|error| {
                CommandError::because(format!("cannot write the digest to {}", file.display()), error)
            })?;
        }
        match context.printer.format() {
            Format::Text => {
                context.printer.result(&self.line());
                Ok(())
            }
            Format::Json => context.printer.document(self),
        }
    }

    /// Returns the result as text.
    pub(super) fn line(&self) -> String {
        format!("{}@{}", self.reference, self.digest)
    }

    /// Tells people what travelled.
    pub(super) fn summarize(&self, verb: &str, context: &Context) {
        let of = |status| self.blobs.iter().filter(|blob| blob.status == status).map(|blob| blob.size).sum();
        let (there, copied) = (Bytes(of(BlobStatus::Exists)), Bytes(of(BlobStatus::Copied)));
        let (sent, seconds) = (Bytes(self.bytes_sent), self.seconds);
        let to_be = if self.dry_run { "to be " } else { "" };
        let copied = if copied.0 == 0 { String::new() } else { format!("{copied} {to_be}copied by the store, ") };
        context.printer.end_progress();
        context.printer.note(&format!("{verb}: {sent} {to_be}sent, {copied}{there} already there, {seconds:.1} s"));
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
