//! A stand-in for a syslog receiver: TCP or TLS with certificates made here, and the ways in which a real one fails.
//!
//! It keeps what it has read, per connection. What only reached its kernel when it resets is lost, as with a real one.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// What one connection does; without any in the queue, it reads to the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Closes at once.
    CloseAtOnce,
    /// Reads at least so many bytes, then resets.
    ResetAfter(usize),
    /// Reads at least so many bytes, then closes in good order without having been asked to.
    CloseAfter(usize),
    /// Reads nothing, and resets after so many milliseconds.
    SwallowThenReset(u64),
    /// Reads nothing, for ever.
    Stuck,
    /// Reads to the end, then ends the connection beneath TLS without a goodbye.
    NoGoodbye,
}

#[derive(Default)]
struct Inner {
    faults: VecDeque<Fault>,
    /// What was read, by connection.
    read: Vec<Vec<u8>>,
    /// Connections that ended in good order.
    clean: usize,
    /// Connections that ended otherwise.
    broken: usize,
}

/// The receiver.
pub struct Receiver {
    pub port: u16,
    inner: Arc<Mutex<Inner>>,
}

/// Certificates: an authority, a server's for `localhost`, a client's.
pub struct Certificates {
    pub dir: tempfile::TempDir,
    server: (String, String),
    ca: String,
    pub client_key: String,
}

