//! The ephemeral server: a router on a loopback port, for the length of one command.
//!
//! `axum::serve` never sets hyper's timer, so a client that sends half a header stays for ever, and its graceful shutdown waits
//! for such a client without end. This accept loop has both limits.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long a client may take to send a request's header, and how long a connection may be idle between requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// How many connections are served at once. Docker opens fewer than twenty.
const MAX_CONNECTIONS: usize = 256;
/// The longest header section that is read, in bytes.
const MAX_HEADER: usize = 64 * 1024;
/// How long requests under way may take to end, once the server is told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// A port that is taken and not served yet. Connections queue up from here on, so it is never closed and bound again.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

impl Bound {
    /// Takes `address`; port 0 picks a free one.
    ///
    /// # Errors
    /// The system's, such as when the port is in use.
    pub async fn new(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Returns the address that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `router` until [`EphemeralServer::shutdown`].
    pub fn serve(self, router: Router) -> EphemeralServer {
        let stop = CancellationToken::new();
        let task = tokio::spawn(accept(self.listener, router, stop.clone()));
        EphemeralServer { address: self.address, stop, task }
    }
}

/// A server that runs. Dropped, it stops at once.
#[derive(Debug)]
pub struct EphemeralServer {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl EphemeralServer {
    /// Returns the address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, lets requests under way end for a few seconds, and closes what is left. When this returns the port is free.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "the server's task failed");
        }
    }
}

impl Drop for EphemeralServer {
    fn drop(&mut self) {
        self.stop.cancel();
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, router: Router, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    // Dropped at the end of this function, and with it every connection that is still open.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        while connections.try_join_next().is_some() {}
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, or a client that left while it was queued: neither is ours to end for.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let connection = graceful.watch(connection(stream, &router));
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
            drop(slot);
        });
    }
    drop(listener);
    if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
        tracing::debug!("some requests did not end in time; they are cut");
    }
    connections.shutdown().await;
}

type Connection = hyper::server::conn::http1::Connection<TokioIo<TcpStream>, TowerToHyperService<Router>>;

fn connection(stream: TcpStream, router: &Router) -> Connection {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection could not be set to send at once");
    }
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER.max(512 * 1024))
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()))
}
