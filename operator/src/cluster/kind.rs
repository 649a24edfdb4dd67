//! A kind of object that the operator writes, as far as calls and watches are concerned.

use kube::core::{ApiResource, GroupVersionKind};

use super::drift::ListRules;

/// How the operator finds out about the objects of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retrieval {
    /// They are listed and watched. Nothing is published before they were listed.
    Watched,
    /// The cluster may lack the kind. They are listed and watched while it has it; the start waits for nothing.
    WatchedIfServed,
    /// Each is read by its name when it is needed. They are neither listed nor watched.
    OnDemand,
}

/// A kind of object.
#[derive(Clone, Copy, Debug)]
pub struct ObjectKind {
    /// Empty for the core group.
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub retrieval: Retrieval,
    /// How its lists are compared, where that is not as in the kinds of Kubernetes itself.
    pub lists: ListRules,
}

impl ObjectKind {
    /// A kind that every cluster has.
    pub const fn watched(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str) -> Self {
        Self { group, version, kind, plural, retrieval: Retrieval::Watched, lists: ListRules::BUILT_IN }
    }

    /// A kind that a cluster may lack, such as one of a CustomResourceDefinition.
    pub const fn watched_if_served(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
        lists: ListRules,
    ) -> Self {
        Self { retrieval: Retrieval::WatchedIfServed, lists, ..Self::watched(group, version, kind, plural) }
    }

    /// A kind whose objects are not listed: users have some that the operator must not read.
    pub const fn on_demand(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
    ) -> Self {
        Self { retrieval: Retrieval::OnDemand, ..Self::watched(group, version, kind, plural) }
    }

    pub fn resource(&self) -> ApiResource {
        let kind = GroupVersionKind::gvk(self.group, self.version, self.kind);
        ApiResource::from_gvk_with_plural(&kind, self.plural)
    }
}
