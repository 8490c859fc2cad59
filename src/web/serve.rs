//! The connection loop: accept, serve, and at shutdown finish what was begun.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time;

use super::access::Peer;
use super::{Access, Shared, router};

/// Connections at a time; further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 256;
/// For the headers of a request, and between two requests of one connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// The buffer of a connection, which bounds the headers of a request.
const MAX_BUFFER: usize = 16 << 10;
/// After this, a connection takes no further request.
const LIFETIME: Duration = Duration::from_secs(600);
/// For the last reply of a connection that is told to close.
const CLOSING: Duration = Duration::from_secs(10);
/// After a failed accept (out of file descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Serves until `shutdown` is done, then lets open requests finish for at most 10 s.
///
/// A connection that fails is that connection's trouble and is told at `debug`; serving goes on.
pub async fn serve(listener: TcpListener, shared: Shared, access: Access, shutdown: impl Future<Output = ()> + Send) {
    let router = router(shared, access);
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let (closing, _) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &slots) => accepted,
        };
        match accepted {
            Ok((slot, stream, peer)) => {
                let connection = connection(stream, peer, router.clone(), closing.subscribe());
                connections.spawn(async move {
                    connection.await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    closing.send_replace(true);
    while connections.join_next().await.is_some() {}
}

type Slot = tokio::sync::OwnedSemaphorePermit;

async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> io::Result<(Slot, TcpStream, SocketAddr)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((slot, stream, peer))
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, mut closing: watch::Receiver<bool>) {
    let service = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        service.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        _ = closing.wait_for(|closing| *closing) => None,
        () = time::sleep(LIFETIME) => None,
    };
    let ended = match ended {
        Some(ended) => Ok(ended),
        None => {
            connection.as_mut().graceful_shutdown();
            time::timeout(CLOSING, connection).await
        }
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection ended early"),
        Err(_) => tracing::debug!("a connection was cut: its last reply was not taken"),
    }
}
