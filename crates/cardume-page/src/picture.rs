//! Who serves what: peers that give to this node, the node, and peers that it gives to.
use maud::{Markup, html};

use crate::text::{bytes, cut, short};

/// Peers that are drawn at each side; the others are counted.
const MAX: usize = 8;
/// Characters of a label beside the lines, and of the node's own; all of it is in the words and the table.
const MAX_LABEL: usize = 18;
const MAX_NODE: usize = 10;
/// Things that a peer is given or gives, by name; the others are counted.
const MAX_THINGS: usize = 2;

/// The picture's own units, which are pixels where there is room. The height follows from how many there are.
const WIDTH: f64 = 520.0;
const ROW: f64 = 72.0;
const HEAD: f64 = 32.0;
const NODE: (f64, f64) = (100.0, 56.0);
/// Where the texts at the left end and begin at the right, and how far the lines keep from them.
const COLUMN: f64 = 150.0;
const GAP: f64 = 8.0;
/// Widths of the slowest line and, beyond that, of the fastest.
const THIN: f64 = 2.0;
const THICK: f64 = 9.0;

/// What goes between this node and one peer.
#[derive(Debug, Clone, Default)]
pub struct Flow {
    /// The peer's id.
    pub peer_id: String,
    /// Its name in this node's configuration.
    pub name: Option<String>,
    /// Bytes a second that this node sends it.
    pub sent: u64,
    /// Bytes a second that it sends this node.
    pub received: u64,
    /// What this node gives it.
    pub gives: Vec<String>,
    /// What this node gets from it.
    pub gets: Vec<String>,
}

/// One direction of a flow.
struct Line {
    peer: String,
    what: String,
    rate: u64,
}

impl Flow {
    fn line(&self, rate: u64, things: &[String]) -> Option<Line> {
        if rate == 0 && things.is_empty() {
            return None;
        }
        let peer = match &self.name {
            Some(name) => cut(name),
            None => short(&self.peer_id),
        };
        let mut what: Vec<String> = things.iter().take(MAX_THINGS).map(|name| cut(name)).collect();
        if things.len() > MAX_THINGS {
            what.push(format!("{} more", things.len() - MAX_THINGS));
        }
        let what = if what.is_empty() {
            "content".to_owned()
        } else {
            what.join(", ")
        };
        Some(Line { peer, what, rate })
    }
}

/// The beginning of a text that has more than so many characters.
fn fitting(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

pub(crate) fn section(node: &str, flows: &[Flow]) -> Markup {
    let from: Vec<Line> = flows
        .iter()
        .filter_map(|flow| flow.line(flow.received, &flow.gets))
        .collect();
    let to: Vec<Line> = flows
        .iter()
        .filter_map(|flow| flow.line(flow.sent, &flow.gives))
        .collect();
    html! {
        section #flows aria-labelledby="flows-title" {
            h2 #flows-title { "Who serves what" }
            @if from.is_empty() && to.is_empty() {
                p { "Nothing goes between this node and others just now." }
            } @else {
                (picture(&cut(node), &from, &to))
                details #flows-table {
                    summary { "As a table" }
                    (table(&from, &to))
                }
            }
        }
    }
}

