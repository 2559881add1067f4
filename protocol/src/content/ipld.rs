//! The data model behind the codecs, as far as `dag get` and `dag put` need it: any of dag-pb,
//! dag-cbor, dag-json and plain bytes to a value, and a value to any of them. Values nest at most
//! `IPLD_DEPTH_MAX` deep.

use serde_json::Value as Json;

use super::{
    DAG_CBOR, DAG_JSON, DAG_PB, RAW,
    cbor::{head, link, put_head, put_link},
    dag_pb::{Link, Node},
};
use crate::{id::Cid, limits::IPLD_DEPTH_MAX};

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Ipld {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number from -2^64 to 2^64 - 1.
    Integer(i128),
    /// A number with a fraction.
    Float(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Values in order.
    List(Vec<Self>),
    /// Values by key, in the order of the block.
    Map(Vec<(String, Self)>),
    /// Another block.
    Link(Cid),
}

/// Why a block has no value, or a value no block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IpldError {
    /// None of those above.
    #[error("no decoder registered for multicodec code {0} ({0:#x})")]
    Codec(u64),
    /// The bytes are not of their codec.
    #[error("{0}")]
    Malformed(String),
    /// The codec cannot hold the value.
    #[error("{0}")]
    Shape(&'static str),
}

fn malformed(why: impl ToString) -> IpldError {
    IpldError::Malformed(why.to_string())
}

/// The value of a block.
pub fn decode(codec: u64, block: &[u8]) -> Result<Ipld, IpldError> {
    match codec {
        RAW => Ok(Ipld::Bytes(block.to_vec())),
        DAG_PB => Ok(of_node(Node::decode(block).map_err(malformed)?)),
        DAG_CBOR => {
            let mut rest = block;
            let value = of_cbor(&mut rest, 0)?;
            match rest.is_empty() {
                true => Ok(value),
                false => Err(malformed("bytes follow the value")),
            }
        }
        DAG_JSON => of_json(serde_json::from_slice(block).map_err(malformed)?),
        other => Err(IpldError::Codec(other)),
    }
}

/// The block of a value.
pub fn encode(codec: u64, value: &Ipld) -> Result<Vec<u8>, IpldError> {
    match (codec, value) {
        (RAW, Ipld::Bytes(bytes)) => Ok(bytes.clone()),
        (RAW, _) => Err(IpldError::Shape("only bytes can be encoded as raw")),
        (DAG_PB, value) => Ok(to_node(value)?.encode()),
        (DAG_CBOR, value) => {
            let mut out = vec![];
            to_cbor(value, &mut out);
            Ok(out)
        }
        (DAG_JSON, value) => Ok(to_json(value).to_string().into_bytes()),
        (other, _) => Err(IpldError::Codec(other)),
    }
}

impl Ipld {
    /// What is below a key of a map or a number of a list.
    #[must_use]
    pub fn get(&self, segment: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries.iter().find(|(k, _)| k == segment).map(|(_, v)| v),
            Self::List(items) => items.get(segment.parse::<usize>().ok()?),
            _ => None,
        }
    }
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn of_node(node: Node) -> Ipld {
    let link = |link: Link| {
        let name = String::from_utf8_lossy(&link.name).into_owned();
        Ipld::Map(vec![
            (text("Hash"), Ipld::Link(link.cid)),
            (text("Name"), Ipld::Text(name)),
            (text("Tsize"), Ipld::Integer(link.dag_size.into())),
        ])
    };
    let links = node.links.into_iter().map(link).collect();
    let data = node.data.map(|data| (text("Data"), Ipld::Bytes(data)));
    let entries = data.into_iter().chain([(text("Links"), Ipld::List(links))]);
    Ipld::Map(entries.collect())
}

fn to_node(value: &Ipld) -> Result<Node, IpldError> {
    const SHAPE: IpldError = IpldError::Shape(
        "dag-pb takes {\"Data\": bytes, \"Links\": [{\"Hash\": link, \"Name\": text, \"Tsize\": number}]}",
    );
    let Some(Ipld::List(links)) = value.get("Links") else {
        return Err(SHAPE);
    };
    let data = match value.get("Data") {
        None => None,
        Some(Ipld::Bytes(data)) => Some(data.clone()),
        Some(_) => return Err(SHAPE),
    };
    let link = |entry: &Ipld| {
        let Some(Ipld::Link(cid)) = entry.get("Hash") else {
            return Err(SHAPE);
        };
        let name = match entry.get("Name") {
            None => vec![],
            Some(Ipld::Text(name)) => name.clone().into_bytes(),
            Some(_) => return Err(SHAPE),
        };
        let dag_size = match entry.get("Tsize") {
            None => 0,
            Some(Ipld::Integer(size)) => u64::try_from(*size).map_err(|_| SHAPE)?,
            Some(_) => return Err(SHAPE),
        };
        Ok(Link {
            cid: *cid,
            name,
            dag_size,
        })
    };
    let links = links.iter().map(link).collect::<Result<_, _>>()?;
    Ok(Node { links, data })
}

fn of_cbor(rest: &mut &[u8], depth: usize) -> Result<Ipld, IpldError> {
    if depth > IPLD_DEPTH_MAX {
        return Err(malformed("values are nested too deep"));
    }
    let before = *rest;
    let (major, n) = head(rest).map_err(malformed)?;
    let wide = i128::from(n);
    Ok(match major {
        0 => Ipld::Integer(wide),
        1 => Ipld::Integer(-1 - wide),
        2 => Ipld::Bytes(take(rest, n)?.to_vec()),
        3 => Ipld::Text(utf8(take(rest, n)?)?),
        4 => {
            // Each item takes a byte at least.
            let mut items = vec![];
            for _ in 0..bounded(rest, n)? {
                items.push(of_cbor(rest, depth + 1)?);
            }
            Ipld::List(items)
        }
        5 => {
            let mut entries = vec![];
            for _ in 0..bounded(rest, n)? {
                let Ipld::Text(key) = of_cbor(rest, depth + 1)? else {
                    return Err(malformed("a key is not a text"));
                };
                entries.push((key, of_cbor(rest, depth + 1)?));
            }
            Ipld::Map(entries)
        }
        6 => {
            *rest = before;
            Ipld::Link(link(rest).map_err(malformed)?)
        }
        _ => match (before.first(), n) {
            (Some(0xf4), _) => Ipld::Bool(false),
            (Some(0xf5), _) => Ipld::Bool(true),
            (Some(0xf6), _) => Ipld::Null,
            (Some(0xfa), bits) => Ipld::Float(f32::from_bits(bits as u32).into()),
            (Some(0xfb), bits) => Ipld::Float(f64::from_bits(bits)),
            _ => return Err(malformed("a simple value that dag-cbor has not")),
        },
    })
}

fn bounded(rest: &[u8], n: u64) -> Result<usize, IpldError> {
    let n = usize::try_from(n).ok().filter(|n| *n <= rest.len());
    n.ok_or_else(|| malformed("unexpected end of data"))
}

fn take<'a>(rest: &mut &'a [u8], n: u64) -> Result<&'a [u8], IpldError> {
    let n = bounded(rest, n)?;
    let (bytes, tail) = rest.split_at(n);
    *rest = tail;
    Ok(bytes)
}

