//! Browsers that are logged in, and the codes by which they come in.
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use crate::{
    caller::Who,
    rights::Rights,
    secret::{self, Hash},
    tokens::Known,
};

/// Time to follow the address that `cardume open` prints.
pub(crate) const CODE_LIFE: Duration = Duration::from_secs(60);
/// Time after which a browser has to log in again: a working day.
pub(crate) const SESSION_LIFE: Duration = Duration::from_secs(12 * 60 * 60);
/// Codes that nobody has followed yet; the oldest gives way.
const MAX_CODES: usize = 16;
/// Sessions at once; the oldest of whoever has most gives way.
const MAX_SESSIONS: usize = 32;

/// Browsers that are logged in, and those that are about to.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    codes: Vec<Code>,
    sessions: Vec<Session>,
}

#[derive(Debug)]
struct Code {
    hash: Hash,
    bearer: Bearer,
    until: Instant,
}

#[derive(Debug)]
struct Session {
    hash: Hash,
    bearer: Bearer,
    until: Instant,
    ended: CancellationToken,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

/// As whom a browser is logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bearer {
    pub(crate) who: Who,
    pub(crate) rights: Rights,
}

impl From<Known> for Bearer {
    fn from(known: Known) -> Self {
        Self {
            who: Who::Token(known.name),
            rights: known.rights,
        }
    }
}

/// A session that goes on.
#[derive(Debug, Clone)]
pub(crate) struct Current {
    pub(crate) bearer: Bearer,
    pub(crate) left: Duration,
    /// Cancelled when it ends before its time.
    pub(crate) ended: CancellationToken,
}

impl Sessions {
    /// Makes a code that is good once, for [`CODE_LIFE`].
    pub(crate) fn invite(&self, bearer: Bearer, now: Instant) -> std::io::Result<String> {
        let code = secret::random("")?;
        let mut inner = self.current(now);
        if inner.codes.len() >= MAX_CODES {
            inner.codes.remove(0);
        }
        inner.codes.push(Code {
            hash: Hash::of(&code),
            bearer,
            until: now + CODE_LIFE,
        });
        Ok(code)
    }

    /// Whom a code was made for. It is good no more.
    pub(crate) fn redeem(&self, code: &str, now: Instant) -> Option<Bearer> {
        let hash = Hash::of(code);
        let mut inner = self.current(now);
        let place = inner
            .codes
            .iter()
            .position(|code| bool::from(code.hash.is(&hash)))?;
        Some(inner.codes.remove(place).bearer)
    }

    /// Begins a session of at most `life`; the answer is its secret.
    pub(crate) fn begin(
        &self,
        bearer: Bearer,
        life: Option<Duration>,
        now: Instant,
    ) -> std::io::Result<String> {
        let secret = secret::random("")?;
        let mut inner = self.current(now);
        if inner.sessions.len() >= MAX_SESSIONS {
            let of = |who: &Who| {
                inner
                    .sessions
                    .iter()
                    .filter(|session| session.bearer.who == *who)
                    .count()
            };
            let mut most = (0, 0);
            for (place, session) in inner.sessions.iter().enumerate() {
                let count = of(&session.bearer.who);
                if count > most.0 {
                    most = (count, place);
                }
            }
            inner.sessions.remove(most.1);
        }
        inner.sessions.push(Session {
            hash: Hash::of(&secret),
            bearer,
            until: now + life.unwrap_or(SESSION_LIFE).min(SESSION_LIFE),
            ended: CancellationToken::new(),
        });
        Ok(secret)
    }

    /// The session with this secret.
    pub(crate) fn find(&self, secret: &str, now: Instant) -> Option<Current> {
        let hash = Hash::of(secret);
        let inner = self.current(now);
        let found = inner
            .sessions
            .iter()
            .find(|session| bool::from(session.hash.is(&hash)))?;
        Some(Current {
            bearer: found.bearer.clone(),
            left: found.until.saturating_duration_since(now),
            ended: found.ended.clone(),
        })
    }

    /// Ends the session with this secret.
    pub(crate) fn end(&self, secret: &str, now: Instant) {
        let hash = Hash::of(secret);
        self.current(now)
            .sessions
            .retain(|session| !bool::from(session.hash.is(&hash)));
    }

    /// Ends all that was logged in with a token.
    pub(crate) fn end_of_token(&self, name: &str, now: Instant) {
        let mut inner = self.current(now);
        inner
            .sessions
            .retain(|session| !session.bearer.who.is_token(name));
    }

    /// Whether nobody is logged in, nor about to.
    pub(crate) fn is_empty(&self, now: Instant) -> bool {
        let inner = self.current(now);
        inner.codes.is_empty() && inner.sessions.is_empty()
    }

    /// What there is, without what is over.
    fn current(&self, now: Instant) -> MutexGuard<'_, Inner> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.codes.retain(|code| now < code.until);
        inner.sessions.retain(|session| now < session.until);
        inner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(who: Who) -> Bearer {
        Bearer {
            who,
            rights: Rights::NONE,
        }
    }

    #[test]
    fn a_code_is_good_once_and_for_a_minute() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let code = sessions.invite(bearer(Who::User(0)), now).unwrap();
        assert_eq!(sessions.redeem("nonsense", now), None);
        assert_eq!(sessions.redeem(&code, now), Some(bearer(Who::User(0))));
        assert_eq!(sessions.redeem(&code, now), None);
        let late = sessions.invite(bearer(Who::User(0)), now).unwrap();
        assert!(!sessions.is_empty(now));
        assert_eq!(sessions.redeem(&late, now + CODE_LIFE), None);
        assert!(sessions.is_empty(now + CODE_LIFE));
    }

    #[test]
    fn a_session_ends_at_its_time_when_it_is_left_or_with_its_token() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let begin = |who, life| sessions.begin(bearer(who), life, now).unwrap();
        let (short, long) = (Duration::from_secs(9), SESSION_LIFE * 2);
        let of_token = begin(Who::Token("ci".into()), Some(short));
        let of_user = begin(Who::User(0), Some(long));
        assert!(sessions.find(&of_token, now).is_some());
        assert!(sessions.find(&of_token, now + short).is_none());
        assert!(sessions.find(&of_user, now + SESSION_LIFE - short).is_some());
        assert!(sessions.find(&of_user, now + SESSION_LIFE).is_none());
        let (of_token, of_user) = (begin(Who::Token("ci".into()), None), begin(Who::User(0), None));
        let ended = sessions.find(&of_token, now).unwrap().ended;
        sessions.end_of_token("other", now);
        assert!(!ended.is_cancelled());
        sessions.end_of_token("ci", now);
        assert!(ended.is_cancelled() && sessions.find(&of_token, now).is_none());
        sessions.end(&of_user, now);
        assert!(sessions.find(&of_user, now).is_none() && sessions.is_empty(now));
    }

    #[test]
    fn whoever_has_most_sessions_loses_one_when_there_are_too_many() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let owner = sessions.begin(bearer(Who::User(0)), None, now).unwrap();
        for _ in 0..100 {
            sessions
                .begin(bearer(Who::Token("greedy".into())), None, now)
                .unwrap();
            sessions.invite(bearer(Who::User(0)), now).unwrap();
        }
        assert!(sessions.find(&owner, now).is_some());
        let inner = sessions.current(now);
        assert_eq!(
            (inner.sessions.len(), inner.codes.len()),
            (MAX_SESSIONS, MAX_CODES)
        );
    }
}
