//! What a node shows in a browser.
//!
//! Makes HTML of the words of the control API, and has the style and the script that go with it. It asks no node and
//! serves nothing: whoever serves the page hands in what the API says, and sends [`POLICY`] with it.
//!
//! # Invariants
//!
//! * Whatever peers call themselves and their content is text: it is escaped, and cut where it is long.
//! * The page works with [`POLICY`]: no script, style or connection but from its own origin, and none inline.
mod doctor;
mod files;
mod log;
mod node;
mod peers;
mod picture;
mod text;
mod topics;
mod tunnels;
mod work;

use std::collections::BTreeMap;

use cardume_api::{Diagnosis, File, Operation, Peer, Status, Topic, Tunnel};
use cardume_content::Cid;
use maud::{DOCTYPE, Markup, html};

pub use self::picture::Flow;

/// The content security policy that every answer of the page has.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The style, in CSS.
pub const STYLE: &str = include_str!("../assets/page.css");
/// The script, an ES module.
pub const SCRIPT: &str = include_str!("../assets/page.js");
/// The icon, in SVG.
pub const ICON: &str = include_str!("../assets/page.svg");

/// What there is to see, and what the one who looks may do.
#[derive(Debug, Clone)]
pub struct View {
    /// How the node is.
    pub status: Status,
    /// Peers connected.
    pub peers: Vec<Peer>,
    /// Operations that have ended lately, then those that run.
    pub operations: Vec<Operation>,
    /// The roots of the store.
    pub files: Vec<File>,
    /// Topics that the node or a peer is subscribed to.
    pub topics: Vec<Topic>,
    /// Services of this host for peers, and of peers for this host.
    pub tunnels: Vec<Tunnel>,
    /// What the node calls content that it has or gets.
    pub names: BTreeMap<Cid, String>,
    /// What goes between the node and its peers, the fastest first.
    pub flows: Vec<Flow>,
    /// What the doctor has found last, and how many seconds ago.
    pub diagnosis: Option<(Diagnosis, u64)>,
    /// Whether content may be got and shared.
    pub may_change: bool,
    /// Whether the doctor may be asked, and the log be read.
    pub may_operate: bool,
}

/// The whole page.
pub fn page(view: &View) -> String {
    let name = text::cut(&view.status.name);
    let body = html! {
        header {
            h1 { (name) }
            form action="/logout" method="post" { button type="submit" { "Log out" } }
        }
        main #live {
            p #said role="status" {}
            @if view.may_change { (forms()) }
            (plot())
            (sections(view))
            @if view.may_operate { (log::section()) }
        }
    };
    document(&name, &body).into_string()
}

/// What changes of the page while it is looked at: its sections.
pub fn live(view: &View) -> String {
    sections(view).into_string()
}

/// A form that takes a token, for who is not logged in; `problem` says why the last one was not taken.
pub fn login(node: &str, problem: Option<&str>) -> String {
    let name = text::cut(node);
    let body = html! {
        header { h1 { (name) } }
        main {
            section aria-labelledby="login" {
                h2 #login { "Log in" }
                p { "On the node's own machine, " code { "cardume open" } " does it. Elsewhere it takes a token: "
                    code { "cardume token new NAME --scope read,content" } }
                @if let Some(problem) = problem { p.problem role="alert" { (problem) } }
                form action="/login" method="post" {
                    label for="token" { "Token" }
                    input #token name="token" type="password" autocomplete="current-password" required;
                    button type="submit" { "Log in" }
                }
            }
        }
    };
    document(&name, &body).into_string()
}

/// A link as a picture for a camera; none if it is too long for one.
pub fn qr(link: &str) -> Option<String> {
    let code = qrcode::QrCode::new(link).ok()?;
    let colour = qrcode::render::svg::Color;
    let mut picture = code.render();
    picture.dark_color(colour("#000")).light_color(colour("#fff"));
    Some(picture.min_dimensions(240, 240).build())
}

fn document(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="same-origin";
                title { (title) " · cardume" }
                link rel="icon" type="image/svg+xml" href="/page.svg";
                link rel="stylesheet" href="/page.css";
                script type="module" src="/page.js" {}
            }
            body { (body) }
        }
    }
}

/// What the one who looks can do; not part of what is replaced while it is looked at.
fn forms() -> Markup {
    html! {
        div.forms {
            form #get aria-labelledby="get-title" {
                h2 #get-title { "Get" }
                label for="link" { "Link or CID" }
                input #link name="link" required autocomplete="off" spellcheck="false" placeholder="cardume:bafkr4i…";
                button type="submit" { "Get" }
            }
            form #share aria-labelledby="share-title" {
                h2 #share-title { "Share" }
                label for="file" { "Files; or drop them here" }
                input #file name="file" type="file" multiple;
                progress #sending max="1" value="0" hidden aria-label="Sent to the node" {}
            }
        }
    }
}

/// Where the script draws how fast content goes.
fn plot() -> Markup {
    html! {
        figure {
            svg #plot viewBox="0 0 600 80" preserveAspectRatio="none" role="img" aria-label="Content sent and received in the last minutes" {
                polyline.sent points="" {}
                polyline.received points="" {}
            }
            figcaption { span.sent { "sent" } " " span.received { "received" } " " span #most {} }
        }
    }
}

fn sections(view: &View) -> Markup {
    html! {
        (node::section(&view.status))
        (picture::section(&view.status.name, &view.flows))
        (work::section(&view.operations, &view.names, view.may_change))
        (peers::section(&view.peers))
        (files::section(&view.files))
        (topics::section(&view.topics, &view.status.follows))
        (tunnels::section(&view.tunnels))
        @if view.may_operate { (doctor::section(view.diagnosis.as_ref())) }
    }
}

#[cfg(test)]
mod tests;
