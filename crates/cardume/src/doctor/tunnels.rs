//! Services of peers for this host, and of this host for peers.
use cardume_api::TunnelState;

use super::{Finding, Patient};
use crate::text::count;

pub(super) async fn look(patient: &Patient) -> Vec<Finding> {
    let Some(daemon) = &patient.daemon else {
        return Vec::new();
    };
    let tunnels = daemon.client.tunnels().await.unwrap_or_default();
    if tunnels.is_empty() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for tunnel in &tunnels {
        let Some(problem) = &tunnel.problem else { continue };
        let name = &tunnel.name;
        findings.push(match tunnel.state {
            TunnelState::Failed => Finding::wrong(
                "tunnels",
                format!("{name} does not listen: {problem}"),
                "have another program let go of that place, or change its listen; it tries again by itself",
            ),
            _ => Finding::note(
                "tunnels",
                format!("{name}: the last connection failed: {problem}"),
            ),
        });
    }
    let ready = tunnels.iter().filter(|tunnel| tunnel.state == TunnelState::Ready);
    let ready = format!(
        "{} of {} ready",
        ready.count(),
        count(tunnels.len() as u64, "tunnel")
    );
    findings.push(Finding::ok("tunnels", ready));
    findings
}
