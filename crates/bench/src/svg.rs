//! Plots, drawn by hand: bars for a comparison, lines for growth. Readable on light and dark pages.

use std::fmt::Write;

use crate::report::figure;

const FONT: &str = "font-family=\"sans-serif\" font-size=\"12\"";
const COLOURS: [&str; 8] = [
    "#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#76b7b2", "#b07aa1", "#9c755f", "#edc948",
];

pub(crate) struct Bar {
    pub label: String,
    pub value: f64,
    /// The ends of a whisker.
    pub min: f64,
    pub max: f64,
    pub colour: usize,
}

pub(crate) struct BarGroup {
    pub title: String,
    pub bars: Vec<Bar>,
}

pub(crate) struct Line {
    pub label: String,
    pub points: Vec<(f64, f64)>,
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

struct Picture {
    body: String,
    width: u32,
}

impl Picture {
    fn new(width: u32) -> Picture {
        Picture {
            body: String::new(),
            width,
        }
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, text: &str) {
        let text = escape(text);
        let _ = writeln!(
            self.body,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"#888\">{text}</text>"
        );
    }

    fn rule(&mut self, from: (f64, f64), to: (f64, f64), colour: &str, width: f64) {
        let _ = writeln!(
            self.body,
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\" stroke-width=\"{width}\"/>",
            from.0, from.1, to.0, to.1
        );
    }

    fn finish(self, height: f64) -> String {
        let (width, height) = (self.width, height.ceil());
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" {FONT}>\n{}</svg>\n",
            self.body
        )
    }
}

/// Horizontal bars in groups, each group on a scale of its own.
pub(crate) fn bars(title: &str, groups: &[BarGroup]) -> String {
    const WIDTH: u32 = 760;
    const LEFT: f64 = 190.0;
    const SPACE: f64 = WIDTH as f64 - LEFT - 90.0;
    const STEP: f64 = 20.0;
    let mut picture = Picture::new(WIDTH);
    let mut y = 20.0;
    picture.text(10.0, y, "start", title);
    for group in groups {
        y += 28.0;
        picture.text(10.0, y, "start", &group.title);
        y += 8.0;
        let most = group
            .bars
            .iter()
            .map(|bar| bar.max.max(bar.value))
            .fold(0.0, f64::max);
        let scale = if most > 0.0 { SPACE / most } else { 0.0 };
        for bar in &group.bars {
            let middle = y + STEP / 2.0;
            picture.text(LEFT - 8.0, middle + 4.0, "end", &bar.label);
            let _ = writeln!(
                picture.body,
                "<rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{}\"/>",
                y + 2.0,
                bar.value * scale,
                STEP - 4.0,
                COLOURS[bar.colour % COLOURS.len()]
            );
            let ends = (LEFT + bar.min * scale, LEFT + bar.max * scale);
            picture.rule((ends.0, middle), (ends.1, middle), "#888", 1.5);
            picture.text(ends.1 + 6.0, middle + 4.0, "start", &figure(bar.value));
            y += STEP;
        }
    }
    picture.finish(y + 12.0)
}

