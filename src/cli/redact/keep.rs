//! What may be shown: names of members, words, and parts of texts. All of it is Okta's or a browser's vocabulary; what
//! is on none of these lists, and in none of the tables, is never written.
//!
//! Source: the System Log API's schema, Okta's event-type catalog, the Policy and Device Assurance APIs, and the
//! envelopes that `decode/envelope.rs` opens.

use std::collections::BTreeSet;

use crate::classify::Tables;

/// The lists, ready to be asked.
pub(super) struct Keep {
    keys: BTreeSet<String>,
    words: BTreeSet<String>,
    event_words: BTreeSet<String>,
}

impl Keep {
    /// The lists, with the words of the tables.
    pub(super) fn new(tables: &Tables) -> Self {
        let all = |text: &'static str| text.split_whitespace().map(str::to_ascii_lowercase);
        let words = WORDS.lines().map(str::trim).filter(|line| !line.is_empty());
        let words = words.flat_map(|line| line.split(" | ").map(str::to_ascii_lowercase));
        Self {
            keys: all(KEYS).chain(NAMED_KEYS.iter().map(|key| key.to_ascii_lowercase())).collect(),
            words: words.chain(tables.words().map(str::to_ascii_lowercase)).collect(),
            event_words: all(EVENT_WORDS).chain(tables.event_type_words().map(str::to_ascii_lowercase)).collect(),
        }
    }

    /// Whether a member may keep its name. Case is not looked at, here and below.
    pub(super) fn has_key(&self, name: &str) -> bool {
        self.keys.contains(&name.to_ascii_lowercase())
    }

    /// Whether a text is a word that tells of nobody.
    pub(super) fn has_word(&self, text: &str) -> bool {
        self.words.contains(&text.to_ascii_lowercase())
    }

    /// Whether a segment of an event type is one that Okta uses: as a whole, or each of its parts.
    pub(super) fn has_event_word(&self, segment: &str) -> bool {
        let has = |word: &str| self.event_words.contains(&word.to_ascii_lowercase());
        has(segment) || segment.split('_').all(has)
    }
}

