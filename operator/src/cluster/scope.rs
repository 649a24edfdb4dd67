//! Which namespaces the operator watches: all of a cluster, or some. Some need no right that is not in a Role.

use portcullis_crds::NamespacedName;

/// What one list or watch covers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Every namespace.
    All,
    Namespace(String),
}

impl Scope {
    pub fn contains(&self, name: &NamespacedName) -> bool {
        match self {
            Self::All => true,
            Self::Namespace(namespace) => *namespace == name.namespace,
        }
    }
}

/// The scopes that a store is filled from. No object is in two of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// One list of the whole cluster.
    pub fn all() -> Self {
        Self(vec![Scope::All])
    }

    /// One list for each of these namespaces.
    pub fn namespaces(namespaces: impl IntoIterator<Item = String>) -> Self {
        let mut scopes: Vec<Scope> = namespaces.into_iter().map(Scope::Namespace).collect();
        scopes.sort();
        scopes.dedup();
        Self(scopes)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }
}
