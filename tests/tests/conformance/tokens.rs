//! Tokens that were good when they were recorded and have expired since.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Map, Value};

use crate::names::ALICE_PASSWORD;

/// When the tokens were recorded, in seconds since 1970: 2026-11-22T13:54:40Z.
const RECORDED_AT: u64 = 1_795_355_680;

/// The value of an Authorization header: a token that the user signed, and that was to expire
/// after it was recorded, expires as long after now and is signed anew. All else is as it was.
pub(crate) fn fresh(value: &str) -> String {
    fresh_at(value, now()).unwrap_or_else(|| value.to_owned())
}

fn fresh_at(value: &str, now: u64) -> Option<String> {
    let mut claims = claims(value.strip_prefix("Bearer ")?)?;
    let left = claims.get("exp")?.as_u64()?.checked_sub(RECORDED_AT)?;
    claims.insert("exp".into(), (now + left).into());
    let key = EncodingKey::from_secret(ALICE_PASSWORD.as_bytes());
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key);
    Some(format!("Bearer {}", token.ok()?))
}

/// What a token says that the user signed.
fn claims(token: &str) -> Option<Map<String, Value>> {
    let mut checks = Validation::new(Algorithm::HS256);
    checks.required_spec_claims.clear();
    checks.validate_exp = false;
    let key = DecodingKey::from_secret(ALICE_PASSWORD.as_bytes());
    let decoded = jsonwebtoken::decode(token, &key, &checks);
    Some(decoded.ok()?.claims)
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

#[test]
fn only_what_was_good_and_has_an_end_is_made_anew() {
    let records = crate::recording::group("rest-auth");
    let value = |name: &str| {
        let found = records.iter().find(|r| r.name == name);
        found.unwrap().headers["Authorization"].clone()
    };
    let later = fresh_at(&value("auth-bearer-future-exp"), 2_000_000_000).unwrap();
    let said = claims(later.strip_prefix("Bearer ").unwrap()).unwrap();
    assert_eq!(said["iss"], "alice");
    assert_eq!(said["exp"], 2_000_003_600_u64);
    for name in [
        "auth-ok",
        "auth-bearer-ok",
        "auth-bearer-bad",
        "auth-bearer-expired",
        "auth-bearer-unknown-iss",
        "auth-bearer-wrongkey",
    ] {
        assert_eq!(fresh(&value(name)), value(name), "{name}");
    }
}
