//! The API token: read when it is needed, kept while it is accepted, and looked for while a person has to give another.

use std::time::Duration;

use super::config::Auth;
use super::trouble::Trouble;
use crate::secret::{Secret, SecretError, SecretRef};
use crate::source::Environment;

/// The token of one task.
pub(super) struct Token {
    reference: SecretRef,
    environment: Environment,
    held: Option<Secret>,
}

impl Token {
    /// A token that is read at its first use; `environment` is asked whenever it is read.
    pub(super) fn new(auth: &Auth, environment: Environment) -> Self {
        let Auth::Ssws(reference) = auth;
        Self { reference: reference.clone(), environment, held: None }
    }

    /// The token in use.
    pub(super) fn get(&mut self) -> Result<&Secret, Trouble> {
        let token = match self.held.take() {
            Some(token) => token,
            None => self.read().map_err(Trouble::Secret)?,
        };
        Ok(self.held.insert(token))
    }

    /// Waits for someone to give another token, at most `length`; it is read anew for the next try. Returns how long
    /// it waited.
    pub(super) async fn wait_for_another(&mut self, length: Duration, check_every: Duration) -> Duration {
        let refused = self.held.take();
        let mut left = length;
        while !left.is_zero() {
            let step = left.min(check_every.max(Duration::from_millis(1)));
            tokio::time::sleep(step).await;
            left -= step;
            if self.read().is_ok_and(|token| refused.as_ref() != Some(&token)) {
                break;
            }
        }
        length - left
    }

    fn read(&self) -> Result<Secret, SecretError> {
        self.reference.resolve(&*self.environment)
    }
}
