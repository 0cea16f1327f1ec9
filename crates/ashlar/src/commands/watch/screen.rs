//! The picture of a look: a box for each array and each cached volume. Pure but for the frame that it is drawn on.

use std::collections::VecDeque;

use control::{ArrayStatus, MemberState, MemberStatus, Progress, progress};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Cell, Gauge, Paragraph, Row, Sparkline, Table};

use super::Watched;
use super::history::{History, Rate, Rates};
use super::lines::{cached_counts, cached_standing, standing};
use crate::text::size;

/// Rows of a chart of speeds.
const CHART_ROWS: u16 = 3;

/// What is drawn.
pub struct Screen<'a> {
    boxes: Vec<Drawn<'a>>,
    first: usize,
    nowhere: String,
}

enum Drawn<'a> {
    Array { stack: &'a str, array: &'a ArrayStatus, history: &'a History },
    Text { title: String, lines: Vec<String> },
}

impl<'a> Screen<'a> {
    /// The picture of what was seen, from the `first` array on.
    pub fn of(watched: &'a Watched, first: usize) -> Screen<'a> {
        let mut boxes = Vec::new();
        for stack in &watched.stacks {
            match &stack.status {
                Err(why) => {
                    boxes.push(Drawn::Text { title: stack.name.clone(), lines: vec![why.to_string()] })
                }
                Ok(status) => {
                    boxes.extend(status.arrays.iter().filter_map(|array| {
                        let history = watched.histories.get(&(stack.name.clone(), array.name.clone()))?;
                        Some(Drawn::Array { stack: &stack.name, array, history })
                    }));
                    boxes.extend(status.cached.iter().map(|volume| Drawn::Text {
                        title: title(&stack.name, &volume.name),
                        lines: vec![cached_standing(volume), cached_counts(volume)],
                    }));
                }
            }
        }
        let first = first.min(boxes.len().saturating_sub(1));
        Screen {
            boxes,
            first,
            nowhere: format!("nothing runs (no control socket in {})", watched.dir().display()),
        }
    }
}

/// Draws; gives back which array is the first one that is seen.
pub fn draw(frame: &mut Frame<'_>, screen: &Screen<'_>) -> usize {
    let [body, foot] = Layout::vertical([Constraint::Min(0), Constraint::Length(1)]).areas(frame.area());
    if screen.boxes.is_empty() {
        frame.render_widget(Paragraph::new(screen.nowhere.as_str()), body);
    }
    let (mut top, mut drawn) = (body.y, 0);
    for shown in &screen.boxes[screen.first.min(screen.boxes.len())..] {
        let height = height(shown).min(body.bottom() - top);
        // What fits in part is drawn in part only where it is alone.
        if height == 0 || (height < self::height(shown) && drawn > 0) {
            break;
        }
        draw_box(frame, Rect { x: body.x, y: top, width: body.width, height }, shown);
        top += height;
        drawn += 1;
    }
    let hidden = screen.boxes.len() - screen.first - drawn.min(screen.boxes.len() - screen.first);
    let more = match (screen.first, hidden) {
        (0, 0) => String::new(),
        (above, below) => format!(", {above} more above, {below} below"),
    };
    let help = format!(" q leaves, arrows move{more}");
    frame.render_widget(Paragraph::new(help).style(Style::new().add_modifier(Modifier::DIM)), foot);
    screen.first
}

fn height(shown: &Drawn<'_>) -> u16 {
    match shown {
        Drawn::Text { lines, .. } => 2 + lines.len() as u16,
        Drawn::Array { array, .. } => {
            let members = u16::try_from(array.members.len()).unwrap_or(u16::MAX);
            let sync = u16::from(progress(&array.sync).is_some());
            let bitmap = u16::from(array.bitmap.is_some());
            members.saturating_add(2 + 1 + bitmap + sync + 1 + CHART_ROWS + 1)
        }
    }
}

fn draw_box(frame: &mut Frame<'_>, area: Rect, shown: &Drawn<'_>) {
    let (stack, array, history) = match shown {
        Drawn::Array { stack, array, history } => (*stack, *array, *history),
        Drawn::Text { title, lines } => {
            let text = Paragraph::new(lines.join("\n")).block(Block::bordered().title(format!(" {title} ")));
            return frame.render_widget(text, area);
        }
    };
    let block = Block::bordered().title(format!(" {} ", title(stack, &array.name)));
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let (sync, members) = (progress(&array.sync), array.members.len() as u16 + 1);
    let [head, bitmap, sync_bar, table, charts] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(array.bitmap.is_some().into()),
        Constraint::Length(sync.is_some().into()),
        Constraint::Length(members),
        Constraint::Length(CHART_ROWS + 1),
    ])
    .areas(inner);
    draw_head(frame, head, array);
    if let Some(marks) = &array.bitmap {
        let text = format!(
            "bitmap: {} of {} chunks of {} marked",
            marks.marked,
            marks.chunks,
            size(marks.chunk_bytes)
        );
        frame.render_widget(Paragraph::new(text), bitmap);
    }
    if let Some(sync) = sync {
        draw_sync(frame, sync_bar, &sync);
    }
    draw_members(frame, table, array, history);
    let [reads, writes] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).spacing(2).areas(charts);
    draw_chart(frame, reads, "reads", &history.array.read, &history.reads, Color::Green);
    draw_chart(frame, writes, "writes", &history.array.write, &history.writes, Color::Blue);
}

