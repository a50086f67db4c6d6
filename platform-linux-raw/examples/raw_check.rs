//! Checks the platform on the machine it runs on: prints what fails, then "N passed, M failed".
//!
//! `raw-check DIRECTORY three 'argu ments'` writes its files to DIRECTORY. The environment must hold
//! `RAW_CHECK=yes`. `raw-check panic` panics, on purpose; `raw-check interrupt` waits for two SIGINT.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::Cell;
use core::hint::black_box;
use core::sync::atomic::{AtomicU32, Ordering};
use embedded_io::{Error as _, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use picolm_core::paged::PagedSource;
use picolm_core::platform::{Clock, Threads};
use picolm_core::read::{Buffer, ReadQueue};
use picolm_core::source::{SliceSource, SourceError, Span, WeightSource};
use picolm_platform_linux_raw as raw;
use raw::{Disk, DiskQueue, Error, File, Mapping, MonotonicClock, Process, ThreadPool};

raw::entry!(main);

/// Prints a line; a lost reader is nothing this program could report. (`write!` would be half of its
/// bytes.)
fn say(parts: &[&[u8]]) {
    let _ = raw::stdout().write_all(&[&parts.concat()[..], b"\n"].concat());
}

/// A number's decimal digits.
fn digits(mut number: u64) -> Vec<u8> {
    let mut text = Vec::new();
    loop {
        text.insert(0, b'0' + (number % 10) as u8);
        number /= 10;
        if number == 0 {
            return text;
        }
    }
}

#[derive(Default)]
struct Tally {
    passed: Cell<u32>,
    failed: Cell<u32>,
}

impl Tally {
    #[inline(never)]
    fn check(&self, what: &str, good: bool) {
        let count = if good { &self.passed } else { &self.failed };
        count.set(count.get() + 1);
        if !good {
            say(&[b"FAILED: ", what.as_bytes()]);
        }
    }
}

/// Marsaglia's xorshift: the same numbers everywhere.
struct Random(u32);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 as usize % end
    }
}

fn main(process: Process) -> i32 {
    let directory = process.args().nth(1).unwrap_or(b"/tmp");
    if directory == b"panic" {
        let empty: &[u32] = black_box(&[]);
        return empty[process.page_bytes()] as i32;
    }
    if directory == b"interrupt" {
        return wait_for_interrupts();
    }
    let tally = Tally::default();
    check_process(&tally, process);
    check_mem(&tally);
    check_blocks(&tally);
    check_heap(&tally);
    if let Err(error) = check_files(&tally, directory) {
        say(&[b"FAILED: file calls gave errno ", &digits(error.code() as u64)]);
        tally.check("file calls", false);
    }
    check_threads(&tally);
    check_cores(&tally);
    check_rest(&tally);
    let (passed, failed) = (tally.passed.get(), tally.failed.get());
    say(&[&digits(passed.into()), b" passed, ", &digits(failed.into()), b" failed"]);
    i32::from(failed > 0)
}

fn wait_for_interrupts() -> i32 {
    raw::catch_interrupt();
    say(&[b"ready"]);
    // Looking, not reading: a signal that came just before the read would be missed.
    let patience_ns = MonotonicClock.now_ns() + 10_000_000_000;
    while !raw::interrupted() && MonotonicClock.now_ns() < patience_ns {}
    if raw::interrupted() {
        say(&[b"interrupted"]);
        let _ = raw::stdin().read(&mut [0; 4]);
    }
    1
}

fn check_process(tally: &Tally, process: Process) {
    tally.check("argument count", process.args().count() == 4);
    tally.check("arguments", process.args().skip(2).eq([&b"three"[..], b"argu ments"]));
    tally.check("environment", process.env(b"RAW_CHECK") == Some(b"yes"));
    tally.check("absent variable", process.env(b"RAW_CHEC").is_none());
    tally.check("environment strings", process.env_strings().any(|s| s == b"RAW_CHECK=yes"));
    tally.check("page size", process.page_bytes() >= 4096 && process.page_bytes().is_power_of_two());
    tally.check("absent auxiliary entry", process.aux(0x7fff).is_none());
    tally.check("random bytes", process.random() != [0; 16]);
    let _ = raw::cpu_features(&process);
}

