//! A host name per root, so that browsers keep what is of one root from what is of another:
//! `CID.ipfs.localhost` shows the folder `CID`. After the HTTP gateway specifications of
//! `specs.ipfs.tech`: subdomain gateway.

use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use ipfs_cluster_protocol::{
    api::error::parse_cid, content::DAG_PB, id::Cid, limits::HOST_LABEL_BYTES_MAX,
};
use multibase::Base;

use super::{asked::Asked, asked::Format, plain};
use crate::api::http::reply::Reply;

/// What every multihash of version 0 starts with: sha2-256, 32 bytes.
const V0_MULTIHASH: [u8; 2] = [0x12, 0x20];
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What a request is by the host that it names.
pub(super) enum Place {
    /// Its path says everything.
    Path,
    /// Everything below this root.
    Root(Cid),
    /// An answer already: a redirect to the root's own host, or a refusal.
    Answered(Reply),
}

/// The host that a client or the server before this one names, with its port.
fn host(headers: &HeaderMap) -> Option<&str> {
    let host = headers
        .get(FORWARDED_HOST)
        .or_else(|| headers.get(header::HOST))?;
    host.to_str().ok()
}

/// Judges a request. `names` are the hosts below which roots have names.
pub(super) fn place<B>(request: &Request<B>, names: &[String]) -> Place {
    let Some(host) = host(request.headers()) else {
        return Place::Path;
    };
    let (name, _) = host.rsplit_once(':').unwrap_or((host, ""));
    let name = name.to_ascii_lowercase();
    if names.contains(&name) {
        return redirect(request, host);
    }
    let below = names
        .iter()
        .find_map(|n| name.strip_suffix(n.as_str())?.strip_suffix('.'));
    match below.and_then(|below| below.rsplit_once('.')) {
        None => Place::Path,
        Some((label, "ipfs")) => match parse_cid(label) {
            Ok(cid) if label.len() <= HOST_LABEL_BYTES_MAX => Place::Root(cid),
            Ok(_) => refused("the CID is longer than a part of a host name may be"),
            Err(e) => refused(&e.to_string()),
        },
        Some((_, "ipns")) => Place::Answered(no_ipns()),
        Some(_) => Place::Path,
    }
}

/// The answer to a name of IPNS, by host or by path.
pub(super) fn no_ipns() -> Reply {
    plain(
        StatusCode::NOT_IMPLEMENTED,
        "this node resolves no IPNS names\n",
    )
}

fn refused(why: &str) -> Place {
    Place::Answered(plain(StatusCode::BAD_REQUEST, &format!("{why}\n")))
}

/// To the host of the root. Blocks and archives are checked by who asks for them, and come at once.
fn redirect<B>(request: &Request<B>, host: &str) -> Place {
    let Ok(asked) = Asked::read(request) else {
        return Place::Path;
    };
    if !matches!(asked.format, Format::UnixFs | Format::Codec(_)) {
        return Place::Path;
    }
    let Some(label) = label(&asked.path.root) else {
        return refused("the CID is longer than a part of a host name may be: ask for it by path");
    };
    let uri = request.uri();
    // What follows the root, as it came.
    let mut parts = uri.path().trim_start_matches('/').splitn(3, '/');
    let rest = parts.nth(2).unwrap_or_default();
    let query = uri.query().map(|q| format!("?{q}")).unwrap_or_default();
    let secure = request.headers().get(FORWARDED_PROTO);
    let scheme = match secure.is_some_and(|v| v == "https") {
        true => "https",
        false => "http",
    };
    let location = format!("{scheme}://{label}.ipfs.{host}/{rest}{query}");
    let Ok(location) = HeaderValue::from_str(&location) else {
        return Place::Path;
    };
    let mut reply = plain(
        StatusCode::MOVED_PERMANENTLY,
        "every root has a host of its own here\n",
    );
    reply.headers_mut().insert(header::LOCATION, location);
    Place::Answered(reply)
}

/// A root as a part of a host name, which knows no capitals and has a bound.
fn label(cid: &Cid) -> Option<String> {
    let mut bytes = cid.to_bytes();
    if bytes.starts_with(&V0_MULTIHASH) {
        // A CID of version 0 is its multihash alone.
        bytes.splice(0..0, [1, DAG_PB as u8]);
    }
    [Base::Base32Lower, Base::Base36Lower]
        .into_iter()
        .map(|base| multibase::encode(base, &bytes))
        .find(|text| text.len() <= HOST_LABEL_BYTES_MAX)
}

/// The same request by path.
pub(super) fn by_path<B>(request: Request<B>, root: &Cid) -> Request<B> {
    let (mut head, body) = request.into_parts();
    let query = head
        .uri
        .query()
        .map(|q| format!("?{q}"))
        .unwrap_or_default();
    let target = format!("/ipfs/{root}{}{query}", head.uri.path());
    if let Ok(uri) = target.parse::<Uri>() {
        head.uri = uri;
    }
    Request::from_parts(head, body)
}

