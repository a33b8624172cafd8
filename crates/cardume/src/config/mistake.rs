//! What is wrong with a configuration, and where.
use std::{fmt, path::PathBuf};

use serde::Serialize;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "in")]
pub(crate) enum Place {
    /// Nowhere: it is built in.
    Default,
    /// Somewhere in a file that cannot be read as a whole.
    WholeFile { file: PathBuf },
    /// Lines and columns (characters) count from 1.
    File {
        file: PathBuf,
        line: usize,
        column: usize,
    },
    /// An environment variable.
    Variable { variable: String },
    /// An option of the command line.
    Option { option: String },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::WholeFile { file } => write!(f, "{}", file.display()),
            Self::File { file, line, column } => write!(f, "{}:{line}:{column}", file.display()),
            Self::Variable { variable } => write!(f, "${variable}"),
            Self::Option { option } => f.write_str(option),
        }
    }
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Mistake {
    pub(crate) place: Place,
    /// What is wrong.
    pub(crate) reason: String,
    /// What to write instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    /// The offending line, where it stands in a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    /// Characters of `text` that are meant.
    #[serde(skip)]
    pub(crate) width: usize,
}

impl Mistake {
    pub(crate) fn new(place: Place, reason: impl Into<String>) -> Self {
        Self {
            place,
            reason: reason.into(),
            hint: None,
            text: None,
            width: 1,
        }
    }

    pub(crate) fn hint(mut self, hint: Option<impl Into<String>>) -> Self {
        self.hint = hint.map(Into::into);
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.reason)?;
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        if let (Some(text), Place::File { line, column, .. }) = (&self.text, &self.place) {
            let gutter = line.to_string().len();
            write!(f, "\n  {line} | {text}")?;
            if *column <= text.chars().count() + 1 {
                let width = self
                    .width
                    .clamp(1, 1 + text.chars().count().saturating_sub(*column));
                write!(
                    f,
                    "\n  {:gutter$} | {:skip$}{}",
                    "",
                    "",
                    "^".repeat(width),
                    skip = column - 1
                )?;
            }
        }
        Ok(())
    }
}

/// Everything that is wrong, in the order it was found; never empty.
#[derive(Debug, thiserror::Error)]
pub(crate) struct Mistakes(pub(crate) Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{mistake}")?;
        }
        Ok(())
    }
}

/// Mistakes reported at once; whoever has more will come back.
pub(crate) const MAX_MISTAKES: usize = 50;
