//! Whether this host's own firewall keeps others out.
//!
//! Reads the rules of nftables, which only root may, and follows those for a new connection from elsewhere as far
//! as they are plain. A rule with conditions that are not understood is taken not to match.
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Finding, Patient, network};

/// Chains within chains that are followed.
const DEPTH: usize = 16;

pub(super) fn look(patient: &Patient) -> Vec<Finding> {
    let ports: Vec<_> = match &patient.daemon {
        Some(daemon) => daemon
            .status
            .listen
            .iter()
            .filter_map(network::Port::of)
            .collect(),
        None => network::configured(patient).collect(),
    };
    let mut told: Vec<(u16, bool)> = Vec::new();
    for port in ports.iter().filter(|port| !port.ip.is_loopback()) {
        if !told.contains(&(port.number, port.udp)) {
            told.push((port.number, port.udp));
        }
    }
    if told.is_empty() {
        return Vec::new();
    }
    let Some(rules) = rules() else {
        return vec![Finding::note(
            "firewall",
            "its rules cannot be read; only root may, with the program nft",
        )];
    };
    let mut findings = Vec::new();
    for (number, udp) in told {
        if let Some(chain) = closed(&rules, number, udp) {
            let protocol = if udp { "udp" } else { "tcp" };
            let what = format!(
                "{protocol} port {number} is firewalled: chain {chain} drops what comes from elsewhere"
            );
            let remedy =
                format!("allow it, such as `nft insert rule {chain} {protocol} dport {number} accept`");
            findings.push(Finding::wrong("firewall", what, remedy));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok(
            "firewall",
            "this host lets connections to the node in",
        ));
    }
    findings
}

fn rules() -> Option<Vec<Value>> {
    let mut nft = Command::new("nft");
    let output = nft
        .args(["-j", "list", "ruleset"])
        .stdin(Stdio::null())
        .output()
        .ok()?;
    if !output.status.success() {
        return None;
    }
    let mut rules: Value = serde_json::from_slice(&output.stdout).ok()?;
    serde_json::from_value(rules.get_mut("nftables")?.take()).ok()
}

/// The chain that drops new connections to the port, as `family table name`.
fn closed(rules: &[Value], port: u16, udp: bool) -> Option<String> {
    let bases = rules
        .iter()
        .filter_map(|one| one.get("chain"))
        .filter(|chain| chain["hook"] == "input");
    for base in bases.filter(|chain| matches!(chain["family"].as_str(), Some("inet" | "ip" | "ip6"))) {
        let verdict = follow(rules, base, port, udp, 0);
        let dropped = match verdict {
            Some(accepted) => !accepted,
            None => base["policy"] == "drop",
        };
        if dropped {
            let word = |key: &str| base[key].as_str().unwrap_or_default().to_owned();
            return Some(format!("{} {} {}", word("family"), word("table"), word("name")));
        }
    }
    None
}

/// What a chain does with the connection: accepts it, drops it, or neither.
fn follow(rules: &[Value], chain: &Value, port: u16, udp: bool, depth: usize) -> Option<bool> {
    let own = |rule: &&Value| {
        ["family", "table"].iter().all(|key| rule[key] == chain[key]) && rule["chain"] == chain["name"]
    };
    for rule in rules.iter().filter_map(|one| one.get("rule")).filter(own) {
        let Some(parts) = rule["expr"].as_array() else {
            continue;
        };
        for part in parts {
            if let Some(condition) = part.get("match") {
                if !matches(condition, port, udp) {
                    break;
                }
            } else if part.get("accept").is_some() {
                return Some(true);
            } else if part.get("drop").is_some() || part.get("reject").is_some() {
                return Some(false);
            } else if part.get("return").is_some() {
                return None;
            } else if let Some(target) = part
                .get("jump")
                .or_else(|| part.get("goto"))
                .filter(|_| depth < DEPTH)
            {
                let named = |one: &&Value| one["name"] == target["target"] && one["table"] == chain["table"];
                let next = rules.iter().filter_map(|one| one.get("chain")).find(named);
                let verdict = next.and_then(|next| follow(rules, next, port, udp, depth + 1));
                if verdict.is_some() {
                    return verdict;
                }
            }
        }
    }
    None
}

