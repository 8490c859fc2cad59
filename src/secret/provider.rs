//! The one place that every part asks for a secret, each time before it uses it.
//!
//! A variable is looked up, a file is looked at and read again when it changed, a secret in a vault is kept and read
//! again every few minutes, and at once when the other side refused it. **A secret that was had once is never taken
//! away:** where its place becomes empty, cut off or unreachable, the old one stays in use and the trouble is logged
//! once. Reading never holds up the caller while there is a secret to give: a slow disk or a slow vault is waited for
//! in a task of its own, one per secret.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Mutex as Turn;
use tokio::time::timeout;

use super::file::{self, Read};
use super::vault::Vault;
use super::{Lookup, Secret, SecretError, SecretRef};
use crate::clock;

/// How long a look at a file may take while there is an old secret to give.
const A_MOMENT: Duration = Duration::from_millis(500);
/// How long the first read of a file may take.
const FIRST_READ: Duration = Duration::from_secs(5);
/// The longest time until a vault is asked again that did not answer, while there is an old secret to give.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// Gives secrets by reference; a clone is the same provider.
#[derive(Clone)]
pub struct Secrets(Arc<Inner>);

struct Inner {
    lookup: Lookup,
    vault: Option<Vault>,
    /// Only references of the configuration are asked for, so there are as many.
    places: Mutex<BTreeMap<SecretRef, Arc<Place>>>,
}

/// What is known of one reference to a file or a vault.
struct Place {
    reference: SecretRef,
    vault: Option<Vault>,
    /// Held while it is read, so that it is read once at a time and can be waited for.
    turn: Arc<Turn<()>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    secret: Option<Secret>,
    /// The file as it was last read.
    file: Option<Read>,
    /// When a vault is asked again.
    next: Option<Instant>,
    /// The other side refused the secret after the last read began.
    refused: bool,
    trouble: Option<SecretError>,
    said: Option<String>,
}

impl Secrets {
    /// A provider that looks up variables in `lookup` and paths in `vault`, where there is one.
    pub fn new(lookup: Lookup, vault: Option<Vault>) -> Self {
        Self(Arc::new(Inner { lookup, vault, places: Mutex::default() }))
    }

    /// The secret as it is now.
    ///
    /// # Errors
    /// Where it was never had and cannot be had now.
    pub async fn current(&self, reference: &SecretRef) -> Result<Secret, SecretError> {
        match reference {
            SecretRef::Env(_) => return reference.resolve(&*self.0.lookup),
            SecretRef::Vault(path) if self.0.vault.is_none() => return Err(SecretError::NoVault(path.clone())),
            SecretRef::File(_) | SecretRef::Vault(_) => {}
        }
        let place = self.place(reference);
        // Twice, for a refusal that comes while it is read: what was read may be the secret from before.
        for _ in 0..2 {
            let Some(wait) = place.wait_for_read() else { break };
            place.read_within(wait).await;
            if !place.state().refused {
                break;
            }
        }
        place.now()
    }

    /// The other side refused `secret`: unless another was read since, its place is read at the next use.
    pub fn refused(&self, reference: &SecretRef, secret: &Secret) {
        let place = self.place(reference);
        let mut state = place.state();
        if state.secret.as_ref() == Some(secret) {
            state.refused = true;
        }
    }

    /// Whatever is held for `reference` may be what was refused: its place is read at the next use.
    pub fn doubt(&self, reference: &SecretRef) {
        self.place(reference).state().refused = true;
    }

    fn place(&self, reference: &SecretRef) -> Arc<Place> {
        let mut places = self.0.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = places.get(reference) {
            return Arc::clone(place);
        }
        let place = Arc::new(Place {
            reference: reference.clone(),
            vault: self.0.vault.clone(),
            turn: Arc::default(),
            state: Mutex::default(),
        });
        places.insert(reference.clone(), Arc::clone(&place));
        place
    }
}

