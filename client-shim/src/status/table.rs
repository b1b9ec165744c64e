//! Columns as wide as what stands in them.
//!
//! The last column is not filled up, so that a line ends where its text does.

/// Spaces between columns.
const GAP: usize = 2;

/// Whether the header stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// In bold type.
    Bold,
    /// As the rest.
    Plain,
}

/// Returns a table as text.
pub(crate) fn render<const N: usize>(titles: [&str; N], rows: &[[String; N]], header: Header) -> String {
    let titles = titles.map(str::to_owned);
    let mut widths = [0; N];
    for row in rows.iter().chain([&titles]) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = match header {
        Header::Bold => format!("\x1b[1m{}\x1b[0m\n", line(&titles, &widths)),
        Header::Plain => format!("{}\n", line(&titles, &widths)),
    };
    for row in rows {
        text.push_str(&line(row, &widths));
        text.push('\n');
    }
    text
}

fn line(row: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (cell, width) in row.iter().zip(widths) {
        line.push_str(&format!("{cell:width$}{:GAP$}", ""));
    }
    line.truncate(line.trim_end().len());
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["ä".to_owned(), "12".to_owned()], ["long".to_owned(), String::new()]];
        assert_eq!(render(["A", "B"], &rows, Header::Plain), "A     B\nä     12\nlong\n");
        assert_eq!(render(["A", "B"], &[], Header::Bold), "\x1b[1mA  B\x1b[0m\n");
    }
}
