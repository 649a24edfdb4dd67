//! Character classes: each different one is made once, within a budget for all of them.

use std::{collections::HashMap, sync::Arc};

use regex_syntax::{
    ast::{
        Ast, ClassBracketed, ClassPerl, ClassPerlKind, ClassSet, ClassSetItem, ClassSetRange, ClassSetUnion, Literal,
        LiteralKind, Span,
    },
    hir::{self, HirKind, translate::TranslatorBuilder},
};

use super::{PatternError, syntax};

/// The work that the classes of all patterns may take: about 1,000 different ones like `\p{L}`.
const WORK: usize = 64 * 1024;
/// The work of a class by name, such as `\p{L}`, compared with that of a single character.
const UNICODE: usize = 64;
/// How many ranges all classes may have: 1 MiB.
const RANGES: usize = 128 * 1024;

/// The digits, word characters and white space of ECMA-262, which JSON Schema refers to.
const DIGIT: &[(char, char)] = &[('0', '9')];
const WORD: &[(char, char)] = &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];
const SPACE: &[(char, char)] = &[
    ('\t', '\r'),
    (' ', ' '),
    ('\u{a0}', '\u{a0}'),
    ('\u{1680}', '\u{1680}'),
    ('\u{2000}', '\u{200a}'),
    ('\u{2028}', '\u{2029}'),
    ('\u{202f}', '\u{202f}'),
    ('\u{205f}', '\u{205f}'),
    ('\u{3000}', '\u{3000}'),
    ('\u{feff}', '\u{feff}'),
];

/// A set of characters.
#[derive(Debug)]
pub(super) struct Class {
    /// The number of its characters.
    pub size: usize,
    ascii: u128,
    /// Sorted, without overlaps.
    ranges: Box<[(char, char)]>,
}

/// The classes of all patterns.
#[derive(Debug)]
pub(super) struct Classes {
    work_left: usize,
    ranges_left: usize,
    /// By their text, and whether they ignore case.
    pub(super) known: HashMap<(Box<str>, bool), Arc<Class>>,
}

impl Default for Classes {
    fn default() -> Self {
        Self { work_left: WORK, ranges_left: RANGES, known: HashMap::new() }
    }
}

impl Class {
    pub fn new(ranges: Vec<(char, char)>) -> Self {
        let contains = |c: char| ranges.iter().any(|(from, to)| (*from..=*to).contains(&c));
        let ascii = (0_u8..128).filter(|b| contains(char::from(*b))).fold(0, |bits, b| bits | 1 << b);
        let size = ranges.iter().map(|(from, to)| (u32::from(*to) - u32::from(*from)) as usize + 1).sum();
        Self { size, ascii, ranges: ranges.into() }
    }

    pub fn contains(&self, character: char) -> bool {
        if character.is_ascii() {
            return self.ascii >> u32::from(character) & 1 == 1;
        }
        let n = self.ranges.partition_point(|(_, to)| *to < character);
        self.ranges.get(n).is_some_and(|(from, _)| *from <= character)
    }
}

impl Classes {
    /// The class of a part of a pattern that is one: a bracketed one, one by name, a dot, or a character that ignores case.
    pub fn get(&mut self, pattern: &str, ast: &Ast, flags: Flags) -> Result<Arc<Class>, PatternError> {
        let Span { start, end } = ast.span();
        let key = (format!("{}{}", u8::from(flags.any), &pattern[start.offset..end.offset]).into(), flags.ignore_case);
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        self.work_left = self.work_left.checked_sub(work(ast)).ok_or(PatternError::TooManyClasses)?;
        let ranges = ranges(pattern, &ecma(ast), flags)?;
        self.ranges_left = self.ranges_left.checked_sub(ranges.len() + 8).ok_or(PatternError::TooManyClasses)?;
        let class = Arc::new(Class::new(ranges));
        self.known.insert(key, class.clone());
        Ok(class)
    }
}

/// The flags that change what a class is.
#[derive(Clone, Copy)]
pub(super) struct Flags {
    pub ignore_case: bool,
    /// A dot is any character, also a line feed.
    pub any: bool,
}

