//! `render DIR`: all objects that the operator would make of the manifests in a folder.
