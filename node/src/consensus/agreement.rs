//! Whether this peer's state agrees with the others': its own hashes as entries are applied, theirs
//! as gossip brings them (`status`), and the judgement (`protocol::witness`).

use std::{collections::BTreeSet, sync::Arc};

use ipfs_cluster_protocol::{
    id::PeerId,
    state::System,
    witness::{Outvoted, Statement, Witness},
};
use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::error;

use super::core::Members;
use crate::{
    storage::{ReadError, StateStore},
    worker::told,
};

/// This peer's part in comparing states. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Agreement(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    witness: Mutex<Witness>,
    members: watch::Receiver<Members>,
    outvoted: watch::Sender<Option<Outvoted>>,
}

impl Agreement {
    pub(crate) fn new(members: watch::Receiver<Members>) -> Self {
        Self(Arc::new(Inner {
            witness: Mutex::default(),
            members,
            outvoted: watch::Sender::default(),
        }))
    }

    /// The state was opened, or replaced as a whole.
    pub(super) async fn begin(&self, state: &StateStore) -> Result<(), ReadError> {
        let system = state.read(|s| System::load(s)).await?;
        let (index, hash) = (system.index, system.hash);
        self.0.witness.lock().begin(Statement { index, hash });
        Ok(())
    }

    /// Entries were applied.
    pub(super) fn applied(&self, statements: Vec<Statement>) {
        let mut witness = self.0.witness.lock();
        for statement in statements {
            witness.applied(statement);
        }
    }

    /// What to tell the others.
    #[must_use]
    pub fn statements(&self) -> Vec<Statement> {
        self.0.witness.lock().statements()
    }

    /// What a member told.
    pub fn heard(&self, from: PeerId, statements: Vec<Statement>) {
        self.0.witness.lock().heard(from, statements);
    }

    /// Compares. One that differs from the majority is told so through [`Self::outvoted`].
    pub fn judge(&self) {
        let members: BTreeSet<PeerId> = self.0.members.borrow().keys().cloned().collect();
        if let Err(outvoted) = self.0.witness.lock().judge(&members) {
            error!("{outvoted}");
            self.0.outvoted.send_replace(Some(*outvoted));
        }
    }

    /// Resolves when this peer's state was found to differ from the majority's: it must stop.
    pub async fn outvoted(&self) -> Outvoted {
        told(self.0.outvoted.subscribe()).await
    }
}
