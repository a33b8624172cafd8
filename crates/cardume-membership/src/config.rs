//! `[network]`

/// Which network the node belongs to, and who else does.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Part of every protocol id of ours: two networks never mix.
    pub id: String,
    /// Who may connect.
    pub access: Access,
}

/// Who may connect.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Everybody.
    #[default]
    Open,
    /// Peers in `[peer.*]`; nobody else, whoever dials.
    Listed,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            id: "main".into(),
            access: Access::Open,
        }
    }
}
