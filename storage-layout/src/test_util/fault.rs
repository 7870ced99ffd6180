//! What goes wrong with a store on demand, and the calls that it is counted in.

use object_store::path::Path;

/// What becomes of the call at which the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stop {
    /// It is not made.
    Before,
    /// It is made, but its answer is lost.
    After,
    /// It is done by half: a put writes the first half of its bytes, as a store would that is not atomic. What has no halves,
    /// such as the part of an upload, is not done at all.
    Torn,
}

impl Stop {
    /// Every way to stop.
    pub const ALL: [Self; 3] = [Self::Before, Self::After, Self::Torn];
}

/// The error of a call that fails once. None says that something is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The store did not answer.
    Generic,
    /// The store refuses.
    PermissionDenied,
    /// The store does not know who asks.
    Unauthenticated,
    /// The store has too much to do, and says so as Amazon's does.
    Busy,
}

impl Failure {
    pub(super) fn error(self, path: &Path) -> object_store::Error {
        let (path, source) = (path.to_string(), "made up for a test".into());
        match self {
            Self::Generic => object_store::Error::Generic { store: "FaultyStore", source },
            Self::PermissionDenied => object_store::Error::PermissionDenied { path, source },
            Self::Unauthenticated => object_store::Error::Unauthenticated { path, source },
            Self::Busy => {
                let answer = "503 Service Unavailable: <Error><Code>SlowDown</Code></Error>";
                let source = format!("Server returned non-2xx status code: {answer}").into();
                object_store::Error::Generic { store: "FaultyStore", source }
            }
        }
    }
}

/// What goes wrong. Calls are numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Nothing: calls are only counted.
    None,
    /// The process dies at a call: no later one reaches the store.
    Stop(u64, Stop),
    /// A call fails, once, and is not made.
    Error(u64, Failure),
    /// A call and all later ones fail.
    Outage(u64, Failure),
    /// The answer to a get breaks off after half of its bytes.
    BreakOff(u64),
}

/// What a [`Call`] asks of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "they are named as the methods that they stand for")]
pub enum Operation {
    Put,
    Begin,
    Part,
    Complete,
    Abort,
    Get,
    Head,
    List,
    Delete,
    Copy,
}

/// One call to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// How many calls were before it.
    pub number: u64,
    /// What it asks for.
    pub operation: Operation,
    /// The key, or the prefix of a list.
    pub path: Path,
    /// The length of what it sends, or of the range that it asks for, in bytes.
    pub length: u64,
}

impl Call {
    /// Tells whether the call would change the bucket.
    pub fn is_write(&self) -> bool {
        !matches!(self.operation, Operation::Get | Operation::Head | Operation::List)
    }
}
