//! Tokens: made, shown once, kept as hashes, taken back.
mod file;

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cardume_api::{Code, IssuedToken, NewToken, Scope, Token};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

pub use self::file::TokenFileError;
use crate::{
    problem::{Refused, Result},
    rights::Rights,
    secret::{self, Hash},
};

/// Tokens at once. Every attempt is compared with all of them.
const MAX_TOKENS: usize = 64;
/// Bytes of a name.
const MAX_NAME: usize = 64;
/// What a secret begins with, so that one is found where it does not belong.
const PREFIX: &str = "cardume_";

/// A token as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Row {
    name: String,
    scopes: Vec<Scope>,
    hash: Hash,
    created: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    /// The secret of before the last rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<Previous>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Previous {
    hash: Hash,
    until: u64,
}

#[derive(Debug)]
struct Entry {
    row: Row,
    /// When it was last used, in seconds since 1970; 0 for not yet.
    used: AtomicU64,
    /// Cancelled when it is taken back, or has another secret.
    ended: CancellationToken,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

/// Whom a secret belongs to.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) name: Arc<str>,
    pub(crate) rights: Rights,
    /// For how long it is good; for ever, if none.
    pub(crate) left: Option<Duration>,
    /// Cancelled when it is taken back, or has another secret.
    pub(crate) ended: CancellationToken,
}

/// The tokens of a node. What is answered to have been done is on the disk.
#[derive(Debug)]
pub(crate) struct Tokens {
    path: PathBuf,
    entries: RwLock<Arc<Vec<Arc<Entry>>>>,
    /// Held while the file is written, which readers do not wait for.
    changing: Mutex<()>,
}

impl Tokens {
    /// Reads the tokens that the file at `path` has; none, if there is no file. Blocks.
    pub(crate) fn open(path: PathBuf) -> Result<Self, TokenFileError> {
        let rows = file::read(&path)?
            .into_iter()
            .map(|row| Arc::new(Entry::new(row)));
        Ok(Self {
            path,
            entries: RwLock::new(Arc::new(rows.collect())),
            changing: Mutex::default(),
        })
    }

    /// Whose secret this is; none when it is nobody's, or is over.
    pub(crate) fn check(&self, secret: &str) -> Option<Known> {
        let (hash, now) = (Hash::of(secret), now());
        let mut found = None;
        // All of them are looked at, so that the time tells nothing about which it was.
        for entry in self.entries().iter() {
            let is_current = bool::from(entry.row.hash.is(&hash));
            let previous = entry.row.previous.as_ref();
            let was = previous.filter(|previous| bool::from(previous.hash.is(&hash)));
            let until = match (is_current, was) {
                (true, _) => entry.row.expires,
                (false, Some(previous)) => Some(
                    entry
                        .row
                        .expires
                        .map_or(previous.until, |expires| expires.min(previous.until)),
                ),
                (false, None) => continue,
            };
            if until.is_none_or(|until| now < until) {
                found = Some((entry.clone(), until));
            }
        }
        let (entry, until) = found?;
        entry.used.store(now, Ordering::Relaxed);
        Some(Known {
            name: entry.row.name.as_str().into(),
            rights: Rights::of(&entry.row.scopes),
            left: until.map(|until| Duration::from_secs(until.saturating_sub(now))),
            ended: entry.ended.clone(),
        })
    }

