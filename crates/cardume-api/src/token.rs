//! Tokens: who may call over TCP, and for what.
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// To see how the node is, what it has and whom it knows.
    Read,
    /// To share, get and forget content, and to publish on topics.
    Content,
    /// To open and close tunnels.
    Tunnels,
    /// To run jobs.
    Compute,
    /// All of that, and to change connections, limits, channels, tokens and the configuration, and to stop the node.
    Admin,
}

impl Scope {
    /// Every scope there is.
    pub const ALL: [Self; 5] = [
        Self::Read,
        Self::Content,
        Self::Tunnels,
        Self::Compute,
        Self::Admin,
    ];

    /// Its stable text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Content => "content",
            Self::Tunnels => "tunnels",
            Self::Compute => "compute",
            Self::Admin => "admin",
        }
    }
}

impl std::str::FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|scope| scope.as_str() == text);
        found.ok_or_else(|| {
            let all = Self::ALL.map(Self::as_str).join(", ");
            format!("no scope is called {text:?}; there are {all}")
        })
    }
}

/// What is known of a token. Its secret is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// What it is called.
    pub name: String,
    /// What it is good for.
    pub scopes: Vec<Scope>,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// When it ends, in seconds since 1970; never, if none.
    pub expires: Option<u64>,
    /// Until when its secret of before the last rotation is taken too, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_until: Option<u64>,
    /// When it was last used since the node was started, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
}

/// A token to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What it is called: 1 to 64 of the characters a-z, A-Z, 0-9, `.`, `_` and `-`.
    pub name: String,
    /// What it is good for.
    pub scopes: Vec<Scope>,
    /// Seconds until it ends; never, if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_s: Option<u64>,
}

/// How a token gets another secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NewSecret {
    /// Seconds for which the secret of before is still taken.
    pub grace_s: u64,
}

/// A token, and its secret: the only time that it is told.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IssuedToken {
    /// What is known of it.
    pub token: Token,
    /// What goes into `Authorization: Bearer …`.
    pub secret: String,
}

impl std::fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuedToken")
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

/// Where a browser logs in, once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Login {
    /// An address for a browser on the node's machine. Whoever visits it first is logged in.
    pub url: String,
    /// Seconds for which it is good.
    pub expires_s: u64,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("expires_s", &self.expires_s)
            .finish_non_exhaustive()
    }
}
