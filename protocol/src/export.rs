//! The state file: one Pin object of the API per line, as the Go program writes and reads it. A pin
//! that was asked for through the Pinning Service API has one more key, `requests`, and one whose size
//! is known another, `size`; other readers leave them alone.
//!
//! Reading takes any sequence of JSON objects, on one line each or over several, and tolerates
//! missing keys.

use std::{collections::BTreeMap, io};

use serde::{Deserialize, Serialize};

use crate::{
    api::pin::Pin as PinObject,
    id::Seq,
    pin::Pin,
    request::{Request, RequestIdError},
};

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    /// The pin.
    #[serde(flatten)]
    pub pin: PinObject,
    /// Bytes that its blocks take; 0 where nobody knows.
    #[serde(default, skip_serializing_if = "is_unknown")]
    pub size: u64,
    /// Who asked for it, in the order of the ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<ExportedRequest>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_unknown(size: &u64) -> bool {
    *size == 0
}

/// A request of the Pinning Service API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportedRequest {
    /// Its id, as the API shows it.
    pub requestid: String,
    /// As it was asked for.
    #[serde(default)]
    pub name: String,
    /// Multiaddrs of nodes that have the content.
    #[serde(default)]
    pub origins: Vec<String>,
    /// Free key/value pairs.
    #[serde(default)]
    pub meta: BTreeMap<String, String>,
}

impl Exported {
    /// A pin with the requests for it.
    #[must_use]
    pub fn of(pin: &Pin, requests: Vec<Request>) -> Self {
        let requests = requests.into_iter().map(|request| ExportedRequest {
            requestid: request.id.to_string(),
            name: request.name,
            origins: request.origins,
            meta: request.metadata,
        });
        Self {
            pin: PinObject::from(pin),
            size: pin.spec.size,
            requests: requests.collect(),
        }
    }
}

impl ExportedRequest {
    /// The request, for a pin of this seq.
    pub fn of_pin(self, seq: Seq) -> Result<Request, RequestIdError> {
        Ok(Request {
            id: self.requestid.parse()?,
            seq,
            name: self.name,
            origins: self.origins,
            metadata: self.meta,
        })
    }
}

/// A state file that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Not a Pin object.
    #[error("pin {number} of the state file: {error}")]
    Malformed {
        /// Which one, from 1.
        number: u64,
        /// What the parser says.
        error: serde_json::Error,
    },
}

/// A pin and the requests for it as a line, with its line feed.
///
/// # Panics
/// Never: the object has string keys and no maps but of strings.
#[must_use]
pub fn line(pin: &Pin, requests: Vec<Request>) -> String {
    let exported = Exported::of(pin, requests);
    let mut line = serde_json::to_string(&exported).expect("a Pin object always encodes");
    line.push('\n');
    line
}

/// The pins of a whole state file, in order; the first error is the last item.
pub fn read(bytes: &[u8]) -> impl Iterator<Item = Result<Exported, ImportError>> {
    numbered(serde_json::Deserializer::from_slice(bytes).into_iter())
}

/// The same of a file that is read on the way; give it a buffer.
pub fn read_from(file: impl io::Read) -> impl Iterator<Item = Result<Exported, ImportError>> {
    numbered(serde_json::Deserializer::from_reader(file).into_iter())
}

