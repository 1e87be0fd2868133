//! Tells people: a mail by SMTP, a JSON object by HTTP.
//!
//! Knows nothing of ours: whom to tell what is handed in. What is sent must hold no patient data; this room cannot know.

use std::fmt;
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

/// How long a server may take for one mail or one request.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why somebody was not told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be a mail.
    #[error("{0:?} is no mail address")]
    Address(String),
    /// The server, or the way there.
    #[error("the mail server does not take it: {0}")]
    Mail(String),
    #[error("the webhook does not take it: {0}")]
    Webhook(String),
}

/// A mail server.
#[derive(Clone)]
pub struct Server {
    pub name: String,
    pub port: u16,
    pub security: Security,
    /// Name and password, where it wants them.
    pub user: Option<(String, String)>,
}

/// How it is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// TLS after a plain greeting, or not at all.
    Starttls,
    /// TLS from the first byte.
    Tls,
    /// In clear text.
    Clear,
}

/// A mail.
#[derive(Debug, Clone)]
pub struct Letter {
    pub from: String,
    pub to: Vec<String>,
    pub subject: String,
    pub text: String,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({}:{})", self.name, self.port)
    }
}

/// Sends one mail; nothing is sent to nobody.
///
/// # Errors
/// What is wrong with an address, or what the server says.
pub async fn mail(server: &Server, letter: &Letter) -> Result<(), Error> {
    if letter.to.is_empty() {
        return Ok(());
    }
    let mut message = Message::builder()
        .from(mailbox(&letter.from)?)
        .subject(letter.subject.clone())
        .header(ContentType::TEXT_PLAIN);
    for to in &letter.to {
        message = message.to(mailbox(to)?);
    }
    let refused = |fault: &dyn fmt::Display| Error::Mail(fault.to_string());
    let message = message.body(letter.text.clone());
    let message = message.map_err(|fault| refused(&fault))?;
    let secured = || TlsParameters::new(server.name.clone()).map_err(|fault| refused(&fault));
    let tls = match server.security {
        Security::Starttls => Tls::Required(secured()?),
        Security::Tls => Tls::Wrapper(secured()?),
        Security::Clear => Tls::None,
    };
    let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&server.name)
        .port(server.port)
        .tls(tls)
        .hello_name(ClientId::Domain("ligature".into()))
        .timeout(Some(PATIENCE));
    if let Some((name, password)) = &server.user {
        transport = transport.credentials(Credentials::new(name.clone(), password.clone()));
    }
    let sent = transport.build().send(message).await;
    sent.map(drop).map_err(|fault| refused(&fault))
}

fn mailbox(address: &str) -> Result<Mailbox, Error> {
    let parsed = address.trim().parse();
    parsed.map_err(|_| Error::Address(address.to_owned()))
}

/// Sends one JSON object to an address.
///
/// # Errors
/// What the other end says, or why it was not reached.
pub async fn post(url: &str, body: String) -> Result<(), Error> {
    // The process has one provider; whoever comes first sets it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let refused = |fault: reqwest::Error| Error::Webhook(fault.without_url().to_string());
    let client = reqwest::Client::builder()
        .timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(refused)?;
    let request = client.post(url).header("content-type", "application/json");
    let answer = request.body(body).send().await.map_err(refused)?;
    match answer.status().is_success() {
        true => Ok(()),
        false => Err(Error::Webhook(format!("it answered {}", answer.status()))),
    }
}
