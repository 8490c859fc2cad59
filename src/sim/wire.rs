//! The wire under both servers: a listener whose connections can be cut, and a plain reply.
//!
//! A handler that wants the peer to see a reset says after how many bytes; the socket then sends them and an RST.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::connect_info::Connected;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use axum::serve::{IncomingStream, Listener};
use chrono::{DateTime, Utc};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use crate::event::Timestamp;

/// Accepts connections that can be cut.
pub(super) struct CuttableListener(pub(super) TcpListener);

/// The handle by which a handler cuts its connection.
#[derive(Clone, Debug)]
pub(super) struct Wire(Arc<AtomicUsize>);

/// A connection that stops after a number of bytes.
pub(super) struct Cuttable {
    stream: TcpStream,
    left: Arc<AtomicUsize>,
}

impl Wire {
    const WHOLE: usize = usize::MAX;

    /// Sends `bytes` more bytes, then resets the connection.
    pub(super) fn cut_after(&self, bytes: usize) {
        self.0.store(bytes, Ordering::Relaxed);
    }
}

impl Listener for CuttableListener {
    type Io = Cuttable;
    type Addr = Wire;

    async fn accept(&mut self) -> (Cuttable, Wire) {
        let (stream, _) = Listener::accept(&mut self.0).await;
        let left = Arc::new(AtomicUsize::new(Wire::WHOLE));
        (Cuttable { stream, left: Arc::clone(&left) }, Wire(left))
    }

    fn local_addr(&self) -> io::Result<Wire> {
        Ok(Wire(Arc::new(AtomicUsize::new(Wire::WHOLE))))
    }
}

impl Connected<IncomingStream<'_, CuttableListener>> for Wire {
    fn connect_info(stream: IncomingStream<'_, CuttableListener>) -> Self {
        stream.remote_addr().clone()
    }
}

impl AsyncRead for Cuttable {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Cuttable {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let left = self.left.load(Ordering::Relaxed);
        if left == Wire::WHOLE {
            return Pin::new(&mut self.stream).poll_write(cx, bytes);
        }
        if left == 0 {
            self.stream.set_zero_linger()?;
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let part = &bytes[..bytes.len().min(left)];
        let written = Pin::new(&mut self.stream).poll_write(cx, part);
        if let Poll::Ready(Ok(count)) = &written {
            self.left.store(left.saturating_sub(*count), Ordering::Relaxed);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A reply before it is sent.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn json(status: StatusCode, body: &(impl serde::Serialize + ?Sized)) -> Self {
        let body = serde_json::to_vec(body).unwrap_or_default();
        Self { status, content_type: "application/json", headers: Vec::new(), body }
    }

    pub(super) fn html(status: StatusCode, body: &str) -> Self {
        Self { status, content_type: "text/html;charset=UTF-8", headers: Vec::new(), body: body.into() }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// About the middle of what goes over the wire, past the headers.
    pub(super) fn middle(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        headers + 160 + self.body.len() / 2
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        response.headers_mut().insert("content-type", HeaderValue::from_static(self.content_type));
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().append(HeaderName::from_static(name), value);
            }
        }
        response
    }
}

/// A time as the `Date` header writes it.
pub(super) fn http_date(at: Timestamp) -> String {
    let at: DateTime<Utc> = at.to_utc();
    at.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// The address that a request was sent to, for links.
pub(super) fn base_url(headers: &axum::http::HeaderMap, fallback: SocketAddr) -> String {
    let host = headers.get("host").and_then(|host| host.to_str().ok());
    host.map_or_else(|| format!("http://{fallback}"), |host| format!("http://{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_header_has_its_form() {
        let at = Timestamp::parse("2026-03-02T04:05:06.789Z").expect("a time");
        assert_eq!(http_date(at), "Mon, 02 Mar 2026 04:05:06 GMT");
    }
}
