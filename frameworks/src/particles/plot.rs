//! The picture: a sample of trajectories, and below it, on the same scale, where all particles came down.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::parabola::{Parabola, Side};
use super::tally::Tally;

/// Of the picture, in pixels.
const SIZE: (u32, u32) = (1200, 860);
const MARGIN: u32 = 24;
const LEFT_AXIS: u32 = 64;
const N_BINS: usize = 120;
/// Points along one trajectory.
const N_STEPS: usize = 160;

/// Heights beyond it are not looked at: nobody could read the axis, and placing its labels would take the
/// drawing library forever.
const HEIGHT_MAX: f64 = 1e12;

const PAPER: RGBColor = RGBColor(252, 252, 250);
const INK: RGBColor = RGBColor(38, 43, 51);
const FAINT: RGBColor = RGBColor(122, 128, 138);
const GRID: RGBColor = RGBColor(228, 229, 231);
/// Left and right. Told apart also by those who see no red or no green.
const LEFT: RGBColor = RGBColor(34, 104, 172);
const RIGHT: RGBColor = RGBColor(214, 110, 22);

/// A chart of ordinary numbers on both axes.
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
#[error("could not draw: {0}")]
pub struct PlotError(String);

type Result<T = ()> = std::result::Result<T, DrawingAreaErrorKind<std::io::Error>>;

/// The picture as the text of an SVG file.
pub fn svg(tally: &Tally) -> std::result::Result<String, PlotError> {
    let mut text = String::new();
    draw(&SVGBackend::with_string(&mut text, SIZE).into_drawing_area(), tally)
        .map_err(|error| PlotError(error.to_string()))?;
    Ok(text)
}

fn draw(root: &DrawingArea<SVGBackend<'_>, Shift>, tally: &Tally) -> Result {
    root.fill(&PAPER)?;
    let (head, body) = root.margin(MARGIN, MARGIN, MARGIN, MARGIN).split_vertically(72);
    heading(&head, tally)?;
    let (flights, landings) = body.split_vertically(440);
    let xs = horizontal_extent(tally);
    draw_flights(&flights, tally, xs.clone())?;
    draw_landings(&landings, tally, xs)?;
    root.present()
}

fn heading(area: &DrawingArea<SVGBackend<'_>, Shift>, tally: &Tally) -> Result {
    let text = |size: u32, color: &RGBColor| ("sans-serif", size).into_font().color(color);
    area.draw(&Text::new("Where the particles come down", (8, 0), text(26, &INK)))?;
    let share = |n: u64| 100.0 * n as f64 / tally.particles().max(1) as f64;
    let mut x = 8;
    for (label, count, color) in
        [("left", tally.left, &LEFT), ("right", tally.right, &RIGHT), ("never", tally.never, &FAINT)]
    {
        let entry = format!("{label} {} ({:.1} %)", grouped(count), share(count));
        area.draw(&Circle::new((x + 6, 49), 5, color.filled()))?;
        area.draw(&Text::new(entry.clone(), (x + 18, 40), text(17, &INK)))?;
        x += 50 + entry.chars().count() as i32 * 9;
    }
    Ok(())
}

fn draw_flights(area: &DrawingArea<SVGBackend<'_>, Shift>, tally: &Tally, xs: Range<f64>) -> Result {
    let shown = tally.sample.iter().count();
    let caption = format!("{shown} trajectories, chosen at random");
    let mut chart = chart(area, xs.clone(), vertical_extent(tally, &xs), &caption, "height")?;
    for (_, parabola) in tally.sample.iter() {
        let (Some((from, to)), color) = (parabola.roots(), color_of(parabola.side())) else { continue };
        // A straight line has one root only: draw its way from above the origin.
        let from = if parabola.a == 0.0 { 0.0 } else { from };
        let window = (xs.clone(), vertical_extent(tally, &xs));
        for piece in visible_pieces(&parabola, from.min(to)..from.max(to), &window) {
            chart.draw_series(LineSeries::new(piece, color.mix(0.42).stroke_width(1)))?;
        }
    }
    let landed = tally.sample.iter().filter_map(|(_, it)| Some((it.landing()?, it.side())));
    let marks = landed.filter(|(x, _)| xs.contains(x));
    chart.draw_series(marks.map(|(x, side)| Circle::new((x, 0.0), 3, color_of(side).filled())))?;
    Ok(())
}

