//! The vocabularies of status: every condition type and every reason that the operator writes.

use crate::vocabulary;

vocabulary! {
    /// The type of a condition.
    pub enum ConditionType {
        /// The spec is valid, and is in force or being applied.
        Accepted,
        /// Everything that an access names exists.
        ResolvedRefs,
        /// The client's credentials exist, and are in the Secret that its owner reads.
        CredentialsReady,
        /// Every ready pod serves the current policy and credentials.
        PolicySynced,
        /// The object works as its spec states. While pods take up an edit, an McpServer stays ready, and an McpClient whose access
        /// changes is not ready.
        Ready,
        /// The operator is working on the object (kstatus).
        Reconciling,
        /// The operator cannot continue until the problem in the message is fixed (kstatus).
        Stalled,
    }
}

vocabulary! {
    /// Why a condition has its status; also the reason of an event.
    pub enum Reason {
        /// The spec is valid.
        Valid,
        /// The spec has errors; the message names each field. The last valid spec stays in force.
        Invalid,
        /// An object of the name that the operator would use already exists and does not belong to the operator.
        NotOwned,
        /// Everything that is named exists.
        Resolved,
        /// An access names an McpServer that does not exist.
        ServerNotFound,
        /// An access names tools that the server does not have.
        ToolNotFound,
        /// No rule of the server admits clients of this namespace.
        NotAllowed,
        /// The rule that matches this client has reached its `maxClients`; older clients have precedence.
        TooManyClients,
        /// An older client has the same credential and keeps it.
        IdentityConflict,
        /// The server's rule allows less than the access requests; the message names what was not granted.
        Narrowed,
        /// Everything that the access requests was granted.
        Granted,
        /// The spec no longer contains the access. It is listed until every pod has confirmed that.
        AccessRemoved,
        /// The McpServer's spec has errors; access is granted by its last valid spec.
        ServerInvalid,
        /// The key is in its Secret.
        KeyIssued,
        /// The API server refused a request or did not answer; the message has its words. The operator retries. If the same request
        /// would be refused again, `Stalled` is True.
        WriteFailed,
        /// The policy is published, and not every ready pod has confirmed it yet.
        Publishing,
        /// Every ready pod serves the current policy.
        Synced,
        /// A pod has not loaded the current policy for 120 s; the message names the pod and the revision that it serves.
        PodLagging,
        /// No pod is running, so the policy is not enforced anywhere yet.
        NoPods,
        /// `spec.replicas` of the McpServer is 0: no pod takes calls, and pods that start later begin with the published policy.
        ScaledToZero,
        /// Pods are starting or being replaced.
        Progressing,
        /// Everything in the spec is in force.
        Available,
        /// The Deployment's pods do not become ready, or cannot be created; the message names the first one and the reason.
        PodsNotReady,
        /// The client is suspended, and every pod refuses it.
        Suspended,
        /// The client's `expiresAt` has passed, and every pod refuses it.
        Expired,
        /// The operator failed on this object by a mistake of its own, more than once. It tries again; its log has more.
        InternalError,
        /// The policy was written to its ConfigMap.
        PolicyPublished,
        /// An object was changed by somebody else, and was restored.
        DriftCorrected,
        /// Another party changes an object again each time that it is restored, or while it is written; the message names the object
        /// and the fields. It is restored less and less often, down to once a minute, or once an hour if it is changed while written.
        DriftContested,
        /// A pod has the labels of the server and does not belong to its Deployment. The Service may send calls to it. It counts
        /// nowhere, unless it mounts the policy of the server: then an access is said to be removed only once it confirms that.
        ForeignPod,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_has_a_sentence() {
        let sentences = ConditionType::ALL.iter().map(|c| c.sentence()).chain(Reason::ALL.iter().map(|r| r.sentence()));
        for sentence in sentences {
            assert!(sentence.ends_with('.') && sentence.len() > 10, "{sentence}");
        }
        assert_eq!(Reason::PodLagging.as_str(), "PodLagging");
    }
}
