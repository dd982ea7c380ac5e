//! The plan of the memory: what is told of the peak, and the page that draws it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use razorc_fixtures::Builder;
use serde_json::Value;

use super::{Sandbox, json};

const HOSTILE: &str = "</script><script>document.title='broken'</script><img src=x onerror=alert(1)>{{DATA}}\"'&";

#[test]
fn the_peak_is_explained_for_a_model_and_for_its_trainer() {
    let sandbox = Sandbox::with_trainer();
    let model = json(&sandbox.succeed("inspect mlp.onnx --classes 3 --memory --json"));
    let trainer = json(&sandbox.succeed("inspect mlp.trainer --memory --json"));
    assert_eq!(model, trainer);
    let peak = &trainer["peak"];
    let bytes = |it: &Value| it["bytes"].as_u64().unwrap();
    let tensors = peak["tensors"].as_array().unwrap();
    let sum = tensors.iter().map(bytes).sum::<u64>() + bytes(&peak["others"]);
    assert_eq!(peak["live_bytes"], sum, "{peak}");
    assert!(tensors.is_sorted_by_key(|it| std::cmp::Reverse(bytes(it))), "{peak}");
    let step = peak["step"].as_u64().unwrap();
    assert!(tensors.iter().all(|it| it["first"].as_u64() <= Some(step) && Some(step) < it["end"].as_u64()), "{peak}");
    assert!(tensors.iter().all(|it| !it["why"].as_str().unwrap().is_empty()), "{peak}");

    // What lives, and the scratch of a thread, is all that the dynamic peak is made of.
    let bound = trainer["lower_bound"].as_u64().unwrap();
    let residents = trainer["weights"].as_u64().unwrap() + trainer["optimizer"].as_u64().unwrap();
    assert_eq!(bound - residents - sum, 1 << 20, "{trainer}");

    let text = sandbox.succeed("inspect mlp.trainer --memory");
    let row = format!("{} of {}", peak["op"].as_str().unwrap(), peak["result"].as_str().unwrap());
    assert!(text.contains(&row), "{row}: {text}");
    assert!(text.contains("dense, batch 1"), "{text}");
    assert!(text.contains("saved for "), "{text}");
}

#[test]
fn the_plan_for_one_row_is_that_of_a_dense_trainer_for_one_row() {
    let sandbox = Sandbox::with_trainer();
    let packed = json(&sandbox.succeed("inspect mlp.trainer --memory --json"));
    let dense = json(&sandbox.succeed("inspect mlp.onnx --classes 3 --batch 1 --sparsity 0 --memory --json"));
    // Without pruning nothing is rounded or coded either.
    assert_eq!(packed["dense_single"], dense["dynamic_peak"]);
    assert_eq!(dense["dense_single"], dense["dynamic_peak"]);
}

#[test]
fn a_page_holds_every_tensor_and_asks_for_nothing() {
    let sandbox = Sandbox::with_trainer();
    sandbox.succeed("inspect mlp.trainer --html plan.html");
    let page = fs::read_to_string(sandbox.path("plan.html")).unwrap();
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("{{"), "{page}");
    let data = data(&page);
    let plan = json(&sandbox.succeed("inspect mlp.trainer --memory --json"));
    assert_eq!(data["steps"].as_array().unwrap().len() as u64, plan["peak"]["steps"]);
    assert_eq!(data["peak"], plan["peak"]["step"]);
    let live = |it: &&Value| it[5].as_u64() <= data["peak"].as_u64() && data["peak"].as_u64() < it[6].as_u64();
    let storages = data["storages"].as_array().unwrap();
    assert_eq!(storages.iter().filter(live).map(|it| it[3].as_u64().unwrap()).sum::<u64>(), plan["peak"]["live_bytes"]);
    for it in plan["peak"]["tensors"].as_array().unwrap() {
        assert!(page.contains(&format!(")\">{}</td>", it["name"].as_str().unwrap())), "{it}");
    }
    for error in
        [sandbox.refuse("inspect mlp.trainer --html absent/plan.html"), sandbox.refuse("inspect x.npy --html a")]
    {
        assert!(error.contains("absent/plan.html cannot be written") || error.contains("x.npy"), "{error}");
    }
}

#[test]
fn names_of_strangers_are_text() {
    let sandbox = hostile();
    let page = fs::read_to_string(sandbox.path("plan.html")).unwrap();
    assert_eq!(page.matches("</script>").count(), 2, "the page's own two");
    assert!(!page.contains("<img"), "{page}");
    assert!(page.contains("&lt;img src=x onerror=alert(1)&gt;"), "{page}");
    let storages = data(&page)["storages"].clone();
    let names = storages.as_array().unwrap().iter().filter_map(|it| it[0].as_str());
    assert!(names.into_iter().any(|it| it.contains(HOSTILE)), "{storages}");
}

/// A browser runs the page's script, which says what it drew.
#[test]
fn a_browser_draws_the_page() {
    let Some(browser) = browser() else {
        return;
    };
    let sandbox = hostile();
    let data = data(&fs::read_to_string(sandbox.path("plan.html")).unwrap());
    let drawn = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", sandbox.path("profile").display()))
        .arg(format!("file://{}", sandbox.path("plan.html").display()))
        .output()
        .unwrap();
    let page = String::from_utf8_lossy(&drawn.stdout).into_owned();
    let (_, check) = page.split_once("id=\"check\"").unwrap_or_else(|| panic!("{drawn:?}"));
    let check = check.split_once('>').unwrap().0;
    let count = |key: &str| data[key].as_array().unwrap().len();
    for (key, n) in [("errors", 0), ("storages", count("storages")), ("steps", count("steps"))] {
        assert!(check.contains(&format!("data-{key}=\"{n}\"")), "{key} is not {n}: {check}");
    }
    assert!(check.contains(&format!("data-peak=\"{}\"", data["peak"])), "{check}");
    assert!(!page.contains("<title>broken"), "a name ran as a script");
}

/// A folder with the page of a model whose names are made to break it.
fn hostile() -> Sandbox {
    let sandbox = Sandbox::new();
    let mut m = Builder::new(HOSTILE, 1);
    m.input("x", "N,64").weight("w1", &[64, 64]).weight("w2", &[64, 3]);
    m.node("h", "MatMul", &["x", "w1"], &[]);
    m.node(HOSTILE, "Sigmoid", &["h"], &[]);
    m.node("y", "MatMul", &[HOSTILE, "w2"], &[]);
    m.output("y", "N,3");
    m.model().save(sandbox.path("hostile.onnx")).unwrap();
    sandbox.succeed("inspect hostile.onnx --batch 64 --html plan.html");
    sandbox
}

/// What a page draws.
fn data(page: &str) -> Value {
    let (_, data) = page.split_once("id=\"plan\">").unwrap();
    json(data.split_once("</script>").unwrap().0)
}

fn browser() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).flat_map(|it| names.map(|name| it.join(name))).find(|it| Path::is_file(it));
    if found.is_none() {
        use std::io::Write;
        // The test harness swallows what `println!` prints, so this goes round it.
        let _ = writeln!(std::io::stderr(), "SKIPPED: no browser draws the page; install chromium");
    }
    found
}
