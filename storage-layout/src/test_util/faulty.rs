//! A store around another that fails on demand.

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryFutureExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, UploadPart,
};

use super::fault::{Call, Failure, Fault, Operation, Stop};

type Observer = Box<dyn Fn(&Call) + Send + Sync>;

/// A store that counts the calls made to it and fails on demand.
pub struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    state: Arc<State>,
}

struct State {
    fault: Fault,
    yields: usize,
    without_etags: bool,
    observer: Option<Observer>,
    calls: AtomicU64,
    unfinished: AtomicU64,
    in_flight: AtomicU64,
    peak: AtomicU64,
}

/// What is to be done with a call.
enum Verdict {
    Make,
    MakeAndFail,
    BreakOff,
    Halve,
    Fail(object_store::Error),
}

impl FaultyStore {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn ObjectStore>, fault: Fault) -> Self {
        let zero = || AtomicU64::new(0);
        let state = State {
            fault,
            yields: 0,
            without_etags: false,
            observer: None,
            calls: zero(),
            unfinished: zero(),
            in_flight: zero(),
            peak: zero(),
        };
        Self { inner, state: Arc::new(state) }
    }

    /// Wraps `inner` for a process that dies at call `number`.
    pub fn stop_at(inner: Arc<dyn ObjectStore>, number: u64, stop: Stop) -> Self {
        Self::new(inner, Fault::Stop(number, stop))
    }

    /// Wraps `inner`, to count calls only.
    pub fn counting(inner: Arc<dyn ObjectStore>) -> Self {
        Self::new(inner, Fault::None)
    }

    /// Calls `observer` with every call before it is made, also with those that fail.
    #[must_use]
    pub fn observe(mut self, observer: impl Fn(&Call) + Send + Sync + 'static) -> Self {
        self.state_mut().observer = Some(Box::new(observer));
        self
    }

    /// Lets other tasks run `yields` times before each call, so that several tasks come to have calls under way at once.
    #[must_use]
    pub fn slowly(mut self, yields: usize) -> Self {
        self.state_mut().yields = yields;
        self
    }

    /// Leaves the `ETag` out of what is read, as some stores do.
    #[must_use]
    pub fn without_etags(mut self) -> Self {
        self.state_mut().without_etags = true;
        self
    }

    fn state_mut(&mut self) -> &mut State {
        Arc::get_mut(&mut self.state).expect("the store is not in use yet")
    }

    /// Returns how many calls there were, those that failed included.
    pub fn calls(&self) -> u64 {
        self.state.calls.load(Ordering::SeqCst)
    }

    /// Returns how many multipart uploads were begun and neither completed nor aborted.
    pub fn unfinished_uploads(&self) -> u64 {
        self.state.unfinished.load(Ordering::SeqCst)
    }

    /// Returns how many bytes puts and parts had under way at once, at most.
    pub fn peak_in_flight(&self) -> u64 {
        self.state.peak.load(Ordering::SeqCst)
    }
}

impl State {
    /// Counts a call and tells what is to be done with it.
    fn judge(&self, operation: Operation, path: &Path, length: u64) -> Verdict {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        if let Some(observer) = &self.observer {
            observer(&Call { number, operation, path: path.clone(), length });
        }
        match self.fault {
            Fault::Stop(at, stop) if number == at => match stop {
                Stop::Before => Verdict::Fail(Failure::Generic.error(path)),
                Stop::After => Verdict::MakeAndFail,
                Stop::Torn => Verdict::Halve,
            },
            Fault::Stop(at, _) if number > at => Verdict::Fail(Failure::Generic.error(path)),
            Fault::Error(at, failure) if number == at => Verdict::Fail(failure.error(path)),
            Fault::Outage(at, failure) if number >= at => Verdict::Fail(failure.error(path)),
            Fault::BreakOff(at) if number == at => Verdict::BreakOff,
            _ => Verdict::Make,
        }
    }

    /// Carries out a verdict on a call without halves.
    async fn carry_out<T>(
        &self,
        verdict: Verdict,
        path: &Path,
        call: impl Future<Output = object_store::Result<T>>,
    ) -> object_store::Result<T> {
        self.give_way().await;
        match verdict {
            Verdict::Make | Verdict::BreakOff => call.await,
            Verdict::MakeAndFail => {
                call.await?;
                Err(Failure::Generic.error(path))
            }
            Verdict::Halve => Err(Failure::Generic.error(path)),
            Verdict::Fail(error) => Err(error),
        }
    }

    async fn give_way(&self) {
        for _ in 0..self.yields {
            tokio::task::yield_now().await;
        }
    }

    fn send(self: &Arc<Self>, length: u64) -> InFlight {
        let now = self.in_flight.fetch_add(length, Ordering::SeqCst) + length;
        self.peak.fetch_max(now, Ordering::SeqCst);
        InFlight { state: Arc::clone(self), length }
    }
}

