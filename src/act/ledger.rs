//! What was told to whom: the store's ledger as one sink sees it, callable from async code.
//!
//! A write returns once it is durable. An integration writes an intent here before an act that it cannot repeat.

use std::sync::Arc;

use super::retry::{Failure, Reason};
use crate::store::{LedgerEntry, Store, StoreError};

/// One sink's part of the ledger.
#[derive(Clone, Debug)]
pub struct Ledger {
    store: Arc<Store>,
    sink: String,
}

impl Ledger {
    /// The ledger of `sink`.
    pub fn new(store: Arc<Store>, sink: &str) -> Self {
        Self { store, sink: sink.to_owned() }
    }

    /// What was told about the incident `key`.
    ///
    /// # Errors
    /// Where the state cannot be read.
    pub async fn get(&self, key: &str) -> Result<Option<LedgerEntry>, Failure> {
        let key = key.to_owned();
        self.blocking(move |store, sink| store.ledger(sink, &key)).await
    }

    /// Writes an entry durably.
    ///
    /// # Errors
    /// Where the transaction fails.
    pub async fn put(&self, key: &str, entry: &LedgerEntry) -> Result<(), Failure> {
        let (key, entry) = (key.to_owned(), entry.clone());
        self.blocking(move |store, sink| store.put_ledger(sink, &key, &entry)).await
    }

    /// Runs a piece of store work where it may block.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store, &str) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Failure> {
        let ledger = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&ledger.store, &ledger.sink)).await;
        match done {
            Ok(result) => result.map_err(|error| Failure::retry(Reason::Store, error.to_string())),
            Err(error) => Err(Failure::retry(Reason::Store, format!("a store task ended early ({error})"))),
        }
    }
}
