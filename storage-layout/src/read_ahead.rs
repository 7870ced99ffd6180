//! Reading an object faster than one connection can: ranges ahead of the one that is being consumed, several at once.
//!
//! The range at the head goes straight to whoever reads; it needs none of the memory that is shared, so every reader gets on,
//! whatever the others hold. Ranges ahead of it are kept in memory until their turn. How many there are follows the reader: as
//! long as it has to wait for the bucket they become more, and they become fewer when it does not. A slow client therefore keeps
//! one range ahead of it, and a client that stopped no more than its share.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use object_store::path::Path;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;

use crate::blob::ByteStream;
use crate::range_reader::{self, First, Opened, RangeReader, Source};
use crate::store::{Store, StoreOptions, permits};

/// A reader may hold so many times what it leaves to others. What is left is never nothing, so whoever comes next finds some.
const GREED: usize = 3;
/// How many ranges are asked for by one request, where there is no memory for a second one.
const LONG: u64 = 8;

/// The memory for what is read ahead: up to a third of the whole, so that there is always some to write with.
#[derive(Debug)]
pub(crate) struct ReadBudget {
    ranges: Arc<Semaphore>,
    /// Shared with those who write.
    memory: Arc<Semaphore>,
    /// What a range takes of `memory`.
    each: u32,
}

/// The memory of one range.
#[derive(Debug)]
struct Share {
    _range: OwnedSemaphorePermit,
    _memory: OwnedSemaphorePermit,
}

impl ReadBudget {
    pub(crate) fn new(options: &StoreOptions, memory: &Arc<Semaphore>) -> Self {
        let each = permits(options.range_size);
        let ranges = Arc::new(Semaphore::new((options.permits() / 3 / each) as usize));
        Self { ranges, memory: Arc::clone(memory), each }
    }

    /// Takes memory for one more range of a reader that holds `held`, if that is fair.
    fn take(&self, held: usize) -> Option<Share> {
        if held >= self.ranges.available_permits() * GREED {
            return None;
        }
        let range = Arc::clone(&self.ranges).try_acquire_owned().ok()?;
        let memory = Arc::clone(&self.memory).try_acquire_many_owned(self.each).ok()?;
        Some(Share { _range: range, _memory: memory })
    }

    /// Tells whether a range more could be had.
    fn has_room(&self) -> bool {
        self.ranges.available_permits() > 0
    }
}

/// A range of an object, as it comes.
pub(crate) struct Found {
    pub(crate) stream: ByteStream,
    /// The whole object's size, in bytes.
    pub(crate) size: u64,
    /// The `ETag` of the version that is read, if one tells versions apart. A file of this machine has none: its bytes can go bad
    /// without one that changes.
    pub(crate) version: Option<String>,
}

/// Opens `range` of the object `path`.
pub(crate) async fn open(store: &Store, path: Path, range: Range<u64>) -> object_store::Result<Found> {
    let share = store.inner.reading.take(0);
    let wide = share.is_some() && store.inner.reading.has_room();
    let next = step(store, &range, if wide { 1 } else { LONG });
    let Opened { source, first, size } = Source::open(store.objects(), path, range.clone(), next).await?;
    let reader = match first {
        First::File(file) => {
            let stream = range_reader::read_file(file, range.end - range.start);
            return Ok(Found { stream, size, version: None });
        }
        First::Remote(reader) => reader,
    };
    let version = source.version().map(str::to_owned);
    let rest = reader.end()..range.end;
    let state = ReadAhead {
        store: store.clone(),
        source,
        head: Piece { body: Body::Straight(reader), _share: share },
        ahead: VecDeque::new(),
        rest,
        window: 1,
        round: 1,
        waited: false,
    };
    let stream = futures::stream::try_unfold(state, |mut state| async move {
        let bytes = state.next().await?;
        Ok(bytes.map(|bytes| (bytes, state)))
    });
    Ok(Found { stream: stream.boxed(), size, version })
}

