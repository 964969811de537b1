//! `foretoken generate --beams N`

use super::{Generate, say_dropped, text_object};
use crate::Usage;
use clap::Args;
use foretoken::Writer;
use std::io::Write;
use std::time::Instant;

/// Beam search.
#[derive(Debug, Args)]
#[command(next_help_heading = "Beam search")]
pub(super) struct BeamFlags {
    /// Follow N texts at once and give the likeliest, or the -n likeliest; draws nothing
    #[arg(long, value_name = "N", conflicts_with_all = ["stop", "form", "speculate", "seed", "SamplingFlags"])]
    beams: Option<usize>,
    /// Above 0 longer texts are preferred, below 0 shorter ones
    #[arg(long, default_value_t = 1.0, value_name = "X", requires = "beams")]
    length_penalty: f32,
}

impl BeamFlags {
    /// How many beams, where there is a search.
    pub(super) fn beams(&self) -> Option<usize> {
        self.beams
    }
}

impl Generate {
    /// Searches, and prints the best texts.
    pub(super) fn search(&self, writer: &mut Writer<'_>, prompt: &str, beams: usize) -> anyhow::Result<()> {
        if self.n as usize > beams {
            let n = self.n;
            return Err(Usage(format!("-n is {n}: --beams {beams} gives at most {beams} texts")).into());
        }
        let begun = Instant::now();
        let found = writer.beam_search(beams, self.beam_flags.length_penalty, self.max_tokens)?;
        let seconds = begun.elapsed().as_secs_f64();
        let mut out = std::io::stdout().lock();
        for (index, beam) in found.iter().take(self.n as usize).enumerate() {
            if self.json {
                let mut object = text_object(index, prompt, &beam.text, &beam.told, seconds);
                object["score"] = beam.score.into();
                writeln!(out, "{object}")?;
                continue;
            }
            if index > 0 {
                writeln!(out, "\n{}\n", "─".repeat(40))?;
            }
            writeln!(out, "{prompt}{}", beam.text)?;
        }
        if let Some(beam) = found.first()
            && !self.json
        {
            say_dropped(&beam.told);
        }
        Ok(())
    }
}
