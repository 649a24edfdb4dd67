//! The memory that this process may use, and how many connections fit into it.
//!
//! The budgets of answers, bodies and responses are the same however many connections there are. Each connection takes some more, in
//! the process and in the kernel, which counts it for the same container: with too many of them a pod would be ended.

use std::{fs, path::Path};

/// What everything else may take: the process itself, and the sum of all budgets.
const BESIDE_CONNECTIONS: u64 = 176 * 1024 * 1024;
/// A connection on which an answer waits: about 17 KiB of the process, and the buffers of its socket.
const OF_A_CONNECTION: u64 = 40 * 1024;
/// The connections of a server with little memory.
const LEAST_CONNECTIONS: u64 = 256;

/// How many connections fit into the limit of this process; `None` if it has none.
pub fn connections() -> Option<usize> {
    limit(&fs::read_to_string("/proc/self/cgroup").ok()?, Path::new("/sys/fs/cgroup")).map(fitting)
}

fn fitting(limit: u64) -> usize {
    let fitting = limit.saturating_sub(BESIDE_CONNECTIONS) / OF_A_CONNECTION;
    usize::try_from(fitting.max(LEAST_CONNECTIONS)).unwrap_or(usize::MAX)
}

/// The limit of the control group of this process, in bytes. `groups` is what `/proc/self/cgroup` says; its paths need not be those
/// under `mount`, of which a container sees only its own part.
fn limit(groups: &str, mount: &Path) -> Option<u64> {
    groups.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let (mount, file) = match controllers {
            "" => (mount.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|it| it == "memory") => (mount.join("memory"), "memory.limit_in_bytes"),
            _ => return None,
        };
        let places = [mount.join(path.trim_start_matches('/')).join(file), mount.join(file)];
        let text = places.iter().find_map(|place| fs::read_to_string(place).ok())?;
        // Without a limit, version 1 says a number that no machine has, and version 2 `max`.
        text.trim().parse().ok().filter(|limit| *limit < 1 << 60)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_found_in_both_versions_of_control_groups_inside_and_outside_of_a_container() {
        let v1 = "5:cpu,memory:/pods/a\n1:name=systemd:/";
        for (groups, file, text, expected) in [
            ("0::/pods/a", "pods/a/memory.max", "268435456\n", Some(268_435_456)),
            ("0::/", "memory.max", "268435456\n", Some(268_435_456)),
            ("0::/../pods/a", "memory.max", "max\n", None),
            (v1, "memory/pods/a/memory.limit_in_bytes", "1000000\n", Some(1_000_000)),
            (v1, "memory/memory.limit_in_bytes", "9223372036854771712\n", None),
            ("1:name=systemd:/\n0::/", "memory.max", "5", Some(5)),
            ("nonsense", "memory.max", "5", None),
        ] {
            let mount = tempfile::tempdir().unwrap();
            let file = mount.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
            assert_eq!(limit(groups, mount.path()), expected, "{groups}");
        }
    }

    #[test]
    fn connections_fit_beside_everything_else() {
        let mib = 1024 * 1024;
        assert_eq!([0, 64, 256, 512, 1024].map(|limit| fitting(limit * mib)), [256, 256, 2048, 8601, 21_708]);
    }
}
