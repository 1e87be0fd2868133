//! Chromium without a window, spoken to over `WebDriver`: things are found by role and label, as people find them.

mod outline;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::site::free_address;

/// How long something may take to be there on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// The member that names an element in the answers of `WebDriver`.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Whether the page can be moved sideways.
const WIDER: &str =
    "return document.documentElement.scrollWidth > document.documentElement.clientWidth";

/// Keys of `WebDriver` that have no letter.
pub const TAB: &str = "\u{e004}";
pub const ENTER: &str = "\u{e007}";
pub const ALT: &str = "\u{e00a}";
pub const BACKSPACE: &str = "\u{e003}";
pub const UP: &str = "\u{e013}";
pub const DOWN: &str = "\u{e015}";

/// Colours that a person's system asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    Light,
    Dark,
}

/// A browser with one window; it ends with this value.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    console: SocketAddr,
}

/// Something on a page.
#[derive(Debug, Clone)]
pub struct Element(String);

impl Browser {
    /// Starts a browser at a console.
    ///
    /// # Errors
    /// `chromedriver` or Chromium is missing, or does not start.
    pub async fn start(console: SocketAddr) -> anyhow::Result<Self> {
        let address = free_address()?;
        let driver = Command::new("chromedriver")
            .arg(format!("--port={}", address.port()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("chromedriver is needed: apt-get install chromium-driver")?;
        let mut browser = Self {
            driver,
            address,
            session: String::new(),
            console,
        };
        let started = Instant::now();
        while browser.call("GET", "/status", None).await.is_err() {
            ensure!(started.elapsed() < PATIENCE, "chromedriver does not answer");
            sleep(Duration::from_millis(20)).await;
        }
        // As root Chromium has no sandbox of its own.
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "args": arguments },
        }}});
        let session = browser.call("POST", "/session", Some(wanted)).await?;
        let id = session["sessionId"].as_str().context("no session")?;
        browser.session = format!("/session/{id}");
        // Pictures of whole pages have none.
        let hidden = json!({ "hidden": true });
        browser
            .chromium("Emulation.setScrollbarsHidden", hidden)
            .await?;
        browser.width(1280).await?;
        Ok(browser)
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let url = format!("http://{}{}{path}", self.address, self.session);
        let client = crate::http();
        let request = match method {
            "GET" => client.get(url),
            "DELETE" => client.delete(url),
            _ => client.post(url),
        };
        let request = match body {
            Some(body) => request
                .header("content-type", "application/json")
                .body(body.to_string()),
            None => request,
        };
        let answer = request.send().await?;
        let is_good = answer.status().is_success();
        let mut answer: Value = serde_json::from_slice(&answer.bytes().await?)?;
        if !is_good {
            bail!("{method} {path}: {}", answer["value"]["message"]);
        }
        Ok(answer["value"].take())
    }

    /// A command of Chromium's own protocol.
    async fn chromium(&self, command: &str, parameters: Value) -> anyhow::Result<Value> {
        let body = json!({ "cmd": command, "params": parameters });
        self.call("POST", "/goog/cdp/execute", Some(body)).await
    }

    /// Makes the window so many pixels wide.
    pub async fn width(&self, width: u32) -> anyhow::Result<()> {
        let metrics =
            json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.chromium("Emulation.setDeviceMetricsOverride", metrics)
            .await
            .map(drop)
    }

    pub async fn theme(&self, theme: Theme) -> anyhow::Result<()> {
        let word = if theme == Theme::Dark {
            "dark"
        } else {
            "light"
        };
        // A colour on its way to another is no colour to judge.
        let media = json!({ "features": [
            { "name": "prefers-color-scheme", "value": word },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ] });
        self.chromium("Emulation.setEmulatedMedia", media)
            .await
            .map(drop)
    }

    /// Opens a page of the console, or one at a whole address.
    pub async fn open(&self, path: &str) -> anyhow::Result<()> {
        let url = match path.starts_with('/') {
            true => format!("http://{}{path}", self.console),
            false => path.to_owned(),
        };
        self.call("POST", "/url", Some(json!({ "url": url })))
            .await
            .map(drop)
    }

    /// Runs a script in the page.
    pub async fn script(&self, text: &str) -> anyhow::Result<Value> {
        let body = json!({ "script": text, "args": [] });
        self.call("POST", "/execute/sync", Some(body)).await
    }

    /// The path of the page that is shown.
    pub async fn path(&self) -> anyhow::Result<String> {
        let path = self.script("return location.pathname").await?;
        Ok(path.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until the page shown is at `path`.
    pub async fn at(&self, path: &str) -> anyhow::Result<()> {
        let started = Instant::now();
        while self.path().await? != path {
            if started.elapsed() > PATIENCE {
                bail!(
                    "at {} and not at {path}: {}",
                    self.path().await?,
                    self.text().await?
                );
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// The text of the page that a person sees.
    pub async fn text(&self) -> anyhow::Result<String> {
        let text = self.script("return document.body.innerText").await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until the page says `text`.
    pub async fn says(&self, text: &str) -> anyhow::Result<()> {
        self.says_one_of(&[text]).await
    }

    /// The page shows one of these texts, now or soon.
    pub async fn says_one_of(&self, texts: &[&str]) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let shown = self.text().await?;
            if texts.iter().any(|text| shown.contains(text)) {
                return Ok(());
            }
            ensure!(
                started.elapsed() < PATIENCE,
                "the page does not say {}:\n{shown}",
                texts.join(" or ")
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// What has this role and this accessible name, as soon as it is there; the first of several.
    pub async fn find(&self, role: &str, name: &str) -> anyhow::Result<Element> {
        self.find_one_of(&[role], name).await
    }

    /// The same with one of these roles.
    async fn find_one_of(&self, roles: &[&str], name: &str) -> anyhow::Result<Element> {
        let started = Instant::now();
        loop {
            for role in roles {
                // The page may change meanwhile, and it may not be there yet.
                if let Ok(Some(element)) = self.look(role, name).await {
                    return Ok(element);
                }
            }
            if started.elapsed() > PATIENCE {
                let (path, text) = (self.path().await?, self.text().await?);
                bail!("no {} {name:?} on {path}:\n{text}", roles.join(" or "));
            }
            sleep(Duration::from_millis(30)).await;
        }
    }

    async fn look(&self, role: &str, name: &str) -> anyhow::Result<Option<Element>> {
        let document = self
            .chromium("DOM.getDocument", json!({ "depth": 0 }))
            .await?;
        let asked =
            json!({ "nodeId": document["root"]["nodeId"], "accessibleName": name, "role": role });
        let found = self.chromium("Accessibility.queryAXTree", asked).await?;
        let nodes = found["nodes"].as_array().cloned().unwrap_or_default();
        let Some(node) = nodes.iter().find(|node| node["ignored"] != true) else {
            return Ok(None);
        };
        let ids = json!({ "backendNodeIds": [node["backendDOMNodeId"]] });
        let pushed = self
            .chromium("DOM.pushNodesByBackendIdsToFrontend", ids)
            .await?;
        let mark = format!("f{}", node["backendDOMNodeId"]);
        let attribute =
            json!({ "nodeId": pushed["nodeIds"][0], "name": "data-found", "value": mark });
        self.chromium("DOM.setAttributeValue", attribute).await?;
        let by = json!({ "using": "css selector", "value": format!("[data-found=\"{mark}\"]") });
        let element = self.call("POST", "/element", Some(by)).await?;
        Ok(element[ELEMENT].as_str().map(|id| Element(id.to_owned())))
    }

    /// Presses what has this role and name.
    pub async fn click(&self, role: &str, name: &str) -> anyhow::Result<()> {
        let Element(id) = self.find(role, name).await?;
        self.call("POST", &format!("/element/{id}/click"), Some(json!({})))
            .await
            .map(drop)
    }

    /// Puts text into the field of this name, in the place of what it holds.
    pub async fn fill(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let roles = ["textbox", "combobox", "searchbox", "spinbutton"];
        let Element(id) = self.find_one_of(&roles, name).await?;
        self.call("POST", &format!("/element/{id}/clear"), Some(json!({})))
            .await?;
        self.call(
            "POST",
            &format!("/element/{id}/value"),
            Some(json!({ "text": text })),
        )
        .await
        .map(drop)
    }

    /// Chooses what is called `option` in the list of this name.
    pub async fn select(&self, name: &str, option: &str) -> anyhow::Result<()> {
        let Element(list) = self.find("combobox", name).await?;
        let path = format!(".//option[normalize-space()={option:?}]");
        let by = json!({ "using": "xpath", "value": path });
        let found = self
            .call("POST", &format!("/element/{list}/element"), Some(by))
            .await
            .with_context(|| format!("no {option:?} in {name:?}"))?;
        let id = found[ELEMENT].as_str().context("an option")?;
        self.call("POST", &format!("/element/{id}/click"), Some(json!({})))
            .await
            .map(drop)
    }

    /// Types, wherever the focus is.
    pub async fn keys(&self, text: &str) -> anyhow::Result<()> {
        let keys = text.chars().flat_map(|key| {
            [
                json!({ "type": "keyDown", "value": key }),
                json!({ "type": "keyUp", "value": key }),
            ]
        });
        let actions = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": keys.collect::<Vec<_>>() }] });
        self.call("POST", "/actions", Some(actions)).await.map(drop)
    }

    /// Presses a key while another is held.
    pub async fn chord(&self, held: &str, key: &str) -> anyhow::Result<()> {
        let order = [
            ("keyDown", held),
            ("keyDown", key),
            ("keyUp", key),
            ("keyUp", held),
        ];
        let keys = order.map(|(kind, key)| json!({ "type": kind, "value": key }));
        let actions =
            json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": keys.to_vec() }] });
        self.call("POST", "/actions", Some(actions)).await.map(drop)
    }

    /// Chooses a file in the field of this name.
    pub async fn choose(&self, name: &str, file: &Path) -> anyhow::Result<()> {
        let field = format!("input[type=file][name={name}]");
        let by = json!({ "using": "css selector", "value": field });
        let element = self.call("POST", "/element", Some(by)).await?;
        let id = element[ELEMENT].as_str().context("no such field")?;
        let path = json!({ "text": file.display().to_string() });
        let value = format!("/element/{id}/value");
        self.call("POST", &value, Some(path)).await.map(drop)
    }

    /// Writes what the page looks like to `folder`, in both themes, wide and narrow; gives what is wrong with it, one line
    /// each: what axe-core finds in either theme, and a page that is wider than its window.
    pub async fn examine(
        &self,
        folder: &Path,
        name: &str,
        axe: &str,
    ) -> anyhow::Result<Vec<String>> {
        fs::create_dir_all(folder)?;
        let mut found = Vec::new();
        self.script("window.scrollTo(0, 0)").await?;
        for theme in [Theme::Light, Theme::Dark] {
            self.theme(theme).await?;
            for width in [1280, 390] {
                self.width(width).await?;
                let how = json!({ "captureBeyondViewport": true, "format": "png" });
                let picture = self.chromium("Page.captureScreenshot", how).await?;
                let bytes = base64(picture["data"].as_str().context("no picture")?)?;
                let at = format!("{theme:?}-{width}").to_lowercase();
                fs::write(folder.join(format!("{name}-{at}.png")), bytes)?;
                if self.script(WIDER).await? == true {
                    found.push(format!("{at}: the page is wider than its window"));
                }
                // Both themes and both widths, in half the time.
                if (theme == Theme::Light) == (width == 1280) {
                    let faults = self.accessibility(axe).await?.into_iter();
                    found.extend(faults.map(|fault| format!("{at}: {fault}")));
                }
            }
        }
        self.theme(Theme::Light).await?;
        self.width(1280).await?;
        Ok(found)
    }

    /// What axe-core finds wrong with the page, one line each.
    async fn accessibility(&self, axe: &str) -> anyhow::Result<Vec<String>> {
        if self.script("return typeof axe").await? != "object" {
            self.script(axe).await?;
        }
        let body = json!({ "args": [], "script": "const done = arguments[0]; axe.run(document, { resultTypes: ['violations'] })
            .then((found) => done(found.violations.map((fault) => `${fault.id}: ${fault.help}: ${fault.nodes.slice(0, 3).map((node) => node.html).join(' ')}`)))
            .catch((fault) => done([String(fault)]))" });
        let found = self.call("POST", "/execute/async", Some(body)).await?;
        let lines = found.as_array().cloned().unwrap_or_default();
        let lines = lines.iter().filter_map(Value::as_str);
        Ok(lines.map(str::to_owned).collect())
    }

    /// What a screen reader is told of a part of the page: roles, names and states, without running text.
    pub async fn outline(&self, role: &str, name: &str) -> anyhow::Result<String> {
        let tree = self
            .chromium("Accessibility.getFullAXTree", json!({}))
            .await?;
        let nodes = tree["nodes"].as_array().cloned().unwrap_or_default();
        outline::of(&nodes, role, name).with_context(|| format!("no {role} {name:?}"))
    }

    /// What the browser complained of since it was asked last, such as a script that the policy forbids.
    pub async fn complaints(&self) -> anyhow::Result<Vec<String>> {
        let entries = self
            .call("POST", "/se/log", Some(json!({ "type": "browser" })))
            .await?;
        let entries = entries.as_array().cloned().unwrap_or_default();
        // A form with faults is answered with 422, whoever lacks a right with 403, a used link with 410: no fault of
        // the page.
        let is_refusal = |entry: &Value| {
            let text = entry["message"].as_str().unwrap_or_default();
            let is_status = |status: &u32| text.contains(&format!("status of {status}"));
            text.contains("Failed to load resource") && [403, 410, 422].iter().any(is_status)
        };
        let bad = entries
            .iter()
            .filter(|entry| entry["level"] == "SEVERE" && !is_refusal(entry));
        Ok(bad
            .filter_map(|entry| entry["message"].as_str())
            .map(str::to_owned)
            .collect())
    }

    /// Ends the browser.
    pub async fn close(self) -> anyhow::Result<()> {
        self.call("DELETE", "", None).await.map(drop)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Chromium ends with its driver.
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// RFC 4648.
fn base64(text: &str) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => bail!("not base64"),
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    Ok(bytes)
}
