//! How many threads are worth starting.

use std::thread;

/// Logical CPUs that the process may use: its affinity and its cgroup's quota are honoured.
pub fn available_threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Physical cores that the process may use: as [`available_threads`], but of the logical CPUs that share a core only one
/// counts, because a second thread on a core finds its arithmetic units and its memory bandwidth taken. Where the system
/// does not tell which CPUs share a core, each is one.
pub fn available_cores() -> usize {
    available_threads().min(allowed_cores().unwrap_or(usize::MAX)).max(1)
}

/// Cores that the affinity leaves, on Linux.
fn allowed_cores() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    count_cores(allowed, &|cpu| {
        let topology = format!("/sys/devices/system/cpu/cpu{cpu}/topology");
        // The second name is that of kernels before 5.0.
        let names = ["core_cpus_list", "thread_siblings_list"];
        names.iter().find_map(|name| std::fs::read_to_string(format!("{topology}/{name}")).ok())
    })
}

/// Counts the cores of the CPUs in a list such as `0-3,8`; `siblings` gives the list of those that share a CPU's core.
fn count_cores(allowed: &str, siblings: &dyn Fn(usize) -> Option<String>) -> Option<usize> {
    let mut cores: Vec<usize> = Vec::new();
    for cpu in cpus(allowed)? {
        // A core is called after the first of its CPUs.
        let first = siblings(cpu).and_then(|list| cpus(&list)?.next()).unwrap_or(cpu);
        if !cores.contains(&first) {
            cores.push(first);
        }
    }
    Some(cores.len()).filter(|&count| count > 0)
}

/// The CPUs in the kernel's notation; at most as many as Linux can have.
fn cpus(list: &str) -> Option<impl Iterator<Item = usize>> {
    const MOST: usize = 8192;
    let mut ranges = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        ranges.push(first..=usize::min(last, MOST));
    }
    Some(ranges.into_iter().flatten().take(MOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_of_a_core_count_once() {
        let pairs = |cpu: usize| Some(format!("{},{}\n", cpu % 4, cpu % 4 + 4));
        assert_eq!(count_cores("\t0-7\n", &pairs), Some(4));
        assert_eq!(count_cores("1,4-5", &pairs), Some(2));
        let neighbours = |cpu: usize| Some(format!("{}-{}\n", cpu & !1, cpu | 1));
        assert_eq!(count_cores("0-3,6", &neighbours), Some(3));
        assert_eq!(count_cores("5", &neighbours), Some(1));
    }

    #[test]
    fn without_a_topology_each_cpu_is_a_core() {
        assert_eq!(count_cores("0-3,8-9", &|_| None), Some(6));
        assert_eq!(count_cores("0-3", &|_| Some(String::from("?"))), Some(4));
        for list in ["", "a-b", "3-", "0,,1"] {
            assert_eq!(count_cores(list, &|_| None), None, "{list:?}");
        }
        assert!(count_cores("0-99999999999", &|_| None).is_some_and(|count| count <= 8192));
    }

    #[test]
    fn there_is_at_least_one_and_no_more_than_threads() {
        assert!((1..=available_threads()).contains(&available_cores()));
    }
}