impl<F> From<Arc<F>> for Secrets
where
    F: Fn(&str) -> Option<String> + Send + Sync + ?Sized + 'static,
{
    /// A provider without a vault.
    fn from(lookup: Arc<F>) -> Self {
        Self::new(Arc::new(move |name: &str| lookup(name)), None)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("vault", &self.0.vault).finish_non_exhaustive()
    }
}

impl Place {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long to wait for a read; `None` where none is due.
    fn wait_for_read(&self) -> Option<Duration> {
        let state = self.state();
        let needed = state.secret.is_none() || state.refused;
        match &self.vault {
            Some(vault) if matches!(self.reference, SecretRef::Vault(_)) => {
                let due = needed || state.next.is_none_or(|next| clock::monotonic() >= next);
                due.then(|| if needed { vault.longest() } else { Duration::ZERO })
            }
            _ => Some(if needed { FIRST_READ } else { A_MOMENT }),
        }
    }

    /// Reads in a task of its own, or joins the reader that is at it, and waits for at most `wait`.
    async fn read_within(self: &Arc<Self>, wait: Duration) {
        if let Ok(turn) = Arc::clone(&self.turn).try_lock_owned() {
            let place = Arc::clone(self);
            tokio::spawn(async move {
                place.read().await;
                drop(turn);
            });
        }
        if !wait.is_zero() {
            let _ = timeout(wait, self.turn.lock()).await;
        }
    }

    async fn read(&self) {
        let known = {
            let mut state = self.state();
            // A refused secret is read again even where its file looks unchanged.
            let refused = std::mem::take(&mut state.refused);
            state.file.clone().filter(|_| !refused)
        };
        match &self.reference {
            SecretRef::File(path) => {
                let (path, before) = (path.clone(), known.clone());
                let read = tokio::task::spawn_blocking(move || file::read(&path, before.as_ref())).await;
                let read = read.unwrap_or_else(|_| Err(SecretError::Slow(self.reference.to_string())));
                self.learn(read.map(|read| (read.secret.clone(), Some(read))), None);
            }
            SecretRef::Vault(path) => {
                let Some(vault) = &self.vault else { return };
                let read = timeout(vault.longest(), vault.read(path)).await;
                let read = match read {
                    Ok(read) => read.map_err(|source| SecretError::Vault { path: path.clone(), source }),
                    Err(_) => Err(SecretError::Slow(self.reference.to_string())),
                };
                let rest = if read.is_ok() { vault.refresh() } else { vault.refresh().min(ASK_AGAIN) };
                self.learn(read.map(|secret| (secret, None)), Some(clock::monotonic() + rest));
            }
            SecretRef::Env(_) => {}
        }
    }

    fn learn(&self, read: Result<(Secret, Option<Read>), SecretError>, next: Option<Instant>) {
        let mut state = self.state();
        state.next = next;
        match read {
            Ok((secret, file)) => {
                if state.secret.as_ref().is_some_and(|old| *old != secret) {
                    tracing::info!(secret = %self.reference, "a new secret was read");
                } else if state.said.is_some() {
                    tracing::info!(secret = %self.reference, "the secret can be read again");
                }
                *state = State { secret: Some(secret), file, next, refused: state.refused, trouble: None, said: None };
            }
            Err(trouble) => {
                let cause = trouble.source().filter(|_| matches!(trouble, SecretError::Unreadable { .. }));
                let text = cause.map_or_else(|| trouble.to_string(), |cause| format!("{trouble}: {cause}"));
                if state.secret.is_some() && state.said.as_ref() != Some(&text) {
                    tracing::warn!(secret = %self.reference, "the old secret is kept: {text}");
                    state.said = Some(text);
                }
                state.trouble = Some(trouble);
            }
        }
    }

    fn now(&self) -> Result<Secret, SecretError> {
        let state = self.state();
        match (&state.secret, &state.trouble) {
            (Some(secret), _) => Ok(secret.clone()),
            (None, Some(trouble)) => Err(trouble.clone()),
            (None, None) => Err(SecretError::Slow(self.reference.to_string())),
        }
    }
}
