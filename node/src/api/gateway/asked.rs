//! What a request asks of the gateway.

use std::hash::{DefaultHasher, Hash, Hasher};

use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};
use ipfs_cluster_protocol::{
    api::query::{Query, escape},
    content::path::ContentPath,
    id::Cid,
};

use super::codecs::Codec;
use crate::api::{http::reply::Reply, rest::unescape};

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// As a browser shows it.
    UnixFs,
    /// One block.
    Raw,
    /// Blocks, in an archive.
    Car,
    /// Files, in an archive.
    Tar,
    /// One block of this codec, as it is.
    Codec(&'static Codec),
}

/// How much of a DAG an archive holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Scope {
    /// Its root.
    Block,
    /// A file whole, of a folder what it takes to list it.
    Entity,
    /// All below.
    All,
}

/// Bytes of a file, as a `Range` header has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Range {
    /// From the first to the last, or to the end.
    From(u64, Option<u64>),
    /// So many at the end.
    Last(u64),
}

impl Range {
    /// `bytes=A-B`, `bytes=A-` or `bytes=-N`; several ranges are answered with everything, as the
    /// protocol allows.
    fn read(text: &str) -> Option<Self> {
        let (from, to) = text.trim().strip_prefix("bytes=")?.split_once('-')?;
        match (from.trim(), to.trim()) {
            ("", n) => Some(Self::Last(n.parse().ok()?)),
            (from, "") => Some(Self::From(from.parse().ok()?, None)),
            (from, to) => {
                let (from, to) = (from.parse().ok()?, to.parse().ok()?);
                (from <= to).then_some(Self::From(from, Some(to)))
            }
        }
    }

    /// First byte and number of bytes within so many; None if nothing of it is there.
    pub(super) fn of(self, size: u64) -> Option<(u64, u64)> {
        let (from, end) = match self {
            Self::From(from, to) => (from, to.map_or(size, |to| to.saturating_add(1).min(size))),
            Self::Last(n) => (size.saturating_sub(n), size),
        };
        (from < end).then(|| (from, end - from))
    }
}

/// The request, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) path: ContentPath,
    /// Whether the path ends in a slash.
    pub(super) slash: bool,
    /// Path and query as they came.
    pub(super) target: (String, String),
    pub(super) format: Format,
    pub(super) scope: Scope,
    /// Bytes of the file that an archive is to hold: first, and last or to the end; those below 0
    /// count from its end.
    pub(super) bytes: Option<(i64, Option<i64>)>,
    /// An archive holds a block as often as it is met.
    pub(super) repeats: bool,
    /// Only what is here already.
    pub(super) cached_only: bool,
    pub(super) range: Option<Range>,
    /// To be saved rather than shown.
    pub(super) download: bool,
    filename: String,
}

impl Asked {
    pub(super) fn read<B>(request: &Request<B>) -> Result<Self, String> {
        let (raw, query) = (
            request.uri().path(),
            request.uri().query().unwrap_or_default(),
        );
        let unescaped = unescape(raw).ok_or("the path has a broken escape")?;
        let path = ContentPath::parse(&unescaped).map_err(|e| e.to_string())?;
        let headers = request.headers();
        let target = (raw.to_owned(), query.to_owned());
        let query = Query::parse(query);
        let text = |name| headers.get(name).and_then(|v| v.to_str().ok());
        let accept = text(header::ACCEPT).unwrap_or_default();
        let format = match query.get("format") {
            "raw" => Format::Raw,
            "car" => Format::Car,
            "tar" => Format::Tar,
            "" => accepted(accept),
            other => match Codec::by_name(other) {
                Some(codec) => Format::Codec(codec),
                None => {
                    return Err(format!(
                        "unsupported format {other:?}: raw, car, tar, json, cbor, dag-json or \
                         dag-cbor"
                    ));
                }
            },
        };
        if !matches!(query.get("car-version"), "" | "1") {
            return Err("only car-version 1 is made".to_owned());
        }
        let scope = match query.get("dag-scope") {
            "block" => Scope::Block,
            "entity" => Scope::Entity,
            "" | "all" => Scope::All,
            other => {
                return Err(format!(
                    "unsupported dag-scope {other:?}: block, entity or all"
                ));
            }
        };
        let bytes = match query.get("entity-bytes") {
            "" => None,
            text => Some(entity_bytes(text).ok_or("entity-bytes must be FROM:TO or FROM:*")?),
        };
        Ok(Self {
            slash: raw.ends_with('/'),
            path,
            target,
            format,
            // Bytes of a file are a part of it.
            scope: if bytes.is_some() {
                Scope::Entity
            } else {
                scope
            },
            bytes,
            repeats: repeats(&query, accept),
            cached_only: text(header::CACHE_CONTROL)
                .is_some_and(|v| v.split(',').any(|v| v.trim() == "only-if-cached")),
            range: text(header::RANGE).and_then(Range::read),
            download: query.get("download") == "true",
            filename: query.get("filename").to_owned(),
        })
    }