/// Bytes under way.
struct InFlight {
    state: Arc<State>,
    length: u64,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.state.in_flight.fetch_sub(self.length, Ordering::SeqCst);
    }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyStore")
            .field("inner", &self.inner)
            .field("fault", &self.state.fault)
            .field("calls", &self.calls())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultyStore({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> object_store::Result<PutResult> {
        let length = payload.content_length();
        let verdict = self.state.judge(Operation::Put, path, length as u64);
        let _in_flight = self.state.send(length as u64);
        if matches!(verdict, Verdict::Halve) {
            let half = Bytes::from(payload).slice(..length / 2);
            self.inner.put_opts(path, half.into(), options).await?;
            return Err(Failure::Generic.error(path));
        }
        self.state.carry_out(verdict, path, self.inner.put_opts(path, payload, options)).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        let verdict = self.state.judge(Operation::Begin, path, 0);
        let begin = async {
            let inner = self.inner.put_multipart_opts(path, options).await?;
            self.state.unfinished.fetch_add(1, Ordering::SeqCst);
            Ok(inner)
        };
        let inner = self.state.carry_out(verdict, path, begin).await?;
        Ok(Box::new(FaultyUpload { inner, state: Arc::clone(&self.state), path: path.clone() }))
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        let (operation, length) = match &options.range {
            _ if options.head => (Operation::Head, 0),
            Some(GetRange::Bounded(range)) => (Operation::Get, range.end - range.start),
            _ => (Operation::Get, 0),
        };
        let verdict = self.state.judge(operation, path, length);
        let breaks_off = operation == Operation::Get && matches!(verdict, Verdict::BreakOff);
        let mut found = self.state.carry_out(verdict, path, self.inner.get_opts(path, options)).await?;
        if self.state.without_etags {
            found.meta.e_tag = None;
        }
        if breaks_off {
            let Range { start, end } = found.range;
            let half = self.inner.get_range(path, start..start.midpoint(end)).await;
            found.payload =
                GetResultPayload::Stream(futures::stream::iter([half, Err(Failure::Generic.error(path))]).boxed());
        }
        Ok(found)
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        let verdict = self.state.judge(Operation::Get, path, 0);
        self.state.carry_out(verdict, path, self.inner.get_ranges(path, ranges)).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        let (inner, state) = (Arc::clone(&self.inner), Arc::clone(&self.state));
        let delete = move |path: object_store::Result<Path>| {
            let (inner, state) = (Arc::clone(&inner), Arc::clone(&state));
            async move {
                let path = path?;
                let verdict = state.judge(Operation::Delete, &path, 0);
                state.carry_out(verdict, &path, inner.delete(&path)).await?;
                Ok(path)
            }
        };
        paths.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.stream_list(prefix, self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.stream_list(prefix, self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        let path = prefix.cloned().unwrap_or_default();
        let verdict = self.state.judge(Operation::List, &path, 0);
        self.state.carry_out(verdict, &path, self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        let verdict = self.state.judge(Operation::Copy, to, 0);
        self.state.carry_out(verdict, to, self.inner.copy_opts(from, to, options)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> object_store::Result<()> {
        let verdict = self.state.judge(Operation::Copy, to, 0);
        self.state.carry_out(verdict, to, self.inner.rename_opts(from, to, options)).await
    }
}

impl FaultyStore {
    fn stream_list(
        &self,
        prefix: Option<&Path>,
        listed: BoxStream<'static, object_store::Result<ObjectMeta>>,
    ) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let path = prefix.cloned().unwrap_or_default();
        let verdict = self.state.judge(Operation::List, &path, 0);
        let state = Arc::clone(&self.state);
        let stream = async move { state.carry_out(verdict, &path, async { Ok(listed) }).await };
        stream.try_flatten_stream().boxed()
    }
}

struct FaultyUpload {
    inner: Box<dyn MultipartUpload>,
    state: Arc<State>,
    path: Path,
}

impl fmt::Debug for FaultyUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyUpload").field("path", &self.path).finish_non_exhaustive()
    }
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, payload: PutPayload) -> UploadPart {
        let length = payload.content_length() as u64;
        let verdict = self.state.judge(Operation::Part, &self.path, length);
        let in_flight = self.state.send(length);
        // The order of parts is the order of these calls, so a part that is to arrive is begun here.
        let sent: BoxFuture<'static, object_store::Result<()>> = match verdict {
            Verdict::Make | Verdict::MakeAndFail | Verdict::BreakOff => self.inner.put_part(payload),
            Verdict::Halve | Verdict::Fail(_) => futures::future::ready(Ok(())).boxed(),
        };
        let (state, path) = (Arc::clone(&self.state), self.path.clone());
        async move {
            let _in_flight = in_flight;
            state.carry_out(verdict, &path, sent).await
        }
        .boxed()
    }

    async fn complete(&mut self) -> object_store::Result<PutResult> {
        let verdict = self.state.judge(Operation::Complete, &self.path, 0);
        let complete = async {
            let result = self.inner.complete().await?;
            self.state.unfinished.fetch_sub(1, Ordering::SeqCst);
            Ok(result)
        };
        self.state.carry_out(verdict, &self.path, complete).await
    }

    async fn abort(&mut self) -> object_store::Result<()> {
        let verdict = self.state.judge(Operation::Abort, &self.path, 0);
        let abort = async {
            self.inner.abort().await?;
            self.state.unfinished.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        };
        self.state.carry_out(verdict, &self.path, abort).await
    }
}
