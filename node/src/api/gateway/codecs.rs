//! Blocks that are data of their own, neither bytes nor UnixFS: what they are called in requests and
//! answers.

use ipfs_cluster_protocol::content::{DAG_CBOR, DAG_JSON};

/// Plain JSON and CBOR, without links.
const JSON: u64 = 0x0200;
const CBOR: u64 = 0x51;

/// One codec.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Codec {
    /// In `?format=`.
    pub(super) name: &'static str,
    pub(super) media_type: &'static str,
    /// In CIDs.
    code: u64,
    /// The one that has links besides.
    linked: Option<u64>,
    /// Of a file that it is saved as.
    pub(super) ending: &'static str,
    /// Browsers can show it.
    pub(super) is_text: bool,
}

const CODECS: [Codec; 4] = [
    Codec {
        name: "json",
        media_type: "application/json",
        code: JSON,
        linked: Some(DAG_JSON),
        ending: "json",
        is_text: true,
    },
    Codec {
        name: "cbor",
        media_type: "application/cbor",
        code: CBOR,
        linked: Some(DAG_CBOR),
        ending: "cbor",
        is_text: false,
    },
    Codec {
        name: "dag-json",
        media_type: "application/vnd.ipld.dag-json",
        code: DAG_JSON,
        linked: None,
        ending: "json",
        is_text: true,
    },
    Codec {
        name: "dag-cbor",
        media_type: "application/vnd.ipld.dag-cbor",
        code: DAG_CBOR,
        linked: None,
        ending: "cbor",
        is_text: false,
    },
];

impl Codec {
    pub(super) fn by_name(name: &str) -> Option<&'static Self> {
        CODECS.iter().find(|c| c.name == name)
    }

    pub(super) fn by_media_type(text: &str) -> Option<&'static Self> {
        CODECS.iter().find(|c| c.media_type == text)
    }

    pub(super) fn by_code(code: u64) -> Option<&'static Self> {
        CODECS.iter().find(|c| c.code == code)
    }

    /// Whether a block of this code is one: with links it is also one without.
    pub(super) fn takes(&self, code: u64) -> bool {
        self.code == code || self.linked == Some(code)
    }

    /// Whether files may be asked for as this: their bytes are what they are.
    pub(super) fn takes_files(&self) -> bool {
        self.linked.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_links_is_data_too_but_not_the_other_way_round() {
        let json = Codec::by_name("json").unwrap();
        let linked = Codec::by_media_type("application/vnd.ipld.dag-json").unwrap();
        assert!(json.takes(JSON) && json.takes(DAG_JSON) && json.takes_files());
        assert!(linked.takes(DAG_JSON) && !linked.takes(JSON) && !linked.takes_files());
        assert!(!json.takes(DAG_CBOR) && !linked.takes(DAG_CBOR));
        assert_eq!(Codec::by_code(DAG_CBOR).unwrap().name, "dag-cbor");
        assert!(Codec::by_name("dag-pb").is_none());
    }
}
