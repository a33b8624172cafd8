//! What each call takes, and what a caller has.
use axum::http::Method;
use cardume_api::Scope;

/// What a call takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    /// To see.
    Read,
    /// To share, get, forget and publish.
    Content,
    /// To open and close tunnels.
    Tunnels,
    /// To run jobs.
    Compute,
    /// To change connections and limits: operators at the socket, and tokens of administrators.
    Operate,
    /// All the rest.
    Admin,
}

/// What a call takes of whoever makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing: it is for who watches over the node.
    Nothing,
    /// A right.
    Right(Right),
}

impl Right {
    const fn bit(self) -> u8 {
        1 << self as u8
    }

    /// The scope of a token that gives this right.
    pub(crate) const fn scope(self) -> Scope {
        match self {
            Self::Read => Scope::Read,
            Self::Content => Scope::Content,
            Self::Tunnels => Scope::Tunnels,
            Self::Compute => Scope::Compute,
            Self::Operate | Self::Admin => Scope::Admin,
        }
    }

    /// Whether each change that takes it is written down.
    pub(crate) const fn is_audited(self) -> bool {
        matches!(self, Self::Tunnels | Self::Operate | Self::Admin)
    }
}

/// What a caller has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rights(u8);

impl Rights {
    /// Of root, the node's own user, and tokens of administrators.
    pub(crate) const ADMIN: Self = Self(u8::MAX);
    /// Of members of the socket's group.
    pub(crate) const OPERATOR: Self = Self(!Right::Admin.bit());
    pub(crate) const NONE: Self = Self(0);

    /// Of a token with these scopes.
    pub(crate) fn of(scopes: &[Scope]) -> Self {
        let bits = scopes.iter().map(|scope| match scope {
            Scope::Read => Right::Read.bit(),
            Scope::Content => Right::Content.bit(),
            Scope::Tunnels => Right::Tunnels.bit(),
            Scope::Compute => Right::Compute.bit(),
            Scope::Admin => Self::ADMIN.0,
        });
        Self(bits.fold(0, |all, bit| all | bit))
    }

    pub(crate) const fn has(self, right: Right) -> bool {
        self.0 & right.bit() != 0
    }
}

/// What the call of `method` to the route `path` takes; the most there is where nobody has said, and for what is not
/// there.
pub(crate) fn needed(method: &Method, path: &str) -> Need {
    let method = match *method {
        Method::HEAD => "GET",
        ref method => method.as_str(),
    };
    let row = ROUTES.iter().find(|row| row.0 == method && row.1 == path);
    row.map_or(Need::Right(Right::Admin), |row| row.2)
}

const NOTHING: Need = Need::Nothing;
const READ: Need = Need::Right(Right::Read);
const CONTENT: Need = Need::Right(Right::Content);
const TUNNELS: Need = Need::Right(Right::Tunnels);
const OPERATE: Need = Need::Right(Right::Operate);
const ADMIN: Need = Need::Right(Right::Admin);

