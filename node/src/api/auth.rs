//! Who may use the API.

use std::{collections::BTreeMap, fmt};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, Method, header};

use super::token;

const BASIC: HeaderValue = HeaderValue::from_static(r#"Basic realm="Restricted IPFS Cluster API""#);
const BEARER: HeaderValue =
    HeaderValue::from_static(r#"Bearer realm="Restricted IPFS Cluster API""#);
const BAD_TOKEN: HeaderValue = HeaderValue::from_static(
    r#"Bearer realm="Restricted IPFS Cluster API", error="invalid_token""#,
);

/// Users and their passwords; none means that everybody may.
#[derive(Clone, Default)]
pub struct Credentials(BTreeMap<String, String>);

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} users", self.0.len())
    }
}

impl Credentials {
    /// These users.
    #[must_use]
    pub fn new(users: BTreeMap<String, String>) -> Self {
        Self(users)
    }

    /// Who sends a request, or that it is refused. Without users anybody may; preflights and the
    /// liveness check are for all.
    pub(crate) fn judge(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        now: u64,
    ) -> Result<Option<String>, Refused> {
        let open = method == Method::OPTIONS || (method == Method::GET && path == "/health");
        if self.0.is_empty() || open {
            return Ok(None);
        }
        let given = headers
            .get(header::AUTHORIZATION)
            .map(HeaderValue::as_bytes);
        let (scheme, value) = split(given.unwrap_or_default());
        if scheme.eq_ignore_ascii_case(b"basic") {
            return match self.user_of(value) {
                Some(user) => Ok(Some(user)),
                None => Err(Refused::new("unauthorized: access denied", [BASIC])),
            };
        }
        if scheme.eq_ignore_ascii_case(b"bearer") {
            return match token::user(value, &self.0, now) {
                Some(user) => Ok(Some(user)),
                None => Err(Refused::new("unauthorized: invalid token", [BAD_TOKEN])),
            };
        }
        let all = [BEARER, BASIC];
        Err(Refused::new("unauthorized: no auth provided", all))
    }

    /// A token with which this user may come instead of the password; the same each time.
    pub(crate) fn token(&self, user: &str) -> Option<String> {
        token::issue(user, self.0.get(user)?)
    }

    fn user_of(&self, encoded: &[u8]) -> Option<String> {
        let bytes = STANDARD.decode(encoded.trim_ascii()).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (user, password) = text.split_once(':')?;
        if user.is_empty() || password.is_empty() {
            return None;
        }
        // Every user is compared, so that the time taken does not tell which of them exist.
        let known = self.0.iter().fold(false, |known, (name, secret)| {
            known
                | (same(name.as_bytes(), user.as_bytes())
                    & same(secret.as_bytes(), password.as_bytes()))
        });
        known.then(|| user.to_owned())
    }
}

/// Why a request is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) message: &'static str,
    /// How the client may show who it is.
    pub(crate) challenges: Vec<HeaderValue>,
}

impl Refused {
    fn new<const N: usize>(message: &'static str, challenges: [HeaderValue; N]) -> Self {
        Self {
            message,
            challenges: challenges.to_vec(),
        }
    }
}

fn split(value: &[u8]) -> (&[u8], &[u8]) {
    let at = value.iter().position(|b| *b == b' ').unwrap_or(value.len());
    let (scheme, rest) = value.split_at(at);
    (scheme, rest.strip_prefix(b" ").unwrap_or(rest))
}

/// Compares in a time that depends on the lengths alone.
fn same(a: &[u8], b: &[u8]) -> bool {
    let differ = a.iter().zip(b).fold(0, |acc, (x, y)| acc | (x ^ y));
    a.len() == b.len() && differ == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(method: Method, path: &str, authorization: &str) -> Option<Vec<String>> {
        let users = BTreeMap::from([("alice".to_owned(), "secretpw".to_owned())]);
        let mut headers = HeaderMap::new();
        if !authorization.is_empty() {
            headers.insert(header::AUTHORIZATION, authorization.parse().unwrap());
        }
        let judged = Credentials::new(users).judge(&method, path, &headers, 1000);
        let challenges = judged.err()?.challenges;
        let text = |c: &HeaderValue| c.to_str().unwrap().to_owned();
        Some(challenges.iter().map(text).collect())
    }

    #[test]
    fn only_the_right_password_opens() {
        let basic = r#"Basic realm="Restricted IPFS Cluster API""#.to_owned();
        let bearer = r#"Bearer realm="Restricted IPFS Cluster API""#.to_owned();
        assert_eq!(
            refused(Method::GET, "/id", "Basic YWxpY2U6c2VjcmV0cHc="),
            None
        );
        assert_eq!(
            refused(Method::GET, "/id", "basic YWxpY2U6c2VjcmV0cHc="),
            None
        );
        for wrong in [
            "Basic YWxpY2U6eA==",
            "Basic YWxpY2U6",
            "Basic emVkOng=",
            "Basic !",
            "Basic",
        ] {
            assert_eq!(
                refused(Method::GET, "/id", wrong),
                Some(vec![basic.clone()]),
                "{wrong}"
            );
        }
        for none in ["", "Foo bar"] {
            assert_eq!(
                refused(Method::GET, "/id", none),
                Some(vec![bearer.clone(), basic.clone()])
            );
        }
        assert!(refused(Method::GET, "/id", "Bearer abc").is_some());
    }

    #[test]
    fn liveness_and_preflights_are_open() {
        assert_eq!(refused(Method::GET, "/health", ""), None);
        assert_eq!(refused(Method::OPTIONS, "/id", ""), None);
        assert!(refused(Method::GET, "/health/", "").is_some());
        assert!(refused(Method::POST, "/health", "").is_some());
    }

    #[test]
    fn passwords_are_not_printed() {
        let users = BTreeMap::from([("alice".to_owned(), "secretpw".to_owned())]);
        assert_eq!(format!("{:?}", Credentials::new(users)), "1 users");
    }
}
