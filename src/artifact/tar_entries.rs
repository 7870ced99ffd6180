//! A tar that is unpacked as it is read.

use std::io::{self, Read};

use crate::archive::{BLOCK, Block, Headers, RawEntry, Refusal, padding};

/// An entry, whose bytes come next.
#[derive(Debug)]
pub(super) struct UnpackedEntry {
    pub(super) raw: RawEntry,
    /// How many bytes it has.
    pub(super) size: u64,
}

/// Reads a tar's entries in their order.
#[derive(Debug)]
pub(super) struct TarEntries<R> {
    input: R,
    headers: Headers,
    /// What is still to come of the entry at hand.
    left: u64,
    /// What follows it before the next header.
    padding: u64,
}

impl<R: Read> TarEntries<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, headers: Headers::default(), left: 0, padding: 0 }
    }

    /// Returns what the tar is read from.
    pub(super) fn input(&self) -> &R {
        &self.input
    }

    /// Passes over what was not read of the entry before, and returns the next one.
    pub(super) fn next(&mut self) -> Result<Option<UnpackedEntry>, Refusal> {
        loop {
            self.pass_over()?;
            let mut block = [0; BLOCK];
            self.input.read_exact(&mut block).map_err(|error| cut("it has no end mark", error))?;
            match self.headers.read(&block)? {
                Block::End => return Ok(None),
                Block::Extension(kind, size) => {
                    let mut data = vec![0; size];
                    self.input.read_exact(&mut data).map_err(past_the_end)?;
                    self.headers.extend(kind, &data)?;
                    self.padding = padding(size as u64);
                }
                Block::Entry(entry) => {
                    (self.left, self.padding) = (entry.size, padding(entry.size));
                    return Ok(Some(UnpackedEntry { raw: entry.raw, size: entry.size }));
                }
            }
        }
    }

    /// Reads what comes next of the entry at hand. Returns how many bytes that is; 0 is its end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Refusal> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        self.input.read_exact(&mut buffer[..wanted]).map_err(past_the_end)?;
        self.left -= wanted as u64;
        Ok(wanted)
    }

    /// Reads what is behind the end mark, to its end.
    pub(super) fn finish(mut self) -> Result<R, Refusal> {
        io::copy(&mut self.input, &mut io::sink()).map_err(past_the_end)?;
        Ok(self.input)
    }

    fn pass_over(&mut self) -> Result<(), Refusal> {
        for count in [std::mem::take(&mut self.left), std::mem::take(&mut self.padding)] {
            if io::copy(&mut (&mut self.input).take(count), &mut io::sink())? != count {
                return Err(past_the_end(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        Ok(())
    }
}

fn past_the_end(error: io::Error) -> Refusal {
    cut("an entry reaches past its end", error)
}

fn cut(how: &'static str, error: io::Error) -> Refusal {
    if error.kind() == io::ErrorKind::UnexpectedEof { Refusal::Cut(how) } else { Refusal::Io(error) }
}
