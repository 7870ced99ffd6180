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

/// Opens `range` of the object `path`, and returns it with the size that the whole object has.
pub(crate) async fn open(store: &Store, path: Path, range: Range<u64>) -> object_store::Result<(ByteStream, u64)> {
    let share = store.inner.reading.take(0);
    let wide = share.is_some() && store.inner.reading.has_room();
    let next = step(store, &range, if wide { 1 } else { LONG });
    let Opened { source, first, size } = Source::open(store.objects(), path, range.clone(), next).await?;
    let reader = match first {
        First::File(file) => return Ok((range_reader::read_file(file, range.end - range.start), size)),
        First::Remote(reader) => reader,
    };
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
    Ok((stream.boxed(), size))
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
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures::TryStreamExt;
    use futures::future::join_all;
    use object_store::memory::InMemory;
    use object_store::{ObjectStore, ObjectStoreExt};

    use super::*;
    use crate::range_reader::RESTARTS;
    use crate::store::MIB;
    use crate::test_util::{Call, Failure, Fault, FaultyStore, Operation, noise};

    const RANGE: u64 = 1024;
    /// Eight ranges, each of which takes the least that is handed out.
    const MEMORY: u64 = 24 * MIB;
    const RANGES: usize = 8;

    fn key() -> Path {
        Path::from("blob")
    }

    async fn holding(content: &Bytes) -> Arc<InMemory> {
        let objects = Arc::new(InMemory::new());
        objects.put(&key(), content.clone().into()).await.unwrap();
        objects
    }

    fn store(objects: FaultyStore) -> (Arc<FaultyStore>, Store) {
        let objects = Arc::new(objects.slowly(2));
        let options = StoreOptions { range_size: RANGE, memory: MEMORY, ..StoreOptions::default() };
        (Arc::clone(&objects), Store::new(objects, options))
    }

    async fn read(store: &Store, range: Range<u64>) -> io::Result<Bytes> {
        let (stream, _) = open(store, key(), range).await.map_err(io::Error::other)?;
        Ok(stream.try_collect::<Vec<_>>().await?.concat().into())
    }

    fn free(store: &Store) -> usize {
        store.inner.reading.ranges.available_permits()
    }

    /// Lets everything that is under way come to its end.
    async fn settle() {
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn any_part_is_read_as_it_is_and_a_small_one_by_one_request() {
        let content = noise(1, 50_000);
        let objects = holding(&content).await;
        for (start, end) in [(0, 50_000), (0, 1), (0, 1024), (0, 1025), (1, 50_000), (49_999, 50_000), (700, 30_000)] {
            let (counted, store) = store(FaultyStore::counting(Arc::clone(&objects) as _));
            let part = content.slice(usize::try_from(start).unwrap()..usize::try_from(end).unwrap());
            assert_eq!(read(&store, start..end).await.unwrap(), part, "{start}..{end}");
            assert_eq!(counted.calls(), (end - start).div_ceil(RANGE));
            assert_eq!(free(&store), RANGES);
        }
    }

    #[tokio::test]
    async fn a_range_that_breaks_is_asked_for_again_and_nobody_notices() {
        let content = noise(1, 20_000);
        let objects = holding(&content).await;
        for number in 0..20 {
            for fault in [Fault::Error(number, Failure::Generic), Fault::BreakOff(number)] {
                let (counted, store) = store(FaultyStore::new(Arc::clone(&objects) as _, fault));
                assert_eq!(read(&store, 0..20_000).await.unwrap(), content, "{fault:?}");
                assert_eq!(counted.calls(), 21, "{fault:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_store_that_stays_away_or_refuses_is_not_asked_for_ever() {
        let content = noise(1, 20_000);
        let objects = holding(&content).await;
        for number in 0..20 {
            for (fault, asked) in [
                (Fault::Outage(number, Failure::Generic), u64::from(RESTARTS + 1)),
                (Fault::Error(number, Failure::PermissionDenied), 1),
            ] {
                let (counted, store) = store(FaultyStore::new(Arc::clone(&objects) as _, fault));
                let error = read(&store, 0..20_000).await.unwrap_err();
                assert!(error.downcast::<object_store::Error>().is_ok());
                assert!(counted.calls() <= number + asked * RANGES as u64, "{fault:?}: {} calls", counted.calls());
                settle().await;
                assert_eq!(free(&store), RANGES);
            }
        }
    }

    #[tokio::test]
    async fn two_versions_are_never_mixed() {
        let (old, new) = (noise(1, 50_000), noise(2, 50_000));
        for etags in [true, false] {
            for pieces in [1, 2, 5, 20, 49] {
                let objects = holding(&old).await;
                let counted = FaultyStore::counting(Arc::clone(&objects) as _);
                let (_, store) = store(if etags { counted } else { counted.without_etags() });
                let (mut stream, _) = open(&store, key(), 0..50_000).await.unwrap();
                let mut received = Vec::new();
                for _ in 0..pieces {
                    if let Some(bytes) = stream.try_next().await.unwrap() {
                        received.extend_from_slice(&bytes);
                    }
                }
                objects.put(&key(), new.clone().into()).await.unwrap();
                loop {
                    match stream.try_next().await {
                        Ok(Some(bytes)) => received.extend_from_slice(&bytes),
                        Ok(None) => break assert_eq!(received.len(), 50_000),
                        Err(error) => {
                            let error = error.downcast::<object_store::Error>().unwrap();
                            break assert!(matches!(error, object_store::Error::Precondition { .. }), "{error:?}");
                        }
                    }
                }
                assert_eq!(received, old[..received.len()]);
            }
        }
    }

    #[tokio::test]
    async fn without_versions_there_is_one_request_and_no_second_try() {
        let content = noise(1, 50_000);
        let objects = holding(&content).await;
        let (counted, store) = store(FaultyStore::counting(Arc::clone(&objects) as _).without_etags());
        assert_eq!(read(&store, 0..50_000).await.unwrap(), content);
        // The first says that there are none.
        assert_eq!(counted.calls(), 2);
        let (_, store) = self::store(FaultyStore::new(objects, Fault::BreakOff(1)).without_etags());
        read(&store, 0..50_000).await.unwrap_err();
    }

    /// What was asked for and not consumed, in bytes: now, and at most.
    #[derive(Debug, Default)]
    struct UnderWay(AtomicU64, AtomicU64);

    fn watched(objects: Arc<dyn ObjectStore>) -> (Arc<UnderWay>, FaultyStore) {
        let under_way = Arc::new(UnderWay::default());
        let observer = Arc::clone(&under_way);
        let objects = FaultyStore::counting(objects).observe(move |call: &Call| {
            assert_eq!(call.operation, Operation::Get);
            let now = observer.0.fetch_add(call.length, Ordering::SeqCst) + call.length;
            observer.1.fetch_max(now, Ordering::SeqCst);
        });
        (under_way, objects)
    }

    #[tokio::test]
    async fn readers_together_keep_to_the_memory_budget() {
        let content = noise(1, 100_000);
        let objects = holding(&content).await;
        for readers in [1, 2, 3, 10, 30] {
            let (under_way, counted) = watched(Arc::clone(&objects) as _);
            let (_, store) = store(counted);
            let reading = (0..readers).map(|_| async {
                let (mut stream, _) = open(&store, key(), 0..100_000).await.unwrap();
                while let Some(bytes) = stream.try_next().await.unwrap() {
                    under_way.0.fetch_sub(bytes.len() as u64, Ordering::SeqCst);
                }
            });
            join_all(reading).await;
            let peak = under_way.1.load(Ordering::SeqCst);
            // Those that got no memory read one range at a time, as fast as they are consumed.
            assert!(peak <= (RANGES as u64 + readers * LONG) * RANGE, "{readers} readers had {peak} bytes under way");
            assert!(peak >= RANGES as u64 / 2 * RANGE, "{readers} readers had only {peak} bytes under way");
            assert_eq!(free(&store), RANGES);
        }
    }

    #[tokio::test]
    async fn a_reader_that_stops_leaves_room_for_others_and_its_memory_comes_back() {
        let content = noise(1, 200_000);
        let objects = holding(&content).await;
        let (_, store) = store(FaultyStore::counting(objects));
        let mut stopped = Vec::new();
        for _ in 0..20 {
            let (mut stream, _) = open(&store, key(), 0..200_000).await.unwrap();
            for _ in 0..50 {
                stream.try_next().await.unwrap();
            }
            stopped.push(stream);
            assert_eq!(read(&store, 0..200_000).await.unwrap(), content, "beside {} that stopped", stopped.len());
            if stopped.len() == 1 {
                assert!((1..=RANGES / 2).contains(&free(&store)), "{} of {RANGES} ranges are free", free(&store));
            }
        }
        stopped.clear();
        assert_eq!(free(&store), RANGES);
        assert_eq!(store.inner.memory.available_permits() as u64, MEMORY / MIB);
    }

    #[tokio::test]
    async fn the_window_follows_the_reader() {
        let content = noise(1, 200_000);
        let objects = holding(&content).await;
        let (_, store) = store(FaultyStore::counting(objects));
        let (mut stream, _) = open(&store, key(), 0..200_000).await.unwrap();
        let held = Mutex::new(Vec::new());
        for piece in 0..150 {
            if piece > 50 {
                settle().await;
            }
            stream.try_next().await.unwrap();
            held.lock().unwrap().push(RANGES - free(&store));
        }
        let held = held.into_inner().unwrap();
        assert!(held[40] > RANGES / 2, "a reader that waits has {held:?}");
        assert!(held[149] <= 2, "a reader that is waited for has {held:?}");
    }

    #[tokio::test]
    async fn those_who_write_are_not_kept_waiting() {
        let content = noise(1, 200_000);
        let objects = holding(&content).await;
        let (_, store) = store(FaultyStore::counting(objects));
        let mut readers = Vec::new();
        for _ in 0..30 {
            let (mut stream, _) = open(&store, key(), 0..200_000).await.unwrap();
            for _ in 0..20 {
                stream.try_next().await.unwrap();
            }
            readers.push(stream);
        }
        assert!(store.inner.memory.available_permits() as u64 >= MEMORY / MIB / 3 * 2);
        drop(readers);
    }
}
