//! Horizontal bars as SVG.

use std::fmt::Write as _;

/// Units of the drawing: it scales with the page.
const WIDTH: f64 = 920.0;
const LABEL: f64 = 170.0;
const NUMBERS: f64 = 90.0;
const ROW: f64 = 30.0;
const BAR: f64 = 20.0;

/// One bar: its name, its parts, and the number beside it.
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) parts: Vec<Part>,
}

/// One part of a bar.
pub(super) struct Part {
    pub(super) name: String,
    pub(super) value: f64,
    /// Index of the colour.
    pub(super) colour: usize,
}

/// Bars one below the other, the longest over the whole width, each with its sum in seconds. Every part carries its name
/// and number as a title.
pub(super) fn bars(id: &str, title: &str, bars: &[Bar]) -> String {
    let sum = |bar: &Bar| bar.parts.iter().map(|part| part.value).sum::<f64>();
    let largest = bars.iter().map(sum).fold(0.0, f64::max);
    let height = ROW * bars.len() as f64 + 6.0;
    let unit = if largest > 0.0 { (WIDTH - LABEL - NUMBERS) / largest } else { 0.0 };
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"{id}\">\n<title id=\"{id}\">{}</title>\n",
        escape(title)
    );
    for (i, bar) in bars.iter().enumerate() {
        let top = ROW * i as f64 + (ROW - BAR) / 2.0 + 3.0;
        let middle = top + BAR / 2.0;
        text(&mut svg, (LABEL - 10.0, middle), "end", &bar.label);
        let mut x = LABEL;
        for part in bar.parts.iter().filter(|part| part.value > 0.0) {
            let width = part.value * unit;
            let name = escape(&format!("{}, {}: {:.3} s", bar.label, part.name, part.value));
            // A gap between parts, unless the part is thinner than two gaps.
            let drawn = if width > 4.0 { width - 2.0 } else { width };
            let _ = writeln!(
                svg,
                "<rect class=\"c{}\" x=\"{x:.2}\" y=\"{top}\" width=\"{drawn:.2}\" height=\"{BAR}\"><title>{name}</title></rect>",
                part.colour
            );
            x += width;
        }
        text(&mut svg, (x + 8.0, middle), "start", &format!("{:.3} s", sum(bar)));
    }
    svg.push_str("</svg>\n");
    svg
}

/// Text whose middle is at the given height.
fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, content: &str) {
    let content = escape(content);
    let _ = writeln!(
        svg,
        "<text x=\"{x:.2}\" y=\"{y}\" text-anchor=\"{anchor}\" dominant-baseline=\"central\">{content}</text>"
    );
}

/// Names of colours, each beside its square.
pub(super) fn legend<'a>(names: impl Iterator<Item = (usize, &'a str)>) -> String {
    let entry = |(colour, name): (usize, &str)| {
        format!(
            "<li><svg viewBox=\"0 0 12 12\" aria-hidden=\"true\"><rect class=\"c{colour}\" width=\"12\" height=\"12\"/></svg>{}</li>\n",
            escape(name)
        )
    };
    format!("<ul class=\"legend\">\n{}</ul>\n", names.map(entry).collect::<String>())
}

/// Text that may stand in an element or attribute.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
