//! The closed vocabularies of meaning, the same words in JSON, metric labels, rules and docs.

/// Declares a closed vocabulary whose words are written in snake_case everywhere.
macro_rules! vocabulary {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident => $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Every word, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word as written in JSON, labels and rules.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use vocabulary;

vocabulary! {
    /// What an event is about.
    Kind {
        /// A sign-on policy was evaluated.
        PolicyEvaluation => "policy_evaluation",
        /// One factor was verified, or failed.
        Authentication => "authentication",
        /// The whole sign-in flow completed.
        Verification => "verification",
        /// A session started, ended or changed.
        Session => "session",
        /// An app was reached through single sign-on.
        Sso => "sso",
        /// An app's policy or assignment refused access.
        AccessDenied => "access_denied",
        /// A factor or authenticator of a person changed.
        Enrollment => "enrollment",
        /// A policy or a rule of one changed.
        PolicyChange => "policy_change",
        /// A device assurance policy or posture check changed.
        AssuranceChange => "assurance_change",
        /// An authenticator of the org changed.
        AuthenticatorChange => "authenticator_change",
        /// An integration changed: EDR, MDM, identity provider, log stream, network zone.
        IntegrationChange => "integration_change",
        /// A person joined or left a group or an app.
        MembershipChange => "membership_change",
        /// Administrator privileges or API tokens changed.
        AdminChange => "admin_change",
        /// A device was registered, removed or reported.
        Device => "device",
        /// A hostile act was suspected or stopped.
        Threat => "threat",
        /// A rate limit was neared or hit.
        RateLimit => "rate_limit",
        /// A code or a push was sent.
        Delivery => "delivery",
        /// Anything the tables do not list.
        Other => "other",
    }
}

vocabulary! {
    /// What part events of a type have in sign-ins.
    Part {
        /// They are steps of one, where their kind is.
        SignIn => "sign_in",
        /// They are listed, and no step of one: the type says nothing of sign-in health, or of a session that has long
        /// begun.
        Aside => "aside",
        /// No table lists the type.
        Unlisted => "unlisted",
    }
}

vocabulary! {
    /// With what a person signed in.
    Credential {
        /// Okta FastPass (`signed_nonce`).
        Fastpass => "fastpass",
        /// A security key or passkey.
        Webauthn => "webauthn",
        /// A smart card (PIV, X.509 identity provider).
        SmartCard => "smart_card",
        /// An Okta Verify push.
        Push => "push",
        /// A code from Okta Verify.
        OktaTotp => "okta_totp",
        /// A code from another authenticator app.
        Totp => "totp",
        /// A code by SMS.
        Sms => "sms",
        /// A code by phone call.
        Voice => "voice",
        /// A code or link by e-mail.
        Email => "email",
        /// A password held by Okta.
        Password => "password",
        /// A security question.
        SecurityQuestion => "security_question",
        /// An external identity provider.
        Idp => "idp",
        /// A social identity provider.
        Social => "social",
        /// A RADIUS agent.
        Radius => "radius",
        /// A password checked by an AD or LDAP agent.
        Delegated => "delegated",
        /// Integrated Windows authentication or Kerberos.
        DesktopSso => "desktop_sso",
        /// Duo.
        Duo => "duo",
        /// RSA or another on-premises token.
        Rsa => "rsa",
        /// Symantec VIP.
        Symantec => "symantec",
        /// A YubiKey's one-time password.
        YubikeyOtp => "yubikey_otp",
        /// A temporary access code.
        TemporaryCode => "temporary_code",
        /// A credential that the tables do not list.
        Other => "other",
        /// The event says nothing of a credential.
        None => "none",
    }
}

vocabulary! {
    /// Our reading of how the event ended, whatever the log wrote.
    Outcome {
        /// It worked.
        Success => "success",
        /// It did not work.
        Failure => "failure",
        /// A policy let it pass.
        Allow => "allow",
        /// A policy refused it.
        Deny => "deny",
        /// More was asked for: neither good nor bad.
        Challenge => "challenge",
        /// The person skipped a step that may be skipped.
        Skipped => "skipped",
        /// The person walked away.
        Abandoned => "abandoned",
        /// A prompt was ignored, another method used.
        Unanswered => "unanswered",
        /// A rate limit refused it.
        RateLimited => "rate_limited",
        /// Put off.
        Deferred => "deferred",
        /// Planned.
        Scheduled => "scheduled",
        /// Absent or not understood; never taken for a success.
        Unknown => "unknown",
    }
}

vocabulary! {
    /// Why not.
    Reason {
        /// A wrong password or code.
        InvalidCredentials => "invalid_credentials",
        /// The person refused the push.
        UserDeniedPush => "user_denied_push",
        /// The person chose the wrong number.
        WrongNumber => "wrong_number",
        /// FastPass declined a phishing attempt.
        PhishingDeclined => "phishing_declined",
        /// The account is locked.
        LockedOut => "locked_out",
        /// The password has expired.
        PasswordExpired => "password_expired",
        /// No such person.
        UnknownUser => "unknown_user",
        /// The person is not assigned to the app.
        NotAssigned => "not_assigned",
        /// A sign-on policy refused, and nothing says which condition.
        PolicyDenied => "policy_denied",
        /// The device failed a posture check.
        DevicePosture => "device_posture",
        /// No enrolled authenticator can satisfy the rule.
        EnrollmentUnsatisfiable => "enrollment_unsatisfiable",
        /// The network zone.
        NetworkZone => "network_zone",
        /// Risk or behaviour.
        Risk => "risk",
        /// A rate limit.
        RateLimited => "rate_limited",
        /// The identity provider failed.
        IdpError => "idp_error",
        /// An AD, LDAP or RADIUS agent did not answer.
        AgentUnavailable => "agent_unavailable",
        /// A text that the tables do not list.
        Other => "other",
        /// Nothing went wrong, or nothing was said.
        None => "none",
    }
}

vocabulary! {
    /// Okta's risk level of a request.
    Risk {
        /// Low.
        Low => "low",
        /// Medium.
        Medium => "medium",
        /// High.
        High => "high",
    }
}

vocabulary! {
    /// The operating system of the device, normalised from Okta's several spellings.
    Platform {
        /// macOS (`OSX`, `MACOS`).
        Macos => "macos",
        /// Windows.
        Windows => "windows",
        /// iOS and iPadOS.
        Ios => "ios",
        /// Android.
        Android => "android",
        /// ChromeOS.
        Chromeos => "chromeos",
        /// Linux.
        Linux => "linux",
        /// A platform that the tables do not list.
        Other => "other",
        /// The event says nothing of a device.
        Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_labels_use_the_same_word() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_string(kind).expect("json"), format!("\"{kind}\""));
        }
        assert_eq!(Reason::ALL.len(), 18);
        assert_eq!(Credential::ALL.len(), 23);
    }
}
