//! The platform of the desktop program: an operating system with Rust's standard library.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::eprintln;
use std::io::{self, IsTerminal, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::host::{Disk, File, Host, IoError, LockedFile, Stream};
use picolm_core::platform::{Clock, CpuFeatures};
use picolm_core::simd::{self, Kernels};
use picolm_platform_std::{
    Mapping, MonotonicClock, Pool, ReadThread, available_cores, cpu_features, peak_rss_bytes,
};

/// Runs the command with the arguments of the process.
pub fn main() -> ExitCode {
    let arguments: Vec<Vec<u8>> =
        std::env::args_os().skip(1).map(|arg| arg.into_encoded_bytes()).collect();
    let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
    ExitCode::from(run(&arguments) as u8)
}

/// Runs the command and returns its exit status.
pub fn run(arguments: &[&[u8]]) -> i32 {
    #[cfg(unix)]
    picolm_platform_std::exit_when_out_of_memory(
        "picolm: out of memory; --ram SIZE, -c N or --kv q8_0 takes less\n",
    );
    match kernels() {
        Ok(kernels) => crate::main(&StdHost::new(kernels), arguments),
        Err(message) => {
            eprintln!("picolm: {message}");
            2
        }
    }
}

/// The best kernels for this CPU, or the ones that `PICOLM_KERNELS` names.
fn kernels() -> Result<&'static Kernels, String> {
    let cpu = cpu_features();
    let Some(name) = std::env::var_os("PICOLM_KERNELS").filter(|name| !name.is_empty()) else {
        return Ok(simd::kernels(cpu));
    };
    name.to_str().and_then(|name| simd::by_name(cpu, name)).ok_or_else(|| {
        let known: Vec<&str> = simd::runnable(cpu).map(Kernels::name).collect();
        format!("PICOLM_KERNELS={}: this CPU can run {}", name.display(), known.join(", "))
    })
}

struct StdHost {
    kernels: &'static Kernels,
    clock: MonotonicClock,
    interrupted: Arc<AtomicBool>,
}

impl StdHost {
    fn new(kernels: &'static Kernels) -> Self {
        let interrupted = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&interrupted);
        // The first Ctrl-C ends the text cleanly, a second one ends the program. Without the handler the first one does.
        let _ = ctrlc::set_handler(move || {
            if flag.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
        });
        StdHost { kernels, clock: MonotonicClock::default(), interrupted }
    }
}

/// A file's mapping.
struct Mapped(Mapping);

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref()
    }
}

impl File for Mapped {
    fn will_need(&self, range: Range<usize>) {
        self.0.will_need(range);
    }

    fn shortened(&self) -> Option<u64> {
        self.0.shortened()
    }
}

/// A file that a thread reads.
struct StdDisk(picolm_platform_std::Disk);

impl Disk for StdDisk {
    type Queue = ReadThread;

    fn queue(&self) -> Result<ReadThread, IoError> {
        ReadThread::new(self.0.clone()).map_err(describe)
    }
}

/// A file with the system's lock on it.
struct Locked(std::fs::File);

impl LockedFile for Locked {
    fn cut(&mut self, len: u64) -> Result<(), IoError> {
        self.0.set_len(len).map_err(describe)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), IoError> {
        self.0.seek(SeekFrom::End(0)).and_then(|_| self.0.write_all(bytes)).map_err(describe)
    }

    fn sync(&mut self) -> Result<(), IoError> {
        self.0.sync_data().map_err(describe)
    }
}

impl Host for StdHost {
    type File = Mapped;
    type Disk = StdDisk;
    type Locked = Locked;
    type Threads = Pool;

    fn open(&self, path: &[u8]) -> Result<Mapped, IoError> {
        Mapping::open(&path_of(path)).map(Mapped).map_err(describe)
    }

    fn open_disk(&self, path: &[u8]) -> Result<StdDisk, IoError> {
        picolm_platform_std::Disk::open(&path_of(path)).map(StdDisk).map_err(describe)
    }

    fn lock(&self, path: &[u8]) -> Result<Locked, IoError> {
        picolm_platform_std::lock(&path_of(path)).map(Locked).map_err(describe)
    }

    fn rename(&self, from: &[u8], to: &[u8]) -> Result<(), IoError> {
        std::fs::rename(path_of(from), path_of(to)).map_err(describe)
    }

    fn system_file(&self, path: &[u8], buffer: &mut [u8]) -> usize {
        let mut text = Vec::new();
        let Ok(file) = std::fs::File::open(path_of(path)) else { return 0 };
        let _ = file.take(buffer.len() as u64).read_to_end(&mut text);
        buffer.iter_mut().zip(&text).for_each(|(to, from)| *to = *from);
        text.len()
    }

    fn read_input(&self) -> Result<Vec<u8>, IoError> {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map_err(describe)?;
        Ok(bytes)
    }

    fn write_output(&self, bytes: &[u8]) -> Result<(), IoError> {
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(describe)
    }

    fn write_error(&self, bytes: &[u8]) {
        let _ = io::stderr().lock().write_all(bytes);
    }

    fn is_terminal(&self, stream: Stream) -> bool {
        match stream {
            Stream::Input => io::stdin().is_terminal(),
            Stream::Output => io::stdout().is_terminal(),
            Stream::Error => io::stderr().is_terminal(),
        }
    }

    fn threads(&self, count: Option<usize>) -> Pool {
        Pool::new(count.unwrap_or_else(available_cores))
    }

    fn clock(&self) -> &dyn Clock {
        &self.clock
    }

    fn cpu(&self) -> CpuFeatures {
        cpu_features()
    }

    fn kernels(&self) -> &'static Kernels {
        self.kernels
    }

    fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    fn peak_memory(&self) -> Option<u64> {
        peak_rss_bytes()
    }
}

#[cfg(unix)]
fn path_of(path: &[u8]) -> std::path::PathBuf {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::OsStr::from_bytes(path).into()
}

#[cfg(not(unix))]
fn path_of(path: &[u8]) -> std::path::PathBuf {
    String::from_utf8_lossy(path).into_owned().into()
}

fn describe(error: io::Error) -> IoError {
    let text = match error.kind() {
        io::ErrorKind::UnexpectedEof => String::from("the file is empty"),
        _ => {
            let text = error.to_string();
            text.split(" (os error").next().unwrap_or(&text).to_owned()
        }
    };
    IoError { closed: error.kind() == io::ErrorKind::BrokenPipe, text }
}
