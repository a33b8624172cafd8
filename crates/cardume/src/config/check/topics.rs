//! `[gossipsub]` and `[topic.*]`.
use cardume_node::Config;

use super::Findings;

pub(super) fn check(config: &Config, found: &mut Findings) {
    for mistake in config.gossipsub.mistakes() {
        found.add(&mistake.path(), mistake.to_string(), None);
    }
    // Names that make no sense are told where they stand.
    let names = config.names().unwrap_or_default();
    let mut delivered = 0;
    for (name, topic) in &config.topic {
        let mut add = |below: &[&str], reason: String, hint| {
            let path: Vec<&str> = ["topic", name].into_iter().chain(below.iter().copied()).collect();
            found.add(&path, reason, Some(hint));
        };
        for mistake in topic.mistakes(name) {
            add(&mistake.path, mistake.reason, mistake.hint);
        }
        let lists = [
            ("publishers", &topic.publishers),
            ("subscribers", &topic.subscribers),
        ];
        for (key, words) in lists {
            for word in words.iter().flatten() {
                if let Err(error) = names.rule(word) {
                    add(
                        &[key],
                        error.to_string(),
                        "a [peer.NAME], group:NAME or a peer id",
                    );
                }
            }
        }
        if topic.deliver != Default::default() {
            delivered += 1;
            if !config.gossipsub.enabled {
                let reason = "nothing can be delivered while gossipsub.enabled is false".into();
                add(&["deliver"], reason, "switch topics on, or take it away");
            }
        }
    }
    let most = config.gossipsub.max_topics;
    if delivered > most {
        let reason = format!("{most} is too few for {delivered} topics that are delivered");
        found.add(&["gossipsub", "max_topics"], reason, None);
    }
}
