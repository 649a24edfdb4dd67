//! The names of the metrics and the values of their labels, each with the sentence that documents it. The reference page is printed
//! from them.

use portcullis_crds::vocabulary;

/// What the name of every metric begins with.
pub const PREFIX: &str = "portcullis_operator";

vocabulary! {
    /// The metrics, by their names without prefix and suffix.
    pub enum Metric {
        /// Reconciles by kind and result.
        Reconciles = "reconciles",
        /// The seconds that a reconcile took.
        ReconcileDuration = "reconcile_duration_seconds",
        /// Objects that are due and wait for a worker.
        QueueDepth = "queue_depth",
        /// The seconds for which the first of these objects has been due.
        QueueOldest = "queue_oldest_seconds",
        /// Objects that are being reconciled.
        QueueRunning = "queue_running",
        /// The seconds from the publication of a policy until every pod that takes calls has confirmed it.
        PublicationConfirmed = "publication_confirmed_seconds",
        /// Requests to the API server by verb, resource and status.
        ApiRequests = "api_requests",
        /// Watches that did not end by their time, so that everything was listed again.
        WatchRestarts = "watch_restarts",
        /// Objects in the cluster whose spec cannot be decoded; each is read field by field.
        UndecodableObjects = "undecodable_objects",
        /// Objects that a watch left out because they cannot be decoded.
        SkippedObjects = "skipped_objects",
        /// Tasks that panicked or ended by a mistake, and were started again.
        TaskRestarts = "task_restarts",
        /// 1 while the operator writes without its Lease because the API server refuses it, and 0 otherwise.
        WithoutLease = "without_lease",
    }
}

vocabulary! {
    /// What is reconciled.
    pub enum Kind {
        /// A server.
        McpServer,
        /// A client.
        McpClient,
    }
}

vocabulary! {
    /// How a reconcile ended.
    pub enum ReconcileResult {
        /// Everything is as it is wanted, or waits for something else.
        Success = "success",
        /// Another party changed an object at the same time.
        Conflict = "conflict",
        /// Something failed that may pass.
        Failed = "failed",
        /// The API server refused a request that it would refuse again.
        Refused = "refused",
        /// It took too long.
        Timeout = "timeout",
        /// It panicked.
        Panicked = "panicked",
    }
}

vocabulary! {
    /// The lanes of the queue, each with workers of its own.
    pub enum Lane {
        /// Publications that take access away.
        Removals = "removals",
        /// Everything else.
        Others = "others",
    }
}

vocabulary! {
    /// The verbs of requests to the API server.
    pub enum ApiVerb {
        /// One object is read.
        Get = "get",
        /// All objects of a kind are read.
        List = "list",
        /// The changes of a kind are read.
        Watch = "watch",
        /// An object is created, or it is checked whether it could be.
        Create = "create",
        /// An object is changed.
        Patch = "patch",
        /// An object is deleted.
        Delete = "delete",
        /// It is looked up whether the API server has a kind.
        Discover = "discover",
    }
}

vocabulary! {
    /// The resources that requests are about.
    pub enum ApiResource {
        /// Servers.
        McpServers = "mcpservers",
        /// Clients.
        McpClients = "mcpclients",
        /// Policies.
        ConfigMaps = "configmaps",
        /// Keys and their digests.
        Secrets = "secrets",
        /// The Deployments of the servers.
        Deployments = "deployments",
        /// The Services of the servers.
        Services = "services",
        /// The accounts of the servers.
        ServiceAccounts = "serviceaccounts",
        /// The pods of the servers.
        Pods = "pods",
        /// What is reported to `kubectl describe`.
        Events = "events",
        /// The Lease by which one operator writes at a time.
        Leases = "leases",
        /// Whether the account has a right that it needs.
        SelfSubjectAccessReviews = "selfsubjectaccessreviews",
        /// The definitions of servers and clients.
        CustomResourceDefinitions = "customresourcedefinitions",
        /// Any other resource.
        Other = "other",
    }
}

vocabulary! {
    /// How a request to the API server ended.
    pub enum Code {
        /// It succeeded.
        Success = "2xx",
        /// It is malformed.
        BadRequest = "400",
        /// The account is unknown, or its token has expired.
        Unauthorized = "401",
        /// The account lacks the right, or an admission or a quota refused.
        Forbidden = "403",
        /// There is no such object.
        NotFound = "404",
        /// The object was changed meanwhile, or its name is taken.
        Conflict = "409",
        /// The version from which a watch was to start is too old.
        Gone = "410",
        /// The object is too large.
        TooLarge = "413",
        /// The object is not valid.
        Invalid = "422",
        /// The API server is overloaded, or an eviction is not possible now.
        TooManyRequests = "429",
        /// The API server, or a webhook that it asked, failed.
        InternalError = "500",
        /// The API server is not available.
        Unavailable = "503",
        /// The API server did not finish in time.
        GatewayTimeout = "504",
        /// Another status.
        Other = "other",
        /// There was no connection, or it broke.
        Unreachable = "unreachable",
        /// No answer arrived in time, or it was no longer waited for.
        Unanswered = "unanswered",
    }
}

