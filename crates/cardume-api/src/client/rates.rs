//! How fast content may go.
use reqwest::{Method, header::CONTENT_TYPE};

use super::{Client, ClientError};
use crate::{NewRates, Rates};

impl Client {
    /// How fast content may go, and how fast it goes.
    ///
    /// # Errors
    /// When the daemon cannot be asked.
    pub async fn rates(&self) -> Result<Rates, ClientError> {
        self.get(&["v1", "rates"]).await
    }

    /// Replaces all limits, for a time or until restart.
    ///
    /// # Errors
    /// `usage` when one of them is too low to be kept.
    pub async fn set_rates(&self, rates: &NewRates) -> Result<Rates, ClientError> {
        let body = serde_json::to_vec(rates).map_err(|error| ClientError::Unsendable(error.to_string()))?;
        let request = self
            .request(Method::PUT, &["v1", "rates"])
            .header(CONTENT_TYPE, "application/json")
            .body(body);
        self.json(request).await
    }

    /// Goes back to what the configuration says.
    ///
    /// # Errors
    /// When the daemon cannot be asked.
    pub async fn reset_rates(&self) -> Result<Rates, ClientError> {
        self.json(self.request(Method::DELETE, &["v1", "rates"])).await
    }
}
