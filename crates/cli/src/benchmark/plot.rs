//! The chart of `benchmark --adapt --plot`: acceptance rate above, speed below, over tokens generated.
//!
//! It is an upright SVG without a fixed size, its text large: a browser fits it to its window, and on a phone the numbers
//! can still be read. Text is set by whoever shows it, so that no font is needed here; for PNG one would be.

use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::curves::{Curve, Point};

/// Answers before and after one that are taken together with it.
const REACH: usize = 2;
/// Width and height; a phone is half as wide.
const SIZE: (u32, u32) = (720, 980);
/// Height above the panels: title, what ran, legend.
const HEADER: i32 = 124;
const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const GRID: RGBColor = RGBColor(0xe2, 0xe2, 0xe2);
/// Colours that the colour-blind tell apart, too (Okabe and Ito 2008).
const COLOURS: [RGBColor; 3] =
    [RGBColor(0x00, 0x72, 0xb2), RGBColor(0xd5, 0x5e, 0x00), RGBColor(0x00, 0x9e, 0x73)];
/// Sizes of text. They come out a fifth smaller, as this library counts.
const TITLE: i32 = 30;
const LARGE: i32 = 25;
const SMALL: i32 = 22;
/// Characters of the two lines of heading that fit the width.
const TITLE_CHARS: usize = 48;
const DETAIL_CHARS: usize = 66;

/// The name of a chart's file, if charts of its kind are written.
pub(crate) fn svg_path(name: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(name);
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    match extension.as_deref() {
        Some("svg") => Ok(path),
        Some("png") => Err("charts are not written as .png; wanted a name that ends with .svg".to_owned()),
        Some(other) => Err(format!("its ending is .{other}; wanted a name that ends with .svg")),
        None => Err("it has no ending; wanted a name that ends with .svg".to_owned()),
    }
}

/// Finds out before hours of measuring that there is no folder for the chart.
pub(super) fn check_folder(path: &Path) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    match folder.filter(|folder| !folder.is_dir()) {
        Some(folder) => bail!("cannot write {}: there is no folder {}", path.display(), folder.display()),
        None => Ok(()),
    }
}

/// The chart as SVG, under two lines of heading.
pub(super) fn svg(curves: &[Curve; 3], heading: [&str; 2]) -> anyhow::Result<String> {
    let mut text = String::new();
    draw(&mut text, curves, heading).map_err(|error| anyhow!("cannot draw the chart: {error}"))?;
    // Without a size of its own it takes that of the window.
    let (width, height) = SIZE;
    Ok(text.replacen(&format!("<svg width=\"{width}\" height=\"{height}\" "), "<svg ", 1))
}

type Drawn<T = ()> = Result<T, Box<dyn std::error::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw(text: &mut String, curves: &[Curve; 3], [title, details]: [&str; 2]) -> Drawn {
    let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let centre = SIZE.0 as i32 / 2;
    let style = |size: i32| TextStyle::from((FONT, size)).color(&INK).pos(Pos::new(HPos::Center, VPos::Top));
    root.draw_text(&shorten(title, TITLE_CHARS), &style(TITLE), (centre, 16))?;
    root.draw_text(&shorten(details, DETAIL_CHARS), &style(SMALL), (centre, 54))?;
    legend(&root, curves)?;

    let (_, panels) = root.split_vertically(HEADER);
    let [above, below]: [Area<'_>; 2] =
        panels.split_evenly((2, 1)).try_into().map_err(|_| "two panels were asked for")?;
    panel(&above, curves, "acceptance rate (%)", |point| point.acceptance_rate.map(|rate| 100.0 * rate))?;
    panel(&below, curves, "speed (tokens/s)", |point| Some(point.tokens_per_second))?;
    root.present()?;
    Ok(())
}

/// The names of the curves, each beside a piece of its line.
fn legend(root: &Area<'_>, curves: &[Curve; 3]) -> Drawn {
    let style = TextStyle::from((FONT, LARGE)).color(&INK).pos(Pos::new(HPos::Left, VPos::Center));
    for (i, (curve, colour)) in (0..).zip(curves.iter().zip(COLOURS)) {
        let (x, y) = (72 + 212 * i, 102);
        root.draw(&PathElement::new(vec![(x, y), (x + 34, y)], colour.stroke_width(4)))?;
        root.draw_text(curve.name, &style, (x + 44, y))?;
    }
    Ok(())
}

/// One value of all curves: smoothed as lines, of single answers as faint dots.
fn panel(area: &Area<'_>, curves: &[Curve; 3], name: &str, value: impl Fn(&Point) -> Option<f64>) -> Drawn {
    let of = |curve: &Curve, reach| -> Vec<(f64, f64)> {
        let points = curve.points(reach);
        points.iter().filter_map(|point| Some((point.n_tokens as f64, value(point)?))).collect()
    };
    let all: Vec<(f64, f64)> = curves.iter().flat_map(|curve| of(curve, 0)).collect();
    let last = all.iter().fold(1.0, |last: f64, point| last.max(point.0));
    let mut chart = ChartBuilder::on(area)
        .margin_top(12)
        .margin_right(30)
        .margin_bottom(14)
        .margin_left(12)
        .x_label_area_size(58)
        .y_label_area_size(84)
        .build_cartesian_2d(0.0..last * 1.02, bounds(all.iter().map(|point| point.1)))?;
    chart
        .configure_mesh()
        .x_desc("tokens generated")
        .y_desc(name)
        .x_labels(6)
        .y_labels(8)
        .max_light_lines(0)
        .bold_line_style(GRID)
        .axis_style(INK)
        .label_style((FONT, SMALL, &INK))
        .axis_desc_style((FONT, LARGE, &INK))
        .x_label_formatter(&|x| thousands(*x))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .draw()?;
    // The first curve is what the chart is about: it is drawn last, above the others.
    for (curve, colour) in curves.iter().zip(COLOURS).rev() {
        let dots = of(curve, 0).into_iter().map(|point| Circle::new(point, 4, colour.mix(0.28).filled()));
        chart.draw_series(dots)?;
    }
    for (curve, colour) in curves.iter().zip(COLOURS).rev() {
        chart.draw_series(LineSeries::new(of(curve, REACH), colour.stroke_width(4)))?;
    }
    Ok(())
}

/// A range that `values` fill, a twentieth of it left free at either end; nothing is below 0.
fn bounds(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) =
        values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    if low > high {
        return 0.0..1.0;
    }
    let free = ((high - low) / 20.0).max(1.0);
    (low - free).max(0.0)..high + free
}

