//! What a drafter has learnt, as whoever trains hands it to whoever drafts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::{HeadLayer, LayerAdapters};

/// What a drafter has learnt since it was loaded.
pub enum Snapshot {
    /// Changes beside its own matrices, by decoder layer; a head has one.
    Adapters(Vec<LayerAdapters>),
    /// A head's layer in place of its own.
    Layer(Arc<HeadLayer>),
}

impl Snapshot {
    /// The adapters of decoder layer `layer`, if there are some.
    pub(crate) fn adapters(&self, layer: usize) -> Option<&LayerAdapters> {
        match self {
            Self::Adapters(layers) => layers.get(layer),
            Self::Layer(_) => None,
        }
    }
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
}

/// What a drafter took from its slot.
#[derive(Default)]
pub(crate) struct Learnt {
    pub(crate) slot: Arc<SnapshotSlot>,
    /// Version of what was taken last.
    seen: u64,
    taken: Option<Arc<Snapshot>>,
}

impl Learnt {
    /// What drafts are made with, if something was learnt.
    pub(crate) fn get(&self) -> Option<&Snapshot> {
        self.taken.as_deref()
    }

    /// Takes the latest. Returns whether it is another than before.
    pub(crate) fn take_latest(&mut self) -> bool {
        let version = self.slot.version.load(Ordering::Acquire);
        let is_newer = version != self.seen;
        if is_newer {
            self.seen = version;
            self.taken = self.slot.latest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        }
        is_newer
    }
}
