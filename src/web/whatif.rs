//! `/api/v1/whatif`: what the fleet is like (`GET`), or whom a change of device assurance would refuse (`POST`).
//!
//! The answer is made from a copy of what was last committed, outside the pump. A question changes nothing, so it needs
//! no more than reading does. Two are answered at a time; one that is not answered in time is told to ask again.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::{Shared, refusal};
use crate::event::Org;
use crate::input::{Cohort, Policies};
use crate::policy::Groups;
use crate::policy::ask::{Answer, Budget, Facts, Question, answer};
use crate::policy::fleet::Fleet;
use crate::policy::whatif::Proposal;

/// Where it is.
pub(super) const PATH: &str = "/api/v1/whatif";

/// Bytes of a question.
const MAX_BODY: usize = 256 << 10;
/// Devices listed for one org; the rest is counted.
const MAX_DEVICES: usize = 10_000;
/// For a question's body, and then for its answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Questions answered at a time.
const SLOTS: usize = 2;

/// What is known of one org at a commit.
#[derive(Clone, Debug)]
pub struct OrgFacts {
    /// The org.
    pub org: Org,
    /// Its devices.
    pub fleet: Fleet,
    /// Its policies in force, where they are known.
    pub policies: Option<Arc<Policies>>,
    /// Who is in which group.
    pub groups: Groups,
    /// Its cohorts.
    pub cohorts: Vec<Cohort>,
}

/// Copies what was last committed; `None` where nobody can say it any more.
pub type AskFacts = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Option<Vec<OrgFacts>>> + Send>> + Send + Sync>;

/// Answers questions, so many at a time.
#[derive(Clone)]
pub struct Asker {
    facts: AskFacts,
    slots: Arc<Semaphore>,
}

impl Asker {
    /// Asks `facts`.
    pub fn new(facts: AskFacts) -> Self {
        Self { facts, slots: Arc::new(Semaphore::new(SLOTS)) }
    }
}

/// The body of a `POST`.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Asked {
    /// Proposed device assurance policies: one object or an array.
    assurance: Option<Value>,
    /// Proposed values by path.
    set: BTreeMap<String, Value>,
    /// In percent.
    budget: Option<f64>,
    /// Whether to list the devices.
    devices: bool,
    /// Only this org.
    org: Option<Org>,
}

#[derive(Serialize)]
struct Reply {
    orgs: Vec<OrgReply>,
}

#[derive(Serialize)]
struct OrgReply {
    org: Org,
    #[serde(flatten)]
    answer: Answer,
}

/// A refusal: the status and why.
type Refused = (StatusCode, String);

/// `GET /api/v1/whatif`.
pub(super) async fn baseline(State(shared): State<Shared>) -> Response {
    reply(asked(&shared.asker, Asked::default()).await)
}

/// `POST /api/v1/whatif`.
pub(super) async fn whatif(State(shared): State<Shared>, request: Request) -> Response {
    let question = match read(request.into_body()).await {
        Ok(question) => question,
        Err(refused) => return reply(Err(refused)),
    };
    reply(asked(&shared.asker, question).await)
}

async fn read(body: Body) -> Result<Asked, Refused> {
    let bytes = match timeout(PATIENCE, to_bytes(body, MAX_BODY)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => {
            let why = format!("the question is longer than {MAX_BODY} bytes");
            return Err((StatusCode::PAYLOAD_TOO_LARGE, why));
        }
        Err(_) => return Err((StatusCode::REQUEST_TIMEOUT, "the question did not come in time".to_owned())),
    };
    let invalid = |error| (StatusCode::BAD_REQUEST, format!("the question cannot be read: {error}"));
    serde_json::from_slice(&bytes).map_err(invalid)
}

async fn asked(asker: &Asker, asked: Asked) -> Result<Reply, Refused> {
    let (only, question) = question(asked).map_err(|why| (StatusCode::BAD_REQUEST, why))?;
    let busy = || {
        let why = "the daemon is busy or still restores its state: ask again in a moment";
        (StatusCode::SERVICE_UNAVAILABLE, why.to_owned())
    };
    let answered = async {
        let slot = Arc::clone(&asker.slots).acquire_owned().await.ok()?;
        let facts = (asker.facts)().await?;
        let work = move || {
            let orgs = answers(&facts, only.as_ref(), &question);
            drop(slot);
            orgs
        };
        spawn_blocking(work).await.ok()
    };
    timeout(PATIENCE, answered).await.ok().flatten().ok_or_else(busy)?
}

/// The org that is asked about, where one is named, and the question.
fn question(asked: Asked) -> Result<(Option<Org>, Question), String> {
    let Asked { assurance, set, budget, devices, org } = asked;
    let mut proposal = Proposal::default();
    if let Some(json) = &assurance {
        proposal.assure(json).map_err(|error| match std::error::Error::source(&error) {
            Some(source) => format!("assurance: {error}: {source}"),
            None => format!("assurance: {error}"),
        })?;
    }
    for (path, value) in &set {
        let value = text(value)
            .ok_or_else(|| format!("set: the value of `{path}` must be a text, true or false, or a list of texts"))?;
        proposal.set_at(path, &value).map_err(|error| format!("set: {error}"))?;
    }
    let budget = budget.map(Budget::percent).transpose().map_err(|error| format!("budget: {error}"))?;
    let list = if devices { MAX_DEVICES } else { 0 };
    Ok((org, Question { proposal, budget: budget.unwrap_or_default(), list }))
}

/// A value as the command line would write it.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Array(words) => {
            let words: Option<Vec<&str>> = words.iter().map(Value::as_str).collect();
            words.map(|words| words.join(","))
        }
        Value::Null | Value::Number(_) | Value::Object(_) => None,
    }
}

fn answers(facts: &[OrgFacts], only: Option<&Org>, question: &Question) -> Result<Reply, Refused> {
    if let Some(org) = only
        && facts.iter().all(|facts| facts.org != *org)
    {
        return Err((StatusCode::NOT_FOUND, format!("no org `{org}` is configured")));
    }
    let asked = facts.iter().filter(|facts| only.is_none_or(|org| facts.org == *org));
    let orgs = asked.map(|facts| {
        let OrgFacts { org, fleet, policies, groups, cohorts } = facts;
        let cohort_of = |person: &_| groups.cohort_of(cohorts, person);
        let facts = Facts { fleet, policies: policies.as_deref(), groups, cohort_of: &cohort_of };
        OrgReply { org: org.clone(), answer: answer(facts, question) }
    });
    Ok(Reply { orgs: orgs.collect() })
}

fn reply(answered: Result<Reply, Refused>) -> Response {
    match answered {
        Ok(reply) => Json(reply).into_response(),
        Err((status, why)) => {
            let mut response = refusal(PATH, status, &why);
            if matches!(status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT) {
                // What is left of the body is not read.
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            response
        }
    }
}
