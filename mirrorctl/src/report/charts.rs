//! The report's charts, as SVG.

use crate::metrics::histogram::{Bin, total};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::error::Error;

const SIZE: (u32, u32) = (760, 260);
const FONT: &str = "sans-serif";
const FASTER: RGBColor = RGBColor(46, 125, 50);
const SLOWER: RGBColor = RGBColor(198, 40, 40);
const PLAIN: RGBColor = RGBColor(21, 101, 192);

/// Draws which share of the values is in each bin; of a difference, faster, slower and as fast in colours of their own.
///
/// # Errors
/// What the drawing library says.
pub(crate) fn draw(title: &str, bins: &[Bin]) -> Result<String, String> {
    let mut svg = String::new();
    drawn(&mut svg, title, bins).map_err(|error| format!("{title}: {error}"))?;
    Ok(svg)
}

fn drawn(svg: &mut String, title: &str, bins: &[Bin]) -> Result<(), Box<dyn Error>> {
    let is_filled = |bin: &Bin| bin.count > 0.0;
    let is_difference = bins.iter().any(|bin| bin.low < 0.0);
    let first = bins.iter().position(is_filled).unwrap_or_default();
    let end = bins.iter().rposition(is_filled).map_or(1, |last| last.saturating_add(1));
    let shown = bins.get(first..end).unwrap_or_default();
    let share = |bin: &Bin| 100.0 * bin.count / total(bins).max(1.0);
    let highest = shown.iter().map(share).fold(1.0, f64::max);
    let colour = |bin: &Bin| match is_difference {
        true if bin.low < 0.0 => FASTER,
        true if bin.low > 0.0 => SLOWER,
        // The first bin from 0 has what is too close to be told apart.
        _ => PLAIN,
    };

    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .caption(title, (FONT, 15))
        .margin(8)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .build_cartesian_2d((0..shown.len().saturating_sub(1)).into_segmented(), 0.0..highest * 1.2)?;
    let label = |position: &SegmentValue<usize>| match position {
        SegmentValue::CenterOf(index) => shown.get(*index).map(label).unwrap_or_default(),
        _ => String::new(),
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(shown.len())
        .x_label_formatter(&label)
        .y_label_formatter(&|share| format!("{share} %"))
        .y_labels(5)
        .x_desc("milliseconds")
        // So many that they would touch are written smaller.
        .label_style((FONT, if shown.len() > 10 { 8 } else { 11 }))
        .draw()?;
    chart.draw_series(shown.iter().enumerate().map(|(index, bin)| {
        let corners = [(SegmentValue::Exact(index), 0.0), (SegmentValue::Exact(index.saturating_add(1)), share(bin))];
        let mut bar = Rectangle::new(corners, colour(bin).filled());
        bar.set_margin(0, 0, 4, 4);
        bar
    }))?;
    let style = (FONT, 11).into_text_style(&area).pos(Pos::new(HPos::Center, VPos::Bottom));
    chart.draw_series(shown.iter().enumerate().filter(|(_, bin)| is_filled(bin)).map(|(index, bin)| {
        Text::new(format!("{:.1} %", share(bin)), (SegmentValue::CenterOf(index), share(bin)), style.clone())
    }))?;
    area.present()?;
    Ok(())
}

fn label(bin: &Bin) -> String {
    match (bin.low.is_finite(), bin.high.is_finite()) {
        (true, true) => format!("{} to {}", bin.low + 0.0, bin.high + 0.0),
        (true, false) => format!("over {}", bin.low),
        _ => format!("under {}", bin.high),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_a_bar_for_each_bin_between_the_first_and_the_last_that_are_not_empty() {
        let bin = |low, high, count| Bin { low, high, count };
        let bins = [bin(-5.0, -1.0, 0.0), bin(-1.0, 0.0, 3.0), bin(0.0, 1.0, 0.0), bin(1.0, f64::INFINITY, 1.0)];
        let svg = draw("By how much", &bins).unwrap();
        for text in ["By how much", "-1 to 0", "0 to 1", "over 1", "75.0 %", "25.0 %", "#2E7D32", "#C62828"] {
            assert!(svg.contains(text), "{text}\n{svg}");
        }
        assert!(!svg.contains("-5 to -1") && svg.trim_end().ends_with("</svg>"));
        assert!(draw("Of nothing", &[]).unwrap().contains("Of nothing"));
    }
}