fn utf8(bytes: &[u8]) -> Result<String, IpldError> {
    String::from_utf8(bytes.to_vec()).map_err(malformed)
}

fn to_cbor(value: &Ipld, out: &mut Vec<u8>) {
    match value {
        Ipld::Null => out.push(0xf6),
        Ipld::Bool(set) => out.push(0xf4 + u8::from(*set)),
        Ipld::Integer(n) if *n < 0 => {
            put_head(out, 1, u64::try_from(-1 - n).unwrap_or(u64::MAX));
        }
        Ipld::Integer(n) => put_head(out, 0, u64::try_from(*n).unwrap_or(u64::MAX)),
        Ipld::Float(number) => {
            out.push(0xfb);
            out.extend(number.to_bits().to_be_bytes());
        }
        Ipld::Text(text) => {
            put_head(out, 3, text.len() as u64);
            out.extend(text.as_bytes());
        }
        Ipld::Bytes(bytes) => {
            put_head(out, 2, bytes.len() as u64);
            out.extend(bytes);
        }
        Ipld::List(items) => {
            put_head(out, 4, items.len() as u64);
            items.iter().for_each(|item| to_cbor(item, out));
        }
        Ipld::Map(entries) => {
            // Canonical: shorter keys first.
            let mut entries: Vec<&(String, Ipld)> = entries.iter().collect();
            entries.sort_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
            put_head(out, 5, entries.len() as u64);
            for (key, value) in entries {
                put_head(out, 3, key.len() as u64);
                out.extend(key.as_bytes());
                to_cbor(value, out);
            }
        }
        Ipld::Link(cid) => put_link(out, cid),
    }
}

