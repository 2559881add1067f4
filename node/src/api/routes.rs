//! The routes of the REST API.

use bytes::Bytes;
use futures::future::ready;
use http::HeaderMap;
use ipfs_cluster_protocol::{api::query::Query, limits::JSON_BODY_BYTES_MAX};
use warp::{Filter, Rejection, filters::BoxedFilter, path::Tail};

use super::{
    http::reply::Reply,
    openapi,
    rest::{
        Rest, Segment,
        add::{self, body},
        allocations, content, health, id, metrics, peers,
        pins::{self, IpfsPath},
    },
};

/// All routes. What none of them takes is rejected.
pub(crate) fn routes(rest: &Rest) -> BoxedFilter<(Reply,)> {
    let filters = [
        peer_routes,
        pin_routes,
        path_routes,
        list_routes,
        content_routes,
        health_routes,
        metric_routes,
    ];
    let mut all = add_route(rest);
    for filter in filters {
        all = all.or(filter(rest)).unify().boxed();
    }
    all
}

/// Gives a handler what it works with.
fn with(
    rest: &Rest,
) -> impl Filter<Extract = (Rest,), Error = std::convert::Infallible> + Clone + use<> {
    let rest = rest.clone();
    warp::any().map(move || rest.clone())
}

/// The query, empty if there is none.
pub(crate) fn query() -> impl Filter<Extract = (Query,), Error = std::convert::Infallible> + Clone {
    warp::query::raw()
        .map(|text: String| Query::parse(&text))
        .or_else(|_: Rejection| ready(Ok::<_, std::convert::Infallible>((Query::default(),))))
}

fn add_route(rest: &Rest) -> BoxedFilter<(Reply,)> {
    warp::path!("add")
        .and(warp::post())
        .and(with(rest))
        .and(query())
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(|rest: Rest, query: Query, headers: HeaderMap, stream| {
            add::add(rest, query, headers, body(stream))
        })
        .boxed()
}

fn peer_routes(rest: &Rest) -> BoxedFilter<(Reply,)> {
    let own = warp::path!("id")
        .and(warp::get())
        .and(with(rest))
        .then(id::id);
    let version = warp::path!("version").and(warp::get()).map(id::version);
    let list = warp::path!("peers")
        .and(warp::get())
        .and(with(rest))
        .then(peers::list);
    let add = warp::path!("peers")
        .and(warp::post())
        .and(with(rest))
        .and(warp::body::content_length_limit(JSON_BODY_BYTES_MAX as u64))
        .and(warp::body::bytes())
        .then(|rest: Rest, body: Bytes| peers::add(rest, body));
    let remove = warp::path!("peers" / Segment)
        .and(warp::delete())
        .and(with(rest))
        .and(query())
        .then(|peer: Segment, rest: Rest, query: Query| peers::remove(rest, peer, query));
    own.or(version)
        .unify()
        .or(list)
        .unify()
        .or(add)
        .unify()
        .or(remove)
        .unify()
        .boxed()
}

fn pin_routes(rest: &Rest) -> BoxedFilter<(Reply,)> {
    let get = warp::path!("pins" / Segment)
        .and(warp::get())
        .and(with(rest))
        .and(query())
        .then(|cid: Segment, rest: Rest, query: Query| pins::get(rest, cid, query));
    let recover_all = warp::path!("pins" / "recover")
        .and(warp::post())
        .and(with(rest))
        .and(query())
        .then(pins::recover_all);
    let recover = warp::path!("pins" / Segment / "recover")
        .and(warp::post())
        .and(with(rest))
        .and(query())
        .then(|cid: Segment, rest: Rest, query: Query| pins::recover(rest, cid, query));
    let pin = warp::path!("pins" / Segment)
        .and(warp::post())
        .and(with(rest))
        .and(query())
        .then(|cid: Segment, rest: Rest, query: Query| pins::pin(rest, cid, query));
    let unpin = warp::path!("pins" / Segment)
        .and(warp::delete())
        .and(with(rest))
        .then(|cid: Segment, rest: Rest| pins::unpin(rest, cid));
    get.or(recover_all)
        .unify()
        .or(recover)
        .unify()
        .or(pin)
        .unify()
        .or(unpin)
        .unify()
        .boxed()
}

