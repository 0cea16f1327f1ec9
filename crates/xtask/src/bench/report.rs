//! The report: a table for the terminal, JSON for programs, SVG to look at.

use std::fmt::Write;

use super::Summary;
use super::fio::Job;
use super::peers::Target;

/// The table: requests a second (least to most over the rounds), and the ratio to nbdkit's.
pub fn table(summary: &Summary, left_out: &[String]) -> String {
    let mut text = format!("{:<16}", "");
    for target in &summary.targets {
        write!(text, "{:>22}", target.name()).expect("a string takes all");
    }
    text.push('\n');
    for job in Job::ALL {
        write!(text, "{:<16}", job.name()).expect("a string takes all");
        for target in &summary.targets {
            let cell = summary.cells[&(job, *target)];
            let figure = format!("{}/s", short(cell.rate));
            write!(text, "{figure:>12} {:>9}", format!("x{:.2}", cell.ratio)).expect("a string takes all");
        }
        text.push('\n');
    }
    text.push_str("x: to nbdkit's file plugin in the same round; medians\n");
    for line in left_out {
        writeln!(text, "left out: {line}").expect("a string takes all");
    }
    text
}

/// The same as a document.
pub fn json(summary: &Summary) -> String {
    let cells = summary.cells.iter().map(|((job, target), cell)| {
        serde_json::json!({
            "job": job.name(),
            "target": target.name(),
            "requests_per_second": { "median": cell.rate, "least": cell.least, "most": cell.most },
            "ratio_to_nbdkit": cell.ratio,
        })
    });
    serde_json::json!({ "version": 1, "cells": cells.collect::<Vec<_>>() }).to_string()
}

/// The ratios as bars, a group for each job.
pub fn svg(summary: &Summary) -> String {
    const BAR: f64 = 16.0;
    const LEFT: f64 = 130.0;
    const UNIT: f64 = 110.0;
    let shown: Vec<Target> =
        summary.targets.iter().copied().filter(|target| *target != Target::Raw).collect();
    let group = BAR * shown.len() as f64 + 18.0;
    let (width, height) = (LEFT + UNIT * 5.5, group * Job::ALL.len() as f64 + 60.0);
    let mut svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' font-family='sans-serif' \
         font-size='12'>\n<rect width='100%' height='100%' fill='white'/>\n<text x='10' y='20' font-size='14'>\
         Requests a second, as a ratio to nbdkit's file plugin in the same round</text>\n"
    );
    for (row, job) in Job::ALL.into_iter().enumerate() {
        let top = 40.0 + group * row as f64;
        let middle = top + group / 2.0;
        writeln!(svg, "<text x='10' y='{middle}'>{}</text>", job.name()).expect("a string takes all");
        for (bar, target) in shown.iter().enumerate() {
            let ratio = summary.cells[&(job, *target)].ratio;
            let (y, length) = (top + BAR * bar as f64, UNIT * ratio.clamp(0.0, 4.5));
            let colour = colour(*target);
            let (label_x, label_y) = (LEFT + length + 4.0, y + BAR - 5.0);
            writeln!(
                svg,
                "<rect x='{LEFT}' y='{y}' width='{length:.1}' height='{:.0}' fill='{colour}'/>\
                 <text x='{label_x:.1}' y='{label_y}' font-size='10'>{} {ratio:.2}</text>",
                BAR - 3.0,
                target.name()
            )
            .expect("a string takes all");
        }
    }
    let (line, bottom) = (LEFT + UNIT, height - 15.0);
    writeln!(
        svg,
        "<line x1='{line}' x2='{line}' y1='32' y2='{bottom}' stroke='#888' stroke-dasharray='4'/>\n</svg>"
    )
    .expect("a string takes all");
    svg
}

fn colour(target: Target) -> &'static str {
    match target {
        Target::Raw | Target::Nbdkit => "#999999",
        Target::QemuNbd => "#bbbbbb",
        Target::Plain => "#1b6ca8",
        Target::Raid0 => "#3f9ad6",
        Target::Raid1 => "#8cc4ea",
    }
}

fn short(rate: f64) -> String {
    match rate {
        large if large >= 100_000.0 => format!("{:.0}k", large / 1000.0),
        middle if middle >= 1000.0 => format!("{:.1}k", middle / 1000.0),
        small => format!("{small:.0}"),
    }
}
