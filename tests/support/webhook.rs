//! A stand-in for a receiver of webhooks, which acts once on every idempotency key.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use super::server::{Seen, Server};

#[derive(Clone)]
pub struct Receiver {
    pub server: Server,
    acted: Arc<Mutex<Vec<Seen>>>,
}

impl Receiver {
    pub async fn start() -> Self {
        let acted: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let mut known = BTreeSet::new();
        let effects = Arc::clone(&acted);
        let act = move |seen: &Seen| {
            if known.insert(seen.header("idempotency-key").to_owned()) {
                effects.lock().expect("not poisoned").push(seen.clone());
            }
            (200, "text/plain", "ok".to_owned())
        };
        Self { server: Server::start(Box::new(act)).await, acted }
    }

    /// The requests that had an effect.
    pub fn acted(&self) -> Vec<Seen> {
        self.acted.lock().expect("not poisoned").clone()
    }
}
