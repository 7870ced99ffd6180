//! The Docker daemon.

use super::finding::Finding;
use crate::commands::Context;
use crate::ui::CommandError;

/// Examines the daemon that the flags and the environment point to.
pub(super) async fn examine(context: &Context) -> Vec<Finding> {
    let engine = match context.docker().await {
        Ok(engine) => engine,
        Err(error) => return vec![Finding::failed("docker", &CommandError::because("no daemon", error))],
    };
    match engine.describe().await {
        Ok(daemon) => vec![Finding::ok("docker", daemon.to_string())],
        Err(error) => {
            vec![Finding::failed("docker", &CommandError::because("the daemon does not say what it is", error))]
        }
    }
}
