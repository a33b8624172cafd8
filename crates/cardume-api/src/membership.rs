//! Who belongs to the network.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who may connect, and what this node has to show.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Membership {
    /// `open`, `listed` or `certified`.
    pub access: String,
    /// What this node shows to others; missing in a network that asks for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<MemberCertificate>,
    /// The newest lists of revocations that are known, one for each authority that has revoked something.
    #[serde(default)]
    pub revocations: Vec<Revocations>,
    /// Connections that were not let in since the start, by reason.
    #[serde(default)]
    pub refused: BTreeMap<String, u64>,
}

/// The certificate of a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemberCertificate {
    /// Its number.
    pub serial: String,
    /// The public key of who has signed it.
    pub authority: String,
    /// Groups that it puts its peer into.
    pub groups: Vec<String>,
    /// From when on it is valid, in seconds since 1970.
    pub from: u64,
    /// Until when, in seconds since 1970.
    pub until: u64,
    /// Whether it is time to have a new one signed.
    pub expires_soon: bool,
    /// Why no member lets this node in with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A list of revocations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Revocations {
    /// The public key of who has signed it.
    pub authority: String,
    /// Its number; the highest counts.
    pub number: u64,
    /// How many certificates and peers are revoked.
    pub entries: u64,
}
