//! A network of a test's own, which has IPv6 only. A network belongs to a process, so the test runs again in another one.

use std::process::Command;

use crate::Error;

/// What the process in the network finds in its environment.
const INSIDE: &str = "PORTCULLIS_TEST_NETWORK";
/// The addresses of the network, beside `::1`.
pub const HOSTS: [&str; 4] = ["fd77::1", "fd77::2", "fd77::3", "fd77::4"];
/// A name that has the last of these addresses, and no other.
pub const NAME: &str = "backend.test";

/// Makes the network, and then runs the test. `$0` is a file of names.
const SCRIPT: &str = "set -eu
ip link set lo up
ip address delete 127.0.0.1/8 dev lo
for host in $HOSTS; do ip address add $host/128 dev lo nodad; done
mount --bind \"$0\" /etc/hosts
exec \"$@\"";

/// Runs a test of the calling program again in a network of its own, whose only interface is the loopback with [`HOSTS`]. Returns
/// whether this process is the one in that network, which is to do the work.
///
/// # Errors
/// Returns an error with all that it printed if the test fails there, or if the system makes no network.
pub fn is_ipv6_only(test: &str) -> Result<bool, Error> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(true);
    }
    let names = tempfile::NamedTempFile::new().map_err(Error::io("making a file of names"))?;
    std::fs::write(names.path(), format!("{} {NAME}\n", HOSTS[3])).map_err(Error::io("writing a file of names"))?;
    let program = std::env::current_exe().map_err(Error::io("finding this program"))?;
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--net", "--mount", "sh", "-c", SCRIPT]).arg(names.path()).arg(program);
    command.args([test, "--exact", "--nocapture"]).env(INSIDE, "1").env("HOSTS", HOSTS.join(" "));
    let output = command.output().map_err(Error::io("starting unshare"))?;
    let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() && printed.contains("1 passed") {
        return Ok(false);
    }
    Err(Error::Command { command: format!("{command:?}"), status: output.status, output: printed })
}
