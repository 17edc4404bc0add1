//! The medians of all rounds, as a Markdown table.
use std::fmt::{Display, Formatter, Result};

pub struct Table {
    title: String,
    columns: Vec<String>,
    rows: Vec<Row>,
}

struct Row {
    about: String,
    /// The figures of all rounds, for each column.
    cells: Vec<Vec<f64>>,
}

impl Table {
    pub fn new(title: String, columns: impl Iterator<Item = String>) -> Self {
        Self { title, columns: columns.collect(), rows: Vec::new() }
    }

    pub fn add(&mut self, about: &str, column: usize, figure: f64) {
        let place = self.rows.iter().position(|row| row.about == about).unwrap_or_else(|| {
            let cells = vec![Vec::new(); self.columns.len()];
            self.rows.push(Row { about: about.to_owned(), cells });
            self.rows.len() - 1
        });
        self.rows[place].cells[column].push(figure);
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "| {} |", self.title)?;
        for column in &self.columns {
            write!(f, " {column} |")?;
        }
        for other in self.columns.iter().skip(1) {
            write!(f, " {} / {other} |", self.columns[0])?;
        }
        write!(f, "\n|{}", " --- |".repeat(self.columns.len() * 2))?;
        for row in &self.rows {
            write!(f, "\n| {} |", row.about)?;
            for cell in &row.cells {
                let (low, middle, high) = summary(cell);
                write!(f, " {middle:.2} ({low:.2}–{high:.2}) |")?;
            }
            for other in row.cells.iter().skip(1) {
                write!(f, " {:.2} |", summary(&row.cells[0]).1 / summary(other).1)?;
            }
        }
        Ok(())
    }
}

/// The smallest, the median and the largest figure.
fn summary(figures: &[f64]) -> (f64, f64, f64) {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.as_slice() {
        [] => (f64::NAN, f64::NAN, f64::NAN),
        all @ [low, .., high] | all @ [low @ high] => {
            let half = all.len() / 2;
            let median =
                if all.len() % 2 == 1 { all[half] } else { (all[half - 1] + all[half]) / 2.0 };
            (*low, median, *high)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_shown_with_its_range_and_ratio() {
        let mut table = Table::new("x".into(), ["a", "b"].map(String::from).into_iter());
        for (a, b) in [(3.0, 2.0), (1.0, 2.5), (2.0, 4.0)] {
            table.add("echo", 0, a);
            table.add("echo", 1, b);
        }
        let last = table.to_string().lines().last().map(str::to_owned);
        assert_eq!(last.as_deref(), Some("| echo | 2.00 (1.00–3.00) | 2.50 (2.00–4.00) | 0.80 |"));
    }

    #[test]
    fn an_even_number_of_rounds_takes_the_middle_of_two() {
        assert_eq!(summary(&[4.0, 1.0, 2.0, 3.0]), (1.0, 2.5, 4.0));
    }
}
