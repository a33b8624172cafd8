//! `[control]`
use cardume_node::Config;

use super::Findings;

/// Bytes of a socket's path (`sun_path` of `unix(7)`), less its end, and less the name under which it is made.
const MAX_SOCKET_PATH: usize = 90;
/// Names of a host, at most; every request is held against all of them.
const MAX_HOSTS: usize = 64;

pub(super) fn check(config: &Config, found: &mut Findings) {
    let control = &config.control;
    if let Some(listen) = &control.listen {
        if let Err(error) = listen.check() {
            found.add(&["control", "listen"], error.to_string(), None);
        }
        let length = listen.socket().map_or(0, |path| path.as_os_str().len());
        if length > MAX_SOCKET_PATH {
            let reason =
                format!("the path has {length} bytes, and that of a socket at most {MAX_SOCKET_PATH}");
            found.add(&["control", "listen"], reason, None);
        }
    }
    let path = ["control", "hosts"];
    if control.hosts.len() > MAX_HOSTS {
        found.add(&path, format!("there are more than {MAX_HOSTS}"), None);
    }
    for host in &control.hosts {
        let is_of_names = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if host.is_empty() || host.len() > 253 || !host.chars().all(is_of_names) {
            let hint = Some("write the name alone, such as node.example");
            found.add(&path, format!("{host:?} is no name of a host"), hint);
        }
    }
}
