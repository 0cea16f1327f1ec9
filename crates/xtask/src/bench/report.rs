//! The report: a table for the terminal, JSON for programs, SVG to look at.

use std::fmt::{self, Write};

use super::job::Job;
use super::summary::{Cell, Contender, Spread};

/// What rates count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Requests a second.
    Requests,
    /// Bytes a second; jobs of 4 KiB are shown as requests all the same.
    Bytes,
}

/// What is asked of a figure.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Asked {
    /// No less.
    AtLeast(f64),
    /// No more.
    AtMost(f64),
}

/// A figure that was asked for before anything was measured.
pub struct Figure {
    /// What it is.
    pub name: &'static str,
    /// What is asked of every case.
    pub asked: Asked,
    /// What came of it, for each case that is measured; none where it could not be.
    pub cases: Vec<(String, Spread)>,
}

/// All that was measured.
pub struct Report {
    /// Of the picture, whose bars are the first ratio of each contender.
    pub title: &'static str,
    /// Of all rates.
    pub unit: Unit,
    /// Who was measured.
    pub contenders: Vec<Contender>,
    /// What came of it, job by job.
    pub cells: Vec<Cell>,
    /// What was asked for.
    pub figures: Vec<Figure>,
    /// Who could not be measured, and why.
    pub left_out: Vec<String>,
}

impl Report {
    /// For each job a line for each contender: the rate (least to most over the rounds), and its ratios.
    pub fn table(&self) -> String {
        let mut text = String::new();
        for (job, cells) in self.by_job() {
            writeln!(text, "{}", job.name()).expect("a string takes all");
            for cell in cells {
                let name = &self.contenders[cell.contender].name;
                let [rate, least, most] =
                    [cell.rate.median, cell.rate.least, cell.rate.most].map(|rate| self.shown(job, rate));
                let range = format!("({least}-{most})");
                write!(text, "  {name:<26}{rate:>8} {:<6}{range:<16}", self.per_second(job))
                    .expect("a string takes all");
                for (peer, ratio) in &cell.ratios {
                    let Spread { median, least, most } = ratio;
                    let ratio = format!("x{median:.2} {peer} ({least:.2}-{most:.2})");
                    write!(text, "{ratio:<44}").expect("a string takes all");
                }
                text.truncate(text.trim_end().len());
                text.push('\n');
            }
        }
        text.push_str("x: to that one in the same round; all figures are medians\n");
        self.figures.iter().for_each(|figure| figure.write(&mut text));
        for line in &self.left_out {
            writeln!(text, "left out: {line}").expect("a string takes all");
        }
        text
    }

    /// The same as a document.
    pub fn json(&self) -> String {
        let spread = |spread: &Spread| {
            let Spread { median, least, most } = spread;
            serde_json::json!({ "median": median, "least": least, "most": most })
        };
        let rate = match self.unit {
            Unit::Requests => "requests_per_second",
            Unit::Bytes => "bytes_per_second",
        };
        let cells = self.cells.iter().map(|cell| {
            let ratios = cell.ratios.iter().map(|(peer, ratio)| (peer.clone(), spread(ratio)));
            serde_json::json!({
                "job": cell.job.name(),
                "target": self.contenders[cell.contender].name,
                rate: spread(&cell.rate),
                "ratios": ratios.collect::<serde_json::Map<_, _>>(),
            })
        });
        let figures = self.figures.iter().map(|figure| {
            let cases = figure.cases.iter().map(|(case, found)| (case.clone(), spread(found)));
            serde_json::json!({
                "name": figure.name,
                "asked": figure.asked.to_string(),
                "cases": cases.collect::<serde_json::Map<_, _>>(),
            })
        });
        serde_json::json!({
            "version": 3,
            "cells": cells.collect::<Vec<_>>(),
            "figures": figures.collect::<Vec<_>>(),
            "left_out": self.left_out,
        })
        .to_string()
    }

    /// The first ratios as bars, a group for each job.
    pub fn svg(&self) -> String {
        const BAR: f64 = 16.0;
        const LEFT: f64 = 150.0;
        const UNIT: f64 = 110.0;
        let mut bars = String::new();
        let mut top = 40.0;
        for (job, cells) in self.by_job() {
            let shown: Vec<&Cell> = cells.iter().filter(|cell| !cell.ratios.is_empty()).collect();
            let middle = top + BAR * shown.len() as f64 / 2.0;
            writeln!(bars, "<text x='10' y='{middle}'>{}</text>", job.name()).expect("a string takes all");
            for (bar, cell) in shown.iter().enumerate() {
                let contender = &self.contenders[cell.contender];
                let ratio = cell.ratios[0].1.median;
                let (y, length) = (top + BAR * bar as f64, UNIT * ratio.clamp(0.0, 4.5));
                let (label_x, label_y) = (LEFT + length + 4.0, y + BAR - 5.0);
                writeln!(
                    bars,
                    "<rect x='{LEFT}' y='{y}' width='{length:.1}' height='{:.0}' fill='{}'/>\
                     <text x='{label_x:.1}' y='{label_y}' font-size='10'>{} {ratio:.2}</text>",
                    BAR - 3.0,
                    contender.colour,
                    contender.name
                )
                .expect("a string takes all");
            }
            top += BAR * shown.len() as f64 + 18.0;
        }
        let (width, height, line) = (LEFT + UNIT * 6.0, top + 10.0, LEFT + UNIT);
        let title = self.title;
        format!(
            "<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' font-family='sans-serif' \
             font-size='12'>\n<rect width='100%' height='100%' fill='white'/>\n<text x='10' y='20' \
             font-size='14'>{title}</text>\n{bars}<line x1='{line}' x2='{line}' y1='32' y2='{top}' \
             stroke='#888' stroke-dasharray='4'/>\n</svg>\n"
        )
    }

    fn by_job(&self) -> impl Iterator<Item = (Job, &[Cell])> {
        self.cells.chunk_by(|one, next| one.job == next.job).map(|cells| (cells[0].job, cells))
    }

    fn shown(&self, job: Job, rate: f64) -> String {
        match self.unit {
            Unit::Requests => short(rate),
            Unit::Bytes if job.shape().kib == 4 => short(rate / 4096.0),
            Unit::Bytes => format!("{:.2}", rate / 1e9),
        }
    }

    fn per_second(&self, job: Job) -> &'static str {
        match self.unit {
            Unit::Bytes if job.shape().kib != 4 => "GB/s",
            _ => "/s",
        }
    }
}

impl Asked {
    fn verdict(self, found: f64) -> &'static str {
        match self {
            Asked::AtLeast(least) if found < least => "  falls short",
            Asked::AtMost(most) if found > most => "  too much",
            _ => "",
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Asked::AtLeast(least) => write!(f, "at least {least}"),
            Asked::AtMost(most) => write!(f, "at most {most}"),
        }
    }
}

impl Figure {
    fn write(&self, text: &mut String) {
        writeln!(text, "{}: asked {}", self.name, self.asked).expect("a string takes all");
        if self.cases.is_empty() {
            text.push_str("  not measured\n");
        }
        for (case, Spread { median, least, most }) in &self.cases {
            let verdict = self.asked.verdict(*median);
            writeln!(text, "  {case:<46}{median:>7.2}  ({least:.2}-{most:.2}){verdict}")
                .expect("a string takes all");
        }
    }
}

fn short(rate: f64) -> String {
    match rate {
        large if large >= 100_000.0 => format!("{:.0}k", large / 1000.0),
        middle if middle >= 1000.0 => format!("{:.1}k", middle / 1000.0),
        small => format!("{small:.0}"),
    }
}
