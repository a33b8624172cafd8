//! What is said, and what is followed.
use cardume_api::{Follow, Topic};
use maud::{Markup, html};

use crate::text::cut;

/// Topics that are shown: others make names up.
const MAX: usize = 50;

pub(crate) fn section(topics: &[Topic], follows: &[Follow]) -> Markup {
    let own = topics.iter().filter(|topic| topic.subscribed);
    let others = topics.iter().filter(|topic| !topic.subscribed);
    html! {
        section #topics aria-labelledby="topics-title" {
            h2 #topics-title { "Topics and channels" }
            @if topics.is_empty() && follows.is_empty() { p { "None." } }
            @if !topics.is_empty() {
                div.wide role="group" aria-labelledby="topics-title" tabindex="0" {
                    table {
                        thead { tr {
                            @for column in ["Topic", "Peers", "Published", "Received", "Lost"] { th scope="col" { (column) } }
                        } }
                        tbody { @for topic in own.chain(others).take(MAX) { (row(topic)) } }
                    }
                }
            }
            @if !follows.is_empty() { ul.rows { @for follow in follows { (followed(follow)) } } }
        }
    }
}

fn row(topic: &Topic) -> Markup {
    html! {
        tr {
            th scope="row" { (cut(&topic.topic)) }
            td { (topic.peers) }
            td { (topic.published) }
            td { (topic.received) }
            td { (topic.lost) }
        }
    }
}

fn followed(follow: &Follow) -> Markup {
    let number = |number: Option<u64>| number.map_or_else(|| "none".to_owned(), |number| number.to_string());
    html! {
        li {
            span.what { (cut(&follow.name)) }
            span { "version " (number(follow.present)) ", newest " (number(follow.newest)) }
            @if let Some(held) = follow.held { span { "held at " (held) } }
            @if let Some(problem) = &follow.problem { p.problem { (cut(problem)) } }
        }
    }
}