fn draw_landings(area: &DrawingArea<SVGBackend<'_>, Shift>, tally: &Tally, xs: Range<f64>) -> Result {
    // Two rows of bins that meet at the origin, so that no bar is half left and half right.
    let n_left = ((N_BINS as f64 * -xs.start / (xs.end - xs.start)).round() as usize).clamp(1, N_BINS - 1);
    let sides = [(xs.start..0.0, n_left, LEFT), (0.0..xs.end, N_BINS - n_left, RIGHT)];
    let bars: Vec<(Range<f64>, f64, RGBColor)> = sides
        .into_iter()
        .flat_map(|(side, n_bins, color)| {
            let width = (side.end - side.start) / n_bins as f64;
            let counts = tally.landings.resample(side.start, side.end, n_bins);
            counts.into_iter().enumerate().map(move |(i, count)| {
                let left = side.start + i as f64 * width;
                // Per unit of length: bars of either side differ a little in width.
                (left..left + width, count / width, color)
            })
        })
        .collect();
    let highest = bars.iter().map(|(_, density, _)| *density).fold(0.0, f64::max);
    let top = if highest > 0.0 { highest * 1.08 } else { 1.0 };
    let mut chart = chart(area, xs, 0.0..top, "landings per unit of length, all particles", "landings")?;
    chart.draw_series(bars.into_iter().filter(|(_, density, _)| *density > 0.0).map(
        |(x, density, color)| {
            let gap = (x.end - x.start) * 0.06;
            Rectangle::new([(x.start + gap, 0.0), (x.end - gap, density)], color.mix(0.85).filled())
        },
    ))?;
    Ok(())
}

/// An empty chart with its axes, its caption at the upper left, and the origin marked.
fn chart<'a, 'b>(
    area: &'a DrawingArea<SVGBackend<'b>, Shift>,
    xs: Range<f64>,
    ys: Range<f64>,
    caption: &str,
    unit: &str,
) -> Result<Chart<'a, 'b>> {
    let mut chart = ChartBuilder::on(area)
        .margin_top(30)
        .margin_right(8)
        .x_label_area_size(30)
        .y_label_area_size(LEFT_AXIS)
        .build_cartesian_2d(xs, ys.clone())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(FAINT)
        .label_style(("sans-serif", 13).into_font().color(&FAINT))
        .y_label_formatter(&|y| short(*y))
        .x_label_formatter(&|x| short(*x))
        .x_labels(13)
        .y_labels(6)
        .draw()?;
    let origin = [(0.0, ys.start), (0.0, ys.end)];
    chart.draw_series(LineSeries::new(origin, FAINT.mix(0.6).stroke_width(1)))?;
    area.draw(&Text::new(caption.to_owned(), (8, 8), ("sans-serif", 15).into_font().color(&INK)))?;
    let turned = ("sans-serif", 13).into_font().transform(FontTransform::Rotate270).color(&FAINT);
    let middle = (area.dim_in_pixel().1 / 2) as i32;
    area.draw(&Text::new(unit.to_owned(), (4, middle), turned.pos(Pos::new(HPos::Center, VPos::Top))))?;
    Ok(chart)
}

/// From where to where the picture goes: nearly all landings, and always both sides of the origin.
fn horizontal_extent(tally: &Tally) -> Range<f64> {
    let (low, high) = match (tally.landings.quantile(0.004), tally.landings.quantile(0.996)) {
        (Some(low), Some(high)) => (low, high),
        _ => (-1.0, 1.0),
    };
    let span = (high.max(0.0) - low.min(0.0)).max(1e-6);
    low.min(-0.08 * span) - 0.04 * span..high.max(0.08 * span) + 0.04 * span
}

