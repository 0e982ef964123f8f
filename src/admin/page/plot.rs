//! A plot as SVG: sharp at any width, without scripts, fonts or styles of its own.
//!
//! The curve is stretched to the width of the page. Its labels are not: they are placed at a share of the width.

use std::fmt::Write as _;

use maud::{Markup, html};

const HEIGHT: f64 = 168.0;
/// Room above the curve for the label of its highest line, and below for the times.
const TOP: f64 = 20.0;
const BOTTOM: f64 = 24.0;
const INNER: f64 = HEIGHT - TOP - BOTTOM;

/// Maps a value to a height.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    /// From 0 to this value.
    Linear(f64),
    /// Logarithmic, between these values.
    Log(f64, f64),
}

impl Scale {
    /// 0 at the bottom, 1 at the top.
    fn share(self, value: f64) -> f64 {
        let share = match self {
            Self::Linear(most) => value / most,
            Self::Log(least, most) => (value.max(least) / least).ln() / (most / least).ln(),
        };
        share.clamp(0.0, 1.0)
    }

    fn y(self, value: f64) -> f64 {
        TOP + INNER * (1.0 - self.share(value))
    }
}

#[derive(Debug)]
pub(super) struct Plot<'a> {
    /// Prefix of the ids of its elements.
    pub id: &'a str,
    pub title: &'a str,
    /// The content of the plot in words.
    pub summary: String,
    /// One value per step of time; `None` without data.
    pub values: Vec<Option<f64>>,
    pub scale: Scale,
    /// Grid lines with their labels.
    pub lines: Vec<(f64, String)>,
    /// A highlighted line and its label.
    pub limit: Option<(f64, String)>,
    /// Labels of times, each with its share of the width.
    pub times: Vec<(f64, String)>,
}

impl Plot<'_> {
    pub(super) fn render(&self) -> Markup {
        let (title, text) = (format!("{}-title", self.id), format!("{}-text", self.id));
        html! {
            figure id=(self.id) .plot {
                figcaption {
                    h3 id=(title) { (self.title) }
                    p id=(text) { (self.summary) }
                }
                svg role="img" aria-labelledby=(title) aria-describedby=(text)
                    width="100%" height=(HEIGHT) xmlns="http://www.w3.org/2000/svg" {
                    @for (value, _) in &self.lines { (line("grid", self.scale.y(*value))) }
                    svg x="0" y=(TOP) width="100%" height=(INNER) viewBox="0 0 1000 1000"
                        preserveAspectRatio="none" overflow="visible" {
                        path.area d=(self.area()) {}
                        path.curve d=(self.curve()) vector-effect="non-scaling-stroke" {}
                    }
                    @if let Some((value, _)) = &self.limit { (line("limit", self.scale.y(*value))) }
                    // Labels come after the curve, so that it does not cover them.
                    @for (value, label) in &self.lines {
                        text x="0" y=(above(self.scale.y(*value))) { (label) }
                    }
                    @if let Some((value, label)) = &self.limit {
                        text.limit x="100%" y=(above(self.scale.y(*value))) text-anchor="end" { (label) }
                    }
                    @for (share, label) in &self.times {
                        text.tick x=(format!("{:.2}%", share * 100.0)) y=(HEIGHT - 5.0)
                            text-anchor=(anchor(*share)) { (label) }
                    }
                }
            }
        }
    }

    /// Stretches of known values, each with the index of its first.
    fn stretches(&self) -> impl Iterator<Item = (usize, &[Option<f64>])> {
        let mut at = 0;
        self.values
            .chunk_by(|one, next| one.is_some() == next.is_some())
            .map(move |stretch| {
                at += stretch.len();
                (at - stretch.len(), stretch)
            })
            .filter(|(_, stretch)| stretch[0].is_some())
    }

    #[expect(clippy::cast_precision_loss, reason = "a place on a screen")]
    fn x(&self, at: usize) -> f64 {
        1_000.0 * at as f64 / self.values.len().max(1) as f64
    }

    fn curve(&self) -> String {
        let mut path = String::new();
        for (begin, stretch) in self.stretches() {
            let _ = write!(path, "M{:.0} {:.0}", self.x(begin), self.height(stretch[0]));
            self.steps(&mut path, begin, stretch);
        }
        path
    }

    fn area(&self) -> String {
        let mut path = String::new();
        for (begin, stretch) in self.stretches() {
            let _ = write!(path, "M{:.0} 1000", self.x(begin));
            self.steps(&mut path, begin, stretch);
            path.push_str("V1000Z");
        }
        path
    }

    /// Equal values in a row become one step.
    fn steps(&self, path: &mut String, begin: usize, stretch: &[Option<f64>]) {
        let mut at = begin;
        for step in stretch.chunk_by(|one, next| one == next) {
            at += step.len();
            let _ = write!(path, "V{:.0}H{:.0}", self.height(step[0]), self.x(at));
        }
    }

    fn height(&self, value: Option<f64>) -> f64 {
        1_000.0 * (1.0 - self.scale.share(value.unwrap_or_default()))
    }
}

fn line(class: &str, y: f64) -> Markup {
    let y = format!("{y:.1}");
    html! { line class=(class) x1="0" x2="100%" y1=(y) y2=(y) {} }
}

/// The height of a line's label.
fn above(y: f64) -> String {
    format!("{:.1}", y - 5.0)
}

/// Keeps labels inside the plot.
fn anchor(share: f64) -> &'static str {
    match share {
        ..0.06 => "start",
        0.94.. => "end",
        _ => "middle",
    }
}

/// The smallest of 1, 2, 5, 10, 20, 50 and so on that is at least `value`.
pub(super) fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1.0).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps
        .into_iter()
        .find(|step| *step >= value)
        .unwrap_or(power * 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(values: Vec<Option<f64>>, scale: Scale) -> Plot<'static> {
        Plot {
            id: "p",
            title: "T",
            summary: "S".to_owned(),
            values,
            scale,
            lines: vec![],
            limit: None,
            times: vec![],
        }
    }

    #[test]
    fn missing_values_are_a_gap_and_equal_values_are_one_step() {
        let plot = plot(
            vec![Some(0.0), Some(0.0), None, Some(10.0)],
            Scale::Linear(10.0),
        );
        assert_eq!(plot.curve(), "M0 1000V1000H500M750 0V0H1000");
        assert_eq!(plot.area(), "M0 1000V1000H500V1000ZM750 1000V0H1000V1000Z");
        assert_eq!(self::plot(vec![], Scale::Linear(1.0)).curve(), "");
    }

    #[test]
    fn scales_map_values_to_shares_of_the_height() {
        let log = Scale::Log(10.0, 1_000.0);
        assert!((log.share(100.0) - 0.5).abs() < 1e-9);
        assert!(log.share(0.0).abs() < 1e-9);
        assert!((Scale::Linear(10.0).share(20.0) - 1.0).abs() < 1e-9);
        for (value, up) in [
            (0.0, 1.0),
            (1.0, 1.0),
            (3.0, 5.0),
            (11.0, 20.0),
            (600.0, 1_000.0),
        ] {
            assert!((round_up(value) - up).abs() < 1e-9, "{value}");
        }
    }
}