/// Names of members.
const KEYS: &str = "
    actor alternateId appContextName application audience authenticationContext authenticationProvider
    authenticationStep authenticationClassRef authenticatorContext authenticatorKey authenticatorEnrollmentId
    authenticatorMethodChallengeTime authenticatorMethodVerificationTime authMethodFirstEnrollment
    authMethodFirstType authMethodFirstVerificationTime authMethodSecondEnrollment authMethodSecondType
    authMethodSecondVerificationTime authMethodThirdEnrollment authMethodThirdType authMethodThirdVerificationTime
    authMethodFourthEnrollment authMethodFourthType authMethodFourthVerificationTime authMethodFifthEnrollment
    authMethodFifthType authMethodFifthVerificationTime authnRequestId authTime authType arePoliciesReevaluated
    applicationVersion anonymizerStatus associatedProxies asNumber asOrg account
    behaviors binaryIdentifier binaryPath bindingMethod botProtection browser
    caeEnforceMode causes challengeAuthenticatorsList changeDetails changedDeviceSignals city client clientAuthType
    clientSecret cloudEventsVersion condition conditions contentType country countryCallingCode credentialProvider
    credentialType current_runtime
    data debugContext debugData detail detail-type detailEntry details detectionName device deviceFingerprint
    deviceIntegrator deviceName deviceStatus device_integrator diskEncryptionType disk_encryption_type displayMessage
    displayName domain dtHash
    event eventId eventTime eventType eventTypeVersion events expires expiryTime expect externalSessionId
    factor factorIntent factorType fedBrokerMode flattenedParams from
    geographicalContext geolocation grantType grantedScopes
    hash headers host id idvReferenceId imei index initiationType insertionTimestamp interface ip ipAddress ipChain
    ipDetails ipServiceCategories isAnonymous isProxy isp issuedAt issuer issuerCommonName
    ja3 ja4 jailbreak jti key keyTypeUsedForAuthentication kind
    lat legacyEventType level limitNumber logOnlySecurityData loginResult lon
    managed manufacturer meid message methodTypeUsed methodUsedVerifiedProperties model
    name nameId networkConnection newIpAddress newValue
    oagApp offset okta oktaDeviceId oktaUserAgentExtended oldValue operationRateLimitScopeType
    operationRateLimitSecondsToReset operationRateLimitSubtype operationRateLimitThreshold operationRateLimitTimeSpan
    operationRateLimitTimeUnit operationRateLimitType operator origin originalPrincipal os osPlatform osVersion
    os_platform os_version outcome
    partition partnerRisk payload phoneNumber platform policyId policyName policyPlatform policyRuleFactorMode
    policyType postAuthEnforceMode postalCode previousIpAddress previousLevel privilegeGranted privilegeRevoked
    promptingPolicyTypes proxyType published pushOnlyResponseType pushWithNumberChallengeResponseType
    rateLimitBucketUuid rateLimitScopeType rateLimitSecondsToReset rawUserAgent reason reasonForFailure reasons
    redirectUri region registered relay request requestApiTokenId requestId requestOrigin requestUri requestedScopes
    resources responseTime result risk riskChange riskLevel rootSessionId rule ruleId
    schema screenLockType screen_lock_type secureHardwarePresent secure_hardware_present securityConditions
    securityContext serialNumber serverStatus severity sid signOnMode signOnModeEvaluationResult signOnModeType
    signerDistinguishedName signerKeyIdentifier smsProvider source sourcetype state subject subjectAltNameEmail
    subjectAltNameUpn subjectCommonName
    target targetEventHookIds threatDetections threatSuspected threshold time timeSpan timeUnit timestamp to topic
    tpmPresent traceId transaction triggerEventId tunnels type
    udid url userAgent userBehaviors userConsent userId usernameTypingPattern uuid
    validationStatus version warningPercent webhooks zone

    overall sensor_config sensorConfig crowdstrike wsc device_idp chrome_dtc android_zt osquery compliant score
    fireWall autoUpdateSettings antiVirus internetSettings userAccountControl securityCenterService
    allowScreenLock browserVersion builtInDnsClientEnabled chromeRemoteDesktopAppBlocked crowdStrikeAgentId
    crowdStrikeCustomerId deviceEnrollmentDomain diskEncrypted keyTrustLevel osFirewall
    passwordProtectionWarningTrigger realtimeUrlCheckMode safeBrowsingProtectionLevel screenLockSecured
    secureBootEnabled siteIsolationEnabled thirdPartyBlockingEnabled windowsMachineDomain windowsUserDomain
    managedDevice trustLevel signals error

    include exclude minimum maximum dynamicVersionRequirement distanceFromLatestMajor latestSecurityPatch
    osVersionConstraints majorVersionConstraint thirdPartySignalProviders dtc osType devicePostureIdP
    actions appSignOn access verificationMethod factorMode reauthenticateIn constraints possession knowledge
    phishingResistant hardwareProtection deviceBound userPresence userVerification people users groups network
    connection riskScore elCondition platforms assurance priority status system gracePeriod expiry
    displayRemediationMode createdDate lastUpdated created
    app credential okta_outcome phishing_resistant posture policy reject org attempt event_type fail unknown checks
";

/// Names of members that hold spaces or signs.
const NAMED_KEYS: [&str; 11] = [
    "New Geo-Location",
    "New Device",
    "New IP",
    "New State",
    "New Country",
    "New City",
    "Velocity",
    "Velocity Behavior",
    "Password Spray",
    "Login Failures",
    "Login failures with high unknown users count",
];

