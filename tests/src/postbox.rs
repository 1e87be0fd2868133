//! Where mails and webhook calls of the host end in tests: a mail server and a web server on loopback.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::ensure;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

const PATIENCE: Duration = Duration::from_secs(30);

/// What came in, oldest first.
#[derive(Debug, Clone)]
pub struct Postbox {
    pub address: SocketAddr,
    letters: Arc<Mutex<Vec<String>>>,
}

impl Postbox {
    /// A mail server that takes everything: each letter is its recipients, then its text as it came.
    pub async fn mail() -> anyhow::Result<Self> {
        Self::listen(false).await
    }

    /// A web server that takes everything: each letter is the body of a request.
    pub async fn web() -> anyhow::Result<Self> {
        Self::listen(true).await
    }

    async fn listen(is_web: bool) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let postbox = Self {
            address: listener.local_addr()?,
            letters: Arc::default(),
        };
        let letters = postbox.letters.clone();
        #[expect(clippy::disallowed_methods, reason = "a server of the test's own")]
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let letter = match is_web {
                    true => request(stream).await,
                    false => conversation(stream).await,
                };
                if let Ok(letter) = letter {
                    let mut letters = letters.lock().unwrap_or_else(PoisonError::into_inner);
                    letters.push(letter);
                }
            }
        });
        Ok(postbox)
    }

    /// What has come in.
    pub fn letters(&self) -> Vec<String> {
        let letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        letters.clone()
    }

    /// Waits for so many.
    pub async fn until(&self, count: usize) -> anyhow::Result<Vec<String>> {
        let started = Instant::now();
        loop {
            let letters = self.letters();
            if letters.len() >= count {
                return Ok(letters);
            }
            ensure!(
                started.elapsed() < PATIENCE,
                "only {} came: {letters:?}",
                letters.len()
            );
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// RFC 5321, as far as a sender needs it.
async fn conversation(stream: TcpStream) -> anyhow::Result<String> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 postbox\r\n").await?;
    let mut letter = String::new();
    loop {
        let mut line = String::new();
        ensure!(stream.read_line(&mut line).await? > 0, "gone");
        let word = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        let answer: &[u8] = match word.as_str() {
            "RCPT" => {
                letter.push_str(&line);
                b"250 ok\r\n"
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                loop {
                    let mut line = String::new();
                    ensure!(stream.read_line(&mut line).await? > 0, "gone");
                    if line == ".\r\n" {
                        break;
                    }
                    letter.push_str(&line);
                }
                b"250 taken\r\n"
            }
            "QUIT" => {
                stream.write_all(b"221 bye\r\n").await?;
                return Ok(letter);
            }
            _ => b"250 ok\r\n",
        };
        stream.write_all(answer).await?;
    }
}

/// One request with a length.
async fn request(stream: TcpStream) -> anyhow::Result<String> {
    let mut stream = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        ensure!(stream.read_line(&mut line).await? > 0, "gone");
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse()?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    stream.write_all(answer).await?;
    Ok(String::from_utf8(body)?)
}
