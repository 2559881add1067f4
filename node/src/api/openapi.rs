//! The description of the REST API, as it is served. It is kept by hand; a test here keeps it equal
//! to the routes, and the conformance tests check bodies and answers against it.

use http::{StatusCode, header};

use super::http::reply::{self, Reply};

const DOCUMENT: &str = include_str!("openapi.json");

pub(crate) fn document() -> Reply {
    let mut reply = reply::empty(StatusCode::OK).map(|_| DOCUMENT.into());
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, reply::JSON);
    reply
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::api::routing;

    /// Every parameter by the same name; a namespace is one too.
    fn form(path: &str) -> String {
        let segments = path.split('/').map(|segment| match segment {
            "ipfs" | "ipns" | "ipld" if path.ends_with('*') => "{}",
            "*" => "{}",
            named if named.starts_with('{') => "{}",
            plain => plain,
        });
        segments.collect::<Vec<_>>().join("/")
    }

    #[test]
    fn the_document_describes_every_route_and_nothing_else() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        let mut described = BTreeSet::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for method in operations.as_object().unwrap().keys() {
                described.insert((method.to_uppercase(), form(path)));
            }
        }
        let routes = routing::REST.iter();
        let served: BTreeSet<_> = routes
            .map(|(method, path)| ((*method).to_owned(), form(path)))
            .collect();
        assert_eq!(described, served);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let mut open = vec![&document];
        while let Some(value) = open.pop() {
            match value {
                Value::Object(map) => {
                    if let Some(Value::String(to)) = map.get("$ref") {
                        let found = document.pointer(to.trim_start_matches('#'));
                        assert!(found.is_some(), "{to}");
                    }
                    open.extend(map.values());
                }
                Value::Array(list) => open.extend(list),
                _ => {}
            }
        }
    }
}