    /// The tokens there are, by name.
    pub(crate) fn list(&self) -> Vec<Token> {
        let mut all: Vec<Token> = self.entries().iter().map(|entry| entry.told()).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Makes a token. Blocks.
    ///
    /// # Errors
    /// `usage`, `conflict`, `limit`, or what the disk says.
    pub(crate) fn issue(&self, new: NewToken) -> Result<IssuedToken> {
        check_name(&new.name)?;
        let mut scopes = new.scopes;
        scopes.sort_unstable();
        scopes.dedup();
        if scopes.is_empty() {
            return Err(Refused::usage("a token without a scope is good for nothing"));
        }
        let created = now();
        let expires = new.expires_s.map(|seconds| created.saturating_add(seconds));
        let secret = secret::random(PREFIX).map_err(random_failed)?;
        let row = Row {
            name: new.name,
            scopes,
            hash: Hash::of(&secret),
            created,
            expires,
            previous: None,
        };
        let token = self.change(|entries| {
            // Those that are over make room, and names.
            entries.retain(|entry| entry.row.expires.is_none_or(|expires| created < expires));
            if entries.iter().any(|entry| entry.row.name == row.name) {
                let detail = format!("there is a token {:?}; rotate or revoke it", row.name);
                return Err(Refused::new(Code::Conflict, detail));
            }
            if entries.len() >= MAX_TOKENS {
                let detail = format!("there are {MAX_TOKENS} tokens; revoke one");
                return Err(Refused::new(Code::Limit, detail));
            }
            let entry = Arc::new(Entry::new(row));
            let told = entry.told();
            entries.push(entry);
            Ok(told)
        })?;
        Ok(IssuedToken { token, secret })
    }

    /// Gives a token another secret; that of before is taken for `grace` seconds more. Blocks.
    ///
    /// # Errors
    /// `not_found`, or what the disk says.
    pub(crate) fn rotate(&self, name: &str, grace: u64) -> Result<IssuedToken> {
        let secret = secret::random(PREFIX).map_err(random_failed)?;
        let token = self.change(|entries| {
            let entry = entries.iter_mut().find(|entry| entry.row.name == name);
            let entry = entry.ok_or_else(|| unknown(name))?;
            let previous = (grace > 0).then(|| Previous {
                hash: entry.row.hash,
                until: now().saturating_add(grace),
            });
            let row = Row {
                hash: Hash::of(&secret),
                previous,
                ..entry.row.clone()
            };
            *entry = Arc::new(Entry::new(row));
            Ok(entry.told())
        })?;
        Ok(IssuedToken { token, secret })
    }

    /// Takes a token back. Blocks.
    ///
    /// # Errors
    /// `not_found`, or what the disk says.
    pub(crate) fn revoke(&self, name: &str) -> Result<()> {
        self.change(|entries| {
            let place = entries.iter().position(|entry| entry.row.name == name);
            entries.remove(place.ok_or_else(|| unknown(name))?);
            Ok(())
        })
    }

    /// Has the change on the disk before anybody sees it.
    fn change<T>(&self, change: impl FnOnce(&mut Vec<Arc<Entry>>) -> Result<T>) -> Result<T> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut entries = Vec::clone(&self.entries());
        let done = change(&mut entries)?;
        let rows: Vec<&Row> = entries.iter().map(|entry| &entry.row).collect();
        file::write(&self.path, &rows).map_err(|error| Refused::new(Code::Failed, error.to_string()))?;
        *self.entries.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(entries);
        Ok(done)
    }

