//! Peers of the cluster.

use http::Method;
use http_body_util::{BodyExt, Full};
use ipfs_cluster_protocol::{
    api::{
        id::{Id, PeerAdd, Version},
        repair::Repair,
    },
    id::PeerId,
};

use super::{
    answer::Items,
    error::Error,
    http::{Client, empty},
};

impl Client {
    /// The peer asked.
    pub async fn id(&self) -> Result<Id, Error> {
        self.object(Method::GET, "/id").await
    }

    /// The version of the API.
    pub async fn version(&self) -> Result<Version, Error> {
        self.object(Method::GET, "/version").await
    }

    /// All peers of the cluster; those that could not be asked with an error.
    pub async fn peers(&self) -> Result<Items<Id>, Error> {
        self.stream(Method::GET, "/peers").await
    }

    /// Adds a peer.
    pub async fn peer_add(&self, peer: &PeerId) -> Result<Id, Error> {
        let body = PeerAdd {
            peer_id: peer.to_string(),
        };
        let body = serde_json::to_vec(&body).map_err(|e| Error::Decode(e.to_string()))?;
        let body = Full::from(body)
            .map_err(|never| match never {})
            .boxed_unsync();
        let answer = self.send(Method::POST, "/peers", body).await?;
        answer.object().await
    }

    /// Removes a peer. A live one is drained first, unless `drain` is false.
    pub async fn peer_rm(&self, peer: &PeerId, drain: bool) -> Result<(), Error> {
        let query = if drain { "" } else { "?drain=false" };
        let path = format!("/peers/{peer}{query}");
        self.send(Method::DELETE, &path, empty())
            .await?
            .nothing()
            .await
    }

    /// What the cluster does about pins that lack copies.
    pub async fn repair(&self) -> Result<Repair, Error> {
        self.object(Method::GET, "/repair").await
    }
}
