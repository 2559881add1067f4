//! `peers`.

use super::{Context, peer};
use crate::{
    args::{Peers, help},
    exit::{Code, Failure},
};

impl Context {
    pub(super) async fn peers(&self, command: Option<Peers>) -> Result<Code, Failure> {
        match command {
            None => return Ok(help(&["peers"])),
            Some(Peers::Ls) => {
                let peers = self.client.peers().await?;
                self.show_sorted(peers, |id| id.id.clone()).await?;
            }
            Some(Peers::Rm { peer: id, no_drain }) => {
                self.client.peer_rm(&peer(&id)?, !no_drain).await?;
            }
        }
        Ok(Code::Done)
    }
}
