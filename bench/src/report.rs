//! Everything measured, gathered over rounds and targets.

use serde::Serialize;

use crate::stats::Summary;

/// All figures, notes and failures of one run of the program.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// What was measured, in the order in which it was first measured.
    pub(crate) rows: Vec<Row>,
    /// Remarks that explain figures.
    pub(crate) notes: Vec<String>,
    /// What went wrong; a report with failures makes the program fail.
    pub(crate) failures: Vec<String>,
}

/// One quantity in one scenario, for all targets.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// The scenario and its variant.
    pub(crate) case: String,
    /// The quantity and its unit.
    pub(crate) metric: &'static str,
    /// What figures are given as a multiple of.
    pub(crate) baseline: Baseline,
    /// One for each target, in the order in which they were first measured.
    pub(crate) cells: Vec<Cell>,
}

/// The same metric's value of another target, usually in the same case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Baseline {
    /// The case.
    pub(crate) case: String,
    /// The target.
    pub(crate) target: String,
}

/// A target's values in a row.
#[derive(Debug, Serialize)]
pub(crate) struct Cell {
    /// The target's name.
    pub(crate) target: String,
    /// One for each round.
    pub(crate) values: Vec<f64>,
}

// === impl Report ===

impl Report {
    /// Adds one round's value.
    pub(crate) fn add(
        &mut self,
        case: &str,
        metric: &'static str,
        target: &str,
        value: f64,
        baseline: &Baseline,
    ) {
        let at = self.rows.iter().position(|r| r.case == case && r.metric == metric).unwrap_or_else(|| {
            self.rows.push(Row { case: case.into(), metric, baseline: baseline.clone(), cells: Vec::new() });
            self.rows.len() - 1
        });
        let cells = &mut self.rows[at].cells;
        match cells.iter_mut().find(|c| c.target == target) {
            Some(cell) => cell.values.push(value),
            None => cells.push(Cell { target: target.into(), values: vec![value] }),
        }
    }

    /// Adds a remark unless it is known already.
    pub(crate) fn note(&mut self, text: String) {
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    /// The summary of a target's values.
    pub(crate) fn summary(&self, case: &str, metric: &str, target: &str) -> Option<Summary> {
        let row = self.rows.iter().find(|r| r.case == case && r.metric == metric)?;
        Summary::of(&row.cells.iter().find(|c| c.target == target)?.values)
    }

    /// A target's median as a multiple of the row's baseline.
    pub(crate) fn ratio(&self, row: &Row, target: &str) -> Option<f64> {
        if row.baseline.case == row.case && row.baseline.target == target {
            return None;
        }
        let own = self.summary(&row.case, row.metric, target)?;
        let base = self.summary(&row.baseline.case, row.metric, &row.baseline.target)?;
        (base.median > 0.0).then(|| own.median / base.median)
    }
}

// === impl Baseline ===

impl Baseline {
    /// The baseline `target` in `case`.
    pub(crate) fn new(case: &str, target: &str) -> Self {
        Self { case: case.into(), target: target.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_medians_and_may_refer_to_another_case() {
        let mut report = Report::default();
        let base = Baseline::new("anonymous", "floor");
        for value in [10.0, 20.0, 900.0] {
            report.add("anonymous", "CPU", "floor", value, &base);
            report.add("with token", "CPU", "proxy", value * 2.0, &base);
        }
        let row = report.rows.iter().find(|r| r.case == "with token").unwrap();
        assert!((report.ratio(row, "proxy").unwrap() - 2.0).abs() < 1e-9);
        assert_eq!(report.ratio(&report.rows[0], "floor"), None);
        assert_eq!(report.ratio(row, "nchan"), None);
    }
}
