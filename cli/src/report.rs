//! Numbers for people and for machines.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{Write, stdout};

use razorc_compiler::passes::back_razor;
use razorc_compiler::passes::norm_from_output;
use razorc_proto::program::{Memory, Saved};
use razorc_runtime::memory::Footprint;
use razorc_runtime::metrics::Score;
use razorc_runtime::train::Checked;
use serde_json::{Value, json};

use crate::timeline::{Storage, Timeline};

/// Tensors that are told one by one where bytes are explained.
pub const LARGEST: usize = 10;

/// Writes a line to stdout; a reader that went away, such as `head`, is no error.
pub fn say(text: impl Display) {
    let _ = writeln!(stdout().lock(), "{text}");
}

/// Bytes in the largest binary unit that leaves at least one, such as `12.3 MiB`.
pub fn bytes(n: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut scaled, mut unit) = (n as f64, 0);
    while 1023.95 <= scaled && unit + 1 < units.len() {
        (scaled, unit) = (scaled / 1024.0, unit + 1);
    }
    if unit == 0 { format!("{n} B") } else { format!("{scaled:.1} {}", units[unit]) }
}

/// The plan's numbers in the order in which they are shown, with the keys that machines know.
pub fn rows(memory: &Memory) -> Vec<(&'static str, &'static str, u64)> {
    let single = memory.dense_single.map(|n| ("dense_single", "dense, batch 1", n));
    let check = memory.self_check.map(|n| ("self_check", "self-check", n));
    let rows = [
        ("weights", "weights", memory.weights),
        ("optimizer", "optimizer state", memory.optimizer),
        ("saved_dense", "saved, if dense", memory.saved_dense),
        ("saved_packed", "saved", memory.saved_packed),
        ("transient", "transient", memory.transient),
        ("dynamic_peak", "dynamic peak", memory.dynamic_peak),
        ("planned_peak", "planned peak", memory.planned_peak),
        ("lower_bound", "lower bound", memory.lower_bound),
        ("paper_counter", "paper's counter", memory.paper_counter),
    ];
    rows.into_iter().chain(single).chain(check).collect()
}

/// The plan as one object, in bytes.
pub fn memory_json(memory: &Memory) -> Value {
    Value::Object(rows(memory).into_iter().map(|(key, _, n)| (key.to_string(), json!(n))).collect())
}

/// The plan, a number a line.
pub fn memory_text(memory: &Memory) -> String {
    let lines = rows(memory).into_iter().map(|(_, name, n)| format!("{name:<16}{:>12}", bytes(n)));
    lines.collect::<Vec<_>>().join("\n")
}

/// The step at which most bytes live, with the largest of what lives there.
pub fn peak_text(timeline: &Timeline) -> String {
    let alive = timeline.alive(timeline.peak);
    let mut text = format!(
        "most bytes live at {}\n{} in {} tensors beside weights and optimizer state",
        timeline.step(timeline.peak),
        bytes(timeline.live[timeline.peak]),
        alive.len()
    );
    let shown = &alive[..alive.len().min(LARGEST)];
    let width = |of: fn(&Storage) -> &str| shown.iter().map(|it| of(it).chars().count()).max().unwrap_or(0);
    let (names, types) = (width(|it| &it.name), width(|it| &it.ty));
    for it in shown {
        let why = timeline.why(it, timeline.peak);
        text += &format!("\n{:>12}  {:<names$}  {:<types$}  {why}", bytes(it.bytes), it.name, it.ty);
    }
    if let Some(rest) = alive.get(LARGEST..).filter(|it| !it.is_empty()) {
        text += &format!("\n{:>12}  in {} more", bytes(rest.iter().map(|it| it.bytes).sum()), rest.len());
    }
    text
}

/// What `peak_text` tells, in bytes.
pub fn peak_json(timeline: &Timeline) -> Value {
    let alive = timeline.alive(timeline.peak);
    let tensor = |it: &&Storage| {
        json!({
            "name": it.name, "type": it.ty, "bytes": it.bytes, "kind": it.kind.key(),
            "why": timeline.why(it, timeline.peak), "first": it.first, "end": it.end,
        })
    };
    let step = timeline.steps.get(timeline.peak);
    let rest = alive.iter().skip(LARGEST);
    json!({
        "step": timeline.peak,
        "steps": timeline.steps.len(),
        "op": step.map(|it| &it.op),
        "result": step.map(|it| &it.result),
        "live_bytes": timeline.live[timeline.peak],
        "tensors": alive.iter().take(LARGEST).map(tensor).collect::<Vec<_>>(),
        "others": { "count": alive.len().saturating_sub(LARGEST), "bytes": rest.map(|it| it.bytes).sum::<u64>() },
    })
}

/// Two plans of one model, a column each, and what the second one saves.
pub fn comparison(dense: &Memory, packed: &Memory, label: &str) -> String {
    let mut text = format!("{:<16}{:>12}{label:>16}", "", "dense");
    for ((key, name, dense), (_, _, packed)) in rows(dense).into_iter().zip(rows(packed)) {
        if ["saved_dense", "lower_bound", "paper_counter", "dense_single", "self_check"].contains(&key) {
            continue;
        }
        text += &format!("\n{name:<16}{:>12}{:>16}", bytes(dense), bytes(packed));
        if packed < dense && 0 < packed {
            text += &format!("{:>8.1}x", dense as f64 / packed as f64);
        }
    }
    text
}

