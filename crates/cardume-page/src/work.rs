//! What the node is doing, and has done lately.
use std::collections::BTreeMap;

use cardume_api::{Kind, Operation, State};
use cardume_content::Cid;
use maud::{Markup, html};

use crate::text::{bytes, cut, short};

type Names = BTreeMap<Cid, String>;

/// Operations that are shown.
const MAX: usize = 20;

pub(crate) fn section(operations: &[Operation], names: &Names, may_change: bool) -> Markup {
    html! {
        section #work aria-labelledby="work-title" {
            h2 #work-title { "Transfers" }
            @if operations.is_empty() {
                p { "Nothing has been asked of this node since it started." }
            } @else {
                ul.rows { @for operation in operations.iter().rev().take(MAX) { (row(operation, names, may_change)) } }
            }
        }
    }
}

fn row(operation: &Operation, names: &Names, may_change: bool) -> Markup {
    let (progress, subject) = (&operation.progress, named(&operation.subject, names));
    let is_running = operation.state == State::Running;
    html! {
        li id={ "work-" (operation.id) } {
            span.what { (verb(operation.kind)) " " span title=(operation.subject) { (subject) } }
            @if is_running {
                @if progress.size > 0 {
                    progress max=(progress.size) value=(progress.done) aria-label={ "Progress of " (subject) } {}
                    span { (bytes(progress.done)) " of " (bytes(progress.size)) }
                } @else {
                    span { "looking for it" }
                }
                @if may_change {
                    button type="button" data-cancel=(operation.id) aria-label={ "Cancel " (subject) } { "Cancel" }
                }
            } @else {
                span { (ended(operation.state)) @if progress.size > 0 { ", " (bytes(progress.size)) } }
                @if let Some(error) = &operation.error { p.problem { (cut(&error.detail)) } }
            }
        }
    }
}

/// What is known by a name by that, other ids by both of their ends, and paths as they are.
fn named(subject: &str, names: &Names) -> String {
    match subject.parse::<Cid>() {
        Ok(cid) => match names.get(&cid) {
            Some(name) => cut(name),
            None => format!("{}{}", &subject[..8], short(subject)),
        },
        Err(_) => cut(subject),
    }
}

fn verb(kind: Kind) -> &'static str {
    match kind {
        Kind::Share => "Share",
        Kind::Fetch => "Get",
        Kind::Verify => "Verify",
        Kind::Repair => "Repair",
        Kind::Collect => "Clean up",
        Kind::Measure => "Measure",
        _ => "Other",
    }
}

fn ended(state: State) -> &'static str {
    match state {
        State::Running => "running",
        State::Done => "done",
        State::Failed => "failed",
        State::Cancelled => "cancelled",
    }
}
