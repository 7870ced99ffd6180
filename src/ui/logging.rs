//! Logs: for us and for whoever asks with `-v`.

use std::io;

use tracing_subscriber::EnvFilter;

use super::Verbosity;

/// Starts logging to stderr. `OCI_STORE_LOG` is a filter of tracing and wins over `-v`. `serving` is said of a command that runs
/// until it is stopped, whose logs are all that it says; others end in an error that says the same better.
pub fn init(verbosity: Verbosity, serving: bool) {
    let default = match (verbosity.quiet, verbosity.verbose) {
        (true, _) => "error",
        (_, 0) if serving => "warn,object_store=error",
        (_, 0) => "warn,object_store=error,oci_store::registry=off",
        (_, 1) => "warn,oci_store=info,storage_layout=info",
        (_, 2) => "info,oci_store=debug,storage_layout=debug",
        _ => "debug",
    };
    let filter = std::env::var("OCI_STORE_LOG").ok().and_then(|text| EnvFilter::try_new(text).ok());
    let filter = filter.unwrap_or_else(|| EnvFilter::new(default));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(false);
    let subscriber = subscriber.with_target(verbosity.verbose > 1).without_time();
    // Already there only when tests run several commands in one process.
    drop(subscriber.try_init());
}
