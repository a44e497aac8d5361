//! What a head has learnt, as whoever trains hands it to whoever drafts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::HeadLayer;
use crate::LayerAdapters;

/// What a head has learnt since it was loaded.
pub enum Snapshot {
    /// Changes beside its own matrices.
    Adapters(Box<LayerAdapters>),
    /// A layer in place of its own.
    Layer(Arc<HeadLayer>),
}

/// Where a trainer leaves what was learnt for whoever drafts: the latest is taken between two drafts.
#[derive(Default)]
pub struct SnapshotSlot {
    /// How often something was left here.
    version: AtomicU64,
    latest: Mutex<Option<Arc<Snapshot>>>,
}

impl SnapshotSlot {
    /// Leaves `snapshot`, or nothing, for the next draft.
    pub fn publish(&self, snapshot: Option<Arc<Snapshot>>) {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
        self.version.fetch_add(1, Ordering::Release);
    }

    /// The latest, if `seen` is not its version, which it becomes.
    pub(crate) fn newer(&self, seen: &mut u64) -> Option<Option<Arc<Snapshot>>> {
        let version = self.version.load(Ordering::Acquire);
        if version == *seen {
            return None;
        }
        *seen = version;
        Some(self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}
