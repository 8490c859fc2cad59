//! One connection to a syslog receiver, in the clear or over TLS.
//!
//! A receiver of syslog never answers, so a connection is read for one purpose: to learn that the other side is gone,
//! and over TLS to take in what its library says. What is unread when a socket closes makes the kernel reset the
//! connection, which can destroy what the receiver has not read yet. The kernel is told to give up a connection whose
//! bytes are not acknowledged within [`UNACKNOWLEDGED`].

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, Error as TlsError, RootCertStore};

use super::config::{Config, Tls, Transport};
use crate::act::retry::{Failure, Reason};
use crate::act::wire;
use crate::secret::Secrets;

/// How long the receiver's machine may leave bytes unacknowledged. Where the kernel holds to it, what was written longer
/// ago on a connection that lives has arrived at that machine.
pub(super) const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// Whether the kernel can be told so.
pub(super) const IS_HELD: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Bytes that are written at once: each piece has the whole time-out.
const PIECE: usize = 64 << 10;

/// Pieces of 4 KiB that are read at a time from a receiver that talks.
const TALK: usize = 16;

/// The largest file of certificates.
const PEM: u64 = 4 << 20;

trait Wire: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Wire for T {}

/// An open connection.
pub(super) struct Connection {
    wire: Box<dyn Wire>,
    who: String,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("who", &self.who).finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects; over TLS with the certificates as they are on disk now.
    pub(super) async fn open(config: &Config, who: &str, secrets: &Secrets) -> Result<Self, Failure> {
        let connector = match config.transport {
            Transport::Tls => Some(connector(&config.tls, who, secrets).await?),
            Transport::Tcp => None,
        };
        let within = config.timeout;
        let late = |_| Failure::retry(Reason::Timeout, format!("{who} did not answer in time"));
        let address = (config.host.as_str(), config.port);
        let stream = timeout(within, TcpStream::connect(address)).await.map_err(late)?;
        let stream = stream.map_err(|error| {
            Failure::retry(Reason::Unreachable, format!("{who} cannot be reached ({})", error.kind()))
        })?;
        tune(&stream);
        let wire: Box<dyn Wire> = match connector {
            None => Box::new(stream),
            Some(connector) => {
                let name = config.tls.server_name.clone().unwrap_or_else(|| config.host.clone());
                let unfit =
                    |_| Failure::fix(Reason::Invalid, format!("`tls.server_name` `{name}` is no name of a server"));
                let name = ServerName::try_from(name.clone()).map_err(unfit)?;
                let stream = timeout(within, connector.connect(name, stream)).await.map_err(late)?;
                Box::new(stream.map_err(|error| broken(who, &error))?)
            }
        };
        Ok(Self { wire, who: who.to_owned() })
    }

    /// Writes all bytes; fails where the receiver takes none of the next piece within `within`.
    pub(super) async fn write(&mut self, bytes: &[u8], within: Duration) -> Result<(), Failure> {
        let slow = |_| Failure::retry(Reason::Timeout, format!("{} takes nothing any more", self.who));
        for piece in bytes.chunks(PIECE) {
            let written = timeout(within, self.wire.write_all(piece)).await.map_err(slow)?;
            written.map_err(|error| broken(&self.who, &error))?;
        }
        let flushed = timeout(within, self.wire.flush()).await.map_err(slow)?;
        flushed.map_err(|error| broken(&self.who, &error))
    }

    /// Whether the other side is still there, as far as can be told within `wait`.
    pub(super) async fn check(&mut self, wait: Duration) -> Result<(), Failure> {
        let mut talk = [0; 4_096];
        for _ in 0..TALK {
            match timeout(wait, self.wire.read(&mut talk)).await {
                Err(_) => return Ok(()),
                Ok(Ok(0)) => return Err(lost(&self.who, "closed the connection")),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(broken(&self.who, &error)),
            }
        }
        Ok(())
    }