/// From the ground to the heights that nine of ten trajectories stay below; deeper than the ground only as
/// far as some trajectory goes, and never deeper than high.
fn vertical_extent(tally: &Tally, xs: &Range<f64>) -> Range<f64> {
    let reached = |it: Parabola| match it.a == 0.0 {
        true => it.c,
        false => it.c - it.b * it.b / (4.0 * it.a),
    };
    let mut heights: Vec<f64> =
        tally.sample.iter().map(|(_, it)| reached(it)).filter(|height| height.abs() < HEIGHT_MAX).collect();
    heights.sort_by(f64::total_cmp);
    let quantile = |q: f64| heights.get((heights.len() as f64 * q) as usize).copied().unwrap_or(0.0);
    let top = match quantile(0.95).max(-quantile(0.05)) {
        top if top > 1.0 / HEIGHT_MAX => top * 1.12,
        _ => (xs.end - xs.start) / 4.0,
    };
    (quantile(0.02) * 1.12).clamp(-top, -0.04 * top)..top
}

/// The stretches of a trajectory that lie inside the window, as points.
fn visible_pieces(
    it: &Parabola,
    flight: Range<f64>,
    (xs, ys): &(Range<f64>, Range<f64>),
) -> Vec<Vec<(f64, f64)>> {
    let (from, to) = (flight.start.max(xs.start), flight.end.min(xs.end));
    let mut pieces = vec![Vec::new()];
    if from < to {
        for step in 0..=N_STEPS {
            let x = from + (to - from) * step as f64 / N_STEPS as f64;
            let y = (it.a * x + it.b) * x + it.c;
            match (ys.contains(&y), pieces.last_mut()) {
                (true, Some(piece)) => piece.push((x, y)),
                (false, Some(piece)) if !piece.is_empty() => pieces.push(Vec::new()),
                _ => {}
            }
        }
    }
    pieces.retain(|piece| piece.len() > 1);
    pieces
}

fn color_of(side: Side) -> RGBColor {
    match side {
        Side::Left => LEFT,
        Side::Right => RIGHT,
        Side::Never => FAINT,
    }
}

/// `1 234 567`
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A number for an axis: `0.5`, `12`, `3.4k`, `2M`.
fn short(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        size if size >= 1e12 => return format!("{value:.0e}"),
        size if size >= 1e9 => (value / 1e9, "G"),
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let rounded = (scaled * 100.0).round() / 100.0;
    format!("{}{unit}", if rounded == 0.0 { 0.0 } else { rounded })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::particles::chunk::tally_data;
    use crate::particles::generate::generate;

    #[test]
    fn the_picture_shows_counts_flights_and_landings() {
        let mut data = Vec::new();
        generate(20_000, 1, &mut data).unwrap();
        let tally = tally_data(&data, 0);
        let text = svg(&tally).unwrap();
        assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"));
        assert!(text.contains(&grouped(tally.left)) && text.matches("<polyline").count() > 50);
        if let Ok(path) = std::env::var("PLOT_OUT") {
            std::fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn nothing_and_next_to_nothing_can_be_drawn() {
        for data in ["", "1,0,1", "1,0,0", "0,1,1", "1e300,1e308,-1e308", "5e-324,0,-1e308", "1,2,1\n1,2,1\n"]
        {
            let text = svg(&tally_data(data.as_bytes(), 0)).unwrap();
            assert!(
                text.starts_with("<svg") && !text.contains("NaN") && !text.contains("inf"),
                "{data}: {text}"
            );
        }
    }

    #[test]
    fn numbers_read_easily() {
        assert_eq!(
            [short(0.5), short(-12.0), short(34_000.0), short(2e6), short(1e-17)],
            ["0.5", "-12", "34k", "2M", "0"]
        );
        assert_eq!(grouped(1_234_567).replace('\u{202f}', " "), "1 234 567");
    }
}
