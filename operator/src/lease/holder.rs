//! Who holds a Lease: one process, with the facts by which others can find out whether it still runs.

use std::{fmt, fs, process};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rustix::{
    io::Errno,
    process::{Pid, test_kill_process},
};
use serde::{Deserialize, Serialize};

use crate::{mapping, random};

/// Where a pod has the token of its account.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// One process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// `holderIdentity` of the Lease. Every process has another one.
    pub identity: String,
    pub host: String,
    pub pid: u32,
    /// When the process was started, in ticks after the boot: numbers of processes are used again.
    pub started: u64,
    /// The boot of the machine, and the namespace in which the process has its number.
    pub boot: String,
    pub pid_namespace: String,
    /// The pod that it runs in.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "mapping::optional")]
    pub pod: Option<HolderPod>,
}

/// The pod of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderPod {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    Lives,
    Gone,
    Unknown,
}

/// What proc(5) says about a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stat {
    /// When it was started, in ticks after the boot.
    Started(u64),
    /// It has ended, although it may not have been waited for yet.
    Ended,
    /// There is no such process, or it is hidden (`hidepid`).
    Unreadable,
}

impl Holder {
    /// This process. `is_in_pod` says whether it uses the account of its pod.
    pub fn this_process(is_in_pod: bool) -> Self {
        let host = system("/proc/sys/kernel/hostname");
        let pod = if is_in_pod { fs::read_to_string(TOKEN).ok().and_then(|token| pod_of(&token)) } else { None };
        let pid = process::id();
        let name = pod.as_ref().map_or(&host, |pod| &pod.name);
        Self {
            identity: format!("{name}_{pid}_{}", hex::encode(random::bytes::<4>())),
            pid,
            started: match stat(pid) {
                Stat::Started(at) => at,
                Stat::Ended | Stat::Unreadable => 0,
            },
            boot: system("/proc/sys/kernel/random/boot_id"),
            pid_namespace: fs::read_link("/proc/self/ns/pid")
                .map(|link| link.to_string_lossy().into_owned())
                .unwrap_or_default(),
            host,
            pod,
        }
    }

    /// Whether it had its number where the other one has it, so that it can be looked for.
    pub fn is_beside(&self, other: &Self) -> bool {
        let place = |holder: &Self| (holder.boot.clone(), holder.pid_namespace.clone());
        place(self) == place(other) && !self.boot.is_empty() && !self.pid_namespace.is_empty() && self.started > 0
    }

    /// Whether the process runs. For one beside this one.
    pub fn liveness(&self) -> Liveness {
        judged(self.started, stat(self.pid), exists(self.pid))
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pod {
            Some(pod) => write!(f, "pod {}/{}", pod.namespace, pod.name),
            None => write!(f, "process {} on {}", self.pid, self.host),
        }
    }
}

fn system(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// A process that cannot be seen is not gone for that.
fn judged(started: u64, stat: Stat, exists: bool) -> Liveness {
    match stat {
        Stat::Started(at) if at == started => Liveness::Lives,
        Stat::Started(_) | Stat::Ended => Liveness::Gone,
        Stat::Unreadable if exists => Liveness::Unknown,
        Stat::Unreadable => Liveness::Gone,
    }
}

fn stat(pid: u32) -> Stat {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return Stat::Unreadable };
    // The name of the program may contain anything.
    let fields: Vec<&str> = stat.rsplit_once(") ").map(|(_, fields)| fields.split(' ').collect()).unwrap_or_default();
    match (fields.first(), fields.get(19).and_then(|field| field.parse().ok())) {
        (Some(&("Z" | "X")), _) => Stat::Ended,
        (_, Some(at)) => Stat::Started(at),
        _ => Stat::Unreadable,
    }
}

/// Whether a process has this number: also one of another user, which may not be sent a signal.
fn exists(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}

/// The pod to which the token of an account is bound (Kubernetes, "Bound service account tokens"). It is the operator's own token, so
/// that its signature does not matter.
fn pod_of(token: &str) -> Option<HolderPod> {
    #[derive(Deserialize)]
    struct Claims {
        #[serde(rename = "kubernetes.io")]
        kubernetes: Bound,
    }
    #[derive(Deserialize)]
    struct Bound {
        namespace: String,
        pod: Named,
    }
    #[derive(Deserialize)]
    struct Named {
        name: String,
        uid: String,
    }
    let claims = URL_SAFE_NO_PAD.decode(token.trim().split('.').nth(1)?).ok()?;
    let Bound { namespace, pod: Named { name, uid } } = serde_json::from_slice::<Claims>(&claims).ok()?.kubernetes;
    Some(HolderPod { namespace, name, uid })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn this_process_runs_and_one_that_has_ended_does_not() {
        let this = Holder::this_process(false);
        assert_eq!((this.liveness(), this.is_beside(&this)), (Liveness::Lives, true));
        let other = Holder { started: this.started + 1, ..this.clone() };
        assert_eq!(other.liveness(), Liveness::Gone, "another one of the same number");
        let mut child = process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        // It becomes a zombie: it has ended, and was not waited for.
        while stat(pid) != Stat::Ended {
            std::thread::yield_now();
        }
        assert!(exists(pid));
        child.wait().unwrap();
        assert_eq!((stat(pid), exists(pid)), (Stat::Unreadable, false));
        assert_ne!(Holder::this_process(false).identity, this.identity);
        assert!(!this.is_beside(&Holder { pid_namespace: "pid:[1]".into(), ..this.clone() }));
    }

    #[test]
    fn a_process_that_is_hidden_is_not_gone() {
        for (stat, exists, expected) in [
            (Stat::Started(7), true, Liveness::Lives),
            (Stat::Started(8), true, Liveness::Gone),
            (Stat::Ended, true, Liveness::Gone),
            (Stat::Unreadable, true, Liveness::Unknown),
            (Stat::Unreadable, false, Liveness::Gone),
        ] {
            assert_eq!(judged(7, stat, exists), expected, "{stat:?} {exists}");
        }
    }

    #[test]
    fn the_pod_is_that_of_the_token() {
        let claims =
            json!({"kubernetes.io": {"namespace": "ops", "pod": {"name": "op-1", "uid": "u"}, "node": {"name": "n"}}});
        let token = format!("e30.{}.c2ln\n", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let pod = HolderPod { namespace: "ops".into(), name: "op-1".into(), uid: "u".into() };
        assert_eq!(pod_of(&token), Some(pod.clone()));
        assert_eq!(["", "a.b.c", "e30.e30.e30"].map(pod_of), [None, None, None]);
        let holder = Holder { pod: Some(pod), ..Holder::this_process(false) };
        assert_eq!(holder.to_string(), "pod ops/op-1");
    }
}
