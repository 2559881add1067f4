//! What a request asks of the gateway.

use std::hash::{DefaultHasher, Hash, Hasher};

use http::{HeaderMap, Request, header};
use ipfs_cluster_protocol::{api::query::Query, content::path::ContentPath, id::Cid};

use super::super::rest::unescape;

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
    /// Bytes of the file that an archive is to hold: first, and last or to the end.
    pub(super) bytes: Option<(u64, Option<u64>)>,
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
            other => return Err(format!("unsupported format {other:?}: raw, car or tar")),
        };
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
            range: text(header::RANGE).and_then(Range::read),
            download: query.get("download") == "true",
            filename: query.get("filename").to_owned(),
        })
    }

    /// Tells archives apart that hold other parts of the same DAG.
    pub(super) fn variant(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.scope, self.bytes, super::text(&self.path)).hash(&mut hasher);
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

    /// What something is saved as: the name asked for, or the CID with an ending.
    pub(super) fn save_as(&self, cid: &Cid, ending: &str) -> String {
        match &self.filename {
            name if name.is_empty() => format!("{cid}.{ending}"),
            name => name.clone(),
        }
    }
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
        _ => None,
    });
    format.unwrap_or(Format::UnixFs)
}

/// `FROM:TO` or `FROM:*`, both counted from the start.
fn entity_bytes(text: &str) -> Option<(u64, Option<u64>)> {
    let (from, to) = text.split_once(':')?;
    let from = from.parse().ok()?;
    match to {
        "*" => Some((from, None)),
        to => Some((from, Some(to.parse().ok().filter(|to| *to >= from)?))),
    }
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
        for bad in ["dag-scope=x", "entity-bytes=5", "entity-bytes=9:3"] {
            assert!(query(bad).is_err(), "{bad}");
        }
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
