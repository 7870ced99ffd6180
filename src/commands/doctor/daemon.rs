//! The Docker daemon.

use super::finding::Finding;
use crate::commands::Context;
use crate::commands::route::Route;
use crate::ui::CommandError;

/// Examines the daemon that the flags and the environment point to.
pub(super) async fn examine(context: &Context) -> Vec<Finding> {
    let failed = |message, error| vec![Finding::failed("docker", &CommandError::because(message, error))];
    let engine = match context.docker_unasked() {
        Ok(engine) => engine,
        Err(error) => return failed("no daemon", error),
    };
    let daemon = match engine.while_greeting(engine.describe()).await {
        Ok(Ok(daemon)) => daemon,
        Ok(Err(error)) => return failed("the daemon does not say what it is", error),
        Err(error) => return failed("no daemon", error),
    };
    let transport = match Route::foretell(&engine, &daemon, context).await {
        Ok(foretold) => Finding::ok("transport", foretold),
        Err(error) => Finding::failed("transport", &error),
    };
    vec![Finding::ok("docker", daemon.to_string()), transport]
}
