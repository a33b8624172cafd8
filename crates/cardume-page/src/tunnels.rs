//! Services of this host for peers, and of peers for this host.
use cardume_api::{Tunnel, TunnelRole, TunnelState};
use maud::{Markup, html};

use crate::text::{bytes, cut};

/// Nothing where there are none: most nodes have none.
pub(crate) fn section(tunnels: &[Tunnel]) -> Markup {
    html! {
        @if !tunnels.is_empty() {
            section #tunnels aria-labelledby="tunnels-title" {
                h2 #tunnels-title { "Tunnels" }
                div.wide role="group" aria-labelledby="tunnels-title" tabindex="0" {
                    table {
                        thead { tr {
                            @for column in ["Tunnel", "Here", "There", "Connections", "Received", "Sent"] {
                                th scope="col" { (column) }
                            }
                        } }
                        tbody { @for tunnel in tunnels { (row(tunnel)) } }
                    }
                }
                @for tunnel in tunnels {
                    @if let Some(problem) = &tunnel.problem {
                        p.problem { (tunnel.name) ": " (cut(problem)) }
                    }
                }
            }
        }
    }
}

fn row(tunnel: &Tunnel) -> Markup {
    let (here, there) = match tunnel.role {
        TunnelRole::Expose => (&tunnel.target, format!("for {}", tunnel.allow.join(", "))),
        TunnelRole::Forward => {
            let peer = tunnel.peer.as_deref().unwrap_or_default();
            let service = tunnel.service.as_deref().unwrap_or_default();
            (&tunnel.listen, format!("{service} of {peer}"))
        }
    };
    let here = here.as_deref().unwrap_or_default();
    html! {
        tr {
            th scope="row" { (tunnel.name) }
            td { (here) @if tunnel.state != TunnelState::Ready { " (does not listen)" } }
            td { (cut(&there)) }
            td { (tunnel.connections) }
            td { (bytes(tunnel.received)) }
            td { (bytes(tunnel.sent)) }
        }
    }
}
