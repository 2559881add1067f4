//! dag-pb nodes: an ordered list of named links, and opaque data.

use super::{
    unixfs::UnixFs,
    wire::{Reader, Value, WireError, number_len, put_bytes_field, put_number, put_number_field},
};
use crate::id::Cid;

/// A link to another block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// To what.
    pub cid: Cid,
    /// A file name in folders (any bytes), empty in files.
    pub name: Vec<u8>,
    /// Bytes of all blocks below it, as its maker counted them: not to be trusted.
    pub dag_size: u64,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// Links, in their order.
    pub links: Vec<Link>,
    /// The payload, UnixFS as a rule.
    pub data: Option<Vec<u8>>,
}

/// Why bytes are not a dag-pb node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DagPbError {
    /// Not even protobuf.
    #[error("dag-pb: {0}")]
    Wire(#[from] WireError),
    /// A field that dag-pb does not have, has once, or has as another type.
    #[error("dag-pb: unexpected field {0}")]
    Field(u64),
    /// A link to nothing.
    #[error("dag-pb: a link has no valid CID: {0}")]
    Cid(String),
}

impl Node {
    /// The canonical bytes: links first, then data, every field of a link present.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let data_len = self.data.as_ref().map_or(0, Vec::len);
        let mut out = Vec::with_capacity(self.links.len() * 52 + data_len + 8);
        let mut inner = Vec::with_capacity(64);
        for link in &self.links {
            inner.clear();
            put_bytes_field(&mut inner, 1, &link.cid.to_bytes());
            put_bytes_field(&mut inner, 2, &link.name);
            put_number_field(&mut inner, 3, link.dag_size);
            put_bytes_field(&mut out, 2, &inner);
        }
        if let Some(data) = &self.data {
            put_bytes_field(&mut out, 1, data);
        }
        out
    }

    /// Reads a node. Data may stand before the links, as old writers had it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DagPbError> {
        let mut node = Self::default();
        let mut reader = Reader(bytes);
        while let Some((field, value)) = reader.field()? {
            match (field, value) {
                (1, Value::Bytes(data)) if node.data.is_none() => node.data = Some(data.to_vec()),
                (2, Value::Bytes(link)) => node.links.push(decode_link(link)?),
                _ => return Err(DagPbError::Field(field)),
            }
        }
        Ok(node)
    }
}

/// The canonical bytes of a node without links whose payload is a message that holds `data`. The
/// data are copied once, where [`UnixFs::encode`] and [`Node::encode`] would copy them each.
pub(super) fn leaf(message: &UnixFs, data: Option<&[u8]>) -> Vec<u8> {
    let mut around = Vec::with_capacity(48);
    message.put(data.map(|_| &[][..]), &mut around);
    // There the length of no data took one byte.
    let more = data.map_or(0, |data| number_len(data.len() as u64) - 1 + data.len());
    let held = around.len() + more;
    let mut out = Vec::with_capacity(held + 11);
    put_number(&mut out, 1 << 3 | 2);
    put_number(&mut out, held as u64);
    message.put(data, &mut out);
    out
}

fn decode_link(bytes: &[u8]) -> Result<Link, DagPbError> {
    let (mut cid, mut name, mut dag_size) = (None, None, None);
    let mut reader = Reader(bytes);
    while let Some((field, value)) = reader.field()? {
        match (field, value) {
            (1, Value::Bytes(bytes)) if cid.is_none() => {
                cid = Some(Cid::from_bytes(bytes).map_err(|e| DagPbError::Cid(e.why))?);
            }
            (2, Value::Bytes(bytes)) if name.is_none() => name = Some(bytes.to_vec()),
            (3, Value::Number(n)) if dag_size.is_none() => dag_size = Some(n),
            _ => return Err(DagPbError::Field(field)),
        }
    }
    Ok(Link {
        cid: cid.ok_or_else(|| DagPbError::Cid("missing".into()))?,
        name: name.unwrap_or_default(),
        dag_size: dag_size.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;
    use crate::content::{hash::name_like, unixfs::Kind};

    fn cid(n: u64) -> Cid {
        name_like(1, 0x55, 0x12, 32, &n.to_be_bytes()).unwrap()
    }

    proptest! {
        #[test]
        fn nodes_come_back(
            links in proptest::collection::vec((any::<u64>(), any::<Vec<u8>>(), any::<u64>()), 0..20),
            data in any::<Option<Vec<u8>>>(),
        ) {
            let links = links.into_iter();
            let links = links.map(|(n, name, dag_size)| Link { cid: cid(n), name, dag_size });
            let node = Node { links: links.collect(), data };
            prop_assert_eq!(Node::decode(&node.encode()), Ok(node));
        }

        #[test]
        fn leaves_are_nodes_around_messages(
            data in any::<Option<Vec<u8>>>(), mode in any::<Option<u32>>(), long in 0usize..20_000,
        ) {
            let data = data.map(|mut data| {
                data.resize(data.len() + long, 7);
                data
            });
            let mut message = UnixFs::new(Kind::File);
            message.file_size = data.as_ref().map(|data| data.len() as u64);
            message.attributes.mode = mode;
            let got = leaf(&message, data.as_deref());
            message.data = data;
            let node = Node { links: vec![], data: Some(message.encode()) };
            prop_assert_eq!(got, node.encode());
        }

        #[test]
        fn garbage_is_refused_or_read_but_never_panics(bytes in any::<Vec<u8>>()) {
            let _ = Node::decode(&bytes);
        }

        #[test]
        fn a_flipped_bit_never_panics(at in 0usize..200, bit in 0u8..8) {
            let link = Link { cid: cid(1), name: b"name".to_vec(), dag_size: 77 };
            let node = Node { links: vec![link.clone(), link], data: Some(vec![8, 1]) };
            let mut bytes = node.encode();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            let _ = Node::decode(&bytes);
        }
    }

    #[test]
    fn data_before_links_is_read() {
        let link = Link {
            cid: cid(1),
            name: vec![],
            dag_size: 1,
        };
        let mut bytes = Node {
            links: vec![],
            data: Some(vec![8, 1]),
        }
        .encode();
        bytes.extend(
            Node {
                links: vec![link.clone()],
                data: None,
            }
            .encode(),
        );
        let node = Node::decode(&bytes).unwrap();
        assert_eq!((node.links, node.data), (vec![link], Some(vec![8, 1])));
    }

    #[test]
    fn a_link_without_cid_is_refused() {
        let error = Node::decode(&[0x12, 2, 0x18, 1]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "dag-pb: a link has no valid CID: missing"
        );
        assert_eq!(Node::decode(&[0x18, 1]), Err(DagPbError::Field(3)));
    }
}
