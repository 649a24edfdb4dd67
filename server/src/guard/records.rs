//! The result of a call: its records are counted, and bounded to the client's maximum.
//!
//! What is left out is left out everywhere: the text is made again from what is left, and the cursor of the next page is removed.
//! The number of all records is not stated either. What cannot be counted although the tool declares records is not passed on.
//!
//! An output is measured first, and its result is written from the output itself: beside the two there is nothing that grows with
//! them, so that the exact size of a result is known before it takes memory.

use std::{borrow::Cow, cmp::Reverse, ops::Range, sync::OnceLock};

use bytes::Bytes;

use crate::{
    backend::{CompleteResult, Content, Failure, Form, JsonOutput, Output},
    config::{Records, unstructured},
    protocol::{
        excerpt::Excerpt,
        json::{Buffer, Count},
        result::{PassedResult, Text, ToolResult},
        strict::{self, Checked, JsonError},
    },
};

/// The most bytes of an output whose records are not known.
const MAX_OPAQUE_BYTES: usize = 256 * 1024;

/// How many records there may be.
#[derive(Clone, Copy, Debug)]
pub struct MaxRecords {
    pub records: u32,
    /// The limit that was put in for the caller: if there are as many records, there may be more.
    pub asked: Option<u64>,
}

impl From<u32> for MaxRecords {
    fn from(records: u32) -> Self {
        Self { records, asked: None }
    }
}

/// A result within a client's maximum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounded {
    /// The members of the result, without braces around them.
    pub members: Bytes,
    /// The number of its records; `None` if it is not known.
    pub records: Option<u64>,
    /// Whether records were left out, or may have been because of the limit that was put in for the caller.
    pub truncated: bool,
    /// Whether its structured content only says that the call succeeded.
    pub is_unstructured: bool,
}

/// A result that was not written yet.
#[derive(Debug)]
pub struct Measured {
    /// Its bytes.
    pub bytes: usize,
    plan: Plan,
}

/// What is left of an output.
#[derive(Debug, Default)]
struct Plan {
    /// The ranges of its JSON that are left out.
    cuts: Vec<Range<usize>>,
    truncated: bool,
    /// Whether there may be more records, because no more were asked for.
    may_be_more: bool,
    records: Option<u64>,
    /// Whether it is a text and no JSON.
    is_text: bool,
    /// The JSON that takes the place of its own, which no two readers would read in the same way.
    mended: Option<String>,
    /// A sentence that the call succeeded, and the structured content that says so in the place of its own.
    unstructured: Option<(String, String)>,
}

/// The result of an output, with at most `max` records.
///
/// # Errors
/// Returns an error if the output is not valid or is too large, or if it lacks the list that the tool declares.
pub fn bound(output: &Output, declared: Option<&Records>, max: impl Into<MaxRecords>) -> Result<Bounded, Failure> {
    let max = max.into();
    match constant(output, declared, max)? {
        Some(all) => Ok(all),
        None => Ok(measure(output, declared, max)?.write(output)),
    }
}

/// The result of an output that all calls share, unless it has to be trimmed.
///
/// # Errors
/// As [`bound`].
pub fn constant(output: &Output, declared: Option<&Records>, max: MaxRecords) -> Result<Option<Bounded>, Failure> {
    let Output::Json(json) = output else { return Ok(None) };
    let Some(complete) = &json.complete else { return Ok(None) };
    complete_result(json, complete, declared, max.records)
}

/// The result of an output that all calls share, unless it has to be trimmed: it is made once.
fn complete_result(
    output: &JsonOutput,
    complete: &OnceLock<Result<CompleteResult, Failure>>,
    declared: Option<&Records>,
    max: u32,
) -> Result<Option<Bounded>, Failure> {
    let complete = complete.get_or_init(|| {
        let plan = Plan::of_json(output, declared, u32::MAX.into())?;
        let mut members = Vec::new();
        push_json(output, &plan, &mut members);
        Ok(CompleteResult { members: members.into(), records: plan.records.unwrap_or_default() })
    });
    let CompleteResult { members, records } = complete.as_ref().map_err(Clone::clone)?;
    let all =
        || Bounded { members: members.clone(), records: Some(*records), truncated: false, is_unstructured: false };
    Ok((*records <= u64::from(max)).then(all))
}