    fn entries(&self) -> Arc<Vec<Arc<Entry>>> {
        self.entries
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Entry {
    fn new(row: Row) -> Self {
        Self {
            row,
            used: AtomicU64::new(0),
            ended: CancellationToken::new(),
        }
    }

    fn told(&self) -> Token {
        let used = self.used.load(Ordering::Relaxed);
        let until = self.row.previous.as_ref().map(|previous| previous.until);
        Token {
            name: self.row.name.clone(),
            scopes: self.row.scopes.clone(),
            created: self.row.created,
            expires: self.row.expires,
            previous_until: until.filter(|&until| now() < until),
            used: (used > 0).then_some(used),
        }
    }
}

fn check_name(name: &str) -> Result<()> {
    let is_fine = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    if (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_fine) {
        return Ok(());
    }
    Err(Refused::usage(format!(
        "the name of a token is 1 to {MAX_NAME} of the characters a-z, A-Z, 0-9, ., _ and -"
    )))
}

fn unknown(name: &str) -> Refused {
    Refused::not_found(format!("no token is called {name:?}"))
}

#[expect(clippy::needless_pass_by_value, reason = "handed to map_err")]
fn random_failed(error: std::io::Error) -> Refused {
    Refused::new(Code::Failed, format!("the system has no random numbers: {error}"))
}

fn now() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    since_1970.unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rights::Right;

    fn new(name: &str, expires_s: Option<u64>) -> NewToken {
        NewToken {
            name: name.into(),
            scopes: vec![Scope::Content, Scope::Read, Scope::Read],
            expires_s,
        }
    }

    fn opened() -> (tempfile::TempDir, Tokens) {
        let directory = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(directory.path().join("tokens")).unwrap();
        (directory, tokens)
    }

    #[test]
    fn a_token_is_known_after_a_restart_and_its_secret_is_nowhere() {
        use std::os::unix::fs::MetadataExt;
        let (directory, tokens) = opened();
        let issued = tokens.issue(new("ci", None)).unwrap();
        assert_eq!(issued.token.scopes, [Scope::Read, Scope::Content]);
        let path = directory.path().join("tokens");
        assert!(!std::fs::read_to_string(&path).unwrap().contains(&issued.secret));
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let again = Tokens::open(path).unwrap();
        let known = again.check(&issued.secret).unwrap();
        assert_eq!((&*known.name, known.left), ("ci", None));
        assert!(known.rights.has(Right::Content) && !known.rights.has(Right::Admin));
        assert!(again.check("cardume_nonsense").is_none());
        assert!(again.list()[0].used.is_some());
    }

    #[test]
    fn a_token_that_is_over_or_taken_back_is_nobodys() {
        let (_directory, tokens) = opened();
        let over = tokens.issue(new("over", Some(0))).unwrap();
        assert!(tokens.check(&over.secret).is_none());
        let other = tokens.issue(new("other", Some(60))).unwrap();
        assert!(tokens.check(&other.secret).unwrap().left.unwrap().as_secs() <= 60);
        // Its name is free again.
        tokens.issue(new("over", None)).unwrap();
        let ended = tokens.check(&other.secret).unwrap().ended;
        tokens.revoke("other").unwrap();
        assert!(ended.is_cancelled());
        assert!(tokens.check(&other.secret).is_none());
        assert_eq!(tokens.revoke("other").unwrap_err().0.code, Code::NotFound);
    }

    #[test]
    fn the_secret_of_before_is_taken_for_the_grace_and_no_longer() {
        let (_directory, tokens) = opened();
        let first = tokens.issue(new("ci", None)).unwrap();
        let second = tokens.rotate("ci", 60).unwrap();
        assert!(tokens.check(&first.secret).unwrap().left.unwrap().as_secs() <= 60);
        assert!(second.token.previous_until.is_some());
        let third = tokens.rotate("ci", 0).unwrap();
        assert!(tokens.check(&first.secret).is_none());
        assert!(tokens.check(&second.secret).is_none());
        assert!(tokens.check(&third.secret).is_some());
    }

    #[test]
    fn there_is_one_of_each_name_and_an_end_to_them() {
        let (_directory, tokens) = opened();
        tokens.issue(new("0", None)).unwrap();
        let code = |result: Result<IssuedToken>| result.unwrap_err().0.code;
        assert_eq!(code(tokens.issue(new("0", None))), Code::Conflict);
        for name in ["", "a b", "../x", &"x".repeat(65)] {
            assert_eq!(code(tokens.issue(new(name, None))), Code::Usage, "{name}");
        }
        let nothing = NewToken {
            scopes: vec![],
            ..new("nothing", None)
        };
        assert_eq!(code(tokens.issue(nothing)), Code::Usage);
        for name in 1..MAX_TOKENS {
            tokens.issue(new(&name.to_string(), None)).unwrap();
        }
        assert_eq!(code(tokens.issue(new("more", None))), Code::Limit);
    }
}
