//! One Okta LogEvent as a borrowed, typed view: the members that classification needs, and nothing else.
//!
//! Source: the fact sheet's section 4 (LogEvent schema) and the shapes seen in collected events. Every member is
//! optional, a foreign type reads as absent, and top-level names are known in lower case too, as some exporters write
//! them. Names, addresses and tokens of people are not read.

use super::lenient::{Fill, object};
pub use super::lenient::{Flag, Json, List, Presence, Raw, Text};

object! {
    /// One event of the System Log.
    LogEvent<'a> {
        /// The event's id; any text, absent at times.
        uuid: Text<'a> = "uuid",
        /// When it happened.
        published: Text<'a> = "published",
        /// What happened, for example `user.session.start`.
        event_type: Text<'a> = "eventType" | "eventtype",
        /// How it ended.
        outcome: Outcome<'a> = "outcome",
        /// Who did it.
        actor: Actor<'a> = "actor",
        /// What the request came from.
        client: Client<'a> = "client",
        /// The device that the person used.
        device: Device<'a> = "device",
        /// How the request was authenticated.
        authentication_context: AuthenticationContext<'a> = "authenticationContext" | "authenticationcontext",
        /// Undocumented details.
        debug_context: DebugContext<'a> = "debugContext" | "debugcontext",
        /// What the event is about.
        target: List<Target<'a>> = "target",
        /// The HTTP request or job.
        transaction: Transaction<'a> = "transaction",
        /// The request's addresses.
        request: Request<'a> = "request",
        /// What Okta thinks of the request.
        security_context: SecurityContext<'a> = "securityContext" | "securitycontext",
    }
}

object! {
    /// `outcome`.
    Outcome<'a> {
        /// Okta's word, for example `SUCCESS`.
        result: Text<'a> = "result",
        /// A code or free text.
        reason: Text<'a> = "reason",
    }
}

object! {
    /// `actor`.
    Actor<'a> {
        /// Okta's id; the address itself where the type is `IP address`.
        id: Text<'a> = "id",
        /// `User`, `SystemPrincipal`, `PublicClientApp`, ….
        kind: Text<'a> = "type",
    }
}

object! {
    /// `client`.
    Client<'a> {
        /// The user agent.
        user_agent: UserAgent<'a> = "userAgent",
        /// The network zone that Okta matched; mostly the word `null`.
        zone: Text<'a> = "zone",
        /// The address that Okta took for the client's; not always one.
        ip_address: Text<'a> = "ipAddress",
        /// The request's addresses, in event hooks only.
        ip_chain: List<Hop<'a>> = "ipChain",
    }
}

object! {
    /// `client.userAgent`.
    UserAgent<'a> {
        /// The header as sent.
        raw: Text<'a> = "rawUserAgent",
        /// Okta's reading of it, for example `Mac OS X`.
        os: Text<'a> = "os",
    }
}

object! {
    /// `request`.
    Request<'a> {
        /// The addresses that the request passed through.
        ip_chain: List<Hop<'a>> = "ipChain",
    }
}

object! {
    /// One address of `ipChain`.
    Hop<'a> {
        /// The address as written; not always one.
        ip: Text<'a> = "ip",
    }
}

object! {
    /// `device`.
    Device<'a> {
        /// Okta's id (`guo…`).
        id: Text<'a> = "id",
        /// The device's name, read only to know that there is a device.
        name: Presence = "name",
        /// `OSX`, `WINDOWS`, ….
        os_platform: Text<'a> = "os_platform",
        /// As sent.
        os_version: Text<'a> = "os_version",
        /// Managed by an MDM.
        managed: Flag = "managed",
        /// Registered in Okta.
        registered: Flag = "registered",
        /// Jailbroken or rooted.
        jailbreak: Flag = "jailbreak",
        /// A TPM or secure enclave is present.
        secure_hardware_present: Flag = "secure_hardware_present",
        /// `NONE`, `FULL`, `USER`, `SYSTEM_VOLUME`, `ALL_INTERNAL_VOLUMES`.
        disk_encryption_type: Text<'a> = "disk_encryption_type",
        /// `NONE`, `PASSCODE`, `BIOMETRIC`.
        screen_lock_type: Text<'a> = "screen_lock_type",
        /// The integrators' signals.
        device_integrator: Json<'a> = "device_integrator",
    }
}

object! {
    /// `securityContext`; `debugData.logOnlySecurityData` has the same shape.
    SecurityContext<'a> {
        /// The request's risk.
        risk: Assessment<'a> = "risk",
    }
}

object! {
    /// `securityContext.risk`.
    Assessment<'a> {
        /// `LOW`, `MEDIUM`, `HIGH`.
        level: Text<'a> = "level",
    }
}

