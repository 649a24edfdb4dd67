//! Who holds a Lease: one process, with the facts by which others can find out whether it still runs.

use std::{fmt, fs, process};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::random;

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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<HolderPod>,
}

/// The pod of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderPod {
    pub namespace: String,
    pub name: String,
    pub uid: String,
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
            started: started(pid).unwrap_or_default(),
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
    pub fn runs(&self) -> bool {
        started(self.pid) == Some(self.started)
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

/// When a process was started, in ticks after the boot (proc(5), `stat`); `None` if it has ended, although it may not have been waited
/// for yet.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program may contain anything.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let has_ended = matches!(fields.first(), Some(&"Z" | &"X"));
    fields.get(19).filter(|_| !has_ended)?.parse().ok()
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
        assert!(this.runs() && this.is_beside(&this));
        assert!(!Holder { started: this.started + 1, ..this.clone() }.runs(), "another one of the same number");
        let mut child = process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        // It becomes a zombie: it has ended, and was not waited for.
        while started(pid).is_some() {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert_ne!(Holder::this_process(false).identity, this.identity);
        assert!(!this.is_beside(&Holder { pid_namespace: "pid:[1]".into(), ..this.clone() }));
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
