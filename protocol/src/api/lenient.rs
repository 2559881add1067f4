//! Reading what older versions wrote: `null` or nothing for empty, CIDs as `{"/": "…"}`.

use serde::{Deserialize, Deserializer, de};

use crate::{id::Cid, pin::PinMode};

/// `null` counts as the default.
pub(super) fn or_default<'de, D, T>(d: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

#[derive(Deserialize)]
#[serde(untagged)]
enum CidForm {
    Text(String),
    Link {
        #[serde(rename = "/")]
        text: String,
    },
}

/// A CID as text, as an IPLD link, or none (`null`, `""`).
pub(super) fn cid<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Cid>, D::Error> {
    match Option::<CidForm>::deserialize(d)? {
        None => Ok(None),
        Some(CidForm::Text(text) | CidForm::Link { text }) => {
            if text.is_empty() {
                return Ok(None);
            }
            text.parse().map(Some).map_err(de::Error::custom)
        }
    }
}

/// A CID that must be there.
pub(super) fn some_cid<'de, D: Deserializer<'de>>(d: D) -> Result<Cid, D::Error> {
    cid(d)?.ok_or_else(|| de::Error::custom("the CID is missing"))
}

/// A pin's mode; what is not `direct` is recursive.
pub(super) fn mode<'de, D: Deserializer<'de>>(d: D) -> Result<PinMode, D::Error> {
    Ok(match Option::<String>::deserialize(d)?.as_deref() {
        Some("direct") => PinMode::Direct,
        _ => PinMode::Recursive,
    })
}
