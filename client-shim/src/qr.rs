//! A link as QR code, drawn with characters.
//!
//! A character cell shows two modules, one above the other. The thing to get wrong: a code is dark on light, and
//! terminals are mostly light on dark. So the colours are set where that is allowed, and where it is not, the light
//! modules are drawn and the dark ones left to the terminal's background.

use qrcodegen::{QrCode, QrCodeEcc};

/// Light modules on each side. The standard wants four; cameras are content with two, which leave more codes room.
const QUIET_ZONE: i32 = 2;

/// Black on white, whatever the terminal's theme makes of those names.
const DARK_ON_LIGHT: &str = "\x1b[38;5;16;48;5;231m";

/// The terminal's own colours.
const RESET: &str = "\x1b[0m";

/// How a code is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ink {
    /// By escape sequences.
    Set,
    /// Not at all: the terminal is taken to be light on dark.
    Terminal,
}

/// The space for a code, in character cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Space {
    /// How wide.
    pub(crate) columns: u16,
    /// How high.
    pub(crate) rows: u16,
}

/// Draws a link, if it fits.
pub(crate) fn draw(link: &str, space: Space, ink: Ink) -> Option<String> {
    let code = QrCode::encode_text(link, QrCodeEcc::Low).ok()?;
    let edge = code.size() + QUIET_ZONE;
    let (columns, rows) = (edge + QUIET_ZONE, (edge + QUIET_ZONE + 1) / 2);
    if columns > i32::from(space.columns) || rows > i32::from(space.rows) {
        return None;
    }
    let mut drawing = String::new();
    for y in (-QUIET_ZONE..edge).step_by(2) {
        if ink == Ink::Set {
            drawing.push_str(DARK_ON_LIGHT);
        }
        // Outside the code every module is light.
        drawing
            .extend((-QUIET_ZONE..edge).map(|x| cell(code.get_module(x, y), code.get_module(x, y + 1), ink)));
        if ink == Ink::Set {
            drawing.push_str(RESET);
        }
        drawing.push('\n');
    }
    Some(drawing)
}

/// Returns the character of two modules; `true` is dark.
fn cell(upper: bool, lower: bool, ink: Ink) -> char {
    let (upper, lower) = match ink {
        Ink::Set => (upper, lower),
        Ink::Terminal => (!upper, !lower),
    };
    match (upper, lower) {
        (false, false) => ' ',
        (true, false) => '▀',
        (false, true) => '▄',
        (true, true) => '█',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: &str = "https://a.example/device?user_code=WDJB-MJHT";

    const ROOM: Space = Space { columns: 80, rows: 24 };

    /// Reads a drawing back into modules, without its quiet zone.
    fn modules(drawing: &str, ink: Ink) -> Vec<Vec<bool>> {
        let mut rows = Vec::new();
        for line in drawing.lines() {
            let line = line.replace(DARK_ON_LIGHT, "").replace(RESET, "");
            let drawn = |c, parts: &str| parts.contains(c) == (ink == Ink::Set);
            rows.push(line.chars().map(|c| drawn(c, "▀█")).collect::<Vec<_>>());
            rows.push(line.chars().map(|c| drawn(c, "▄█")).collect());
        }
        rows
    }

    #[test]
    fn a_drawing_holds_every_module_and_a_light_edge() {
        let code = QrCode::encode_text(LINK, QrCodeEcc::Low).unwrap();
        for ink in [Ink::Set, Ink::Terminal] {
            let drawn = modules(&draw(LINK, ROOM, ink).unwrap(), ink);
            for (y, row) in (-QUIET_ZONE..).zip(&drawn) {
                assert_eq!(row.len() as i32, code.size() + 2 * QUIET_ZONE);
                for (x, dark) in (-QUIET_ZONE..).zip(row) {
                    assert_eq!(*dark, code.get_module(x, y), "module {x}, {y}");
                }
            }
        }
    }

    #[test]
    fn a_code_is_whole_or_not_drawn() {
        let drawing = draw(LINK, ROOM, Ink::Terminal).unwrap();
        let space = Space {
            columns: drawing.lines().next().unwrap().chars().count() as u16,
            rows: drawing.lines().count() as u16,
        };
        assert!(draw(LINK, space, Ink::Terminal).is_some());
        assert_eq!(draw(LINK, Space { columns: space.columns - 1, ..space }, Ink::Terminal), None);
        assert_eq!(draw(LINK, Space { rows: space.rows - 1, ..space }, Ink::Terminal), None);
        assert_eq!(draw(&"x".repeat(5000), Space { columns: u16::MAX, rows: u16::MAX }, Ink::Set), None);
    }
}
