//! What reading content through a peer answers.

use serde::{Deserialize, Serialize};

use super::lenient;
use crate::{
    content::list::{Description, EntryKind},
    id::Cid,
};

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContentKind {
    /// Bytes.
    File,
    /// Entries.
    Directory,
    /// A path.
    Symlink,
}

/// An entry of a folder, or what a path names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentEntry {
    /// Its name in the folder; the last name of the path, or empty.
    pub name: String,
    /// Its root.
    #[serde(deserialize_with = "lenient::cid")]
    pub cid: Option<Cid>,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: ContentKind,
    /// Bytes of a file, 0 for anything else.
    pub size: u64,
    /// Where a symlink leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Unix permissions, where they were kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    /// Seconds since the Unix epoch, where they were kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtime: Option<i64>,
    /// And nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtime_nsecs: Option<u32>,
}

impl ContentEntry {
    /// An entry from what its root block says.
    #[must_use]
    pub fn new(name: String, cid: Cid, description: Description) -> Self {
        let (kind, target) = match description.kind {
            EntryKind::File => (ContentKind::File, None),
            EntryKind::Folder => (ContentKind::Directory, None),
            EntryKind::Symlink(target) => {
                let target = String::from_utf8_lossy(&target).into_owned();
                (ContentKind::Symlink, Some(target))
            }
        };
        let mtime = description.attributes.mtime;
        Self {
            name,
            cid: Some(cid),
            kind,
            size: description.size,
            target,
            mode: description.attributes.mode,
            mtime: mtime.map(|m| m.seconds),
            mtime_nsecs: mtime.and_then(|m| m.nanos),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::unixfs::{Attributes, Mtime};

    #[test]
    fn entries_come_back() {
        let cid = "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH"
            .parse()
            .unwrap();
        let description = Description {
            kind: EntryKind::Symlink(b"../a".to_vec()),
            size: 0,
            attributes: Attributes {
                mode: None,
                mtime: Some(Mtime {
                    seconds: -1,
                    nanos: None,
                }),
            },
        };
        let entry = ContentEntry::new("l".to_owned(), cid, description);
        let text = serde_json::to_string(&entry).unwrap();
        assert_eq!(
            text,
            r#"{"name":"l","cid":"QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH","type":"symlink","size":0,"target":"../a","mtime":-1}"#
        );
        assert_eq!(serde_json::from_str::<ContentEntry>(&text).unwrap(), entry);
    }
}
