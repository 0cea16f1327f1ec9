//! A small picture of what runs: an array above, its members below.

use control::{ArrayStatus, MemberState, StackStatus};

/// Characters between the walls of a member's box.
const WIDTH: usize = 9;

/// Draws every array of a stack.
pub fn draw(stack: &StackStatus) -> String {
    let drawings = stack.arrays.iter().map(array);
    drawings.collect::<Vec<_>>().join("\n") + "\n"
}

fn array(array: &ArrayStatus) -> String {
    let row = |each: &dyn Fn(&control::MemberStatus) -> String| -> String {
        array.members.iter().map(each).collect::<Vec<_>>().join(" ")
    };
    let centred = |text: &str| format!("\u{2502}{text:^WIDTH$}\u{2502}");
    let line = "\u{2500}".repeat(WIDTH);
    let health = match array.slots.saturating_sub(array.in_sync) {
        0 => "complete".to_owned(),
        missing => format!("{missing} of {} members missing", array.slots),
    };
    format!(
        "\n  {} ({}, {}): {health}\n  {}\n  {}\n  {}\n  {}\n",
        array.name,
        array.level,
        crate::text::size(array.bytes),
        row(&|_| format!("\u{250c}{line}\u{2510}")),
        row(&|member| centred(file_name(&member.name))),
        row(&|member| centred(state(member.state))),
        row(&|_| format!("\u{2514}{line}\u{2518}")),
    )
}

/// A disk that was added is known by its whole path.
fn file_name(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

fn state(state: MemberState) -> &'static str {
    match state {
        MemberState::InSync => "in sync",
        MemberState::Recovering | MemberState::Replacing => "rebuilding",
        MemberState::Spare => "waiting",
        MemberState::Journal => "journal",
        MemberState::Faulty => "FAULTY",
        MemberState::Removed => "removed",
    }
}
