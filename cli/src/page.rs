//! The plan of the memory as one page for the browser, which asks for nothing from anywhere.
//!
//! Names come from models and trainers of strangers: text is escaped here, and the page's script only ever sets text.

use razorc_proto::program::Memory;
use serde_json::json;

use crate::report::{LARGEST, bytes, rows};
use crate::timeline::{Kind, Storage, Timeline};

const TEMPLATE: &str = include_str!("page.html");

/// The page for a training step.
pub fn page(timeline: &Timeline, memory: &Memory) -> String {
    let mut page = String::with_capacity(TEMPLATE.len() + 200 * timeline.storages.len());
    // In one pass, so nothing that a part contains is taken for a mark.
    for (at, piece) in TEMPLATE.split("{{").enumerate() {
        let Some((mark, rest)) = piece.split_once("}}").filter(|_| 0 < at) else {
            page += piece;
            continue;
        };
        page += &match mark {
            "TITLE" => escape(&format!("Memory of {}", timeline.model)),
            "SUMMARY" => summary(timeline, memory),
            "PEAK" => peak(timeline),
            _ => data(timeline),
        };
        page += rest;
    }
    page
}

/// Text that is text, wherever in a page it stands.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for it in text.chars() {
        match it {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            it => escaped.push(it),
        }
    }
    escaped
}

fn summary(timeline: &Timeline, memory: &Memory) -> String {
    let mut html = format!(
        "<h1>{}</h1>\n<p class=\"soft\">{} instructions in a step, batch {}, {} tensors share the arena</p>\n",
        escape(&timeline.model),
        timeline.steps.len(),
        timeline.batch,
        timeline.storages.len()
    );
    let tiles = [
        (memory.planned_peak, "planned peak"),
        (memory.weights, "weights"),
        (memory.optimizer, "optimizer state"),
        (memory.dynamic_peak, "dynamic peak"),
        (memory.saved_packed, "saved for the backward phase"),
    ];
    html += "<div class=\"tiles\">";
    for (n, label) in tiles {
        html += &format!("<div class=\"tile\"><b>{}</b><span>{label}</span></div>", bytes(n));
    }
    html += "</div>\n<section>\n<h2>Dense and packed</h2>\n";
    let pair = |html: &mut String, pairs: &[(&str, &str, u64)]| {
        let most = pairs.iter().map(|it| it.2).max().unwrap_or(0).max(1);
        for (class, label, n) in pairs {
            let width = *n as f64 * 100.0 / most as f64;
            *html += &format!(
                "<span>{label}</span><div class=\"{class}\" style=\"width:{width:.1}%\"></div><span>{}</span>\n",
                bytes(*n)
            );
        }
    };
    html += "<div class=\"bars\">\n";
    let gap = "<p></p>\n";
    pair(
        &mut html,
        &[("dense", "saved, if dense", memory.saved_dense), ("", "saved, as planned", memory.saved_packed)],
    );
    html += gap;
    let single = memory.dense_single.map(|n| ("dense", "dynamic peak, dense and batch 1", n));
    let dynamic = [Some(("", "dynamic peak, as planned", memory.dynamic_peak)), single];
    pair(&mut html, &dynamic.into_iter().flatten().collect::<Vec<_>>());
    html += gap;
    pair(
        &mut html,
        &[
            ("other", "the paper's counter", memory.paper_counter),
            ("", "planned peak", memory.planned_peak),
            ("other", "lower bound", memory.lower_bound),
        ],
    );
    html += "</div>\n<p class=\"soft\" style=\"margin-top:10px\">The paper's counter is the published formula, which \
             leaves gradients and optimizer state out; the planned peak is what the process takes. Dense and batch 1: a \
             trainer that saves everything whole and takes one row at a time, pruning's honest rival.</p>\n";
    html += "<details><summary>All numbers</summary><div class=\"scroll\"><table>\
             <thead><tr><th scope=\"col\">part</th><th scope=\"col\" class=\"n\">bytes</th></tr></thead><tbody>\n";
    for (_, name, n) in rows(memory) {
        html += &format!("<tr><td>{}</td><td class=\"n\">{n}</td></tr>\n", escape(name));
    }
    html + "</tbody></table></div></details>\n</section>"
}

fn peak(timeline: &Timeline) -> String {
    let alive = timeline.alive(timeline.peak);
    let mut html = format!(
        "<section id=\"peak\">\n<h2>Where most bytes live</h2>\n<p>{}: {} in {} tensors beside weights and optimizer \
         state.</p>\n<div class=\"scroll\"><table>\n<thead><tr>",
        escape(&timeline.step(timeline.peak)),
        bytes(timeline.live[timeline.peak]),
        alive.len()
    );
    for (head, class) in [("tensor", ""), ("type", ""), ("bytes", "n"), ("share", "n"), ("why it lives", "")] {
        html += &format!("<th scope=\"col\" class=\"{class}\">{head}</th>");
    }
    html += "</tr></thead>\n<tbody>\n";
    let share = |n: u64| format!("{:.1} %", 100.0 * n as f64 / timeline.live[timeline.peak].max(1) as f64);
    for it in alive.iter().take(LARGEST) {
        html += &format!(
            "<tr><td class=\"kind\" style=\"border-left-color:var(--{})\">{}</td><td><code>{}</code></td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>\n",
            it.kind.key(),
            escape(&it.name),
            escape(&it.ty),
            bytes(it.bytes),
            share(it.bytes),
            escape(&timeline.why(it, timeline.peak))
        );
    }
    if let Some(rest) = alive.get(LARGEST..).filter(|it| !it.is_empty()) {
        let sum = rest.iter().map(|it| it.bytes).sum();
        html += &format!(
            "<tr><td>{} more</td><td></td><td class=\"n\">{}</td><td class=\"n\">{}</td><td></td></tr>\n",
            rest.len(),
            bytes(sum),
            share(sum)
        );
    }
    html + "</tbody></table></div>\n</section>"
}

/// What the script draws, as JSON that cannot end its element.
fn data(timeline: &Timeline) -> String {
    let kind = |kind: Kind| Kind::WORDS.iter().position(|it| it.0 == kind);
    let storage = |it: &Storage| {
        let why = timeline.why(it, it.first.midpoint(it.end));
        json!([it.name, it.ty, kind(it.kind), it.bytes, it.offset, it.first, it.end, why])
    };
    let data = json!({
        "kinds": Kind::WORDS.map(|(_, key, words)| [key, words]),
        "weights": timeline.weights,
        "state": timeline.state,
        "peak": timeline.peak,
        "steps": timeline.steps.iter().map(|it| [&it.op, &it.result]).collect::<Vec<_>>(),
        "storages": timeline.storages.iter().map(storage).collect::<Vec<_>>(),
    });
    let data = data.to_string();
    data.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}
