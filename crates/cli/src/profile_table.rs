//! Where a step's time went: a table for people, an object for programs.

use crate::terminal::{FAINT, STRONG, paint};
use foretoken::kernels::{Limits, Pool};
use foretoken::train::{ProfileRow, StepProfile};

/// A shape of products that takes less of a step is told together with others such: where loss is on answers only, the
/// head's products have as many shapes as batches have numbers of answers' tokens.
const LEAST_SHARE: f64 = 0.002;
/// Columns of a row's name.
const NAME: usize = 31;

/// The table: kernels by the time they take, matmuls as a group with a row a shape and orientation. `step` names what
/// was timed: a step, a token.
pub(crate) fn text(step: &str, profile: &StepProfile, limits: &Limits, pool: &Pool, color: bool) -> String {
    if profile.steps == 0 {
        return format!("no {step} was profiled: the first is not counted\n");
    }
    let step_seconds = profile.seconds / profile.steps as f64;
    let head = format!(
        "{} {step}s of {}; {} on {}, limits {} and {}\n",
        profile.steps,
        duration(step_seconds),
        threads(pool.threads()),
        pool.isa().name(),
        flop_rate(limits.flops_per_s),
        byte_rate(limits.bytes_per_s),
    );
    let mut out = paint(&head, FAINT, color);
    let columns = format!(
        "{:NAME$} {:>6} {:>8} {:>9} {:>12} {:>9}\n",
        "",
        "share",
        "calls",
        format!("a {step}"),
        "rate",
        "of limit"
    );
    out += &paint(&columns, FAINT, color);
    let rows = profile.rows(limits);
    let (matmuls, others): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.shape.is_some());
    let mut groups: Vec<Vec<&ProfileRow>> = others.into_iter().map(|row| vec![row]).collect();
    if !matmuls.is_empty() {
        groups.push(matmuls);
    }
    let seconds = |group: &[&ProfileRow]| group.iter().map(|row| row.seconds).sum::<f64>();
    groups.sort_by(|a, b| seconds(b).total_cmp(&seconds(a)));
    for group in groups {
        match &group[..] {
            [row] if row.shape.is_none() => out += &line(row.op, row),
            matmuls => {
                out += &line("matmul", &sum(matmuls));
                let (told, others): (Vec<_>, Vec<_>) =
                    matmuls.iter().copied().partition(|row| row.share >= LEAST_SHARE);
                for row in told {
                    out += &paint(&line(&format!("  {}", product(row)), row), FAINT, color);
                }
                if !others.is_empty() {
                    let name = format!("  {} other shapes, together", others.len());
                    out += &paint(&line(&name, &sum(&others)), FAINT, color);
                }
            }
        }
    }
    let rest = profile.rest();
    out += &format!(
        "{:NAME$} {:>6} {:>8} {:>9}\n",
        "outside of kernels",
        percent(rest),
        "",
        duration(rest * step_seconds)
    );
    let flops: u64 = profile.ops.iter().map(|op| op.flops).sum();
    let total = format!(
        "{:NAME$} {:>6} {:>8} {:>9} {:>12} {:>9}\n",
        format!("the {step}"),
        "100.0%",
        "",
        duration(step_seconds),
        flop_rate(flops as f64 / profile.seconds),
        whole_percent(profile.limit_seconds(limits) / step_seconds),
    );
    out + &paint(&total, STRONG, color)
}

/// What the table's last column means.
pub(crate) const LIMIT: &str = "\
of limit: the time that the measured limit allows over the time taken; flops or
bytes, whichever take longer (the unit of the rate says which). Over 100% where
operands lay in a cache, which is faster than memory.
";

/// The same as one object; `of` says what was timed.
pub(crate) fn json(of: &str, profile: &StepProfile, limits: &Limits, pool: &Pool) -> serde_json::Value {
    serde_json::json!({
        "event": "profile",
        "of": of,
        "isa": pool.isa().name(),
        "threads": pool.threads(),
        "steps": profile.steps,
        "step_seconds": profile.seconds / profile.steps.max(1) as f64,
        "limit_seconds": profile.limit_seconds(limits),
        "limit_flops_per_s": limits.flops_per_s,
        "limit_bytes_per_s": limits.bytes_per_s,
        "outside_of_kernels": profile.rest(),
        "ops": profile.rows(limits),
    })
}

fn line(name: &str, row: &ProfileRow) -> String {
    format!(
        "{name:NAME$} {:>6} {:>8} {:>9} {:>12} {:>9}\n",
        percent(row.share),
        calls(row.calls),
        duration(row.seconds),
        rate(row.bound, row.flops_per_s, row.bytes_per_s),
        whole_percent(row.share_of_limit),
    )
}

/// All products together.
fn sum(rows: &[&ProfileRow]) -> ProfileRow {
    let total = |of: fn(&ProfileRow) -> f64| rows.iter().map(|row| of(row)).sum::<f64>();
    let seconds = total(|row| row.seconds);
    ProfileRow {
        op: "matmul",
        shape: None,
        calls: total(|row| row.calls),
        seconds,
        share: total(|row| row.share),
        flops_per_s: total(|row| row.flops_per_s * row.seconds) / seconds,
        bytes_per_s: total(|row| row.bytes_per_s * row.seconds) / seconds,
        share_of_limit: total(|row| row.share_of_limit * row.seconds) / seconds,
        bound: rows[0].bound,
    }
}

