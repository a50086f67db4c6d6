//! `memory`: how the memory of small boards is divided, as `picolm inspect` says: the table and the picture of
//! docs/memory.md.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use picolm_fixtures::{Fixture, LLAMA2_7B_Q4KM, PHI2_Q4KM, SHAPES, TINYLLAMA_Q4KM};

use crate::compare::number;
use crate::run::{call, capture, cargo, command, create_dir, target_dir};
use crate::{Outcome, no_arguments, root, smollm, text};

const MIB: u64 = 1 << 20;
/// Memory of the boards in MiB, and what their system is left of it.
const BOARDS: [u64; 4] = [64, 128, 256, 512];
const SYSTEM: u64 = 20;
const CONTEXT: &str = "512";
/// Where the picture lies.
const PICTURE: &str = "docs/memory.svg";

/// The parts of a plan that the picture shows: the keys in the JSON, what they are called, and their colour.
const PARTS: [(&[&str], &str, &str); 5] = [
    (&["held_bytes", "stack_bytes", "system_bytes"], "program and vocabulary", "#52606d"),
    (&["kv_bytes"], "keys and values", "#b4540a"),
    (&["work_bytes"], "work buffers", "#d9a514"),
    (&["window_bytes"], "windows", "#2f7d5b"),
    (&["kept_bytes"], "weights that stay", "#2b6cb0"),
];

/// Prints the table and writes the picture.
pub(crate) fn run(arguments: lexopt::Parser) -> Outcome {
    no_arguments(arguments)?;
    call(&mut cargo(&["build", "--release", "--package", "picolm-cli"]))?;
    let tinyllama = hollow(&TINYLLAMA_Q4KM)?;
    let models = [
        ("SmolLM2 135M Q4_1", smollm::fetch()?),
        ("TinyLlama 1.1B Q4_K_M", tinyllama.clone()),
        ("Phi-2's shape, Q4_K_M", hollow(&PHI2_Q4KM)?),
        ("Llama 2 7B's shape, Q4_K_M", hollow(&LLAMA2_7B_Q4KM)?),
    ];
    let mut heads = String::from("| model | file | least |");
    for board in BOARDS {
        let _ = write!(heads, " {board} MB |");
    }
    println!("{heads}\n|---|{}", "---|".repeat(2 + BOARDS.len()));
    for (name, path) in &models {
        let size = fs::metadata(path).map_err(text)?.len();
        let least = figure(&plan(path, 1 << 40)?.map_err(text)?, "least_bytes")?;
        let mut row = format!("| {name} | {} MB | {:.1} MiB |", size / 1_000_000, least / MIB as f64);
        for board in BOARDS {
            let cell = match plan(path, (board - SYSTEM) * MIB)? {
                Ok(plan) => {
                    let [kept, read] =
                        [figure(&plan, "kept_bytes")?, figure(&plan, "read_bytes_per_token")?];
                    format!("{:.0} / {:.0}", kept / 1e6, read / 1e6)
                }
                Err(_) => "–".into(),
            };
            let _ = write!(row, " {cell} |");
        }
        println!("{row}");
    }
    families()?;
    fs::write(root().join(PICTURE), picture(&tinyllama)?).map_err(text)
}

/// Prints what a model of each family needs: the table of docs/models.md.
fn families() -> Outcome {
    println!("\n| family | shape of | file | keys and values | least |\n|---|---|---|---|---|");
    for fixture in SHAPES {
        let path = hollow(fixture)?;
        let plan = plan(&path, 1 << 40)?.map_err(text)?;
        let size = fs::metadata(&path).map_err(text)?.len();
        println!(
            "| `{}` | {} | {} MB | {:.1} MiB | {:.1} MiB |",
            fixture.family.name,
            fixture.name,
            size / 1_000_000,
            figure(&plan, "kv_bytes")? / MIB as f64,
            figure(&plan, "least_bytes")? / MIB as f64
        );
    }
    Ok(())
}

/// A file with a model's header and no weights.
fn hollow(fixture: &Fixture) -> Outcome<PathBuf> {
    let folder = target_dir().join("models");
    create_dir(&folder)?;
    let path = folder.join(format!("{}.hollow.gguf", fixture.name));
    fixture.write_hollow(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

/// The plan for a model, as JSON, or why there is none.
fn plan(model: &Path, ram: u64) -> Outcome<Result<String, String>> {
    let mut inspect = command(target_dir().join("release/picolm"));
    inspect.arg("inspect").arg(model);
    inspect.args(["--json", "--kv", "q8_0", "-j", "1", "-c", CONTEXT, "--ram", &ram.to_string()]);
    match capture(&mut inspect) {
        Err(error) if !error.contains("are not enough") => Err(error),
        plan => Ok(plan),
    }
}

fn figure(plan: &str, key: &str) -> Outcome<f64> {
    number(plan, key).ok_or_else(|| format!("the plan has no {key}: {plan}"))
}

/// Bars of memory for the boards.
fn picture(model: &Path) -> Outcome<String> {
    const LEFT: f64 = 80.0;
    const WIDTH: f64 = 660.0;
    const ROW: f64 = 52.0;
    let scale = WIDTH / BOARDS[BOARDS.len() - 1] as f64;
    let height = 92.0 + ROW * BOARDS.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 {height}\" font-family=\"sans-serif\" \
         font-size=\"13\" role=\"img\" aria-label=\"How memory is divided on boards of four sizes\">\n\
         <rect width=\"760\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"12\" y=\"22\" font-weight=\"bold\">TinyLlama 1.1B Q4_K_M, context {CONTEXT}: \
         what is held, and what each token reads</text>\n"
    );
    let mut left = 12.0;
    for (_, name, colour) in PARTS {
        let _ = writeln!(
            svg,
            "<rect x=\"{left}\" y=\"36\" width=\"12\" height=\"12\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"47\">{name}</text>",
            left + 17.0
        );
        left += 35.0 + 7.0 * name.len() as f64;
    }
    for (index, board) in BOARDS.iter().enumerate() {
        let plan = plan(model, (board - SYSTEM) * MIB)?.map_err(text)?;
        let top = 66.0 + ROW * index as f64;
        let _ = writeln!(svg, "<text x=\"12\" y=\"{}\">{board} MB</text>", top + 18.0);
        let _ = writeln!(
            svg,
            "<rect x=\"{LEFT}\" y=\"{top}\" width=\"{:.1}\" height=\"26\" fill=\"#e4e7eb\"/>",
            *board as f64 * scale
        );
        let mut left = LEFT;
        for (keys, name, colour) in PARTS {
            let bytes = keys.iter().map(|key| figure(&plan, key)).sum::<Outcome<f64>>()?;
            let width = bytes / MIB as f64 * scale;
            let _ = writeln!(
                svg,
                "<rect x=\"{left:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"26\" fill=\"{colour}\">\
                 <title>{name}: {:.1} MiB</title></rect>",
                bytes / MIB as f64
            );
            left += width;
        }
        let read = figure(&plan, "read_bytes_per_token")?;
        let _ = writeln!(
            svg,
            "<text x=\"{LEFT}\" y=\"{}\" fill=\"#52606d\">reads {:.0} MB for each token</text>",
            top + 41.0,
            read / 1e6
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"12\" y=\"{}\" fill=\"#52606d\">Grey: left to the system. Made by `cargo xtask memory`.</text>\n\
         </svg>",
        height - 10.0
    );
    Ok(svg)
}
