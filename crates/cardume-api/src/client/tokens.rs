//! Tokens, and logins of browsers.
use reqwest::Method;

use super::{Client, ClientError};
use crate::{IssuedToken, Login, NewSecret, NewToken, Token};

impl Client {
    /// The tokens that the node takes over TCP.
    ///
    /// # Errors
    /// `denied` unless the caller is an administrator.
    pub async fn tokens(&self) -> Result<Vec<Token>, ClientError> {
        self.get(&["v1", "tokens"]).await
    }

    /// Makes a token; its secret is told only now.
    ///
    /// # Errors
    /// `conflict` when there is one of that name, `limit` when there are too many.
    pub async fn new_token(&self, new: &NewToken) -> Result<IssuedToken, ClientError> {
        self.post(&["v1", "tokens"], new).await
    }

    /// Gives a token another secret.
    ///
    /// # Errors
    /// `not_found` when there is none of that name.
    pub async fn rotate_token(&self, name: &str, how: &NewSecret) -> Result<IssuedToken, ClientError> {
        self.post(&["v1", "tokens", name, "rotate"], how).await
    }

    /// Takes a token back, and ends what was logged in with it.
    ///
    /// # Errors
    /// `not_found` when there is none of that name.
    pub async fn revoke_token(&self, name: &str) -> Result<(), ClientError> {
        self.done(Method::DELETE, &["v1", "tokens", name]).await
    }

    /// Lets a browser on the node's machine log in, once, as this caller.
    ///
    /// # Errors
    /// `denied` over TCP.
    pub async fn login(&self) -> Result<Login, ClientError> {
        self.json(self.request(Method::POST, &["v1", "logins"])).await
    }
}
