//! Hashing a blob once for all who read it at the same time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use crate::digest::{Algorithm, Digest, Digester};

/// The digest of one version of a blob, as far as anybody has read it.
///
/// Every reader begins at the start and passes on all that it reads. Whoever is ahead of the others hashes; what comes to the others is
/// known already. So nobody waits for anybody, and a reader that goes away leaves nothing undone.
#[derive(Clone, Debug)]
pub(crate) struct SharedDigest(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    digester: Digester,
    /// Once a reader came to the end.
    digest: Option<Digest>,
}

impl SharedDigest {
    fn new(algorithm: Algorithm) -> Self {
        Self(Arc::new(Mutex::new(State { digester: Digester::new(algorithm), digest: None })))
    }

    /// Takes a reader's next bytes, which begin at `start`.
    pub(crate) fn advance(&self, start: u64, bytes: &[u8]) {
        let mut state = self.state();
        // Never below `start`: this reader has passed on all that it read before.
        let known = state.digester.length().saturating_sub(start);
        if let Some(unknown) = usize::try_from(known).ok().and_then(|known| bytes.get(known..)) {
            state.digester.update(unknown);
        }
    }

    /// Returns the digest, when a reader has passed on the last bytes.
    pub(crate) fn finish(&self) -> Digest {
        let mut state = self.state();
        let State { digester, digest } = &mut *state;
        digest.get_or_insert_with(|| digester.clone().finish()).clone()
    }

    fn is_under_way(&self) -> bool {
        self.state().digest.is_none()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while holding it")
    }
}

/// What is being hashed, each by its digest and version.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(Mutex<HashMap<Version, Weak<Mutex<State>>>>);

/// A blob's digest and its `ETag`.
type Version = (Digest, String);

impl UnderWay {
    /// Returns the digest that others are at work on who read the same version, or a new one. Without a version nothing tells that
    /// two readers get the same bytes.
    pub(crate) fn join(&self, digest: &Digest, version: Option<&str>) -> SharedDigest {
        let fresh = SharedDigest::new(digest.algorithm());
        let Some(version) = version else { return fresh };
        let mut all = self.0.lock().expect("nothing panics while holding it");
        all.retain(|_, state| state.strong_count() > 0);
        let slot = all.entry((digest.clone(), version.to_owned())).or_default();
        // One that is done was wrong, or it would be known to be right: who comes now may find better bytes.
        let joined = slot.upgrade().map(SharedDigest).filter(SharedDigest::is_under_way);
        joined.unwrap_or_else(|| {
            *slot = Arc::downgrade(&fresh.0);
            fresh
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_util::noise;

    /// Has readers of `pieces` bytes at a time read in turn; one that has read `until` goes away.
    fn read(under_way: &UnderWay, content: &[u8], readers: &[(usize, usize)]) -> Vec<Digest> {
        let digest = Algorithm::Sha256.digest(content);
        let mut readers: Vec<_> =
            readers.iter().map(|&reader| (under_way.join(&digest, Some("v1")), reader, 0)).collect();
        let mut finished = Vec::new();
        while !readers.is_empty() {
            readers.retain_mut(|(shared, (piece, until), position)| {
                let end = (*position + *piece).min(content.len());
                shared.advance(*position as u64, &content[*position..end]);
                *position = end;
                if end == content.len() {
                    finished.push(shared.finish());
                }
                end < (*until).min(content.len())
            });
        }
        finished
    }

    #[test]
    fn whoever_is_ahead_hashes_and_all_come_to_the_same_digest() {
        let content = noise(1, 10_000);
        let digest = Algorithm::Sha256.digest(&content);
        for readers in [
            &[(100, 10_000)][..],
            &[(100, 10_000), (33, 10_000), (5_000, 10_000)],
            // The one that is ahead goes away.
            &[(100, 10_000), (1_000, 7_000)],
            &[(7, 10_000), (9_000, 1), (1, 10_000)],
        ] {
            let whole = readers.iter().filter(|(_, until)| *until == content.len()).count();
            assert_eq!(read(&UnderWay::default(), &content, readers), vec![digest.clone(); whole], "{readers:?}");
        }
    }

    #[test]
    fn nothing_is_hashed_twice() {
        let digest = Algorithm::Sha256.digest(b"abcdef");
        let under_way = UnderWay::default();
        let [first, second] = [(); 2].map(|()| under_way.join(&digest, Some("v1")));
        first.advance(0, b"abc");
        // What was hashed is not looked at again, so these wrong bytes do no harm.
        second.advance(0, b"xx");
        second.advance(2, b"xdef");
        assert_eq!(second.finish(), digest);
        first.advance(3, b"xxx");
        assert_eq!(first.finish(), digest);
    }

    #[test]
    fn who_cannot_share_does_not() {
        let digest = Algorithm::Sha256.digest(b"abc");
        let under_way = UnderWay::default();
        let wrong = under_way.join(&digest, Some("v1"));
        wrong.advance(0, b"abd");
        for version in [Some("v2"), None] {
            let other = under_way.join(&digest, version);
            other.advance(0, b"abc");
            assert_eq!(other.finish(), digest, "{version:?}");
        }
        assert_ne!(wrong.finish(), digest);
        let again = under_way.join(&digest, Some("v1"));
        again.advance(0, b"abc");
        assert_eq!(again.finish(), digest, "what has failed is not joined");
    }
}
