//! `doctor`: says what it finds of daemon and bucket, and what to do about what is missing.

mod bucket;
mod daemon;
mod finding;
mod rights;

use crate::backend::BackendConfig;
use crate::commands::Context;
use crate::ui::{CommandError, ExitStatus, Format};
use finding::Status;

/// What to examine.
#[derive(Debug)]
pub struct Request {
    /// The bucket and how it is reached; without it only the daemon is examined.
    pub bucket: Option<(BackendConfig, String)>,
}

/// Examines the daemon and a bucket, and prints what it finds.
///
/// # Errors
/// None of its own: the worst finding decides the exit status.
pub async fn run(request: Request, context: &Context) -> Result<ExitStatus, CommandError> {
    let stopped = "the examination".to_owned();
    let mut findings = context.unless_stopped(stopped.clone(), async { Ok(daemon::examine(context).await) }).await?;
    if let Some((backend, bucket)) = &request.bucket {
        findings.extend(bucket::examine(backend, bucket, context).await);
    }
    // What was begun in the bucket is removed by now.
    context.unless_stopped(stopped, async { Ok(()) }).await?;
    match context.printer.format() {
        Format::Json => context.printer.result(&serde_json::json!({ "findings": findings }).to_string()),
        Format::Text => findings.iter().for_each(|finding| context.printer.result(&finding.to_string())),
    }
    // Who has no daemon can still move archives, so a bucket that fails outweighs a daemon that does.
    let failed = findings.iter().rev().find(|finding| finding.status == Status::Failed);
    Ok(failed.map_or(ExitStatus::Ok, |finding| finding.exit))
}