    /// Says goodbye and waits for the other side's end, which comes after it has read everything. A reset confirms
    /// nothing. Over TLS some receivers end without TLS's goodbye (rsyslog 8.2302 does), which anybody on the way can
    /// forge: `strict` does not take that for a confirmation.
    pub(super) async fn close(mut self, within: Duration, strict: bool) -> Result<(), Failure> {
        let slow = |_| Failure::retry(Reason::Timeout, format!("{} did not confirm the end in time", self.who));
        let ended = timeout(within, async {
            // What the other side says on its way out tells more than that we could not say goodbye.
            let goodbye = self.wire.shutdown().await;
            let mut talk = [0; 4_096];
            loop {
                match self.wire.read(&mut talk).await {
                    Ok(0) => return goodbye,
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !strict => return goodbye,
                    Err(error) => return Err(error),
                }
            }
        });
        ended.await.map_err(slow)?.map_err(|error| broken(&self.who, &error))
    }
}

/// Finds out by itself that the other side is gone. Where the system cannot be told, writing finds out.
fn tune(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(UNACKNOWLEDGED).with_interval(Duration::from_secs(10));
    let _ = socket.set_tcp_keepalive(&keepalive);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
}

async fn connector(tls: &Tls, who: &str, secrets: &Secrets) -> Result<TlsConnector, Failure> {
    let roots = match &tls.ca_file {
        Some(path) => trusted(&read(path, "tls.ca_file").await?, path)?,
        None => system().await?,
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let unusable = |error: TlsError| Failure::fix(Reason::Invalid, format!("TLS cannot be set up: {error}"));
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(unusable)?;
    let builder = builder.with_root_certificates(roots);
    let config = match (&tls.certificate_file, &tls.key) {
        (Some(path), Some(key)) => {
            let chain = certificates(&read(path, "tls.certificate_file").await?, path)?;
            let key = wire::read_secret(key, who, secrets).await?;
            let unfit = |_| Failure::fix(Reason::Secret, "the secret of `tls.key` is no private key in PEM");
            let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes()).map_err(unfit)?;
            builder.with_client_auth_cert(chain, key).map_err(unusable)?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn read(path: &Path, key: &str) -> Result<Vec<u8>, Failure> {
    let unreadable = |error: io::Error| {
        Failure::fix(Reason::Invalid, format!("`{key}`: cannot read `{}` ({})", path.display(), error.kind()))
    };
    let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(PEM).read_to_end(&mut bytes).await.map_err(unreadable)?;
    Ok(bytes)
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.ok().filter(|found| !found.is_empty());
    found.ok_or_else(|| Failure::fix(Reason::Invalid, format!("`{}` holds no certificate in PEM", path.display())))
}

fn trusted(pem: &[u8], path: &Path) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    let (good, _) = roots.add_parsable_certificates(certificates(pem, path)?);
    let none =
        || Failure::fix(Reason::Invalid, format!("`{}` holds no certificate that can be trusted", path.display()));
    if good > 0 { Ok(roots) } else { Err(none()) }
}

async fn system() -> Result<RootCertStore, Failure> {
    let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
    let certs = found.map(|found| found.certs).unwrap_or_default();
    let mut roots = RootCertStore::empty();
    let (good, _) = roots.add_parsable_certificates(certs);
    let none =
        || Failure::fix(Reason::Invalid, "this system trusts no certificate at all (name one with `tls.ca_file`)");
    if good > 0 { Ok(roots) } else { Err(none()) }
}

fn lost(who: &str, what: &str) -> Failure {
    Failure::retry(Reason::ConnectionLost, format!("{who} {what}"))
}

/// What an error of the connection means. A certificate that is not accepted, on either side, needs a person.
fn broken(who: &str, error: &io::Error) -> Failure {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
    match tls {
        Some(TlsError::InvalidCertificate(why)) => Failure::fix(
            Reason::Unauthorized,
            format!("the certificate of {who} is not accepted: {why} (is `tls.ca_file` right?)"),
        ),
        Some(TlsError::AlertReceived(alert)) => Failure::fix(
            Reason::Unauthorized,
            format!("{who} refuses the TLS connection: {alert:?} (does it ask for a certificate of ours?)"),
        ),
        Some(TlsError::InvalidMessage(_)) => {
            Failure::fix(Reason::BadBody, format!("{who} does not speak TLS (is the port right?)"))
        }
        Some(other) => Failure::retry(Reason::ConnectionLost, format!("the TLS connection to {who} failed: {other}")),
        None => Failure::retry(Reason::ConnectionLost, format!("the connection to {who} broke ({})", error.kind())),
    }
}
