//! `status` and `recover`.

use ipfs_cluster_protocol::api::status::StatusFilter;

use super::{Context, cid};
use crate::exit::Failure;

impl Context {
    pub(super) async fn status(
        &self,
        cids: &[String],
        local: bool,
        filter: &str,
    ) -> Result<(), Failure> {
        let cids = cids.iter().map(|c| cid(c)).collect::<Result<Vec<_>, _>>()?;
        match cids.as_slice() {
            [] => {
                let filter = StatusFilter::parse(filter)
                    .map_err(|e| Failure::local("parsing filter flag", e))?;
                let items = self.client.statuses(&filter.to_string(), local).await?;
                self.show_all(items).await
            }
            [one] => self.show(self.client.status(*one, local).await),
            several => {
                let items = self.client.statuses_of(several, local).await?;
                self.show_all(items).await
            }
        }
    }

    pub(super) async fn recover(&self, text: Option<&str>, local: bool) -> Result<(), Failure> {
        match text {
            None => self.show_all(self.client.recover_all(local).await?).await,
            Some(text) => self.show(self.client.recover(cid(text)?, local).await),
        }
    }
}