/// Checks an output, and measures its result with at most `max` records.
///
/// # Errors
/// As [`bound`].
pub fn measure(output: &Output, declared: Option<&Records>, max: impl Into<MaxRecords>) -> Result<Measured, Failure> {
    let max = max.into();
    let plan = match output {
        Output::Json(output) => Plan::of_json(output, declared, max)?,
        Output::Content(content) => Plan::of_content(content, declared, max)?,
        Output::Opaque(text) => Plan::of_opaque(text, declared)?,
    };
    let mut count = Count::default();
    push(output, &plan, &mut count);
    Ok(Measured { bytes: count.0, plan })
}

impl Measured {
    /// The structured content of the result: an object. `None` if it has none.
    pub fn structured<'o>(&'o self, output: &'o Output) -> Option<Cow<'o, str>> {
        let value = match output {
            Output::Json(_) if self.plan.is_text => return None,
            Output::Json(output) => std::str::from_utf8(output.value.as_ref()?).ok()?,
            Output::Content(content) => content.structured.as_deref()?,
            Output::Opaque(_) => return None,
        };
        let value = self.plan.mended.as_deref().unwrap_or(value);
        let excerpt = Excerpt::without(value, &self.plan.cuts);
        if excerpt.is_object() && self.plan.cuts.is_empty() {
            return Some(Cow::Borrowed(value));
        }
        let mut content = String::new();
        excerpt.push_as_object(&mut content);
        Some(Cow::Owned(content))
    }

    /// The same result with a sentence in the place of its structured content.
    pub fn unstructured(mut self, why: &str, output: &Output) -> Self {
        self.plan.unstructured = Some((why.to_owned(), unstructured(why)));
        let mut count = Count::default();
        push(output, &self.plan, &mut count);
        self.bytes = count.0;
        self
    }

    /// Writes the result of the output that was measured.
    pub fn write(self, output: &Output) -> Bounded {
        let mut members = Vec::with_capacity(self.bytes);
        push(output, &self.plan, &mut members);
        Bounded {
            members: members.into(),
            records: self.plan.records,
            truncated: self.plan.truncated || self.plan.may_be_more,
            is_unstructured: self.plan.unstructured.is_some(),
        }
    }
}

impl Plan {
    /// All of an output.
    fn whole(records: Option<u64>) -> Self {
        Self { records, ..Self::default() }
    }

    fn of_json(output: &JsonOutput, declared: Option<&Records>, max: MaxRecords) -> Result<Self, Failure> {
        match &output.value {
            Some(_) if output.form == Form::Text => Self::of_text(declared),
            Some(value) => match Self::of_value(value, declared, max) {
                Err(Failure::Malformed | Failure::NotFinite) if output.form == Form::JsonOrText => {
                    Self::of_text(declared)
                }
                plan => plan,
            },
            None if declared.is_some() => Err(Failure::RecordsMissing),
            None => Ok(Self::whole(Some(1))),
        }
    }

    /// A text that a service answers with.
    fn of_text(declared: Option<&Records>) -> Result<Self, Failure> {
        match declared {
            Some(_) => Err(Failure::RecordsMissing),
            None => Ok(Self { is_text: true, ..Self::whole(Some(1)) }),
        }
    }

    fn of_content(content: &Content, declared: Option<&Records>, max: MaxRecords) -> Result<Self, Failure> {
        let Content { blocks, structured, is_error } = content;
        match (declared, structured) {
            // An error has no records.
            (Some(declared), Some(structured)) if !is_error => {
                Self::of_value(structured.as_bytes(), Some(declared), max)
            }
            (Some(_), None) if !is_error => Err(Failure::RecordsMissing),
            _ if blocks.len() + structured.as_ref().map_or(0, String::len) > MAX_OPAQUE_BYTES => Err(Failure::TooLarge),
            _ => Ok(Self::whole(None)),
        }
    }

    fn of_opaque(text: &str, declared: Option<&Records>) -> Result<Self, Failure> {
        match declared {
            Some(_) => Err(Failure::RecordsMissing),
            None if text.len() > MAX_OPAQUE_BYTES => Err(Failure::TooLarge),
            None => Ok(Self::whole(None)),
        }
    }

