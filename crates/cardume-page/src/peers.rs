//! Who the node is connected to.
use cardume_api::{Path, Peer};
use maud::{Markup, html};

use crate::text::{age, bytes, cut, short};

pub(crate) fn section(peers: &[Peer]) -> Markup {
    html! {
        section #peers aria-labelledby="peers-title" {
            h2 #peers-title { "Peers" }
            @if peers.is_empty() {
                p { "Nobody is connected." }
            } @else {
                div.wide role="group" aria-labelledby="peers-title" tabindex="0" {
                    table {
                        thead { tr {
                            @for column in ["Name", "Program", "Way", "Round trip", "Sent", "Received", "Since"] {
                                th scope="col" { (column) }
                            }
                        } }
                        tbody { @for peer in peers { (row(peer)) } }
                    }
                }
            }
        }
    }
}

fn row(peer: &Peer) -> Markup {
    let way = match peer.path {
        Path::Relayed => "through a relay",
        _ => "direct",
    };
    html! {
        tr id={ "peer-" (peer.peer_id) } {
            th scope="row" title=(peer.peer_id) {
                @if let Some(name) = &peer.name { (cut(name)) } @else { code { (short(&peer.peer_id)) } }
            }
            td { (peer.agent.as_deref().map(cut).unwrap_or_default()) }
            td { (way) ", " (peer.transport) }
            td { @if let Some(rtt) = peer.rtt_ms { (format!("{rtt:.1} ms")) } }
            td { (bytes(peer.sent)) }
            td { (bytes(peer.received)) }
            td { (age(peer.connected_s)) }
        }
    }
}
