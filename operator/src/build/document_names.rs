//! The names of a server's documents: each document has two, and the pods mount both documents by the same one.
//!
//! A kubelet that reads a document while somebody has made it immutable serves it from its cache from then on, whatever becomes of
//! the object, until no pod of its node mounts that name. So the pods are replaced by ones that mount the other name; as long as
//! pods mount both, the documents are written under both. Pure.

use std::collections::BTreeSet;

use portcullis_crds::contract::Version;
use serde_json::Value;

use super::{deployment::VOLUME, metadata::config_map_name};

/// Which of their two names the documents have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DocumentName {
    /// That of a new server.
    #[default]
    Base,
    Alternate,
}

impl DocumentName {
    pub const ALL: [Self; 2] = [Self::Base, Self::Alternate];

    pub fn other(self) -> Self {
        match self {
            Self::Base => Self::Alternate,
            Self::Alternate => Self::Base,
        }
    }

    /// What follows the version of the contract in the names of the objects.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Base => "",
            Self::Alternate => "-alt",
        }
    }

    /// By which one the pods of a server's Deployment mount its policy; `None` if they mount something else.
    pub fn in_deployment(server: &str, deployment: &Value) -> Option<Self> {
        let volumes = deployment.pointer("/spec/template/spec/volumes")?.as_array()?;
        let sources =
            volumes.iter().find(|volume| volume["name"] == VOLUME)?.pointer("/projected/sources")?.as_array()?;
        let policy = sources.iter().find_map(|source| source.pointer("/configMap/name")?.as_str())?;
        Self::ALL.into_iter().find(|name| config_map_name(server, Version::CURRENT, *name) == policy)
    }
}

/// The documents of one name, as they are in the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FoundDocuments {
    /// Whether pods mount them, or will.
    pub are_mounted: bool,
    /// Whether one of them is immutable, or may have been while pods mounted it.
    pub were_immutable: bool,
    /// Whether both exist and are the operator's.
    pub exist: bool,
}

/// What is found of each name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FoundNames {
    pub base: FoundDocuments,
    pub alternate: FoundDocuments,
}

impl FoundNames {
    pub fn of(&self, name: DocumentName) -> FoundDocuments {
        match name {
            DocumentName::Base => self.base,
            DocumentName::Alternate => self.alternate,
        }
    }
}

/// Under which names the documents of a server are written, and by which one its pods mount them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentNames {
    /// The one in the Deployment.
    pub current: DocumentName,
    /// The one to which the pods move, or the same.
    pub target: DocumentName,
    /// The one that is to be in the Deployment: the target once its documents exist.
    pub mounted: DocumentName,
    pub written: BTreeSet<DocumentName>,
    /// Those that pods may read now.
    pub read: BTreeSet<DocumentName>,
    /// Those that pods have to leave. The objects say so, because what was immutable may be so no longer.
    pub left: BTreeSet<DocumentName>,
}

impl Default for DocumentNames {
    fn default() -> Self {
        Self::choose(DocumentName::default(), &FoundNames::default(), true)
    }
}

impl DocumentNames {
    /// Pods leave the name of documents that were immutable for the other one, unless pods have to leave that too or may not move now.
    pub fn choose(current: DocumentName, found: &FoundNames, may_move: bool) -> Self {
        let is_left = |name: &DocumentName| found.of(*name).are_mounted && found.of(*name).were_immutable;
        let (other, others) = (current.other(), found.of(current.other()));
        let moves = may_move && is_left(&current) && !is_left(&other);
        let is_written = |name: &DocumentName| *name == current || moves || others.are_mounted;
        let written: BTreeSet<_> = DocumentName::ALL.into_iter().filter(is_written).collect();
        let is_read = |name: &DocumentName| *name == current || others.are_mounted;
        Self {
            current,
            target: if moves { other } else { current },
            mounted: if moves && others.exist { other } else { current },
            read: written.iter().copied().filter(is_read).collect(),
            left: written.iter().copied().filter(is_left).collect(),
            written,
        }
    }

    /// Whether the pods move as soon as the documents of their next name exist.
    pub fn is_move_prepared(&self) -> bool {
        self.mounted != self.target
    }

    /// Whether the Deployment is to mount the other name from now on.
    pub fn is_move(&self) -> bool {
        self.mounted != self.current
    }

    /// Whether pods may read the documents of this name now.
    pub fn is_read(&self, name: DocumentName) -> bool {
        self.read.contains(&name)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        DocumentName::{Alternate, Base},
        *,
    };

