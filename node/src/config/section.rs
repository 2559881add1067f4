//! Typed values of one section.

use std::{collections::BTreeMap, path::Path, time::Duration};

use ipfs_cluster_protocol::api::duration;
use multiaddr::Multiaddr;
use serde_json::{Map, Value};

use super::{
    document::{shown, wanted},
    error::ConfigError,
    keys::{self, Key, Preset},
    listen,
    secret::Secret,
};
use crate::env::Addr;

/// One object of the file, read through the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Section<'a> {
    spec: &'static keys::Section,
    values: &'a Map<String, Value>,
    from_env: &'a BTreeMap<String, String>,
}

type Read<T> = Result<T, ConfigError>;

impl<'a> Section<'a> {
    pub(super) fn new(
        spec: &'static keys::Section,
        values: &'a Map<String, Value>,
        from_env: &'a BTreeMap<String, String>,
    ) -> Self {
        Self {
            spec,
            values,
            from_env,
        }
    }

    /// The table's key and the file's value, if it has one that is not `null` or `""`.
    fn get(&self, name: &str) -> (&'static Key, Option<&'a Value>) {
        let key = self
            .spec
            .key(name)
            .expect("only keys of the table are asked for");
        let value = self
            .values
            .get(name)
            .filter(|v| !v.is_null() && v.as_str() != Some(""));
        (key, value)
    }

    /// A key of this section, from the root.
    pub(super) fn path_of(&self, name: &str) -> String {
        format!("{}.{name}", self.spec.path)
    }

    /// An error about a key.
    pub(super) fn refuse(&self, name: &str, remedy: impl Into<String>) -> ConfigError {
        let (key, value) = self.get(name);
        let path = self.path_of(name);
        ConfigError::Value {
            key: match self.from_env.get(&path) {
                Some(variable) => format!("{path} (set by {variable})"),
                None => path,
            },
            value: value.map_or_else(|| "nothing".to_owned(), |v| shown(key, v)),
            remedy: remedy.into(),
        }
    }

    fn wrong_kind(&self, key: &Key) -> ConfigError {
        self.refuse(key.name, format!("write {}", wanted(key.kind)))
    }

    /// A truth value.
    pub(super) fn bool(&self, name: &str) -> Read<bool> {
        let (key, value) = self.get(name);
        match (value, key.default) {
            (Some(v), _) => v.as_bool().ok_or_else(|| self.wrong_kind(key)),
            (None, Preset::Bool(b)) => Ok(b),
            (None, _) => Ok(false),
        }
    }

    /// A whole number of at least `least`.
    pub(super) fn int<T: TryFrom<i64>>(&self, name: &str, least: i64) -> Read<T> {
        let (key, value) = self.get(name);
        let n = match (value, key.default) {
            (Some(v), _) => v.as_i64().ok_or_else(|| self.wrong_kind(key))?,
            (None, Preset::Int(n)) => n,
            (None, _) => 0,
        };
        T::try_from(n)
            .ok()
            .filter(|_| n >= least)
            .ok_or_else(|| self.refuse(name, format!("write a whole number from {least}")))
    }

    /// A number above 0.
    pub(super) fn rate(&self, name: &str) -> Read<f64> {
        let (key, value) = self.get(name);
        let n = match (value, key.default) {
            (Some(v), _) => v.as_f64().ok_or_else(|| self.wrong_kind(key))?,
            (None, Preset::Float(n)) => n,
            (None, _) => 0.0,
        };
        if n.is_finite() && n > 0.0 {
            Ok(n)
        } else {
            Err(self.refuse(name, "write a number above 0"))
        }
    }

    /// A number from 0 to 1.
    pub(super) fn share(&self, name: &str) -> Read<f64> {
        let (key, value) = self.get(name);
        let n = match (value, key.default) {
            (Some(v), _) => v.as_f64().ok_or_else(|| self.wrong_kind(key))?,
            (None, Preset::Float(n)) => n,
            (None, _) => 0.0,
        };
        if (0.0..=1.0).contains(&n) {
            Ok(n)
        } else {
            Err(self.refuse(name, "write a number from 0 to 1"))
        }
    }

