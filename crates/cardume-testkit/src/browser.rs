//! A real browser without a window, driven by WebDriver (W3C), for tests of the page.
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::patience;

/// Whatever the browser is asked for takes less.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The name that the protocol has for an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// Keys, as the protocol has them.
pub const ENTER: char = '\u{e007}';
/// The tabulator.
pub const TAB: char = '\u{e004}';
/// The left one.
pub const SHIFT: char = '\u{e008}';
/// Talks to nobody of its own accord, and runs as root as well.
const ARGUMENTS: [&str; 11] = [
    "--headless=new",
    // No window is seen here, and the timers of pages that nobody sees tick once a minute.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// Whether there is a browser here; says loudly that there is none, so that a skipped test is seen.
#[must_use]
pub fn available() -> bool {
    let found = |program| Command::new(program).arg("--version").output().is_ok();
    let available = found("chromedriver") && found("chromium");
    if !available {
        #[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
        {
            eprintln!("SKIPPED: no chromium and chromedriver here; install them for the tests of the page");
        }
    }
    available
}

/// A browser with one window; ended when dropped.
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    _profile: TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.call("DELETE", "", None);
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

impl Browser {
    /// Starts one. A browser that does not come up on a busy machine is no fault of the page: it is started once more.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start() -> anyhow::Result<Self> {
        Self::try_start().or_else(|_| Self::try_start())
    }

    fn try_start() -> anyhow::Result<Self> {
        let profile = tempfile::tempdir()?;
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("chromedriver")?;
        let mut lines = BufReader::new(driver.stdout.take().context("its output")?).lines();
        let port = loop {
            let line = lines.next().context("chromedriver has ended")??;
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                break port.trim_end_matches('.').parse()?;
            }
        };
        let mut browser = Self {
            driver,
            port,
            session: String::new(),
            _profile: profile,
        };
        let directory = format!("--user-data-dir={}", browser._profile.path().display());
        let arguments: Vec<&str> = ARGUMENTS.iter().copied().chain([directory.as_str()]).collect();
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"binary": "/usr/bin/chromium", "args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let made = browser.ask("POST", "/session", Some(&wanted))?;
        browser.session = made["sessionId"].as_str().context("a session")?.to_owned();
        Ok(browser)
    }

    /// Visits an address.
    ///
    /// # Errors
    /// When it cannot be visited.
    pub fn visit(&self, url: &str) -> anyhow::Result<()> {
        self.call("POST", "/url", Some(&json!({"url": url}))).map(drop)
    }

    /// Runs the body of a function in the page, and tells what it returns.
    ///
    /// # Errors
    /// When it throws.
    pub fn run(&self, script: &str) -> anyhow::Result<Value> {
        let call = json!({"script": script, "args": []});
        self.call("POST", "/execute/sync", Some(&call))
    }

    /// Clicks on the element that a selector of CSS finds first.
    ///
    /// # Errors
    /// When there is none, or it cannot be clicked on.
    pub fn click(&self, selector: &str) -> anyhow::Result<()> {
        let element = self.find(selector)?;
        self.call("POST", &format!("/element/{element}/click"), Some(&json!({})))
            .map(drop)
    }

    /// Types into an element; the path of a file, into one for files.
    ///
    /// # Errors
    /// As [`click`](Self::click).
    pub fn write(&self, selector: &str, text: &str) -> anyhow::Result<()> {
        let element = self.find(selector)?;
        let text = json!({"text": text});
        self.call("POST", &format!("/element/{element}/value"), Some(&text))
            .map(drop)
    }

    /// Types keys, special ones as WebDriver has them, to whatever has the focus; [`SHIFT`] is held until the last.
    ///
    /// # Errors
    /// When the browser refuses.
    pub fn press(&self, keys: &str) -> anyhow::Result<()> {
        let stroke = |kind: &str, key: char| json!({"type": kind, "value": key.to_string()});
        let mut strokes = Vec::new();
        for key in keys.chars() {
            strokes.push(stroke("keyDown", key));
            if key != SHIFT {
                strokes.push(stroke("keyUp", key));
            }
        }
        if keys.contains(SHIFT) {
            strokes.push(stroke("keyUp", SHIFT));
        }
        let keyboard = json!({"type": "key", "id": "keyboard", "actions": strokes});
        self.call("POST", "/actions", Some(&json!({"actions": [keyboard]})))
            .map(drop)
    }

    /// What a screen reader calls each element that a selector finds.
    ///
    /// # Errors
    /// When the browser does not say.
    pub fn labels(&self, selector: &str) -> anyhow::Result<Vec<String>> {
        let query = json!({"using": "css selector", "value": selector});
        let found = self.call("POST", "/elements", Some(&query))?;
        let elements = found.as_array().context("a list")?.iter();
        let label = |element: &Value| {
            let element = element[ELEMENT].as_str().context("an element")?;
            let label = self.call("GET", &format!("/element/{element}/computedlabel"), None)?;
            Ok(label.as_str().unwrap_or_default().to_owned())
        };
        elements.map(label).collect()
    }

    /// Has the page believe that it is so wide, and that somebody wants it `light` or `dark`.
    ///
    /// # Errors
    /// When the browser refuses.
    pub fn look(&self, width: u32, height: u32, scheme: &str) -> anyhow::Result<()> {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.tell("Emulation.setDeviceMetricsOverride", &size)?;
        let feature = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.tell("Emulation.setEmulatedMedia", &feature)
    }

    /// The window as a PNG, in base64.
    ///
    /// # Errors
    /// When the browser refuses.
    pub fn picture(&self) -> anyhow::Result<String> {
        let picture = self.call("GET", "/screenshot", None)?;
        Ok(picture.as_str().context("a picture")?.to_owned())
    }

    /// What the browser has complained about since the last call: what a policy has blocked, what has failed.
    ///
    /// # Errors
    /// When it does not say.
    pub fn complaints(&self) -> anyhow::Result<Vec<String>> {
        let log = self.call("POST", "/se/log", Some(&json!({"type": "browser"})))?;
        let lines = log.as_array().context("a log")?.iter();
        let severe = lines.filter(|line| line["level"] == "SEVERE");
        Ok(severe.map(|line| line["message"].to_string()).collect())
    }

    /// Waits until an expression of JavaScript is true in the page.
    ///
    /// # Errors
    /// When it throws, or never is.
    pub fn until(&self, expression: &str) -> anyhow::Result<()> {
        let script = format!("return Boolean({expression})");
        patience::until(expression, || Ok(self.run(&script)? == true))
    }

    fn find(&self, selector: &str) -> anyhow::Result<String> {
        let query = json!({"using": "css selector", "value": selector});
        let found = self.call("POST", "/element", Some(&query))?;
        Ok(found[ELEMENT].as_str().context("an element")?.to_owned())
    }

    fn tell(&self, command: &str, params: &Value) -> anyhow::Result<()> {
        let call = json!({"cmd": command, "params": params});
        self.call("POST", "/goog/cdp/execute", Some(&call)).map(drop)
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        self.ask(method, &format!("/session/{}{path}", self.session), body)
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let body = body.map(Value::to_string).unwrap_or_default();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            self.port,
            body.len()
        )?;
        let mut answer = Vec::new();
        let mut stream = BufReader::new(stream);
        let mut length = None;
        let mut line = String::new();
        while stream.read_line(&mut line)? > 0 && !line.trim().is_empty() {
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = Some(value.trim().parse::<u64>()?);
            }
            line.clear();
        }
        let length = length.context("the length of an answer")?;
        stream.take(length).read_to_end(&mut answer)?;
        let answer: Value = serde_json::from_slice(&answer)?;
        let value = answer["value"].clone();
        if let Some(error) = value["error"].as_str() {
            bail!("{method} {path}: {error}: {}", value["message"]);
        }
        ensure!(answer.get("value").is_some(), "{answer}");
        Ok(value)
    }
}
