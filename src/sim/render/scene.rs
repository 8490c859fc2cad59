//! The parts that events share: actor, client, device, debug data, and the envelope around them.

use std::collections::BTreeMap;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

use super::Event;
use crate::event::Timestamp;
use crate::sim::chance;
use crate::sim::fleet::{Device, Platform};
use crate::sim::org::{App, OFFICES, Org, Person};
use crate::sim::plan::{Cause, Flow, FlowResult};
use crate::sim::push::Check;

/// Everything the events of one flow have in common.
pub(super) struct Scene<'a> {
    pub(super) org: &'a Org,
    pub(super) flow: &'a Flow,
    pub(super) person: &'a Person,
    pub(super) app: &'a App,
    pub(super) device: Option<&'a Device>,
    pub(super) rng: ChaCha8Rng,
    authn: String,
    session: String,
    fixed: Fixed,
    number: u64,
    events: Vec<Event>,
}

/// The parts that are the same in all events of a flow, as JSON text made once.
#[derive(Default)]
struct Fixed {
    actor: String,
    client: String,
    device: String,
    security: String,
    request: String,
    debug: String,
    log_only: String,
}

/// What one event says beyond the scene.
pub(super) struct Draft<'a> {
    pub(super) at: Timestamp,
    pub(super) event_type: &'static str,
    pub(super) legacy: Option<&'static str>,
    pub(super) message: &'static str,
    pub(super) result: &'static str,
    pub(super) reason: Option<&'a str>,
    pub(super) uri: &'a str,
    pub(super) targets: Vec<Value>,
    pub(super) debug: Value,
    pub(super) with_device: bool,
}

impl<'a> Scene<'a> {
    pub(super) fn new(org: &'a Org, flow: &'a Flow) -> Self {
        let mut rng = chance::rng(org.seed, "render", flow.id);
        let mut scene = Self {
            org,
            flow,
            person: &org.people[flow.person as usize],
            app: &org.apps[usize::from(flow.app)],
            device: flow.device.map(|device| &org.devices[device as usize]),
            authn: chance::token(&mut rng, 22),
            session: format!("idx{}", chance::token(&mut rng, 22)),
            rng,
            fixed: Fixed::default(),
            number: 0,
            events: Vec::with_capacity(8),
        };
        scene.fixed = scene.fix();
        scene
    }

    fn fix(&self) -> Fixed {
        let (ip, place) = (self.address(), self.geography());
        let (agent, os) = agent(self.platform());
        let client = json!({
            "userAgent": {"rawUserAgent": agent, "os": os, "browser": "CHROME"},
            "zone": if self.zone_blocked() { "Blocked networks" } else { "null" },
            "device": if self.platform().is_desktop() { "Computer" } else { "Mobile" },
            "id": null, "ipAddress": ip, "geographicalContext": place,
        });
        let (level, word) = if self.risky() { ("HIGH", "POSITIVE") } else { ("LOW", "NEGATIVE") };
        let security = json!({"asNumber": 64_500, "asOrg": "example networks", "isp": "example networks",
                              "domain": "example.net", "isProxy": false, "risk": {"level": level}});
        let request = json!({"ipChain": [{"ip": ip, "geographicalContext": place, "version": "V4", "source": null}]});
        let listed: Vec<String> = BEHAVIOURS.iter().map(|name| format!("{name}={word}")).collect();
        let map: Map<String, Value> = BEHAVIOURS.iter().map(|name| ((*name).into(), json!(word))).collect();
        let risk =
            if self.risky() { "{reasons=Anomalous Location, Anomalous Device, level=HIGH}" } else { "{level=LOW}" };
        let debug = json!({
            "authnRequestId": self.authn, "dtHash": format!("{:064x}", chance::hash128(self.flow.id, "dt", 0, 0)),
            "deviceFingerprint":
                format!("{:032x}", chance::hash128(self.org.seed, "print", u64::from(self.flow.person), 0)),
            "threatSuspected": "false", "risk": risk, "behaviors": format!("{{{}}}", listed.join(", ")),
            "oktaUserAgentExtended": "okta-auth-js/7.8.1 okta-signin-widget-7.25.1",
        });
        Fixed {
            actor: self.user().to_string(),
            client: client.to_string(),
            device: self.device.map_or(Value::Null, |device| json!(self.signals(device))).to_string(),
            security: security.to_string(),
            request: request.to_string(),
            debug: debug.to_string(),
            log_only: json!({"risk": {"level": level}, "behaviors": map}).to_string(),
        }
    }

    pub(super) fn into_events(mut self) -> Vec<Event> {
        self.events.sort_by_key(|event| event.published);
        self.events
    }

    /// The failing check of a refusal that a bad moment of the device explains; a push changes no device.
    fn bad_moment(&self) -> Option<Check> {
        match (self.flow.result, self.flow.cause) {
            (FlowResult::Denied(_), Cause::Push(_)) => None,
            (FlowResult::Denied(check), Cause::Null | Cause::Cluster | Cause::Storm) => Some(check),
            (
                FlowResult::Success
                | FlowResult::MistypedThenSuccess
                | FlowResult::Failed
                | FlowResult::Locked
                | FlowResult::PushDenied
                | FlowResult::Abandoned
                | FlowResult::PhishingDeclined,
                _,
            ) => None,
        }
    }