fn ranges(pattern: &str, ast: &Ast, flags: Flags) -> Result<Vec<(char, char)>, PatternError> {
    let mut translator =
        TranslatorBuilder::new().case_insensitive(flags.ignore_case).dot_matches_new_line(flags.any).build();
    let hir = translator
        .translate(pattern, ast)
        .map_err(|error| syntax(pattern, error.kind().to_string(), error.span().start.offset))?;
    match hir.kind() {
        HirKind::Class(hir::Class::Unicode(class)) => Ok(class.iter().map(|it| (it.start(), it.end())).collect()),
        HirKind::Class(hir::Class::Bytes(class)) => {
            Ok(class.iter().map(|it| (char::from(it.start()), char::from(it.end()))).collect())
        }
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).unwrap_or_default();
            Ok(text.chars().map(|character| (character, character)).collect())
        }
        _ => Err(PatternError::Unsupported("a class that is not a set of characters")),
    }
}

/// How much work a class is.
fn work(ast: &Ast) -> usize {
    match ast {
        Ast::ClassBracketed(class) => set_work(&class.kind).1,
        Ast::ClassUnicode(_) => UNICODE,
        _ => 8,
    }
}

/// The size of a set, and the work that it is: that of its parts, and each set is sorted once more in the one around it.
fn set_work(set: &ClassSet) -> (usize, usize) {
    match set {
        ClassSet::BinaryOp(op) => {
            let ((left, left_work), (right, right_work)) = (set_work(&op.lhs), set_work(&op.rhs));
            (left + right, left + right + left_work + right_work)
        }
        ClassSet::Item(item) => item_work(item),
    }
}

fn item_work(item: &ClassSetItem) -> (usize, usize) {
    match item {
        ClassSetItem::Unicode(_) => (UNICODE, UNICODE),
        ClassSetItem::Union(union) => {
            union.items.iter().map(item_work).fold((0, 0), |sum, item| (sum.0 + item.0, sum.1 + item.1))
        }
        ClassSetItem::Bracketed(class) => {
            let (size, work) = set_work(&class.kind);
            (size, size + work)
        }
        _ => (1, 1),
    }
}

/// The same class with the digits, word characters and white space of ECMA-262 in place of those of Unicode.
fn ecma(ast: &Ast) -> Ast {
    match ast {
        Ast::ClassPerl(class) => Ast::class_bracketed(perl(class)),
        Ast::ClassBracketed(class) => {
            Ast::class_bracketed(ClassBracketed { kind: set(&class.kind), ..(**class).clone() })
        }
        other => other.clone(),
    }
}

fn set(kind: &ClassSet) -> ClassSet {
    match kind {
        ClassSet::BinaryOp(op) => {
            let mut op = op.clone();
            op.lhs = Box::new(set(&op.lhs));
            op.rhs = Box::new(set(&op.rhs));
            ClassSet::BinaryOp(op)
        }
        ClassSet::Item(it) => ClassSet::Item(item(it)),
    }
}

fn item(item_: &ClassSetItem) -> ClassSetItem {
    match item_ {
        ClassSetItem::Perl(class) => ClassSetItem::Bracketed(Box::new(perl(class))),
        ClassSetItem::Bracketed(class) => {
            ClassSetItem::Bracketed(Box::new(ClassBracketed { kind: set(&class.kind), ..(**class).clone() }))
        }
        ClassSetItem::Union(union) => {
            ClassSetItem::Union(ClassSetUnion { span: union.span, items: union.items.iter().map(item).collect() })
        }
        other => other.clone(),
    }
}

fn perl(class: &ClassPerl) -> ClassBracketed {
    let span = class.span;
    let ranges = match class.kind {
        ClassPerlKind::Digit => DIGIT,
        ClassPerlKind::Space => SPACE,
        ClassPerlKind::Word => WORD,
    };
    let literal = |c| Literal { span, kind: LiteralKind::Verbatim, c };
    let items = ranges
        .iter()
        .map(|(from, to)| ClassSetItem::Range(ClassSetRange { span, start: literal(*from), end: literal(*to) }));
    let union = ClassSetUnion { span, items: items.collect() };
    ClassBracketed { span, negated: class.negated, kind: ClassSet::Item(ClassSetItem::Union(union)) }
}