/// `/pins/{ipfs|ipns|ipld}/…`.
fn path_routes(rest: &Rest) -> BoxedFilter<(Reply,)> {
    let namespace = warp::path!("pins" / String / ..).and(warp::path::tail());
    let path = namespace.and_then(|namespace: String, rest: Tail| {
        let known = ["ipfs", "ipns", "ipld"].contains(&namespace.as_str());
        ready(if known && !rest.as_str().is_empty() {
            Ok(IpfsPath::from_url(&namespace, rest.as_str()))
        } else {
            Err(warp::reject::not_found())
        })
    });
    let pin = path
        .and(warp::post())
        .and(with(rest))
        .and(query())
        .then(|path: IpfsPath, rest: Rest, query: Query| pins::pin_path(rest, path, query));
    let unpin = path
        .and(warp::delete())
        .and(with(rest))
        .then(|path: IpfsPath, rest: Rest| pins::unpin_path(rest, path));
    pin.or(unpin).unify().boxed()
}

fn list_routes(rest: &Rest) -> BoxedFilter<(Reply,)> {
    let pins = warp::path!("pins")
        .and(warp::get())
        .and(with(rest))
        .and(query())
        .then(pins::list);
    let allocations = warp::path!("allocations")
        .and(warp::get())
        .and(with(rest))
        .and(query())
        .then(allocations::list);
    let allocation = warp::path!("allocations" / Segment)
        .and(warp::get())
        .and(with(rest))
        .and(query())
        .then(|cid: Segment, rest: Rest, query: Query| allocations::get(rest, cid, query));
    let gc = warp::path!("ipfs" / "gc")
        .and(warp::post())
        .and(with(rest))
        .and(query())
        .then(pins::gc);
    pins.or(allocations)
        .unify()
        .or(allocation)
        .unify()
        .or(gc)
        .unify()
        .boxed()
}

fn content_routes(rest: &Rest) -> BoxedFilter<(Reply,)> {
    let stat = warp::path!("ipfs" / "stat")
        .and(warp::get())
        .and(with(rest))
        .and(query())
        .then(content::stat);
    let list = warp::path!("ipfs" / "ls")
        .and(warp::get())
        .and(with(rest))
        .and(query())
        .then(content::ls);
    let cat = warp::path!("ipfs" / "cat")
        .and(warp::get())
        .and(with(rest))
        .and(query())
        .then(content::cat);
    stat.or(list).unify().or(cat).unify().boxed()
}

fn health_routes(rest: &Rest) -> BoxedFilter<(Reply,)> {
    let live = warp::path!("health").and(warp::get()).map(health::live);
    let graph = warp::path!("health" / "graph")
        .and(warp::get())
        .and(with(rest))
        .then(health::graph);
    let alerts = warp::path!("health" / "alerts")
        .and(warp::get())
        .and(with(rest))
        .map(|rest: Rest| health::alerts(&rest));
    let bandwidth = warp::path!("health" / "bandwidth")
        .and(warp::get())
        .and(with(rest))
        .map(|rest: Rest| health::bandwidth(&rest));
    let repair = warp::path!("repair")
        .and(warp::get())
        .and(with(rest))
        .then(health::repair);
    live.or(graph)
        .unify()
        .or(alerts)
        .unify()
        .or(bandwidth)
        .unify()
        .or(repair)
        .unify()
        .boxed()
}

fn metric_routes(rest: &Rest) -> BoxedFilter<(Reply,)> {
    let names = warp::path!("monitor" / "metrics")
        .and(warp::get())
        .and(with(rest))
        .map(|rest: Rest| health::metric_names(&rest));
    let metric = warp::path!("monitor" / "metrics" / Segment)
        .and(warp::get())
        .and(with(rest))
        .map(|name: Segment, rest: Rest| health::metric(&rest, &name));
    let prometheus = warp::path!("metrics")
        .and(warp::get())
        .and(with(rest))
        .map(|rest: Rest| metrics::exposition(&rest.registry));
    let document = warp::path!("openapi.json")
        .and(warp::get())
        .map(openapi::document);
    names
        .or(metric)
        .unify()
        .or(prometheus)
        .unify()
        .or(document)
        .unify()
        .boxed()
}
