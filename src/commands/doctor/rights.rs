//! Rights in a bucket, by trying them: in a prefix of its own, which is emptied at the end.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use super::finding::Finding;
use crate::ui::CommandError;

/// The least size of a part that is not the last, in bytes: S3's own limit.
const PART: usize = 5 * 1024 * 1024;
/// A clock that differs by more is worth a word. S3 refuses requests from 15 minutes on.
const SKEW: Duration = Duration::from_mins(2);
const CONTENT: &[u8] = b"written by oci-store doctor, and to be removed by it";

/// A prefix in a bucket that this run alone uses.
#[derive(Debug)]
pub(super) struct Scratch {
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
}

impl Scratch {
    pub(super) fn new(objects: Arc<dyn ObjectStore>) -> Self {
        Self { objects, prefix: Path::from(format!("oci-store-doctor/{}", uuid::Uuid::new_v4().simple())) }
    }

    fn path(&self, name: &str) -> Path {
        Path::from(format!("{}/{name}", self.prefix))
    }

    /// Tries what pushes and pulls do. What depends on a right that is missing is left out.
    pub(super) async fn examine(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let begun = SystemTime::now();
        match self.objects.put(&self.path("small"), PutPayload::from_static(CONTENT)).await {
            Ok(_) => findings.push(Finding::ok("put", "objects can be written")),
            // Without it there is nothing to read, list or delete.
            Err(error) => return vec![refused("put", "objects cannot be written", error)],
        }
        findings.push(self.get().await);
        findings.push(self.list().await);
        findings.push(self.multipart().await);
        findings.push(self.create_only().await);
        findings.extend(self.clock(begun).await);
        findings
    }

    async fn get(&self) -> Finding {
        let got = async { self.objects.get(&self.path("small")).await?.bytes().await };
        match got.await {
            Ok(bytes) if bytes == CONTENT => Finding::ok("get", "objects can be read"),
            Ok(_) => {
                let message = "an object was read back with other bytes than were written";
                Finding::failed("get", &CommandError::new(crate::ui::ExitStatus::Integrity, message))
            }
            Err(error) => refused("get", "objects cannot be read", error),
        }
    }

    async fn list(&self) -> Finding {
        match self.objects.list(Some(&self.prefix)).try_collect::<Vec<_>>().await {
            Ok(found) if found.is_empty() => Finding::warning(
                "list",
                "an object that was just written is not listed",
                "expect tags and repositories to appear late: this store's lists lag behind",
            ),
            Ok(_) => Finding::ok("list", "objects can be listed"),
            Err(error) => refused("list", "objects cannot be listed", error),
        }
    }

    /// Uploads in two parts, which is how every layer beyond a part goes up, and begins one that is aborted.
    async fn multipart(&self) -> Finding {
        let upload = async {
            let mut upload = self.objects.put_multipart(&self.path("parts")).await?;
            let sent = async {
                upload.put_part(Bytes::from(vec![0; PART]).into()).await?;
                upload.put_part(PutPayload::from_static(CONTENT)).await?;
                upload.complete().await
            };
            let sent = sent.await;
            if sent.is_err() {
                upload.abort().await?;
            }
            sent?;
            self.objects.put_multipart(&self.path("aborted")).await?.abort().await
        };
        match upload.await {
            Ok(()) => Finding::ok("multipart", "large objects can be written in parts, and given up"),
            Err(error) => refused("multipart", "large objects cannot be written in parts", error),
        }
    }

    /// Nothing depends on it: blobs are the same whoever writes them. It is told because tags that must not move would.
    async fn create_only(&self) -> Finding {
        let action = "do not rely on tags that must not move: this store cannot refuse to overwrite";
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.objects.put_opts(&self.path("small"), PutPayload::from_static(CONTENT), options).await {
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {
                Finding::ok("create", "an object can be written on the condition that there is none")
            }
            Ok(_) => Finding::warning("create", "the store overwrites though it was told not to", action),
            Err(Error::NotImplemented { .. } | Error::NotSupported { .. }) => {
                Finding::warning("create", "the store has no conditional writes", action)
            }
            Err(error) => refused("create", "a conditional write failed", error),
        }
    }

    async fn clock(&self, begun: SystemTime) -> Option<Finding> {
        let meta = self.objects.head(&self.path("small")).await.ok()?;
        let stored = SystemTime::from(meta.last_modified);
        // Between the two the object was written; the store's second may have begun before ours.
        let early = begun.duration_since(stored).unwrap_or_default();
        let late = stored.duration_since(SystemTime::now()).unwrap_or_default();
        let skew = early.max(late);
        Some(if skew > SKEW {
            let found = format!("this machine's clock and the store's differ by {} s", skew.as_secs());
            Finding::warning("clock", found, "set this machine's clock; stores refuse signatures that are too old")
        } else {
            Finding::ok("clock", "this machine's clock and the store's agree")
        })
    }

    /// Removes what was written, and says if that cannot be done.
    pub(super) async fn remove(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut tried = false;
        for name in ["small", "parts", "aborted"] {
            match self.objects.delete(&self.path(name)).await {
                Ok(()) => tried = true,
                Err(Error::NotFound { .. }) => {}
                Err(error) => {
                    let message = format!("{} cannot be deleted; it is left in the bucket", self.path(name));
                    findings.push(refused("delete", &message, error));
                }
            }
        }
        if findings.is_empty() && tried {
            findings.push(Finding::ok("delete", "objects can be deleted; what was written for this is gone"));
        }
        findings
    }
}

fn refused(check: &'static str, message: &str, error: Error) -> Finding {
    Finding::failed(check, &CommandError::because(message, error))
}
