//! Both breakdowns as one page: charts in SVG, and their numbers in tables. It is well-formed XML and needs nothing else.

use super::chart::{Bar, Part, bars, escape, legend};
use super::text::{bytes, layer_name, percent, range};
use super::{Kernel, KernelEntry, Node, Profile};
use std::fmt::Write as _;

/// Colours are picked to differ in hue and lightness, for either background.
const STYLE: &str = include_str!("style.css");

impl Profile {
    /// A page with charts and tables, for a browser; it has no scripts and loads nothing.
    #[must_use]
    pub fn to_html(&self, title: &str) -> String {
        let mut page = format!(
            "<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>{title}</title>\n\
             <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n<p>{}</p>\n",
            escape(&self.summary()),
            title = escape(title),
        );
        self.nodes_section(&mut page);
        self.layers_section(&mut page);
        if !self.primitives.is_empty() {
            self.primitives_section(&mut page);
            self.kernels_section(&mut page);
        }
        page.push_str("</main>\n</body>\n</html>\n");
        page
    }

    fn summary(&self) -> String {
        let passes = if self.passes == 1 { String::new() } else { format!(", {} passes", self.passes) };
        format!(
            "{:.3} s, {:.3} s of processor time on {} threads; parameters {}, N = {}{passes}.",
            self.seconds, self.cpu_seconds, self.threads, self.parameters, self.ring_degree
        )
    }

    fn nodes_section(&self, page: &mut String) {
        let nodes = self.by_node();
        let bar = |(node, cost): &(Node, super::Cost)| Bar {
            label: node.to_string(),
            parts: vec![Part { name: "all layers".to_owned(), value: cost.seconds, colour: *node as usize }],
        };
        page.push_str("<h2>By node</h2>\n");
        page.push_str(&bars("nodes", "Seconds by node", &nodes.iter().map(bar).collect::<Vec<_>>()));
        let total = ("total".to_owned(), self.sum(|_| true));
        let named = nodes.into_iter().map(|(node, cost)| (node.to_string(), cost)).chain([total]);
        let rows = named.map(|(name, cost)| {
            vec![
                name,
                format!("{:.3}", cost.seconds),
                format!("{:.1} %", percent(cost.seconds, self.seconds)),
                format!("{:.3}", cost.cpu_seconds),
                cost.calls.to_string(),
                range(cost.levels),
                cost.key_switches.to_string(),
                cost.encodings.to_string(),
                bytes(cost.key_bytes),
                bytes(cost.plaintext_bytes),
            ]
        });
        let head = [
            "node",
            "seconds",
            "share",
            "CPU s",
            "calls",
            "levels",
            "key switches",
            "encoded",
            "keys read",
            "plaintexts read",
        ];
        table(page, "Nodes of the network", head.into_iter().map(str::to_owned), rows);
    }

    fn layers_section(&self, page: &mut String) {
        let (nodes, layers) = (self.by_node(), self.layers());
        let seconds = |layer, node| self.sum(|entry| (entry.layer, entry.node) == (layer, node)).seconds;
        let part =
            |layer, node: Node| Part { name: node.to_string(), value: seconds(layer, node), colour: node as usize };
        let bar = |layer: &Option<usize>| Bar {
            label: layer_name(*layer),
            parts: nodes.iter().map(|(node, _)| part(*layer, *node)).collect(),
        };
        page.push_str("<h2>By layer and node</h2>\n");
        let names: Vec<_> = nodes.iter().map(|(node, _)| (*node as usize, node.to_string())).collect();
        page.push_str(&legend(names.iter().map(|(colour, name)| (*colour, name.as_str()))));
        page.push_str(&bars("layers", "Seconds by layer and node", &layers.iter().map(bar).collect::<Vec<_>>()));
        let head = ["node".to_owned()].into_iter().chain(layers.iter().map(|layer| layer_name(*layer)));
        let rows = nodes.iter().map(|(node, _)| {
            let numbers = layers.iter().map(|layer| format!("{:.3}", seconds(*layer, *node)));
            [node.to_string()].into_iter().chain(numbers).collect()
        });
        table(page, "Seconds by layer", head, rows);
    }

    fn primitives_section(&self, page: &mut String) {
        let rows = self.by_primitive();
        let part = |entry: &KernelEntry| Part {
            name: entry.kernel.to_string(),
            value: entry.cpu_seconds,
            colour: colour(entry.kernel),
        };
        let bar = |row: &super::summary::Row| {
            let mut kernels = row.kernels.clone();
            kernels.sort_by_key(|entry| colour(entry.kernel));
            Bar { label: row.name.clone(), parts: kernels.iter().map(part).collect() }
        };
        page.push_str("<h2>By primitive</h2>\n<p>Processor time, summed over threads; bootstraps are one row.</p>\n");
        let names: Vec<_> = Kernel::ALL.iter().map(|kernel| (colour(*kernel), kernel.to_string())).collect();
        page.push_str(&legend(names.iter().map(|(colour, name)| (*colour, name.as_str()))));
        let title = "Processor seconds by primitive and kernel";
        page.push_str(&bars("primitives", title, &rows.iter().map(bar).collect::<Vec<_>>()));
        let cells = rows.iter().map(|row| {
            vec![
                row.name.clone(),
                format!("{:.3}", row.total.cpu_seconds),
                format!("{:.1} %", percent(row.total.cpu_seconds, self.cpu_seconds)),
                row.calls.to_string(),
                range(row.levels),
                format!("{:.0}", row.transforms),
                bytes(row.total.key_bytes),
                bytes(row.total.plaintext_bytes),
            ]
        });
        let head =
            ["primitive", "CPU s", "share", "calls", "levels", "limbs transformed", "keys read", "plaintexts read"];
        table(page, "Primitives", head.into_iter().map(str::to_owned), cells);
    }

    fn kernels_section(&self, page: &mut String) {
        let rows = self.by_kernel().into_iter().map(|(kernel, sum)| {
            vec![
                kernel.to_string(),
                format!("{:.3}", sum.cpu_seconds),
                format!("{:.1} %", percent(sum.cpu_seconds, self.cpu_seconds)),
                format!("{:.0}", sum.limbs),
                bytes(sum.key_bytes),
            ]
        });
        page.push_str("<h2>By kernel</h2>\n");
        let head = ["kernel", "CPU s", "share", "limbs", "keys read"];
        table(page, "Kernels, in bootstraps and outside", head.into_iter().map(str::to_owned), rows);
    }
}

/// Index of a kernel's colour: its place in the legend.
fn colour(kernel: Kernel) -> usize {
    Kernel::ALL.iter().position(|other| *other == kernel).unwrap_or(0)
}

fn table(
    page: &mut String,
    caption: &str,
    head: impl Iterator<Item = String>,
    rows: impl Iterator<Item = Vec<String>>,
) {
    let head: String = head.map(|name| format!("<th scope=\"col\">{}</th>", escape(&name))).collect();
    let _ = write!(page, "<div class=\"wide\"><table>\n<caption>{}</caption>\n<tr>{head}</tr>\n", escape(caption));
    for row in rows {
        let mut cells = row.iter().map(|cell| escape(cell));
        let name = cells.next().unwrap_or_default();
        let cells: String = cells.map(|cell| format!("<td>{cell}</td>")).collect();
        let _ = writeln!(page, "<tr><th scope=\"row\">{name}</th>{cells}</tr>");
    }
    page.push_str("</table></div>\n");
}