/// The answer as the root's own host gives it: its paths do not name the root.
pub(super) fn of_root(mut reply: Reply, root: &Cid) -> Reply {
    let prefix = format!("/ipfs/{root}");
    let location = reply.headers().get(header::LOCATION);
    let below = location.and_then(|v| v.to_str().ok()?.strip_prefix(&prefix));
    let below = below.and_then(|rest| HeaderValue::from_str(rest).ok());
    if let Some(below) = below {
        reply.headers_mut().insert(header::LOCATION, below);
    }
    reply
}

#[cfg(test)]
mod tests {
    use ipfs_cluster_tests::fuzz;

    use super::*;

    const V0: &str = "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n";
    const V1: &str = "bafybeicne2gcifarvdv5xrwynke37bhiuf6zdtbcd6xodfuifbeldhth4u";

    fn asked(host: &str, target: &str, more: &[(&str, &str)]) -> Place {
        let mut request = Request::get(target).header("host", host);
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        place(
            &request.body(()).unwrap(),
            &["localhost".to_owned(), "gw.example".to_owned()],
        )
    }

    fn location(place: Place) -> String {
        let Place::Answered(reply) = place else {
            panic!("no redirect")
        };
        assert_eq!(reply.status(), 301);
        reply.headers()[header::LOCATION]
            .to_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn a_path_leads_to_the_host_of_its_root() {
        let to = location(asked(
            "localhost:8080",
            &format!("/ipfs/{V1}/a%20b/?x=y"),
            &[],
        ));
        assert_eq!(to, format!("http://{V1}.ipfs.localhost:8080/a%20b/?x=y"));
        let https = [
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "gw.example"),
        ];
        let to = location(asked("10.0.0.1", &format!("/ipfs/{V0}"), &https));
        let cid: cid::Cid = V0.parse().unwrap();
        let as_v1 = cid::Cid::new_v1(DAG_PB, *cid.hash());
        assert_eq!(to, format!("https://{as_v1}.ipfs.gw.example/"));
        // 64 bytes of hash fit in no name.
        let long = "bafkrgqhhyivzstcz3hhswshfjgy6ertgmnqeleynhwt4dlfsthi4hn7zgh4uvlsb5xncykzapi3ocd4lzogukir6ksdy6wzrnz6ohnv4aglcs";
        let Place::Answered(refused) = asked("localhost", &format!("/ipfs/{long}"), &[]) else {
            panic!()
        };
        assert_eq!(refused.status(), 400);
        for (host, target) in [
            ("127.0.0.1:8080", format!("/ipfs/{V1}")),
            ("other.example", format!("/ipfs/{V1}")),
            ("localhost", format!("/ipfs/{V1}?format=car")),
            ("localhost", "/ipfs/nothing".to_owned()),
        ] {
            assert!(
                matches!(asked(host, &target, &[]), Place::Path),
                "{host} {target}"
            );
        }
    }

    #[test]
    fn a_host_names_its_root() {
        let host = format!("{}.ipfs.localhost:8080", V1.to_uppercase());
        let Place::Root(root) = asked(&host, "/a", &[]) else {
            panic!()
        };
        assert_eq!(root.to_string(), V1);
        let request = Request::get("/a/b?x=y").body(()).unwrap();
        let request = by_path(request, &root);
        assert_eq!(request.uri().to_string(), format!("/ipfs/{V1}/a/b?x=y"));
        let mut reply = Reply::default();
        let to = format!("/ipfs/{V1}/a/b/").parse().unwrap();
        reply.headers_mut().insert(header::LOCATION, to);
        assert_eq!(of_root(reply, &root).headers()[header::LOCATION], "/a/b/");
        for bad in ["x.ipfs.localhost", "k51.ipns.localhost"] {
            assert!(matches!(asked(bad, "/", &[]), Place::Answered(_)), "{bad}");
        }
        assert!(matches!(asked("a.b.localhost", "/", &[]), Place::Path));
    }

    #[test]
    fn changed_hosts_never_panic() {
        let mut seeds = fuzz::recorded();
        seeds.extend(vec![format!("{V1}.ipfs.localhost:80").into_bytes(); 500]);
        fuzz::feed(&seeds, |bytes, _| {
            let Ok(host) = HeaderValue::from_bytes(bytes) else {
                return;
            };
            for target in ["/", "/ipfs/x", "/ipfs/bafkqaaa/y?format=json"] {
                let request = Request::get(target).header("host", host.clone());
                let request = request.body(()).unwrap();
                if let Place::Root(root) = place(&request, &["localhost".to_owned()]) {
                    let _ = by_path(request, &root);
                }
            }
        });
    }
}
