//! The registry that lives for one command, between the daemon and the bucket.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use storage_layout::{RepositoryName, Store, Tag};
use uuid::Uuid;

use super::tally::Tally;
use crate::backend;
use crate::docker::{DockerEngine, Probe, RegistryAddress};
use crate::registry::{Access, Journal, RegistryOptions, Token, router};
use crate::server::{Bound, EphemeralServer};
use crate::ui::CommandError;

/// A registry on this machine's loopback, for one repository and one command.
#[derive(Debug)]
pub(super) struct Bridge {
    store: Store,
    name: RepositoryName,
    probe: Tag,
    server: EphemeralServer,
    /// What the daemon is told.
    pub(super) registry: RegistryAddress,
    /// What the registry did.
    pub(super) journal: Arc<Journal>,
}

impl Bridge {
    /// Starts the registry. It accepts connections when this returns.
    pub(super) async fn start(
        store: &Store,
        name: &RepositoryName,
        read_only: bool,
        tally: &Arc<Tally>,
    ) -> Result<Self, CommandError> {
        // The literal address of IPv4: `localhost` may be another one to the daemon.
        let bound = Bound::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .await
            .map_err(|error| CommandError::because("cannot listen on 127.0.0.1", error))?;
        let token = Token::generate();
        let registry = RegistryAddress::new(bound.address(), token.username(), token.password());
        let probe: Tag = format!("probe-{}", Uuid::new_v4().simple()).parse().expect("it is a tag");
        let journal = Arc::new(Journal::with_probe(probe.clone()));
        let access =
            Access { token: Some(token), port: bound.address().port(), repository: Some(name.clone()), read_only };
        let options = RegistryOptions {
            access,
            adopt_blobs: !read_only,
            passes: backend::passes,
            reporter: Arc::clone(tally) as Arc<dyn crate::transfer::Reporter>,
            journal: Arc::clone(&journal),
        };
        let server = bound.serve(router(store.clone(), options));
        tracing::info!(address = %server.address(), "the registry accepts connections");
        Ok(Self { store: store.clone(), name: name.clone(), probe, server, registry, journal })
    }

    /// Asks whether the daemon reaches this registry.
    pub(super) async fn is_reached_by(&self, engine: &DockerEngine) -> Probe {
        engine.probe(&self.registry, &self.name, &self.probe, self.journal.probe_seen()).await
    }

    /// Waits for `work` of the daemon, unless the bucket fails first: the daemon would only try again and again, and what it
    /// says in the end hides the reason.
    pub(super) async fn watch(
        &self,
        attempted: &str,
        work: impl Future<Output = Result<(), crate::docker::Error>>,
    ) -> Result<(), CommandError> {
        let result = tokio::select! {
            result = work => result,
            () = self.journal.failed() => Ok(()),
        };
        match (self.journal.failure(), result) {
            (Some(failure), _) => Err(CommandError::because(attempted, failure)),
            (None, Err(error)) => Err(CommandError::because(attempted, error)),
            (None, Ok(())) => Ok(()),
        }
    }

    /// Ends the registry: the port is free, and nothing half-sent is left in the bucket.
    pub(super) async fn stop(self) {
        self.server.shutdown().await;
        self.store.settle().await;
    }
}