object! {
    /// `authenticationContext`.
    AuthenticationContext<'a> {
        /// `FACTOR_PROVIDER`, `FEDERATION`, ….
        authentication_provider: Text<'a> = "authenticationProvider",
        /// `OKTA_CREDENTIAL_PROVIDER`, `DUO`, ….
        credential_provider: Text<'a> = "credentialProvider",
        /// `OTP`, `PASSWORD`, …; nearly always null.
        credential_type: Text<'a> = "credentialType",
    }
}

object! {
    /// `debugContext`.
    DebugContext<'a> {
        /// The details.
        debug_data: DebugData<'a> = "debugData",
    }
}

object! {
    /// `debugContext.debugData`: not a contract of Okta's, so nothing here is relied on alone.
    DebugData<'a> {
        /// The authentication flow.
        authn_request_id: Text<'a> = "authnRequestId",
        /// The factor, for example `SIGNED_NONCE`.
        factor: Text<'a> = "factor",
        /// `OV_RESPONSE_APPROVE`, `OV_RESPONSE_DENY`, `OV_RESPONSE_ERROR`.
        push_response: Text<'a> = "pushOnlyResponseType",
        /// `OV_WITH_CHALLENGE_RESPONSE_VALID`, `…_INVALID`, `…_ERROR`.
        number_response: Text<'a> = "pushWithNumberChallengeResponseType",
        /// A code like those of `outcome.reason`, on sign-ins.
        login_result: Text<'a> = "loginResult",
        /// The request's risk, as `{reasons=Anomalous Location, level=MEDIUM}`; the order is not fixed.
        risk: Json<'a> = "risk",
        /// The same as JSON, in a text or not.
        log_only_security_data: Raw<'a> = "logOnlySecurityData",
        /// `authenticator:method:id` of the first method of the session; it can be hours old.
        first_method: Text<'a> = "authMethodFirstType",
        /// The second.
        second_method: Text<'a> = "authMethodSecondType",
        /// The third.
        third_method: Text<'a> = "authMethodThirdType",
        /// The fourth.
        fourth_method: Text<'a> = "authMethodFourthType",
        /// The fifth.
        fifth_method: Text<'a> = "authMethodFifthType",
    }
}

object! {
    /// `transaction`.
    Transaction<'a> {
        /// One HTTP request or job.
        id: Text<'a> = "id",
    }
}

object! {
    /// One element of `target`.
    Target<'a> {
        /// Okta's id.
        id: Text<'a> = "id",
        /// `AppInstance`, `User`, `Rule`, `UDDevice`, ….
        kind: Text<'a> = "type",
        /// The name that administrators see.
        display_name: Text<'a> = "displayName",
        /// Details by type.
        detail: Detail<'a> = "detailEntry",
        /// What was before and what is now, on change events.
        change_details: Raw<'a> = "changeDetails",
    }
}

object! {
    /// `target[].changeDetails`.
    ChangeDetails<'a> {
        /// What is now.
        to: Raw<'a> = "to",
    }
}

object! {
    /// `target[].detailEntry`, all types together.
    Detail<'a> {
        /// `AuthenticatorMethod`: the authenticator, for example `okta_verify`.
        authenticator_key: Text<'a> = "authenticatorKey",
        /// `AuthenticatorMethod`, `AuthenticatorEnrollment`: a key (`signed_nonce`) or a sentence (`Use Okta FastPass`).
        method: Text<'a> = "methodTypeUsed",
        /// The same: `[DEVICE_BOUND, PHISHING_RESISTANT]`.
        verified_properties: Text<'a> = "methodUsedVerifiedProperties",
        /// `AppInstance`: `AUTHENTICATED`, `CHALLENGE`, `UNSATISFIABLE`, `DENIED`.
        sign_on_evaluation: Text<'a> = "signOnModeEvaluationResult",
        /// `Rule`: the policy that it belongs to.
        policy_id: Text<'a> = "policyId",
        /// `Rule`: that policy's name.
        policy_name: Text<'a> = "policyName",
        /// `UDDevice`: Okta's id of the device.
        device_id: Text<'a> = "oktaDeviceId",
        /// `UDDevice`: `MACOS`, `WINDOWS`, ….
        os_platform: Text<'a> = "osPlatform",
        /// `UDDevice`: as sent.
        os_version: Text<'a> = "osVersion",
        /// `UDDevice`: managed by an MDM.
        managed: Flag = "managed",
        /// `UDDevice`: registered in Okta.
        registered: Flag = "registered",
        /// `UDDevice`: jailbroken or rooted.
        jailbreak: Flag = "jailbreak",
        /// `UDDevice`: a TPM is present; always false on Apple hardware.
        tpm_present: Flag = "tpmPresent",
        /// `UDDevice`: a TPM or secure enclave is present.
        secure_hardware_present: Flag = "secureHardwarePresent",
        /// `UDDevice`: disk encryption.
        disk_encryption_type: Text<'a> = "diskEncryptionType",
        /// `UDDevice`: screen lock.
        screen_lock_type: Text<'a> = "screenLockType",
        /// `UDDevice`: the integrators' signals.
        device_integrator: Json<'a> = "deviceIntegrator",
        /// X.509 details: the credential is a certificate.
        certificate: Presence = "subjectCommonName" | "subjectAltNameUpn" | "subjectAltNameEmail" | "issuerCommonName",
    }
}

