//! The bucket: whether it is there, what may be done in it, whether its clock is ours.

use crate::backend::{BackendConfig, Intent};
use crate::commands::Context;
use crate::ui::CommandError;

use super::finding::Finding;
use super::rights::Scratch;

/// Examines a bucket. What is written for it is removed again.
pub(super) async fn examine(backend: &BackendConfig, bucket: &str, context: &Context) -> Vec<Finding> {
    let place = format!("{}://{bucket}", backend.scheme());
    let opened = tokio::select! {
        opened = Box::pin(backend.connect(bucket, Intent::Write)) => opened,
        () = context.cancel.cancelled() => return Vec::new(),
    };
    let objects = match opened {
        Ok(objects) => objects,
        Err(error) => {
            let error = CommandError::because(format!("{place} cannot be opened"), error);
            return vec![Finding::failed("bucket", &error)];
        }
    };
    let mut findings = vec![Finding::ok("bucket", format!("{place} is there"))];
    let scratch = Scratch::new(objects);
    // Raced against Ctrl-C here, so that what was written is removed then too.
    tokio::select! {
        examined = scratch.examine() => findings.extend(examined),
        () = context.cancel.cancelled() => {}
    }
    findings.extend(scratch.remove().await);
    findings
}
