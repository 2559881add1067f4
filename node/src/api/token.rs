//! Bearer tokens: JWT signed with the password of the user who is named in them.
//!
//! A token of the Go program is good here and the other way round, byte for byte.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation};
use serde::Deserialize;

/// The head of each token that is issued, in the Go program's order.
const HEAD: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
/// The ways of signing that are accepted.
const ACCEPTED: [Algorithm; 3] = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];

/// What a token says; times in seconds since 1970, with fractions.
#[derive(Debug, Deserialize)]
struct Claims {
    iss: String,
    exp: Option<f64>,
    nbf: Option<f64>,
    iat: Option<f64>,
}

/// A token for a user: it never expires, and is the same each time.
pub(super) fn issue(user: &str, password: &str) -> Option<String> {
    let claims = serde_json::json!({ "iss": user }).to_string();
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let message = format!("{}.{}", encode(HEAD), encode(&claims));
    let key = EncodingKey::from_secret(password.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256);
    Some(format!("{message}.{}", signature.ok()?))
}

/// The user whom a token proves, at this time.
pub(super) fn user(token: &[u8], passwords: &BTreeMap<String, String>, now: u64) -> Option<String> {
    let token = std::str::from_utf8(token.trim_ascii()).ok()?;
    let named = claims_of(token)?.iss;
    // An unknown user's token is checked all the same, so that the time taken tells nothing.
    let password = passwords.get(&named);
    let key = DecodingKey::from_secret(password.map_or("", |p| p).as_bytes());
    let algorithm = jsonwebtoken::decode_header(token).ok()?.alg;
    if !ACCEPTED.contains(&algorithm) {
        return None;
    }
    let mut checks = Validation::new(algorithm);
    checks.required_spec_claims.clear();
    checks.validate_exp = false;
    checks.validate_aud = false;
    let claims = jsonwebtoken::decode::<Claims>(token, &key, &checks);
    let claims = claims.ok()?.claims;
    #[allow(clippy::cast_precision_loss, reason = "seconds are far below 2^52")]
    let now = now as f64;
    let timely = claims.exp.is_none_or(|at| now < at)
        && claims.nbf.is_none_or(|at| at <= now)
        && claims.iat.is_none_or(|at| at <= now);
    password.filter(|_| timely).map(|_| named)
}

/// What a token says, believed only so far as to look up a password.
fn claims_of(token: &str) -> Option<Claims> {
    let middle = token.split('.').nth(1)?;
    let bytes = URL_SAFE_NO_PAD.decode(middle).ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use ipfs_cluster_tests::fuzz;
    use proptest::prelude::*;

    use super::*;

    const ISSUED: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJhbGljZSJ9.\
                          ePMHwbEOI1wulz-eJZP6fnar1j6xnVtEkjsuqLORJmg";

    fn passwords() -> BTreeMap<String, String> {
        BTreeMap::from([("alice".to_owned(), "secretpw".to_owned())])
    }

    fn good(token: &str, now: u64) -> bool {
        user(token.as_bytes(), &passwords(), now).is_some_and(|u| u == "alice")
    }

    fn signed(claims: &serde_json::Value, password: &str, algorithm: Algorithm) -> String {
        let key = EncodingKey::from_secret(password.as_bytes());
        jsonwebtoken::encode(&jsonwebtoken::Header::new(algorithm), claims, &key).unwrap()
    }

    #[test]
    fn a_token_is_the_go_program_s_own() {
        assert_eq!(issue("alice", "secretpw").unwrap(), ISSUED);
        assert!(good(ISSUED, 1));
        assert!(good(&format!(" {ISSUED} "), 1));
    }

    #[test]
    fn a_token_counts_only_at_its_time_and_with_its_password() {
        let claims = serde_json::json!({"iss": "alice", "iat": 100, "nbf": 100.5, "exp": 200});
        for algorithm in ACCEPTED {
            let token = signed(&claims, "secretpw", algorithm);
            assert!(good(&token, 150));
            assert!(!good(&token, 100) && !good(&token, 200) && !good(&token, 99));
        }
        assert!(!good(&signed(&claims, "other", Algorithm::HS256), 150));
        let zed = serde_json::json!({"iss": "zed"});
        for password in ["", "secretpw"] {
            let token = signed(&zed, password, Algorithm::HS256);
            assert_eq!(user(token.as_bytes(), &passwords(), 1), None);
        }
        let unsigned = format!(
            "{}.{}.",
            URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#),
            URL_SAFE_NO_PAD.encode(r#"{"iss":"alice"}"#)
        );
        assert!(!good(&unsigned, 1));
    }

    #[test]
    fn changed_tokens_are_none() {
        let mut seeds = fuzz::recorded();
        seeds.extend(vec![ISSUED.as_bytes().to_vec(); 2000]);
        fuzz::feed(&seeds, |bytes, _| {
            if user(bytes, &passwords(), 1).is_some() {
                assert_eq!(bytes.trim_ascii(), ISSUED.as_bytes());
            }
        });
    }

    proptest! {
        #[test]
        fn garbage_is_no_token(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..120) {
            prop_assert_eq!(user(&bytes, &passwords(), 1), None);
            let mut changed = ISSUED.as_bytes().to_vec();
            changed.truncate(cut.min(changed.len() - 1));
            changed.extend_from_slice(&bytes[..bytes.len().min(8)]);
            prop_assume!(changed != ISSUED.as_bytes());
            prop_assert_eq!(user(&changed, &passwords(), 1), None);
        }
    }
}