    /// A text; empty when there is none.
    pub(super) fn text(&self, name: &str) -> Read<String> {
        let (key, value) = self.get(name);
        match (value, key.default) {
            (Some(Value::String(s)), _) => Ok(s.clone()),
            (Some(_), _) => Err(self.wrong_kind(key)),
            (None, Preset::Text(s)) => Ok(s.to_owned()),
            (None, _) => Ok(String::new()),
        }
    }

    /// A file or folder, relative to `folder`; none when the text is empty.
    pub(super) fn path(&self, name: &str, folder: &Path) -> Read<Option<std::path::PathBuf>> {
        let text = self.text(name)?;
        Ok((!text.is_empty()).then(|| folder.join(text)))
    }

    /// A secret text.
    pub(super) fn secret(&self, name: &str) -> Read<Option<Secret<String>>> {
        let text = self.text(name)?;
        Ok((!text.is_empty()).then(|| Secret::new(text)))
    }

    /// One text or a list.
    pub(super) fn texts(&self, name: &str) -> Read<Vec<String>> {
        let (key, value) = self.get(name);
        match (value, key.default) {
            (Some(Value::String(s)), _) => Ok(vec![s.clone()]),
            (Some(Value::Array(list)), _) => list
                .iter()
                .map(|v| v.as_str().map(str::to_owned))
                .collect::<Option<_>>()
                .ok_or_else(|| self.wrong_kind(key)),
            (Some(_), _) => Err(self.wrong_kind(key)),
            (None, Preset::List(list)) => Ok(list.iter().map(|&s| s.to_owned()).collect()),
            (None, _) => Ok(Vec::new()),
        }
    }

    /// An object of texts; none when there is none.
    pub(super) fn map(&self, name: &str) -> Read<Option<BTreeMap<String, String>>> {
        let (key, value) = self.get(name);
        match (value, key.default) {
            (Some(Value::Object(map)), _) => map
                .iter()
                .map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
                .collect::<Option<_>>()
                .map(Some)
                .ok_or_else(|| self.wrong_kind(key)),
            (Some(_), _) => Err(self.wrong_kind(key)),
            (None, Preset::Map(pairs)) => Ok(Some(
                pairs
                    .iter()
                    .map(|&(k, v)| (k.to_owned(), v.to_owned()))
                    .collect(),
            )),
            (None, _) => Ok(None),
        }
    }

    /// An object of lists of texts.
    pub(super) fn lists(&self, name: &str) -> Read<BTreeMap<String, Vec<String>>> {
        let (key, value) = self.get(name);
        let Some(value) = value else {
            return Ok(BTreeMap::new());
        };
        serde_json::from_value(value.clone()).map_err(|_| self.wrong_kind(key))
    }

    /// A duration, also zero.
    pub(super) fn duration(&self, name: &str) -> Read<Duration> {
        let (key, value) = self.get(name);
        let text = match (value, key.default) {
            (Some(Value::String(s)), _) => s.as_str(),
            (Some(_), _) => return Err(self.wrong_kind(key)),
            (None, Preset::Text(s)) => s,
            (None, _) => return Ok(Duration::ZERO),
        };
        duration::parse(text).map_err(|_| self.wrong_kind(key))
    }

    /// A duration above zero.
    pub(super) fn interval(&self, name: &str) -> Read<Duration> {
        match self.duration(name)? {
            Duration::ZERO => Err(self.refuse(name, "write a duration above 0")),
            d => Ok(d),
        }
    }

    /// Multiaddrs.
    pub(super) fn multiaddrs(&self, name: &str) -> Read<Vec<Multiaddr>> {
        self.texts(name)?
            .iter()
            .map(|text| {
                text.parse()
                    .map_err(|e| self.refuse(name, format!("{text:?} is no multiaddr ({e})")))
            })
            .collect()
    }

    /// Where a server listens or a client connects: every text an address.
    pub(super) fn addrs(&self, name: &str) -> Read<Vec<Addr>> {
        self.texts(name)?
            .iter()
            .map(|text| listen::parse(text).map_err(|why| self.refuse(name, why)))
            .collect()
    }

    /// One such address.
    pub(super) fn addr(&self, name: &str) -> Read<Addr> {
        listen::parse(&self.text(name)?).map_err(|why| self.refuse(name, why))
    }
}
