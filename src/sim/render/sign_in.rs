//! One sign-in flow of the Identity Engine, from the first challenge to its end.
//!
//! A device that fails its checks makes the allowing rule not match: the factor succeeds, and the `DENY` that follows
//! names the catch-all. Only the rules that refuse by themselves (blocked networks, high risk) are named.

use serde_json::{Value, json};

use super::Event;
use super::scene::{Draft, Scene};
use crate::event::{Span, Timestamp};
use crate::sim::plan::{Flow, FlowResult, Method};
use crate::sim::policies::{Rule, Tier, policy_name};
use crate::sim::push::Check;
use crate::sim::{Org, chance};

/// One factor as Okta names it.
struct Factor {
    debug: &'static str,
    authenticator: &'static str,
    sentence: &'static str,
    key: &'static str,
    method: &'static str,
    properties: &'static str,
}

const PASSWORD: Factor = Factor {
    debug: "PASSWORD_AS_FACTOR",
    authenticator: "Password",
    sentence: "Password",
    key: "okta_password",
    method: "password",
    properties: "[USER_PRESENCE]",
};

fn second_factor(method: Method) -> Factor {
    match method {
        Method::Fastpass => Factor {
            debug: "SIGNED_NONCE",
            authenticator: "Okta Verify",
            sentence: "Use Okta FastPass",
            key: "okta_verify",
            method: "signed_nonce",
            properties: "[DEVICE_BOUND, PHISHING_RESISTANT, USER_VERIFYING, USER_PRESENCE, HARDWARE_PROTECTED]",
        },
        Method::Push => Factor {
            debug: "OKTA_VERIFY_PUSH",
            authenticator: "Okta Verify",
            sentence: "Get a push notification",
            key: "okta_verify",
            method: "push",
            properties: "[DEVICE_BOUND, USER_PRESENCE]",
        },
        Method::PasswordOtp => Factor {
            debug: "OKTA_SOFT_TOKEN",
            authenticator: "Okta Verify",
            sentence: "Enter a code",
            key: "okta_verify",
            method: "totp",
            properties: "[DEVICE_BOUND, USER_PRESENCE]",
        },
        Method::Webauthn => Factor {
            debug: "FIDO_WEBAUTHN",
            authenticator: "Security Key or Biometric",
            sentence: "Security Key or Biometric Authenticator",
            key: "webauthn",
            method: "webauthn",
            properties: "[DEVICE_BOUND, PHISHING_RESISTANT, USER_PRESENCE, HARDWARE_PROTECTED]",
        },
    }
}

/// The events of a flow, in order of `published`.
pub(crate) fn flow(org: &Org, flow: &Flow) -> Vec<Event> {
    let mut scene = Scene::new(org, flow);
    let factor = second_factor(flow.method);
    let step = |part: i64| flow.at + Span((flow.decided_at - flow.at).0 * part / 10);
    evaluate(&mut scene, flow.at, Evaluation::Challenge);
    let with_password = matches!(flow.method, Method::Push | Method::PasswordOtp);
    match flow.result {
        FlowResult::Success | FlowResult::MistypedThenSuccess => {
            if flow.result == FlowResult::MistypedThenSuccess {
                authenticate(&mut scene, step(2), &PASSWORD, "FAILURE", Some("INVALID_CREDENTIALS"), json!({}));
            }
            factors(&mut scene, step(4), step(8), &factor, with_password);
            verified(&mut scene, &factor);
        }
        FlowResult::Denied(check) => {
            factors(&mut scene, step(4), step(8), &factor, with_password);
            evaluate(&mut scene, flow.decided_at, Evaluation::Deny(check));
            if scene.luck(0.02) {
                deny_access(&mut scene);
            }
        }
        FlowResult::Failed | FlowResult::Locked => rejected(&mut scene, step(4)),
        FlowResult::PushDenied => {
            push_sent(&mut scene, step(5));
            let extra = json!({"pushOnlyResponseType": "OV_RESPONSE_DENY"});
            let reason = Some("INVALID_CREDENTIALS");
            authenticate(&mut scene, flow.decided_at, &factor, "FAILURE", reason, extra);
        }
        FlowResult::Abandoned => {
            if flow.method == Method::Push {
                push_sent(&mut scene, flow.at + Span::seconds(4));
            }
            authenticate(&mut scene, flow.decided_at, &factor, "ABANDONED", None, json!({}));
        }
        FlowResult::PhishingDeclined => {
            let reason = Some("FastPass declined phishing attempt");
            authenticate(&mut scene, flow.decided_at, &factor, "FAILURE", reason, json!({}));
        }
    }
    scene.into_events()
}

