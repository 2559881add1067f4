//! Pins: what is wanted, and how far it has come.

use http::Method;
use ipfs_cluster_protocol::{
    api::{
        options::PinOptions,
        pin::Pin,
        query::{Query, escape},
        status::GlobalPinInfo,
    },
    id::Cid,
};

use super::{answer::Items, error::Error, http::Client};

/// How much of what was written before a read must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// What the peer asked knows.
    Local,
    /// All up to this index of the log, as an answer named it ([`Client::seen_index`]).
    Index(u64),
    /// All that was acknowledged to anybody before the read was sent.
    Linearizable,
}

impl Freshness {
    /// As a parameter of a query, with `&` before it.
    fn parameter(self) -> String {
        match self {
            Self::Local => String::new(),
            Self::Index(index) => format!("&min-index={index}"),
            Self::Linearizable => "&consistency=linearizable".to_owned(),
        }
    }
}

impl Client {
    /// As [`Self::allocations`], showing at least so much.
    pub async fn allocations_as_of(
        &self,
        filter: &str,
        freshness: Freshness,
    ) -> Result<Items<Pin>, Error> {
        let (filter, fresh) = (escape(filter), freshness.parameter());
        let path = format!("/allocations?filter={filter}{fresh}");
        self.stream(Method::GET, &path).await
    }

    /// As [`Self::allocation`], showing at least so much.
    pub async fn allocation_as_of(&self, cid: Cid, freshness: Freshness) -> Result<Pin, Error> {
        let fresh = freshness.parameter();
        let query = fresh.strip_prefix('&').unwrap_or_default();
        let path = format!("/allocations/{cid}?{query}");
        self.object(Method::GET, &path).await
    }

    /// The pins of the cluster. `filter` is a comma list of `pin`, `meta-pin`, `clusterdag-pin`,
    /// `shard-pin`; empty for all.
    pub async fn allocations(&self, filter: &str) -> Result<Items<Pin>, Error> {
        let path = format!("/allocations?filter={}", escape(filter));
        self.stream(Method::GET, &path).await
    }

    /// One pin of the cluster.
    pub async fn allocation(&self, cid: Cid) -> Result<Pin, Error> {
        self.object(Method::GET, &format!("/allocations/{cid}"))
            .await
    }

    /// Pins a CID.
    pub async fn pin(&self, cid: Cid, options: &PinOptions) -> Result<Pin, Error> {
        self.pin_path(&format!("/ipfs/{cid}"), options).await
    }

    /// Pins what a path (`/ipfs/…`, `/ipns/…`, `/ipld/…`) names.
    pub async fn pin_path(&self, path: &str, options: &PinOptions) -> Result<Pin, Error> {
        let mut query = Query::default();
        options.to_query(&mut query);
        let path = format!("/pins{}?{query}", escape_path(path));
        self.object(Method::POST, &path).await
    }

    /// Unpins a CID; answers with the pin as it was.
    pub async fn unpin(&self, cid: Cid) -> Result<Pin, Error> {
        self.unpin_path(&format!("/ipfs/{cid}")).await
    }

    /// Unpins what a path names.
    pub async fn unpin_path(&self, path: &str) -> Result<Pin, Error> {
        let path = format!("/pins{}", escape_path(path));
        self.object(Method::DELETE, &path).await
    }

    /// How far one CID has come, at every peer or (`local`) at the one asked.
    pub async fn status(&self, cid: Cid, local: bool) -> Result<GlobalPinInfo, Error> {
        self.object(Method::GET, &format!("/pins/{cid}?local={local}"))
            .await
    }

    /// The same of a CID just pinned or unpinned by this client: any peer that is asked has applied
    /// what this client wrote.
    pub async fn status_after_write(&self, cid: Cid) -> Result<GlobalPinInfo, Error> {
        let index = self.seen_index();
        let path = format!("/pins/{cid}?local=false&min-index={index}");
        self.object(Method::GET, &path).await
    }

    /// How far all pins have come. `filter` is a comma list of statuses, empty for all.
    pub async fn statuses(&self, filter: &str, local: bool) -> Result<Items<GlobalPinInfo>, Error> {
        let path = format!("/pins?local={local}&filter={}", escape(filter));
        self.stream(Method::GET, &path).await
    }

    /// How far these CIDs have come.
    pub async fn statuses_of(
        &self,
        cids: &[Cid],
        local: bool,
    ) -> Result<Items<GlobalPinInfo>, Error> {
        let list: Vec<String> = cids.iter().map(ToString::to_string).collect();
        let path = format!("/pins?local={local}&cids={}", list.join(","));
        self.stream(Method::GET, &path).await
    }

    /// Retries one CID.
    pub async fn recover(&self, cid: Cid, local: bool) -> Result<GlobalPinInfo, Error> {
        let path = format!("/pins/{cid}/recover?local={local}");
        self.object(Method::POST, &path).await
    }

    /// Retries all that failed; yields those that were queued again.
    pub async fn recover_all(&self, local: bool) -> Result<Items<GlobalPinInfo>, Error> {
        let path = format!("/pins/recover?local={local}");
        self.stream(Method::POST, &path).await
    }
}

/// A path for a URL, its slashes kept.
fn escape_path(path: &str) -> String {
    let parts: Vec<String> = path
        .split('/')
        .map(|part| escape(part).replace('+', "%20"))
        .collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_keeps_its_slashes_and_nothing_else() {
        assert_eq!(
            escape_path("/ipfs/Qm/a b?#.txt"),
            "/ipfs/Qm/a%20b%3F%23.txt"
        );
    }
}
