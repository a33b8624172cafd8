//! The last lines of the log; the script fills them in as they come.
use maud::{Markup, html};

pub(crate) fn section() -> Markup {
    html! {
        section #log aria-labelledby="log-title" {
            h2 #log-title { "Log" }
            // Read aloud line by line it would drown all else.
            div #lines role="log" aria-live="off" aria-labelledby="log-title" tabindex="0" {}
            p.soft { "The last lines, as the node keeps them in memory." }
        }
    }
}