impl<'a> LogEvent<'a> {
    /// The addresses that the request passed through; event hooks keep them under `client`.
    pub fn ip_chain(&self) -> &[Hop<'a>] {
        if self.request.ip_chain.is_empty() { &self.client.ip_chain } else { &self.request.ip_chain }
    }

    /// The first target of a type, compared without regard to case.
    pub fn first_target(&self, kind: &str) -> Option<&Target<'a>> {
        self.target.iter().find(|target| target.is(kind))
    }
}

impl<'a> SecurityContext<'a> {
    /// Reads it from JSON that was kept aside; empty where that is something else.
    pub fn read(json: &'a str) -> Self {
        read(json)
    }
}

impl<'a> ChangeDetails<'a> {
    /// Reads them from JSON that was kept aside; empty where that is something else.
    pub fn read(json: &'a str) -> Self {
        read(json)
    }
}

/// An object from JSON that was kept aside.
fn read<'a, T: Fill<'a>>(json: &'a str) -> T {
    let mut object = T::default();
    match object.fill(&mut serde_json::Deserializer::from_str(json)) {
        Ok(()) => object,
        Err(_) => T::default(),
    }
}

impl Target<'_> {
    /// Whether the target is of this type, compared without regard to case.
    pub fn is(&self, kind: &str) -> bool {
        self.kind.get().is_some_and(|have| have.eq_ignore_ascii_case(kind))
    }
}

impl Device<'_> {
    /// Whether the event has a device at all; null and `{}` are none.
    pub fn is_present(&self) -> bool {
        self.says()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> LogEvent<'_> {
        let mut event = LogEvent::default();
        event.fill(&mut serde_json::Deserializer::from_str(json)).expect("an event");
        event
    }

    #[test]
    fn texts_without_escapes_are_borrowed() {
        let json = r#"{"uuid":"u1","eventType":"a.b","actor":{"id":"00u1"},"debugContext":{"debugData":{"factor":"F"}},
            "target":[{"id":"0oa1","displayName":"a \"quoted\" name"}]}"#;
        let event = parse(json);
        let borrowed = [&event.uuid, &event.event_type, &event.actor.id, &event.debug_context.debug_data.factor];
        assert!(borrowed.iter().all(|text| text.is_borrowed()));
        assert!(!event.target[0].display_name.is_borrowed());
        assert_eq!(event.target[0].display_name.get(), Some("a \"quoted\" name"));
    }

    #[test]
    fn the_addresses_of_an_event_hook_stand_for_those_of_the_request() {
        let addresses = |json: &str| -> Vec<String> {
            parse(json).ip_chain().iter().filter_map(|hop| Some(hop.ip.get()?.to_owned())).collect()
        };
        let hook = r#""client":{"ipChain":[{"ip":"192.0.2.1","geographicalContext":null}]}"#;
        assert_eq!(addresses(&format!("{{{hook}}}")), ["192.0.2.1"]);
        assert_eq!(
            addresses(&format!(r#"{{{hook},"request":{{"ipChain":[{{"ip":["192.0.2.9"]}}]}}}}"#)),
            ["192.0.2.9"]
        );
        assert_eq!(addresses(&format!(r#"{{{hook},"request":{{"ipChain":[]}}}}"#)), ["192.0.2.1"]);
        assert_eq!(addresses(r#"{"request":{"ipChain":"x"}}"#), Vec::<String>::new());
    }

    #[test]
    fn numbers_and_booleans_count_as_their_text_and_a_null_erases_nothing() {
        let event = parse(r#"{"uuid":7,"published":true,"eventType":"a","eventtype":null,"transaction":{"id":-1.5}}"#);
        assert_eq!(event.uuid.get(), Some("7"));
        assert_eq!(event.published.get(), Some("true"));
        assert_eq!(event.event_type.get(), Some("a"));
        assert_eq!(event.transaction.id.get(), Some("-1.5"));
    }
}