/// `A Bᵀ  4096 x 768 x 3072`: how the operands are read, and M x K x N.
fn product(row: &ProfileRow) -> String {
    let sizes: Vec<String> = row.shape.iter().flatten().map(ToString::to_string).collect();
    format!("{:<5} {}", orientation(row.op), sizes.join(" x "))
}

/// `A Bᵀ` of `matmul_nt`; other ops are their own name.
pub(crate) fn orientation(op: &str) -> &str {
    match op {
        "matmul_nn" => "A B",
        "matmul_nt" => "A Bᵀ",
        "matmul_tn" => "Aᵀ B",
        "matmul_tt" => "Aᵀ Bᵀ",
        op => op,
    }
}

/// The rate that counts: flops or bytes a second.
pub(crate) fn rate(bound: &str, flops_per_s: f64, bytes_per_s: f64) -> String {
    match bound {
        "flops" => flop_rate(flops_per_s),
        _ => byte_rate(bytes_per_s),
    }
}

pub(crate) fn flop_rate(flops_per_s: f64) -> String {
    format!("{} GFLOP/s", three(flops_per_s / 1e9))
}

pub(crate) fn byte_rate(bytes_per_s: f64) -> String {
    format!("{} GB/s", three(bytes_per_s / 1e9))
}

/// `1 thread`, `2 threads`.
pub(crate) fn threads(n: usize) -> String {
    format!("{n} thread{}", if n == 1 { "" } else { "s" })
}

/// Seconds with three digits in the unit that fits.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        ..0.9995e-3 => format!("{} us", three(seconds * 1e6)),
        ..0.9995 => format!("{} ms", three(seconds * 1e3)),
        _ => format!("{} s", three(seconds)),
    }
}

pub(crate) fn whole_percent(share: f64) -> String {
    format!("{:.0}%", 100.0 * share)
}

fn percent(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

fn three(value: f64) -> String {
    let digits = match value {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$}")
}

/// A whole number where it is one: a step that differs from the others has other calls.
fn calls(calls: f64) -> String {
    let digits = usize::from(calls.fract() != 0.0);
    format!("{calls:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use foretoken::kernels::OpTime;

    #[test]
    fn the_table_groups_products_and_adds_up() {
        let op = |op, shape: &[usize], thread_seconds, flops, bytes| OpTime {
            op,
            shape: shape.to_vec(),
            calls: 4,
            thread_seconds,
            flops,
            bytes,
        };
        let profile = StepProfile {
            steps: 2,
            seconds: 1.0,
            threads: 1,
            ops: vec![
                op("gelu_forward", &[1 << 20], 0.2, 30 << 20, 4_000_000_000),
                op("matmul_nn", &[4096, 768, 3072], 0.4, 40_000_000_000, 1),
                op("matmul_nt", &[4096, 3072, 768], 0.298, 26_900_000_000, 1),
                op("matmul_nt", &[17, 3072, 768], 0.001, 50_000_000, 1),
                op("matmul_nt", &[19, 3072, 768], 0.001, 50_000_000, 1),
            ],
        };
        let limits = Limits {
            flops_per_s: 100e9,
            bytes_per_s: 25e9,
        };
        let text = text("step", &profile, &limits, &Pool::new(1).unwrap(), false);
        let rows: Vec<Vec<&str>> = text
            .lines()
            .skip(2)
            .map(|row| row.split_whitespace().collect())
            .collect();
        let want = [
            "matmul 70.0% 8 350 ms 95.7 GFLOP/s 96%",
            "A B 4096 x 768 x 3072 40.0% 2 200 ms 100 GFLOP/s 100%",
            "A Bᵀ 4096 x 3072 x 768 29.8% 2 149 ms 90.3 GFLOP/s 90%",
            "2 other shapes, together 0.2% 4 1.00 ms 50.0 GFLOP/s 50%",
            "gelu_forward 20.0% 2 100 ms 20.0 GB/s 80%",
            "outside of kernels 10.0% 50.0 ms",
            "the step 100.0% 500 ms 67.0 GFLOP/s 83%",
        ];
        for (row, want) in rows.iter().zip(want) {
            assert_eq!(row.join(" "), want, "{text}");
        }
        assert!(text.starts_with("2 steps of 500 ms; 1 thread on "), "{text}");
        assert!(
            text.lines()
                .all(|line| line.chars().count() <= 80 || line.contains("limits")),
            "{text}"
        );
        let json = json("train", &profile, &limits, &Pool::new(1).unwrap());
        assert_eq!(
            (json["steps"].as_u64(), json["step_seconds"].as_f64()),
            (Some(2), Some(0.5))
        );
        assert_eq!(json["ops"][0]["shape"], serde_json::json!([4096, 768, 3072]));
        assert!(json["ops"][2].get("shape").is_none());
    }

    #[test]
    fn units_keep_three_digits() {
        let all = [123e-9, 45.6e-6, 0.0123, 2.5, 312.0].map(duration);
        assert_eq!(all, ["0.12 us", "45.6 us", "12.3 ms", "2.50 s", "312 s"]);
        assert_eq!(
            (flop_rate(117.6e9), byte_rate(9.5e9)),
            ("118 GFLOP/s".into(), "9.50 GB/s".into())
        );
    }
}
