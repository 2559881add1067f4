//! The error object of the REST API, and the texts its clients know.

use serde::{Deserialize, Serialize};

use crate::id::{Cid, IdError, PeerId};

/// What an unknown CID is answered with; clients compare it.
pub const NOT_PINNED: &str = "pin is not part of the pinset";

/// The body of every answer above 399.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The HTTP status.
    pub code: u16,
    /// For people.
    pub message: String,
}

/// Why a text is no CID, in the words that clients of the API know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid cid: {0}")]
pub struct CidError(pub String);

/// Reads a CID of a path or query.
pub fn parse_cid(text: &str) -> Result<Cid, CidError> {
    text.parse()
        .map_err(|e: IdError| CidError(cid_why(text, e.why)))
}

/// Reads a peer ID of a path or query.
pub fn parse_peer(text: &str) -> Result<PeerId, PeerIdError> {
    text.parse()
        .map_err(|e: IdError| PeerIdError(cid_why(text, e.why)))
}

/// Why a text is no peer ID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to parse peer ID: invalid cid: {0}")]
pub struct PeerIdError(pub String);

fn cid_why(text: &str, why: String) -> String {
    let Some(first) = text.chars().next() else {
        return "cid too short".to_owned();
    };
    if text.chars().nth(1).is_none() {
        return "cid too short".to_owned();
    }
    if multibase::Base::from_code(first).is_err() && !text.starts_with("Qm") {
        return "selected encoding not supported".to_owned();
    }
    why
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_cid_is_told_in_known_words() {
        for (text, message) in [
            ("abc", "invalid cid: selected encoding not supported"),
            ("", "invalid cid: cid too short"),
            ("b", "invalid cid: cid too short"),
            ("/ipfs/x", "invalid cid: selected encoding not supported"),
        ] {
            assert_eq!(parse_cid(text).unwrap_err().to_string(), message, "{text}");
        }
        assert_eq!(
            parse_peer("abc").unwrap_err().to_string(),
            "failed to parse peer ID: invalid cid: selected encoding not supported"
        );
    }

    proptest::proptest! {
        #[test]
        fn garbage_never_panics(text in ".{0,64}") {
            let _ = (parse_cid(&text), parse_peer(&text));
        }
    }
}
