//! The secret that lets a client in.

use openssl::memcmp;
use openssl::sha::sha256;
use rand::Rng as _;
use std::fmt;
use std::path::{Path, PathBuf};

/// Shortest token accepted from a file: 128 bits as hexadecimal digits.
const MIN_CHARS: usize = 16;
const MAX_CHARS: usize = 256;

/// A secret of `[A-Za-z0-9._~-]`, 16 to 256 characters; `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// A token file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Not readable.
    #[error("cannot read the token file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not a token.
    #[error(
        "{} must hold one line of {MIN_CHARS} to {MAX_CHARS} characters A-Z a-z 0-9 . _ ~ -; make one with `openssl rand -hex 32`",
        path.display()
    )]
    Form {
        /// The file.
        path: PathBuf,
    },
}

impl Token {
    /// 256 random bits as hexadecimal digits.
    #[must_use]
    pub fn generate() -> Self {
        let bytes: [u8; 32] = rand::rng().random();
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// A token of the permitted form.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '~' | '-');
        let is_token = (MIN_CHARS..=MAX_CHARS).contains(&text.len()) && text.chars().all(legal);
        is_token.then(|| Self(text.to_owned()))
    }

    /// The one line of a file.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| TokenError::Read { path: path.to_owned(), source })?;
        Self::new(text.trim()).ok_or_else(|| TokenError::Form { path: path.to_owned() })
    }

    /// The secret itself, for the address that is told to the user.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// Takes the same time for every guess.
    #[must_use]
    pub fn matches(&self, guess: &str) -> bool {
        memcmp::eq(&sha256(self.0.as_bytes()), &sha256(guess.as_bytes()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_matches_itself_only() {
        let token = Token::generate();
        assert_eq!(token.secret().len(), 64);
        assert!(token.matches(token.secret()));
        for guess in ["", "x", &token.secret()[1..], Token::generate().secret()] {
            assert!(!token.matches(guess));
        }
        assert!(!format!("{token:?}").contains(token.secret()));
    }

    #[test]
    fn short_and_strange_ones_are_refused() {
        assert!(Token::new("0123456789abcdef").is_some());
        for text in ["", "short", "0123456789 abcdef", "0123456789abcdef\u{e4}", &"x".repeat(257)] {
            assert!(Token::new(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_file_holds_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        assert!(Token::read(&path).unwrap_err().to_string().contains("token"));
        std::fs::write(&path, "0123456789abcdef\n").unwrap();
        assert_eq!(Token::read(&path).unwrap().secret(), "0123456789abcdef");
        std::fs::write(&path, "0123456789abcdef\nmore\n").unwrap();
        assert!(matches!(Token::read(&path), Err(TokenError::Form { .. })));
    }
}