/// Returns where `ranges` ranges from the start of `rest` end.
fn step(store: &Store, rest: &Range<u64>, ranges: u64) -> u64 {
    rest.end.min(rest.start.saturating_add(store.inner.options.range_size * ranges))
}

struct ReadAhead {
    store: Store,
    source: Source,
    /// What is being consumed.
    head: Piece,
    /// What comes after it, in order.
    ahead: VecDeque<Piece>,
    /// What nobody has asked for yet.
    rest: Range<u64>,
    /// How many ranges ahead are wanted.
    window: usize,
    /// How many ranges are still to be consumed before the window is thought over.
    round: usize,
    /// Whether the bucket was waited for in this round.
    waited: bool,
}

struct Piece {
    body: Body,
    _share: Option<Share>,
}

enum Body {
    /// As fast as it is consumed.
    Straight(RangeReader),
    /// As fast as it comes. The channel holds one range at most.
    Ahead { received: mpsc::UnboundedReceiver<Bytes>, task: AbortOnDropHandle<io::Result<()>> },
}

impl ReadAhead {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            self.look_ahead();
            if let Some(bytes) = self.head.next(&mut self.waited).await? {
                return Ok(Some(bytes));
            }
            self.head = if let Some(piece) = self.ahead.pop_front() {
                self.think_over();
                piece
            } else if self.rest.is_empty() {
                return Ok(None);
            } else {
                let range = self.take(LONG);
                // Not needed, but it keeps many readers at once from asking for many small ranges.
                let share = self.store.inner.reading.take(0);
                Piece { body: Body::Straight(RangeReader::new(&self.source, range)), _share: share }
            };
        }
    }

    fn take(&mut self, ranges: u64) -> Range<u64> {
        let start = self.rest.start;
        self.rest.start = step(&self.store, &self.rest, ranges);
        start..self.rest.start
    }

    fn look_ahead(&mut self) {
        while self.ahead.len() < self.window && !self.rest.is_empty() && self.source.is_pinned() {
            let Some(share) = self.store.inner.reading.take(self.ahead.len() + 1) else { return };
            let range = self.take(1);
            let mut reader = RangeReader::new(&self.source, range);
            let (sender, received) = mpsc::unbounded_channel();
            let task = tokio::spawn(async move {
                while let Some(bytes) = reader.next().await? {
                    if sender.send(bytes).is_err() {
                        // Nobody reads any more, and this task is about to be aborted.
                        break;
                    }
                }
                Ok(())
            });
            let body = Body::Ahead { received, task: AbortOnDropHandle::new(task) };
            self.ahead.push_back(Piece { body, _share: Some(share) });
        }
    }

    /// Widens the window if the bucket was waited for while as many ranges as it has were consumed, and narrows it if not.
    /// Ranges that were asked for together also come together, so a single one says little.
    fn think_over(&mut self) {
        self.round -= 1;
        if self.round == 0 {
            self.window = if self.waited { self.window.saturating_mul(2) } else { self.window.div_ceil(2) };
            // No wider than memory allows, or it would take long to become narrow again.
            self.window = self.window.min((self.ahead.len() + 1) * 2);
            self.round = self.window;
            self.waited = false;
        }
    }
}

impl Piece {
    /// Returns the next bytes, or `None` at the end of the range. `waited` is set if they were not there yet.
    async fn next(&mut self, waited: &mut bool) -> io::Result<Option<Bytes>> {
        let (received, task) = match &mut self.body {
            Body::Straight(reader) => return reader.next().await,
            Body::Ahead { received, task } => (received, task),
        };
        if let Ok(bytes) = received.try_recv() {
            return Ok(Some(bytes));
        }
        *waited |= !task.is_finished();
        match received.recv().await {
            Some(bytes) => Ok(Some(bytes)),
            // The sender is gone, so the range is at its end or failed.
            None => task.await.unwrap_or_else(|error| Err(error.into())).map(|()| None),
        }
    }
}

#[cfg(test)]
mod tests;
