//! Which way an image goes between the daemon and the bucket.

use std::sync::Arc;

use object_store::memory::InMemory;
use storage_layout::{Repository, Store};

use super::Context;
use super::bridge::Bridge;
use super::tally::Tally;
use crate::docker::{Daemon, Decision, DockerEngine, Transport, TransportChoice, decide};
use crate::ui::CommandError;

/// The way that was chosen, with what it needs.
#[derive(Debug)]
pub(super) enum Route {
    /// By the registry, which runs.
    Registry(Box<Bridge>),
    /// By archives of `docker save` and `docker load`.
    Archive,
}

impl Route {
    /// Chooses. To learn whether the daemon reaches the registry, it is started. Where the user leaves the choice to us, and there
    /// is a reason `by_archive` to take that way, nobody is asked.
    pub(super) async fn choose(
        engine: &DockerEngine,
        daemon: &Daemon,
        repository: &Repository,
        read_only: bool,
        by_archive: Option<&'static str>,
        tally: &Arc<Tally>,
        context: &Context,
    ) -> Result<Self, CommandError> {
        if let Some(reason) = by_archive.filter(|_| context.settings.transport == TransportChoice::Auto) {
            tracing::info!("transport {}: {reason}", Transport::Archive);
            return Ok(Self::Archive);
        }
        let start = || Bridge::start(repository.store(), repository.name(), read_only, tally);
        let (transport, reason, bridge) = decided(engine, daemon, start, context).await?;
        tracing::info!("transport {transport}: {reason}");
        match (transport, bridge) {
            (Transport::Registry, Some(bridge)) => Ok(Self::Registry(Box::new(bridge))),
            (Transport::Registry, None) => Ok(Self::Registry(Box::new(start().await?))),
            (Transport::Archive, bridge) => {
                if let Some(bridge) = bridge {
                    bridge.stop().await;
                }
                Ok(Self::Archive)
            }
        }
    }

    /// Says which way would be chosen, and why, with no bucket at hand.
    pub(super) async fn foretell(
        engine: &DockerEngine,
        daemon: &Daemon,
        context: &Context,
    ) -> Result<String, CommandError> {
        let store = Store::new(Arc::new(InMemory::new()), context.store_options());
        let (name, tally) = ("oci-store/doctor".parse().expect("it is a name"), Tally::new(Arc::new(())));
        let start = || Bridge::start(&store, &name, true, &tally);
        let (transport, reason, bridge) = decided(engine, daemon, start, context).await?;
        if let Some(bridge) = bridge {
            bridge.stop().await;
        }
        Ok(format!("{transport}: {reason}"))
    }
}

/// Decides, with the registry's help where only the daemon can tell. It runs then.
async fn decided<S>(
    engine: &DockerEngine,
    daemon: &Daemon,
    start: impl Fn() -> S,
    context: &Context,
) -> Result<(Transport, &'static str, Option<Bridge>), CommandError>
where
    S: Future<Output = Result<Bridge, CommandError>>,
{
    let choice = context.settings.transport;
    match decide(choice, daemon, None) {
        Decision::Take(transport, reason) => Ok((transport, reason, None)),
        Decision::Refuse(reason) => Err(refused(reason)),
        Decision::Ask => {
            let bridge = start().await?;
            let probe = bridge.is_reached_by(engine).await;
            match decide(choice, daemon, Some(probe)) {
                Decision::Take(transport, reason) => Ok((transport, reason, Some(bridge))),
                Decision::Refuse(reason) => Err(refused(reason)),
                Decision::Ask => unreachable!("a probe was made, and nothing else is asked"),
            }
        }
    }
}

fn refused(reason: &str) -> CommandError {
    CommandError::usage(format!("--transport cannot be that: {reason}"))
        .hint("leave --transport away, or use --transport archive")
}
