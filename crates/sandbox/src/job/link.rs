//! What a job and who looks at it say to each other over its socket: frames of a kind, a length and bytes.
//! Knows nothing of terminals. Start at [`Frame`]; a person's end is [`Client`].

use crate::pty::Size;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};

const NAME: &str = "socket";
/// Bytes of a frame at most.
const FRAME_BYTES: usize = 1024 * 1024;
/// Of a screen in one frame, beside its size.
const SCREEN_BYTES: usize = FRAME_BYTES - 4;

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// By the job: its size, and what makes a terminal show what it shows now.
    Screen(Size, Vec<u8>),
    /// By the job, after each screen: the number of the byte that it writes next.
    At(u64),
    /// By the job: what it wrote since.
    Output(Vec<u8>),
    /// By the job: it has ended like this.
    Ended(String),
    /// To the job: what was typed.
    Input(Vec<u8>),
    /// To the job: the terminal it is looked at in has this size.
    Resize(Size),
    /// To the job: stop.
    Stop,
}

impl Frame {
    /// As one message of a transport that keeps messages apart: the kind, and the rest.
    pub fn message(&self) -> Vec<u8> {
        let (kind, body) = self.parts();
        [&[kind][..], &body].concat()
    }

    /// The frame that a message is, if it is one.
    pub fn of_message(message: &[u8]) -> Option<Self> {
        let (kind, body) = message.split_first()?;
        Self::decode(*kind, body.to_vec())
    }

    fn encode(&self) -> Vec<u8> {
        let (kind, body) = self.parts();
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        [&[kind][..], &length.to_le_bytes(), &body].concat()
    }

    fn parts(&self) -> (u8, Vec<u8>) {
        let size = |size: &Size| [size.columns.to_le_bytes(), size.rows.to_le_bytes()].concat();
        match self {
            Self::Screen(of, bytes) => (b's', [size(of), bytes.clone()].concat()),
            Self::At(byte) => (b'n', byte.to_le_bytes().to_vec()),
            Self::Output(bytes) => (b'o', bytes.clone()),
            Self::Ended(how) => (b'e', how.clone().into_bytes()),
            Self::Input(bytes) => (b'i', bytes.clone()),
            Self::Resize(of) => (b'r', size(of)),
            Self::Stop => (b'x', Vec::new()),
        }
    }

    fn decode(kind: u8, body: Vec<u8>) -> Option<Self> {
        let size = |body: &[u8]| {
            let number = |at: usize| Some(u16::from_le_bytes(body.get(at..at + 2)?.try_into().ok()?));
            // A terminal without a row or a column shows nothing and breaks programs.
            Some(Size { columns: number(0)?.max(1), rows: number(2)?.max(1) })
        };
        Some(match kind {
            b's' => Self::Screen(size(&body)?, body[4..].to_vec()),
            b'n' => Self::At(u64::from_le_bytes(body.try_into().ok()?)),
            b'o' => Self::Output(body),
            b'e' => Self::Ended(String::from_utf8_lossy(&body).into_owned()),
            b'i' => Self::Input(body),
            b'r' => Self::Resize(size(&body)?),
            b'x' => Self::Stop,
            _ => return None,
        })
    }
}

/// The half that hears.
#[derive(Debug)]
pub struct Hears(OwnedReadHalf, Vec<u8>);

impl Hears {
    /// The next frame; `None` when the other side is gone. Giving up in the middle loses nothing.
    pub async fn next(&mut self) -> io::Result<Option<Frame>> {
        const HEAD: usize = 5;
        loop {
            if let Some((head, rest)) = self.1.split_first_chunk::<HEAD>() {
                let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
                if length > FRAME_BYTES {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                if rest.len() >= length {
                    let frame = Frame::decode(head[0], rest[..length].to_vec());
                    self.1.drain(..HEAD + length);
                    return frame.map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into());
                }
            }
            if self.0.read_buf(&mut self.1).await? == 0 {
                return Ok(None);
            }
        }
    }
}

/// The half that says.
#[derive(Debug)]
pub struct Says(OwnedWriteHalf);