/// Wrong password to the end: the factor's failure decides, but for a lock, which comes last.
fn rejected(scene: &mut Scene<'_>, first: Timestamp) {
    let reason = Some("INVALID_CREDENTIALS");
    let end = scene.flow.decided_at;
    let last = if scene.flow.result == FlowResult::Locked { first } else { end };
    authenticate(scene, last, &PASSWORD, "FAILURE", reason, json!({}));
    session_start(scene, last, "FAILURE", reason);
    if scene.flow.result == FlowResult::Locked {
        let targets = vec![scene.user()];
        scene.push(Draft {
            at: end,
            event_type: "user.account.lock",
            legacy: Some("core.user_auth.account_locked"),
            message: "Max sign in attempts exceeded",
            result: "FAILURE",
            reason: Some("LOCKED_OUT"),
            uri: "/idp/idx/challenge/answer",
            targets,
            debug: json!({}),
            with_device: false,
        });
    }
}

fn factors(scene: &mut Scene<'_>, first: Timestamp, second: Timestamp, factor: &Factor, with_password: bool) {
    if with_password {
        authenticate(scene, first, &PASSWORD, "SUCCESS", None, json!({}));
    }
    let opened = if with_password { first } else { second };
    if factor.method == "push" {
        push_sent(scene, first);
    }
    authenticate(scene, second, factor, "SUCCESS", None, json!({}));
    if scene.luck(0.6) {
        session_start(scene, opened, "SUCCESS", None);
    }
}

fn verified(scene: &mut Scene<'_>, factor: &Factor) {
    let end = scene.flow.decided_at;
    let method = json!({
        "id": authenticator_id(scene, factor, "aut"), "type": "AuthenticatorMethod", "alternateId": "unknown",
        "displayName": factor.authenticator,
        "detailEntry": {"authenticatorKey": factor.key, "methodTypeUsed": factor.method,
                        "methodUsedVerifiedProperties": factor.properties,
                        "authenticatorMethodVerificationTime": end.to_string()},
    });
    let targets = vec![scene.user(), method, scene.app_target(None)];
    scene.push(Draft {
        at: end,
        event_type: "user.authentication.verify",
        legacy: Some("core.user_auth.verify"),
        message: "Verify user identity",
        result: "SUCCESS",
        reason: None,
        uri: "/idp/idx/challenge/answer",
        targets,
        debug: json!({}),
        with_device: true,
    });
    evaluate(scene, end + Span(40), Evaluation::Allow);
    let mode = if scene.app.sign_on_mode == "SAML_2_0" { "SAML 2.0" } else { "OpenID Connect" };
    let app_user = json!({"id": format!("0ua{}", &scene.person.id[3..]), "type": "AppUser",
                          "alternateId": scene.person.login, "displayName": scene.person.name, "detailEntry": null});
    let targets = vec![scene.app_target(None), app_user];
    scene.push(Draft {
        at: end + Span(180),
        event_type: "user.authentication.sso",
        legacy: Some("app.auth.sso"),
        message: "User single sign on to app",
        result: "SUCCESS",
        reason: None,
        uri: "/login/token/redirect",
        targets,
        debug: json!({"signOnMode": mode, "initiationType": "SP_INITIATED"}),
        with_device: true,
    });
}

/// What a policy answers.
enum Evaluation {
    Challenge,
    Allow,
    Deny(Check),
}

fn evaluate(scene: &mut Scene<'_>, at: Timestamp, evaluation: Evaluation) {
    let (result, word, reason) = match &evaluation {
        Evaluation::Challenge => ("CHALLENGE", "CHALLENGE", "Sign-on policy evaluation resulted in CHALLENGE"),
        Evaluation::Allow => ("ALLOW", "AUTHENTICATED", "Sign-on policy evaluation resulted in AUTHENTICATED"),
        Evaluation::Deny(_) => ("DENY", "DENIED", "Sign-on policy evaluation resulted in DENIED"),
    };
    let gate = scene.device.map(|device| {
        let tier = Tier::of(scene.person.cohort);
        Rule::gate(tier, device.platform.is_desktop())
    });
    let rule = match &evaluation {
        Evaluation::Deny(Check::NetworkZone) => Rule::BlockedNetworks,
        Evaluation::Deny(Check::Risk) => Rule::HighRisk,
        Evaluation::Deny(_) => Rule::CatchAll,
        Evaluation::Challenge | Evaluation::Allow if scene.app.gated => gate.unwrap_or(Rule::CatchAll),
        Evaluation::Challenge | Evaluation::Allow => Rule::CatchAll,
    };
    let mut targets = vec![scene.app_target(Some(word)), global_rule(scene), rule_target(scene, rule)];
    let with_device = !matches!(evaluation, Evaluation::Challenge);
    if with_device {
        targets.extend(scene.device_target());
    }
    let mut debug = json!({});
    if with_device {
        let factor = second_factor(scene.flow.method);
        let id = authenticator_id(scene, &factor, "aut");
        debug["authMethodFirstType"] = json!(format!("{}:{}:{id}", factor.key, factor.method));
        debug["authMethodFirstVerificationTime"] = json!(scene.flow.decided_at.to_string());
    }
    scene.push(Draft {
        at,
        event_type: "policy.evaluate_sign_on",
        legacy: None,
        message: "Evaluation of sign-on policy",
        result,
        reason: Some(reason),
        uri: "/idp/idx/identify",
        targets,
        debug,
        with_device,
    });
}