/// Whether a condition surely holds for a new connection from elsewhere to the port.
fn matches(condition: &Value, port: u16, udp: bool) -> bool {
    let protocol = if udp { "udp" } else { "tcp" };
    let (left, right) = (&condition["left"], &condition["right"]);
    let holds = if left["payload"]["field"] == "dport" {
        let of = &left["payload"]["protocol"];
        (*of == protocol || *of == "th") && contains(right, port)
    } else if left["meta"]["key"] == "l4proto" {
        right == protocol
            || right["set"]
                .as_array()
                .is_some_and(|set| set.iter().any(|one| one == protocol))
    } else if left["ct"]["key"] == "state" {
        let new = |state: &Value| state == "new";
        new(right)
            || right
                .as_array()
                .or_else(|| right["set"].as_array())
                .is_some_and(|all| all.iter().any(new))
    } else if matches!(left["meta"]["key"].as_str(), Some("iif" | "iifname")) {
        // It comes from elsewhere: not from lo, and it is not known from which other interface.
        return condition["op"] == "!=" && right == "lo";
    } else {
        return false;
    };
    match condition["op"].as_str() {
        Some("==" | "in") => holds,
        Some("!=") => !holds,
        _ => false,
    }
}

fn contains(right: &Value, port: u16) -> bool {
    let port = u64::from(port);
    let one = |value: &Value| match value.get("range").and_then(Value::as_array) {
        Some(range) => matches!(range.as_slice(), [from, to]
            if from.as_u64().is_some_and(|from| from <= port) && to.as_u64().is_some_and(|to| port <= to)),
        None => value.as_u64() == Some(port),
    };
    right["set"]
        .as_array()
        .map_or_else(|| one(right), |set| set.iter().any(one))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn chain(policy: &str) -> Value {
        json!({ "chain": { "family": "inet", "table": "f", "name": "in", "hook": "input", "policy": policy } })
    }

    fn rule(expr: Value) -> Value {
        json!({ "rule": { "family": "inet", "table": "f", "chain": "in", "expr": expr } })
    }

    fn dport(port: Value, verdict: &str) -> Value {
        let left = json!({ "payload": { "protocol": "tcp", "field": "dport" } });
        rule(json!([{ "match": { "op": "==", "left": left, "right": port } }, { verdict: null }]))
    }

    #[test]
    fn a_policy_that_drops_closes_what_no_rule_opens() {
        let open = [
            chain("drop"),
            dport(json!({ "set": [22, { "range": [4000, 4100] }] }), "accept"),
        ];
        assert_eq!(closed(&open, 4011, false), None);
        assert_eq!(closed(&open, 4011, true), Some("inet f in".into()));
        assert_eq!(closed(&open, 80, false), Some("inet f in".into()));
    }

    #[test]
    fn a_rule_that_drops_closes_its_port_and_what_holds_for_others_does_not_count() {
        let lo = json!({ "match": { "op": "==", "left": { "meta": { "key": "iifname" } }, "right": "lo" } });
        let known = json!({ "match": {
            "op": "in", "left": { "ct": { "key": "state" } }, "right": ["established", "related"]
        } });
        let rules = [
            chain("accept"),
            rule(json!([lo, { "accept": null }])),
            rule(json!([known, { "accept": null }])),
            dport(json!(4011), "drop"),
        ];
        assert_eq!(closed(&rules, 4011, false), Some("inet f in".into()));
        assert_eq!(closed(&rules, 4012, false), None);
        assert_eq!(closed(&rules, 4011, true), None);
    }
}