fn of_json(json: Json) -> Result<Ipld, IpldError> {
    Ok(match json {
        Json::Null => Ipld::Null,
        Json::Bool(set) => Ipld::Bool(set),
        Json::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(n), ..) => Ipld::Integer(n.into()),
            (_, Some(n), _) => Ipld::Integer(n.into()),
            (_, _, Some(n)) => Ipld::Float(n),
            _ => return Err(malformed("a number is out of range")),
        },
        Json::String(text) => Ipld::Text(text),
        Json::Array(items) => Ipld::List(items.into_iter().map(of_json).collect::<Result<_, _>>()?),
        Json::Object(map) => match (map.len(), map.get("/")) {
            (1, Some(Json::String(cid))) => {
                let cid: Cid = cid.parse().map_err(malformed)?;
                Ipld::Link(cid)
            }
            (1, Some(Json::Object(inner))) => match (inner.len(), inner.get("bytes")) {
                (1, Some(Json::String(text))) => Ipld::Bytes(of_base64(text)?),
                _ => return Err(malformed("the key \"/\" is kept for links and bytes")),
            },
            _ => {
                let entry = |(key, value)| Ok((key, of_json(value)?));
                Ipld::Map(map.into_iter().map(entry).collect::<Result<_, _>>()?)
            }
        },
    })
}

fn to_json(value: &Ipld) -> Json {
    match value {
        Ipld::Null => Json::Null,
        Ipld::Bool(set) => Json::Bool(*set),
        Ipld::Integer(n) => match (u64::try_from(*n), i64::try_from(*n)) {
            (Ok(n), _) => n.into(),
            (_, Ok(n)) => n.into(),
            _ => serde_json::Number::from_f64(*n as f64).map_or(Json::Null, Json::Number),
        },
        Ipld::Float(n) => serde_json::Number::from_f64(*n).map_or(Json::Null, Json::Number),
        Ipld::Text(text) => Json::String(text.clone()),
        Ipld::Bytes(bytes) => serde_json::json!({ "/": { "bytes": to_base64(bytes) } }),
        Ipld::List(items) => items.iter().map(to_json).collect(),
        Ipld::Map(entries) => {
            // In the order of keys, also where serde_json is told to keep theirs.
            let mut entries: Vec<&(String, Ipld)> = entries.iter().collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            let entries = entries.into_iter().map(|(k, v)| (k.clone(), to_json(v)));
            Json::Object(entries.collect())
        }
        Ipld::Link(cid) => serde_json::json!({ "/": cid.to_string() }),
    }
}

/// Multibase's base64 without its prefix: no padding.
fn to_base64(bytes: &[u8]) -> String {
    multibase::Base::Base64.encode(bytes)
}

