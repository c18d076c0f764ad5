//! Both breakdowns as tables of text.

use super::{Cost, Levels, Node, Profile};
use std::fmt;

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.node_table(f)?;
        self.layer_table(f)?;
        if self.primitives.is_empty() {
            return Ok(());
        }
        self.primitive_table(f)?;
        self.kernel_table(f)
    }
}

impl Profile {
    fn node_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<22} {:>9} {:>6} {:>10} {:>7} {:>7} {:>12} {:>9} {:>10} {:>10}",
            "node", "seconds", "%", "CPU s", "calls", "levels", "key switches", "encoded", "keys", "plaintexts"
        )?;
        let mut row = |name: &str, cost: &Cost| {
            writeln!(
                f,
                "{name:<22} {:>9.3} {:>6.1} {:>10.3} {:>7} {:>7} {:>12} {:>9} {:>10} {:>10}",
                cost.seconds,
                percent(cost.seconds, self.seconds),
                cost.cpu_seconds,
                cost.calls,
                range(cost.levels),
                cost.key_switches,
                cost.encodings,
                bytes(cost.key_bytes),
                bytes(cost.plaintext_bytes),
            )
        };
        for (node, cost) in self.by_node() {
            row(&node.to_string(), &cost)?;
        }
        row("total", &self.sum(|_| true))
    }

    /// Seconds by layer, if there are several.
    fn layer_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (layers, nodes) = (self.layers(), self.by_node());
        if layers.len() < 2 {
            return Ok(());
        }
        write!(f, "\n{:<22}", "seconds")?;
        for layer in &layers {
            write!(f, " {:>9}", layer_name(*layer))?;
        }
        writeln!(f)?;
        let mut row = |name: &str, select: &dyn Fn(Node) -> bool| {
            write!(f, "{name:<22}")?;
            for layer in &layers {
                let cost = self.sum(|entry| entry.layer == *layer && select(entry.node));
                write!(f, " {:>9.3}", cost.seconds)?;
            }
            writeln!(f)
        };
        for (node, _) in nodes {
            row(&node.to_string(), &|other| other == node)?;
        }
        row("total", &|_| true)
    }

    fn primitive_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{:<22} {:>9} {:>6} {:>9} {:>7} {:>11} {:>10} {:>10}",
            "primitive", "CPU s", "%", "calls", "levels", "NTT limbs", "keys", "plaintexts"
        )?;
        for row in self.by_primitive() {
            writeln!(
                f,
                "{:<22} {:>9.3} {:>6.1} {:>9} {:>7} {:>11.0} {:>10} {:>10}",
                row.name,
                row.total.cpu_seconds,
                percent(row.total.cpu_seconds, self.cpu_seconds),
                row.calls,
                range(row.levels),
                row.transforms,
                bytes(row.total.key_bytes),
                bytes(row.total.plaintext_bytes),
            )?;
        }
        Ok(())
    }

    fn kernel_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{:<22} {:>9} {:>6} {:>12} {:>10}", "kernel", "CPU s", "%", "limbs", "keys")?;
        for (kernel, sum) in self.by_kernel() {
            writeln!(
                f,
                "{kernel:<22} {:>9.3} {:>6.1} {:>12.0} {:>10}",
                sum.cpu_seconds,
                percent(sum.cpu_seconds, self.cpu_seconds),
                sum.limbs,
                bytes(sum.key_bytes),
            )?;
        }
        Ok(())
    }
}

pub(super) fn percent(part: f64, total: f64) -> f64 {
    if total > 0.0 { 100.0 * part / total } else { 0.0 }
}

pub(super) fn layer_name(layer: Option<usize>) -> String {
    layer.map_or_else(|| "outside".to_owned(), |layer| format!("layer {layer}"))
}

/// `highest-lowest`.
pub(super) fn range(levels: Option<Levels>) -> String {
    levels.map_or_else(String::new, |Levels { highest, lowest }| format!("{highest}-{lowest}"))
}

/// Bytes in the largest binary unit that leaves at least one digit before the point.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    if count == 0 {
        return String::new();
    }
    let power = (count.ilog2() / 10).min(4);
    let value = count as f64 / (1u64 << (10 * power)) as f64;
    let digits = if power == 0 { 0 } else { 2 };
    format!("{value:.digits$} {}", UNITS[power as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_in_a_readable_unit() {
        assert_eq!([0, 1, 1023, 1024, 3 << 29].map(bytes), ["", "1 B", "1023 B", "1.00 KiB", "1.50 GiB"]);
    }
}
