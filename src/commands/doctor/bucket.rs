//! The bucket: with which credentials, whether it is there, what may be done in it, whether its clock is ours.

use crate::backend::{BackendConfig, Intent, Leftovers};
use crate::commands::Context;
use crate::ui::CommandError;

use super::finding::Finding;
use super::rights::Scratch;

/// Examines a bucket. What is written for it is removed again.
pub(super) async fn examine(backend: &BackendConfig, bucket: &str, context: &Context) -> Vec<Finding> {
    let place = format!("{}://{bucket}", backend.scheme());
    let found = tokio::select! {
        found = Box::pin(backend.credentials_found()) => found,
        () = context.cancel.cancelled() => return Vec::new(),
    };
    let mut findings = Vec::new();
    match found {
        Ok(found) => findings.extend(found.map(|found| Finding::ok("credentials", found))),
        // The bucket would say the same again.
        Err(error) => {
            let error = CommandError::because(format!("{place} cannot be opened"), error);
            return vec![Finding::failed("credentials", &error)];
        }
    }
    let opened = tokio::select! {
        opened = Box::pin(backend.connect(bucket, Intent::Write)) => opened,
        () = context.cancel.cancelled() => return findings,
    };
    let objects = match opened {
        Ok(objects) => objects,
        Err(error) => {
            let error = CommandError::because(format!("{place} cannot be opened"), error);
            findings.push(Finding::failed("bucket", &error));
            return findings;
        }
    };
    findings.push(Finding::ok("bucket", format!("{place} is there")));
    let scratch = Scratch::new(objects);
    // Raced against Ctrl-C here, so that what was written is removed then too.
    tokio::select! {
        examined = scratch.examine() => findings.extend(examined),
        () = context.cancel.cancelled() => {}
    }
    findings.extend(scratch.remove().await);
    tokio::select! {
        leftovers = Box::pin(leftovers(backend, bucket)) => findings.extend(leftovers),
        () = context.cancel.cancelled() => {}
    }
    findings
}

/// What a process leaves that is killed while it sends.
async fn leftovers(backend: &BackendConfig, bucket: &str) -> Option<Finding> {
    Some(match backend.leftovers(bucket).await {
        Ok(None) => return None,
        Ok(Some(Leftovers::Removed(how))) => Finding::ok("leftovers", format!("unfinished uploads do not stay: {how}")),
        Ok(Some(Leftovers::Kept { action })) => {
            Finding::warning("leftovers", "nothing removes unfinished uploads, whose parts take space unseen", action)
        }
        Ok(Some(Leftovers::Unknown(why))) => {
            Finding::ok("leftovers", format!("it is not known whether something removes unfinished uploads: {why}"))
        }
        Err(error) => {
            Finding::failed("leftovers", &CommandError::because("unfinished uploads cannot be asked after", error))
        }
    })
}
