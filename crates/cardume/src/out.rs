//! Where words go: data to stdout, talk to stderr.
use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::{
    arguments::{Color, Global, Progress},
    text::clean,
};

/// Where a command's words go. The only way in the binary to write to stdout and stderr, besides logs.
#[derive(Debug, Clone)]
pub(crate) struct Out {
    json: bool,
    quiet: bool,
    verbose: u8,
    progress: Progress,
}

/// How progress is shown, decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    Bar,
    Plain,
    Json,
    Nothing,
}

impl Out {
    /// Decides by options, and by what stdout and stderr are.
    pub(crate) fn new(global: &Global) -> Self {
        match global.color {
            Color::Auto => {}
            Color::Always => anstream::ColorChoice::Always.write_global(),
            Color::Never => anstream::ColorChoice::Never.write_global(),
        }
        Self {
            json: global.json,
            quiet: global.quiet,
            verbose: global.verbose,
            progress: global.progress,
        }
    }

    /// Whether data is to be JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether data is read by a person.
    pub(crate) fn is_terminal(&self) -> bool {
        io::stdout().is_terminal()
    }

    /// How much the user wants to hear: -1 quiet, 0 as usual, more for each `-v`.
    pub(crate) fn verbosity(&self) -> i16 {
        if self.quiet { -1 } else { self.verbose.into() }
    }

    /// How to show progress.
    pub(crate) fn progress(&self) -> Shown {
        match self.progress {
            Progress::None => Shown::Nothing,
            Progress::Bar => Shown::Bar,
            Progress::Plain => Shown::Plain,
            Progress::Json => Shown::Json,
            Progress::Auto if self.quiet || !io::stderr().is_terminal() => Shown::Nothing,
            Progress::Auto => Shown::Bar,
        }
    }

    /// A line of data. Control characters, which may come from a peer, are shown and not obeyed.
    pub(crate) fn line(&self, text: impl Display) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{}", clean(&text.to_string()))?;
        stdout.flush()
    }

    /// Text of our own, as it is.
    pub(crate) fn text(&self, text: &str) -> io::Result<()> {
        self.bytes(text.as_bytes())
    }

    /// Bytes of data, as they are.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        stdout.flush()
    }

    /// One JSON object on a line.
    pub(crate) fn json(&self, value: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(value)?;
        text.push(b'\n');
        self.bytes(&text)
    }

    /// One object as JSON, or the lines that say it to a person.
    pub(crate) fn either<L: Display>(
        &self,
        value: &impl Serialize,
        lines: impl FnOnce() -> L,
    ) -> io::Result<()> {
        if self.json {
            return self.json(value);
        }
        for line in lines().to_string().lines() {
            self.line(line)?;
        }
        Ok(())
    }

    /// A line of talk, unless quiet. What cannot be said is not said: talk never fails a command.
    pub(crate) fn say(&self, text: impl Display) {
        if !self.quiet {
            let _ = writeln!(io::stderr(), "{}", clean(&text.to_string()));
        }
    }

    /// A line of talk for those who want to hear more.
    pub(crate) fn say_more(&self, text: impl Display) {
        if self.verbose > 0 {
            self.say(text);
        }
    }

    /// A picture of our own, dark on light whatever the terminal's colours are.
    pub(crate) fn picture(&self, lines: &str) {
        let style = Style::new()
            .fg_color(Some(AnsiColor::Black.into()))
            .bg_color(Some(AnsiColor::BrightWhite.into()));
        let mut stderr = anstream::stderr().lock();
        for line in lines.lines() {
            let _ = writeln!(stderr, "{style}{line}{style:#}");
        }
    }

    /// A warning, even when quiet.
    pub(crate) fn warn(&self, text: impl Display) {
        self.headed("warning", AnsiColor::Yellow, &text.to_string());
    }

    /// An error, even when quiet.
    pub(crate) fn error(&self, text: impl Display) {
        self.headed("error", AnsiColor::Red, &text.to_string());
    }

    fn headed(&self, head: &str, color: AnsiColor, text: &str) {
        let style = Style::new().bold().fg_color(Some(color.into()));
        let mut lines = text.lines();
        let first = clean(lines.next().unwrap_or_default());
        let mut stderr = anstream::stderr().lock();
        let _ = writeln!(stderr, "{style}{head}:{style:#} {first}");
        for line in lines {
            let _ = writeln!(stderr, "{}", clean(line));
        }
    }
}

/// Tells of a command line that makes no sense, or prints the help that was asked for.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let rendered = error.render();
    let (written, code) = if error.use_stderr() {
        (write!(anstream::stderr(), "{}", rendered.ansi()), 2)
    } else {
        (write!(anstream::stdout(), "{}", rendered.ansi()), 0)
    };
    ExitCode::from(match written {
        Err(error) if code == 0 => crate::failure::io_status(&error),
        _ => code,
    })
}
