//! A published half as a server loads it: part by part.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{CheckedBackend, CheckedServerHalf, CheckedTool, Part, TIMEOUTS, authentication, backends, limits, tools};
use crate::{
    BackendName, Findings, ToolName,
    contract::{Backend, LeftOut, PartKind, ServerHalf, ServerParts, Tool},
    schema::{Budget, InputSchema, OutputSchema},
};

/// A server's half that is to be served, maybe without some of its parts.
#[derive(Debug)]
pub struct LoadedServerHalf {
    /// What is served.
    pub half: CheckedServerHalf,
    /// The parts that are not served as they are written.
    pub left_out: Vec<LeftOut>,
    /// What is wrong with settings that have a stricter form in `half`.
    pub findings: Findings,
    /// What a check refuses and what nevertheless can be served, for people.
    pub notes: Findings,
    /// What is left of it for tools that are kept.
    budget: Budget,
}

/// Loads what can be served as it is meant.
pub fn load(parts: ServerParts) -> LoadedServerHalf {
    let ServerParts { half: ServerHalf { server, mut spec }, backends_at, tools_at, refused, findings, mut notes } =
        parts;
    let mut left_out = refused;
    let names = |kind: PartKind| {
        let refused: Vec<_> = left_out.iter().filter(|it| it.kind == kind).filter_map(|it| it.name.clone()).collect();
        refused.into_iter()
    };
    let of_backends = repeated(spec.backends.iter().map(|it| it.name.to_string()).chain(names(PartKind::Backend)));
    let of_tools = repeated(spec.tools.iter().map(|it| it.name.to_string()).chain(names(PartKind::Tool)));

    let mut budget = Budget::default();
    let checked = (backends(&spec, backends_at), tools(&spec, tools_at.iter().copied(), &mut budget));
    let mut kept = Kept { left_out: &mut left_out, notes: &mut notes };
    let backends: Vec<(Backend, CheckedBackend)> = std::mem::take(&mut spec.backends)
        .into_iter()
        .zip(checked.0)
        .filter_map(|(backend, part)| {
            let name = backend.name.to_string();
            let is_repeated = of_backends.contains(&name);
            Some((backend, kept.part(PartKind::Backend, name, part, is_repeated)?))
        })
        .collect();
    let served: BTreeSet<&BackendName> = backends.iter().map(|(backend, _)| &backend.name).collect();
    let tools: Vec<(Tool, CheckedTool)> = std::mem::take(&mut spec.tools)
        .into_iter()
        .zip(checked.1)
        .zip(tools_at)
        .filter_map(|((mut tool, mut part), n)| {
            if !served.contains(&tool.backend) {
                part = (None, part.1);
                part.1.add(format!("spec.tools[{n}].backend"), format!("`{}` is not served", tool.backend));
            }
            // The longest timeout is a bound of a server's stop.
            tool.timeout = tool.timeout.clamp(*TIMEOUTS.start(), *TIMEOUTS.end());
            let name = tool.name.to_string();
            let is_repeated = of_tools.contains(&name);
            Some((tool, kept.part(PartKind::Tool, name, part, is_repeated)?))
        })
        .collect();
    authentication(&spec, &mut notes);
    limits(&spec, server.replicas, &mut notes);
    let half = CheckedServerHalf::of(ServerHalf { server, spec }, backends, tools);
    LoadedServerHalf { half, left_out, findings, notes, budget }
}

impl LoadedServerHalf {
    /// Puts the last form of each tool that was left out in its place, and returns their names. A tool stays only on the backend that
    /// it had, which the new document must have too, and only if its schema fits into the budget beside the new ones.
    pub fn keep_from(&mut self, previous: &CheckedServerHalf) -> Vec<ToolName> {
        let left_out = |kind: PartKind| -> BTreeSet<&str> {
            self.left_out.iter().filter(|part| part.kind == kind).filter_map(|part| part.name.as_deref()).collect()
        };
        let (tools_left_out, backends_left_out) = (left_out(PartKind::Tool), left_out(PartKind::Backend));
        let backends_before: BTreeMap<_, _> = previous.backends().map(|it| (&it.0.name, it)).collect();
        let mut backends: BTreeMap<_, _> = self.half.backends().map(|it| (&it.0.name, it)).collect();
        let mut tools: Vec<_> = self.half.tools().collect();
        let mut names = Vec::new();
        for (tool, checked) in previous.tools().filter(|(tool, _)| tools_left_out.contains(tool.name.as_str())) {
            let Some(before) = backends_before.get(&tool.backend) else { continue };
            let is_kept = match backends.get(&tool.backend) {
                Some((backend, _)) => *backend == before.0,
                // One that is no longer in the document was removed, and is not called any more.
                None => backends_left_out.contains(tool.backend.as_str()),
            };
            let mut output = tool.output_schema.iter();
            let is_kept = is_kept
                && InputSchema::compile(&tool.input_schema.0, &mut self.budget).is_ok()
                && output.all(|schema| OutputSchema::compile(&schema.0, &mut self.budget).is_ok());
            if !is_kept {
                continue;
            }
            backends.insert(&tool.backend, *before);
            names.push(tool.name.clone());
            tools.push((tool, checked));
        }
        let owned = |(a, b): (&Backend, &CheckedBackend)| (a.clone(), b.clone());
        let backends = backends.into_values().map(owned).collect();
        let tools = tools.into_iter().map(|(a, b)| (a.clone(), b.clone())).collect();
        self.half = CheckedServerHalf::of(ServerHalf::clone(&self.half.half), backends, tools);
        names
    }
}

impl CheckedServerHalf {
    /// The half with these parts in place of its own.
    fn of(
        mut half: ServerHalf,
        mut backends: Vec<(Backend, CheckedBackend)>,
        mut tools: Vec<(Tool, CheckedTool)>,
    ) -> Self {
        backends.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        tools.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        let (of_backends, of_tools): (Vec<_>, Vec<_>);
        (half.spec.backends, of_backends) = backends.into_iter().unzip();
        (half.spec.tools, of_tools) = tools.into_iter().unzip();
        half.sort();
        Self { half: Arc::new(half), backends: of_backends.into(), tools: of_tools.into() }
    }
}

/// Names that appear more than once: which of them counts would be a guess.
fn repeated(names: impl Iterator<Item = String>) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    names.filter(|name| !seen.insert(name.clone())).collect()
}

/// Where the findings of parts go.
struct Kept<'a> {
    left_out: &'a mut Vec<LeftOut>,
    notes: &'a mut Findings,
}

impl Kept<'_> {
    /// What is served of a part. What is wrong with it is a note if it is served.
    fn part<T>(
        &mut self,
        kind: PartKind,
        name: String,
        (checked, mut findings): Part<T>,
        is_repeated: bool,
    ) -> Option<T> {
        if let Some(checked) = checked.filter(|_| !is_repeated) {
            self.notes.0.extend(findings.0);
            return Some(checked);
        }
        if findings.is_empty() {
            findings.add(format!("spec.{}", kind.list()), format!("`{name}` appears twice"));
        }
        self.left_out.push(LeftOut { kind, name: Some(name), findings });
        None
    }
}
