//! What a process used, from `/proc`.

use std::time::Duration;

pub struct Usage {
    /// Of all its threads, in user and kernel. Counted in hundredths of a second.
    pub cpu: Duration,
    /// Resident memory, in bytes.
    pub resident: u64,
}

pub fn of(pid: u32) -> Usage {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let stat = read("stat");
    // The name may hold anything; what follows its last bracket is numbers.
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    let status = read("status");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kilobytes: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    Usage { cpu: Duration::from_millis(ticks * 10), resident: kilobytes * 1024 }
}