/// The copies and fills of every small length and alignment against loops.
fn check_mem(tally: &Tally) {
    let original: [u8; 160] = core::array::from_fn(|i| i as u8 ^ 0x5a);
    let (mut copies, mut moves, mut fills, mut equal) = (true, true, true, true);
    for len in 0..72 {
        for (from, to) in (0..9).flat_map(|from| (0..9).map(move |to| (from, to))) {
            let mut target = [0u8; 100];
            black_box(&mut target)[to..to + len]
                .copy_from_slice(&black_box(&original)[from..from + len]);
            let right = |i| {
                if (to..to + len).contains(&i) { original[i - to + from] } else { 0 }
            };
            copies &= (0..target.len()).all(|i| target[i] == right(i));
            equal &= black_box(&target)[to..to + len] == black_box(&original)[from..from + len];

            for (from, to) in [(from, to * 3), (to * 3, from)] {
                let mut target = original;
                black_box(&mut target).copy_within(from..from + len, to);
                let inside = |i| (to..to + len).contains(&i);
                let right = |i| {
                    if inside(i) { original[i - to + from] } else { original[i] }
                };
                moves &= (0..target.len()).all(|i| target[i] == right(i));
            }
        }
        for to in 0..9 {
            let mut target = original;
            black_box(&mut target)[to..to + len].fill(black_box(0xa7));
            let right = |i| {
                if (to..to + len).contains(&i) { 0xa7 } else { original[i] }
            };
            fills &= (0..target.len()).all(|i| target[i] == right(i));
        }
    }
    tally.check("memcpy", copies);
    tally.check("memmove", moves);
    tally.check("memset", fills);
    tally.check("memcmp", equal && black_box(&original)[..9] < black_box(&original)[1..9]);
}

/// Random allocations, reallocations and frees; every block keeps its pattern and none overlaps another.
fn check_blocks(tally: &Tally) {
    let mut random = Random(1);
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    blocks.resize_with(200, Vec::new);
    let mut good = true;
    for round in 0..20_000 {
        let index = random.below(blocks.len());
        let block = &mut blocks[index];
        let pattern = index as u8;
        good &= block.iter().all(|&byte| byte == pattern);
        // Small ones mostly; one in 64 is larger than any size class.
        let limit = if round % 64 == 0 { 300_000 } else { 1 << (1 + random.below(11)) };
        let len = random.below(limit);
        match random.below(4) {
            0 => *block = Vec::new(),
            1 => {
                block.truncate(len);
                block.shrink_to_fit();
            }
            _ => block.resize(len, pattern),
        }
    }
    let intact = |(index, block): (usize, &Vec<u8>)| block.iter().all(|&byte| byte == index as u8);
    tally.check("blocks keep their bytes", good && blocks.iter().enumerate().all(intact));
}

fn check_heap(tally: &Tally) {
    #[repr(align(64))]
    struct Line([u8; 40]);
    #[repr(align(1024))]
    struct Block([u8; 40]);
    let lines: Vec<_> = (0..20).map(|i| (Box::new(Line([i; 40])), Box::new([i; 17]))).collect();
    let aligned = |line: &Line| (&raw const *line).addr().is_multiple_of(64);
    tally.check("alignment 64", lines.iter().all(|(line, _)| aligned(line) && line.0[39] == line.0[0]));
    let block = Box::new(black_box(Block([7; 40])));
    tally.check("alignment 1024", (&raw const *block).addr().is_multiple_of(1024) && block.0 == [7; 40]);

    // Half of the address space, three times.
    let mut huge = [const { Vec::<u8>::new() }; 3];
    let granted = huge.iter_mut().filter_map(|bytes| bytes.try_reserve_exact(isize::MAX as usize).ok());
    tally.check("impossible sizes", granted.count() < 2);
    let mut bytes: Vec<u8> = Vec::new();
    tally.check("possible size", bytes.try_reserve_exact(1000).is_ok());
    bytes.push(7);
    let _ = huge[0].try_reserve_exact(isize::MAX as usize);
    tally.check(
        "impossible growth",
        bytes.try_reserve_exact(isize::MAX as usize - 1).is_err() && bytes == [7],
    );
    drop(huge);

    let mut numbers: Vec<u32> = Vec::new();
    (0..1_000_000).for_each(|i| numbers.push(i));
    tally.check("a long vector", (0u32..).zip(&numbers).all(|(i, &n)| i == n));
    drop(numbers);

    let used = || raw::peak_ram_bytes().unwrap_or(0);
    let before = used();
    let zeros: Vec<u8> = alloc::vec![0; 64 << 20];
    tally.check("zeros", black_box(&zeros).iter().step_by(1 << 20).all(|&byte| byte == 0));
    drop(zeros);
    // Not under an emulator that lays its own tables into the same process.
    tally.check("untouched zeros are no memory", used() < before + (48 << 20));
}