impl Says {
    /// Says it; waits while the other side does not listen.
    pub async fn say(&mut self, frame: &Frame) -> io::Result<()> {
        match frame {
            // A screen of many cells goes on as output.
            Frame::Screen(size, bytes) if bytes.len() > SCREEN_BYTES => {
                let (first, rest) = bytes.split_at(SCREEN_BYTES);
                self.0.write_all(&Frame::Screen(*size, first.to_vec()).encode()).await?;
                for chunk in rest.chunks(FRAME_BYTES) {
                    self.0.write_all(&Frame::Output(chunk.to_vec()).encode()).await?;
                }
                Ok(())
            }
            // What is longer than a frame is several.
            Frame::Output(bytes) | Frame::Input(bytes) if bytes.len() > FRAME_BYTES => {
                let kind = |bytes: &[u8]| match frame {
                    Frame::Output(_) => Frame::Output(bytes.to_vec()),
                    _ => Frame::Input(bytes.to_vec()),
                };
                for chunk in bytes.chunks(FRAME_BYTES) {
                    self.0.write_all(&kind(chunk).encode()).await?;
                }
                Ok(())
            }
            frame => self.0.write_all(&frame.encode()).await,
        }
    }
}

pub(crate) fn halves(stream: UnixStream) -> (Hears, Says) {
    let (read, write) = stream.into_split();
    (Hears(read, Vec::new()), Says(write))
}

/// Looks at the job in this directory. Fails where nobody runs it.
pub async fn connect(dir: &Path) -> io::Result<(Hears, Says)> {
    let held = std::fs::File::open(dir)?;
    Ok(halves(UnixStream::connect(short(&held)).await?))
}

/// Listens in this directory, which only its owner may enter.
pub(crate) fn listen(dir: &Path) -> io::Result<UnixListener> {
    let held = std::fs::File::open(dir)?;
    let path = short(&held);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    UnixListener::bind(path)
}

/// Its path by the open directory: a socket's own may have a hundred characters at most.
fn short(dir: &impl AsFd) -> std::path::PathBuf {
    use std::os::fd::AsRawFd;
    Path::new("/proc/self/fd").join(dir.as_fd().as_raw_fd().to_string()).join(NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_frame_is_none() {
        for message in [&b""[..], b"q", b"n123", b"s1", b"r12"] {
            assert_eq!(Frame::of_message(message), None, "{message:?}");
        }
    }

    #[test]
    fn frames_arrive_whole_and_in_order() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (one, two) = UnixStream::pair().unwrap();
            let ((_, mut says), (mut hears, _other)) = (halves(one), halves(two));
            let size = Size { columns: 80, rows: 24 };
            let frames = [
                Frame::Screen(size, b"\x1b[H".to_vec()),
                Frame::At(u64::MAX - 1),
                Frame::Output(Vec::new()),
                Frame::Ended("exit status 0".into()),
                Frame::Input(vec![0xff; 10]),
                Frame::Resize(size),
                Frame::Stop,
            ];
            for frame in &frames {
                says.say(frame).await.unwrap();
            }
            for frame in frames {
                assert_eq!(Frame::of_message(&frame.message()).as_ref(), Some(&frame));
                assert_eq!(hears.next().await.unwrap(), Some(frame));
            }
            drop((says, _other));
            let long = Frame::Input(vec![b'x'; FRAME_BYTES + 5]);
            let (one, two) = UnixStream::pair().unwrap();
            let ((_a, mut says), (mut hears, _b)) = (halves(one), halves(two));
            let (said, heard) = tokio::join!(says.say(&long), async {
                let Some(Frame::Input(first)) = hears.next().await.unwrap() else { panic!() };
                let Some(Frame::Input(second)) = hears.next().await.unwrap() else { panic!() };
                first.len() + second.len()
            });
            said.unwrap();
            assert_eq!(heard, FRAME_BYTES + 5);
            let large = Frame::Screen(size, vec![b'x'; FRAME_BYTES]);
            let (said, heard) = tokio::join!(says.say(&large), async {
                let Some(Frame::Screen(_, first)) = hears.next().await.unwrap() else { panic!() };
                let Some(Frame::Output(second)) = hears.next().await.unwrap() else { panic!() };
                first.len() + second.len()
            });
            said.unwrap();
            assert_eq!(heard, FRAME_BYTES);
        });
    }
}
