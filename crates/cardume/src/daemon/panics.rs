//! A panic anywhere is a defect that ends the daemon: half a daemon is worse than none.
use std::panic;

use tokio_util::sync::CancellationToken;

/// Logs every panic, and cancels the token that is returned at the first one.
///
/// Takes the place of the default hook, whose words go to a stderr that may be closed.
pub(super) fn watch() -> CancellationToken {
    let panicked = CancellationToken::new();
    let token = panicked.clone();
    panic::set_hook(Box::new(move |info| {
        let payload = info.payload();
        let message = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        tracing::error!(
            place,
            thread,
            "panicked, which is a defect of cardume: {message:?}"
        );
        token.cancel();
    }));
    panicked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_any_thread_is_noticed() {
        let panicked = watch();
        assert!(!panicked.is_cancelled());
        let thread = std::thread::spawn(|| panic!("a defect"));
        assert!(thread.join().is_err());
        assert!(panicked.is_cancelled());
        drop(panic::take_hook());
    }
}
