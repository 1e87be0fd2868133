//! Somebody with a browser without script: pages, forms with their hidden fields, cookies.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::OnceLock;

use anyhow::{Context, ensure};
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, Method};

/// A browser at a console.
#[derive(Debug, Clone)]
pub struct Visitor {
    pub console: SocketAddr,
    cookies: BTreeMap<String, String>,
    /// Sent instead of cookies.
    bearer: Option<String>,
}

/// What came of a request.
#[derive(Debug, Clone)]
pub struct Seen {
    pub status: u16,
    /// Where it leads, for a redirect.
    pub to: String,
    pub text: String,
    pub cookies: Vec<String>,
}

impl Visitor {
    pub fn new(console: SocketAddr) -> Self {
        Self {
            console,
            cookies: BTreeMap::new(),
            bearer: None,
        }
    }

    /// The same with a token of the interface.
    pub fn with_token(console: SocketAddr, token: &str) -> Self {
        Self {
            bearer: Some(token.to_owned()),
            ..Self::new(console)
        }
    }

    fn client() -> &'static Client {
        static CLIENT: OnceLock<Client> = OnceLock::new();
        CLIENT.get_or_init(|| {
            let _ = rustls::crypto::ring::default_provider().install_default();
            let builder = Client::builder().redirect(Policy::none());
            builder.build().unwrap_or_default()
        })
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        form: Option<String>,
    ) -> anyhow::Result<Seen> {
        let mut request = Self::client().request(method, format!("http://{}{path}", self.console));
        if let Some(bearer) = &self.bearer {
            request = request.bearer_auth(bearer);
        } else {
            let pairs: Vec<_> = self
                .cookies
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            request = request.header(COOKIE, pairs.join("; "));
        }
        if let Some(form) = form {
            request = request
                .header("content-type", "application/x-www-form-urlencoded")
                .body(form);
        }
        let answer = request.send().await?;
        let headers = answer.headers().clone();
        let mut cookies = Vec::new();
        for set in headers.get_all(SET_COOKIE) {
            let set = set.to_str()?;
            cookies.push(set.to_owned());
            let pair = set.split(';').next().unwrap_or_default();
            let (name, value) = pair.split_once('=').context("a cookie")?;
            match value {
                "" => drop(self.cookies.remove(name)),
                value => drop(self.cookies.insert(name.to_owned(), value.to_owned())),
            }
        }
        let to = headers.get(LOCATION).and_then(|to| to.to_str().ok());
        Ok(Seen {
            status: answer.status().as_u16(),
            to: to.unwrap_or_default().to_owned(),
            text: answer.text().await?,
            cookies,
        })
    }

    /// Reads a page.
    pub async fn get(&mut self, path: &str) -> anyhow::Result<Seen> {
        self.send(Method::GET, path, None).await
    }

    /// Sends fields as they are, without the token of a form.
    pub async fn post_bare(&mut self, path: &str, fields: &[(&str, &str)]) -> anyhow::Result<Seen> {
        self.send(Method::POST, path, Some(encoded(fields))).await
    }

    /// Reads the page at `from`, and sends the form of it that goes to `path` with its hidden fields and `fields`.
    pub async fn post(
        &mut self,
        from: &str,
        path: &str,
        fields: &[(&str, &str)],
    ) -> anyhow::Result<Seen> {
        let page = self.get(from).await?;
        ensure!(page.status < 300, "{from}: {} {}", page.status, page.to);
        let hidden = hidden(&page.text, path);
        let known: Vec<_> = hidden
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let own = |name: &str| fields.iter().any(|(known, _)| *known == name);
        let mut all: Vec<_> = known.into_iter().filter(|(name, _)| !own(name)).collect();
        all.extend(fields.iter().copied());
        self.post_bare(path, &all).await
    }

    /// The same, where the form must have been taken; gives the page that it leads to.
    pub async fn submit(
        &mut self,
        from: &str,
        path: &str,
        fields: &[(&str, &str)],
    ) -> anyhow::Result<Seen> {
        let sent = self.post(from, path, fields).await?;
        ensure!(
            sent.status == 303,
            "{path}: {} {}",
            sent.status,
            text_of(&sent.text)
        );
        let page = self.get(&sent.to).await?;
        ensure!(
            page.status == 200 || page.status == 303,
            "{}: {}",
            sent.to,
            page.status
        );
        Ok(Seen {
            to: sent.to,
            ..page
        })
    }

    /// Makes the first administrator with the host's link, and is signed in.
    pub async fn begin(&mut self, link: &str) -> anyhow::Result<()> {
        let path = link
            .split(&self.console.to_string())
            .nth(1)
            .context("a link of this console")?;
        let fields = [
            ("name", "Ana Ortiz"),
            ("login", "ana@example.org"),
            ("password", "three blue herons"),
            ("again", "three blue herons"),
            ("sees", "1"),
        ];
        self.submit(path, path, &fields).await?;
        Ok(())
    }

    /// Signs in.
    pub async fn sign_in(&mut self, login: &str, password: &str) -> anyhow::Result<Seen> {
        let fields = [("login", login), ("password", password)];
        self.post("/sign-in", "/sign-in", &fields).await
    }
}

/// The hidden fields of the form that goes to `action`, or of the first one.
fn hidden(page: &str, action: &str) -> Vec<(String, String)> {
    let forms: Vec<_> = page
        .split("<form")
        .skip(1)
        .map(|rest| rest.split("</form>").next().unwrap_or(rest))
        .collect();
    let is_it = |form: &&&str| {
        form.split('>')
            .next()
            .is_some_and(|tag| tag.contains(&format!("action=\"{action}\"")))
    };
    // A form without an address goes to its own page.
    let bare = |form: &&&str| {
        form.split('>')
            .next()
            .is_some_and(|tag| !tag.contains("action="))
    };
    let form = forms.iter().find(is_it).or_else(|| forms.iter().find(bare));
    let form = form.copied().unwrap_or_default();
    form.split("<input")
        .skip(1)
        .filter_map(|rest| rest.split('>').next())
        .filter(|tag| tag.contains("type=\"hidden\""))
        .filter_map(|tag| Some((attribute(tag, "name")?, attribute(tag, "value")?)))
        .collect()
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let rest = tag.split(&format!(" {name}=\"")).nth(1)?;
    Some(rest.split('"').next()?.to_owned())
}

fn encoded(fields: &[(&str, &str)]) -> String {
    let code = |text: &str| -> String {
        let byte = |byte: u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        };
        text.bytes().map(byte).collect()
    };
    let pairs = fields
        .iter()
        .map(|(name, value)| format!("{}={}", code(name), code(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// A page's text without its tags.
pub fn text_of(page: &str) -> String {
    let body = page.split("<main").nth(1).unwrap_or(page);
    let parts = body
        .split('<')
        .map(|part| part.split_once('>').map_or(part, |(_, text)| text));
    let text: String = parts.collect::<Vec<_>>().join(" ");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
