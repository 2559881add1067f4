//! The children of a block, whatever its codec.

use super::{
    DAG_CBOR, DAG_JSON, DAG_PB, RAW,
    cbor::{self, CborError},
    dag_pb::{DagPbError, Node},
};
use crate::id::Cid;

/// Multicodec of CBOR without links.
const CBOR: u64 = 0x51;
/// Multicodec of JSON without links.
const JSON: u64 = 0x0200;

/// Why the children of a block cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinksError {
    /// Kubo's words, since users see them as the error of a pin.
    #[error("no decoder registered for multicodec code {0} (0x{0:x})")]
    Codec(u64),
    /// Not the dag-pb it should be.
    #[error(transparent)]
    DagPb(#[from] DagPbError),
    /// Not the dag-cbor it should be.
    #[error("dag-cbor: {0}")]
    DagCbor(#[from] CborError),
    /// Not the dag-json it should be.
    #[error("dag-json: {0}")]
    DagJson(String),
}

/// Every link of a block in order, repeated ones too.
pub fn links(cid: &Cid, block: &[u8]) -> Result<Vec<Cid>, LinksError> {
    match cid.0.codec() {
        RAW | CBOR | JSON => Ok(vec![]),
        DAG_PB => Ok(Node::decode(block)?.links.iter().map(|l| l.cid).collect()),
        DAG_CBOR => Ok(cbor::links(block)?),
        DAG_JSON => json_links(block),
        other => Err(LinksError::Codec(other)),
    }
}

/// Takes every object that is exactly `{"/": "<CID>"}`.
fn json_links(block: &[u8]) -> Result<Vec<Cid>, LinksError> {
    // Without recursion, and so the scan below need not doubt the grammar.
    serde_json::from_slice::<serde::de::IgnoredAny>(block)
        .map_err(|e| LinksError::DagJson(e.to_string()))?;
    let mut out = vec![];
    // The last four tokens before the current one.
    let mut window: [Option<Token<'_>>; 4] = [const { None }; 4];
    for token in Scan(block) {
        if let (
            [
                Some(Token::Mark(b'{')),
                Some(Token::Text(key)),
                Some(Token::Mark(b':')),
                Some(Token::Text(text)),
            ],
            Token::Mark(b'}'),
        ) = (&window, &token)
            && unquote(key)? == "/"
        {
            let text = unquote(text)?;
            let cid = text
                .parse()
                .map_err(|e: crate::id::IdError| LinksError::DagJson(e.to_string()))?;
            out.push(cid);
        }
        window.rotate_left(1);
        window[3] = Some(token);
    }
    Ok(out)
}

fn unquote(quoted: &[u8]) -> Result<String, LinksError> {
    serde_json::from_slice(quoted).map_err(|e| LinksError::DagJson(e.to_string()))
}

/// A token of JSON that is known to be well-formed.
enum Token<'a> {
    /// A string with its quotes.
    Text(&'a [u8]),
    /// A bracket, colon or comma.
    Mark(u8),
    /// A number, `true`, `false` or `null`.
    Other,
}

struct Scan<'a>(&'a [u8]);

impl<'a> Iterator for Scan<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let start = self.0.iter().position(|b| !b.is_ascii_whitespace())?;
        let rest = self.0.get(start..)?;
        let (len, token) = match rest.first()? {
            b'"' => {
                let mut escaped = false;
                let end = rest.iter().skip(1).position(|b| {
                    let ends = *b == b'"' && !escaped;
                    escaped = *b == b'\\' && !escaped;
                    ends
                })?;
                (end + 2, Token::Text(rest.get(..end + 2)?))
            }
            mark @ (b'{' | b'}' | b'[' | b']' | b':' | b',') => (1, Token::Mark(*mark)),
            _ => {
                let ends = |b: &u8| b"{}[]:,\" \t\r\n".contains(b);
                (
                    rest.iter().position(ends).unwrap_or(rest.len()),
                    Token::Other,
                )
            }
        };
        self.0 = rest.get(len..)?;
        Some(token)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;
    use crate::content::hash::name_like;

    fn cid(codec: u64) -> Cid {
        name_like(1, codec, 0x12, 32, &codec.to_be_bytes()).unwrap()
    }

    fn cbor_link(cid: &Cid) -> Vec<u8> {
        let bytes = cid.to_bytes();
        let mut out = vec![0xd8, 42, 0x58, bytes.len() as u8 + 1, 0];
        out.extend(bytes);
        out
    }

    #[test]
    fn cbor_links_are_found_at_any_depth() {
        // {"a": [link, 1, "x"], "b": {"c": link}, "d": -1.5, "e": null}
        let mut block = vec![0xa4, 0x61, b'a', 0x83];
        block.extend(cbor_link(&cid(RAW)));
        block.extend([1, 0x61, b'x', 0x61, b'b', 0xa1, 0x61, b'c']);
        block.extend(cbor_link(&cid(DAG_PB)));
        block.extend([
            0x61, b'd', 0xfb, 0xbf, 0xf8, 0, 0, 0, 0, 0, 0, 0x61, b'e', 0xf6,
        ]);
        assert_eq!(
            links(&cid(DAG_CBOR), &block),
            Ok(vec![cid(RAW), cid(DAG_PB)])
        );
        block.push(0);
        assert!(links(&cid(DAG_CBOR), &block).is_err());
    }

    #[test]
    fn cbor_that_claims_too_much_is_refused() {
        let claims: [&[u8]; 6] = [
            &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x9f],
            &[0xd8, 42, 0x41, 1],
            &[0xc1, 0],
        ];
        for bytes in claims {
            assert!(
                matches!(links(&cid(DAG_CBOR), bytes), Err(LinksError::DagCbor(_))),
                "{bytes:?}"
            );
        }
        let deep = vec![0x81; 1_000_000];
        assert!(links(&cid(DAG_CBOR), &deep).is_err());
    }

    #[test]
    fn json_links_are_objects_of_one_key() {
        let raw = cid(RAW);
        let block = format!(
            r#"{{ "a": [ {{"/": "{raw}"}}, "/", {{"/":{{"bytes":"AA"}}}} ], "b\"": {{ "/" : "{raw}" }},
               "c": {{"/": "not a link", "x": 1}}, "n": -1e5 }}"#
        );
        assert_eq!(links(&cid(DAG_JSON), block.as_bytes()), Ok(vec![raw, raw]));
        assert!(links(&cid(DAG_JSON), br#"{"/":"zzz"}"#).is_err());
        assert!(links(&cid(DAG_JSON), b"{").is_err());
        let deep = "[".repeat(1_000_000);
        assert!(links(&cid(DAG_JSON), deep.as_bytes()).is_err());
    }

    #[test]
    fn an_unknown_codec_is_named() {
        let error = links(&cid(0x78), b"").unwrap_err();
        assert_eq!(
            error.to_string(),
            "no decoder registered for multicodec code 120 (0x78)"
        );
        assert_eq!(links(&cid(RAW), b"anything"), Ok(vec![]));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in any::<Vec<u8>>()) {
            for codec in [DAG_PB, DAG_CBOR, DAG_JSON] {
                let _ = links(&cid(codec), &bytes);
            }
        }

        #[test]
        fn json_like_text_never_panics(text in r#"[\[\]{}:,"/\\ a1]{0,40}"#) {
            let _ = links(&cid(DAG_JSON), text.as_bytes());
        }

        #[test]
        fn scanning_loses_no_string(texts in proptest::collection::vec(".*", 0..8)) {
            let block = serde_json::to_vec(&texts).unwrap();
            let found = Scan(&block).filter_map(|t| match t {
                Token::Text(t) => Some(unquote(t).unwrap()),
                Token::Mark(_) | Token::Other => None,
            });
            prop_assert_eq!(found.collect::<Vec<_>>(), texts);
        }
    }
}
