//! Sums over the entries of a profile.

use super::{Cost, Kernel, KernelEntry, Levels, Node, NodeEntry, Primitive, Profile};

impl Profile {
    /// What the entries that `select` picks took together.
    #[must_use]
    pub fn sum(&self, select: impl Fn(&NodeEntry) -> bool) -> Cost {
        let mut sum = Cost::default();
        self.nodes.iter().filter(|entry| select(entry)).for_each(|entry| sum.add(&entry.cost));
        sum
    }

    /// Nodes that took anything, in the order of [`Node::ALL`], with what they took in all layers.
    #[must_use]
    pub fn by_node(&self) -> Vec<(Node, Cost)> {
        let used = Node::ALL.into_iter().filter(|node| self.nodes.iter().any(|entry| entry.node == *node));
        used.map(|node| (node, self.sum(|entry| entry.node == node))).collect()
    }

    /// Layers in order; the part outside of all layers, if any, is last.
    #[must_use]
    pub fn layers(&self) -> Vec<Option<usize>> {
        let mut layers: Vec<_> = self.nodes.iter().map(|entry| entry.layer).collect();
        layers.sort_unstable_by_key(|layer| layer.unwrap_or(usize::MAX));
        layers.dedup();
        layers
    }

    /// Bootstraps as one row, and what is outside of them by primitive.
    pub(super) fn by_primitive(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        let inside: Vec<_> = self.primitives.iter().filter(|entry| entry.bootstrap).collect();
        if !inside.is_empty() {
            let mut row = Row::named("bootstrap");
            let bootstraps = self.sum(|entry| entry.node == Node::Bootstrap);
            row.calls = bootstraps.calls;
            inside.iter().for_each(|entry| row.add(&entry.kernels, entry.levels));
            rows.push(row);
        }
        for entry in self.primitives.iter().filter(|entry| !entry.bootstrap) {
            let mut row = Row::named(&entry.primitive.to_string());
            row.calls = entry.calls;
            row.add(&entry.kernels, entry.levels);
            rows.push(row);
        }
        rows
    }

    /// Kernels, in bootstraps and outside.
    pub(super) fn by_kernel(&self) -> Vec<(Kernel, KernelEntry)> {
        let sum = |kernel| {
            let mut sum = KernelEntry::none(kernel);
            let all = self.primitives.iter().flat_map(|entry| &entry.kernels);
            all.filter(|entry| entry.kernel == kernel).for_each(|entry| sum.add(entry));
            (kernel, sum)
        };
        Kernel::ALL.into_iter().map(sum).collect()
    }

    /// Key switches that the engine counted, those of bootstraps included.
    #[must_use]
    pub fn key_switches(&self) -> u64 {
        let switches = self.primitives.iter().filter(|entry| entry.primitive.switches_keys());
        switches.map(|entry| entry.calls).sum()
    }

    /// Calls of a primitive, in bootstraps and outside.
    #[must_use]
    pub fn calls(&self, primitive: Primitive) -> u64 {
        self.primitives.iter().filter(|entry| entry.primitive == primitive).map(|entry| entry.calls).sum()
    }
}

/// A row of the breakdown by primitive.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) calls: u64,
    pub(super) levels: Option<Levels>,
    pub(super) kernels: Vec<KernelEntry>,
    pub(super) total: KernelEntry,
    /// Limbs transformed in either direction.
    pub(super) transforms: f64,
}

impl Row {
    fn named(name: &str) -> Self {
        let total = KernelEntry::none(Kernel::Pointwise);
        Self { name: name.to_owned(), calls: 0, levels: None, kernels: Vec::new(), total, transforms: 0.0 }
    }

    fn add(&mut self, kernels: &[KernelEntry], levels: Option<Levels>) {
        self.levels = Levels::union(self.levels, levels);
        for kernel in kernels {
            self.total.add(kernel);
            if matches!(kernel.kernel, Kernel::ForwardTransform | Kernel::InverseTransform) {
                self.transforms += kernel.limbs;
            }
            super::primitive::add_kernel(&mut self.kernels, *kernel);
        }
    }
}
