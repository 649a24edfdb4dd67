//! What `unevaluatedProperties` and `unevaluatedItems` have to know: which members and items other schemas have evaluated.

use std::{collections::HashSet, ops::Range};

use super::{Evaluation, Result};
use crate::schema::{
    instance::{ItemId, Members, Value},
    node::{Keyword, NodeId},
};

impl<'a> Evaluation<'a> {
    /// The schemas that are applied to the same value, and hold for it.
    fn applied(&mut self, keyword: &Keyword, item: ItemId) -> Result<Vec<NodeId>> {
        let candidates = match keyword {
            Keyword::Not(_) => return Ok(Vec::new()),
            Keyword::If { condition, then, otherwise } if self.is_valid(*condition, item)? => {
                let _ = otherwise;
                [Some(*condition), *then].into_iter().flatten().collect()
            }
            Keyword::If { otherwise, .. } => otherwise.iter().copied().collect(),
            Keyword::DependentSchemas(all, _) => match self.instance.value(item) {
                Value::Object(members) => {
                    all.iter().filter(|(name, _)| members.find(name).is_some()).map(|(_, node)| *node).collect()
                }
                _ => Vec::new(),
            },
            keyword => keyword.in_place(),
        };
        let mut applied = Vec::new();
        for node in candidates {
            if self.is_valid(node, item)? {
                applied.push(node);
            }
        }
        Ok(applied)
    }

    /// The members that nothing has evaluated.
    pub(super) fn unevaluated_members(&mut self, node: NodeId, item: ItemId, members: Members<'a>) -> Result<Vec<u32>> {
        let mut evaluated = vec![false; members.count() as usize];
        self.steps.take(evaluated.len())?;
        self.evaluated_members((node, item), members, &mut evaluated, &mut HashSet::new())?;
        Ok((0..).zip(evaluated).filter(|(_, is_evaluated)| !is_evaluated).map(|(n, _)| n).collect())
    }

    /// The items that nothing has evaluated.
    pub(super) fn unevaluated_items(
        &mut self,
        node: NodeId,
        item: ItemId,
        items: Range<ItemId>,
    ) -> Result<Vec<ItemId>> {
        let mut evaluated = vec![false; items.len()];
        self.steps.take(items.len())?;
        self.evaluated_items((node, item), &items, &mut evaluated, &mut HashSet::new())?;
        Ok(items.zip(evaluated).filter(|(_, is_evaluated)| !is_evaluated).map(|(item, _)| item).collect())
    }

    /// Marks the members that the schema has evaluated, apart from `unevaluatedProperties` of the schema that asks. A schema that was
    /// `asked` already marks the same ones again.
    fn evaluated_members(
        &mut self,
        (node, item): (NodeId, ItemId),
        members: Members<'a>,
        evaluated: &mut [bool],
        asked: &mut HashSet<NodeId>,
    ) -> Result<()> {
        if !asked.insert(node) {
            return Ok(());
        }
        for keyword in &self.node(node).keywords {
            self.steps.take(1)?;
            if let Keyword::Members(of) = keyword {
                for (n, is_evaluated) in (0..).zip(&mut *evaluated) {
                    let (schemas, _) = self.schemas_of(of, members.name(n))?;
                    *is_evaluated |= !schemas.is_empty();
                }
            }
            for child in self.applied(keyword, item)? {
                if self.node(child).keywords.iter().any(|it| matches!(it, Keyword::UnevaluatedProperties(_))) {
                    evaluated.fill(true);
                } else {
                    self.evaluated_members((child, item), members, evaluated, asked)?;
                }
            }
        }
        Ok(())
    }

    /// Marks the items that the schema has evaluated, apart from `unevaluatedItems` of the schema that asks. A schema that was `asked`
    /// already marks the same ones again.
    fn evaluated_items(
        &mut self,
        (node, item): (NodeId, ItemId),
        items: &Range<ItemId>,
        evaluated: &mut [bool],
        asked: &mut HashSet<NodeId>,
    ) -> Result<()> {
        if !asked.insert(node) {
            return Ok(());
        }
        for keyword in &self.node(node).keywords {
            self.steps.take(1)?;
            match keyword {
                Keyword::PrefixItems(nodes, _) => evaluated.iter_mut().take(nodes.len()).for_each(|it| *it = true),
                Keyword::Items(..) => evaluated.fill(true),
                Keyword::Contains(contains) => {
                    for (item, is_evaluated) in items.clone().zip(&mut *evaluated) {
                        *is_evaluated |= self.is_valid(contains.node, item)?;
                    }
                }
                _ => {}
            }
            for child in self.applied(keyword, item)? {
                if self.node(child).keywords.iter().any(|it| matches!(it, Keyword::UnevaluatedItems(_))) {
                    evaluated.fill(true);
                } else {
                    self.evaluated_items((child, item), items, evaluated, asked)?;
                }
            }
        }
        Ok(())
    }
}