/// A name in a stack, which may have the same.
fn title(stack: &str, name: &str) -> String {
    if stack == name { name.to_owned() } else { format!("{stack}: {name}") }
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, array: &ArrayStatus) {
    let is_well = array.in_sync == array.slots && array.broken_by.is_none();
    let style = if is_well { Style::new() } else { Style::new().fg(Color::Red).add_modifier(Modifier::BOLD) };
    let text = format!(
        "{}, {}, metadata {}, {} events",
        standing(array),
        size(array.bytes),
        array.metadata,
        array.events
    );
    frame.render_widget(Paragraph::new(Line::styled(text, style)), area);
}

fn draw_sync(frame: &mut Frame<'_>, area: Rect, sync: &Progress) {
    let left = sync.seconds_left.map(|s| format!(", {}:{:02} left", s / 60, s % 60)).unwrap_or_default();
    let part = sync.part();
    let label = format!("{} {:.1}%, {}/s{left}", sync.action, part * 100.0, size(sync.bytes_per_second));
    let gauge = Gauge::default().ratio(part).label(label).gauge_style(Style::new().fg(Color::Yellow));
    frame.render_widget(gauge, area);
}

fn draw_members(frame: &mut Frame<'_>, area: Rect, array: &ArrayStatus, history: &History) {
    let rows = array
        .members
        .iter()
        .map(|member| member_row(member, &history.members.get(&member.name).copied().unwrap_or_default()));
    let widths = [
        Constraint::Length(5),
        Constraint::Fill(1),
        Constraint::Length(9),
        Constraint::Length(13),
        Constraint::Length(13),
        Constraint::Length(17),
        Constraint::Length(17),
    ];
    let head =
        Row::new(["slot", "member", "state", "reads/s", "writes/s", "read half/99%", "write half/99%"]);
    let head = head.style(Style::new().add_modifier(Modifier::DIM));
    frame.render_widget(Table::new(rows, widths).header(head), area);
}

fn member_row(member: &MemberStatus, rates: &Rates) -> Row<'static> {
    let (state, color) = match member.state {
        MemberState::InSync => ("in sync", Color::Green),
        MemberState::Recovering => ("rebuilding", Color::Yellow),
        MemberState::Replacing => ("replacing", Color::Yellow),
        MemberState::Spare => ("waiting", Color::Cyan),
        MemberState::Journal => ("journal", Color::Green),
        MemberState::Faulty => ("FAULTY", Color::Red),
        MemberState::Removed => ("removed", Color::DarkGray),
    };
    Row::new([
        Cell::new(member.slot.map_or("-".to_owned(), |slot| slot.to_string())),
        Cell::new(member.name.clone()),
        Cell::new(state).style(Style::new().fg(color)),
        Cell::new(size(rates.read.bytes)),
        Cell::new(size(rates.write.bytes)),
        Cell::new(latencies(&rates.read)),
        Cell::new(latencies(&rates.write)),
    ])
}

fn latencies(rate: &Rate) -> String {
    match (rate.median_ns, rate.slow_ns) {
        (Some(median), Some(slow)) => format!("{} {}", time(median), time(slow)),
        _ => "-".to_owned(),
    }
}

/// Less than so many nanoseconds.
fn time(ns: u64) -> String {
    match ns {
        u64::MAX => ">30s".to_owned(),
        ns if ns < 1_000 => format!("<{ns}ns"),
        ns if ns < 1_000_000 => format!("<{}us", ns / 1_000),
        ns if ns < 1_000_000_000 => format!("<{}ms", ns / 1_000_000),
        ns => format!("<{}s", ns / 1_000_000_000),
    }
}

fn draw_chart(
    frame: &mut Frame<'_>,
    area: Rect,
    what: &str,
    now: &Rate,
    speeds: &VecDeque<u64>,
    color: Color,
) {
    let [label, chart] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    let width = usize::from(chart.width);
    let shown: Vec<u64> = speeds.iter().skip(speeds.len().saturating_sub(width)).copied().collect();
    let most = shown.iter().copied().max().unwrap_or(0);
    let text = format!("{what} {}/s, {} a second; at most {}/s", size(now.bytes), now.requests, size(most));
    frame.render_widget(Paragraph::new(text), label);
    frame.render_widget(
        Sparkline::default().data(shown).max(most.max(1)).style(Style::new().fg(color)),
        chart,
    );
}

#[cfg(test)]
mod tests;
