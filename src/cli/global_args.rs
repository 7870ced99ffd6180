//! Flags that every command takes.
#![expect(clippy::doc_markdown, reason = "what is a help text shows no markdown")]

use std::path::PathBuf;

use clap::Args;

use super::env_vars::Env;
use crate::cache::CacheLimits;
use crate::commands::Settings;
use crate::docker::{DaemonChoice, TransportChoice};
use crate::ui::{CommandError, Format, Verbosity};

/// Flags that every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Common options")]
pub(super) struct GlobalArgs {
    /// Says more; repeat it for still more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Says nothing but errors
    #[arg(short, long, global = true)]
    quiet: bool,
    /// How the result is written to stdout [default: text]
    #[arg(long, global = true, value_enum, hide_possible_values = false)]
    format: Option<Format>,
    /// Draws no progress bars
    #[arg(long, global = true, alias = "no-tty")]
    no_progress: bool,
    /// How many blobs travel at once, with 10 MiB of memory for each [default: as many as processors, 4 to 16]
    #[arg(short, long, global = true, value_name = "N", alias = "concurrency", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// How often a failed request to the storage is tried again [default: 10]
    #[arg(long, global = true, value_name = "N")]
    retries: Option<u32>,
    /// The folder for spool files [default: the system's temporary folder]
    #[arg(long, global = true, value_name = "DIR")]
    spool_dir: Option<PathBuf>,
    /// A PEM file with certificates to trust besides the system's
    #[arg(long, global = true, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The HTTP proxy for requests to the storage
    #[arg(long, global = true, value_name = "URL")]
    proxy: Option<String>,
    /// Keeps what is read from buckets and registries in this folder, and reads it from there when it is wanted again
    /// [env: ORAS_CACHE]
    #[arg(long, global = true, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// How much the cache may hold, in GiB [default: 10]
    #[arg(long, global = true, value_name = "GIB", value_parser = clap::value_parser!(u32).range(1..))]
    cache_size: Option<u32>,
    /// The Docker daemon: unix:///path, tcp://host:port, ssh://user@host [env: DOCKER_HOST]
    #[arg(short = 'H', long, global = true, value_name = "URL")]
    docker_host: Option<String>,
    /// The Docker context that knows the daemon [env: DOCKER_CONTEXT] [default: the one in use]
    #[arg(long, global = true, value_name = "NAME", conflicts_with = "docker_host")]
    context: Option<String>,
    /// How images go between the daemon and the bucket: auto, registry (the daemon talks to this process) or archive (as with
    /// docker save and docker load) [default: auto]
    #[arg(long, global = true, value_name = "WAY")]
    transport: Option<TransportChoice>,
}

/// The same, with the environment taken in.
#[derive(Debug)]
pub(super) struct Global {
    pub(super) format: Format,
    pub(super) verbosity: Verbosity,
    pub(super) progress: bool,
    pub(super) settings: Settings,
}

impl GlobalArgs {
    pub(super) fn resolve(self, env: &Env) -> Result<Global, CommandError> {
        let format = match (self.format, env.first(&["OCI_STORE_FORMAT"])) {
            (Some(format), _) => format,
            (None, Some(text)) => clap::ValueEnum::from_str(&text, true)
                .map_err(|error| CommandError::usage(format!("OCI_STORE_FORMAT is {text:?}: {error}")))?,
            (None, None) => Format::default(),
        };
        let verbose = env.parsed((self.verbose > 0).then_some(self.verbose), "OCI_STORE_VERBOSE")?.unwrap_or_default();
        // What is on the command line wins over all variables, of whichever flag.
        let daemon = match (self.docker_host, self.context) {
            (None, None) => {
                DaemonChoice { host: env.first(&["OCI_STORE_DOCKER_HOST"]), context: env.first(&["OCI_STORE_CONTEXT"]) }
            }
            (host, context) => DaemonChoice { host, context },
        };
        let cache = env.path_or(self.cache, &["OCI_STORE_CACHE", "ORAS_CACHE"]);
        let mut limits = CacheLimits::default();
        if let Some(size) = env.parsed(self.cache_size, "OCI_STORE_CACHE_SIZE")? {
            limits.size = u64::from(size) << 30;
        }
        Ok(Global {
            format,
            verbosity: Verbosity { quiet: env.switch(self.quiet, "OCI_STORE_QUIET")?, verbose },
            progress: !env.switch(self.no_progress, "OCI_STORE_NO_PROGRESS")?,
            settings: Settings {
                jobs: env.parsed(self.jobs, "OCI_STORE_JOBS")?.map_or_else(default_jobs, usize::from).max(1),
                retries: env.parsed(self.retries, "OCI_STORE_RETRIES")?.unwrap_or(10),
                spool_dir: env.path_or(self.spool_dir, &["OCI_STORE_SPOOL_DIR"]).unwrap_or_else(std::env::temp_dir),
                ca_file: env.path_or(self.ca_file, &["OCI_STORE_CA_FILE"]),
                proxy: env.or(self.proxy, &["OCI_STORE_PROXY"]),
                cache: cache.map(|folder| (folder, limits)),
                daemon,
                transport: env.parsed(self.transport, "OCI_STORE_TRANSPORT")?.unwrap_or_default(),
            },
        })
    }
}

/// A laptop is not to be filled, and a large builder not to be waited for.
fn default_jobs() -> usize {
    std::thread::available_parallelism().map_or(4, usize::from).clamp(4, 16)
}
