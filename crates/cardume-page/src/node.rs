//! The node itself.
use cardume_api::Status;
use maud::{Markup, html};

use crate::text::{age, bytes, cut, short};

pub(crate) fn section(status: &Status) -> Markup {
    let rates = &status.rates;
    html! {
        section #node aria-labelledby="node-title" {
            h2 #node-title { "Node" }
            dl {
                dt { "State" }
                dd { @if status.ready { "ready" } @else { strong.problem { "not ready" } } ", for " (age(status.uptime_s)) }
                dt { "Peer id" }
                dd { code title=(status.peer_id) { (short(&status.peer_id)) } }
                dt { "Version" }
                dd { (status.version) ", network " (cut(&status.network)) }
                dt { "Reached at" }
                dd {
                    @if status.external.is_empty() { "no address outside this machine's networks is known" }
                    @else { ul { @for address in &status.external { li { code { (cut(&address.to_string())) } } } } }
                }
                dt { "Content sent" }
                dd { data #upload value=(rates.upload) { (bytes(rates.upload)) "/s" } }
                dt { "Content received" }
                dd { data #download value=(rates.download) { (bytes(rates.download)) "/s" } }
                @if let Some(store) = &status.store {
                    dt { "Store" }
                    dd { (bytes(store.used)) ", " (status.roots) @if status.roots == 1 { " file or directory" } @else { " files and directories" } }
                }
                @if !status.config.waiting.is_empty() {
                    dt { "Wait for a restart" }
                    dd { (status.config.waiting.join(", ")) }
                }
                @if let Some(problem) = &status.config.problem {
                    dt { "Configuration" }
                    dd.problem { (problem) }
                }
            }
        }
    }
}
