//! A control group of Linux: what runs in it may hold so much memory, its files' pages included, and read so fast.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::run::command;

/// Where systems mount the controllers of version 1, and of version 2 all together.
const MEMORY_1: &str = "/sys/fs/cgroup/memory";
const DISK_1: &str = "/sys/fs/cgroup/blkio";
const VERSION_2: &str = "/sys/fs/cgroup";

/// What a run may take.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Limits<'a> {
    /// Bytes of memory.
    pub(super) memory: Option<u64>,
    /// Bytes a second that are read from the disk that a file lies on.
    pub(super) disk: Option<(u64, &'a Path)>,
}

/// What a run took.
#[derive(Debug)]
pub(super) struct Usage {
    pub(super) status: ExitStatus,
    pub(super) output: String,
    /// Bytes of memory at most that the system held for it, and those that came from disks.
    pub(super) peak: u64,
    pub(super) read: u64,
}

/// Runs a program in a group of its own, with nothing of any file in the system's cache.
pub(super) fn run(limits: Limits<'_>, program: &Command) -> Outcome<Usage> {
    let two = Path::new(VERSION_2).join("cgroup.controllers").is_file();
    let memory = Group::new(if two { VERSION_2 } else { MEMORY_1 })?;
    let (limit, peak) = match two {
        true => ("memory.max", "memory.peak"),
        false => ("memory.limit_in_bytes", "memory.max_usage_in_bytes"),
    };
    if let Some(bytes) = limits.memory {
        memory.write(limit, &bytes.to_string())?;
    }
    let mut groups = vec![&memory];
    let throttled;
    if let Some((speed, file)) = limits.disk {
        let device = device(file)?;
        if two {
            memory.write("io.max", &format!("{device} rbps={speed}"))?;
        } else {
            throttled = Group::new(DISK_1)?;
            throttled.write("blkio.throttle.read_bps_device", &format!("{device} {speed}"))?;
            groups.push(&throttled);
        }
    }
    write(Path::new("/proc/sys/vm/drop_caches"), "3")?;
    // The shell enters the groups, then becomes the program.
    let mut shell = command("sh");
    shell.args([
        "-c",
        "while [ \"$1\" != -- ]; do echo $$ >\"$1\"; shift; done; shift; exec \"$@\"",
        "sh",
    ]);
    shell.args(groups.iter().map(|group| group.0.join("cgroup.procs"))).arg("--");
    shell.arg(program.get_program()).args(program.get_args());
    let mut child = shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.as_mut().map_err(|error| format!("sh cannot be started: {error}"))?;
    // What a process has read can be asked for until somebody waits for it.
    let folder = PathBuf::from(format!("/proc/{}", child.id()));
    let start = Instant::now();
    while !ended(&folder) {
        if start.elapsed() > Duration::from_secs(1800) {
            let _ = child.kill();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let io = fs::read_to_string(folder.join("io")).unwrap_or_default();
    let read = io.lines().find_map(|line| line.strip_prefix("read_bytes: ")?.parse().ok()).unwrap_or(0);
    let mut output = String::new();
    for pipe in [
        child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn std::io::Read>),
        child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn std::io::Read>),
    ] {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        }
        output.push_str(&String::from_utf8_lossy(&bytes));
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    let peak = memory.read(peak)?.trim().parse().unwrap_or(0);
    Ok(Usage { status, output, peak, read })
}

/// Whether only the process's entry in the table is left.
fn ended(folder: &Path) -> bool {
    let stat = fs::read_to_string(folder.join("stat")).unwrap_or_default();
    // The name in brackets may hold anything.
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

/// `major:minor` of the disk that a file lies on: a whole disk, as only those can be throttled.
fn device(file: &Path) -> Outcome<String> {
    let failed = |error: std::io::Error| format!("{}: {error}", file.display());
    let number = {
        use std::os::linux::fs::MetadataExt;
        fs::metadata(file).map_err(failed)?.st_dev()
    };
    // As glibc's makedev packs them.
    let major = (number >> 8 & 0xfff) | (number >> 32 & !0xfff);
    let minor = (number & 0xff) | (number >> 12 & !0xff);
    let block = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    let own = |folder: &Path| fs::read_to_string(folder.join("dev")).map(|text| text.trim().to_owned());
    if block.join("partition").is_file() {
        return own(&block.join("..")).map_err(failed);
    }
    own(&block).map_err(|error| format!("{}: no disk {major}:{minor}: {error}", file.display()))
}

/// A group's folder; the group ends with this value.
struct Group(PathBuf);

impl Group {
    fn new(root: &str) -> Outcome<Self> {
        let folder = Path::new(root).join(format!("picolm-{}", std::process::id()));
        match fs::create_dir(&folder) {
            Ok(()) => Ok(Group(folder)),
            Err(error) => Err(format!(
                "{}: {error}; this needs root, and the memory controller at {root}",
                folder.display()
            )),
        }
    }

    fn write(&self, name: &str, text: &str) -> Outcome {
        write(&self.0.join(name), text)
    }

    fn read(&self, name: &str) -> Outcome<String> {
        let path = self.0.join(name);
        fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A process that has just ended may be in it for a moment.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn write(path: &Path, text: &str) -> Outcome {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