/// Every route there is; a test holds it to the description of the API.
pub(crate) const ROUTES: &[(&str, &str, Need)] = &[
    ("GET", "/livez", NOTHING),
    ("GET", "/metrics", NOTHING),
    ("GET", "/readyz", NOTHING),
    ("DELETE", "/v1/blocked/{peer}", OPERATE),
    ("GET", "/v1/blocked", READ),
    ("PUT", "/v1/blocked/{peer}", OPERATE),
    ("GET", "/v1/channels", READ),
    ("GET", "/v1/channels/{channel}", READ),
    ("POST", "/v1/channels", ADMIN),
    ("POST", "/v1/channels/{channel}/versions", ADMIN),
    // There may be secrets in it, such as the URL of a webhook.
    ("GET", "/v1/config", OPERATE),
    ("GET", "/v1/config/plan", OPERATE),
    ("POST", "/v1/config/reload", ADMIN),
    ("GET", "/v1/content/{cid}", CONTENT),
    ("POST", "/v1/content", CONTENT),
    // It tells of paths and of the configuration, and dials.
    ("POST", "/v1/doctor", OPERATE),
    ("POST", "/v1/du", CONTENT),
    ("GET", "/v1/events", READ),
    ("POST", "/v1/fetches", CONTENT),
    ("DELETE", "/v1/files/{cid}", CONTENT),
    ("DELETE", "/v1/files/{cid}/pin", CONTENT),
    ("GET", "/v1/files", READ),
    ("POST", "/v1/files/{cid}/du", CONTENT),
    ("POST", "/v1/files/{cid}/repair", CONTENT),
    ("POST", "/v1/files/{cid}/verify", CONTENT),
    ("PUT", "/v1/files/{cid}/pin", CONTENT),
    ("GET", "/v1/follows", READ),
    ("PUT", "/v1/follows/{name}", ADMIN),
    ("POST", "/v1/gc", CONTENT),
    ("GET", "/v1/kad", READ),
    ("GET", "/v1/kad/peers/{peer}", READ),
    ("GET", "/v1/kad/providers/{cid}", READ),
    ("GET", "/v1/kad/records/{key}", READ),
    ("PUT", "/v1/kad/providers/{cid}", CONTENT),
    ("PUT", "/v1/kad/records/{key}", OPERATE),
    ("GET", "/v1/list/{cid}", CONTENT),
    // There may be anything in it that the node has met.
    ("GET", "/v1/log", OPERATE),
    ("GET", "/v1/log/stream", OPERATE),
    ("POST", "/v1/logins", READ),
    ("POST", "/v1/manifests", CONTENT),
    ("GET", "/v1/nat", READ),
    ("GET", "/v1/net/traffic", READ),
    ("GET", "/v1/openapi.json", READ),
    ("DELETE", "/v1/operations/{id}", CONTENT),
    ("GET", "/v1/operations", READ),
    ("GET", "/v1/operations/{id}", READ),
    ("DELETE", "/v1/peers/{peer}", OPERATE),
    ("GET", "/v1/peers", READ),
    ("GET", "/v1/peers/{peer}", READ),
    ("POST", "/v1/peers", OPERATE),
    ("POST", "/v1/peers/{peer}/ping", OPERATE),
    ("DELETE", "/v1/rates", OPERATE),
    ("GET", "/v1/rates", READ),
    ("PUT", "/v1/rates", OPERATE),
    ("GET", "/v1/rendezvous", READ),
    ("POST", "/v1/repair", CONTENT),
    ("POST", "/v1/roots", CONTENT),
    ("POST", "/v1/shares", CONTENT),
    ("GET", "/v1/stat/{cid}", CONTENT),
    ("GET", "/v1/status", READ),
    ("POST", "/v1/stop", ADMIN),
    ("DELETE", "/v1/tokens/{name}", ADMIN),
    ("GET", "/v1/tokens", ADMIN),
    ("POST", "/v1/tokens", ADMIN),
    ("POST", "/v1/tokens/{name}/rotate", ADMIN),
    ("GET", "/v1/topics", READ),
    ("GET", "/v1/topics/{topic}/messages", CONTENT),
    ("GET", "/v1/topics/{topic}/peers", READ),
    ("POST", "/v1/topics/{topic}/messages", CONTENT),
    ("DELETE", "/v1/tunnels/{name}", TUNNELS),
    ("GET", "/v1/tunnels", READ),
    ("POST", "/v1/tunnels", TUNNELS),
    ("POST", "/v1/verify", CONTENT),
    ("GET", "/v1/version", READ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_of_the_api_takes_something_and_nothing_else_does() {
        let described = serde_json::to_value(crate::openapi()).unwrap();
        let paths = described["paths"].as_object().unwrap().iter();
        let described: BTreeSet<(String, String)> = paths
            .flat_map(|(path, methods)| {
                let methods = methods.as_object().unwrap().keys();
                methods.map(|method| (method.to_uppercase(), path.clone()))
            })
            .collect();
        let known: BTreeSet<(String, String)> = ROUTES
            .iter()
            .map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned()))
            .collect();
        assert_eq!(known, described);
        assert_eq!(known.len(), ROUTES.len(), "a route is there twice");
    }

    #[test]
    fn nothing_but_numbers_is_for_everybody() {
        let open = ROUTES.iter().filter(|row| row.2 == Need::Nothing);
        let open: Vec<_> = open.map(|row| row.1).collect();
        assert_eq!(open, ["/livez", "/metrics", "/readyz"]);
        assert_eq!(needed(&Method::PATCH, "/livez"), ADMIN);
        assert_eq!(needed(&Method::GET, "/v1/forgotten"), ADMIN);
        assert_eq!(needed(&Method::HEAD, "/v1/content/{cid}"), CONTENT);
    }

    #[test]
    fn a_scope_gives_what_it_says_and_admin_gives_all() {
        let content = Rights::of(&[Scope::Content]);
        assert!(content.has(Right::Content) && !content.has(Right::Read) && !content.has(Right::Operate));
        let admin = Rights::of(&[Scope::Admin]);
        assert!(admin.has(Right::Admin) && admin.has(Right::Operate) && admin.has(Right::Read));
        assert!(Rights::OPERATOR.has(Right::Operate) && !Rights::OPERATOR.has(Right::Admin));
        assert!(!Rights::of(&[]).has(Right::Read));
    }
}
