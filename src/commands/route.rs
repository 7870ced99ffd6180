//! Which way an image goes between the daemon and the bucket.

use std::sync::Arc;

use storage_layout::Repository;

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
        let choice = context.settings.transport;
        let start = || Bridge::start(repository.store(), repository.name(), read_only, tally);
        let mut bridge = None;
        let mut decision = decide(choice, daemon, None);
        if decision == Decision::Ask {
            let started = start().await?;
            let probe = started.is_reached_by(engine).await;
            decision = decide(choice, daemon, Some(probe));
            bridge = Some(started);
        }
        let (transport, reason) = match decision {
            Decision::Take(transport, reason) => (transport, reason),
            Decision::Ask => unreachable!("a probe was made, and nothing else is asked"),
            Decision::Refuse(reason) => {
                return Err(CommandError::new(ExitStatus::Usage, format!("--transport cannot be that: {reason}"))
                    .hint("leave --transport away, or use --transport archive"));
            }
        };
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
}
