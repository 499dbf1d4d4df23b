//! How a command ends when it does not end well.

use std::{error::Error, fmt, process::ExitCode};

/// Why a command stopped, and with which exit code.
#[derive(Debug)]
pub enum Failure {
    /// Exit code 1.
    Error(Box<dyn Error>),
    /// Exit code 2: the arguments cannot mean anything.
    Usage(String),
    /// Exit code 130, with what is left behind.
    Interrupted(String),
}

impl Failure {
    /// 1 failed, 2 wrong use, 130 interrupted.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Error(_) => 1,
            Self::Usage(_) => 2,
            Self::Interrupted(_) => 130,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => write!(f, "error: {error}"),
            Self::Usage(message) => {
                write!(f, "error: {message}\n\nFor more information, try '--help'.")
            }
            Self::Interrupted(message) => write!(f, "interrupted: {message}"),
        }
    }
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Error(Box::new(error))
    }
}
