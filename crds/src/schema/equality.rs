//! Equality of JSON values, and hashes that agree with it, so that a value is found in a list without comparing it with each.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::{
    instance::{Instance, ItemId, Json, Value},
    number::Number,
    steps::{Exhausted, Steps},
};

/// The hash of each item, by its number.
pub(super) fn hashes(instance: &Instance, steps: &mut Steps) -> Result<Vec<u64>, Exhausted> {
    steps.take(instance.len())?;
    let mut hashes = vec![0; instance.len()];
    // Children follow their parents.
    for id in (0..instance.len() as ItemId).rev() {
        let mut hasher = DefaultHasher::new();
        match instance.value(id) {
            Value::Null => 0_u8.hash(&mut hasher),
            Value::Bool(value) => value.hash(&mut hasher),
            Value::Number(Number::Integer(integer)) => integer.hash(&mut hasher),
            Value::Number(Number::Unsigned(integer)) => integer.hash(&mut hasher),
            Value::Number(Number::Double(double)) => double.to_bits().hash(&mut hasher),
            Value::String(text) => {
                steps.read(text)?;
                text.hash(&mut hasher);
            }
            Value::Array(items) => {
                steps.take(items.len())?;
                items.for_each(|item| hashes[item as usize].hash(&mut hasher));
            }
            Value::Object(members) => {
                steps.take(members.count() as usize)?;
                for n in 0..members.count() {
                    hashes[members.name_id(n) as usize].hash(&mut hasher);
                    hashes[members.value_id(n) as usize].hash(&mut hasher);
                }
            }
        }
        hashes[id as usize] = hasher.finish();
    }
    Ok(hashes)
}

/// Whether two items are the same value.
pub(super) fn are_equal(
    (a, a_id): (&Instance, ItemId),
    (b, b_id): (&Instance, ItemId),
    steps: &mut Steps,
) -> Result<bool, Exhausted> {
    steps.take(1)?;
    match (a.value(a_id), b.value(b_id)) {
        (Value::Null, Value::Null) => Ok(true),
        (Value::Bool(x), Value::Bool(y)) => Ok(x == y),
        (Value::Number(x), Value::Number(y)) => Ok(x == y),
        (Value::String(x), Value::String(y)) => {
            // Texts of different lengths are not read.
            if x.len() == y.len() {
                steps.read(x)?;
            }
            Ok(x == y)
        }
        (Value::Array(x), Value::Array(y)) => {
            if x.len() != y.len() {
                return Ok(false);
            }
            for (x, y) in x.zip(y) {
                if !are_equal((a, x), (b, y), steps)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Value::Object(x), Value::Object(y)) => {
            if x.count() != y.count() {
                return Ok(false);
            }
            for n in 0..x.count() {
                let same = are_equal((a, x.name_id(n)), (b, y.name_id(n)), steps)?
                    && are_equal((a, x.value_id(n)), (b, y.value_id(n)), steps)?;
                if !same {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// The values of `enum` or `const`.
#[derive(Debug)]
pub(super) struct Values {
    values: Instance,
    /// Sorted, with the item of each.
    hashes: Box<[(u64, ItemId)]>,
}

impl Values {
    /// `values` is an array.
    pub fn new<J: Json>(values: &J) -> Self {
        let values = Instance::new(values);
        let mut sorted = Vec::new();
        if let (Value::Array(items), Ok(hashes)) =
            (values.value(Instance::ROOT), hashes(&values, &mut Steps::new(u64::MAX)))
        {
            sorted.extend(items.map(|item| (hashes[item as usize], item)));
            sorted.sort_unstable();
        }
        Self { values, hashes: sorted.into() }
    }

    /// The number of items that are kept.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// How many values there are.
    pub fn count(&self) -> usize {
        self.hashes.len()
    }

    pub fn instance(&self) -> &Instance {
        &self.values
    }

    /// Those that are numbers.
    pub fn numbers(&self) -> impl Iterator<Item = Number> {
        self.items().filter_map(|item| match self.values.value(item) {
            Value::Number(number) => Some(number),
            _ => None,
        })
    }

    /// The values in the order of the schema.
    pub fn items(&self) -> std::ops::Range<ItemId> {
        match self.values.value(Instance::ROOT) {
            Value::Array(items) => items,
            _ => 0..0,
        }
    }

    /// The only value, if a comparison is cheaper than a hash.
    fn single(&self) -> Option<ItemId> {
        if let [(_, only)] = &*self.hashes { Some(*only) } else { None }
    }

    /// Whether an item is one of the values. `hash` returns the item's hash, if it is needed.
    pub fn contain(
        &self,
        (instance, item): (&Instance, ItemId),
        steps: &mut Steps,
        hash: impl FnOnce(&mut Steps) -> Result<u64, Exhausted>,
    ) -> Result<bool, Exhausted> {
        if let Some(only) = self.single() {
            return are_equal((&self.values, only), (instance, item), steps);
        }
        let hash = hash(steps)?;
        let from = self.hashes.partition_point(|(other, _)| *other < hash);
        for (_, value) in self.hashes[from..].iter().take_while(|(other, _)| *other == hash) {
            if are_equal((&self.values, *value), (instance, item), steps)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether no two of the items are equal.
pub(super) fn are_unique(
    instance: &Instance,
    items: std::ops::Range<ItemId>,
    hashes: &[u64],
    steps: &mut Steps,
) -> Result<bool, Exhausted> {
    // Sorting compares each item a few times; the logarithm of 32 Ki items is 15.
    steps.take(items.len() * 4)?;
    let mut sorted: Vec<_> = items.map(|item| (hashes[item as usize], item)).collect();
    sorted.sort_unstable();
    for same in sorted.chunk_by(|a, b| a.0 == b.0) {
        // Different values with the same hash are compared with each other. Each comparison takes steps.
        for (n, (_, a)) in same.iter().enumerate() {
            for (_, b) in &same[..n] {
                if are_equal((instance, *a), (instance, *b), steps)? {
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
}