/// `12,000` for 12000.
fn thousands(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What fits the width of a text: a model's path may be long, and its end says more than its start.
fn shorten(text: &str, max_chars: usize) -> String {
    let n_chars = text.chars().count();
    if n_chars <= max_chars {
        return text.to_owned();
    }
    let tail: String = text.chars().skip(n_chars - max_chars + 1).collect();
    format!("…{tail}")
}

#[cfg(test)]
mod tests {
    use super::super::prompts::Sums;
    use super::*;

    fn curves(n_answers: usize) -> [Curve; 3] {
        ["training on", "training off", "n-gram only"].map(|name| {
            let rises = if name == "training on" { 2 } else { 1 };
            let answers = (0..n_answers as u64).map(|i| Sums::made_up(40 + i, 100, 50 + rises * i % 40));
            Curve { name, answers: answers.collect() }
        })
    }

    #[test]
    fn a_chart_has_all_its_words_and_no_size() {
        let svg = svg(&curves(12), ["Model <a&b>", "2 threads"]).unwrap();
        for text in [
            "training on",
            "training off",
            "n-gram only",
            "acceptance rate (%)",
            "speed (tokens/s)",
            "tokens generated",
            "Model &lt;a&amp;b&gt;",
            "2 threads",
        ] {
            assert!(svg.contains(text), "{text} is missing");
        }
        assert!(svg.starts_with("<svg viewBox"), "{}", &svg[..60]);
    }

    #[test]
    fn a_chart_of_one_answer_or_none_is_drawn() {
        for n_answers in [0, 1] {
            assert!(svg(&curves(n_answers), ["", ""]).unwrap().contains("</svg>"), "{n_answers}");
        }
        let nothing_drafted =
            ["a", "b", "c"].map(|name| Curve { name, answers: vec![Sums::made_up(9, 0, 0)] });
        assert!(svg(&nothing_drafted, ["", ""]).is_ok());
    }

    #[test]
    fn lines_are_smoothed_and_dots_are_not() {
        let [curve, ..] = curves(5);
        let (dots, line) = (curve.points(0), curve.points(REACH));
        assert_eq!(dots[4].acceptance_rate, Some(0.58));
        // The last three answers together: 54, 56 and 58 of 100.
        assert_eq!(line[4].acceptance_rate, Some(0.56));
        assert_eq!((dots[0].n_tokens, dots[4].n_tokens, line[4].n_tokens), (40, 210, 210));
    }

    #[test]
    fn other_files_are_refused_by_what_they_are() {
        assert_eq!(svg_path("a/b.SVG"), Ok("a/b.SVG".into()));
        let wanted = "wanted a name that ends with .svg";
        assert_eq!(svg_path("b.png"), Err(format!("charts are not written as .png; {wanted}")));
        assert_eq!(svg_path("b.jpeg"), Err(format!("its ending is .jpeg; {wanted}")));
        assert_eq!(svg_path("svg"), Err(format!("it has no ending; {wanted}")));
    }

    #[test]
    fn long_headings_keep_their_end_and_numbers_their_groups() {
        let long = shorten(&format!("{}model.gguf", "folder/".repeat(20)), 30);
        assert!(long.starts_with('…') && long.ends_with("model.gguf") && long.chars().count() == 30);
        assert_eq!([0.0, 999.0, 1000.0, 1234567.0].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }
}