fn of_base64(text: &str) -> Result<Vec<u8>, IpldError> {
    let text = text.trim_end_matches('=');
    multibase::Base::Base64.decode(text).map_err(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::hash::name_like;
    use proptest::prelude::*;

    fn cid() -> Cid {
        name_like(1, RAW, 0x12, 32, b"x").unwrap()
    }

    fn values() -> impl Strategy<Value = Ipld> {
        let leaf = prop_oneof![
            Just(Ipld::Null),
            any::<bool>().prop_map(Ipld::Bool),
            any::<i64>().prop_map(|n| Ipld::Integer(n.into())),
            any::<u64>().prop_map(|n| Ipld::Integer(n.into())),
            (-1e9..1e9).prop_map(|n: f64| Ipld::Float(n.trunc() + 0.5)),
            ".{0,9}".prop_map(Ipld::Text),
            any::<Vec<u8>>().prop_map(Ipld::Bytes),
            Just(Ipld::Link(cid())),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Ipld::List),
                prop::collection::btree_map("[a-z]{1,4}", inner, 0..6)
                    .prop_map(|map| Ipld::Map(map.into_iter().collect())),
            ]
        })
    }

    /// Without the order of keys, which canonical forms choose themselves.
    fn sorted(value: Ipld) -> Ipld {
        match value {
            Ipld::List(items) => Ipld::List(items.into_iter().map(sorted).collect()),
            Ipld::Map(entries) => {
                let entries = entries.into_iter().map(|(k, v)| (k, sorted(v)));
                let mut entries: Vec<_> = entries.collect();
                entries.sort_by(|a, b| a.0.cmp(&b.0));
                Ipld::Map(entries)
            }
            other => other,
        }
    }

    proptest! {
        #[test]
        fn values_come_back(value in values()) {
            for codec in [DAG_CBOR, DAG_JSON] {
                let block = encode(codec, &value).unwrap();
                let back = decode(codec, &block).unwrap();
                prop_assert_eq!(sorted(back), sorted(value.clone()), "{}", codec);
            }
        }

        #[test]
        fn no_bytes_harm(bytes in any::<Vec<u8>>()) {
            for codec in [RAW, DAG_PB, DAG_CBOR, DAG_JSON] {
                let _ = decode(codec, &bytes);
            }
        }
    }

    #[test]
    fn blocks_are_what_kubo_makes_of_the_same_values() {
        // `ipfs dag put` with --store-codec, and `ipfs dag get`.
        let json = r#"{"b":[1,-2,null,true,"ä"],"aaa":{"/":{"bytes":"AAEC"}},"c":1.5}"#;
        let value = decode(DAG_JSON, json.as_bytes()).unwrap();
        for (codec, cid) in [
            (
                DAG_CBOR,
                "bafyreifgm32nqv4ioo5q6dytzzz2u6otbxorrcpkhn5gsp2rubybqtojaq",
            ),
            (
                DAG_JSON,
                "baguqeeracohnvhzux2lmklnledashjasn33dzth34fvzvprrjeyjql7cbnnq",
            ),
        ] {
            let block = encode(codec, &value).unwrap();
            let named = name_like(1, codec, 0x12, 32, &block).unwrap();
            assert_eq!(named.to_string(), cid);
        }
        let node = r#"{"Data":{"/":{"bytes":"CAE"}},"Links":[{"Hash":{"/":"bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"},"Name":"a","Tsize":11}]}"#;
        let value = decode(DAG_JSON, node.as_bytes()).unwrap();
        let block = encode(DAG_PB, &value).unwrap();
        let named = name_like(1, DAG_PB, 0x12, 32, &block).unwrap();
        assert_eq!(
            named.to_string(),
            "bafybeianui3wnpwp6ojhm5y5jdea333jqv3s4ukf7kubqobpkfsdbagbgq"
        );
        assert_eq!(decode(DAG_PB, &block).unwrap(), value);
    }

    #[test]
    fn what_nests_too_deep_is_refused() {
        let mut deep = vec![0x81; 100_000];
        deep.push(0xf6);
        assert!(decode(DAG_CBOR, &deep).is_err());
    }
}
