//! What is claimed of the figures.

use std::process::ExitCode;

use super::{Result, Spread};

/// What is claimed of a ratio.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    Most(f64),
    Least(f64),
}

pub(crate) fn ratio(times: &[f64], others: &[f64]) -> Spread {
    Spread::of(times.iter().zip(others).map(|(time, other)| time / other))
}

/// Says it. Returns how many targets are missed: none, or this one.
pub(crate) fn judge(of: &str, ratio: Spread, target: Option<Target>) -> u32 {
    let (claim, missed) = match target {
        Some(Target::Most(limit)) => (format!(", target: at most {limit}"), ratio.median > limit),
        Some(Target::Least(limit)) => (format!(", target: at least {limit}"), ratio.median < limit),
        None => (String::new(), false),
    };
    let text = ratio.to_string();
    println!("  {} times {of}{claim}{}", text.trim(), if missed { ": missed" } else { "" });
    u32::from(missed)
}

/// The end of a benchmark, which has missed so many targets.
pub(crate) fn conclude(missed: Result<u32>) -> ExitCode {
    match missed {
        Ok(0) => return ExitCode::SUCCESS,
        Ok(missed) => println!("\n{missed} targets are missed"),
        Err(error) => eprintln!("{error}"),
    }
    ExitCode::FAILURE
}