    fn risky(&self) -> bool {
        self.flow.result == FlowResult::Denied(Check::Risk)
    }

    fn platform(&self) -> Platform {
        let main = self.person.devices.first().map(|device| &self.org.devices[*device as usize]);
        self.device.or(main).map_or(Platform::Windows, |device| device.platform)
    }

    fn signals(&self, device: &Device) -> BTreeMap<&'static str, Value> {
        let bad = self.bad_moment();
        let version = if bad == Some(Check::OsVersion) { device.platform.stale_version() } else { device.os_version };
        let disk = if bad == Some(Check::DiskEncryption) { "NONE" } else { device.disk_encryption };
        let lock = if bad == Some(Check::ScreenLock) { "NONE" } else { device.screen_lock };
        let jailbreak = match device.platform {
            Platform::Ios | Platform::Android => json!(false),
            Platform::Macos | Platform::Windows | Platform::Chromeos => Value::Null,
        };
        BTreeMap::from([
            ("id", json!(device.id)),
            ("name", json!(device.name)),
            ("os_platform", json!(device.platform.event_word())),
            ("os_version", json!(version.to_string())),
            ("managed", json!(device.managed)),
            ("registered", json!(device.registered)),
            ("device_integrator", self.integrators(device).map_or(Value::Null, Value::String)),
            ("disk_encryption_type", json!(disk)),
            ("screen_lock_type", json!(lock)),
            ("jailbreak", jailbreak),
            ("secure_hardware_present", json!(device.secure_hardware)),
        ])
    }

    fn integrators(&self, device: &Device) -> Option<String> {
        let score = device.crowdstrike?;
        let crowdstrike = match self.bad_moment() {
            Some(Check::SignalUnreadable) => json!("genericError(TIMEOUT)"),
            Some(Check::Crowdstrike) => json!({"overall": score / 2, "os": score / 2, "sensor_config": 55}),
            Some(
                Check::NetworkZone
                | Check::Risk
                | Check::OsVersion
                | Check::NoDeviceContext
                | Check::ScreenLock
                | Check::DiskEncryption
                | Check::NotManaged,
            )
            | None => json!({"overall": score, "os": score, "sensor_config": 70}),
        };
        Some(match device.platform {
            Platform::Windows => {
                let wsc = json!({"antiVirus": "GOOD", "fireWall": "GOOD", "autoUpdateSettings": "GOOD"});
                json!({"CROWDSTRIKE": crowdstrike, "WSC": wsc}).to_string()
            }
            Platform::Macos | Platform::Ios | Platform::Android | Platform::Chromeos => {
                json!({"CROWDSTRIKE": crowdstrike}).to_string()
            }
        })
    }

    /// The device as a `UDDevice` target: every value a string, and `tpmPresent` never true on Apple hardware.
    pub(super) fn device_target(&self) -> Option<Value> {
        let device = self.device?;
        let signals = self.signals(device);
        let tpm = device.secure_hardware && device.platform == Platform::Windows;
        Some(json!({
            "id": device.id, "type": "UDDevice", "alternateId": "unknown", "displayName": device.name,
            "detailEntry": {
                "deviceStatus": "ACTIVE", "osPlatform": device.platform.policy_word(),
                "osVersion": signals["os_version"], "managed": device.managed.to_string(),
                "registered": device.registered.to_string(), "tpmPresent": tpm.to_string(),
                "serialNumber": device.serial, "deviceIntegrator": signals["device_integrator"],
            },
        }))
    }

    pub(super) fn app_target(&self, evaluation: Option<&str>) -> Value {
        let mut detail = json!({"signOnModeType": self.app.sign_on_mode});
        if let Some(evaluation) = evaluation {
            detail["signOnModeEvaluationResult"] = json!(evaluation);
        }
        json!({"id": self.app.id, "type": "AppInstance", "alternateId": self.app.name, "displayName": self.app.name,
               "detailEntry": detail})
    }

    pub(super) fn user(&self) -> Value {
        json!({"id": self.person.id, "type": "User", "alternateId": self.person.login,
               "displayName": self.person.name, "detailEntry": null})
    }

    /// Writes one event.
    pub(super) fn push(&mut self, draft: Draft<'_>) {
        let transaction = chance::token(&mut self.rng, 26);
        let debug = self.debug(&draft, &transaction);
        let failed = matches!(draft.result, "FAILURE" | "DENY");
        let severity = match draft.event_type {
            "user.account.lock" => "DEBUG",
            _ if failed => "WARN",
            _ => "INFO",
        };
        let uuid = chance::uuid(chance::hash128(self.org.seed, "event", self.flow.id, self.number));
        let outcome = json!({"result": draft.result, "reason": draft.reason});
        let json = format!(
            r#"{{"uuid":"{uuid}","published":"{published}","eventType":"{event_type}","version":"0","#,
            published = draft.at,
            event_type = draft.event_type,
        ) + &format!(
            r#""severity":"{severity}","legacyEventType":{legacy},"displayMessage":"{message}","actor":{actor},"#,
            legacy = json!(draft.legacy),
            message = draft.message,
            actor = self.fixed.actor,
        ) + &format!(
            r#""client":{client},"device":{device},"outcome":{outcome},"target":{target},"#,
            client = self.fixed.client,
            device = if draft.with_device { &self.fixed.device } else { "null" },
            target = json!(draft.targets),
        ) + &format!(
            r#""transaction":{{"type":"WEB","id":"{transaction}","detail":{{}}}},"debugContext":{{"debugData":{debug}}},"#,
        ) + &format!(
            r#""authenticationContext":{context},"securityContext":{security},"request":{request}}}"#,
            context = self.authentication(&draft, failed),
            security = self.fixed.security,
            request = self.fixed.request,
        );
        let may_be_late = !failed && draft.result != "ABANDONED";
        let Draft { at: published, event_type, .. } = draft;
        self.events.push(Event { published, event_type, may_be_late, json });
        self.number += 1;
    }

    fn authentication(&self, draft: &Draft<'_>, failed: bool) -> Value {
        let factor = draft.debug["factor"].as_str().filter(|_| draft.event_type == "user.authentication.auth_via_mfa");
        let session = if draft.event_type == "user.session.start" && failed { "unknown" } else { &self.session };
        let verify = factor.filter(|factor| matches!(*factor, "SIGNED_NONCE" | "OKTA_VERIFY_PUSH" | "OKTA_SOFT_TOKEN"));
        let mut context = json!({
            "authenticationProvider": factor.map(|_| "FACTOR_PROVIDER"),
            "credentialProvider": verify.map(|_| "OKTA_CREDENTIAL_PROVIDER"),
            "credentialType": null, "issuer": null, "interface": null, "authenticationStep": 0,
            "rootSessionId": session, "externalSessionId": session,
        });
        if factor == Some("SIGNED_NONCE") {
            let phished = self.flow.result == FlowResult::PhishingDeclined;
            let origin = if phished { "https://acme-login.example.net" } else { "https://acme.example.com" };
            context["authenticatorContext"] = json!({"bindingMethod": "LOOPBACK", "requestOrigin": origin,
                "validationStatus": "SUCCESS", "userConsent": "APPROVED_USER_VERIFICATION"});
        }
        context
    }

    /// The debug data: what all events of the flow share, then what this request and draft add.
    fn debug(&self, draft: &Draft<'_>, transaction: &str) -> String {
        let mut own = json!({
            "requestId": transaction, "requestUri": draft.uri, "url": format!("{}?", draft.uri),
            "traceId": chance::uuid(chance::hash128(self.flow.id, "trace", self.number, 0)),
        });
        if draft.event_type == "policy.evaluate_sign_on" || draft.event_type == "user.session.start" {
            own["logOnlySecurityData"] = json!(self.fixed.log_only);
        }
        if let (Some(own), Some(extra)) = (own.as_object_mut(), draft.debug.as_object()) {
            own.extend(extra.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        let own = own.to_string();
        let (shared, own) = (self.fixed.debug.strip_suffix('}'), own.strip_prefix('{'));
        format!("{},{}", shared.unwrap_or_default(), own.unwrap_or_default())
    }

    fn zone_blocked(&self) -> bool {
        self.flow.result == FlowResult::Denied(Check::NetworkZone)
    }

    fn address(&self) -> String {
        if self.zone_blocked() {
            return format!("198.51.100.{}", 251 + self.person.host % 4);
        }
        format!("{}.{}", OFFICES[usize::from(self.person.office)].network, self.person.host)
    }

    fn geography(&self) -> Value {
        let office = &OFFICES[usize::from(self.person.office)];
        json!({"city": office.city, "state": null, "country": office.country, "postalCode": null,
               "geolocation": {"lat": office.position.0, "lon": office.position.1}})
    }

    /// Chance `p`, from the flow's own generator.
    pub(super) fn luck(&mut self, p: f64) -> bool {
        self.rng.random_bool(p)
    }
}

const BEHAVIOURS: [&str; 7] =
    ["New Geo-Location", "New Device", "New IP", "New State", "New Country", "Velocity", "New City"];

fn agent(platform: Platform) -> (&'static str, &'static str) {
    match platform {
        Platform::Macos => (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) \
             Chrome/131.0.0.0 Safari/537.36",
            "Mac OS X",
        ),
        Platform::Windows => (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
             Chrome/131.0.0.0 Safari/537.36",
            "Windows 10",
        ),
        Platform::Ios => (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
             CriOS/131.0.0.0 Mobile/15E148 Safari/604.1",
            "iOS (iPhone)",
        ),
        Platform::Android => (
            "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) \
             Chrome/131.0.0.0 Mobile Safari/537.36",
            "Android 1.x",
        ),
        Platform::Chromeos => (
            "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) \
             Chrome/131.0.0.0 Safari/537.36",
            "Chrome OS",
        ),
    }
}
