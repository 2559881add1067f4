//! `service.json` as JSON, with the environment laid over it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use super::{
    error::ConfigError,
    keys::{self, Key, Kind, SECTIONS, TOLERATED, Use},
    section::Section,
};

/// Environment variables by name.
pub type Variables = BTreeMap<String, String>;

/// The file's object, and which of its values came from the environment.
#[derive(Debug)]
pub(super) struct Document {
    root: Map<String, Value>,
    /// Path of a key to the variable that set it.
    from_env: BTreeMap<String, String>,
}

impl Document {
    /// Reads the bytes of `path`.
    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, ConfigError> {
        let why = match serde_json::from_slice(bytes) {
            Ok(Value::Object(root)) => return Ok(Self::new(root)),
            Ok(_) => "it is not a JSON object".to_owned(),
            Err(e) => e.to_string(),
        };
        Err(ConfigError::Json {
            path: PathBuf::from(path),
            why,
        })
    }

    /// Wraps an object.
    pub(super) fn new(root: Map<String, Value>) -> Self {
        Self {
            root,
            from_env: BTreeMap::new(),
        }
    }

    /// The object to write.
    pub(super) fn into_json(self) -> Value {
        Value::Object(self.root)
    }

    /// What stands at a path of names with dots.
    fn at(&self, path: &str) -> Option<&Value> {
        let mut names = path.split('.');
        let first = self.root.get(names.next()?)?;
        names.try_fold(first, |value, name| value.get(name))
    }

    /// Whether something other than `null` stands at this path.
    pub(super) fn has(&self, path: &str) -> bool {
        self.at(path).is_some_and(|v| !v.is_null())
    }

    /// The object at `path`, made if it is missing.
    fn object(&mut self, path: &str) -> Option<&mut Map<String, Value>> {
        path.split('.').try_fold(&mut self.root, |map, name| {
            map.entry(name)
                .or_insert_with(|| Value::Object(Map::new()))
                .as_object_mut()
        })
    }

    /// Sets what the environment says of every section that counts.
    pub(super) fn overlay(&mut self, vars: &Variables) -> Result<(), ConfigError> {
        for section in SECTIONS {
            if !section.implied && !self.has(section.path) {
                continue;
            }
            for key in section.keys {
                let name = key.variable(section.env);
                let Some(text) = vars.get(&name) else {
                    continue;
                };
                let value = from_text(key, text).ok_or_else(|| ConfigError::Value {
                    key: name.clone(),
                    value: shown(key, &Value::from(text.as_str())),
                    remedy: format!("write {}", wanted(key.kind)),
                })?;
                if let Some(map) = self.object(section.path) {
                    map.insert(key.name.to_owned(), value);
                    self.from_env
                        .insert(format!("{}.{}", section.path, key.name), name);
                }
            }
        }
        Ok(())
    }

