//! `cargo xtask bench encoder`: tokens per CPU second, beside PyTorch where a Python
//! that has it is named.

use std::collections::BTreeMap;

use crate::process::{cargo, output};

const OURS: &str = "run -q --release -p gf-examples --example encoder_speed --";
const PYTORCH: &str = "docs/checks/encoder_torch.py";
/// Runs of each program, in turn: the machine may be busy with other work.
const N_ROUNDS: usize = 3;

/// A model's name, its layers, hidden size, heads and feed-forward size.
const SHAPES: [(&str, &str); 2] =
    [("Geneformer-V1-10M", "6 256 4 512"), ("Geneformer-V2-104M", "12 768 12 3072")];
/// Tokens in a cell, cells in a batch.
const BATCHES: [&str; 4] = ["512 1", "512 4", "2048 1", "4096 1"];

/// The table without PyTorch.
pub fn encoder() -> Result<(), String> {
    table(None)
}

/// The table, with `python` to run PyTorch.
pub fn encoder_beside(python: &str) -> Result<(), String> {
    table(Some(python))
}

fn table(python: Option<&str>) -> Result<(), String> {
    println!("tokens per CPU second, median of {N_ROUNDS} (smallest–largest)");
    for (preset, shape) in SHAPES {
        for batch in BATCHES {
            let longest = if preset.contains("V1") { 2048 } else { 4096 };
            if batch
                .split(' ')
                .next()
                .and_then(|n| n.parse().ok())
                .is_some_and(|n: u32| n > longest)
            {
                continue;
            }
            println!("{preset}, tokens × cells {}:", batch.replace(' ', " × "));
            let mut rates = Rates::default();
            for _ in 0..N_ROUNDS {
                rates.add(&output(&cargo(), &format!("{OURS} {preset} {batch}"))?);
                if let Some(python) = python {
                    rates.add(&output(python, &format!("{PYTORCH} {shape} {batch}"))?);
                }
            }
            rates.print();
        }
    }
    Ok(())
}

/// Tokens per CPU second that each name reached.
#[derive(Default)]
struct Rates(BTreeMap<String, Vec<f64>>);

impl Rates {
    /// Takes the lines `NAME: … RATE per CPU-second …`; others are of no use here.
    fn add(&mut self, lines: &[u8]) {
        for line in String::from_utf8_lossy(lines).lines() {
            if let Some((name, rate)) = rate(line) {
                self.0.entry(name.to_string()).or_default().push(rate);
            }
        }
    }

    fn print(mut self) {
        let best = |rates: &BTreeMap<String, Vec<f64>>| rates.get("torch f32").map(|r| median(r));
        self.0.values_mut().for_each(|rates| rates.sort_by(f64::total_cmp));
        let torch = best(&self.0);
        for (name, rates) in &self.0 {
            let (low, high) = (rates[0], rates[rates.len() - 1]);
            let ratio = torch.map(|torch| format!(", {:.2} of torch f32", median(rates) / torch));
            println!(
                "  {name:<12} {:>8.0} ({low:.0}–{high:.0}){}",
                median(rates),
                ratio.unwrap_or_default()
            );
        }
    }
}

fn median(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}

fn rate(line: &str) -> Option<(&str, f64)> {
    let (name, rest) = line.split_once(": ")?;
    let rate = rest.split(" per CPU-second").next()?.rsplit(' ').next()?.parse().ok()?;
    rest.contains("per CPU-second").then_some((name, rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_programs() {
        let t = |line, expected| assert_eq!(rate(line), expected, "{line}");
        t("torch f32: 2615 tokens/s wall, 1374 per CPU-second", Some(("torch f32", 1374.0)));
        t(
            "int8: 90 tokens/s wall, 45 per CPU-second, 60 GFLOP per CPU second",
            Some(("int8", 45.0)),
        );
        t("matrix product: 77 GFLOP per CPU second", None);
        t("", None);
    }
}
