//! Which way an image goes between the daemon and the bucket.

use std::sync::Arc;

use object_store::memory::InMemory;
use storage_layout::{Repository, Store};

use super::Context;
use super::bridge::Bridge;
use super::tally::Tally;
use crate::docker::{Daemon, Decision, DockerEngine, Transport, decide};
use crate::ui::{CommandError, ExitStatus};

/// The way that was chosen, with what it needs.
#[derive(Debug)]
pub(super) enum Route {
    /// By the registry, which runs.
    Registry(Box<Bridge>),
    /// By archives of `docker save` and `docker load`.
    Archive,
}

impl Route {
    /// Chooses. To learn whether the daemon reaches the registry, it is started.
    pub(super) async fn choose(
        engine: &DockerEngine,
        daemon: &Daemon,
        repository: &Repository,
        read_only: bool,
        tally: &Arc<Tally>,
        context: &Context,
    ) -> Result<Self, CommandError> {
        let start = || Bridge::start(repository.store(), repository.name(), read_only, tally);
        let mut decision = decide(context.settings.transport, daemon, None);
        let mut bridge = None;
        if decision == Decision::Ask {
            let started = start().await?;
            let probe = started.is_reached_by(engine).await;
            decision = decide(context.settings.transport, daemon, Some(probe));
            bridge = Some(started);
        }
        let (transport, reason) = taken(decision)?;
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
        let mut decision = decide(context.settings.transport, daemon, None);
        if decision == Decision::Ask {
            let store = Store::new(Arc::new(InMemory::new()), context.store_options());
            let name = "oci-store/doctor".parse().expect("it is a name");
            let bridge = Bridge::start(&store, &name, true, &Tally::new(Arc::new(()))).await?;
            let probe = bridge.is_reached_by(engine).await;
            bridge.stop().await;
            decision = decide(context.settings.transport, daemon, Some(probe));
        }
        let (transport, reason) = taken(decision)?;
        Ok(format!("{transport}: {reason}"))
    }
}

fn taken(decision: Decision) -> Result<(Transport, &'static str), CommandError> {
    match decision {
        Decision::Take(transport, reason) => Ok((transport, reason)),
        Decision::Ask => unreachable!("a probe was made, and nothing else is asked"),
        Decision::Refuse(reason) => {
            let message = format!("--transport cannot be that: {reason}");
            Err(CommandError::new(ExitStatus::Usage, message)
                .hint("leave --transport away, or use --transport archive"))
        }
    }
}
