//! Trying again.

use std::time::{Duration, Instant};

use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::Error;
use super::http::{Again, Failure};

/// The first pause between two tries.
const FIRST: Duration = Duration::from_millis(100);
/// The longest pause of our own choice.
const LONGEST: Duration = Duration::from_secs(10);
/// The longest pause that a registry can ask for. Whoever asks for more is not waited for.
const LONGEST_ASKED: Duration = Duration::from_mins(1);
/// How often it is tried to connect again: an address that is wrong stays so.
const UNCONNECTED: u32 = 2;
/// For how long a request is tried again.
const DEADLINE: Duration = Duration::from_mins(3);

/// How often one request was tried, and when it is given up.
#[derive(Debug)]
pub(super) struct Retry {
    left: u32,
    pause: Duration,
    give_up: Instant,
}

impl Retry {
    pub(super) fn new(retries: u32) -> Self {
        Self { left: retries, pause: FIRST, give_up: Instant::now() + DEADLINE }
    }

    /// Does something that ends in an answer, until one comes or trying again would not help.
    pub(super) async fn run<T, F>(mut self, mut send: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        loop {
            match send().await {
                Ok(answer) => return Ok(answer),
                Err(failure) if !self.wait(failure.again).await => return Err(failure.error),
                Err(failure) => tracing::info!(error = %failure.error, "trying again"),
            }
        }
    }

    /// Waits before the next try. Returns whether there is a next one.
    pub(super) async fn wait(&mut self, again: Again) -> bool {
        match self.next_pause(again) {
            Some(pause) => {
                tokio::time::sleep(pause).await;
                true
            }
            None => false,
        }
    }

    /// Returns how long to wait before the next try, if there is one.
    fn next_pause(&mut self, again: Again) -> Option<Duration> {
        let pause = match again {
            Again::No => return None,
            Again::After(asked) => asked,
            // Half of it by chance, so that many that failed at once do not come again at once.
            Again::Yes | Again::Unconnected => self.pause.mul_f32(0.5 + fastrand::f32() / 2.0),
        };
        if again == Again::Unconnected {
            self.left = self.left.min(UNCONNECTED);
        }
        if self.left == 0 || pause > LONGEST_ASKED || Instant::now() + pause > self.give_up {
            return None;
        }
        self.left -= 1;
        self.pause = (self.pause * 2).min(LONGEST);
        Some(pause)
    }
}

/// Tells whether a refused request may be answered otherwise when it comes again.
pub(super) fn again(status: u16, headers: &HeaderMap) -> Again {
    match (status, asked(headers)) {
        (408 | 429 | 500 | 502 | 503 | 504, Some(pause)) => Again::After(pause),
        (408 | 429 | 500 | 502 | 503 | 504, None) => Again::Yes,
        _ => Again::No,
    }
}

/// Returns how long the registry wants to be left alone.
fn asked(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    Some(until.duration_since(std::time::SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn a_registry_says_when_to_come_again() {
        let with = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
            again(429, &headers)
        };
        assert_eq!(with("7"), Again::After(Duration::from_secs(7)));
        assert_eq!(with("Sun, 06 Nov 1994 08:49:37 GMT"), Again::After(Duration::ZERO));
        assert_eq!(with("-1"), Again::Yes);
        assert_eq!(again(503, &HeaderMap::new()), Again::Yes);
        assert_eq!(again(501, &HeaderMap::new()), Again::No);
    }

    #[test]
    fn tries_are_bounded_in_number_and_in_time() {
        let tries = |retries, again| {
            let (mut count, mut retry) = (0, Retry::new(retries));
            while count < 1000
                && let Some(pause) = retry.next_pause(again)
            {
                assert!(pause <= LONGEST_ASKED);
                // As if the pause had passed.
                retry.give_up -= pause;
                count += 1;
            }
            count
        };
        assert_eq!(tries(4, Again::Yes), 4);
        assert_eq!(tries(0, Again::Yes), 0);
        assert_eq!(tries(10, Again::Unconnected), UNCONNECTED);
        assert_eq!(tries(10, Again::No), 0);
        assert_eq!(tries(10, Again::After(Duration::from_mins(2))), 0);
        assert!(tries(99, Again::After(Duration::from_mins(1))) < 4);
        assert!((10..100).contains(&tries(999, Again::Yes)));
    }
}
