//! Plots as inline SVG. Colours are classes, which the page's style sets for light and dark.

use std::fmt::Write as _;

/// Width and height of a plot, and the margin for its axes.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 40.0;
const TOP: f64 = 16.0;

/// A picture of a result.
#[derive(Clone, Debug, PartialEq)]
pub enum Plot {
    /// Latency by percentile; each line has points of a percentile (0 to 1) and a latency in milliseconds.
    Latency {
        /// The heading.
        title: String,
        /// Name and points.
        lines: Vec<(String, Vec<(f64, f64)>)>,
    },
    /// A bar for each name with the ends of its interval.
    Bars {
        /// The heading, with the unit.
        title: String,
        /// The bars, from top to bottom.
        bars: Vec<Bar>,
    },
}

/// A bar with the ends of its interval.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// The label beside it.
    pub name: String,
    /// Its length.
    pub value: f64,
    /// Where the true length lies.
    pub ends: Option<(f64, f64)>,
}

impl Bar {
    fn right(&self) -> f64 {
        self.ends.map_or(self.value, |(_, high)| high.max(self.value))
    }
}

impl Plot {
    /// The plot's heading.
    pub fn title(&self) -> &str {
        match self {
            Plot::Latency { title, .. } | Plot::Bars { title, .. } => title,
        }
    }

    /// The picture.
    pub fn svg(&self) -> String {
        let body = match self {
            Plot::Latency { lines, .. } => latency(lines),
            Plot::Bars { bars, .. } => bars_svg(bars),
        };
        let title = escape(self.title());
        format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\"><title>{title}</title>{body}</svg>"
        )
    }
}

/// Both axes are logarithmic: the upper percentiles are what matters.
fn latency(lines: &[(String, Vec<(f64, f64)>)]) -> String {
    let values = || lines.iter().flat_map(|(_, points)| points).map(|(_, y)| y.max(1e-4).log10());
    let low = values().fold(f64::INFINITY, f64::min).floor();
    let high = values().fold(f64::NEG_INFINITY, f64::max).ceil();
    if !low.is_finite() || !high.is_finite() {
        return String::new();
    }
    let high = if high <= low { low + 1.0 } else { high };
    const NINES: f64 = 4.0;
    let x = |q: f64| LEFT + (-(1.0 - q).max(1e-4).log10() / NINES) * (WIDTH - LEFT - 16.0);
    let y = |ms: f64| TOP + (high - ms.max(1e-4).log10()) / (high - low) * (HEIGHT - TOP - BOTTOM);
    let mut svg = String::new();
    for (q, name) in
        [(0.0, "0"), (0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %")]
    {
        let at = x(q);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{:.1}\"/>",
            HEIGHT - BOTTOM
        );
        let _ = write!(
            svg,
            "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{name}</text>",
            HEIGHT - BOTTOM + 18.0
        );
    }
    let mut decade = low;
    while decade <= high {
        let (at, ms) = (y(10_f64.powf(decade)), 10_f64.powf(decade));
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>",
            WIDTH - 16.0
        );
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{ms} ms</text>",
            LEFT - 6.0,
            at + 4.0
        );
        decade += 1.0;
    }
    for (number, (name, points)) in lines.iter().enumerate() {
        let points: Vec<String> = points.iter().map(|&(q, ms)| format!("{:.1},{:.1}", x(q), y(ms))).collect();
        let _ = write!(svg, "<polyline class=\"line s{}\" points=\"{}\"/>", number % 6, points.join(" "));
        let at = TOP + 14.0 + 16.0 * number as f64;
        let _ = write!(
            svg,
            "<text class=\"s{}\" x=\"{:.1}\" y=\"{at:.1}\">{}</text>",
            number % 6,
            LEFT + 8.0,
            escape(name)
        );
    }
    svg
}

fn bars_svg(bars: &[Bar]) -> String {
    let most = bars.iter().map(Bar::right).fold(0.0, f64::max);
    if most <= 0.0 {
        return String::new();
    }
    const NAMES: f64 = 200.0;
    let step = (HEIGHT - TOP) / bars.len() as f64;
    let x = |value: f64| NAMES + value / most * (WIDTH - NAMES - 90.0);
    let mut svg = String::new();
    for (number, bar) in bars.iter().enumerate() {
        let (y, height) = (TOP + step * number as f64, (step * 0.6).min(36.0));
        let middle = y + height / 2.0;
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            NAMES - 8.0,
            middle + 4.0,
            escape(&bar.name)
        );
        let _ = write!(
            svg,
            "<rect class=\"bar s{}\" x=\"{NAMES}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>",
            number % 6,
            x(bar.value) - NAMES
        );
        if let Some((low, high)) = bar.ends {
            let _ = write!(
                svg,
                "<line class=\"ends\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\"/>",
                x(low),
                x(high)
            );
        }
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            x(bar.right()) + 6.0,
            middle + 4.0,
            super::units::digits(bar.value)
        );
    }
    svg
}

/// Text for HTML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The coordinates of every attribute of this name.
    fn numbers(svg: &str, attribute: &str) -> Vec<f64> {
        let begin = format!(" {attribute}=\"");
        let parts = svg.split(&begin).skip(1);
        parts.map(|part| part.split('"').next().unwrap().parse().unwrap()).collect()
    }

    #[test]
    fn bars_are_as_long_as_their_values() {
        let bar = |name: &str, value, ends| Bar { name: name.into(), value, ends };
        let bars = vec![bar("a", 10.0, Some((9.0, 20.0))), bar("<b>", 5.0, None)];
        let svg = Plot::Bars { title: "t".into(), bars }.svg();
        let widths = numbers(&svg, "width");
        assert!((widths[0] / widths[1] - 2.0).abs() < 0.01, "{widths:?}");
        assert!(svg.contains("&lt;b&gt;") && svg.matches("class=\"ends\"").count() == 1);
    }

    #[test]
    fn longer_latencies_are_higher_up() {
        let lines = vec![("one".into(), vec![(0.5, 1.0), (0.99, 100.0)])];
        let svg = Plot::Latency { title: "t".into(), lines }.svg();
        let points = svg.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
        let points: Vec<f64> = points.split([' ', ',']).map(|n| n.parse().unwrap()).collect();
        assert!(points[0] < points[2] && points[1] > points[3], "{points:?}");
        assert!(points.iter().all(|n| (0.0..=WIDTH).contains(n)));
    }

    #[test]
    fn nothing_to_show_is_no_panic() {
        for plot in [
            Plot::Bars { title: String::new(), bars: vec![] },
            Plot::Latency { title: String::new(), lines: vec![] },
        ] {
            assert!(plot.svg().ends_with("</title></svg>"));
        }
    }
}
