//! Where the first violation is, on one way down.

use super::{Evaluation, Result};
use crate::schema::{
    Violation,
    instance::{ItemId, Value},
    node::{Keyword, NodeId},
    shortened,
};

impl<'a> Evaluation<'a> {
    /// The violation of a schema that does not hold.
    pub(super) fn violation(&mut self, mut node: NodeId, mut item: ItemId) -> Result<Violation> {
        loop {
            let mut wrong = None;
            for keyword in &self.node(node).keywords {
                if !self.holds(keyword, node, item)? {
                    wrong = Some(keyword);
                    break;
                }
            }
            let Some(keyword) = wrong else { return Ok(self.violation_of(node, item, "schema")) };
            match self.below(keyword, item)? {
                Ok((child, at)) if !matches!(*self.node(child).keywords, [Keyword::Nothing]) => {
                    (node, item) = (child, at)
                }
                Ok(_) => return Ok(self.violation_of(node, item, keyword.name())),
                Err(name) => return Ok(self.violation_of(node, item, name)),
            }
        }
    }

    /// The schema and the value that are the reason why a keyword does not hold; the keyword's name if it is the reason itself.
    fn below(
        &mut self,
        keyword: &'a Keyword,
        item: ItemId,
    ) -> Result<std::result::Result<(NodeId, ItemId), &'static str>> {
        let value = self.instance.value(item);
        let found = match (keyword, value) {
            (Keyword::Ref(target, _), _) => Some((*target, item)),
            (Keyword::AllOf(nodes), _) => {
                let mut wrong = None;
                for node in nodes {
                    if !self.is_valid(*node, item)? {
                        wrong = Some((*node, item));
                        break;
                    }
                }
                wrong
            }
            (Keyword::If { condition, then, otherwise }, _) => {
                let branch = if self.is_valid(*condition, item)? { then } else { otherwise };
                branch.map(|branch| (branch, item))
            }
            (Keyword::Members(of), Value::Object(members)) => match self.wrong_member(of, members)? {
                Some((node, _, true)) if matches!(*self.node(node).keywords, [Keyword::Nothing]) => {
                    return Ok(Err("additionalProperties"));
                }
                wrong => wrong.map(|(node, value, _)| (node, value)),
            },
            (Keyword::DependentSchemas(_), Value::Object(members)) => {
                self.wrong_dependent(keyword, item, members)?.map(|node| (node, item))
            }
            (Keyword::PrefixItems(_) | Keyword::Items(..), Value::Array(items)) => self.wrong_item(keyword, items)?,
            _ => None,
        };
        Ok(found.ok_or(keyword.name()))
    }

    fn violation_of(&self, node: NodeId, item: ItemId, keyword: &'static str) -> Violation {
        Violation {
            keyword,
            instance_path: shortened(&self.instance.pointer(item)),
            schema_path: shortened(&format!("{}/{keyword}", self.node(node).pointer)),
        }
    }
}
