//! Uploads.

use http::Method;
use ipfs_cluster_protocol::api::add::{AddParams, AddedOutput};

use super::{
    answer::Items,
    error::Error,
    http::Client,
    multipart::{self, Upload},
};

/// What was added, as it is, and progress lines if asked for.
pub type AddedStream = Items<AddedOutput>;

impl Client {
    /// Uploads files and folders, in depth-first order, and pins the last root. The answer is
    /// always streamed, whatever the parameters say.
    pub async fn add(
        &self,
        uploads: Vec<Upload>,
        params: &AddParams,
    ) -> Result<AddedStream, Error> {
        let params = AddParams {
            stream_channels: true,
            ..params.clone()
        };
        let path = format!("/add?{}", params.to_query());
        let (content_type, body) = multipart::body(uploads);
        let answer = self.send_as(Method::POST, &path, Some(&content_type), body);
        Ok(Items::new(answer.await?))
    }
}
