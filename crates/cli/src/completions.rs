//! `foretoken completions SHELL`

use clap::{Args, CommandFactory};
use std::io::Write;

/// Prints completions for a shell.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  foretoken completions bash > ~/.local/share/bash-completion/completions/foretoken")]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: clap_complete::Shell,
}

impl Completions {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut crate::Cli::command(), "foretoken", &mut script);
        std::io::stdout().write_all(&script)?;
        Ok(())
    }
}