    /// Tells archives apart that hold other parts of the same DAG.
    pub(super) fn variant(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let parts = (self.scope, self.bytes, self.repeats);
        (parts, super::text(&self.path)).hash(&mut hasher);
        hasher.finish()
    }

    pub(super) fn path_text(&self) -> String {
        super::text(&self.path)
    }

    /// What the file is called.
    pub(super) fn file_name(&self) -> String {
        let last = self.path.names.last().cloned();
        match &self.filename {
            name if name.is_empty() => last.unwrap_or_default(),
            name => name.clone(),
        }
    }

    /// Whether the client names what it is shown.
    pub(super) fn is_named(&self) -> bool {
        !self.filename.is_empty()
    }

    /// What something is saved as: the name asked for, or the CID with an ending.
    pub(super) fn save_as(&self, cid: &Cid, ending: &str) -> String {
        match &self.filename {
            name if name.is_empty() => format!("{cid}.{ending}"),
            name => name.clone(),
        }
    }
}

/// Where `/ipfs/?uri=ipfs://CID/…` leads, as browsers that were told to open such addresses ask.
pub(super) fn by_uri(uri: &Uri) -> Option<Reply> {
    if uri.path() != "/ipfs/" {
        return None;
    }
    let query = Query::parse(uri.query().unwrap_or_default());
    let path = query.get("uri").strip_prefix("ipfs://")?;
    let path = ContentPath::parse(path).ok()?;
    let names = path
        .names
        .iter()
        .map(|name| escape(name).replace('+', "%20"));
    let parts: Vec<String> = [path.root.to_string()].into_iter().chain(names).collect();
    let location = HeaderValue::from_str(&format!("/ipfs/{}", parts.join("/"))).ok()?;
    let mut reply = Reply::default();
    *reply.status_mut() = StatusCode::MOVED_PERMANENTLY;
    reply.headers_mut().insert(header::LOCATION, location);
    Some(reply)
}

/// The first form among those accepted that is not what browsers ask for.
fn accepted(accept: &str) -> Format {
    let kinds = accept.split(',').map(|kind| kind.split(';').next());
    let mut kinds = kinds.map(|kind| kind.unwrap_or_default().trim());
    let format = kinds.find_map(|kind| match kind {
        "application/vnd.ipld.raw" => Some(Format::Raw),
        "application/vnd.ipld.car" => Some(Format::Car),
        "application/x-tar" => Some(Format::Tar),
        "text/html" | "*/*" => Some(Format::UnixFs),
        other => Codec::by_media_type(other).map(Format::Codec),
    });
    format.unwrap_or(Format::UnixFs)
}

/// Whether an archive is to repeat blocks: the query, or the parameter of the accepted type.
fn repeats(query: &Query, accept: &str) -> bool {
    match query.get("car-dups") {
        "" => accept
            .split(',')
            .filter(|kind| kind.trim().starts_with("application/vnd.ipld.car"))
            .any(|kind| kind.split(';').any(|part| part.trim() == "dups=y")),
        text => text == "y",
    }
}

/// `FROM:TO` or `FROM:*`; a number below 0 counts from the end. One that is known to lie before the
/// other must not be the larger.
fn entity_bytes(text: &str) -> Option<(i64, Option<i64>)> {
    let (from, to) = text.split_once(':')?;
    let from: i64 = from.parse().ok()?;
    let to: i64 = match to {
        "*" => return Some((from, None)),
        to => to.parse().ok()?,
    };
    let comparable = (from < 0) == (to < 0);
    (!comparable || from <= to).then_some((from, Some(to)))
}

/// Such bytes of a file of so many: first, and last or to the end.
pub(super) fn from_start((from, to): (i64, Option<i64>), size: u64) -> (u64, Option<u64>) {
    let place = |at: i64| match u64::try_from(at) {
        Ok(at) => at,
        Err(_) => size.saturating_sub(at.unsigned_abs()),
    };
    (place(from), to.map(place))
}

/// Whether the client says that it has this already.
pub(super) fn matches(headers: &HeaderMap, etag: &str) -> bool {
    let strong = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let tags = headers.get_all(header::IF_NONE_MATCH).iter();
    tags.filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .any(|tag| tag.trim() == "*" || strong(tag) == strong(etag))
}

#[cfg(test)]
mod tests {
    use ipfs_cluster_tests::fuzz;
    use proptest::prelude::*;

    use super::*;

    const CID: &str = "bafybeicne2gcifarvdv5xrwynke37bhiuf6zdtbcd6xodfuifbeldhth4u";

