//! By which way an image goes between a daemon and a bucket.

use std::fmt;
use std::str::FromStr;

use super::daemon::Daemon;

/// A way between a daemon and a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// The daemon talks to a registry in this process.
    Registry,
    /// An archive is read or written: what `docker save` and `docker load` do, where a daemon is concerned.
    Archive,
}

/// What the user said of the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TransportChoice {
    /// The registry if the daemon reaches it, else the archive; and the archive where that is faster.
    #[default]
    Auto,
    /// This one.
    Only(Transport),
}

/// What became of the question whether a daemon reaches a registry of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// The registry was asked for what only this daemon was told of.
    Seen,
    /// The daemon answered, and the registry was not asked. Where the daemon is, another program may have that port.
    NotSeen,
    /// Neither happened in time.
    TimedOut,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Take this way, for this reason.
    Take(Transport, &'static str),
    /// Ask the daemon first.
    Ask,
    /// What was asked for cannot be, for this reason.
    Refuse(&'static str),
}

/// Decides by which way an image goes.
pub fn decide(choice: TransportChoice, daemon: &Daemon, probe: Option<Probe>) -> Decision {
    match (choice, probe) {
        (TransportChoice::Only(Transport::Registry), _) if daemon.is_podman => {
            Decision::Refuse("Podman's API pulls from registries with TLS only; the way by archive works")
        }
        (TransportChoice::Only(transport), _) => Decision::Take(transport, "that was asked for"),
        (TransportChoice::Auto, _) if daemon.is_podman => {
            Decision::Take(Transport::Archive, "Podman's API pulls from registries with TLS only")
        }
        (TransportChoice::Auto, None) => Decision::Ask,
        (TransportChoice::Auto, Some(Probe::Seen)) => {
            Decision::Take(Transport::Registry, "the daemon reaches this process on 127.0.0.1")
        }
        (TransportChoice::Auto, Some(Probe::NotSeen)) => {
            Decision::Take(Transport::Archive, "the daemon does not reach this process on 127.0.0.1")
        }
        (TransportChoice::Auto, Some(Probe::TimedOut)) => {
            Decision::Take(Transport::Archive, "the daemon did not reach this process on 127.0.0.1 in time")
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Registry => "registry",
            Self::Archive => "archive",
        })
    }
}

impl FromStr for TransportChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "registry" => Ok(Self::Only(Transport::Registry)),
            "archive" => Ok(Self::Only(Transport::Archive)),
            _ => Err("a transport is auto, registry or archive".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daemon(is_podman: bool) -> Daemon {
        Daemon { is_podman, ..Daemon::default() }
    }

    fn taken(choice: &str, is_podman: bool, probe: Option<Probe>) -> Option<Transport> {
        match decide(choice.parse().unwrap(), &daemon(is_podman), probe) {
            Decision::Take(transport, _) => Some(transport),
            Decision::Ask | Decision::Refuse(_) => None,
        }
    }

    #[test]
    fn only_a_probe_that_was_seen_leads_to_the_registry() {
        assert_eq!(decide(TransportChoice::Auto, &daemon(false), None), Decision::Ask);
        assert_eq!(taken("auto", false, Some(Probe::Seen)), Some(Transport::Registry));
        for probe in [Probe::NotSeen, Probe::TimedOut] {
            assert_eq!(taken("auto", false, Some(probe)), Some(Transport::Archive));
        }
    }

    #[test]
    fn who_says_which_way_is_not_asked_again() {
        assert_eq!(taken("registry", false, None), Some(Transport::Registry));
        assert_eq!(taken("archive", false, None), Some(Transport::Archive));
        assert!("both".parse::<TransportChoice>().is_err());
    }

    #[test]
    fn podman_is_reached_by_archives_only() {
        assert_eq!(taken("auto", true, None), Some(Transport::Archive));
        assert_eq!(taken("archive", true, None), Some(Transport::Archive));
        let asked = decide(TransportChoice::Only(Transport::Registry), &daemon(true), None);
        assert!(matches!(asked, Decision::Refuse(_)));
    }
}
