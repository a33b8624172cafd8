//! What the node has.
use cardume_api::File;
use cardume_content::Kind;
use maud::{Markup, html};

use crate::text::{bytes, cut};

/// Files that are shown, the newest first; the command line has all of them.
const MAX: usize = 100;

pub(crate) fn section(files: &[File]) -> Markup {
    let mut newest: Vec<_> = files.iter().collect();
    newest.sort_by_key(|file| std::cmp::Reverse(file.added));
    html! {
        section #files aria-labelledby="files-title" {
            h2 #files-title { "Files" }
            @if files.is_empty() {
                p { "Nothing is shared or fetched." }
            } @else {
                ul.rows { @for file in newest.iter().take(MAX) { (row(file)) } }
                @if files.len() > MAX { p { "And " (files.len() - MAX) " more: " code { "cardume file ls" } } }
            }
        }
    }
}

fn row(file: &File) -> Markup {
    let name = cut(&file.name);
    let count = match file.files {
        1 => String::new(),
        count => format!("{count} files, "),
    };
    html! {
        li id={ "file-" (file.cid) } {
            span.what {
                @if file.cid.kind() == Kind::Blob {
                    a href={ "/v1/content/" (file.cid) } download=(name) { (name) }
                } @else {
                    (name)
                }
            }
            span { (count) (bytes(file.size)) }
            @if let Some(allow) = &file.allow { span { "for " (cut(&allow.join(", "))) } }
            button type="button" data-copy=(file.link) aria-label={ "Copy link of " (name) } { "Copy link" }
            details id={ "qr-" (file.cid) } {
                summary aria-label={ "QR code of the link of " (name) } { "QR" }
                img src={ "/page/qr/" (file.cid) } loading="lazy" width="240" height="240" alt={ "QR code with the link of " (name) };
            }
        }
    }
}
