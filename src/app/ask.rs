//! Questions of the web server to the core: put into the pump's inbox, answered between two commits with a copy.
//!
//! The inbox is held weakly, so that a question never keeps the pump from ending. A question whose asker has gone away
//! costs nothing; none waits longer than its asker does.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::pump::{Message, Question};
use crate::watch::{OrgView, Watch};
use crate::web::{Asker, OrgFacts};

/// Asks what the pump behind `inbox` has committed.
pub(super) fn asker(inbox: mpsc::WeakSender<Message>) -> Asker {
    Asker::new(Arc::new(move || {
        let inbox = inbox.upgrade();
        Box::pin(async move {
            let inbox = inbox?;
            let (reply, answer) = oneshot::channel();
            let look = move |watch: &Watch| {
                if !reply.is_closed() {
                    // The asker may go away while the copy is made.
                    let _ = reply.send(facts(watch));
                }
            };
            inbox.send(Message::Ask(Question(Box::new(look)))).await.ok()?;
            drop(inbox);
            answer.await.ok()
        })
    }))
}

fn facts(watch: &Watch) -> Vec<OrgFacts> {
    let of = |org: OrgView<'_>| {
        let config = watch.config().orgs.get(org.name())?;
        let policies = org.policies().cloned().map(|mut policies| {
            policies.releases.clone_from(&config.releases);
            Arc::new(policies)
        });
        Some(OrgFacts {
            org: org.name().clone(),
            fleet: org.fleet().clone(),
            policies,
            groups: org.groups().clone(),
            cohorts: config.cohorts.clone(),
        })
    };
    watch.orgs().filter_map(of).collect()
}
