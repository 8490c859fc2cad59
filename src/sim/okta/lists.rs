//! The lists beside the log: the policies in force, their rules, device assurance policies, the people of groups.
//!
//! Policies, rules and people come in pages, with a `next` link while there are more; device assurance policies come in
//! one. A cursor is ours and opaque; one that is not ours is refused.

use axum::body::Body;
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::{HeaderMap, Response, StatusCode, Uri};
use serde_json::{Value, json};

use super::super::org::{Cohort, Org};
use super::super::policies::PolicyState;
use super::super::push::policies_at;
use super::super::wire::{Reply, Wire, base_url};
use super::{Endpoint, Okta, Params, error};
use crate::event::Timestamp;

pub(super) async fn policies(
    State(okta): State<Okta>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    headers: HeaderMap,
    uri: Uri,
    Query(params): Query<Params>,
) -> Response<Body> {
    let page = Page { okta: &okta, params: &params, uri: &uri, base: base_url(&headers, okta.0.address) };
    let list = |now| {
        if params.get("type").map(String::as_str) != Some("ACCESS_POLICY") {
            return error(StatusCode::BAD_REQUEST, "E0000001", "Api validation failed: type");
        }
        page.of(okta.in_force(now, |org, state| org.policy_list(state)))
    };
    okta.serve(Endpoint::Policies, &wire, &headers, &params, list).await
}

pub(super) async fn rules(
    State(okta): State<Okta>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    headers: HeaderMap,
    uri: Uri,
    Path(policy): Path<String>,
    Query(params): Query<Params>,
) -> Response<Body> {
    let page = Page { okta: &okta, params: &params, uri: &uri, base: base_url(&headers, okta.0.address) };
    let list = |now| {
        if !okta.0.org.policy_ids.policies.contains(&policy) {
            return missing(&policy, "Policy");
        }
        let rules = okta.in_force(now, |org, state| org.rules(&policy, state));
        page.of(rules.as_array().cloned().unwrap_or_default())
    };
    okta.serve(Endpoint::Rules, &wire, &headers, &params, list).await
}

pub(super) async fn assurances(
    State(okta): State<Okta>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    headers: HeaderMap,
) -> Response<Body> {
    let list = |now| Reply::json(StatusCode::OK, &okta.in_force(now, |org, state| org.device_assurances(state)));
    okta.serve(Endpoint::DeviceAssurances, &wire, &headers, &Params::new(), list).await
}

pub(super) async fn members(
    State(okta): State<Okta>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    headers: HeaderMap,
    uri: Uri,
    Path(group): Path<String>,
    Query(params): Query<Params>,
) -> Response<Body> {
    let page = Page { okta: &okta, params: &params, uri: &uri, base: base_url(&headers, okta.0.address) };
    let list = |_| match people(&okta.0.org, &group) {
        Some(people) => page.of(people),
        None => missing(&group, "UserGroup"),
    };
    okta.serve(Endpoint::Groups, &wire, &headers, &params, list).await
}

/// The people of a group as Okta lists them; `None` for a group that is not the org's.
fn people(org: &Org, group: &str) -> Option<Vec<Value>> {
    let cohort = Cohort::ALL.into_iter().find(|cohort| org.groups[cohort.as_str()] == group)?;
    let people = org.people.iter().filter(|person| person.cohort == cohort);
    let listed = people.map(|person| {
        let (first, last) = person.name.split_once(' ').unwrap_or((&person.name, ""));
        json!({
            "id": person.id, "status": "ACTIVE",
            "profile": {"firstName": first, "lastName": last, "login": person.login, "email": person.login},
        })
    });
    Some(listed.collect())
}

fn missing(id: &str, kind: &str) -> Reply {
    error(StatusCode::NOT_FOUND, "E0000007", &format!("Not found: Resource not found: {id} ({kind})"))
}

/// One page of a list.
struct Page<'a> {
    okta: &'a Okta,
    params: &'a Params,
    uri: &'a Uri,
    base: String,
}

impl Page<'_> {
    fn of(&self, items: Vec<Value>) -> Reply {
        let most = self.okta.0.list_page;
        let limit = match self.params.get("limit").map_or(Ok(most), |limit| limit.parse::<usize>()) {
            Ok(limit) if limit > 0 => limit.min(most),
            Ok(_) | Err(_) => return error(StatusCode::BAD_REQUEST, "E0000001", "Api validation failed: limit"),
        };
        let start = match self.params.get("after").map_or(Some(0), |after| after.strip_prefix("p")?.parse().ok()) {
            Some(start) if start <= items.len() => start,
            Some(_) | None => return error(StatusCode::BAD_REQUEST, "E0000031", "Invalid search criteria."),
        };
        let end = (start + limit).min(items.len());
        let reply = Reply::json(StatusCode::OK, &items[start..end]);
        let reply = reply.with("link", format!("<{}{}>; rel=\"self\"", self.base, self.uri));
        if end == items.len() {
            return reply;
        }
        let kept = self.params.iter().filter(|(key, _)| !matches!(key.as_str(), "after" | "limit"));
        let kept: String = kept.map(|(key, value)| format!("{key}={value}&")).collect();
        let path = self.uri.path();
        reply.with("link", format!("<{}{path}?{kept}limit={limit}&after=p{end}>; rel=\"next\"", self.base))
    }
}

impl Okta {
    fn in_force<T>(&self, now: Timestamp, show: impl Fn(&Org, &PolicyState) -> T) -> T {
        show(&self.0.org, &policies_at(&self.0.pushes, now))
    }
}
