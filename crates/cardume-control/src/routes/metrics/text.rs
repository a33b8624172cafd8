//! The text format of Prometheus.
use std::fmt::{Display, Write};

/// Text in the exposition format of Prometheus.
#[derive(Default)]
pub(super) struct Exposition {
    text: String,
    family: String,
}

impl Exposition {
    /// Begins a family, which is described even where no number of it is known: names are to be found on any node.
    ///
    /// All names begin with `cardume_`, but those that every program has under the same name.
    pub(super) fn family(&mut self, name: &str, kind: &str, about: &str) -> &mut Self {
        let prefix = if name.starts_with("process_") {
            ""
        } else {
            "cardume_"
        };
        self.family = format!("{prefix}{name}");
        let name = &self.family;
        let _ = writeln!(self.text, "# HELP {name} {about}\n# TYPE {name} {kind}");
        self
    }

    /// Labels must need no escaping but that of quotes and backslashes.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        let labels: Vec<_> = labels
            .iter()
            .map(|(name, value)| format!("{name}={value:?}"))
            .collect();
        let labels = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", labels.join(","))
        };
        let _ = writeln!(self.text, "{}{labels} {value}", self.family);
        self
    }

    /// A sample whose number may not be known; it is left out then, because 0 would be a lie.
    pub(super) fn known(&mut self, labels: &[(&str, &str)], value: Option<impl Display>) -> &mut Self {
        match value {
            Some(value) => self.sample(labels, value),
            None => self,
        }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_described_once_and_its_samples_follow() {
        let mut text = Exposition::default();
        text.family("a_total", "counter", "As.")
            .sample(&[("b", "c"), ("d", "e")], 1)
            .sample(&[], 2)
            .known(&[], None::<u64>);
        text.family("process_open_fds", "gauge", "Bs.").sample(&[], 0.5);
        assert_eq!(
            text.text,
            "# HELP cardume_a_total As.\n# TYPE cardume_a_total counter\n\
             cardume_a_total{b=\"c\",d=\"e\"} 1\ncardume_a_total 2\n\
             # HELP process_open_fds Bs.\n# TYPE process_open_fds gauge\nprocess_open_fds 0.5\n"
        );
    }
}
