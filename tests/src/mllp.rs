//! An MLLP client of the tests' own: it shares no code with the host.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(30);

/// One connection to a listener.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    pub async fn connect(to: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            read: Vec::new(),
        })
    }

    /// Sends one frame and reads the next.
    pub async fn exchange(&mut self, payload: &[u8]) -> anyhow::Result<Vec<u8>> {
        self.write(&[b"\x0b", payload, b"\x1c\r"].concat()).await?;
        timeout(ANSWER, self.frame())
            .await
            .context("no answer in time")?
    }

    /// Writes bytes as they are.
    pub async fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// Reads the next frame's payload.
    pub async fn frame(&mut self) -> anyhow::Result<Vec<u8>> {
        loop {
            if let Some(end) = self.read.windows(2).position(|pair| pair == b"\x1c\r") {
                let frame: Vec<u8> = self.read.drain(..end + 2).collect();
                let start = frame
                    .iter()
                    .position(|byte| *byte == 0x0b)
                    .context("a frame without start block")?;
                return Ok(frame[start + 1..end].to_vec());
            }
            if self.stream.read_buf(&mut self.read).await? == 0 {
                bail!("the listener closed the connection");
            }
        }
    }

    /// Whether nothing more comes for a moment.
    pub async fn is_silent(&mut self) -> bool {
        self.read.is_empty()
            && timeout(Duration::from_millis(300), self.frame())
                .await
                .is_err()
    }
}
