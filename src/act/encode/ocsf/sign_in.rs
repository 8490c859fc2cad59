//! Authentication (3002): a sign-in, a factor, an answer of a policy.

use serde_json::{Map, Value, json};

use super::super::record::{Record, put};
use super::{Activity, session, user};
use crate::event::{AuthEvent, Credential, Kind, Outcome};

pub(super) fn fields(event: &AuthEvent, record: &Record, profiles: &mut Vec<&'static str>) -> Map<String, Value> {
    let mut out = Map::new();
    let person = event.person.as_ref().map(|person| json!({ "uid": person, "type_id": 1, "type": "User" }));
    // The schema wants somebody, also where nobody is known.
    let nobody = || json!({ "name": "unknown", "type_id": 0, "type": "Unknown" });
    put(&mut out, "user", Some(user(record.user()).or(person).unwrap_or_else(nobody)));
    put(&mut out, "session", session(record));
    let app = event.app.as_ref();
    let service = app.map(|app| {
        let mut service = Map::new();
        put(&mut service, "uid", Some(app.id.as_str()).filter(|id| !id.is_empty()));
        put(&mut service, "name", Some(app.name.as_str()).filter(|name| !name.is_empty()));
        Value::Object(service)
    });
    put(&mut out, "service", Some(service.unwrap_or_else(|| json!({ "name": "Okta" }))));
    put(&mut out, "is_remote", Some(true));
    if let Some((id, word)) = factor(event.credential) {
        let is_totp = matches!(event.credential, Credential::OktaTotp | Credential::Totp);
        let mut factor = json!({ "factor_type_id": id, "factor_type": word });
        if is_totp {
            factor["is_totp"] = json!(true);
        }
        put(&mut out, "auth_factors", Some(vec![factor]));
    }
    if let Some((id, word)) = protocol(record) {
        put(&mut out, "auth_protocol_id", Some(id));
        put(&mut out, "auth_protocol", Some(word));
    }
    if matches!(event.kind, Kind::PolicyEvaluation | Kind::AccessDenied) {
        profiles.push("security_control");
        control(&mut out, event);
    }
    out
}

/// The profile `security_control`: what the policy did.
fn control(out: &mut Map<String, Value>, event: &AuthEvent) {
    let (action_id, action, disposition_id, disposition) = match event.outcome {
        Outcome::Allow | Outcome::Success => (1, "Allowed", 1, "Allowed"),
        Outcome::Deny => (2, "Denied", 2, "Blocked"),
        Outcome::Challenge => (99, "Challenged", 23, "Challenge"),
        _ => (0, "Unknown", 0, "Unknown"),
    };
    put(out, "action_id", Some(action_id));
    put(out, "action", Some(action));
    put(out, "disposition_id", Some(disposition_id));
    put(out, "disposition", Some(disposition));
    let mut policy = Map::new();
    let rule = event.rule.as_ref();
    put(&mut policy, "uid", rule.and_then(|rule| rule.policy.as_deref()));
    put(&mut policy, "name", rule.and_then(|rule| rule.policy_name.as_deref()));
    if !policy.is_empty() {
        put(&mut policy, "is_applied", Some(true));
        put(out, "policy", Some(Value::Object(policy)));
    }
}

pub(super) fn activity(event: &AuthEvent) -> Activity {
    match event.event_type.as_str() {
        "user.session.end" => Activity::new(2, "Logoff"),
        _ if event.kind == Kind::Authentication => Activity::new(6, "Preauth"),
        _ if event.kind == Kind::Session && event.event_type != "user.session.start" => {
            Activity::other(&event.event_type)
        }
        _ => Activity::new(1, "Logon"),
    }
}

const fn factor(credential: Credential) -> Option<(u32, &'static str)> {
    Some(match credential {
        Credential::Sms => (1, "SMS"),
        Credential::SecurityQuestion => (2, "Security Question"),
        Credential::Voice => (3, "Phone Call"),
        Credential::Push => (5, "Push Notification"),
        Credential::YubikeyOtp | Credential::Rsa => (6, "Hardware Token"),
        Credential::OktaTotp | Credential::Totp | Credential::Symantec | Credential::TemporaryCode => (7, "OTP"),
        Credential::Email => (8, "Email"),
        Credential::Webauthn => (10, "WebAuthn"),
        Credential::Password | Credential::Delegated => (11, "Password"),
        Credential::Fastpass => (99, "Okta FastPass"),
        Credential::SmartCard => (99, "Smart Card"),
        Credential::Duo => (99, "Duo"),
        Credential::Idp => (99, "Identity Provider"),
        Credential::Social => (99, "Social Identity Provider"),
        Credential::Radius => (99, "RADIUS"),
        Credential::DesktopSso => (99, "Desktop SSO"),
        Credential::Other => (99, "Other"),
        Credential::None => return None,
    })
}

fn protocol(record: &Record) -> Option<(u32, &'static str)> {
    match record.target("AppInstance").detail("signOnModeType")? {
        "OPENID_CONNECT" => Some((4, "OpenID")),
        "SAML_2_0" | "SAML_1_1" => Some((5, "SAML")),
        _ => None,
    }
}
