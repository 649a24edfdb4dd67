//! The objects of a folder, each in its last valid state.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_crds::{
    Finding, McpClient, McpServer, NamespacedName, client::PartialClientSpec, server::PartialServerSpec,
};

use super::{
    listing::Files,
    object::{Manifest, Mistake, ObjectId, Reading},
    parse::{Parsed, parse},
    problem::{Problem, Severity},
};
use crate::{credentials::NEW_KEY, object::Undecodable};

/// The objects of a folder. Begin with an empty one, and [`Folder::update`] it.
#[derive(Clone, Debug, Default)]
pub struct Folder {
    objects: BTreeMap<ObjectId, FolderObject>,
    /// The objects that a readable file names, whether or not they can be decoded.
    named: BTreeSet<ObjectId>,
    has_broken_file: bool,
    has_refused: bool,
}

/// An object and its file.
#[derive(Clone, Debug, PartialEq)]
struct FolderObject {
    file: String,
    /// Its last valid state, with the annotation that asks for a new key as it is now.
    manifest: Manifest,
    /// What is wrong with it now, and what can be read of it.
    mistake: Option<Mistake>,
}

/// Each object that was found, with every file that contains it; `None` for one that stays as it was.
type Found<'a> = BTreeMap<ObjectId, Vec<(&'a str, Option<Reading>)>>;

impl Folder {
    /// The folder after a reading, and everything that is wrong with single files and objects:
    /// * an object with a mistake stays as it was, but for what the mistaken one takes away from clients, and those beside it
    ///   change;
    /// * while a file cannot be read, or contains something without a name, its objects that cannot be found stay as they were;
    /// * an object that a readable file no longer contains, or whose file no longer exists, is removed;
    /// * of two objects of the same name, the one that existed before stays.
    pub fn update(&self, files: &Files) -> (Self, Vec<Problem>) {
        let mut next = Self::default();
        let mut problems = Vec::new();
        let mut found = Found::new();
        for (file, text) in files {
            let parsed = match text {
                Ok(text) => parse(file, text),
                Err(error) => {
                    let problems = vec![Problem::file(file, error.clone())];
                    Parsed { problems, is_broken: true, ..Parsed::default() }
                }
            };
            problems.extend(parsed.problems);
            next.has_broken_file |= parsed.is_broken;
            for (id, reading) in parsed.objects {
                next.named.insert(id.clone());
                found.entry(id).or_default().push((file, Some(reading)));
            }
            if parsed.is_broken {
                for (id, _) in self.objects.iter().filter(|(_, object)| object.file == *file) {
                    let places = found.entry(id.clone()).or_default();
                    if places.iter().all(|(place, _)| place != file) {
                        places.push((file, None));
                    }
                }
            }
        }
        for (id, places) in found {
            if let Some(object) = self.choose(&id, places, &mut problems) {
                next.objects.insert(id, object);
            }
        }
        next.has_refused = problems.iter().any(|problem| problem.severity == Severity::Refused);
        problems.sort();
        (next, problems)
    }

    /// The state of an object that one or more files contain; `None` if it has no valid one.
    fn choose(
        &self,
        id: &ObjectId,
        mut places: Vec<(&str, Option<Reading>)>,
        problems: &mut Vec<Problem>,
    ) -> Option<FolderObject> {
        let before = self.objects.get(id);
        let first = before.and_then(|before| places.iter().position(|(file, _)| *file == before.file)).unwrap_or(0);
        let (file, reading) = places.remove(first);
        for (other, _) in places {
            let message = format!("appears twice: {file} contains an object of this name too, which is used");
            problems.push(Problem::object(other, id, Finding::new("metadata.name", message), Severity::Refused));
        }
        let file = file.to_owned();
        match reading {
            Some(Reading::Valid(manifest)) => Some(FolderObject { file, manifest, mistake: None }),
            Some(Reading::Mistaken(mistake, new_key)) => {
                let mut manifest = before?.manifest.clone();
                if let (Manifest::Client(client), Some(new_key)) = (&mut manifest, new_key) {
                    client.metadata.annotations.get_or_insert_default().insert(NEW_KEY.to_owned(), new_key);
                }
                Some(FolderObject { file, manifest, mistake: Some(mistake) })
            }
            None => Some(FolderObject { file, ..before?.clone() }),
        }
    }

    /// All McpServers, sorted by namespace and name.
    pub fn servers(&self) -> impl Iterator<Item = (&NamespacedName, &McpServer)> {
        self.objects.iter().filter_map(|(id, object)| match &object.manifest {
            Manifest::Server(server) => Some((&id.name, server.as_ref())),
            Manifest::Client(_) => None,
        })
    }

    /// All McpClients, sorted by namespace and name.
    pub fn clients(&self) -> impl Iterator<Item = (&NamespacedName, &McpClient)> {
        self.objects.iter().filter_map(|(id, object)| match &object.manifest {
            Manifest::Client(client) => Some((&id.name, client.as_ref())),
            Manifest::Server(_) => None,
        })
    }

    /// What is wrong with a client now, and what can be read of it; `None` if it is valid.
    pub fn mistaken_client(&self, client: &NamespacedName) -> Option<&Undecodable<PartialClientSpec>> {
        match self.objects.get(&ObjectId::client(client))?.mistake.as_ref()? {
            Mistake::Client(mistake) => Some(mistake),
            Mistake::Server(_) => None,
        }
    }

    /// The same of a server.
    pub fn mistaken_server(&self, server: &NamespacedName) -> Option<&Undecodable<PartialServerSpec>> {
        match self.objects.get(&ObjectId::server(server))?.mistake.as_ref()? {
            Mistake::Server(mistake) => Some(mistake),
            Mistake::Client(_) => None,
        }
    }

    /// All objects that have a valid state.
    pub fn ids(&self) -> impl Iterator<Item = &ObjectId> {
        self.objects.keys()
    }

    /// All objects, whether or not they have ever been decoded.
    pub fn all_named(&self) -> impl Iterator<Item = &ObjectId> {
        self.objects.keys().chain(&self.named)
    }

    /// Whether each object that a file names has been decoded, now or before.
    pub fn is_decoded(&self) -> bool {
        self.named.iter().all(|id| self.objects.contains_key(id))
    }

    /// The file that contains an object.
    pub fn file(&self, id: &ObjectId) -> &str {
        self.objects.get(id).map_or("", |object| &object.file)
    }

    /// Whether an object exists, decoded or not.
    pub fn names(&self, id: &ObjectId) -> bool {
        self.objects.contains_key(id) || self.named.contains(id)
    }

    /// Whether something in it was refused. What seems to be removed may be there by another name, or in another namespace.
    pub fn has_refused(&self) -> bool {
        self.has_refused
    }

    /// Whether a file may contain objects that are unknown.
    pub fn has_broken_file(&self) -> bool {
        self.has_broken_file
    }
}