/// Texts that may be shown wherever they stand, divided by `|`.
const WORDS: &str = "
    true | false | yes | no | on | off | unknown | null | none | redacted | n/a
    INFO | WARN | DEBUG | ERROR | LOW | MEDIUM | HIGH | CRITICAL
    POSITIVE | NEGATIVE | BAD_REQUEST | V4 | V6 | WEB | JOB
    User | AppUser | AppInstance | Rule | PolicyRule | PolicyEntity | Policy | UserGroup | AppGroup | UDDevice | Device
    AuthenticatorEnrollment | AuthenticatorMethod | Authenticator | SystemPrincipal | PublicClientApp
    PublicClientAppEntity | IP address | AD_AGENT | LDAP_AGENT | access_token | refresh_token | id_token | code
    MobilePhone | Email | Session | Token | NetworkZone | Zone | DeviceAssurancePolicy | Device Assurance
    DevicePostureCheck | Factor Type | URL Pattern | Bucket Name | Role | Org | IdentityProvider | LogStream
    Behavior | ApiToken | EventHook | Feature
    FACTOR_PROVIDER | OKTA_AUTHENTICATION_PROVIDER | OKTA_CREDENTIAL_PROVIDER | DEVICE_UDID | JWT | OAuth 2.0 | OAUTH2
    OKTA_CLIENT_SESSION | PRE_SHARED_SYMMETRIC_KEY
    okta_verify | okta_password | okta_email | phone_number | webauthn | google_otp | security_question | duo
    security_key | smart_card_idp | external_idp | custom_otp | custom_app | yubikey_token | symantec_vip | rsa_token
    onprem_mfa | tac
    DEVICE_BOUND | PHISHING_RESISTANT | USER_VERIFYING | USER_PRESENCE | HARDWARE_PROTECTED | USER_VERIFYING_BIO_ONLY
    USER_VERIFYING_BIO_OR_PIN | PROOF_OF_POSSESSION
    LOGIN | AUTHENTICATION | CREDENTIAL_ENROLLMENT | CREDENTIAL_RECOVERY | PRIMARY | SECONDARY
    OV_RESPONSE_APPROVE | OV_RESPONSE_DENY | OV_RESPONSE_ERROR | OV_WITH_CHALLENGE_RESPONSE_VALID
    OV_WITH_CHALLENGE_RESPONSE_INVALID | OV_WITH_CHALLENGE_RESPONSE_ERROR | OV_WITH_CHALLENGE_RESPONSE_NOT_APPLICABLE
    AUTHENTICATED | CHALLENGE | UNSATISFIABLE | DENIED | 1FA | 2FA | OKTA_SIGN_ON | OktaSignOn | ACCESS
    ACCESS_POLICY | MFA_ENROLL | PASSWORD | PROFILE_ENROLLMENT | IDP_DISCOVERY | ENTITY_RISK | POST_AUTH_SESSION
    SAML_2_0 | SAML 2.0 | SAML_1_1 | OPENID_CONNECT | WS_FEDERATION | BROWSER_PLUGIN | BOOKMARK | AUTO_LOGIN
    SECURE_PASSWORD_STORE | BASIC_AUTH | SP_INITIATED | IDP_INITIATED | NA
    authorization_code | client_credentials | password | implicit | client_secret_post | client_secret_basic
    private_key_jwt | openid | profile | email | offline_access | okta.logs.read | okta.users.read | okta.users.manage
    okta.apps.read | okta.apps.manage | okta.policies.read | okta.policies.manage | okta.groups.read
    okta.deviceAssurance.read | okta.factors.manage
    ORG | ORGANIZATION | MINUTES | SECONDS | HOURS | DAYS | user | org | web request | phone_enrollment
    authenticator_otp_verification | SMS
    LOG | ENFORCED | ENFORCED_WITH_ACTION | VPN | Proxy | Tor | Residential Proxy | Blockchain VPN
    LOOPBACK | CUSTOM_URI | UNIVERSAL_LINK | APPROVED_USER_VERIFICATION | APPROVED_CONSENT_PROMPT | NO_SIGNATURE
    CREATED | ACTIVE | INACTIVE | SUSPENDED | DEACTIVATED | ENROLLED
    FULL | USER | SYSTEM_VOLUME | ALL_INTERNAL_VOLUMES | ALL_INTERNAL_VALUES | PASSCODE | BIOMETRIC
    DESKTOP_OTHER | MOBILE_OTHER
    GOOD | POOR | SNOOZED | NOT_MONITORED | ENABLED | DISABLED | TRUE | FALSE | PASS | FAIL
    ALLOW | DENY | REQUIRED | OPTIONAL | ANY | ANYWHERE | ZONE | ASSURANCE | MINIMUM | TIER
    Computer | Mobile | CHROME | SAFARI | FIREFOX | EDGE | CHROMIUM_EDGE | OPERA | IE | OKTA_MOBILE
    Anomalous Location | Anomalous Device | Anomalous Geo-Distance | Anomalous IP | Suspected Threat
    Suspected Session Hijacking | New Geo-Location | New Device | New IP | New State | New Country | New City
    Velocity | Velocity Behavior
    Catch-all Rule | Default Rule | Default Policy | Default Global Session Policy | Okta Verify | Okta FastPass
    Okta Dashboard | Okta Admin Console | Okta Browser Plugin | Okta System | Everyone | Phone | Passkeys
    Security Key or Biometric | Windows 7 | Windows 8 | Windows 8.1 | Windows 10 | Windows 11 | Windows | Mac OS X
    Mac OS X (iPhone) | Mac OS X (iPad) | macOS | iOS | iOS (iPhone) | iOS (iPad) | Android | Android 1.x | Linux
    Chrome OS | ChromeOS | Ubuntu | Unknown mobile
    Sign-on policy evaluation resulted in DENY | Sign-on policy evaluation resulted in DENIED
    Sign-on policy evaluation resulted in ALLOW | Sign-on policy evaluation resulted in AUTHENTICATED
    Sign-on policy evaluation resulted in CHALLENGE | Sign-on policy evaluation resulted in UNSATISFIABLE
    policy_evaluation | authentication | verification | session | sso | access_denied | enrollment | policy_change
    assurance_change | authenticator_change | integration_change | membership_change | admin_change | threat
    rate_limit | delivery | other
    com.crowdstrike.zta | com.okta.windowssecuritycenter | com.google.dtc | com.android.zero.trust
    com.okta.device.osquery | com.okta.deviceidp | com.okta.workspaceone