fn check_files(tally: &Tally, directory: &[u8]) -> Result<(), Error> {
    let path = |name: &[u8]| [directory, b"/", name].concat();
    let (first, second) = (path(b"raw-check.tmp"), path(b"raw-check.bin"));
    let bytes: Vec<u8> = (0..300_000u32).map(|i| (i ^ i >> 8) as u8).collect();
    let mut file = File::create(&first)?;
    file.write_all(&bytes)?;
    file.set_len(250_000)?;
    file.write_at(10, b"written at ten")?;
    file.sync()?;
    tally.check("length", file.len()? == 250_000);
    drop(file);
    raw::rename(&first, &second)?;
    tally.check("renamed", !raw::exists(&first) && raw::exists(&second));

    let file = File::open(&second)?;
    file.will_need(0, 250_000);
    for populate in [false, true] {
        let mapping = Mapping::new(&file, populate)?;
        mapping.advise(0..usize::MAX, raw::Advice::Sequential);
        mapping.advise(100_000..200_000, raw::Advice::DontNeed);
        let mut buffer = alloc::vec![0; 250_001];
        let n = file.read_at(0, &mut buffer)?;
        tally.check("mapping and pread agree", n == 250_000 && buffer[..n] == mapping[..]);
        tally.check(
            "what was written",
            mapping[10..24] == *b"written at ten" && mapping[24..] == bytes[24..n],
        );

        let mut mapped = SliceSource::new(&mapping);
        let reader = PagedSource::from_reader(File::open(&second)?, 4096);
        let mut read = reader.map_err(|_| Error::INVALID)?;
        let span = Span::new(77_777, 5000);
        let same =
            matches!((mapped.view(span, span.len), read.view(span, span.len)), (Ok(a), Ok(b)) if a == b);
        tally.check("the engine's sources agree", same);
    }
    check_disk(tally, &second, &bytes[24..250_000])?;
    let mut file = File::open(&second)?;
    let mut four = [0; 4];
    let position = file.seek(SeekFrom::End(-4))?;
    let got = file.read(&mut four)?;
    tally.check("seek", position == 249_996 && got == 4 && four == bytes[249_996..250_000]);
    tally.check("end of file", file.read(&mut four)? == 0);
    tally.check("seek before the start", file.seek(SeekFrom::Current(-250_001)) == Err(Error::INVALID));
    tally.check("write to a file opened for reading", file.write(b"x").is_err());
    drop(file);
    raw::remove(&second)?;
    let gone = File::open(&second).map(|_| ()).map_err(|error| error.kind());
    tally.check("removed", gone == Err(ErrorKind::NotFound));
    tally.check("a path with a NUL", File::open(b"/dev/null\0").is_err_and(|e| e == Error::INVALID));
    tally.check("an endless path", File::open(&alloc::vec![b'a'; 5000]).is_err());
    tally.check("an empty file", Mapping::new(&File::create(&first)?, false)?.is_empty());
    raw::remove(&first)
}

/// Reads of a file that holds `bytes` behind the first 24, which end in their order, also when nobody waits for the last.
fn check_disk(tally: &Tally, path: &[u8], bytes: &[u8]) -> Result<(), Error> {
    let mut queue = DiskQueue::new(Disk::open(path)?);
    for round in 0..20 {
        let spans = [(24, 70_000), (4096, 8192), (249_000, 1000), (100, 1), (24 + 4001 * round, 4096)];
        let spans = spans.map(|(offset, len)| Span::new(offset as u64, len));
        for span in spans {
            queue.start(span, Buffer::new(span.len).map_err(|_| Error::OUT_OF_MEMORY)?);
        }
        for span in &spans[..4] {
            let start = span.offset as usize - 24;
            let same = queue.finish().is_some_and(|(buffer, result)| {
                result.is_ok() && buffer.bytes() == &bytes[start..start + span.len]
            });
            tally.check("a read that was under way", same);
        }
        if round % 3 == 0 {
            queue = DiskQueue::new(Disk::open(path)?);
        } else {
            tally.check("the last read", queue.finish().is_some_and(|(_, result)| result.is_ok()));
            tally.check("no more reads", queue.finish().is_none());
        }
    }
    let behind = Span::new(249_999, 10);
    queue.start(behind, Buffer::new(10).map_err(|_| Error::OUT_OF_MEMORY)?);
    let shortened = Err(SourceError::Shortened { offset: 250_000 });
    tally.check("a read behind the end", queue.finish().is_some_and(|(_, result)| result == shortened));
    Ok(())
}

