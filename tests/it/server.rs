//! The server that lives for one command.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use oci_store::server::Bound;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn bound() -> Bound {
    Bound::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.expect("a port is free")
}

#[tokio::test]
async fn a_connection_made_before_serving_begins_is_answered() {
    let bound = bound().await;
    let mut client = tokio::net::TcpStream::connect(bound.address()).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let server = bound.serve(Router::new().route("/", get(|| async { "hello" })));
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
    server.shutdown().await;
}

#[tokio::test]
async fn shutdown_ends_though_a_client_has_sent_half_a_request() {
    let bound = bound().await;
    let address = bound.address();
    let server = bound.serve(Router::new());
    let mut half = tokio::net::TcpStream::connect(address).await.unwrap();
    half.write_all(b"GET / HT").await.unwrap();
    let mut idle = tokio::net::TcpStream::connect(address).await.unwrap();
    server.shutdown().await;
    // Both were closed, and the port is free again.
    assert_eq!(half.read(&mut [0; 8]).await.unwrap_or(0), 0);
    assert_eq!(idle.read(&mut [0; 8]).await.unwrap_or(0), 0);
    Bound::new(address).await.expect("the port is free");
}

#[tokio::test]
async fn shutdown_lets_a_request_under_way_end() {
    let bound = bound().await;
    let address = bound.address();
    let (entered, mut is_in) = tokio::sync::mpsc::channel::<()>(1);
    let (go, may_go) = tokio::sync::watch::channel(false);
    let handler = move || {
        let (entered, mut may_go) = (entered.clone(), may_go.clone());
        async move {
            entered.send(()).await.unwrap();
            may_go.wait_for(|&go| go).await.unwrap();
            "done"
        }
    };
    let server = bound.serve(Router::new().route("/", get(handler)));
    let client = tokio::task::spawn_blocking(move || {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    });
    is_in.recv().await.unwrap();
    let stopping = tokio::spawn(server.shutdown());
    go.send(true).unwrap();
    assert!(client.await.unwrap().ends_with("done"));
    stopping.await.unwrap();
}

#[tokio::test]
async fn a_tls_greeting_is_answered_in_plain_http() {
    let bound = bound().await;
    let address = bound.address();
    let server = bound.serve(Router::new());
    let answer = tokio::task::spawn_blocking(move || {
        let mut client = TcpStream::connect(address).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // The beginning of a ClientHello: Docker's containerd store takes anything but an HTTP answer for a broken registry.
        client
            .write_all(&[0x16, 0x03, 0x01, 0x00, 0x2a, 0x01, 0x00, 0x00, 0x26, 0x03, 0x03, 0x0d, 0x0a, 0x0d, 0x0a])
            .unwrap();
        let mut answer = [0; 12];
        client.read_exact(&mut answer).unwrap();
        answer
    });
    assert_eq!(&answer.await.unwrap(), b"HTTP/1.1 400");
    server.shutdown().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error() {
    let first = bound().await;
    let error = Bound::new(first.address()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
}
