//! What can only be said of all nodes of a schema together.

use super::{Result, refuse};
use crate::schema::node::{Keyword, Node, NodeId};

/// Marks the nodes about which is remembered what was found out: those that are referred to. If anything depends on what was
/// evaluated, each node may be asked about the same value more than once.
pub(super) fn share(nodes: &mut [Node]) {
    let keywords = || nodes.iter().flat_map(|node| &node.keywords);
    let all = keywords().any(|it| matches!(it, Keyword::UnevaluatedItems(_) | Keyword::UnevaluatedProperties(_)));
    let targets: Vec<NodeId> =
        keywords().filter_map(|keyword| if let Keyword::Ref(node, _) = keyword { Some(*node) } else { None }).collect();
    nodes.iter_mut().for_each(|node| node.is_shared = all);
    targets.into_iter().for_each(|node| nodes[node as usize].is_shared = true);
}

/// Refuses a node that is reached from itself without going down in the value, and one that is reached from another one over too
/// many others.
pub(super) fn check_chains(nodes: &[Node]) -> Result<()> {
    /// How many nodes may be applied to one value, each because of the one before.
    const LONGEST: usize = 64;
    #[derive(Clone, Copy, PartialEq)]
    enum Seen {
        Never,
        Above,
        /// The longest chain from here.
        Done(usize),
    }
    let mut seen = vec![Seen::Never; nodes.len()];
    for start in 0..nodes.len() {
        let mut path: Vec<(usize, Vec<NodeId>, usize)> = Vec::new();
        let mut enter = Some(start);
        loop {
            if let Some(node) = enter.take() {
                let pointer = || nodes[node].pointer.to_string();
                match seen[node] {
                    Seen::Above => {
                        return refuse(&pointer(), "refers to itself for the same value, so that it decides nothing");
                    }
                    Seen::Never => {
                        seen[node] = Seen::Above;
                        path.push((node, nodes[node].keywords.iter().flat_map(Keyword::in_place).collect(), 0));
                    }
                    Seen::Done(length) => {
                        if let Some((_, _, longest)) = path.last_mut() {
                            *longest = (*longest).max(length);
                        }
                    }
                }
            }
            let Some((node, children, longest)) = path.last_mut() else { break };
            if let Some(child) = children.pop() {
                enter = Some(child as usize);
                continue;
            }
            let (node, length) = (*node, *longest + 1);
            if length > LONGEST {
                let message =
                    format!("applies more than {LONGEST} schemas to one value, each because of the one before");
                return refuse(&nodes[node].pointer, message);
            }
            seen[node] = Seen::Done(length);
            path.pop();
            if let Some((_, _, longest)) = path.last_mut() {
                *longest = (*longest).max(length);
            }
        }
    }
    Ok(())
}