impl Certificates {
    pub fn new() -> Self {
        let key = || KeyPair::generate().expect("a key");
        let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, key()).expect("an authority");
        let signed = |name: &str| {
            let key = key();
            let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
            (params.signed_by(&key, &authority).expect("a certificate").pem(), key.serialize_pem())
        };
        let (server, client) = (signed("localhost"), signed("authwatch.example.com"));
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("ca.pem"), authority.pem()).expect("writes");
        std::fs::write(dir.path().join("client.pem"), client.0).expect("writes");
        Self { dir, server, ca: authority.pem(), client_key: client.1 }
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn acceptor(&self, asks: bool) -> TlsAcceptor {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca.as_bytes()).expect("PEM")).expect("an authority");
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("TLS");
        let builder = if asks {
            builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
        } else {
            builder.with_no_client_auth()
        };
        let chain = vec![CertificateDer::from_pem_slice(self.server.0.as_bytes()).expect("PEM")];
        let key = PrivateKeyDer::from_pem_slice(self.server.1.as_bytes()).expect("PEM");
        TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).expect("a certificate")))
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Receiver {
    /// Over TCP.
    pub async fn tcp() -> Self {
        Self::start(None).await
    }

    /// Over TLS; `asks` for a certificate of the client.
    pub async fn tls(certificates: &Certificates, asks: bool) -> Self {
        Self::start(Some(certificates.acceptor(asks))).await
    }

    async fn start(acceptor: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let port = listener.local_addr().expect("an address").port();
        let inner = Arc::new(Mutex::new(Inner::default()));
        let shared = Arc::clone(&inner);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, acceptor.clone(), Arc::clone(&shared)));
            }
        });
        Self { port, inner }
    }

    /// What the next connections do.
    pub fn fail(&self, faults: &[Fault]) {
        self.inner.lock().expect("not poisoned").faults.extend(faults);
    }

    /// What was read, by connection.
    pub fn read(&self) -> Vec<Vec<u8>> {
        self.inner.lock().expect("not poisoned").read.clone()
    }

    /// Connections that ended in good order, and otherwise.
    pub fn ended(&self) -> (usize, usize) {
        let inner = self.inner.lock().expect("not poisoned");
        (inner.clean, inner.broken)
    }

    /// Waits until so many connections have ended.
    pub async fn wait_for_ends(&self, ends: usize) {
        for _ in 0..1_000 {
            let (clean, broken) = self.ended();
            if clean + broken >= ends {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The messages of all connections that came whole.
    #[track_caller]
    pub fn messages(&self) -> Vec<Message> {
        self.read().iter().flat_map(|bytes| counted(bytes)).collect()
    }

    /// Waits until the receiver has read so many whole messages.
    pub async fn wait_for(&self, messages: usize) {
        for _ in 0..1_000 {
            if self.messages().len() >= messages {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} messages came, {messages} were waited for", self.messages().len());
    }
}

async fn serve(stream: TcpStream, acceptor: Option<TlsAcceptor>, inner: Arc<Mutex<Inner>>) {
    let fault = inner.lock().expect("not poisoned").faults.pop_front();
    if fault == Some(Fault::CloseAtOnce) {
        return;
    }
    // A second handle to the same socket, to reset it beneath TLS.
    let socket = socket2::SockRef::from(&stream).try_clone().expect("a handle");
    let mut stream: Box<dyn Stream> = match acceptor {
        None => Box::new(stream),
        Some(acceptor) => match acceptor.accept(stream).await {
            Ok(stream) => Box::new(stream),
            Err(_) => return,
        },
    };
    let reset = || socket.set_linger(Some(Duration::ZERO)).expect("sets");
    match fault {
        Some(Fault::SwallowThenReset(millis)) => {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            return reset();
        }
        Some(Fault::Stuck) => return std::future::pending().await,
        _ => {}
    }
    let connection = {
        let mut inner = inner.lock().expect("not poisoned");
        inner.read.push(Vec::new());
        inner.read.len() - 1
    };
    let mut buffer = vec![0; 16 << 10];
    let is_clean = loop {
        let Ok(length) = stream.read(&mut buffer).await else { break false };
        let mut inner = inner.lock().expect("not poisoned");
        inner.read[connection].extend(&buffer[..length]);
        let total = inner.read[connection].len();
        match fault {
            _ if length == 0 => break true,
            Some(Fault::ResetAfter(bytes)) if total >= bytes => {
                reset();
                break false;
            }
            Some(Fault::CloseAfter(bytes)) if total >= bytes => break false,
            _ => {}
        }
    };
    if matches!(fault, Some(Fault::NoGoodbye)) {
        socket.shutdown(std::net::Shutdown::Both).expect("shuts");
    } else if is_clean {
        let _ = stream.shutdown().await;
    }
    let mut inner = inner.lock().expect("not poisoned");
    if is_clean { inner.clean += 1 } else { inner.broken += 1 }
}

/// A message of RFC 5424.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    pub pri: u8,
    pub time: String,
    pub host: String,
    pub app: String,
    pub kind: String,
    pub sd_id: String,
    pub params: BTreeMap<String, String>,
    pub text: String,
    pub bytes: usize,
}

impl Message {
    pub fn id(&self) -> &str {
        self.params.get("id").map(String::as_str).unwrap_or_default()
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

/// Messages framed by their length; what is cut off at the end is left out.
#[track_caller]
pub fn counted(mut bytes: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    while let Some(blank) = bytes.iter().position(|byte| *byte == b' ') {
        let digits = std::str::from_utf8(&bytes[..blank]).expect("a length");
        assert!(
            !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit()),
            "{digits:?} is no length"
        );
        let length: usize = digits.parse().expect("a length");
        let rest = &bytes[blank + 1..];
        if rest.len() < length {
            break;
        }
        messages.push(parse(&rest[..length]));
        bytes = &rest[length..];
    }
    messages
}

/// Reads a message as RFC 5424 has it.
#[track_caller]
pub fn parse(bytes: &[u8]) -> Message {
    let text = std::str::from_utf8(bytes).expect("UTF-8");
    let rest = text.strip_prefix('<').expect("PRI");
    let (pri, rest) = rest.split_once('>').expect("PRI");
    let pri: u8 = pri.parse().expect("PRI");
    assert!(pri <= 191, "{pri}");
    let mut fields = rest.splitn(7, ' ');
    let mut next = || fields.next().unwrap_or_else(|| panic!("too few fields: {text}")).to_owned();
    let (version, time, host, app, process, kind, rest) = (next(), next(), next(), next(), next(), next(), next());
    assert_eq!(version, "1");
    assert_eq!(process, "-");
    assert!(time == "-" || chrono::DateTime::parse_from_rfc3339(&time).is_ok(), "{time}");
    for (field, most) in [(&host, 255), (&app, 48), (&kind, 32)] {
        assert!(!field.is_empty() && field.len() <= most && field.chars().all(|c| c.is_ascii_graphic()), "{field}");
    }
    let inner = rest.strip_prefix('[').expect("structured data");
    let (sd_id, mut params, mut chars) = {
        let end = inner.find([' ', ']']).expect("an id");
        (inner[..end].to_owned(), BTreeMap::new(), inner[end..].char_indices())
    };
    let start = inner.len() - chars.as_str().len();
    let end = loop {
        match chars.next().expect("an end") {
            (at, ']') => break start + at + 1,
            (_, ' ') => {
                let name: String = chars.by_ref().map(|(_, c)| c).take_while(|c| *c != '=').collect();
                assert_eq!(chars.next().map(|(_, c)| c), Some('"'));
                let mut value = String::new();
                loop {
                    match chars.next().expect("a value").1 {
                        '"' => break,
                        '\\' => value.push(chars.next().expect("an escape").1),
                        ']' => panic!("a bracket must be escaped: {text}"),
                        c => value.push(c),
                    }
                }
                assert!(params.insert(name, value).is_none());
            }
            (_, c) => panic!("{c} between parameters: {text}"),
        }
    };
    let text = inner[end..].strip_prefix(' ').expect("a blank before the text").to_owned();
    Message { pri, time, host, app, kind, sd_id, params, text, bytes: bytes.len() }
}
