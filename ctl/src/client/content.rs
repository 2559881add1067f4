//! Reading content through the peer.

use bytes::Bytes;
use futures::{Stream, stream};
use http::Method;
use ipfs_cluster_protocol::api::{content::ContentEntry, query::escape};

use super::{
    answer::Items,
    error::Error,
    http::{Client, empty},
};

impl Client {
    /// What a path (`/ipfs/CID/…`, or a CID) names.
    pub async fn content_stat(&self, path: &str) -> Result<ContentEntry, Error> {
        let path = format!("/ipfs/stat?arg={}", escape(path));
        self.object(Method::GET, &path).await
    }

    /// The entries of a folder.
    pub async fn content_ls(&self, path: &str) -> Result<Items<ContentEntry>, Error> {
        let path = format!("/ipfs/ls?arg={}", escape(path));
        self.stream(Method::GET, &path).await
    }

    /// The bytes of a file as they come. A stream that breaks off ends in an error.
    pub async fn content_cat(
        &self,
        path: &str,
    ) -> Result<impl Stream<Item = Result<Bytes, Error>> + Send + use<>, Error> {
        let path = format!("/ipfs/cat?arg={}", escape(path));
        let answer = self.send(Method::GET, &path, empty()).await?;
        Ok(stream::unfold(Some(answer), async |answer| {
            let mut answer = answer?;
            match answer.checked_piece().await {
                Ok(None) => None,
                Ok(Some(piece)) => Some((Ok(piece), Some(answer))),
                Err(error) => Some((Err(error), None)),
            }
        }))
    }
}
