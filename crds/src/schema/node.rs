//! A compiled schema: a list of nodes that refer to each other by number, so that references may form circles.

use std::sync::Arc;

use super::{equality::Values, format::Format, number::Number, pattern::Pattern};

/// The number of a node in its schema.
pub(super) type NodeId = u32;

/// Names of members.
pub(super) type Names = Box<[Box<str>]>;

/// A schema, or a part of one.
#[derive(Debug)]
pub(super) struct Node {
    /// Where it is, as a JSON pointer.
    pub pointer: Box<str>,
    pub keywords: Box<[Keyword]>,
    /// Whether what is found out about a value is remembered: the node is reached in more than one way.
    pub is_shared: bool,
}

/// A keyword with its value, or several that decide together.
#[derive(Debug)]
pub(super) enum Keyword {
    /// The schema `false`.
    Nothing,
    /// A bit for each type that is accepted.
    Type(u8),
    Enum(Values),
    Const(Values),
    MultipleOf(Number),
    Maximum(Number),
    ExclusiveMaximum(Number),
    Minimum(Number),
    ExclusiveMinimum(Number),
    MaxLength(u64),
    MinLength(u64),
    Pattern(Arc<Pattern>),
    Format(Format),
    MaxItems(u64),
    MinItems(u64),
    UniqueItems,
    MaxProperties(u64),
    MinProperties(u64),
    Required(Names),
    /// With the keyword that has it: `dependencies` in draft 7.
    DependentRequired(Box<[(Box<str>, Names)]>, &'static str),
    Members(Members),
    PropertyNames(NodeId),
    /// The schemas of the first items, and the keyword that has them.
    PrefixItems(Box<[NodeId]>, &'static str),
    /// The schema of each item from a position on, and the keyword that has it.
    Items(u32, NodeId, &'static str),
    Contains(Contains),
    AllOf(Box<[NodeId]>),
    AnyOf(Box<[NodeId]>),
    OneOf(Box<[NodeId]>),
    Not(NodeId),
    If {
        condition: NodeId,
        then: Option<NodeId>,
        otherwise: Option<NodeId>,
    },
    DependentSchemas(Box<[(Box<str>, NodeId)]>, &'static str),
    /// `$ref` or `$dynamicRef`: in one resource both refer to one place.
    Ref(NodeId, &'static str),
    UnevaluatedProperties(NodeId),
    UnevaluatedItems(NodeId),
}

/// `properties`, `patternProperties` and `additionalProperties`.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// Sorted by name.
    pub properties: Box<[(Box<str>, NodeId)]>,
    pub patterns: Box<[(Arc<Pattern>, NodeId)]>,
    pub additional: Option<NodeId>,
}

/// `contains`, `minContains` and `maxContains`.
#[derive(Debug)]
pub(super) struct Contains {
    pub node: NodeId,
    pub min: u64,
    pub max: Option<u64>,
}

/// The types of JSON Schema, in the order of their bits.
pub(super) const TYPES: [&str; 7] = ["null", "boolean", "integer", "number", "string", "array", "object"];

impl Keyword {
    /// The keyword as a schema has it.
    pub fn name(&self) -> &'static str {
        match self {
            // Whatever holds the schema `false` is told by its place.
            Self::Nothing => "false",
            Self::Type(_) => "type",
            Self::Enum(_) => "enum",
            Self::Const(_) => "const",
            Self::MultipleOf(_) => "multipleOf",
            Self::Maximum(_) => "maximum",
            Self::ExclusiveMaximum(_) => "exclusiveMaximum",
            Self::Minimum(_) => "minimum",
            Self::ExclusiveMinimum(_) => "exclusiveMinimum",
            Self::MaxLength(_) => "maxLength",
            Self::MinLength(_) => "minLength",
            Self::Pattern(_) => "pattern",
            Self::Format(_) => "format",
            Self::MaxItems(_) => "maxItems",
            Self::MinItems(_) => "minItems",
            Self::UniqueItems => "uniqueItems",
            Self::MaxProperties(_) => "maxProperties",
            Self::MinProperties(_) => "minProperties",
            Self::Required(_) => "required",
            Self::Members(_) => "properties",
            Self::PropertyNames(_) => "propertyNames",
            Self::Items(_, _, name)
            | Self::PrefixItems(_, name)
            | Self::DependentRequired(_, name)
            | Self::DependentSchemas(_, name)
            | Self::Ref(_, name) => name,
            Self::Contains(_) => "contains",
            Self::AllOf(_) => "allOf",
            Self::AnyOf(_) => "anyOf",
            Self::OneOf(_) => "oneOf",
            Self::Not(_) => "not",
            Self::If { .. } => "if",
            Self::UnevaluatedProperties(_) => "unevaluatedProperties",
            Self::UnevaluatedItems(_) => "unevaluatedItems",
        }
    }

    /// The nodes that are applied to the same value, and must hold for it.
    pub fn always(&self) -> Vec<NodeId> {
        match self {
            Self::AllOf(nodes) => nodes.to_vec(),
            Self::Ref(node, _) => vec![*node],
            _ => Vec::new(),
        }
    }

    /// Whether it decides what kind of a value is accepted, before all that is demanded of that kind.
    pub fn is_of_kind(&self) -> bool {
        matches!(self, Self::Type(_) | Self::Enum(_) | Self::Const(_) | Self::Nothing)
    }

    /// The nodes that are applied to the same value.
    pub fn in_place(&self) -> Vec<NodeId> {
        match self {
            Self::AllOf(nodes) | Self::AnyOf(nodes) | Self::OneOf(nodes) => nodes.to_vec(),
            Self::Not(node) | Self::Ref(node, _) => vec![*node],
            Self::If { condition, then, otherwise } => {
                [Some(*condition), *then, *otherwise].into_iter().flatten().collect()
            }
            Self::DependentSchemas(nodes, _) => nodes.iter().map(|(_, node)| *node).collect(),
            _ => Vec::new(),
        }
    }
}
