//! A gate before a server of this machine: open, it hands everything through; shut, nobody is there and what was under
//! way is cut off.

use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub struct Gate {
    pub port: u16,
    open: watch::Sender<bool>,
}

impl Gate {
    /// An open gate before `target`.
    pub async fn before(target: u16) -> Self {
        let mut listener = Some(TcpListener::bind("127.0.0.1:0").await.expect("a port"));
        let port = listener.as_ref().expect("a listener").local_addr().expect("an address").port();
        let (open, mut is_open) = watch::channel(true);
        tokio::spawn(async move {
            while is_open.wait_for(|open| *open).await.is_ok() {
                let here = match listener.take() {
                    Some(here) => here,
                    None => bind(port).await,
                };
                let mut shut = is_open.clone();
                loop {
                    tokio::select! {
                        shut = shut.wait_for(|open| !*open) => {
                            if shut.is_err() {
                                return;
                            }
                            break;
                        }
                        accepted = here.accept() => {
                            let Ok((stream, _)) = accepted else { continue };
                            tokio::spawn(hand_through(stream, target, is_open.clone()));
                        }
                    }
                }
            }
        });
        Self { port, open }
    }

    pub fn set_open(&self, open: bool) {
        self.open.send_replace(open);
    }
}

async fn bind(port: u16) -> TcpListener {
    loop {
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)).await {
            return listener;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn hand_through(mut stream: TcpStream, target: u16, mut is_open: watch::Receiver<bool>) {
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", target)).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut stream, &mut server) => {}
        _ = is_open.wait_for(|open| !*open) => {
            // Cut off, not closed.
            let _ = (stream.set_zero_linger(), server.set_zero_linger());
        }
    }
}