fn rule_target(scene: &Scene<'_>, rule: Rule) -> Value {
    let app = usize::from(scene.flow.app);
    let ids = &scene.org.policy_ids;
    let priority = if scene.app.gated { rule.priority() } else { 99 };
    json!({"id": ids.rules[app][rule.priority()], "type": "Rule", "alternateId": "unknown", "displayName": rule.name(),
           "detailEntry": {"policyId": ids.policies[app], "policyName": policy_name(scene.app),
                           "policyRulePriority": priority.to_string(), "policyRuleFactorMode": "2FA"}})
}

fn global_rule(scene: &Scene<'_>) -> Value {
    json!({"id": scene.org.policy_ids.global_rule, "type": "Rule", "alternateId": "unknown",
           "displayName": "Default Rule", "detailEntry": {"policyRuleFactorMode": "1FA"}})
}

fn authenticator_id(scene: &Scene<'_>, factor: &Factor, prefix: &str) -> String {
    let bits = chance::hash128(scene.org.seed, factor.key, 0, 0);
    format!("{prefix}{}", &format!("{bits:032x}")[..17])
}

fn authenticate(
    scene: &mut Scene<'_>,
    at: Timestamp,
    factor: &Factor,
    result: &'static str,
    reason: Option<&str>,
    extra: Value,
) {
    let enrollment = chance::hash128(scene.org.seed, factor.key, u64::from(scene.flow.person), 1);
    let id = format!("pfd{}", &format!("{enrollment:032x}")[..17]);
    let uri =
        format!("/idp/authenticators/{}/transactions/ft{}/verify", authenticator_id(scene, factor, "aut"), &id[3..]);
    let detail = json!({"methodTypeUsed": factor.sentence, "methodUsedVerifiedProperties": factor.properties});
    let target = json!({"id": id, "type": "AuthenticatorEnrollment", "alternateId": "unknown",
                        "displayName": factor.authenticator, "detailEntry": detail});
    let mut debug = json!({"factor": factor.debug, "factorIntent": "AUTHENTICATION",
                           "promptingPolicyTypes": "[OKTA_SIGN_ON, ACCESS]"});
    match factor.method {
        "signed_nonce" => debug["keyTypeUsedForAuthentication"] = json!("USER_VERIFYING_BIO_OR_PIN"),
        "push" if result == "SUCCESS" => debug["pushOnlyResponseType"] = json!("OV_RESPONSE_APPROVE"),
        _ => {}
    }
    if let (Some(debug), Some(extra)) = (debug.as_object_mut(), extra.as_object()) {
        debug.extend(extra.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    let legacy = if result == "SUCCESS" { "core.user.factor.attempt_success" } else { "core.user.factor.attempt_fail" };
    let targets = vec![scene.user(), target];
    scene.push(Draft {
        at,
        event_type: "user.authentication.auth_via_mfa",
        legacy: Some(legacy),
        message: "Authentication of user via MFA",
        result,
        reason,
        uri: &uri,
        targets,
        debug,
        with_device: false,
    });
}

fn session_start(scene: &mut Scene<'_>, at: Timestamp, result: &'static str, reason: Option<&str>) {
    let targets = vec![scene.app_target(None)];
    scene.push(Draft {
        at,
        event_type: "user.session.start",
        legacy: Some(if result == "SUCCESS" { "core.user_auth.login_success" } else { "core.user_auth.login_failed" }),
        message: "User login to Okta",
        result,
        reason,
        uri: "/idp/idx/challenge/answer",
        targets,
        debug: json!({}),
        with_device: result == "SUCCESS",
    });
}

fn push_sent(scene: &mut Scene<'_>, at: Timestamp) {
    let targets = vec![scene.user()];
    scene.push(Draft {
        at,
        event_type: "system.push.send_factor_verify_push",
        legacy: Some("core.user.factor.push_sent"),
        message: "Send push for Okta Verify verification",
        result: "SUCCESS",
        reason: None,
        uri: "/idp/idx/challenge",
        targets,
        debug: json!({"factor": "OKTA_VERIFY_PUSH"}),
        with_device: false,
    });
}

fn deny_access(scene: &mut Scene<'_>) {
    let targets = vec![scene.app_target(Some("DENIED")), scene.user()];
    scene.push(Draft {
        at: scene.flow.decided_at + Span(90),
        event_type: "application.policy.sign_on.deny_access",
        legacy: Some("app.auth.sso.denied"),
        message: "Deny user access due to app sign on policy",
        result: "FAILURE",
        reason: None,
        uri: "/idp/idx/identify",
        targets,
        debug: json!({}),
        with_device: true,
    });
}
