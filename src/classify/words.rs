//! What the tables can be asked besides reading an event: which words they know, so that a text that is none of them
//! can be left out of what is shown to others.

use super::tables::Tables;

impl Tables {
    /// Every word that a table lists: methods (the pairs whole and in halves), factors, names of authenticators,
    /// providers, outcomes, answers, evaluations, reasons and platforms.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        let methods = self.methods.0.iter().flat_map(|(pair, _)| {
            let halves = pair.split_once(':').map(|(key, method)| [key, method]);
            std::iter::once(pair.as_str()).chain(halves.into_iter().flatten())
        });
        let factors = self.factors.iter().flat_map(|row| std::iter::once(&row.factor).chain(&row.provider));
        let credentials =
            [&self.enrollments, &self.credential_providers, &self.credential_types, &self.authentication_providers];
        let reasons = [&self.push_responses, &self.number_responses, &self.sign_on_evaluations];
        methods
            .chain(factors.map(|word| word.as_str()))
            .chain(credentials.into_iter().flat_map(|words| words.0.iter().map(|(word, _)| word.as_str())))
            .chain(self.outcomes.0.iter().map(|(word, _)| word.as_str()))
            .chain(reasons.into_iter().flat_map(|words| words.0.iter().map(|(word, _)| word.as_str())))
            .chain(self.reasons.0.iter().map(|(word, _)| word.as_str()))
            .chain(self.device_platforms.0.iter().map(|(word, _)| word.as_str()))
    }

    /// The words that the listed event types are made of (`policy`, `evaluate_sign_on`).
    pub fn event_type_words(&self) -> impl Iterator<Item = &str> {
        let names = self.types.keys().chain(self.prefixes.iter().map(|(prefix, _)| prefix));
        names.flat_map(|name| name.split('.')).filter(|word| !word.is_empty())
    }

    /// How a reason begins, where it is read by that.
    pub fn reason_prefix(&self, text: &str) -> Option<&str> {
        let mut prefixes = self.reason_prefixes.iter().map(|(prefix, _)| prefix.as_str());
        prefixes.find(|prefix| text.starts_with(prefix))
    }

    /// The part of a user agent's `os` that the platform is read by.
    pub fn agent_system(&self, os: &str) -> Option<&str> {
        self.agent_systems.iter().map(|row| row.text.as_str()).find(|text| os.starts_with(text))
    }

    /// The part of a raw user agent that the platform is read by.
    pub fn agent_text(&self, raw: &str) -> Option<&str> {
        self.agent_texts.iter().map(|row| row.text.as_str()).find(|text| raw.contains(text))
    }
}
