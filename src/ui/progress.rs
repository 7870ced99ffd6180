//! Progress: bars on a terminal, lines elsewhere.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use storage_layout::Digest;

use super::{Bytes, Printer};
use crate::transfer::{BlobProgress, Label, Reporter};

/// How long nothing may be said while bytes flow.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Returns what shows a transfer as `printer` may.
pub fn reporter(printer: &Printer) -> Arc<dyn Reporter> {
    match printer.bars() {
        Some(bars) => Arc::new(Bars::new(bars.clone())),
        None if printer.is_quiet() => Arc::new(()),
        None => Arc::new(Lines::new(printer.clone())),
    }
}

/// Returns what a blob is called when it has gone through.
fn ended<'a>(title: Option<&'a str>, digest: &'a Digest) -> Label<'a> {
    title.map_or(Label::Digest(digest), Label::Title)
}

/// Returns the title to call a blob by to its end.
fn title(label: Label<'_>) -> Option<String> {
    match label {
        Label::Title(title) => Some(title.to_owned()),
        Label::Digest(_) | Label::Unknown(_) => None,
    }
}

#[derive(Debug)]
struct Bars {
    bars: MultiProgress,
    total: ProgressBar,
}

fn say(bars: &MultiProgress, line: &str) {
    if let Err(error) = bars.println(line) {
        tracing::debug!(%error, "progress could not be drawn");
    }
}

fn style(template: &str) -> ProgressStyle {
    /// Writing to the bar's own buffer cannot fail.
    fn show(out: &mut dyn std::fmt::Write, text: std::fmt::Arguments<'_>) {
        out.write_fmt(text).expect("a string takes all that is written");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate for people")]
    let rate = |state: &ProgressState| Bytes(state.per_sec() as u64);
    ProgressStyle::with_template(template)
        .expect("the templates are ours")
        .with_key("rate", move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            show(out, format_args!("{:>9}/s", rate(state).to_string()));
        })
        .with_key("done", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            show(out, format_args!("{:>9}", Bytes(state.pos()).to_string()));
        })
        .with_key("all", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            show(out, format_args!("{:9}", Bytes(state.len().unwrap_or_default()).to_string()));
        })
        .progress_chars("=> ")
}

impl Bars {
    fn new(bars: MultiProgress) -> Self {
        let total = bars.add(ProgressBar::new(0));
        total.set_style(style("{prefix:12}  {done}  {rate}  {elapsed}"));
        total.set_prefix("total");
        Self { bars, total }
    }

    fn show_total(&self, size: Option<u64>) {
        if let Some(size) = size {
            self.total.inc_length(size);
            self.total.set_style(style("{prefix:12} [{bar:24}] {done} / {all} {rate}  {eta} left"));
        }
    }
}

impl Reporter for Bars {
    fn blob_started(&self, label: Label<'_>, size: Option<u64>) -> Box<dyn BlobProgress> {
        let bar = size.map_or_else(ProgressBar::no_length, ProgressBar::new);
        let bar = self.bars.insert_before(&self.total, bar);
        bar.set_style(match size {
            Some(_) => style("{prefix:12} [{bar:24}] {done} / {all} {rate}"),
            // Docker compresses on the way, so the length is learnt last.
            None => style("{prefix:12}  {done}  {rate}"),
        });
        bar.set_prefix(label.to_string());
        self.show_total(size);
        Box::new(Bar { title: title(label), own: bar, total: self.total.clone(), bars: self.bars.clone() })
    }

    fn blob_exists(&self, label: Label<'_>, size: u64) {
        say(&self.bars, &format!("{label:12} {} already there", Bytes(size)));
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.total.finish_and_clear();
    }
}

#[derive(Debug)]
struct Bar {
    title: Option<String>,
    own: ProgressBar,
    total: ProgressBar,
    bars: MultiProgress,
}

impl BlobProgress for Bar {
    fn advanced(&self, bytes: u64) {
        self.own.inc(bytes);
        self.total.inc(bytes);
    }

    fn finished(&self, digest: &Digest) {
        // What is done becomes a line above the bars, so that an image of a hundred layers does not fill the screen with them.
        self.own.finish_and_clear();
        say(&self.bars, &format!("{:12} {} done", ended(self.title.as_deref(), digest), Bytes(self.own.position())));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.own.finish_and_clear();
    }
}

/// A line when a blob has gone through, and one now and then while none has.
#[derive(Clone, Debug)]
struct Lines {
    printer: Printer,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    sent: u64,
    started: Instant,
    last: Instant,
}

impl Lines {
    fn new(printer: Printer) -> Self {
        let now = Instant::now();
        Self { printer, state: Arc::new(Mutex::new(State { sent: 0, started: now, last: now })) }
    }

    fn say(&self, line: &str) {
        self.state.lock().expect("nothing panics while holding it").last = Instant::now();
        self.printer.note(line);
    }
}

impl Reporter for Lines {
    fn blob_started(&self, label: Label<'_>, _: Option<u64>) -> Box<dyn BlobProgress> {
        Box::new(Line { title: title(label), lines: self.clone(), length: std::sync::atomic::AtomicU64::new(0) })
    }

    fn blob_exists(&self, label: Label<'_>, size: u64) {
        self.say(&format!("{label} {} already there", Bytes(size)));
    }
}

#[derive(Debug)]
struct Line {
    title: Option<String>,
    lines: Lines,
    length: std::sync::atomic::AtomicU64,
}

impl BlobProgress for Line {
    fn advanced(&self, bytes: u64) {
        self.length.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
        let line = {
            let mut state = self.lines.state.lock().expect("nothing panics while holding it");
            state.sent += bytes;
            if state.last.elapsed() < HEARTBEAT {
                return;
            }
            state.last = Instant::now();
            let seconds = state.started.elapsed().as_secs().max(1);
            format!("… {} in {seconds} s, {}/s", Bytes(state.sent), Bytes(state.sent / seconds))
        };
        self.lines.printer.note(&line);
    }

    fn finished(&self, digest: &Digest) {
        let length = self.length.load(std::sync::atomic::Ordering::Relaxed);
        self.lines.say(&format!("{} {} done", ended(self.title.as_deref(), digest), Bytes(length)));
    }
}
