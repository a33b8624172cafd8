//! What is wrong with the node, as it was found when somebody looked last.
use cardume_api::{Diagnosis, Finding, FindingState};
use maud::{Markup, html};

use crate::text::{age, cut};

/// Findings that are shown; the doctor has some twenty checks.
const MAX: usize = 100;
/// Lines of one finding.
const MAX_LINES: usize = 12;

pub(crate) fn section(last: Option<&(Diagnosis, u64)>) -> Markup {
    html! {
        section #doctor aria-labelledby="doctor-title" {
            h2 #doctor-title { "Doctor" }
            p.act {
                button #check type="button" { "Check now" }
                span #checked role="status" { @if let Some((found, _)) = last { (sum(found)) } }
                // Not in the status: it would be read aloud each minute.
                span.soft {
                    @match last {
                        Some((_, ago)) => (when(*ago)),
                        None => "Looks at configuration, clock, ports, disk, peers and content.",
                    }
                }
            }
            @if let Some((found, _)) = last { (findings(found)) }
        }
    }
}

fn sum(found: &Diagnosis) -> String {
    match found.count(FindingState::Wrong) {
        0 => "Nothing is wrong".to_owned(),
        1 => "1 thing is wrong".to_owned(),
        wrong => format!("{wrong} things are wrong"),
    }
}

fn when(ago: u64) -> String {
    match ago {
        0..60 => "looked at just now".to_owned(),
        ago => format!("looked at {} ago", age(ago / 60 * 60)),
    }
}

/// What needs somebody first, what is worth knowing after it, and all the rest folded.
fn findings(found: &Diagnosis) -> Markup {
    let of = |state| found.findings.iter().filter(move |one| one.state == state);
    let fine = found.count(FindingState::Ok);
    html! {
        ul.rows.findings {
            @for state in [FindingState::Wrong, FindingState::Note] {
                @for one in of(state).take(MAX) { (row(one)) }
            }
        }
        @if fine > 0 {
            details #fine {
                summary { (fine) @if fine == 1 { " is as it should be" } @else { " are as they should be" } }
                ul.rows.findings { @for one in of(FindingState::Ok).take(MAX) { (row(one)) } }
            }
        }
    }
}

fn row(one: &Finding) -> Markup {
    let (word, class) = match one.state {
        FindingState::Wrong => ("wrong", "word wrong"),
        FindingState::Note => ("note", "word note"),
        _ => ("ok", "word ok"),
    };
    html! {
        li {
            span class=(class) { (word) }
            span.check { (cut(&one.check)) }
            div.what {
                @for line in one.what.lines().take(MAX_LINES) { p { (long(line)) } }
                @if let Some(remedy) = &one.remedy { p.remedy { "→ " (long(remedy)) } }
            }
        }
    }
}

/// A line of our own that may name paths and addresses: longer than a name.
fn long(line: &str) -> String {
    line.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .take(400)
        .collect()
}
