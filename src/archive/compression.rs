//! How bytes are compressed, and reading what they hold.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;

/// The memory that a zstd file may ask for, as a power of two of bytes: what `zstd -d` gives without being told to.
pub(super) const MAX_ZSTD_WINDOW: u32 = 27;

/// How bytes are compressed, told by how they begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
    /// By something else, which `tool` undoes.
    Other {
        name: &'static str,
        tool: &'static str,
    },
}

impl Compression {
    /// So many bytes tell.
    pub(super) const MAGIC: usize = 6;

    pub(crate) fn of(magic: &[u8]) -> Self {
        match magic {
            // The third byte is the only method there is: deflate.
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Other { name: "xz", tool: "unxz" },
            [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', ..] => Self::Other { name: "bzip2", tool: "bunzip2" },
            _ => Self::None,
        }
    }

    /// Returns a reader of what `packed` holds, or of `packed` itself where that is not known. What is damaged is an error of
    /// the kind `InvalidInput`, `InvalidData` or `UnexpectedEof`. zstd may ask for 2^`window` bytes of memory.
    pub(crate) fn decoder<'a>(
        self,
        packed: impl BufRead + Send + 'a,
        window: u32,
    ) -> io::Result<Box<dyn Read + Send + 'a>> {
        Ok(match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(packed)),
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
                decoder.window_log_max(window)?;
                Box::new(ZstdReader(decoder))
            }
            Self::None | Self::Other { .. } => Box::new(packed),
        })
    }
}

struct ZstdReader<R>(R);

impl<R: Read> Read for ZstdReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match error.kind() {
            // What zstd says of damaged bytes has no kind.
            io::ErrorKind::Other if error.raw_os_error().is_none() => io::Error::new(io::ErrorKind::InvalidData, error),
            _ => error,
        })
    }
}