/// Lines over a logarithmic x axis, the y axis from zero.
pub(crate) fn lines(title: &str, x_unit: &str, y_unit: &str, lines: &[Line]) -> String {
    const WIDTH: u32 = 760;
    const HEIGHT: f64 = 320.0;
    const LEFT: f64 = 70.0;
    const RIGHT: f64 = 540.0;
    const TOP: f64 = 50.0;
    const BOTTOM: f64 = HEIGHT - 40.0;
    let mut picture = Picture::new(WIDTH);
    picture.text(10.0, 20.0, "start", title);
    picture.text(10.0, 38.0, "start", y_unit);
    picture.text(RIGHT, HEIGHT - 8.0, "end", x_unit);
    let points = || lines.iter().flat_map(|line| line.points.iter().copied());
    let (least, most) = points()
        .map(|p| p.0)
        .filter(|x| *x > 0.0)
        .fold((f64::MAX, f64::MIN_POSITIVE), |(a, b), x| (a.min(x), b.max(x)));
    let highest = points().map(|p| p.1).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let across = |x: f64| {
        let width = (most / least).ln();
        let share = if width > 0.0 {
            (x / least).ln() / width
        } else {
            0.5
        };
        LEFT + share * (RIGHT - LEFT)
    };
    let up = |y: f64| BOTTOM - y / highest * (BOTTOM - TOP);
    picture.rule((LEFT, BOTTOM), (RIGHT, BOTTOM), "#888", 1.0);
    for quarter in 0..=4 {
        let y = highest * f64::from(quarter) / 4.0;
        picture.rule((LEFT, up(y)), (RIGHT, up(y)), "#888", 0.3);
        picture.text(LEFT - 6.0, up(y) + 4.0, "end", &figure(y));
    }
    let mut ticks: Vec<f64> = points().map(|p| p.0).collect();
    ticks.sort_by(f64::total_cmp);
    ticks.dedup();
    for x in ticks {
        picture.text(across(x), BOTTOM + 16.0, "middle", &figure(x));
    }
    for (n, line) in lines.iter().enumerate() {
        let colour = COLOURS[n % COLOURS.len()];
        for pair in line.points.windows(2) {
            let [from, to] = [pair[0], pair[1]].map(|(x, y)| (across(x), up(y)));
            picture.rule(from, to, colour, 2.0);
        }
        for (x, y) in &line.points {
            let _ = writeln!(
                picture.body,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\" fill=\"{colour}\"/>",
                across(*x),
                up(*y)
            );
        }
        let y = TOP + 20.0 * n as f64;
        picture.rule((RIGHT + 20.0, y - 4.0), (RIGHT + 36.0, y - 4.0), colour, 3.0);
        picture.text(RIGHT + 42.0, y, "start", &line.label);
    }
    picture.finish(HEIGHT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(label: &str, value: f64) -> Bar {
        Bar {
            label: label.into(),
            value,
            min: value * 0.9,
            max: value * 1.1,
            colour: 0,
        }
    }

    #[test]
    fn bars_are_as_long_as_their_values() {
        let groups = [BarGroup {
            title: "k <int>".into(),
            bars: vec![bar("a & b", 4.0), bar("c", 2.0)],
        }];
        let svg = bars("T", &groups);
        let widths: Vec<f64> = svg
            .lines()
            .filter(|l| l.starts_with("<rect"))
            .map(|l| l.split("width=\"").nth(1).unwrap().split('"').next().unwrap())
            .map(|w| w.parse().unwrap())
            .collect();
        assert!((widths[0] / widths[1] - 2.0).abs() < 0.01, "{widths:?}");
        assert!(svg.contains("k &lt;int&gt;") && svg.contains("a &amp; b"));
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    }

    #[test]
    fn nothing_to_draw_is_still_a_picture() {
        for svg in [
            bars("T", &[]),
            bars(
                "T",
                &[BarGroup {
                    title: "k".into(),
                    bars: vec![bar("a", 0.0)],
                }],
            ),
            lines("T", "rows", "s", &[]),
            lines(
                "T",
                "rows",
                "s",
                &[Line {
                    label: "a".into(),
                    points: vec![(1.0, 0.0)],
                }],
            ),
        ] {
            assert!(
                svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf"),
                "{svg}"
            );
        }
    }

    #[test]
    fn lines_go_through_their_points() {
        let line = Line {
            label: "x".into(),
            points: vec![(1e6, 1.0), (1e7, 10.0)],
        };
        let svg = lines("T", "rows", "s", &[line]);
        assert!(
            svg.contains("cx=\"70.0\"") && svg.contains("cx=\"540.0\" cy=\"50.0\""),
            "{svg}"
        );
        assert!(svg.contains("1,000,000"));
    }
}
