//! Columns as Go's tabwriter aligns them in docker: at least ten cells, three between columns, blanks.

const SMALLEST: usize = 10;
const PADDING: usize = 3;

/// Aligns lines whose cells end in tabs. A column is as wide as its widest cell in a run of lines that
/// have it; what follows a line's last tab belongs to no column.
pub fn align(text: &str) -> String {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|cells| vec![0; cells.len()]).collect();
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    for column in 0..columns {
        let mut start = 0;
        while start < lines.len() {
            let has = |line: &Vec<&str>| line.len() > column + 1;
            let run = lines.iter().skip(start).take_while(|line| has(line)).count();
            let width = lines
                .iter()
                .skip(start)
                .take(run)
                .filter_map(|line| line.get(column))
                .map(|cell| cell.chars().count() + PADDING)
                .max()
                .unwrap_or(0)
                .max(SMALLEST);
            for row in widths.iter_mut().skip(start).take(run) {
                if let Some(cell) = row.get_mut(column) {
                    *cell = width;
                }
            }
            start += run.max(1);
        }
    }
    let mut aligned = String::new();
    for (cells, widths) in lines.iter().zip(&widths) {
        for (cell, width) in cells.iter().zip(widths) {
            aligned.push_str(cell);
            aligned.extend(std::iter::repeat_n(
                ' ',
                width.saturating_sub(cell.chars().count()),
            ));
        }
        aligned.push('\n');
    }
    aligned
}

/// Aligns a header and rows of cells.
pub fn of_rows(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = header.join("\t");
    for row in rows {
        text.push('\n');
        text.push_str(&row.join("\t"));
    }
    align(&text)
}

/// Cuts a text to so many cells, the last of them `…` where something was cut.
pub fn ellipsis(text: &str, cells: usize) -> String {
    if text.chars().count() <= cells {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(cells.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_docker_makes_them() {
        let rows = vec![vec![
            "busybox".to_owned(),
            "latest".to_owned(),
            "3772266d15d4".to_owned(),
        ]];
        assert_eq!(
            of_rows(&["REPOSITORY", "TAG", "IMAGE ID"], &rows),
            "REPOSITORY   TAG       IMAGE ID\nbusybox      latest    3772266d15d4\n"
        );
    }

    #[test]
    fn a_cut_text_ends_in_an_ellipsis() {
        assert_eq!(ellipsis("abcdef", 4), "abc…");
        assert_eq!(ellipsis("abcd", 4), "abcd");
    }
}