";

/// Parts of event types, old ones too.
const EVENT_WORDS: &str = "
    access account action activate active add admin agent api app application apps approve assign assignment assurance
    attempt attempt_fail attempt_success attribute auth authentication authenticator authorization authorize batch
    behavior bind block blocked browser bulk cancel certificate challenge change check claim clear client code
    configuration confirm consent core create created credential csv custom cvd deactivate debug delete deleted deny
    desktop detect detected device directory disable disabled domain download email enable enabled end enroll
    enrollment entity error evaluate event exceeded export extend factor fail failed failure feature federation fired
    flow forgot framework generic global grant granted group hook iam id identity idp iframe import inline inbound
    insert integration internal invite ip issue issuer key kill lifecycle limit link list lock locked log login logout
    management mapping member membership merge mfa migrate mobile move network notification oauth2 okta org outbound
    password pause permission phone pin platform policy posture preview privilege process processing profile
    protection provider provision provisioning public push query radius rate ratelimit re read reactivate receive
    recovery redeem refresh register reject remove rename report request reset resource response restore resume retry
    reuse revoke risk role rotate rule saml scheduled schema scope security self send sent server service session
    set settings sign sign_on signature signin signon sms social source start state status step stop stream submit
    success suspend suspended sync system target task template terminate test threat time token transaction
    transfer trigger trust trusted unassign unassigned unauth unblock unenroll unlock unsuspend update updated upgrade
    upload url use user username user_auth users validate value verification verified verify verify_push version
    view violation voice warning web workflow zone all by for from in of on to via
";

/// The products of user agents whose version may be shown beside them.
pub(super) const PRODUCTS: &str = "
    Mozilla AppleWebKit Chrome Chromium Safari Firefox Gecko Version Edg Edge EdgA EdgiOS CriOS FxiOS OPR Mobile OktaVerify
    OktaDeviceSDK OktaMobile iOS iPadOS macOS Android WINDOWS Windows Darwin CFNetwork okta-auth-js okta-signin-widget
    okta-auth-dotnet okta-sdk-java python-requests curl PostmanRuntime Go-http-client
";

/// The bare words of user agents.
pub(super) const AGENT_WORDS: &str = "
    Macintosh Intel Mac OS X Windows NT Win64 Win32 x64 WOW64 ARM64 arm64 aarch64 Linux X11 x86_64 i686 Android Mobile
    iPhone iPad iPod CPU like Gecko KHTML CrOS Apple U compatible Ubuntu Trident MSIE wv Tablet
";

/// Families of hardware that user agents name, with their numbers.
pub(super) const MODELS: [&str; 9] =
    ["MacBookPro", "MacBookAir", "MacBook", "Macmini", "MacPro", "iMac", "Mac", "iPhone", "iPad"];

/// Segments of Okta's paths.
pub(super) const PATHS: &str = "
    api v1 v2 authn idp idx login logout signin signout oauth2 token authorize introspect revoke userinfo keys app
    apps sso saml saml2 oidc home admin users me groups policies rules factors verify webauthn push sms call email
    question otp authenticators transactions challenge answer poll identify cancel enroll activate lifecycle
    reset_factors resend skip credential sessions logs default sessionCookieRedirect redirect step-up
    login.htm auth services devicefingerprint device trust callback wsfed wsfederation active
";

/// Every name that a member may keep, for tests.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    KEYS.split_whitespace().chain(NAMED_KEYS)
}
