//! The `picolm` program on Linux without libc.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use embedded_io::{Read, Write};
use picolm_cli::host::{Disk, File, Host, IoError, LockedFile, Stream};
use picolm_core::platform::{Clock, CpuFeatures, SingleThread, Threads};
use picolm_platform_linux_raw as raw;

raw::entry!(main);

fn main(process: raw::Process) -> i32 {
    raw::catch_interrupt();
    let arguments: Vec<&[u8]> = process.args().skip(1).collect();
    picolm_cli::main(&RawHost { process, clock: raw::MonotonicClock }, &arguments)
}

struct RawHost {
    process: raw::Process,
    clock: raw::MonotonicClock,
}

/// A file and its mapping.
struct Mapped(raw::Mapping, raw::File);

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl File for Mapped {
    fn will_need(&self, range: Range<usize>) {
        self.0.advise(range, raw::Advice::WillNeed);
    }

    fn shortened(&self) -> Option<u64> {
        self.0.lost().then(|| self.1.len().unwrap_or(0))
    }
}

/// A file that is read part by part.
struct RawDisk(raw::Disk);

impl Disk for RawDisk {
    type Queue = raw::DiskQueue;

    fn queue(&self) -> Result<raw::DiskQueue, IoError> {
        Ok(raw::DiskQueue::new(self.0.clone()))
    }
}

/// A file with the kernel's lock on it.
struct Locked(raw::File);

impl LockedFile for Locked {
    fn cut(&mut self, len: u64) -> Result<(), IoError> {
        self.0.set_len(len).map_err(describe)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), IoError> {
        let end = self.0.len().map_err(describe)?;
        self.0.write_at(end, bytes).map_err(describe)
    }

    fn sync(&mut self) -> Result<(), IoError> {
        self.0.sync().map_err(describe)
    }
}

/// A pool, or the one thread there is when the system gives no more.
enum Workers {
    Pool(raw::ThreadPool),
    Single(SingleThread),
}

impl Threads for Workers {
    fn count(&self) -> usize {
        match self {
            Workers::Pool(pool) => pool.count(),
            Workers::Single(single) => single.count(),
        }
    }

    fn run(&self, task: &(dyn Fn(usize) + Sync)) {
        match self {
            Workers::Pool(pool) => pool.run(task),
            Workers::Single(single) => single.run(task),
        }
    }
}

impl Host for RawHost {
    type File = Mapped;
    type Disk = RawDisk;
    type Locked = Locked;
    type Threads = Workers;

    fn open(&self, path: &[u8]) -> Result<Mapped, IoError> {
        let file = open(path)?;
        let mapping = raw::Mapping::new(&file, false).map_err(describe)?;
        Ok(Mapped(mapping, file))
    }

    fn open_disk(&self, path: &[u8]) -> Result<RawDisk, IoError> {
        open(path)?;
        raw::Disk::open(path).map(RawDisk).map_err(describe)
    }

    fn lock(&self, path: &[u8]) -> Result<Locked, IoError> {
        raw::File::lock(path).map(Locked).map_err(describe)
    }

    fn rename(&self, from: &[u8], to: &[u8]) -> Result<(), IoError> {
        raw::rename(from, to).map_err(describe)
    }

    fn system_file(&self, path: &[u8], buffer: &mut [u8]) -> usize {
        raw::File::open(path).and_then(|file| file.read_at(0, buffer)).unwrap_or(0)
    }

    fn read_input(&self) -> Result<Vec<u8>, IoError> {
        const PART: usize = 4096;
        let mut bytes = Vec::new();
        loop {
            let end = bytes.len();
            bytes.try_reserve(PART).map_err(|_| describe(raw::Error::OUT_OF_MEMORY))?;
            bytes.resize(end + PART, 0);
            let got = raw::stdin().read(bytes.get_mut(end..).unwrap_or_default()).map_err(describe)?;
            bytes.truncate(end + got);
            if got == 0 {
                return Ok(bytes);
            }
        }
    }

    fn write_output(&self, bytes: &[u8]) -> Result<(), IoError> {
        raw::stdout().write_all(bytes).map_err(describe)
    }

    fn write_error(&self, bytes: &[u8]) {
        let _ = raw::stderr().write_all(bytes);
    }

    fn is_terminal(&self, stream: Stream) -> bool {
        raw::is_terminal(match stream {
            Stream::Input => 0,
            Stream::Output => 1,
            Stream::Error => 2,
        })
    }

    fn threads(&self, count: Option<usize>) -> Workers {
        match raw::ThreadPool::new(count.unwrap_or_else(raw::usable_cores)) {
            Ok(pool) => Workers::Pool(pool),
            Err(_) => Workers::Single(SingleThread),
        }
    }

    fn clock(&self) -> &dyn Clock {
        &self.clock
    }

    fn cpu(&self) -> CpuFeatures {
        raw::cpu_features(&self.process)
    }

    fn interrupted(&self) -> bool {
        raw::interrupted()
    }

    fn peak_memory(&self) -> Option<u64> {
        raw::peak_ram_bytes()
    }
}

/// Opens a file that is not empty.
fn open(path: &[u8]) -> Result<raw::File, IoError> {
    let file = raw::File::open(path).map_err(describe)?;
    match file.is_empty().map_err(describe)? {
        true => Err(IoError { closed: false, text: String::from("the file is empty") }),
        false => Ok(file),
    }
}

/// The texts of the errors that files and streams give; the others are numbers.
fn describe(error: raw::Error) -> IoError {
    let text = match error.code() {
        2 => "No such file or directory",
        5 => "Input/output error",
        9 => "Bad file descriptor",
        12 => "Cannot allocate memory",
        13 => "Permission denied",
        19 | 21 => "Is a directory",
        20 => "Not a directory",
        28 => "No space left on device",
        30 => "Read-only file system",
        32 => "Broken pipe",
        40 => "Too many levels of symbolic links",
        _ => return IoError { closed: false, text: alloc::format!("error {}", error.code()) },
    };
    IoError { closed: error == raw::Error::BROKEN_PIPE, text: String::from(text) }
}