    /// The typed view of a section: none when the file does not have it and it is not implied.
    pub(super) fn section(&self, path: &'static str) -> Result<Option<Section<'_>>, ConfigError> {
        let Some(spec) = keys::find(path) else {
            return Ok(None);
        };
        match self.at(path) {
            Some(Value::Object(values)) => Ok(Some(Section::new(spec, values, &self.from_env))),
            None | Some(Value::Null) if spec.implied => {
                Ok(Some(Section::new(spec, section_empty(), &self.from_env)))
            }
            None | Some(Value::Null) => Ok(None),
            Some(other) => Err(ConfigError::Value {
                key: path.to_owned(),
                value: kind_of(other).to_owned(),
                remedy: "write an object".to_owned(),
            }),
        }
    }

    /// A section of the table as if the file had it empty.
    pub(super) fn preset(&self, path: &'static str) -> Section<'_> {
        let spec = keys::find(path).expect("only sections of the table are asked for");
        Section::new(spec, section_empty(), &self.from_env)
    }

    /// Sections and keys that are not in the table, by path.
    pub(super) fn unknown(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.walk(&mut |path, known| {
            if known == Known::No {
                found.push(path.to_owned());
            }
        });
        found
    }

    /// Keys and sections of the Go program that have no effect here: paths by reason.
    pub(super) fn without_effect(&self) -> BTreeMap<&'static str, Vec<String>> {
        let mut found: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
        self.walk(&mut |path, known| {
            if let Known::Without(why) = known {
                found.entry(why).or_default().push(path.to_owned());
            }
        });
        found
    }

    /// Calls `visit` with every key outside the table's sections and every key within one.
    fn walk(&self, visit: &mut impl FnMut(&str, Known)) {
        // Only paths of the table are descended into, so the depth is the table's.
        let mut open: Vec<(String, &Map<String, Value>)> = vec![(String::new(), &self.root)];
        while let Some((prefix, map)) = open.pop() {
            for (name, value) in map {
                let path = if prefix.is_empty() {
                    name.clone()
                } else {
                    format!("{prefix}.{name}")
                };
                match (leads_to_section(&path), value) {
                    (true, Value::Object(inner)) => open.push((path, inner)),
                    (true, _) => {}
                    (false, _) => visit(&path, known(&prefix, name, &path)),
                }
            }
        }
    }
}

/// How the table knows a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Obeyed,
    Without(&'static str),
    No,
}

fn known(section: &str, name: &str, path: &str) -> Known {
    if let Some((_, why)) = TOLERATED.iter().find(|(p, _)| *p == path) {
        return Known::Without(why);
    }
    match keys::find(section).and_then(|s| s.key(name)) {
        None => Known::No,
        Some(key) => match key.r#use {
            Use::Written | Use::Hidden => Known::Obeyed,
            Use::Without(why) => Known::Without(why),
        },
    }
}

/// Whether a section has this path or lies below it.
fn leads_to_section(path: &str) -> bool {
    SECTIONS.iter().any(|s| {
        s.path
            .strip_prefix(path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

fn section_empty() -> &'static Map<String, Value> {
    static EMPTY: std::sync::OnceLock<Map<String, Value>> = std::sync::OnceLock::new();
    EMPTY.get_or_init(Map::new)
}

/// A variable's text as the JSON of its key.
fn from_text(key: &Key, text: &str) -> Option<Value> {
    let list = || text.split(',').map(str::trim).filter(|t| !t.is_empty());
    let pairs = || list().map(|t| t.split_once(':'));
    Some(match key.kind {
        Kind::Bool => Value::Bool(match text {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => true,
            "0" | "f" | "F" | "FALSE" | "false" | "False" => false,
            _ => return None,
        }),
        Kind::Int => Value::from(text.trim().parse::<i64>().ok()?),
        Kind::Float => Value::from(text.trim().parse::<f64>().ok()?),
        Kind::Text | Kind::Duration | Kind::Secret => Value::from(text),
        Kind::Texts => list().map(Value::from).collect(),
        Kind::Map | Kind::Secrets => Value::Object(
            pairs()
                .map(|p| p.map(|(k, v)| (k.to_owned(), Value::from(v))))
                .collect::<Option<_>>()?,
        ),
        Kind::Lists => Value::Object(
            pairs()
                .map(|p| p.map(|(k, v)| (k.to_owned(), Value::from(vec![v]))))
                .collect::<Option<_>>()?,
        ),
    })
}

/// What a key of this kind wants, for error texts.
pub(super) fn wanted(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "true or false",
        Kind::Int => "a whole number",
        Kind::Float => "a number",
        Kind::Text | Kind::Secret => "a text",
        Kind::Texts => "a text or a list of texts",
        Kind::Map | Kind::Secrets => "an object of texts (in the environment: key:value,…)",
        Kind::Lists => "an object of lists of texts (in the environment: key:value,…)",
        Kind::Duration => "a duration such as \"30s\" or \"1h30m\"",
    }
}

/// A value for error texts.
pub(super) fn shown(key: &Key, value: &Value) -> String {
    if key.is_secret() {
        "the value".to_owned()
    } else {
        let text = value.to_string();
        match text.char_indices().nth(100) {
            Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or_default()),
            None => text,
        }
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
