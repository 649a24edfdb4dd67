//! The objects of a folder, each in its last good state.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_crds::{Finding, McpClient, McpServer, NamespacedName};

use super::{Files, Manifest, ObjectId, Problem, Severity, parse};

/// An object, and the file that it is from.
#[derive(Clone, Debug, PartialEq)]
struct Held {
    file: String,
    manifest: Manifest,
}

/// The objects of a folder. Start with an empty one, and [`Folder::update`] it.
#[derive(Clone, Debug, Default)]
pub struct Folder {
    objects: BTreeMap<ObjectId, Held>,
    /// Objects that a readable file names, decoded or not.
    named: BTreeSet<ObjectId>,
    has_broken_file: bool,
}

impl Folder {
    /// What the folder holds after this reading, and all that is wrong with single files and objects:
    /// * a file that can't be read, or holds something nameless, keeps all its objects as they were, if it had any;
    /// * an object that can't be decoded stays as it was, and those beside it change;
    /// * an object that is gone from a file that can be read, or with its file, is gone;
    /// * of two objects of one name, the one that was there stays.
    pub fn update(&self, files: &Files) -> (Self, Vec<Problem>) {
        let mut next = Self::default();
        let mut problems = Vec::new();
        let mut found: BTreeMap<ObjectId, Vec<(&str, Option<Manifest>)>> = BTreeMap::new();
        for (file, text) in files {
            let parsed = match text {
                Ok(text) => parse::parse(file, text),
                Err(error) => parse::Parsed {
                    objects: Vec::new(),
                    problems: vec![Problem::file(file, error.clone())],
                    is_broken: true,
                },
            };
            problems.extend(parsed.problems);
            next.has_broken_file |= parsed.is_broken;
            let held = || self.objects.iter().filter(|(_, held)| held.file == *file);
            if parsed.is_broken && held().next().is_some() {
                for (id, held) in held() {
                    found.entry(id.clone()).or_default().push((file, Some(held.manifest.clone())));
                }
            } else {
                for (id, manifest) in parsed.objects {
                    next.named.insert(id.clone());
                    found.entry(id).or_default().push((file, manifest));
                }
            }
        }
        for (id, mut places) in found {
            let held = self.objects.get(&id);
            let first = held.and_then(|held| places.iter().position(|(file, _)| *file == held.file)).unwrap_or(0);
            let (file, manifest) = places.remove(first);
            for (other, _) in places {
                let message = format!("is there twice: {file} has one of this name too, and that one counts");
                problems.push(Problem::object(other, &id, Finding::new("metadata.name", message), Severity::Refused));
            }
            if let Some(manifest) = manifest.or_else(|| held.map(|held| held.manifest.clone())) {
                next.objects.insert(id, Held { file: file.to_owned(), manifest });
            }
        }
        problems.sort();
        (next, problems)
    }

    /// All McpServers, sorted by namespace and name.
    pub fn servers(&self) -> impl Iterator<Item = (&NamespacedName, &McpServer)> {
        self.objects.iter().filter_map(|(id, held)| match &held.manifest {
            Manifest::Server(server) => Some((&id.name, server.as_ref())),
            Manifest::Client(_) => None,
        })
    }

    /// All McpClients, sorted by namespace and name.
    pub fn clients(&self) -> impl Iterator<Item = (&NamespacedName, &McpClient)> {
        self.objects.iter().filter_map(|(id, held)| match &held.manifest {
            Manifest::Client(client) => Some((&id.name, client.as_ref())),
            Manifest::Server(_) => None,
        })
    }

    /// Which objects there are.
    pub fn ids(&self) -> impl Iterator<Item = &ObjectId> {
        self.objects.keys()
    }

    /// Which objects there are, and which some file names without being able to say what they are.
    pub fn all_named(&self) -> impl Iterator<Item = &ObjectId> {
        self.objects.keys().chain(&self.named)
    }

    /// Whether each object that a file names could be decoded, now or before.
    pub fn is_decoded(&self) -> bool {
        self.named.iter().all(|id| self.objects.contains_key(id))
    }

    /// The file that an object is from.
    pub fn file(&self, id: &ObjectId) -> &str {
        self.objects.get(id).map_or("", |held| &held.file)
    }

    /// Whether an object is there, decoded or not.
    pub fn names(&self, id: &ObjectId) -> bool {
        self.objects.contains_key(id) || self.named.contains(id)
    }

    /// Whether some file could hold objects that nobody knows of.
    pub fn has_broken_file(&self) -> bool {
        self.has_broken_file
    }
}
