//! What a doctor says.

use serde::Serialize;
use std::fmt;

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing to do.
    Note,
    /// Works, and will hurt.
    Warning,
    /// Does not work.
    Error,
}

impl Severity {
    /// The stable lower-case name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    /// Whether somebody has to do something.
    #[must_use]
    pub fn is_problem(self) -> bool {
        self >= Self::Warning
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable name, such as `tls.expiry`.
    pub code: String,
    /// How much it matters.
    pub severity: Severity,
    /// What was found.
    pub what: String,
    /// Why that is so, or why it matters.
    pub why: Option<String>,
    /// What to do; `None` where there is nothing to do.
    pub remedy: Option<String>,
}

impl Finding {
    pub(super) fn new(severity: Severity, code: &str, what: impl Into<String>) -> Self {
        Self { code: code.to_owned(), severity, what: what.into(), why: None, remedy: None }
    }

    pub(super) fn ok(code: &str, what: impl Into<String>) -> Self {
        Self::new(Severity::Ok, code, what)
    }

    pub(super) fn note(code: &str, what: impl Into<String>) -> Self {
        Self::new(Severity::Note, code, what)
    }

    pub(super) fn warning(code: &str, what: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, what)
    }

    pub(super) fn error(code: &str, what: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, what)
    }

    pub(super) fn because(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    pub(super) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

/// Our error texts end in what to do, behind a semicolon.
pub(super) fn of_text(severity: Severity, code: &str, text: &str) -> Finding {
    match text.split_once("; ") {
        Some((what, remedy)) => Finding::new(severity, code, what).remedy(remedy),
        None => Finding::new(severity, code, text),
    }
}
