//! Manifests in a folder: read strictly, with each finding's file, object and field.
