//! The one table in which everything is printed.

use std::fmt::Write;

use crate::report::{Report, Row};

/// The report as text: a row for each quantity, a column for each target; a cell is the median, its multiple of the
/// row's baseline, and half the range of the rounds in per cent.
pub(crate) fn render(report: &Report) -> String {
    let mut targets: Vec<&str> = Vec::new();
    for cell in report.rows.iter().flat_map(|r| &r.cells) {
        if !targets.contains(&cell.target.as_str()) {
            targets.push(&cell.target);
        }
    }
    let mut lines = vec![header(&targets)];
    let mut last_case = "";
    for row in &report.rows {
        let mut line =
            vec![if row.case == last_case { String::new() } else { row.case.clone() }, row.metric.into()];
        line.extend(targets.iter().map(|t| cell(report, row, t)));
        lines.push(line);
        last_case = &row.case;
    }
    let mut text = align(&lines);
    text.push_str(
        "\nCells: median of the rounds, ×multiple of the baseline, ±half the range of the rounds.\n\
         Baselines: the floor; unpaced fan-out the coalescing floor with as many threads as cores.\n",
    );
    for note in &report.notes {
        let _ = writeln!(text, "Note: {note}");
    }
    for failure in &report.failures {
        let _ = writeln!(text, "FAILED: {failure}");
    }
    text
}

fn header(targets: &[&str]) -> Vec<String> {
    ["case", "metric"].iter().chain(targets).map(ToString::to_string).collect()
}

fn cell(report: &Report, row: &Row, target: &str) -> String {
    let Some(summary) = report.summary(&row.case, row.metric, target) else { return "–".into() };
    let mut text = number(summary.median);
    if let Some(ratio) = report.ratio(row, target) {
        let _ = write!(text, " ×{ratio:.2}");
    }
    let spread = summary.spread() * 100.0;
    if spread >= 0.5 {
        let _ = write!(text, " ±{spread:.0}%");
    }
    text
}

/// A number with about three significant digits and thousands separated.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => thousands(value),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A whole number with thousands separated.
pub(crate) fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    if value < 0.0 { format!("-{out}") } else { out }
}

/// Lines of cells as text: two columns to the left, the others to the right.
pub(crate) fn align(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| lines.iter().filter_map(|l| l.get(column)).map(|c| c.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|c| width(c).unwrap_or(0)).collect();
    let mut text = String::new();
    for line in lines {
        let cells: Vec<_> = line
            .iter()
            .zip(&widths)
            .enumerate()
            .map(
                |(at, (cell, width))| {
                    if at < 2 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
                },
            )
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Baseline;

    #[test]
    fn numbers_are_readable() {
        let shown: Vec<_> = [1_234_567.0, 999.6, 12.34, 0.5, -4321.0].into_iter().map(number).collect();
        assert_eq!(shown, ["1,234,567", "1000", "12.3", "0.50", "-4,321"]);
    }

    #[test]
    fn a_table_has_a_column_for_each_target_and_says_what_failed() {
        let mut report = Report::default();
        let base = Baseline::new("fanout", "floor");
        report.add("fanout", "CPU µs/delivery", "floor", 8.0, &base);
        report.add("fanout", "CPU µs/delivery", "proxy", 8.8, &base);
        report.add("fanout", "p99 ms", "proxy", 70.0, &base);
        report.failures.push("proxy lost one".into());
        let text = render(&report);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].contains("floor") && lines[0].contains("proxy"));
        assert!(lines[1].contains("8.00") && lines[1].contains("8.80 ×1.10"), "{text}");
        assert!(lines[2].contains('–') && lines[2].contains("70.0"), "{text}");
        assert!(!lines[2].contains("fanout"));
        assert!(text.contains("FAILED: proxy lost one"));
    }
}
