//! How much memory the process holds, and how much it may take: what Linux tells in `/proc` and `/sys`.

use alloc::vec::Vec;

use crate::host::Host;

/// Enough of each of these files: what is looked for stands near the beginning.
const TABLE: usize = 4096;

/// Bytes that the process holds now.
pub(crate) fn resident<H: Host>(host: &H) -> Option<u64> {
    kilobytes(&table(host, b"/proc/self/status"), b"VmRSS:")
}

/// Bytes that can be taken without swapping, as far as the machine and all cgroups of the process allow.
pub(crate) fn available<H: Host>(host: &H) -> Option<u64> {
    let machine = kilobytes(&table(host, b"/proc/meminfo"), b"MemAvailable:");
    let groups = table(host, b"/proc/self/cgroup");
    let groups = groups.split(|&byte| byte == b'\n').filter_map(|line| group(host, line));
    machine.into_iter().chain(groups).min()
}

/// What a cgroup and all above it leave; a line is `id:controllers:path`, the controllers empty in version 2.
fn group<H: Host>(host: &H, line: &[u8]) -> Option<u64> {
    let mut parts = line.splitn(3, |&byte| byte == b':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let files = match controllers {
        b"" => &VERSION_2,
        _ if controllers.split(|&byte| byte == b',').any(|name| name == b"memory") => &VERSION_1,
        _ => return None,
    };
    let mut directory = [files.root, path].concat();
    let mut least = None;
    // In a container the path may be the host's: its directories are missing, those above count.
    while directory.len() >= files.root.len() {
        least = least.into_iter().chain(files.left(host, &directory)).min();
        let slash = directory.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        directory.truncate(slash);
    }
    least
}

/// The names of a version's files.
struct Files {
    root: &'static [u8],
    limit: &'static [u8],
    usage: &'static [u8],
    /// Lines of `memory.stat`: pages of files, which can go.
    cached: [&'static [u8]; 2],
}

static VERSION_1: Files = Files {
    root: b"/sys/fs/cgroup/memory",
    limit: b"/memory.limit_in_bytes",
    usage: b"/memory.usage_in_bytes",
    cached: [b"total_inactive_file ", b"total_active_file "],
};
static VERSION_2: Files = Files {
    root: b"/sys/fs/cgroup",
    limit: b"/memory.max",
    usage: b"/memory.current",
    cached: [b"inactive_file ", b"active_file "],
};

impl Files {
    /// What one cgroup leaves; none without a limit.
    fn left<H: Host>(&self, host: &H, directory: &[u8]) -> Option<u64> {
        let read = |name: &[u8]| table(host, &[directory, name].concat());
        let limit = number(&read(self.limit))?;
        let usage = number(&read(self.usage))?;
        let stat = read(b"/memory.stat");
        let cached: u64 = self.cached.iter().filter_map(|name| value(&stat, name)).sum();
        Some(limit.saturating_sub(usage.saturating_sub(cached)))
    }
}

fn table<H: Host>(host: &H, path: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    if text.try_reserve_exact(TABLE).is_ok() {
        text.resize(TABLE, 0);
        let len = host.system_file(path, &mut text);
        text.truncate(len);
    }
    text
}

/// The number that follows `key` at the beginning of a line, in kilobytes.
fn kilobytes(table: &[u8], key: &[u8]) -> Option<u64> {
    value(table, key)?.checked_mul(1024)
}

fn value(table: &[u8], key: &[u8]) -> Option<u64> {
    table.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(key)).and_then(number)
}

/// The number that a text begins with, if it does.
fn number(text: &[u8]) -> Option<u64> {
    let digits = text.trim_ascii_start().iter().take_while(|byte| byte.is_ascii_digit());
    let next = |value: u64, digit: &u8| value.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    (digits.clone().count() > 0).then(|| digits.fold(0, next))
}
