//! The kind `static`: tools that contain their output. No backend is called, and nothing can fail.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::future::BoxFuture;
use portcullis_crds::{
    check::CheckedToolKind,
    contract::ToolKind,
    template::{Part, Template},
};
use serde_json::Value;

use super::{
    kind::{Exchange, Kind, Unsendable, Work},
    output::{JsonOutput, Output},
    text,
};
use crate::{
    fingerprint::Fingerprint,
    protocol::{json, strict::Node},
};

/// The backend of such tools.
pub struct Fixed;

/// An output that is the same for every call.
struct Constant(Arc<JsonOutput>);

/// An output with arguments in its text.
struct Templated {
    value: Option<Bytes>,
    text: Template,
}

impl Kind for Fixed {
    fn work(&self, tool: &ToolKind, checked: &CheckedToolKind) -> Option<Box<dyn Work>> {
        let (ToolKind::Static(tool), CheckedToolKind::Static(text)) = (tool, checked) else { return None };
        let value = tool.structured_content.as_ref();
        let value = value.map(|object| Bytes::from(json::value(&Value::Object(object.0.clone()))));
        Some(match text {
            Some(text) if text.arguments().next().is_some() => Box::new(Templated { value, text: text.clone() }),
            text => {
                let text = text.as_ref().map(literal);
                Box::new(Constant(Arc::new(JsonOutput {
                    value,
                    text,
                    complete: Some(OnceLock::new()),
                    ..JsonOutput::default()
                })))
            }
        })
    }

    fn check(&self) -> Option<BoxFuture<'static, Option<bool>>> {
        None
    }
}

impl Work for Constant {
    fn prepare(&self, _: &Node<'_>, _: Fingerprint) -> Result<Exchange, Unsendable> {
        Ok(Exchange::Known(Output::Json(self.0.clone())))
    }
}

impl Work for Templated {
    fn prepare(&self, arguments: &Node<'_>, _: Fingerprint) -> Result<Exchange, Unsendable> {
        // A text that lacks an argument is left out. Without a value there is nothing else to answer with.
        let text = text::render(&self.text, arguments);
        let output = JsonOutput { value: self.value.clone(), text, ..JsonOutput::default() };
        Ok(Exchange::Known(Output::Json(Arc::new(output))))
    }
}

/// The text of a template without arguments.
fn literal(template: &Template) -> String {
    let literals = template.parts().iter().map(|part| match part {
        Part::Literal(literal) => literal.as_str(),
        Part::Argument(_) => "",
    });
    literals.collect()
}
