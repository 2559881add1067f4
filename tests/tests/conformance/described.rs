//! Whether an answer is as the served OpenAPI document describes it.

use std::collections::BTreeMap;

use ipfs_cluster_tests::{Answer, Peer};
use serde_json::{Value, json};

/// The document of a peer, and the schemas that were looked up in it.
#[derive(Debug)]
pub(crate) struct Description {
    document: Value,
    schemas: BTreeMap<String, jsonschema::Validator>,
}

impl Description {
    /// As a peer serves it.
    pub(crate) async fn of(peer: &Peer, authorization: &str) -> Self {
        let port = peer.rest_port();
        let answer =
            ipfs_cluster_tests::http::send(port, "GET", "/openapi.json", authorization, b"");
        Self {
            document: answer.await.unwrap().json().unwrap(),
            schemas: BTreeMap::new(),
        }
    }

    /// How an answer differs from what is described. What no operation describes (unknown paths,
    /// preflights, redirects, wrong methods) is not looked at.
    pub(crate) fn judge(&mut self, method: &str, path: &str, answer: &Answer) -> Vec<String> {
        let path = path.split('?').next().unwrap_or_default();
        let Some(responses) = self.responses(method, path) else {
            return Vec::new();
        };
        if [301, 307, 405].contains(&answer.status) {
            return Vec::new();
        }
        let Some(response) = responses.get(answer.status.to_string()) else {
            return vec![format!("the description knows no status {}", answer.status)];
        };
        let content = response["content"].as_object();
        let Some((media_type, content)) = content.and_then(|c| c.iter().next()) else {
            return Vec::new();
        };
        if answer.header("content-type") != Some(media_type) {
            return vec![format!("the description says {media_type}")];
        }
        let (schema, items) = match (&content["schema"], &content["x-item-schema"]) {
            (Value::Null, Value::Null) => return Vec::new(),
            (Value::Null, item) => (item.clone(), answer.items().unwrap_or_default()),
            (schema, _) => (schema.clone(), answer.json().into_iter().collect()),
        };
        let items = items.into_iter().flat_map(|item| match item {
            // An upload's results come as one array where that is asked for.
            Value::Array(list) if content["schema"].is_null() => list,
            item => vec![item],
        });
        let validator = self.validator(&schema);
        let wrong = |item: Value| {
            let found = validator.iter_errors(&item).next();
            found.map(|e| format!("not as described: {} at {}", e, e.instance_path))
        };
        items.filter_map(wrong).take(3).collect()
    }

    fn responses(&self, method: &str, path: &str) -> Option<Value> {
        let wanted: Vec<&str> = path.split('/').collect();
        let paths = self.document["paths"].as_object()?;
        let matches = |pattern: &str| {
            let parts: Vec<&str> = pattern.split('/').collect();
            let tail = pattern.ends_with("{path}");
            let same = |(part, segment): (&&str, &&str)| {
                part.starts_with('{') && !segment.is_empty() || part == segment
            };
            (parts.len() == wanted.len() || tail && wanted.len() > parts.len())
                && parts.iter().zip(&wanted).all(same)
        };
        // A path without parameters goes before one that has some.
        let mut found: Vec<&String> = paths.keys().filter(|p| matches(p)).collect();
        found.sort_by_key(|p| p.matches('{').count());
        let method = method.to_lowercase();
        let operation = found.into_iter().find_map(|p| paths[p].get(&method))?;
        Some(operation["responses"].clone())
    }

    fn validator(&mut self, schema: &Value) -> &jsonschema::Validator {
        let components = &self.document["components"];
        self.schemas.entry(schema.to_string()).or_insert_with(|| {
            let mut root = json!({"components": components});
            let own = schema.as_object().unwrap().clone();
            root.as_object_mut().unwrap().extend(own);
            jsonschema::draft202012::new(&root).unwrap()
        })
    }
}
