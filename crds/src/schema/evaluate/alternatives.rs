//! What is to be mended about a value that fits none of several schemas, or too many: what the nearest one demands, if one is nearer
//! than all others, or otherwise what several of them demand.

use super::{
    Evaluation, Result, Source,
    demand::{Demand, count, joined},
    locate::{At, Fault, Faults},
};
use crate::schema::{
    instance::Value,
    node::{Keyword, NodeId},
    steps::Exhausted,
};

/// How many alternatives are compared, and how many are told.
const MOST_COMPARED: usize = 64;
const MOST_TOLD: usize = 4;
/// How many faults of one alternative are told.
const MOST_FAULTS: usize = 3;
/// A value of another kind, or without what tells alternatives apart, is far from an alternative.
const OTHER_KIND: usize = 1_000;
const OTHER_MARK: usize = 50;
const MISSING: usize = 20;
const OTHER_MEMBER: usize = 5;

impl<'a> Evaluation<'a> {
    /// The fault of `anyOf` or `oneOf`.
    pub(super) fn alternatives(
        &mut self,
        keyword: &'a Keyword,
        nodes: &'a [NodeId],
        node: NodeId,
        at: &At,
        out: &mut Faults,
    ) -> Result<()> {
        // The fault is known. Its words may take more steps than are left.
        let words = match self.words_about(nodes, at) {
            Ok(words) => words,
            Err(Exhausted) => format!("{} must fit {}", at.subject(), of_all(nodes)),
        };
        self.add(keyword.name(), node, at, words, out)
    }

    fn words_about(&mut self, nodes: &'a [NodeId], at: &At) -> Result<String> {
        let mut distances = Vec::new();
        for (n, node) in nodes.iter().enumerate().take(MOST_COMPARED) {
            distances.push((self.distance(*node, at)?, n));
        }
        distances.sort_unstable();
        if let [(0, a), (0, b), ..] = *distances {
            let demands = [a, b].map(|n| format!("({}) {}", n + 1, Demand::of_node(self.nodes, nodes[n])));
            let demands = joined(demands, ", ");
            return Ok(format!("{} must fit only one of {}, but fits several: {demands}", at.subject(), of_all(nodes)));
        }
        match *distances {
            [(nearest, n)] | [(nearest, n), ..]
                if distances.get(1).is_none_or(|next| next.0 > nearest) && nearest < OTHER_KIND =>
            {
                let faults = self.faults_of(nodes[n], at)?;
                let texts = joined(faults.into_iter().map(|fault| fault.text), ", and ");
                // The outermost alternatives are enough.
                Ok(match self.is_inside_alternatives {
                    true => texts,
                    false => format!("{texts}, to fit the nearest of {}", of_all(nodes)),
                })
            }
            _ => self.words_about_several(nodes, &distances, at),
        }
    }

    fn words_about_several(&mut self, nodes: &[NodeId], distances: &[(usize, usize)], at: &At) -> Result<String> {
        let must = format!("{} must ", at.subject());
        // Alternatives of other kinds are not of interest beside those of the same kind.
        let told = distances.iter().filter(|(distance, _)| (*distance < OTHER_KIND) == (distances[0].0 < OTHER_KIND));
        let demands: Vec<_> = told.clone().map(|(_, n)| Demand::of_node(self.nodes, nodes[*n])).collect();
        if demands.iter().all(|demand| demand.starts_with("be ") && !demand.contains(" and ")) {
            return Ok(format!("{must}{}", joined(demands, " or ")));
        }
        let left = distances.len() - demands.len().min(MOST_TOLD);
        let demands = (1..).zip(demands.into_iter().take(MOST_TOLD)).map(|(n, demand)| format!("({n}) {demand}"));
        let more = if left > 0 { format!(" and {left} more") } else { String::new() };
        Ok(format!("{must}fit one of these{more}: {}", joined(demands, ", ")))
    }

    fn faults_of(&mut self, node: NodeId, at: &At) -> Result<Vec<Fault>> {
        let mut faults = Faults { found: Vec::new(), most: MOST_FAULTS };
        let outside = std::mem::replace(&mut self.is_inside_alternatives, true);
        let all = self.faults(node, at, &mut faults);
        self.is_inside_alternatives = outside;
        match all {
            Err(exhausted) if faults.found.is_empty() => Err(exhausted),
            _ => Ok(faults.found),
        }
    }

    /// How much there is to be mended for a value to fit a schema: a comparison, and no measure.
    fn distance(&mut self, node: NodeId, at: &At) -> Result<usize> {
        if self.is_valid(node, at.item)? {
            return Ok(0);
        }
        let mut distance = 1;
        for keyword in &self.node(node).keywords {
            if self.holds(keyword, node, at.item)? {
                continue;
            }
            distance += match (keyword, self.instance.value(at.item)) {
                (keyword, _) if keyword.is_of_kind() => OTHER_KIND,
                (Keyword::Ref(target, _), _) => self.distance(*target, at)?,
                (Keyword::AllOf(nodes), _) => {
                    let mut all = 0;
                    for node in nodes {
                        all += self.distance(*node, at)?;
                    }
                    all
                }
                (Keyword::Required(names), Value::Object(members)) => {
                    self.steps.take(names.len())?;
                    MISSING * names.iter().filter(|name| members.find(name).is_none()).count()
                }
                (Keyword::Members(of), Value::Object(members)) => {
                    let mut all = 0;
                    for n in 0..members.count() {
                        let (schemas, source) = self.schemas_of(of, members.name(n))?;
                        for child in schemas {
                            if self.is_valid(child, members.value_id(n))? {
                                continue;
                            }
                            let is_mark =
                                matches!(
                                    self.node(child).keywords.iter().find(|keyword| keyword.is_of_kind()),
                                    Some(Keyword::Const(_) | Keyword::Enum(_))
                                ) || self.node(child).keywords.iter().any(|it| matches!(it, Keyword::Const(_)));
                            all += match source {
                                Source::Property if is_mark => OTHER_MARK,
                                Source::Property => OTHER_MEMBER,
                                Source::Pattern | Source::Additional => MISSING,
                            };
                        }
                    }
                    all
                }
                _ => OTHER_MEMBER,
            };
        }
        Ok(distance)
    }
}

fn of_all(nodes: &[NodeId]) -> String {
    format!("{} of the schema", count(nodes.len() as u64, "alternative"))
}
