//! A bare HTTP server for stand-ins: it answers well by default, and in the listed bad ways on request.
//!
//! It speaks the wire itself, so that it can break a connection before or after the request was acted on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// How one request is answered instead of well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// This status, with `Retry-After` seconds; nothing is done.
    Refuse(u16, Option<u32>),
    /// This status, with a line of the head; nothing is done.
    RefuseWith(u16, &'static str),
    /// Nothing is done, and the connection is reset.
    ResetBefore,
    /// It is done, and the connection is reset.
    ResetAfter,
    /// It is done, and then this status.
    DoneThen(u16),
    /// It is done, and no answer ever comes.
    DoneThenSilence,
    /// Nothing is done, and the answer is a page for people with 200.
    Page,
    /// It is done, and the answer ends in the middle of its body.
    DoneThenCut,
}

/// A request as it came in.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    pub at: Instant,
}

impl Seen {
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
    }
}

/// What is done with a request: gives status, content type and body.
pub type Act = Box<dyn FnMut(&Seen) -> (u16, &'static str, String) + Send>;

struct Inner {
    act: Act,
    faults: VecDeque<Fault>,
    seen: Vec<Seen>,
}

/// A server that listens while it lives.
#[derive(Clone)]
pub struct Server {
    inner: Arc<Mutex<Inner>>,
    pub url: String,
}

#[expect(clippy::disallowed_methods, reason = "the stand-in has a clock of its own")]
fn now() -> Instant {
    Instant::now()
}

impl Server {
    pub async fn start(act: Act) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let inner = Arc::new(Mutex::new(Inner { act, faults: VecDeque::new(), seen: Vec::new() }));
        let server = Self { inner: Arc::clone(&inner), url };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&inner)));
            }
        });
        server
    }

    /// Answers the next requests badly, in this order.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.inner.lock().expect("not poisoned").faults.extend(faults);
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.inner.lock().expect("not poisoned").seen.clone()
    }
}

async fn serve(mut stream: TcpStream, inner: Arc<Mutex<Inner>>) {
    let Some(seen) = read(&mut stream).await else { return };
    let (fault, answer) = {
        let mut inner = inner.lock().expect("not poisoned");
        inner.seen.push(seen.clone());
        // A question is answered well: what is scripted is for what is told.
        let fault = if seen.method == "GET" { None } else { inner.faults.pop_front() };
        let is_done =
            !matches!(fault, Some(Fault::Refuse(..) | Fault::RefuseWith(..) | Fault::ResetBefore | Fault::Page));
        let answer = is_done.then(|| (inner.act)(&seen));
        (fault, answer)
    };
    let page = "<html><body>Sign in</body></html>".to_owned();
    let reply = match (fault, answer) {
        (None, Some((status, kind, body))) => reply(status, kind, &body, body.len(), ""),
        (Some(Fault::Refuse(status, wait)), _) => {
            let wait = wait.map(|seconds| format!("Retry-After: {seconds}")).unwrap_or_default();
            reply(status, "text/plain", "awkward", 7, &wait)
        }
        (Some(Fault::RefuseWith(status, line)), _) => reply(status, "text/plain", "awkward", 7, line),
        (Some(Fault::DoneThen(status)), _) => reply(status, "text/plain", "awkward", 7, ""),
        (Some(Fault::Page), _) => reply(200, "text/html; charset=utf-8", &page, page.len(), ""),
        (Some(Fault::DoneThenCut), _) => reply(200, "application/json", "{\"sta", 999, ""),
        (Some(Fault::DoneThenSilence), _) => {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            return;
        }
        (Some(Fault::ResetBefore | Fault::ResetAfter) | None, _) => {
            stream.set_zero_linger().expect("lingers");
            return;
        }
    };
    let _ = stream.write_all(reply.as_bytes()).await;
    let _ = stream.shutdown().await;
}

fn reply(status: u16, kind: &str, body: &str, length: usize, line: &str) -> String {
    let line = if line.is_empty() { String::new() } else { format!("{line}\r\n") };
    format!(
        "HTTP/1.1 {status} Awkward\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{line}Connection: close\r\n\r\n{body}"
    )
}

async fn read(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        (stream.read_buf(&mut bytes).await.ok()? > 0).then_some(())?;
    };
    let head = String::from_utf8(bytes[..end].to_vec()).expect("a head");
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        (stream.read_buf(&mut body).await.ok()? > 0).then_some(())?;
    }
    Some(Seen { method, path, headers, body, at: now() })
}