    fn of_value(value: &[u8], declared: Option<&Records>, max: MaxRecords) -> Result<Self, Failure> {
        let failure = |refusal| match refusal {
            JsonError::TooManyValues => Failure::TooLarge,
            JsonError::NotFinite => Failure::NotFinite,
            _ => Failure::Malformed,
        };
        match strict::check_answer(value) {
            Ok(value) => Self::of_checked(value, declared, max),
            Err(JsonError::DuplicateKey | JsonError::LoneSurrogate) => {
                let mended = strict::mended(value).map_err(failure)?;
                let plan = Self::of_checked(strict::check_answer(mended.as_bytes()).map_err(failure)?, declared, max)?;
                Ok(Self { mended: Some(mended), ..plan })
            }
            Err(refusal) => Err(failure(refusal)),
        }
    }

    fn of_checked(value: Checked<'_>, declared: Option<&Records>, max: MaxRecords) -> Result<Self, Failure> {
        let Some(declared) = declared else { return Ok(Self::whole(Some(1))) };
        let list = value.pointer(&declared.path).ok_or(Failure::RecordsMissing)?;
        if list.raw() == "null" {
            return Ok(Self::whole(Some(0)));
        }
        let found = list.items().ok_or(Failure::RecordsMissing)?.count() as u64;
        let kept = usize::try_from(max.records).unwrap_or(usize::MAX);
        let Some(rest) = list.after_items(kept) else {
            let may_be_more = max.asked.is_some_and(|asked| found >= asked);
            return Ok(Self { may_be_more, ..Self::whole(Some(found)) });
        };
        let cursor = declared.cursor.as_ref().and_then(|cursor| value.member(cursor));
        let mut cuts: Vec<_> = [Some(rest), cursor].into_iter().flatten().collect();
        cuts.sort_by_key(|cut| (cut.start, Reverse(cut.end)));
        Ok(Self { cuts, truncated: true, ..Self::whole(Some(u64::from(max.records))) })
    }
}

fn push<B: Buffer>(output: &Output, plan: &Plan, out: &mut B) {
    match output {
        Output::Json(output) => push_json(output, plan, out),
        Output::Content(Content { structured: Some(structured), .. })
            if plan.truncated || plan.may_be_more || plan.mended.is_some() =>
        {
            push_value(plan.mended.as_ref().unwrap_or(structured), None, plan, out);
        }
        Output::Content(Content { blocks, structured, is_error }) => {
            let own = plan.unstructured.as_ref().map(|(_, own)| own);
            PassedResult {
                content: blocks,
                structured: own.or(structured.as_ref()).map(String::as_str),
                is_error: *is_error,
            }
            .push(out);
        }
        Output::Opaque(text) => push_result(Text::Plain(text), None, plan, out),
    }
}

fn push_json<B: Buffer>(output: &JsonOutput, plan: &Plan, out: &mut B) {
    let text = output.text.as_deref();
    match &output.value {
        Some(value) => {
            let value = std::str::from_utf8(value).expect("a value that was checked or decoded must be UTF-8");
            if plan.is_text {
                return push_result(Text::Plain(value), None, plan, out);
            }
            // A text of the tool's own is about all of the records.
            push_value(plan.mended.as_deref().unwrap_or(value), text.filter(|_| !plan.truncated), plan, out);
        }
        None => push_result(Text::Plain(text.unwrap_or_default()), None, plan, out),
    }
}

/// Appends the result of a value, with another text than the value itself if there is one.
fn push_value<B: Buffer>(value: &str, text: Option<&str>, plan: &Plan, out: &mut B) {
    let value = Excerpt::without(value, &plan.cuts);
    push_result(text.map_or(Text::Json(value), Text::Plain), Some(value), plan, out);
}

fn push_result<B: Buffer>(text: Text<'_>, structured: Option<Excerpt<'_>>, plan: &Plan, out: &mut B) {
    // The model must know that it does not see everything.
    let mut note = match (plan.records, plan.truncated, plan.may_be_more) {
        (Some(records), true, _) => {
            Some(format!("Only the first {records} records are shown: this client may not be given more by one call."))
        }
        (Some(records), false, true) => Some(format!(
            "Only the first {records} records were asked for, by a limit of this server; there may be more."
        )),
        _ => None,
    };
    let mut structured = structured;
    if let Some((why, own)) = &plan.unstructured {
        note = Some(note.map_or_else(|| why.clone(), |note| format!("{note}\n{why}")));
        structured = Some(Excerpt::whole(own));
    }
    ToolResult { text, note: note.as_deref(), structured, is_error: false }.push(out);
}

#[cfg(test)]
mod tests;