    fn asked(target: &str, headers: &[(&str, &str)]) -> Result<Asked, String> {
        let mut request = Request::get(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Asked::read(&request.body(()).unwrap())
    }

    #[test]
    fn the_query_goes_before_the_header() {
        let car = [("accept", "application/vnd.ipld.car; version=1, */*")];
        let format = |query: &str| asked(&format!("/ipfs/{CID}{query}"), &car).map(|a| a.format);
        assert_eq!(format(""), Ok(Format::Car));
        assert_eq!(format("?format=raw"), Ok(Format::Raw));
        assert!(format("?format=x").is_err());
        let json = format("?format=dag-json").unwrap();
        assert!(matches!(json, Format::Codec(c) if c.name == "dag-json"));
        let repeats = |query: &str, accept| {
            let asked = asked(&format!("/ipfs/{CID}{query}"), &[("accept", accept)]);
            asked.unwrap().repeats
        };
        let twice = "application/vnd.ipld.car; version=1; order=dfs; dups=y";
        assert!(repeats("", twice) && repeats("?format=car", twice));
        assert!(!repeats("?car-dups=n", twice) && repeats("?car-dups=y", "*/*"));
        let browser = [("accept", "text/html,application/xml;q=0.9,*/*;q=0.8")];
        let browser = asked(&format!("/ipfs/{CID}/a%20b/"), &browser).unwrap();
        assert_eq!((browser.format, browser.slash), (Format::UnixFs, true));
        assert_eq!(browser.file_name(), "a b");
        assert!(asked("/ipfs/nothing", &[]).is_err());
    }

    #[test]
    fn ranges_are_cut_to_what_is_there() {
        let of = |text: &str, size| Range::read(text).unwrap().of(size);
        assert_eq!(of("bytes=0-9", 100), Some((0, 10)));
        assert_eq!(of("bytes=90-200", 100), Some((90, 10)));
        assert_eq!(of("bytes=5-", 100), Some((5, 95)));
        assert_eq!(of("bytes=-7", 100), Some((93, 7)));
        assert_eq!(of("bytes=-700", 100), Some((0, 100)));
        assert_eq!(of("bytes=100-", 100), None);
        assert_eq!(of("bytes=-0", 100), None);
        for bad in [
            "bytes=9-5",
            "bytes=1-2,4-5",
            "lines=1-2",
            "bytes=-",
            "bytes=a-b",
        ] {
            assert_eq!(Range::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn bytes_of_an_entity_are_a_scope() {
        let query = |text: &str| asked(&format!("/ipfs/{CID}?format=car&{text}"), &[]);
        assert_eq!(query("").unwrap().scope, Scope::All);
        let part = query("entity-bytes=5:*").unwrap();
        assert_eq!((part.scope, part.bytes), (Scope::Entity, Some((5, None))));
        let end = query("entity-bytes=-5:-2").unwrap().bytes.unwrap();
        assert_eq!(from_start(end, 100), (95, Some(98)));
        assert_eq!(from_start((-200, Some(-3)), 100), (0, Some(97)));
        assert_eq!(from_start((7, None), 100), (7, None));
        assert!(query("entity-bytes=9:-3").is_ok());
        for bad in [
            "dag-scope=x",
            "entity-bytes=5",
            "entity-bytes=9:3",
            "entity-bytes=-3:-9",
            "entity-bytes=a:b",
            "car-version=2",
        ] {
            assert!(query(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_of_its_scheme_leads_to_its_path() {
        let to = |query: &str| {
            let uri = format!("/ipfs/?uri={query}").parse().unwrap();
            let reply = by_uri(&uri)?;
            Some(
                reply.headers()[header::LOCATION]
                    .to_str()
                    .unwrap()
                    .to_owned(),
            )
        };
        let found = to(&format!("ipfs%3A%2F%2F{CID}%2Fa%20b"));
        assert_eq!(found, Some(format!("/ipfs/{CID}/a%20b")));
        assert!(to("http://example.org").is_none() && to("ipfs://x").is_none());
    }

    #[test]
    fn tags_are_compared_weakly() {
        let has = |text: &str| {
            let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, text.parse().unwrap())]);
            matches(&headers, "\"a\"")
        };
        assert!(has("\"a\"") && has("W/\"a\"") && has("\"b\", \"a\"") && has("*"));
        assert!(!has("\"b\""));
    }

    #[test]
    fn changed_requests_never_panic() {
        let mut seeds = fuzz::recorded();
        for text in [
            "bytes=0-5,7-",
            "?format=car&dag-scope=entity&entity-bytes=5:*",
        ] {
            seeds.extend(vec![text.as_bytes().to_vec(); 500]);
        }
        fuzz::feed(&seeds, |_, text| {
            if let Some(range) = Range::read(text) {
                let _ = range.of(7);
            }
            for path in [format!("/ipfs/{text}"), format!("/ipfs/{CID}{text}")] {
                let request = Request::get(path).header(header::RANGE, text).body(());
                if let Ok(asked) = request.as_ref().map(Asked::read) {
                    let _ = asked.map(|a| (a.variant(), a.path_text(), a.file_name()));
                }
            }
        });
    }

    proptest! {
        #[test]
        fn garbage_never_panics(range in ".{0,30}", path in "[a-z/%0-9]{0,30}", query in "[a-z=&:*]{0,30}") {
            if let Some(range) = Range::read(&range) {
                let _ = range.of(7);
            }
            if let Ok(request) = Request::get(format!("/ipfs/{path}?{query}")).body(()) {
                let _ = Asked::read(&request);
            }
        }
    }
}
