//! How many threads are worth starting: what the affinity, the cgroup's quota and shared cores leave.

extern crate alloc;

use alloc::vec::Vec;

use crate::File;
use rustix::thread::{CpuSet, sched_getaffinity};

/// Reads the beginning of a file of `/proc` or `/sys` into a buffer and returns the bytes read; 0 if there is none.
pub type ReadFile<'r> = &'r mut dyn FnMut(&[u8], &mut [u8]) -> usize;

/// Logical CPUs that the affinity of this process leaves, at least 1.
pub fn usable_cpus() -> usize {
    sched_getaffinity(None).map_or(1, |set| set.count().max(1) as usize)
}

/// Physical cores that this process may use, at least 1: its affinity and its cgroup's quota are honoured, and of the
/// CPUs that share a core only one counts, because a second thread on a core finds its arithmetic units and its memory
/// bandwidth taken.
pub fn usable_cores() -> usize {
    let Ok(allowed) = sched_getaffinity(None) else { return 1 };
    let mut cpus = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu));
    count_cores(&mut cpus, &mut |path, buffer| {
        File::open(path).and_then(|file| file.read_at(0, buffer)).unwrap_or(0)
    })
}

/// As [`usable_cores`], for these CPUs and with these files.
pub fn count_cores(cpus: &mut dyn Iterator<Item = usize>, read: ReadFile<'_>) -> usize {
    let mut cores = CpuSet::new();
    for cpu in cpus {
        let name = number_text(cpu);
        // The second name is that of kernels before 5.0.
        let siblings = [&b"/topology/core_cpus_list"[..], b"/topology/thread_siblings_list"];
        // A core is called after the first of its CPUs; without a topology each CPU is one.
        let first = siblings.iter().find_map(|file| {
            first_number(read, &[&b"/sys/devices/system/cpu/cpu"[..], &name, file].concat())
        });
        cores.set(first.filter(|&first| first < CpuSet::MAX_CPU).unwrap_or(cpu));
    }
    (cores.count() as usize).min(quota(read).unwrap_or(usize::MAX)).max(1)
}

/// Whole CPUs that the cgroups of this process grant it: the least of its own and all above it.
fn quota(read: ReadFile<'_>) -> Option<usize> {
    let mut buffer = [0; 2048];
    let len = read(b"/proc/self/cgroup", &mut buffer);
    let mut least: Option<usize> = None;
    for line in buffer.get(..len)?.split(|&byte| byte == b'\n') {
        // id:controllers:path, the controllers empty in version 2.
        let mut parts = line.splitn(3, |&byte| byte == b':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let roots: &[&[u8]] = match controllers {
            b"" => &[b"/sys/fs/cgroup"],
            _ if controllers.split(|&byte| byte == b',').any(|name| name == b"cpu") => {
                &[b"/sys/fs/cgroup/cpu", b"/sys/fs/cgroup/cpu,cpuacct"]
            }
            _ => continue,
        };
        for root in roots {
            let mut directory = [*root, path].concat();
            // In a container the path may be the host's: its directories are missing, those above count.
            while directory.len() >= root.len() {
                if let Some(cpus) = quota_of(&directory, controllers.is_empty(), read) {
                    least = Some(least.map_or(cpus, |least| least.min(cpus)));
                }
                let slash = directory.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
                directory.truncate(slash);
            }
        }
    }
    least
}

/// Whole CPUs that one cgroup grants; `None` without a limit.
fn quota_of(directory: &[u8], version_2: bool, read: ReadFile<'_>) -> Option<usize> {
    let (limit, period) = if version_2 {
        let mut buffer = [0; 64];
        let len = read(&[directory, b"/cpu.max"].concat(), &mut buffer);
        let mut words = buffer.get(..len)?.split(|&byte| byte == b' ');
        (number(words.next()?)?, number(words.next()?)?)
    } else {
        let period = first_number(read, &[directory, b"/cpu.cfs_period_us"].concat())?;
        (first_number(read, &[directory, b"/cpu.cfs_quota_us"].concat())?, period)
    };
    limit.checked_div(period)
}

/// The number that a file begins with.
fn first_number(read: ReadFile<'_>, path: &[u8]) -> Option<usize> {
    let mut buffer = [0; 64];
    let len = read(path, &mut buffer);
    number(buffer.get(..len)?)
}

/// The number that a text begins with, if it does.
fn number(text: &[u8]) -> Option<usize> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    let value = digits.clone().fold(0usize, |value, &digit| {
        value.saturating_mul(10).saturating_add(usize::from(digit - b'0'))
    });
    (digits.count() > 0).then_some(value)
}

fn number_text(mut number: usize) -> Vec<u8> {
    let mut text = Vec::new();
    loop {
        text.insert(0, b'0' + (number % 10) as u8);
        number /= 10;
        if number == 0 {
            return text;
        }
    }
}