    const MOUNTED: FoundDocuments = FoundDocuments { are_mounted: true, were_immutable: false, exist: true };
    const IMMUTABLE: FoundDocuments = FoundDocuments { were_immutable: true, ..MOUNTED };
    const ABSENT: FoundDocuments = FoundDocuments { are_mounted: false, exist: false, ..MOUNTED };
    const UNUSED: FoundDocuments = FoundDocuments { are_mounted: false, ..MOUNTED };

    /// The target, what the Deployment mounts, what is written, and what is left.
    type Chosen<'a> = (DocumentName, DocumentName, &'a [DocumentName], &'a [DocumentName]);

    #[test]
    fn pods_leave_a_name_whose_documents_were_immutable_once_those_of_the_other_one_exist() {
        let cases: [(&str, FoundDocuments, FoundDocuments, Chosen<'_>); 9] = [
            ("nothing is wrong", MOUNTED, ABSENT, (Base, Base, &[Base], &[])),
            ("it is to be left", IMMUTABLE, ABSENT, (Alternate, Base, &[Base, Alternate], &[Base])),
            ("the next one exists", IMMUTABLE, UNUSED, (Alternate, Alternate, &[Base, Alternate], &[Base])),
            ("pods mount the next one", IMMUTABLE, MOUNTED, (Alternate, Alternate, &[Base, Alternate], &[Base])),
            ("what is left over is deleted", MOUNTED, UNUSED, (Base, Base, &[Base], &[])),
            ("older pods mount the other one", MOUNTED, MOUNTED, (Base, Base, &[Base, Alternate], &[])),
            ("older pods leave the other one", MOUNTED, IMMUTABLE, (Base, Base, &[Base, Alternate], &[Alternate])),
            ("both were immutable", IMMUTABLE, IMMUTABLE, (Base, Base, &[Base, Alternate], &[Base, Alternate])),
            (
                "no pod mounts what was immutable",
                FoundDocuments { are_mounted: false, ..IMMUTABLE },
                ABSENT,
                (Base, Base, &[Base], &[]),
            ),
        ];
        for (what, base, alternate, (target, mounted, written, left)) in cases {
            let chosen = DocumentNames::choose(Base, &FoundNames { base, alternate }, true);
            let names = |all: &[DocumentName]| all.iter().copied().collect::<BTreeSet<_>>();
            let (written, left) = (names(written), names(left));
            let read = if alternate.are_mounted { written.clone() } else { names(&[Base]) };
            let expected = DocumentNames { current: Base, target, mounted, written, read, left };
            assert_eq!(chosen, expected, "{what}");
            // The two names have no order.
            let swapped = DocumentNames::choose(Alternate, &FoundNames { base: alternate, alternate: base }, true);
            let other = |all: &BTreeSet<DocumentName>| all.iter().map(|name| name.other()).collect::<BTreeSet<_>>();
            let expected = DocumentNames {
                current: Alternate,
                target: target.other(),
                mounted: mounted.other(),
                written: other(&expected.written),
                read: other(&expected.read),
                left: other(&expected.left),
            };
            assert_eq!(swapped, expected, "{what}, the other way round");
        }
    }

    #[test]
    fn pods_that_may_not_move_now_stay_and_what_they_are_to_leave_is_kept_in_mind() {
        let chosen = DocumentNames::choose(Base, &FoundNames { base: IMMUTABLE, alternate: UNUSED }, false);
        let expected = DocumentNames { left: BTreeSet::from([Base]), ..DocumentNames::default() };
        assert_eq!(chosen, expected);
    }

    #[test]
    fn only_the_two_names_are_found_in_a_deployment() {
        let of = |policy: &str| {
            let sources = serde_json::json!([{"configMap": {"name": policy}}, {"secret": {"name": "x"}}]);
            let volumes = serde_json::json!([{"name": "x"}, {"name": VOLUME, "projected": {"sources": sources}}]);
            DocumentName::in_deployment(
                "crm",
                &serde_json::json!({"spec": {"template": {"spec": {"volumes": volumes}}}}),
            )
        };
        for name in DocumentName::ALL {
            assert_eq!(of(&config_map_name("crm", Version::CURRENT, name)), Some(name));
        }
        assert_eq!([of("crm-policy"), of("other-policy-v1"), of("crm-policy-v1-altx")], [None; 3]);
        assert_eq!(DocumentName::in_deployment("crm", &Value::Null), None);
    }
}
