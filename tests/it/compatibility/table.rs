//! A table of places and operations.

use std::fmt;
use std::thread;

/// What became of one operation in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Pass,
    /// It was done, and something is to be known of how.
    PassBut(String),
    /// It cannot be, for this reason.
    No(String),
}

impl Cell {
    pub(super) fn no(reason: impl Into<String>) -> Self {
        Self::No(reason.into())
    }

    /// Tells a difference that is none of ours.
    pub(super) fn pass_if(passed: bool, reason: &str) -> Self {
        if passed { Self::Pass } else { Self::no(reason) }
    }
}

/// One operation: what it is called, and how it is tried. It panics if it neither succeeds nor fails as it should.
pub(super) type Operation<P> = (&'static str, fn(&P) -> Cell);

/// A place where operations are tried.
pub(super) struct Column<P> {
    pub(super) name: &'static str,
    pub(super) place: P,
    /// Why nothing can be done there.
    pub(super) closed: Option<Cell>,
}

/// What became of every operation in every place.
pub(super) struct Table {
    columns: Vec<&'static str>,
    rows: Vec<(&'static str, Vec<Cell>)>,
}

impl Table {
    /// Tries all operations: in one place after the other, in all places at once.
    pub(super) fn of<P: Send + Sync>(columns: &[Column<P>], operations: &[Operation<P>]) -> Self {
        let cells: Vec<Vec<Cell>> = thread::scope(|scope| {
            let column = |column: &Column<P>| -> Vec<Cell> {
                let attempt =
                    |(_, attempt): &Operation<P>| column.closed.clone().unwrap_or_else(|| attempt(&column.place));
                operations.iter().map(attempt).collect()
            };
            let spawned: Vec<_> = columns
                .iter()
                .map(|place| {
                    // A panic is told with the name of its thread.
                    let thread = thread::Builder::new().name(place.name.to_owned());
                    thread.spawn_scoped(scope, move || column(place)).expect("a thread can be started")
                })
                .collect();
            spawned.into_iter().map(|thread| thread.join().expect("what panicked is told above")).collect()
        });
        let row = |index: usize| cells.iter().map(|column| column[index].clone()).collect();
        let rows = operations.iter().enumerate().map(|(index, (name, _))| (*name, row(index))).collect();
        Self { columns: columns.iter().map(|column| column.name).collect(), rows }
    }
}

/// As Markdown, with the notes below the table in the order in which it names them.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut notes: Vec<&str> = Vec::new();
        let mut number = |note| {
            let index = notes.iter().position(|known| *known == note).unwrap_or_else(|| {
                notes.push(note);
                notes.len() - 1
            });
            index + 1
        };
        writeln!(f, "| | {} |", self.columns.join(" | "))?;
        writeln!(f, "|---|{}", "---|".repeat(self.columns.len()))?;
        for (name, cells) in &self.rows {
            write!(f, "| {name} |")?;
            for cell in cells {
                match cell {
                    Cell::Pass => write!(f, " pass |")?,
                    Cell::PassBut(note) => write!(f, " pass ({}) |", number(note.as_str()))?,
                    Cell::No(reason) => write!(f, " no ({}) |", number(reason.as_str()))?,
                }
            }
            writeln!(f)?;
        }
        writeln!(f)?;
        notes.iter().enumerate().try_for_each(|(index, note)| writeln!(f, "{}. {note}", index + 1))
    }
}