fn check_threads(tally: &Tally) {
    tally.check("CPUs", raw::usable_cpus() >= 1);
    for count in 1..=4 {
        let Ok(pool) = ThreadPool::new(count) else {
            tally.check("a pool of threads", false);
            continue;
        };
        tally.check("number of workers", pool.count() == count);
        let sums = [const { AtomicU32::new(0) }; 4];
        let start_ns = MonotonicClock.now_ns();
        let mut good = true;
        for round in 0..10_000u32 {
            pool.run(&|worker| _ = sums[worker].fetch_add(round ^ worker as u32, Ordering::Relaxed));
            good &= round % 1000 != 0
                || sums[..count].iter().all(|sum| sum.load(Ordering::Relaxed) > 0 || round == 0);
        }
        let run_ns = (MonotonicClock.now_ns() - start_ns) / 10_000;
        let right =
            |worker: u32| (0..10_000u32).fold(0u32, |sum, round| sum.wrapping_add(round ^ worker));
        good &= (0u32..)
            .zip(&sums[..count])
            .all(|(worker, sum)| sum.load(Ordering::Relaxed) == right(worker));
        good &= sums[count..].iter().all(|sum| sum.load(Ordering::Relaxed) == 0);
        tally.check("10,000 dispatches", good);
        say(&[&digits(count as u64), b" workers: ", &digits(run_ns), b" ns a dispatch"]);

        // Long enough for everybody to fall asleep between two tasks.
        let calls = AtomicU32::new(0);
        for _ in 0..20 {
            let start_ns = MonotonicClock.now_ns();
            while MonotonicClock.now_ns() < start_ns + 1_000_000 {}
            pool.run(&|_| _ = calls.fetch_add(1, Ordering::Relaxed));
        }
        tally.check("tasks after a while", calls.load(Ordering::Relaxed) as usize == 20 * count);

        let calls = AtomicU32::new(0);
        pool.run(&|_| pool.run(&|_| _ = calls.fetch_add(1, Ordering::Relaxed)));
        tally.check("a task inside of a task", calls.load(Ordering::Relaxed) as usize == count * count);
    }
    let pools = (0..100).all(|_| ThreadPool::new(3).is_ok());
    tally.check("a hundred pools one after another", pools);
}

/// Counting cores, with files that this machine does not have.
fn check_cores(tally: &Tally) {
    let count = |cpus: core::ops::Range<usize>, files: &[(&str, &str)]| {
        raw::count_cores(&mut cpus.clone(), &mut |path, buffer| {
            let Some((_, text)) = files.iter().find(|(name, _)| name.as_bytes() == path) else {
                return 0;
            };
            buffer[..text.len()].copy_from_slice(text.as_bytes());
            text.len()
        })
    };
    tally.check("this machine's cores", (1..=raw::usable_cpus()).contains(&raw::usable_cores()));
    tally.check("CPUs without a topology", count(0..6, &[]) == 6 && count(3..3, &[]) == 1);
    let pairs = [
        ("/sys/devices/system/cpu/cpu0/topology/core_cpus_list", "0,2\n"),
        ("/sys/devices/system/cpu/cpu1/topology/thread_siblings_list", "1,10\n"),
        ("/sys/devices/system/cpu/cpu2/topology/core_cpus_list", "0,2\n"),
        ("/sys/devices/system/cpu/cpu10/topology/thread_siblings_list", "1,10\n"),
    ];
    tally.check("threads of a core", count(0..3, &pairs) == 2 && count(10..11, &pairs) == 1);
    for (limit, cores) in [("max 100000\n", 8), ("250000 100000\n", 2), ("5000 100000\n", 1), ("?", 8)] {
        let own = [("/proc/self/cgroup", "0::/a/b\n"), ("/sys/fs/cgroup/a/b/cpu.max", limit)];
        let above = [("/proc/self/cgroup", "1:name=x:/\n0::/a/b\n"), ("/sys/fs/cgroup/cpu.max", limit)];
        tally.check("a quota", count(0..8, &own) == cores && count(0..8, &above) == cores);
    }
    for (quota, cores) in [("-1\n", 8), ("300000\n", 3), ("10000\n", 1)] {
        let files = [
            ("/proc/self/cgroup", "3:cpuset:/\n2:cpu,cpuacct:/c\n"),
            ("/sys/fs/cgroup/cpu/c/cpu.cfs_quota_us", quota),
            ("/sys/fs/cgroup/cpu/c/cpu.cfs_period_us", "100000\n"),
        ];
        tally.check("a quota of version 1", count(0..8, &files) == cores);
    }
}

fn check_rest(tally: &Tally) {
    let clock = MonotonicClock;
    let mut last = clock.now_ns();
    let start = last;
    let mut monotonic = true;
    for _ in 0..1000 {
        let now = clock.now_ns();
        monotonic &= now >= last;
        last = now;
    }
    tally.check("monotonic clock", monotonic && last > start);
    tally.check("date", raw::unix_time_s() > 1_700_000_000);
    tally.check("peak RAM", raw::peak_ram_bytes().is_some_and(|bytes| bytes > 4096));
    tally.check("available RAM", raw::available_ram_bytes().is_some_and(|bytes| bytes > 1 << 20));

    // The runner gives a pipe without a reader as standard error, and /dev/null as standard input.
    tally.check("EPIPE is an error", raw::stderr().write(b"x") == Err(Error::BROKEN_PIPE));
    tally.check("end of input", raw::stdin().read(&mut [0; 4]) == Ok(0));
    tally.check("no terminal", !raw::is_terminal(0) && !raw::is_terminal(2) && !raw::is_terminal(-1));
    tally.check("not interrupted", !raw::interrupted());
}
