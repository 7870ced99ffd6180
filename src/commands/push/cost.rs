//! Which way an image goes out of a daemon fastest.
//!
//! Docker's own store keeps layers unpacked. To push one, the daemon packs and compresses it again, on one core, and it does so for
//! every layer whose digest it does not know or the registry has not got. To save an image costs it one pass over the disk, with
//! no compression, but over all layers. So what decides is how much is missing, and on how many cores.

/// How fast the daemon compresses on one core, in bytes each second, with all that a push takes besides. One layer of a system's
/// libraries to a registry in memory: 35 MB/s; 1.2 GB in five layers on two cores into a bucket: 20 to 25 MB/s on each.
const DAEMON_COMPRESSES: f64 = 30e6;
/// How many layers the daemon compresses at once, if there are cores: its `max-concurrent-uploads`.
const DAEMON_LAYERS: usize = 5;
/// How fast the daemon writes an archive, in bytes each second: it writes all of it to its disk before it sends the first byte.
/// 1.2 GB took between 7.4 and 10.7 s.
const DAEMON_SAVES: f64 = 140e6;
/// How fast this process compresses on one core, in bytes each second: libdeflate at level 4 did 104 MB/s, level 6 73 MB/s.
const COMPRESSES: f64 = 100e6;
/// What the way by archive has to save to be taken, in seconds. Who pushes teaches the daemon the digests of its layers, and the
/// next push that differs little is all the faster; who saves does not.
const WORTH: f64 = 1.0;

/// A layer of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layer {
    /// Its size uncompressed, in bytes.
    pub(super) size: u64,
    /// Whether the bucket is known to have it.
    pub(super) is_there: bool,
}

/// What is advised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advice {
    /// By registry. Even if the daemon compresses everything that takes not much longer.
    Registry,
    /// By registry as long as no more travels than this: then the daemon does not know the digests of the layers that the bucket
    /// has, which nobody can ask it, and to go over to the archive is faster.
    RegistryWithin(Allowance),
    /// By archive: what is missing is compressed here sooner.
    Archive,
    /// By archive: how layers are compressed is the user's wish, and the daemon has its own.
    Asked,
}

impl Advice {
    /// Returns why the way is to be the archive, if it is.
    pub(super) fn archive(self) -> Option<&'static str> {
        match self {
            Self::Registry | Self::RegistryWithin(_) => None,
            Self::Archive => Some("compressing what is missing on all cores is faster than the daemon's compression"),
            Self::Asked => Some("the daemon has no choice of compression"),
        }
    }

    /// Returns what may travel before the other way is taken.
    pub(super) fn allowance(self) -> Option<Allowance> {
        match self {
            Self::RegistryWithin(allowance) => Some(allowance),
            _ => None,
        }
    }
}

/// What a push that goes well sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowance {
    /// How many blobs at most.
    pub(crate) blobs: usize,
    /// How many bytes at most.
    pub(crate) bytes: u64,
}

/// Advises a way for an image of these layers on a machine with so many cores.
pub(super) fn advise(layers: &[Layer], cores: usize) -> Advice {
    let missing = || layers.iter().filter(|layer| !layer.is_there);
    let total: u64 = layers.iter().map(|layer| layer.size).sum();
    let missing_bytes: u64 = missing().map(|layer| layer.size).sum();
    let by_archive = seconds(total, DAEMON_SAVES) + seconds(missing_bytes, COMPRESSES * at_least_one(cores));
    let is_worth = |by_registry: f64| by_registry - by_archive > WORTH;
    if is_worth(by_registry(missing().map(|layer| layer.size), cores)) {
        return Advice::Archive;
    }
    if is_worth(by_registry(layers.iter().map(|layer| layer.size), cores)) {
        // Of one blob more, the config, and of what does not compress a little more.
        let slack = missing_bytes / 64 + 1024 * 1024;
        return Advice::RegistryWithin(Allowance { blobs: missing().count() + 1, bytes: missing_bytes + slack });
    }
    Advice::Registry
}

/// Returns how long the daemon compresses: what is spread over the cores, but one layer always as long as one core takes.
fn by_registry(sizes: impl Iterator<Item = u64> + Clone, cores: usize) -> f64 {
    let (count, largest, total) = (sizes.clone().count(), sizes.clone().max().unwrap_or_default(), sizes.sum());
    let at_once = cores.min(DAEMON_LAYERS).min(count);
    seconds(largest, DAEMON_COMPRESSES).max(seconds(total, DAEMON_COMPRESSES * at_least_one(at_once)))
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn seconds(bytes: u64, rate: f64) -> f64 {
    bytes as f64 / rate
}

#[expect(clippy::cast_precision_loss, reason = "nobody has so many cores")]
fn at_least_one(count: usize) -> f64 {
    count.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1_000_000;

    fn layers(there: &[u64], missing: &[u64]) -> Vec<Layer> {
        let layer = |is_there| move |&size: &u64| Layer { size: size * MB, is_there };
        there.iter().map(layer(true)).chain(missing.iter().map(layer(false))).collect()
    }

    #[test]
    fn what_is_missing_decides() {
        let mixed = [500, 140, 260, 300, 3];
        for (there, missing, cores, archive) in [
            // All of it is new.
            (&[][..], &mixed[..], 2, true),
            (&[], &mixed, 64, true),
            (&[], &[1070], 2, true),
            // One core compresses what is many layers no faster than the daemon does, but one layer it does.
            (&[], &[1070], 1, true),
            // Small images are not worth it.
            (&[], &[1], 2, false),
            (&[], &[20, 20], 2, false),
            (&[], &[], 2, false),
            // One layer is new, small or large.
            (&mixed, &[20], 2, false),
            (&mixed, &[900], 2, true),
            // Nothing is.
            (&mixed, &[], 2, false),
        ] {
            let advice = advise(&layers(there, missing), cores);
            assert_eq!(advice == Advice::Archive, archive, "{there:?} {missing:?} on {cores} cores: {advice:?}");
        }
    }

    #[test]
    fn a_daemon_that_sends_what_is_there_is_stopped_if_that_is_worth_it() {
        let advised = advise(&layers(&[500, 140, 260, 300, 3], &[20]), 2);
        let Advice::RegistryWithin(allowance) = advised else { panic!("{advised:?}") };
        assert_eq!(allowance.blobs, 2, "the layer and the config");
        assert!((20 * MB..22 * MB).contains(&allowance.bytes), "{allowance:?}");
        assert_eq!(advise(&layers(&[10, 10], &[1]), 2), Advice::Registry);
        let advised = advise(&layers(&[1000], &[]), 2);
        assert!(matches!(advised, Advice::RegistryWithin(Allowance { blobs: 1, bytes }) if bytes < 2 * MB));
    }
}