fn picture(node: &str, from: &[Line], to: &[Line]) -> Markup {
    let (left, right) = (&from[..from.len().min(MAX)], &to[..to.len().min(MAX)]);
    let rows = left.len().max(right.len()).max(1) as f64;
    let (body, centre) = (rows * ROW, HEAD + rows * ROW / 2.0);
    let has_more = from.len().max(to.len()) > MAX;
    let height = HEAD + body + if has_more { 24.0 } else { 0.0 };
    let most = from
        .iter()
        .chain(to)
        .map(|line| line.rate)
        .max()
        .unwrap_or_default();
    let (begin, end) = ((WIDTH - NODE.0) / 2.0, (WIDTH + NODE.0) / 2.0);
    let places = |count: usize| {
        (0..count).map(move |index| {
            let from_middle = index as f64 - (count as f64 - 1.0) / 2.0;
            let at_node = centre + from_middle * (NODE.1 - 24.0) / (count as f64).max(2.0);
            (centre + from_middle * ROW, at_node)
        })
    };
    html! {
        svg.flows viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-label=(described(node, from, to)) {
            @if !left.is_empty() { text.soft x=(COLUMN) y="16" text-anchor="end" { "serves " (fitting(node, MAX_NODE)) } }
            @if !right.is_empty() { text.soft x=(WIDTH - COLUMN) y="16" { "served by " (fitting(node, MAX_NODE)) } }
            @for (line, (row, at_node)) in left.iter().zip(places(left.len())) {
                (edge("received", (COLUMN + GAP, row), (begin - 4.0, at_node), width(line.rate, most)))
                (label(line, COLUMN, row, "end"))
            }
            @for (line, (row, at_node)) in right.iter().zip(places(right.len())) {
                (edge("sent", (end, at_node), (WIDTH - COLUMN - GAP, row), width(line.rate, most)))
                (label(line, WIDTH - COLUMN, row, "start"))
            }
            rect x=(begin) y=(centre - NODE.1 / 2.0) width=(NODE.0) height=(NODE.1) rx="10" {}
            text.peer x=(WIDTH / 2.0) y=(centre + 5.0) text-anchor="middle" { (fitting(node, MAX_NODE)) }
            @if from.len() > MAX { text.soft x=(COLUMN) y=(height - 6.0) text-anchor="end" { "and " (from.len() - MAX) " more" } }
            @if to.len() > MAX { text.soft x=(WIDTH - COLUMN) y=(height - 6.0) { "and " (to.len() - MAX) " more" } }
        }
    }
}

/// A line from one place to another, and the head of an arrow at its end.
fn edge(class: &str, (x, y): (f64, f64), (to_x, to_y): (f64, f64), width: f64) -> Markup {
    let head = 6.0 + width / 2.0;
    let (neck, middle) = (to_x - head, (x + to_x - head) / 2.0);
    html! {
        path class={ "line " (class) } stroke-width=(format!("{width:.1}"))
            d=(format!("M{x:.1} {y:.1}C{middle:.1} {y:.1} {middle:.1} {to_y:.1} {neck:.1} {to_y:.1}")) {}
        path class={ "head " (class) } d=(format!("M{neck:.1} {:.1}L{to_x:.1} {to_y:.1}L{neck:.1} {:.1}z", to_y - head, to_y + head)) {}
    }
}

/// Grows with the root of the rate: its area would grow with the rate, and slow ones stay seen.
fn width(rate: u64, most: u64) -> f64 {
    THIN + THICK * (rate as f64 / most.max(1) as f64).sqrt()
}

fn label(line: &Line, x: f64, y: f64, anchor: &str) -> Markup {
    html! {
        text.peer x=(x) y=(y - 14.0) text-anchor=(anchor) { (fitting(&line.peer, MAX_LABEL)) }
        text x=(x) y=(y + 5.0) text-anchor=(anchor) { (fitting(&line.what, MAX_LABEL)) }
        text.soft x=(x) y=(y + 24.0) text-anchor=(anchor) { (bytes(line.rate)) "/s" }
    }
}

/// The picture in words.
fn described(node: &str, from: &[Line], to: &[Line]) -> String {
    let gets = from.iter().take(MAX).map(|line| {
        format!(
            "{} serves {} to {node}, {}/s",
            line.peer,
            line.what,
            bytes(line.rate)
        )
    });
    let gives = to.iter().take(MAX).map(|line| {
        format!(
            "{node} serves {} to {}, {}/s",
            line.what,
            line.peer,
            bytes(line.rate)
        )
    });
    gets.chain(gives).collect::<Vec<_>>().join("; ")
}

fn table(from: &[Line], to: &[Line]) -> Markup {
    let row = |line: &Line, way: &str| {
        html! { tr { th scope="row" { (line.peer) } td { (way) } td { (line.what) } td { (bytes(line.rate)) "/s" } } }
    };
    html! {
        table {
            thead { tr { @for column in ["Peer", "Way", "Content", "Rate"] { th scope="col" { (column) } } } }
            tbody {
                @for line in from.iter().take(MAX) { (row(line, "serves this node")) }
                @for line in to.iter().take(MAX) { (row(line, "is served")) }
            }
        }
    }
}
