//! The Docker daemon.

use super::finding::Finding;
use crate::commands::Context;
use crate::commands::route::Route;
use crate::ui::CommandError;

/// Examines the daemon that the flags and the environment point to.
pub(super) async fn examine(context: &Context) -> Vec<Finding> {
    let engine = match context.docker().await {
        Ok(engine) => engine,
        Err(error) => return vec![Finding::failed("docker", &CommandError::because("no daemon", error))],
    };
    let daemon = match engine.describe().await {
        Ok(daemon) => daemon,
        Err(error) => {
            return vec![Finding::failed(
                "docker",
                &CommandError::because("the daemon does not say what it is", error),
            )];
        }
    };
    let transport = match Route::foretell(&engine, &daemon, context).await {
        Ok(foretold) => Finding::ok("transport", foretold),
        Err(error) => Finding::failed("transport", &error),
    };
    vec![Finding::ok("docker", daemon.to_string()), transport]
}
