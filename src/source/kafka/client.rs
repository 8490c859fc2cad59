//! The settings that librdkafka gets from a section: what the owner may choose, and what this source decides itself.

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use super::config::Config;
use crate::secret::{Secret, SecretError, SecretRef, Secrets};

/// The passwords of a section, as they are now.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Passwords {
    password: Option<Secret>,
    key_password: Option<Secret>,
}

impl Config {
    /// Reads the passwords.
    pub(super) async fn passwords(&self, secrets: &Secrets) -> Result<Passwords, SecretError> {
        let mut read = Passwords::default();
        let (password, key_password) = self.references();
        if let Some(reference) = password {
            read.password = Some(secrets.current(reference).await?);
        }
        if let Some(reference) = key_password {
            read.key_password = Some(secrets.current(reference).await?);
        }
        Ok(read)
    }

    /// Any of them may be why a connection was lost: they are read anew for the next.
    pub(super) fn doubt_passwords(&self, secrets: &Secrets) {
        let (password, key_password) = self.references();
        password.into_iter().chain(key_password).for_each(|reference| secrets.doubt(reference));
    }

    /// Where the user's password and the key's are.
    fn references(&self) -> (Option<&SecretRef>, Option<&SecretRef>) {
        let password = self.security.sasl.as_ref().map(|sasl| &sasl.password);
        (password, self.security.client.as_ref().and_then(|client| client.key_password.as_ref()))
    }

    /// What consumer and producer share: where the brokers are and how to speak to them.
    fn client(&self, member: &str, passwords: &Passwords) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set_log_level(RDKafkaLogLevel::Warning);
        client.set("bootstrap.servers", self.brokers.join(","));
        client.set("client.id", member);
        let security = &self.security;
        client.set("security.protocol", security.protocol.as_str());
        if security.protocol.has_tls() {
            // The OpenSSL inside has no folder of certificates of its own: librdkafka looks for the machine's.
            let ca = security.ca_file.as_ref().map(|path| path.display().to_string());
            client.set("ssl.ca.location", ca.unwrap_or_else(|| "probe".to_owned()));
        }
        if let Some(certificate) = &security.client {
            client.set("ssl.certificate.location", certificate.cert_file.display().to_string());
            client.set("ssl.key.location", certificate.key_file.display().to_string());
        }
        if let Some(password) = &passwords.key_password {
            client.set("ssl.key.password", password.expose());
        }
        if let Some(sasl) = &security.sasl {
            client.set("sasl.mechanism", sasl.mechanism.as_str()).set("sasl.username", &sasl.user);
        }
        if let Some(password) = &passwords.password {
            client.set("sasl.password", password.expose());
        }
        client
    }

    /// The consumer's settings.
    pub(super) fn consumer(&self, member: &str, passwords: &Passwords) -> ClientConfig {
        let mut client = self.client(member, passwords);
        for (key, value) in [
            ("group.id", self.group.as_str()),
            // A restart takes its own place again, at once and without a rebalance.
            ("group.instance.id", member),
            // One process owns all partitions, so they need not be spread, and a rebalance hands over all or nothing.
            ("partition.assignment.strategy", "range"),
            ("session.timeout.ms", "20000"),
            ("heartbeat.interval.ms", "2000"),
            // The checkpoint is the truth; what is committed to the group is committed by us, after it.
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            // A position that is no longer there is a gap, which must be counted and not skipped in silence.
            ("auto.offset.reset", "error"),
            ("enable.partition.eof", "true"),
            ("allow.auto.create.topics", "false"),
            ("isolation.level", "read_committed"),
            ("statistics.interval.ms", "1000"),
            // Partitions are found within a minute, and their end is heard of quickly.
            ("topic.metadata.refresh.interval.ms", "60000"),
            ("fetch.wait.max.ms", "200"),
            // By partition; the merge takes one record of each at a time.
            ("queued.min.messages", "4000"),
            ("queued.max.messages.kbytes", "8192"),
        ] {
            client.set(key, value);
        }
        for (key, value) in &self.properties {
            client.set(key, value);
        }
        client
    }

    /// The settings of the producer for the reject topic.
    pub(super) fn producer(&self, member: &str, passwords: &Passwords) -> ClientConfig {
        let mut client = self.client(member, passwords);
        for (key, value) in [
            ("enable.idempotence", "true"),
            ("compression.codec", "zstd"),
            ("linger.ms", "5"),
            ("message.timeout.ms", "300000"),
            ("queue.buffering.max.messages", "10000"),
            ("queue.buffering.max.kbytes", "65536"),
        ] {
            client.set(key, value);
        }
        client
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::kafka::PROPERTIES;

    const SECTION: &str =
        r#"{"brokers": ["k1:9092"], "topics": ["okta"], "group": "authwatch", "reject_topic": "bad"}"#;

    #[test]
    fn every_setting_of_ours_is_one_that_the_library_knows() {
        let config = serde_json::from_str::<Config>(SECTION).expect("valid");
        let (consumer, producer) =
            (config.consumer("m", &Passwords::default()), config.producer("m", &Passwords::default()));
        for client in [consumer, producer] {
            assert!(client.create_native_config().is_ok(), "{client:?}");
        }
        let probe = |key: &str| ClientConfig::new().create_native_config().expect("a config").get(key).is_ok();
        // A setting without a default reads as an error, so only its name is proved by setting it.
        for key in PROPERTIES {
            assert!(probe(key) || ["client.rack", "ssl.cipher.suites"].contains(&key), "{key}");
        }
    }
}
