//! Readers, alone and beside others, of a store that fails on demand.

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
    let Found { stream, .. } = open(store, key(), range).await.map_err(io::Error::other)?;
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
            let mut stream = open(&store, key(), 0..50_000).await.unwrap().stream;
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
            let mut stream = open(&store, key(), 0..100_000).await.unwrap().stream;
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
        let mut stream = open(&store, key(), 0..200_000).await.unwrap().stream;
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
    let mut stream = open(&store, key(), 0..200_000).await.unwrap().stream;
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
        let mut stream = open(&store, key(), 0..200_000).await.unwrap().stream;
        for _ in 0..20 {
            stream.try_next().await.unwrap();
        }
        readers.push(stream);
    }
    assert!(store.inner.memory.available_permits() as u64 >= MEMORY / MIB / 3 * 2);
    drop(readers);
}
