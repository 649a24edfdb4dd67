//! What a process has used so far, read from `/proc`.

use std::time::Duration;

use rustix::process::Pid;

use crate::Error;

/// CPU time and memory of one process.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Of all its threads, in user mode and in the kernel. The kernel counts in hundredths of a second.
    pub cpu: Duration,
    /// Resident memory now, in bytes.
    pub resident: u64,
    /// The most resident memory that it ever had, in bytes.
    pub peak: u64,
}

impl Usage {
    /// # Errors
    /// Returns an error if there is no such process.
    pub fn of(pid: Pid) -> Result<Self, Error> {
        let pid = pid.as_raw_nonzero();
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            std::fs::read_to_string(&path).map_err(Error::io(format!("reading {path}")))
        };
        let (stat, status) = (read("stat")?, read("status")?);
        let unexpected = || Error::Response(format!("/proc/{pid} holds {stat}\n{status}"));
        // The name of the program may hold anything; the fields after its last bracket are numbers.
        let fields: Vec<&str> = stat.rsplit_once(") ").ok_or_else(unexpected)?.1.split(' ').collect();
        let ticks = |field: usize| fields.get(field).and_then(|text| text.parse::<u64>().ok()).ok_or_else(unexpected);
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or_else(unexpected)?;
            let kib: u64 = line.trim().trim_end_matches(" kB").parse().map_err(|_| unexpected())?;
            Ok::<u64, Error>(kib * 1024)
        };
        let cpu = Duration::from_millis((ticks(11)? + ticks(12)?) * 10);
        Ok(Self { cpu, resident: bytes("VmRSS:")?, peak: bytes("VmHWM:")? })
    }
}
