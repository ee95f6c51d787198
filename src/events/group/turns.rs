//! Who may run handlers now. Normally many; a suspect, whose last start may have taken its process with it, runs while
//! no other handler of this process does: if it kills again, no neighbour is counted with it.

use std::sync::Arc;

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The turns of one process, shared by all its groups.
#[derive(Debug, Clone, Default)]
pub struct Turns {
    lock: Arc<RwLock<()>>,
}

impl Turns {
    /// A turn beside others. Waits while somebody runs alone or wants to.
    pub(super) async fn shared(&self) -> RwLockReadGuard<'_, ()> {
        self.lock.read().await
    }

    /// A turn without others.
    pub(super) async fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.lock.write().await
    }
}