/// What a trainer says of its saved tensors; a star marks what was chosen to fit.
pub fn saved(saved: &[Saved]) -> String {
    let width = saved.iter().map(|it| it.name.chars().count()).chain([16]).max().unwrap_or(0);
    let star = |it: &Saved| if it.chosen { " *" } else { "" };
    let lines = saved.iter().map(|it| format!("\n{:<width$}  {}{}", it.name, it.kept, star(it)));
    let note = if saved.iter().any(|it| it.chosen) { "\n\n* chosen to fit the memory" } else { "" };
    format!("{:<width$}  kept{}{note}", "saved tensor", lines.collect::<String>())
}

/// How many saved tensors were chosen to be kept in which way, a line each.
pub fn choices(saved: &[Saved]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    saved.iter().filter(|it| it.chosen).for_each(|it| *counts.entry(&it.kept).or_default() += 1);
    let lines: Vec<String> = counts.into_iter().map(|(kept, count)| format!("{count:>5} tensors  {kept}")).collect();
    lines.join("\n")
}

/// Every saved tensor with what is kept of it, and every normalization with what its gradient reads.
pub fn decisions(saved: &[back_razor::Decision], norms: &[norm_from_output::Decision]) -> String {
    let saved = saved.iter().map(|it| (&it.value, it.to_string()));
    let norms = norms.iter().map(|it| match it.outcome {
        Ok(()) => (&it.norm, "from the output".to_string()),
        Err(input) => (&it.norm, format!("from the input: {input}")),
    });
    let (saved, norms): (Vec<_>, Vec<_>) = (saved.collect(), norms.collect());
    let width = saved.iter().chain(&norms).map(|it| it.0.chars().count()).chain([16]).max().unwrap_or(0);
    let mut text = format!("{:<width$}  kept", "saved tensor");
    saved.iter().for_each(|(name, outcome)| text += &format!("\n{name:<width$}  {outcome}"));
    if !norms.is_empty() {
        text += &format!("\n\n{:<width$}  gradient", "normalization");
        norms.iter().for_each(|(name, outcome)| text += &format!("\n{name:<width$}  {outcome}"));
    }
    text
}

/// `loss 0.829, accuracy 69.1 %, F1 0.612`.
pub fn score(score: &Score) -> String {
    let mut text = match score.accuracy {
        Some(accuracy) => format!("loss {:.3}, accuracy {:.1} %", score.loss, 100.0 * accuracy),
        None => format!("loss {:.5}", score.loss),
    };
    for (_, words, value) in score.measures.list() {
        text += &match words.ends_with("accuracy") {
            true => format!(", {words} {:.1} %", 100.0 * value),
            false => format!(", {words} {value:.3}"),
        };
    }
    text
}

/// Puts what was measured into an object, with `prefix` before each key.
pub fn add_score(object: &mut Value, prefix: &str, score: Option<&Score>) {
    object[format!("{prefix}loss")] = json!(score.map(|it| it.loss));
    object[format!("{prefix}accuracy")] = json!(score.and_then(|it| it.accuracy));
    for (key, _, value) in score.into_iter().flat_map(|it| it.measures.list()) {
        object[format!("{prefix}{key}")] = json!(value);
    }
}

/// Planned and measured memory in words.
pub fn footprint(memory: &Footprint) -> String {
    match memory.measured {
        Some(measured) => format!("{} planned, {} measured", bytes(memory.planned), bytes(measured)),
        None => format!("{} planned", bytes(memory.planned)),
    }
}

/// How like the exact gradient the first one was, in words.
pub fn checked(checked: &Checked) -> String {
    let mut text = match checked {
        Checked::Skipped(why) => format!("self-check skipped: {why}"),
        Checked::Compared { cosine, norm_ratio } => format!(
            "self-check: the body's first gradient has cosine {cosine:.2} with the exact one and {norm_ratio:.2} times its length"
        ),
    };
    if checked.is_doubtful() {
        text += "\nwarning: with so unlike gradients training may learn little or diverge; compile with a lower `--sparsity`, \
                 spare layers with `--sparsity-for` or let `--calibrate` choose, and see them one by one with \
                 `inspect --fidelity`";
    }
    text
}

/// The same as one object.
pub fn checked_json(checked: &Checked) -> Value {
    match checked {
        Checked::Skipped(why) => json!({ "event": "check", "skipped": why.to_string() }),
        Checked::Compared { cosine, norm_ratio } => json!({
            "event": "check",
            "cosine": cosine,
            "norm_ratio": norm_ratio,
            "warning": checked.is_doubtful(),
        }),
    }
}

/// Hours, minutes and seconds, such as `1:02:03` or `0:07`.
pub fn clock(seconds: f64) -> String {
    let s = seconds.clamp(0.0, 1e9).round() as u64;
    match s / 3600 {
        0 => format!("{}:{:02}", s / 60, s % 60),
        hours => format!("{hours}:{:02}:{:02}", s / 60 % 60, s % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_the_unit_that_fits() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1024), "1.0 KiB");
        assert_eq!(bytes(12 * 1024 * 1024 + 300 * 1024), "12.3 MiB");
        assert_eq!(bytes((1 << 20) - 1), "1.0 MiB");
        assert_eq!(bytes(u64::MAX), "16777216.0 TiB");
    }

    #[test]
    fn clocks_are_short() {
        assert_eq!(clock(7.4), "0:07");
        assert_eq!(clock(3723.0), "1:02:03");
        assert_eq!(clock(f64::NAN), "0:00");
    }

    #[test]
    fn machines_get_the_agreed_keys() {
        let memory = Memory { planned_peak: 7, ..Memory::default() };
        let json = memory_json(&memory);
        assert_eq!(json["planned_peak"], 7);
        assert_eq!(json.as_object().unwrap().len(), 9);
    }
}
