//! Tells people, or programs, what was found.

use std::io::{self, Write};

use clap::builder::styling::{AnsiColor, Style};
use serde_json::json;

use super::{
    judge::{Finding, Level, worst},
    product::Product,
};
use crate::cli::Colours;

/// Everything that is told.
pub(super) struct Report<'a> {
    pub(super) url: &'a str,
    pub(super) topic: &'a str,
    /// What stands on the path.
    pub(super) behind: &'a [Product],
    pub(super) findings: &'a [Finding],
}

/// Where the text of a finding begins.
const INDENT: usize = 22;

// === impl Report ===

impl Report<'_> {
    /// For programs: one JSON object.
    pub(super) fn json(&self, out: &mut dyn Write) -> io::Result<()> {
        let report = json!({
            "url": self.url,
            "topic": self.topic,
            "behind": self.behind.iter().map(|product| product.name()).collect::<Vec<_>>(),
            "worst": worst(self.findings),
            "findings": self.findings,
        });
        writeln!(out, "{report:#}")
    }

    /// For people.
    pub(super) fn text(&self, colours: Colours, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}, topic {}", self.url, self.topic)?;
        if !self.behind.is_empty() {
            let names: Vec<_> = self.behind.iter().map(|product| product.name()).collect();
            writeln!(out, "behind {}", names.join(" and "))?;
        }
        writeln!(out)?;
        for finding in self.findings {
            let level = colours.paint(style(finding.level), &format!("{:7}", name(finding.level)));
            writeln!(out, "{level}  {:11}  {}", finding.check, finding.found)?;
            if let Some(advice) = &finding.advice {
                writeln!(out, "{:INDENT$}{advice}", "")?;
            }
            for setting in &finding.settings {
                writeln!(out, "{:INDENT$}{}: {}", "", setting.product, setting.setting)?;
            }
        }
        let count = |level| self.findings.iter().filter(|finding| finding.level == level).count();
        let (problems, warnings) = (count(Level::Problem), count(Level::Warning));
        writeln!(out, "\n{}, {}", plural(problems, "problem"), plural(warnings, "warning"))
    }
}

fn name(level: Level) -> &'static str {
    match level {
        Level::Ok => "ok",
        Level::Note => "note",
        Level::Warning => "warning",
        Level::Problem => "problem",
    }
}

fn style(level: Level) -> Style {
    let colour = match level {
        Level::Ok => AnsiColor::Green,
        Level::Note => AnsiColor::Cyan,
        Level::Warning => AnsiColor::Yellow,
        Level::Problem => AnsiColor::Red,
    };
    colour.on_default().bold()
}

fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