vocabulary! {
    /// Why everything was listed again.
    pub enum WatchRestart {
        /// The connection broke, or the API server ended the watch early.
        Broken = "broken",
        /// The API server refused or could not be reached.
        Refused = "refused",
        /// The versions went backwards: the cluster was restored.
        Restored = "restored",
        /// The answer could not be read.
        Unreadable = "unreadable",
    }
}

vocabulary! {
    /// The tasks of the operator.
    pub enum Task {
        /// Gives out what is due to be reconciled.
        Driver = "driver",
        /// Reconciles one object.
        Reconcile = "reconcile",
        /// Watches the objects of a kind.
        Watch = "watch",
        /// Passes on a change of one object.
        Change = "change",
        /// Looks whether the cluster has a kind that it may lack.
        Presence = "presence",
        /// Polls the Secrets that the operator made.
        SecretPoller = "secret_poller",
        /// Polls the Secrets of one object.
        SecretPoll = "secret_poll",
        /// Follows one pod until it serves what is published.
        Follower = "follower",
        /// Accepts connections for probes and metrics.
        Endpoint = "endpoint",
        /// Answers one connection for probes and metrics.
        Connection = "connection",
        /// Renews the Lease.
        Lease = "lease",
        /// Checks whether the cluster has what the operator needs.
        Requirements = "requirements",
    }
}

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

/// A label of a metric: its name, and each of its values with the sentence that documents it.
pub type Label = (&'static str, Vec<(&'static str, &'static str)>);

impl Metric {
    pub fn kind(self) -> MetricKind {
        match self {
            Self::Reconciles | Self::ApiRequests | Self::WatchRestarts | Self::SkippedObjects | Self::TaskRestarts => {
                MetricKind::Counter
            }
            Self::QueueDepth
            | Self::QueueOldest
            | Self::QueueRunning
            | Self::UndecodableObjects
            | Self::WithoutLease => MetricKind::Gauge,
            Self::ReconcileDuration | Self::PublicationConfirmed => MetricKind::Histogram,
        }
    }

    /// The name that Prometheus stores it by.
    pub fn name(self) -> String {
        let suffix = if self.kind() == MetricKind::Counter { "_total" } else { "" };
        format!("{PREFIX}_{self}{suffix}")
    }

    pub fn labels(self) -> Vec<Label> {
        let kind = || ("kind", Kind::words());
        let resource = || ("resource", ApiResource::words());
        match self {
            Self::Reconciles => vec![kind(), ("result", ReconcileResult::words())],
            Self::ReconcileDuration | Self::UndecodableObjects => vec![kind()],
            Self::QueueDepth | Self::QueueOldest | Self::QueueRunning => vec![("lane", Lane::words())],
            Self::PublicationConfirmed | Self::WithoutLease => Vec::new(),
            Self::ApiRequests => vec![("verb", ApiVerb::words()), resource(), ("code", Code::words())],
            Self::WatchRestarts => vec![resource(), ("reason", WatchRestart::words())],
            Self::SkippedObjects => vec![resource()],
            Self::TaskRestarts => vec![("task", Task::words())],
        }
    }
}

impl ApiResource {
    /// The word for a resource, by its plural.
    pub fn of(plural: &str) -> Self {
        Self::ALL.iter().copied().find(|it| it.as_str() == plural).unwrap_or(Self::Other)
    }
}

impl Code {
    /// The word for how a request ended that did not succeed.
    pub fn of(error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => {
                let code = status.code.to_string();
                Self::ALL.iter().copied().find(|it| it.as_str() == code).unwrap_or(Self::Other)
            }
            kube::Error::SerdeError(_) | kube::Error::BuildRequest(_) | kube::Error::Discovery(_) => Self::Other,
            _ => Self::Unreachable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_documented_by_a_sentence() {
        let values = Metric::ALL.iter().flat_map(|metric| metric.labels()).flat_map(|(_, values)| values);
        for (word, sentence) in Metric::words().into_iter().chain(values) {
            assert!(sentence.ends_with('.'), "{word}: {sentence}");
        }
    }

    #[test]
    fn what_is_not_listed_is_counted_as_other() {
        let status = |code| kube::Error::Api(Box::new(kube::core::Status { code, ..Default::default() }));
        assert_eq!([404, 418].map(|code| Code::of(&status(code))), [Code::NotFound, Code::Other]);
        assert_eq!(["pods", "widgets"].map(ApiResource::of), [ApiResource::Pods, ApiResource::Other]);
    }
}