fn numbered<'de, R: serde_json::de::Read<'de>>(
    mut objects: serde_json::StreamDeserializer<'de, R, Exported>,
) -> impl Iterator<Item = Result<Exported, ImportError>> {
    let mut number = 0;
    let mut failed = false;
    std::iter::from_fn(move || {
        if failed {
            return None;
        }
        number += 1;
        Some(objects.next()?.map_err(|error| {
            failed = true;
            ImportError::Malformed { number, error }
        }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        id::{Rev, Seq},
        pin::{PinSpec, Replication},
        request::RequestId,
        time::Timestamp,
    };

    const CID: &str = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi";
    const PEER: &str = "12D3KooWJUSc6kjcpkjZ9AkCkQZfiCQgSR65uVY6UaHRWBAvqTyA";

    fn pin() -> Pin {
        let mut spec = PinSpec::new(CID.parse().unwrap(), Replication::new(2, 3).unwrap());
        spec.name = "n".into();
        spec.metadata.insert("k".into(), "v".into());
        Pin {
            seq: Seq(1),
            rev: Rev(2),
            spec,
            allocations: vec![PEER.parse().unwrap()],
            copies: 2,
            timestamp: Timestamp(1_700_000_000_999),
        }
    }

    #[test]
    fn a_line_is_the_pin_object_in_the_order_of_the_api() {
        assert_eq!(
            line(&pin(), vec![]),
            format!(
                "{{\"replication_factor_min\":2,\"replication_factor_max\":3,\"name\":\"n\",\
                 \"mode\":\"recursive\",\"shard_size\":0,\"user_allocations\":null,\
                 \"expire_at\":\"0001-01-01T00:00:00Z\",\"metadata\":{{\"k\":\"v\"}},\
                 \"pin_update\":null,\"origins\":[],\"cid\":\"{CID}\",\"type\":\"pin\",\
                 \"allocations\":[\"{PEER}\"],\"max_depth\":-1,\"reference\":null,\
                 \"timestamp\":\"2023-11-14T22:13:20Z\"}}\n"
            )
        );
    }

    #[test]
    fn what_is_written_is_read_back_and_sparse_or_pretty_objects_too() {
        let sparse = format!("{{\"cid\": \"{CID}\",\n  \"name\": \"x\"}}");
        let file = format!(
            "{}{sparse}\n\n{}",
            line(&pin(), vec![]),
            line(&pin(), vec![])
        );
        let read: Vec<_> = read(file.as_bytes()).map(Result::unwrap).collect();
        assert_eq!(read.len(), 3);
        assert_eq!(read[0], Exported::of(&pin(), vec![]));
        assert_eq!(
            (read[1].pin.name.as_str(), read[1].pin.max_depth),
            ("x", -1)
        );
        assert_eq!(read[0].pin.spec((-1, -1)).unwrap(), pin().spec);
    }

    #[test]
    fn requests_stand_behind_the_pin_where_other_readers_ignore_them() {
        let request = Request {
            id: RequestId(0x0001_0203_0405_0607),
            seq: Seq(1),
            name: "r".into(),
            origins: vec!["/dns4/a".into()],
            metadata: BTreeMap::from([("m".into(), "v".into())]),
        };
        let line = line(&pin(), vec![request.clone()]);
        let end = ",\"requests\":[{\"requestid\":\"0001020304050607\",\"name\":\"r\",\
                   \"origins\":[\"/dns4/a\"],\"meta\":{\"m\":\"v\"}}]}\n";
        assert!(line.ends_with(end), "{line}");
        let alone: PinObject = serde_json::from_str(&line).unwrap();
        let mut read: Vec<_> = read(line.as_bytes()).map(Result::unwrap).collect();
        assert_eq!(read[0].pin, alone);
        let again = read.remove(0).requests.remove(0).of_pin(Seq(1));
        assert_eq!(again, Ok(request));
    }

    #[test]
    fn a_known_size_stands_behind_the_pin() {
        let mut sized = pin();
        sized.spec.size = 4096;
        let line = line(&sized, vec![]);
        assert!(
            line.ends_with("\"timestamp\":\"2023-11-14T22:13:20Z\",\"size\":4096}\n"),
            "{line}"
        );
        let back = read(line.as_bytes()).next().unwrap().unwrap();
        assert_eq!((back.size, back.pin), (4096, PinObject::from(&pin())));
    }

    #[test]
    fn a_broken_file_names_the_pin_and_ends() {
        let file = format!(
            "{}{{\"cid\":\"nonsense\"}}\n{}",
            line(&pin(), vec![]),
            line(&pin(), vec![])
        );
        let read: Vec<_> = read(file.as_bytes()).collect();
        assert_eq!(read.len(), 2);
        let error = read[1].as_ref().unwrap_err().to_string();
        assert!(error.starts_with("pin 2 of the state file:"), "{error}");
        let same: Vec<_> = read_from(io::Cursor::new(&file)).collect();
        assert_eq!(same[1].as_ref().unwrap_err().to_string(), error);
        let cut = &line(&pin(), vec![])[..100];
        assert!(super::read(cut.as_bytes()).next().unwrap().is_err());
    }

    proptest::proptest! {
        #[test]
        fn garbage_is_an_error_or_nothing(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let _ = read(&bytes).count();
        }

        #[test]
        fn a_cut_or_changed_file_never_panics(cut in 0usize..2000, at in 0usize..2000, byte in proptest::prelude::any::<u8>()) {
            let mut file = format!("{}{}", line(&pin(), vec![]), line(&pin(), vec![])).into_bytes();
            let len = file.len();
            file[at % len] = byte;
            file.truncate(cut % (len + 1));
            for pin in read(&file).flatten() {
                let _ = pin.pin.spec((-1, -1));
            }
        }
    }
}
