//! The closed vocabularies of status: every condition type and reason that the operator writes, with its sentence.

macro_rules! vocabulary {
    ($(#[$doc:meta])* $name:ident { $($(#[doc = $sentence:literal])+ $variant:ident,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[doc = $sentence])+ $variant,)+ }

        impl $name {
            /// All of them, in the order of the reference.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// As status and events spell it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),+ }
            }

            /// Its sentence, for the reference.
            pub fn sentence(self) -> &'static str {
                match self { $(Self::$variant => concat!($($sentence),+).trim_ascii()),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

vocabulary! {
    /// The type of a condition.
    ConditionType {
        /// The spec has no error; what it says is in force or on its way.
        Accepted,
        /// Everything that an access names is there.
        ResolvedRefs,
        /// The client's credentials are made, and in the Secret that its owner reads.
        CredentialsReady,
        /// Every ready pod serves the policy and credentials that are published now.
        PolicySynced,
        /// It does what its spec says. Does not flap on a policy edit.
        Ready,
        /// The operator is at work on it (kstatus).
        Reconciling,
        /// The operator can't go on until somebody mends what the message says (kstatus).
        Stalled,
    }
}

vocabulary! {
    /// Why a condition has its status; also the reason of an event.
    Reason {
        /// The spec has no error.
        Valid,
        /// The spec has errors; the message names each field. The last published server half stays in force.
        Invalid,
        /// An object of the name that the operator would make is there already, and is not the operator's.
        NotOwned,
        /// All that is named is there.
        Resolved,
        /// An access names a McpServer that is not there.
        ServerNotFound,
        /// An access names tools that the server does not have.
        ToolNotFound,
        /// No rule of the server admits clients of this namespace.
        NotAllowed,
        /// The rule that admits this client has as many clients as it may; the oldest have precedence.
        TooManyClients,
        /// An older client has the same credential; the older one keeps it.
        IdentityConflict,
        /// The server's rule allows less than the access asks for; the message says what was left out.
        Narrowed,
        /// What was asked for was granted.
        Granted,
        /// The McpServer's spec has errors: clients keep what they had and still ask for.
        ServerInvalid,
        /// The key is in its Secret.
        KeyIssued,
        /// The API server refused or did not answer; the operator tries again.
        WriteFailed,
        /// The policy is published, and not every ready pod has said yet that it serves it.
        Publishing,
        /// Every ready pod serves what is published.
        Synced,
        /// A pod has not taken up the policy for 120 s; the message names it and what it serves.
        PodLagging,
        /// No pod runs, so nobody obeys the policy yet.
        NoPods,
        /// Pods are starting or being replaced.
        Progressing,
        /// All that the spec says is in force.
        Available,
        /// The Deployment does not get its pods ready.
        PodsNotReady,
        /// The client is suspended.
        Suspended,
        /// The client's `expiresAt` has passed.
        Expired,
        /// The policy was written to its ConfigMap.
        PolicyPublished,
        /// An object was changed by somebody else, and was put back.
        DriftCorrected,
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
